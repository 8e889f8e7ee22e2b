/* The wall clock after January 2038, where time_t may have 32 bits. Goal: the producer's clock is right on any kernel.
 * The system is a double here: the names of two of its functions are replaced while the host is compiled. */
#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE 1
#endif
#if defined(__APPLE__) && !defined(_DARWIN_C_SOURCE)
#define _DARWIN_C_SOURCE 1
#endif
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#define IN_2040 INT64_C(2208988800)

static int is_new_kernel;
static int gives_an_error; /* as newer C libraries do for a time that does not fit */

static int time_of_double(clockid_t clock, struct timespec *out)
{
    int64_t seconds = clock == CLOCK_REALTIME ? IN_2040 : 1000;
    if (clock == CLOCK_REALTIME && gives_an_error) return -1;
    out->tv_sec = (time_t)seconds;
    out->tv_nsec = 500;
    return 0;
}

static long call_of_double(long number, ...)
{
    va_list words;
    va_start(words, number);
    clockid_t clock = number == 403 ? va_arg(words, clockid_t) : CLOCK_MONOTONIC;
    int64_t *out = number == 403 ? va_arg(words, int64_t *) : NULL;
    va_end(words);
    if (clock != CLOCK_REALTIME || !is_new_kernel) return -1;
    out[0] = IN_2040;
    out[1] = 500;
    return 0;
}

#define clock_gettime time_of_double
#define syscall call_of_double
#define kvs_host_now_hns now_of_double
#define kvs_host_init init_of_double
#define kvs_host_wake_new wake_new_of_double
#define kvs_host_wake_free wake_free_of_double
#include "host/host_posix.c"
#undef kvs_host_now_hns
#undef clock_gettime
#undef syscall

#include "check.h"

static void the_time_is_right(int new_kernel, int error)
{
    is_new_kernel = new_kernel;
    gives_an_error = error;
    start();
    CHECK_EQ(now_of_double(), IN_2040 * 10000000 + 5);
    CHECK_EQ(wall_hns(), IN_2040 * 10000000 + 5);
}

int main(void)
{
    CHECK(call_of_double(403, CLOCK_MONOTONIC, (int64_t *)NULL) == -1);
    the_time_is_right(0, 0);
    the_time_is_right(1, 0);
    if (sizeof(time_t) < sizeof(int64_t)) the_time_is_right(1, 1);
    return CHECK_DONE();
}

/* The ready-made host. Goal: its pieces do what struct kvs_host promises from many threads at once, and a wake never
 * blocks, never raises a signal and is never lost. */
#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE 1
#endif
#if defined(_WIN32)
#include <winsock2.h>
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#if !defined(_WIN32)
#include <sys/socket.h>
#include <unistd.h>
#endif

#include "check.h"
#include "fail_host.h"
#include "host/kvs_host.h"

/* What differs between the systems: a socket there is no descriptor, and has an error of its own. */
#if defined(_WIN32)
static int taken(intptr_t fd, char *bytes, int size) { return recv((SOCKET)fd, bytes, size, 0); }
static int is_empty(void) { return WSAGetLastError() == WSAEWOULDBLOCK; }
static void break_off(intptr_t fd) { CHECK_EQ(shutdown((SOCKET)fd, SD_BOTH), 0); }
static void set_error(int error) { SetLastError((DWORD)error); }
static int last_error(void) { return (int)GetLastError(); }
static int is_inherited(intptr_t fd) { return (void)fd, 0; } /* Python's child processes inherit no handles there */
#else
static int taken(intptr_t fd, char *bytes, int size) { return (int)read((int)fd, bytes, (size_t)size); }
static int is_empty(void) { return errno == EAGAIN; }
static void break_off(intptr_t fd) { CHECK_EQ(shutdown((int)fd, SHUT_RDWR), 0); }
static void set_error(int error) { errno = error; }
static int last_error(void) { return errno; }
static int is_inherited(intptr_t fd) { return (fcntl((int)fd, F_GETFD) & FD_CLOEXEC) == 0; }
#endif

static void a_host_is_complete(void)
{
    struct kvs_host host;
    struct kvs_host_wake *wake = NULL;
    intptr_t fd = -1;
    kvs_host_init(&host, NULL);
    CHECK(host.size == sizeof(host) && host.alloc != NULL && host.free != NULL && host.random != NULL);
    CHECK(host.lock_new != NULL && host.lock != NULL && host.unlock != NULL && host.lock_free != NULL);
    CHECK(host.wake == NULL && host.ctx == NULL);
    CHECK_EQ(kvs_host_wake_new(NULL, &fd), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_host_wake_new(&wake, NULL), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_host_wake_new(&wake, &fd), KVS_OK);
    kvs_host_init(&host, wake);
    CHECK(host.wake != NULL && host.ctx == wake && fd >= 0);
    void *block = host.alloc(host.ctx, 0);
    CHECK(block != NULL);
    host.free(host.ctx, block);
    kvs_host_wake_free(wake);
    kvs_host_wake_free(NULL);
}

static void a_wake_makes_the_reading_end_readable(void)
{
    struct kvs_host host;
    struct kvs_host_wake *wake = NULL;
    intptr_t fd = -1;
    char bytes[64];
    if (!CHECK_EQ(kvs_host_wake_new(&wake, &fd), KVS_OK)) return;
    kvs_host_init(&host, wake);
    CHECK(taken(fd, bytes, sizeof(bytes)) == -1 && is_empty()); /* the reading end does not block */
    CHECK(!is_inherited(fd));
    set_error(77);
    host.wake(host.ctx);
    CHECK_EQ(last_error(), 77);
    CHECK_EQ(taken(fd, bytes, sizeof(bytes)), 1);
    set_error(77);
    for (int i = 0; i < 100000; i++) host.wake(host.ctx); /* no reader: it fills up and goes on returning */
    CHECK_EQ(last_error(), 77);
    CHECK_EQ(taken(fd, bytes, sizeof(bytes)), sizeof(bytes));
    while (taken(fd, bytes, sizeof(bytes)) > 0) {}
    host.wake(host.ctx);
    CHECK_EQ(taken(fd, bytes, sizeof(bytes)), 1);
    break_off(fd);
    host.wake(host.ctx); /* a reader that is gone: no SIGPIPE */
    CHECK(1);
    kvs_host_wake_free(wake);
}

#if !defined(_WIN32)
static void running_out_of_descriptors_is_a_status(void)
{
    int copies[4096], count = 0;
    struct kvs_host_wake *wake = NULL;
    intptr_t fd = -5;
    while (count < 4096 && (copies[count] = dup(0)) >= 0) count++;
    if (count < 4096) {
        CHECK_EQ(kvs_host_wake_new(&wake, &fd), KVS_E_HOST);
        CHECK(errno == EMFILE && wake == NULL && fd == -5);
    }
    while (count > 0) close(copies[--count]);
}
#endif

static void the_clock_shows_wall_time_and_never_goes_back(void)
{
    uint64_t last = kvs_host_now_hns(), wall = (uint64_t)time(NULL) * KVS_HNS_PER_SECOND;
    CHECK(last + 10 * KVS_HNS_PER_SECOND > wall && wall + 10 * KVS_HNS_PER_SECOND > last);
    for (int i = 0; i < 10000; i++) {
        uint64_t now = kvs_host_now_hns();
        if (!CHECK(now >= last)) return;
        last = now;
    }
}

static void random_numbers_differ(void)
{
    struct kvs_host host;
    uint32_t bits_on = 0, bits_off = 0, equal = 0, before = 0;
    kvs_host_init(&host, NULL);
    for (int i = 0; i < 1000; i++) {
        uint32_t value = host.random(host.ctx);
        equal += value == before;
        before = value;
        bits_on |= value;
        bits_off |= ~value;
    }
    CHECK(bits_on == UINT32_MAX && bits_off == UINT32_MAX && equal < 3);
}

enum { THREADS = 4, ROUNDS = 20000 };
struct shared {
    struct kvs_host host;
    void *lock;
    long long sum;
};

static void *add_under_the_lock(void *argument)
{
    struct shared *shared = argument;
    for (int i = 0; i < ROUNDS; i++) {
        shared->host.lock(shared->host.ctx, shared->lock);
        shared->sum++;
        shared->host.unlock(shared->host.ctx, shared->lock);
        if (i % 64 == 0) {
            shared->host.wake(shared->host.ctx);
            (void)shared->host.random(shared->host.ctx);
            (void)kvs_host_now_hns();
            shared->host.free(shared->host.ctx, shared->host.alloc(shared->host.ctx, 64));
        }
    }
    return NULL;
}

static void many_threads_use_one_host(void)
{
    struct shared shared = { .sum = 0 };
    struct kvs_host_wake *wake = NULL;
    intptr_t fd = -1;
    pthread_t threads[THREADS];
    char byte;
    if (!CHECK_EQ(kvs_host_wake_new(&wake, &fd), KVS_OK)) return;
    kvs_host_init(&shared.host, wake);
    shared.lock = shared.host.lock_new(shared.host.ctx);
    CHECK(shared.lock != NULL);
    for (int i = 0; i < THREADS; i++) CHECK_EQ(pthread_create(&threads[i], NULL, add_under_the_lock, &shared), 0);
    for (int i = 0; i < THREADS; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(shared.sum, (long long)THREADS * ROUNDS);
    CHECK_EQ(taken(fd, &byte, 1), 1);
    shared.host.lock_free(shared.host.ctx, shared.lock);
    kvs_host_wake_free(wake);
}

/* The host that the other tests rely on must itself be right. */
static void the_failing_host_counts_and_fails(void)
{
    struct fail_host fail = { .fail_at = 2 };
    struct kvs_host host = fail_host_of(&fail);
    void *one = host.alloc(host.ctx, 100), *two = host.alloc(host.ctx, 10), *lock = host.lock_new(host.ctx);
    CHECK(one != NULL && two == NULL && lock != NULL);
    CHECK(fail.live_blocks == 2 && fail.alloc_count == 3 && fail.live_locks == 1 && fail.peak_bytes >= 100);
    host.lock(host.ctx, lock);
    host.wake(host.ctx);
    CHECK_EQ(fail.faults, 1); /* a wake under a lock */
    host.lock(host.ctx, lock);
    CHECK_EQ(fail.faults, 2); /* taken twice */
    host.unlock(host.ctx, lock);
    host.unlock(host.ctx, lock);
    CHECK_EQ(fail.faults, 3); /* given back twice */
    CHECK_EQ(fail.lock_pairs, 2);
    CHECK(!fail_host_is_clean(&fail));
    host.lock_free(host.ctx, lock);
    host.free(host.ctx, one);
    fail.faults = 0;
    CHECK(fail_host_is_clean(&fail));
    fail = (struct fail_host){ .fail_at = 1, .fails_after = 1 };
    CHECK(host.alloc(host.ctx, 1) == NULL && host.alloc(host.ctx, 1) == NULL);
}

int main(void)
{
    a_host_is_complete();
    a_wake_makes_the_reading_end_readable();
#if !defined(_WIN32)
    running_out_of_descriptors_is_a_status();
#endif
    the_clock_shows_wall_time_and_never_goes_back();
    random_numbers_differ();
    many_threads_use_one_host();
    the_failing_host_counts_and_fails();
    return CHECK_DONE();
}

/* check.h — what a native test needs: CHECK counts and goes on, so that one run shows every broken promise.
 * A test program is `int main(void) { ...; return CHECK_DONE(); }`; its last line is "N passed, N failed". */
#ifndef KVS_TESTS_CHECK_H
#define KVS_TESTS_CHECK_H

#include <stdio.h>
#include <string.h>

static unsigned long check_passed, check_failed;

static inline int check_that(int is_true, const char *what, const char *file, int line)
{
    if (is_true) {
        check_passed++;
    } else if (check_failed++ < 20) {
        fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    }
    return is_true;
}

static inline int check_equal(long long got, long long wanted, const char *what, const char *file, int line)
{
    int is_equal = check_that(got == wanted, what, file, line);
    if (!is_equal && check_failed <= 20) fprintf(stderr, "    got %lld, wanted %lld\n", got, wanted);
    return is_equal;
}

static inline int check_done(void)
{
    printf("%lu passed, %lu failed\n", check_passed, check_failed);
    return check_failed != 0;
}

/* 1 when the condition holds, so that a loop can stop at its first fault. */
#define CHECK(condition) check_that((condition) != 0, #condition, __FILE__, __LINE__)
#define CHECK_EQ(got, wanted) \
    check_equal((long long)(got), (long long)(wanted), #got " == " #wanted, __FILE__, __LINE__)
#define CHECK_STR(got, wanted) check_that(strcmp((got), (wanted)) == 0, #got " is " #wanted, __FILE__, __LINE__)
#define CHECK_DONE() check_done()

#endif

/* check.h — KVS_CHECK, the assertion of the core. It is for our own bugs only: what a caller or the world can get wrong
 * has a status. Unlike assert it stays in release builds and needs no library: a failed check is one trap instruction,
 * so that a broken invariant ends the program where it broke instead of corrupting a stream. Keep conditions cheap. */
#ifndef KVS_BASE_CHECK_H
#define KVS_BASE_CHECK_H

#if defined(__GNUC__)
#define KVS_TRAP() __builtin_trap()
#elif defined(_MSC_VER)
#include <intrin.h>
#define KVS_TRAP() __fastfail(7)
#else
#define KVS_TRAP() (*(volatile int *)0 = 0)
#endif

#define KVS_CHECK(condition) \
    do { \
        if (!(condition)) KVS_TRAP(); \
    } while (0)

#endif

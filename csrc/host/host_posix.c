/* host_posix.c — struct kvs_host for Linux, macOS and other POSIX systems; see kvs_host.h. Empty on Windows.
 *
 * The wake is one non-blocking send() on a socket pair and nothing else: it takes no lock, allocates nothing, leaves
 * errno as it was and raises no SIGPIPE, so the core may call it from an encoder's thread. */
#if !defined(_WIN32) && !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE 1 /* with -std=c11 the system headers hide POSIX */
#endif
#if defined(__APPLE__) && !defined(_DARWIN_C_SOURCE)
#define _DARWIN_C_SOURCE 1
#endif
#include "host/kvs_host.h"

#if !defined(_WIN32)
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif
#include <time.h>
#include <unistd.h>

#include "base/prng.h"

#if !defined(MSG_NOSIGNAL)
#define MSG_NOSIGNAL 0 /* macOS: SO_NOSIGPIPE does it */
#endif

#if defined(__linux__) && defined(SYS_futex)
#define HAS_FUTEX 1
#else
#define HAS_FUTEX 0
#endif

struct kvs_host_wake {
    int read_fd, write_fd;
};

static void *host_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size > 0 ? size : 1);
}

static void host_free(void *ctx, void *block)
{
    (void)ctx;
    free(block);
}

/* ThreadSanitizer sees the order of locks only of the system's own. */
#if defined(__SANITIZE_THREAD__)
#define HAS_WORD_LOCKS 0
#elif defined(__has_feature)
#define HAS_WORD_LOCKS (HAS_FUTEX && !__has_feature(thread_sanitizer))
#else
#define HAS_WORD_LOCKS HAS_FUTEX
#endif

#if HAS_WORD_LOCKS
/* The core takes two locks for a frame, holds each for less than a microsecond, and seldom finds one taken. So a lock
 * is a word: one atomic operation takes it, one gives it back. A thread that finds it taken looks again for as long as
 * it is likely to be held, then sleeps in the kernel until it is given back. */
struct host_lock {
    _Atomic uint32_t state; /* FREE, TAKEN, or AWAITED: taken, and a thread may sleep */
    uint8_t apart[36];      /* two locks are as far from each other as two mutexes */
};
enum { FREE, TAKEN, AWAITED };
enum { LOOKS_MAX = 100, WAIT_PRIVATE = 128, WAKE_PRIVATE = 129 };

static int lock_take(struct host_lock *lock)
{
    uint32_t free_state = FREE;
    return atomic_compare_exchange_strong_explicit(&lock->state, &free_state, TAKEN, memory_order_acquire,
                                                   memory_order_relaxed);
}

static void lock_wait(struct host_lock *lock)
{
    int kept = errno;
    for (int i = 0; i < LOOKS_MAX; i++) {
        if (atomic_load_explicit(&lock->state, memory_order_relaxed) == FREE && lock_take(lock)) return;
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
    }
    while (atomic_exchange_explicit(&lock->state, AWAITED, memory_order_acquire) != FREE)
        (void)syscall(SYS_futex, &lock->state, WAIT_PRIVATE, AWAITED, NULL, NULL, 0);
    errno = kept;
}

static void *host_lock_new(void *ctx)
{
    (void)ctx;
    struct host_lock *lock = malloc(sizeof(*lock));
    if (lock != NULL) atomic_init(&lock->state, FREE);
    return lock;
}

static void host_lock(void *ctx, void *lock)
{
    (void)ctx;
    if (!lock_take(lock)) lock_wait(lock);
}

/* The lock may be gone as soon as it is free: the kernel is given its address and does not look there. */
static void host_unlock(void *ctx, void *lock)
{
    (void)ctx;
    _Atomic uint32_t *state = &((struct host_lock *)lock)->state;
    if (atomic_exchange_explicit(state, FREE, memory_order_release) != AWAITED) return;
    int kept = errno;
    (void)syscall(SYS_futex, state, WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = kept;
}

static void host_lock_free(void *ctx, void *lock)
{
    (void)ctx;
    free(lock);
}
#else
static void *host_lock_new(void *ctx)
{
    (void)ctx;
    pthread_mutex_t *mutex = malloc(sizeof(*mutex));
    pthread_mutexattr_t attributes;
    if (mutex == NULL || pthread_mutexattr_init(&attributes) != 0) {
        free(mutex);
        return NULL;
    }
#if defined(__GLIBC__)
    /* Held for less than a microsecond: to spin so long is cheaper than to sleep and be woken. */
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
#endif
    if (pthread_mutex_init(mutex, &attributes) != 0) {
        free(mutex);
        mutex = NULL;
    }
    pthread_mutexattr_destroy(&attributes);
    return mutex;
}

static void host_lock(void *ctx, void *lock)
{
    (void)ctx;
    pthread_mutex_lock(lock);
}

static void host_unlock(void *ctx, void *lock)
{
    (void)ctx;
    pthread_mutex_unlock(lock);
}

static void host_lock_free(void *ctx, void *lock)
{
    (void)ctx;
    pthread_mutex_destroy(lock);
    free(lock);
}
#endif

static uint64_t clock_hns(clockid_t clock)
{
    struct timespec now = { 0, 0 };
    clock_gettime(clock, &now);
    /* Where time_t has 32 bits it ends in January 2038; unsigned, the same bits are right until 2106. */
    uint64_t seconds = sizeof(now.tv_sec) < sizeof(int64_t) ? (uint32_t)now.tv_sec : (uint64_t)now.tv_sec;
    return seconds * KVS_HNS_PER_SECOND + (uint64_t)now.tv_nsec / 100;
}

/* With a time_t of 32 bits newer C libraries give an error after 2038 and no time. Linux itself is asked there; before
 * version 5.1 it does not know the call, which has one number on all such machines. */
static uint64_t wall_hns(void)
{
#if defined(__linux__)
    enum { CLOCK_GETTIME64 = 403 };
    int64_t seconds_nanos[2] = { 0, 0 };
    if (sizeof(time_t) < sizeof(int64_t) && syscall(CLOCK_GETTIME64, CLOCK_REALTIME, seconds_nanos) == 0)
        return (uint64_t)seconds_nanos[0] * KVS_HNS_PER_SECOND + (uint64_t)seconds_nanos[1] / 100;
#endif
    return clock_hns(CLOCK_REALTIME);
}

static pthread_once_t started = PTHREAD_ONCE_INIT;
static uint64_t wall_less_monotonic_hns;
static uint64_t random_start;
static _Atomic uint32_t random_count; /* not of 64 bits: ARMv6 has no such instruction */

/* Without /dev/urandom (a bare chroot) times and addresses have to do: the numbers spread retries and name segments,
 * they keep no secret. */
static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, &seed, sizeof(seed)) != (ssize_t)sizeof(seed)) seed = 0;
    if (fd >= 0) close(fd);
    return seed != 0 ? seed : wall_hns() ^ (uint64_t)(uintptr_t)&seed << 20;
}

static void start(void)
{
    wall_less_monotonic_hns = wall_hns() - clock_hns(CLOCK_MONOTONIC);
    random_start = random_seed();
}

uint64_t kvs_host_now_hns(void)
{
    pthread_once(&started, start);
    return clock_hns(CLOCK_MONOTONIC) + wall_less_monotonic_hns;
}

/* The process id is mixed in, so that a forked child does not repeat its parent's segment UUIDs. */
static uint32_t host_random(void *ctx)
{
    (void)ctx;
    pthread_once(&started, start);
    uint64_t count = atomic_fetch_add_explicit(&random_count, 1, memory_order_relaxed);
    uint64_t step = random_start + count * UINT64_C(0x9E3779B97F4A7C15);
    struct kvs_prng prng = { .state = step ^ (uint64_t)getpid() << 40 };
    return (uint32_t)(kvs_prng_next(&prng) >> 32);
}

static void host_wake(void *ctx)
{
    const struct kvs_host_wake *wake = ctx;
    int kept = errno;
    ssize_t sent = send(wake->write_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent; /* full means readable already, and a dead pair has no reader */
    errno = kept;
}

static int prepare_socket(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -1;
#if defined(SO_NOSIGPIPE)
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on)) < 0) return -1;
#endif
    return fcntl(fd, F_SETFD, FD_CLOEXEC);
}

kvs_status kvs_host_wake_new(struct kvs_host_wake **out, intptr_t *read_fd_out)
{
    if (out == NULL || read_fd_out == NULL) return KVS_E_NULL_ARG;
    int fds[2] = { -1, -1 };
    struct kvs_host_wake *wake = malloc(sizeof(*wake));
    if (wake == NULL) return KVS_E_NOMEM;
    int is_made = socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0;
    *wake = (struct kvs_host_wake){ .read_fd = fds[0], .write_fd = fds[1] };
    if (!is_made || prepare_socket(fds[0]) < 0 || prepare_socket(fds[1]) < 0) {
        kvs_host_wake_free(wake);
        return KVS_E_HOST;
    }
    *out = wake;
    *read_fd_out = fds[0];
    return KVS_OK;
}

void kvs_host_wake_free(struct kvs_host_wake *wake)
{
    if (wake == NULL) return;
    int kept = errno;
    if (wake->read_fd >= 0) close(wake->read_fd);
    if (wake->write_fd >= 0) close(wake->write_fd);
    free(wake);
    errno = kept;
}

void kvs_host_init(struct kvs_host *host, struct kvs_host_wake *wake_or_null)
{
    *host = (struct kvs_host){
        .size = sizeof(*host),
        .ctx = wake_or_null,
        .alloc = host_alloc,
        .free = host_free,
        .lock_new = host_lock_new,
        .lock = host_lock,
        .unlock = host_unlock,
        .lock_free = host_lock_free,
        .random = host_random,
        .wake = wake_or_null != NULL ? host_wake : NULL,
    };
}
#endif

/* sync_posix.c — sync.h and the locks of pic.h by pthreads. Waits are measured by the monotonic clock where the system
 * lets a condition variable choose its clock. Empty on Windows. */
#if !defined(_WIN32) && !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE 1 /* with -std=c11 the system headers hide POSIX */
#endif
#include "pic/sync.h"

#if !defined(_WIN32)
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#if defined(__APPLE__)
#define WAIT_CLOCK CLOCK_REALTIME
#else
#define WAIT_CLOCK CLOCK_MONOTONIC
#endif
#define WAIT_MAX_HNS (UINT64_C(365) * 24 * HUNDREDS_OF_NANOS_IN_AN_HOUR)

static pthread_mutex_t global = PTHREAD_MUTEX_INITIALIZER;

void pic_global_lock(void) { pthread_mutex_lock(&global); }
void pic_global_unlock(void) { pthread_mutex_unlock(&global); }

static pthread_mutex_t *mutex_of(MUTEX mutex) { return (pthread_mutex_t *)(uintptr_t)mutex; }

MUTEX kinesisVideoStreamDefaultCreateMutex(UINT64 custom, BOOL is_reentrant)
{
    pthread_mutexattr_t attributes;
    pthread_mutex_t *mutex = malloc(sizeof *mutex);
    (void)custom;
    if (mutex == NULL) return 0;
    pthread_mutexattr_init(&attributes);
#if defined(__GLIBC__)
    /* Held for bookkeeping only: to spin so long is cheaper than to sleep and be woken. */
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
#endif
    if (is_reentrant) pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return (MUTEX)(uintptr_t)mutex;
}

VOID kinesisVideoStreamDefaultLockMutex(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    pthread_mutex_lock(mutex_of(mutex));
}

BOOL kinesisVideoStreamDefaultTryLockMutex(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    return pthread_mutex_trylock(mutex_of(mutex)) == 0;
}

VOID kinesisVideoStreamDefaultUnlockMutex(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    pthread_mutex_unlock(mutex_of(mutex));
}

VOID kinesisVideoStreamDefaultFreeMutex(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    pthread_mutex_destroy(mutex_of(mutex));
    free(mutex_of(mutex));
}

CVAR kinesisVideoStreamDefaultCreateConditionVariable(UINT64 custom)
{
    pthread_condattr_t attributes;
    pthread_cond_t *condition = malloc(sizeof *condition);
    (void)custom;
    if (condition == NULL) return NULL;
    pthread_condattr_init(&attributes);
#if !defined(__APPLE__)
    pthread_condattr_setclock(&attributes, WAIT_CLOCK);
#endif
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return condition;
}

STATUS kinesisVideoStreamDefaultSignalConditionVariable(UINT64 custom, CVAR condition)
{
    (void)custom;
    return pthread_cond_signal(condition) == 0 ? STATUS_SUCCESS : STATUS_INVALID_OPERATION;
}

STATUS kinesisVideoStreamDefaultBroadcastConditionVariable(UINT64 custom, CVAR condition)
{
    (void)custom;
    return pthread_cond_broadcast(condition) == 0 ? STATUS_SUCCESS : STATUS_INVALID_OPERATION;
}

STATUS kinesisVideoStreamDefaultWaitConditionVariable(UINT64 custom, CVAR condition, MUTEX mutex, UINT64 timeout_hns)
{
    struct timespec until;
    (void)custom;
    if (timeout_hns > WAIT_MAX_HNS) {
        return pthread_cond_wait(condition, mutex_of(mutex)) == 0 ? STATUS_SUCCESS : STATUS_WAIT_FAILED;
    }
    clock_gettime(WAIT_CLOCK, &until);
    uint64_t nanos = (uint64_t)until.tv_nsec + timeout_hns % HUNDREDS_OF_NANOS_IN_A_SECOND * DEFAULT_TIME_UNIT_IN_NANOS;
    until.tv_sec += (time_t)(timeout_hns / HUNDREDS_OF_NANOS_IN_A_SECOND + nanos / 1000000000u);
    until.tv_nsec = (long)(nanos % 1000000000u);
    int error = pthread_cond_timedwait(condition, mutex_of(mutex), &until);
    if (error == ETIMEDOUT) return STATUS_OPERATION_TIMED_OUT;
    return error == 0 ? STATUS_SUCCESS : STATUS_WAIT_FAILED;
}

VOID kinesisVideoStreamDefaultFreeConditionVariable(UINT64 custom, CVAR condition)
{
    (void)custom;
    pthread_cond_destroy(condition);
    free(condition);
}
#endif

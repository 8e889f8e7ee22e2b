/* sync_windows.c — sync.h and the locks of pic.h by critical sections and condition variables of Windows. A
 * critical section is always re-entrant. Empty elsewhere. */
#include "pic/sync.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <stdlib.h>

#define WAIT_MAX_MS 0x7FFFFFFFu

static SRWLOCK global = SRWLOCK_INIT;

void pic_global_lock(void) { AcquireSRWLockExclusive(&global); }
void pic_global_unlock(void) { ReleaseSRWLockExclusive(&global); }

static CRITICAL_SECTION *section_of(MUTEX mutex) { return (CRITICAL_SECTION *)(uintptr_t)mutex; }

MUTEX kinesisVideoStreamDefaultCreateMutex(UINT64 custom, BOOL is_reentrant)
{
    CRITICAL_SECTION *section = malloc(sizeof *section);
    (void)custom;
    (void)is_reentrant;
    if (section != NULL) InitializeCriticalSection(section);
    return (MUTEX)(uintptr_t)section;
}

VOID kinesisVideoStreamDefaultLockMutex(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    EnterCriticalSection(section_of(mutex));
}

BOOL kinesisVideoStreamDefaultTryLockMutex(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    return TryEnterCriticalSection(section_of(mutex)) != 0;
}

VOID kinesisVideoStreamDefaultUnlockMutex(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    LeaveCriticalSection(section_of(mutex));
}

VOID kinesisVideoStreamDefaultFreeMutex(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    DeleteCriticalSection(section_of(mutex));
    free(section_of(mutex));
}

CVAR kinesisVideoStreamDefaultCreateConditionVariable(UINT64 custom)
{
    CVAR condition = malloc(sizeof *condition);
    (void)custom;
    if (condition != NULL) InitializeConditionVariable(condition);
    return condition;
}

STATUS kinesisVideoStreamDefaultSignalConditionVariable(UINT64 custom, CVAR condition)
{
    (void)custom;
    WakeConditionVariable(condition);
    return STATUS_SUCCESS;
}

STATUS kinesisVideoStreamDefaultBroadcastConditionVariable(UINT64 custom, CVAR condition)
{
    (void)custom;
    WakeAllConditionVariable(condition);
    return STATUS_SUCCESS;
}

STATUS kinesisVideoStreamDefaultWaitConditionVariable(UINT64 custom, CVAR condition, MUTEX mutex, UINT64 timeout_hns)
{
    UINT64 ms = timeout_hns / HUNDREDS_OF_NANOS_IN_A_MILLISECOND + 1u;
    DWORD wait = timeout_hns == INFINITE_TIME_VALUE ? INFINITE : ms < WAIT_MAX_MS ? (DWORD)ms : WAIT_MAX_MS;
    (void)custom;
    if (SleepConditionVariableCS(condition, section_of(mutex), wait)) return STATUS_SUCCESS;
    return GetLastError() == ERROR_TIMEOUT ? STATUS_OPERATION_TIMED_OUT : STATUS_WAIT_FAILED;
}

VOID kinesisVideoStreamDefaultFreeConditionVariable(UINT64 custom, CVAR condition)
{
    (void)custom;
    free(condition);
}
#endif

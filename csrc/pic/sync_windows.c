/* sync_windows.c — sync.h by critical sections and condition variables of Windows. A critical section is always
 * re-entrant. Empty elsewhere. */
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

MUTEX pic_mutex_new(UINT64 custom, BOOL is_reentrant)
{
    CRITICAL_SECTION *section = malloc(sizeof *section);
    (void)custom;
    (void)is_reentrant;
    if (section != NULL) InitializeCriticalSection(section);
    return (MUTEX)(uintptr_t)section;
}

void pic_mutex_lock(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    EnterCriticalSection(section_of(mutex));
}

BOOL pic_mutex_try_lock(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    return TryEnterCriticalSection(section_of(mutex)) != 0;
}

void pic_mutex_unlock(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    LeaveCriticalSection(section_of(mutex));
}

void pic_mutex_free(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    DeleteCriticalSection(section_of(mutex));
    free(section_of(mutex));
}

CVAR pic_condition_new(UINT64 custom)
{
    CVAR condition = malloc(sizeof *condition);
    (void)custom;
    if (condition != NULL) InitializeConditionVariable(condition);
    return condition;
}

STATUS pic_condition_signal(UINT64 custom, CVAR condition)
{
    (void)custom;
    WakeConditionVariable(condition);
    return STATUS_SUCCESS;
}

STATUS pic_condition_broadcast(UINT64 custom, CVAR condition)
{
    (void)custom;
    WakeAllConditionVariable(condition);
    return STATUS_SUCCESS;
}

STATUS pic_condition_wait(UINT64 custom, CVAR condition, MUTEX mutex, UINT64 timeout_hns)
{
    UINT64 ms = timeout_hns / HUNDREDS_OF_NANOS_IN_A_MILLISECOND + 1u;
    DWORD wait = timeout_hns == INFINITE_TIME_VALUE ? INFINITE : ms < WAIT_MAX_MS ? (DWORD)ms : WAIT_MAX_MS;
    (void)custom;
    if (SleepConditionVariableCS(condition, section_of(mutex), wait)) return STATUS_SUCCESS;
    return GetLastError() == ERROR_TIMEOUT ? STATUS_OPERATION_TIMED_OUT : STATUS_WAIT_FAILED;
}

void pic_condition_free(UINT64 custom, CVAR condition)
{
    (void)custom;
    free(condition);
}
#endif

/* sync.h — the locks and condition variables of a program that brings none, in the shape of ClientCallbacks, and the
 * one lock of the process, for the table of handles. The first argument is not used. */
#ifndef KVS_PIC_SYNC_H
#define KVS_PIC_SYNC_H

#include "pic.h"

MUTEX pic_mutex_new(UINT64 custom, BOOL is_reentrant); /* 0: no memory */
void pic_mutex_lock(UINT64 custom, MUTEX mutex);
BOOL pic_mutex_try_lock(UINT64 custom, MUTEX mutex); /* TRUE: it is locked now */
void pic_mutex_unlock(UINT64 custom, MUTEX mutex);
void pic_mutex_free(UINT64 custom, MUTEX mutex);
CVAR pic_condition_new(UINT64 custom); /* NULL: no memory */
STATUS pic_condition_signal(UINT64 custom, CVAR condition);
STATUS pic_condition_broadcast(UINT64 custom, CVAR condition);
/* STATUS_OPERATION_TIMED_OUT when the time has passed; INFINITE_TIME_VALUE: no limit. */
STATUS pic_condition_wait(UINT64 custom, CVAR condition, MUTEX mutex, UINT64 timeout_hns);
void pic_condition_free(UINT64 custom, CVAR condition);

void pic_global_lock(void);
void pic_global_unlock(void);

#endif

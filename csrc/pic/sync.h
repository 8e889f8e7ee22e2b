/* sync.h — the one lock of the process, for the table of handles. The locks and condition variables of a program that
 * brings none stand beside it in sync_posix.c and sync_windows.c, under their names in pic.h. */
#ifndef KVS_PIC_SYNC_H
#define KVS_PIC_SYNC_H

#include "pic.h"

void pic_global_lock(void);
void pic_global_unlock(void);

#endif

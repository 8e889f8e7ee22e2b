/* kvs_host.h — ready-made host functions for programs that bring none of their own: memory, locks, random numbers, a
 * clock and a wake-up descriptor, for POSIX and for Windows. The core knows nothing of them; it sees a struct kvs_host.
 * Any thread may call any function here, except that a wake-up is freed only when no thread can use it any more. */
#ifndef KVS_HOST_KVS_HOST_H
#define KVS_HOST_KVS_HOST_H

#include <stdint.h>

#include "kvspic.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A connected pair of sockets: one byte goes in when actions went from none to some, and the reading end becomes
 * readable. Many wakes may become one byte, and bytes that find the pair full are not sent: it is readable then. */
struct kvs_host_wake;

/* Makes a pair, both ends non-blocking and not inherited by child programs. *read_fd_out (a SOCKET on Windows) stays
 * the wake's: watch it and read it empty, but do not close it.
 *   KVS_E_NULL_ARG, KVS_E_NOMEM
 *   KVS_E_HOST  the system gave no sockets; errno (Windows: WSAGetLastError) says why */
kvs_status kvs_host_wake_new(struct kvs_host_wake **out, intptr_t *read_fd_out);
/* Closes both ends. NULL is allowed. */
void kvs_host_wake_free(struct kvs_host_wake *wake);

/* Fills every field of *host. Without a wake, host->wake is NULL. The wake must outlive each client made with it. */
void kvs_host_init(struct kvs_host *host, struct kvs_host_wake *wake_or_null);

/* The clock for `now_hns`: the wall time at the first use in this process plus the monotonic time since then. It never
 * goes back and does not follow later corrections of the wall clock. */
uint64_t kvs_host_now_hns(void);

#ifdef __cplusplus
}
#endif
#endif

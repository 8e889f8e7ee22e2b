/* host.h — how the core asks its host (struct kvs_host in kvspic.h) for memory and locks. Small inline calls that cope
 * with a host without locks, so that no caller tests for NULL functions. Only csrc/engine and the slab pool
 * (csrc/store/slab.c) take locks.
 * A lock that is NULL means "one thread only": locking it does nothing. */
#ifndef KVS_BASE_HOST_H
#define KVS_BASE_HOST_H

#include <string.h>

#include "kvspic.h"

/* What kvs_client_new asks first.
 *   KVS_E_NULL_ARG     host is NULL
 *   KVS_E_CONFIG_SIZE  host->size is not sizeof(struct kvs_host)
 *   KVS_E_HOST         alloc or free is missing, or the lock functions are some but not all */
kvs_status kvs_host_check(const struct kvs_host *host);

static inline int kvs_host_has_locks(const struct kvs_host *host)
{
    return host->lock_new != NULL;
}

static inline void *kvs_host_alloc(const struct kvs_host *host, size_t size)
{
    return host->alloc(host->ctx, size);
}

/* The same, filled with zeros. */
static inline void *kvs_host_alloc_zero(const struct kvs_host *host, size_t size)
{
    void *block = host->alloc(host->ctx, size);
    if (block != NULL) memset(block, 0, size);
    return block;
}

/* NULL is allowed. */
static inline void kvs_host_free(const struct kvs_host *host, void *block)
{
    if (block != NULL) host->free(host->ctx, block);
}

/* Makes a lock, or NULL in *lock_out when the host has none.   KVS_E_NOMEM  *lock_out is NULL */
static inline kvs_status kvs_host_lock_new(const struct kvs_host *host, void **lock_out)
{
    *lock_out = NULL;
    if (!kvs_host_has_locks(host)) return KVS_OK;
    *lock_out = host->lock_new(host->ctx);
    return *lock_out == NULL ? KVS_E_NOMEM : KVS_OK;
}

static inline void kvs_host_lock(const struct kvs_host *host, void *lock)
{
    if (lock != NULL) host->lock(host->ctx, lock);
}

static inline void kvs_host_unlock(const struct kvs_host *host, void *lock)
{
    if (lock != NULL) host->unlock(host->ctx, lock);
}

static inline void kvs_host_lock_free(const struct kvs_host *host, void *lock)
{
    if (lock != NULL) host->lock_free(host->ctx, lock);
}

/* Never call it under a lock: the host may run code of its own. */
static inline void kvs_host_wake(const struct kvs_host *host)
{
    if (host->wake != NULL) host->wake(host->ctx);
}

#endif

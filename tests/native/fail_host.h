/* fail_host.h — a host for tests: it counts what the core holds, makes the Nth allocation fail, and watches the rules
 * (every lock free when the wake comes, no lock taken twice, nothing freed that was not given).
 *   Use   struct fail_host fail = { .fail_at = n }; struct kvs_host host = fail_host_of(&fail); ...
 *         CHECK(fail_host_is_clean(&fail));
 * One thread only: the locks are counters. `faults` is 0 as long as every rule was kept. */
#ifndef KVS_TESTS_FAIL_HOST_H
#define KVS_TESTS_FAIL_HOST_H

#include <stdint.h>
#include <stdlib.h>

#include "kvspic.h"

struct fail_host {
    uint64_t fail_at;      /* the allocation that fails, from 1; 0: none */
    int fails_after;       /* with fail_at: each later one fails too */
    uint64_t alloc_count;  /* asked for, failed ones included; a lock is one too */
    uint64_t live_blocks, live_bytes, peak_bytes;
    uint64_t live_locks, held_locks, lock_pairs;
    uint64_t wake_count;
    uint64_t random_state;
    uint64_t faults;
};

struct fail_block {
    uint64_t mark, size;
};
struct fail_lock {
    int is_held;
};
#define FAIL_HOST_MARK UINT64_C(0x6b76737069636f6b)

static inline void *fail_host_alloc(void *ctx, size_t size)
{
    struct fail_host *fail = ctx;
    fail->alloc_count++;
    if (fail->fail_at != 0 && (fail->alloc_count == fail->fail_at ||
                               (fail->fails_after && fail->alloc_count > fail->fail_at))) {
        return NULL;
    }
    struct fail_block *block = malloc(sizeof(*block) + size);
    if (block == NULL) return NULL;
    *block = (struct fail_block){ .mark = FAIL_HOST_MARK, .size = size };
    fail->live_blocks++;
    fail->live_bytes += size;
    if (fail->live_bytes > fail->peak_bytes) fail->peak_bytes = fail->live_bytes;
    return block + 1;
}

static inline void fail_host_free(void *ctx, void *payload)
{
    struct fail_host *fail = ctx;
    struct fail_block *block = payload == NULL ? NULL : (struct fail_block *)payload - 1;
    if (block == NULL || block->mark != FAIL_HOST_MARK) {
        fail->faults++;
        return;
    }
    fail->live_blocks--;
    fail->live_bytes -= block->size;
    block->mark = 0;
    free(block);
}

static inline void *fail_host_lock_new(void *ctx)
{
    struct fail_host *fail = ctx;
    struct fail_lock *lock = fail_host_alloc(ctx, sizeof(*lock));
    if (lock == NULL) return NULL;
    lock->is_held = 0;
    fail->live_locks++;
    return lock;
}

static inline void fail_host_lock(void *ctx, void *opaque)
{
    struct fail_host *fail = ctx;
    struct fail_lock *lock = opaque;
    fail->faults += lock->is_held != 0;
    lock->is_held = 1;
    fail->held_locks++;
    fail->lock_pairs++;
}

static inline void fail_host_unlock(void *ctx, void *opaque)
{
    struct fail_host *fail = ctx;
    struct fail_lock *lock = opaque;
    fail->faults += lock->is_held == 0;
    lock->is_held = 0;
    fail->held_locks--;
}

static inline void fail_host_lock_free(void *ctx, void *opaque)
{
    struct fail_host *fail = ctx;
    fail->faults += ((struct fail_lock *)opaque)->is_held != 0;
    fail->live_locks--;
    fail_host_free(ctx, opaque);
}

/* Seeded by random_state alone, so that a run repeats. */
static inline uint32_t fail_host_random(void *ctx)
{
    struct fail_host *fail = ctx;
    fail->random_state = fail->random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(fail->random_state >> 32);
}

static inline void fail_host_wake(void *ctx)
{
    struct fail_host *fail = ctx;
    fail->faults += fail->held_locks != 0;
    fail->wake_count++;
}

static inline struct kvs_host fail_host_of(struct fail_host *fail)
{
    return (struct kvs_host){
        .size = sizeof(struct kvs_host),
        .ctx = fail,
        .alloc = fail_host_alloc,
        .free = fail_host_free,
        .lock_new = fail_host_lock_new,
        .lock = fail_host_lock,
        .unlock = fail_host_unlock,
        .lock_free = fail_host_lock_free,
        .random = fail_host_random,
        .wake = fail_host_wake,
    };
}

/* All is given back and every rule was kept. */
static inline int fail_host_is_clean(const struct fail_host *fail)
{
    return fail->live_blocks == 0 && fail->live_bytes == 0 && fail->live_locks == 0 && fail->held_locks == 0 &&
           fail->faults == 0;
}

#endif

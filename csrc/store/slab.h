/* slab.h — the content store: slabs within one budget (the pool), and a stream's chain of them.
 *
 * Pool: shared by all streams of a client, under its own lock, which is taken once per slab, never per frame. It counts
 * every slab that exists; free ones are kept for the next taker, up to the most that were in use in the last minute or
 * two, and at most two are given back to the host per call, so that no call pays for many.
 * Chain: the bytes of one stream at ever-growing offsets. Appending is a bump; trimming hands whole slabs back by one
 * splice; a range in the middle can be punched out. Offsets stay valid until they are trimmed or punched.
 *   Locks      The chain is its stream's, under the stream's lock; the pool locks itself.
 *   Ownership  The pool owns free slabs, a chain the ones it holds; kvs_chain_free gives them back. */
#ifndef KVS_STORE_SLAB_H
#define KVS_STORE_SLAB_H

#include "base/check.h"
#include "base/host.h"
#include "kvspic.h"

struct kvs_slab {
    struct kvs_slab *next;
    uint8_t data[KVS_SLAB_SIZE];
};

struct kvs_pool {
    const struct kvs_host *host;
    void *lock;
    struct kvs_slab *free_list;
    uint64_t slabs_max;
    uint64_t used_count, free_count; /* used + free = what exists */
    uint64_t peak, last_peak;        /* most in use in this window and the one before */
    uint64_t window_end_hns;
};

kvs_status kvs_pool_init(struct kvs_pool *pool, const struct kvs_host *host, uint64_t bytes_max);
void kvs_pool_fini(struct kvs_pool *pool);     /* every chain is free by then */
uint64_t kvs_pool_used(struct kvs_pool *pool); /* slabs */

struct kvs_chain {
    struct kvs_slab **ring; /* slab i of the chain is ring[i & (capacity - 1)]; NULL where punched */
    uint32_t capacity;      /* a power of two, or 0 */
    uint64_t first, end;    /* slab numbers held: first <= i < end */
    uint64_t held_count;    /* without the punched ones */
    uint64_t tail, head;    /* byte offsets: oldest kept, one past the newest */
};

/* Makes room for `size` bytes at the head.
 *   KVS_E_STORE_FULL  the budget (or slabs_max of this chain, 0: none) does not allow it; nothing changed
 *   KVS_E_NOMEM       the host has no memory; nothing changed */
kvs_status kvs_chain_reserve(struct kvs_chain *chain, struct kvs_pool *pool, uint64_t size, uint64_t slabs_max,
                             uint64_t now_hns);
/* Takes reserved bytes: returns their offset. */
static inline uint64_t kvs_chain_advance(struct kvs_chain *chain, uint64_t size)
{
    uint64_t offset = chain->head;
    chain->head += size;
    KVS_CHECK(chain->head <= chain->end * KVS_SLAB_SIZE);
    return offset;
}
/* Gives back what a reserve added and no advance went into. */
void kvs_chain_unreserve(struct kvs_chain *chain, struct kvs_pool *pool);
/* 1 when `size` bytes fit at the head without another slab. */
static inline int kvs_chain_has_room(const struct kvs_chain *chain, uint64_t size)
{
    return size <= chain->end * KVS_SLAB_SIZE - chain->head;
}
/* Where `size` bytes that were reserved lie in one piece, or NULL where they span slabs. Borrowed until they go. No
 * bytes lie nowhere: at the end of the chain there may be no slab. */
static inline uint8_t *kvs_chain_at(const struct kvs_chain *chain, uint64_t offset, uint64_t size)
{
    uint64_t at = offset % KVS_SLAB_SIZE;
    if (at + size > KVS_SLAB_SIZE || size == 0) return NULL;
    return chain->ring[(offset / KVS_SLAB_SIZE) & (chain->capacity - 1u)]->data + at;
}
void kvs_chain_write_spanning(struct kvs_chain *chain, uint64_t offset, const uint8_t *bytes, uint64_t size);
void kvs_chain_read_spanning(const struct kvs_chain *chain, uint64_t offset, uint8_t *bytes_out, uint64_t size);
static inline void kvs_chain_write(struct kvs_chain *chain, uint64_t offset, const uint8_t *bytes, uint64_t size)
{
    uint8_t *place = kvs_chain_at(chain, offset, size);
    if (place != NULL) memcpy(place, bytes, (size_t)size);
    else kvs_chain_write_spanning(chain, offset, bytes, size);
}
static inline void kvs_chain_read(const struct kvs_chain *chain, uint64_t offset, uint8_t *bytes_out, uint64_t size)
{
    const uint8_t *place = kvs_chain_at(chain, offset, size);
    if (place != NULL) memcpy(bytes_out, place, (size_t)size);
    else kvs_chain_read_spanning(chain, offset, bytes_out, size);
}
/* Everything before `offset` may go; at the head everything goes. */
void kvs_chain_trim(struct kvs_chain *chain, struct kvs_pool *pool, uint64_t offset);
/* The slabs that lie wholly inside [from, to) go. */
void kvs_chain_punch(struct kvs_chain *chain, struct kvs_pool *pool, uint64_t from, uint64_t to);
void kvs_chain_free(struct kvs_chain *chain, struct kvs_pool *pool);

#endif

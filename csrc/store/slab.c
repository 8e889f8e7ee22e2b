/* slab.c — see slab.h. The slabs of a chain are linked in order as well as indexed, so a trim is one splice. */
#include "store/slab.h"

#include <string.h>

#include "base/check.h"
#include "base/hns.h"

#define WINDOW_HNS (60 * KVS_HNS_PER_SECOND)
#define RING_MIN 4u
#define RETURNS_PER_CALL 2u

kvs_status kvs_pool_init(struct kvs_pool *pool, const struct kvs_host *host, uint64_t bytes_max)
{
    memset(pool, 0, sizeof *pool);
    pool->host = host;
    pool->slabs_max = bytes_max / KVS_SLAB_SIZE;
    return kvs_host_lock_new(host, &pool->lock);
}

void kvs_pool_fini(struct kvs_pool *pool)
{
    while (pool->free_list != NULL) {
        struct kvs_slab *slab = pool->free_list;
        pool->free_list = slab->next;
        kvs_host_free(pool->host, slab);
    }
    kvs_host_lock_free(pool->host, pool->lock);
}

uint64_t kvs_pool_used(struct kvs_pool *pool)
{
    kvs_host_lock(pool->host, pool->lock);
    uint64_t used = pool->used_count;
    kvs_host_unlock(pool->host, pool->lock);
    return used;
}

static void pool_note_peak(struct kvs_pool *pool, uint64_t now_hns)
{
    if (now_hns >= pool->window_end_hns) {
        pool->last_peak = pool->peak;
        pool->peak = 0;
        pool->window_end_hns = kvs_hns_add(now_hns, WINDOW_HNS);
    }
    if (pool->used_count > pool->peak) pool->peak = pool->used_count;
}

/* Unlinks at most a few slabs that were not needed for a while; the caller frees them outside the lock. */
static struct kvs_slab *pool_excess(struct kvs_pool *pool)
{
    uint64_t keep = pool->peak > pool->last_peak ? pool->peak : pool->last_peak;
    struct kvs_slab *excess = NULL;
    for (uint32_t i = 0; i < RETURNS_PER_CALL && pool->free_list != NULL && pool->used_count + pool->free_count > keep;
         i++) {
        struct kvs_slab *slab = pool->free_list;
        pool->free_list = slab->next;
        pool->free_count--;
        slab->next = excess;
        excess = slab;
    }
    return excess;
}

static void free_list(const struct kvs_host *host, struct kvs_slab *list)
{
    while (list != NULL) {
        struct kvs_slab *slab = list;
        list = slab->next;
        kvs_host_free(host, slab);
    }
}

static kvs_status pool_take(struct kvs_pool *pool, uint64_t now_hns, struct kvs_slab **slab_out)
{
    kvs_host_lock(pool->host, pool->lock);
    if (pool->used_count >= pool->slabs_max) {
        kvs_host_unlock(pool->host, pool->lock);
        return KVS_E_STORE_FULL;
    }
    pool->used_count++;
    pool_note_peak(pool, now_hns);
    struct kvs_slab *slab = pool->free_list;
    if (slab != NULL) {
        pool->free_list = slab->next;
        pool->free_count--;
    }
    struct kvs_slab *excess = pool_excess(pool);
    kvs_host_unlock(pool->host, pool->lock);
    free_list(pool->host, excess);
    if (slab == NULL) slab = kvs_host_alloc(pool->host, sizeof *slab);
    if (slab == NULL) {
        kvs_host_lock(pool->host, pool->lock);
        pool->used_count--;
        kvs_host_unlock(pool->host, pool->lock);
        return KVS_E_NOMEM;
    }
    slab->next = NULL;
    *slab_out = slab;
    return KVS_OK;
}

static void pool_give(struct kvs_pool *pool, struct kvs_slab *first, struct kvs_slab *last, uint64_t count)
{
    if (count == 0) return;
    kvs_host_lock(pool->host, pool->lock);
    KVS_CHECK(pool->used_count >= count);
    last->next = pool->free_list;
    pool->free_list = first;
    pool->used_count -= count;
    pool->free_count += count;
    struct kvs_slab *excess = pool_excess(pool);
    kvs_host_unlock(pool->host, pool->lock);
    free_list(pool->host, excess);
}

static struct kvs_slab **chain_slot(const struct kvs_chain *chain, uint64_t number)
{
    return &chain->ring[number & (chain->capacity - 1u)];
}

static kvs_status chain_grow_ring(struct kvs_chain *chain, const struct kvs_host *host)
{
    if (chain->end - chain->first < chain->capacity) return KVS_OK;
    uint32_t capacity = chain->capacity == 0 ? RING_MIN : chain->capacity * 2u;
    struct kvs_slab **ring = kvs_host_alloc(host, capacity * sizeof *ring);
    if (ring == NULL) return KVS_E_NOMEM;
    for (uint64_t i = chain->first; i < chain->end; i++) ring[i & (capacity - 1u)] = *chain_slot(chain, i);
    if (chain->ring != NULL) kvs_host_free(host, chain->ring);
    chain->ring = ring;
    chain->capacity = capacity;
    return KVS_OK;
}

static struct kvs_slab *chain_held_before(const struct kvs_chain *chain, uint64_t number)
{
    while (number > chain->first) {
        number--;
        struct kvs_slab *slab = *chain_slot(chain, number);
        if (slab != NULL) return slab;
    }
    return NULL;
}

kvs_status kvs_chain_reserve(struct kvs_chain *chain, struct kvs_pool *pool, uint64_t size, uint64_t slabs_max,
                             uint64_t now_hns)
{
    uint64_t need_end = (chain->head + size + KVS_SLAB_SIZE - 1u) / KVS_SLAB_SIZE;
    kvs_status status = KVS_OK;
    while (chain->end < need_end && status == KVS_OK) {
        struct kvs_slab *slab = NULL;
        if (slabs_max != 0 && chain->held_count >= slabs_max) status = KVS_E_STORE_FULL;
        if (status == KVS_OK) status = chain_grow_ring(chain, pool->host);
        if (status == KVS_OK) status = pool_take(pool, now_hns, &slab);
        if (status != KVS_OK) break;
        struct kvs_slab *before = chain_held_before(chain, chain->end);
        if (before != NULL) before->next = slab;
        *chain_slot(chain, chain->end) = slab;
        chain->end++;
        chain->held_count++;
    }
    if (status != KVS_OK) kvs_chain_unreserve(chain, pool);
    return status;
}

/* Hands the slabs with numbers from..to-1 back to the pool; links the rest. */
static void chain_release(struct kvs_chain *chain, struct kvs_pool *pool, uint64_t from, uint64_t to)
{
    struct kvs_slab *first = NULL, *last = NULL;
    uint64_t count = 0;
    if (from == chain->first && chain->held_count == chain->end - chain->first && to > from) {
        first = *chain_slot(chain, from); /* no holes: one splice */
        last = *chain_slot(chain, to - 1);
        count = to - from;
    } else {
        struct kvs_slab *before = chain_held_before(chain, from);
        for (uint64_t i = from; i < to; i++) {
            struct kvs_slab *slab = *chain_slot(chain, i);
            *chain_slot(chain, i) = NULL;
            if (slab == NULL) continue;
            if (first == NULL) first = slab;
            last = slab;
            count++;
        }
        if (last != NULL && before != NULL) before->next = last->next;
    }
    chain->held_count -= count;
    pool_give(pool, first, last, count);
}

void kvs_chain_unreserve(struct kvs_chain *chain, struct kvs_pool *pool)
{
    uint64_t keep_end = (chain->head + KVS_SLAB_SIZE - 1u) / KVS_SLAB_SIZE;
    if (keep_end < chain->first) keep_end = chain->first;
    if (chain->end <= keep_end) return;
    uint64_t end = chain->end;
    chain_release(chain, pool, keep_end, end);
    chain->end = keep_end;
}

void kvs_chain_write_spanning(struct kvs_chain *chain, uint64_t offset, const uint8_t *bytes, uint64_t size)
{
    while (size != 0) {
        struct kvs_slab *slab = *chain_slot(chain, offset / KVS_SLAB_SIZE);
        uint64_t at = offset % KVS_SLAB_SIZE;
        uint64_t piece = KVS_SLAB_SIZE - at < size ? KVS_SLAB_SIZE - at : size;
        memcpy(slab->data + at, bytes, (size_t)piece);
        bytes += piece;
        offset += piece;
        size -= piece;
    }
}

void kvs_chain_read_spanning(const struct kvs_chain *chain, uint64_t offset, uint8_t *bytes_out, uint64_t size)
{
    while (size != 0) {
        const struct kvs_slab *slab = *chain_slot(chain, offset / KVS_SLAB_SIZE);
        uint64_t at = offset % KVS_SLAB_SIZE;
        uint64_t piece = KVS_SLAB_SIZE - at < size ? KVS_SLAB_SIZE - at : size;
        memcpy(bytes_out, slab->data + at, (size_t)piece);
        bytes_out += piece;
        offset += piece;
        size -= piece;
    }
}

void kvs_chain_trim(struct kvs_chain *chain, struct kvs_pool *pool, uint64_t offset)
{
    KVS_CHECK(offset <= chain->head);
    if (offset <= chain->tail) return;
    chain->tail = offset;
    uint64_t to = offset / KVS_SLAB_SIZE;
    if (offset == chain->head) { /* empty: also the slab in use goes; the next byte starts a fresh one */
        to = chain->end;
        chain->head = chain->tail = to * KVS_SLAB_SIZE;
    }
    if (to <= chain->first) return;
    chain_release(chain, pool, chain->first, to);
    chain->first = to;
}

void kvs_chain_punch(struct kvs_chain *chain, struct kvs_pool *pool, uint64_t from, uint64_t to)
{
    uint64_t first = (from + KVS_SLAB_SIZE - 1u) / KVS_SLAB_SIZE, end = to / KVS_SLAB_SIZE;
    if (first < chain->first) first = chain->first;
    if (end > chain->end) end = chain->end;
    if (first < end) chain_release(chain, pool, first, end);
}

void kvs_chain_free(struct kvs_chain *chain, struct kvs_pool *pool)
{
    if (chain->end > chain->first) chain_release(chain, pool, chain->first, chain->end);
    chain->first = chain->end;
    if (chain->ring != NULL) kvs_host_free(pool->host, chain->ring);
    memset(chain, 0, sizeof *chain);
}

/* backoff.c — bounded exponential waits with full jitter; see backoff.h. */
#include "machine/backoff.h"

#include "base/hns.h"

void kvs_backoff_init(struct kvs_backoff *backoff, uint64_t base_hns, uint64_t cap_hns, uint32_t retries_max)
{
    *backoff = (struct kvs_backoff){ .retries_max = retries_max, .base_hns = base_hns, .cap_hns = cap_hns };
}

/* min(base x 2^n, cap) without ever forming the product that would not fit. */
static uint64_t wait_max_hns(const struct kvs_backoff *backoff)
{
    if (backoff->count >= 64 || backoff->base_hns > backoff->cap_hns >> backoff->count) return backoff->cap_hns;
    return backoff->base_hns << backoff->count;
}

int kvs_backoff_next(struct kvs_backoff *backoff, struct kvs_prng *prng, uint64_t *wait_hns_out)
{
    if (backoff->count >= backoff->retries_max) return 0;
    uint64_t max_hns = wait_max_hns(backoff);
    *wait_hns_out = max_hns == UINT64_MAX ? kvs_prng_next(prng) : kvs_prng_below(prng, max_hns + 1);
    backoff->count++;
    return 1;
}

void kvs_backoff_progress(struct kvs_backoff *backoff)
{
    backoff->count = 0;
}

uint64_t kvs_pace_take(struct kvs_pace *pace, uint64_t wanted_hns)
{
    uint64_t *oldest = &pace->due_hns[pace->next];
    uint64_t free_hns = *oldest == 0 ? 0 : kvs_hns_add(*oldest, KVS_PACE_WINDOW_HNS);
    pace->replaced_hns = *oldest;
    *oldest = kvs_hns_max(wanted_hns, free_hns);
    pace->next = (pace->next + 1u) % KVS_PACE_CALLS;
    return pace->due_hns[(pace->next + KVS_PACE_CALLS - 1u) % KVS_PACE_CALLS];
}

void kvs_pace_give_back(struct kvs_pace *pace, uint64_t now_hns)
{
    uint32_t last = (pace->next + KVS_PACE_CALLS - 1u) % KVS_PACE_CALLS;
    if (pace->due_hns[last] <= now_hns) return;
    pace->due_hns[last] = pace->replaced_hns;
    pace->next = last;
}

/* backoff.c — bounded exponential waits with full jitter; see backoff.h. */
#include "machine/backoff.h"

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

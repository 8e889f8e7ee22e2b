/* backoff.h — bounded retries with exponential waits and full jitter, one object per stream (and one per client).
 *
 * wait(n) = uniform in [0, min(base x 2^n, cap)] for the n-th retry, n = 0, 1, 2 ...: the jitter is inside the cap
 * ("full jitter", AWS Architecture Blog, "Exponential Backoff And Jitter"). kvs_backoff_next gives the wait and counts;
 * after `retries_max` it says so until kvs_backoff_progress, which is called when an ACK arrives or a state is left
 * forwards. The clock is the caller's; nothing is remembered but the count. */
#ifndef KVS_MACHINE_BACKOFF_H
#define KVS_MACHINE_BACKOFF_H

#include "base/prng.h"
#include "kvspic.h"

struct kvs_backoff {
    uint32_t count;
    uint32_t retries_max;
    uint64_t base_hns, cap_hns;
};

void kvs_backoff_init(struct kvs_backoff *backoff, uint64_t base_hns, uint64_t cap_hns, uint32_t retries_max);
/* 1 and *wait_hns_out, or 0 when the retries are spent (the count stays). */
int kvs_backoff_next(struct kvs_backoff *backoff, struct kvs_prng *prng, uint64_t *wait_hns_out);
void kvs_backoff_progress(struct kvs_backoff *backoff);

#endif

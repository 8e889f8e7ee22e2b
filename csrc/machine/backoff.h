/* backoff.h — bounded retries with exponential waits and full jitter, one object per stream (and one per client); and
 * a pace, which keeps any number of calls below a rate.
 *
 * wait(n) = uniform in [0, min(base x 2^n, cap)] for the n-th retry, n = 0, 1, 2 ...: the jitter is inside the cap
 * ("full jitter", AWS Architecture Blog, "Exponential Backoff And Jitter"). kvs_backoff_next gives the wait and counts;
 * after `retries_max` it says so until kvs_backoff_progress, which is called when a fragment is done or a state is left
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

/* The service takes 5 calls a second of one kind for one stream (developer guide, "Quotas"). Two orders a second leave
 * room for a network layer that repeats a call once with other credentials, and for calls that meet on their way. */
#define KVS_PACE_CALLS 2u
#define KVS_PACE_WINDOW_HNS KVS_HNS_PER_SECOND

/* When the last calls of one kind were due; all zero before the first one. */
struct kvs_pace {
    uint64_t due_hns[KVS_PACE_CALLS]; /* ring */
    uint32_t next;
    uint64_t replaced_hns; /* what stood where the last call stands */
};

/* The time of the next call: `wanted_hns`, or later so that no second holds more than KVS_PACE_CALLS. The call counts.
 */
uint64_t kvs_pace_take(struct kvs_pace *pace, uint64_t wanted_hns);
/* The last call that was taken will not be made: it counts no more, unless it is due already. Once for each take. */
void kvs_pace_give_back(struct kvs_pace *pace, uint64_t now_hns);

#endif

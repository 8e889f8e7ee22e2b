/* prng.h — a small seeded generator (splitmix64) for jitter and UUIDs; not for secrets. When the host gives `random`,
 * that is asked instead. */
#ifndef KVS_BASE_PRNG_H
#define KVS_BASE_PRNG_H

#include <stdint.h>

struct kvs_prng {
    uint64_t state;
    uint32_t (*random)(void *ctx); /* optional */
    void *ctx;
};

uint64_t kvs_prng_next(struct kvs_prng *prng);
uint64_t kvs_prng_below(struct kvs_prng *prng, uint64_t bound); /* uniform in [0, bound); 0 for bound 0 */

#endif

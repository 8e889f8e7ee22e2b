/* prng.c — splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). */
#include "base/prng.h"

#include <stddef.h>

uint64_t kvs_prng_next(struct kvs_prng *prng)
{
    if (prng->random != NULL) {
        const uint64_t high = prng->random(prng->ctx);
        return high << 32 | prng->random(prng->ctx);
    }
    prng->state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t mixed = prng->state;
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ mixed >> 31;
}

/* Values of the incomplete last round are thrown away, so that no result is likelier than another. The number of rounds
 * is limited because a host's `random` may be broken (always the same value); the bias left then is harmless. */
uint64_t kvs_prng_below(struct kvs_prng *prng, uint64_t bound)
{
    if (bound == 0) return 0;
    const uint64_t unfair = (UINT64_MAX - bound + 1u) % bound; /* 2^64 mod bound */
    uint64_t value = kvs_prng_next(prng);
    for (int round = 0; value < unfair && round < 64; round++) value = kvs_prng_next(prng);
    return value % bound;
}

/* token.c — when a streaming token is good enough, and when it is rotated; see token.h.
 *
 * The limits are those that cameras in the field keep: a token is used for 40 minutes at most, so that one session
 * stays below the connection duration that the service allows (developer guide, PutMedia, error 4003). */
#include "machine/token.h"

#define LIFE_MIN_HNS (30 * KVS_HNS_PER_SECOND)
#define LIFE_MAX_HNS (40 * 60 * KVS_HNS_PER_SECOND)
#define JITTER_FROM_HNS (5 * 60 * KVS_HNS_PER_SECOND) /* a shorter life is left as it is */
#define JITTER_SECONDS_MAX UINT64_C(180)

static uint64_t jitter_hns(uint64_t life_hns, struct kvs_prng *prng)
{
    if (life_hns < JITTER_FROM_HNS) return 0;
    uint64_t seconds = kvs_prng_below(prng, life_hns / KVS_HNS_PER_SECOND / 10);
    return (seconds < JITTER_SECONDS_MAX ? seconds : JITTER_SECONDS_MAX) * KVS_HNS_PER_SECOND;
}

kvs_status kvs_token_set(struct kvs_token *token, uint64_t expires_hns, uint64_t now_hns, struct kvs_prng *prng)
{
    if (expires_hns < now_hns || expires_hns - now_hns < LIFE_MIN_HNS) return KVS_E_TOKEN_EXPIRY;
    uint64_t life_hns = expires_hns - now_hns;
    if (life_hns > LIFE_MAX_HNS) life_hns = LIFE_MAX_HNS;
    *token = (struct kvs_token) { .expires_hns = now_hns + life_hns - jitter_hns(life_hns, prng), .is_set = 1 };
    return KVS_OK;
}

void kvs_token_clear(struct kvs_token *token) { *token = (struct kvs_token) { .expires_hns = 0 }; }

int kvs_token_is_expired(const struct kvs_token *token, uint64_t now_hns)
{
    return token->is_set && now_hns >= token->expires_hns;
}

/* token.h — a streaming token as the core sees it: when it expires and when to rotate. Never its bytes.
 *
 * Accepted: at least 30 s left. Its life is cut to 40 minutes; of a life of 5 minutes or more a random number of whole
 * seconds below a tenth of it, at most 180, is subtracted, so that a fleet does not rotate at once. Rotation begins
 * 3 s before the end (grace period). */
#ifndef KVS_MACHINE_TOKEN_H
#define KVS_MACHINE_TOKEN_H

#include "base/prng.h"
#include "kvspic.h"

struct kvs_token {
    uint64_t expires_hns; /* KVS_TIME_NONE: never (the life is cut to 40 minutes all the same) */
    uint8_t is_set;
    uint8_t in_grace;     /* a rotation has begun */
};

/* KVS_OK, or KVS_E_TOKEN_EXPIRY and nothing changed. */
kvs_status kvs_token_set(struct kvs_token *token, uint64_t expires_hns, uint64_t now_hns, struct kvs_prng *prng);
void kvs_token_clear(struct kvs_token *token);
#define KVS_TOKEN_GRACE_HNS (3 * KVS_HNS_PER_SECOND)
/* When to rotate: 3 s before the end; KVS_TIME_NONE when there is no token or a rotation has begun. */
static inline uint64_t kvs_token_next_deadline(const struct kvs_token *token)
{
    return token->is_set && !token->in_grace ? token->expires_hns - KVS_TOKEN_GRACE_HNS : KVS_TIME_NONE;
}
/* 1 from the end of its life on; 0 before, and when there is no token. */
int kvs_token_is_expired(const struct kvs_token *token, uint64_t now_hns);

#endif

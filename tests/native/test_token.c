/* Streaming tokens. Goal: a token too short to be of use is refused, a long one is cut and spread so that a fleet does
 * not rotate at once, and the rotation is asked for exactly once, 3 s before the end. */
#include "check.h"
#include "machine/token.h"

#define SECOND KVS_HNS_PER_SECOND
#define NOW (UINT64_C(1700000000) * SECOND)

static uint64_t life_after_set(uint64_t life_hns, struct kvs_prng *prng)
{
    struct kvs_token token = { 0 };
    CHECK_EQ(kvs_token_set(&token, NOW + life_hns, NOW, prng), KVS_OK);
    return token.expires_hns - NOW;
}

static void less_than_30_seconds_is_refused(void) /* CS-25 */
{
    struct kvs_prng prng = { .state = 1 };
    struct kvs_token token = { .expires_hns = 5, .is_set = 1, .in_grace = 1 };
    CHECK_EQ(kvs_token_set(&token, NOW + 30 * SECOND - 1, NOW, &prng), KVS_E_TOKEN_EXPIRY);
    CHECK_EQ(kvs_token_set(&token, NOW, NOW, &prng), KVS_E_TOKEN_EXPIRY);
    CHECK_EQ(kvs_token_set(&token, NOW - SECOND, NOW, &prng), KVS_E_TOKEN_EXPIRY);
    CHECK_EQ(kvs_token_set(&token, 0, NOW, &prng), KVS_E_TOKEN_EXPIRY);
    CHECK(token.expires_hns == 5 && token.is_set && token.in_grace); /* nothing changed */
    CHECK_EQ(kvs_token_set(&token, NOW + 30 * SECOND, NOW, &prng), KVS_OK);
    CHECK(token.expires_hns == NOW + 30 * SECOND && token.is_set && !token.in_grace);
}

static void a_life_under_five_minutes_is_left_as_it_is(void) /* CS-66 */
{
    struct kvs_prng prng = { .state = 2 };
    for (int i = 0; i < 200; i++) CHECK_EQ(life_after_set(299 * SECOND, &prng), 299 * SECOND);
    CHECK_EQ(life_after_set(300 * SECOND - 1, &prng), 300 * SECOND - 1);
}

static void a_longer_life_loses_whole_seconds_below_a_tenth(void)
{
    struct kvs_prng prng = { .state = 3 };
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 4000; i++) {
        uint64_t lost = 300 * SECOND - life_after_set(300 * SECOND, &prng);
        CHECK_EQ(lost % SECOND, 0);
        if (lost < least) least = lost;
        if (lost > most) most = lost;
    }
    CHECK(least == 0 && most == 29 * SECOND);
}

static uint32_t preset;
static uint32_t preset_random(void *ctx)
{
    uint32_t *calls = ctx; /* the generator takes the upper half first */
    return (*calls)++ % 2 == 0 ? 0 : preset;
}

static void the_longest_life_is_40_minutes(void) /* CS-67 */
{
    uint32_t calls = 0;
    struct kvs_prng prng = { .random = preset_random, .ctx = &calls };
    preset = 2400;
    CHECK_EQ(life_after_set(10 * 3600 * SECOND, &prng), 2400 * SECOND);
    preset = 2399;
    CHECK_EQ(life_after_set(2400 * SECOND, &prng), 2220 * SECOND);
    struct kvs_token token = { 0 };
    CHECK_EQ(kvs_token_set(&token, KVS_TIME_NONE, NOW, &prng), KVS_OK); /* "never" is cut all the same */
    CHECK_EQ(token.expires_hns, NOW + 2220 * SECOND);
}

static void rotation_is_due_once_3_seconds_before_the_end(void) /* CS-60 */
{
    struct kvs_prng prng = { .state = 4 };
    struct kvs_token token = { 0 };
    CHECK_EQ(kvs_token_next_deadline(&token), KVS_TIME_NONE);
    CHECK_EQ(kvs_token_is_expired(&token, NOW), 0);
    kvs_token_set(&token, NOW + 60 * SECOND, NOW, &prng);
    CHECK_EQ(kvs_token_next_deadline(&token), NOW + 57 * SECOND);
    token.in_grace = 1;
    CHECK_EQ(kvs_token_next_deadline(&token), KVS_TIME_NONE);
    CHECK_EQ(kvs_token_is_expired(&token, NOW + 60 * SECOND - 1), 0);
    CHECK_EQ(kvs_token_is_expired(&token, NOW + 60 * SECOND), 1);
    kvs_token_set(&token, NOW + 100 * SECOND, NOW, &prng); /* the new one may be rotated again */
    CHECK_EQ(kvs_token_next_deadline(&token), NOW + 97 * SECOND);
    kvs_token_clear(&token);
    CHECK_EQ(kvs_token_next_deadline(&token), KVS_TIME_NONE);
    CHECK_EQ(kvs_token_is_expired(&token, NOW + 1000 * SECOND), 0);
}

int main(void)
{
    less_than_30_seconds_is_refused();
    a_life_under_five_minutes_is_left_as_it_is();
    a_longer_life_loses_whole_seconds_below_a_tenth();
    the_longest_life_is_40_minutes();
    rotation_is_due_once_3_seconds_before_the_end();
    return CHECK_DONE();
}

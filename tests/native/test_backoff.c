/* Backoff. Goal: the waits double up to a cap that includes the jitter, and after five repeats without progress it
 * says so (CS-20: six calls in all). */
#include "check.h"
#include "machine/backoff.h"

/* random() of a broken or extreme host: the bounds must hold for it too. */
static uint32_t highest(void *ctx)
{
    (void)ctx;
    return UINT32_MAX;
}

static void waits_lie_in_the_doubling_window(void)
{
    struct kvs_prng prng = { .state = 1 };
    uint64_t largest[10] = { 0 };
    for (int round = 0; round < 2000; round++) {
        struct kvs_backoff backoff;
        kvs_backoff_init(&backoff, 100 * KVS_HNS_PER_MS, 10000 * KVS_HNS_PER_MS, 10);
        for (uint32_t n = 0; n < 10; n++) {
            uint64_t wait = 0, window = n < 7 ? 100 * KVS_HNS_PER_MS << n : 10000 * KVS_HNS_PER_MS;
            CHECK_EQ(kvs_backoff_next(&backoff, &prng, &wait), 1);
            CHECK(wait <= window);
            if (wait > largest[n]) largest[n] = wait;
        }
    }
    for (uint32_t n = 0; n < 10; n++) { /* full jitter: the whole window is used */
        uint64_t window = n < 7 ? 100 * KVS_HNS_PER_MS << n : 10000 * KVS_HNS_PER_MS;
        CHECK(largest[n] > window / 100 * 95);
    }
}

static void after_the_retries_it_is_spent_until_there_is_progress(void)
{
    struct kvs_prng prng = { .state = 7 };
    struct kvs_backoff backoff;
    uint64_t wait = 0;
    kvs_backoff_init(&backoff, KVS_HNS_PER_MS, KVS_HNS_PER_SECOND, KVS_RETRIES_MAX);
    for (uint32_t n = 0; n < KVS_RETRIES_MAX; n++) CHECK_EQ(kvs_backoff_next(&backoff, &prng, &wait), 1);
    wait = 42;
    CHECK_EQ(kvs_backoff_next(&backoff, &prng, &wait), 0);
    CHECK_EQ(kvs_backoff_next(&backoff, &prng, &wait), 0);
    CHECK_EQ(wait, 42);
    CHECK_EQ(backoff.count, KVS_RETRIES_MAX);
    kvs_backoff_progress(&backoff);
    CHECK_EQ(kvs_backoff_next(&backoff, &prng, &wait), 1);
    CHECK(wait <= KVS_HNS_PER_MS);
}

static void the_same_seed_gives_the_same_waits(void)
{
    struct kvs_prng one = { .state = 3 }, two = { .state = 3 };
    struct kvs_backoff first, second;
    kvs_backoff_init(&first, 1000000, 100000000, 5);
    kvs_backoff_init(&second, 1000000, 100000000, 5);
    for (int n = 0; n < 5; n++) {
        uint64_t a = 1, b = 2;
        kvs_backoff_next(&first, &one, &a);
        kvs_backoff_next(&second, &two, &b);
        CHECK_EQ(a, b);
    }
}

static void extremes_do_not_overflow(void)
{
    struct kvs_prng prng = { .random = highest };
    struct kvs_backoff backoff;
    uint64_t wait = 0;
    kvs_backoff_init(&backoff, UINT64_MAX, UINT64_MAX, 200);
    for (int n = 0; n < 200; n++) CHECK_EQ(kvs_backoff_next(&backoff, &prng, &wait), 1);
    kvs_backoff_init(&backoff, KVS_HNS_PER_SECOND, 5, 3); /* base above the cap: the cap counts */
    CHECK_EQ(kvs_backoff_next(&backoff, &prng, &wait), 1);
    CHECK(wait <= 5);
    kvs_backoff_init(&backoff, 0, 5, 1);
    CHECK_EQ(kvs_backoff_next(&backoff, &prng, &wait), 1);
    CHECK_EQ(wait, 0);
    kvs_backoff_init(&backoff, 1, 1, 0);
    CHECK_EQ(kvs_backoff_next(&backoff, &prng, &wait), 0);
}

static void a_pace_leaves_no_second_with_more_than_its_calls(void)
{
    struct kvs_pace pace = { .next = 0 };
    uint64_t at[40], now = 5 * KVS_HNS_PER_SECOND;
    for (uint32_t i = 0; i < KVS_PACE_CALLS; i++) CHECK_EQ(kvs_pace_take(&pace, now), now); /* the first ones at once */
    for (uint32_t i = 0; i < 40; i++) at[i] = kvs_pace_take(&pace, now);
    CHECK_EQ(at[0], now + KVS_HNS_PER_SECOND);
    for (uint32_t i = KVS_PACE_CALLS; i < 40; i++) CHECK(at[i] - at[i - KVS_PACE_CALLS] >= KVS_PACE_WINDOW_HNS);
    now = at[39] + KVS_PACE_WINDOW_HNS;
    CHECK_EQ(kvs_pace_take(&pace, now), now);
    CHECK_EQ(kvs_pace_take(&pace, KVS_TIME_NONE), KVS_TIME_NONE);
}

static void a_call_that_is_not_made_does_not_count(void)
{
    struct kvs_pace pace = { .next = 0 };
    uint64_t now = 5 * KVS_HNS_PER_SECOND;
    for (uint32_t i = 0; i < KVS_PACE_CALLS; i++) CHECK_EQ(kvs_pace_take(&pace, now), now);
    kvs_pace_give_back(&pace, now); /* due already: made */
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(kvs_pace_take(&pace, now), now + KVS_PACE_WINDOW_HNS);
        kvs_pace_give_back(&pace, now);
    }
}

int main(void)
{
    a_call_that_is_not_made_does_not_count();
    a_pace_leaves_no_second_with_more_than_its_calls();
    waits_lie_in_the_doubling_window();
    after_the_retries_it_is_spent_until_there_is_progress();
    the_same_seed_gives_the_same_waits();
    extremes_do_not_overflow();
    return CHECK_DONE();
}

/* base/prng, base/hns: the published splitmix64 sequence, fair bounds, and times that never wrap. */
#include "base/hns.h"
#include "base/prng.h"
#include "check.h"

static uint32_t always_7(void *ctx)
{
    (*(int *)ctx)++;
    return 7;
}

static void test_sequence(void)
{
    struct kvs_prng prng = {.state = 1};
    CHECK(kvs_prng_next(&prng) == UINT64_C(0x910A2DEC89025CC1));
    CHECK(kvs_prng_next(&prng) == UINT64_C(0xBEEB8DA1658EEC67));
}

static void test_below(void)
{
    struct kvs_prng prng = {.state = 5};
    unsigned seen = 0;
    for (int round = 0; round < 500; round++) {
        const uint64_t value = kvs_prng_below(&prng, 6);
        if (!CHECK(value < 6)) return;
        seen |= 1u << value;
    }
    CHECK_EQ(seen, 63);
    CHECK_EQ(kvs_prng_below(&prng, 0), 0);
    CHECK_EQ(kvs_prng_below(&prng, 1), 0);
    CHECK(kvs_prng_below(&prng, UINT64_MAX) < UINT64_MAX);
}

static void test_host_random_is_asked(void)
{
    int calls = 0;
    struct kvs_prng prng = {.random = always_7, .ctx = &calls};
    CHECK(kvs_prng_next(&prng) == (UINT64_C(7) << 32 | 7));
    CHECK_EQ(calls, 2);
    CHECK(kvs_prng_below(&prng, (UINT64_C(1) << 63) + 1) < (UINT64_C(1) << 63) + 1); /* ends, though never fair */
}

static void test_times(void)
{
    CHECK(kvs_hns_add(UINT64_MAX - 1, 1) == KVS_TIME_NONE);
    CHECK(kvs_hns_add(KVS_TIME_NONE, 5) == KVS_TIME_NONE);
    CHECK_EQ(kvs_hns_add(2, 3), 5);
    CHECK_EQ(kvs_hns_sub(2, 3), 0);
    CHECK_EQ(kvs_hns_sub(3, 2), 1);
    CHECK_EQ(kvs_hns_min(2, 3), 2);
    CHECK_EQ(kvs_hns_max(2, 3), 3);
    CHECK_EQ(kvs_hns_to_tc(19999, 10000), 1);
    CHECK(KVS_HNS_MEDIA_MAX == UINT64_C(92233720368547758));
}

int main(void)
{
    test_sequence();
    test_below();
    test_host_random_is_asked();
    test_times();
    return CHECK_DONE();
}

/* media/generator, media/generator_fsm: which parts a frame needs, and that a refused frame changes nothing. */
#include "base/fsm.h"
#include "base/hns.h"
#include "check.h"
#include "media/generator.h"

#define MS KVS_HNS_PER_MS
#define ALL (KVS_PART_HEADER | KVS_PART_CLUSTER | KVS_PART_BLOCK)
#define OPENING (KVS_PART_CLUSTER | KVS_PART_BLOCK)

static struct kvs_generator made(uint64_t cluster_duration_hns, int negative)
{
    struct kvs_generator generator;
    const struct kvs_generator_config config = {MS, cluster_duration_hns, negative};
    kvs_generator_init(&generator, &config);
    return generator;
}

/* Plans and commits; a refused plan must leave the generator as it was. */
static kvs_status put(struct kvs_generator *generator, uint64_t pts, uint32_t flags, struct kvs_generator_plan *plan)
{
    const struct kvs_generator before = *generator;
    const kvs_status status = kvs_generator_plan(generator, pts, pts, flags, 1, plan);
    CHECK(memcmp(&before, generator, sizeof(before)) == 0);
    if (status == KVS_OK) kvs_generator_commit(generator, plan);
    return status;
}

static void test_table(void)
{
    static const uint8_t ALLOWED[KVS_GENERATOR_STATE_COUNT][KVS_GENERATOR_EV_COUNT] = {
        {1, 1, 0, 1}, {1, 1, 1, 1}, {1, 0, 0, 1},
    };
    for (uint8_t state = 0; state < KVS_GENERATOR_STATE_COUNT; state++) {
        for (uint32_t event = 0; event < KVS_GENERATOR_EV_COUNT; event++) {
            uint8_t next = state;
            uint32_t act = 99;
            const kvs_status status = kvs_fsm_move(&kvs_generator_fsm, &next, event, &act);
            CHECK_EQ(status, ALLOWED[state][event] ? KVS_OK : KVS_E_STREAM_STATE);
            CHECK(status == KVS_OK ? act > 0 && act < KVS_GENERATOR_ACT_COUNT : next == state);
        }
    }
}

static void test_key_frames_open_clusters(void)
{
    struct kvs_generator generator = made(0, 0);
    struct kvs_generator_plan plan;
    CHECK_EQ(put(&generator, 5 * MS, 0, &plan), KVS_OK); /* the first frame opens, key or not */
    CHECK_EQ(plan.parts, ALL);
    CHECK_EQ(plan.session_tc, 5);
    CHECK_EQ(put(&generator, 45 * MS + 9999, 0, &plan), KVS_OK);
    CHECK_EQ(plan.parts, KVS_PART_BLOCK);
    CHECK_EQ(plan.block_tc, 40);
    CHECK_EQ(plan.cluster_tc, 5);
    CHECK_EQ(put(&generator, 85 * MS, KVS_FRAME_KEY, &plan), KVS_OK);
    CHECK_EQ(plan.parts, OPENING);
    CHECK_EQ(plan.cluster_tc, 85);
    CHECK_EQ(plan.session_tc, 5);
    CHECK_EQ(plan.block_tc, 0);
}

static void test_a_track_that_may_not_open(void)
{
    struct kvs_generator generator = made(0, 0);
    struct kvs_generator_plan plan;
    CHECK_EQ(kvs_generator_plan(&generator, 0, 0, KVS_FRAME_KEY, 0, &plan), KVS_OK);
    CHECK_EQ(plan.parts, ALL);
    kvs_generator_commit(&generator, &plan);
    CHECK_EQ(kvs_generator_plan(&generator, MS, MS, KVS_FRAME_KEY, 0, &plan), KVS_OK);
    CHECK_EQ(plan.parts, KVS_PART_BLOCK);
}

static void test_duration_opens_clusters(void)
{
    struct kvs_generator generator = made(2000 * MS, 0);
    struct kvs_generator_plan plan;
    CHECK_EQ(put(&generator, 100 * MS, KVS_FRAME_KEY, &plan), KVS_OK);
    CHECK_EQ(put(&generator, 2099 * MS, KVS_FRAME_KEY, &plan), KVS_OK);
    CHECK_EQ(plan.parts, KVS_PART_BLOCK);
    CHECK_EQ(put(&generator, 2100 * MS, 0, &plan), KVS_OK);
    CHECK_EQ(plan.parts, KVS_PART_BLOCK);
    CHECK_EQ(put(&generator, 2100 * MS, KVS_FRAME_KEY, &plan), KVS_OK);
    CHECK_EQ(plan.parts, OPENING);
}

static void test_limits(void)
{
    struct kvs_generator generator = made(0, 0);
    struct kvs_generator_plan plan;
    CHECK_EQ(put(&generator, KVS_HNS_MEDIA_MAX + 1, KVS_FRAME_KEY, &plan), KVS_E_FRAME_TIMESTAMP_RANGE);
    CHECK_EQ(put(&generator, 1000 * MS, KVS_FRAME_KEY, &plan), KVS_OK);
    CHECK_EQ(put(&generator, 33767 * MS, 0, &plan), KVS_OK);
    CHECK_EQ(plan.block_tc, 32767);
    CHECK_EQ(put(&generator, 33768 * MS, 0, &plan), KVS_E_LARGE_TIMECODE);
    CHECK_EQ(put(&generator, 999 * MS, 0, &plan), KVS_E_FRAME_TIMESTAMP);
    CHECK_EQ(kvs_generator_plan(&generator, 1000 * MS, 999 * MS, 0, 1, &plan), KVS_E_FRAME_TIMESTAMP);
    CHECK_EQ(put(&generator, 999 * MS, KVS_FRAME_KEY, &plan), KVS_E_FRAME_TIMESTAMP);
    CHECK_EQ(put(&generator, KVS_HNS_MEDIA_MAX, KVS_FRAME_KEY, &plan), KVS_OK);
}

static void test_leading_pictures(void)
{
    struct kvs_generator generator = made(0, 1);
    struct kvs_generator_plan plan;
    CHECK_EQ(put(&generator, 40000 * MS, KVS_FRAME_KEY, &plan), KVS_OK);
    CHECK_EQ(put(&generator, 39960 * MS, 0, &plan), KVS_OK);
    CHECK_EQ(plan.block_tc, -40);
    CHECK_EQ(plan.cluster_tc, 40000);
    CHECK_EQ(put(&generator, 7232 * MS, 0, &plan), KVS_OK);
    CHECK_EQ(plan.block_tc, -32768);
    CHECK_EQ(put(&generator, 7231 * MS, 0, &plan), KVS_E_FRAME_TIMESTAMP);
    CHECK_EQ(put(&generator, 39999 * MS, KVS_FRAME_KEY, &plan), KVS_E_FRAME_TIMESTAMP); /* clusters do not go back */
}

static void test_end_and_reset(void)
{
    struct kvs_generator generator = made(2000 * MS, 0);
    struct kvs_generator_plan plan;
    CHECK_EQ(kvs_generator_end_fragment(&generator), KVS_E_STREAM_STATE);
    CHECK_EQ(put(&generator, 500 * MS, KVS_FRAME_KEY, &plan), KVS_OK);
    CHECK_EQ(kvs_generator_end_fragment(&generator), KVS_OK);
    CHECK_EQ(kvs_generator_end_fragment(&generator), KVS_E_STREAM_STATE);
    CHECK_EQ(put(&generator, 540 * MS, 0, &plan), KVS_E_STREAM_STATE); /* its cluster is closed */
    CHECK_EQ(put(&generator, 580 * MS, KVS_FRAME_KEY, &plan), KVS_OK); /* however early */
    CHECK_EQ(plan.parts, OPENING);
    kvs_generator_reset(&generator);
    CHECK_EQ(put(&generator, 10 * MS, 0, &plan), KVS_OK); /* earlier times are fine in a new session */
    CHECK_EQ(plan.parts, ALL);
    CHECK_EQ(plan.session_tc, 10);
}

static void test_no_drift(void)
{
    struct kvs_generator generator = made(0, 0);
    struct kvs_generator_plan plan;
    CHECK_EQ(put(&generator, 5000, KVS_FRAME_KEY, &plan), KVS_OK);
    for (uint64_t frame = 1; frame < 900; frame++) {
        const uint64_t pts = 5000 + frame * KVS_HNS_PER_SECOND / 30;
        CHECK_EQ(put(&generator, pts, 0, &plan), KVS_OK);
        if (!CHECK_EQ(plan.block_tc, pts / MS)) return;
    }
}

int main(void)
{
    test_table();
    test_key_frames_open_clusters();
    test_a_track_that_may_not_open();
    test_duration_opens_clusters();
    test_limits();
    test_leading_pictures();
    test_end_and_reset();
    test_no_drift();
    return CHECK_DONE();
}

/* generator.c — the time rules of a session; see generator.h. */
#include "media/generator.h"

#include "base/check.h"
#include "base/fsm.h"
#include "base/hns.h"
#include "media/mkv.h"

void kvs_generator_init(struct kvs_generator *generator, const struct kvs_generator_config *config)
{
    KVS_CHECK(config->scale_hns > 0);
    *generator = (struct kvs_generator){.config = *config, .state = KVS_GENERATOR_START};
}

static int opens_cluster(const struct kvs_generator *generator, uint64_t pts_tc, uint32_t frame_flags)
{
    const struct kvs_generator_config *config = &generator->config;
    if ((frame_flags & KVS_FRAME_KEY) == 0) return 0;
    if (config->cluster_duration_hns == 0 || generator->must_open || generator->state == KVS_GENERATOR_ENDED) return 1;
    return kvs_hns_sub(pts_tc, generator->cluster_tc) >= kvs_hns_to_tc(config->cluster_duration_hns, config->scale_hns);
}

/* A cluster may not begin before the one that runs; the same time is left to the caller's own, stricter rule. */
static kvs_status plan_cluster(const struct kvs_generator *generator, uint64_t dts_tc, struct kvs_generator_plan *plan)
{
    if (plan->pts_tc < generator->cluster_tc || dts_tc < generator->cluster_dts_tc) return KVS_E_FRAME_TIMESTAMP;
    plan->session_tc = (plan->parts & KVS_PART_HEADER) != 0 ? plan->pts_tc : generator->session_tc;
    plan->cluster_tc = plan->pts_tc;
    plan->cluster_dts_tc = dts_tc;
    plan->block_tc = 0;
    return KVS_OK;
}

static kvs_status plan_block(const struct kvs_generator *generator, uint64_t dts_tc, struct kvs_generator_plan *plan)
{
    const int64_t block_tc = (int64_t)plan->pts_tc - (int64_t)generator->cluster_tc;
    const int is_negative_allowed = generator->config.negative_block_time;
    if (block_tc < (is_negative_allowed ? KVS_MKV_BLOCK_TIME_MIN : 0)) return KVS_E_FRAME_TIMESTAMP;
    if (!is_negative_allowed && dts_tc < generator->cluster_dts_tc) return KVS_E_FRAME_TIMESTAMP;
    if (block_tc > KVS_MKV_BLOCK_TIME_MAX) return KVS_E_LARGE_TIMECODE;
    plan->session_tc = generator->session_tc;
    plan->cluster_tc = generator->cluster_tc;
    plan->cluster_dts_tc = generator->cluster_dts_tc;
    plan->block_tc = (int32_t)block_tc;
    return KVS_OK;
}

static uint32_t parts_of(uint32_t act)
{
    if (act == KVS_GENERATOR_ACT_BLOCK) return KVS_PART_BLOCK;
    if (act == KVS_GENERATOR_ACT_CLUSTER_BLOCK) return KVS_PART_CLUSTER | KVS_PART_BLOCK;
    KVS_CHECK(act == KVS_GENERATOR_ACT_HEADER_CLUSTER_BLOCK);
    return KVS_PART_HEADER | KVS_PART_CLUSTER | KVS_PART_BLOCK;
}

kvs_status kvs_generator_plan(const struct kvs_generator *generator, uint64_t pts_hns, uint64_t dts_hns,
                              uint32_t frame_flags, int opens_allowed, struct kvs_generator_plan *plan_out)
{
    if (pts_hns > KVS_HNS_MEDIA_MAX || dts_hns > KVS_HNS_MEDIA_MAX) return KVS_E_FRAME_TIMESTAMP_RANGE;
    const uint64_t scale = generator->config.scale_hns, pts_tc = kvs_hns_to_tc(pts_hns, scale);
    const uint64_t dts_tc = dts_hns == pts_hns ? pts_tc : kvs_hns_to_tc(dts_hns, scale);
    const int opens = opens_allowed && opens_cluster(generator, pts_tc, frame_flags);
    uint32_t act = 0;
    plan_out->state = generator->state;
    kvs_status status = kvs_fsm_move(&kvs_generator_fsm, &plan_out->state,
                                     opens ? KVS_GENERATOR_EV_FRAME_OPENS : KVS_GENERATOR_EV_FRAME_INSIDE, &act);
    if (status != KVS_OK) return status;
    plan_out->parts = parts_of(act);
    plan_out->pts_tc = pts_tc;
    return (plan_out->parts & KVS_PART_CLUSTER) != 0 ? plan_cluster(generator, dts_tc, plan_out)
                                                     : plan_block(generator, dts_tc, plan_out);
}

void kvs_generator_commit(struct kvs_generator *generator, const struct kvs_generator_plan *plan)
{
    generator->state = plan->state;
    generator->session_tc = plan->session_tc;
    generator->cluster_tc = plan->cluster_tc;
    generator->cluster_dts_tc = plan->cluster_dts_tc;
}

kvs_status kvs_generator_end_fragment(struct kvs_generator *generator)
{
    uint32_t act = 0;
    return kvs_fsm_move(&kvs_generator_fsm, &generator->state, KVS_GENERATOR_EV_END_OF_FRAGMENT, &act);
}

void kvs_generator_reset(struct kvs_generator *generator)
{
    uint32_t act = 0;
    const kvs_status status = kvs_fsm_move(&kvs_generator_fsm, &generator->state, KVS_GENERATOR_EV_RESET, &act);
    KVS_CHECK(status == KVS_OK);
    generator->cluster_tc = 0;
    generator->cluster_dts_tc = 0;
}

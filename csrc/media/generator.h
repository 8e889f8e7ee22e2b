/* generator.h — the time rules of one session: which MKV parts a frame needs and with which timecodes. Pure numbers; no
 * bytes, no memory. kvs_generator_plan changes nothing, kvs_generator_commit does what was planned and can not fail, so
 * a put that fails between the two has changed nothing.
 *   Always  both times are divided by the scale first and subtracted then: no drift, jitter of at most one unit.
 *           Only a commit, an end or a reset moves the state. */
#ifndef KVS_MEDIA_GENERATOR_H
#define KVS_MEDIA_GENERATOR_H

#include "kvspic.h"
#include "media/generator_fsm.h"
#include "media/mkv.h"

struct kvs_generator_config {
    uint64_t scale_hns;             /* 1 or more */
    uint64_t cluster_duration_hns;  /* 0: each key frame opens a cluster; else one this long after its start does */
    int negative_block_time;        /* frames inside may lie before the cluster, down to -32768 */
};

struct kvs_generator {
    struct kvs_generator_config config;
    uint8_t state;                  /* enum kvs_generator_state */
    int must_open;                  /* the next key frame opens a cluster, however soon it comes; the caller's to set */
    uint64_t session_tc;            /* pts of the first cluster of the newest session; stays over a reset */
    uint64_t cluster_tc, cluster_dts_tc; /* of the running cluster; 0 before the first */
};

enum kvs_generator_part { KVS_PART_HEADER = 1, KVS_PART_CLUSTER = 2, KVS_PART_BLOCK = 4 };

struct kvs_generator_plan {
    uint32_t parts;                 /* enum kvs_generator_part, in this order; KVS_PART_BLOCK always */
    uint8_t state;                  /* enum kvs_generator_state after it */
    uint64_t pts_tc;                /* of the frame, absolute, in units */
    uint64_t session_tc;            /* subtract it from cluster_tc when cluster times are relative */
    uint64_t cluster_tc;            /* absolute, in units: of the cluster that the block lies in */
    uint64_t cluster_dts_tc;
    int32_t block_tc;               /* relative to the cluster, -32768 to 32767 */
};

/* The start of a session, with this configuration from then on. */
void kvs_generator_init(struct kvs_generator *generator, const struct kvs_generator_config *config);
/* frame_flags: enum kvs_frame_flag. opens_allowed 0: the track may not open clusters, a key frame is a frame inside
 * (the first frame of a session opens all the same).
 *   KVS_OK                       *plan_out says what to write; else its content means nothing
 *   KVS_E_FRAME_TIMESTAMP_RANGE  above 2^63 - 1 ns
 *   KVS_E_FRAME_TIMESTAMP        before the cluster's start (or further than a block time can say, if negative)
 *   KVS_E_LARGE_TIMECODE         more than 32767 units after it
 *   KVS_E_STREAM_STATE           a frame inside after the end of its fragment: skip it */
kvs_status kvs_generator_plan(const struct kvs_generator *generator, uint64_t pts_hns, uint64_t dts_hns,
                              uint32_t frame_flags, int opens_allowed, struct kvs_generator_plan *plan_out);
/* Most frames open nothing and lie inside the running cluster, at its start or after it: 1 and *block_tc_out, as a plan
 * has it, and there is nothing to commit. 0: kvs_generator_plan decides. */
static inline int kvs_generator_is_inside(const struct kvs_generator *generator, uint64_t pts_tc, uint64_t dts_tc,
                                          int32_t *block_tc_out)
{
    uint64_t block_tc = pts_tc - generator->cluster_tc;
    if (generator->state != KVS_GENERATOR_CLUSTER || block_tc > KVS_MKV_BLOCK_TIME_MAX) return 0;
    *block_tc_out = (int32_t)block_tc;
    return dts_tc >= generator->cluster_dts_tc;
}
/* plan: the last one of this generator, with nothing in between. */
void kvs_generator_commit(struct kvs_generator *generator, const struct kvs_generator_plan *plan);
/* The end-of-fragment tag was written.   KVS_E_STREAM_STATE  no cluster is open; nothing changed */
kvs_status kvs_generator_end_fragment(struct kvs_generator *generator);
/* The next frame begins a session. */
void kvs_generator_reset(struct kvs_generator *generator);

#endif

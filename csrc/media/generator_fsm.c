/* generator_fsm.c — diagram in generator_fsm.h. An absent cell is not allowed: KVS_E_STREAM_STATE, nothing moves. */
#include "media/generator_fsm.h"

#include "base/fsm.h"

#define GO(state, act) { KVS_GENERATOR_##state, KVS_GENERATOR_ACT_##act }
static const struct kvs_edge TABLE[KVS_GENERATOR_STATE_COUNT][KVS_GENERATOR_EV_COUNT] = {
    [KVS_GENERATOR_START] = {
        [KVS_GENERATOR_EV_FRAME_OPENS]  = GO(CLUSTER, HEADER_CLUSTER_BLOCK),
        [KVS_GENERATOR_EV_FRAME_INSIDE] = GO(CLUSTER, HEADER_CLUSTER_BLOCK), /* a session opens with any frame */
        [KVS_GENERATOR_EV_RESET]        = GO(START, RESTART),
    },
    [KVS_GENERATOR_CLUSTER] = {
        [KVS_GENERATOR_EV_FRAME_OPENS]     = GO(CLUSTER, CLUSTER_BLOCK),
        [KVS_GENERATOR_EV_FRAME_INSIDE]    = GO(CLUSTER, BLOCK),
        [KVS_GENERATOR_EV_END_OF_FRAGMENT] = GO(ENDED, TAGS),
        [KVS_GENERATOR_EV_RESET]           = GO(START, RESTART),
    },
    [KVS_GENERATOR_ENDED] = {
        [KVS_GENERATOR_EV_FRAME_OPENS] = GO(CLUSTER, CLUSTER_BLOCK),
        [KVS_GENERATOR_EV_RESET]       = GO(START, RESTART),
    },
};
#undef GO

static const char *const STATES[KVS_GENERATOR_STATE_COUNT] = {"START", "CLUSTER", "ENDED"};
static const char *const EVENTS[KVS_GENERATOR_EV_COUNT] = {"FRAME_OPENS", "FRAME_INSIDE", "END_OF_FRAGMENT", "RESET"};
static const char *const ACTS[KVS_GENERATOR_ACT_COUNT] = {
    "NONE", "HEADER_CLUSTER_BLOCK", "CLUSTER_BLOCK", "BLOCK", "TAGS", "RESTART",
};
static const kvs_status SPENT[KVS_GENERATOR_STATE_COUNT]; /* nothing is retried here */

const struct kvs_fsm_table kvs_generator_fsm = {
    .name = "generator",
    .state_count = KVS_GENERATOR_STATE_COUNT,
    .event_count = KVS_GENERATOR_EV_COUNT,
    .act_count = KVS_GENERATOR_ACT_COUNT,
    .initial = KVS_GENERATOR_START,
    .edges = &TABLE[0][0],
    .state_names = STATES,
    .event_names = EVENTS,
    .act_names = ACTS,
    .spent = SPENT,
};

/* generator_fsm.h — which MKV parts the next frame needs.
 *
 *   START --any frame--> CLUSTER            header + cluster + block
 *   CLUSTER --opening frame--> CLUSTER      cluster + block
 *   CLUSTER --inside frame--> CLUSTER       block
 *   CLUSTER --end of fragment--> ENDED      the end-of-fragment tag closed the cluster
 *   ENDED --opening frame--> CLUSTER        cluster + block (a frame inside is refused: its cluster is closed)
 *   any --reset--> START                    nothing; the next frame begins a session
 * Events are made by generator.c from the frame's flags and times; the tags in front of a cluster are the engine's. */
#ifndef KVS_MEDIA_GENERATOR_FSM_H
#define KVS_MEDIA_GENERATOR_FSM_H

#include "base/fsm.h"

extern const struct kvs_fsm_table kvs_generator_fsm;

enum kvs_generator_state {
    KVS_GENERATOR_START, KVS_GENERATOR_CLUSTER, KVS_GENERATOR_ENDED, KVS_GENERATOR_STATE_COUNT
};

enum kvs_generator_event {
    KVS_GENERATOR_EV_FRAME_OPENS,     /* a frame that may begin a cluster, by its flags and times */
    KVS_GENERATOR_EV_FRAME_INSIDE,    /* any other frame */
    KVS_GENERATOR_EV_END_OF_FRAGMENT, /* the end-of-fragment tag was written */
    KVS_GENERATOR_EV_RESET,           /* the next frame begins a session */
    KVS_GENERATOR_EV_COUNT
};

enum kvs_generator_act {
    KVS_GENERATOR_ACT_NONE, /* absent cell */
    KVS_GENERATOR_ACT_HEADER_CLUSTER_BLOCK, KVS_GENERATOR_ACT_CLUSTER_BLOCK, KVS_GENERATOR_ACT_BLOCK,
    KVS_GENERATOR_ACT_TAGS,    /* nothing more of this cluster */
    KVS_GENERATOR_ACT_RESTART, /* forget the session */
    KVS_GENERATOR_ACT_COUNT
};

#endif

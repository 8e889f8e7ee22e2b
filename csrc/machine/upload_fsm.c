/* upload_fsm.c — the table of an upload handle's life; diagram and theory in upload_fsm.h.
 *
 * An absent cell is not allowed. A handle has no retries: what failed is done again by the stream, with a new one. */
#include "machine/upload_fsm.h"

#define GO(state, act) { KVS_UPLOAD_##state, KVS_UPLOAD_ACT_##act }
#define ABORTED [KVS_UPLOAD_EV_ABORT] = GO(DEAD, END)

static const struct kvs_edge EDGES[KVS_UPLOAD_STATE_COUNT][KVS_UPLOAD_EV_COUNT] = {
    [KVS_UPLOAD_OPENING] = {
        [KVS_UPLOAD_EV_OPENED]        = GO(READY, NOTIFY),
        ABORTED,
    },
    [KVS_UPLOAD_READY] = {
        [KVS_UPLOAD_EV_READ]          = GO(STREAMING, STAY),
        [KVS_UPLOAD_EV_LAST_READ]     = GO(FINISHED, STAY), /* no byte went out, so no end tag is needed */
        ABORTED,
    },
    [KVS_UPLOAD_STREAMING] = {
        [KVS_UPLOAD_EV_LAST_READ]     = GO(DRAINING, STAY),
        ABORTED,
    },
    [KVS_UPLOAD_DRAINING] = {
        [KVS_UPLOAD_EV_END_READ]      = GO(AWAITING_ACK, STAY),
        [KVS_UPLOAD_EV_END_READ_DONE] = GO(FINISHED, STAY),
        [KVS_UPLOAD_EV_LAST_ACK]      = GO(DRAINING, STAY), /* faster than the reader: END_READ_DONE will follow */
        ABORTED,
    },
    [KVS_UPLOAD_AWAITING_ACK] = {
        [KVS_UPLOAD_EV_LAST_ACK]      = GO(FINISHED, NOTIFY), /* the reader waits: its next read says that it may end */
        ABORTED,
    },
    [KVS_UPLOAD_FINISHED] = {
        ABORTED, /* the end was not read yet: reported twice rather than never */
    },
    [KVS_UPLOAD_DEAD] = {
        [KVS_UPLOAD_EV_ABORT]         = GO(DEAD, STAY),
    },
};

static const char *const STATE_NAMES[KVS_UPLOAD_STATE_COUNT] = {
    [KVS_UPLOAD_OPENING] = "OPENING", [KVS_UPLOAD_READY] = "READY", [KVS_UPLOAD_STREAMING] = "STREAMING",
    [KVS_UPLOAD_DRAINING] = "DRAINING", [KVS_UPLOAD_AWAITING_ACK] = "AWAITING_ACK",
    [KVS_UPLOAD_FINISHED] = "FINISHED", [KVS_UPLOAD_DEAD] = "DEAD",
};

static const char *const EVENT_NAMES[KVS_UPLOAD_EV_COUNT] = {
    [KVS_UPLOAD_EV_OPENED] = "OPENED", [KVS_UPLOAD_EV_READ] = "READ", [KVS_UPLOAD_EV_LAST_READ] = "LAST_READ",
    [KVS_UPLOAD_EV_END_READ] = "END_READ", [KVS_UPLOAD_EV_END_READ_DONE] = "END_READ_DONE",
    [KVS_UPLOAD_EV_LAST_ACK] = "LAST_ACK", [KVS_UPLOAD_EV_ABORT] = "ABORT",
};

static const char *const ACT_NAMES[KVS_UPLOAD_ACT_COUNT] = {
    [KVS_UPLOAD_ACT_NONE] = "NONE", [KVS_UPLOAD_ACT_STAY] = "STAY", [KVS_UPLOAD_ACT_NOTIFY] = "NOTIFY",
    [KVS_UPLOAD_ACT_END] = "END",
};

const struct kvs_fsm_table kvs_upload_fsm = {
    .name = "upload",
    .state_count = KVS_UPLOAD_STATE_COUNT,
    .event_count = KVS_UPLOAD_EV_COUNT,
    .act_count = KVS_UPLOAD_ACT_COUNT,
    .initial = KVS_UPLOAD_OPENING,
    .edges = &EDGES[0][0],
    .state_names = STATE_NAMES,
    .event_names = EVENT_NAMES,
    .act_names = ACT_NAMES,
    .spent = NULL,
};

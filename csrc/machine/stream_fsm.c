/* stream_fsm.c — the table of a stream's life; diagram and theory in stream_fsm.h.
 *
 * An absent cell is not allowed: KVS_E_STREAM_STATE, nothing moves. Cells that several states share stand in the
 * macros: a caller may always stop, retry or reset, an answer may always refuse, and a session that ends while the
 * next one is already being set up changes nothing. */
#include "machine/stream_fsm.h"

#define GO(state, act) { KVS_STREAM_##state, KVS_STREAM_ACT_##act }

#define RESTART [KVS_STREAM_EV_RETRY] = GO(DESCRIBE, DESCRIBE), [KVS_STREAM_EV_RESET] = GO(DESCRIBE, DESCRIBE)
#define CALLER RESTART, [KVS_STREAM_EV_DRAINED] = GO(STOPPED, REPORT_CLOSED)

/* Authentication is not retried: the provider has refreshed and repeated before it reports 401 or 403. */
#define REFUSED \
    [KVS_STREAM_EV_AUTH] = GO(FAILED, REPORT_FAILED), \
    [KVS_STREAM_EV_FATAL] = GO(FAILED, REPORT_FAILED), \
    [KVS_STREAM_EV_SPENT] = GO(FAILED, REPORT_FAILED)

#define REPEAT(state, act) \
    [KVS_STREAM_EV_RETRYABLE] = GO(state, act), \
    [KVS_STREAM_EV_IN_USE] = GO(state, act)

#define ENDED_MEANWHILE(state) \
    [KVS_STREAM_EV_ENDED_OK] = GO(state, STAY), \
    [KVS_STREAM_EV_ENDED_AUTH] = GO(state, STAY), \
    [KVS_STREAM_EV_ENDED_TIMEOUT] = GO(state, STAY), \
    [KVS_STREAM_EV_ENDED_ERROR] = GO(state, STAY)

/* Where a stream goes on from when its last session has ended, by the reason. */
#define ENDED_LAST \
    [KVS_STREAM_EV_ENDED_OK] = GO(GET_ENDPOINT, GET_ENDPOINT), \
    [KVS_STREAM_EV_ENDED_AUTH] = GO(GET_TOKEN, GET_TOKEN), \
    [KVS_STREAM_EV_ENDED_TIMEOUT] = GO(READY, AWAIT_FRAME), \
    [KVS_STREAM_EV_ENDED_ERROR] = GO(DESCRIBE, DESCRIBE), \
    [KVS_STREAM_EV_ENDED_FATAL] = GO(FAILED, REPORT_FAILED)

static const struct kvs_edge EDGES[KVS_STREAM_STATE_COUNT][KVS_STREAM_EV_COUNT] = {
    [KVS_STREAM_NEW] = {
        [KVS_STREAM_EV_START]          = GO(DESCRIBE, DESCRIBE),
        CALLER,
    },
    [KVS_STREAM_DESCRIBE] = {
        [KVS_STREAM_EV_ACTIVE]         = GO(GET_ENDPOINT, GET_ENDPOINT),
        [KVS_STREAM_EV_ACTIVE_TAGS]    = GO(TAG, TAG),
        [KVS_STREAM_EV_NOT_READY]      = GO(DESCRIBE, DESCRIBE), /* charged like a repeat: backoff, bounded */
        [KVS_STREAM_EV_NOT_FOUND]      = GO(CREATE, CREATE),
        [KVS_STREAM_EV_ENDED_FATAL]    = GO(DESCRIBE, STAY), /* only a retry or a reset leads here beside a session */
        REPEAT(DESCRIBE, DESCRIBE), REFUSED, ENDED_MEANWHILE(DESCRIBE), CALLER,
    },
    [KVS_STREAM_CREATE] = {
        [KVS_STREAM_EV_OK]             = GO(GET_ENDPOINT, GET_ENDPOINT), /* CREATING still? 404 is repeated there */
        [KVS_STREAM_EV_OK_TAGS]        = GO(TAG, TAG),
        [KVS_STREAM_EV_IN_USE]         = GO(DESCRIBE, DESCRIBE), /* somebody else made it, so it can be described */
        [KVS_STREAM_EV_RETRYABLE]      = GO(CREATE, CREATE),
        [KVS_STREAM_EV_ENDED_FATAL]    = GO(CREATE, STAY),
        REFUSED, ENDED_MEANWHILE(CREATE), CALLER,
    },
    [KVS_STREAM_TAG] = { /* tags are optional: whatever the service says to them, the stream goes on */
        [KVS_STREAM_EV_OK]             = GO(GET_ENDPOINT, GET_ENDPOINT),
        [KVS_STREAM_EV_SKIP]           = GO(GET_ENDPOINT, SKIP_TAG),
        [KVS_STREAM_EV_AUTH]           = GO(GET_ENDPOINT, SKIP_TAG),
        [KVS_STREAM_EV_FATAL]          = GO(GET_ENDPOINT, SKIP_TAG),
        [KVS_STREAM_EV_SPENT]          = GO(GET_ENDPOINT, SKIP_TAG),
        [KVS_STREAM_EV_ENDED_FATAL]    = GO(TAG, STAY),
        REPEAT(TAG, TAG), ENDED_MEANWHILE(TAG), CALLER,
    },
    [KVS_STREAM_GET_ENDPOINT] = {
        [KVS_STREAM_EV_OK]             = GO(GET_TOKEN, GET_TOKEN),
        [KVS_STREAM_EV_ENDED_FATAL]    = GO(FAILED, REPORT_FAILED),
        REPEAT(GET_ENDPOINT, GET_ENDPOINT), REFUSED, ENDED_MEANWHILE(GET_ENDPOINT), CALLER,
    },
    [KVS_STREAM_GET_TOKEN] = {
        [KVS_STREAM_EV_OK]             = GO(READY, AWAIT_FRAME),
        [KVS_STREAM_EV_ENDED_FATAL]    = GO(FAILED, REPORT_FAILED),
        REPEAT(GET_TOKEN, GET_TOKEN), REFUSED, ENDED_MEANWHILE(GET_TOKEN), CALLER,
    },
    [KVS_STREAM_READY] = {
        [KVS_STREAM_EV_FRAME]          = GO(PUT_STREAM, PUT_MEDIA),
        [KVS_STREAM_EV_TOKEN_EXPIRING] = GO(GET_TOKEN, GET_TOKEN), /* never open a session with a dead token */
        [KVS_STREAM_EV_ENDED_FATAL]    = GO(FAILED, REPORT_FAILED),
        ENDED_MEANWHILE(READY), CALLER,
    },
    [KVS_STREAM_PUT_STREAM] = {
        [KVS_STREAM_EV_OK]             = GO(STREAMING, STREAM),
        [KVS_STREAM_EV_AUTH]           = GO(GET_TOKEN, GET_TOKEN), /* the token died: again with a new one */
        [KVS_STREAM_EV_FATAL]          = GO(FAILED, REPORT_FAILED),
        [KVS_STREAM_EV_SPENT]          = GO(FAILED, REPORT_FAILED),
        REPEAT(PUT_STREAM, PUT_MEDIA), ENDED_LAST, CALLER,
    },
    [KVS_STREAM_STREAMING] = {
        [KVS_STREAM_EV_TOKEN_EXPIRING] = GO(GET_ENDPOINT, GET_ENDPOINT), /* the old upload handle goes on meanwhile */
        [KVS_STREAM_EV_NEW_SESSION]    = GO(PUT_STREAM, PUT_MEDIA),
        ENDED_LAST, CALLER,
    },
    [KVS_STREAM_STOPPED] = {
        [KVS_STREAM_EV_RESET]          = GO(DESCRIBE, DESCRIBE),
    },
    [KVS_STREAM_FAILED] = { /* keeps its store, takes frames; a rotation that failed may have left a session alive */
        [KVS_STREAM_EV_ENDED_FATAL]    = GO(FAILED, STAY),
        ENDED_MEANWHILE(FAILED), CALLER,
    },
};

static const char *const STATE_NAMES[KVS_STREAM_STATE_COUNT] = {
    [KVS_STREAM_NEW] = "NEW", [KVS_STREAM_DESCRIBE] = "DESCRIBE", [KVS_STREAM_CREATE] = "CREATE",
    [KVS_STREAM_TAG] = "TAG", [KVS_STREAM_GET_ENDPOINT] = "GET_ENDPOINT", [KVS_STREAM_GET_TOKEN] = "GET_TOKEN",
    [KVS_STREAM_READY] = "READY", [KVS_STREAM_PUT_STREAM] = "PUT_STREAM", [KVS_STREAM_STREAMING] = "STREAMING",
    [KVS_STREAM_STOPPED] = "STOPPED", [KVS_STREAM_FAILED] = "FAILED",
};

static const char *const EVENT_NAMES[KVS_STREAM_EV_COUNT] = {
    [KVS_STREAM_EV_START] = "START", [KVS_STREAM_EV_ACTIVE] = "ACTIVE", [KVS_STREAM_EV_ACTIVE_TAGS] = "ACTIVE_TAGS",
    [KVS_STREAM_EV_NOT_READY] = "NOT_READY", [KVS_STREAM_EV_NOT_FOUND] = "NOT_FOUND", [KVS_STREAM_EV_OK] = "OK",
    [KVS_STREAM_EV_OK_TAGS] = "OK_TAGS", [KVS_STREAM_EV_IN_USE] = "IN_USE", [KVS_STREAM_EV_RETRYABLE] = "RETRYABLE",
    [KVS_STREAM_EV_SKIP] = "SKIP", [KVS_STREAM_EV_AUTH] = "AUTH", [KVS_STREAM_EV_FATAL] = "FATAL",
    [KVS_STREAM_EV_SPENT] = "SPENT", [KVS_STREAM_EV_FRAME] = "FRAME", [KVS_STREAM_EV_ENDED_OK] = "ENDED_OK",
    [KVS_STREAM_EV_ENDED_AUTH] = "ENDED_AUTH", [KVS_STREAM_EV_ENDED_TIMEOUT] = "ENDED_TIMEOUT",
    [KVS_STREAM_EV_ENDED_ERROR] = "ENDED_ERROR", [KVS_STREAM_EV_ENDED_FATAL] = "ENDED_FATAL",
    [KVS_STREAM_EV_TOKEN_EXPIRING] = "TOKEN_EXPIRING", [KVS_STREAM_EV_DRAINED] = "DRAINED",
    [KVS_STREAM_EV_RETRY] = "RETRY", [KVS_STREAM_EV_RESET] = "RESET", [KVS_STREAM_EV_NEW_SESSION] = "NEW_SESSION",
};

static const char *const ACT_NAMES[KVS_STREAM_ACT_COUNT] = {
    [KVS_STREAM_ACT_NONE] = "NONE", [KVS_STREAM_ACT_DESCRIBE] = "DESCRIBE", [KVS_STREAM_ACT_CREATE] = "CREATE",
    [KVS_STREAM_ACT_TAG] = "TAG", [KVS_STREAM_ACT_GET_ENDPOINT] = "GET_ENDPOINT",
    [KVS_STREAM_ACT_GET_TOKEN] = "GET_TOKEN", [KVS_STREAM_ACT_AWAIT_FRAME] = "AWAIT_FRAME",
    [KVS_STREAM_ACT_PUT_MEDIA] = "PUT_MEDIA", [KVS_STREAM_ACT_STREAM] = "STREAM",
    [KVS_STREAM_ACT_SKIP_TAG] = "SKIP_TAG", [KVS_STREAM_ACT_REPORT_FAILED] = "REPORT_FAILED",
    [KVS_STREAM_ACT_REPORT_CLOSED] = "REPORT_CLOSED", [KVS_STREAM_ACT_STAY] = "STAY",
};

static const kvs_status SPENT[KVS_STREAM_STATE_COUNT] = {
    [KVS_STREAM_DESCRIBE] = KVS_E_DESCRIBE_FAILED,
    [KVS_STREAM_CREATE] = KVS_E_CREATE_FAILED,
    [KVS_STREAM_TAG] = KVS_E_TAG_FAILED,
    [KVS_STREAM_GET_ENDPOINT] = KVS_E_ENDPOINT_FAILED,
    [KVS_STREAM_GET_TOKEN] = KVS_E_TOKEN_FAILED,
    [KVS_STREAM_PUT_STREAM] = KVS_E_PUT_MEDIA_FAILED,
    [KVS_STREAM_STREAMING] = KVS_E_CONNECTION_LOST,
};

const struct kvs_fsm_table kvs_stream_fsm = {
    .name = "stream",
    .state_count = KVS_STREAM_STATE_COUNT,
    .event_count = KVS_STREAM_EV_COUNT,
    .act_count = KVS_STREAM_ACT_COUNT,
    .initial = KVS_STREAM_NEW,
    .edges = &EDGES[0][0],
    .state_names = STATE_NAMES,
    .event_names = EVENT_NAMES,
    .act_names = ACT_NAMES,
    .spent = SPENT,
};

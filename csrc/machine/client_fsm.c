/* client_fsm.c — the table of the client's life; diagram and theory in client_fsm.h.
 *
 * An absent cell is not allowed. RETRY starts over from the credentials in every state that has begun, because
 * whatever failed may have failed for want of good ones. The table bounds nothing: the engine counts the returns to
 * AUTH out of PROVISION like repeats, so the two can not take turns for ever. */
#include "machine/client_fsm.h"

#define GO(state, act) { KVS_CLIENT_##state, KVS_CLIENT_ACT_##act }
#define START_OVER [KVS_CLIENT_EV_RETRY] = GO(AUTH, GET_CREDENTIALS)
#define REFUSED [KVS_CLIENT_EV_FATAL] = GO(FAILED, REPORT_FAILED), [KVS_CLIENT_EV_SPENT] = GO(FAILED, REPORT_FAILED)

static const struct kvs_edge EDGES[KVS_CLIENT_STATE_COUNT][KVS_CLIENT_EV_COUNT] = {
    [KVS_CLIENT_NEW] = {
        [KVS_CLIENT_EV_START]       = GO(AUTH, GET_CREDENTIALS),
    },
    [KVS_CLIENT_AUTH] = {
        [KVS_CLIENT_EV_TOKEN]       = GO(CREATE, CREATE_DEVICE),
        [KVS_CLIENT_EV_TOKEN_AGAIN] = GO(READY, REPORT_READY),
        [KVS_CLIENT_EV_CERTIFICATE] = GO(GET_TOKEN, EXCHANGE_TOKEN),
        [KVS_CLIENT_EV_NO_SOURCE]   = GO(PROVISION, PROVISION),
        [KVS_CLIENT_EV_RETRYABLE]   = GO(AUTH, GET_CREDENTIALS),
        REFUSED, START_OVER,
    },
    [KVS_CLIENT_PROVISION] = {
        [KVS_CLIENT_EV_OK]          = GO(AUTH, GET_CREDENTIALS), /* provisioned: now there must be a source */
        [KVS_CLIENT_EV_RETRYABLE]   = GO(PROVISION, PROVISION),
        REFUSED, START_OVER,
    },
    [KVS_CLIENT_GET_TOKEN] = {
        [KVS_CLIENT_EV_TOKEN]       = GO(CREATE, CREATE_DEVICE),
        [KVS_CLIENT_EV_TOKEN_AGAIN] = GO(READY, REPORT_READY),
        [KVS_CLIENT_EV_RETRYABLE]   = GO(GET_TOKEN, EXCHANGE_TOKEN),
        REFUSED, START_OVER,
    },
    [KVS_CLIENT_CREATE] = {
        [KVS_CLIENT_EV_OK]          = GO(READY, REPORT_READY),
        [KVS_CLIENT_EV_OK_TAGS]     = GO(TAG, TAG_CLIENT),
        [KVS_CLIENT_EV_RETRYABLE]   = GO(CREATE, CREATE_DEVICE),
        [KVS_CLIENT_EV_EXPIRING]    = GO(AUTH, GET_CREDENTIALS), /* repeats outlived the token */
        REFUSED, START_OVER,
    },
    [KVS_CLIENT_TAG] = { /* a device is of use without its tags: nothing here fails the client */
        [KVS_CLIENT_EV_OK]          = GO(READY, REPORT_READY),
        [KVS_CLIENT_EV_RETRYABLE]   = GO(TAG, TAG_CLIENT),
        [KVS_CLIENT_EV_FATAL]       = GO(READY, SKIP_TAG),
        [KVS_CLIENT_EV_SPENT]       = GO(READY, SKIP_TAG),
        [KVS_CLIENT_EV_EXPIRING]    = GO(AUTH, GET_CREDENTIALS),
        START_OVER,
    },
    [KVS_CLIENT_READY] = {
        [KVS_CLIENT_EV_EXPIRING]    = GO(AUTH, GET_CREDENTIALS),
        START_OVER,
    },
    [KVS_CLIENT_FAILED] = {
        START_OVER,
    },
};

static const char *const STATE_NAMES[KVS_CLIENT_STATE_COUNT] = {
    [KVS_CLIENT_NEW] = "NEW", [KVS_CLIENT_AUTH] = "AUTH", [KVS_CLIENT_PROVISION] = "PROVISION",
    [KVS_CLIENT_GET_TOKEN] = "GET_TOKEN", [KVS_CLIENT_CREATE] = "CREATE", [KVS_CLIENT_TAG] = "TAG",
    [KVS_CLIENT_READY] = "READY", [KVS_CLIENT_FAILED] = "FAILED",
};

static const char *const EVENT_NAMES[KVS_CLIENT_EV_COUNT] = {
    [KVS_CLIENT_EV_START] = "START", [KVS_CLIENT_EV_TOKEN] = "TOKEN", [KVS_CLIENT_EV_TOKEN_AGAIN] = "TOKEN_AGAIN",
    [KVS_CLIENT_EV_CERTIFICATE] = "CERTIFICATE", [KVS_CLIENT_EV_NO_SOURCE] = "NO_SOURCE", [KVS_CLIENT_EV_OK] = "OK",
    [KVS_CLIENT_EV_OK_TAGS] = "OK_TAGS", [KVS_CLIENT_EV_RETRYABLE] = "RETRYABLE", [KVS_CLIENT_EV_FATAL] = "FATAL",
    [KVS_CLIENT_EV_SPENT] = "SPENT", [KVS_CLIENT_EV_EXPIRING] = "EXPIRING", [KVS_CLIENT_EV_RETRY] = "RETRY",
};

static const char *const ACT_NAMES[KVS_CLIENT_ACT_COUNT] = {
    [KVS_CLIENT_ACT_NONE] = "NONE", [KVS_CLIENT_ACT_GET_CREDENTIALS] = "GET_CREDENTIALS",
    [KVS_CLIENT_ACT_PROVISION] = "PROVISION", [KVS_CLIENT_ACT_EXCHANGE_TOKEN] = "EXCHANGE_TOKEN",
    [KVS_CLIENT_ACT_CREATE_DEVICE] = "CREATE_DEVICE", [KVS_CLIENT_ACT_TAG_CLIENT] = "TAG_CLIENT",
    [KVS_CLIENT_ACT_REPORT_READY] = "REPORT_READY", [KVS_CLIENT_ACT_REPORT_FAILED] = "REPORT_FAILED",
    [KVS_CLIENT_ACT_SKIP_TAG] = "SKIP_TAG",
};

static const kvs_status SPENT[KVS_CLIENT_STATE_COUNT] = {
    [KVS_CLIENT_AUTH] = KVS_E_AUTH_FAILED,
    [KVS_CLIENT_PROVISION] = KVS_E_PROVISION_FAILED,
    [KVS_CLIENT_GET_TOKEN] = KVS_E_CLIENT_TOKEN_FAILED,
    [KVS_CLIENT_CREATE] = KVS_E_CREATE_DEVICE_FAILED,
    [KVS_CLIENT_TAG] = KVS_E_TAG_FAILED,
};

const struct kvs_fsm_table kvs_client_fsm = {
    .name = "client",
    .state_count = KVS_CLIENT_STATE_COUNT,
    .event_count = KVS_CLIENT_EV_COUNT,
    .act_count = KVS_CLIENT_ACT_COUNT,
    .initial = KVS_CLIENT_NEW,
    .edges = &EDGES[0][0],
    .state_names = STATE_NAMES,
    .event_names = EVENT_NAMES,
    .act_names = ACT_NAMES,
    .spent = SPENT,
};

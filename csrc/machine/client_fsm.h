/* client_fsm.h — the life of a client: credentials, then the device, then READY.
 *
 *   NEW -> AUTH -> READY on a refresh; first time through CREATE (and TAG).
 *          AUTH -> GET_TOKEN with a device certificate; AUTH -> PROVISION without any source of credentials.
 * Each order is answered by one classified event. Client credentials that expire are fetched again by deadline, before
 * they expire, without leaving READY for the streams: REFRESHING is known by `was_ready` in the engine, not by a
 * state. FAILED is visible and is left by KVS_CLIENT_EV_RETRY, which the engine issues on a time schedule: a client
 * never latches a credential failure. PROVISION's OK goes back to AUTH; the engine charges that return like a repeat.
 * EXPIRING counts in CREATE, TAG and READY; elsewhere the credentials are being fetched already. */
#ifndef KVS_MACHINE_CLIENT_FSM_H
#define KVS_MACHINE_CLIENT_FSM_H

#include "machine/machines.h"

enum kvs_client_event {
    KVS_CLIENT_EV_START,       /* kvs_client_new */
    KVS_CLIENT_EV_TOKEN,       /* credentials are there, first time: create the device */
    KVS_CLIENT_EV_TOKEN_AGAIN, /* credentials are there, the client has been READY before */
    KVS_CLIENT_EV_CERTIFICATE, /* a device certificate is there: exchange it */
    KVS_CLIENT_EV_NO_SOURCE,   /* no source of credentials: provision */
    KVS_CLIENT_EV_OK,          /* CREATE, TAG, PROVISION answered with 200; no tags */
    KVS_CLIENT_EV_OK_TAGS,     /* CREATE answered with 200 and the device has tags */
    KVS_CLIENT_EV_RETRYABLE,
    KVS_CLIENT_EV_FATAL,       /* authentication, bad argument */
    KVS_CLIENT_EV_SPENT,       /* retries spent */
    KVS_CLIENT_EV_EXPIRING,    /* the deadline before the token's expiry */
    KVS_CLIENT_EV_RETRY,       /* the deadline after a failure, or the caller's wish */
    KVS_CLIENT_EV_COUNT
};

enum kvs_client_act {
    KVS_CLIENT_ACT_NONE, /* absent cell */
    KVS_CLIENT_ACT_GET_CREDENTIALS, KVS_CLIENT_ACT_PROVISION, KVS_CLIENT_ACT_EXCHANGE_TOKEN,
    KVS_CLIENT_ACT_CREATE_DEVICE, KVS_CLIENT_ACT_TAG_CLIENT, KVS_CLIENT_ACT_REPORT_READY, KVS_CLIENT_ACT_REPORT_FAILED,
    KVS_CLIENT_ACT_SKIP_TAG, /* report KVS_ACTION_TAG_SKIPPED, then as REPORT_READY */
    KVS_CLIENT_ACT_COUNT
};

#endif

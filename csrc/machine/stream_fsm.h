/* stream_fsm.h — the life of a stream, from DescribeStream to the last acknowledged byte.
 *
 *        NEW -> DESCRIBE -> [CREATE] -> [TAG] -> GET_ENDPOINT -> GET_TOKEN -> READY -> PUT_STREAM -> STREAMING
 *                  ^   ^                              ^              ^          ^                       |
 *                  |   +-- other errors --------------|--------------|----------|-----------------------+
 *                  |                                  +- 200, limits-+- 401/403-+- timeouts, ERROR ACKs +
 *                  +-- RETRY, RESET -- FAILED <-- any state: fatal answer, retries spent, no recovery
 *   STOPPED <-- any state: DRAINED (stopped by the caller and nothing is left to send or to wait for)
 *
 * Who makes the events: answers of the service (classified in engine/answer.c), ends of a PutMedia session (ENDED_*),
 * the put of a frame (FRAME), deadlines (TOKEN_EXPIRING), the caller (STOP's DRAINED, RETRY, RESET).
 * In each state exactly one order is outstanding, but for READY (waits for a frame), STREAMING (waits for frames, ACKs,
 * ends), STOPPED and FAILED (wait for the caller). Frames are taken in every state but STOPPED.
 * Rotation: TOKEN_EXPIRING in STREAMING goes to GET_ENDPOINT while the old upload handle drains; the new session starts
 * at the next fragment edge. A token that expires in PUT_STREAM rotates as soon as STREAMING is reached.
 * "Last session": one has ended and no other can take frames (upload states OPENING, READY, STREAMING). So in
 * PUT_STREAM it means the one being opened; a draining one that dies beside it is no event. In a state that sets up the
 * next session already, the end is expected and nothing is to be done (STAY). */
#ifndef KVS_MACHINE_STREAM_FSM_H
#define KVS_MACHINE_STREAM_FSM_H

#include "machine/machines.h"

enum kvs_stream_event {
    KVS_STREAM_EV_START,           /* kvs_stream_new */
    KVS_STREAM_EV_ACTIVE,          /* described: ACTIVE, no tags wanted */
    KVS_STREAM_EV_ACTIVE_TAGS,     /* described: ACTIVE, tags wanted */
    KVS_STREAM_EV_NOT_READY,       /* described: CREATING or UPDATING; polled with backoff */
    KVS_STREAM_EV_NOT_FOUND,       /* described: 404, and creating is allowed */
    KVS_STREAM_EV_OK,              /* 200 (CREATE: no tags wanted) */
    KVS_STREAM_EV_OK_TAGS,         /* CREATE: 200, tags wanted */
    KVS_STREAM_EV_IN_USE,          /* 10003. CREATE: somebody else made it: describe; else as RETRYABLE */
    KVS_STREAM_EV_RETRYABLE,       /* same call again, later */
    KVS_STREAM_EV_SKIP,            /* TAG: the service refused: go on without */
    KVS_STREAM_EV_AUTH,            /* 401, 403 (PUT_STREAM: new token) */
    KVS_STREAM_EV_FATAL,           /* bad argument, deleting, not found, limits on the way up */
    KVS_STREAM_EV_SPENT,           /* retries spent */
    KVS_STREAM_EV_FRAME,           /* there is something to send */
    KVS_STREAM_EV_ENDED_OK,        /* last session ended: 200, 10001, 10002, or reset connection */
    KVS_STREAM_EV_ENDED_AUTH,      /* last session ended: 401, 403 */
    KVS_STREAM_EV_ENDED_TIMEOUT,   /* last session ended: 408, 504, 598, 599, an ERROR ACK that is not about the
                                      stream; no recovery: 200 and nothing unsent */
    KVS_STREAM_EV_ENDED_ERROR,     /* last session ended: anything else */
    KVS_STREAM_EV_ENDED_FATAL,     /* last session ended and recovery is off, or progress retries are spent */
    KVS_STREAM_EV_TOKEN_EXPIRING,  /* deadline: rotate */
    KVS_STREAM_EV_DRAINED,         /* stopped and nothing left */
    KVS_STREAM_EV_RETRY,           /* kvs_stream_retry */
    KVS_STREAM_EV_RESET,           /* kvs_stream_reset */
    KVS_STREAM_EV_NEW_SESSION,     /* the next fragment needs another header: new cpd, tracks, backward times */
    KVS_STREAM_EV_COUNT
};

enum kvs_stream_act {
    KVS_STREAM_ACT_NONE, /* absent cell */
    KVS_STREAM_ACT_DESCRIBE, KVS_STREAM_ACT_CREATE, KVS_STREAM_ACT_TAG, KVS_STREAM_ACT_GET_ENDPOINT,
    KVS_STREAM_ACT_GET_TOKEN, KVS_STREAM_ACT_AWAIT_FRAME /* READY: report it; step FRAME at once if there is data */,
    KVS_STREAM_ACT_PUT_MEDIA, KVS_STREAM_ACT_STREAM /* data may flow */,
    KVS_STREAM_ACT_SKIP_TAG /* report, then GET_ENDPOINT */,
    KVS_STREAM_ACT_REPORT_FAILED, KVS_STREAM_ACT_REPORT_CLOSED,
    KVS_STREAM_ACT_STAY, /* known and expected; nothing moves and nothing is to be done */
    KVS_STREAM_ACT_COUNT
};

#endif

/* upload_fsm.h — the life of an upload handle: one PutMedia session.
 *
 *   OPENING -> READY -> STREAMING -> DRAINING -> AWAITING_ACK -> FINISHED
 * OPENING: PUT_MEDIA is ordered. READY: the connection is open, no byte read. STREAMING: bytes are read. DRAINING: its
 * last fragment is read, the end tag is to be read. AWAITING_ACK: all is read, the last PERSISTED is to come.
 * FINISHED: the next read says KVS_READ_END and the handle is gone. DEAD: ended by the core (reset, ERROR ACK); reads
 * say KVS_READ_END too, but nothing is waited for. A handle never comes back: numbers are not used twice.
 * READ, LAST_READ and END_READ* happen inside kvs_upload_read; a stop only has the reader read once more. A
 * connection that is gone takes its handle with it, without an event. */
#ifndef KVS_MACHINE_UPLOAD_FSM_H
#define KVS_MACHINE_UPLOAD_FSM_H

#include "machine/machines.h"

enum kvs_upload_state {
    KVS_UPLOAD_OPENING, KVS_UPLOAD_READY, KVS_UPLOAD_STREAMING, KVS_UPLOAD_DRAINING, KVS_UPLOAD_AWAITING_ACK,
    KVS_UPLOAD_FINISHED, KVS_UPLOAD_DEAD, KVS_UPLOAD_STATE_COUNT
};

enum kvs_upload_event {
    KVS_UPLOAD_EV_OPENED,       /* PUT_MEDIA answered with 200 */
    KVS_UPLOAD_EV_READ,         /* first bytes read */
    KVS_UPLOAD_EV_LAST_READ,    /* its last fragment is read (boundary, or stopped and nothing left to read) */
    KVS_UPLOAD_EV_END_READ,     /* end tag read; an ACK is waited for */
    KVS_UPLOAD_EV_END_READ_DONE,/* end tag read; nothing to wait for */
    KVS_UPLOAD_EV_LAST_ACK,     /* the last fragment is done */
    KVS_UPLOAD_EV_ABORT,        /* reset connection, error ACK, reset stream */
    KVS_UPLOAD_EV_COUNT
};

enum kvs_upload_act {
    KVS_UPLOAD_ACT_NONE, /* absent cell */
    KVS_UPLOAD_ACT_STAY, /* move only */
    KVS_UPLOAD_ACT_NOTIFY, /* tell the reader that there is something to read */
    KVS_UPLOAD_ACT_END,  /* tell the network layer to close the connection */
    KVS_UPLOAD_ACT_COUNT
};

#endif

/* stream.h — the highest layer: the stream's machine, the service's answers and ACKs, deadlines, and the public
 * calls. Each call locks, changes the layers below, settles, and unlocks. */
#ifndef KVS_ENGINE_STREAM_H
#define KVS_ENGINE_STREAM_H

#include "engine/packer.h"

/* ---- machine.c: the one place where the stream's machine steps --------------------------------------------------- */

void machine_init(struct kvs_stream *stream);
void machine_reset(struct kvs_stream *stream); /* the step that follows withdraws the outstanding order */
void machine_forget_failures(struct kvs_stream *stream);
/* One event of machine/stream_fsm.h, and what its act means. An event that the state does not know changes nothing. */
void stream_step(struct kvs_stream *stream, uint32_t event, uint64_t now_hns);
/* The same with an event that leads to FAILED: cause and result are what KVS_ACTION_FAILED reports. */
void stream_fail(struct kvs_stream *stream, uint32_t event, kvs_status cause, uint32_t result, uint64_t now_hns);
int stream_done_on_received(const struct kvs_stream *stream);    /* no PERSISTED will come */
uint64_t machine_next_deadline(const struct kvs_stream *stream); /* the token's */

/* ---- recovery.c: a session that was lost ------------------------------------------------------------------------- */

void recovery_lost(struct kvs_stream *stream, uint32_t result, uint64_t now_hns);      /* its upload is removed */
void recovery_refused(struct kvs_stream *stream, uint32_t error_id, uint64_t now_hns); /* by an ERROR ACK */
/* KVS_PUT_OPENS: whether a session that ended with this result is followed by another one only after a put; and what
 * then happens at that put. */
int recovery_may_wait_for_put(const struct kvs_stream *stream, uint32_t result);
void recovery_timed_out(struct kvs_stream *stream, uint64_t now_hns);

/* ---- settle.c: after any change of a stream ---------------------------------------------------------------------- */

void stream_settle_all(struct kvs_stream *stream, uint64_t now_hns);
/* Another token; sessions end with what is being read. */
void stream_rotate(struct kvs_stream *stream, uint64_t now_hns);
void stream_woken_by_put(struct kvs_stream *stream, uint64_t skipped_pts_hns, uint64_t now_hns); /* KVS_PUT_OPENS */

/* ---- gate.c: the end of a call ----------------------------------------------------------------------------------- */

void stream_unlock(struct kvs_stream *stream);     /* arms the deadline and wakes */
void stream_write_lock(struct kvs_stream *stream); /* the writer's lock, then the stream's */
void stream_write_unlock(struct kvs_stream *stream);

/* ---- stream.c, ack.c --------------------------------------------------------------------------------------------- */

void stream_restart(struct kvs_stream *stream);             /* under writer and stream lock; nothing is held any more */
void stream_check(const struct kvs_stream *stream);         /* what always holds between two calls; for tests */
void stream_release(struct kvs_stream *stream);             /* a reference that kvs_client_poke took */
void stream_destroy(struct kvs_stream *stream);             /* no client knows it and no call uses it */
void ack_poke(struct kvs_stream *stream, uint64_t now_hns); /* what a PERSISTED passed over is sent again when due */

/* ---- on the way of every frame ----------------------------------------------------------------------------------- */

/* Opens a session where one is needed, closes a stopped stream that has drained. After anything that could matter; 0
 * when it did not. */
static inline int stream_settle(struct kvs_stream *stream, uint64_t now_hns)
{
    if (!stream->ledger.is_stopped && uploads_cover_all(stream)) return 0;
    stream_settle_all(stream, now_hns);
    return 1;
}

#endif

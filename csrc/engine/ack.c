/* ack.c — fragment ACKs applied. Cluster times are matched exactly, within the upload handle that the ACK came for. */
#include "engine/stream.h"

#include <string.h>

#define LATENCY_SHARE 8u /* moving average: one part in this many is new */
#define UNCONFIRMED_MAX 3u
#define UNCONFIRMED_WAIT_HNS (5 * KVS_HNS_PER_SECOND) /* the order of ACKs is not promised: its own may still come */
#define PERSIST_WAIT_HNS (30 * KVS_HNS_PER_SECOND)
#define PERSIST_WAIT_MAX_HNS (960 * KVS_HNS_PER_SECOND)
#define FRAGMENT_MAX_HNS (20 * KVS_HNS_PER_SECOND)

/* The fragment that the ACK names, or KVS_TIME_NONE. */
static uint64_t find(const struct kvs_stream *stream, const struct upload *upload, const struct kvs_ack *ack)
{
    struct kvs_view_query query = { .scale_hns = stream->limits.scale_hns, .wanted_ms = ack->timecode_ms };
    query.from = kvs_hns_max(upload->first, stream->view.fragment_tail);
    query.to = kvs_hns_min(upload->sent_next, stream->view.fragment_head);
    if (stream->mode.flags & KVS_RELATIVE_TIMES) query.base_tc = upload->base_tc;
    if (ack->timecode_ms == KVS_TIME_NONE || query.from >= query.to) return KVS_TIME_NONE;
    return kvs_view_find(&stream->view, &query);
}

static void note_latency(struct kvs_stream *stream, uint64_t latency_hns)
{
    uint64_t *average = &stream->ledger.metrics.ack_latency_hns;
    *average = *average == 0 ? latency_hns : *average - *average / LATENCY_SHARE + latency_hns / LATENCY_SHARE;
}

/* One past the fragments that went out in the same cluster as this one (pace.c). */
static uint64_t cluster_end(const struct kvs_stream *stream, const struct upload *upload, uint64_t fragment)
{
    uint64_t tc = kvs_view_fragment(&stream->view, fragment)->sent_tc, to = fragment + 1;
    uint64_t end = kvs_hns_min(upload->sent_next, stream->view.fragment_head);
    while (to < end && kvs_view_fragment(&stream->view, to)->sent_tc == tc) to++;
    return to;
}

/* Passed over by a PERSISTED without an ACK of its own: the service may never have kept it. It is sent again by another
 * session; after UNCONFIRMED_MAX of them it counts as lost. */
static void pass_over(struct kvs_stream *stream, struct upload *upload, uint64_t number, uint64_t now_hns)
{
    struct kvs_fragment *fragment = kvs_view_fragment(&stream->view, number);
    struct kvs_action action = { .kind = KVS_ACTION_UNCONFIRMED, .upload = upload->handle, .a = fragment->pts_hns };
    if (ledger_is_settled(fragment->flags)) return;
    action.b = ++fragment->unconfirmed;
    stream_notice(stream, &action);
    if (fragment->unconfirmed > UNCONFIRMED_MAX) {
        room_drop_fragment(stream, number, KVS_DROP_UNCONFIRMED);
        return;
    }
    stream->pace.is_slow = 1; /* what is sent too fast may be what the service leaves out */
    if (upload->resend_hns == KVS_TIME_NONE) upload->resend_hns = kvs_hns_add(now_hns, UNCONFIRMED_WAIT_HNS);
}

/* The service says PERSISTED of one fragment. That those before it are kept too is certain only where it has said
 * something of each: it gives up none of them without an ERROR. */
static void done_until(struct kvs_stream *stream, struct upload *upload, uint64_t fragment, uint64_t to,
                       uint64_t now_hns)
{
    uint64_t from = kvs_hns_max(upload->done_next, stream->view.fragment_tail);
    if (!(stream->mode.flags & KVS_CONFIRM_EACH)) {
        uploads_done(stream, from, to);
        return;
    }
    uint64_t run = from;
    for (uint64_t i = from; i < fragment && i < to; i++) {
        if (kvs_view_fragment(&stream->view, i)->flags & (KVS_FRAGMENT_BUFFERING | KVS_FRAGMENT_RECEIVED)) continue;
        uploads_done(stream, run, i);
        pass_over(stream, upload, i, now_hns);
        run = i + 1;
    }
    uploads_done(stream, run, to);
}

static void finish(struct kvs_stream *stream, struct upload *upload, uint64_t fragment, uint64_t now_hns)
{
    uint64_t to = kvs_hns_min(cluster_end(stream, upload, fragment), upload_sent_whole(stream, upload));
    if (to > kvs_hns_max(upload->done_next, stream->view.fragment_tail))
        done_until(stream, upload, fragment, to, now_hns);
    else if (fragment < to) uploads_done(stream, fragment, to); /* one that was passed over */
    else return;
    /* Nothing less ends the waits between sessions: the service also says BUFFERING of what it then refuses. */
    kvs_backoff_progress(&stream->machine.session_backoff);
    stream->machine.received_hns = KVS_TIME_NONE;
    stream->machine.describe_wait_hns = 0;
    upload->done_next = kvs_hns_max(to, upload->done_next);
    if (upload->done_next >= upload->sent_next) upload_move(stream, upload, KVS_UPLOAD_EV_LAST_ACK);
    uploads_trim(stream);
    if (!stream->pace.is_probing) return;
    pace_let_go(stream);
    uploads_announce(stream);
}

static void note_alive(struct kvs_stream *stream, struct upload *upload, uint64_t now_hns)
{
    upload->quiet_since_hns = KVS_TIME_NONE;
    upload->is_stale = 0;
    stream->ledger.metrics.last_ack_hns = now_hns;
}

static void copy_number(struct kvs_action *action, const struct kvs_ack *ack)
{
    const char *end = memchr(ack->number, 0, sizeof action->text - 1u);
    memcpy(action->text, ack->number, end != NULL ? (size_t)(end - ack->number) : sizeof action->text - 1u);
}

static void report(struct kvs_stream *stream, const struct upload *upload, const struct kvs_ack *ack, uint64_t fragment,
                   uint64_t now_hns)
{
    struct kvs_action action = { .kind = KVS_ACTION_ACK, .result = ack->type, .upload = upload->handle };
    action.a = ack->timecode_ms;
    action.b = action.c = KVS_TIME_NONE;
    if (fragment != KVS_TIME_NONE) {
        const struct kvs_fragment *found = kvs_view_fragment(&stream->view, fragment);
        action.b = found->pts_hns;
        if (found->read_hns != KVS_TIME_NONE) action.c = kvs_hns_sub(now_hns, found->read_hns);
        if (ack->type == KVS_ACK_PERSISTED && action.c != KVS_TIME_NONE) note_latency(stream, action.c);
    }
    copy_number(&action, ack);
    stream_notice(stream, &action);
}

/* Gives up the fragments that the service will never take. An ACK without a time names none: then
 * everything that this session sent and that is not done counts as refused. */
static void drop_refused(struct kvs_stream *stream, const struct upload *upload, uint64_t fragment)
{
    uint64_t from = fragment, to = fragment + 1;
    if (fragment != KVS_TIME_NONE && cluster_end(stream, upload, fragment) > to) {
        /* Which of them it was shows when each goes alone. */
        stream->pace.join_from = cluster_end(stream, upload, fragment);
        return;
    }
    if (fragment == KVS_TIME_NONE) {
        from = kvs_hns_max(upload->done_next, stream->view.fragment_tail);
        to = kvs_hns_min(upload->sent_next, stream->view.fragment_head);
    }
    for (uint64_t i = from; i < to; i++) room_drop_fragment(stream, i, KVS_DROP_ERROR_ACK);
}

/* A track was announced and is silent in this fragment, which only shows when it is complete: it goes out again under a
 * header that announces the tracks it has. 0 when that is what it did already. */
static int announce_less(struct kvs_stream *stream, uint64_t number)
{
    struct kvs_fragment *fragment = kvs_view_fragment(&stream->view, number);
    if (!(fragment->flags & KVS_FRAGMENT_CLOSED)) return 0;
    uint32_t format = formats_with_mask(stream, fragment->format, fragment->tracks);
    if (format == fragment->format) return 0;
    fragment->format = format;
    fragment->flags |= KVS_FRAGMENT_NEW_SESSION;
    return 1;
}

static void refuse(struct kvs_stream *stream, struct upload *upload, const struct kvs_ack *ack, uint64_t now_hns)
{
    uint64_t fragment = find(stream, upload, ack);
    int is_gone = ack->timecode_ms != KVS_TIME_NONE && fragment == KVS_TIME_NONE;
    struct kvs_action action = { .kind = KVS_ACTION_ERROR_ACK, .result = ack->error_id, .status = KVS_E_ERROR_ACK };
    stream->ledger.metrics.acks_error++;
    if (is_gone) {
        stream->ledger.metrics.acks_late++;
        action.kind = KVS_ACTION_LATE_ERROR_ACK;
    }
    action.upload = upload->handle;
    action.a = ack->timecode_ms;
    action.b = fragment == KVS_TIME_NONE ? KVS_TIME_NONE : kvs_view_fragment(&stream->view, fragment)->pts_hns;
    copy_number(&action, ack);
    stream_notice(stream, &action);
    upload_abort(stream, upload, ack->error_id);
    int is_cured = ack->error_id == KVS_RESULT_FRAMES_MISSING && fragment != KVS_TIME_NONE &&
                   announce_less(stream, fragment);
    int is_of_fragment = kvs_ack_error_of(ack->error_id)->about == KVS_ABOUT_FRAGMENT;
    if (!is_gone && !is_cured && is_of_fragment) drop_refused(stream, upload, fragment);
    uploads_trim(stream);
    recovery_refused(stream, ack->error_id, now_hns);
}

static void count(struct kvs_stream *stream, uint32_t type)
{
    if (type == KVS_ACK_BUFFERING) stream->ledger.metrics.acks_buffering++;
    if (type == KVS_ACK_RECEIVED) stream->ledger.metrics.acks_received++;
    if (type == KVS_ACK_PERSISTED) stream->ledger.metrics.acks_persisted++;
}

/* RECEIVED goes on and PERSISTED has stopped: the stream's retention may have become 0, after which RECEIVED is the
 * last word. The stream is described again; in vain at longer and longer intervals. */
static void note_received(struct kvs_stream *stream, uint64_t now_hns)
{
    if (stream->machine.received_hns == KVS_TIME_NONE) stream->machine.received_hns = now_hns;
    if (stream->machine.describe_wait_hns == 0) stream->machine.describe_wait_hns = PERSIST_WAIT_HNS;
    uint64_t limit = kvs_hns_add(FRAGMENT_MAX_HNS, stream->machine.describe_wait_hns);
    if (kvs_hns_sub(now_hns, stream->machine.received_hns) < limit || stream->machine.state != KVS_STREAM_STREAMING)
        return;
    stream->machine.describe_wait_hns = kvs_hns_min(2 * stream->machine.describe_wait_hns, PERSIST_WAIT_MAX_HNS);
    stream->machine.received_hns = now_hns;
    uploads_abort_open(stream, KVS_RESULT_OK);
    stream_step(stream, KVS_STREAM_EV_ENDED_ERROR, now_hns);
}

static void confirm(struct kvs_stream *stream, struct upload *upload, const struct kvs_ack *ack, uint64_t now_hns)
{
    uint64_t fragment = find(stream, upload, ack);
    count(stream, ack->type);
    report(stream, upload, ack, fragment, now_hns);
    if (fragment == KVS_TIME_NONE) {
        stream->ledger.metrics.acks_late += ack->timecode_ms != KVS_TIME_NONE;
        return;
    }
    uint32_t flag = ack->type == KVS_ACK_BUFFERING ? KVS_FRAGMENT_BUFFERING : KVS_FRAGMENT_RECEIVED;
    uint64_t end = cluster_end(stream, upload, fragment);
    for (uint64_t i = fragment; i < end; i++) kvs_view_fragment(&stream->view, i)->flags |= flag;
    int is_final = ack->type == KVS_ACK_PERSISTED || (ack->type == KVS_ACK_RECEIVED && stream_done_on_received(stream));
    if (is_final) finish(stream, upload, fragment, now_hns);
    else if (ack->type == KVS_ACK_RECEIVED) note_received(stream, now_hns);
}

static void apply(struct kvs_stream *stream, struct upload *upload, const struct kvs_ack *ack, uint64_t now_hns)
{
    if (ack->type == KVS_ACK_ERROR) {
        refuse(stream, upload, ack, now_hns);
        return;
    }
    note_alive(stream, upload, now_hns);
    if (ack->type != KVS_ACK_IDLE) confirm(stream, upload, ack, now_hns);
    stale_note(stream, upload, now_hns);
}

/* The fragments that were passed over go out again, in a session of their own times. */
void ack_poke(struct kvs_stream *stream, uint64_t now_hns)
{
    int is_due = 0;
    EACH_UPLOAD(stream, upload) {
        if (upload->resend_hns > now_hns || !upload_is_live(upload)) continue;
        upload->resend_hns = KVS_TIME_NONE;
        uint64_t at = kvs_hns_max(upload->first, stream->view.fragment_tail);
        uint64_t end = kvs_hns_min(upload->done_next, stream->view.fragment_head);
        while (at < end && ledger_is_settled(kvs_view_fragment(&stream->view, at)->flags)) at++;
        is_due |= at < end;
    }
    if (!is_due) return;
    uploads_abort_open(stream, KVS_RESULT_OK); /* in any other state the way to a session is under way */
    if (stream->machine.state == KVS_STREAM_STREAMING) stream_step(stream, KVS_STREAM_EV_ENDED_OK, now_hns);
}

/* ---- entry points ------------------------------------------------------------------------------------------------ */

static kvs_status apply_bytes(struct kvs_stream *stream, struct upload *upload, const uint8_t *bytes, uint32_t size,
                              uint64_t now_hns)
{
    struct kvs_ack ack;
    kvs_status applied = 0, first_error = KVS_OK;
    uint32_t at = 0, used = 0;
    while (at < size && upload_is_live(upload)) {
        kvs_status status = kvs_ack_parser_next(&upload->parser, bytes + at, size - at, &used, &ack);
        at += used;
        if (status == 1) {
            apply(stream, upload, &ack, now_hns);
            applied++;
        } else if (status < 0) {
            stream->ledger.metrics.acks_bad++;
            if (first_error == KVS_OK) first_error = status;
        }
    }
    return applied == 0 && first_error != KVS_OK ? first_error : applied;
}

static int is_open(const struct upload *upload)
{
    return upload != NULL && upload_is_live(upload) && upload->state != KVS_UPLOAD_OPENING;
}

kvs_status kvs_upload_ack_bytes(struct kvs_stream *stream, uint64_t handle, const uint8_t *bytes, uint32_t size,
                                uint64_t now_hns)
{
    if (stream == NULL || (bytes == NULL && size != 0)) return KVS_E_NULL_ARG;
    kvs_status status = KVS_OK;
    stream_lock(stream);
    struct upload *upload = uploads_find(stream, handle);
    if (is_open(upload)) {
        status = apply_bytes(stream, upload, bytes, size, now_hns);
        stream_settle(stream, now_hns);
    }
    stream_unlock(stream);
    return status;
}

kvs_status kvs_upload_ack(struct kvs_stream *stream, uint64_t handle, const struct kvs_ack *ack, uint64_t now_hns)
{
    if (stream == NULL || ack == NULL) return KVS_E_NULL_ARG;
    if (ack->size != sizeof *ack) return KVS_E_CONFIG_SIZE;
    if (ack->type < KVS_ACK_BUFFERING || ack->type > KVS_ACK_IDLE) return KVS_E_ACK_TYPE;
    kvs_status status = KVS_OK;
    stream_lock(stream);
    struct upload *upload = uploads_find(stream, handle);
    if (is_open(upload)) {
        if (ack->timecode_ms != KVS_TIME_NONE && ack->type != KVS_ACK_IDLE &&
            find(stream, upload, ack) == KVS_TIME_NONE)
            status = KVS_E_ACK_NOT_IN_VIEW;
        apply(stream, upload, ack, now_hns);
        stream_settle(stream, now_hns);
    }
    stream_unlock(stream);
    return status;
}

/* ack.c — fragment ACKs applied. Cluster times are matched exactly, within the upload handle that the ACK came for. */
#include "engine/engine.h"

#include <string.h>

#define LATENCY_SHARE 8u /* moving average: one part in this many is new */

static int is_retriable(uint32_t error_id)
{
    return error_id == KVS_RESULT_STREAM_READ_ERROR || error_id == KVS_RESULT_CONNECTION_DURATION ||
           error_id == KVS_RESULT_ACK_INTERNAL || error_id == KVS_RESULT_ARCHIVAL ||
           error_id < KVS_RESULT_STREAM_READ_ERROR || error_id > KVS_RESULT_ARCHIVAL ||
           (error_id > KVS_RESULT_MORE_TRACKS && error_id < KVS_RESULT_KMS_FIRST) ||
           (error_id > KVS_RESULT_STREAM_DELETED && error_id < KVS_RESULT_ACK_INTERNAL);
}

/* The fragment that the ACK names, or KVS_TIME_NONE. */
static uint64_t find(const struct kvs_stream *stream, const struct upload *upload, const struct kvs_ack *ack)
{
    struct kvs_view_query query = { .scale_hns = stream->limits.scale_hns, .wanted_ms = ack->timecode_ms };
    query.from = kvs_hns_max(upload->first, stream->view.fragment_tail);
    query.to = kvs_hns_min(upload->sent_next, stream->view.fragment_head);
    if (stream->flags & KVS_RELATIVE_TIMES) query.base_tc = upload->base_tc;
    if (ack->timecode_ms == KVS_TIME_NONE || query.from >= query.to) return KVS_TIME_NONE;
    return kvs_view_find(&stream->view, &query);
}

static void note_latency(struct kvs_stream *stream, uint64_t latency_hns)
{
    uint64_t *average = &stream->metrics.ack_latency_hns;
    *average = *average == 0 ? latency_hns : *average - *average / LATENCY_SHARE + latency_hns / LATENCY_SHARE;
}

static void finish(struct kvs_stream *stream, struct upload *upload, uint64_t fragment)
{
    uint64_t to = kvs_hns_min(fragment + 1, upload_sent_whole(stream, upload));
    uint64_t from = kvs_hns_max(upload->done_next, stream->view.fragment_tail);
    if (to <= from) return;
    ledger_done(stream, from, to);
    upload->done_next = to;
    if (upload->done_next >= upload->sent_next) session_move(stream, upload, KVS_UPLOAD_EV_LAST_ACK);
    ledger_trim(stream);
}

static void note_alive(struct kvs_stream *stream, struct upload *upload, uint64_t now_hns)
{
    upload->quiet_since_hns = KVS_TIME_NONE;
    upload->is_stale = 0;
    stream->metrics.last_ack_hns = now_hns;
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
    action.b = KVS_TIME_NONE;
    if (fragment != KVS_TIME_NONE) {
        const struct kvs_fragment *found = kvs_view_fragment(&stream->view, fragment);
        action.b = found->pts_hns;
        if (found->read_hns != KVS_TIME_NONE) action.c = kvs_hns_sub(now_hns, found->read_hns);
        if (ack->type == KVS_ACK_PERSISTED) note_latency(stream, action.c);
    }
    copy_number(&action, ack);
    stream_notice(stream, &action);
}

/* Gives up the fragments that the service will never take. Without a time in the ACK nobody knows which one it was, so
 * everything that this session sent and that is not done counts as refused. */
static void drop_refused(struct kvs_stream *stream, const struct upload *upload, uint64_t fragment)
{
    uint64_t from = fragment, to = fragment + 1;
    if (fragment == KVS_TIME_NONE) {
        from = kvs_hns_max(upload->done_next, stream->view.fragment_tail);
        to = kvs_hns_min(upload->sent_next, stream->view.fragment_head);
    }
    for (uint64_t i = from; i < to; i++) ledger_drop_fragment(stream, i, KVS_DROP_ERROR_ACK);
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
    stream->metrics.acks_error++;
    if (is_gone) {
        stream->metrics.acks_late++;
        action.kind = KVS_ACTION_LATE_ERROR_ACK;
    }
    action.upload = upload->handle;
    action.a = ack->timecode_ms;
    action.b = fragment == KVS_TIME_NONE ? KVS_TIME_NONE : kvs_view_fragment(&stream->view, fragment)->pts_hns;
    copy_number(&action, ack);
    stream_notice(stream, &action);
    session_abort(stream, upload, ack->error_id);
    int is_cured = ack->error_id == KVS_RESULT_FRAMES_MISSING && fragment != KVS_TIME_NONE &&
                   announce_less(stream, fragment);
    if (!is_gone && !is_cured && !is_retriable(ack->error_id)) drop_refused(stream, upload, fragment);
    ledger_trim(stream);
    session_lost(stream, ack->error_id, now_hns);
}

static void count(struct kvs_stream *stream, uint32_t type)
{
    if (type == KVS_ACK_BUFFERING) stream->metrics.acks_buffering++;
    if (type == KVS_ACK_RECEIVED) stream->metrics.acks_received++;
    if (type == KVS_ACK_PERSISTED) stream->metrics.acks_persisted++;
}

static void confirm(struct kvs_stream *stream, struct upload *upload, const struct kvs_ack *ack, uint64_t now_hns)
{
    uint64_t fragment = find(stream, upload, ack);
    count(stream, ack->type);
    kvs_backoff_progress(&stream->session_backoff);
    report(stream, upload, ack, fragment, now_hns);
    if (fragment == KVS_TIME_NONE) {
        stream->metrics.acks_late += ack->timecode_ms != KVS_TIME_NONE;
        return;
    }
    uint32_t flag = ack->type == KVS_ACK_BUFFERING ? KVS_FRAGMENT_BUFFERING : KVS_FRAGMENT_RECEIVED;
    kvs_view_fragment(&stream->view, fragment)->flags |= flag;
    int is_final = ack->type == KVS_ACK_PERSISTED || (ack->type == KVS_ACK_RECEIVED && stream_done_on_received(stream));
    if (is_final) finish(stream, upload, fragment);
}

void ack_apply(struct kvs_stream *stream, struct upload *upload, const struct kvs_ack *ack, uint64_t now_hns)
{
    if (ack->type == KVS_ACK_ERROR) {
        refuse(stream, upload, ack, now_hns);
        return;
    }
    note_alive(stream, upload, now_hns);
    if (ack->type != KVS_ACK_IDLE) confirm(stream, upload, ack, now_hns);
    pressure_note_owed(stream, upload, now_hns);
}

/* ---- entry points ------------------------------------------------------------------------------------------------ */

static kvs_status apply_bytes(struct kvs_stream *stream, struct upload *upload, const uint8_t *bytes, uint32_t size,
                              uint64_t now_hns)
{
    struct kvs_ack ack;
    kvs_status applied = 0, first_error = KVS_OK;
    uint32_t at = 0, used = 0;
    while (at < size && upload->state != KVS_UPLOAD_DEAD) {
        kvs_status status = kvs_ack_parser_next(&upload->parser, bytes + at, size - at, &used, &ack);
        at += used;
        if (status == 1) {
            ack_apply(stream, upload, &ack, now_hns);
            applied++;
        } else if (status < 0) {
            stream->metrics.acks_bad++;
            if (first_error == KVS_OK) first_error = status;
        }
    }
    return applied == 0 && first_error != KVS_OK ? first_error : applied;
}

static int is_open(const struct upload *upload)
{
    return upload != NULL && upload->state != KVS_UPLOAD_DEAD && upload->state != KVS_UPLOAD_OPENING;
}

kvs_status kvs_upload_ack_bytes(struct kvs_stream *stream, uint64_t handle, const uint8_t *bytes, uint32_t size,
                                uint64_t now_hns)
{
    if (stream == NULL || (bytes == NULL && size != 0)) return KVS_E_NULL_ARG;
    kvs_status status = KVS_OK;
    stream_lock(stream);
    struct upload *upload = session_find(stream, handle);
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
    struct upload *upload = session_find(stream, handle);
    if (is_open(upload)) {
        if (ack->timecode_ms != KVS_TIME_NONE && ack->type != KVS_ACK_IDLE &&
            find(stream, upload, ack) == KVS_TIME_NONE)
            status = KVS_E_ACK_NOT_IN_VIEW;
        ack_apply(stream, upload, ack, now_hns);
        stream_settle(stream, now_hns);
    }
    stream_unlock(stream);
    return status;
}

/* transfer.c — the calls of the network layer on one upload handle: bytes out, and the end of its connection. ACKs are
 * in ack.c. */
#include "engine/stream.h"

static int return_lent(struct kvs_stream *stream, uint64_t handle)
{
    if (!lend_return(stream, handle)) return 0;
    uploads_trim(stream);
    return 1;
}

kvs_status kvs_upload_ended(struct kvs_stream *stream, uint64_t handle, uint32_t result, uint64_t now_hns)
{
    if (stream == NULL) return KVS_E_NULL_ARG;
    stream_lock(stream);
    (void)return_lent(stream, handle);
    struct upload *upload = uploads_find(stream, handle);
    if (upload != NULL) {
        int was_live = upload_is_live(upload);
        stream->machine.waits_for_put = was_live && recovery_may_wait_for_put(stream, result);
        upload_remove(stream, upload);
        if (stream->machine.waits_for_put) stream->uploads.last_result = result;
        else if (was_live) recovery_lost(stream, result, now_hns);
        uploads_announce(stream); /* those that were behind it */
        stream_settle(stream, now_hns);
    }
    stream_unlock(stream);
    return KVS_OK;
}

static void note_sent(struct reader *reader)
{
    reader->stream->ledger.metrics.bytes_sent += reader->filled;
    if (reader->filled == 0) return;
    if (reader->has_moved) stale_note(reader->stream, reader->upload, reader->now_hns);
    if (stream_waits_for_acks(reader->stream)) return;
    /* Without ACKs nothing reports that bytes arrived: a session that lives is the sign. */
    uint64_t lived = kvs_hns_sub(reader->now_hns, reader->upload->opened_hns);
    if (lived > reader->stream->client->backoff_cap_hns) kvs_backoff_progress(&reader->stream->machine.session_backoff);
}

static enum kvs_read_state finish(struct reader *reader, enum step step)
{
    struct upload *upload = reader->upload;
    if (upload->state == KVS_UPLOAD_FINISHED || !upload_is_live(upload)) {
        if (upload->state == KVS_UPLOAD_FINISHED && !stream_waits_for_acks(reader->stream))
            kvs_backoff_progress(&reader->stream->machine.session_backoff);
        upload_remove(reader->stream, upload);
        return KVS_READ_END;
    }
    if (upload->state == KVS_UPLOAD_AWAITING_ACK) return KVS_READ_AWAITING_ACK;
    upload->is_waiting = step == STEP_WAIT;
    return step == STEP_WAIT ? KVS_READ_WAIT : KVS_READ_MORE;
}

static kvs_status read_locked(struct reader *reader, enum kvs_read_state *state_out)
{
    uint8_t state = reader->upload->state;
    enum step step = STEP_END;
    if (state == KVS_UPLOAD_OPENING) return KVS_E_UPLOAD_STATE;
    if (reader->now_hns >= reader->upload->expires_hns) uploads_expire(reader->stream, reader->now_hns);
    if (reader->upload->state != state) { /* an order to end it is on its way, and the read after that says so */
        *state_out = KVS_READ_WAIT;
        reader->has_moved = 1;
        stream_settle(reader->stream, reader->now_hns);
        return 0;
    }
    if (state == KVS_UPLOAD_READY || state == KVS_UPLOAD_STREAMING || state == KVS_UPLOAD_DRAINING) {
        kvs_status status = read_fill(reader, &step);
        if (status != KVS_OK) return status;
        note_sent(reader);
    }
    *state_out = finish(reader, step);
    if (reader->has_moved || *state_out >= KVS_READ_AWAITING_ACK) uploads_trim(reader->stream);
    if (*state_out >= KVS_READ_AWAITING_ACK) uploads_announce(reader->stream); /* those that were behind it */
    if (stream_settle(reader->stream, reader->now_hns)) reader->has_moved = 1;
    return (kvs_status)reader->filled;
}

static kvs_status read_next(struct reader *reader, uint64_t handle, enum kvs_read_state *state_out)
{
    struct kvs_stream *stream = reader->stream;
    stream_lock(stream);
    if (stream->lents.count != 0) reader->has_moved = return_lent(stream, handle);
    if (reader->loan != NULL) reader->may_lend = stream->lents.count < UPLOADS_MAX;
    if (stream->limits.fragment_duration_min_hns != 0) reader->newest_end_hns = times_newest_end(stream);
    reader->upload = uploads_find(stream, handle);
    kvs_status status = reader->upload == NULL ? KVS_E_UNKNOWN_UPLOAD : read_locked(reader, state_out);
    /* Of the pressures a read inside a fragment changes the latency only: what is buffered stays. */
    if (status >= 0 && (reader->has_moved || stream->limits.latency_max_hns != 0)) pressure_check(stream);
    if (reader->has_moved || status < 0) stream_unlock(stream);
    else stream_unlock_quiet(stream);
    return status;
}

kvs_status kvs_upload_read(struct kvs_stream *stream, uint64_t handle, uint8_t *buffer, uint32_t buffer_size,
                           enum kvs_read_state *state_out, uint64_t now_hns)
{
    if (stream == NULL || buffer == NULL || state_out == NULL) return KVS_E_NULL_ARG;
    if (buffer_size == 0 || buffer_size > INT32_MAX) return KVS_E_INVALID_ARG;
    struct reader reader = { .stream = stream, .out = buffer, .room = buffer_size, .now_hns = now_hns };
    return read_next(&reader, handle, state_out);
}

static kvs_status give_back(struct kvs_stream *stream, uint64_t handle, enum kvs_read_state *state_out)
{
    stream_lock(stream);
    (void)return_lent(stream, handle);
    kvs_status status = uploads_find(stream, handle) != NULL ? KVS_OK : KVS_E_UNKNOWN_UPLOAD;
    stream_unlock(stream);
    *state_out = KVS_READ_MORE;
    return status;
}

kvs_status kvs_upload_lend(struct kvs_stream *stream, uint64_t handle, struct kvs_loan *loan,
                           enum kvs_read_state *state_out, uint64_t now_hns)
{
    if (stream == NULL || loan == NULL || state_out == NULL) return KVS_E_NULL_ARG;
    if (loan->size != sizeof *loan) return KVS_E_CONFIG_SIZE;
    if (loan->span_max != 0 && (loan->buffer == NULL || loan->spans == NULL)) return KVS_E_NULL_ARG;
    if (loan->span_max != 0 && (loan->buffer_size == 0 || loan->size_max == 0 || loan->size_max > INT32_MAX))
        return KVS_E_INVALID_ARG;
    loan->span_count = 0;
    if (loan->span_max == 0) return give_back(stream, handle, state_out);
    struct reader reader = { .stream = stream, .out = loan->buffer, .room = loan->size_max, .now_hns = now_hns };
    reader.loan = loan;
    return read_next(&reader, handle, state_out);
}

kvs_status kvs_upload_unsent(struct kvs_stream *stream, uint64_t handle, uint64_t *bytes_out,
                             uint64_t *duration_hns_out)
{
    if (stream == NULL || bytes_out == NULL || duration_hns_out == NULL) return KVS_E_NULL_ARG;
    stream_lock(stream);
    const struct upload *upload = uploads_find(stream, handle);
    kvs_status status = upload == NULL ? KVS_E_UNKNOWN_UPLOAD : KVS_OK;
    if (upload != NULL) {
        struct unsent unsent = unsent_of_upload(stream, upload);
        *bytes_out = unsent.bytes;
        *duration_hns_out = unsent.duration_hns;
    }
    stream_unlock_quiet(stream);
    return status;
}

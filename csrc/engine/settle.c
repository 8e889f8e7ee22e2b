/* settle.c — after any change of a stream: it opens a session for fragments that have none, asks for another token, and
 * closes a stopped stream that has drained. */
#include "engine/stream.h"

static int has_drained(const struct kvs_stream *stream)
{
    if (!stream->ledger.is_stopped || stream->machine.is_closed || stream->ledger.metrics.frames_buffered != 0)
        return 0;
    return !uploads_have_live(stream);
}

/* A stopped stream does not wait for an upload handle that never sent anything and never will. */
static void end_unused_sessions(struct kvs_stream *stream)
{
    if (!stream->ledger.is_stopped || stream->ledger.metrics.frames_buffered != 0) return;
    EACH_UPLOAD(stream, upload) {
        if (upload->state > KVS_UPLOAD_READY) continue;
        upload_abort(stream, upload, KVS_RESULT_OK);
    }
}

/* After a put of a KVS_PUT_OPENS stream. */
void stream_woken_by_put(struct kvs_stream *stream, uint64_t skipped_pts_hns, uint64_t now_hns)
{
    if (stream->machine.waits_for_put) recovery_timed_out(stream, now_hns);
    if (skipped_pts_hns == KVS_TIME_NONE || stream->machine.state != KVS_STREAM_READY) return;
    stream->machine.skipped_start_hns = skipped_pts_hns;
    stream_step(stream, KVS_STREAM_EV_FRAME, now_hns);
    stream->machine.skipped_start_hns = KVS_TIME_NONE;
}

/* Another token; open sessions end with what is being read. */
void stream_rotate(struct kvs_stream *stream, uint64_t now_hns)
{
    stream->machine.token.in_grace = stream->machine.is_rotating = 1;
    uploads_limit_to_read(stream);
    stream_step(stream, KVS_STREAM_EV_TOKEN_EXPIRING, now_hns);
}

void stream_settle_all(struct kvs_stream *stream, uint64_t now_hns)
{
    uint64_t first = 0, last = 0;
    end_unused_sessions(stream);
    if (has_drained(stream)) {
        stream_step(stream, KVS_STREAM_EV_DRAINED, now_hns);
        return;
    }
    if (stream->machine.waits_for_put && stream->ledger.is_stopped) recovery_timed_out(stream, now_hns);
    if ((stream->machine.state != KVS_STREAM_READY && stream->machine.state != KVS_STREAM_STREAMING) ||
        stream->machine.waits_for_put)
        return;
    if (!uploads_gap(stream, &first, &last) || !uploads_have_place(stream)) return;
    if (kvs_token_is_expired(&stream->machine.token, now_hns)) { /* no session is opened with a dead token */
        stream_rotate(stream, now_hns);
        return;
    }
    stream_step(stream, stream->machine.state == KVS_STREAM_READY ? KVS_STREAM_EV_FRAME : KVS_STREAM_EV_NEW_SESSION,
                now_hns);
}

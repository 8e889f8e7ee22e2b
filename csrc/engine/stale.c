/* stale.c — a service that has fallen silent: bytes went out on a handle, an ACK is due, and none comes. */
#include "engine/uploads.h"

/* An ACK is due of the fragment that it began last, and the final one of those it has sent to their end. None is due of
 * the open fragment of a source that pauses, once the service has seen it begin. */
static int is_ack_due(const struct kvs_stream *stream, const struct upload *upload)
{
    if (!upload->has_sent || !stream_waits_for_acks(stream)) return 0;
    uint64_t done = kvs_hns_max(upload->done_next, stream->view.fragment_tail), last = upload->sent_next - 1;
    if (done < upload_sent_whole(stream, upload)) return 1;
    if (last < stream->view.fragment_tail || last >= stream->view.fragment_head) return 0;
    return !(kvs_view_fragment(&stream->view, last)->flags &
             (KVS_FRAGMENT_BUFFERING | KVS_FRAGMENT_RECEIVED | KVS_FRAGMENT_DONE));
}

void stale_note(struct kvs_stream *stream, struct upload *upload, uint64_t now_hns)
{
    if (!is_ack_due(stream, upload)) upload->quiet_since_hns = KVS_TIME_NONE;
    else if (upload->quiet_since_hns == KVS_TIME_NONE) upload->quiet_since_hns = now_hns;
}

static void check(struct kvs_stream *stream, struct upload *upload, uint64_t now_hns)
{
    if (stream->limits.staleness_max_hns == 0 || !upload_is_live(upload) || upload->is_stale ||
        upload->quiet_since_hns == KVS_TIME_NONE)
        return;
    uint64_t quiet = kvs_hns_sub(now_hns, upload->quiet_since_hns);
    if (quiet < stream->limits.staleness_max_hns) return;
    struct kvs_action action = { .kind = KVS_ACTION_STALE, .upload = upload->handle, .a = quiet };
    upload->is_stale = 1;
    stream->ledger.metrics.stale_events++;
    stream_notice(stream, &action);
}

uint64_t stale_next_deadline(const struct kvs_stream *stream)
{
    uint64_t least = KVS_TIME_NONE;
    if (stream->limits.staleness_max_hns == 0) return least;
    EACH_UPLOAD(stream, upload) {
        if (!upload_is_live(upload) || upload->is_stale || upload->quiet_since_hns == KVS_TIME_NONE) continue;
        least = kvs_hns_min(least, kvs_hns_add(upload->quiet_since_hns, stream->limits.staleness_max_hns));
    }
    return least;
}

void stale_poke(struct kvs_stream *stream, uint64_t now_hns)
{
    EACH_UPLOAD(stream, upload) check(stream, upload, now_hns);
}

/* frame.c — the calls that put frames and end fragments: they take the locks, have the packer do it, and settle. */
#include "engine/stream.h"
#include "engine/put.h"

/* A large frame is scanned and copied under the writer's lock, without the stream's. A small one needs the stream's
 * lock alone; but while a large one is being copied, it first waits for the writer's lock, which is free when the copy
 * has ended. The next copy can not begin before the small frame gives the stream's lock back. */
static kvs_status lock_and_scan(struct kvs_stream *stream, struct put *put)
{
    kvs_status status = KVS_OK;
    if (put_is_large(put)) {
        kvs_host_lock(stream->host, stream->writer);
        status = put_scan(stream, put);
        stream_lock(stream);
        return status;
    }
    stream_lock(stream);
    if (stream->ledger.inflight_offset != UINT64_MAX) {
        kvs_host_unlock(stream->host, stream->lock);
        stream_write_lock(stream);
        kvs_host_unlock(stream->host, stream->writer);
    }
    return put_scan(stream, put);
}

static void unlock(struct kvs_stream *stream, const struct put *put)
{
    if (put_is_large(put)) stream_write_unlock(stream);
    else if (put->is_quiet) stream_unlock_quiet(stream);
    else stream_unlock(stream);
}

static kvs_status put_frame(struct kvs_stream *stream, struct put *put)
{
    kvs_status status = lock_and_scan(stream, put);
    if (status == KVS_OK) status = put_take(stream, put);
    if (status != KVS_OK) put_refused(stream, put, status);
    else if ((stream->mode.flags & KVS_PUT_OPENS) && (stream->machine.waits_for_put || put->is_skipped)) {
        stream_woken_by_put(stream, put->is_skipped ? put->held.frame.pts_hns : KVS_TIME_NONE, put->held.arrival_hns);
        put->is_quiet = 0;
    }
    if (status == KVS_OK && stream_settle(stream, put->held.arrival_hns)) put->is_quiet = 0;
    kvs_host_free(stream->host, put->format);
    unlock(stream, put);
    return status;
}

static uint32_t track_index(const struct kvs_stream *stream, uint64_t id)
{
    uint32_t i = 0;
    while (i < stream->track_count && stream->tracks[i].id != id) i++;
    return i;
}

kvs_status kvs_stream_put_frame(struct kvs_stream *stream, const uint8_t *data, uint32_t data_size, uint64_t pts_hns,
                                uint64_t dts_hns, uint64_t duration_hns, uint64_t track, uint32_t flags,
                                uint64_t now_hns)
{
    if (stream == NULL) return KVS_E_NULL_ARG;
    if (data == NULL || data_size == 0) return KVS_E_FRAME_DATA;
    if (pts_hns > KVS_HNS_MEDIA_MAX || duration_hns > KVS_HNS_MEDIA_MAX ||
        (dts_hns > KVS_HNS_MEDIA_MAX && dts_hns != KVS_TIME_NONE))
        return KVS_E_FRAME_TIMESTAMP_RANGE;
    uint32_t index = track_index(stream, track);
    if (index == stream->track_count) return KVS_E_UNKNOWN_TRACK;
    struct put put;
    put.times.pts_hns = pts_hns;
    put.times.dts_hns = dts_hns;
    put.held.frame.duration_hns = duration_hns > UINT32_MAX ? UINT32_MAX : (uint32_t)duration_hns;
    put.held.arrival_hns = now_hns;
    put.held.prefix_space = 0;
    put.held.track = (uint8_t)index;
    put.held.is_moved = 0;
    put.track = &stream->tracks[index];
    put.data = data;
    put.data_size = data_size;
    put.flags = flags & (KVS_FRAME_KEY | KVS_FRAME_DISCARDABLE | KVS_FRAME_INVISIBLE);
    put.duration_hns = duration_hns;
    put.format = NULL;
    put.joined_size = 0;
    put.is_adapted = put.is_new_session = put.is_part = put.is_stored = 0;
    put.opens = put.has_plan = put.is_quiet = put.is_skipped = 0;
    return put_frame(stream, &put);
}

kvs_status kvs_stream_end_fragment(struct kvs_stream *stream, uint64_t now_hns)
{
    if (stream == NULL) return KVS_E_NULL_ARG;
    stream_write_lock(stream);
    kvs_status status = package_end_fragment(stream, now_hns);
    stream_settle(stream, now_hns);
    stream_write_unlock(stream);
    return status;
}

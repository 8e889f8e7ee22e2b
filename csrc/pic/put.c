/* put.c — frames and metadata in. */
#include "pic/adapter.h"

#include <string.h>

#define FRAME_OVERHEAD 128u
#define ROOM_GRANT ((int64_t)KVS_SLAB_SIZE) /* the store is looked at about as often as a slab is taken */

/* ---- frames in ------------------------------------------------------------------------------------------------- */

/* Whether the store has room for so many bytes. While there is room for a grant and one slab more for every stream,
 * this stream gets a grant, and its next puts do not look. Else every put looks, and grants count no more until there
 * is room again. */
static int look_for_room(struct pic_stream *stream, int64_t size)
{
    struct kvs_client_metrics metrics = { .size = sizeof metrics };
    struct pic_client *client = stream->client;
    (void)kvs_client_metrics(client->core, &metrics);
    int64_t left = (int64_t)(metrics.store_max - metrics.store_used);
    int64_t spare = (int64_t)(metrics.stream_count + 1u) * (ROOM_GRANT + (int64_t)KVS_SLAB_SIZE);
    unsigned is_scarce = left - spare < size;
    if (!is_scarce) atomic_store(&stream->room, ROOM_GRANT);
    if (is_scarce != atomic_load(&client->is_scarce)) atomic_store(&client->is_scarce, is_scarce);
    return left >= size;
}

/* The out-of-memory policy refuses a frame where other policies drop old ones, so the store is looked at before the
 * core makes room. That happens only when the stream has used up its grant. */
static int has_room(struct pic_stream *stream, const Frame *frame)
{
    const StreamCaps *caps = &stream->info.streamCaps;
    const int64_t size = (int64_t)frame->size + FRAME_OVERHEAD;
    if (caps->storePressurePolicy != CONTENT_STORE_PRESSURE_POLICY_OOM || caps->streamingType == STREAMING_TYPE_OFFLINE)
        return 1;
    if (!atomic_load(&stream->client->is_scarce) && atomic_fetch_sub(&stream->room, size) >= size) return 1;
    return look_for_room(stream, size);
}

static STATUS put_once(struct pic_call *call, const Frame *frame, uint64_t now_hns)
{
    struct kvs_stream *core = call->stream->core;
    if (frame->flags & FRAME_FLAG_END_OF_FRAGMENT) return pic_status_of(kvs_stream_end_fragment(core, now_hns));
    if (!has_room(call->stream, frame)) return STATUS_STORE_OUT_OF_MEMORY;
    kvs_status status = kvs_stream_put_frame(core, frame->frameData, frame->size, frame->presentationTs,
                                             frame->decodingTs, frame->duration, frame->trackId,
                                             (uint32_t)frame->flags & 7u, now_hns);
    if (status >= KVS_OK) return STATUS_SUCCESS;
    int waits = status == KVS_E_STORE_FULL && call->stream->info.streamCaps.streamingType == STREAMING_TYPE_OFFLINE;
    return waits ? STATUS_WAIT_FAILED /* wait, then again */ : pic_status_of(status);
}

static int is_interrupted(const struct pic_stream *stream)
{
    return stream->is_stopped || stream->object.is_closing || stream->client->object.is_closing;
}

static uint64_t rooms(struct pic_stream *stream)
{
    return atomic_load(&stream->object.room_count) + atomic_load(&stream->client->object.room_count);
}

/* An offline stream keeps every frame, so a put waits until its own stream has room. It holds no lock meanwhile. */
static STATUS put_waiting(struct pic_call *call, const Frame *frame)
{
    struct pic_client *client = call->client;
    uint64_t left_hns = client->device.clientInfo.offlineBufferAvailabilityTimeout;
    for (;;) {
        uint64_t seen = rooms(call->stream);
        STATUS status = put_once(call, frame, pic_now(client));
        if (status != STATUS_WAIT_FAILED) return status;
        pic_settle(client, pic_now(client));
        pic_lock(client);
        while (seen == rooms(call->stream) && !is_interrupted(call->stream) && pic_wait(client, &left_hns)) {
        }
        int is_over = is_interrupted(call->stream), is_late = seen == rooms(call->stream);
        pic_unlock(client);
        if (is_over) return STATUS_BLOCKING_PUT_INTERRUPTED_STREAM_TERMINATED;
        if (is_late) return STATUS_OPERATION_TIMED_OUT;
    }
}

static int is_video(const struct pic_stream *stream, UINT64 track)
{
    const StreamCaps *caps = &stream->info.streamCaps;
    for (UINT32 i = 0; i < caps->trackInfoCount; i++) {
        if (caps->trackInfoList[i].trackId == track)
            return caps->trackInfoList[i].trackType == MKV_TRACK_INFO_TYPE_VIDEO;
    }
    return 0;
}

static void note_rate(struct pic_call *call, const Frame *frame)
{
    struct pic_rates *rates = &call->stream->rates;
    const DOUBLE second = (DOUBLE)HUNDREDS_OF_NANOS_IN_A_SECOND;
    if (!call->stream->info.streamCaps.recalculateMetrics || !is_video(call->stream, frame->trackId)) return;
    if (rates->last_put_hns != 0 && call->now_hns > rates->last_put_hns) {
        rates->frame_rate = pic_average_rate(rates->frame_rate, second / (DOUBLE)(call->now_hns - rates->last_put_hns));
    }
    if (frame->presentationTs > rates->last_pts_hns && rates->last_put_hns != 0) {
        rates->elementary_frame_rate = second / (DOUBLE)(frame->presentationTs - rates->last_pts_hns);
    }
    rates->last_put_hns = call->now_hns;
    rates->last_pts_hns = frame->presentationTs;
}

/* How long all that is unsent lasts, when that is more than the program wants; else 0. */
static uint64_t latency_of(const struct pic_stream *stream, uint64_t most_hns)
{
    if (stream->client->callbacks.streamLatencyPressureFn == NULL) return 0;
    struct kvs_stream_metrics metrics = { .size = sizeof metrics };
    (void)kvs_stream_metrics(stream->core, &metrics);
    return metrics.duration_unsent_hns > most_hns ? metrics.duration_unsent_hns : 0;
}

static STATUS leave_put(struct pic_call *call, const Frame *frame, STATUS status)
{
    struct pic_stream *stream = call->stream;
    int tells = call->client->callbacks.streamDataAvailableFn != NULL;
    uint64_t most_hns = stream->info.streamCaps.maxLatency;
    uint64_t latency_hns = most_hns != 0 && STATUS_SUCCEEDED(status) ? latency_of(stream, most_hns) : 0;
    if (STATUS_SUCCEEDED(status) && !tells && !stream->info.streamCaps.recalculateMetrics && latency_hns == 0)
        return pic_leave(call, status);
    pic_lock_stream(stream);
    if (STATUS_FAILED(status)) stream->rates.put_errors++;
    else note_rate(call, frame);
    if (latency_hns != 0) {
        stream->object.latency_hns = latency_hns;
        stream->rates.latency_pressures++;
    }
    int has_data = STATUS_SUCCEEDED(status) && tells && pic_upload_open(stream) != NULL;
    if (has_data) stream->object.wants_data_notice = 1;
    if (has_data || latency_hns != 0) pic_notify(stream, call->now_hns);
    else pic_unlock_stream(stream);
    return pic_leave(call, status);
}

STATUS putKinesisVideoFrame(STREAM_HANDLE streamHandle, PFrame pFrame)
{
    struct pic_call call;
    if (pFrame == NULL) return STATUS_NULL_ARG;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    int may_wait = call.stream->info.streamCaps.streamingType == STREAMING_TYPE_OFFLINE;
    status = may_wait ? put_waiting(&call, pFrame) : put_once(&call, pFrame, call.now_hns);
    return leave_put(&call, pFrame, status);
}

/* ---- metadata -------------------------------------------------------------------------------------------------- */

STATUS putKinesisVideoFragmentMetadata(STREAM_HANDLE streamHandle, PCHAR name, PCHAR value, BOOL persistent)
{
    struct pic_call call;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    return pic_leave(&call, pic_status_of(kvs_stream_put_metadata(call.stream->core, name, value, persistent)));
}

STATUS putKinesisVideoEventMetadata(STREAM_HANDLE streamHandle, UINT32 events,
                                    PStreamEventMetadata pStreamEventMetadata)
{
    struct pic_call call;
    StreamEventMetadata none;
    memset(&none, 0, sizeof none);
    const StreamEventMetadata *event = pStreamEventMetadata != NULL ? pStreamEventMetadata : &none;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    kvs_status put = kvs_stream_put_event(call.stream->core, events, event->imagePrefix, event->numberOfPairs,
                                          (const char *const *)event->names, (const char *const *)event->values);
    return pic_leave(&call, put == KVS_E_NO_FRAGMENT ? STATUS_STREAM_NOT_STARTED : pic_status_of(put));
}

STATUS kinesisVideoStreamFormatChanged(STREAM_HANDLE streamHandle, UINT32 codecPrivateDataSize, PBYTE codecPrivateData,
                                       UINT64 trackId)
{
    struct pic_call call;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    return pic_leave(
        &call, pic_status_of(kvs_stream_set_cpd(call.stream->core, trackId, codecPrivateData, codecPrivateDataSize)));
}

STATUS kinesisVideoStreamSetNalAdaptationFlags(STREAM_HANDLE streamHandle, UINT32 nalAdaptationFlags)
{
    struct pic_call call;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    status = pic_status_of(kvs_stream_set_nal_flags(call.stream->core, nalAdaptationFlags));
    pic_lock(call.client);
    if (STATUS_SUCCEEDED(status)) call.stream->info.streamCaps.nalAdaptationFlags = nalAdaptationFlags;
    pic_unlock(call.client);
    return pic_leave(&call, status);
}

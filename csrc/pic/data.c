/* data.c — frames and metadata in, bytes out, ACKs and ends of connections in. */
#include "pic/adapter.h"

#include <string.h>

#define FRAME_OVERHEAD 128u
#define ROOM_GRANT ((int64_t)KVS_SLAB_SIZE) /* looked at about as often as a slab is taken */

/* ---- frames in ------------------------------------------------------------------------------------------------- */

/* Where every stream could put all that it may be granted, and begin one slab more, the stream gets a grant; else each
 * put looks, and grants that were given before are void until there is room again. */
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

/* The out-of-memory policy refuses a frame where others would drop old ones: asked before the core makes room. The
 * store is looked at only when the stream has used up what it was granted at its last look. */
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
    return stream->is_stopped || stream->is_closing || stream->client->is_closing;
}

static uint64_t rooms(struct pic_stream *stream)
{
    return atomic_load(&stream->room_count) + atomic_load(&stream->client->room_count);
}

/* An offline stream keeps every frame, so its producer waits: on its own stream's room only, holding nothing. */
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

/* One part in twenty of a moving average is new. */
static DOUBLE average(DOUBLE old, DOUBLE value) { return old * 0.95 + value * 0.05; }

static void note_rate(struct pic_call *call, const Frame *frame)
{
    struct pic_rates *rates = &call->stream->rates;
    const DOUBLE second = (DOUBLE)HUNDREDS_OF_NANOS_IN_A_SECOND;
    if (!call->stream->info.streamCaps.recalculateMetrics || !is_video(call->stream, frame->trackId)) return;
    if (rates->last_put_hns != 0 && call->now_hns > rates->last_put_hns) {
        rates->frame_rate = average(rates->frame_rate, second / (DOUBLE)(call->now_hns - rates->last_put_hns));
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
        stream->target.latency_hns = latency_hns;
        stream->rates.latency_pressures++;
    }
    int has_data = STATUS_SUCCEEDED(status) && tells && pic_upload_open(stream) != NULL;
    if (has_data) stream->target.wants_data_notice = 1;
    if (has_data || latency_hns != 0) pic_tell(stream, call->now_hns);
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
    kvs_status told = kvs_stream_put_event(call.stream->core, events, event->imagePrefix, event->numberOfPairs,
                                           (const char *const *)event->names, (const char *const *)event->values);
    return pic_leave(&call, told == KVS_E_NO_FRAGMENT ? STATUS_STREAM_NOT_STARTED : pic_status_of(told));
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

/* ---- bytes out ------------------------------------------------------------------------------------------------- */

static int is_sample_due(const struct pic_call *call)
{
    uint64_t begun_hns = atomic_load(&call->stream->rates.sample_hns);
    return call->now_hns > begun_hns && call->now_hns - begun_hns > HUNDREDS_OF_NANOS_IN_A_SECOND / 5;
}

static void note_transfer(struct pic_call *call)
{
    struct pic_rates *rates = &call->stream->rates;
    if (!is_sample_due(call)) return;
    DOUBLE past_hns = (DOUBLE)(call->now_hns - atomic_exchange(&rates->sample_hns, call->now_hns));
    DOUBLE bytes = (DOUBLE)atomic_exchange(&rates->sample_bytes, 0);
    DOUBLE rate = bytes * (DOUBLE)HUNDREDS_OF_NANOS_IN_A_SECOND / past_hns;
    rates->transfer_rate = rates->transfer_rate > 0 ? average(rates->transfer_rate, rate) : rate;
}

/* What a read has to know of its upload. */
struct reading {
    uint64_t core, stale_from_hns;
    uint8_t has_read, is_aborted;
};

/* 0 when there is no such upload. */
static int begin_read(struct pic_call *call, UPLOAD_HANDLE handle, struct reading *out)
{
    pic_lock_stream(call->stream);
    const struct pic_upload *upload = pic_upload_find(call->stream, handle);
    if (upload != NULL) {
        *out = (struct reading){ upload->core, upload->stale_from_hns, upload->has_read, upload->is_aborted };
        call->stream->last_upload = handle;
    }
    pic_unlock_stream(call->stream);
    return upload != NULL;
}

/* Most reads change nothing that the lock is for. */
static void after_read(struct pic_call *call, UPLOAD_HANDLE handle, kvs_status filled, enum kvs_read_state state)
{
    pic_lock_stream(call->stream);
    struct pic_upload *upload = pic_upload_find(call->stream, handle);
    if (upload != NULL) {
        if (filled > 0 && !upload->has_read) call->stream->rates.sessions_read++;
        if (filled > 0) upload->has_read = 1;
        if (state == KVS_READ_AWAITING_ACK) upload->state = PIC_UPLOAD_DRAINED;
        if (state == KVS_READ_END || filled == KVS_E_UNKNOWN_UPLOAD)
            pic_upload_remove(call->stream, upload, call->now_hns);
    }
    if (filled > 0) note_transfer(call);
    pic_unlock_stream(call->stream);
}

/* A buffer that is full is a success, whether or not there is more: the next read says. */
static STATUS status_of_read(enum kvs_read_state state, int is_full)
{
    switch (state) {
    case KVS_READ_MORE: return STATUS_SUCCESS;
    case KVS_READ_WAIT: return is_full ? STATUS_SUCCESS : STATUS_NO_MORE_DATA_AVAILABLE;
    case KVS_READ_AWAITING_ACK: return STATUS_AWAITING_PERSISTED_ACK;
    default: return STATUS_END_OF_STREAM;
    }
}

/* Bytes go out on a connection from which no ACK comes. */
static void tell_stale(struct pic_call *call, uint64_t stale_from_hns)
{
    if (call->client->callbacks.streamConnectionStaleFn == NULL) return;
    pic_lock_stream(call->stream);
    call->stream->target.stale_hns = call->now_hns - stale_from_hns;
    call->stream->rates.stale_events++;
    pic_tell(call->stream, call->now_hns);
}

STATUS getKinesisVideoStreamData(STREAM_HANDLE streamHandle, UPLOAD_HANDLE uploadHandle, PBYTE pBuffer,
                                 UINT32 bufferSize, PUINT32 pFilledSize)
{
    struct pic_call call;
    struct reading known;
    enum kvs_read_state state = KVS_READ_END;
    if (pBuffer == NULL || pFilledSize == NULL) return STATUS_NULL_ARG;
    *pFilledSize = 0;
    if (bufferSize == 0 || !IS_VALID_UPLOAD_HANDLE(uploadHandle)) return STATUS_INVALID_ARG;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    if (!begin_read(&call, uploadHandle, &known)) return pic_leave(&call, STATUS_UPLOAD_HANDLE_ABORTED);
    uint32_t room = bufferSize < INT32_MAX ? bufferSize : INT32_MAX;
    kvs_status filled = kvs_upload_read(call.stream->core, known.core, pBuffer, room, &state, call.now_hns);
    if (filled > 0) atomic_fetch_add(&call.stream->rates.sample_bytes, (uint64_t)filled);
    int is_plain = filled >= 0 && known.has_read && (state == KVS_READ_MORE || state == KVS_READ_WAIT);
    if (!is_plain || is_sample_due(&call)) after_read(&call, uploadHandle, filled, filled < 0 ? KVS_READ_MORE : state);
    if (filled < 0) return pic_leave(&call, pic_status_of(filled));
    if (filled > 0 && known.stale_from_hns != 0) tell_stale(&call, known.stale_from_hns);
    if (state == KVS_READ_END && known.is_aborted) return pic_leave(&call, STATUS_UPLOAD_HANDLE_ABORTED);
    *pFilledSize = (UINT32)filled;
    return pic_leave(&call, status_of_read(state, (uint32_t)filled == room));
}

/* ---- ACKs and ends --------------------------------------------------------------------------------------------- */

static uint64_t core_upload(struct pic_call *call, UPLOAD_HANDLE handle)
{
    pic_lock_stream(call->stream);
    const struct pic_upload *upload = pic_upload_find(call->stream, handle);
    uint64_t core = upload != NULL ? upload->core : KVS_UPLOAD_NONE;
    pic_unlock_stream(call->stream);
    return core;
}

/* What a call did to the stream for good, so that its caller hears of it too. */
static STATUS failed_by(struct pic_call *call, STATUS status, int was_failed, uint32_t result)
{
    if (was_failed || STATUS_FAILED(status)) return status;
    struct kvs_stream_metrics metrics = { .size = sizeof metrics };
    (void)kvs_stream_metrics(call->stream->core, &metrics);
    if (metrics.state != KVS_STREAM_FAILED) return status;
    pic_lock(call->client);
    int is_retried = pic_is_retried(call->stream, metrics.failure);
    pic_unlock(call->client);
    return is_retried ? status : pic_status_of_result(metrics.failure, result);
}

static int is_failed(struct pic_call *call)
{
    struct kvs_stream_metrics metrics = { .size = sizeof metrics };
    (void)kvs_stream_metrics(call->stream->core, &metrics);
    return metrics.state == KVS_STREAM_FAILED;
}

static STATUS check_ack(const FragmentAck *ack)
{
    if (ack->version > FRAGMENT_ACK_CURRENT_VERSION) return STATUS_INVALID_FRAGMENT_ACK_VERSION;
    int is_known = ack->ackType >= FRAGMENT_ACK_TYPE_BUFFERING && ack->ackType <= FRAGMENT_ACK_TYPE_IDLE;
    return is_known ? STATUS_SUCCESS : STATUS_INVALID_FRAGMENT_ACK_TYPE;
}

static void core_ack(const struct pic_stream *stream, const FragmentAck *from, struct kvs_ack *to)
{
    uint64_t scale = stream->info.streamCaps.timecodeScale;
    const char *end = memchr(from->sequenceNumber, 0, sizeof to->number - 1u);
    memset(to, 0, sizeof *to);
    to->size = sizeof *to;
    to->type = (uint32_t)from->ackType;
    to->timecode_ms = from->timestamp == INVALID_TIMESTAMP_VALUE
                          ? KVS_TIME_NONE
                          : from->timestamp * scale / HUNDREDS_OF_NANOS_IN_A_MILLISECOND;
    to->error_id = (uint32_t)from->result;
    memcpy(to->number, from->sequenceNumber,
           end != NULL ? (size_t)(end - from->sequenceNumber) : sizeof to->number - 1u);
}

/* An ACK of a connection that the library has forgotten changes nothing, but the program hears of it. */
static void tell_stray_ack(struct pic_call *call, UPLOAD_HANDLE upload, PFragmentAck ack)
{
    struct pic_scope scope;
    const ClientCallbacks *callbacks = &call->client->callbacks;
    if (callbacks->fragmentAckReceivedFn == NULL || ack->ackType == FRAGMENT_ACK_TYPE_IDLE) return;
    pic_scope_enter(&scope, call->client);
    (void)callbacks->fragmentAckReceivedFn(callbacks->customData, call->stream->handle, upload, ack);
    pic_scope_leave(&scope);
}

STATUS kinesisVideoStreamFragmentAck(STREAM_HANDLE streamHandle, UPLOAD_HANDLE uploadHandle, PFragmentAck pFragmentAck)
{
    struct pic_call call;
    struct kvs_ack ack;
    if (pFragmentAck == NULL) return STATUS_NULL_ARG;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    status = check_ack(pFragmentAck);
    if (STATUS_FAILED(status)) return pic_leave(&call, status);
    uint64_t core = core_upload(&call, uploadHandle);
    if (core == KVS_UPLOAD_NONE) {
        tell_stray_ack(&call, uploadHandle, pFragmentAck);
        return pic_leave(&call, STATUS_SUCCESS);
    }
    int was_failed = pFragmentAck->ackType != FRAGMENT_ACK_TYPE_ERROR || is_failed(&call); /* no other makes it fail */
    core_ack(call.stream, pFragmentAck, &ack);
    status = pic_status_of(kvs_upload_ack(call.stream->core, core, &ack, call.now_hns));
    return pic_leave(&call, failed_by(&call, status, was_failed, ack.error_id));
}

STATUS kinesisVideoStreamParseFragmentAck(STREAM_HANDLE streamHandle, UPLOAD_HANDLE uploadHandle, PCHAR ackSegment,
                                          UINT32 ackSegmentSize)
{
    struct pic_call call;
    if (ackSegment == NULL) return STATUS_NULL_ARG;
    if (ackSegmentSize > MAX_ACK_FRAGMENT_LEN) return STATUS_INVALID_ACK_SEGMENT_LEN;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    const char *end = ackSegmentSize == 0 ? memchr(ackSegment, 0, MAX_ACK_FRAGMENT_LEN) : ackSegment + ackSegmentSize;
    uint32_t size = end != NULL ? (uint32_t)(end - ackSegment) : MAX_ACK_FRAGMENT_LEN;
    uint64_t core = core_upload(&call, uploadHandle);
    if (core == KVS_UPLOAD_NONE) return pic_leave(&call, STATUS_SUCCESS);
    int was_failed = is_failed(&call);
    status =
        pic_status_of(kvs_upload_ack_bytes(call.stream->core, core, (const uint8_t *)ackSegment, size, call.now_hns));
    return pic_leave(&call, failed_by(&call, status, was_failed, SERVICE_CALL_RESULT_UNKNOWN_ACK_ERROR));
}

/* Takes the name away and returns what the core calls it; `handle` all ones: of any. */
static uint64_t take_upload(struct pic_call *call, UPLOAD_HANDLE handle, UPLOAD_HANDLE *taken)
{
    uint64_t core = KVS_UPLOAD_NONE;
    pic_lock_stream(call->stream);
    struct pic_upload *upload = IS_VALID_UPLOAD_HANDLE(handle) ? pic_upload_find(call->stream, handle)
                                                               : &call->stream->uploads[0];
    if (upload != NULL && upload->state != PIC_UPLOAD_NONE) {
        core = upload->core;
        *taken = upload->handle;
        pic_upload_remove(call->stream, upload, call->now_hns);
    }
    pic_unlock_stream(call->stream);
    return core;
}

static void tell_over(struct pic_call *call, UPLOAD_HANDLE upload)
{
    struct pic_scope scope;
    const ClientCallbacks *callbacks = &call->client->callbacks;
    if (callbacks->streamDataAvailableFn == NULL) return;
    pic_scope_enter(&scope, call->client);
    (void)callbacks->streamDataAvailableFn(callbacks->customData, call->stream->handle, call->stream->info.name, upload,
                                           0, 0);
    pic_scope_leave(&scope);
}

/* A second end of an upload that is gone already, while the next one is being opened: that one begins again. */
static void end_opening(struct pic_call *call, UPLOAD_HANDLE handle, uint32_t result)
{
    uint64_t core = KVS_UPLOAD_NONE;
    pic_lock(call->client);
    if (call->stream->order.kind == KVS_ACTION_PUT_MEDIA) core = call->stream->order.upload;
    pic_unlock(call->client);
    pic_lock_stream(call->stream);
    int is_other = pic_upload_find(call->stream, handle) != NULL || pic_upload_open(call->stream) != NULL;
    pic_unlock_stream(call->stream);
    if (core != KVS_UPLOAD_NONE && !is_other) (void)kvs_upload_ended(call->stream->core, core, result, call->now_hns);
}

static STATUS terminate(struct pic_call *call, UPLOAD_HANDLE handle, uint32_t result)
{
    UPLOAD_HANDLE taken = INVALID_UPLOAD_HANDLE_VALUE;
    uint64_t core = KVS_UPLOAD_NONE;
    int was_failed = is_failed(call);
    if (IS_VALID_UPLOAD_HANDLE(handle)) end_opening(call, handle, result);
    while ((core = take_upload(call, handle, &taken)) != KVS_UPLOAD_NONE) {
        (void)kvs_upload_ended(call->stream->core, core, result, call->now_hns);
        if (IS_VALID_UPLOAD_HANDLE(handle)) break;
        tell_over(call, taken);
    }
    return failed_by(call, STATUS_SUCCESS, was_failed, result);
}

STATUS kinesisVideoStreamTerminated(STREAM_HANDLE streamHandle, UPLOAD_HANDLE uploadHandle, SERVICE_CALL_RESULT result)
{
    struct pic_call call;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    if (result == SERVICE_CALL_STREAM_AUTH_IN_GRACE_PERIOD) return pic_leave(&call, STATUS_SUCCESS);
    return pic_leave(&call, terminate(&call, uploadHandle, (uint32_t)result));
}

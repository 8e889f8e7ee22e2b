/* ack.c — ACKs and ends of connections in. */
#include "pic/adapter.h"

#include <string.h>

static uint64_t core_upload(struct pic_call *call, UPLOAD_HANDLE handle)
{
    pic_lock_stream(call->stream);
    const struct pic_upload *upload = pic_upload_find(call->stream, handle);
    uint64_t core = upload != NULL ? upload->core : KVS_UPLOAD_NONE;
    pic_unlock_stream(call->stream);
    return core;
}

/* The failure of the stream when this call caused it, so that the call returns it; else `status`. */
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

/* An ACK of a connection that the library has forgotten changes nothing, but it is reported. */
static void report_stray_ack(struct pic_call *call, UPLOAD_HANDLE upload, PFragmentAck ack)
{
    struct pic_scope scope;
    const ClientCallbacks *callbacks = &call->client->callbacks;
    if (callbacks->fragmentAckReceivedFn == NULL || ack->ackType == FRAGMENT_ACK_TYPE_IDLE) return;
    pic_scope_enter(&scope, call->client);
    (void)callbacks->fragmentAckReceivedFn(callbacks->customData, call->stream->object.handle, upload, ack);
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
        report_stray_ack(&call, uploadHandle, pFragmentAck);
        return pic_leave(&call, STATUS_SUCCESS);
    }
    int may_fail = pFragmentAck->ackType == FRAGMENT_ACK_TYPE_ERROR; /* no other ACK makes a stream fail */
    int was_failed = !may_fail || is_failed(&call);
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

/* Removes this upload, with `handle` all ones the oldest one, and returns the core's name for it. */
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

static void report_over(struct pic_call *call, UPLOAD_HANDLE upload)
{
    struct pic_scope scope;
    pic_scope_enter(&scope, call->client);
    pic_report_data(call->stream, upload, 0, 0);
    pic_scope_leave(&scope);
}

/* The end of an upload that is known no more, while the next upload is being opened: the opening begins again. */
static void end_opening(struct pic_call *call, UPLOAD_HANDLE handle, uint32_t result)
{
    uint64_t core = KVS_UPLOAD_NONE;
    pic_lock(call->client);
    if (call->stream->object.order.kind == KVS_ACTION_PUT_MEDIA) core = call->stream->object.order.upload;
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
        report_over(call, taken);
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

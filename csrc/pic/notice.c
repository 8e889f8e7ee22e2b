/* notice.c — notices of the core as the callbacks that the field knows. What they return changes nothing. */
#include "pic/adapter.h"

#include <string.h>

void pic_log(struct pic_client *client, UINT32 level, const char *text, STATUS status)
{
    static char tag[] = "kvspic", format[] = "%s (status 0x%08x)";
    if (client->callbacks.logPrintFn == NULL || level < client->device.clientInfo.loggerLogLevel) return;
    client->callbacks.logPrintFn(level, tag, format, text, (unsigned)status);
}

static UPLOAD_HANDLE upload_of(struct pic_stream *stream, uint64_t core)
{
    pic_lock_stream(stream);
    const struct pic_upload *upload = pic_upload_of_core(stream, core);
    UPLOAD_HANDLE handle = upload != NULL ? upload->handle : INVALID_UPLOAD_HANDLE_VALUE;
    pic_unlock_stream(stream);
    return handle;
}

static void report_error(struct pic_stream *stream, UPLOAD_HANDLE upload, UINT64 timestamp, STATUS status)
{
    const ClientCallbacks *callbacks = &stream->client->callbacks;
    pic_log(stream->client, LOG_LEVEL_ERROR, "a stream reports an error to streamErrorReportFn", status);
    if (callbacks->streamErrorReportFn == NULL) return;
    (void)callbacks->streamErrorReportFn(callbacks->customData, stream->object.handle, upload, timestamp, status);
}

/* ---- states ---------------------------------------------------------------------------------------------------- */

static void ready(struct pic_client *client, struct pic_object *object)
{
    const ClientCallbacks *callbacks = &client->callbacks;
    pic_lock(client);
    object->is_ready = 1;
    object->failure = STATUS_SUCCESS;
    if (object == &client->object) client->source_status = STATUS_SUCCESS;
    pic_broadcast(client);
    pic_unlock(client);
    if (object == &client->object) {
        if (callbacks->clientReadyFn != NULL) (void)callbacks->clientReadyFn(callbacks->customData, object->handle);
    } else if (callbacks->streamReadyFn != NULL) {
        (void)callbacks->streamReadyFn(callbacks->customData, object->handle);
    }
}

static void client_failed(struct pic_client *client, const struct kvs_action *action)
{
    STATUS status = pic_status_of_result(action->status, action->result);
    pic_lock(client);
    client->object.failure = status;
    pic_broadcast(client);
    pic_unlock(client);
    pic_log(client, LOG_LEVEL_ERROR, "the client has no credentials or no device (see their callbacks); it tries again",
            status);
}

/* While the stream is being made, the call that makes it returns the failure, and the program has no handle yet. */
static void stream_failed(struct pic_stream *stream, const struct kvs_action *action)
{
    STATUS status = pic_status_of_result(action->status, action->result);
    pic_lock(stream->client);
    int is_retried = pic_is_retried(stream, action->status), is_known = stream->is_in_outage;
    if (is_retried) pic_retry_later(stream);
    else stream->object.failure = status;
    stream->is_in_outage = (uint8_t)is_retried;
    int is_creating = stream->object.is_creating;
    pic_broadcast(stream->client);
    pic_unlock(stream->client);
    if (is_creating || (is_retried && is_known)) return;
    report_error(stream, INVALID_UPLOAD_HANDLE_VALUE, INVALID_TIMESTAMP_VALUE,
                 is_retried ? pic_recoverable(status) : status);
}

/* Media reaches the service again: the next outage is reported as another one. */
static void fragment_done(struct pic_stream *stream)
{
    pic_lock(stream->client);
    stream->outage_count = stream->is_in_outage = 0;
    pic_unlock(stream->client);
}

static void stream_closed(struct pic_stream *stream)
{
    const ClientCallbacks *callbacks = &stream->client->callbacks;
    pic_lock_stream(stream);
    UPLOAD_HANDLE upload = stream->last_upload;
    pic_unlock_stream(stream);
    if (callbacks->streamClosedFn != NULL)
        (void)callbacks->streamClosedFn(callbacks->customData, stream->object.handle, upload);
    pic_lock(stream->client);
    stream->is_closed = 1;
    pic_broadcast(stream->client);
    pic_unlock(stream->client);
}

/* ---- data ------------------------------------------------------------------------------------------------------ */

void pic_report_data(struct pic_stream *stream, UPLOAD_HANDLE upload, UINT64 duration, UINT64 size)
{
    const ClientCallbacks *callbacks = &stream->client->callbacks;
    if (callbacks->streamDataAvailableFn == NULL || !IS_VALID_UPLOAD_HANDLE(upload)) return;
    (void)callbacks->streamDataAvailableFn(callbacks->customData, stream->object.handle, stream->info.name, upload,
                                           duration, size);
}

/* As much as can be read now. (0, 0) says that an upload is over, so a notice without duration says 1: for tags at the
 * end, and when the last ACK has come. */
static void report_unsent(struct pic_stream *stream, UPLOAD_HANDLE handle, uint64_t core, int has_news)
{
    uint64_t bytes = 0, duration_hns = 0;
    if (kvs_upload_unsent(stream->core, core, &bytes, &duration_hns) != KVS_OK || (bytes == 0 && !has_news)) return;
    pic_report_data(stream, handle, duration_hns != 0 ? duration_hns : 1, bytes);
}

/* The notice says all that there is to read, so a pending notice for the same upload is not given again. */
static void data(struct pic_stream *stream, const struct kvs_action *action)
{
    pic_lock_stream(stream);
    const struct pic_upload *upload = pic_upload_of_core(stream, action->upload);
    UPLOAD_HANDLE handle = upload != NULL ? upload->handle : INVALID_UPLOAD_HANDLE_VALUE;
    if (upload == pic_upload_open(stream)) stream->object.wants_data_notice = 0;
    pic_unlock_stream(stream);
    if (IS_VALID_UPLOAD_HANDLE(handle)) report_unsent(stream, handle, action->upload, 1);
}

/* As programs of the field know it: data with each frame put, not only when their reader waits; latency with each put
 * that finds too much unsent, a stale connection with each read. */
void pic_report_pending(struct pic_stream *stream)
{
    const ClientCallbacks *callbacks = &stream->client->callbacks;
    struct pic_object *object = &stream->object;
    UINT64 custom = callbacks->customData, handle = object->handle;
    uint64_t latency_hns = object->latency_hns, stale_hns = object->stale_hns;
    const struct pic_upload *upload = object->wants_data_notice ? pic_upload_open(stream) : NULL;
    int has_data = upload != NULL;
    UPLOAD_HANDLE upload_handle = has_data ? upload->handle : INVALID_UPLOAD_HANDLE_VALUE;
    uint64_t core = has_data ? upload->core : KVS_UPLOAD_NONE;
    object->latency_hns = object->stale_hns = 0;
    object->wants_data_notice = 0;
    pic_unlock_stream(stream);
    if (latency_hns != 0) (void)callbacks->streamLatencyPressureFn(custom, handle, latency_hns);
    if (stale_hns != 0) (void)callbacks->streamConnectionStaleFn(custom, handle, stale_hns);
    if (has_data) report_unsent(stream, upload_handle, core, 0);
    pic_lock_stream(stream);
}

static void upload_over(struct pic_stream *stream, const struct kvs_action *action)
{
    UPLOAD_HANDLE handle = INVALID_UPLOAD_HANDLE_VALUE;
    pic_lock_stream(stream);
    struct pic_upload *upload = pic_upload_of_core(stream, action->upload);
    if (upload != NULL) {
        upload->state = PIC_UPLOAD_OVER;
        if (action->result == SERVICE_CALL_NOT_AUTHORIZED) upload->is_aborted = 1; /* its token has expired */
        handle = upload->handle;
    }
    pic_unlock_stream(stream);
    pic_report_data(stream, handle, 0, 0);
}

/* ---- ACKs ------------------------------------------------------------------------------------------------------ */

static UINT64 ack_timestamp(const struct pic_stream *stream, uint64_t timecode_ms)
{
    if (timecode_ms == KVS_TIME_NONE) return INVALID_TIMESTAMP_VALUE;
    return timecode_ms * HUNDREDS_OF_NANOS_IN_A_MILLISECOND / stream->info.streamCaps.timecodeScale;
}

static void report_ack(struct pic_stream *stream, UPLOAD_HANDLE upload, const struct kvs_action *action,
                       FragmentAck *ack)
{
    const ClientCallbacks *callbacks = &stream->client->callbacks;
    if (callbacks->fragmentAckReceivedFn == NULL) return;
    ack->version = FRAGMENT_ACK_CURRENT_VERSION;
    ack->timestamp = ack_timestamp(stream, action->a);
    memcpy(ack->sequenceNumber, action->text, sizeof action->text);
    (void)callbacks->fragmentAckReceivedFn(callbacks->customData, stream->object.handle, upload, ack);
}

static void ack_received(struct pic_stream *stream, const struct kvs_action *action)
{
    FragmentAck ack;
    pic_lock_stream(stream);
    struct pic_upload *upload = pic_upload_of_core(stream, action->upload);
    if (upload != NULL) upload->stale_from_hns = 0;
    pic_unlock_stream(stream);
    memset(&ack, 0, sizeof ack);
    ack.ackType = (FRAGMENT_ACK_TYPE)action->result;
    ack.result = SERVICE_CALL_RESULT_OK;
    report_ack(stream, upload_of(stream, action->upload), action, &ack);
}

static void error_ack(struct pic_stream *stream, const struct kvs_action *action)
{
    FragmentAck ack;
    UPLOAD_HANDLE upload = upload_of(stream, action->upload);
    memset(&ack, 0, sizeof ack);
    ack.ackType = FRAGMENT_ACK_TYPE_ERROR;
    ack.result = (SERVICE_CALL_RESULT)action->result;
    if (action->kind == KVS_ACTION_ERROR_ACK)
        report_error(stream, upload, action->b, pic_status_of_result(KVS_E_ERROR_ACK, action->result));
    report_ack(stream, upload, action, &ack);
}

/* ---- drops and pressures --------------------------------------------------------------------------------------- */

static void dropped(struct pic_stream *stream, const struct kvs_action *action)
{
    const ClientCallbacks *callbacks = &stream->client->callbacks;
    if (action->result == KVS_DROP_SKIPPED || action->result == KVS_DROP_ERROR_ACK)
        return; /* the metrics count these as skipped */
    if (stream->info.streamCaps.streamingType == STREAMING_TYPE_NEAR_REALTIME) {
        pic_lock_stream(stream);
        stream->rates.fragments_dropped++;
        pic_unlock_stream(stream);
        if (callbacks->droppedFragmentReportFn != NULL)
            (void)callbacks->droppedFragmentReportFn(callbacks->customData, stream->object.handle, action->a);
        return;
    }
    if (callbacks->droppedFrameReportFn == NULL) return;
    for (uint64_t i = 0; i < action->b; i++)
        (void)callbacks->droppedFrameReportFn(callbacks->customData, stream->object.handle, action->a);
}

static void pressure(struct pic_stream *stream, const struct kvs_action *action)
{
    const ClientCallbacks *callbacks = &stream->client->callbacks;
    UINT64 custom = callbacks->customData;
    if (action->a == 0) return;
    if (action->result == KVS_PRESSURE_STORE && callbacks->storageOverflowPressureFn != NULL) {
        (void)callbacks->storageOverflowPressureFn(custom, action->b);
    } else if (action->result == KVS_PRESSURE_BUFFER && callbacks->bufferDurationOverflowPressureFn != NULL) {
        (void)callbacks->bufferDurationOverflowPressureFn(custom, stream->object.handle, action->b);
    }
}

static void stale(struct pic_stream *stream, const struct kvs_action *action)
{
    const ClientCallbacks *callbacks = &stream->client->callbacks;
    pic_lock_stream(stream);
    struct pic_upload *upload = pic_upload_of_core(stream, action->upload);
    if (upload != NULL) upload->stale_from_hns = pic_now(stream->client) - action->a;
    stream->rates.stale_events++;
    pic_unlock_stream(stream);
    if (callbacks->streamConnectionStaleFn != NULL)
        (void)callbacks->streamConnectionStaleFn(callbacks->customData, stream->object.handle, action->a);
}

/* Room for one stream, or (of the client) for every call that waits. */
static void room(struct pic_client *client, struct pic_object *object)
{
    pic_lock(client);
    atomic_fetch_add(&object->room_count, 1u);
    pic_broadcast(client);
    pic_unlock(client);
}

static void notice_of_client(struct pic_client *client, const struct kvs_action *action)
{
    switch (action->kind) {
    case KVS_ACTION_CLIENT_READY: ready(client, &client->object); break;
    case KVS_ACTION_CLIENT_FAILED: client_failed(client, action); break;
    case KVS_ACTION_ROOM: room(client, &client->object); break;
    default: break;
    }
}

void pic_carry_out_notice(struct pic_client *client, struct pic_stream *stream, const struct kvs_action *action)
{
    if (stream == NULL) {
        notice_of_client(client, action);
        return;
    }
    switch (action->kind) {
    case KVS_ACTION_DATA: data(stream, action); break;
    case KVS_ACTION_UPLOAD_END: upload_over(stream, action); break;
    case KVS_ACTION_READY: ready(client, &stream->object); break;
    case KVS_ACTION_FAILED: stream_failed(stream, action); break;
    case KVS_ACTION_CLOSED: stream_closed(stream); break;
    case KVS_ACTION_FRAGMENT_DONE: fragment_done(stream); break;
    case KVS_ACTION_ACK: ack_received(stream, action); break;
    case KVS_ACTION_ERROR_ACK:
    case KVS_ACTION_LATE_ERROR_ACK: error_ack(stream, action); break;
    case KVS_ACTION_DROPPED: dropped(stream, action); break;
    case KVS_ACTION_ROOM: room(client, &stream->object); break;
    case KVS_ACTION_PRESSURE: pressure(stream, action); break;
    case KVS_ACTION_STALE: stale(stream, action); break;
    case KVS_ACTION_TAG_SKIPPED:
        report_error(stream, INVALID_UPLOAD_HANDLE_VALUE, INVALID_TIMESTAMP_VALUE, STATUS_TAG_STREAM_CALL_FAILED);
        break;
    case KVS_ACTION_NOTICES_LOST:
        pic_log(client, LOG_LEVEL_WARN, "callbacks took so long that notices were dropped: return sooner from them",
                STATUS_SUCCESS);
        break;
    default: break;
    }
}

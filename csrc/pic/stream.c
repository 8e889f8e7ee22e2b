/* stream.c — a stream's life: opening it, stopping, resetting and freeing it. */
#include "pic/adapter.h"

#include <string.h>

/* ---- opening --------------------------------------------------------------------------------------------------- */

/* The names that the field allows are more than those of the service: the core is given its own. */
static void core_name(const struct pic_stream *stream, char *name)
{
    static const char digits[] = "0123456789abcdef";
    for (uint32_t i = 0; i < 16; i++) name[i] = digits[stream->object.handle >> (60 - 4 * i) & 15u];
    name[16] = 0;
}

/* The stream is in the client's list already. A thread that finds it there without its core leaves it alone, or closes
 * it and waits for the maker. */
static STATUS make_core(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    struct kvs_stream_config config;
    struct kvs_track_config tracks[KVS_TRACKS_MAX];
    struct kvs_stream *core = NULL;
    char name[17];
    core_name(stream, name);
    pic_config_of(stream, &config, tracks);
    config.name = name;
    kvs_status status = kvs_stream_new(client->core, &config, pic_now(client), &core);
    stream->info.streamCaps.segmentUuid = NULL; /* the caller's memory: read during the call only */
    pic_lock(client);
    stream->core = core;
    pic_unlock(client);
    return pic_status_of(status);
}

/* Gives back all that the stream has. No handle, list or queue leads to it any more. */
static void dispose(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    const struct kvs_host *host = &client->host;
    pic_auth_release(client, stream->token);
    kvs_host_free(host, stream->endpoint);
    kvs_host_free(host, stream->arn);
    kvs_host_free(host, stream->info.tags);
    kvs_host_free(host, stream->info.streamCaps.trackInfoList);
    if (stream->object.slot != NULL) pic_slot_free(stream->object.slot);
    kvs_host_lock_free(&client->host, stream->object.lock);
    host->free(host->ctx, stream);
}

static STATUS set_up(struct pic_stream *stream, const StreamInfo *info)
{
    struct pic_client *client = stream->client;
    StreamCaps *caps = &stream->info.streamCaps;
    pic_copy_stream(client, info, &stream->info);
    stream->info.tags = NULL;
    caps->trackInfoList = NULL;
    STATUS status = pic_copy_tags(client, info->tagCount, info->tags, &stream->info.tags);
    if (STATUS_SUCCEEDED(status))
        status = pic_copy_tracks(client, caps->trackInfoCount, info->streamCaps.trackInfoList, &caps->trackInfoList);
    if (STATUS_FAILED(status)) return status;
    if (kvs_host_lock_new(&client->host, &stream->object.lock) == KVS_OK)
        stream->object.slot = pic_slot_new(PIC_KIND_STREAM, stream, &stream->object.handle);
    if (stream->object.slot == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    stream->rates.frame_rate = stream->rates.elementary_frame_rate = caps->frameRate;
    return STATUS_SUCCESS;
}

/* From here on others find the stream, and the client may be freed: the stream holds the client, and its maker holds
 * the stream. */
static STATUS enter(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    pic_lock(client);
    STATUS status = pic_enter_list(stream);
    if (STATUS_SUCCEEDED(status)) {
        pic_slot_hold(client->object.slot);
        pic_slot_hold(stream->object.slot);
    }
    pic_unlock(client);
    return status;
}

/* A stream without its core yet, held by the caller. */
static STATUS make(struct pic_client *client, const StreamInfo *info, struct pic_stream **out)
{
    STATUS status = pic_check_stream(client, info);
    if (STATUS_FAILED(status)) return status;
    struct pic_stream *stream = client->host.alloc(client->host.ctx, sizeof *stream);
    if (stream == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    memset(stream, 0, sizeof *stream);
    stream->client = client;
    stream->object.stream = stream;
    stream->object.is_draining = 1;
    stream->object.is_creating = 1;
    stream->later_hns = KVS_TIME_NONE;
    stream->last_upload = INVALID_UPLOAD_HANDLE_VALUE;
    atomic_init(&stream->rates.sample_hns, pic_now(client));
    atomic_init(&stream->room, 0);
    atomic_init(&stream->is_called_inside, 0u);
    atomic_init(&stream->object.room_count, 0);
    status = set_up(stream, info);
    if (STATUS_SUCCEEDED(status)) status = enter(stream);
    if (STATUS_FAILED(status)) dispose(stream);
    else *out = stream;
    return status;
}

/* Lets the core begin, and waits until the stream is ready where the program asks for that. */
static STATUS begin(struct pic_stream *stream, int is_sync)
{
    struct pic_client *client = stream->client;
    STATUS status = STATUS_SUCCESS;
    pic_drain(client, &stream->object);
    pic_lock(client);
    if (is_sync && STATUS_SUCCEEDED(stream->create_status))
        status = pic_await_ready(client, &stream->object, client->device.clientInfo.createStreamTimeout);
    if (STATUS_FAILED(stream->object.failure)) status = stream->object.failure;
    if (STATUS_FAILED(stream->create_status)) status = stream->create_status;
    if (stream->object.is_closing || client->object.is_closing) status = STATUS_STREAM_SHUTTING_DOWN;
    stream->object.is_creating = 0;
    pic_unlock(client);
    return status;
}

static STATUS create(CLIENT_HANDLE clientHandle, const StreamInfo *info, PSTREAM_HANDLE out, int is_sync)
{
    struct pic_call call;
    struct pic_stream *stream = NULL;
    if (out == NULL || info == NULL) return STATUS_NULL_ARG;
    *out = INVALID_STREAM_HANDLE_VALUE;
    STATUS status = pic_enter_client(clientHandle, &call);
    if (STATUS_FAILED(status)) return status;
    status = make(call.client, info, &stream);
    if (STATUS_FAILED(status)) return pic_leave(&call, status);
    STREAM_HANDLE handle = stream->object.handle;
    status = make_core(stream);
    if (STATUS_SUCCEEDED(status)) {
        *out = handle;
        status = begin(stream, is_sync);
    }
    pic_stream_release(stream);
    if (STATUS_FAILED(status)) {
        freeKinesisVideoStream(&handle);
        *out = INVALID_STREAM_HANDLE_VALUE;
    }
    return pic_leave(&call, status);
}

STATUS createKinesisVideoStream(CLIENT_HANDLE clientHandle, PStreamInfo pStreamInfo, PSTREAM_HANDLE pStreamHandle)
{
    return create(clientHandle, pStreamInfo, pStreamHandle, 0);
}

STATUS createKinesisVideoStreamSync(CLIENT_HANDLE clientHandle, PStreamInfo pStreamInfo, PSTREAM_HANDLE pStreamHandle)
{
    return create(clientHandle, pStreamInfo, pStreamHandle, 1);
}

/* ---- freeing --------------------------------------------------------------------------------------------------- */

/* What was never delivered is reported as dropped: a reset makes the core drop it. Of the core's notices then only
 * those of drops are reported. */
static void report_undelivered(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    struct pic_node *node = NULL;
    struct pic_scope scope;
    pic_lock(client);
    while ((node = pic_pop(client, &stream->object)) != NULL) pic_recycle(client, node);
    (void)kvs_stream_reset(stream->core, pic_now(client));
    pic_pull(client);
    pic_unlock(client);
    pic_scope_enter(&scope, client);
    while ((node = pic_pop(client, &stream->object)) != NULL) {
        if (node->action.kind == KVS_ACTION_DROPPED) pic_carry_out_notice(client, stream, &node->action);
        pic_lock(client);
        pic_recycle(client, node);
        pic_unlock(client);
    }
    pic_scope_leave(&scope);
}

void pic_stream_destroy(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    struct pic_node *node = NULL;
    report_undelivered(stream);
    pic_lock(client);
    kvs_stream_free(stream->core);
    pic_pull(client); /* the last of the stream's actions */
    while ((node = pic_pop(client, &stream->object)) != NULL) pic_recycle(client, node);
    pic_unlock(client);
    dispose(stream);
    pic_client_release(client);
}

int pic_claim_shutdown(struct pic_stream *stream)
{
    int is_first = !stream->is_shutdown_reported;
    stream->is_shutdown_reported = 1;
    return is_first && !stream->object.is_creating;
}

void pic_report_shutdown(struct pic_stream *stream, BOOL is_reset)
{
    struct pic_client *client = stream->client;
    struct pic_scope scope;
    if (client->callbacks.streamShutdownFn == NULL) return;
    pic_scope_enter(&scope, client);
    (void)client->callbacks.streamShutdownFn(client->callbacks.customData, stream->object.handle, is_reset);
    pic_scope_leave(&scope);
}

void pic_stream_close(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    pic_lock(client);
    stream->object.is_closing = 1;
    int reports = pic_claim_shutdown(stream);
    pic_broadcast(client);
    pic_unlock(client);
    if (reports) pic_report_shutdown(stream, FALSE);
    pic_let_go(client, &stream->object, 1);
}

STATUS freeKinesisVideoStream(PSTREAM_HANDLE pStreamHandle)
{
    void *object = NULL;
    if (pStreamHandle == NULL || !pic_take_handle(pStreamHandle, PIC_KIND_STREAM, &object)) return STATUS_NULL_ARG;
    if (object == NULL) return STATUS_SUCCESS;
    struct pic_stream *stream = object;
    struct pic_client *client = stream->client;
    pic_slot_hold(client->object.slot);
    pic_stream_close(stream);
    pic_settle(client, pic_now(client));
    pic_client_release(client);
    return STATUS_SUCCESS;
}

/* ---- stopping and starting again ------------------------------------------------------------------------------- */

static STATUS stop(struct pic_call *call)
{
    pic_lock(call->client);
    call->stream->is_stopped = 1;
    pic_broadcast(call->client);
    pic_unlock(call->client);
    return pic_status_of(kvs_stream_stop(call->stream->core, call->now_hns));
}

STATUS stopKinesisVideoStream(STREAM_HANDLE streamHandle)
{
    struct pic_call call;
    STATUS status = pic_enter_stream(streamHandle, &call);
    return STATUS_FAILED(status) ? status : pic_leave(&call, stop(&call));
}

static STATUS await_closed(struct pic_stream *stream)
{
    uint64_t left_hns = stream->client->device.clientInfo.stopStreamTimeout;
    while (!stream->is_closed && !stream->object.is_closing && !stream->client->object.is_closing) {
        if (STATUS_FAILED(stream->object.failure)) return stream->object.failure; /* nothing will deliver the rest */
        if (!pic_wait(stream->client, &left_hns)) return STATUS_OPERATION_TIMED_OUT;
    }
    return STATUS_SUCCESS;
}

STATUS stopKinesisVideoStreamSync(STREAM_HANDLE streamHandle)
{
    struct pic_call call;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    status = stop(&call);
    if (STATUS_FAILED(status)) return pic_leave(&call, status);
    pic_settle(call.client, call.now_hns);
    pic_lock(call.client);
    status = await_closed(call.stream);
    pic_unlock(call.client);
    return pic_leave(&call, status);
}

static void forget_past(struct pic_stream *stream)
{
    pic_later_cancel(stream);
    stream->is_stopped = stream->is_closed = stream->object.has_failed_call = stream->is_in_outage = 0;
    stream->outage_count = 0;
    stream->object.failure = STATUS_SUCCESS;
    atomic_fetch_add(&stream->object.room_count, 1u);
    memset(&stream->object.order, 0, sizeof stream->object.order);
    pic_lock_stream(stream);
    memset(stream->uploads, 0, sizeof stream->uploads);
    stream->last_upload = INVALID_UPLOAD_HANDLE_VALUE;
    stream->rates.last_put_hns = stream->rates.last_pts_hns = 0;
    pic_unlock_stream(stream);
}

STATUS kinesisVideoStreamResetStream(STREAM_HANDLE streamHandle)
{
    struct pic_call call;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    pic_report_shutdown(call.stream, TRUE);
    pic_lock(call.client);
    forget_past(call.stream);
    pic_broadcast(call.client);
    pic_unlock(call.client);
    return pic_leave(&call, pic_status_of(kvs_stream_reset(call.stream->core, call.now_hns)));
}

/* The reader of an old upload gets ABORTED, so that it does not wait for a last answer of a peer that may be silent. */
STATUS kinesisVideoStreamResetConnection(STREAM_HANDLE streamHandle)
{
    struct pic_call call;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    pic_lock_stream(call.stream);
    for (uint32_t i = 0; i < UPLOADS_KNOWN_MAX; i++) call.stream->uploads[i].is_aborted = 1;
    pic_unlock_stream(call.stream);
    return pic_leave(&call, pic_status_of(kvs_stream_reset_connection(call.stream->core, call.now_hns)));
}

STATUS kinesisVideoStreamGetStreamInfo(STREAM_HANDLE streamHandle, PPStreamInfo ppStreamInfo)
{
    struct pic_call call;
    if (ppStreamInfo == NULL) return STATUS_NULL_ARG;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    *ppStreamInfo = &call.stream->info;
    return pic_leave(&call, STATUS_SUCCESS);
}

/* stream.c — a stream's life: opening it, stopping, resetting and freeing it. */
#include "pic/adapter.h"

#include <string.h>

#define NAMES_MIN 16u
#define IDLE_END_HNS (20 * HUNDREDS_OF_NANOS_IN_A_SECOND)

/* ---- opening --------------------------------------------------------------------------------------------------- */

static uint32_t flags_of(const StreamInfo *info)
{
    const StreamCaps *caps = &info->streamCaps;
    uint32_t flags = KVS_FORMAT_LOCKED | KVS_PUT_TELLS | KVS_PUT_OPENS;
    if (caps->keyFrameFragmentation) flags |= KVS_KEY_FRAME_FRAGMENTS;
    if (!caps->frameTimecodes) flags |= KVS_CLOCK_TIMECODES;
    if (!caps->absoluteFragmentTimes) flags |= KVS_RELATIVE_TIMES;
    if (caps->fragmentAcks) flags |= KVS_WANT_ACKS;
    if (!caps->recoverOnError) flags |= KVS_NO_RECOVERY;
    if (caps->allowStreamCreation) flags |= KVS_ALLOW_CREATE;
    if (info->tagCount != 0) flags |= KVS_HAS_TAGS;
    return flags;
}

static uint32_t frames_max(const StreamCaps *caps)
{
    uint64_t frames = (uint64_t)caps->frameRate * (caps->bufferDuration / HUNDREDS_OF_NANOS_IN_A_SECOND);
    return frames < UINT32_MAX ? (uint32_t)frames : UINT32_MAX;
}

static void track_of(const TrackInfo *info, struct kvs_track_config *track)
{
    memset(track, 0, sizeof *track);
    track->id = info->trackId;
    track->type = (uint32_t)info->trackType;
    track->codec_id = info->codecId;
    track->name = info->trackName;
    track->cpd = info->codecPrivateData;
    track->cpd_size = info->codecPrivateDataSize;
    if (info->trackType == MKV_TRACK_INFO_TYPE_VIDEO) {
        track->width = info->trackCustomData.trackVideoConfig.videoWidth;
        track->height = info->trackCustomData.trackVideoConfig.videoHeight;
    } else if (info->trackType == MKV_TRACK_INFO_TYPE_AUDIO) {
        track->sampling_rate = info->trackCustomData.trackAudioConfig.samplingFrequency;
        track->channels = info->trackCustomData.trackAudioConfig.channelConfig;
        track->bit_depth = info->trackCustomData.trackAudioConfig.bitDepth;
    }
}

/* The core is asked for the numbers that the field knows. A replay duration of 0 is no limit: a new session starts at
 * the oldest frame that the service does not have. */
static void config_of(const struct pic_stream *stream, struct kvs_stream_config *config,
                      struct kvs_track_config *tracks)
{
    const StreamCaps *caps = &stream->info.streamCaps;
    memset(config, 0, sizeof *config);
    config->size = sizeof *config;
    config->flags = flags_of(&stream->info);
    config->user = (uint64_t)(uintptr_t)stream;
    config->content_type = caps->contentType[0] != 0 ? caps->contentType : NULL;
    config->retention_hns = stream->info.retention;
    config->streaming_type = (uint32_t)caps->streamingType;
    config->nal_flags = caps->nalAdaptationFlags;
    config->order = (uint32_t)caps->frameOrderingMode;
    config->full_policy = KVS_FULL_DROP_FRAGMENT;
    config->flags |= KVS_NO_EMPTY_NALS;
    config->backward_policy = KVS_BACKWARD_ERROR;
    config->frames_max = frames_max(caps);
    config->metadata_max = MAX_FRAGMENT_METADATA_COUNT;
    config->segment_uuid = caps->segmentUuid;
    config->timecode_scale_hns = caps->timecodeScale;
    config->fragment_duration_hns = caps->fragmentDuration;
    config->buffer_duration_hns = caps->bufferDuration;
    config->staleness_max_hns = caps->connectionStalenessDuration;
    config->replay_max_hns = caps->streamingType == STREAMING_TYPE_OFFLINE ? 0 : caps->replayDuration;
    if (stream->client->device.clientInfo.automaticStreamingFlags == AUTOMATIC_STREAMING_INTERMITTENT_PRODUCER)
        config->eofr_idle_hns = IDLE_END_HNS;
    config->track_count = caps->trackInfoCount;
    config->tracks = tracks;
    for (uint32_t i = 0; i < caps->trackInfoCount; i++) track_of(&caps->trackInfoList[i], &tracks[i]);
}

static struct pic_stream **place_of(const struct pic_client *client, const char *name)
{
    uint32_t hash = 2166136261u;
    for (const char *c = name; *c != 0; c++) hash = (hash ^ (uint8_t)*c) * 16777619u;
    return &client->names[hash & (client->name_place_count - 1u)];
}

static void link_name(struct pic_stream *stream)
{
    struct pic_stream **place = place_of(stream->client, stream->info.name);
    stream->next_named = *place;
    *place = stream;
}

/* As many places as streams, so that to look for a name costs the same however many there are. With no memory for more
 * the table stays as it is. */
static void grow_names(struct pic_client *client)
{
    if (client->stream_count < client->name_place_count) return;
    uint32_t count = client->name_place_count != 0 ? 2u * client->name_place_count : NAMES_MIN;
    struct pic_stream **old = client->names, **names = client->host.alloc(client->host.ctx, count * sizeof *names);
    if (names == NULL) return;
    memset(names, 0, count * sizeof *names);
    client->names = names;
    client->name_place_count = count;
    for (struct pic_stream *each = client->streams; each != NULL; each = each->next) link_name(each);
    if (old != NULL) client->host.free(client->host.ctx, old);
}

static STATUS enter_name(struct pic_stream *stream)
{
    grow_names(stream->client);
    if (stream->client->names == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    const struct pic_stream *other = *place_of(stream->client, stream->info.name);
    while (other != NULL && strcmp(other->info.name, stream->info.name) != 0) other = other->next_named;
    if (other != NULL) return STATUS_DUPLICATE_STREAM_NAME;
    link_name(stream);
    return STATUS_SUCCESS;
}

static void leave_name(struct pic_stream *stream)
{
    struct pic_stream **at = place_of(stream->client, stream->info.name);
    while (*at != stream) at = &(*at)->next_named;
    *at = stream->next_named;
}

static STATUS enter_list(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    STATUS status = client->is_ready ? STATUS_SUCCESS : STATUS_INVALID_STREAM_STATE;
    if (client->is_closing) status = STATUS_CLIENT_SHUTTING_DOWN;
    if (client->stream_count >= client->device.streamCount && status == STATUS_SUCCESS)
        status = STATUS_MAX_STREAM_COUNT;
    if (STATUS_SUCCEEDED(status)) status = enter_name(stream);
    if (STATUS_FAILED(status)) return status;
    stream->next = client->streams;
    if (client->streams != NULL) client->streams->previous = stream;
    client->streams = stream;
    client->stream_count++;
    return STATUS_SUCCESS;
}

static void leave_list(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    pic_unschedule(client, &stream->target);
    pic_later_cancel(stream);
    leave_name(stream);
    if (stream->previous != NULL) stream->previous->next = stream->next;
    else client->streams = stream->next;
    if (stream->next != NULL) stream->next->previous = stream->previous;
    client->stream_count--;
    stream->is_gone = 1;
}

/* The names that the field allows are more than those of the service: the core is given its own. */
static void core_name(const struct pic_stream *stream, char *name)
{
    static const char digits[] = "0123456789abcdef";
    for (uint32_t i = 0; i < 16; i++) name[i] = digits[stream->handle >> (60 - 4 * i) & 15u];
    name[16] = 0;
}

static STATUS make_core(struct pic_stream *stream)
{
    struct kvs_stream_config config;
    struct kvs_track_config tracks[KVS_TRACKS_MAX];
    char name[17];
    core_name(stream, name);
    config_of(stream, &config, tracks);
    config.name = name;
    kvs_status status = kvs_stream_new(stream->client->core, &config, pic_now(stream->client), &stream->core);
    stream->info.streamCaps.segmentUuid = NULL; /* the caller's memory: read during the call only */
    return pic_status_of(status);
}

/* Gives back all that the stream has; nobody knows it any more. */
static void dispose(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    struct kvs_host *host = &client->host;
    pic_auth_release(client, stream->token);
    if (stream->endpoint != NULL) host->free(host->ctx, stream->endpoint);
    if (stream->arn != NULL) host->free(host->ctx, stream->arn);
    if (stream->info.tags != NULL) host->free(host->ctx, stream->info.tags);
    if (stream->info.streamCaps.trackInfoList != NULL) host->free(host->ctx, stream->info.streamCaps.trackInfoList);
    if (stream->slot != NULL) pic_slot_free(stream->slot);
    kvs_host_lock_free(&client->host, stream->target.lock);
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
    if (kvs_host_lock_new(&client->host, &stream->target.lock) == KVS_OK)
        stream->slot = pic_slot_new(PIC_KIND_STREAM, stream, &stream->handle);
    if (stream->slot == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    pic_lock(client);
    status = enter_list(stream);
    pic_unlock(client);
    if (STATUS_FAILED(status)) return status;
    status = make_core(stream);
    if (STATUS_SUCCEEDED(status)) return status;
    pic_lock(client);
    leave_list(stream);
    pic_unlock(client);
    return status;
}

static STATUS make(struct pic_client *client, const StreamInfo *info, struct pic_stream **out)
{
    STATUS status = pic_check_stream(client, info);
    if (STATUS_FAILED(status)) return status;
    struct pic_stream *stream = client->host.alloc(client->host.ctx, sizeof *stream);
    if (stream == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    memset(stream, 0, sizeof *stream);
    stream->client = client;
    stream->target.stream = stream;
    stream->target.is_draining = 1;
    stream->is_creating = 1;
    stream->later_hns = KVS_TIME_NONE;
    stream->last_upload = INVALID_UPLOAD_HANDLE_VALUE;
    atomic_init(&stream->rates.sample_hns, pic_now(client));
    atomic_init(&stream->room, 0);
    atomic_init(&stream->is_called_inside, 0u);
    atomic_init(&stream->room_count, 0);
    status = set_up(stream, info);
    if (STATUS_FAILED(status)) {
        dispose(stream);
        return status;
    }
    stream->rates.frame_rate = stream->rates.elementary_frame_rate = stream->info.streamCaps.frameRate;
    pic_slot_hold(client->slot); /* the stream's */
    *out = stream;
    return STATUS_SUCCESS;
}

/* Ready, failed, freed or out of time: which; under the lock. */
static STATUS await_ready(struct pic_stream *stream)
{
    uint64_t left_hns = stream->client->device.clientInfo.createStreamTimeout;
    while (!stream->is_ready && stream->failure == STATUS_SUCCESS && !stream->is_closing &&
           !stream->client->is_closing) {
        if (!pic_wait(stream->client, &left_hns)) return STATUS_OPERATION_TIMED_OUT;
    }
    return STATUS_SUCCESS;
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
    STREAM_HANDLE handle = stream->handle;
    pic_slot_hold(stream->slot);
    *out = handle;
    pic_drain(call.client, &stream->target);
    pic_lock(call.client);
    if (is_sync && STATUS_SUCCEEDED(stream->create_status)) status = await_ready(stream);
    if (STATUS_FAILED(stream->failure)) status = stream->failure;
    if (STATUS_FAILED(stream->create_status)) status = stream->create_status;
    if (stream->is_closing || call.client->is_closing) status = STATUS_STREAM_SHUTTING_DOWN;
    stream->is_creating = 0;
    pic_unlock(call.client);
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

/* What was never delivered is reported as dropped: the core drops it, and of what it then says only that is told. */
static void report_undelivered(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    struct pic_node *node = NULL;
    struct pic_scope scope;
    pic_lock(client);
    while ((node = pic_pop(client, &stream->target)) != NULL) pic_recycle(client, node);
    (void)kvs_stream_reset(stream->core, pic_now(client));
    pic_pull(client);
    pic_unlock(client);
    pic_scope_enter(&scope, client);
    while ((node = pic_pop(client, &stream->target)) != NULL) {
        if (node->action.kind == KVS_ACTION_DROPPED) pic_carry_out_notice(client, stream, &node->action);
        pic_lock(client);
        pic_recycle(client, node);
        pic_unlock(client);
    }
    pic_scope_leave(&scope);
}

static void destroy(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    struct pic_node *node = NULL;
    report_undelivered(stream);
    pic_lock(client);
    kvs_stream_free(stream->core);
    pic_pull(client); /* nothing of the stream comes any more */
    while ((node = pic_pop(client, &stream->target)) != NULL) pic_recycle(client, node);
    pic_unlock(client);
    dispose(stream);
    pic_client_release(client);
}

/* One reference less; under the lock. Returns how many are left; with none the stream is no longer to be found. */
static uint32_t drop(struct pic_stream *stream)
{
    uint32_t left = pic_slot_drop(stream->slot);
    if (left == 1) pic_broadcast(stream->client);
    if (left == 0) leave_list(stream);
    return left;
}

void pic_stream_let_go(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    pic_lock(client);
    uint32_t left = drop(stream);
    pic_unlock(client);
    if (left == 0) destroy(stream);
}

void pic_stream_close(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    struct pic_scope scope;
    pic_lock(client);
    stream->is_closing = 1;
    int is_told = stream->is_shutdown_told;
    stream->is_shutdown_told = 1;
    pic_broadcast(client);
    pic_unlock(client);
    if (!is_told && !stream->is_creating && client->callbacks.streamShutdownFn != NULL) {
        pic_scope_enter(&scope, client);
        (void)client->callbacks.streamShutdownFn(client->callbacks.customData, stream->handle, FALSE);
        pic_scope_leave(&scope);
    }
    pic_lock(client);
    while (!pic_is_in_callback() && pic_slot_references(stream->slot) > 1) {
        (void)client->callbacks.waitConditionVariableFn(client->callbacks.customData, client->changed, client->lock,
                                                        INFINITE_TIME_VALUE);
    }
    uint32_t left = drop(stream);
    pic_unlock(client);
    if (left == 0) destroy(stream);
}

STATUS freeKinesisVideoStream(PSTREAM_HANDLE pStreamHandle)
{
    if (pStreamHandle == NULL) return STATUS_NULL_ARG;
    STREAM_HANDLE handle = *pStreamHandle;
    if (!IS_VALID_STREAM_HANDLE(handle)) return STATUS_SUCCESS;
    struct pic_stream *stream = pic_close(handle, PIC_KIND_STREAM);
    if (stream == NULL && !pic_was_valid(handle, PIC_KIND_STREAM)) return STATUS_NULL_ARG;
    *pStreamHandle = INVALID_STREAM_HANDLE_VALUE;
    if (stream == NULL) return STATUS_SUCCESS;
    struct pic_client *client = stream->client;
    pic_slot_hold(client->slot);
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
    while (!stream->is_closed && !stream->is_closing && !stream->client->is_closing) {
        if (STATUS_FAILED(stream->failure)) return stream->failure; /* nobody will deliver the rest */
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
    stream->is_stopped = stream->is_closed = stream->owes_wait = stream->is_in_outage = 0;
    stream->outage_count = 0;
    stream->failure = STATUS_SUCCESS;
    atomic_fetch_add(&stream->room_count, 1u);
    memset(&stream->order, 0, sizeof stream->order);
    pic_lock_stream(stream);
    memset(stream->uploads, 0, sizeof stream->uploads);
    stream->last_upload = INVALID_UPLOAD_HANDLE_VALUE;
    stream->rates.last_put_hns = stream->rates.last_pts_hns = 0;
    pic_unlock_stream(stream);
}

STATUS kinesisVideoStreamResetStream(STREAM_HANDLE streamHandle)
{
    struct pic_call call;
    struct pic_scope scope;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    if (call.client->callbacks.streamShutdownFn != NULL) {
        pic_scope_enter(&scope, call.client);
        (void)call.client->callbacks.streamShutdownFn(call.client->callbacks.customData, call.stream->handle, TRUE);
        pic_scope_leave(&scope);
    }
    pic_lock(call.client);
    forget_past(call.stream);
    pic_broadcast(call.client);
    pic_unlock(call.client);
    return pic_leave(&call, pic_status_of(kvs_stream_reset(call.stream->core, call.now_hns)));
}

/* The reader of an old upload waits for no last answer of a peer that may be silent: it gets ABORTED. */
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

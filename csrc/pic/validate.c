/* validate.c — checks of what the caller configures, in the field's order (the first violation wins), and our own
 * copies with the defaults filled in. The caller's structs are never written to; older versions are not read past their
 * end. */
#include "pic/adapter.h"

#include <string.h>

#define VIEW_ITEMS_MIN 10u

int pic_is_bounded(const char *text, size_t max) { return memchr(text, 0, max + 1u) != NULL; }

STATUS pic_check_tags(UINT32 count, const Tag *tags)
{
    if (count > MAX_TAG_COUNT) return STATUS_MAX_TAG_COUNT;
    if (count != 0 && tags == NULL) return STATUS_DEVICE_TAGS_COUNT_NON_ZERO_TAGS_NULL;
    for (UINT32 i = 0; i < count; i++) {
        if (tags[i].version > TAG_CURRENT_VERSION) return STATUS_INVALID_TAG_VERSION;
        if (tags[i].name == NULL || !pic_is_bounded(tags[i].name, MAX_TAG_NAME_LEN)) return STATUS_INVALID_TAG_NAME_LEN;
        if (tags[i].value == NULL || !pic_is_bounded(tags[i].value, MAX_TAG_VALUE_LEN))
            return STATUS_INVALID_TAG_VALUE_LEN;
    }
    return STATUS_SUCCESS;
}

STATUS pic_check_device(const DeviceInfo *device)
{
    if (device->version > DEVICE_INFO_CURRENT_VERSION) return STATUS_INVALID_DEVICE_INFO_VERSION;
    if (device->streamCount > MAX_STREAM_COUNT) return STATUS_MAX_STREAM_COUNT;
    if (device->streamCount == 0) return STATUS_MIN_STREAM_COUNT;
    if (device->storageInfo.version > STORAGE_INFO_CURRENT_VERSION) return STATUS_INVALID_STORAGE_INFO_VERSION;
    UINT64 size = device->storageInfo.storageSize;
    if (size < MIN_STORAGE_ALLOCATION_SIZE || size > MAX_STORAGE_ALLOCATION_SIZE) return STATUS_INVALID_STORAGE_SIZE;
    if (device->storageInfo.spillRatio > 100u) return STATUS_INVALID_SPILL_RATIO;
    if (!pic_is_bounded(device->storageInfo.rootDirectory, MAX_PATH_LEN)) return STATUS_INVALID_ROOT_DIRECTORY_LENGTH;
    if (!pic_is_bounded(device->name, MAX_DEVICE_NAME_LEN)) return STATUS_INVALID_DEVICE_NAME_LENGTH;
    STATUS status = pic_check_tags(device->tagCount, device->tags);
    if (STATUS_FAILED(status) || device->version == 0) return status;
    if (!pic_is_bounded(device->clientId, MAX_CLIENT_ID_STRING_LENGTH)) return STATUS_INVALID_CLIENT_ID_STRING_LENGTH;
    return device->clientInfo.version > CLIENT_INFO_CURRENT_VERSION ? STATUS_INVALID_CLIENT_INFO_VERSION
                                                                    : STATUS_SUCCESS;
}

STATUS pic_check_callbacks(const ClientCallbacks *callbacks, UINT32 device_tags)
{
    if (callbacks->version > CALLBACKS_CURRENT_VERSION) return STATUS_INVALID_CALLBACKS_VERSION;
    int has_all = callbacks->createStreamFn != NULL && callbacks->describeStreamFn != NULL &&
                  callbacks->putStreamFn != NULL && callbacks->getStreamingEndpointFn != NULL &&
                  callbacks->getStreamingTokenFn != NULL && callbacks->createDeviceFn != NULL;
    if (!has_all || (device_tags != 0 && callbacks->tagResourceFn == NULL))
        return STATUS_SERVICE_CALL_CALLBACKS_MISSING;
    return STATUS_SUCCESS;
}

/* ---- a stream -------------------------------------------------------------------------------------------------- */

static uint64_t buffer_duration(const StreamCaps *caps)
{
    return caps->bufferDuration != 0 ? caps->bufferDuration : MIN_VIEW_BUFFER_DURATION;
}

/* How many frames are kept: the field's rule, which a declared frame rate that is too low cuts short. */
static uint64_t view_items(const StreamCaps *caps)
{
    uint64_t rate = caps->frameRate != 0 ? caps->frameRate : DEFAULT_FRAME_RATE;
    if (caps->streamingType == STREAMING_TYPE_NEAR_REALTIME && caps->fragmentDuration != 0) {
        return buffer_duration(caps) / caps->fragmentDuration;
    }
    return rate * (buffer_duration(caps) / HUNDREDS_OF_NANOS_IN_A_SECOND);
}

static STATUS check_tracks(const StreamCaps *caps)
{
    if (caps->trackInfoCount == 0 || caps->trackInfoList == NULL) return STATUS_TRACK_INFO_MISSING;
    if (caps->trackInfoCount > MAX_SUPPORTED_TRACK_COUNT_PER_STREAM) return STATUS_MAX_TRACK_COUNT_EXCEEDED;
    for (UINT32 i = 0; i < caps->trackInfoCount; i++) {
        const TrackInfo *track = &caps->trackInfoList[i];
        for (UINT32 j = 0; j < i; j++) {
            if (caps->trackInfoList[j].trackId == track->trackId) return STATUS_DUPLICATE_TRACK_ID_FOUND;
        }
        if (track->trackId == 0) return STATUS_MKV_INVALID_TRACK_UID;
        if (!pic_is_bounded(track->codecId, MKV_MAX_CODEC_ID_LEN)) return STATUS_MKV_INVALID_CODEC_ID_LENGTH;
        if (!pic_is_bounded(track->trackName, MKV_MAX_TRACK_NAME_LEN)) return STATUS_MKV_INVALID_TRACK_NAME_LENGTH;
        if (track->codecPrivateDataSize > 1048576u) return STATUS_MKV_INVALID_CODEC_PRIVATE_LENGTH;
        if (track->codecPrivateDataSize != 0 && track->codecPrivateData == NULL) return STATUS_MKV_CODEC_PRIVATE_NULL;
    }
    return STATUS_SUCCESS;
}

STATUS pic_check_stream(const struct pic_client *client, const StreamInfo *info)
{
    if (info->version > STREAM_INFO_CURRENT_VERSION) return STATUS_INVALID_STREAM_INFO_VERSION;
    if (!pic_is_bounded(info->name, MAX_STREAM_NAME_LEN)) return STATUS_INVALID_STREAM_NAME_LENGTH;
    if (info->retention != RETENTION_PERIOD_SENTINEL && info->retention < MIN_RETENTION_PERIOD)
        return STATUS_INVALID_RETENTION_PERIOD;
    STATUS status = pic_check_tags(info->tagCount, info->tags);
    if (STATUS_FAILED(status)) return status;
    if (info->tagCount != 0 && client->callbacks.tagResourceFn == NULL) return STATUS_SERVICE_CALL_CALLBACKS_MISSING;
    if (!pic_is_bounded(info->kmsKeyId, MAX_ARN_LEN)) return STATUS_INVALID_ARG_LEN;
    status = check_tracks(&info->streamCaps);
    if (STATUS_FAILED(status)) return status;
    if (!pic_is_bounded(info->streamCaps.contentType, MAX_CONTENT_TYPE_LEN))
        return STATUS_MKV_INVALID_CONTENT_TYPE_LENGTH;
    if (info->streamCaps.streamingType == STREAMING_TYPE_OFFLINE &&
        (info->retention == 0 || !info->streamCaps.fragmentAcks)) {
        return STATUS_OFFLINE_MODE_WITH_ZERO_RETENTION;
    }
    return view_items(&info->streamCaps) <= VIEW_ITEMS_MIN ? STATUS_MIN_CONTENT_VIEW_ITEMS : STATUS_SUCCESS;
}

/* ---- copies ---------------------------------------------------------------------------------------------------- */

char *pic_copy_text(struct pic_client *client, const char *text)
{
    size_t size = strlen(text) + 1u;
    char *copy = client->host.alloc(client->host.ctx, size);
    if (copy != NULL) memcpy(copy, text, size);
    return copy;
}

static UINT64 or_default(UINT64 value, UINT64 otherwise)
{
    return value == 0 || value == UINT64_MAX ? otherwise : value;
}

static void fix_client_info(ClientInfo *info)
{
    info->createClientTimeout = or_default(info->createClientTimeout,
                                           CLIENT_READY_TIMEOUT_DURATION_IN_SECONDS * HUNDREDS_OF_NANOS_IN_A_SECOND);
    info->createStreamTimeout = or_default(info->createStreamTimeout,
                                           STREAM_READY_TIMEOUT_DURATION_IN_SECONDS * HUNDREDS_OF_NANOS_IN_A_SECOND);
    info->stopStreamTimeout = or_default(info->stopStreamTimeout,
                                         STREAM_CLOSED_TIMEOUT_DURATION_IN_SECONDS * HUNDREDS_OF_NANOS_IN_A_SECOND);
    info->offlineBufferAvailabilityTimeout = or_default(info->offlineBufferAvailabilityTimeout,
                                                        15 * HUNDREDS_OF_NANOS_IN_A_SECOND);
    info->serviceCallCompletionTimeout = or_default(info->serviceCallCompletionTimeout, SERVICE_CALL_DEFAULT_TIMEOUT);
    info->serviceCallConnectionTimeout = or_default(info->serviceCallConnectionTimeout,
                                                    SERVICE_CALL_DEFAULT_CONNECTION_TIMEOUT);
    if (info->serviceCallConnectionTimeout > info->serviceCallCompletionTimeout) {
        info->serviceCallCompletionTimeout = SERVICE_CALL_DEFAULT_TIMEOUT;
        info->serviceCallConnectionTimeout = SERVICE_CALL_DEFAULT_CONNECTION_TIMEOUT;
    }
    if (info->reservedCallbackPeriod == 0) info->reservedCallbackPeriod = 5 * HUNDREDS_OF_NANOS_IN_A_SECOND;
    if (info->loggerLogLevel == 0 || info->loggerLogLevel > LOG_LEVEL_PROFILE)
        info->loggerLogLevel = DEFAULT_LOGGER_LOG_LEVEL;
}

/* Fields newer than the caller's version of the struct are not there to be read. */
static void copy_client_info(const ClientInfo *from, ClientInfo *to)
{
    static const size_t sizes[] = { offsetof(ClientInfo, metricLoggingPeriod),
                                    offsetof(ClientInfo, automaticStreamingFlags),
                                    offsetof(ClientInfo, serviceCallCompletionTimeout), sizeof(ClientInfo) };
    memset(to, 0, sizeof *to);
    memcpy(to, from, sizes[from->version]);
    to->version = CLIENT_INFO_CURRENT_VERSION;
}

void pic_copy_device(struct pic_client *client, const DeviceInfo *from)
{
    DeviceInfo *to = &client->device;
    memset(to, 0, sizeof *to);
    memcpy(to, from, from->version == 0 ? offsetof(DeviceInfo, clientId) : offsetof(DeviceInfo, clientInfo));
    if (from->version != 0) copy_client_info(&from->clientInfo, &to->clientInfo);
    to->version = DEVICE_INFO_CURRENT_VERSION;
    to->tags = NULL;
    fix_client_info(&to->clientInfo);
    if (to->name[0] == 0) pic_random_name(client, to->name, DEFAULT_DEVICE_NAME_LEN);
}

STATUS pic_copy_tags(struct pic_client *client, UINT32 count, const Tag *tags, PTag *out)
{
    size_t size = count * sizeof(Tag);
    *out = NULL;
    if (count == 0) return STATUS_SUCCESS;
    for (UINT32 i = 0; i < count; i++) size += strlen(tags[i].name) + strlen(tags[i].value) + 2u;
    PTag copy = client->host.alloc(client->host.ctx, size);
    if (copy == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    char *at = (char *)(copy + count);
    for (UINT32 i = 0; i < count; i++) {
        size_t name_size = strlen(tags[i].name) + 1u, value_size = strlen(tags[i].value) + 1u;
        copy[i].version = TAG_CURRENT_VERSION;
        copy[i].name = memcpy(at, tags[i].name, name_size);
        copy[i].value = memcpy(at + name_size, tags[i].value, value_size);
        at += name_size + value_size;
    }
    *out = copy;
    return STATUS_SUCCESS;
}

STATUS pic_copy_tracks(struct pic_client *client, UINT32 count, const TrackInfo *tracks, PTrackInfo *out)
{
    size_t size = count * sizeof(TrackInfo);
    for (UINT32 i = 0; i < count; i++) size += tracks[i].codecPrivateDataSize;
    PTrackInfo copy = client->host.alloc(client->host.ctx, size);
    if (copy == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    PBYTE at = (PBYTE)(copy + count);
    for (UINT32 i = 0; i < count; i++) {
        copy[i] = tracks[i];
        copy[i].codecPrivateData = tracks[i].codecPrivateDataSize != 0
                                       ? memcpy(at, tracks[i].codecPrivateData, tracks[i].codecPrivateDataSize)
                                       : NULL;
        at += tracks[i].codecPrivateDataSize;
    }
    *out = copy;
    return STATUS_SUCCESS;
}

static int is_audio_and_video(const StreamCaps *caps)
{
    if (caps->trackInfoCount != 2) return 0;
    return (caps->trackInfoList[0].trackType == MKV_TRACK_INFO_TYPE_VIDEO &&
            caps->trackInfoList[1].trackType == MKV_TRACK_INFO_TYPE_AUDIO) ||
           (caps->trackInfoList[0].trackType == MKV_TRACK_INFO_TYPE_AUDIO &&
            caps->trackInfoList[1].trackType == MKV_TRACK_INFO_TYPE_VIDEO);
}

void pic_copy_stream(struct pic_client *client, const StreamInfo *from, StreamInfo *to)
{
    static const size_t sizes[] = { offsetof(StreamCaps, frameOrderingMode), offsetof(StreamCaps, storePressurePolicy),
                                    offsetof(StreamCaps, allowStreamCreation), sizeof(StreamCaps) };
    StreamCaps *caps = &to->streamCaps;
    memset(to, 0, sizeof *to);
    memcpy(to, from, offsetof(StreamInfo, streamCaps));
    memcpy(caps, &from->streamCaps, sizes[from->version]);
    if (from->version == 0 && is_audio_and_video(caps)) {
        caps->frameOrderingMode = FRAME_ORDERING_MODE_MULTI_TRACK_AV_COMPARE_PTS_ONE_MS_COMPENSATE;
    }
    if (from->version < 3) caps->allowStreamCreation = TRUE;
    to->version = STREAM_INFO_CURRENT_VERSION;
    if (caps->timecodeScale == 0) caps->timecodeScale = HUNDREDS_OF_NANOS_IN_A_MILLISECOND;
    if (caps->frameRate == 0) caps->frameRate = DEFAULT_FRAME_RATE;
    if (caps->replayDuration > caps->bufferDuration) caps->replayDuration = caps->bufferDuration;
    caps->bufferDuration = buffer_duration(caps);
    if (caps->streamingType == STREAMING_TYPE_OFFLINE) caps->connectionStalenessDuration = caps->maxLatency = 0;
    if (to->name[0] == 0) pic_random_name(client, to->name, DEFAULT_STREAM_NAME_LEN);
}

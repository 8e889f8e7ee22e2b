/* config.c — how the core's stream is configured for a stream of pic.h. */
#include "pic/adapter.h"

#include <string.h>

#define IDLE_END_HNS (20 * HUNDREDS_OF_NANOS_IN_A_SECOND)

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
void pic_config_of(const struct pic_stream *stream, struct kvs_stream_config *config, struct kvs_track_config *tracks)
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

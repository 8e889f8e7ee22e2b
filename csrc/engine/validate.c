/* validate.c — the checks of a stream's configuration; the first violation wins. */
#include "engine/validate.h"

#include <string.h>

#include "media/mkv.h"

#define NAME_MAX_SIZE 256u
#define CONTENT_TYPE_MAX 128u
#define HOUR_HNS (3600 * KVS_HNS_PER_SECOND)

static int is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
}

static kvs_status check_name(const char *name)
{
    if (name == NULL) return KVS_E_NULL_ARG;
    if (name[0] == 0 || memchr(name, 0, NAME_MAX_SIZE + 1u) == NULL) return KVS_E_STREAM_NAME;
    for (const char *c = name; *c != 0; c++) {
        if (!is_name_character(*c)) return KVS_E_STREAM_NAME;
    }
    return KVS_OK;
}

static kvs_status check_track(const struct kvs_track_config *track)
{
    if (track->id == 0) return KVS_E_TRACK_UID;
    if (track->type < KVS_TRACK_VIDEO || track->type > KVS_TRACK_UNKNOWN) return KVS_E_INVALID_ARG;
    if (track->codec_id != NULL && memchr(track->codec_id, 0, KVS_MKV_CODEC_ID_MAX + 1u) == NULL)
        return KVS_E_CODEC_ID_SIZE;
    if (track->name != NULL && memchr(track->name, 0, KVS_MKV_TRACK_NAME_MAX + 1u) == NULL)
        return KVS_E_TRACK_NAME_SIZE;
    if (track->cpd_size > KVS_MKV_CPD_MAX) return KVS_E_CPD_SIZE;
    if (track->cpd_size != 0 && track->cpd == NULL) return KVS_E_CPD_NULL;
    return KVS_OK;
}

static kvs_status check_tracks(const struct kvs_stream_config *config)
{
    if (config->track_count == 0 || config->track_count > KVS_TRACKS_MAX || config->tracks == NULL)
        return KVS_E_TRACK_COUNT;
    for (uint32_t i = 0; i < config->track_count; i++) {
        kvs_status status = check_track(&config->tracks[i]);
        if (status != KVS_OK) return status;
        for (uint32_t j = 0; j < i; j++) {
            if (config->tracks[i].id == config->tracks[j].id) return KVS_E_DUPLICATE_TRACK;
        }
    }
    return KVS_OK;
}

static kvs_status check_modes(const struct kvs_stream_config *config)
{
    uint32_t both = KVS_NAL_ANNEXB_TO_AVCC | KVS_NAL_AVCC_TO_ANNEXB;
    if ((config->nal_flags & both) == both) return KVS_E_NAL_FLAGS;
    if (config->order > KVS_ORDER_CUT) return KVS_E_FRAME_ORDER_MODE;
    if (config->streaming_type > KVS_OFFLINE || config->full_policy > KVS_FULL_REFUSE) return KVS_E_INVALID_ARG;
    if (config->backward_policy > KVS_BACKWARD_ERROR) return KVS_E_INVALID_ARG;
    if (config->timecode_scale_hns > KVS_MKV_SCALE_MAX_HNS) return KVS_E_TIMECODE_SCALE;
    if (config->streaming_type == KVS_OFFLINE && (config->retention_hns == 0 || !(config->flags & KVS_WANT_ACKS))) {
        return KVS_E_OFFLINE_WITHOUT_ACKS;
    }
    if (config->data_delay_hns > KVS_HNS_PER_SECOND) return KVS_E_INVALID_ARG;
    if (config->fragment_duration_min_hns > 10 * KVS_HNS_PER_SECOND) return KVS_E_CLUSTER_DURATION;
    if (config->flags & KVS_KEY_FRAME_FRAGMENTS) return KVS_OK;
    uint64_t duration = config->fragment_duration_hns;
    return duration < KVS_HNS_PER_SECOND || duration > 30 * KVS_HNS_PER_SECOND ? KVS_E_CLUSTER_DURATION : KVS_OK;
}

static kvs_status check_segment_uuid(const uint8_t *uuid)
{
    static const uint8_t zero[KVS_MKV_UUID_SIZE];
    return uuid != NULL && memcmp(uuid, zero, sizeof zero) == 0 ? KVS_E_SEGMENT_UUID : KVS_OK;
}

kvs_status validate_stream(const struct kvs_stream_config *config)
{
    if (config->size != sizeof *config) return KVS_E_CONFIG_SIZE;
    kvs_status status = check_name(config->name);
    if (status != KVS_OK) return status;
    if (config->content_type != NULL && memchr(config->content_type, 0, CONTENT_TYPE_MAX + 1u) == NULL)
        return KVS_E_CONTENT_TYPE_SIZE;
    if (config->retention_hns != 0 && config->retention_hns < HOUR_HNS) return KVS_E_RETENTION;
    status = check_tracks(config);
    if (status == KVS_OK) status = check_modes(config);
    if (status == KVS_OK) status = check_segment_uuid(config->segment_uuid);
    return status;
}

/* format.c — see format.h. One block of memory per format: the struct, then names, codec ids and private data. */
#include "engine/format.h"

#include <string.h>

#include "base/host.h"
#include "media/cpd.h"

static uint32_t text_size(const char *text) { return text == NULL ? 1u : (uint32_t)strlen(text) + 1u; }

static char *copy_text(uint8_t **at, const char *text)
{
    char *copy = (char *)*at;
    uint32_t size = text_size(text);
    if (text != NULL) memcpy(copy, text, size);
    else copy[0] = 0;
    *at += size;
    return copy;
}

static const uint8_t *copy_bytes(uint8_t **at, const uint8_t *bytes, uint32_t size)
{
    if (size == 0) return NULL;
    uint8_t *copy = *at;
    memcpy(copy, bytes, size);
    *at += size;
    return copy;
}

/* A format of these tracks with everything they point to copied. */
static struct format *pack(const struct kvs_host *host, const struct kvs_mkv_track *tracks, uint32_t count)
{
    size_t size = sizeof(struct format);
    for (uint32_t i = 0; i < count; i++)
        size += text_size(tracks[i].codec_id) + text_size(tracks[i].name) + tracks[i].cpd_size;
    struct format *format = kvs_host_alloc(host, size);
    if (format == NULL) return NULL;
    memset(format, 0, sizeof *format);
    format->track_count = count;
    uint8_t *at = format->bytes;
    for (uint32_t i = 0; i < count; i++) {
        format->tracks[i] = tracks[i];
        format->tracks[i].codec_id = copy_text(&at, tracks[i].codec_id);
        format->tracks[i].name = copy_text(&at, tracks[i].name);
        format->tracks[i].cpd = copy_bytes(&at, tracks[i].cpd, tracks[i].cpd_size);
    }
    return format;
}

/* Adapts `cpd` into host memory (*bytes_out, NULL when there is none) and reads the media values out of it. */
static kvs_status adapt(const struct kvs_host *host, const struct kvs_cpd_format *cpd_format, const uint8_t *cpd,
                        uint32_t cpd_size, struct kvs_mkv_track *track, uint8_t **bytes_out)
{
    *bytes_out = NULL;
    track->cpd = NULL;
    track->cpd_size = 0;
    if (cpd_size == 0) return KVS_OK;
    uint32_t size = 0;
    kvs_status status = kvs_cpd_adapt(cpd_format, cpd, cpd_size, NULL, 0, &size);
    if (status != KVS_OK) return status;
    uint8_t *bytes = kvs_host_alloc(host, size != 0 ? size : 1u);
    if (bytes == NULL) return KVS_E_NOMEM;
    status = kvs_cpd_adapt(cpd_format, cpd, cpd_size, bytes, size, &size);
    if (status != KVS_OK) {
        kvs_host_free(host, bytes);
        return status;
    }
    struct kvs_media_values values = { track->width,    track->height,   track->sampling_rate, 0,
                                       track->channels, track->bit_depth };
    (void)kvs_cpd_describe(cpd_format, bytes, size, &values); /* unreadable: the track goes out without these values */
    track->width = values.width;
    track->height = values.height;
    track->sampling_rate = values.sampling_rate;
    track->output_sampling_rate = values.output_sampling_rate;
    track->channels = values.channels;
    track->bit_depth = values.bit_depth;
    track->cpd = bytes;
    track->cpd_size = size;
    *bytes_out = bytes;
    return KVS_OK;
}

static void track_of(const struct kvs_track_config *config, struct kvs_mkv_track *track)
{
    memset(track, 0, sizeof *track);
    track->id = config->id;
    track->type = config->type;
    track->codec_id = config->codec_id;
    track->name = config->name;
    track->width = config->width;
    track->height = config->height;
    track->sampling_rate = config->sampling_rate;
    track->channels = config->channels;
    track->bit_depth = config->bit_depth;
}

kvs_status format_from_config(const struct kvs_host *host, const struct kvs_stream_config *config,
                              struct format **format_out)
{
    struct kvs_mkv_track tracks[KVS_TRACKS_MAX];
    uint8_t *adapted[KVS_TRACKS_MAX] = { NULL, NULL, NULL };
    kvs_status status = KVS_OK;
    for (uint32_t i = 0; i < config->track_count && status == KVS_OK; i++) {
        const struct kvs_track_config *from = &config->tracks[i];
        struct kvs_cpd_format cpd_format = { kvs_kinds_of(config->content_type), from->type, config->nal_flags,
                                             from->codec_id };
        track_of(from, &tracks[i]);
        status = adapt(host, &cpd_format, from->cpd, from->cpd_size, &tracks[i], &adapted[i]);
    }
    if (status == KVS_OK) {
        *format_out = pack(host, tracks, config->track_count);
        if (*format_out == NULL) status = KVS_E_NOMEM;
        else (*format_out)->track_mask = (1u << config->track_count) - 1u;
    }
    for (uint32_t i = 0; i < KVS_TRACKS_MAX; i++) kvs_host_free(host, adapted[i]);
    return status;
}

kvs_status format_make(const struct kvs_host *host, const struct format *like, const struct format_change *change,
                       struct format **format_out)
{
    struct kvs_mkv_track tracks[KVS_TRACKS_MAX];
    uint8_t *adapted = NULL;
    kvs_status status = KVS_OK;
    memcpy(tracks, like->tracks, sizeof tracks);
    if (change->track < like->track_count) {
        status = adapt(host, change->cpd_format, change->cpd, change->cpd_size, &tracks[change->track], &adapted);
    }
    if (status != KVS_OK) return status;
    struct format *format = pack(host, tracks, like->track_count);
    kvs_host_free(host, adapted);
    if (format == NULL) return KVS_E_NOMEM;
    format->content = change->track < like->track_count ? 0 : like->content;
    format->track_mask = change->mask;
    *format_out = format;
    return KVS_OK;
}

void format_free(const struct kvs_host *host, struct format *format)
{
    kvs_host_free(host, format->header);
    kvs_host_free(host, format);
}

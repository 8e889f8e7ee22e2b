/* cpd.c — which codec private data means what: content types, the choice of a reader by kind and track, and the small
 * Microsoft headers. The records of H.264 and H.265 are in cpd_nal.c, AAC in cpd_aac.c. */
#include "media/cpd.h"

#include <string.h>

#include "base/be.h"
#include "base/buf.h"

#define FOURCC_CODEC_ID "V_MS/VFW/FOURCC"
#define HEVC_CODEC_ID "V_MPEGH/ISO/HEVC"
#define PCM_READ_MIN 16u
#define SIDE_MAX 65535u

/* ---- content type */

static uint32_t kind_of(const char *token, size_t size)
{
    static const struct {
        const char *token;
        uint32_t kind;
    } KINDS[] = {
        {"video/h264", KVS_KIND_H264},        {"video/h265", KVS_KIND_H265},   {"audio/aac", KVS_KIND_AAC},
        {"audio/alaw", KVS_KIND_G711},        {"audio/mulaw", KVS_KIND_G711},  {"video/x-matroska", KVS_KIND_VIDEO},
        {"audio/x-matroska", KVS_KIND_AUDIO},
    };
    for (size_t index = 0; index < sizeof(KINDS) / sizeof(KINDS[0]); index++) {
        const int is_same = strlen(KINDS[index].token) == size && memcmp(KINDS[index].token, token, size) == 0;
        if (is_same) return KINDS[index].kind;
    }
    return KVS_KIND_UNKNOWN;
}

uint32_t kvs_kinds_of(const char *content_type)
{
    uint32_t kinds = 0;
    if (content_type == NULL || *content_type == '\0') return 0;
    for (const char *token = content_type;; token++) {
        const size_t size = strcspn(token, ",");
        kinds |= kind_of(token, size);
        token += size;
        if (*token == '\0') return kinds;
    }
}

/* ---- by kind and track */

/* The one kind that decides for this track: KVS_KIND_VIDEO stands for VfW, 0 for none. */
static uint32_t kind_of_track(const struct kvs_cpd_format *format)
{
    if (format->track_type == KVS_TRACK_VIDEO) {
        const int is_hevc = format->codec_id != NULL && strcmp(format->codec_id, HEVC_CODEC_ID) == 0;
        if (is_hevc && (format->kinds & KVS_KIND_H265) != 0) return KVS_KIND_H265; /* beside one of H.264 */
        if ((format->kinds & KVS_KIND_H264) != 0) return KVS_KIND_H264;
        if ((format->kinds & KVS_KIND_H265) != 0) return KVS_KIND_H265;
        const int is_fourcc = format->codec_id != NULL && strcmp(format->codec_id, FOURCC_CODEC_ID) == 0;
        return is_fourcc ? format->kinds & KVS_KIND_VIDEO : 0;
    }
    if (format->track_type != KVS_TRACK_AUDIO) return 0;
    return (format->kinds & KVS_KIND_AAC) != 0 ? KVS_KIND_AAC : format->kinds & KVS_KIND_G711;
}

uint32_t kvs_cpd_nal_kind(const struct kvs_cpd_format *format)
{
    const uint32_t kind = kind_of_track(format);
    return kind == KVS_KIND_H264 || kind == KVS_KIND_H265 ? kind : 0;
}

int kvs_cpd_is_in_frames(const struct kvs_cpd_format *format)
{
    return kvs_cpd_nal_kind(format) != 0 && (format->nal_flags & KVS_NAL_ANNEXB_TO_AVCC) != 0;
}

kvs_status kvs_cpd_adapt(const struct kvs_cpd_format *format, const uint8_t *in, uint32_t in_size,
                         uint8_t *out, uint32_t capacity, uint32_t *size_out)
{
    const uint32_t kind = kind_of_track(format);
    if ((format->nal_flags & KVS_NAL_ANNEXB_CPD) != 0 && in_size > 0) {
        if (kind == KVS_KIND_H264) return kvs_cpd_avcc_from_annexb(in, in_size, out, capacity, size_out);
        if (kind == KVS_KIND_H265) return kvs_cpd_hvcc_from_annexb(in, in_size, out, capacity, size_out);
    }
    if (out != NULL && in_size > capacity) return KVS_E_BUFFER_TOO_SMALL;
    if (out != NULL && in_size > 0) memcpy(out, in, in_size);
    *size_out = in_size;
    return KVS_OK;
}

static kvs_status describe_video(uint32_t kind, const uint8_t *cpd, uint32_t size, struct kvs_media_values *values)
{
    values->width = 0;
    values->height = 0;
    if (kind == KVS_KIND_H264) return kvs_cpd_size_h264(cpd, size, &values->width, &values->height);
    if (kind == KVS_KIND_H265) return kvs_cpd_size_h265(cpd, size, &values->width, &values->height);
    return kvs_cpd_size_bih(cpd, size, &values->width, &values->height);
}

static kvs_status describe_aac(const uint8_t *cpd, uint32_t size, struct kvs_media_values *values)
{
    struct kvs_aac aac;
    const kvs_status status = kvs_aac_parse(cpd, size, &aac);
    if (status != KVS_OK) return status;
    values->sampling_rate = aac.sampling_rate;
    values->output_sampling_rate = aac.output_sampling_rate;
    values->channels = aac.channels;
    return KVS_OK;
}

static kvs_status describe_audio(uint32_t kind, const uint8_t *cpd, uint32_t size, struct kvs_media_values *values)
{
    values->sampling_rate = 0;
    values->output_sampling_rate = 0;
    values->channels = 0;
    values->bit_depth = 0;
    if (kind == KVS_KIND_AAC) return describe_aac(cpd, size, values);
    return kind == KVS_KIND_G711 ? kvs_pcm_parse(cpd, size, values) : KVS_OK;
}

kvs_status kvs_cpd_describe(const struct kvs_cpd_format *format, const uint8_t *cpd, uint32_t size,
                            struct kvs_media_values *values)
{
    const uint32_t kind = kind_of_track(format);
    if (size == 0) return KVS_OK;
    if (format->track_type == KVS_TRACK_AUDIO) return describe_audio(kind, cpd, size, values);
    return kind == 0 ? KVS_OK : describe_video(kind, cpd, size, values);
}

/* ---- WAVEFORMATEX */

kvs_status kvs_pcm_parse(const uint8_t *cpd, uint32_t size, struct kvs_media_values *values_out)
{
    if (size < PCM_READ_MIN) return KVS_E_PCM_CPD;
    const uint32_t format = kvs_le_get_u16(cpd);
    if (format != 6 && format != 7) return KVS_E_PCM_CPD;
    values_out->channels = kvs_le_get_u16(cpd + 2);
    values_out->sampling_rate = kvs_le_get_u32(cpd + 4);
    values_out->bit_depth = kvs_le_get_u16(cpd + 14);
    return KVS_OK;
}

kvs_status kvs_pcm_generate(uint32_t format, uint32_t sampling_rate, uint32_t channels, uint8_t *out)
{
    const int is_known = format == 6 || format == 7;
    if (!is_known || channels < 1 || channels > 2) return KVS_E_INVALID_ARG;
    if (sampling_rate < 8000 || sampling_rate > 192000) return KVS_E_INVALID_ARG;
    kvs_le_put_u16(out, format);
    kvs_le_put_u16(out + 2, channels);
    kvs_le_put_u32(out + 4, sampling_rate);
    kvs_le_put_u32(out + 8, channels * sampling_rate); /* bytes per second: one byte a sample */
    kvs_le_put_u16(out + 12, channels);
    kvs_le_put_u16(out + 14, 8);
    kvs_le_put_u16(out + 16, 0);
    return KVS_OK;
}

/* ---- BITMAPINFOHEADER */

static uint32_t magnitude(uint32_t twos_complement)
{
    return twos_complement >> 31 != 0 ? 0u - twos_complement : twos_complement;
}

kvs_status kvs_cpd_size_bih(const uint8_t *cpd, uint32_t size, uint32_t *width_out, uint32_t *height_out)
{
    if (size < KVS_BIH_SIZE) return KVS_E_BIH;
    const uint32_t width = kvs_le_get_u32(cpd + 4);
    const uint32_t height = magnitude(kvs_le_get_u32(cpd + 8));
    if (width > SIDE_MAX || height > SIDE_MAX) return KVS_E_BIH;
    *width_out = width;
    *height_out = height;
    return KVS_OK;
}

kvs_status kvs_bih_generate(uint32_t width, uint32_t height, uint8_t *out)
{
    if (width == 0 || width > SIDE_MAX || height == 0 || height > SIDE_MAX) return KVS_E_INVALID_ARG;
    memset(out, 0, KVS_BIH_SIZE);
    kvs_le_put_u32(out, KVS_BIH_SIZE);
    kvs_le_put_u32(out + 4, width);
    kvs_le_put_u32(out + 8, height);
    kvs_le_put_u16(out + 12, 1);
    kvs_le_put_u16(out + 14, 24);
    memcpy(out + 16, "MJPG", 4);
    kvs_le_put_u32(out + 20, (uint32_t)((uint64_t)width * height * 3u)); /* modulo 2^32, as the field is */
    return KVS_OK;
}

/* cpd.h — codec private data: what Matroska's CodecPrivate holds per codec, recognised, converted, generated and read.
 * H.264 avcC and H.265 hvcC (ISO/IEC 14496-15), AAC AudioSpecificConfig (ISO/IEC 14496-3), G.711 WAVEFORMATEX and
 * Motion JPEG BITMAPINFOHEADER (Microsoft). Every length is checked against its own parent. Functions that give bytes
 * take `out` NULL to give the size only, write nothing on error, and never more than `capacity`. Nothing is kept. */
#ifndef KVS_MEDIA_CPD_H
#define KVS_MEDIA_CPD_H

#include "kvspic.h"

/* What a content type names; a comma-separated list unites them. Unknown tokens count for nothing. */
enum kvs_kind {
    KVS_KIND_H264 = 1, KVS_KIND_H265 = 2, KVS_KIND_AAC = 4, KVS_KIND_G711 = 8, KVS_KIND_VIDEO = 16, KVS_KIND_AUDIO = 32,
    KVS_KIND_UNKNOWN = 64 /* a token that is none of these */
};
uint32_t kvs_kinds_of(const char *content_type); /* NULL or empty: 0 */

/* Decides what the bytes of a track's codec private data mean. */
struct kvs_cpd_format {
    uint32_t kinds;       /* enum kvs_kind, of the stream */
    uint32_t track_type;  /* enum kvs_track_type */
    uint32_t nal_flags;   /* enum kvs_nal_flag */
    const char *codec_id; /* NULL: none */
};

enum kvs_cpd_form {
    KVS_CPD_UNKNOWN = 0, KVS_CPD_ANNEXB = 1, KVS_CPD_AVCC = 2, KVS_CPD_HVCC = 3,
    KVS_CPD_H265_ARRAYS = 4, /* the arrays of an hvcC without its 23 bytes */
    KVS_CPD_SPS = 5          /* a bare H.264 SPS NAL */
};
/* What is this? `kind` is KVS_KIND_H264 or KVS_KIND_H265. A valid record to its last needed byte, or UNKNOWN. */
enum kvs_cpd_form kvs_cpd_form_of(uint32_t kind, const uint8_t *cpd, uint32_t size);

/* Codec private data as a track gives it -> as it goes into the header. With KVS_NAL_ANNEXB_CPD, H.264 and H.265 video
 * in Annex B becomes avcC or hvcC; everything else (also a record that is one already) is copied unchanged.
 *   KVS_E_BUFFER_TOO_SMALL, KVS_E_CPD_TOO_SHORT, KVS_E_MISSING_SPS, KVS_E_MISSING_PPS, KVS_E_MISSING_NALUS,
 *   KVS_E_ANNEXB_FRAME, KVS_E_ANNEXB_CPD, and those of sps.h */
kvs_status kvs_cpd_adapt(const struct kvs_cpd_format *format, const uint8_t *in, uint32_t in_size,
                         uint8_t *out, uint32_t capacity, uint32_t *size_out);

/* The media values of a track; before the call those that the application gave, after it those in force. */
struct kvs_media_values {
    uint32_t width, height;
    double sampling_rate;
    double output_sampling_rate; /* HE-AAC with explicit SBR; else 0 */
    uint32_t channels, bit_depth;
};
/* Reads them out of codec private data in any form. Kinds without a reader leave video values alone and set the
 * sampling rate to 0 (no Audio element). size 0 leaves everything alone.
 *   KVS_OK, or why the data could not be read: the values are 0 then, and the track is usable all the same. */
kvs_status kvs_cpd_describe(const struct kvs_cpd_format *format, const uint8_t *cpd, uint32_t size,
                            struct kvs_media_values *values);

/* KVS_KIND_H264 or KVS_KIND_H265 for a video track of these, else 0. */
uint32_t kvs_cpd_nal_kind(const struct kvs_cpd_format *format);
/* Whether kvs_cpd_from_frame can have a result: video, H.264 or H.265, KVS_NAL_ANNEXB_TO_AVCC. */
int kvs_cpd_is_in_frames(const struct kvs_cpd_format *format);
/* The parameter sets of a key frame (Annex B) before its first IDR, CRA or BLA slice, as avcC or hvcC. When the frame
 * holds none the answer is KVS_OK and size 0.
 *   KVS_E_BUFFER_TOO_SMALL, or why they could not be converted: no codec private data then */
kvs_status kvs_cpd_from_frame(const struct kvs_cpd_format *format, const uint8_t *frame, uint32_t frame_size,
                              uint8_t *out, uint32_t capacity, uint32_t *size_out);

/* Annex B parameter sets -> avcC, hvcC. */
kvs_status kvs_cpd_avcc_from_annexb(const uint8_t *in, uint32_t in_size, uint8_t *out, uint32_t capacity,
                                    uint32_t *size_out);
kvs_status kvs_cpd_hvcc_from_annexb(const uint8_t *in, uint32_t in_size, uint8_t *out, uint32_t capacity,
                                    uint32_t *size_out);

/* Picture size out of codec private data in any form. */
kvs_status kvs_cpd_size_h264(const uint8_t *cpd, uint32_t size, uint32_t *width_out, uint32_t *height_out);
kvs_status kvs_cpd_size_h265(const uint8_t *cpd, uint32_t size, uint32_t *width_out, uint32_t *height_out);
/* Height is absolute: negative means top-down rows.   KVS_E_BIH  short, or a side is above 65535 */
kvs_status kvs_cpd_size_bih(const uint8_t *cpd, uint32_t size, uint32_t *width_out, uint32_t *height_out);

/* AAC.   KVS_E_AAC_CPD (short), KVS_E_AAC_CHANNELS, KVS_E_AAC_FREQUENCY */
struct kvs_aac {
    uint32_t object_type;   /* of the core: 2 is LC */
    uint32_t sampling_rate; /* of the core */
    uint32_t output_sampling_rate; /* 0: no SBR signalled */
    uint32_t channels;      /* 0: a program config element in band says */
};
kvs_status kvs_aac_parse(const uint8_t *cpd, uint32_t size, struct kvs_aac *aac_out);
/* Two bytes.   KVS_E_INVALID_ARG  object type 1 to 30, configuration 1 to 7, rate in the table */
kvs_status kvs_aac_generate(uint32_t object_type, uint32_t sampling_rate, uint32_t channel_config, uint8_t out[2]);

/* G.711.   KVS_E_PCM_CPD  shorter than 16 bytes, or not A-law (6) or mu-law (7) */
kvs_status kvs_pcm_parse(const uint8_t *cpd, uint32_t size, struct kvs_media_values *values_out);
#define KVS_PCM_CPD_SIZE 18u
/* KVS_PCM_CPD_SIZE bytes.   KVS_E_INVALID_ARG  format 6 or 7, rate 8000 to 192000, channels 1 or 2 */
kvs_status kvs_pcm_generate(uint32_t format, uint32_t sampling_rate, uint32_t channels, uint8_t *out);

#define KVS_BIH_SIZE 40u
/* KVS_BIH_SIZE bytes for Motion JPEG.   KVS_E_INVALID_ARG  a side is 0 or above 65535 */
kvs_status kvs_bih_generate(uint32_t width, uint32_t height, uint8_t *out);

#endif

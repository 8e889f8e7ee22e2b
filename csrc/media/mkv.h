/* mkv.h — the Matroska elements (RFC 9559) of a PutMedia body: header, cluster, simple block, tags. Bytes only: which
 * part comes when is generator.h's matter. One session is one endless document:
 *   EBML head, Segment (unknown size), Info, Tracks, then Clusters (unknown size) and Tags in any number.
 * A Tags element ends the running Cluster: a simple block after it needs a new Cluster first.
 * Sizes: write functions fill exactly the bytes that the size function or constant says and check nothing; what they
 * are given has passed the _check functions. Nothing is kept: all pointers are read during the call only. */
#ifndef KVS_MEDIA_MKV_H
#define KVS_MEDIA_MKV_H

#include "base/be.h"
#include "kvspic.h"

#define KVS_MKV_UUID_SIZE 16u
#define KVS_MKV_CODEC_ID_MAX 32u
#define KVS_MKV_TRACK_NAME_MAX 32u
#define KVS_MKV_CPD_MAX (1024u * 1024u)
#define KVS_MKV_CLIENT_ID_MAX 64u
#define KVS_MKV_SCALE_MAX_HNS KVS_HNS_PER_SECOND

#define KVS_MKV_CLUSTER_SIZE 18u
#define KVS_MKV_CLUSTER_TIMECODE_OFFSET 7u /* u64 big-endian */
#define KVS_MKV_BLOCK_SIZE 13u             /* what precedes the payload of a simple block */
#define KVS_MKV_BLOCK_TIME_MAX 32767
#define KVS_MKV_BLOCK_TIME_OFFSET 10u     /* of its two bytes */
#define KVS_MKV_BLOCK_TIME_MIN (-32768)
#define KVS_MKV_END_TAG_SIZE 84u
#define KVS_MKV_END_TAG_NAME "AWS_KINESISVIDEO_END_OF_FRAGMENT"
#define KVS_MKV_NOTIFICATION_NAME "AWS_KINESISVIDEO_NOTIFICATION"
#define KVS_MKV_IMAGE_NAME "AWS_KINESISVIDEO_IMAGE_GENERATION"
#define KVS_MKV_IMAGE_PREFIX_NAME "AWS_KINESISVIDEO_IMAGE_PREFIX"
#define KVS_MKV_TAG_NAME_MAX 128u
#define KVS_MKV_TAG_VALUE_MAX 256u
#define KVS_MKV_SEGMENT_OFFSET 40u       /* of the Segment element in a header */
#define KVS_MKV_SEGMENT_UUID_OFFSET 54u  /* of the 16 bytes in a header */

/* A track as it stands in the header: media values are those in force (kvs_cpd_describe). */
struct kvs_mkv_track {
    uint64_t id;                 /* TrackUID */
    uint32_t type;               /* enum kvs_track_type */
    uint32_t cpd_size;           /* 0: no CodecPrivate */
    const char *codec_id;        /* NULL or empty: no element */
    const char *name;            /* NULL or empty: no element */
    const uint8_t *cpd;
    double sampling_rate;        /* audio; 0: no Audio element */
    double output_sampling_rate; /* audio; 0: none (set for HE-AAC only) */
    uint32_t width, height;      /* video; width 0: no Video element */
    uint32_t channels, bit_depth; /* audio; bit depth 0: no element */
};

struct kvs_mkv_header {
    const uint8_t *segment_uuid; /* 16 bytes; NULL: sixteen 55 */
    uint64_t timecode_scale_hns; /* 1 to KVS_MKV_SCALE_MAX_HNS */
    const char *client_id;       /* NULL or empty: none; follows the version in MuxingApp and WritingApp */
    const struct kvs_mkv_track *tracks;
    uint32_t track_count;
    uint32_t track_mask; /* bit n: announce tracks[n]; its number is n + 1 whatever the mask leaves out */
};

/*   KVS_E_TRACK_UID, KVS_E_CODEC_ID_SIZE, KVS_E_TRACK_NAME_SIZE, KVS_E_CPD_SIZE, KVS_E_CPD_NULL */
kvs_status kvs_mkv_track_check(const struct kvs_mkv_track *track);
/* The header's own fields and each of its tracks.
 *   KVS_E_TIMECODE_SCALE, KVS_E_SEGMENT_UUID (all zero), KVS_E_CLIENT_ID_SIZE, and those of kvs_mkv_track_check */
kvs_status kvs_mkv_header_check(const struct kvs_mkv_header *header);

/* EBML head, Segment, Info, Tracks: everything before the first Tags or Cluster. */
uint32_t kvs_mkv_header_size(const struct kvs_mkv_header *header);
/* Fills kvs_mkv_header_size bytes; returns that size. */
uint32_t kvs_mkv_header_write(const struct kvs_mkv_header *header, uint8_t *out);

/* 18 bytes: Cluster, Timestamp, Position 0. */
void kvs_mkv_cluster_write(uint8_t *out, uint64_t timecode);
/* 13 bytes: everything of a SimpleBlock but its payload. frame_flags: enum kvs_frame_flag. Track number 1 to 126. */
void kvs_mkv_block_write(uint8_t *out, uint32_t track_number, int32_t relative_timecode, uint32_t frame_flags,
                         uint64_t payload_size);
/* The same without a look at the numbers, for the way of every frame. */
static inline void kvs_mkv_block_put(uint8_t *out, uint32_t track_number, int32_t relative_timecode,
                                     uint32_t frame_flags, uint64_t payload_size)
{
    kvs_be_put_u64(out + 1, (payload_size + 4u) | UINT64_C(1) << 56);
    out[0] = 0xA3; /* SimpleBlock */
    out[9] = (uint8_t)(0x80u | track_number);
    kvs_be_put_u16(out + KVS_MKV_BLOCK_TIME_OFFSET, (uint32_t)relative_timecode & 0xFFFFu);
    out[12] = (uint8_t)((frame_flags & KVS_FRAME_KEY ? 0x80u : 0u) | (frame_flags & KVS_FRAME_INVISIBLE ? 0x08u : 0u) |
                        (frame_flags & KVS_FRAME_DISCARDABLE ? 0x01u : 0u));
}

/* A name and value; UTF-8, not NUL-terminated. */
struct kvs_mkv_tag {
    const char *name;
    const char *value;
    uint32_t name_size;  /* 1 to 128 */
    uint32_t value_size; /* 0 to 256 */
};
enum kvs_mkv_parent { KVS_MKV_PARENT_TAGS = 0, KVS_MKV_PARENT_TAG = 1, KVS_MKV_PARENT_SIMPLE = 2 };

/* From NUL-terminated texts; NULL is the empty text. */
struct kvs_mkv_tag kvs_mkv_tag_of(const char *name, const char *value);
/*   KVS_E_TAG_NAME_SIZE, KVS_E_TAG_VALUE_SIZE */
kvs_status kvs_mkv_tag_check(const struct kvs_mkv_tag *tag);

/* One Tags element with one Tag that holds a SimpleTag per pair, count 1 or more. One pair: fragment metadata; several:
 * an event (its reserved name with an empty value, the prefix if any, the pairs). */
uint32_t kvs_mkv_tags_size(const struct kvs_mkv_tag *tags, uint32_t count);
uint32_t kvs_mkv_tags_write(const struct kvs_mkv_tag *tags, uint32_t count, uint8_t *out); /* returns the size */
/* The same without the outer element(s) that the parent says.   KVS_E_TAG_PARENT is not checked here. */
uint32_t kvs_mkv_tag_chain_size(enum kvs_mkv_parent parent, const struct kvs_mkv_tag *tags, uint32_t count);
uint32_t kvs_mkv_tag_chain_write(enum kvs_mkv_parent parent, const struct kvs_mkv_tag *tags, uint32_t count,
                                 uint8_t *out);
/* KVS_MKV_END_TAG_SIZE bytes: reports to the service that the fragment is complete. */
void kvs_mkv_end_tag_write(uint8_t *out);

#endif

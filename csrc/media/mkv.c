/* mkv.c — Matroska elements; mkv.h describes the layout of a session. Element ids are those of RFC 9559.
 *
 * The service and players read any legal width of a size. Ours are fixed per element, so that sizes are known before
 * content is written: 1 byte in the EBML head and for numbers, 2 for Info, 4 for Tracks and what is in it, 8 for blocks
 * and tags, shortest for texts and codec private data. */
#include "media/mkv.h"

#include <string.h>

#include "base/be.h"
#include "base/check.h"
#include "base/version.h"
#include "media/ebml.h"

enum {
    ID_EBML = 0x1A45DFA3, ID_EBML_VERSION = 0x4286, ID_EBML_READ_VERSION = 0x42F7, ID_MAX_ID = 0x42F2,
    ID_MAX_SIZE = 0x42F3, ID_DOC_TYPE = 0x4282, ID_DOC_VERSION = 0x4287, ID_DOC_READ_VERSION = 0x4285,
    ID_SEGMENT = 0x18538067, ID_INFO = 0x1549A966, ID_SEGMENT_UUID = 0x73A4, ID_TIMESTAMP_SCALE = 0x2AD7B1,
    ID_TITLE = 0x7BA9, ID_MUXING_APP = 0x4D80, ID_WRITING_APP = 0x5741,
    ID_TRACKS = 0x1654AE6B, ID_TRACK_ENTRY = 0xAE, ID_TRACK_NUMBER = 0xD7, ID_TRACK_UID = 0x73C5, ID_TRACK_TYPE = 0x83,
    ID_NAME = 0x536E, ID_CODEC_ID = 0x86, ID_CODEC_PRIVATE = 0x63A2, ID_VIDEO = 0xE0, ID_PIXEL_WIDTH = 0xB0,
    ID_PIXEL_HEIGHT = 0xBA, ID_AUDIO = 0xE1, ID_SAMPLING = 0xB5, ID_OUTPUT_SAMPLING = 0x78B5, ID_CHANNELS = 0x9F,
    ID_BIT_DEPTH = 0x6264, ID_CLUSTER = 0x1F43B675, ID_TIMESTAMP = 0xE7, ID_POSITION = 0xA7,
    ID_TAGS = 0x1254C367, ID_TAG = 0x7373, ID_SIMPLE_TAG = 0x67C8, ID_TAG_NAME = 0x45A3, ID_TAG_STRING = 0x4487
};

#define APP_NAME "kvspic"
#define EBML_BODY_SIZE 35u
#define TAG_HEAD_SIZE 10u /* a two-byte id and an eight-byte size */
#define TAGS_HEAD_SIZE 12u

static uint32_t text_size(const char *text)
{
    return text == NULL ? 0u : (uint32_t)strlen(text);
}

/* Whether the text has at most `max` bytes, reading no further than that. */
static int is_text_within(const char *text, uint32_t max)
{
    return text == NULL || memchr(text, '\0', (size_t)max + 1u) != NULL;
}

/* ---- checks */

kvs_status kvs_mkv_track_check(const struct kvs_mkv_track *track)
{
    if (track->id == 0) return KVS_E_TRACK_UID;
    if (!is_text_within(track->codec_id, KVS_MKV_CODEC_ID_MAX)) return KVS_E_CODEC_ID_SIZE;
    if (!is_text_within(track->name, KVS_MKV_TRACK_NAME_MAX)) return KVS_E_TRACK_NAME_SIZE;
    if (track->cpd_size > KVS_MKV_CPD_MAX) return KVS_E_CPD_SIZE;
    return track->cpd_size > 0 && track->cpd == NULL ? KVS_E_CPD_NULL : KVS_OK;
}

static kvs_status check_uuid(const uint8_t *uuid)
{
    static const uint8_t NONE[KVS_MKV_UUID_SIZE];
    return uuid != NULL && memcmp(uuid, NONE, sizeof(NONE)) == 0 ? KVS_E_SEGMENT_UUID : KVS_OK;
}

kvs_status kvs_mkv_header_check(const struct kvs_mkv_header *header)
{
    const uint64_t scale = header->timecode_scale_hns;
    if (scale < 1 || scale > KVS_MKV_SCALE_MAX_HNS) return KVS_E_TIMECODE_SCALE;
    if (!is_text_within(header->client_id, KVS_MKV_CLIENT_ID_MAX)) return KVS_E_CLIENT_ID_SIZE;
    kvs_status status = check_uuid(header->segment_uuid);
    for (uint32_t index = 0; status == KVS_OK && index < header->track_count; index++) {
        status = kvs_mkv_track_check(&header->tracks[index]);
    }
    return status;
}

/* ---- header: each part writes itself; with a counting writer it finds its size */

static void write_ebml_head(struct kvs_writer *writer)
{
    kvs_ebml_write_head(writer, ID_EBML, EBML_BODY_SIZE, 1);
    kvs_ebml_write_uint(writer, ID_EBML_VERSION, 1, 1);
    kvs_ebml_write_uint(writer, ID_EBML_READ_VERSION, 1, 1);
    kvs_ebml_write_uint(writer, ID_MAX_ID, 4, 1);
    kvs_ebml_write_uint(writer, ID_MAX_SIZE, 8, 1);
    kvs_ebml_write_bytes(writer, ID_DOC_TYPE, "matroska", 8, 1);
    kvs_ebml_write_uint(writer, ID_DOC_VERSION, 2, 1);
    kvs_ebml_write_uint(writer, ID_DOC_READ_VERSION, 2, 1);
    kvs_ebml_write_id(writer, ID_SEGMENT);
    kvs_writer_u8(writer, KVS_EBML_UNKNOWN);
}

static void write_app(struct kvs_writer *writer, uint32_t id, const char *client_id)
{
    static const char NAME[] = APP_NAME " " KVS_VERSION;
    const uint32_t name_size = (uint32_t)sizeof(NAME) - 1u;
    const uint32_t client_size = text_size(client_id);
    const uint32_t size = name_size + (client_size > 0 ? 1u + client_size : 0u);
    kvs_ebml_write_head(writer, id, size, 1);
    kvs_writer_bytes(writer, NAME, name_size);
    if (client_size == 0) return;
    kvs_writer_u8(writer, ' ');
    kvs_writer_bytes(writer, client_id, client_size);
}

static void write_info_body(struct kvs_writer *writer, const struct kvs_mkv_header *header)
{
    kvs_ebml_write_head(writer, ID_SEGMENT_UUID, KVS_MKV_UUID_SIZE, 1);
    if (header->segment_uuid != NULL) kvs_writer_bytes(writer, header->segment_uuid, KVS_MKV_UUID_SIZE);
    else kvs_writer_fill(writer, 0x55, KVS_MKV_UUID_SIZE);
    kvs_ebml_write_uint(writer, ID_TIMESTAMP_SCALE, header->timecode_scale_hns * 100u, 8);
    kvs_ebml_write_bytes(writer, ID_TITLE, APP_NAME, sizeof(APP_NAME) - 1u, 1);
    write_app(writer, ID_MUXING_APP, header->client_id);
    write_app(writer, ID_WRITING_APP, header->client_id);
}

static uint32_t bytes_of(uint32_t value)
{
    return value > 0xFFFFu ? 4u : value > 0xFFu ? 2u : 1u;
}

static void write_video(struct kvs_writer *writer, const struct kvs_mkv_track *track)
{
    if (track->type != KVS_TRACK_VIDEO || track->width == 0) return;
    KVS_CHECK(track->width <= 0xFFFFu && track->height <= 0xFFFFu);
    kvs_ebml_write_head(writer, ID_VIDEO, 8, 4);
    kvs_ebml_write_uint(writer, ID_PIXEL_WIDTH, track->width, 2);
    kvs_ebml_write_uint(writer, ID_PIXEL_HEIGHT, track->height, 2);
}

static void write_audio_body(struct kvs_writer *writer, const struct kvs_mkv_track *track)
{
    kvs_ebml_write_double(writer, ID_SAMPLING, track->sampling_rate);
    if (track->output_sampling_rate > 0) kvs_ebml_write_double(writer, ID_OUTPUT_SAMPLING, track->output_sampling_rate);
    kvs_ebml_write_uint(writer, ID_CHANNELS, track->channels, bytes_of(track->channels));
    if (track->bit_depth > 0) kvs_ebml_write_uint(writer, ID_BIT_DEPTH, track->bit_depth, bytes_of(track->bit_depth));
}

static void write_audio(struct kvs_writer *writer, const struct kvs_mkv_track *track)
{
    if (track->type != KVS_TRACK_AUDIO || !(track->sampling_rate > 0)) return;
    struct kvs_writer counter;
    kvs_writer_init(&counter, NULL, SIZE_MAX);
    write_audio_body(&counter, track);
    kvs_ebml_write_head(writer, ID_AUDIO, counter.size, 4);
    write_audio_body(writer, track);
}

static void write_text(struct kvs_writer *writer, uint32_t id, const char *text)
{
    if (text_size(text) > 0) kvs_ebml_write_bytes(writer, id, text, text_size(text), 0);
}

static void write_track_body(struct kvs_writer *writer, const struct kvs_mkv_track *track, uint32_t number)
{
    kvs_ebml_write_uint(writer, ID_TRACK_NUMBER, number, 1);
    kvs_ebml_write_uint(writer, ID_TRACK_UID, track->id, 8);
    kvs_ebml_write_uint(writer, ID_TRACK_TYPE, track->type, 1);
    write_text(writer, ID_NAME, track->name);
    write_text(writer, ID_CODEC_ID, track->codec_id);
    write_video(writer, track);
    write_audio(writer, track);
    if (track->cpd_size > 0) kvs_ebml_write_bytes(writer, ID_CODEC_PRIVATE, track->cpd, track->cpd_size, 0);
}

static void write_tracks_body(struct kvs_writer *writer, const struct kvs_mkv_header *header)
{
    for (uint32_t index = 0; index < header->track_count && index < 32; index++) {
        if ((header->track_mask >> index & 1u) == 0) continue;
        struct kvs_writer counter;
        kvs_writer_init(&counter, NULL, SIZE_MAX);
        write_track_body(&counter, &header->tracks[index], index + 1u);
        kvs_ebml_write_head(writer, ID_TRACK_ENTRY, counter.size, 4);
        write_track_body(writer, &header->tracks[index], index + 1u);
    }
}

typedef void body_fn(struct kvs_writer *writer, const struct kvs_mkv_header *header);

static void write_part(struct kvs_writer *writer, uint32_t id, uint32_t width, body_fn *body,
                       const struct kvs_mkv_header *header)
{
    struct kvs_writer counter;
    kvs_writer_init(&counter, NULL, SIZE_MAX);
    body(&counter, header);
    kvs_ebml_write_head(writer, id, counter.size, width);
    body(writer, header);
}

static void write_header(struct kvs_writer *writer, const struct kvs_mkv_header *header)
{
    write_ebml_head(writer);
    write_part(writer, ID_INFO, 2, write_info_body, header);
    write_part(writer, ID_TRACKS, 4, write_tracks_body, header);
    KVS_CHECK(!writer->failed);
}

uint32_t kvs_mkv_header_size(const struct kvs_mkv_header *header)
{
    struct kvs_writer counter;
    kvs_writer_init(&counter, NULL, UINT32_MAX);
    write_header(&counter, header);
    return (uint32_t)counter.size;
}

uint32_t kvs_mkv_header_write(const struct kvs_mkv_header *header, uint8_t *out)
{
    struct kvs_writer writer;
    kvs_writer_init(&writer, out, UINT32_MAX);
    write_header(&writer, header);
    return (uint32_t)writer.size;
}

/* ---- cluster and simple block: on the path of every frame, so written at fixed places */

void kvs_mkv_cluster_write(uint8_t *out, uint64_t timecode)
{
    kvs_be_put_u32(out, ID_CLUSTER);
    out[4] = KVS_EBML_UNKNOWN;
    out[5] = ID_TIMESTAMP;
    out[6] = 0x88;
    kvs_be_put_u64(out + KVS_MKV_CLUSTER_TIMECODE_OFFSET, timecode);
    out[15] = ID_POSITION;
    out[16] = 0x81;
    out[17] = 0; /* the value for live streams */
}

void kvs_mkv_block_write(uint8_t *out, uint32_t track_number, int32_t relative_timecode, uint32_t frame_flags,
                         uint64_t payload_size)
{
    KVS_CHECK(track_number >= 1 && track_number <= 126);
    KVS_CHECK(relative_timecode >= KVS_MKV_BLOCK_TIME_MIN && relative_timecode <= KVS_MKV_BLOCK_TIME_MAX);
    KVS_CHECK(payload_size <= KVS_EBML_SIZE_MAX - 4u);
    kvs_mkv_block_put(out, track_number, relative_timecode, frame_flags, payload_size);
}

/* ---- tags */

struct kvs_mkv_tag kvs_mkv_tag_of(const char *name, const char *value)
{
    return (struct kvs_mkv_tag){name, value, text_size(name), text_size(value)};
}

kvs_status kvs_mkv_tag_check(const struct kvs_mkv_tag *tag)
{
    if (tag->name == NULL || tag->name_size == 0 || tag->name_size > KVS_MKV_TAG_NAME_MAX) return KVS_E_TAG_NAME_SIZE;
    if (tag->value_size > KVS_MKV_TAG_VALUE_MAX) return KVS_E_TAG_VALUE_SIZE;
    return tag->value == NULL && tag->value_size > 0 ? KVS_E_TAG_VALUE_SIZE : KVS_OK;
}

static uint32_t simple_tags_size(const struct kvs_mkv_tag *tags, uint32_t count)
{
    uint32_t size = 0;
    for (uint32_t index = 0; index < count; index++) {
        size += 3u * TAG_HEAD_SIZE + tags[index].name_size + tags[index].value_size;
    }
    return size;
}

uint32_t kvs_mkv_tag_chain_size(enum kvs_mkv_parent parent, const struct kvs_mkv_tag *tags, uint32_t count)
{
    const uint32_t size = simple_tags_size(tags, count);
    if (parent == KVS_MKV_PARENT_SIMPLE) return size;
    return size + TAG_HEAD_SIZE + (parent == KVS_MKV_PARENT_TAGS ? TAGS_HEAD_SIZE : 0u);
}

uint32_t kvs_mkv_tag_chain_write(enum kvs_mkv_parent parent, const struct kvs_mkv_tag *tags, uint32_t count,
                                 uint8_t *out)
{
    const uint32_t size = simple_tags_size(tags, count);
    struct kvs_writer writer;
    kvs_writer_init(&writer, out, kvs_mkv_tag_chain_size(parent, tags, count));
    if (parent == KVS_MKV_PARENT_TAGS) kvs_ebml_write_head(&writer, ID_TAGS, TAG_HEAD_SIZE + size, 8);
    if (parent != KVS_MKV_PARENT_SIMPLE) kvs_ebml_write_head(&writer, ID_TAG, size, 8);
    for (uint32_t index = 0; index < count; index++) {
        kvs_ebml_write_head(&writer, ID_SIMPLE_TAG, simple_tags_size(&tags[index], 1) - TAG_HEAD_SIZE, 8);
        kvs_ebml_write_bytes(&writer, ID_TAG_NAME, tags[index].name, tags[index].name_size, 8);
        kvs_ebml_write_bytes(&writer, ID_TAG_STRING, tags[index].value, tags[index].value_size, 8);
    }
    KVS_CHECK(!writer.failed && writer.size == writer.capacity);
    return (uint32_t)writer.size;
}

uint32_t kvs_mkv_tags_size(const struct kvs_mkv_tag *tags, uint32_t count)
{
    return kvs_mkv_tag_chain_size(KVS_MKV_PARENT_TAGS, tags, count);
}

uint32_t kvs_mkv_tags_write(const struct kvs_mkv_tag *tags, uint32_t count, uint8_t *out)
{
    return kvs_mkv_tag_chain_write(KVS_MKV_PARENT_TAGS, tags, count, out);
}

void kvs_mkv_end_tag_write(uint8_t *out)
{
    const struct kvs_mkv_tag tag = kvs_mkv_tag_of(KVS_MKV_END_TAG_NAME, "");
    const uint32_t size = kvs_mkv_tags_write(&tag, 1, out);
    KVS_CHECK(size == KVS_MKV_END_TAG_SIZE);
}

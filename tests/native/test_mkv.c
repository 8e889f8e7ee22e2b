/* media/ebml, media/mkv: sizes said before equal sizes written, at every boundary of their width; limits by name. */
#include "base/be.h"
#include "check.h"
#include "media/ebml.h"
#include "media/mkv.h"

static uint8_t out[1u << 21];

static void test_ebml_sizes(void)
{
    for (uint32_t width = 1; width <= 8; width++) {
        const uint64_t most = (UINT64_C(1) << (7 * width)) - 2;
        uint8_t bytes[8];
        CHECK_EQ(kvs_ebml_size_width(most), width);
        CHECK_EQ(kvs_ebml_size_width(most + 1), width == 8 ? 0 : width + 1);
        CHECK_EQ(kvs_ebml_encode_size(most, bytes), width);
        CHECK_EQ(bytes[0] >> (8 - width), 1); /* the marker */
    }
    uint8_t bytes[8];
    CHECK_EQ(kvs_ebml_encode_size(KVS_EBML_SIZE_MAX + 1, bytes), KVS_E_NUMBER_TOO_BIG);
    CHECK_EQ(kvs_ebml_encode_size(UINT64_MAX, bytes), KVS_E_NUMBER_TOO_BIG);
    kvs_ebml_size_put(bytes, 5, 8);
    CHECK(memcmp(bytes, "\x01\0\0\0\0\0\0\x05", 8) == 0);
}

static struct kvs_mkv_track video_track(void)
{
    return (struct kvs_mkv_track){.id = 1, .type = KVS_TRACK_VIDEO, .codec_id = "V_TEST", .name = "trk"};
}

static uint32_t header_size(const struct kvs_mkv_header *header)
{
    const uint32_t size = kvs_mkv_header_size(header);
    memset(out, 0xEE, size + 1);
    CHECK_EQ(kvs_mkv_header_write(header, out), size);
    CHECK_EQ(out[size], 0xEE);
    return size;
}

static void test_header_places(void)
{
    const struct kvs_mkv_track track = video_track();
    struct kvs_mkv_header header = {.timecode_scale_hns = 10000, .tracks = &track, .track_count = 1, .track_mask = 1};
    const uint32_t size = header_size(&header);
    CHECK_EQ(kvs_be_get_u32(out), 0x1A45DFA3);
    CHECK_EQ(kvs_be_get_u32(out + KVS_MKV_SEGMENT_OFFSET), 0x18538067);
    CHECK_EQ(out[KVS_MKV_SEGMENT_UUID_OFFSET], 0x55);
    CHECK_EQ(out[KVS_MKV_SEGMENT_UUID_OFFSET + 15], 0x55);
    CHECK(kvs_be_get_u64(out + 74) == 1000000);
    CHECK_EQ(kvs_be_get_u32(out + size - 36 - 8), 0x1654AE6B); /* Tracks, then one entry of 36 bytes */
    header.client_id = "cam-1";
    CHECK_EQ(header_size(&header), size + 2 * 6);
}

static void test_cpd_sizes(void)
{
    static uint8_t cpd[KVS_MKV_CPD_MAX];
    static const uint32_t SIZES[] = {1, 126, 127, 16382, 16383, KVS_MKV_CPD_MAX};
    struct kvs_mkv_track track = video_track();
    const struct kvs_mkv_header header = {.timecode_scale_hns = 1, .tracks = &track, .track_count = 1, .track_mask = 1};
    const uint32_t bare = header_size(&header);
    track.cpd = cpd;
    for (size_t index = 0; index < sizeof(SIZES) / sizeof(SIZES[0]); index++) {
        track.cpd_size = SIZES[index];
        CHECK_EQ(header_size(&header), bare + 2 + kvs_ebml_size_width(SIZES[index]) + SIZES[index]);
    }
}

static void test_media_elements(void)
{
    struct kvs_mkv_track track = video_track();
    const struct kvs_mkv_header header = {.timecode_scale_hns = 1, .tracks = &track, .track_count = 1, .track_mask = 1};
    const uint32_t bare = header_size(&header);
    track.width = 65535;
    track.height = 1;
    CHECK_EQ(header_size(&header), bare + 13);
    track.type = KVS_TRACK_AUDIO;
    CHECK_EQ(header_size(&header), bare);
    track.sampling_rate = 24000;
    CHECK_EQ(header_size(&header), bare + 18);
    track.bit_depth = 8;
    CHECK_EQ(header_size(&header), bare + 22);
    track.output_sampling_rate = 48000;
    CHECK_EQ(header_size(&header), bare + 33);
}

/* Leaving a track out must not renumber the others: their blocks carry the numbers. */
static void test_mask_keeps_numbers(void)
{
    const struct kvs_mkv_track tracks[2] = {video_track(), video_track()};
    struct kvs_mkv_header header = {.timecode_scale_hns = 1, .tracks = tracks, .track_count = 2, .track_mask = 3};
    const uint32_t both = header_size(&header);
    header.track_mask = 2;
    const uint32_t second = header_size(&header);
    CHECK_EQ(both - second, 36);
    CHECK_EQ(out[second - 36], 0xAE);
    CHECK_EQ(out[second - 36 + 7], 2);
    header.track_mask = 0;
    CHECK_EQ(header_size(&header), both - 72);
}

static void test_header_limits(void)
{
    static const uint8_t ZEROS[16] = {0};
    char text[67];
    memset(text, 'c', sizeof(text));
    text[33] = '\0';
    struct kvs_mkv_track track = video_track();
    struct kvs_mkv_header header = {.timecode_scale_hns = 1, .tracks = &track, .track_count = 1, .track_mask = 1};
    CHECK_EQ(kvs_mkv_header_check(&header), KVS_OK);
    track.name = text;
    CHECK_EQ(kvs_mkv_header_check(&header), KVS_E_TRACK_NAME_SIZE);
    track.codec_id = text;
    CHECK_EQ(kvs_mkv_header_check(&header), KVS_E_CODEC_ID_SIZE);
    track.id = 0;
    CHECK_EQ(kvs_mkv_header_check(&header), KVS_E_TRACK_UID);
    track = video_track();
    track.name = text + 1;
    CHECK_EQ(kvs_mkv_header_check(&header), KVS_OK);
    track.cpd_size = 1;
    CHECK_EQ(kvs_mkv_header_check(&header), KVS_E_CPD_NULL);
    track.cpd_size = KVS_MKV_CPD_MAX + 1;
    CHECK_EQ(kvs_mkv_header_check(&header), KVS_E_CPD_SIZE);
    header.segment_uuid = ZEROS;
    CHECK_EQ(kvs_mkv_header_check(&header), KVS_E_SEGMENT_UUID);
    memset(text, 'c', sizeof(text));
    text[65] = '\0';
    header.client_id = text;
    CHECK_EQ(kvs_mkv_header_check(&header), KVS_E_CLIENT_ID_SIZE);
    header.timecode_scale_hns = 0;
    CHECK_EQ(kvs_mkv_header_check(&header), KVS_E_TIMECODE_SCALE);
    header.timecode_scale_hns = KVS_MKV_SCALE_MAX_HNS + 1;
    CHECK_EQ(kvs_mkv_header_check(&header), KVS_E_TIMECODE_SCALE);
}

static void test_cluster_and_block(void)
{
    kvs_mkv_cluster_write(out, UINT64_C(0x0102030405060708));
    CHECK(memcmp(out, "\x1F\x43\xB6\x75\xFF\xE7\x88\x01\x02\x03\x04\x05\x06\x07\x08\xA7\x81\x00", 18) == 0);
    kvs_mkv_block_write(out, 126, -32768, KVS_FRAME_KEY | KVS_FRAME_DISCARDABLE | KVS_FRAME_INVISIBLE, 0x0102);
    CHECK(memcmp(out, "\xA3\x01\0\0\0\0\0\x01\x06\xFE\x80\x00\x89", 13) == 0);
    kvs_mkv_block_write(out, 1, 32767, 0, UINT64_C(0xFFFFFFFF) + 4);
    CHECK(memcmp(out, "\xA3\x01\0\0\x01\0\0\0\x07\x81\x7F\xFF\x00", 13) == 0);
}

static void test_tags(void)
{
    char name[130], value[258];
    memset(name, 'n', sizeof(name));
    memset(value, 'v', sizeof(value));
    struct kvs_mkv_tag tag = {name, value, 128, 256};
    CHECK_EQ(kvs_mkv_tag_check(&tag), KVS_OK);
    CHECK_EQ(kvs_mkv_tags_size(&tag, 1), 52 + 128 + 256);
    CHECK_EQ(kvs_mkv_tags_write(&tag, 1, out), 52 + 128 + 256);
    tag.value_size = 257;
    CHECK_EQ(kvs_mkv_tag_check(&tag), KVS_E_TAG_VALUE_SIZE);
    tag.name_size = 129;
    CHECK_EQ(kvs_mkv_tag_check(&tag), KVS_E_TAG_NAME_SIZE);
    tag.name_size = 0;
    CHECK_EQ(kvs_mkv_tag_check(&tag), KVS_E_TAG_NAME_SIZE);
    const struct kvs_mkv_tag pairs[2] = {kvs_mkv_tag_of("a", "bc"), kvs_mkv_tag_of("def", NULL)};
    CHECK_EQ(kvs_mkv_tags_size(pairs, 2), 22 + 33 + 33);
    CHECK_EQ(kvs_mkv_tag_chain_write(KVS_MKV_PARENT_TAG, pairs, 2, out), 10 + 33 + 33);
    CHECK_EQ(kvs_be_get_u16(out), 0x7373);
    CHECK_EQ(kvs_mkv_tag_chain_size(KVS_MKV_PARENT_SIMPLE, pairs, 2), 66);
}

static void test_end_tag(void)
{
    memset(out, 0xEE, KVS_MKV_END_TAG_SIZE + 1);
    kvs_mkv_end_tag_write(out);
    CHECK_EQ(kvs_be_get_u32(out), 0x1254C367);
    CHECK(memcmp(out + 42, KVS_MKV_END_TAG_NAME, 32) == 0);
    CHECK_EQ(out[KVS_MKV_END_TAG_SIZE - 1], 0);
    CHECK_EQ(out[KVS_MKV_END_TAG_SIZE], 0xEE);
}

int main(void)
{
    test_ebml_sizes();
    test_header_places();
    test_cpd_sizes();
    test_media_elements();
    test_mask_keeps_numbers();
    test_header_limits();
    test_cluster_and_block();
    test_tags();
    test_end_tag();
    return CHECK_DONE();
}

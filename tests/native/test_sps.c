/* media/sps: sizes of real parameter sets, each limit by name, and no byte read past the end of any damaged one. */
#include "check.h"
#include "media/sps.h"
#include "media_bytes.h"

typedef kvs_status parse_fn(const uint8_t *nal, uint32_t size, struct kvs_sps *sps_out);

static struct kvs_sps parsed(parse_fn *parse, const char *hex, kvs_status wanted)
{
    const struct bytes bytes = hex_bytes(hex);
    uint8_t *copy = exact_copy(bytes.at, bytes.size);
    struct kvs_sps sps;
    CHECK_EQ(parse(copy, bytes.size, &sps), wanted);
    free(copy);
    return sps;
}

static void check_size(parse_fn *parse, const char *hex, uint32_t width, uint32_t height)
{
    const struct kvs_sps sps = parsed(parse, hex, KVS_OK);
    CHECK_EQ(sps.width, width);
    CHECK_EQ(sps.height, height);
}

static void test_h264(void)
{
    check_size(kvs_sps_h264, H264_SPS, 640, 360);
    check_size(kvs_sps_h264, H264_SPS_HIGH, 1920, 1080);
    check_size(kvs_sps_h264, "674d001e950e88428a40501efca8", 640, 472); /* pic_order_cnt_type 1 */
    check_size(kvs_sps_h264, "67f4001e9385b40a843c7c7a", 322, 242);     /* separate colour planes */
    check_size(kvs_sps_h264, "6764001ef0b680a0227da0", 640, 540);       /* monochrome, interlaced */
    check_size(kvs_sps_h264, "677a001eb6c2da01e0111f68", 1920, 1084);   /* 4:2:2, interlaced */
    check_size(kvs_sps_h264, "6764001ead843fffc21fffe10ffff087fff843fffc21fffe10ffffffffffffffff087fffffffffffffff2da0"
                             "140177e250", 1280, 720); /* eight scaling lists */
    const struct kvs_sps high = parsed(kvs_sps_h264, H264_SPS_HIGH, KVS_OK);
    CHECK(high.profile_idc == 100 && high.level_idc == 40 && high.chroma_format_idc == 1 && high.bit_depth_luma == 8);
    const struct kvs_sps ten_bit = parsed(kvs_sps_h264, "677a001eb6c2da01e0111f68", KVS_OK);
    CHECK(ten_bit.chroma_format_idc == 2 && ten_bit.bit_depth_luma == 10);
}

static void test_h265(void)
{
    check_size(kvs_sps_h265, H265_SPS, 640, 360);
    const struct kvs_sps sps = parsed(kvs_sps_h265, H265_SPS, KVS_OK);
    const struct bytes wanted = hex_bytes("01600000009000000000003f");
    CHECK(memcmp(sps.profile_tier_level, wanted.at, sizeof(sps.profile_tier_level)) == 0);
    CHECK(sps.temporal_layers == 1 && sps.temporal_id_nested == 1);
}

static void test_refusals(void)
{
    parsed(kvs_sps_h264, "674d40", KVS_E_CPD_TOO_SHORT);
    parsed(kvs_sps_h264, "074d401eeca05017", KVS_E_SPS_NALU); /* nal_ref_idc 0 */
    parsed(kvs_sps_h264, "e74d401eeca05017", KVS_E_SPS_NALU); /* forbidden bit */
    parsed(kvs_sps_h264, "684d401eeca05017", KVS_E_SPS_NALU);
    parsed(kvs_sps_h264, "67640028840000", KVS_E_SPS_CHROMA_FORMAT); /* idc 7 */
    parsed(kvs_sps_h265, "4001010160", KVS_E_SPS_NALU);
    parsed(kvs_sps_h265, "c201010160", KVS_E_SPS_NALU);
    parsed(kvs_sps_h265, "42010e0160", KVS_E_SPS_RESERVED); /* eight sub-layers */
    parsed(kvs_sps_h265, "4201", KVS_E_CPD_TOO_SHORT);
}

static void put_bits(uint8_t *bytes, uint32_t *at, uint64_t value, uint32_t count)
{
    while (count-- > 0) {
        if ((value >> count & 1) != 0) bytes[*at / 8] |= (uint8_t)(0x80u >> *at % 8);
        ++*at;
    }
}

static void put_ue(uint8_t *bytes, uint32_t *at, uint32_t value)
{
    uint32_t length = 0;
    while (((uint64_t)value + 1) >> (length + 1) != 0) length++;
    put_bits(bytes, at, (uint64_t)value + 1, 2 * length + 1);
}

/* A Baseline SPS of so many macroblocks, cropped on the left and the top. */
static kvs_status parse_sized(uint32_t width_mbs, uint32_t height_mbs, uint32_t left, uint32_t top)
{
    uint8_t bytes[64] = {0x67, 66, 0, 30};
    uint32_t at = 32;
    struct kvs_sps sps;
    for (int field = 0; field < 4; field++) put_ue(bytes, &at, field == 2 ? 2 : 0);
    put_bits(bytes, &at, 0, 1);
    put_ue(bytes, &at, width_mbs - 1);
    put_ue(bytes, &at, height_mbs - 1);
    put_bits(bytes, &at, 7, 3); /* frame_mbs_only, direct_8x8_inference, frame_cropping */
    put_ue(bytes, &at, left);
    put_ue(bytes, &at, 0);
    put_ue(bytes, &at, top);
    put_ue(bytes, &at, 0);
    return kvs_sps_h264(bytes, sizeof(bytes), &sps);
}

static void test_sizes_out_of_range(void)
{
    CHECK_EQ(parse_sized(4095, 1, 0, 0), KVS_OK);
    CHECK_EQ(parse_sized(4096, 1, 0, 0), KVS_E_SPS_WIDTH);
    CHECK_EQ(parse_sized(4096, 1, 1, 0), KVS_OK);
    CHECK_EQ(parse_sized(1, 4096, 0, 0), KVS_E_SPS_HEIGHT);
    CHECK_EQ(parse_sized(1, 1, 8, 8), KVS_OK); /* nothing left */
    CHECK_EQ(parse_sized(1, 1, 9, 0), KVS_E_SPS_WIDTH);
    CHECK_EQ(parse_sized(1, 1, 0, 9), KVS_E_SPS_HEIGHT);
    CHECK_EQ(parse_sized(1, 1, UINT32_MAX - 1, 0), KVS_E_SPS_WIDTH);
}

/* Every shorter one is refused or has the same size: what is needed may end before the NAL does. */
static void check_truncations(parse_fn *parse, const char *hex)
{
    const struct bytes bytes = hex_bytes(hex);
    struct kvs_sps whole;
    CHECK_EQ(parse(bytes.at, bytes.size, &whole), KVS_OK);
    for (uint32_t size = 0; size < bytes.size; size++) {
        uint8_t *copy = exact_copy(bytes.at, size);
        struct kvs_sps sps;
        const kvs_status status = parse(copy, size, &sps);
        CHECK(status == KVS_OK ? sps.width == whole.width && sps.height == whole.height : status < 0);
        CHECK(status == KVS_E_SPS_BITS || status == KVS_E_CPD_TOO_SHORT || size > bytes.size / 3);
        free(copy);
    }
}

static void check_damaged(parse_fn *parse, const char *hex, uint64_t seed)
{
    const struct bytes bytes = hex_bytes(hex);
    for (int round = 0; round < 8000; round++) {
        const uint32_t size = next_random(&seed) % (bytes.size + 1);
        uint8_t *copy = exact_copy(bytes.at, size);
        struct kvs_sps sps;
        damage(copy, size, &seed);
        const kvs_status status = parse(copy, size, &sps);
        CHECK(status < 0 || (sps.width <= 65535 && sps.height <= 65535 && sps.chroma_format_idc <= 3));
        CHECK(status <= 0);
        free(copy);
    }
}

static void test_long_ones(void)
{
    static uint8_t bytes[3 * KVS_SPS_MAX];
    struct kvs_sps sps;
    memset(bytes, 0xFF, sizeof(bytes));
    bytes[0] = 0x67;
    CHECK(kvs_sps_h264(bytes, sizeof(bytes), &sps) <= 0);
    bytes[0] = 0x42;
    CHECK(kvs_sps_h265(bytes, sizeof(bytes), &sps) <= 0);
}

int main(void)
{
    test_h264();
    test_h265();
    test_refusals();
    test_sizes_out_of_range();
    check_truncations(kvs_sps_h264, H264_SPS);
    check_truncations(kvs_sps_h264, H264_SPS_HIGH);
    check_truncations(kvs_sps_h265, H265_SPS);
    check_damaged(kvs_sps_h264, H264_SPS, 1);
    check_damaged(kvs_sps_h264, H264_SPS_HIGH, 2);
    check_damaged(kvs_sps_h265, H265_SPS, 3);
    test_long_ones();
    return CHECK_DONE();
}

/* media/cpd, cpd_nal: records made, recognised and read; refused by name; never a byte past the end, in or out. */
#include "base/be.h"
#include "check.h"
#include "media/cpd.h"
#include "media_bytes.h"

typedef kvs_status convert_fn(const uint8_t *in, uint32_t in_size, uint8_t *out, uint32_t capacity, uint32_t *size_out);

static uint8_t out[8192];

#define NAL_FLAGS (KVS_NAL_ANNEXB_TO_AVCC | KVS_NAL_ANNEXB_CPD)
static const struct kvs_cpd_format H264 = {KVS_KIND_H264, KVS_TRACK_VIDEO, NAL_FLAGS, NULL};
static const struct kvs_cpd_format H265 = {KVS_KIND_H265, KVS_TRACK_VIDEO, NAL_FLAGS, NULL};

static void check_convert(convert_fn *convert, const char *in_hex, const char *wanted_hex)
{
    const struct bytes in = hex_bytes(in_hex);
    const struct bytes wanted = hex_bytes(wanted_hex);
    uint32_t size = 99;
    CHECK_EQ(convert(in.at, in.size, NULL, 0, &size), KVS_OK);
    CHECK_EQ(size, wanted.size);
    for (uint32_t capacity = 0; capacity <= wanted.size; capacity++) {
        memset(out, 0xEE, wanted.size + 1);
        const int fits = capacity == wanted.size;
        CHECK_EQ(convert(in.at, in.size, out, capacity, &size), fits ? KVS_OK : KVS_E_BUFFER_TOO_SMALL);
        CHECK(fits ? memcmp(out, wanted.at, wanted.size) == 0 : out[0] == 0xEE);
        CHECK_EQ(out[capacity], 0xEE);
    }
}

static void check_refused(convert_fn *convert, const char *in_hex, kvs_status wanted)
{
    const struct bytes in = hex_bytes(in_hex);
    uint8_t *copy = exact_copy(in.at, in.size);
    uint32_t size = 0;
    CHECK_EQ(convert(copy, in.size, out, sizeof(out), &size), wanted);
    free(copy);
}

static void test_avcc(void)
{
    check_convert(kvs_cpd_avcc_from_annexb, H264_ANNEXB, H264_AVCC);
    check_convert(kvs_cpd_avcc_from_annexb, H264_AVCC, H264_AVCC);
    check_convert(kvs_cpd_avcc_from_annexb, "000000010910000001" H264_PPS "000001" H264_SPS, H264_AVCC);
    check_convert(kvs_cpd_avcc_from_annexb, H264_ANNEXB "00000168eeee", /* two PPS: both are kept */
                  "014d401effe10018" H264_SPS "020004" H264_PPS "000368eeee");
    check_convert(kvs_cpd_avcc_from_annexb, "00000001" H264_SPS_HIGH "00000001" H264_PPS, /* with the High extension */
                  "01640028ffe1001b" H264_SPS_HIGH "010004" H264_PPS "fdf8f800");
    check_refused(kvs_cpd_avcc_from_annexb, "00000001674200", KVS_E_CPD_TOO_SHORT);
    check_refused(kvs_cpd_avcc_from_annexb, "00000001" H264_SPS, KVS_E_MISSING_PPS);
    check_refused(kvs_cpd_avcc_from_annexb, "00000001" H264_PPS "00000001" H264_PPS, KVS_E_MISSING_SPS);
    check_refused(kvs_cpd_avcc_from_annexb, "4142434445464748494a4b4c", KVS_E_MISSING_SPS);
    check_refused(kvs_cpd_avcc_from_annexb, H264_ANNEXB "0000000005", KVS_E_ANNEXB_FRAME);
    check_refused(kvs_cpd_avcc_from_annexb, "000000016742000000000168ce0fc8", KVS_E_ANNEXB_CPD); /* no level */
}

static void test_hvcc(void)
{
    check_convert(kvs_cpd_hvcc_from_annexb, H265_ANNEXB, H265_HVCC);
    check_convert(kvs_cpd_hvcc_from_annexb, H265_HVCC, H265_HVCC);
    check_convert(kvs_cpd_hvcc_from_annexb, "000001460110000001" H265_PPS "000001" H265_SPS "000001" H265_VPS,
                  H265_HVCC);
    check_refused(kvs_cpd_hvcc_from_annexb, "0000014001111111111111", KVS_E_CPD_TOO_SHORT);
    check_refused(kvs_cpd_hvcc_from_annexb, "00000001" H265_VPS, KVS_E_MISSING_NALUS);
    check_refused(kvs_cpd_hvcc_from_annexb, "000001" H265_VPS "000001" H265_PPS, KVS_E_MISSING_SPS);
    check_refused(kvs_cpd_hvcc_from_annexb, "4142434445464748494a4b4c4d4e4f50", KVS_E_ANNEXB_CPD);
}

static void test_long_parameter_sets(void)
{
    static uint8_t in[70000];
    uint32_t size = 0;
    const struct bytes sets = hex_bytes(H264_ANNEXB);
    memset(in, 0x41, sizeof(in));
    memcpy(in, sets.at, sets.size);
    const uint32_t pps_offset = sets.size - 4;
    CHECK_EQ(kvs_cpd_avcc_from_annexb(in, pps_offset + 65535, NULL, 0, &size), KVS_OK);
    CHECK_EQ(kvs_cpd_avcc_from_annexb(in, pps_offset + 65536, NULL, 0, &size), KVS_E_ANNEXB_CPD);
}

static void test_forms(void)
{
    static const struct {
        uint32_t kind;
        const char *hex;
        enum kvs_cpd_form form;
    } CASES[] = {
        {KVS_KIND_H264, H264_ANNEXB, KVS_CPD_ANNEXB},   {KVS_KIND_H264, H264_AVCC, KVS_CPD_AVCC},
        {KVS_KIND_H264, H264_SPS, KVS_CPD_SPS},         {KVS_KIND_H264, "0102", KVS_CPD_UNKNOWN},
        {KVS_KIND_H265, H265_ANNEXB, KVS_CPD_ANNEXB},   {KVS_KIND_H265, H265_HVCC, KVS_CPD_HVCC},
        {KVS_KIND_H265, H265_ARRAYS, KVS_CPD_H265_ARRAYS}, {KVS_KIND_H265, "", KVS_CPD_UNKNOWN},
        {KVS_KIND_AAC, H264_AVCC, KVS_CPD_UNKNOWN},
        /* lengths of 2 bytes, reserved bits clear */
        {KVS_KIND_H264, "014d401e01010018" H264_SPS "010004" H264_PPS, KVS_CPD_AVCC},
    };
    for (size_t index = 0; index < sizeof(CASES) / sizeof(CASES[0]); index++) {
        const struct bytes bytes = hex_bytes(CASES[index].hex);
        CHECK_EQ(kvs_cpd_form_of(CASES[index].kind, bytes.at, bytes.size), CASES[index].form);
    }
    const struct bytes avcc = hex_bytes(H264_AVCC);
    for (uint32_t size = 0; size < avcc.size; size++) {
        CHECK(kvs_cpd_form_of(KVS_KIND_H264, avcc.at, size) != KVS_CPD_AVCC); /* cut off anywhere it is none */
    }
}

static void check_describe(const struct kvs_cpd_format *format, const char *hex, kvs_status status, uint32_t width)
{
    const struct bytes bytes = hex_bytes(hex);
    struct kvs_media_values values = {7, 7, 7, 7, 7, 7};
    CHECK_EQ(kvs_cpd_describe(format, bytes.at, bytes.size, &values), status);
    CHECK_EQ(values.width, width);
    CHECK(status == KVS_OK || values.height == 0);
}

static void test_describe(void)
{
    const struct kvs_cpd_format other = {KVS_KIND_UNKNOWN, KVS_TRACK_VIDEO, 0, "V_AV1"};
    const struct kvs_cpd_format fourcc = {KVS_KIND_VIDEO, KVS_TRACK_VIDEO, 0, "V_MS/VFW/FOURCC"};
    const struct kvs_cpd_format audio = {KVS_KIND_H264, KVS_TRACK_AUDIO, 0, "A_OPUS"};
    check_describe(&H264, H264_ANNEXB, KVS_OK, 640);
    check_describe(&H264, H264_AVCC, KVS_OK, 640);
    check_describe(&H264, H264_SPS, KVS_OK, 640);
    check_describe(&H264, "0102030405060708", KVS_E_SPS_NALU, 0);
    check_describe(&H264, "", KVS_OK, 7);
    check_describe(&H265, H265_ANNEXB, KVS_OK, 640);
    check_describe(&H265, H265_HVCC, KVS_OK, 640);
    check_describe(&H265, H265_ARRAYS, KVS_OK, 640);
    check_describe(&H265, "2000010018" H265_VPS, KVS_E_MISSING_SPS, 0);
    check_describe(&H265, "210002002b" H265_SPS, KVS_E_HEVC_NALU_COUNT, 0);
    check_describe(&H265, "210001002c" H265_SPS, KVS_E_HEVC_NALU_SIZE, 0);
    check_describe(&H265, "2000010019" H265_VPS, KVS_E_HEVC_FORMAT, 0);
    check_describe(&other, "0102030405060708", KVS_OK, 7);
    check_describe(&fourcc, "0102030405060708", KVS_E_BIH, 0);
    struct kvs_media_values values = {7, 7, 7, 7, 7, 7};
    CHECK_EQ(kvs_cpd_describe(&audio, out, 4, &values), KVS_OK);
    CHECK(values.sampling_rate == 0 && values.width == 7);
}

static void check_from_frame(const struct kvs_cpd_format *format, const char *hex, kvs_status status,
                             const char *wanted)
{
    const struct bytes frame = hex_bytes(hex);
    const struct bytes cpd = hex_bytes(wanted);
    uint32_t size = 99;
    uint8_t *copy = exact_copy(frame.at, frame.size);
    CHECK_EQ(kvs_cpd_from_frame(format, copy, frame.size, out, sizeof(out), &size), status);
    CHECK_EQ(size, cpd.size);
    CHECK(memcmp(out, cpd.at, cpd.size) == 0);
    free(copy);
}

static void test_from_frame(void)
{
    struct kvs_cpd_format off = H264;
    check_from_frame(&H264, "000000010910" H264_ANNEXB "0000010605aa80" "0000000165aabb", KVS_OK, H264_AVCC);
    check_from_frame(&H264, "00000018" H264_SPS "00000004" H264_PPS "0000000365aabb", KVS_OK, H264_AVCC); /* lengths */
    check_from_frame(&H264, H264_ANNEXB "0000000141aabb", KVS_OK, ""); /* no IDR slice */
    check_from_frame(&H264, "0000000165aabb" H264_ANNEXB, KVS_OK, ""); /* too late */
    check_from_frame(&H264, "00000001091000000165aabb", KVS_OK, "");
    check_from_frame(&H264, "00000001" H264_SPS "00000165aabb", KVS_E_MISSING_PPS, "");
    off.nal_flags = KVS_NAL_ANNEXB_CPD;
    check_from_frame(&off, H264_ANNEXB "0000000165aabb", KVS_OK, "");
    check_from_frame(&H265, "000001460110" H265_ANNEXB "000000012601aa", KVS_OK, H265_HVCC); /* IDR */
    check_from_frame(&H265, H265_ANNEXB "000000012a01aa", KVS_OK, H265_HVCC);               /* CRA */
    check_from_frame(&H265, H265_ANNEXB "000000012001aa", KVS_OK, H265_HVCC);               /* BLA */
    check_from_frame(&H265, H265_ANNEXB "000000010201aa", KVS_OK, "");
}

static void test_adapt(void)
{
    struct kvs_cpd_format kept = H264;
    const struct bytes in = hex_bytes(H264_ANNEXB);
    uint32_t size = 0;
    kept.nal_flags = KVS_NAL_ANNEXB_TO_AVCC;
    CHECK_EQ(kvs_cpd_adapt(&kept, in.at, in.size, out, sizeof(out), &size), KVS_OK);
    CHECK(size == in.size && memcmp(out, in.at, size) == 0);
    CHECK_EQ(kvs_cpd_adapt(&H264, in.at, in.size, out, sizeof(out), &size), KVS_OK);
    CHECK_EQ(size, hex_bytes(H264_AVCC).size);
    CHECK_EQ(kvs_cpd_adapt(&H264, NULL, 0, out, sizeof(out), &size), KVS_OK);
    CHECK_EQ(size, 0);
    CHECK_EQ(kvs_cpd_adapt(&kept, in.at, in.size, out, in.size - 1, &size), KVS_E_BUFFER_TOO_SMALL);
}

static void test_kinds(void)
{
    CHECK_EQ(kvs_kinds_of(NULL), 0);
    CHECK_EQ(kvs_kinds_of(""), 0);
    CHECK_EQ(kvs_kinds_of("video/h264"), KVS_KIND_H264);
    CHECK_EQ(kvs_kinds_of("video/h265,audio/aac"), KVS_KIND_H265 | KVS_KIND_AAC);
    CHECK_EQ(kvs_kinds_of("audio/alaw,audio/mulaw,video/x-matroska"), KVS_KIND_G711 | KVS_KIND_VIDEO);
    CHECK_EQ(kvs_kinds_of("video/H264"), KVS_KIND_UNKNOWN);
    CHECK_EQ(kvs_kinds_of("video/h264 "), KVS_KIND_UNKNOWN);
    CHECK_EQ(kvs_kinds_of("video/h264,"), KVS_KIND_H264 | KVS_KIND_UNKNOWN);
}

static void test_bitmap_header(void)
{
    uint32_t width = 0, height = 0;
    CHECK_EQ(kvs_bih_generate(640, 480, out), KVS_OK);
    CHECK_EQ(kvs_cpd_size_bih(out, 40, &width, &height), KVS_OK);
    CHECK(width == 640 && height == 480);
    CHECK_EQ(kvs_cpd_size_bih(out, 39, &width, &height), KVS_E_BIH);
    memcpy(out + 8, "\x20\xFE\xFF\xFF", 4); /* -480: rows from the top */
    CHECK_EQ(kvs_cpd_size_bih(out, 40, &width, &height), KVS_OK);
    CHECK_EQ(height, 480);
    memcpy(out + 8, "\0\0\0\x80", 4);
    CHECK_EQ(kvs_cpd_size_bih(out, 40, &width, &height), KVS_E_BIH);
    memcpy(out + 4, "\xFF\xFF\xFF\xFF", 4);
    CHECK_EQ(kvs_cpd_size_bih(out, 40, &width, &height), KVS_E_BIH);
    CHECK_EQ(kvs_bih_generate(0, 1, out), KVS_E_INVALID_ARG);
    CHECK_EQ(kvs_bih_generate(1, 65536, out), KVS_E_INVALID_ARG);
}

/* Cut off anywhere, damaged anywhere: a status or a record, and the output within its capacity. */
static void check_any(const struct kvs_cpd_format *format, const char *hex, uint64_t seed)
{
    const struct bytes bytes = hex_bytes(hex);
    for (uint32_t round = 0; round < 3000; round++) {
        const uint32_t size = round <= bytes.size ? round : next_random(&seed) % (bytes.size + 1);
        uint8_t *copy = exact_copy(bytes.at, size);
        if (round > bytes.size) damage(copy, size, &seed);
        const uint32_t capacity = next_random(&seed) % 300;
        uint8_t *to = exact_copy(out, capacity);
        struct kvs_media_values values = {0, 0, 0, 0, 0, 0};
        uint32_t made = 0;
        if (kvs_cpd_adapt(format, copy, size, to, capacity, &made) == KVS_OK) CHECK(made <= capacity);
        if (kvs_cpd_from_frame(format, copy, size, to, capacity, &made) == KVS_OK) CHECK(made <= capacity);
        CHECK(kvs_cpd_describe(format, copy, size, &values) <= 0);
        CHECK(values.width <= 65535 && values.height <= 65535);
        kvs_cpd_form_of(format->kinds, copy, size);
        free(to);
        free(copy);
    }
}

int main(void)
{
    test_avcc();
    test_hvcc();
    test_long_parameter_sets();
    test_forms();
    test_describe();
    test_from_frame();
    test_adapt();
    test_kinds();
    test_bitmap_header();
    check_any(&H264, H264_ANNEXB "0000000165aabb", 1);
    check_any(&H264, H264_AVCC, 2);
    check_any(&H265, H265_ANNEXB "000000012601aa", 3);
    check_any(&H265, H265_HVCC, 4);
    check_any(&H265, H265_ARRAYS, 5);
    return CHECK_DONE();
}

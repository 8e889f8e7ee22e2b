/* media/nal: both framings against a byte-by-byte model written here, at every size around the fast search's blocks. */
#include "base/be.h"
#include "check.h"
#include "media/nal.h"
#include "media_bytes.h"

#define OUT_MAX 70000u
static uint8_t out[OUT_MAX], model_out[OUT_MAX];

/* Zeros in front of a 1 end a NAL, two at least; fewer are data. -1: four zeros and more before anything else. */
static int64_t model(const uint8_t *data, uint32_t size)
{
    uint32_t at = 0, written = 0, length_at = UINT32_MAX;
    while (at < size) {
        uint32_t zeros = 0;
        while (at + zeros < size && data[at + zeros] == 0) zeros++;
        const int is_end = at + zeros == size;
        if (!is_end && zeros >= 2 && data[at + zeros] == 1) {
            if (length_at != UINT32_MAX) kvs_be_put_u32(model_out + length_at, written - length_at - 4);
            length_at = written;
            written += 4;
        } else if (!is_end && zeros >= 4) {
            return -1;
        } else {
            memcpy(model_out + written, data + at, zeros + !is_end);
            written += zeros + !is_end;
        }
        at += zeros + 1;
    }
    if (length_at != UINT32_MAX) kvs_be_put_u32(model_out + length_at, written - length_at - 4);
    return written;
}

static void compare_with_model(const uint8_t *data, uint32_t size)
{
    uint8_t *copy = exact_copy(data, size);
    struct kvs_nal_scan scan;
    const int64_t wanted = model(data, size);
    const kvs_status status = kvs_nal_scan(copy, size, &scan);
    if (kvs_nal_is_length_prefixed(copy, size)) {
        CHECK(status == KVS_OK && scan.kind == KVS_NAL_UNCHANGED && scan.adapted_size == size);
    } else if (CHECK_EQ(status, wanted < 0 ? KVS_E_ANNEXB_FRAME : KVS_OK) && status == KVS_OK) {
        CHECK_EQ(scan.adapted_size, wanted);
        kvs_nal_copy(copy, size, &scan, out);
        CHECK(memcmp(out, model_out, (size_t)wanted) == 0);
    }
    free(copy);
}

static void test_against_model(void)
{
    uint64_t seed = 1;
    uint8_t data[400];
    for (int round = 0; round < 20000; round++) {
        const uint32_t size = 1 + next_random(&seed) % (round % 2 ? 12 : 400);
        const uint32_t range = 2 + next_random(&seed) % 4;
        for (uint32_t at = 0; at < size; at++) {
            const uint32_t value = next_random(&seed);
            data[at] = (uint8_t)(value % 8 < range ? value / 8 % 3 : value);
        }
        compare_with_model(data, size);
    }
}

static void test_a_start_code_at_every_place(void)
{
    uint8_t data[200];
    for (uint32_t at = 0; at + 3 < 150; at++) {
        memset(data, 0x41, sizeof(data));
        memcpy(data + at, "\0\0\1", 3);
        for (uint32_t size = at + 3; size < 170; size += 13) compare_with_model(data, size);
    }
}

static void test_searches_agree(void)
{
    uint64_t seed = 2;
    uint8_t data[300];
    for (int round = 0; round < 3000; round++) {
        const uint32_t size = next_random(&seed) % 300;
        for (uint32_t at = 0; at < size; at++) data[at] = (uint8_t)(next_random(&seed) % (round % 3 ? 200 : 8));
        uint8_t *copy = exact_copy(data, size);
        for (uint32_t at = 0; at < size; at += 1 + at / 3) {
            CHECK_EQ(kvs_nal_find_zeros(copy, size, at), kvs_nal_find_zeros_scalar(copy, size, at));
        }
        free(copy);
    }
    CHECK_EQ(kvs_nal_find_zeros(data, 0, 0), 0);
    CHECK_EQ(kvs_nal_find_zeros(data, 5, 5), 5);
}

/* `count` NALs of `size` bytes each behind four-byte start codes, or lengths. */
static uint32_t many_nals(uint8_t *data, uint32_t count, uint32_t size, int is_lengths)
{
    uint8_t *at = data;
    for (uint32_t index = 0; index < count; index++) {
        kvs_be_put_u32(at, is_lengths ? size : 1);
        memset(at + 4, 0x41, size);
        at += 4 + size;
    }
    return (uint32_t)(at - data);
}

static void test_batches(void)
{
    static uint8_t data[OUT_MAX];
    for (uint32_t count = 30; count < 140; count++) {
        for (uint32_t size = 0; size < 10; size += 3) {
            struct kvs_nal_scan scan;
            const uint32_t lengths = many_nals(data, count, size, 1);
            CHECK_EQ(kvs_nal_scan_avcc(data, lengths, &scan), KVS_OK);
            CHECK_EQ(scan.adapted_size, lengths);
            kvs_nal_copy(data, lengths, &scan, out);
            CHECK_EQ(many_nals(data, count, size, 0), lengths);
            CHECK(memcmp(out, data, lengths) == 0);
            CHECK_EQ(kvs_nal_scan(data, lengths, &scan), KVS_OK);
            if (size == 0) continue; /* a run of zeros and ones is read otherwise */
            CHECK_EQ(scan.count, count < KVS_NAL_SCAN_MAX ? count : KVS_NAL_SCAN_MAX);
            uint32_t seen = scan.count;
            while (kvs_nal_scan_more(data, lengths, &scan)) seen += scan.count;
            CHECK_EQ(seen, count);
            CHECK_EQ(scan.count, 0);
            CHECK(!kvs_nal_scan_more(data, lengths, &scan));
        }
    }
}

static void test_lengths(void)
{
    static const struct {
        const char *hex;
        kvs_status status;
    } CASES[] = {
        {"", KVS_E_FRAME_DATA},          {"000000", KVS_E_AVCC_FRAME},       {"00000000", KVS_OK},
        {"00000001", KVS_E_AVCC_FRAME},  {"0000000141", KVS_OK},             {"000000014100", KVS_E_AVCC_FRAME},
        {"ffffffff41", KVS_E_AVCC_FRAME}, {"000000000000000141", KVS_OK},
    };
    for (size_t index = 0; index < sizeof(CASES) / sizeof(CASES[0]); index++) {
        const struct bytes bytes = hex_bytes(CASES[index].hex);
        uint8_t *copy = exact_copy(bytes.at, bytes.size);
        struct kvs_nal_scan scan;
        CHECK_EQ(kvs_nal_scan_avcc(copy, bytes.size, &scan), CASES[index].status);
        free(copy);
    }
    struct kvs_nal_scan scan;
    CHECK_EQ(kvs_nal_scan(NULL, 5, &scan), KVS_E_FRAME_DATA);
    CHECK_EQ(kvs_nal_scan(out, UINT32_MAX, &scan), KVS_E_FRAME_TOO_LARGE);
}

/* Cameras and muxers write NALs of size 0 in either framing, and zeros behind the last one. All else stays. */
static void test_empty_nals_are_left_out(void)
{
    static const char *const CASES[][3] = {
        /* in, nal_flag 8: out, 16: out ("" : nothing is left, NULL: refused) */
        {"00000001000000014142", "000000024142", NULL},
        {"0000010000014142000001", "000000024142", NULL},
        {"00000141420000000143000000", "00000002414200000001" "43", NULL},
        {"000000014142000000000000", "000000024142", NULL},
        {"00000001", "", NULL},
        {"0000000000000002414200000000", "000000024142", "000000014142"},
        {"0000000241420000000000000001" "43", "00000002414200000001" "43", "00000001414200000001" "43"},
        {"0000000241420000", "000000024142", "000000014142"},
        {"000000024142", "000000024142", "000000014142"},
        {"00000000", "", ""},
        {"0000000341420001", NULL, NULL},
    };
    for (size_t index = 0; index < 2 * sizeof(CASES) / sizeof(CASES[0]); index++) {
        const uint32_t flag = index % 2 == 0 ? KVS_NAL_ANNEXB_TO_AVCC : KVS_NAL_AVCC_TO_ANNEXB;
        const char *wanted = CASES[index / 2][1 + index % 2];
        const struct bytes in = hex_bytes(CASES[index / 2][0]);
        uint8_t *copy = exact_copy(in.at, in.size);
        struct kvs_nal_scan scan;
        const kvs_status status = kvs_nal_scan_clean(copy, in.size, flag, &scan);
        if (wanted == NULL) {
            CHECK(flag == KVS_NAL_AVCC_TO_ANNEXB ? status == KVS_E_AVCC_FRAME : scan.kind == KVS_NAL_UNCHANGED);
        } else if (CHECK_EQ(status, KVS_OK)) {
            const struct bytes expected = hex_bytes(wanted);
            CHECK_EQ(scan.adapted_size, expected.size);
            kvs_nal_copy(copy, in.size, &scan, out);
            CHECK(memcmp(out, expected.at, expected.size) == 0);
        }
        free(copy);
    }
}

/* Three-byte start codes: the frame's size is what its first four bytes say as a length. */
static void test_start_codes_that_fit_as_lengths(void)
{
    for (uint32_t nal = 0; nal < 2; nal++) {
        uint8_t data[4 + 0x109];
        const uint32_t size = nal == 0 ? 4 + 0x109 : 4 + 0x102;
        struct kvs_nal_scan scan;
        memset(data, 0x55, sizeof(data));
        kvs_be_put_u32(data, nal == 0 ? 0x109 : 0x102);
        if (nal == 0) memcpy(data + 4, "\x10\0\0\1\x41\x9a", 6); /* H.264: a delimiter, then a slice */
        else memcpy(data + 4, "\x01\xd0", 2);                      /* H.265: one slice */
        CHECK(kvs_nal_is_length_prefixed(data, size));
        const uint32_t codec = nal == 0 ? 0 : KVS_NAL_IS_H265;
        CHECK_EQ(kvs_nal_scan_clean(data, size, KVS_NAL_ANNEXB_TO_AVCC | codec, &scan), KVS_OK);
        CHECK_EQ(scan.kind, KVS_NAL_TO_LENGTHS);
        CHECK_EQ(scan.count, nal == 0 ? 2 : 1);
        data[4] = 0x26;
        memset(data + 5, 0x55, 6);
        CHECK_EQ(kvs_nal_scan_clean(data, size, KVS_NAL_ANNEXB_TO_AVCC | codec, &scan), KVS_OK);
        CHECK_EQ(scan.kind, KVS_NAL_UNCHANGED);
    }
}

/* More NALs than one batch holds, every third one empty. */
static void test_empty_nals_across_batches(void)
{
    for (int is_annexb = 0; is_annexb < 2; is_annexb++) {
        uint8_t data[2000];
        uint32_t size = 0, kept = 0;
        for (uint32_t index = 0; index < 150; index++) {
            const uint32_t nal_size = index % 3 == 0 ? 0 : 3;
            kvs_be_put_u32(data + size, is_annexb ? 1u : nal_size);
            memset(data + size + 4, 0x41, nal_size);
            size += 4 + nal_size;
            kept += nal_size > 0;
        }
        struct kvs_nal_scan scan;
        CHECK_EQ(kvs_nal_scan_clean(data, size, KVS_NAL_ANNEXB_TO_AVCC, &scan), KVS_OK);
        CHECK_EQ(scan.kind, is_annexb ? KVS_NAL_TO_LENGTHS : KVS_NAL_CLEANED);
        CHECK_EQ(scan.adapted_size, 7 * kept);
        kvs_nal_copy(data, size, &scan, out);
        for (uint32_t index = 0; index < kept; index++) CHECK_EQ(kvs_be_get_u32(out + 7 * index), 3);
    }
}

/* A length of 256 to 511 begins like a start code. */
static void test_framings_are_kept_apart(void)
{
    uint8_t data[4 + 0x141];
    memset(data, 0x55, sizeof(data));
    kvs_be_put_u32(data, 0x141);
    data[4] = 0x65;
    CHECK(kvs_nal_is_length_prefixed(data, sizeof(data)));
    data[4] = 0x9A; /* then it is Annex B: a slice 41 whose first_mb_in_slice is 0 */
    CHECK(!kvs_nal_is_length_prefixed(data, sizeof(data)));
    CHECK(!kvs_nal_is_length_prefixed(data, sizeof(data) - 1));
    CHECK(!kvs_nal_is_length_prefixed(data, 0));
    const struct bytes start_codes = hex_bytes("000000014100000001420000000143");
    CHECK(!kvs_nal_is_length_prefixed(start_codes.at, start_codes.size));
}

static void test_walk(void)
{
    static const char *const HEX[] = {"0000016711220000000168aa000001", "000000036711220000000268aa"};
    for (int form = 0; form < 2; form++) {
        const struct bytes bytes = hex_bytes(HEX[form]);
        struct kvs_nal_walk walk;
        struct kvs_nal nal;
        kvs_nal_walk_init(&walk, bytes.at, bytes.size);
        CHECK_EQ(walk.is_lengths, form);
        CHECK_EQ(kvs_nal_walk_next(&walk, &nal), 1);
        CHECK(nal.size == 3 && bytes.at[nal.offset] == 0x67);
        CHECK_EQ(kvs_nal_walk_next(&walk, &nal), 1);
        CHECK(nal.size == 2 && bytes.at[nal.offset] == 0x68);
        CHECK_EQ(kvs_nal_walk_next(&walk, &nal), 0);
        CHECK_EQ(kvs_nal_walk_next(&walk, &nal), 0);
        kvs_nal_walk_init(&walk, bytes.at, bytes.size);
        walk.stop = 5;
        CHECK_EQ(kvs_nal_walk_next(&walk, &nal), 1);
        CHECK_EQ(kvs_nal_walk_next(&walk, &nal), 0);
    }
}

static void test_unescape(void)
{
    static const char *const PAIRS[][2] = {
        {"", ""},         {"000003", "000003"},         {"00000301", "000001"},           {"00000304", "00000304"},
        {"0000030000030103", "000000000103"}, {"000000030303", "0000000303"}, {"00000303000003", "000003000003"},
    };
    for (size_t index = 0; index < sizeof(PAIRS) / sizeof(PAIRS[0]); index++) {
        const struct bytes in = hex_bytes(PAIRS[index][0]);
        const struct bytes wanted = hex_bytes(PAIRS[index][1]);
        CHECK_EQ(kvs_nal_unescape(in.at, in.size, out), wanted.size);
        CHECK(memcmp(out, wanted.at, wanted.size) == 0);
    }
}

int main(void)
{
    test_against_model();
    test_a_start_code_at_every_place();
    test_searches_agree();
    test_batches();
    test_lengths();
    test_empty_nals_are_left_out();
    test_empty_nals_across_batches();
    test_start_codes_that_fit_as_lengths();
    test_framings_are_kept_apart();
    test_walk();
    test_unescape();
    return CHECK_DONE();
}

/* media/sets: parameter sets by id. Goal: a key frame asks for another header exactly when a reader who has the present
 * one and the frame could not decode it, or would announce another picture. */
#include "check.h"
#include "fail_host.h"
#include "media/cpd.h"
#include "media/sets.h"
#include "nal_made.h"

static struct fail_host fail;
static struct kvs_host host;
static struct kvs_sets sets;
static int is_h265;
static enum framing framing;

/* One call that holds these: V, S and P are parameter sets, digits are their ids, I is a slice of a key frame; lower
 * case has another content. "S0 P0 I0": SPS 0, PPS 0 of SPS 0, a slice with PPS 0. "P12": PPS 1 of SPS 2. */
static struct made_nal made_of(const char *word)
{
    const uint32_t id = word[1] != 0 ? (uint32_t)(word[1] - '0') : 0;
    switch (word[0]) {
    case 'V': return is_h265 ? made_vps() : made_aud(0);
    case 'S': return made_sps(is_h265, id, 320, 0);
    case 's': return made_sps(is_h265, id, 640, 0);
    case 'P': return made_pps(is_h265, id, word[2] != 0 && word[2] != ' ' ? (uint32_t)(word[2] - '0') : 0, 0);
    case 'p': return made_pps(is_h265, id, word[2] != 0 && word[2] != ' ' ? (uint32_t)(word[2] - '0') : 0, 3);
    case 'E': return made_sei(is_h265);
    case 'A': return made_aud(is_h265);
    default: return made_slice(is_h265, is_h265 ? 19 : 5, id, 20);
    }
}

static struct kvs_call read_call(const char *words)
{
    struct made_frame frame = { .framing = framing };
    struct kvs_nal_scan scan;
    struct kvs_call call;
    for (const char *word = words; word != NULL && *word != 0; word = strchr(word, ' ')) {
        word += *word == ' ';
        made_add(&frame, made_of(word));
    }
    CHECK_EQ(kvs_nal_scan_clean(frame.bytes, frame.size, KVS_NAL_ANNEXB_TO_AVCC, &scan), KVS_OK);
    CHECK_EQ(kvs_sets_read(&sets, &host, frame.bytes, frame.size, &scan, &call), KVS_OK);
    CHECK(call.is_nals);
    return call;
}

/* Whether the call is a key frame that needs another header, which it gets. */
static int makes_header(const char *words)
{
    const struct kvs_call call = read_call(words);
    CHECK(call.has_picture);
    if (!kvs_sets_need_header(&sets, call.pps)) return 0;
    kvs_sets_adopt(&sets, call.pps);
    CHECK(!kvs_sets_need_header(&sets, call.pps));
    return 1;
}

static void begin(void)
{
    kvs_sets_free(&sets, &host);
    kvs_sets_init(&sets, is_h265);
}

static void test_a_call_without_a_picture(void)
{
    begin();
    CHECK(!read_call("A").has_picture);
    CHECK(!read_call("E E").has_picture);
    CHECK(!read_call("V S0 P0").has_picture);
    CHECK(read_call("E I0").has_picture);
    CHECK_EQ(read_call("A V S0 P0 E I3").pps, 3);
    CHECK_EQ(read_call("S0").pps, KVS_SETS_NO_PPS);
}

static void test_sets_in_the_frames_or_before_them(void)
{
    begin();
    CHECK(!makes_header("I0"));
    CHECK(!makes_header("V S0 I0"));
    CHECK(makes_header("P0 I0")); /* the chain is whole */
    CHECK(!makes_header("I0"));
    begin();
    read_call("V");
    read_call("S0");
    read_call("P0");
    CHECK(makes_header("I0"));
    read_call("V S0 P0"); /* repeated: nothing new */
    CHECK(!makes_header("I0"));
    begin();
    CHECK(makes_header("I0 V S0 P0")); /* a program that cut the stream behind them */
}

static void test_only_what_pictures_use_counts(void)
{
    begin();
    CHECK(makes_header("V S0 P0 I0"));
    CHECK(!makes_header("V S0 P0 s1 P11 I0")); /* another size, unused */
    CHECK(makes_header("I1"));                 /* used now */
    CHECK(!makes_header("V s1 P11 I1"));
    CHECK(makes_header("V S0 P0 I0"));
}

static void test_ids_that_alternate_or_count_up_are_no_change(void)
{
    begin();
    CHECK(makes_header("V S0 P0 I0"));
    for (int round = 0; round < 3; round++) {
        CHECK(!makes_header("V S0 P1 I1"));
        CHECK(!makes_header("V S0 P0 I0"));
    }
    CHECK(!makes_header("V S1 P11 I1"));
    CHECK(!makes_header("V S2 P22 I2"));
    CHECK(!makes_header("V S0 P0 I0"));
    CHECK(makes_header("s2 P22 I2"));
}

static void test_what_comes_once_is_announced(void)
{
    begin();
    CHECK(makes_header("V S0 P0 I0"));
    read_call("P1");
    CHECK(!makes_header("I1")); /* joined to this frame */
    CHECK(makes_header("I1"));  /* a reader who begins here has the header only */
    CHECK(!makes_header("I0")); /* both are in it */
}

static void test_another_content_under_the_same_id(void)
{
    begin();
    CHECK(makes_header("V S0 P0 I0"));
    CHECK(makes_header("V S0 p0 I0"));
    CHECK(!makes_header("V S0 p0 I0"));
    CHECK(makes_header("V s0 p0 I0"));
    read_call("V S0 P0");
    read_call("V s0 p0"); /* there and back without a picture */
    CHECK(!makes_header("I0"));
}

static uint32_t write_record(uint8_t *record, uint32_t capacity, const char *first)
{
    struct kvs_cpd_format format = { is_h265 ? KVS_KIND_H265 : KVS_KIND_H264, KVS_TRACK_VIDEO,
                                     KVS_NAL_ANNEXB_TO_AVCC | KVS_NAL_ANNEXB_CPD, NULL };
    uint8_t annexb[1000];
    uint32_t size = 0;
    begin();
    const struct kvs_call call = read_call(first);
    const uint32_t annexb_size = kvs_sets_write(&sets, call.pps, NULL);
    CHECK(annexb_size > 0 && annexb_size < sizeof(annexb));
    CHECK_EQ(kvs_sets_write(&sets, call.pps, annexb), annexb_size);
    CHECK_EQ(kvs_cpd_adapt(&format, annexb, annexb_size, record, capacity, &size), KVS_OK);
    return size;
}

static void test_given_codec_private_data_is_compared_by_id_and_content(void)
{
    uint8_t record[1000];
    const uint32_t size = write_record(record, sizeof(record), "V S0 P0 P1 I0");
    CHECK_EQ(kvs_sets_load(&sets, &host, record, size), KVS_OK);
    CHECK(!makes_header("I0"));
    CHECK(!makes_header("I1"));
    CHECK(!makes_header("V S0 P0 I0"));
    CHECK(makes_header("V s0 P0 I0")); /* the frames win */
    CHECK_EQ(kvs_sets_load(&sets, &host, record, size), KVS_OK);
    CHECK(makes_header("V s1 P11 I1"));
    for (uint32_t cut = 0; cut < size; cut++) CHECK_EQ(kvs_sets_load(&sets, &host, record, cut), KVS_OK);
    CHECK_EQ(kvs_sets_load(&sets, &host, (const uint8_t *)"no codec private data", 21), KVS_OK);
    CHECK(makes_header("V S0 P0 I0"));
}

/* Ids that count up for ever: H.264 has 32 SPS and 256 PPS. */
static void test_the_number_of_sets_is_bounded(void)
{
    begin();
    for (uint32_t id = 0; id < 600; id++) {
        struct made_frame frame = { .framing = framing };
        struct kvs_nal_scan scan;
        struct kvs_call call;
        made_add(&frame, made_pps(is_h265, id, 0, id % 7));
        made_add(&frame, made_sps(is_h265, id % 40, 320, id % 5));
        CHECK_EQ(kvs_nal_scan_clean(frame.bytes, frame.size, KVS_NAL_ANNEXB_TO_AVCC, &scan), KVS_OK);
        CHECK_EQ(kvs_sets_read(&sets, &host, frame.bytes, frame.size, &scan, &call), KVS_OK);
        CHECK(sets.count <= KVS_SETS_MAX && sets.size <= KVS_SETS_SIZE_MAX);
    }
    CHECK_EQ(sets.count, KVS_SETS_MAX);
}

static void test_what_is_no_set_and_no_picture(void)
{
    static const uint8_t junk[5][6] = {
        { 0, 0, 1, 0x80, 1, 2 }, { 1, 2, 3, 4, 5, 6 }, { 0, 0, 1, 0x67 }, { 0, 0, 0, 1 }, { 0, 0, 1, 0xFF, 0xFF },
    };
    begin();
    for (int index = 0; index < 5; index++) {
        struct kvs_nal_scan scan;
        struct kvs_call call;
        CHECK_EQ(kvs_nal_scan_clean(junk[index], index == 3 ? 4 : 6, KVS_NAL_ANNEXB_TO_AVCC, &scan), KVS_OK);
        CHECK_EQ(kvs_sets_read(&sets, &host, junk[index], index == 3 ? 4 : 6, &scan, &call), KVS_OK);
        CHECK_EQ(call.pps, KVS_SETS_NO_PPS);
        CHECK(index == 3 || is_h265 || call.has_picture == (index != 2));
    }
}

int main(void)
{
    host = fail_host_of(&fail);
    for (is_h265 = 0; is_h265 < 2; is_h265++) {
        for (framing = ANNEXB_4; framing < FRAMING_COUNT; framing++) {
            test_a_call_without_a_picture();
            test_sets_in_the_frames_or_before_them();
            test_only_what_pictures_use_counts();
            test_ids_that_alternate_or_count_up_are_no_change();
            test_what_comes_once_is_announced();
            test_another_content_under_the_same_id();
            test_given_codec_private_data_is_compared_by_id_and_content();
            test_the_number_of_sets_is_bounded();
            test_what_is_no_set_and_no_picture();
        }
    }
    kvs_sets_free(&sets, &host);
    CHECK(fail_host_is_clean(&fail));
    return CHECK_DONE();
}

/* Calls of a put that hold less than a frame, and codec private data out of what is put. Goal: what a session sends can
 * be decoded with its header and its frames, and no session opens for sets that only come again. */
#include "nal_made.h"
#include "service.h"

static int is_h265;
static enum framing framing;

static struct kvs_stream *opened(struct service *s, const uint8_t *cpd, uint32_t cpd_size)
{
    static struct kvs_track_config track;
    struct kvs_stream_config config = video_config();
    track = (struct kvs_track_config) { .id = 1, .type = KVS_TRACK_VIDEO, .codec_id = "V_TEST" };
    track.cpd = cpd;
    track.cpd_size = cpd_size;
    config.tracks = &track;
    config.content_type = is_h265 ? "video/h265" : "video/h264";
    config.flags |= KVS_NEGATIVE_BLOCK_TIME | KVS_WHOLE_PICTURES | KVS_NO_EMPTY_NALS;
    config.nal_flags = KVS_NAL_ANNEXB_TO_AVCC | KVS_NAL_ANNEXB_CPD;
    service_up(s, NULL);
    s->is_coded = 1;
    return service_open(s, &config);
}

/* V S s P A E as in test_sets.c; I: a key frame's slice, R: a slice of a picture with a recovery point (H.265: CRA),
 * T: a slice of another picture; the digit is the PPS. */
static struct made_nal made_of(const char *word)
{
    uint32_t id = (uint32_t)(word[1] - '0');
    switch (word[0]) {
    case 'V': return is_h265 ? made_vps() : made_aud(0);
    case 'S': return made_sps(is_h265, id, 320, 0);
    case 's': return made_sps(is_h265, id, 640, 0);
    case 'P': return made_pps(is_h265, id, 0, 0);
    case 'A': return made_aud(is_h265);
    case 'E': return made_sei(is_h265);
    case 'I': return made_slice(is_h265, is_h265 ? 19 : 5, id, 30);
    case 'R': return made_slice(is_h265, is_h265 ? 21 : 1, id, 30);
    default: return made_slice(is_h265, 1, id, 30);
    }
}

static struct made_frame made_call(const char *words, enum framing form)
{
    struct made_frame frame = { .framing = form };
    for (const char *word = words; word != NULL && *word != 0; word = strchr(word, ' ')) {
        word += *word == ' ';
        made_add(&frame, made_of(word));
    }
    return frame;
}

static kvs_status put(struct service *s, uint64_t pts_ms, const char *words, uint32_t flags)
{
    struct made_frame frame = made_call(words, framing);
    s->last_status = kvs_stream_put_frame(s->streams[1], frame.bytes, frame.size, T0 + MS(pts_ms), KVS_TIME_NONE, 0, 1,
                                          flags, s->now_hns);
    service_check(s);
    return s->last_status;
}

/* The payloads of all sessions are these calls, length-prefixed; a session's header has codec private data. */
static void check_sent(struct service *s, uint32_t sessions, uint32_t count, const char *const *wanted)
{
    uint32_t at = 0;
    CHECK(service_drain(s, s->streams[1]));
    CHECK_EQ(s->session_count, sessions);
    for (uint32_t i = 0; i < s->session_count; i++) {
        struct mkv_seen seen = session_seen(&s->sessions[i]);
        CHECK(seen.cpd_size > 0);
        for (uint32_t j = 0; j < seen.block_count && at < count; j++, at++)
            CHECK_EQ(seen.blocks[j].size, made_call(wanted[at], LENGTHS).size);
        mkv_forget(&seen);
    }
    CHECK_EQ(at, count);
    CHECK_EQ(metrics_of(s->streams[1]).frames_done, count);
}

#define CHECK_SENT(s, sessions, ...)                                                                                   \
    check_sent(s, sessions, sizeof((const char *const[]) { __VA_ARGS__ }) / sizeof(char *),                           \
               (const char *const[]) { __VA_ARGS__ })

/* ---- calls without a picture ------------------------------------------------------------------------------------- */

static void test_each_nal_in_a_call_of_its_own(void)
{
    for (uint32_t key = 0; key < 3; key++) { /* the flag is given on the picture, on the sets, on all */
        struct service s;
        struct kvs_stream *stream = opened(&s, NULL, 0);
        for (uint64_t i = 0; i < 3; i++) {
            static const char *const calls[] = { "A", "V", "S0", "P0", "E", "I0" };
            for (uint32_t j = 0; j < 6; j++) {
                int is_flagged = key == 0 ? j == 5 : key == 1 ? j == 2 || j == 3 : 1;
                CHECK_EQ(put(&s, i * 100, calls[j], is_flagged ? KVS_FRAME_KEY : 0), KVS_OK);
            }
            put(&s, i * 100 + 40, "T0", 0);
        }
        CHECK_EQ(metrics_of(stream).frames_put, 6);
        CHECK_EQ(metrics_of(stream).calls_joined, 15);
        CHECK_EQ(metrics_of(stream).fragments_put, 3);
        CHECK_EQ(metrics_of(stream).fragments_without_cpd[0], 0);
        CHECK_SENT(&s, 1, "A V S0 P0 E I0", "T0", "A V S0 P0 E I0", "T0", "A V S0 P0 E I0", "T0");
        service_down(&s);
    }
}

/* Android's MediaCodec: one buffer with the configuration, then frames without sets. */
static void test_a_configuration_buffer_first(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL, 0);
    put(&s, 0, "V S0 P0", KVS_FRAME_KEY);
    put(&s, 1000, "I0", KVS_FRAME_KEY);
    put(&s, 1040, "T0", 0);
    put(&s, 2000, "I0", KVS_FRAME_KEY);
    put(&s, 2010, "V s0 P0", 0); /* the camera was turned */
    put(&s, 3000, "I0", KVS_FRAME_KEY);
    put(&s, 4000, "I0", KVS_FRAME_KEY);
    CHECK_EQ(metrics_of(stream).fragments_without_cpd[0], 0);
    CHECK_SENT(&s, 2, "V S0 P0 I0", "T0", "I0", "V s0 P0 I0", "I0");
    service_down(&s);
}

static void test_the_count_of_what_is_settled_covers_joined_calls(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL, 0);
    put(&s, 0, "V S0 P0", 0);
    CHECK_EQ(metrics_of(stream).frames_settled[0], 0);
    put(&s, 0, "I0", KVS_FRAME_KEY);
    CHECK_EQ(metrics_of(stream).frames_settled[0], 0);
    put(&s, 100, "A", 0);
    put(&s, 100, "E", 0);
    put(&s, 100, "I0", KVS_FRAME_KEY);
    put(&s, 200, "E", 0);
    service_turn(&s);
    service_persist(&s, newest(&s));
    CHECK_EQ(metrics_of(stream).frames_settled[0], 2);
    CHECK_EQ(metrics_of(stream).frames_done, 1);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_settled[0], 6); /* nothing comes that could take the last call along */
    service_down(&s);
}

/* Nothing but sets and SEI, and more than is kept: the sets are known all the same. */
static void test_what_is_kept_without_a_picture_is_bounded(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL, 0);
    put(&s, 0, "V S0 P0", 0);
    for (uint32_t i = 0; i < 20000; i++) put(&s, 0, "E", 0);
    put(&s, 0, "I0", KVS_FRAME_KEY);
    CHECK(stream->tracks[0].joined.capacity <= 65536);
    CHECK_EQ(metrics_of(stream).frames_put, 1);
    CHECK_EQ(metrics_of(stream).calls_joined, 20001);
    CHECK_EQ(metrics_of(stream).fragments_without_cpd[0], 0);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_settled[0], 20002);
    service_down(&s);
}

static void test_a_refused_frame_leaves_what_waits_for_it(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL, 0);
    static const uint8_t broken[] = { 0, 0, 0, 0, 0, 7, 7 };
    put(&s, 0, "V S0 P0", 0);
    CHECK_EQ(kvs_stream_put_frame(stream, broken, sizeof broken, T0, KVS_TIME_NONE, 0, 1, KVS_FRAME_KEY, T0),
             KVS_E_ANNEXB_FRAME);
    put(&s, 0, "I0", KVS_FRAME_KEY);
    CHECK_SENT(&s, 1, "V S0 P0 I0");
    CHECK_EQ(kvs_stream_reset(stream, s.now_hns), KVS_OK);
    put(&s, 0, "E", 0);
    CHECK_EQ(kvs_stream_reset(stream, s.now_hns), KVS_OK);
    service_turn(&s);
    put(&s, 0, "I0", KVS_FRAME_KEY);
    CHECK_EQ(metrics_of(stream).bytes_buffered, made_call("I0", LENGTHS).size);
    service_down(&s);
}

/* ---- sets -------------------------------------------------------------------------------------------------------- */

/* Recovery points, intra refresh, open groups; H.265: CRA pictures only. No IDR ever. */
static void test_streams_without_idr(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL, 0);
    for (uint64_t i = 0; i < 4; i++) {
        put(&s, i * 100, "A V S0 P0 E R0", KVS_FRAME_KEY);
        put(&s, i * 100 + 40, "T0", 0);
    }
    CHECK_EQ(metrics_of(stream).fragments_put, 4);
    CHECK_EQ(metrics_of(stream).fragments_without_cpd[0], 0);
    CHECK_SENT(&s, 1, "A V S0 P0 E R0", "T0", "A V S0 P0 E R0", "T0", "A V S0 P0 E R0", "T0", "A V S0 P0 E R0", "T0");
    service_down(&s);
}

static void test_sets_that_alternate_open_no_session(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL, 0);
    for (uint64_t i = 0; i < 6; i++) put(&s, i * 100, i % 2 == 0 ? "V S0 P0 I0" : "V S0 P1 I1", KVS_FRAME_KEY);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(s.session_count, 1);
    service_down(&s);
}

static void test_another_size_in_mid_group_opens_a_session_at_the_next_key_frame(void)
{
    struct service s;
    opened(&s, NULL, 0);
    put(&s, 0, "V S0 P0 I0", KVS_FRAME_KEY);
    put(&s, 40, "V s0 P0 I0", 0); /* not flagged: it can open nothing */
    put(&s, 80, "T0", 0);
    put(&s, 120, "I0", KVS_FRAME_KEY);
    CHECK_SENT(&s, 2, "V S0 P0 I0", "V s0 P0 I0", "T0", "I0");
    service_down(&s);
}

/* A long group goes on in another fragment, which a reader may begin with: what its key frame brought has to be in the
 * header there. */
static void test_a_group_that_is_split_has_its_sets_in_each_session(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL, 0);
    stream->limits.fragment_duration_max_hns = 10 * KVS_HNS_PER_SECOND;
    put(&s, 0, "V S0 P0 I0", KVS_FRAME_KEY);
    put(&s, 1000, "V S0 P1 I1", KVS_FRAME_KEY);
    put(&s, 6000, "T1", 0);
    put(&s, 12000, "T1", 0);
    put(&s, 13000, "T1", 0);
    CHECK_EQ(metrics_of(stream).fragments_split, 1);
    CHECK_SENT(&s, 2, "V S0 P0 I0", "V S0 P1 I1", "T1", "T1", "T1");
    service_down(&s);
}

static uint32_t record_of(const char *words, uint8_t *record, uint32_t capacity)
{
    struct kvs_cpd_format format = { is_h265 ? KVS_KIND_H265 : KVS_KIND_H264, KVS_TRACK_VIDEO,
                                     KVS_NAL_ANNEXB_TO_AVCC | KVS_NAL_ANNEXB_CPD, NULL };
    struct made_frame annexb = made_call(words, ANNEXB_4);
    uint32_t size = 0;
    CHECK_EQ(kvs_cpd_adapt(&format, annexb.bytes, annexb.size, record, capacity, &size), KVS_OK);
    return size;
}

static void test_frames_win_over_what_was_given(void)
{
    uint8_t record[500];
    struct service s;
    opened(&s, record, record_of("V S0 P0", record, sizeof record));
    put(&s, 0, "I0", KVS_FRAME_KEY);
    put(&s, 100, "V S0 P0 I0", KVS_FRAME_KEY); /* the same: no session */
    put(&s, 200, "V s0 P0 I0", KVS_FRAME_KEY); /* a file whose codec data changes */
    put(&s, 300, "V s0 P0 I0", KVS_FRAME_KEY);
    CHECK_SENT(&s, 2, "I0", "V S0 P0 I0", "V s0 P0 I0", "V s0 P0 I0");
    service_down(&s);
    opened(&s, record, record_of("V s0 P0", record, sizeof record)); /* wrong from the beginning */
    put(&s, 0, "V S0 P0 I0", KVS_FRAME_KEY);
    CHECK_SENT(&s, 1, "V S0 P0 I0");
    service_down(&s);
}

static void test_codec_private_data_set_by_the_caller(void)
{
    uint8_t record[500];
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL, 0);
    put(&s, 0, "V S0 P0 I0", KVS_FRAME_KEY);
    uint32_t size = record_of("V s0 P0", record, sizeof record);
    CHECK_EQ(kvs_stream_set_cpd(stream, 1, record, size), KVS_OK);
    put(&s, 100, "I0", KVS_FRAME_KEY);
    put(&s, 200, "V s0 P0 I0", KVS_FRAME_KEY);
    CHECK_SENT(&s, 2, "V S0 P0 I0", "I0", "V s0 P0 I0");
    service_down(&s);
}

static void test_fragments_without_codec_private_data_are_counted(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL, 0);
    put(&s, 0, "I0", KVS_FRAME_KEY);
    put(&s, 100, "I0", KVS_FRAME_KEY);
    CHECK_EQ(metrics_of(stream).fragments_without_cpd[0], 2);
    put(&s, 200, "V S0 P0 I0", KVS_FRAME_KEY);
    CHECK_EQ(metrics_of(stream).fragments_without_cpd[0], 2);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(s.session_count, 2);
    service_down(&s);
}

/* ---- empty NALs -------------------------------------------------------------------------------------------------- */

static void test_empty_nals_are_left_out_of_frames(void)
{
    static const struct made_nal empty = { .size = 0 };
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL, 0);
    struct made_frame frame = { .framing = framing };
    made_add(&frame, empty);
    made_add(&frame, made_of("V0"));
    made_add(&frame, made_of("S0"));
    made_add(&frame, empty);
    made_add(&frame, made_of("P0"));
    made_add(&frame, made_of("I0"));
    made_add(&frame, empty);
    CHECK_EQ(kvs_stream_put_frame(stream, frame.bytes, frame.size, T0, T0, 0, 1, KVS_FRAME_KEY, T0), KVS_OK);
    struct made_frame nothing = { .framing = framing };
    made_add(&nothing, empty);
    CHECK_EQ(kvs_stream_put_frame(stream, nothing.bytes, nothing.size, T0, T0, 0, 1, 0, T0), KVS_OK);
    CHECK_SENT(&s, 1, "V0 S0 P0 I0");
    service_down(&s);
}

/* Every allocation fails once: what was put before is unharmed, and the same put succeeds then. */
static void test_no_memory(void)
{
    for (uint64_t nth = 1; nth < 40; nth++) {
        struct service s;
        static const char *const calls[] = { "A", "V S0 P0", "I0", "V s0 P0 I0", "E", "T0" };
        opened(&s, NULL, 0);
        s.may_fail = 1;
        s.fail.fail_at = s.fail.alloc_count + nth;
        for (uint32_t i = 0; i < 6; i++) {
            kvs_status status = put(&s, i * 100, calls[i], i < 4 ? KVS_FRAME_KEY : 0);
            if (status == KVS_E_NOMEM) status = put(&s, i * 100, calls[i], i < 4 ? KVS_FRAME_KEY : 0);
            CHECK_EQ(status, KVS_OK);
        }
        CHECK_EQ(metrics_of(s.streams[1]).frames_put, 3);
        CHECK_EQ(metrics_of(s.streams[1]).fragments_without_cpd[0], 0);
        service_down(&s);
    }
}

int main(void)
{
    for (is_h265 = 0; is_h265 < 2; is_h265++) {
        for (framing = ANNEXB_4; framing < FRAMING_COUNT; framing++) {
            test_each_nal_in_a_call_of_its_own();
            test_a_configuration_buffer_first();
            test_the_count_of_what_is_settled_covers_joined_calls();
            test_what_is_kept_without_a_picture_is_bounded();
            test_a_refused_frame_leaves_what_waits_for_it();
            test_streams_without_idr();
            test_sets_that_alternate_open_no_session();
            test_another_size_in_mid_group_opens_a_session_at_the_next_key_frame();
            test_a_group_that_is_split_has_its_sets_in_each_session();
            test_frames_win_over_what_was_given();
            test_codec_private_data_set_by_the_caller();
            test_fragments_without_codec_private_data_are_counted();
            test_empty_nals_are_left_out_of_frames();
            test_no_memory();
        }
    }
    return CHECK_DONE();
}

/* Display and decoding times. Goal: the time to show a frame goes out as it is given while the service can take it;
 * what is added to it otherwise is reported, and is added no longer than needed. */
#include "service.h"

#define TC(ms) (T0 / KVS_HNS_PER_MS + (ms))
#define NO_DTS UINT64_MAX
enum { VIDEO = 1, AUDIO = 2 };

static const struct kvs_track_config TRACKS[] = {
    { .id = VIDEO, .type = KVS_TRACK_VIDEO, .codec_id = "V_MPEG4/ISO/AVC" },
    { .id = AUDIO, .type = KVS_TRACK_AUDIO, .codec_id = "A_AAC" },
};

static struct kvs_stream *opened(struct service *s, uint32_t track_count, uint32_t policy)
{
    struct kvs_stream_config config = video_config();
    config.tracks = TRACKS;
    config.track_count = track_count;
    config.order = KVS_ORDER_CUT;
    config.content_type = "video/h264,audio/aac";
    config.flags |= KVS_NEGATIVE_BLOCK_TIME;
    config.backward_policy = policy;
    config.fragment_duration_max_hns = 199 * KVS_HNS_PER_SECOND / 10; /* as the facade sets it */
    service_up(s, NULL);
    return service_open(s, &config);
}

static kvs_status put(struct service *s, uint64_t track, uint64_t pts_ms, uint64_t dts_ms, uint32_t flags)
{
    uint8_t bytes[64];
    uint64_t dts_hns = dts_ms == NO_DTS ? KVS_TIME_NONE : T0 + MS(dts_ms);
    frame_fill(bytes, sizeof bytes, s->frame_number);
    s->last_status = kvs_stream_put_frame(s->streams[1], bytes, sizeof bytes, T0 + MS(pts_ms), dts_hns, 0, track, flags,
                                          s->now_hns);
    if (s->last_status == KVS_OK) s->frame_number++;
    service_check(s);
    return s->last_status;
}

static kvs_status put_pts(struct service *s, uint64_t track, uint64_t pts_ms, uint32_t flags)
{
    return put(s, track, pts_ms, NO_DTS, flags);
}

/* Absolute times of the blocks of a track, all sessions, in the order in which they were sent. */
static uint32_t written(struct service *s, uint32_t track, uint64_t *times_out, uint32_t max)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->session_count; i++) {
        struct mkv_seen seen = session_seen(&s->sessions[i]);
        for (uint32_t j = 0, cluster = 0; j < seen.block_count && count < max; j++) {
            while (j >= seen.clusters[cluster].first_block + seen.clusters[cluster].block_count) cluster++;
            if (seen.blocks[j].track != track) continue;
            times_out[count++] = seen.clusters[cluster].tc + (uint64_t)(int64_t)seen.blocks[j].tc - TC(0);
        }
        mkv_forget(&seen);
    }
    return count;
}

static void check_written(struct service *s, uint32_t track, const uint64_t *wanted, uint32_t count)
{
    uint64_t times[64];
    CHECK(service_drain(s, s->streams[1]));
    if (!CHECK_EQ(written(s, track, times, 64), count)) return;
    for (uint32_t i = 0; i < count; i++) CHECK_EQ(times[i], wanted[i]);
}

#define CHECK_WRITTEN(s, track, ...)                                                                                   \
    check_written(s, track, (const uint64_t[]) { __VA_ARGS__ }, sizeof((uint64_t[]) { __VA_ARGS__ }) / 8)

/* ---- B frames ---------------------------------------------------------------------------------------------------- */

static void test_b_frames_without_decoding_times_keep_their_times(void)
{
    for (uint32_t policy = KVS_BACKWARD_SHIFT; policy <= KVS_BACKWARD_ERROR; policy++) {
        struct service s;
        struct kvs_stream *stream = opened(&s, 1, policy);
        static const uint64_t pts[] = { 0, 120, 40, 80, 240, 160, 200, 360, 280, 320 };
        for (uint32_t i = 0; i < 10; i++) CHECK_EQ(put_pts(&s, VIDEO, pts[i], i == 0 ? KVS_FRAME_KEY : 0), KVS_OK);
        CHECK_EQ(put_pts(&s, VIDEO, 480, KVS_FRAME_KEY), KVS_OK);
        CHECK_EQ(put_pts(&s, VIDEO, 400, 0), KVS_OK); /* leading pictures of an open group */
        CHECK_EQ(put_pts(&s, VIDEO, 440, 0), KVS_OK);
        CHECK_WRITTEN(&s, VIDEO, 0, 120, 40, 80, 240, 160, 200, 360, 280, 320, 480, 400, 440);
        CHECK_EQ(metrics_of(stream).times_shifted, 0);
        CHECK_EQ(metrics_of(stream).times_bumped, 0);
        CHECK_EQ(metrics_of(stream).shift_hns, 0);
        CHECK_EQ(s.session_count, 1);
        service_down(&s);
    }
}

static void test_a_pyramid_of_b_frames_keeps_its_times(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, 1, KVS_BACKWARD_SHIFT);
    for (uint64_t group = 0; group < 3; group++) {
        static const uint64_t pts[] = { 0, 320, 160, 80, 40, 120, 240, 200, 280 };
        for (uint32_t i = 0; i < 9; i++)
            put_pts(&s, VIDEO, 400 * group + pts[i], i == 0 ? KVS_FRAME_KEY : 0);
    }
    CHECK_WRITTEN(&s, VIDEO, 0, 320, 160, 80, 40, 120, 240, 200, 280, 400, 720, 560, 480, 440, 520, 640, 600, 680, 800,
                  1120, 960, 880, 840, 920, 1040, 1000, 1080);
    CHECK_EQ(metrics_of(stream).times_shifted, 0);
    service_down(&s);
}

/* A reader that guessed: too late, all the same, or one after the other from 0. */
static void test_wrong_decoding_times_do_not_move_what_is_shown(void)
{
    static const uint64_t pts[] = { 0, 120, 40, 80, 240, 160, 200 };
    static const uint64_t dts[4][7] = { { 2000, 2040, 80, 120, 160, 200, 240 },
                                        { 0, 0, 0, 0, 0, 0, 0 },
                                        { 0, 120, 40, 80, 240, 160, 200 },
                                        { 9000, 8000, 7000, 6000, 5000, 4000, 3000 } };
    for (uint32_t kind = 0; kind < 4; kind++) {
        struct service s;
        struct kvs_stream *stream = opened(&s, 1, KVS_BACKWARD_SHIFT);
        for (uint32_t i = 0; i < 7; i++) put(&s, VIDEO, pts[i], dts[kind][i], i == 0 ? KVS_FRAME_KEY : 0);
        put(&s, VIDEO, 280, 280, KVS_FRAME_KEY);
        CHECK_WRITTEN(&s, VIDEO, 0, 120, 40, 80, 240, 160, 200, 280);
        CHECK_EQ(metrics_of(stream).times_shifted, 0);
        service_down(&s);
    }
}

static void test_sound_beside_b_frames_stays_in_place(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, 2, KVS_BACKWARD_SHIFT);
    static const uint64_t pts[] = { 0, 120, 40, 80 };
    for (uint64_t i = 0; i < 16; i++) {
        put_pts(&s, VIDEO, i / 4 * 160 + pts[i % 4], i % 8 == 0 ? KVS_FRAME_KEY : 0);
        put_pts(&s, AUDIO, i * 40, KVS_FRAME_KEY); /* a demuxer flags all sound */
    }
    CHECK_WRITTEN(&s, AUDIO, 0, 40, 80, 120, 160, 200, 240, 280, 320, 360, 400, 440, 480, 520, 560, 600);
    CHECK_EQ(metrics_of(stream).times_shifted, 0);
    service_down(&s);
}

/* ---- steps back, and the end of a shift -------------------------------------------------------------------------- */

static void test_a_source_that_begins_anew_goes_on_and_keeps_its_shift(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, 1, KVS_BACKWARD_SHIFT);
    for (uint64_t i = 0; i < 4; i++) put_pts(&s, VIDEO, 10000 + i * 40, i == 0 ? KVS_FRAME_KEY : 0);
    for (uint64_t i = 0; i < 4; i++) put_pts(&s, VIDEO, i * 40, i % 2 == 0 ? KVS_FRAME_KEY : 0);
    CHECK_EQ(metrics_of(stream).shift_hns, MS(10160));
    CHECK_WRITTEN(&s, VIDEO, 10000, 10040, 10080, 10120, 10160, 10200, 10240, 10280);
    CHECK_EQ(metrics_of(stream).times_shifted, 1);
    CHECK_EQ(s.count[KVS_ACTION_TIME_SHIFT_ENDED], 0);
    CHECK_EQ(s.session_count, 1);
    service_down(&s);
}

static void test_a_shift_ends_at_a_key_frame_that_lies_after_everything(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, 1, KVS_BACKWARD_SHIFT);
    put_pts(&s, VIDEO, 1000, KVS_FRAME_KEY);
    put_pts(&s, VIDEO, 1040, 0);
    put_pts(&s, VIDEO, 900, KVS_FRAME_KEY); /* 180 ms are added */
    put_pts(&s, VIDEO, 940, 0);
    put_pts(&s, VIDEO, 1180, 0); /* after all that was put, but no key frame */
    put_pts(&s, VIDEO, 1400, KVS_FRAME_KEY);
    put_pts(&s, VIDEO, 1440, 0);
    CHECK_WRITTEN(&s, VIDEO, 1000, 1040, 1080, 1120, 1360, 1400, 1440);
    CHECK_EQ(metrics_of(stream).times_shifted, 1);
    CHECK_EQ(metrics_of(stream).shift_hns, 0);
    CHECK_EQ(s.count[KVS_ACTION_TIME_SHIFT_ENDED], 1);
    CHECK_EQ(s.last[KVS_ACTION_TIME_SHIFT_ENDED].b, MS(180));
    service_down(&s);
}

/* The clock went back by an hour and comes forward again in mid group: the given times are true from there on. */
static void test_a_clock_that_is_right_again_ends_the_shift_of_each_track(void)
{
    struct service s;
    const uint64_t hour = 3600000;
    struct kvs_stream *stream = opened(&s, 2, KVS_BACKWARD_SHIFT);
    for (uint64_t i = 0; i < 60; i++) {
        uint64_t off = i >= 20 && i < 45 ? hour : 0;
        put_pts(&s, VIDEO, 2 * hour + i * 40 - off, i % 10 == 0 ? KVS_FRAME_KEY : 0);
        put_pts(&s, AUDIO, 2 * hour + i * 40 - off, 0);
    }
    uint64_t times[64];
    CHECK(service_drain(&s, stream));
    for (uint32_t track = VIDEO; track <= AUDIO; track++) {
        CHECK_EQ(written(&s, track, times, 64), 60);
        for (uint32_t i = 0; i < 60; i++) CHECK_EQ(times[i], 2 * hour + i * 40);
    }
    CHECK_EQ(metrics_of(stream).times_shifted, 2);
    CHECK_EQ(metrics_of(stream).shift_hns, 0);
    CHECK_EQ(metrics_of(stream).times_jumped, 0);
    CHECK_EQ(s.count[KVS_ACTION_TIME_SHIFT_ENDED], 2);
    service_down(&s);
}

/* Silence of one track is no clock that is right again: sound stays beside the pictures. */
static void test_tracks_stay_in_step_while_one_pauses(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, 2, KVS_BACKWARD_SHIFT);
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t off = i >= 10 ? 2000 : 0;
        s.now_hns += MS(40);
        put_pts(&s, VIDEO, 10000 + i * 40 - off, i % 10 == 0 ? KVS_FRAME_KEY : 0);
        if (i < 30 || i > 160) put_pts(&s, AUDIO, 10000 + i * 40 - off, 0);
        service_turn(&s);
    }
    uint64_t times[64];
    CHECK(service_drain(&s, stream));
    uint32_t count = written(&s, AUDIO, times, 64);
    CHECK(count > 60);
    for (uint32_t i = 30; i < count; i++) CHECK_EQ(times[i], 10000 + (161 + i - 30) * 40);
    CHECK_EQ(metrics_of(stream).shift_hns, MS(2000));
    service_down(&s);
}

static void test_a_track_that_begins_late_is_shifted_as_the_others_are(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, 2, KVS_BACKWARD_SHIFT);
    for (uint64_t i = 0; i < 10; i++) put_pts(&s, VIDEO, 10000 + i * 40, i == 0 ? KVS_FRAME_KEY : 0);
    for (uint64_t i = 0; i < 20; i++) {
        put_pts(&s, VIDEO, i * 40, i % 10 == 0 ? KVS_FRAME_KEY : 0);
        if (i >= 10) put_pts(&s, AUDIO, i * 40, 0);
    }
    CHECK_WRITTEN(&s, AUDIO, 10800, 10840, 10880, 10920, 10960, 11000, 11040, 11080, 11120, 11160);
    CHECK_EQ(metrics_of(stream).shift_hns, MS(10400));
    service_down(&s);
}

static void test_a_step_back_within_the_first_group(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, 1, KVS_BACKWARD_SHIFT);
    put_pts(&s, VIDEO, 60000, KVS_FRAME_KEY);
    put_pts(&s, VIDEO, 60040, 0);
    put_pts(&s, VIDEO, 10000, 0);
    put_pts(&s, VIDEO, 10040, 0);
    CHECK_WRITTEN(&s, VIDEO, 60000, 60040, 60080, 60120);
    CHECK_EQ(metrics_of(stream).times_shifted, 1);
    service_down(&s);
}

/* A clock that jumps ahead splits the group of pictures; when it comes back, the fragment of the split holds nothing
 * that lies far before it. Any place of the step back, with decoding times that rise (20 s) or without (5 s). */
static void test_a_step_back_after_a_split_goes_on(void)
{
    static const uint64_t ahead[] = { 21000, 30000, 33000, 40000, 120000 };
    for (uint32_t i = 0; i < sizeof ahead / sizeof ahead[0]; i++) {
        for (uint64_t has_dts = 0; has_dts < 2; has_dts++) {
            for (uint64_t back = 1000; back + (has_dts ? 20000 : 5000) < ahead[i]; back += 4000) {
                struct service s;
                struct kvs_stream *stream = opened(&s, 1, KVS_BACKWARD_SHIFT);
                put_pts(&s, VIDEO, 0, KVS_FRAME_KEY);
                put_pts(&s, VIDEO, 40, 0);
                put_pts(&s, VIDEO, ahead[i], 0);
                CHECK_EQ(put(&s, VIDEO, back, has_dts ? ahead[i] + 40 : NO_DTS, 0), KVS_OK);
                CHECK_EQ(put(&s, VIDEO, back + 40, has_dts ? ahead[i] + 80 : NO_DTS, 0), KVS_OK);
                CHECK(service_drain(&s, stream));
                CHECK_EQ(metrics_of(stream).frames_done + metrics_of(stream).frames_buffered, 5);
                CHECK(metrics_of(stream).times_shifted > 0);
                service_down(&s);
            }
        }
    }
}

static void test_jitter_moves_no_picture(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, 1, KVS_BACKWARD_SHIFT);
    put_pts(&s, VIDEO, 0, KVS_FRAME_KEY);
    put_pts(&s, VIDEO, 45, 0);
    put_pts(&s, VIDEO, 43, 0);
    put_pts(&s, VIDEO, 43, 0); /* the same again is moved by one unit */
    put_pts(&s, VIDEO, 120, 0);
    put_pts(&s, VIDEO, 118, 0);
    put_pts(&s, VIDEO, 160, KVS_FRAME_KEY);
    CHECK_WRITTEN(&s, VIDEO, 0, 45, 43, 44, 120, 118, 160);
    CHECK_EQ(metrics_of(stream).times_shifted, 0);
    CHECK_EQ(metrics_of(stream).times_bumped, 1);
    service_down(&s);
}

/* An encoder that begins again inside an open group: the pictures shown before its first key frame lie among those sent
 * before. They are true in a session of their own. */
static void test_leading_pictures_of_an_encoder_that_begins_again(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, 1, KVS_BACKWARD_SHIFT);
    put_pts(&s, VIDEO, 0, KVS_FRAME_KEY);
    put_pts(&s, VIDEO, 120, 0);
    put_pts(&s, VIDEO, 200, KVS_FRAME_KEY);
    put_pts(&s, VIDEO, 80, 0);
    put_pts(&s, VIDEO, 160, 0);
    put_pts(&s, VIDEO, 240, 0);
    CHECK_WRITTEN(&s, VIDEO, 0, 120, 200, 80, 160, 240);
    CHECK_EQ(metrics_of(stream).times_shifted, 0);
    CHECK_EQ(s.session_count, 2);
    service_down(&s);
}

/* A jittering key frame at the edge is the one case that moves; at the next key frame all is as given again. */
static void test_a_key_frame_before_its_group_costs_one_group_of_shift(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, 1, KVS_BACKWARD_SHIFT);
    put_pts(&s, VIDEO, 0, KVS_FRAME_KEY);
    put_pts(&s, VIDEO, 40, 0);
    put_pts(&s, VIDEO, 39, KVS_FRAME_KEY);
    put_pts(&s, VIDEO, 80, 0);
    put_pts(&s, VIDEO, 200, KVS_FRAME_KEY);
    CHECK_WRITTEN(&s, VIDEO, 0, 40, 80, 121, 200);
    CHECK_EQ(metrics_of(stream).shift_hns, 0);
    service_down(&s);
}

static void test_sound_alone_with_jitter_is_written_as_given(void)
{
    static const struct kvs_track_config track = { .id = 1, .type = KVS_TRACK_AUDIO, .codec_id = "A_AAC" };
    struct kvs_stream_config config = video_config();
    struct service s;
    config.tracks = &track;
    config.content_type = "audio/aac";
    config.flags |= KVS_NEGATIVE_BLOCK_TIME | KVS_SPARSE_KEYS;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    for (uint64_t i = 0; i < 50; i++) put_pts(&s, 1, 100 + i * 100 - (i % 2 == 0 ? 0 : 101), KVS_FRAME_KEY);
    CHECK(service_drain(&s, stream));
    uint64_t times[64];
    CHECK_EQ(written(&s, 1, times, 64), 50);
    for (uint64_t i = 1; i < 50; i++) CHECK_EQ(times[i], 100 + i * 100 - (i % 2 == 0 ? 0 : 101));
    CHECK_EQ(metrics_of(stream).times_shifted, 0);
    CHECK_EQ(metrics_of(stream).frames_done, 50);
    service_down(&s);
}

/* After an end of fragment the next sound has to begin one, also when its time went back a little. */
static void test_sound_alone_goes_on_after_an_end_of_fragment(void)
{
    static const struct kvs_track_config track = { .id = 1, .type = KVS_TRACK_AUDIO, .codec_id = "A_AAC" };
    struct kvs_stream_config config = video_config();
    struct service s;
    config.tracks = &track;
    config.content_type = "audio/aac";
    config.flags |= KVS_NEGATIVE_BLOCK_TIME | KVS_SPARSE_KEYS;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    for (uint64_t i = 0; i < 40; i++) put_pts(&s, 1, i * 100, 0);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_OK);
    for (uint64_t i = 0; i < 40; i++) put_pts(&s, 1, 3500 + i * 100, 0);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 80);
    CHECK_EQ(metrics_of(stream).times_shifted, 1);
    service_down(&s);
}

static void test_a_reset_forgets_the_shift(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, 1, KVS_BACKWARD_SHIFT);
    put_pts(&s, VIDEO, 10000, KVS_FRAME_KEY);
    put_pts(&s, VIDEO, 0, KVS_FRAME_KEY);
    CHECK(metrics_of(stream).shift_hns != 0);
    CHECK_EQ(kvs_stream_reset(stream, s.now_hns), KVS_OK);
    CHECK_EQ(metrics_of(stream).shift_hns, 0);
    service_turn(&s);
    put_pts(&s, VIDEO, 100, KVS_FRAME_KEY);
    CHECK(service_drain(&s, stream));
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.clusters[0].tc, TC(100));
    mkv_forget(&seen);
    service_down(&s);
}

/* A caller who asked for errors and gives decoding times gets an error when those go back; without them, when what is
 * shown goes back. */
static void test_the_policy_error_without_decoding_times(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, 1, KVS_BACKWARD_ERROR);
    put_pts(&s, VIDEO, 1000, KVS_FRAME_KEY);
    put_pts(&s, VIDEO, 1120, 0);
    CHECK_EQ(put_pts(&s, VIDEO, 1040, 0), KVS_OK);
    CHECK_EQ(put_pts(&s, VIDEO, 1080, KVS_FRAME_KEY), KVS_E_FRAME_TIMESTAMP);
    CHECK_EQ(put_pts(&s, VIDEO, 1160, KVS_FRAME_KEY), KVS_OK);
    CHECK_EQ(metrics_of(stream).frames_put, 4);
    service_down(&s);
}

int main(void)
{
    test_b_frames_without_decoding_times_keep_their_times();
    test_a_pyramid_of_b_frames_keeps_its_times();
    test_wrong_decoding_times_do_not_move_what_is_shown();
    test_sound_beside_b_frames_stays_in_place();
    test_a_source_that_begins_anew_goes_on_and_keeps_its_shift();
    test_a_shift_ends_at_a_key_frame_that_lies_after_everything();
    test_a_clock_that_is_right_again_ends_the_shift_of_each_track();
    test_tracks_stay_in_step_while_one_pauses();
    test_a_track_that_begins_late_is_shifted_as_the_others_are();
    test_a_step_back_within_the_first_group();
    test_a_step_back_after_a_split_goes_on();
    test_jitter_moves_no_picture();
    test_leading_pictures_of_an_encoder_that_begins_again();
    test_a_key_frame_before_its_group_costs_one_group_of_shift();
    test_sound_alone_with_jitter_is_written_as_given();
    test_sound_alone_goes_on_after_an_end_of_fragment();
    test_a_reset_forgets_the_shift();
    test_the_policy_error_without_decoding_times();
    return CHECK_DONE();
}

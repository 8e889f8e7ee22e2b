/* Frames in, bytes out. Goal: what is put comes out whole, in order and with the times it was given; a frame that can
 * not be taken changes nothing; every way of saying "no" has its own status. */
#include "service.h"

#define TC(ms) (T0 / KVS_HNS_PER_MS + (ms))

static struct kvs_stream *opened(struct service *s, const struct kvs_stream_config *config)
{
    service_up(s, NULL);
    return service_open(s, config);
}

static void test_reading_before_and_after_the_connection(void)
{
    struct service s;
    uint8_t buffer[2000];
    enum kvs_read_state state = KVS_READ_MORE;
    struct kvs_stream *stream = opened(&s, NULL);
    s.hold = HOLD(KVS_ACTION_PUT_MEDIA);
    s.frame_size = 1000;
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    service_turn(&s);
    uint64_t handle = newest(&s)->handle;
    CHECK_EQ(kvs_upload_read(stream, handle, buffer, sizeof buffer, &state, s.now_hns), KVS_E_UPLOAD_STATE);
    CHECK_EQ(kvs_upload_read(stream, 99, buffer, sizeof buffer, &state, s.now_hns), KVS_E_UNKNOWN_UPLOAD);
    REPLACED("CD-02", "KVS_E_UPLOAD_STATE: the handle is known, its connection is not open");
    HELD("CD-24");
    newest(&s)->is_silent = 1;
    service_answer(&s, KVS_ACTION_PUT_MEDIA, KVS_RESULT_OK);
    service_turn(&s);
    kvs_status got = kvs_upload_read(stream, handle, buffer, sizeof buffer, &state, s.now_hns);
    CHECK(got > 1000 && got < 2000);
    CHECK_EQ(state, KVS_READ_WAIT);
    CHECK_EQ(kvs_upload_read(stream, handle, buffer, sizeof buffer, &state, s.now_hns), 0);
    CHECK_EQ(state, KVS_READ_WAIT);
    CHECK_EQ(kvs_upload_read(stream, handle, buffer, 0, &state, s.now_hns), KVS_E_INVALID_ARG);
    HELD("CD-03");
    service_down(&s);
}

static void test_data_is_announced(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL);
    s.hold = HOLD(KVS_ACTION_PUT_MEDIA);
    s.is_silent = 1;
    s.frame_size = 10000;
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_DATA], 0);
    service_answer(&s, KVS_ACTION_PUT_MEDIA, KVS_RESULT_OK);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_DATA], 1);
    service_put(&s, stream, 40, 0);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_DATA], 1); /* its reader has not read yet */
    session_read_all(&s, newest(&s));
    service_put(&s, stream, 80, 0);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_DATA], 2);
    CHECK_EQ(s.last[KVS_ACTION_DATA].a, 10000 + KVS_MKV_BLOCK_SIZE);
    REPLACED("CD-22", "an announcement is made once per waiting reader, not once per put");
    service_down(&s);
}

/* The announcement of a handle that goes leaves with it: a handle that is gone is not read, and the handle that takes
 * its place is announced for itself. */
static void test_an_announcement_goes_with_its_handle(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL);
    s.hold = HOLD(KVS_ACTION_PUT_MEDIA);
    s.is_silent = 1;
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    service_turn(&s);
    service_answer(&s, KVS_ACTION_PUT_MEDIA, KVS_RESULT_OK); /* DATA of the first handle waits in the queue */
    session_drop(&s, newest(&s), KVS_RESULT_CONNECTION_TIMEOUT);
    s.hold = 0;
    service_turn(&s);
    CHECK_EQ(s.session_count, 2);
    CHECK_EQ(s.count[KVS_ACTION_DATA], 1);
    CHECK_EQ(s.last[KVS_ACTION_DATA].upload, newest(&s)->handle);
    CHECK_EQ(s.last[KVS_ACTION_DATA].c, 0);
    service_down(&s);
}

/* What the usual calls cost in locks; a drain takes the client's alone, however many streams have something. */
static void test_locks_of_the_usual_calls(void)
{
    struct service s;
    struct kvs_stream_config config = video_config();
    struct kvs_stream *stream = opened(&s, NULL);
    struct kvs_action actions[64];
    static const uint8_t bytes[20000];
    uint8_t buffer[4000];
    enum kvs_read_state state = KVS_READ_MORE;
    config.name = "second";
    struct kvs_stream *second = service_open(&s, &config);
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    service_put(&s, second, 0, KVS_FRAME_KEY);
    service_turn(&s);
    service_put(&s, stream, 40, 0); /* announced: the reader waits */
    service_put(&s, second, 40, 0);
    uint64_t before = s.fail.lock_pairs, pts_hns = T0 + MS(80);
    CHECK_EQ(kvs_stream_put_frame(stream, bytes, 1000, pts_hns, pts_hns, 0, 1, 0, s.now_hns), KVS_OK);
    CHECK_EQ(s.fail.lock_pairs - before, 1);
    before = s.fail.lock_pairs;
    CHECK(kvs_upload_read(stream, session_at(&s, 0)->handle, buffer, 1000, &state, s.now_hns) > 0);
    CHECK_EQ(s.fail.lock_pairs - before, 1);
    before = s.fail.lock_pairs;
    CHECK_EQ(kvs_client_next_actions(s.client, actions, 64), 2); /* DATA of both */
    CHECK_EQ(s.fail.lock_pairs - before, 1);
    before = s.fail.lock_pairs;
    pts_hns += MS(40);
    CHECK_EQ(kvs_stream_put_frame(stream, bytes, sizeof bytes, pts_hns, pts_hns, 0, 1, 0, s.now_hns), KVS_OK);
    CHECK_EQ(s.fail.lock_pairs - before, 3); /* the writer's, and the stream's before and after the copy */
    service_down(&s);
}

static void test_refusals_change_nothing(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL);
    uint8_t byte[16] = { 0 };
    uint64_t late = KVS_HNS_MEDIA_MAX + 1;
    CHECK_EQ(kvs_stream_put_frame(stream, byte, 0, T0, T0, 0, 1, 1, T0), KVS_E_FRAME_DATA);
    CHECK_EQ(kvs_stream_put_frame(stream, NULL, 4, T0, T0, 0, 1, 1, T0), KVS_E_FRAME_DATA);
    CHECK_EQ(kvs_stream_put_frame(stream, byte, 4, T0, T0, 0, 2, 1, T0), KVS_E_UNKNOWN_TRACK);
    CHECK_EQ(kvs_stream_put_frame(stream, byte, 4, late, T0, 0, 1, 1, T0), KVS_E_FRAME_TIMESTAMP_RANGE);
    CHECK_EQ(kvs_stream_put_frame(stream, byte, 4, T0, late, 0, 1, 1, T0), KVS_E_FRAME_TIMESTAMP_RANGE);
    CHECK_EQ(kvs_stream_put_frame(stream, byte, 4, T0, T0, late, 1, 1, T0), KVS_E_FRAME_TIMESTAMP_RANGE);
    HELD("CD-23");
    service_put(&s, stream, 1000, KVS_FRAME_KEY);
    struct put_as before = { .dts_ms = 1040 }, after = { .dts_ms = 34000 };
    CHECK_EQ(service_put_as(&s, stream, 960, before), KVS_E_FRAME_TIMESTAMP); /* pts before its fragment */
    CHECK_EQ(service_put_as(&s, stream, 33768, after), KVS_E_LARGE_TIMECODE);
    CHECK_EQ(metrics_of(stream).frames_put, 1);
    CHECK_EQ(metrics_of(stream).frames_refused, 2);
    CHECK_EQ(service_put_as(&s, stream, 33767, after), KVS_OK);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 2);
    service_down(&s);
}

static void test_negative_block_times(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.flags |= KVS_NEGATIVE_BLOCK_TIME;
    struct kvs_stream *stream = opened(&s, &config);
    struct put_as as = { .dts_ms = 50000, .flags = KVS_FRAME_KEY };
    CHECK_EQ(service_put_as(&s, stream, 50000, as), KVS_OK);
    as.flags = 0;
    as.dts_ms++;
    CHECK_EQ(service_put_as(&s, stream, 50000 - 32768, as), KVS_OK);
    as.dts_ms++;
    CHECK_EQ(service_put_as(&s, stream, 50000 - 32769, as), KVS_E_FRAME_TIMESTAMP);
    CHECK_EQ(service_put_as(&s, stream, 49920, as), KVS_OK);
    service_turn(&s);
    struct mkv_seen seen = session_seen(newest(&s));
    if (CHECK_EQ(seen.block_count, 3)) {
        CHECK_EQ(seen.blocks[1].tc, -32768);
        CHECK_EQ(seen.blocks[2].tc, -80);
    }
    mkv_forget(&seen);
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

/* ---- dts that goes back ------------------------------------------------------------------------------------------ */

static void test_backward_shift(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL);
    service_put_fragments(&s, stream, 10000, 2, 5);
    service_put_fragments(&s, stream, 0, 2, 5); /* the source began again */
    service_turn(&s);
    CHECK_EQ(metrics_of(stream).times_shifted, 1);
    CHECK_EQ(s.count[KVS_ACTION_TIME_SHIFTED], 1);
    CHECK_EQ(s.last[KVS_ACTION_TIME_SHIFTED].a, 1);
    CHECK_EQ(s.last[KVS_ACTION_TIME_SHIFTED].b, MS(11000));
    CHECK_EQ(s.session_count, 1);
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.clusters[2].tc, TC(11000));
    CHECK_EQ(seen.clusters[3].tc, TC(11500));
    mkv_forget(&seen);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(kvs_stream_reset(stream, s.now_hns), KVS_OK); /* all times start again */
    service_turn(&s);
    service_put(&s, stream, 6000, KVS_FRAME_KEY);
    service_turn(&s);
    seen = session_seen(newest(&s));
    CHECK_EQ(seen.clusters[0].tc, TC(6000));
    mkv_forget(&seen);
    service_down(&s);
}

static void test_backward_drop_session_error(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.backward_policy = KVS_BACKWARD_DROP;
    struct kvs_stream *stream = opened(&s, &config);
    service_put_fragments(&s, stream, 10000, 1, 5);
    CHECK_EQ(service_put(&s, stream, 9000, KVS_FRAME_KEY), KVS_OK);
    CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_BACKWARD], 1);
    CHECK(service_drain(&s, stream));
    service_down(&s);
    config.backward_policy = KVS_BACKWARD_SESSION;
    stream = opened(&s, &config);
    service_put_fragments(&s, stream, 10000, 2, 5);
    service_put_fragments(&s, stream, 0, 2, 5);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(s.session_count, 2);
    CHECK_EQ(s.sessions[1].start_ms, TC(0));
    CHECK_EQ(metrics_of(stream).frames_done, 20);
    service_down(&s);
    config.backward_policy = KVS_BACKWARD_ERROR;
    stream = opened(&s, &config);
    service_put_fragments(&s, stream, 10000, 1, 5);
    CHECK_EQ(service_put(&s, stream, 9000, KVS_FRAME_KEY), KVS_E_FRAME_TIMESTAMP);
    CHECK_EQ(service_put(&s, stream, 10400, 0), KVS_OK); /* the same time again is no step back */
    CHECK_EQ(metrics_of(stream).frames_put, 6);
    service_down(&s);
    HELD("CD-101");
}

static void test_two_frames_in_one_unit_rise_all_the_same(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL);
    CHECK_EQ(metrics_of(stream).newest_hns, 0);
    for (uint32_t i = 0; i < 4; i++) service_put(&s, stream, 0, i == 0 ? KVS_FRAME_KEY : 0);
    CHECK_EQ(metrics_of(stream).newest_hns, T0 + MS(3));
    service_put(&s, stream, 40, 0);
    CHECK_EQ(metrics_of(stream).newest_hns, T0 + MS(40));
    service_turn(&s);
    struct mkv_seen seen = session_seen(newest(&s));
    for (uint32_t i = 1; i < 4; i++) CHECK_EQ(seen.blocks[i].tc, i);
    CHECK_EQ(seen.blocks[4].tc, 40);
    CHECK_EQ(metrics_of(stream).times_shifted, 0);
    CHECK_EQ(metrics_of(stream).times_bumped, 3);
    mkv_forget(&seen);
    service_down(&s);
}

static kvs_status put_bytes(struct service *s, struct kvs_stream *stream, const uint8_t bytes[7], uint64_t ms, int key)
{
    return kvs_stream_put_frame(stream, bytes, 7, T0 + MS(ms), T0 + MS(ms), 0, 1, key ? KVS_FRAME_KEY : 0, s->now_hns);
}

/* What follows a key frame that could not be read shows nothing without it. */
static void test_a_broken_key_frame_takes_its_followers_along(void)
{
    static const uint8_t whole[7] = { 0, 0, 0, 1, 0x65, 1, 2 }, broken[7] = { 0, 0, 0, 0, 0, 7, 7 };
    struct kvs_stream_config config = video_config();
    struct service s;
    config.nal_flags = KVS_NAL_ANNEXB_TO_AVCC;
    struct kvs_stream *stream = opened(&s, &config);
    CHECK_EQ(put_bytes(&s, stream, whole, 0, 1), KVS_OK);
    CHECK_EQ(put_bytes(&s, stream, broken, 40, 0), KVS_E_ANNEXB_FRAME); /* one picture less, the rest can be shown */
    CHECK_EQ(put_bytes(&s, stream, whole, 80, 0), KVS_OK);
    CHECK_EQ(metrics_of(stream).frames_buffered, 2);
    CHECK_EQ(put_bytes(&s, stream, broken, 200, 1), KVS_E_ANNEXB_FRAME);
    CHECK_EQ(put_bytes(&s, stream, whole, 240, 0), KVS_OK);
    CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_SKIPPED], 1);
    CHECK_EQ(put_bytes(&s, stream, whole, 400, 1), KVS_OK);
    CHECK_EQ(metrics_of(stream).frames_buffered, 3);
    CHECK_EQ(metrics_of(stream).frames_refused, 2);
    service_down(&s);
}

/* A key frame that does not lie after the last cluster can not open one in the same session. */
static void test_cluster_times_rise_within_a_session(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL);
    service_put_as(&s, stream, 1000, (struct put_as) { .dts_ms = 100, .flags = KVS_FRAME_KEY });
    service_put_as(&s, stream, 1000, (struct put_as) { .dts_ms = 200, .flags = KVS_FRAME_KEY });
    service_put_as(&s, stream, 900, (struct put_as) { .dts_ms = 300, .flags = KVS_FRAME_KEY });
    CHECK_EQ(metrics_of(stream).times_shifted, 1);
    service_put_as(&s, stream, 2000, (struct put_as) { .dts_ms = 400, .flags = KVS_FRAME_KEY });
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 4);
    for (uint32_t i = 0; i < s.session_count; i++) {
        struct mkv_seen seen = session_seen(&s.sessions[i]);
        for (uint32_t j = 1; j < seen.cluster_count; j++) CHECK(seen.clusters[j].tc > seen.clusters[j - 1].tc);
        mkv_forget(&seen);
    }
    service_down(&s);
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static void test_frames_of_every_size_come_out_whole(void)
{
    static const uint32_t sizes[] = { 1, 3, 4, 13, 1000, 16383, 16384, 16385, 65504, 65505, 65536, 70000, 200000 };
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL);
    uint32_t count = 0;
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct put_as as = { .dts_ms = 40 * count, .size = sizes[i], .flags = count % 4 == 0 ? KVS_FRAME_KEY : 0 };
            CHECK_EQ(service_put_as(&s, stream, 40 * count++, as), KVS_OK);
        }
        service_turn(&s);
        service_persist(&s, newest(&s));
    }
    CHECK(service_drain(&s, stream));
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.block_count, count);
    for (uint32_t i = 0; i < count; i++) CHECK_EQ(seen.blocks[i].size, sizes[i % (sizeof sizes / sizeof *sizes)]);
    mkv_forget(&seen);
    CHECK_EQ(s.client->pool.used_count, 0);
    service_down(&s);
}

static void test_flags_reach_the_block(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL);
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    service_put(&s, stream, 40, KVS_FRAME_DISCARDABLE);
    service_put(&s, stream, 80, KVS_FRAME_INVISIBLE);
    service_put(&s, stream, 120, 0xfff8); /* unknown ones are ignored */
    service_turn(&s);
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.blocks[0].flags & 0x89, 0x80);
    CHECK_EQ(seen.blocks[1].flags & 0x89, 0x01);
    CHECK_EQ(seen.blocks[2].flags & 0x89, 0x08);
    CHECK_EQ(seen.blocks[3].flags & 0x89, 0x00);
    mkv_forget(&seen);
    service_down(&s);
}

static void test_skipped_frames_are_reported_in_two_notices(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL);
    for (uint32_t i = 0; i < 10; i++) service_put(&s, stream, 40 * i, 0);
    service_put(&s, stream, 400, KVS_FRAME_KEY);
    service_turn(&s);
    CHECK_EQ(s.dropped[KVS_DROP_SKIPPED], 10);
    CHECK(s.count[KVS_ACTION_DROPPED] <= 2); /* the first at once, the run when it ends */
    service_down(&s);
}

static void test_the_cores_own_clock_and_audio_keys(void)
{
    struct kvs_stream_config config = video_config();
    struct kvs_track_config track = { .id = 5, .type = KVS_TRACK_AUDIO, .codec_id = "A_AAC" };
    struct service s;
    config.flags |= KVS_CLOCK_TIMECODES | KVS_SPARSE_KEYS;
    config.tracks = &track;
    struct kvs_stream *stream = opened(&s, &config);
    for (uint32_t i = 0; i < 100; i++) {
        s.now_hns = T0 + MS(50 * i);
        CHECK_EQ(service_put_as(&s, stream, 7, (struct put_as) { .track = 5, .dts_ms = 7 }), KVS_OK);
    }
    service_turn(&s);
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.cluster_count, 3); /* a key frame each 2 s */
    CHECK_EQ(seen.clusters[1].tc, TC(2000));
    CHECK_EQ(seen.blocks[1].tc, 50);
    mkv_forget(&seen);
    service_down(&s);
}

static void test_duration_fragments(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.flags &= ~(uint32_t)KVS_KEY_FRAME_FRAGMENTS;
    config.fragment_duration_hns = MS(2000);
    struct kvs_stream *stream = opened(&s, &config);
    for (uint32_t i = 0; i < 60; i++) service_put(&s, stream, 100 * i, i % 7 == 0 ? KVS_FRAME_KEY : 0);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_E_EOFR_NEEDS_KEY_FRAGMENTS);
    HELD("CD-37");
    service_turn(&s);
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.cluster_count, 3); /* at 0, at the first key frame from 2 s on: 2.1, 4.2 */
    CHECK_EQ(seen.clusters[1].tc, TC(2100));
    CHECK_EQ(seen.clusters[2].tc, TC(4200));
    mkv_forget(&seen);
    service_down(&s);
}

int main(void)
{
    test_reading_before_and_after_the_connection();
    test_data_is_announced();
    test_an_announcement_goes_with_its_handle();
    test_locks_of_the_usual_calls();
    test_refusals_change_nothing();
    test_negative_block_times();
    test_backward_shift();
    test_backward_drop_session_error();
    test_two_frames_in_one_unit_rise_all_the_same();
    test_a_broken_key_frame_takes_its_followers_along();
    test_cluster_times_rise_within_a_session();
    test_frames_of_every_size_come_out_whole();
    test_flags_reach_the_block();
    test_skipped_frames_are_reported_in_two_notices();
    test_the_cores_own_clock_and_audio_keys();
    test_duration_fragments();
    return CHECK_DONE();
}

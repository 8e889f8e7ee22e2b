/* Frames of several tracks. Goal: they leave in an order that the service takes whatever order they came in, a silent
 * track holds no other up, and one that comes back is announced again. */
#include "service.h"

#define TC(ms) (T0 / KVS_HNS_PER_MS + (ms))
enum { VIDEO = 1, AUDIO = 2 };

static const struct kvs_track_config TRACKS[] = {
    { .id = VIDEO, .type = KVS_TRACK_VIDEO, .codec_id = "V_MPEG4/ISO/AVC" },
    { .id = AUDIO, .type = KVS_TRACK_AUDIO, .codec_id = "A_AAC" },
};
static const struct kvs_track_config AUDIO_FIRST[] = {
    { .id = AUDIO, .type = KVS_TRACK_AUDIO, .codec_id = "A_AAC" },
    { .id = VIDEO, .type = KVS_TRACK_VIDEO, .codec_id = "V_MPEG4/ISO/AVC" },
};

static struct kvs_stream *ordered(struct service *s, uint32_t mode, const struct kvs_track_config *tracks)
{
    struct kvs_stream_config config = video_config();
    config.tracks = tracks;
    config.track_count = 2;
    config.order = mode;
    config.content_type = "video/h264,audio/aac";
    if (mode == KVS_ORDER_CUT) config.flags |= KVS_NEGATIVE_BLOCK_TIME;
    service_up(s, NULL);
    return service_open(s, &config);
}

static kvs_status put(struct service *s, uint64_t track, uint64_t pts_ms, uint32_t flags)
{
    return service_put_as(s, s->streams[1], pts_ms,
                          (struct put_as) { .track = track, .dts_ms = pts_ms, .flags = flags });
}

static kvs_status put_dts(struct service *s, uint64_t dts_ms, uint64_t pts_ms, uint32_t flags)
{
    return service_put_as(s, s->streams[1], pts_ms,
                          (struct put_as) { .track = VIDEO, .dts_ms = dts_ms, .flags = flags });
}

/* What the service refuses: a cluster that does not rise, a block at or before one of its track. */
static void check_times_rise(const struct session *session, int is_dts)
{
    struct mkv_seen seen = session_seen(session);
    uint64_t last[4] = { 0 };
    for (uint32_t i = 0; i < seen.cluster_count; i++) {
        CHECK(i == 0 || seen.clusters[i].tc > seen.clusters[i - 1].tc);
        for (uint32_t j = 0; j < seen.clusters[i].block_count && !is_dts; j++) {
            const struct seen_block *block = &seen.blocks[seen.clusters[i].first_block + j];
            uint64_t tc = seen.clusters[i].tc + (uint64_t)(int64_t)block->tc;
            CHECK(tc > last[block->track]);
            last[block->track] = tc;
        }
    }
    mkv_forget(&seen);
}

static void test_timed_modes_release_the_earliest(void)
{
    static const uint32_t modes[] = { KVS_ORDER_AV, KVS_ORDER_DTS, KVS_ORDER_PTS, KVS_ORDER_DTS_EOFR,
                                      KVS_ORDER_PTS_EOFR };
    struct service s;
    for (uint32_t i = 0; i < 5; i++) {
        struct kvs_stream *stream = ordered(&s, modes[i], TRACKS);
        for (uint64_t ms = 0; ms < 1000; ms += 40) {
            CHECK_EQ(put(&s, VIDEO, ms, ms % 400 == 0 ? KVS_FRAME_KEY : 0), KVS_OK);
            if (ms == 0) CHECK_EQ(stream->view.frame_head, 0); /* nothing leaves before each track has one */
            CHECK_EQ(put(&s, AUDIO, ms + 15, 0), KVS_OK);
        }
        service_turn(&s);
        check_times_rise(newest(&s), 0);
        struct mkv_seen seen = session_seen(newest(&s));
        CHECK_EQ(seen.block_count, 49); /* the last audio frame waits for video */
        for (uint32_t j = 0; j < seen.block_count; j++) CHECK_EQ(seen.blocks[j].track, 1 + j % 2);
        mkv_forget(&seen);
        CHECK(service_drain(&s, stream)); /* a stop releases what waits */
        CHECK_EQ(metrics_of(stream).frames_done, 50);
        service_down(&s);
    }
    HELD("CD-45 CD-49");
}

static void test_a_track_that_does_not_come(void)
{
    struct service s;
    for (uint32_t mode = KVS_ORDER_DTS; mode <= KVS_ORDER_PTS_EOFR; mode++) {
        struct kvs_stream *stream = ordered(&s, mode, TRACKS);
        for (uint64_t i = 0; i < 61; i++) CHECK_EQ(put(&s, VIDEO, 40 * i, i % 10 == 0 ? KVS_FRAME_KEY : 0), KVS_OK);
        CHECK_EQ(put(&s, VIDEO, 2440, 0), KVS_E_ORDER_FULL);
        CHECK_EQ(metrics_of(stream).frames_put, 61);
        CHECK_EQ(put(&s, AUDIO, 1000, 0), KVS_OK);
        CHECK_EQ(stream->view.frame_head, 27); /* 0, 40, ... 1000, and it */
        CHECK_EQ(put(&s, VIDEO, 2440, 0), KVS_OK);
        CHECK(service_drain(&s, stream));
        CHECK_EQ(metrics_of(stream).frames_done, 63);
        service_down(&s);
    }
    HELD("CD-46");
}

static void test_a_tie_between_types(void)
{
    struct service s;
    for (uint32_t i = 0; i < 2; i++) {
        ordered(&s, KVS_ORDER_PTS, i == 0 ? TRACKS : AUDIO_FIRST);
        uint32_t video = i == 0 ? 1 : 2;
        put(&s, VIDEO, 0, KVS_FRAME_KEY);
        put(&s, AUDIO, 20, 0);
        put(&s, VIDEO, 400, KVS_FRAME_KEY);
        put(&s, AUDIO, 400, 0);
        put(&s, VIDEO, 440, 0);
        put(&s, AUDIO, 460, 0);
        put(&s, VIDEO, 480, 0);
        service_turn(&s);
        check_times_rise(newest(&s), 0);
        struct mkv_seen seen = session_seen(newest(&s));
        CHECK_EQ(seen.clusters[1].tc, TC(400));
        const struct seen_block *block = &seen.blocks[seen.clusters[1].first_block];
        CHECK_EQ(block[0].track, video); /* the key frame first, the other one unit later */
        CHECK_EQ(block[1].track, 3 - video);
        CHECK_EQ(block[1].tc, 1);
        mkv_forget(&seen);
        service_down(&s);
    }
    HELD("CD-47");
}

static void test_end_of_fragment_by_mode(void)
{
    struct service s;
    for (uint32_t mode = KVS_ORDER_NONE; mode <= KVS_ORDER_CUT; mode++) {
        struct kvs_stream *stream = ordered(&s, mode, TRACKS);
        int is_refused = mode >= KVS_ORDER_AV && mode <= KVS_ORDER_PTS;
        put(&s, VIDEO, 0, KVS_FRAME_KEY);
        put(&s, AUDIO, 10, 0);
        put(&s, VIDEO, 40, 0);
        kvs_status status = kvs_stream_end_fragment(stream, s.now_hns);
        CHECK_EQ(status, is_refused ? KVS_E_EOFR_ORDER_MODE : KVS_OK);
        service_check(&s);
        if (!is_refused) CHECK_EQ(kvs_order_count(&stream->order), 0);
        put(&s, VIDEO, 80, 0); /* DTS_EOFR: becomes a key frame; the others skip it */
        put(&s, AUDIO, 90, 0);
        put(&s, VIDEO, 120, KVS_FRAME_KEY);
        CHECK(service_drain(&s, stream));
        struct mkv_seen seen = session_seen(newest(&s));
        int is_forced = mode == KVS_ORDER_DTS_EOFR;
        CHECK_EQ(seen.cluster_count, is_refused ? 2 : 2 + is_forced);
        if (is_forced) CHECK_EQ(seen.clusters[1].tc, TC(80));
        mkv_forget(&seen);
        service_down(&s);
    }
    HELD("CD-48");
}

/* An order that refuses an end of fragment does not try one after a pause either. */
static void test_a_pause_ends_a_fragment_where_the_order_lets_it(void)
{
    for (uint32_t mode = KVS_ORDER_NONE; mode <= KVS_ORDER_CUT; mode++) {
        struct service s;
        struct kvs_stream_config config = video_config();
        config.tracks = TRACKS;
        config.track_count = 2;
        config.order = mode;
        config.eofr_idle_hns = KVS_HNS_PER_SECOND;
        service_up(&s, NULL);
        service_open(&s, &config);
        put(&s, VIDEO, 0, KVS_FRAME_KEY);
        put(&s, AUDIO, 10, 0);
        put(&s, VIDEO, 40, 0);
        service_poke(&s, T0 + 2 * KVS_HNS_PER_SECOND);
        service_poke(&s, T0 + 4 * KVS_HNS_PER_SECOND);
        CHECK(kvs_client_next_deadline(s.client) > s.now_hns + 60 * KVS_HNS_PER_SECOND);
        CHECK_EQ(s.count[KVS_ACTION_FRAGMENT_ENDED], mode < KVS_ORDER_AV || mode > KVS_ORDER_PTS);
        service_down(&s);
    }
}

/* Encoders put each picture when it is coded: I0 P3 B1 B2 I6 B4 B5. The audio that plays before the cut goes before
 * it. */
static void test_cut_with_an_open_group_of_pictures(void)
{
    struct service s;
    struct kvs_stream *stream = ordered(&s, KVS_ORDER_CUT, TRACKS);
    static const uint32_t pts[] = { 80, 200, 120, 160, 320, 240, 280, 440, 360, 400, 560, 480, 520, 680, 600, 640 };
    for (uint64_t i = 0; i < sizeof pts / sizeof *pts; i++) {
        put_dts(&s, 40 * i, pts[i], i == 0 || i == 4 || i == 10 ? KVS_FRAME_KEY : 0);
        put(&s, AUDIO, 40 * i + 3, 0);
        put(&s, AUDIO, 40 * i + 23, 0);
    }
    CHECK(service_drain(&s, stream));
    CHECK_EQ(s.session_count, 1);
    CHECK_EQ(metrics_of(stream).frames_done, metrics_of(stream).frames_put);
    static const int64_t starts[] = { 80, 320, 560 }, edges[] = { 0, 240, 480, 9999 };
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.cluster_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(seen.clusters[i].tc, TC((uint64_t)starts[i]));
        for (uint32_t j = 0; j < seen.clusters[i].block_count; j++) {
            int64_t ms = starts[i] + seen.blocks[seen.clusters[i].first_block + j].tc;
            CHECK(ms >= edges[i] && ms < edges[i + 1]); /* the least pts of a key frame and its leading pictures */
        }
    }
    mkv_forget(&seen);
    service_down(&s);
}

static void test_cut_holds_only_around_edges(void)
{
    struct service s;
    struct kvs_stream *stream = ordered(&s, KVS_ORDER_CUT, TRACKS);
    put(&s, AUDIO, 0, 0);
    put(&s, VIDEO, 5, KVS_FRAME_KEY);
    put(&s, VIDEO, 45, 0);
    CHECK_EQ(kvs_order_count(&stream->order), 0); /* audio before the first key frame follows it */
    for (uint64_t i = 2; i < 10; i++) {
        put(&s, VIDEO, 5 + 40 * i, 0);
        CHECK_EQ(kvs_order_count(&stream->order), 0);
    }
    put(&s, VIDEO, 405, KVS_FRAME_KEY);
    put(&s, VIDEO, 445, 0);
    CHECK_EQ(kvs_order_count(&stream->order), 2); /* waits for audio up to the cut */
    uint64_t due = kvs_client_next_deadline(s.client);
    CHECK_EQ(due, s.now_hns + MS(500)); /* at most this long */
    service_poke(&s, due);
    CHECK_EQ(kvs_order_count(&stream->order), 0);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, metrics_of(stream).frames_put);
    service_down(&s);
}

static void test_a_fragment_that_was_ended_early_silences_nobody(void)
{
    struct service s;
    struct kvs_stream *stream = ordered(&s, KVS_ORDER_CUT, TRACKS);
    for (uint64_t ms = 0; ms < 1600; ms += 200) { /* at the beginning, too */
        put(&s, VIDEO, ms, KVS_FRAME_KEY);
        CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_OK); /* before its audio came */
    }
    for (uint64_t ms = 2000; ms < 4000; ms += 40) {
        put(&s, VIDEO, ms, ms % 1000 == 0 ? KVS_FRAME_KEY : 0);
        put(&s, AUDIO, ms + 3, 0);
    }
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, metrics_of(stream).frames_put);
    service_down(&s);
}

static void test_a_silent_track_is_left_out_and_comes_back(void)
{
    struct service s;
    struct kvs_stream *stream = ordered(&s, KVS_ORDER_CUT, TRACKS);
    for (uint64_t ms = 0; ms < 12000; ms += 40) {
        s.now_hns = T0 + MS(ms);
        put(&s, VIDEO, ms, ms % 1000 == 0 ? KVS_FRAME_KEY : 0);
        if (ms < 3000 || ms >= 8000) put(&s, AUDIO, ms + 10, 0);
        if (kvs_client_next_deadline(s.client) <= s.now_hns) service_poke(&s, s.now_hns);
        service_turn(&s);
        CHECK(kvs_order_count(&stream->order) <= 40);
    }
    CHECK_EQ(s.count[KVS_ACTION_TRACK_SILENT], 2);
    CHECK_EQ(metrics_of(stream).tracks_silent, 1);
    CHECK_EQ(s.last[KVS_ACTION_TRACK_SILENT].a, AUDIO);
    CHECK_EQ(s.last[KVS_ACTION_TRACK_SILENT].b, 0);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(s.session_count, 3);
    for (uint32_t i = 0; i < s.session_count; i++) {
        struct mkv_seen seen = session_seen(&s.sessions[i]);
        CHECK_EQ(seen.track_count, i == 1 ? 1 : 2);
        for (uint32_t j = 0; j < seen.block_count; j++) CHECK(i != 1 || seen.blocks[j].track == 1);
        mkv_forget(&seen);
    }
    service_down(&s);
}

/* A key frame's codec private data is what was set when it was put, also where the fragment before it takes back a
 * track that stayed silent while the key frame leaves, and other data was set meanwhile. */
static void test_a_key_frame_keeps_its_codec_private_data(void)
{
    static const uint8_t AVCC[] = { 1, 66, 0, 30, 255, 225, 0, 4, 0x67, 66, 0, 30, 1, 0, 2, 0x68, 0xCE };
    struct service s;
    struct kvs_stream *stream = ordered(&s, KVS_ORDER_CUT, TRACKS);
    uint8_t cpd[3][sizeof AVCC];
    for (uint32_t i = 0; i < 3; i++) {
        memcpy(cpd[i], AVCC, sizeof AVCC);
        cpd[i][sizeof AVCC - 1] = (uint8_t)(0xC0 + i);
    }
    s.hold = HOLD(KVS_ACTION_PUT_MEDIA); /* nothing is read meanwhile */
    CHECK_EQ(kvs_stream_set_cpd(stream, VIDEO, cpd[0], sizeof AVCC), KVS_OK);
    put(&s, VIDEO, 0, KVS_FRAME_KEY);
    put(&s, AUDIO, 10, 0);
    put(&s, VIDEO, 1000, KVS_FRAME_KEY);
    put(&s, VIDEO, 1040, 0);
    service_poke(&s, s.now_hns + KVS_HNS_PER_SECOND); /* it waits for sound no longer */
    CHECK_EQ(stream->view.fragment_head, 2);
    CHECK_EQ(kvs_stream_set_cpd(stream, VIDEO, cpd[1], sizeof AVCC), KVS_OK);
    put(&s, VIDEO, 2000, KVS_FRAME_KEY);
    CHECK_EQ(kvs_stream_set_cpd(stream, VIDEO, cpd[2], sizeof AVCC), KVS_OK);
    put(&s, VIDEO, 2040, 0);
    service_poke(&s, s.now_hns + KVS_HNS_PER_SECOND);
    put(&s, VIDEO, 3000, KVS_FRAME_KEY);
    CHECK_EQ(kvs_stream_stop(stream, s.now_hns), KVS_OK);
    CHECK_EQ(stream->view.fragment_head, 4);
    static const uint8_t WANTED[] = { 0, 0, 1, 2 };
    for (uint64_t i = 0; i < 4; i++) {
        uint32_t number = kvs_view_fragment(&stream->view, i)->format;
        const struct kvs_mkv_track *track = &formats_find(stream, number)->tracks[0];
        CHECK(track->cpd_size == sizeof AVCC && memcmp(track->cpd, cpd[WANTED[i]], sizeof AVCC) == 0);
    }
    service_down(&s);
}

/* The service refuses a fragment of 20 s as a whole: audio too far from the last key frame waits for another. */
static void test_audio_without_video_does_not_stretch_the_fragment(void)
{
    struct service s;
    struct kvs_stream *stream = ordered(&s, KVS_ORDER_CUT, TRACKS);
    put(&s, VIDEO, 0, KVS_FRAME_KEY);
    put(&s, VIDEO, 40, 0);
    for (uint64_t ms = 20; ms < 25000; ms += 500) {
        s.now_hns = T0 + MS(ms);
        put(&s, AUDIO, ms, 0);
        service_poke(&s, s.now_hns);
    }
    CHECK_EQ(kvs_order_count(&stream->order), 10);
    put(&s, VIDEO, 25000, KVS_FRAME_KEY);
    put(&s, VIDEO, 25040, 0);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, metrics_of(stream).frames_put);
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.cluster_count, 2);
    CHECK_EQ(seen.clusters[0].block_count, 2 + 40);
    CHECK_EQ(seen.clusters[1].block_count, 2 + 10);
    mkv_forget(&seen);
    service_down(&s);
}

static void test_audio_alone_and_one_track(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.tracks = &TRACKS[1];
    config.order = KVS_ORDER_CUT;
    config.flags |= KVS_SPARSE_KEYS;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    for (uint64_t i = 0; i < 300; i++) CHECK_EQ(put(&s, AUDIO, 21 * i, 0), KVS_OK);
    CHECK_EQ(stream->view.frame_head, 300); /* nothing to wait for */
    CHECK(service_drain(&s, stream));
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.cluster_count, 4);
    mkv_forget(&seen);
    service_down(&s);
}

/* The source's clock is set back. Sound that lags behind the pictures comes with the old times for a while, and sound
 * that is ahead of them with the new ones already: all of it is sent, none with the wrong pictures. */
static void test_sound_around_a_step_back(void)
{
    static const int lags_ms[] = { 0, 60, 120, 300, 450, -60, -120, -300 };
    for (uint32_t i = 0; i < sizeof lags_ms / sizeof *lags_ms; i++) {
        struct service s;
        struct kvs_stream_config config = video_config();
        config.tracks = TRACKS;
        config.track_count = 2;
        config.order = KVS_ORDER_CUT;
        config.content_type = "video/h264,audio/aac";
        config.backward_policy = KVS_BACKWARD_SESSION;
        config.flags |= KVS_NEGATIVE_BLOCK_TIME;
        service_up(&s, NULL);
        struct kvs_stream *stream = service_open(&s, &config);
        for (int ms = 0; ms < 10000; ms += 20) {
            int sound_ms = ms - lags_ms[i];
            if (ms % 40 == 0) put(&s, VIDEO, (uint64_t)(ms < 5000 ? ms + 900000 : ms), ms % 1000 == 0);
            if (sound_ms >= 0) put(&s, AUDIO, (uint64_t)(sound_ms < 5000 ? sound_ms + 900000 : sound_ms) + 3, 0);
            s.now_hns += MS(20);
            service_poke(&s, s.now_hns);
        }
        CHECK(service_drain(&s, stream));
        struct kvs_stream_metrics m = metrics_of(stream);
        if (!CHECK_EQ(dropped_of(&m), 0)) fprintf(stderr, "    with a lag of %d ms\n", lags_ms[i]);
        CHECK_EQ(s.session_count, 2);
        for (uint32_t j = 0; j < s.session_count; j++) check_times_rise(&s.sessions[j], 0);
        service_down(&s);
    }
}

static void test_reset_and_free_with_held_frames(void)
{
    struct service s;
    struct kvs_stream *stream = ordered(&s, KVS_ORDER_DTS, TRACKS);
    for (uint64_t i = 0; i < 30; i++) put(&s, VIDEO, 40 * i, i % 10 == 0 ? KVS_FRAME_KEY : 0);
    CHECK_EQ(kvs_order_count(&stream->order), 30);
    CHECK_EQ(kvs_stream_reset(stream, s.now_hns), KVS_OK);
    CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_RESET], 30);
    CHECK_EQ(s.client->pool.used_count, 0);
    for (uint64_t i = 0; i < 30; i++) put(&s, VIDEO, 40 * i, i % 10 == 0 ? KVS_FRAME_KEY : 0);
    service_check(&s);
    service_free(&s, stream);
    service_down(&s);
}

int main(void)
{
    test_timed_modes_release_the_earliest();
    test_a_track_that_does_not_come();
    test_a_tie_between_types();
    test_end_of_fragment_by_mode();
    test_a_pause_ends_a_fragment_where_the_order_lets_it();
    test_cut_with_an_open_group_of_pictures();
    test_cut_holds_only_around_edges();
    test_a_fragment_that_was_ended_early_silences_nobody();
    test_a_silent_track_is_left_out_and_comes_back();
    test_a_key_frame_keeps_its_codec_private_data();
    test_audio_without_video_does_not_stretch_the_fragment();
    test_audio_alone_and_one_track();
    test_sound_around_a_step_back();
    test_reset_and_free_with_held_frames();
    return CHECK_DONE();
}

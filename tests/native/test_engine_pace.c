/* In which portions fragments go out. Goal: with fragment_duration_min_hns no cluster is shorter than that where it
 * can be helped, no second begins more than five, and what is behind goes out in longer ones; without it nothing
 * changes. */
#include "service.h"

#define TC(ms) (T0 / KVS_HNS_PER_MS + (ms))
#define SECOND KVS_HNS_PER_SECOND

static struct kvs_stream *paced(struct service *s, uint32_t flags)
{
    struct kvs_stream_config config = video_config();
    config.fragment_duration_min_hns = SECOND;
    config.flags |= flags;
    service_up(s, NULL);
    return service_open(s, &config);
}

/* As service_drain, with the time going on. */
static int drain(struct service *s, struct kvs_stream *stream)
{
    CHECK_EQ(kvs_stream_stop(stream, s->now_hns), KVS_OK);
    for (uint32_t round = 0; round < 400 && s->count[KVS_ACTION_CLOSED] == 0; round++) {
        service_poke(s, s->now_hns + SECOND / 10);
        for (uint32_t i = 0; i < s->session_count; i++) {
            if (!s->sessions[i].is_over && s->sessions[i].is_open) service_persist(s, &s->sessions[i]);
        }
        service_turn(s);
    }
    return CHECK_EQ(s->count[KVS_ACTION_CLOSED], 1) && CHECK_EQ(metrics_of(stream).frames_buffered, 0);
}

/* Frame by frame in real time, a key frame every `gop` frames of `step_ms`. */
static void put_live(struct service *s, struct kvs_stream *stream, uint32_t frames, uint32_t gop, uint32_t step_ms)
{
    for (uint32_t i = 0; i < frames; i++) {
        service_poke(s, T0 + MS(i * step_ms));
        CHECK_EQ(service_put(s, stream, i * step_ms, i % gop == 0 ? KVS_FRAME_KEY : 0), KVS_OK);
        service_turn(s);
    }
}

static uint32_t check_clusters(struct service *s, uint64_t min_ms, uint64_t max_ms)
{
    struct mkv_seen seen = session_seen(newest(s));
    for (uint32_t i = 0; i + 1 < seen.cluster_count; i++) {
        uint64_t length = seen.clusters[i + 1].tc - seen.clusters[i].tc;
        CHECK(length >= min_ms && length <= max_ms);
    }
    uint32_t count = seen.cluster_count;
    mkv_forget(&seen);
    return count;
}

static void test_key_frames_are_joined_until_a_second_has_passed(void)
{
    static const uint32_t gops[] = { 1, 2, 5, 7, 25 };
    struct service s;
    for (uint32_t i = 0; i < sizeof gops / sizeof *gops; i++) {
        struct kvs_stream *stream = paced(&s, 0);
        put_live(&s, stream, 250, gops[i], 40);
        uint32_t count = check_clusters(&s, 1000, 1960);
        CHECK(count >= 5 && count <= 10);
        CHECK(drain(&s, stream));
        CHECK_EQ(metrics_of(stream).frames_done, 250);
        service_down(&s);
    }
}

static void test_without_the_limit_each_key_frame_begins_a_fragment(void)
{
    struct service s;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, NULL);
    put_live(&s, stream, 50, 5, 40);
    CHECK_EQ(check_clusters(&s, 200, 200), 10);
    CHECK(drain(&s, stream));
    service_down(&s);
}

static void check_times(const struct mkv_seen *seen, const struct seen_cluster *cluster, uint64_t begin_tc)
{
    for (uint32_t i = cluster->first_block; i < cluster->first_block + cluster->block_count; i++) {
        CHECK_EQ(seen->blocks[i].number, i);
        CHECK_EQ(cluster->tc + (uint64_t)(int64_t)seen->blocks[i].tc, begin_tc + 100 * i);
    }
}

/* What waited is read as fast as deadlines allow; each block keeps its absolute time. */
static void test_a_backlog_goes_out_in_longer_clusters_five_a_second(void)
{
    struct service s;
    for (uint32_t relative = 0; relative < 2; relative++) {
        struct kvs_stream *stream = paced(&s, relative ? KVS_RELATIVE_TIMES : 0);
        service_put_fragments(&s, stream, 0, 60, 20); /* two minutes in fragments of 2 s */
        uint64_t begin = s.now_hns;
        service_turn(&s);
        while (metrics_of(stream).bytes_unsent != 0 && s.now_hns < begin + 100 * SECOND)
            service_poke(&s, kvs_client_next_deadline(s.client));
        CHECK(s.now_hns - begin < 4 * SECOND); /* 11 clusters of 10 s, then single ones */
        struct mkv_seen seen = session_seen(newest(&s));
        CHECK(seen.cluster_count >= 15 && seen.cluster_count <= 17);
        CHECK(s.now_hns - begin >= (seen.cluster_count - 1) * SECOND / 5);
        for (uint32_t i = 0; i < seen.cluster_count; i++) check_times(&seen, &seen.clusters[i], relative ? 0 : TC(0));
        mkv_forget(&seen);
        service_persist(&s, newest(&s));
        CHECK(metrics_of(stream).frames_done >= 1000);
        CHECK(drain(&s, stream));
        CHECK_EQ(metrics_of(stream).frames_done, 1200);
        service_down(&s);
    }
}

static void test_the_tail_is_joined_where_nothing_of_it_is_sent(void)
{
    struct service s;
    for (uint64_t tail_ms = 200; tail_ms < 1000; tail_ms += 350) {
        struct kvs_stream *stream = paced(&s, 0);
        service_put_fragments(&s, stream, 0, 2, 15);
        CHECK_EQ(service_put(&s, stream, 3000, KVS_FRAME_KEY), KVS_OK);
        CHECK_EQ(service_put(&s, stream, 3000 + tail_ms, 0), KVS_OK);
        CHECK_EQ(kvs_stream_stop(stream, s.now_hns), KVS_OK);
        service_turn(&s);
        CHECK_EQ(check_clusters(&s, 1000, 10000), 1);
        CHECK(drain(&s, stream));
        CHECK_EQ(metrics_of(stream).frames_done, 32);
        service_down(&s);
    }
}

/* There is no picture whose steps say how long the last frame lasts: those of the sound do. */
static void test_the_tail_of_sound_alone(void)
{
    static const struct kvs_track_config sound = { .id = 1, .type = KVS_TRACK_AUDIO, .codec_id = "A_AAC" };
    struct service s;
    for (uint32_t frames = 2; frames <= 10; frames += 4) { /* of 100 ms: ten are a whole second */
        struct kvs_stream_config config = video_config();
        config.tracks = &sound;
        config.track_count = 1;
        config.order = KVS_ORDER_CUT;
        config.content_type = "audio/aac";
        config.fragment_duration_min_hns = SECOND;
        service_up(&s, NULL);
        struct kvs_stream *stream = service_open(&s, &config);
        for (uint32_t i = 0; i < 20 + frames; i++)
            CHECK_EQ(service_put(&s, stream, 100 * i, i % 10 == 0 ? KVS_FRAME_KEY : 0), KVS_OK);
        CHECK_EQ(kvs_stream_stop(stream, s.now_hns), KVS_OK);
        service_turn(&s);
        CHECK(drain(&s, stream));
        CHECK_EQ(check_clusters(&s, 990, 10000), frames == 10 ? 3 : 2);
        CHECK_EQ(metrics_of(stream).frames_done, 20 + frames);
        service_down(&s);
    }
}

/* The begin of the last fragment has left when the stream is stopped: it stays as short as it is, and is done. */
static void test_a_tail_that_has_begun_to_leave_goes_out_as_it_is(void)
{
    struct service s;
    struct kvs_stream *stream = paced(&s, 0);
    service_put_fragments(&s, stream, 0, 2, 15);
    service_turn(&s);
    service_poke(&s, s.now_hns + SECOND);
    CHECK_EQ(service_put(&s, stream, 3000, KVS_FRAME_KEY), KVS_OK);
    service_turn(&s);
    service_poke(&s, s.now_hns + SECOND);
    CHECK_EQ(service_put(&s, stream, 3200, 0), KVS_OK);
    CHECK(drain(&s, stream));
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.clusters[seen.cluster_count - 1].tc, TC(3000));
    mkv_forget(&seen);
    CHECK_EQ(metrics_of(stream).frames_done, 32);
    service_down(&s);
}

/* The clusters of a session that died are not those of the next one. */
static void test_joined_fragments_are_sent_again_and_acknowledged_as_they_are_then(void)
{
    struct service s;
    for (uint32_t acked = 0; acked < 12; acked++) {
        struct kvs_stream *stream = paced(&s, 0);
        service_put_fragments(&s, stream, 0, 12, 20);
        service_turn(&s);
        for (uint32_t i = 0; i < 6; i++) service_poke(&s, s.now_hns + SECOND);
        session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(2000 * acked), 0); /* of a cluster, or of nothing */
        session_drop(&s, newest(&s), KVS_RESULT_READ_TIMEOUT);
        service_put_fragments(&s, stream, 24000, 3, 20);
        CHECK(drain(&s, stream));
        struct kvs_stream_metrics m = metrics_of(stream);
        CHECK_EQ(m.frames_done, 300);
        service_down(&s);
    }
}

/* One of several joined fragments is bad: the others are not lost with it. */
static void test_a_refused_cluster_is_taken_apart(void)
{
    struct service s;
    struct kvs_stream *stream = paced(&s, 0);
    service_put_fragments(&s, stream, 0, 10, 20);
    service_turn(&s);
    session_ack(&s, newest(&s), KVS_ACK_BUFFERING, TC(0), 0);
    session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(0), KVS_RESULT_INVALID_MKV);
    service_turn(&s);
    CHECK_EQ(s.session_count, 2);
    CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_ERROR_ACK], 0);
    service_poke(&s, s.now_hns + SECOND);
    session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(0), 0);
    for (uint32_t i = 0; i < 3; i++) service_poke(&s, s.now_hns + SECOND);
    CHECK_EQ(session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(2000), KVS_RESULT_INVALID_MKV), KVS_OK);
    CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_ERROR_ACK], 20);
    CHECK(drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 180);
    service_down(&s);
}

/* After a refusal one cluster goes alone, with its end; no word for the cap of the pauses, and the rest follows. */
static void test_a_session_after_a_refusal_sends_one_cluster_first(void)
{
    struct service s;
    for (uint32_t is_silent = 0; is_silent < 2; is_silent++) {
        service_up(&s, NULL);
        struct kvs_stream *stream = service_open(&s, NULL);
        service_put_fragments(&s, stream, 0, 40, 5);
        service_turn(&s);
        session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(0), KVS_RESULT_ACK_INTERNAL);
        service_turn(&s);
        struct mkv_seen seen = session_seen(newest(&s));
        CHECK_EQ(seen.cluster_count, 1);
        CHECK(seen.clusters[0].has_end);
        mkv_forget(&seen);
        if (is_silent) service_poke(&s, kvs_client_next_deadline(s.client));
        else session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(0), 0);
        service_turn(&s);
        seen = session_seen(newest(&s));
        CHECK_EQ(seen.cluster_count, 40);
        mkv_forget(&seen);
        CHECK(drain(&s, stream));
        CHECK_EQ(metrics_of(stream).frames_done, 200);
        service_down(&s);
    }
}

/* What may be refused once more is one fragment, however much waits behind it. */
static void test_nothing_is_joined_to_what_a_session_sends_first_after_a_refusal(void)
{
    struct service s;
    struct kvs_stream *stream = paced(&s, 0);
    service_put_fragments(&s, stream, 0, 10, 20);
    service_turn(&s);
    session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(0), KVS_RESULT_ACK_INTERNAL);
    service_turn(&s);
    service_poke(&s, s.now_hns + SECOND);
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.cluster_count, 1);
    CHECK_EQ(seen.block_count, 20);
    CHECK(seen.clusters[0].has_end);
    mkv_forget(&seen);
    CHECK(drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 200);
    service_down(&s);
}

/* All that waited for its turn was too old by then: the deadline passes, and does not come again at once. */
static void test_a_wait_for_what_was_dropped_meanwhile_ends(void)
{
    struct service s;
    struct kvs_stream_config config = video_config();
    config.buffer_duration_hns = 5 * SECOND;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    service_put_fragments(&s, stream, 0, 8, 5);
    service_turn(&s);
    session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(0), KVS_RESULT_ACK_INTERNAL);
    service_turn(&s); /* one cluster; the others wait for a word about it */
    CHECK(metrics_of(stream).bytes_unsent != 0);
    CHECK_EQ(service_put(&s, stream, 11000, 0), KVS_OK);
    CHECK_EQ(metrics_of(stream).bytes_unsent, 0);
    for (uint32_t i = 0; i < 3; i++) {
        service_poke(&s, kvs_client_next_deadline(s.client));
        CHECK(kvs_client_next_deadline(s.client) > s.now_hns);
    }
    CHECK(drain(&s, stream));
    service_down(&s);
}

/* ---- what a fragment can not be continued with ------------------------------------------------------------------- */

static const uint8_t CPD_A[] = { 1, 66, 0, 30, 1 }, CPD_B[] = { 1, 77, 0, 30, 2, 9 };

static struct kvs_stream *of_two_formats(struct service *s, uint32_t order, uint32_t type)
{
    struct kvs_stream_config config = video_config();
    struct kvs_track_config track = config.tracks[0];
    track.cpd = CPD_A;
    track.cpd_size = sizeof CPD_A;
    config.tracks = &track;
    config.order = order;
    config.streaming_type = type;
    config.fragment_duration_min_hns = 5 * SECOND;
    config.fragment_duration_max_hns = 10 * SECOND;
    config.fragment_size_max = 20000;
    config.backward_policy = KVS_BACKWARD_SESSION;
    if (order == KVS_ORDER_CUT) config.flags |= KVS_NEGATIVE_BLOCK_TIME;
    service_up(s, NULL);
    return service_open(s, &config);
}

static void check_session(const struct session *session, uint32_t cpd_size, uint32_t block_count)
{
    struct mkv_seen seen = session_seen(session);
    CHECK_EQ(seen.cpd_size, cpd_size);
    CHECK_EQ(seen.block_count, block_count);
    if (seen.block_count != 0) CHECK(seen.blocks[0].flags & 0x80u);
    mkv_forget(&seen);
}

/* Codec private data that changes at the key frame of each run of frames, long before the least length has passed. */
static void test_new_codec_private_data_ends_a_short_fragment(void)
{
    static const uint32_t orders[] = { KVS_ORDER_NONE, KVS_ORDER_CUT, KVS_ORDER_DTS };
    struct service s;
    for (uint32_t i = 0; i < 6; i++) {
        struct kvs_stream *stream = of_two_formats(&s, orders[i % 3], i < 3 ? KVS_REALTIME : KVS_OFFLINE);
        for (uint32_t run = 0; run < 4; run++) {
            const uint8_t *cpd = run % 2 == 0 ? CPD_A : CPD_B;
            uint32_t size = run % 2 == 0 ? sizeof CPD_A : sizeof CPD_B;
            if (run != 0) CHECK_EQ(kvs_stream_set_cpd(stream, 1, cpd, size), KVS_OK);
            service_put_fragments(&s, stream, run * 1200, 3, 4); /* three groups of pictures, joined */
            service_turn(&s);
        }
        CHECK(drain(&s, stream));
        CHECK_EQ(s.session_count, 4);
        for (uint32_t run = 0; run < 4; run++)
            check_session(&s.sessions[run], run % 2 == 0 ? sizeof CPD_A : sizeof CPD_B, 12);
        CHECK_EQ(metrics_of(stream).frames_done, 48);
        CHECK_EQ(metrics_of(stream).fragments_put, 4);
        service_down(&s);
    }
}

/* Readers that are behind join fragments, but not over a change. */
static void test_a_backlog_is_not_joined_over_new_codec_private_data(void)
{
    struct service s;
    struct kvs_stream *stream = of_two_formats(&s, KVS_ORDER_NONE, KVS_REALTIME);
    service_put_fragments(&s, stream, 0, 33, 10);
    CHECK_EQ(kvs_stream_set_cpd(stream, 1, CPD_B, sizeof CPD_B), KVS_OK);
    service_put_fragments(&s, stream, 33000, 40, 10);
    service_turn(&s);
    CHECK(drain(&s, stream));
    CHECK_EQ(s.session_count, 2);
    check_session(&s.sessions[0], sizeof CPD_A, 330);
    check_session(&s.sessions[1], sizeof CPD_B, 400);
    CHECK_EQ(metrics_of(stream).frames_done, 730);
    service_down(&s);
}

/* A clock that goes back by less than a block time can say, and each frame is a key frame. */
static void test_a_step_back_ends_a_short_fragment(void)
{
    static const uint32_t orders[] = { KVS_ORDER_NONE, KVS_ORDER_CUT };
    struct service s;
    for (uint32_t i = 0; i < 2; i++) {
        struct kvs_stream *stream = of_two_formats(&s, orders[i], KVS_OFFLINE);
        for (uint32_t at = 0; at < 10; at++) CHECK_EQ(service_put(&s, stream, 3000 + 100 * at, KVS_FRAME_KEY), KVS_OK);
        for (uint32_t at = 0; at < 10; at++) CHECK_EQ(service_put(&s, stream, 1000 + 100 * at, KVS_FRAME_KEY), KVS_OK);
        service_turn(&s);
        CHECK(drain(&s, stream));
        CHECK_EQ(s.session_count, 2);
        check_session(&s.sessions[0], sizeof CPD_A, 10);
        check_session(&s.sessions[1], sizeof CPD_A, 10);
        service_down(&s);
    }
}

/* The service's limit of size is reached before the least length: at a frame inside, and at key frames alone. */
static void test_a_short_fragment_keeps_to_the_size(void)
{
    static const uint32_t orders[] = { KVS_ORDER_NONE, KVS_ORDER_CUT };
    struct service s;
    for (uint32_t i = 0; i < 4; i++) {
        struct kvs_stream *stream = of_two_formats(&s, orders[i % 2], KVS_OFFLINE);
        for (uint32_t at = 0; at < 40; at++) {
            struct put_as as = { .dts_ms = 100 * at, .size = 2000, .duration_ms = 40 };
            as.flags = at == 0 || i >= 2 ? KVS_FRAME_KEY : 0;
            CHECK_EQ(service_put_as(&s, stream, 100 * at, as), KVS_OK);
        }
        service_turn(&s);
        CHECK(drain(&s, stream));
        struct mkv_seen seen = session_seen(newest(&s));
        CHECK(seen.cluster_count >= 4 && seen.cluster_count <= 9);
        for (uint32_t at = 0; at < seen.cluster_count; at++) CHECK(seen.clusters[at].block_count < 10);
        mkv_forget(&seen);
        CHECK_EQ(metrics_of(stream).frames_done, 40);
        service_down(&s);
    }
}

int main(void)
{
    test_new_codec_private_data_ends_a_short_fragment();
    test_a_backlog_is_not_joined_over_new_codec_private_data();
    test_a_step_back_ends_a_short_fragment();
    test_a_short_fragment_keeps_to_the_size();
    test_a_wait_for_what_was_dropped_meanwhile_ends();
    test_key_frames_are_joined_until_a_second_has_passed();
    test_without_the_limit_each_key_frame_begins_a_fragment();
    test_a_backlog_goes_out_in_longer_clusters_five_a_second();
    test_the_tail_is_joined_where_nothing_of_it_is_sent();
    test_the_tail_of_sound_alone();
    test_a_tail_that_has_begun_to_leave_goes_out_as_it_is();
    test_nothing_is_joined_to_what_a_session_sends_first_after_a_refusal();
    test_joined_fragments_are_sent_again_and_acknowledged_as_they_are_then();
    test_a_refused_cluster_is_taken_apart();
    test_a_session_after_a_refusal_sends_one_cluster_first();
    return CHECK_DONE();
}

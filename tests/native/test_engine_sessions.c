/* What a session carries. Goal: one header, that of its fragments; times that rise and agree with the start that was
 * given; and what was dropped, trimmed or cut in between changes none of it. */
#include "service.h"

static const uint8_t CPD_A[] = { 1, 66, 0, 30, 1 }, CPD_B[] = { 1, 77, 0, 30, 2, 9 };
#define TC(ms) (T0 / KVS_HNS_PER_MS + (ms))

static struct kvs_stream_config with_cpd(struct kvs_track_config *track)
{
    struct kvs_stream_config config = video_config();
    *track = config.tracks[0];
    track->cpd = CPD_A;
    track->cpd_size = sizeof CPD_A;
    config.tracks = track;
    return config;
}

static void test_new_codec_private_data_opens_a_session(void)
{
    struct kvs_track_config track;
    struct kvs_stream_config config = with_cpd(&track);
    struct service s;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    service_put_fragments(&s, stream, 0, 2, 5);
    CHECK_EQ(kvs_stream_set_cpd(stream, 1, CPD_B, sizeof CPD_B), KVS_OK);
    service_put(&s, stream, 1000, 0); /* still of the old fragment */
    service_put_fragments(&s, stream, 1100, 2, 5);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(s.session_count, 2);
    struct mkv_seen first = session_seen(&s.sessions[0]), second = session_seen(&s.sessions[1]);
    CHECK_EQ(first.cpd_size, sizeof CPD_A);
    CHECK_EQ(second.cpd_size, sizeof CPD_B);
    CHECK_EQ(first.block_count, 11);
    CHECK_EQ(second.block_count, 10);
    mkv_forget(&first);
    mkv_forget(&second);
    REPLACED("CS-83 CD-111 CD-112", "a format may change while streaming, at the next key frame");
    service_down(&s);
}

static void test_a_locked_format_is_refused_while_streaming(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.flags |= KVS_FORMAT_LOCKED;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    CHECK_EQ(kvs_stream_set_cpd(stream, 1, CPD_B, sizeof CPD_B), KVS_OK);
    CHECK_EQ(kvs_stream_set_cpd(stream, 1, NULL, 0), KVS_OK);
    CHECK_EQ(kvs_stream_set_nal_flags(stream, KVS_NAL_AVCC_TO_ANNEXB), KVS_OK);
    CHECK_EQ(kvs_stream_set_nal_flags(stream, 0), KVS_OK);
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    CHECK_EQ(kvs_stream_set_cpd(stream, 1, CPD_B, sizeof CPD_B), KVS_E_STREAM_STATE);
    service_turn(&s);
    CHECK_EQ(kvs_stream_set_nal_flags(stream, 0), KVS_E_STREAM_STATE);
    service_down(&s);
}

/* The caller of a put informs the reader: only what comes without a put is announced, and nothing is lost by it. */
static void test_a_caller_that_tells_its_reader_is_spared_the_action(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.flags |= KVS_PUT_TELLS;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    service_turn(&s);
    uint32_t announced = s.count[KVS_ACTION_DATA];
    CHECK_EQ(announced, 1); /* the session is new: the put came before it */
    for (uint32_t i = 1; i < 5; i++) {
        service_put(&s, stream, 100u * i, 0);
        service_turn(&s);
        CHECK_EQ(s.count[KVS_ACTION_DATA], announced);
        session_read_all(&s, newest(&s));
    }
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_OK);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_DATA], announced + 1);
    service_put(&s, stream, 1000, KVS_FRAME_KEY);
    CHECK(service_drain(&s, stream));
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.block_count, 6);
    mkv_forget(&seen);
    service_down(&s);
}

/* The first fragment of a new format is dropped before it was sent: the next one still needs the new header. */
static void test_the_first_fragment_of_a_format_is_dropped(void)
{
    struct kvs_track_config track;
    struct kvs_stream_config config = with_cpd(&track);
    struct service s;
    config.frames_max = 6;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    service_put_fragments(&s, stream, 0, 1, 2);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_OK);
    service_turn(&s);
    struct session *first = newest(&s);
    first->is_silent = 1;
    CHECK_EQ(kvs_stream_set_cpd(stream, 1, CPD_B, sizeof CPD_B), KVS_OK);
    service_put_fragments(&s, stream, 1000, 5, 2);
    CHECK(metrics_of(stream).frames_dropped[KVS_DROP_BUFFER_DURATION] >= 4);
    first->is_silent = 0;
    session_read_all(&s, first);
    service_turn(&s);
    CHECK_EQ(s.session_count, 2);
    struct mkv_seen seen = session_seen(first);
    CHECK_EQ(seen.cluster_count, 1);
    mkv_forget(&seen);
    seen = session_seen(newest(&s));
    CHECK_EQ(seen.cpd_size, sizeof CPD_B);
    mkv_forget(&seen);
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

/* Times go back: a new session. Its first fragment is dropped: the rest still may not go on in the old session. */
static void test_the_first_fragment_after_a_step_back_is_dropped(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.frames_max = 6;
    config.backward_policy = KVS_BACKWARD_SESSION;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    service_put_fragments(&s, stream, 50000, 1, 2);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_OK);
    service_turn(&s);
    struct session *first = newest(&s);
    first->is_silent = 1;
    service_put_fragments(&s, stream, 1000, 5, 2);
    CHECK(metrics_of(stream).frames_dropped[KVS_DROP_BUFFER_DURATION] >= 4);
    first->is_silent = 0;
    session_read_all(&s, first);
    service_turn(&s);
    struct mkv_seen seen = session_seen(first);
    CHECK_EQ(seen.cluster_count, 1);
    mkv_forget(&seen);
    CHECK_EQ(s.session_count, 2);
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

/* The reader stands between fragments, what it sent is trimmed, and the ring grows: that decides nothing. */
static void test_a_reader_that_waits_while_the_ring_grows(void)
{
    struct kvs_track_config track;
    struct kvs_stream_config config = with_cpd(&track);
    struct service s;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    CHECK_EQ(kvs_stream_set_cpd(stream, 1, CPD_B, sizeof CPD_B), KVS_OK); /* a format number that is not 0 */
    service_put_fragments(&s, stream, 0, 3, 2);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_OK);
    service_turn(&s);
    struct session *first = newest(&s);
    CHECK_EQ(service_persist(&s, first), 3);
    CHECK(kvs_view_is_empty(&stream->view));
    first->is_silent = 1;
    service_put_fragments(&s, stream, 1000, 20, 2);
    first->is_silent = 0;
    session_read_all(&s, first);
    service_turn(&s);
    CHECK_EQ(s.session_count, 1);
    struct mkv_seen seen = session_seen(first);
    CHECK_EQ(seen.cluster_count, 23);
    mkv_forget(&seen);
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

/* ---- relative times ---------------------------------------------------------------------------------------------- */

static struct kvs_stream *relative(struct service *s, struct kvs_stream_config *config)
{
    config->flags |= KVS_RELATIVE_TIMES;
    service_up(s, NULL);
    return service_open(s, config);
}

static void test_relative_times_count_from_each_sessions_start(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    struct kvs_stream *stream = relative(&s, &config);
    service_put_fragments(&s, stream, 300, 4, 5);
    service_turn(&s);
    struct mkv_seen seen = session_seen(newest(&s));
    for (uint32_t i = 0; i < 4; i++) CHECK_EQ(seen.clusters[i].tc, 500 * i);
    CHECK_EQ(newest(&s)->start_ms, TC(300));
    mkv_forget(&seen);
    CHECK_EQ(session_ack(&s, newest(&s), KVS_ACK_BUFFERING, 0, 0), KVS_OK);
    CHECK_EQ(session_ack(&s, newest(&s), KVS_ACK_PERSISTED, 500, 0), KVS_OK);
    CHECK_EQ(metrics_of(stream).frames_done, 10);
    HELD("CD-50 CD-51");
    session_ack(&s, newest(&s), KVS_ACK_ERROR, 1000, KVS_RESULT_ARCHIVAL);
    service_turn(&s);
    seen = session_seen(newest(&s));
    CHECK_EQ(seen.cluster_count, 1); /* after a refusal one goes alone */
    CHECK_EQ(seen.clusters[0].tc, 0);
    CHECK_EQ(newest(&s)->start_ms, TC(1300));
    mkv_forget(&seen);
    CHECK_EQ(session_ack(&s, newest(&s), KVS_ACK_PERSISTED, 0, 0), KVS_OK);
    CHECK_EQ(metrics_of(stream).frames_done, 15);
    service_turn(&s);
    seen = session_seen(newest(&s));
    CHECK_EQ(seen.clusters[1].tc, 500);
    mkv_forget(&seen);
    HELD("CD-52");
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

/* Wherever the reader's buffer cuts the cluster header, the time in it is the session's. */
static void test_relative_times_with_every_buffer_size(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    uint8_t whole[8192];
    uint32_t whole_size = 0;
    for (uint32_t size = 8192; size > 0; size = size == 8192 ? 64 : size - 1) {
        struct kvs_stream *stream = relative(&s, &config);
        s.read_size = size;
        service_put_fragments(&s, stream, 0, 3, 2);
        service_turn(&s);
        session_drop(&s, newest(&s), KVS_RESULT_READ_TIMEOUT); /* repeated: the bytes in the store stay absolute */
        service_turn(&s);
        if (size == 8192) memcpy(whole, newest(&s)->bytes, whole_size = newest(&s)->size);
        CHECK_EQ(newest(&s)->size, whole_size);
        CHECK(memcmp(newest(&s)->bytes, whole, whole_size) == 0);
        CHECK(memcmp(s.sessions[0].bytes, whole, whole_size) == 0);
        CHECK_EQ(metrics_of(stream).bytes_sent, 2 * whole_size);
        service_down(&s);
    }
    HELD("CD-04 CD-05 CD-15");
}

/* Times count from the start that is given with the order, also when the first fragment is dropped before that. */
static void test_the_start_is_given_and_then_the_first_fragment_is_dropped(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.buffer_duration_hns = MS(1000);
    struct kvs_stream *stream = relative(&s, &config);
    s.hold = HOLD(KVS_ACTION_PUT_MEDIA);
    service_put_fragments(&s, stream, 0, 1, 5);
    service_turn(&s);
    service_put_fragments(&s, stream, 500, 7, 5);
    CHECK(metrics_of(stream).frames_dropped[KVS_DROP_BUFFER_DURATION] >= 25);
    s.hold = 0;
    service_answer(&s, KVS_ACTION_PUT_MEDIA, KVS_RESULT_OK);
    service_turn(&s);
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK(seen.cluster_count > 0);
    uint64_t absolute = kvs_view_fragment(&stream->view, stream->view.fragment_tail)->timecode;
    CHECK_EQ(newest(&s)->start_ms + seen.clusters[0].tc, absolute);
    mkv_forget(&seen);
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

/* Times went back behind the start that was given, and what lies before the step back is dropped: another session,
 * with a start of its own; times below the start can not be said. */
static void test_the_start_is_given_and_then_times_go_back(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.frames_max = 6;
    config.backward_policy = KVS_BACKWARD_SESSION;
    struct kvs_stream *stream = relative(&s, &config);
    s.hold = HOLD(KVS_ACTION_PUT_MEDIA);
    service_put_fragments(&s, stream, 50000, 1, 2);
    service_turn(&s);
    service_put_fragments(&s, stream, 1000, 6, 2);
    s.hold = 0;
    service_answer(&s, KVS_ACTION_PUT_MEDIA, KVS_RESULT_OK);
    CHECK(service_drain(&s, stream));
    for (uint32_t i = 0; i < s.session_count; i++) {
        struct mkv_seen seen = session_seen(&s.sessions[i]);
        for (uint32_t j = 0; j < seen.cluster_count; j++) {
            CHECK(s.sessions[i].start_ms + seen.clusters[j].tc < TC(50000));
            CHECK(j == 0 || seen.clusters[j].tc > seen.clusters[j - 1].tc);
        }
        mkv_forget(&seen);
    }
    CHECK_EQ(metrics_of(stream).frames_done, 6);
    service_down(&s);
}

static void test_a_new_start_after_the_replay_limit(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.replay_max_hns = 1;
    struct kvs_stream *stream = relative(&s, &config);
    service_put_fragments(&s, stream, 0, 2, 5);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_OK);
    service_turn(&s);
    session_drop(&s, newest(&s), KVS_RESULT_READ_TIMEOUT);
    service_turn(&s);
    service_put_fragments(&s, stream, 60000, 1, 5);
    service_turn(&s);
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK(seen.cluster_count > 0);
    CHECK_EQ(newest(&s)->start_ms + seen.clusters[seen.cluster_count - 1].tc, TC(60000));
    mkv_forget(&seen);
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

static void test_other_scales(void)
{
    static const uint64_t scales[] = { 1, 10, 10000, 100000, KVS_HNS_PER_SECOND };
    struct service s;
    for (uint32_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        struct kvs_stream_config config = video_config();
        config.timecode_scale_hns = scales[i];
        service_up(&s, NULL);
        struct kvs_stream *stream = service_open(&s, &config);
        uint64_t step_ms = scales[i] == KVS_HNS_PER_SECOND ? 1000 : 1;
        for (uint32_t j = 0; j < 3; j++) service_put(&s, stream, 2000 * step_ms * j, KVS_FRAME_KEY);
        service_turn(&s);
        struct mkv_seen seen = session_seen(newest(&s));
        CHECK_EQ(seen.cluster_count, 3);
        CHECK_EQ(seen.clusters[1].tc, (T0 + MS(2000 * step_ms)) / scales[i]);
        mkv_forget(&seen);
        CHECK_EQ(session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(2000 * step_ms), 0), KVS_OK);
        CHECK_EQ(metrics_of(stream).frames_done, 2);
        service_down(&s);
    }
    HELD("CD-106");
}

static void test_header_length_and_segment_uuid(void)
{
    static const uint8_t uuid[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
    struct service s;
    uint32_t header = 0;
    for (uint32_t i = 0; i < 2; i++) {
        struct kvs_stream_config config = video_config();
        config.segment_uuid = i == 0 ? uuid : NULL;
        service_up(&s, NULL);
        struct kvs_stream *stream = service_open(&s, &config);
        service_put_fragments(&s, stream, 0, 10, 10);
        service_turn(&s);
        struct mkv_seen seen = session_seen(newest(&s));
        if (i == 0) header = seen.header_size;
        CHECK_EQ(seen.header_size, header);
        CHECK_EQ(newest(&s)->size, header + 100 * (100 + KVS_MKV_BLOCK_SIZE) + 10 * KVS_MKV_CLUSTER_SIZE);
        const uint8_t *at = newest(&s)->bytes + KVS_MKV_SEGMENT_UUID_OFFSET;
        CHECK_EQ(memcmp(at, i == 0 ? uuid : stream->mode.segment_uuid, 16), 0);
        mkv_forget(&seen);
        service_down(&s);
    }
    REPLACED("CD-08 CD-09", "250 is our header length");
}

static void test_codec_private_data_of_any_length(void)
{
    static const uint32_t sizes[] = { 10, 8192, 1048576 };
    static uint8_t bytes[1048576];
    struct service s;
    for (uint32_t i = 0; i < 3; i++) {
        struct kvs_track_config track;
        struct kvs_stream_config config = with_cpd(&track);
        config.content_type = "test";
        track.cpd = bytes;
        track.cpd_size = sizes[i];
        service_up(&s, NULL);
        struct kvs_stream *stream = service_open(&s, &config);
        for (uint32_t j = 0; j < 10; j++) CHECK_EQ(service_put(&s, stream, 40 * j, 0), KVS_OK);
        CHECK_EQ(s.count[KVS_ACTION_PUT_MEDIA], 0);
        CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_SKIPPED], 10);
        service_put_fragments(&s, stream, 400, 2, 3);
        service_turn(&s);
        struct mkv_seen seen = session_seen(newest(&s));
        CHECK_EQ(seen.cpd_size, sizes[i]);
        CHECK_EQ(seen.blocks[0].number, 10);
        mkv_forget(&seen);
        service_down(&s);
    }
    HELD("CD-07");
    REPLACED("CD-06", "PutMedia only when there is something to send, not for a frame that is skipped");
}

int main(void)
{
    test_new_codec_private_data_opens_a_session();
    test_a_locked_format_is_refused_while_streaming();
    test_a_caller_that_tells_its_reader_is_spared_the_action();
    test_the_first_fragment_of_a_format_is_dropped();
    test_the_first_fragment_after_a_step_back_is_dropped();
    test_a_reader_that_waits_while_the_ring_grows();
    test_relative_times_count_from_each_sessions_start();
    test_relative_times_with_every_buffer_size();
    test_the_start_is_given_and_then_the_first_fragment_is_dropped();
    test_the_start_is_given_and_then_times_go_back();
    test_a_new_start_after_the_replay_limit();
    test_other_scales();
    test_header_length_and_segment_uuid();
    test_codec_private_data_of_any_length();
    return CHECK_DONE();
}

/* Fragment ACKs and error ACKs. Goal: an ACK is matched to exactly one fragment of its own session, frees it and what
 * lies before it, and an error costs what the service refused and nothing else. */
#include "service.h"

#define TC(ms) (T0 / KVS_HNS_PER_MS + (ms))

static struct kvs_stream *sent(struct service *s, uint32_t fragments, uint32_t read_bytes)
{
    service_up(s, NULL);
    s->is_silent = read_bytes != 0;
    struct kvs_stream *stream = service_open(s, NULL);
    service_put_fragments(s, stream, 0, fragments, 5);
    service_turn(s);
    for (uint32_t left = read_bytes; left != 0;) left -= (uint32_t)session_read(s, newest(s), left);
    s->is_silent = 0;
    return stream;
}

/* Everything but `lost` frames arrives and is done; frames of fragment `bad` never go out after the error. */
static void check_rest_arrives(struct service *s, struct kvs_stream *stream, uint64_t lost)
{
    CHECK(service_drain(s, stream));
    struct kvs_stream_metrics m = metrics_of(stream);
    CHECK_EQ(m.frames_dropped[KVS_DROP_ERROR_ACK], lost);
    CHECK_EQ(m.frames_done, m.frames_put - lost - m.frames_dropped[KVS_DROP_SKIPPED]);
    CHECK_EQ(s->dropped[KVS_DROP_ERROR_ACK], lost);
}

static uint32_t sessions_with_frame(const struct service *s, uint32_t from, uint32_t number)
{
    uint32_t count = 0;
    for (uint32_t i = from; i < s->session_count; i++) {
        struct mkv_seen seen = session_seen(&s->sessions[i]);
        for (uint32_t j = 0; j < seen.block_count; j++) count += seen.blocks[j].number == number;
        mkv_forget(&seen);
    }
    return count;
}

static void test_a_refused_fragment_is_given_up_alone(void)
{
    struct service s;
    for (uint64_t bad = 0; bad < 6; bad++) { /* oldest, middle, newest: half sent as far as there are frames */
        struct kvs_stream *stream = sent(&s, 6, 0);
        CHECK_EQ(session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(500 * bad), KVS_RESULT_FRAGMENT_DURATION), KVS_OK);
        CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_ERROR_ACK], 5);
        service_turn(&s);
        CHECK_EQ(s.count[KVS_ACTION_ERROR_ACK], 1);
        CHECK_EQ(s.last[KVS_ACTION_ERROR_ACK].status, KVS_E_ERROR_ACK);
        CHECK_EQ(s.last[KVS_ACTION_ERROR_ACK].b, T0 + MS(500 * bad));
        CHECK(s.sessions[0].is_ended);
        service_put(&s, stream, 2950, 0); /* of the newest fragment: skipped when that is the bad one */
        CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_SKIPPED], bad == 5);
        service_put_fragments(&s, stream, 3000, 1, 5);
        service_turn(&s);
        check_rest_arrives(&s, stream, 5);
        CHECK_EQ(sessions_with_frame(&s, 1, (uint32_t)bad * 5), 0);
        CHECK_EQ(sessions_with_frame(&s, 1, (uint32_t)((bad + 1) % 6 * 5)), 1);
        service_down(&s);
    }
    HELD("CS-57 CD-58 CD-59 CD-62 CD-63");
}

static void test_a_half_sent_fragment_is_refused(void)
{
    struct service s;
    struct kvs_stream *stream = sent(&s, 4, 1500); /* stands inside the third fragment */
    struct mkv_seen seen = session_seen(newest(&s));
    uint32_t at = seen.cluster_count - 1;
    CHECK(at >= 1 && at <= 2);
    mkv_forget(&seen);
    CHECK_EQ(session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(500 * at), KVS_RESULT_INVALID_MKV), KVS_OK);
    service_turn(&s);
    check_rest_arrives(&s, stream, 5);
    CHECK_EQ(sessions_with_frame(&s, 1, at * 5), 0);
    service_down(&s);
}

/* No time: no fragment is named, so all that this session sent and that is not done counts as refused. */
static void test_an_error_without_a_time(void)
{
    struct service s;
    for (uint32_t persisted = 0; persisted < 2; persisted++) {
        struct kvs_stream *stream = sent(&s, 10, 2300);
        struct mkv_seen seen = session_seen(newest(&s));
        uint32_t begun = seen.cluster_count;
        CHECK(begun >= 3 && begun <= 4);
        mkv_forget(&seen);
        if (persisted) session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(0), 0);
        session_ack(&s, newest(&s), KVS_ACK_ERROR, KVS_TIME_NONE, KVS_RESULT_FRAGMENT_DURATION);
        service_turn(&s);
        check_rest_arrives(&s, stream, 5 * (begun - persisted));
        service_down(&s);
    }
    HELD("CS-99 CD-60 CD-61");
}

/* About the session, or about the stream: the fragment is as good as before. */
static const uint32_t retriable[] = {
    4000, 4003, 7000, 9999, 4008, 4500, 4501, 4502, 4503, 4504, 4505, 4506, 4507, 5000, 5001
};

static void test_a_retriable_error_repeats_the_fragment(void)
{
    struct service s;
    for (uint32_t i = 0; i < sizeof retriable / sizeof *retriable; i++) {
        struct kvs_stream *stream = sent(&s, 5, 0);
        session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(500), 0);
        CHECK_EQ(session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(1000), retriable[i]), KVS_OK);
        service_turn(&s);
        CHECK_EQ(s.session_count, 2);
        struct mkv_seen seen = session_seen(newest(&s));
        CHECK_EQ(seen.clusters[0].tc, TC(1000)); /* the first one that is not done, and it is that one */
        CHECK_EQ(seen.blocks[0].number, 10);
        mkv_forget(&seen);
        check_rest_arrives(&s, stream, 0);
        service_down(&s);
    }
    HELD("CS-100 CD-53");
}

/* The service answers the begin of each fragment and then refuses it: BUFFERING is no progress. */
static void test_refusals_after_buffering_are_no_hot_loop(void)
{
    struct service s;
    for (uint32_t i = 0; i < sizeof retriable / sizeof *retriable; i++) {
        struct kvs_stream *stream = sent(&s, 5, 0);
        uint32_t describes = s.count[KVS_ACTION_DESCRIBE_STREAM];
        if (kvs_ack_error_of(retriable[i])->about == KVS_ABOUT_STREAM) describes += KVS_RETRIES_MAX;
        while (s.count[KVS_ACTION_FAILED] == 0 && s.session_count < 20) {
            session_ack(&s, newest(&s), KVS_ACK_BUFFERING, TC(0), 0);
            session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(0), retriable[i]);
            service_turn(&s);
        }
        CHECK_EQ(s.session_count, 1 + KVS_RETRIES_MAX);
        CHECK_EQ(s.count[KVS_ACTION_DESCRIBE_STREAM], describes);
        CHECK_STATE(stream, FAILED);
        CHECK_EQ(metrics_of(stream).failure, KVS_E_ERROR_ACK);
        CHECK_EQ(s.last[KVS_ACTION_FAILED].result, retriable[i]);
        CHECK_EQ(metrics_of(stream).frames_buffered, 25);
        CHECK_EQ(kvs_stream_retry(stream, s.now_hns), KVS_OK);
        service_turn(&s);
        check_rest_arrives(&s, stream, 0);
        service_down(&s);
    }
}

/* Whatever goes wrong, the calls of one kind that go out in one second are fewer than the service's quota of 5, even if
 * each is repeated once. */
static void test_no_second_has_more_than_two_orders_of_a_kind(void)
{
    struct service s;
    uint64_t at[64];
    uint32_t count = 0;
    struct kvs_stream *stream = sent(&s, 5, 0);
    while (count < 64) {
        uint32_t sessions = s.session_count;
        CHECK_EQ(kvs_stream_reset_connection(stream, s.now_hns), KVS_OK);
        service_turn(&s);
        CHECK_EQ(s.session_count, sessions + 1);
        if (s.session_count == SERVICE_SESSIONS) break;
        at[count++] = s.now_hns;
    }
    CHECK(count > 8);
    for (uint32_t i = KVS_PACE_CALLS; i < count; i++) CHECK(at[i] - at[i - KVS_PACE_CALLS] >= KVS_HNS_PER_SECOND);
    check_rest_arrives(&s, stream, 0);
    service_down(&s);
}

static void test_every_other_error_gives_the_fragment_up(void)
{
    static const uint32_t final[] = {
        4001, 4002, 4004, 4005, 4006, 4007, 4009, 4010, 4011, 4012, 4013
    };
    struct service s;
    for (uint32_t i = 0; i < sizeof final / sizeof *final; i++) {
        struct kvs_stream *stream = sent(&s, 3, 0);
        session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(500), final[i]);
        service_turn(&s);
        check_rest_arrives(&s, stream, 5);
        service_down(&s);
    }
}

static void test_an_error_without_recovery(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.flags |= KVS_NO_RECOVERY;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    service_put_fragments(&s, stream, 0, 3, 5);
    service_turn(&s);
    session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(0), KVS_RESULT_INVALID_MKV);
    service_turn(&s);
    CHECK_STATE(stream, FAILED);
    CHECK_EQ(metrics_of(stream).failure, KVS_E_ERROR_ACK);
    CHECK_EQ(s.count[KVS_ACTION_ERROR_ACK], 1);
    CHECK_EQ(metrics_of(stream).frames_buffered, 10);
    REPLACED("CS-59", "the failure goes to the error event and the state, the ACK call itself succeeds");
    service_down(&s);
}

static void test_acks_in_any_order(void)
{
    struct service s;
    struct kvs_stream *stream = sent(&s, 10, 0);
    struct session *session = newest(&s);
    session_ack(&s, session, KVS_ACK_RECEIVED, TC(0), 0);
    session_ack(&s, session, KVS_ACK_BUFFERING, TC(0), 0);
    session_ack(&s, session, KVS_ACK_PERSISTED, TC(500), 0); /* before its RECEIVED, and it covers the one before */
    CHECK_EQ(metrics_of(stream).frames_done, 10);
    CHECK_EQ(session_ack(&s, session, KVS_ACK_RECEIVED, TC(500), 0), KVS_E_ACK_NOT_IN_VIEW);
    CHECK_EQ(session_ack(&s, session, KVS_ACK_PERSISTED, TC(500), 0), KVS_E_ACK_NOT_IN_VIEW);
    session_ack(&s, session, KVS_ACK_PERSISTED, TC(3500), 0);
    CHECK_EQ(metrics_of(stream).frames_done, 40);
    CHECK_EQ(stream->view.fragment_tail, 8);
    session_ack(&s, session, KVS_ACK_PERSISTED, TC(2000), 0);
    CHECK_EQ(metrics_of(stream).frames_done, 40);
    HELD("CD-54 CD-57");
    CHECK_EQ(session_ack(&s, session, KVS_ACK_PERSISTED, TC(77000), 0), KVS_E_ACK_NOT_IN_VIEW);
    CHECK_EQ(session_ack(&s, session, KVS_ACK_PERSISTED, TC(4001), 0), KVS_E_ACK_NOT_IN_VIEW);
    CHECK_EQ(metrics_of(stream).frames_done, 40);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_ACK], 9);
    CHECK_EQ(metrics_of(stream).acks_late, 5);
    HELD("CD-55");
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

static void test_the_open_fragment_is_not_done_before_it_is_sent_whole(void)
{
    struct service s;
    struct kvs_stream *stream = sent(&s, 2, 0);
    session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(500), 0);
    CHECK_EQ(metrics_of(stream).frames_done, 5);
    service_put(&s, stream, 1050, 0);
    CHECK_EQ(metrics_of(stream).frames_buffered, 6);
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

static void test_a_late_error_is_an_event(void)
{
    struct service s;
    struct kvs_stream *stream = sent(&s, 5, 0);
    session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(1000), 0);
    CHECK_EQ(session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(500), KVS_RESULT_INVALID_MKV), KVS_E_ACK_NOT_IN_VIEW);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_LATE_ERROR_ACK], 1);
    CHECK_EQ(metrics_of(stream).acks_late, 1);
    check_rest_arrives(&s, stream, 0);
    service_down(&s);
}

static kvs_status ack_text(struct service *s, struct session *session, const char *text)
{
    kvs_status status = kvs_upload_ack_bytes(s->streams[session->user], session->handle, (const uint8_t *)text,
                                             (uint32_t)strlen(text), s->now_hns);
    service_check(s);
    return status;
}

static void test_ack_bytes(void)
{
    static const char whole[] = "{\"EventType\":\"RECEIVED\",\"FragmentTimecode\":\"1700000000000\"}x"
                                "{\"EventType\":\"PERSISTED\",\"FragmentTimecode\":1700000000000,\"X\":{\"y\":[1]}}";
    struct service s;
    for (uint32_t cut = 0; cut < sizeof whole; cut++) {
        struct kvs_stream *stream = sent(&s, 2, 0);
        struct session *session = newest(&s);
        kvs_status first = kvs_upload_ack_bytes(stream, session->handle, (const uint8_t *)whole, cut, s.now_hns);
        CHECK_EQ(first + ack_text(&s, session, whole + cut), 2);
        CHECK_EQ(metrics_of(stream).frames_done, 5);
        CHECK_EQ(metrics_of(stream).acks_received, 1);
        service_down(&s);
    }
    HELD("CD-71");
    struct kvs_stream *stream = sent(&s, 2, 0);
    struct session *session = newest(&s);
    CHECK_EQ(ack_text(&s, session, "{}"), KVS_E_ACK_KEY_START);
    CHECK_EQ(ack_text(&s, session, "{\"EventType\":\"ERROR\"}"), KVS_E_ACK_NO_ERROR_ID);
    CHECK_EQ(ack_text(&s, session, "{\"EventType\":\"LOST\"}"), KVS_E_ACK_TYPE);
    CHECK_EQ(ack_text(&s, session, "{\"FragmentTimecode\":1}"), KVS_E_ACK_TYPE);
    CHECK_EQ(ack_text(&s, session, "{\"EventType\":\"RECEIVED\",\"FragmentTimecode\":null}"), KVS_E_ACK_NUMBER);
    CHECK_EQ(metrics_of(stream).acks_bad, 5);
    CHECK_EQ(ack_text(&s, session, "{\"EventType\":\"RECEIVED\"}{\"EventType\":\"IDLE\"}"), 2);
    CHECK_EQ(kvs_upload_ack_bytes(stream, 999, (const uint8_t *)whole, sizeof whole - 1, s.now_hns), KVS_OK);
    CHECK_EQ(ack_text(&s, session, "{}{\"EventType\":\"PERSISTED\",\"FragmentTimecode\":1700000000000}"), 1);
    CHECK_EQ(metrics_of(stream).frames_done, 5);
    HELD("CD-72 CD-73");
    service_down(&s);
}

/* The report names the session that the ACK came for, and ends that one. */
static void test_an_error_ends_its_own_session(void)
{
    static const uint8_t cpd[] = { 1, 66, 0, 30 };
    struct service s;
    struct kvs_stream *stream = sent(&s, 2, 0);
    CHECK_EQ(kvs_stream_set_cpd(stream, 1, cpd, sizeof cpd), KVS_OK);
    service_put_fragments(&s, stream, 2000, 3, 5);
    service_turn(&s);
    CHECK_EQ(s.session_count, 2);
    CHECK_EQ(s.sessions[0].state, KVS_READ_AWAITING_ACK);
    session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(2500), KVS_RESULT_INVALID_MKV);
    service_turn(&s);
    CHECK_EQ(s.last[KVS_ACTION_ERROR_ACK].upload, s.sessions[1].handle);
    CHECK(s.sessions[1].is_ended);
    CHECK(!s.sessions[0].is_ended);
    CHECK_EQ(s.session_count, 3);
    HELD("CS-97");
    check_rest_arrives(&s, stream, 5);
    service_down(&s);
}

static void test_after_stop_an_error_still_drains(void)
{
    struct service s;
    struct kvs_stream *stream = sent(&s, 20, 1500);
    CHECK_EQ(kvs_stream_stop(stream, s.now_hns), KVS_OK);
    session_ack(&s, newest(&s), KVS_ACK_ERROR, TC(0), KVS_RESULT_ACK_INTERNAL);
    service_turn(&s);
    CHECK_EQ(s.session_count, 2);
    check_rest_arrives(&s, stream, 0);
    HELD("CS-77 CD-114");
    service_down(&s);
}

static void test_numbers_and_latency(void)
{
    struct service s;
    struct kvs_stream *stream = sent(&s, 2, 0);
    struct kvs_ack ack = { .size = sizeof ack, .type = KVS_ACK_PERSISTED, .timecode_ms = TC(0) };
    memset(ack.number, '7', 128); /* longer than an action's text */
    s.now_hns += MS(250);
    CHECK_EQ(kvs_upload_ack(stream, newest(&s)->handle, &ack, s.now_hns), KVS_OK);
    service_turn(&s);
    CHECK_EQ(strlen(s.last[KVS_ACTION_ACK].text), sizeof s.last[KVS_ACTION_ACK].text - 1);
    CHECK_EQ(s.last[KVS_ACTION_ACK].c, MS(250));
    CHECK_EQ(metrics_of(stream).ack_latency_hns, MS(250));
    CHECK_EQ(metrics_of(stream).last_ack_hns, s.now_hns);
    service_down(&s);
}

/* Eight fragments of five frames, the third refused before: PERSISTED for `step` fragments at a time. */
static struct kvs_stream_metrics persisted_by(uint32_t step, struct kvs_action *last_done_out)
{
    struct service s;
    struct kvs_stream *stream = sent(&s, 9, 0);
    ledger_drop_fragment(stream, 2, KVS_DROP_RESET);
    for (uint32_t i = step; i <= 8; i += step) session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(500 * (i - 1)), 0);
    CHECK_EQ(stream->view.fragment_tail, 8);
    CHECK_EQ(stream->view.frame_tail, 40);
    struct kvs_stream_metrics m = metrics_of(stream);
    service_turn(&s);
    CHECK_EQ(s.done_frames, 35);
    *last_done_out = s.last[KVS_ACTION_FRAGMENT_DONE];
    service_down(&s);
    return m;
}

static void test_done_in_one_pass_is_done_one_by_one(void)
{
    struct kvs_action single, whole;
    struct kvs_stream_metrics one = persisted_by(1, &single), all = persisted_by(8, &whole);
    CHECK_EQ(one.frames_done, 35);
    CHECK_EQ(all.frames_done, 35);
    CHECK_EQ(one.bytes_done, all.bytes_done);
    CHECK_EQ(one.bytes_buffered, all.bytes_buffered);
    CHECK_EQ(one.fragments_done, all.fragments_done);
    CHECK_EQ(single.a, whole.a); /* the newest one's pts */
    CHECK_EQ(single.b, 5);
    CHECK_EQ(whole.b, 35);
    CHECK_EQ(whole.c, all.bytes_done);
}

static struct kvs_stream *confirmed(struct service *s)
{
    struct kvs_stream_config config = video_config();
    config.flags |= KVS_CONFIRM_EACH;
    service_up(s, NULL);
    struct kvs_stream *stream = service_open(s, &config);
    service_put_fragments(s, stream, 0, 6, 5);
    service_turn(s);
    return stream;
}

/* The service left two fragments out without a word: what it said of a later one says nothing of them. */
static void test_a_fragment_without_any_ack_is_not_done_by_a_later_one(void)
{
    struct service s;
    struct kvs_stream *stream = confirmed(&s);
    session_ack(&s, newest(&s), KVS_ACK_BUFFERING, TC(0), 0);
    session_ack(&s, newest(&s), KVS_ACK_RECEIVED, TC(1500), 0);
    session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(2000), 0);
    CHECK_EQ(metrics_of(stream).frames_done, 15); /* 0, 1500, 2000 */
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_UNCONFIRMED], 2);
    CHECK_EQ(s.session_count, 1); /* their own ACKs may be late */
    session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(1000), 0);
    CHECK_EQ(metrics_of(stream).frames_done, 20);
    service_poke(&s, s.now_hns + 6 * KVS_HNS_PER_SECOND);
    CHECK_EQ(s.session_count, 2);
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.clusters[0].tc, TC(500));
    mkv_forget(&seen);
    service_poke(&s, s.now_hns + KVS_HNS_PER_SECOND);
    session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(500), 0);
    CHECK_EQ(metrics_of(stream).frames_done, 25);
    check_rest_arrives(&s, stream, 0);
    service_down(&s);
}

/* The next session is being opened when the first has to be given up: it is opened all the same. */
static void test_what_is_passed_over_goes_out_again_beside_a_session_that_is_being_opened(void)
{
    static const uint8_t cpd[] = { 1, 66, 0, 30 };
    struct service s;
    struct kvs_stream *stream = confirmed(&s);
    session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(2000), 0);
    s.hold = HOLD(KVS_ACTION_PUT_MEDIA);
    CHECK_EQ(kvs_stream_set_cpd(stream, 1, cpd, sizeof cpd), KVS_OK);
    service_put_fragments(&s, stream, 3000, 1, 5);
    service_turn(&s);
    CHECK_EQ(s.session_count, 2);
    service_poke(&s, s.now_hns + 6 * KVS_HNS_PER_SECOND);
    CHECK(s.sessions[0].is_ended);
    s.hold = 0;
    CHECK_EQ(service_answer(&s, KVS_ACTION_PUT_MEDIA, KVS_RESULT_OK), KVS_OK);
    for (uint32_t i = 0; i < 8; i++) service_poke(&s, s.now_hns + KVS_HNS_PER_SECOND); /* one after the other */
    check_rest_arrives(&s, stream, 0);
    service_down(&s);
}

static void test_what_is_passed_over_again_and_again_is_dropped_by_name(void)
{
    struct service s;
    struct kvs_stream *stream = confirmed(&s);
    uint64_t next_ms = 3000;
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_UNCONFIRMED], 0);
        for (uint32_t j = 0; j < 4; j++) service_poke(&s, s.now_hns + KVS_HNS_PER_SECOND);
        session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(next_ms - 1000), 0);
        service_put_fragments(&s, stream, next_ms, 1, 5);
        next_ms += 500;
        service_poke(&s, s.now_hns + 6 * KVS_HNS_PER_SECOND);
    }
    CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_UNCONFIRMED], 20); /* 0, 500, 1000, 1500 */
    CHECK_EQ(s.dropped[KVS_DROP_UNCONFIRMED], 20);
    CHECK_EQ(kvs_stream_stop(stream, s.now_hns), KVS_OK);
    service_down(&s);
}

/* Somebody sets the retention to 0 while the stream is up: RECEIVED goes on and PERSISTED stops. */
static void test_a_retention_that_becomes_0_is_found_out(void)
{
    struct service s;
    struct kvs_stream *stream = sent(&s, 2, 0);
    uint32_t describes = s.count[KVS_ACTION_DESCRIBE_STREAM];
    session_ack(&s, newest(&s), KVS_ACK_PERSISTED, TC(0), 0);
    s.retention_hns = 0;
    for (uint32_t i = 0; i < 60 && s.count[KVS_ACTION_DESCRIBE_STREAM] == describes; i++) {
        service_poke(&s, s.now_hns + KVS_HNS_PER_SECOND);
        service_put_fragments(&s, stream, 1000 + 500 * i, 1, 5);
        service_turn(&s);
        session_ack(&s, newest(&s), KVS_ACK_RECEIVED, TC(500 + 500 * i), 0);
        service_turn(&s);
    }
    CHECK_EQ(s.count[KVS_ACTION_DESCRIBE_STREAM], describes + 1);
    CHECK(s.now_hns >= T0 + 50 * KVS_HNS_PER_SECOND && s.now_hns <= T0 + 55 * KVS_HNS_PER_SECOND);
    CHECK(metrics_of(stream).frames_done >= 5 * 51);
    check_rest_arrives(&s, stream, 0);
    service_down(&s);
}

/* The service is only slow: it is asked less and less often, and nothing is done before its PERSISTED. */
static void test_a_service_that_persists_late_is_described_ever_less_often(void)
{
    struct service s;
    struct kvs_stream *stream = sent(&s, 2, 0);
    uint32_t describes = s.count[KVS_ACTION_DESCRIBE_STREAM];
    for (uint32_t i = 0; i < 600; i++) {
        service_poke(&s, s.now_hns + KVS_HNS_PER_SECOND);
        session_ack(&s, newest(&s), KVS_ACK_RECEIVED, TC(0), 0);
        service_turn(&s);
        if (s.session_count == SERVICE_SESSIONS) break;
    }
    uint32_t count = s.count[KVS_ACTION_DESCRIBE_STREAM] - describes;
    CHECK(count >= 3 && count <= 5);
    CHECK_EQ(metrics_of(stream).frames_done, 0);
    check_rest_arrives(&s, stream, 0);
    service_down(&s);
}

/* RECEIVED, then an outage or a reset of longer than a PERSISTED may take: the service was not silent in that time. */
static void test_an_outage_is_no_silence_of_the_service(void)
{
    for (uint32_t is_reset = 0; is_reset < 2; is_reset++) {
        struct service s;
        struct kvs_stream *stream = sent(&s, 2, 0);
        session_ack(&s, newest(&s), KVS_ACK_RECEIVED, TC(0), 0);
        s.hold = HOLD(KVS_ACTION_PUT_MEDIA);
        if (is_reset) CHECK_EQ(kvs_stream_reset(stream, s.now_hns), KVS_OK);
        else session_drop(&s, newest(&s), KVS_RESULT_UNKNOWN);
        service_turn(&s);
        if (is_reset) service_put_fragments(&s, stream, 60000, 2, 5);
        service_poke(&s, T0 + 60 * KVS_HNS_PER_SECOND);
        s.hold = 0;
        CHECK_EQ(service_answer(&s, KVS_ACTION_PUT_MEDIA, KVS_RESULT_OK), KVS_OK);
        service_turn(&s);
        uint32_t describes = s.count[KVS_ACTION_DESCRIBE_STREAM], sessions = s.session_count;
        CHECK_EQ(session_ack(&s, newest(&s), KVS_ACK_RECEIVED, TC(is_reset ? 60000 : 0), 0), KVS_OK);
        service_turn(&s);
        CHECK_EQ(s.count[KVS_ACTION_DESCRIBE_STREAM], describes);
        CHECK_EQ(s.session_count, sessions);
        CHECK(!newest(&s)->is_ended);
        CHECK(service_drain(&s, stream));
        CHECK_EQ(metrics_of(stream).frames_done, 10);
        service_down(&s);
    }
}

int main(void)
{
    test_a_fragment_without_any_ack_is_not_done_by_a_later_one();
    test_what_is_passed_over_goes_out_again_beside_a_session_that_is_being_opened();
    test_what_is_passed_over_again_and_again_is_dropped_by_name();
    test_a_retention_that_becomes_0_is_found_out();
    test_a_service_that_persists_late_is_described_ever_less_often();
    test_an_outage_is_no_silence_of_the_service();
    test_done_in_one_pass_is_done_one_by_one();
    test_a_refused_fragment_is_given_up_alone();
    test_a_half_sent_fragment_is_refused();
    test_an_error_without_a_time();
    test_a_retriable_error_repeats_the_fragment();
    test_refusals_after_buffering_are_no_hot_loop();
    test_no_second_has_more_than_two_orders_of_a_kind();
    test_every_other_error_gives_the_fragment_up();
    test_an_error_without_recovery();
    test_acks_in_any_order();
    test_the_open_fragment_is_not_done_before_it_is_sent_whole();
    test_a_late_error_is_an_event();
    test_ack_bytes();
    test_an_error_ends_its_own_session();
    test_after_stop_an_error_still_drains();
    test_numbers_and_latency();
    return CHECK_DONE();
}

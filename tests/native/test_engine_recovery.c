/* A session that is lost. Goal: the next one starts at the oldest frame that is not done, by the shortest way that the
 * reason allows, and a stream that can not go on says so and keeps what it holds. */
#include "service.h"

enum {
    D = KVS_ACTION_DESCRIBE_STREAM,
    E = KVS_ACTION_GET_DATA_ENDPOINT,
    K = KVS_ACTION_GET_TOKEN,
    P = KVS_ACTION_PUT_MEDIA
};

/* A stream with three fragments sent in one session; the first one is done. */
static struct kvs_stream *streaming(struct service *s, const struct kvs_stream_config *config)
{
    service_up(s, NULL);
    struct kvs_stream *stream = service_open(s, config);
    service_put_fragments(s, stream, 0, 3, 5);
    service_turn(s);
    session_ack(s, newest(s), KVS_ACK_PERSISTED, T0 / KVS_HNS_PER_MS, 0);
    CHECK_EQ(metrics_of(stream).frames_done, 5);
    CHECK_STATE(stream, STREAMING);
    memset(s->count, 0, sizeof s->count);
    return stream;
}

static void check_counts(const struct service *s, uint32_t d, uint32_t e, uint32_t k, uint32_t p)
{
    CHECK_EQ(s->count[D], d);
    CHECK_EQ(s->count[E], e);
    CHECK_EQ(s->count[K], k);
    CHECK_EQ(s->count[P], p);
    CHECK_EQ(s->count[KVS_ACTION_READY], p);
}

/* The newest session begins with its own header and the fragment of this first frame. */
static void check_first_frame(const struct service *s, const struct session *session, uint32_t number)
{
    struct mkv_seen seen = session_seen(session);
    CHECK_EQ(seen.header_count, 1);
    CHECK(seen.block_count > 0 && seen.blocks[0].number == number);
    CHECK_EQ(session->start_ms, seen.cluster_count > 0 ? seen.clusters[0].tc : 0);
    (void)s;
    mkv_forget(&seen);
}

struct way {
    uint32_t result, d, e, k;
};

static void test_the_reason_decides_the_way_back(void)
{
    static const struct way ways[] = {
        { 200, 0, 1, 1 },   { 10002, 0, 1, 1 }, { 10001, 0, 1, 1 }, { 401, 0, 0, 1 },   { 403, 0, 0, 1 },
        { 10003, 1, 1, 1 }, { 10006, 1, 1, 1 }, { 5000, 1, 1, 1 },  { 404, 1, 1, 1 },   { 10400, 1, 1, 1 },
        { 10005, 1, 1, 1 }, { 406, 1, 1, 1 },   { 500, 1, 1, 1 },   { 599, 0, 0, 0 },   { 598, 0, 0, 0 },
        { 408, 0, 0, 0 },   { 504, 0, 0, 0 },   { 0, 1, 1, 1 },     { 12345, 1, 1, 1 },
    };
    struct service s;
    for (uint32_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct kvs_stream *stream = streaming(&s, NULL);
        session_drop(&s, newest(&s), ways[i].result);
        service_turn(&s);
        check_counts(&s, ways[i].d, ways[i].e, ways[i].k, 1);
        check_first_frame(&s, newest(&s), 5);
        CHECK_EQ(metrics_of(stream).fragments_resent, 2);
        CHECK(service_drain(&s, stream));
        CHECK_EQ(metrics_of(stream).frames_done, 15);
        service_down(&s);
    }
    HELD("CS-37 CS-39 CS-41 CS-43 CS-45 CD-68");
    REPLACED("CS-47 CS-55 CS-56 CD-64 CD-116", "the ledger rule: a new handle starts at the oldest frame not done");
}

static void test_without_recovery_the_stream_fails_and_keeps_everything(void)
{
    static const struct {
        uint32_t result;
        kvs_status status;
    } rows[] = {
        { 10002, KVS_E_CONNECTION_LOST }, { 10001, KVS_E_CONNECTION_LOST }, { 401, KVS_E_NOT_AUTHORIZED },
        { 403, KVS_E_NOT_AUTHORIZED },    { 10003, KVS_E_CONNECTION_LOST }, { 10006, KVS_E_CONNECTION_LOST },
        { 5000, KVS_E_ERROR_ACK },        { 404, KVS_E_CONNECTION_LOST },   { 406, KVS_E_CONNECTION_LOST },
        { 500, KVS_E_CONNECTION_LOST },   { 200, KVS_E_CONNECTION_LOST },   { 599, KVS_E_CONNECTION_LOST },
    };
    struct kvs_stream_config config = video_config();
    struct service s;
    config.flags |= KVS_NO_RECOVERY;
    for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kvs_stream *stream = streaming(&s, &config);
        session_drop(&s, newest(&s), rows[i].result);
        service_turn(&s);
        check_counts(&s, 0, 0, 0, 0);
        CHECK_STATE(stream, FAILED);
        CHECK_EQ(s.last[KVS_ACTION_FAILED].status, rows[i].status);
        CHECK_EQ(s.last[KVS_ACTION_FAILED].result, rows[i].result);
        CHECK_EQ(service_put(&s, stream, 2000, KVS_FRAME_KEY), KVS_OK);
        CHECK_EQ(metrics_of(stream).frames_buffered, 11);
        CHECK_EQ(kvs_stream_retry(stream, s.now_hns), KVS_OK);
        CHECK(service_drain(&s, stream));
        service_down(&s);
    }
    REPLACED("CS-38 CS-40 CS-42 CS-44 CS-46 CS-51 CD-69", "FAILED, visible, takes frames; kvs_stream_retry leads out");
}

/* An orderly end with everything acknowledged is no error, with recovery or without. */
static void test_an_orderly_end_with_nothing_owed_waits_for_a_frame(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    for (uint32_t i = 0; i < 2; i++) {
        if (i == 1) config.flags |= KVS_NO_RECOVERY;
        struct kvs_stream *stream = streaming(&s, &config);
        CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_OK);
        service_turn(&s);
        service_persist(&s, newest(&s));
        session_drop(&s, newest(&s), KVS_RESULT_OK);
        service_turn(&s);
        CHECK_STATE(stream, READY);
        CHECK_EQ(s.count[P], 0);
        CHECK_EQ(s.count[KVS_ACTION_FAILED], 0);
        service_put(&s, stream, 3000, KVS_FRAME_KEY);
        service_turn(&s);
        CHECK_EQ(s.count[P], 1);
        check_first_frame(&s, newest(&s), 15);
        service_down(&s);
    }
}

static void test_a_timeout_after_everything_was_sent_repeats_what_is_not_done(void)
{
    struct service s;
    struct kvs_stream *stream = streaming(&s, NULL);
    session_drop(&s, newest(&s), KVS_RESULT_CONNECTION_TIMEOUT);
    service_turn(&s);
    check_counts(&s, 0, 0, 0, 1); /* sent is not done */
    check_first_frame(&s, newest(&s), 5);
    REPLACED("CS-48 CS-49 CS-50 CD-65 CD-70",
             "the ledger rule: sent frames without an ACK go out again at once");
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

static void test_nothing_happens_to_a_stream_without_a_session(void)
{
    static const uint32_t kinds[] = { D, E, K };
    struct service s;
    for (uint32_t i = 0; i < 4; i++) {
        service_up(&s, NULL);
        if (i < 3) s.hold = HOLD(kinds[i]);
        struct kvs_stream *stream = service_open(&s, NULL);
        uint32_t state = metrics_of(stream).state;
        CHECK_EQ(kvs_upload_ended(stream, 77, KVS_RESULT_OK, s.now_hns), KVS_OK);
        CHECK_EQ(kvs_stream_reset_connection(stream, s.now_hns), KVS_OK);
        CHECK_EQ(service_turn(&s), 0);
        CHECK_EQ(metrics_of(stream).state, state);
        service_down(&s);
    }
    HELD("CS-35 CS-36");
}

static void test_reset_connection(void)
{
    struct service s;
    struct kvs_stream *stream = streaming(&s, NULL);
    struct session *old = newest(&s);
    CHECK_EQ(kvs_stream_reset_connection(stream, s.now_hns), KVS_OK);
    service_turn(&s);
    CHECK(old->is_ended);
    CHECK_EQ(old->end_result, KVS_RESULT_OK);
    session_read(&s, old, 100);
    CHECK_EQ(old->state, KVS_READ_END);
    check_counts(&s, 0, 1, 1, 1);
    check_first_frame(&s, newest(&s), 5);
    CHECK_EQ(metrics_of(stream).frames_done, 5);
    HELD("CS-54");
    CHECK(service_drain(&s, stream));
    service_down(&s);
    struct kvs_stream_config config = video_config();
    config.flags |= KVS_NO_RECOVERY;
    stream = streaming(&s, &config);
    CHECK_EQ(kvs_stream_reset_connection(stream, s.now_hns), KVS_OK); /* the caller's wish is no lost connection */
    service_turn(&s);
    CHECK_STATE(stream, STREAMING);
    CHECK_EQ(s.session_count, 2);
    service_down(&s);
}

static void test_a_session_that_sent_nothing_yet(void)
{
    struct service s;
    service_up(&s, NULL);
    s.is_silent = 1;
    struct kvs_stream *stream = service_open(&s, NULL);
    service_put_fragments(&s, stream, 0, 2, 2);
    service_turn(&s);
    s.is_silent = 0;
    session_drop(&s, newest(&s), KVS_RESULT_INTERNAL_ERROR);
    service_turn(&s);
    CHECK_EQ(s.session_count, 2);
    check_first_frame(&s, newest(&s), 0);
    HELD("CS-53");
    s.hold = HOLD(P); /* gone before PutMedia was answered */
    session_drop(&s, newest(&s), KVS_RESULT_CONNECTION_TIMEOUT);
    service_turn(&s);
    CHECK_EQ(s.session_count, 3);
    session_drop(&s, newest(&s), KVS_RESULT_CONNECTION_TIMEOUT);
    service_turn(&s);
    CHECK_EQ(s.session_count, 4);
    s.hold = 0;
    CHECK_EQ(answer_stream(&s, &s.last[P], KVS_RESULT_OK), KVS_OK);
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

/* A budget of five without a fragment that is done; one that is arms it again, BUFFERING and RECEIVED do not. */
static void test_reconnects_without_progress_are_bounded(void)
{
    struct service s;
    struct kvs_stream *stream = streaming(&s, NULL);
    for (uint32_t i = 0; i < 5; i++) {
        CHECK_STATE(stream, STREAMING);
        session_drop(&s, newest(&s), KVS_RESULT_READ_TIMEOUT);
        service_turn(&s);
    }
    session_ack(&s, newest(&s), KVS_ACK_PERSISTED, T0 / KVS_HNS_PER_MS + 500, 0);
    for (uint32_t i = 0; i < 6; i++) {
        CHECK_STATE(stream, STREAMING);
        session_ack(&s, newest(&s), KVS_ACK_BUFFERING, T0 / KVS_HNS_PER_MS + 1000, 0);
        session_drop(&s, newest(&s), KVS_RESULT_READ_TIMEOUT);
        service_turn(&s);
    }
    CHECK_STATE(stream, FAILED);
    CHECK_EQ(metrics_of(stream).failure, KVS_E_CONNECTION_LOST);
    CHECK_EQ(s.count[KVS_ACTION_FAILED], 1);
    CHECK_EQ(metrics_of(stream).frames_buffered, 5);
    CHECK_EQ(kvs_stream_retry(stream, s.now_hns), KVS_OK);
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

static void test_an_old_handles_end_beside_a_new_session(void)
{
    struct service s;
    struct kvs_stream *stream = streaming(&s, NULL);
    struct session *old = newest(&s);
    session_ack(&s, old, KVS_ACK_ERROR, T0 / KVS_HNS_PER_MS + 500, KVS_RESULT_ACK_INTERNAL);
    service_turn(&s);
    CHECK_EQ(s.session_count, 2);
    session_drop(&s, old, KVS_RESULT_READ_TIMEOUT); /* the network saw it go, later */
    CHECK_EQ(service_turn(&s), 0);
    CHECK_STATE(stream, STREAMING);
    CHECK_EQ(session_ack(&s, old, KVS_ACK_ERROR, T0 / KVS_HNS_PER_MS + 500, KVS_RESULT_INVALID_MKV), KVS_OK);
    CHECK_EQ(session_ack(&s, old, KVS_ACK_PERSISTED, T0 / KVS_HNS_PER_MS + 500, 0), KVS_OK);
    CHECK_EQ(metrics_of(stream).acks_error, 1);
    CHECK_EQ(metrics_of(stream).frames_done, 5);
    HELD("CS-52 CS-58 CD-56");
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

/* While a draining session is alive its unacknowledged end is lost: the next one goes back for it beside the live
 * one. */
static void test_a_new_handle_goes_back_beside_a_live_one(void)
{
    struct service s;
    struct kvs_stream *stream = streaming(&s, NULL);
    static const uint8_t cpd[] = { 1, 66, 0, 30 };
    CHECK_EQ(kvs_stream_set_cpd(stream, 1, cpd, sizeof cpd), KVS_OK);
    struct session *old = newest(&s);
    service_put_fragments(&s, stream, 2000, 2, 5);
    service_turn(&s);
    CHECK_EQ(s.session_count, 2); /* another header: another session, the old one waits for its ACKs */
    CHECK_EQ(old->state, KVS_READ_AWAITING_ACK);
    CHECK_EQ(metrics_of(stream).sessions_active, 2);
    session_drop(&s, old, KVS_RESULT_READ_TIMEOUT);
    service_turn(&s);
    CHECK_EQ(s.session_count, 3);
    check_first_frame(&s, newest(&s), 5);
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.cluster_count, 2); /* fragments 1 and 2; the live session has the others */
    mkv_forget(&seen);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 25);
    service_down(&s);
}

static void test_replay_limit(void)
{
    struct kvs_stream_config config = video_config();
    config.replay_max_hns = MS(1000);
    struct service s;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    service_put_fragments(&s, stream, 0, 10, 5);
    service_turn(&s);
    session_drop(&s, newest(&s), KVS_RESULT_READ_TIMEOUT);
    service_turn(&s);
    struct kvs_stream_metrics m = metrics_of(stream);
    CHECK_EQ(m.frames_dropped[KVS_DROP_REPLAY_LIMIT] % 5, 0);
    CHECK(m.frames_dropped[KVS_DROP_REPLAY_LIMIT] >= 30);
    CHECK(m.frames_buffered >= 10);
    check_first_frame(&s, newest(&s), (uint32_t)m.frames_dropped[KVS_DROP_REPLAY_LIMIT]);
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

int main(void)
{
    test_the_reason_decides_the_way_back();
    test_without_recovery_the_stream_fails_and_keeps_everything();
    test_an_orderly_end_with_nothing_owed_waits_for_a_frame();
    test_a_timeout_after_everything_was_sent_repeats_what_is_not_done();
    test_nothing_happens_to_a_stream_without_a_session();
    test_reset_connection();
    test_a_session_that_sent_nothing_yet();
    test_reconnects_without_progress_are_bounded();
    test_an_old_handles_end_beside_a_new_session();
    test_a_new_handle_goes_back_beside_a_live_one();
    test_replay_limit();
    return CHECK_DONE();
}

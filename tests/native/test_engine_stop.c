/* Stop, free, reset, retry, in every state. Goal: a stop ends by CLOSED once everything is settled, a reset starts over
 * whatever was, a retry drops nothing, and nothing ever hangs. */
#include "service.h"

enum {
    D = KVS_ACTION_DESCRIBE_STREAM,
    C = KVS_ACTION_CREATE_STREAM,
    T = KVS_ACTION_TAG_STREAM,
    E = KVS_ACTION_GET_DATA_ENDPOINT,
    K = KVS_ACTION_GET_TOKEN,
    P = KVS_ACTION_PUT_MEDIA
};

/* A stream that stands in `state`, with frames or without. */
static struct kvs_stream *standing_in(struct service *s, uint32_t state, uint32_t frames)
{
    static const uint32_t held[] = {
        [KVS_STREAM_DESCRIBE] = D,  [KVS_STREAM_CREATE] = C,     [KVS_STREAM_TAG] = T,   [KVS_STREAM_GET_ENDPOINT] = E,
        [KVS_STREAM_GET_TOKEN] = K, [KVS_STREAM_PUT_STREAM] = P, [KVS_STREAM_FAILED] = 0
    };
    struct kvs_stream_config config = video_config();
    config.flags |= KVS_HAS_TAGS;
    service_up(s, NULL);
    service_script(s, D, KVS_RESULT_NOT_FOUND, state != KVS_STREAM_DESCRIBE && state != KVS_STREAM_FAILED);
    if (state == KVS_STREAM_FAILED) service_script(s, D, KVS_RESULT_BAD_REQUEST, 1);
    if (state < sizeof held / sizeof *held && held[state] != 0) s->hold = HOLD(held[state]);
    struct kvs_stream *stream = service_open(s, &config);
    for (uint32_t i = 0; i < frames; i++) service_put(s, stream, 40 * i, i == 0 ? KVS_FRAME_KEY : 0);
    service_turn(s);
    CHECK_EQ(metrics_of(stream).state, state == KVS_STREAM_READY && frames != 0 ? KVS_STREAM_STREAMING : state);
    return stream;
}

static const uint32_t STATES[] = { KVS_STREAM_DESCRIBE,     KVS_STREAM_CREATE,    KVS_STREAM_TAG,
                                   KVS_STREAM_GET_ENDPOINT, KVS_STREAM_GET_TOKEN, KVS_STREAM_READY,
                                   KVS_STREAM_PUT_STREAM,   KVS_STREAM_STREAMING, KVS_STREAM_FAILED };
#define STATE_COUNT (sizeof STATES / sizeof *STATES)

static int needs_frames(uint32_t state) { return state == KVS_STREAM_PUT_STREAM || state == KVS_STREAM_STREAMING; }

static void test_stop_without_frames_closes_at_once(void)
{
    struct service s;
    for (uint32_t i = 0; i < STATE_COUNT; i++) {
        if (needs_frames(STATES[i])) continue;
        struct kvs_stream *stream = standing_in(&s, STATES[i], 0);
        CHECK_EQ(kvs_stream_stop(stream, s.now_hns), KVS_OK);
        CHECK_STATE(stream, STOPPED);
        service_turn(&s);
        CHECK_EQ(s.count[KVS_ACTION_CLOSED], 1);
        CHECK_EQ(kvs_stream_stop(stream, s.now_hns), KVS_OK);
        service_turn(&s);
        CHECK_EQ(s.count[KVS_ACTION_CLOSED], 1);
        if (STATES[i] < KVS_STREAM_READY) CHECK_EQ(answer_stream(&s, &s.last[D], KVS_RESULT_OK), KVS_E_STALE_ANSWER);
        CHECK_EQ(s.count[P], 0);
        CHECK_EQ(service_put(&s, stream, 0, KVS_FRAME_KEY), KVS_E_STREAM_STOPPED);
        CHECK_EQ(kvs_stream_put_metadata(stream, "a", "b", 0), KVS_E_STREAM_STOPPED);
        CHECK_EQ(kvs_stream_put_event(stream, KVS_EVENT_IMAGE, NULL, 0, NULL, NULL), KVS_E_STREAM_STOPPED);
        CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_E_STREAM_STOPPED);
        CHECK_EQ(kvs_stream_retry(stream, s.now_hns), KVS_E_STREAM_STOPPED);
        CHECK_EQ(kvs_upload_ended(stream, 1, 500, s.now_hns), KVS_OK);
        CHECK_STATE(stream, STOPPED);
        service_down(&s);
    }
    HELD("CS-69 CS-72 CD-25 CD-113");
    REPLACED("CS-70", "a stop with nothing to send enters Stopped at once, late answers are stale");
}

/* Answers what was held back. */
static void release(struct service *s)
{
    uint64_t hold = s->hold;
    s->hold = 0;
    for (uint32_t kind = D; kind <= P; kind++) {
        if (hold & HOLD(kind)) CHECK_EQ(service_answer(s, kind, KVS_RESULT_OK), KVS_OK);
    }
}

static void test_stop_with_frames_drains(void)
{
    struct service s;
    for (uint32_t i = 0; i < STATE_COUNT; i++) {
        struct kvs_stream *stream = standing_in(&s, STATES[i], 5);
        CHECK_EQ(kvs_stream_stop(stream, s.now_hns), KVS_OK);
        service_turn(&s);
        CHECK_EQ(s.count[KVS_ACTION_CLOSED], 0);
        if (STATES[i] == KVS_STREAM_FAILED) {
            CHECK_STATE(stream, FAILED); /* visible; the retry is somebody's decision */
            CHECK_EQ(kvs_stream_retry(stream, s.now_hns), KVS_OK);
        }
        release(&s);
        CHECK(service_drain(&s, stream));
        CHECK_EQ(metrics_of(stream).frames_done, 5);
        CHECK_EQ(metrics_of(stream).sessions_active, 0);
        CHECK_EQ(newest(&s)->state, KVS_READ_END);
        struct mkv_seen seen = session_seen(newest(&s));
        CHECK(seen.clusters[seen.cluster_count - 1].has_end);
        mkv_forget(&seen);
        service_down(&s);
    }
    HELD("CS-71 CD-44");
}

static void test_free_in_every_state(void)
{
    struct service s;
    for (uint32_t i = 0; i < STATE_COUNT; i++) {
        struct kvs_stream *stream = standing_in(&s, STATES[i], needs_frames(STATES[i]) ? 50 : 0);
        service_free(&s, stream);
        struct kvs_action action;
        CHECK_EQ(kvs_client_next_actions(s.client, &action, 1), 0); /* actions of a freed stream are not handed out */
        CHECK_EQ(kvs_client_next_deadline(s.client), KVS_TIME_NONE);
        CHECK_EQ(s.client->pool.used_count, 0);
        stream = service_new(&s, NULL); /* its name is free again */
        CHECK(stream != NULL);
        service_down(&s); /* and a client takes its streams along */
    }
    kvs_stream_free(NULL);
    kvs_client_free(NULL);
    HELD("CS-74");
    REPLACED(
        "CS-73 CS-96 CD-115",
        "a freed handle is the caller's fault in kvspic.h, NULL is allowed; its actions are not handed out any more");
}

static void test_reset_in_every_state(void)
{
    struct service s;
    for (uint32_t i = 0; i < STATE_COUNT + 1; i++) {
        uint32_t state = i < STATE_COUNT ? STATES[i] : KVS_STREAM_READY;
        struct kvs_stream *stream = standing_in(&s, state, needs_frames(state) ? 5 : 0);
        if (i == STATE_COUNT) kvs_stream_stop(stream, s.now_hns);
        s.hold = 0;
        service_turn(&s);
        memset(s.count, 0, sizeof s.count);
        CHECK_EQ(kvs_stream_reset(stream, s.now_hns), KVS_OK);
        CHECK_STATE(stream, DESCRIBE);
        CHECK_EQ(metrics_of(stream).frames_buffered, 0);
        CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_RESET], needs_frames(state) ? 5 : 0);
        service_turn(&s);
        CHECK_EQ(s.count[D], 1);
        CHECK_EQ(s.count[P], 0); /* only with a frame */
        CHECK_EQ(s.count[KVS_ACTION_UPLOAD_END], needs_frames(state));
        CHECK_STATE(stream, READY);
        CHECK_EQ(service_put(&s, stream, 1000, 0), KVS_OK);
        CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_SKIPPED], 1);
        service_put_fragments(&s, stream, 1040, 2, 3);
        CHECK(service_drain(&s, stream));
        CHECK_EQ(metrics_of(stream).frames_done, 6);
        service_down(&s);
    }
    HELD("CS-81");
    REPLACED("CS-80 CS-82", "a reset drops, starts at Describe in every state and waits for a frame");
}

static void test_retry_in_every_state_drops_nothing(void)
{
    struct service s;
    for (uint32_t i = 0; i < STATE_COUNT; i++) {
        struct kvs_stream *stream = standing_in(&s, STATES[i], 5);
        s.hold = 0;
        CHECK_EQ(kvs_stream_retry(stream, s.now_hns), KVS_OK);
        service_turn(&s);
        CHECK_EQ(s.last[D].attempt, 0);
        service_put_fragments(&s, stream, 1000, 2, 3);
        CHECK(service_drain(&s, stream));
        CHECK_EQ(metrics_of(stream).frames_done, 11);
        service_down(&s);
    }
}

static void test_a_slow_reader_keeps_a_stop_waiting_and_nothing_else(void)
{
    struct service s;
    struct kvs_stream *stream = standing_in(&s, KVS_STREAM_READY, 0);
    struct kvs_stream_config other = video_config();
    other.name = "other";
    s.is_silent = 1;
    s.frame_size = 20000;
    service_put_fragments(&s, stream, 0, 10, 5);
    CHECK_EQ(kvs_stream_stop(stream, s.now_hns), KVS_OK);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_CLOSED], 0);
    struct kvs_stream *second = service_open(&s, &other);
    CHECK_EQ(service_put(&s, second, 0, KVS_FRAME_KEY), KVS_OK);
    service_free(&s, second);
    HELD("CS-75 CS-93");
    s.is_silent = s.sessions[0].is_silent = 0;
    s.read_size = 777;
    session_read_all(&s, &s.sessions[0]);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 50);
    HELD("CS-76");
    service_down(&s);
}

/* The last frame was ended by the caller: there is nothing to add. */
static void test_stop_after_an_end_of_fragment(void)
{
    struct service s;
    struct kvs_stream *stream = standing_in(&s, KVS_STREAM_STREAMING, 5);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_OK);
    CHECK_EQ(kvs_stream_put_metadata(stream, "late", "1", 0), KVS_OK);
    CHECK(service_drain(&s, stream));
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.end_count, 1);
    CHECK_EQ(seen.tag_count, 0);
    HELD("CD-38");
    mkv_forget(&seen);
    service_down(&s);
}

static void test_stop_with_acks_off(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.flags &= ~(uint32_t)KVS_WANT_ACKS;
    config.buffer_duration_hns = MS(2000);
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    service_put_fragments(&s, stream, 0, 3, 5);
    service_turn(&s);
    CHECK_EQ(metrics_of(stream).frames_done, 10); /* handed out whole is done */
    for (uint64_t i = 3; i < 60; i++) {           /* many times the buffer's duration: what was sent is no loss */
        service_put_fragments(&s, stream, 500 * i, 1, 5);
        service_turn(&s);
    }
    CHECK_EQ(s.count[KVS_ACTION_DROPPED], 0);
    CHECK_EQ(kvs_stream_stop(stream, s.now_hns), KVS_OK);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_CLOSED], 1);
    CHECK_EQ(metrics_of(stream).frames_done, 300);
    HELD("CD-32");
    service_down(&s);
}

int main(void)
{
    test_stop_without_frames_closes_at_once();
    test_stop_with_frames_drains();
    test_free_in_every_state();
    test_reset_in_every_state();
    test_retry_in_every_state_drops_nothing();
    test_a_slow_reader_keeps_a_stop_waiting_and_nothing_else();
    test_stop_after_an_end_of_fragment();
    test_stop_with_acks_off();
    return CHECK_DONE();
}

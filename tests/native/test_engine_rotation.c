/* Tokens that expire. Goal: rotation by deadline, without a gap, without a frame twice or never, and no session is ever
 * opened with a token that is dead. */
#include "service.h"

enum { E = KVS_ACTION_GET_DATA_ENDPOINT, K = KVS_ACTION_GET_TOKEN, P = KVS_ACTION_PUT_MEDIA };
#define SECOND KVS_HNS_PER_SECOND

static struct kvs_stream *with_token(struct service *s, uint64_t life_hns)
{
    service_up(s, NULL);
    s->token_life_hns = life_hns;
    return service_open(s, NULL);
}

/* Every frame put arrived in exactly one session, in order. */
static void check_each_once(const struct service *s, uint32_t frames)
{
    uint32_t next = 0;
    for (uint32_t i = 0; i < s->session_count; i++) {
        struct mkv_seen seen = session_seen(&s->sessions[i]);
        for (uint32_t j = 0; j < seen.block_count; j++) CHECK_EQ(seen.blocks[j].number, next++);
        mkv_forget(&seen);
    }
    CHECK_EQ(next, frames);
}

static void test_rotation_happens_at_the_deadline(void)
{
    struct service s;
    struct kvs_stream *stream = with_token(&s, 60 * SECOND);
    service_put_fragments(&s, stream, 0, 2, 5);
    service_turn(&s);
    CHECK_EQ(kvs_client_next_deadline(s.client), T0 + 57 * SECOND);
    service_poke(&s, T0 + 56 * SECOND);
    CHECK_EQ(s.count[E], 1);
    s.hold = HOLD(E);
    service_poke(&s, T0 + 57 * SECOND);
    CHECK_EQ(s.count[E], 2);
    CHECK_EQ(s.count[K], 1);
    CHECK_EQ(answer_stream(&s, &s.last[E], KVS_RESULT_OK), KVS_OK);
    s.hold = 0;
    service_turn(&s);
    CHECK_EQ(s.count[K], 2);
    CHECK_EQ(s.count[KVS_ACTION_TOKEN_ROTATED], 1);
    CHECK_EQ(s.count[P], 1); /* the next fragment opens the next session */
    CHECK(!newest(&s)->is_over);
    service_put(&s, stream, 950, 0); /* still of the old session's fragment */
    service_put_fragments(&s, stream, 1000, 2, 5);
    service_turn(&s);
    CHECK_EQ(s.count[P], 2);
    HELD("CS-60");
    CHECK(service_drain(&s, stream));
    check_each_once(&s, 21);
    service_down(&s);
}

/* One read of every open session after the other, the newest first, until none has more. */
static void read_in_turn(struct service *s)
{
    uint64_t before = 0, after = 1;
    while (before != after) {
        before = after;
        for (uint32_t i = s->session_count; i-- > 0;) {
            struct session *session = &s->sessions[i];
            if (session->is_open && !session->is_over) after += (uint64_t)session_read(s, session, 500);
        }
        service_turn(s);
    }
}

/* Two uploads and no ACKs: what the reader of the newer one has taken says nothing of the older one's fragments. */
static void test_without_acks_a_rotation_with_a_backlog_loses_nothing(void)
{
    struct service s;
    struct kvs_stream_config config = video_config();
    config.flags &= ~(uint32_t)KVS_WANT_ACKS;
    service_up(&s, NULL);
    s.token_life_hns = 60 * SECOND;
    s.is_silent = 1; /* the network is slow: nothing is read until the test reads it */
    struct kvs_stream *stream = service_open(&s, &config);
    service_put_fragments(&s, stream, 0, 20, 5);
    service_turn(&s);
    session_read(&s, newest(&s), 2000);
    CHECK_EQ(metrics_of(stream).fragments_done, 3);
    service_poke(&s, T0 + 57 * SECOND);
    service_put_fragments(&s, stream, 10000, 20, 5);
    service_turn(&s);
    read_in_turn(&s);
    service_put_fragments(&s, stream, 20000, 1, 5);
    service_turn(&s);
    CHECK_EQ(kvs_stream_stop(stream, s.now_hns), KVS_OK);
    service_turn(&s);
    read_in_turn(&s);
    CHECK_EQ(s.session_count, 2);
    CHECK_EQ(metrics_of(stream).frames_done, 205);
    CHECK_EQ(metrics_of(stream).fragments_resent, 0);
    CHECK_EQ(s.count[KVS_ACTION_CLOSED], 1);
    check_each_once(&s, 205);
    service_down(&s);
}

/* The open fragment counts as handed out only if the reader that has it lives until it is complete. */
static void test_without_acks_a_fragment_that_ends_after_its_upload_is_sent_again(void)
{
    struct service s;
    struct kvs_stream_config config = video_config();
    config.flags &= ~(uint32_t)KVS_WANT_ACKS;
    service_up(&s, NULL);
    s.is_silent = 1;
    struct kvs_stream *stream = service_open(&s, &config);
    service_put_fragments(&s, stream, 0, 3, 5);
    service_turn(&s);
    session_read_all(&s, newest(&s)); /* all of it; the third fragment is still open */
    CHECK_EQ(metrics_of(stream).fragments_done, 2);
    session_drop(&s, newest(&s), KVS_RESULT_UNKNOWN);
    s.is_silent = 0;
    service_put_fragments(&s, stream, 1500, 2, 5); /* closes the third, of which no session has read the end */
    CHECK_EQ(metrics_of(stream).fragments_done, 2);
    service_turn(&s);
    CHECK(service_drain(&s, stream));
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.blocks[0].number, 10);
    CHECK_EQ(seen.block_count, 15);
    mkv_forget(&seen);
    service_down(&s);
}

static void persist_all(struct service *s)
{
    for (uint32_t i = 0; i < s->session_count; i++) {
        if (!s->sessions[i].is_over) service_persist(s, &s->sessions[i]);
    }
}

static void test_many_rotations_lose_and_repeat_nothing(void)
{
    struct service s;
    struct kvs_stream *stream = with_token(&s, 40 * SECOND);
    for (uint32_t i = 0; i < 300; i++) {
        s.now_hns = T0 + i * SECOND;
        if (kvs_client_next_deadline(s.client) <= s.now_hns) service_poke(&s, s.now_hns);
        CHECK_EQ(service_put(&s, stream, 1000 * i, i % 2 == 0 ? KVS_FRAME_KEY : 0), KVS_OK);
        service_turn(&s);
        if (i % 8 == 7) persist_all(&s);
    }
    uint32_t rotations = s.count[KVS_ACTION_TOKEN_ROTATED];
    CHECK(rotations >= 7 && rotations <= 9);
    CHECK_EQ(s.count[E], 1 + rotations);
    CHECK_EQ(s.count[K], 1 + rotations);
    CHECK_EQ(s.count[P], 1 + rotations);
    CHECK_EQ(s.count[KVS_ACTION_FAILED] + s.count[KVS_ACTION_ERROR_ACK], 0);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).fragments_resent, 0);
    CHECK_EQ(metrics_of(stream).sessions_active, 0);
    check_each_once(&s, 300);
    HELD("CS-61 CS-64 CD-75");
    service_down(&s);
}

static void test_the_old_session_ends_after_its_last_ack(void)
{
    struct service s;
    struct kvs_stream *stream = with_token(&s, 60 * SECOND);
    service_put_fragments(&s, stream, 0, 2, 5);
    service_turn(&s);
    struct session *old = newest(&s);
    service_poke(&s, T0 + 58 * SECOND);
    service_put_fragments(&s, stream, 1000, 2, 5);
    service_turn(&s);
    CHECK_EQ(old->state, KVS_READ_AWAITING_ACK);
    struct mkv_seen seen = session_seen(old);
    CHECK(seen.is_whole && seen.clusters[1].has_end && !seen.clusters[0].has_end);
    mkv_forget(&seen);
    uint32_t data = s.count[KVS_ACTION_DATA];
    session_ack(&s, old, KVS_ACK_PERSISTED, T0 / KVS_HNS_PER_MS + 500, 0);
    CHECK_EQ(metrics_of(stream).frames_done, 10);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_DATA], data + 1);
    CHECK_EQ(old->state, KVS_READ_END);
    CHECK_EQ(session_read(&s, old, 10), KVS_E_UNKNOWN_UPLOAD);
    HELD("CS-62");
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

/* The new token is slow: the old session goes on to its edge, and nothing is lost in between. */
static void test_a_token_that_comes_late(void)
{
    struct service s;
    struct kvs_stream *stream = with_token(&s, 60 * SECOND);
    service_put_fragments(&s, stream, 0, 2, 5);
    service_turn(&s);
    s.hold = HOLD(K);
    service_poke(&s, T0 + 57 * SECOND);
    CHECK_STATE(stream, GET_TOKEN);
    service_put_fragments(&s, stream, 1000, 2, 5); /* the old session takes them meanwhile */
    service_turn(&s);
    service_persist(&s, newest(&s));
    session_drop(&s, newest(&s), KVS_RESULT_NOT_AUTHORIZED); /* and then it is cut off */
    service_turn(&s);
    CHECK_EQ(s.session_count, 1);
    s.hold = 0;
    CHECK_EQ(service_answer(&s, K, KVS_RESULT_OK), KVS_OK);
    service_turn(&s);
    CHECK_EQ(s.session_count, 2);
    HELD("CS-63");
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 20);
    service_down(&s);
}

static void test_an_error_on_the_old_session_during_rotation(void)
{
    struct service s;
    struct kvs_stream *stream = with_token(&s, 60 * SECOND);
    service_put_fragments(&s, stream, 0, 2, 5);
    service_turn(&s);
    service_poke(&s, T0 + 58 * SECOND);
    service_put_fragments(&s, stream, 1000, 2, 5);
    s.is_silent = 1; /* the new session is open and not read yet */
    service_turn(&s);
    CHECK_EQ(s.session_count, 2);
    session_ack(&s, &s.sessions[0], KVS_ACK_ERROR, T0 / KVS_HNS_PER_MS + 500, KVS_RESULT_ACK_INTERNAL);
    service_turn(&s);
    CHECK_EQ(s.session_count, 2); /* the one that has begun nothing takes the fragments over */
    s.is_silent = s.sessions[1].is_silent = 0;
    session_read_all(&s, &s.sessions[1]);
    struct mkv_seen seen = session_seen(&s.sessions[1]);
    CHECK_EQ(seen.blocks[0].number, 0);
    mkv_forget(&seen);
    HELD("CS-65");
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 20);
    service_down(&s);
}

static void test_a_token_dies_while_nothing_is_sent(void)
{
    struct service s;
    struct kvs_stream *stream = with_token(&s, 60 * SECOND);
    s.now_hns = T0 + 61 * SECOND; /* no poke came */
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    service_turn(&s);
    CHECK_EQ(s.count[K], 2);
    CHECK_EQ(s.count[P], 1);
    CHECK_STATE(stream, STREAMING);
    service_down(&s);
    stream = with_token(&s, 60 * SECOND);
    service_poke(&s, T0 + 57 * SECOND); /* parked in READY: a new token by deadline, no session */
    CHECK_STATE(stream, READY);
    CHECK_EQ(s.count[K], 2);
    CHECK_EQ(s.count[P], 0);
    HELD("CS-68");
    service_down(&s);
}

static void test_a_token_that_expires_while_a_session_is_opened(void)
{
    struct service s;
    struct kvs_stream *stream = with_token(&s, 60 * SECOND);
    s.hold = HOLD(P);
    service_put_fragments(&s, stream, 0, 2, 5);
    service_turn(&s);
    service_poke(&s, T0 + 59 * SECOND);
    CHECK_STATE(stream, PUT_STREAM);
    CHECK_EQ(service_answer(&s, P, KVS_RESULT_OK), KVS_OK); /* adopted, then rotated */
    s.hold = 0;
    service_turn(&s);
    service_poke(&s, T0 + 60 * SECOND);
    CHECK_EQ(s.count[KVS_ACTION_TOKEN_ROTATED], 1);
    HELD("CS-88");
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 10);
    service_down(&s);
}

static void test_a_life_is_cut_to_forty_minutes(void)
{
    struct service s;
    with_token(&s, 86400 * SECOND);
    uint64_t due = kvs_client_next_deadline(s.client);
    CHECK(due <= T0 + 2400 * SECOND - 3 * SECOND && due >= T0 + 2400 * SECOND - 183 * SECOND);
    service_down(&s);
    with_token(&s, 299 * SECOND);
    CHECK_EQ(kvs_client_next_deadline(s.client), T0 + 296 * SECOND); /* short lives have no jitter */
    HELD("CS-66 CS-67");
    service_down(&s);
}

static void test_a_rotation_that_fails_leaves_the_old_session_alone(void)
{
    struct service s;
    struct kvs_stream *stream = with_token(&s, 60 * SECOND);
    service_put_fragments(&s, stream, 0, 2, 5);
    service_turn(&s);
    service_script(&s, E, KVS_RESULT_UNKNOWN, 6);
    service_poke(&s, T0 + 57 * SECOND);
    CHECK_STATE(stream, FAILED);
    CHECK_EQ(metrics_of(stream).failure, KVS_E_ENDPOINT_FAILED);
    service_persist(&s, newest(&s));
    CHECK_EQ(metrics_of(stream).frames_done, 5); /* its ACKs count */
    session_drop(&s, newest(&s), KVS_RESULT_NOT_AUTHORIZED);
    CHECK_STATE(stream, FAILED);
    CHECK_EQ(kvs_stream_retry(stream, s.now_hns), KVS_OK);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 10);
    service_down(&s);
}

int main(void)
{
    test_rotation_happens_at_the_deadline();
    test_without_acks_a_rotation_with_a_backlog_loses_nothing();
    test_without_acks_a_fragment_that_ends_after_its_upload_is_sent_again();
    test_many_rotations_lose_and_repeat_nothing();
    test_the_old_session_ends_after_its_last_ack();
    test_a_token_that_comes_late();
    test_an_error_on_the_old_session_during_rotation();
    test_a_token_dies_while_nothing_is_sent();
    test_a_token_that_expires_while_a_session_is_opened();
    test_a_life_is_cut_to_forty_minutes();
    test_a_rotation_that_fails_leaves_the_old_session_alone();
    return CHECK_DONE();
}

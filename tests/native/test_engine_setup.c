/* A stream on its way to READY. Goal: each answer of each set-up call leads where the rules say, a call is repeated
 * five times at most, what can not be helped is final and visible, and an answer that is not waited for changes
 * nothing. */
#include "service.h"

enum {
    D = KVS_ACTION_DESCRIBE_STREAM,
    C = KVS_ACTION_CREATE_STREAM,
    T = KVS_ACTION_TAG_STREAM,
    E = KVS_ACTION_GET_DATA_ENDPOINT,
    K = KVS_ACTION_GET_TOKEN,
    P = KVS_ACTION_PUT_MEDIA
};

static void check_counts(const struct service *s, uint32_t d, uint32_t c, uint32_t t, uint32_t e, uint32_t k)
{
    CHECK_EQ(s->count[D], d);
    CHECK_EQ(s->count[C], c);
    CHECK_EQ(s->count[T], t);
    CHECK_EQ(s->count[E], e);
    CHECK_EQ(s->count[K], k);
}

static struct kvs_stream_config tagged(void)
{
    struct kvs_stream_config config = video_config();
    config.flags |= KVS_HAS_TAGS;
    return config;
}

/* A tagged stream that the service does not know yet; `kind` is answered with `result` `times` times before 200. */
static struct kvs_stream *open_with(struct service *s, uint32_t kind, uint32_t result, uint32_t times)
{
    struct kvs_stream_config config = tagged();
    service_up(s, NULL);
    if (kind != D) service_script(s, D, KVS_RESULT_NOT_FOUND, 1);
    service_script(s, kind, result, times);
    return service_open(s, &config);
}

static void test_the_first_key_frame_opens_a_session(void)
{
    struct service s;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, NULL);
    check_counts(&s, 1, 0, 0, 1, 1);
    CHECK_EQ(s.count[KVS_ACTION_READY], 1);
    CHECK_EQ(s.count[P], 0);
    HELD("CS-11 CS-30 CD-40"); /* nothing but the caller's own thread has run */
    CHECK_EQ(service_put(&s, stream, 0, KVS_FRAME_KEY), KVS_OK);
    service_turn(&s);
    CHECK_EQ(s.count[P], 1);
    CHECK_EQ(s.last[P].a, T0 / KVS_HNS_PER_MS);
    CHECK_EQ(s.last[P].after_hns, 0);
    HELD("CS-12 CD-01");
    service_down(&s);
}

static void test_a_missing_stream_is_created(void)
{
    struct service s;
    service_up(&s, NULL);
    service_script(&s, D, KVS_RESULT_NOT_FOUND, 1);
    struct kvs_stream *stream = service_open(&s, NULL);
    check_counts(&s, 1, 1, 0, 1, 1);
    CHECK_STATE(stream, READY);
    CHECK_EQ(metrics_of(stream).retention_hns, 7200 * KVS_HNS_PER_SECOND); /* ours: as asked */
    service_down(&s);
    stream = open_with(&s, C, KVS_RESULT_OK, 1);
    check_counts(&s, 1, 1, 1, 1, 1);
    HELD("CS-13 CS-34");
    service_down(&s);
}

static void test_creation_has_to_be_allowed(void)
{
    struct service s;
    for (uint32_t no_recovery = 0; no_recovery < 2; no_recovery++) {
        struct kvs_stream_config config = video_config();
        config.flags &= ~(uint32_t)KVS_ALLOW_CREATE;
        if (no_recovery) config.flags |= KVS_NO_RECOVERY;
        service_up(&s, NULL);
        service_script(&s, D, KVS_RESULT_NOT_FOUND, 1);
        struct kvs_stream *stream = service_open(&s, &config);
        check_counts(&s, 1, 0, 0, 0, 0);
        CHECK_EQ(s.last_status, KVS_E_NOT_FOUND);
        CHECK_STATE(stream, FAILED);
        CHECK_EQ(s.count[KVS_ACTION_FAILED], 1);
        CHECK_EQ(s.last[KVS_ACTION_FAILED].status, KVS_E_NOT_FOUND);
        CHECK_EQ(s.last[KVS_ACTION_FAILED].result, KVS_RESULT_NOT_FOUND);
        service_down(&s);
    }
    HELD("CS-14 CS-91");
}

static void test_the_described_status_decides(void)
{
    struct service s;
    service_up(&s, NULL);
    s.stream_status = KVS_STATUS_DELETING;
    struct kvs_stream *stream = service_open(&s, NULL);
    CHECK_EQ(s.last_status, KVS_E_STREAM_DELETING);
    check_counts(&s, 1, 0, 0, 0, 0);
    CHECK_STATE(stream, FAILED);
    HELD("CS-15");
    service_down(&s);
    for (uint32_t status = KVS_STATUS_CREATING; status <= KVS_STATUS_UPDATING; status += 2) {
        service_up(&s, NULL);
        s.stream_status = status;
        stream = service_open(&s, NULL);
        check_counts(&s, 6, 0, 0, 0, 0);
        CHECK_EQ(s.last_status, KVS_E_DESCRIBE_FAILED);
        CHECK_STATE(stream, FAILED);
        CHECK_EQ(s.longest_wait_hns, 10 * KVS_HNS_PER_SECOND); /* 1, 2, 4, 8 s and the cap: polled, not hammered */
        service_down(&s);
    }
    HELD("CS-16");
}

static void test_a_retryable_answer_is_one_more_call(void)
{
    static const uint32_t kinds[] = { C, T, E, K };
    struct service s;
    for (uint32_t i = 0; i < 4; i++) {
        struct kvs_stream *stream = open_with(&s, kinds[i], KVS_RESULT_UNKNOWN, 1);
        CHECK_STATE(stream, READY);
        for (uint32_t j = 0; j < 4; j++) CHECK_EQ(s.count[kinds[j]], j == i ? 2 : 1);
        CHECK_EQ(s.last[kinds[i]].attempt, 1);
        service_down(&s);
    }
    HELD("CS-17 CS-98");
}

struct final_row {
    uint32_t kind, result;
    kvs_status status;
};

static void test_a_final_answer_is_final(void)
{
    static const struct final_row rows[] = {
        { D, 406, KVS_E_BAD_REQUEST },
        { C, 406, KVS_E_BAD_REQUEST },
        { E, 406, KVS_E_BAD_REQUEST },
        { K, 406, KVS_E_BAD_REQUEST },
        { D, 400, KVS_E_BAD_REQUEST },
        { C, 400, KVS_E_BAD_REQUEST },
        { D, 401, KVS_E_NOT_AUTHORIZED },
        { C, 401, KVS_E_NOT_AUTHORIZED },
        { E, 401, KVS_E_NOT_AUTHORIZED },
        { K, 401, KVS_E_NOT_AUTHORIZED },
        { D, 403, KVS_E_NOT_AUTHORIZED },
        { K, 403, KVS_E_NOT_AUTHORIZED },
        { C, KVS_RESULT_STREAM_LIMIT, KVS_E_SERVICE_LIMIT },
        { C, KVS_RESULT_DEVICE_LIMIT, KVS_E_SERVICE_LIMIT },
        { D, KVS_RESULT_CLIENT_LIMIT, KVS_E_SERVICE_LIMIT },
        { D, KVS_RESULT_NOT_PROVISIONED, KVS_E_SERVICE_ERROR },
        { E, KVS_RESULT_DEVICE_NOT_FOUND, KVS_E_SERVICE_ERROR },
        { D, KVS_RESULT_DELETED, KVS_E_NOT_FOUND },
    };
    struct service s;
    for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kvs_stream *stream = open_with(&s, rows[i].kind, rows[i].result, 1);
        CHECK_EQ(s.last_status, rows[i].status);
        CHECK_STATE(stream, FAILED);
        CHECK_EQ(s.count[rows[i].kind], 1);
        CHECK_EQ(s.last[KVS_ACTION_FAILED].status, rows[i].status);
        CHECK_EQ(service_put(&s, stream, 0, KVS_FRAME_KEY), KVS_OK); /* FAILED keeps taking frames */
        CHECK_EQ(kvs_stream_retry(stream, s.now_hns), KVS_OK);
        service_turn(&s);
        CHECK_STATE(stream, STREAMING);
        CHECK_EQ(metrics_of(stream).failure, KVS_OK);
        service_down(&s);
    }
    REPLACED("CS-18 CS-19", "400, 401, 403, 406 are final in every state, the way out is a retry; tags are skipped");
}

static void test_the_budget_is_five_repeats(void)
{
    static const struct final_row rows[] = { { D, 0, KVS_E_DESCRIBE_FAILED },
                                             { C, 0, KVS_E_CREATE_FAILED },
                                             { E, 0, KVS_E_ENDPOINT_FAILED },
                                             { K, 0, KVS_E_TOKEN_FAILED } };
    struct service s;
    for (uint32_t i = 0; i < 4; i++) {
        struct kvs_stream *stream = open_with(&s, rows[i].kind, KVS_RESULT_UNKNOWN, 6);
        CHECK_EQ(s.count[rows[i].kind], 6);
        CHECK_EQ(s.last_status, rows[i].status);
        CHECK_STATE(stream, FAILED);
        CHECK_EQ(metrics_of(stream).failure, rows[i].status);
        CHECK(s.longest_wait_hns <= 10 * KVS_HNS_PER_SECOND);
        service_down(&s);
        open_with(&s, rows[i].kind, KVS_RESULT_INTERNAL_ERROR, 5);
        CHECK_EQ(s.count[KVS_ACTION_READY], 1);
        service_down(&s);
    }
    HELD("CS-20 CS-92");
}

static void test_a_retry_has_the_whole_budget(void)
{
    struct service s;
    struct kvs_stream *stream = open_with(&s, D, KVS_RESULT_UNKNOWN, 6 + 6 + 5);
    CHECK_STATE(stream, FAILED);
    for (int tries = 12; tries <= 17; tries += 5) {
        CHECK_EQ(kvs_stream_retry(stream, s.now_hns), KVS_OK);
        service_turn(&s);
        CHECK_EQ(s.count[D], tries == 12 ? 12 : 18);
    }
    CHECK_EQ(s.count[KVS_ACTION_FAILED], 2);
    CHECK_EQ(s.count[KVS_ACTION_READY], 1);
    service_down(&s);
}

/* A try every millisecond: each second has two orders, and an order that is replaced before it was due pushes the next
 * one no further away. */
static void test_retries_at_any_rate_keep_the_pace(void)
{
    struct service s;
    uint64_t made_hns[32] = { 0 }, due_hns = KVS_TIME_NONE;
    uint32_t made = 0;
    struct kvs_stream *stream = open_with(&s, D, KVS_RESULT_UNKNOWN, 6);
    s.hold = HOLD(D);
    for (uint32_t i = 0; i < 10000; i++, s.now_hns += KVS_HNS_PER_MS) {
        struct kvs_action action;
        if (due_hns <= s.now_hns && made < 32) made_hns[made++] = due_hns;
        CHECK_EQ(i % 7 != 6 ? kvs_stream_retry(stream, s.now_hns) : kvs_stream_reset(stream, s.now_hns), KVS_OK);
        while (kvs_client_next_actions(s.client, &action, 1) == 1) {
            if (action.kind == D) due_hns = action.after_hns != 0 ? action.after_hns : s.now_hns;
        }
    }
    CHECK(made >= 18 && made <= 21);
    for (uint32_t i = KVS_PACE_CALLS; i < made; i++)
        CHECK(made_hns[i] - made_hns[i - KVS_PACE_CALLS] >= KVS_PACE_WINDOW_HNS);
    service_down(&s);
}

static void test_tags_never_stop_a_stream(void)
{
    static const uint32_t wire[] = { 0, 408, 504, 598, 599, 10006, 10007, 10008, 10009 };
    static const uint32_t backend[] = { 400, 401, 403, 404, 406, 500, 501, 503, 10000, 10002, 10003, 10400 };
    struct service s;
    for (uint32_t i = 0; i < sizeof wire / sizeof *wire; i++) {
        open_with(&s, T, wire[i], 6);
        CHECK_EQ(s.count[T], 6);
        CHECK_EQ(s.count[E], 1);
        CHECK_EQ(s.count[KVS_ACTION_TAG_SKIPPED], 1);
        CHECK_EQ(s.last[KVS_ACTION_TAG_SKIPPED].status, KVS_E_TAG_FAILED);
        CHECK_EQ(s.count[KVS_ACTION_READY], 1);
        service_down(&s);
    }
    HELD("CS-21 CS-23");
    for (uint32_t i = 0; i < sizeof backend / sizeof *backend; i++) {
        open_with(&s, T, backend[i], 1);
        CHECK_EQ(s.count[T], 1);
        CHECK_EQ(s.count[KVS_ACTION_TAG_SKIPPED], 1);
        CHECK_EQ(s.last[KVS_ACTION_TAG_SKIPPED].result, backend[i]);
        CHECK_EQ(s.count[KVS_ACTION_READY], 1);
        CHECK_EQ(s.count[KVS_ACTION_FAILED], 0);
        service_down(&s);
    }
    REPLACED("CS-22", "tags that the service refuses are skipped");
}

static void test_created_by_somebody_else(void)
{
    struct service s;
    service_up(&s, NULL);
    service_script(&s, D, KVS_RESULT_NOT_FOUND, 1);
    service_script(&s, C, KVS_RESULT_IN_USE, 1);
    struct kvs_stream *stream = service_open(&s, NULL);
    check_counts(&s, 2, 1, 0, 1, 1);
    CHECK_STATE(stream, READY);
    service_down(&s);
    service_up(&s, NULL); /* for ever: bounded */
    service_script(&s, D, KVS_RESULT_NOT_FOUND, 20);
    service_script(&s, C, KVS_RESULT_IN_USE, 20);
    stream = service_open(&s, NULL);
    CHECK_STATE(stream, FAILED);
    CHECK(s.count[C] <= 6);
    service_down(&s);
}

/* A stream that we just made may not be known everywhere yet. */
static void test_not_found_after_our_own_create_is_retried(void)
{
    struct service s;
    struct kvs_stream *stream = open_with(&s, E, KVS_RESULT_NOT_FOUND, 2);
    CHECK_STATE(stream, READY);
    CHECK_EQ(s.count[E], 3);
    service_down(&s);
    service_up(&s, NULL);
    service_script(&s, E, KVS_RESULT_NOT_FOUND, 1); /* not ours: it is gone */
    stream = service_open(&s, NULL);
    CHECK_EQ(s.last_status, KVS_E_NOT_FOUND);
    CHECK_STATE(stream, FAILED);
    service_down(&s);
}

static void test_a_token_has_to_last(void)
{
    struct service s;
    service_up(&s, NULL);
    s.hold = HOLD(K);
    struct kvs_stream *stream = service_open(&s, NULL);
    s.token_life_hns = 30 * KVS_HNS_PER_SECOND - 1;
    CHECK_EQ(service_answer(&s, K, KVS_RESULT_OK), KVS_E_TOKEN_EXPIRY);
    CHECK_STATE(stream, GET_TOKEN);
    service_turn(&s);
    CHECK_EQ(s.count[K], 2);
    s.token_life_hns = 30 * KVS_HNS_PER_SECOND;
    CHECK_EQ(service_answer(&s, K, KVS_RESULT_OK), KVS_OK);
    CHECK_STATE(stream, READY);
    HELD("CS-25");
    service_down(&s);
}

static void test_an_answer_nobody_waits_for_changes_nothing(void)
{
    struct service s;
    service_up(&s, NULL);
    s.hold = HOLD(P);
    struct kvs_stream *stream = service_open(&s, NULL);
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    service_turn(&s);
    CHECK_STATE(stream, PUT_STREAM);
    CHECK_EQ(service_answer(&s, D, KVS_RESULT_OK), KVS_E_STALE_ANSWER);
    CHECK_EQ(service_answer(&s, K, 500), KVS_E_STALE_ANSWER);
    CHECK_STATE(stream, PUT_STREAM);
    HELD("CS-89");
    CHECK_EQ(service_answer(&s, P, KVS_RESULT_OK), KVS_OK);
    CHECK_EQ(service_answer(&s, P, KVS_RESULT_OK), KVS_E_STALE_ANSWER);
    service_down(&s);
}

static void test_put_media_is_retried_like_any_call(void)
{
    struct service s;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, NULL);
    service_script(&s, P, KVS_RESULT_CONNECTION_TIMEOUT, 6);
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    service_turn(&s);
    CHECK_EQ(s.count[P], 6);
    CHECK_EQ(s.last_status, KVS_E_PUT_MEDIA_FAILED);
    CHECK_STATE(stream, FAILED);
    CHECK_EQ(s.count[KVS_ACTION_FAILED], 1);
    CHECK_EQ(metrics_of(stream).sessions_active, 0); /* no handle is left behind */
    HELD("CS-85");
    CHECK_EQ(kvs_stream_stop(stream, s.now_hns), KVS_OK); /* with a way out after the stop, too */
    CHECK_EQ(kvs_stream_retry(stream, s.now_hns), KVS_OK);
    CHECK(service_drain(&s, stream));
    HELD("CS-87");
    service_down(&s);
}

static void test_put_media_refused_gets_another_token(void)
{
    struct service s;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, NULL);
    service_script(&s, P, KVS_RESULT_NOT_AUTHORIZED, 1);
    service_put_fragments(&s, stream, 0, 2, 3);
    service_turn(&s);
    CHECK_EQ(s.count[P], 2);
    check_counts(&s, 1, 0, 0, 1, 2);
    CHECK_STATE(stream, STREAMING);
    CHECK_EQ(metrics_of(stream).sessions_active, 1);
    CHECK(service_drain(&s, stream));
    REPLACED("CS-86 CD-74", "401 at PutMedia goes to GetToken, bounded by the budget");
    service_down(&s);
    service_up(&s, NULL); /* for ever: bounded and visible */
    stream = service_open(&s, NULL);
    service_script(&s, P, KVS_RESULT_FORBIDDEN, 20);
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    service_turn(&s);
    CHECK_STATE(stream, FAILED);
    CHECK_EQ(metrics_of(stream).failure, KVS_E_NOT_AUTHORIZED);
    CHECK(s.count[P] <= 6);
    service_down(&s);
}

static void test_described_retention_counts(void)
{
    struct service s;
    service_up(&s, NULL);
    s.retention_hns = 0;
    struct kvs_stream *stream = service_open(&s, NULL);
    CHECK_EQ(s.count[KVS_ACTION_RETENTION_DIFFERS], 1);
    CHECK_EQ(s.last[KVS_ACTION_RETENTION_DIFFERS].a, 7200 * KVS_HNS_PER_SECOND);
    CHECK_EQ(metrics_of(stream).retention_hns, 0);
    service_put_fragments(&s, stream, 0, 2, 2);
    service_turn(&s);
    session_ack(&s, newest(&s), KVS_ACK_RECEIVED, T0 / KVS_HNS_PER_MS, 0);
    CHECK_EQ(metrics_of(stream).frames_done, 2); /* nothing is ever persisted: RECEIVED is the last word */
    service_down(&s);
    service_up(&s, NULL);
    stream = service_open(&s, NULL);
    service_put_fragments(&s, stream, 0, 2, 2);
    service_turn(&s);
    session_ack(&s, newest(&s), KVS_ACK_RECEIVED, T0 / KVS_HNS_PER_MS, 0);
    CHECK_EQ(metrics_of(stream).frames_done, 0);
    service_down(&s);
}

/* Troubles of one stream cost another one nothing. */
static void test_budgets_are_each_streams_own(void)
{
    struct service s;
    struct kvs_stream_config second = video_config();
    second.name = "other";
    service_up(&s, NULL);
    service_script(&s, D, KVS_RESULT_UNKNOWN, 6);
    service_open(&s, NULL);
    s.hold = HOLD(D);
    service_open(&s, &second);
    CHECK_EQ(s.last[D].user, 2);
    CHECK_EQ(s.last[D].attempt, 0);
    CHECK_EQ(s.last[D].after_hns, 0);
    HELD("CS-90");
    service_down(&s);
}

int main(void)
{
    test_the_first_key_frame_opens_a_session();
    test_a_missing_stream_is_created();
    test_creation_has_to_be_allowed();
    test_the_described_status_decides();
    test_a_retryable_answer_is_one_more_call();
    test_a_final_answer_is_final();
    test_the_budget_is_five_repeats();
    test_a_retry_has_the_whole_budget();
    test_retries_at_any_rate_keep_the_pace();
    test_tags_never_stop_a_stream();
    test_created_by_somebody_else();
    test_not_found_after_our_own_create_is_retried();
    test_a_token_has_to_last();
    test_an_answer_nobody_waits_for_changes_nothing();
    test_put_media_is_retried_like_any_call();
    test_put_media_refused_gets_another_token();
    test_described_retention_counts();
    test_budgets_are_each_streams_own();
    return CHECK_DONE();
}

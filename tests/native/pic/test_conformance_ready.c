/* test_conformance_ready.c — a stream's way to ready and what each answer of the service leads to. Goal: the counts and
 * statuses that programs of the field expect, and a create that leaves nothing behind when it fails. */
#include "fixture.h"
#include "scenario.h"

static void counts(struct fixture *f, const int *wanted)
{
    static const char *const names[] = { "device", "cert", "describe", "create", "tag", "endpoint", "token", "put" };
    for (int kind = DESCRIBE; kind <= PUT; kind++) {
        if (!CHECK_EQ(f->count[kind], wanted[kind - DESCRIBE])) fprintf(stderr, "    of %s\n", names[kind]);
    }
}
#define COUNTS(f, ...) counts(f, (const int[]){ __VA_ARGS__ }) /* describe, create, tag, endpoint, token, put */

static void add_tag(struct fixture *f)
{
    static char name[] = "a", value[] = "b";
    static Tag tag = { TAG_CURRENT_VERSION, name, value };
    f->info.tagCount = 1;
    f->info.tags = &tag;
}

static void test_the_way_to_ready_and_the_first_frame(void)
{
    struct fixture f;
    fixture_init(&f);
    fixture_stream(&f);
    COUNTS(&f, 1, 0, 0, 1, 1, 0);
    CHECK_EQ(f.stream_ready, 1);
    HELD("CS-11 CS-30");
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    COUNTS(&f, 1, 0, 0, 1, 1, 1);
    CHECK_EQ(f.context[PUT].timeout, SERVICE_CALL_INFINITE_TIMEOUT);
    CHECK_STR((const char *)f.auth.data, "streaming");
    CHECK_EQ(f.context[DESCRIBE].timeout, 10 * SECOND);
    CHECK_EQ(f.context[DESCRIBE].connectionTimeout, 5 * SECOND);
    CHECK_EQ(f.put_start, START_TIME); /* the time of the first cluster, which is now as well */
    HELD("CS-12");
    fixture_free(&f);
}

static void test_a_missing_stream_is_created(void)
{
    for (int tags = 0; tags < 2; tags++) {
        struct fixture f;
        fixture_init(&f);
        if (tags) add_tag(&f);
        f.script[DESCRIBE] = (struct call_script){ .fail_count = 1, .result = SERVICE_CALL_RESOURCE_NOT_FOUND };
        fixture_stream(&f);
        COUNTS(&f, 1, 1, tags, 1, 1, 0);
        CHECK_EQ(f.stream_ready, 1);
        fixture_free(&f);
    }
    HELD("CS-13");
}

static void test_creation_that_is_not_allowed(void)
{
    for (int recovers = 0; recovers < 2; recovers++) {
        struct fixture f;
        fixture_init(&f);
        f.info.streamCaps.allowStreamCreation = FALSE;
        f.info.streamCaps.recoverOnError = recovers;
        f.script[DESCRIBE].is_silent = 1;
        fixture_stream(&f);
        CHECK_EQ(fixture_answer(&f, DESCRIBE, SERVICE_CALL_RESOURCE_NOT_FOUND),
                 STATUS_SERVICE_CALL_RESOURCE_NOT_FOUND_ERROR);
        COUNTS(&f, 1, 0, 0, 0, 0, 0);
        CHECK_EQ(f.error_count, 1);
        CHECK_EQ(f.last_error, STATUS_SERVICE_CALL_RESOURCE_NOT_FOUND_ERROR);
        fixture_free(&f);
    }
    HELD("CS-14 CS-91");
}

static void test_a_stream_that_is_being_deleted(void)
{
    struct fixture f;
    fixture_init(&f);
    f.script[DESCRIBE].is_silent = 1;
    fixture_stream(&f);
    f.stream_status = STREAM_STATUS_DELETING;
    CHECK_EQ(fixture_answer(&f, DESCRIBE, SERVICE_CALL_RESULT_OK), STATUS_STREAM_IS_BEING_DELETED_ERROR);
    COUNTS(&f, 1, 0, 0, 0, 0, 0);
    HELD("CS-15");
    fixture_free(&f);
}

static void test_a_stream_that_is_being_created_is_polled_with_waits(void)
{
    struct fixture f;
    fixture_init(&f);
    f.script[DESCRIBE].is_silent = 1;
    f.stream_status = STREAM_STATUS_CREATING;
    fixture_stream(&f);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(fixture_answer(&f, DESCRIBE, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
        CHECK_EQ(f.count[DESCRIBE], i + 2);
        CHECK(f.context[DESCRIBE].callAfter > f.now);
    }
    CHECK_EQ(fixture_answer(&f, DESCRIBE, SERVICE_CALL_RESULT_OK), STATUS_DESCRIBE_STREAM_CALL_FAILED);
    HELD("CS-16");
    fixture_free(&f);
}

static void test_every_call_is_repeated_after_an_unknown_failure(void)
{
    static const enum call_kind kinds[] = { DESCRIBE, CREATE, TAG, ENDPOINT, TOKEN };
    for (size_t i = 0; i < 5; i++) {
        struct fixture f;
        fixture_init(&f);
        add_tag(&f);
        if (kinds[i] == CREATE)
            f.script[DESCRIBE] = (struct call_script){ .fail_count = 1, .result = SERVICE_CALL_RESOURCE_NOT_FOUND };
        f.script[kinds[i]] = (struct call_script){ .fail_count = 1, .result = SERVICE_CALL_UNKNOWN };
        fixture_stream(&f);
        CHECK_EQ(f.count[kinds[i]], 2);
        CHECK_EQ(f.stream_ready, 1);
        CHECK_EQ(f.error_count, 0);
        fixture_free(&f);
    }
    HELD("CS-17");
}

static void test_final_answers_end_the_way(void)
{
    static const enum call_kind kinds[] = { DESCRIBE, CREATE, ENDPOINT, TOKEN };
    static const SERVICE_CALL_RESULT results[] = { SERVICE_CALL_INVALID_ARG, SERVICE_CALL_BAD_REQUEST,
                                                   SERVICE_CALL_NOT_AUTHORIZED, SERVICE_CALL_FORBIDDEN };
    for (size_t i = 0; i < 16; i++) {
        struct fixture f;
        enum call_kind kind = kinds[i / 4];
        STATUS wanted = i % 4 < 2 ? STATUS_SERVICE_CALL_INVALID_ARG_ERROR : STATUS_SERVICE_CALL_NOT_AUTHORIZED_ERROR;
        fixture_init(&f);
        if (kind == CREATE)
            f.script[DESCRIBE] = (struct call_script){ .fail_count = 1, .result = SERVICE_CALL_RESOURCE_NOT_FOUND };
        f.script[kind].is_silent = 1;
        fixture_stream(&f);
        CHECK_EQ(fixture_answer(&f, kind, results[i % 4]), wanted);
        CHECK_EQ(f.count[kind], 1);
        CHECK_EQ(f.error_count, 1);
        CHECK_EQ(f.last_error, wanted);
        CHECK_EQ(fixture_answer(&f, kind, SERVICE_CALL_RESULT_OK), STATUS_INVALID_STREAM_STATE);
        CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS); /* it keeps taking frames */
        fixture_free(&f);
    }
    REPLACED("CS-18 CS-19", "400, 401, 403 and 406 are final in every state; the way out is a reset");
}

static void test_six_failures_spend_the_budget(void)
{
    static const enum call_kind kinds[] = { DESCRIBE, CREATE, ENDPOINT, TOKEN };
    static const STATUS wanted[] = { STATUS_DESCRIBE_STREAM_CALL_FAILED, STATUS_CREATE_STREAM_CALL_FAILED,
                                     STATUS_GET_STREAMING_ENDPOINT_CALL_FAILED,
                                     STATUS_GET_STREAMING_TOKEN_CALL_FAILED };
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        fixture_init(&f);
        if (kinds[i] == CREATE)
            f.script[DESCRIBE] = (struct call_script){ .fail_count = 1, .result = SERVICE_CALL_RESOURCE_NOT_FOUND };
        f.script[kinds[i]].is_silent = 1;
        fixture_stream(&f);
        for (int n = 0; n < 5; n++) CHECK_EQ(fixture_answer(&f, kinds[i], SERVICE_CALL_UNKNOWN), STATUS_SUCCESS);
        CHECK_EQ(f.count[kinds[i]], 6);
        CHECK_EQ(fixture_answer(&f, kinds[i], SERVICE_CALL_UNKNOWN), wanted[i]);
        CHECK_EQ(f.count[kinds[i]], 6);
        CHECK_EQ(f.error_count, 1);
        fixture_free(&f);
    }
    HELD("CS-20");
}

static void test_tags_never_stop_a_stream(void)
{
    struct fixture f;
    static const SERVICE_CALL_RESULT refused[] = { SERVICE_CALL_BAD_REQUEST, SERVICE_CALL_FORBIDDEN,
                                                   SERVICE_CALL_RESOURCE_NOT_FOUND, SERVICE_CALL_STREAM_LIMIT,
                                                   SERVICE_CALL_INVALID_ARG };
    fixture_init(&f);
    add_tag(&f);
    f.script[TAG].is_silent = 1;
    fixture_stream(&f);
    for (int n = 0; n < 6; n++) CHECK_EQ(fixture_answer(&f, TAG, SERVICE_CALL_UNKNOWN), STATUS_SUCCESS);
    COUNTS(&f, 1, 0, 6, 1, 1, 0);
    CHECK_EQ(f.error_count, 1);
    CHECK_EQ(f.last_error, STATUS_TAG_STREAM_CALL_FAILED);
    CHECK_EQ(f.error_upload, INVALID_UPLOAD_HANDLE_VALUE);
    CHECK_EQ(f.error_time, INVALID_TIMESTAMP_VALUE);
    fixture_free(&f);
    HELD("CS-21");
    for (size_t i = 0; i < 5; i++) {
        fixture_init(&f);
        add_tag(&f);
        if (i % 2) f.callbacks.streamErrorReportFn = NULL;
        f.script[TAG].is_silent = 1;
        fixture_stream(&f);
        CHECK_EQ(fixture_answer(&f, TAG, refused[i]), STATUS_SUCCESS);
        COUNTS(&f, 1, 0, 1, 1, 1, 0);
        CHECK_EQ(f.error_count, i % 2 ? 0 : 1);
        fixture_free(&f);
    }
    REPLACED("CS-22", "what the service refuses is skipped at once");
    HELD("CS-23");
}

static void test_answers_are_checked_whole(void)
{
    struct fixture f;
    static char long_arn[MAX_ARN_LEN + 2], long_url[MAX_URI_CHAR_LEN + 2];
    static BYTE token[MAX_AUTH_LEN + 1];
    memset(long_arn, 'a', sizeof long_arn - 1);
    memset(long_url, 'a', sizeof long_url - 1);
    fixture_init(&f);
    f.script[DESCRIBE].is_silent = f.script[CREATE].is_silent = f.script[ENDPOINT].is_silent = f.script[TOKEN]
                                                                                                   .is_silent = 1;
    fixture_stream(&f);
    CHECK_EQ(describeStreamResultEvent(f.custom[DESCRIBE], SERVICE_CALL_RESULT_OK, NULL),
             STATUS_INVALID_DESCRIBE_STREAM_RESPONSE);
    StreamDescription newer;
    memset(&newer, 0, sizeof newer);
    newer.version = STREAM_DESCRIPTION_CURRENT_VERSION + 1;
    CHECK_EQ(describeStreamResultEvent(f.custom[DESCRIBE], SERVICE_CALL_RESULT_OK, &newer),
             STATUS_INVALID_STREAM_DESCRIPTION_VERSION);
    CHECK_EQ(fixture_answer(&f, DESCRIBE, SERVICE_CALL_RESOURCE_NOT_FOUND), STATUS_SUCCESS);
    CHECK_EQ(createStreamResultEvent(f.custom[CREATE], SERVICE_CALL_RESULT_OK, NULL),
             STATUS_INVALID_CREATE_STREAM_RESPONSE);
    CHECK_EQ(createStreamResultEvent(f.custom[CREATE], SERVICE_CALL_RESULT_OK, long_arn),
             STATUS_INVALID_CREATE_STREAM_RESPONSE);
    CHECK_EQ(f.count[ENDPOINT], 0);
    CHECK_EQ(fixture_answer(&f, CREATE, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
    CHECK_EQ(f.count[ENDPOINT], 1);
    HELD("CS-24");
    CHECK_EQ(getStreamingEndpointResultEvent(f.custom[ENDPOINT], SERVICE_CALL_RESULT_OK, long_url),
             STATUS_INVALID_URI_LEN);
    CHECK_EQ(fixture_answer(&f, ENDPOINT, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
    CHECK_EQ(getStreamingTokenResultEvent(f.custom[TOKEN], SERVICE_CALL_RESULT_OK, token, sizeof token, UINT64_MAX),
             STATUS_INVALID_AUTH_LEN);
    HELD("CS-26");
    f.streaming_token_life = 30 * SECOND - 1;
    CHECK_EQ(fixture_answer(&f, TOKEN, SERVICE_CALL_RESULT_OK), STATUS_INVALID_TOKEN_EXPIRATION);
    CHECK_EQ(f.stream_ready, 0);
    f.streaming_token_life = 30 * SECOND;
    CHECK_EQ(fixture_answer(&f, TOKEN, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
    CHECK_EQ(f.stream_ready, 1);
    HELD("CS-25");
    fixture_free(&f);
}

static void test_names_and_places(void)
{
    struct fixture f;
    STREAM_HANDLE other = 0, third = 0;
    fixture_init(&f);
    f.device.streamCount = 2;
    fixture_stream(&f);
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &other), STATUS_DUPLICATE_STREAM_NAME);
    f.info.name[0] = 'C';
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &other), STATUS_SUCCESS);
    HELD("CS-28");
    f.info.name[1] = 'x';
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &third), STATUS_MAX_STREAM_COUNT);
    CHECK_EQ(freeKinesisVideoStream(&other), STATUS_SUCCESS);
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &third), STATUS_SUCCESS);
    HELD("CS-29");
    fixture_free(&f);
}

static void test_a_failed_create_leaves_nothing(void)
{
    struct fixture f;
    fixture_init(&f);
    fixture_client(&f);
    f.device.streamCount = 1;
    f.script[DESCRIBE].refuse = STATUS_OPEN_FILE_FAILED;
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &f.stream), STATUS_OPEN_FILE_FAILED);
    CHECK_EQ(f.stream, INVALID_STREAM_HANDLE_VALUE);
    f.script[DESCRIBE].refuse = STATUS_SUCCESS;
    f.script[DESCRIBE] = (struct call_script){ .fail_count = 1, .result = SERVICE_CALL_INVALID_ARG };
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &f.stream), STATUS_SERVICE_CALL_INVALID_ARG_ERROR);
    CHECK_EQ(f.stream, INVALID_STREAM_HANDLE_VALUE);
    CHECK_EQ(f.error_count, 0);
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &f.stream), STATUS_SUCCESS);
    HELD("CS-33");
    fixture_free(&f);
}

/* ---- waiting, with a second thread that answers ---------------------------------------------------------------- */

struct answerer {
    struct fixture *f;
    pthread_mutex_t lock;
    pthread_cond_t called;
    int is_called;
    SERVICE_CALL_RESULT result;
    STATUS answered;
    int is_freeing;
};
static struct answerer answerer = { .lock = PTHREAD_MUTEX_INITIALIZER, .called = PTHREAD_COND_INITIALIZER };

static STATUS describe_elsewhere(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    (void)name;
    pthread_mutex_lock(&answerer.lock);
    fixture_note(fixture_of(custom), DESCRIBE, context);
    answerer.is_called = 1;
    pthread_cond_signal(&answerer.called);
    pthread_mutex_unlock(&answerer.lock);
    return STATUS_SUCCESS;
}

static void *answer_elsewhere(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&answerer.lock);
    while (!answerer.is_called) pthread_cond_wait(&answerer.called, &answerer.lock);
    pthread_mutex_unlock(&answerer.lock);
    STREAM_HANDLE stream = answerer.f->custom[DESCRIBE];
    answerer.answered = answerer.is_freeing ? freeKinesisVideoStream(&stream)
                                            : fixture_answer(answerer.f, DESCRIBE, answerer.result);
    return NULL;
}

static STATUS create_while_another_answers(struct fixture *f, SERVICE_CALL_RESULT result, int is_freeing)
{
    pthread_t thread;
    answerer.f = f;
    answerer.is_called = 0;
    answerer.result = result;
    answerer.is_freeing = is_freeing;
    CHECK_EQ(pthread_create(&thread, NULL, answer_elsewhere, NULL), 0);
    STATUS status = createKinesisVideoStreamSync(f->client, &f->info, &f->stream);
    pthread_join(thread, NULL);
    return status;
}

static void test_a_waiting_create_ends_by_what_happens(void)
{
    struct fixture f;
    fixture_init(&f);
    f.callbacks.describeStreamFn = describe_elsewhere;
    f.device.clientInfo.createStreamTimeout = 60 * SECOND;
    fixture_client(&f);
    CHECK_EQ(create_while_another_answers(&f, SERVICE_CALL_INVALID_ARG, 0), STATUS_SERVICE_CALL_INVALID_ARG_ERROR);
    CHECK_EQ(answerer.answered, STATUS_SERVICE_CALL_INVALID_ARG_ERROR);
    CHECK_EQ(f.stream, INVALID_STREAM_HANDLE_VALUE);
    HELD("CS-32");
    CHECK(STATUS_FAILED(create_while_another_answers(&f, SERVICE_CALL_RESULT_OK, 1)));
    CHECK_EQ(f.stream, INVALID_STREAM_HANDLE_VALUE);
    HELD("CS-79");
    CHECK_EQ(create_while_another_answers(&f, SERVICE_CALL_RESULT_OK, 0), STATUS_SUCCESS);
    CHECK_EQ(f.stream_ready, 1);
    fixture_free(&f);
}

static void test_a_silent_service_times_out(void)
{
    struct fixture f;
    fixture_init(&f);
    f.callbacks.getCurrentTimeFn = NULL;
    f.token_life = INVALID_TIMESTAMP_VALUE;
    f.device.clientInfo.createStreamTimeout = 20 * MS;
    f.script[DESCRIBE].is_silent = 1;
    fixture_client(&f);
    CHECK_EQ(createKinesisVideoStreamSync(f.client, &f.info, &f.stream), STATUS_OPERATION_TIMED_OUT);
    CHECK_EQ(f.stream, INVALID_STREAM_HANDLE_VALUE);
    CHECK_EQ(stopKinesisVideoStreamSync(f.stream), STATUS_NULL_ARG);
    HELD("CS-31 CD-110");
    fixture_free(&f);
}

/* ---- budgets --------------------------------------------------------------------------------------------------- */

static void test_inline_failures_for_ever_are_bounded(void)
{
    static const enum call_kind kinds[] = { DESCRIBE, ENDPOINT, TOKEN, PUT };
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        fixture_init(&f);
        fixture_client(&f);
        f.script[kinds[i]] = (struct call_script){ .fail_count = 1000000, .result = SERVICE_CALL_UNKNOWN };
        STATUS status = createKinesisVideoStream(f.client, &f.info, &f.stream);
        if (kinds[i] != PUT) CHECK(STATUS_FAILED(status));
        for (int second = 1; kinds[i] == PUT && f.error_count == 0 && second < 30; second++) { /* one try a call */
            CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
            CHECK(f.count[PUT] <= second);
            f.now += SECOND;
        }
        CHECK_EQ(f.count[kinds[i]], 6);
        if (kinds[i] == PUT) CHECK(IS_RECOVERABLE_ERROR(f.last_error));
        fixture_free(&f);
    }
    HELD("CS-85 CS-92");
}

static void test_one_stream_s_failures_do_not_delay_another(void)
{
    struct fixture f;
    STREAM_HANDLE other = 0;
    fixture_init(&f);
    f.script[DESCRIBE] = (struct call_script){ .fail_count = 5, .result = SERVICE_CALL_UNKNOWN };
    fixture_stream(&f);
    memcpy(f.info.name, "other", 6);
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &other), STATUS_SUCCESS);
    CHECK_EQ(f.context[DESCRIBE].callAfter, f.now);
    fixture_free(&f);
    HELD("CS-90");
}

static int executed;
static STATUS begin(PKvsRetryStrategy strategy) { (void)strategy; return STATUS_SUCCESS; }
static STATUS count_of(PKvsRetryStrategy strategy, PUINT32 number)
{
    (void)strategy;
    *number = 0;
    return STATUS_SUCCESS;
}
static STATUS execute(PKvsRetryStrategy strategy, PUINT64 wait)
{
    (void)strategy;
    executed++;
    *wait = 0;
    return STATUS_SUCCESS;
}

static void test_a_strategy_is_executed_once_for_each_failure(void)
{
    struct fixture f;
    fixture_init(&f);
    add_tag(&f);
    f.device.clientInfo.kvsRetryStrategyCallbacks = (KvsRetryStrategyCallbacks){ begin, count_of, begin, execute };
    f.script[DESCRIBE] = (struct call_script){ .fail_count = 1, .result = SERVICE_CALL_RESOURCE_NOT_FOUND };
    fixture_stream(&f);
    COUNTS(&f, 1, 1, 1, 1, 1, 0);
    CHECK_EQ(executed, 1);
    fixture_free(&f);
    HELD("CS-34");
}

int main(void)
{
    test_the_way_to_ready_and_the_first_frame();
    test_a_missing_stream_is_created();
    test_creation_that_is_not_allowed();
    test_a_stream_that_is_being_deleted();
    test_a_stream_that_is_being_created_is_polled_with_waits();
    test_every_call_is_repeated_after_an_unknown_failure();
    test_final_answers_end_the_way();
    test_six_failures_spend_the_budget();
    test_tags_never_stop_a_stream();
    test_answers_are_checked_whole();
    test_names_and_places();
    test_a_failed_create_leaves_nothing();
    test_a_waiting_create_ends_by_what_happens();
    test_a_silent_service_times_out();
    test_inline_failures_for_ever_are_bounded();
    test_one_stream_s_failures_do_not_delay_another();
    test_a_strategy_is_executed_once_for_each_failure();
    return CHECK_DONE();
}

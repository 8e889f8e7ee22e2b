/* test_conformance_recovery.c — connections that end, errors in ACKs, tokens that run out, through pic.h. Goal: the
 * calls that programs of the field expect after each kind of end, every fragment delivered, and every failure reported
 * once. */
#include "fixture.h"
#include "scenario.h"

static void stream_on(struct fixture *f)
{
    fixture_stream(f);
    fixture_put_fragments(f, 3, 5);
    CHECK_EQ(fixture_read(f, 100, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    memset(f->count, 0, sizeof f->count);
    f->stream_ready = 0;
}

static void moved(struct fixture *f, const int *wanted, int line)
{
    const int got[] = { f->count[DESCRIBE], f->count[ENDPOINT], f->count[TOKEN], f->stream_ready, f->count[PUT] };
    static const char *const names[] = { "describe", "endpoint", "token", "ready", "put" };
    for (int i = 0; i < 5; i++) {
        if (!CHECK_EQ(got[i], wanted[i])) fprintf(stderr, "    of %s, line %d\n", names[i], line);
    }
}
#define MOVED(f, ...) moved(f, (const int[]){ __VA_ARGS__ }, __LINE__) /* describe, endpoint, token, ready, put */

static void test_what_an_ended_connection_leads_to(void)
{
    static const struct {
        SERVICE_CALL_RESULT result;
        int describe, endpoint, token;
    } rows[] = {
        { SERVICE_CALL_RESULT_OK, 0, 1, 1 },          { SERVICE_CALL_STREAM_LIMIT, 0, 1, 1 },
        { SERVICE_CALL_DEVICE_LIMIT, 0, 1, 1 },       { SERVICE_CALL_NOT_AUTHORIZED, 0, 0, 1 },
        { SERVICE_CALL_FORBIDDEN, 0, 0, 1 },          { SERVICE_CALL_RESOURCE_IN_USE, 1, 1, 1 },
        { SERVICE_CALL_UNKNOWN, 1, 1, 1 },            { SERVICE_CALL_RESULT_ACK_INTERNAL_ERROR, 1, 1, 1 },
        { SERVICE_CALL_RESOURCE_NOT_FOUND, 1, 1, 1 }, { SERVICE_CALL_RESOURCE_DELETED, 1, 1, 1 },
        { SERVICE_CALL_DEVICE_NOT_FOUND, 1, 1, 1 },   { SERVICE_CALL_INVALID_ARG, 1, 1, 1 },
        { SERVICE_CALL_INTERNAL_ERROR, 1, 1, 1 },     { SERVICE_CALL_NETWORK_CONNECTION_TIMEOUT, 0, 0, 0 },
        { SERVICE_CALL_GATEWAY_TIMEOUT, 0, 0, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture f;
        fixture_init(&f);
        stream_on(&f);
        CHECK_EQ(fixture_put(&f, FRAME_FLAG_NONE), STATUS_SUCCESS); /* not sent yet */
        CHECK_EQ(kinesisVideoStreamTerminated(f.stream, 100, rows[i].result), STATUS_SUCCESS);
        MOVED(&f, rows[i].describe, rows[i].endpoint, rows[i].token, 1, 1);
        CHECK_EQ(f.error_count, 0);
        CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_UPLOAD_HANDLE_ABORTED);
        CHECK_EQ(fixture_read(&f, 101, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
        for (UINT64 n = 0; n < 3; n++) CHECK_EQ(fixture_persisted(&f, 101, START_TIME + n * 200 * MS), STATUS_SUCCESS);
        fixture_free(&f);
    }
    HELD("CS-37 CS-39 CS-41 CS-43 CS-45 CS-47 CD-64 CD-68");
}

static void test_without_recovery_an_end_is_final_and_reported(void)
{
    static const SERVICE_CALL_RESULT results[] = {
        SERVICE_CALL_STREAM_LIMIT,        SERVICE_CALL_NOT_AUTHORIZED,
        SERVICE_CALL_RESOURCE_IN_USE,     SERVICE_CALL_UNKNOWN,
        SERVICE_CALL_INVALID_ARG,         SERVICE_CALL_RESULT_ACK_INTERNAL_ERROR,
        SERVICE_CALL_NETWORK_READ_TIMEOUT
    };
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        struct fixture f;
        fixture_init(&f);
        f.info.streamCaps.recoverOnError = FALSE;
        stream_on(&f);
        STATUS wanted = serviceCallResultCheck(results[i]);
        CHECK_EQ(kinesisVideoStreamTerminated(f.stream, 100, results[i]), wanted);
        MOVED(&f, 0, 0, 0, 0, 0);
        CHECK_EQ(f.error_count, 1);
        CHECK_EQ(f.last_error, wanted);
        CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
        CHECK_EQ(stopKinesisVideoStreamSync(f.stream), wanted); /* nothing will deliver the rest: no wait for nothing */
        fixture_free(&f);
    }
    REPLACED("CS-38 CS-40 CS-42 CS-44 CS-46 CS-51",
             "the stream is FAILED, reported once, and goes on taking frames");
    HELD("CD-69");
}

static void test_a_reset_heals_every_failure(void)
{
    struct fixture f;
    fixture_init(&f);
    f.info.streamCaps.recoverOnError = FALSE;
    stream_on(&f);
    CHECK_EQ(kinesisVideoStreamTerminated(f.stream, 100, SERVICE_CALL_UNKNOWN), STATUS_SERVICE_CALL_UNKOWN_ERROR);
    CHECK_EQ(kinesisVideoStreamResetStream(f.stream), STATUS_SUCCESS);
    MOVED(&f, 1, 1, 1, 1, 0);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(f.count[PUT], 1);
    fixture_free(&f);
    HELD("CS-82");
}

static void test_ends_that_change_nothing(void)
{
    static const enum call_kind kinds[] = { DESCRIBE, ENDPOINT, TOKEN };
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        fixture_init(&f);
        if (i < 3) f.script[kinds[i]].is_silent = 1;
        fixture_stream(&f);
        memset(f.count, 0, sizeof f.count);
        f.stream_ready = 0;
        CHECK_EQ(kinesisVideoStreamTerminated(f.stream, 555, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
        CHECK_EQ(kinesisVideoStreamTerminated(f.stream, NO_UPLOAD, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
        CHECK_EQ(kinesisVideoStreamResetConnection(f.stream), STATUS_SUCCESS);
        MOVED(&f, 0, 0, 0, 0, 0);
        fixture_free(&f);
    }
    HELD("CS-35 CS-36");
}

/* Nothing happens before the next frame, which may be any; then PutMedia alone, and what was not acknowledged first. */
static void test_a_timeout_with_all_sent_waits_for_a_frame(void)
{
    for (int is_stopped = 0; is_stopped < 2; is_stopped++) {
        struct fixture f;
        UINT64 bytes = 0;
        fixture_init(&f);
        stream_on(&f);
        CHECK_EQ(kinesisVideoStreamTerminated(f.stream, 100, SERVICE_CALL_NETWORK_CONNECTION_TIMEOUT), STATUS_SUCCESS);
        f.now += SECOND;
        CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
        MOVED(&f, 0, 0, 0, 0, 0);
        if (is_stopped) CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
        else CHECK_EQ(fixture_put(&f, FRAME_FLAG_NONE), STATUS_SUCCESS);
        MOVED(&f, 0, 0, 0, 1, 1);
        CHECK_EQ(fixture_read(&f, 101, &bytes), is_stopped ? STATUS_AWAITING_PERSISTED_ACK
                                                           : STATUS_NO_MORE_DATA_AVAILABLE);
        CHECK(bytes > 15000);
        fixture_free(&f);
    }
    HELD("CS-48");
    REPLACED("CS-49 CS-50", "the frame is kept, behind all that was not acknowledged, whatever replayDuration says");
}

/* A network layer that ends a connection twice, the second time while the next one is being opened. */
static void test_a_second_end_of_a_gone_upload_begins_again(void)
{
    struct fixture f;
    fixture_init(&f);
    stream_on(&f);
    f.script[PUT].is_silent = 1;
    CHECK_EQ(kinesisVideoStreamTerminated(f.stream, 100, SERVICE_CALL_STREAM_LIMIT), STATUS_SUCCESS);
    MOVED(&f, 0, 1, 1, 1, 1);
    f.now += 10 * SECOND;
    CHECK_EQ(kinesisVideoStreamTerminated(f.stream, 100, SERVICE_CALL_DEVICE_LIMIT), STATUS_SUCCESS);
    MOVED(&f, 0, 2, 2, 2, 2);
    CHECK_EQ(fixture_answer(&f, PUT, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
    CHECK_EQ(kinesisVideoStreamTerminated(f.stream, 100, SERVICE_CALL_DEVICE_LIMIT), STATUS_SUCCESS);
    MOVED(&f, 0, 2, 2, 2, 2);
    CHECK_EQ(fixture_read(&f, 101, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    fixture_free(&f);
}

static void test_reset_connection_ends_the_old_and_opens_a_new_upload(void)
{
    struct fixture f;
    UINT64 bytes = 0;
    fixture_init(&f);
    stream_on(&f);
    CHECK_EQ(kinesisVideoStreamResetConnection(f.stream), STATUS_SUCCESS);
    CHECK_EQ(f.over_upload, 100);
    CHECK_EQ(fixture_read(&f, 100, &bytes), STATUS_UPLOAD_HANDLE_ABORTED);
    CHECK_EQ(bytes, 0);
    MOVED(&f, 0, 1, 1, 1, 1);
    CHECK_EQ(fixture_read(&f, 101, &bytes), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK(bytes > 15000);
    fixture_free(&f);
    REPLACED("CS-54", "the old upload reads ABORTED, so that its thread leaves at once and waits for no last answer");
}

static void test_all_connections_may_end_at_once(void)
{
    struct fixture f;
    fixture_init(&f);
    stream_on(&f);
    CHECK_EQ(kinesisVideoStreamTerminated(f.stream, NO_UPLOAD, SERVICE_CALL_UNKNOWN), STATUS_SUCCESS);
    CHECK_EQ(f.over_upload, 100);
    MOVED(&f, 1, 1, 1, 1, 1);
    CHECK_EQ(fixture_read(&f, 101, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    fixture_free(&f);
}

/* ---- errors in ACKs -------------------------------------------------------------------------------------------- */

static void test_an_error_ack_is_reported_with_its_upload_time_and_status(void)
{
    struct fixture f;
    fixture_init(&f);
    stream_on(&f);
    CHECK_EQ(fixture_ack_at(&f, 100, FRAGMENT_ACK_TYPE_ERROR, START_TIME + 200 * MS,
                            SERVICE_CALL_RESULT_FRAGMENT_DURATION_REACHED),
             STATUS_SUCCESS);
    CHECK_EQ(f.error_count, 1);
    CHECK_EQ(f.error_upload, 100);
    CHECK_EQ(f.error_time, START_TIME + 200 * MS);
    CHECK_EQ(f.last_error, STATUS_ACK_ERR_FRAGMENT_DURATION_REACHED);
    CHECK_EQ(f.ack_count, 1);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_END_OF_STREAM);
    CHECK_EQ(fixture_read(&f, 101, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK_EQ(fixture_metrics(&f).skippedFrames, 5);
    CHECK_EQ(fixture_metrics(&f).errorAcks, 1);
    CHECK_EQ(f.dropped_count, 0);
    HELD("CD-59");
    CHECK_EQ(fixture_ack_at(&f, 100, FRAGMENT_ACK_TYPE_ERROR, START_TIME, SERVICE_CALL_RESULT_INVALID_MKV_DATA),
             STATUS_SUCCESS);
    CHECK_EQ(f.error_count, 1);
    CHECK_EQ(f.ack_count, 2);
    HELD("CS-58 CD-56");
    fixture_free(&f);
}

static void test_an_error_ack_without_recovery_is_returned(void)
{
    struct fixture f;
    fixture_init(&f);
    f.info.streamCaps.recoverOnError = FALSE;
    stream_on(&f);
    CHECK_EQ(fixture_ack_at(&f, 100, FRAGMENT_ACK_TYPE_ERROR, START_TIME, SERVICE_CALL_RESULT_INVALID_MKV_DATA),
             STATUS_ACK_ERR_INVALID_MKV_DATA);
    CHECK(f.error_count >= 1);
    CHECK_EQ(f.last_error, STATUS_ACK_ERR_INVALID_MKV_DATA);
    fixture_free(&f);
    HELD("CS-59");
}

static void test_acks_as_text_and_as_struct(void)
{
    struct fixture f;
    FragmentAck ack;
    char bad[][64] = { "{}", "{\"EventType\":\"ERROR\"}", "{\"EventType\":\"NO\"}", "{\"a\":1}",
                       "{\"EventType\":\"IDLE\",\"FragmentTimecode\":null}" };
    static const STATUS wanted[] = { STATUS_INVALID_ACK_KEY_START, STATUS_MISSING_ERR_ACK_ID,
                                     STATUS_INVALID_PARSED_ACK_TYPE, STATUS_INVALID_PARSED_ACK_TYPE, 0x40000002 };
    char idle[] = "{\"EventType\":\"IDLE\"}", untimed[] = "{\"EventType\":\"RECEIVED\"}", text[128];
    fixture_init(&f);
    stream_on(&f);
    snprintf(text, sizeof text, "{\"EventType\":\"PERSISTED\",\"FragmentTimecode\":%llu}",
             (unsigned long long)(START_TIME / MS));
    for (size_t i = 0; i < 5; i++) CHECK_EQ(kinesisVideoStreamParseFragmentAck(f.stream, 100, bad[i], 0), wanted[i]);
    HELD("CD-72");
    CHECK_EQ(kinesisVideoStreamParseFragmentAck(f.stream, 100, idle, 0), STATUS_SUCCESS);
    CHECK_EQ(f.ack_count, 0);
    CHECK_EQ(kinesisVideoStreamParseFragmentAck(f.stream, 100, untimed, 0), STATUS_SUCCESS);
    CHECK_EQ(kinesisVideoStreamParseFragmentAck(f.stream, 555, text, 0), STATUS_SUCCESS);
    HELD("CD-73");
    for (size_t i = 0; text[i] != 0; i++)
        CHECK_EQ(kinesisVideoStreamParseFragmentAck(f.stream, 100, &text[i], 1), STATUS_SUCCESS);
    CHECK_EQ(fixture_metrics(&f).persistedAcks, 1);
    CHECK_EQ(f.last_ack_time, START_TIME / MS);
    HELD("CD-71");
    CHECK_EQ(kinesisVideoStreamParseFragmentAck(f.stream, 100, text, MAX_ACK_FRAGMENT_LEN + 1),
             STATUS_INVALID_ACK_SEGMENT_LEN);
    int acks = f.ack_count;
    CHECK_EQ(fixture_persisted(&f, 100, START_TIME + HOUR), STATUS_ACK_TIMESTAMP_NOT_IN_VIEW_WINDOW);
    CHECK_EQ(f.ack_count, acks + 1);
    HELD("CD-55");
    memset(&ack, 0, sizeof ack);
    CHECK_EQ(kinesisVideoStreamFragmentAck(f.stream, 100, &ack), STATUS_INVALID_FRAGMENT_ACK_TYPE);
    ack.version = 1;
    CHECK_EQ(kinesisVideoStreamFragmentAck(f.stream, 100, &ack), STATUS_INVALID_FRAGMENT_ACK_VERSION);
    CHECK_EQ(fixture_ack_at(&f, 100, FRAGMENT_ACK_TYPE_RECEIVED, START_TIME + 200 * MS, SERVICE_CALL_RESULT_OK),
             STATUS_SUCCESS);
    CHECK_EQ(fixture_ack_at(&f, 100, FRAGMENT_ACK_TYPE_BUFFERING, START_TIME + 200 * MS, SERVICE_CALL_RESULT_OK),
             STATUS_SUCCESS);
    HELD("CD-50");
    fixture_free(&f);
}

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

static void test_a_token_is_rotated_before_it_expires(void)
{
    struct fixture f;
    UINT64 deadline = 0;
    fixture_init(&f);
    f.streaming_token_life = 60 * SECOND;
    stream_on(&f);
    CHECK_EQ(kvsNextDeadline(f.client, &deadline), STATUS_SUCCESS);
    CHECK_EQ(deadline, START_TIME + 57 * SECOND);
    f.now = START_TIME + 56 * SECOND;
    CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
    MOVED(&f, 0, 0, 0, 0, 0);
    f.now = START_TIME + 57 * SECOND;
    CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
    CHECK_EQ(f.count[ENDPOINT], 1);
    CHECK_EQ(f.count[TOKEN], 1);
    HELD("CS-60");
    f.pts = f.now;
    fixture_put_fragments(&f, 1, 5);
    CHECK_EQ(f.count[PUT], 1);
    CHECK_EQ(f.count[DESCRIBE], 0);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_AWAITING_PERSISTED_ACK);
    CHECK_EQ(fixture_read(&f, 101, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK_EQ(fixture_persisted(&f, 100, START_TIME + 400 * MS), STATUS_SUCCESS);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_END_OF_STREAM);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_UPLOAD_HANDLE_ABORTED);
    CHECK_EQ(f.error_count, 0);
    HELD("CS-62");
    fixture_free(&f);
}

static void test_a_put_that_is_refused_gets_another_token(void)
{
    struct fixture f;
    fixture_init(&f);
    f.script[PUT] = (struct call_script){ .fail_count = 1, .result = SERVICE_CALL_NOT_AUTHORIZED };
    fixture_stream(&f);
    fixture_put_fragments(&f, 1, 3);
    f.now += SECOND; /* past the wait before the next try, which is random */
    CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
    CHECK_EQ(f.count[PUT], 2);
    CHECK_EQ(f.count[TOKEN], 2);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    HELD("CS-86 CD-74");
    CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_AWAITING_PERSISTED_ACK);
    CHECK_EQ(fixture_persisted(&f, 100, START_TIME), STATUS_SUCCESS);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_END_OF_STREAM);
    CHECK_EQ(f.stream_closed, 1);
    HELD("CS-87");
    fixture_free(&f);
}

static void test_stray_answers_are_refused(void)
{
    struct fixture f;
    fixture_init(&f);
    f.script[PUT].is_silent = 1;
    fixture_stream(&f);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(fixture_answer(&f, DESCRIBE, SERVICE_CALL_RESULT_OK), STATUS_INVALID_STREAM_STATE);
    CHECK_EQ(putStreamResultEvent(f.custom[PUT], SERVICE_CALL_RESULT_OK, NO_UPLOAD), STATUS_INVALID_ARG);
    CHECK_EQ(putStreamResultEvent(f.custom[PUT], SERVICE_CALL_RESULT_OK, 7), STATUS_SUCCESS);
    CHECK_EQ(putStreamResultEvent(f.custom[PUT], SERVICE_CALL_RESULT_OK, 8), STATUS_INVALID_STREAM_STATE);
    CHECK_EQ(fixture_read(&f, 8, NULL), STATUS_UPLOAD_HANDLE_ABORTED);
    CHECK_EQ(fixture_read(&f, 7, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    HELD("CS-89");
    fixture_free(&f);
}

static STATUS failing_data(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload, UINT64 duration,
                           UINT64 size)
{
    (void)fixture_data(custom, stream, name, upload, duration, size);
    return STATUS_INTERNAL_ERROR;
}

static void test_what_a_notification_returns_changes_nothing(void)
{
    struct fixture f;
    fixture_init(&f);
    f.callbacks.streamDataAvailableFn = failing_data;
    fixture_stream(&f);
    fixture_put_fragments(&f, 2, 3);
    CHECK_EQ(f.answered[PUT], STATUS_SUCCESS);
    CHECK(f.data_count > 0);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    HELD("CS-95");
    fixture_free(&f);
}

int main(void)
{
    test_what_an_ended_connection_leads_to();
    test_without_recovery_an_end_is_final_and_reported();
    test_a_reset_heals_every_failure();
    test_ends_that_change_nothing();
    test_a_timeout_with_all_sent_waits_for_a_frame();
    test_a_second_end_of_a_gone_upload_begins_again();
    test_reset_connection_ends_the_old_and_opens_a_new_upload();
    test_all_connections_may_end_at_once();
    test_an_error_ack_is_reported_with_its_upload_time_and_status();
    test_an_error_ack_without_recovery_is_returned();
    test_acks_as_text_and_as_struct();
    test_a_token_is_rotated_before_it_expires();
    test_a_put_that_is_refused_gets_another_token();
    test_stray_answers_are_refused();
    test_what_a_notification_returns_changes_nothing();
    return CHECK_DONE();
}

/* test_foreign_outage.c — outages as network layers of the field make them: an answer inside the callback, no heed of
 * callAfter, a connection that is accepted and gone at once. Goal: the stream comes back whenever the service does,
 * with every frame; the program hears of an outage once, and its puts never loop. */
#include "scenario.h"
#include "wire.h"

enum how { ANSWER_PUT, ANSWER_DESCRIBE, TERMINATE_INSIDE, HOWS };
static int is_out;

/* The connection is there and then it is not. */
static STATUS accept_and_drop(UINT64 custom, PCHAR name, PCHAR container, UINT64 start, BOOL absolute, BOOL acks,
                              PCHAR endpoint, PServiceCallContext context)
{
    STATUS status = fixture_put_stream(custom, name, container, start, absolute, acks, endpoint, context);
    if (is_out)
        CHECK_EQ(kinesisVideoStreamTerminated(context->customData, fixture_of(custom)->next_upload - 1,
                                              SERVICE_CALL_NETWORK_CONNECTION_TIMEOUT),
                 STATUS_SUCCESS);
    return status;
}

static void begin_outage(struct fixture *f, enum how how)
{
    is_out = 1;
    if (how == ANSWER_PUT)
        f->script[PUT] = (struct call_script){ .fail_count = 1 << 30, .result = SERVICE_CALL_NETWORK_READ_TIMEOUT };
    if (how == ANSWER_DESCRIBE) {
        f->script[DESCRIBE] = (struct call_script){ .fail_count = 1 << 30, .result = SERVICE_CALL_UNKNOWN };
    }
    CHECK_EQ(kinesisVideoStreamTerminated(f->stream, f->next_upload - 1, SERVICE_CALL_UNKNOWN), STATUS_SUCCESS);
}

static void end_outage(struct fixture *f)
{
    is_out = 0;
    f->script[PUT].fail_count = f->script[DESCRIBE].fail_count = 0;
}

static void ready(struct fixture *f, enum how how)
{
    is_out = 0;
    fixture_init(f);
    f->device.storageInfo.storageSize = UINT64_C(200) << 20;
    f->info.streamCaps.bufferDuration = 2 * HOUR;
    f->info.streamCaps.frameRate = 25;
    if (how == TERMINATE_INSIDE) f->callbacks.putStreamFn = accept_and_drop;
    fixture_stream(f);
    fixture_put_fragments(f, 2, 5);
    CHECK_EQ(fixture_read(f, 100, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK_EQ(fixture_persisted(f, 100, START_TIME), STATUS_SUCCESS);
}

static int tries(const struct fixture *f) { return f->count[PUT] + f->count[DESCRIBE]; }

/* Ten minutes of frames; in no call of the program more than one try. */
static void put_through(struct fixture *f, int frames)
{
    for (int i = 0; i < frames; i++) {
        int put = f->count[PUT], described = f->count[DESCRIBE];
        CHECK_EQ(fixture_put(f, i % 25 == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE), STATUS_SUCCESS);
        CHECK(f->count[PUT] - put <= 1 && f->count[DESCRIBE] - described <= 1);
    }
}

static void test_a_stream_comes_back_after_an_outage_of_any_length(void)
{
    for (int how = 0; how < HOWS; how++) {
        struct fixture f;
        ready(&f, (enum how)how);
        for (int outage = 1; outage <= 2; outage++) {
            struct wire wire = { 0 };
            int before = tries(&f), frames = outage == 1 ? 15000 : 2500;
            begin_outage(&f, (enum how)how);
            put_through(&f, frames);
            CHECK_EQ(f.error_count, outage);
            CHECK(IS_RECOVERABLE_ERROR(f.last_error));
            CHECK(tries(&f) - before > 10 && tries(&f) - before < 300);
            end_outage(&f);
            wire.upload = f.next_upload;
            for (int i = 0; i < 33 * 25 && f.data_upload < wire.upload; i++) put_through(&f, 1);
            CHECK_EQ(f.data_upload, wire.upload);
            CHECK_EQ(wire_read_all(&f, &wire), STATUS_NO_MORE_DATA_AVAILABLE);
            CHECK(wire_blocks(&wire) >= (UINT32)frames);
            CHECK_EQ(f.dropped_count, 0);
            CHECK_EQ(f.error_count, outage);
            for (UINT64 at = START_TIME; at < f.pts; at += 40 * MS) /* whichever is a fragment's */
                (void)fixture_persisted(&f, wire.upload, at);
            wire_free(&wire);
        }
        fixture_free(&f);
    }
}

/* The stream's key is disabled for ten minutes: each session's first fragment is refused. The library leads the stream
 * out of it, without a reset by the program and without a lost frame. */
static void test_a_key_that_is_disabled_for_a_while_loses_nothing(void)
{
    struct fixture f;
    ready(&f, ANSWER_PUT);
    UINT64 first = START_TIME + 5 * 40 * MS; /* the second fragment */
    UPLOAD_HANDLE upload = 100;
    struct wire wire = { 0 };
    int before = tries(&f);
    for (int i = 0; i < 15000; i++) {
        put_through(&f, 1);
        if (f.data_upload < upload) continue; /* this one was refused: the next */
        (void)fixture_read(&f, f.data_upload, NULL);
        CHECK_EQ(fixture_ack_at(&f, f.data_upload, FRAGMENT_ACK_TYPE_ERROR, first, (SERVICE_CALL_RESULT)4501),
                 STATUS_SUCCESS);
        upload = f.data_upload + 1;
        (void)fixture_read(&f, upload - 1, NULL); /* it reads that it was aborted */
        (void)kinesisVideoStreamTerminated(f.stream, upload - 1, SERVICE_CALL_RESULT_OK);
    }
    CHECK(tries(&f) - before > 10 && tries(&f) - before < 400);
    CHECK_EQ(f.dropped_count, 0);
    for (int i = 0; i < 33 * 25 && f.data_upload < upload; i++) put_through(&f, 1);
    wire.upload = f.data_upload;
    CHECK(wire.upload >= upload);
    (void)wire_read_all(&f, &wire);
    CHECK_EQ(fixture_persisted(&f, wire.upload, first), STATUS_SUCCESS);
    (void)wire_read_all(&f, &wire);
    CHECK(wire_blocks(&wire) >= 15000);
    CHECK_EQ(f.dropped_count, 0);
    wire_free(&wire);
    fixture_free(&f);
}

/* What no repetition can mend is reported with its own status, and ends the tries. */
static void test_a_final_error_is_final(void)
{
    static const SERVICE_CALL_RESULT results[] = { SERVICE_CALL_NOT_AUTHORIZED, SERVICE_CALL_INVALID_ARG };
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        ready(&f, ANSWER_DESCRIBE);
        begin_outage(&f, ANSWER_DESCRIBE);
        f.script[DESCRIBE].result = results[i];
        put_through(&f, 2500);
        CHECK_EQ(f.error_count, 1);
        CHECK_EQ(f.last_error, serviceCallResultCheck(results[i]));
        int before = tries(&f);
        end_outage(&f);
        put_through(&f, 2500);
        CHECK_EQ(tries(&f), before);
        CHECK_EQ(kinesisVideoStreamResetStream(f.stream), STATUS_SUCCESS);
        put_through(&f, 25);
        CHECK(tries(&f) > before);
        fixture_free(&f);
    }
}

/* A callback that fails instead of answering is a try, too. */
static void test_a_callback_that_fails_is_tried_once_a_call(void)
{
    struct fixture f;
    ready(&f, ANSWER_PUT);
    f.script[PUT].refuse = STATUS_NOT_IMPLEMENTED;
    begin_outage(&f, TERMINATE_INSIDE);
    put_through(&f, 2500);
    CHECK_EQ(f.error_count, 1);
    CHECK(IS_RECOVERABLE_ERROR(f.last_error));
    CHECK_EQ(f.next_upload, 101);
    f.script[PUT].refuse = STATUS_SUCCESS;
    end_outage(&f);
    put_through(&f, 33 * 25);
    CHECK_EQ(f.next_upload, 102);
    CHECK_EQ(f.dropped_count, 0);
    fixture_free(&f);
}

/* The clock of a camera is an hour ahead until it is set right, in the middle of an outage. What the program sees is in
 * the program's time: a call that is to be made in a second is not to be made in an hour. */
static void test_a_clock_that_is_set_back_delays_nothing(void)
{
    struct fixture f;
    UINT64 deadline = 0;
    ready(&f, ANSWER_PUT);
    begin_outage(&f, ANSWER_PUT);
    put_through(&f, 250);
    f.now -= HOUR;
    int before = f.count[PUT];
    put_through(&f, 2500);
    CHECK(f.count[PUT] - before > 5);
    CHECK(f.context[PUT].callAfter <= f.now + 30 * SECOND);
    CHECK_EQ(kvsNextDeadline(f.client, &deadline), STATUS_SUCCESS);
    CHECK(deadline <= f.now + 30 * SECOND);
    end_outage(&f);
    put_through(&f, 33 * 25);
    CHECK_EQ(f.next_upload, 102);
    int tokens = f.count[TOKEN];
    for (int minute = 0; minute < 41; minute++, f.now += 60 * SECOND) put_through(&f, 1);
    CHECK(f.count[TOKEN] > tokens && f.count[TOKEN] <= tokens + 2); /* a token lasts as long as it says */
    CHECK_EQ(f.dropped_count, 0);
    fixture_free(&f);
}

/* ---- waits ----------------------------------------------------------------------------------------------------- */

/* The service is back after a minute; a wait on the condition variable lets the time pass. */
static STATUS wait_a_slice(UINT64 custom, CVAR condition, MUTEX mutex, UINT64 timeout)
{
    struct fixture *f = fixture_of(custom);
    (void)condition, (void)mutex;
    f->now += timeout;
    if (f->now > START_TIME + 60 * SECOND) end_outage(f);
    return STATUS_OPERATION_TIMED_OUT;
}

static MUTEX plain_mutex(UINT64 custom, BOOL is_reentrant) { (void)custom, (void)is_reentrant; return 1; }
static void plain_lock(UINT64 custom, MUTEX mutex) { (void)custom, (void)mutex; }
static CVAR plain_condition(UINT64 custom)
{
    static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    (void)custom;
    return &condition;
}
static STATUS plain_broadcast(UINT64 custom, CVAR condition) { (void)custom, (void)condition; return STATUS_SUCCESS; }
static void plain_free(UINT64 custom, CVAR condition) { (void)custom, (void)condition; }

/* A reader that the program would have on another thread: it reads and acknowledges what is announced. */
static STATUS read_at_once(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload, UINT64 duration,
                           UINT64 size)
{
    struct fixture *f = fixture_of(custom);
    f->stream = stream;
    while (size != 0 && fixture_read(f, upload, NULL) == STATUS_AWAITING_PERSISTED_ACK)
        (void)fixture_persisted(f, upload, START_TIME + 1000 * MS);
    return fixture_data(custom, stream, name, upload, duration, size);
}

/* Reads all, and acknowledges every fragment that has begun but the last. */
static STATUS acknowledge_at_once(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload,
                                  UINT64 duration, UINT64 size)
{
    struct fixture *f = fixture_of(custom);
    f->stream = stream;
    if (size != 0) (void)fixture_read(f, upload, NULL);
    for (UINT64 at = START_TIME; size != 0 && at + 80 * MS < f->pts; at += 40 * MS)
        (void)fixture_persisted(f, upload, at);
    return fixture_data(custom, stream, name, upload, duration, size);
}

/* Nothing else calls the library: the stop itself makes the tries when they are due. */
static void pass_time_in_waits(struct fixture *f)
{
    f->callbacks.createMutexFn = plain_mutex;
    f->callbacks.lockMutexFn = f->callbacks.unlockMutexFn = f->callbacks.freeMutexFn = plain_lock;
    f->callbacks.createConditionVariableFn = plain_condition;
    f->callbacks.broadcastConditionVariableFn = plain_broadcast;
    f->callbacks.waitConditionVariableFn = wait_a_slice;
    f->callbacks.freeConditionVariableFn = plain_free;
    f->callbacks.streamDataAvailableFn = read_at_once;
}

static void test_a_stop_that_waits_makes_the_tries(void)
{
    struct fixture f;
    fixture_init(&f);
    pass_time_in_waits(&f);
    fixture_stream(&f);
    fixture_put_fragments(&f, 2, 25);
    begin_outage(&f, ANSWER_PUT);
    CHECK_EQ(stopKinesisVideoStreamSync(f.stream), STATUS_SUCCESS);
    CHECK(f.now > START_TIME + 60 * SECOND && f.now < START_TIME + 95 * SECOND);
    CHECK_EQ(f.stream_closed, 1);
    CHECK_EQ(f.dropped_count, 0);
    CHECK_EQ(f.error_count, 1);
    fixture_free(&f);
}

/* The same in a put that waits for room: what is full is full until the service is back. */
static void test_an_offline_put_that_waits_makes_the_tries(void)
{
    struct fixture f;
    fixture_init(&f);
    pass_time_in_waits(&f);
    f.info.streamCaps.streamingType = STREAMING_TYPE_OFFLINE;
    f.info.streamCaps.bufferDuration = HOUR;
    f.device.clientInfo.offlineBufferAvailabilityTimeout = 120 * SECOND;
    f.callbacks.streamDataAvailableFn = acknowledge_at_once;
    fixture_stream(&f);
    CHECK_EQ(fixture_put_sized(&f, FRAME_FLAG_KEY_FRAME, 1000), STATUS_SUCCESS);
    begin_outage(&f, ANSWER_PUT);
    for (int i = 1; i < 30; i++) {
        CHECK_EQ(fixture_put_sized(&f, i % 2 == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE, 1000000), STATUS_SUCCESS);
    }
    CHECK(f.now > START_TIME + 60 * SECOND && f.now < START_TIME + 95 * SECOND);
    CHECK_EQ(f.error_count, 1);
    CHECK_EQ(f.dropped_count, 0);
    fixture_free(&f);
}

int main(void)
{
    test_an_offline_put_that_waits_makes_the_tries();
    test_a_stream_comes_back_after_an_outage_of_any_length();
    test_a_key_that_is_disabled_for_a_while_loses_nothing();
    test_a_final_error_is_final();
    test_a_callback_that_fails_is_tried_once_a_call();
    test_a_clock_that_is_set_back_delays_nothing();
    test_a_stop_that_waits_makes_the_tries();
    return CHECK_DONE();
}

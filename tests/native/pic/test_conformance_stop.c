/* test_conformance_stop.c — stopping, freeing, resetting, and waiting, through pic.h. Goal: a stop delivers what is
 * buffered, a free returns whatever the state, and a call that waits hinders its own stream alone. */
#include "fixture.h"
#include "scenario.h"

static void test_stop_with_nothing_to_send_closes_at_once(void)
{
    struct fixture f;
    fixture_init(&f);
    fixture_stream(&f);
    CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
    CHECK_EQ(f.stream_closed, 1);
    CHECK_EQ(f.closed_upload, INVALID_UPLOAD_HANDLE_VALUE);
    CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
    CHECK_EQ(stopKinesisVideoStreamSync(f.stream), STATUS_SUCCESS);
    CHECK_EQ(f.stream_closed, 1);
    HELD("CS-69 CD-113");
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_STREAM_HAS_BEEN_STOPPED);
    CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, f.info.name, f.info.name, FALSE),
             STATUS_STREAM_HAS_BEEN_STOPPED);
    CHECK_EQ(fixture_metrics(&f).putFrameErrors, 1);
    HELD("CS-72 CD-25");
    CHECK_EQ(kinesisVideoStreamResetStream(f.stream), STATUS_SUCCESS);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(f.count[PUT], 1);
    HELD("CS-81");
    fixture_free(&f);
}

static void test_stop_while_describing(void)
{
    struct fixture f;
    fixture_init(&f);
    f.script[DESCRIBE].is_silent = 1;
    fixture_stream(&f);
    CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
    CHECK_EQ(f.stream_closed, 1);
    CHECK_EQ(fixture_answer(&f, DESCRIBE, SERVICE_CALL_RESULT_OK), STATUS_INVALID_STREAM_STATE);
    CHECK_EQ(f.count[ENDPOINT], 0);
    REPLACED("CS-70", "the stream is stopped, later answers are refused");
    fixture_free(&f);
    fixture_init(&f);
    f.script[DESCRIBE].is_silent = 1;
    fixture_stream(&f);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
    CHECK_EQ(f.stream_closed, 0);
    CHECK_EQ(fixture_answer(&f, DESCRIBE, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
    CHECK_EQ(f.count[PUT], 1);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_AWAITING_PERSISTED_ACK);
    CHECK_EQ(fixture_persisted(&f, 100, START_TIME), STATUS_SUCCESS);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_END_OF_STREAM);
    CHECK_EQ(f.stream_closed, 1);
    HELD("CS-71");
    fixture_free(&f);
}

static void test_free_reports_what_was_not_delivered(void)
{
    struct fixture f;
    fixture_init(&f);
    f.script[PUT].is_silent = 1;
    fixture_stream(&f);
    fixture_put_fragments(&f, 5, 10);
    STREAM_HANDLE stream = f.stream;
    CHECK_EQ(freeKinesisVideoStream(&f.stream), STATUS_SUCCESS);
    CHECK_EQ(f.stream_shutdown, 1);
    CHECK_EQ(f.dropped_count, 50);
    CHECK(f.shutdown_at < f.first_drop_at);
    CHECK_EQ(putStreamResultEvent(f.custom[PUT], SERVICE_CALL_RESULT_OK, 1), STATUS_NULL_ARG);
    HELD("CS-74");
    CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_NULL_ARG);
    CHECK_EQ(stopKinesisVideoStream(stream), STATUS_NULL_ARG);
    CHECK_EQ(tagResourceResultEvent(stream, SERVICE_CALL_RESULT_OK), STATUS_NULL_ARG);
    CHECK_EQ(freeKinesisVideoStream(&f.stream), STATUS_SUCCESS);
    CHECK_EQ(freeKinesisVideoStream(NULL), STATUS_NULL_ARG);
    HELD("CS-73 CS-96 CD-115");
    fixture_free(&f);
}

static void test_reset_drops_and_starts_over(void)
{
    struct fixture f;
    fixture_init(&f);
    fixture_stream(&f);
    fixture_put_fragments(&f, 2, 5);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK_EQ(kinesisVideoStreamResetStream(f.stream), STATUS_SUCCESS);
    CHECK_EQ(f.stream_reset, 1);
    CHECK_EQ(f.dropped_count, 10);
    CHECK_EQ(f.count[DESCRIBE], 2);
    CHECK_EQ(f.context[DESCRIBE].callAfter, f.now);
    CHECK_EQ(f.count[ENDPOINT], 2);
    CHECK_EQ(f.stream_ready, 2);
    CHECK_EQ(f.count[PUT], 1);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_UPLOAD_HANDLE_ABORTED);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_NONE), STATUS_SUCCESS);
    CHECK_EQ(fixture_metrics(&f).skippedFrames, 1);
    CHECK_EQ(f.count[PUT], 2); /* any frame opens it */
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(f.count[PUT], 2);
    HELD("CS-80");
    fixture_free(&f);
}

static void test_a_stop_that_is_not_drained_times_out(void)
{
    struct fixture f;
    fixture_init(&f);
    f.callbacks.getCurrentTimeFn = NULL;
    f.token_life = f.streaming_token_life = UINT64_C(40000000000000000);
    f.device.clientInfo.stopStreamTimeout = 20 * MS;
    fixture_stream(&f);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(stopKinesisVideoStreamSync(f.stream), STATUS_OPERATION_TIMED_OUT);
    CHECK_EQ(freeKinesisVideoStream(&f.stream), STATUS_SUCCESS);
    HELD("CS-75 CD-109");
    fixture_free(&f);
}

static void test_all_streams_are_stopped_together(void)
{
    struct fixture f;
    STREAM_HANDLE other = 0;
    fixture_init(&f);
    fixture_stream(&f);
    memcpy(f.info.name, "other", 6);
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &other), STATUS_SUCCESS);
    CHECK_EQ(stopKinesisVideoStreams(f.client), STATUS_SUCCESS);
    CHECK_EQ(f.stream_closed, 2);
    fixture_free(&f);
}

/* ---- a producer that waits ------------------------------------------------------------------------------------- */

struct waiter {
    struct fixture *f;
    pthread_mutex_t lock;
    pthread_cond_t begun;
    int is_begun;
    STATUS status;
    int puts;
};

/* Puts until a put fails; frames are large, so the store is soon full. The fixture is left to the main thread. */
static void *put_until_refused(void *argument)
{
    struct waiter *waiter = argument;
    static BYTE bytes[1000000];
    Frame frame = {
        .size = sizeof bytes, .frameData = bytes, .trackId = 1, .duration = 40 * MS, .presentationTs = START_TIME
    };
    do {
        frame.flags = waiter->puts % 2 == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE;
        frame.decodingTs = frame.presentationTs += 40 * MS;
        waiter->status = putKinesisVideoFrame(waiter->f->stream, &frame);
        waiter->puts += STATUS_SUCCEEDED(waiter->status);
        pthread_mutex_lock(&waiter->lock);
        waiter->is_begun = 1;
        pthread_cond_signal(&waiter->begun);
        pthread_mutex_unlock(&waiter->lock);
    } while (STATUS_SUCCEEDED(waiter->status));
    return NULL;
}

static void offline(struct fixture *f)
{
    fixture_init(f);
    f->callbacks.getCurrentTimeFn = NULL;
    f->token_life = f->streaming_token_life = UINT64_C(40000000000000000);
    f->info.streamCaps.streamingType = STREAMING_TYPE_OFFLINE;
    f->info.streamCaps.bufferDuration = 1000 * SECOND;
    fixture_stream(f);
}

static void start(struct waiter *waiter, struct fixture *f, pthread_t *thread)
{
    memset(waiter, 0, sizeof *waiter);
    waiter->f = f;
    pthread_mutex_init(&waiter->lock, NULL);
    pthread_cond_init(&waiter->begun, NULL);
    int error = pthread_create(thread, NULL, put_until_refused, waiter);
    pthread_mutex_lock(&waiter->lock);
    while (error == 0 && !waiter->is_begun) pthread_cond_wait(&waiter->begun, &waiter->lock);
    pthread_mutex_unlock(&waiter->lock);
    CHECK_EQ(error, 0);
}

static void finish(struct waiter *waiter, pthread_t thread)
{
    pthread_join(thread, NULL);
    pthread_cond_destroy(&waiter->begun);
    pthread_mutex_destroy(&waiter->lock);
}

static void test_an_offline_put_waits_and_times_out(void)
{
    struct fixture f;
    struct waiter waiter;
    pthread_t thread;
    fixture_init(&f);
    offline(&f);
    fixture_free(&f);
    f.device.clientInfo.offlineBufferAvailabilityTimeout = 30 * MS;
    fixture_client(&f);
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &f.stream), STATUS_SUCCESS);
    start(&waiter, &f, &thread);
    finish(&waiter, thread);
    CHECK_EQ(waiter.status, STATUS_OPERATION_TIMED_OUT);
    CHECK(waiter.puts >= 8);
    CHECK_EQ(f.dropped_count, 0);
    CHECK_EQ(f.storage_count, 0);
    HELD("CD-29");
    fixture_free(&f);
}

static void test_stop_and_free_end_a_waiting_put(void)
{
    for (int is_free = 0; is_free < 2; is_free++) {
        struct fixture f;
        struct waiter waiter;
        pthread_t thread;
        STREAM_HANDLE other = 0;
        offline(&f);
        StreamInfo second = f.info;
        memcpy(second.name, "other", 6);
        second.streamCaps.streamingType = STREAMING_TYPE_REALTIME;
        start(&waiter, &f, &thread);
        STREAM_HANDLE stream = f.stream;
        CHECK_EQ(createKinesisVideoStream(f.client, &second, &other),
                 STATUS_SUCCESS); /* not delayed by the waiting one */
        CHECK_EQ(freeKinesisVideoStream(&other), STATUS_SUCCESS);
        CHECK_EQ(is_free ? freeKinesisVideoStream(&stream) : stopKinesisVideoStream(stream), STATUS_SUCCESS);
        finish(&waiter, thread);
        CHECK(waiter.status == STATUS_BLOCKING_PUT_INTERRUPTED_STREAM_TERMINATED ||
              waiter.status ==
                  (is_free ? STATUS_NULL_ARG : STATUS_STREAM_HAS_BEEN_STOPPED)); /* or it came just after */
        CHECK_EQ(freeKinesisVideoClient(&f.client), STATUS_SUCCESS);
    }
    HELD("CS-78 CD-28");
}

/* ---- idle fragments -------------------------------------------------------------------------------------------- */

static void test_an_idle_fragment_is_ended_by_deadline(void)
{
    struct fixture f;
    UINT64 deadline = 0;
    fixture_init(&f);
    f.device.clientInfo.automaticStreamingFlags = AUTOMATIC_STREAMING_INTERMITTENT_PRODUCER;
    fixture_stream(&f);
    fixture_put_fragments(&f, 1, 3);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK_EQ(kvsNextDeadline(f.client, &deadline), STATUS_SUCCESS);
    CHECK(deadline > f.now && deadline <= f.now + 20 * SECOND); /* early is allowed: the poke then finds nothing due */
    f.now += 25 * SECOND;
    int before = f.data_count;
    UINT64 bytes = 0;
    CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
    CHECK(f.data_count > before);
    CHECK_EQ(fixture_read(&f, 100, &bytes), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK_EQ(bytes, 84);
    CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
    CHECK_EQ(fixture_read(&f, 100, &bytes), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK_EQ(bytes, 0);
    CHECK_EQ(fixture_end_fragment(&f), STATUS_MULTIPLE_CONSECUTIVE_EOFR);
    HELD("CS-94 CD-41");
    fixture_free(&f);
}

int main(void)
{
    test_stop_with_nothing_to_send_closes_at_once();
    test_stop_while_describing();
    test_free_reports_what_was_not_delivered();
    test_reset_drops_and_starts_over();
    test_a_stop_that_is_not_drained_times_out();
    test_all_streams_are_stopped_together();
    test_an_offline_put_waits_and_times_out();
    test_stop_and_free_end_a_waiting_put();
    test_an_idle_fragment_is_ended_by_deadline();
    return CHECK_DONE();
}

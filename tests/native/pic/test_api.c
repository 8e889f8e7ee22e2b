/* test_api.c — pic.h as a program uses it. Goal: from the first call to the last acknowledged byte with nothing but its
 * functions and callbacks, and every function answers every handle with a status. */
#include "fixture.h"

static void test_a_frame_reaches_the_service_and_is_done(void)
{
    struct fixture f;
    UINT64 bytes = 0;
    fixture_init(&f);
    fixture_stream(&f);
    CHECK_EQ(f.client_ready, 1);
    CHECK_EQ(f.stream_ready, 1);
    fixture_put_fragments(&f, 2, 10);
    CHECK_EQ(f.count[PUT], 1);
    CHECK_EQ(f.put_start, START_TIME);
    CHECK_EQ(fixture_read(&f, 100, &bytes), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK(bytes > 20000);
    CHECK_EQ(fixture_persisted(&f, 100, START_TIME), STATUS_SUCCESS);
    CHECK_EQ(f.ack_count, 1);
    CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_AWAITING_PERSISTED_ACK);
    CHECK_EQ(f.stream_closed, 0);
    CHECK_EQ(fixture_persisted(&f, 100, START_TIME + 400 * MS), STATUS_SUCCESS);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_END_OF_STREAM);
    CHECK_EQ(f.stream_closed, 1);
    CHECK_EQ(f.closed_upload, 100);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_UPLOAD_HANDLE_ABORTED);
    StreamMetrics metrics = fixture_metrics(&f);
    CHECK_EQ(metrics.persistedAcks, 2);
    CHECK_EQ(metrics.droppedFrames, 0);
    CHECK_EQ(metrics.totalSessions, 1);
    CHECK_EQ(metrics.transferredBytes > 20000, 1);
    CHECK_EQ(freeKinesisVideoStream(&f.stream), STATUS_SUCCESS);
    CHECK_EQ(f.dropped_count, 0);
    fixture_free(&f);
}

static void every_stream_function(STREAM_HANDLE stream, STATUS wanted)
{
    BYTE bytes[16];
    UINT32 filled = 0;
    PStreamInfo info = NULL;
    Frame frame;
    FragmentAck ack;
    StreamMetrics metrics;
    char text[] = "a", ack_text[] = "{\"EventType\":\"IDLE\"}";
    memset(&frame, 0, sizeof frame);
    memset(&ack, 0, sizeof ack);
    memset(&metrics, 0, sizeof metrics);
    CHECK_EQ(stopKinesisVideoStream(stream), wanted);
    CHECK_EQ(stopKinesisVideoStreamSync(stream), wanted);
    CHECK_EQ(putKinesisVideoFrame(stream, &frame), wanted);
    CHECK_EQ(getKinesisVideoStreamData(stream, 1, bytes, sizeof bytes, &filled), wanted);
    CHECK_EQ(putKinesisVideoFragmentMetadata(stream, text, text, FALSE), wanted);
    CHECK_EQ(putKinesisVideoEventMetadata(stream, STREAM_EVENT_TYPE_NOTIFICATION, NULL), wanted);
    CHECK_EQ(getKinesisVideoStreamMetrics(stream, &metrics), wanted);
    CHECK_EQ(describeStreamResultEvent(stream, SERVICE_CALL_RESULT_OK, NULL), wanted);
    CHECK_EQ(createStreamResultEvent(stream, SERVICE_CALL_RESULT_OK, text), wanted);
    CHECK_EQ(getStreamingTokenResultEvent(stream, SERVICE_CALL_RESULT_OK, bytes, 1, 0), wanted);
    CHECK_EQ(getStreamingEndpointResultEvent(stream, SERVICE_CALL_RESULT_OK, text), wanted);
    CHECK_EQ(putStreamResultEvent(stream, SERVICE_CALL_RESULT_OK, 1), wanted);
    CHECK_EQ(kinesisVideoStreamFormatChanged(stream, 0, NULL, 1), wanted);
    CHECK_EQ(kinesisVideoStreamSetNalAdaptationFlags(stream, 0), wanted);
    CHECK_EQ(kinesisVideoStreamTerminated(stream, 1, SERVICE_CALL_RESULT_OK), wanted);
    CHECK_EQ(kinesisVideoStreamFragmentAck(stream, 1, &ack), wanted);
    CHECK_EQ(kinesisVideoStreamParseFragmentAck(stream, 1, ack_text, 0), wanted);
    CHECK_EQ(kinesisVideoStreamGetStreamInfo(stream, &info), wanted);
    CHECK_EQ(kinesisVideoStreamResetStream(stream), wanted);
    CHECK_EQ(kinesisVideoStreamResetConnection(stream), wanted);
}

static void every_client_function(CLIENT_HANDLE client, STATUS wanted)
{
    struct fixture f;
    STREAM_HANDLE stream = 1;
    ClientMetrics metrics;
    UINT64 deadline = 0;
    BYTE token[4] = { 0 };
    fixture_init(&f);
    memset(&metrics, 0, sizeof metrics);
    CHECK_EQ(stopKinesisVideoStreams(client), wanted);
    CHECK_EQ(createKinesisVideoStream(client, &f.info, &stream), wanted);
    CHECK_EQ(stream, INVALID_STREAM_HANDLE_VALUE);
    CHECK_EQ(createKinesisVideoStreamSync(client, &f.info, &stream), wanted);
    CHECK_EQ(getKinesisVideoMetrics(client, &metrics), wanted);
    CHECK_EQ(createDeviceResultEvent(client, SERVICE_CALL_RESULT_OK, f.text), wanted);
    CHECK_EQ(deviceCertToTokenResultEvent(client, SERVICE_CALL_RESULT_OK, token, sizeof token, 0), wanted);
    CHECK_EQ(kvsNextDeadline(client, &deadline), wanted);
    CHECK_EQ(kvsPoke(client), wanted);
}

static void test_every_function_answers_every_handle(void)
{
    struct fixture f;
    fixture_init(&f);
    fixture_stream(&f);
    CLIENT_HANDLE client = f.client;
    STREAM_HANDLE stream = f.stream;
    const UINT64 foreign[] = { 0,
                               1,
                               2,
                               0x7FFF0000u,
                               UINT64_MAX,
                               UINT64_MAX - 1,
                               stream + UINT64_C(1000000),
                               stream | UINT64_C(1) << 40,
                               client ^ UINT64_C(1) << 60,
                               UINT64_C(6) << 60,
                               UINT64_C(5) << 60,
                               (UINT64)(uintptr_t)&f };
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        every_stream_function(foreign[i], STATUS_NULL_ARG);
        every_client_function(foreign[i], STATUS_NULL_ARG);
    }
    every_stream_function(client, STATUS_NULL_ARG);
    every_client_function(stream, STATUS_NULL_ARG);
    CHECK_EQ(tagResourceResultEvent(0, SERVICE_CALL_RESULT_OK), STATUS_NULL_ARG);
    CHECK_EQ(tagResourceResultEvent(12345, SERVICE_CALL_RESULT_OK), STATUS_INVALID_CUSTOM_DATA);
    CHECK_EQ(freeKinesisVideoStream(&f.stream), STATUS_SUCCESS);
    CHECK_EQ(f.stream, INVALID_STREAM_HANDLE_VALUE);
    every_stream_function(stream, STATUS_NULL_ARG);
    CHECK_EQ(tagResourceResultEvent(stream, SERVICE_CALL_RESULT_OK), STATUS_NULL_ARG);
    STREAM_HANDLE copy = stream;
    CHECK_EQ(freeKinesisVideoStream(&copy), STATUS_SUCCESS);
    copy = client;
    CHECK_EQ(freeKinesisVideoStream(&copy), STATUS_NULL_ARG);
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &f.stream), STATUS_SUCCESS);
    CHECK(f.stream != stream);
    every_stream_function(stream, STATUS_NULL_ARG);
    fixture_free(&f);
    every_client_function(client, STATUS_NULL_ARG);
    every_stream_function(f.stream, STATUS_NULL_ARG);
    copy = client;
    CHECK_EQ(freeKinesisVideoClient(&copy), STATUS_SUCCESS);
    copy = 77;
    CHECK_EQ(freeKinesisVideoClient(&copy), STATUS_NULL_ARG);
}

static void test_null_pointers_are_statuses(void)
{
    struct fixture f;
    BYTE bytes[4];
    UINT32 filled = 0;
    char text[] = "a";
    fixture_init(&f);
    CHECK_EQ(createKinesisVideoClient(NULL, &f.callbacks, &f.client), STATUS_NULL_ARG);
    CHECK_EQ(createKinesisVideoClient(&f.device, NULL, &f.client), STATUS_NULL_ARG);
    CHECK_EQ(createKinesisVideoClient(&f.device, &f.callbacks, NULL), STATUS_NULL_ARG);
    CHECK_EQ(createKinesisVideoClientSync(NULL, NULL, NULL), STATUS_NULL_ARG);
    CHECK_EQ(freeKinesisVideoClient(NULL), STATUS_NULL_ARG);
    CHECK_EQ(freeKinesisVideoStream(NULL), STATUS_NULL_ARG);
    fixture_stream(&f);
    STREAM_HANDLE other = 0;
    CHECK_EQ(createKinesisVideoStream(f.client, NULL, &other), STATUS_NULL_ARG);
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, NULL), STATUS_NULL_ARG);
    CHECK_EQ(putKinesisVideoFrame(f.stream, NULL), STATUS_NULL_ARG);
    CHECK_EQ(getKinesisVideoStreamData(f.stream, 1, NULL, 4, &filled), STATUS_NULL_ARG);
    CHECK_EQ(getKinesisVideoStreamData(f.stream, 1, bytes, 4, NULL), STATUS_NULL_ARG);
    CHECK_EQ(getKinesisVideoStreamData(f.stream, 1, bytes, 0, &filled), STATUS_INVALID_ARG);
    CHECK_EQ(getKinesisVideoStreamData(f.stream, NO_UPLOAD, bytes, 4, &filled), STATUS_INVALID_ARG);
    CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, NULL, text, FALSE), STATUS_NULL_ARG);
    CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, text, NULL, FALSE), STATUS_NULL_ARG);
    CHECK_EQ(getKinesisVideoMetrics(f.client, NULL), STATUS_NULL_ARG);
    CHECK_EQ(getKinesisVideoStreamMetrics(f.stream, NULL), STATUS_NULL_ARG);
    CHECK_EQ(kinesisVideoStreamFragmentAck(f.stream, 1, NULL), STATUS_NULL_ARG);
    CHECK_EQ(kinesisVideoStreamParseFragmentAck(f.stream, 1, NULL, 0), STATUS_NULL_ARG);
    CHECK_EQ(kinesisVideoStreamGetStreamInfo(f.stream, NULL), STATUS_NULL_ARG);
    CHECK_EQ(kvsNextDeadline(f.client, NULL), STATUS_NULL_ARG);
    f.script[ENDPOINT].is_silent = 1;
    CHECK_EQ(kinesisVideoStreamResetStream(f.stream), STATUS_SUCCESS);
    CHECK_EQ(getStreamingEndpointResultEvent(f.custom[ENDPOINT], SERVICE_CALL_RESULT_OK, NULL), STATUS_NULL_ARG);
    CHECK_EQ(getStreamingEndpointResultEvent(f.custom[ENDPOINT], SERVICE_CALL_RESULT_OK, text), STATUS_SUCCESS);
    fixture_free(&f);
}

/* ---- callbacks ------------------------------------------------------------------------------------------------- */

static STATUS free_stream_on_data(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload,
                                  UINT64 duration, UINT64 size)
{
    (void)name, (void)upload, (void)duration, (void)size;
    struct fixture *f = fixture_of(custom);
    f->data_count++;
    CHECK_EQ(freeKinesisVideoStream(&stream), STATUS_SUCCESS);
    return STATUS_SUCCESS;
}

static void test_a_stream_may_be_freed_inside_its_callback(void)
{
    struct fixture f;
    fixture_init(&f);
    f.callbacks.streamDataAvailableFn = free_stream_on_data;
    fixture_stream(&f);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(f.data_count, 1);
    CHECK_EQ(f.stream_shutdown, 1);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_NULL_ARG);
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &f.stream), STATUS_SUCCESS);
    fixture_free(&f);
}

static STATUS free_client_on_ready(UINT64 custom, STREAM_HANDLE stream)
{
    struct fixture *f = fixture_of(custom);
    (void)stream;
    f->stream_ready++;
    CHECK_EQ(freeKinesisVideoClient(&f->client), STATUS_SUCCESS);
    return STATUS_SUCCESS;
}

static void test_a_client_may_be_freed_inside_a_callback(void)
{
    struct fixture f;
    fixture_init(&f);
    f.callbacks.streamReadyFn = free_client_on_ready;
    fixture_client(&f);
    CLIENT_HANDLE client = f.client;
    CHECK(STATUS_FAILED(createKinesisVideoStream(f.client, &f.info, &f.stream)));
    CHECK_EQ(f.stream, INVALID_STREAM_HANDLE_VALUE);
    CHECK_EQ(f.stream_shutdown, 0); /* the program never got this stream */
    CHECK_EQ(f.client_shutdown, 1);
    CHECK_EQ(kvsPoke(client), STATUS_NULL_ARG);
}

static void test_optional_callbacks_may_be_missing(void)
{
    struct fixture f;
    fixture_init(&f);
    ClientCallbacks few;
    memset(&few, 0, sizeof few);
    few.customData = (UINT64)(uintptr_t)&f;
    few.getSecurityTokenFn = f.callbacks.getSecurityTokenFn;
    few.createDeviceFn = f.callbacks.createDeviceFn;
    few.describeStreamFn = f.callbacks.describeStreamFn;
    few.createStreamFn = f.callbacks.createStreamFn;
    few.getStreamingEndpointFn = f.callbacks.getStreamingEndpointFn;
    few.getStreamingTokenFn = f.callbacks.getStreamingTokenFn;
    few.putStreamFn = f.callbacks.putStreamFn;
    f.callbacks = few;
    f.token_life = INVALID_TIMESTAMP_VALUE;
    f.streaming_token_life = UINT64_MAX / 2;
    fixture_stream(&f);
    fixture_put_fragments(&f, 30, 50);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK_EQ(
        fixture_ack_at(&f, 100, FRAGMENT_ACK_TYPE_ERROR, INVALID_TIMESTAMP_VALUE, SERVICE_CALL_RESULT_INVALID_MKV_DATA),
        STATUS_SUCCESS);
    CHECK_EQ(kinesisVideoStreamResetStream(f.stream), STATUS_SUCCESS);
    CHECK_EQ(stopKinesisVideoStreamSync(f.stream), STATUS_SUCCESS);
    fixture_free(&f);
}

/* ---- a program's own locks ------------------------------------------------------------------------------------- */

static int own_locks, own_held;
static MUTEX own_mutex(UINT64 custom, BOOL is_reentrant)
{
    (void)custom, (void)is_reentrant;
    return (MUTEX)(uintptr_t)malloc(1) + 0 * (MUTEX)++own_locks;
}
static void own_lock(UINT64 custom, MUTEX mutex) { (void)custom, (void)mutex; own_held++; }
static void own_unlock(UINT64 custom, MUTEX mutex) { (void)custom, (void)mutex; own_held--; }
static void own_free(UINT64 custom, MUTEX mutex) { (void)custom; own_locks--; free((void *)(uintptr_t)mutex); }
static CVAR own_condition(UINT64 custom) { (void)custom; own_locks++; return malloc(sizeof(pthread_cond_t)); }
static STATUS own_broadcast(UINT64 custom, CVAR condition) { (void)custom, (void)condition; return STATUS_SUCCESS; }
static STATUS own_wait(UINT64 custom, CVAR condition, MUTEX mutex, UINT64 timeout)
{
    (void)condition, (void)mutex;
    fixture_of(custom)->now += timeout;
    return STATUS_OPERATION_TIMED_OUT;
}
static void own_condition_free(UINT64 custom, CVAR condition) { (void)custom; own_locks--; free(condition); }
static STATUS describe_unlocked(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    CHECK_EQ(own_held, 0); /* no callback comes under a lock */
    return fixture_describe(custom, name, context);
}

static void use_own_sync(struct fixture *f)
{
    f->callbacks.createMutexFn = own_mutex;
    f->callbacks.lockMutexFn = own_lock;
    f->callbacks.unlockMutexFn = own_unlock;
    f->callbacks.freeMutexFn = own_free;
    f->callbacks.createConditionVariableFn = own_condition;
    f->callbacks.broadcastConditionVariableFn = own_broadcast;
    f->callbacks.waitConditionVariableFn = own_wait;
    f->callbacks.freeConditionVariableFn = own_condition_free;
}

static void test_the_program_s_locks_are_used_and_given_back(void)
{
    struct fixture f;
    fixture_init(&f);
    use_own_sync(&f);
    f.callbacks.describeStreamFn = describe_unlocked;
    fixture_stream(&f);
    CHECK(own_locks > 3);
    CHECK_EQ(own_held, 0);
    fixture_put_fragments(&f, 2, 5);
    CHECK_EQ(own_held, 0);
    fixture_free(&f);
    CHECK_EQ(own_locks, 0);
    CHECK_EQ(own_held, 0);
}

static void test_waits_end_by_their_limits(void)
{
    struct fixture f;
    fixture_init(&f);
    use_own_sync(&f);
    f.script[DEVICE].is_silent = 1;
    CHECK_EQ(createKinesisVideoClientSync(&f.device, &f.callbacks, &f.client), STATUS_OPERATION_TIMED_OUT);
    CHECK_EQ(f.client, INVALID_CLIENT_HANDLE_VALUE);
    CHECK(f.now - START_TIME >= 15 * SECOND && f.now - START_TIME < 16 * SECOND);
    f.script[DEVICE].is_silent = 0;
    f.script[DESCRIBE].is_silent = 1;
    CHECK_EQ(createKinesisVideoClientSync(&f.device, &f.callbacks, &f.client), STATUS_SUCCESS);
    f.now = START_TIME;
    CHECK_EQ(createKinesisVideoStreamSync(f.client, &f.info, &f.stream), STATUS_OPERATION_TIMED_OUT);
    CHECK_EQ(f.stream, INVALID_STREAM_HANDLE_VALUE);
    f.script[DESCRIBE].is_silent = 0;
    CHECK_EQ(createKinesisVideoStreamSync(f.client, &f.info, &f.stream), STATUS_SUCCESS);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(stopKinesisVideoStreamSync(f.stream), STATUS_OPERATION_TIMED_OUT);
    fixture_free(&f);
    CHECK_EQ(own_locks, 0);
}

/* ---- retry strategy -------------------------------------------------------------------------------------------- */

static UINT64 strategies;
static int executed;
static STATUS make_strategy(PKvsRetryStrategy strategy)
{
    strategies++;
    strategy->pRetryStrategy = &strategies;
    strategy->retryStrategyType = KVS_RETRY_STRATEGY_EXPONENTIAL_BACKOFF_WAIT;
    return STATUS_SUCCESS;
}
static STATUS free_strategy(PKvsRetryStrategy strategy)
{
    CHECK(strategy->pRetryStrategy == &strategies);
    strategies--;
    return STATUS_SUCCESS;
}
static STATUS strategy_number(PKvsRetryStrategy strategy, PUINT32 number)
{
    (void)strategy;
    *number = (UINT32)executed + 40u;
    return STATUS_SUCCESS;
}
static STATUS execute_strategy(PKvsRetryStrategy strategy, PUINT64 wait)
{
    (void)strategy;
    executed++;
    *wait = 123 * MS;
    return STATUS_SUCCESS;
}

static void test_a_program_s_retry_strategy_gives_the_waits(void)
{
    struct fixture f;
    fixture_init(&f);
    f.device.clientInfo.kvsRetryStrategyCallbacks = (KvsRetryStrategyCallbacks){ make_strategy, strategy_number,
                                                                                 free_strategy, execute_strategy };
    f.script[ENDPOINT] = (struct call_script){ .fail_count = 2, .result = SERVICE_CALL_UNKNOWN };
    fixture_stream(&f);
    CHECK_EQ(strategies, 1);
    CHECK_EQ(executed, 2);
    CHECK_EQ(f.context[ENDPOINT].callAfter, START_TIME + 123 * MS);
    CHECK_EQ(f.context[TOKEN].callAfter, START_TIME);
    CHECK_EQ(fixture_metrics(&f).streamApiCallRetryCount, 41);
    fixture_free(&f);
    CHECK_EQ(strategies, 0);
}

/* ---- configuration --------------------------------------------------------------------------------------------- */

static void test_the_copy_of_a_stream_s_configuration(void)
{
    struct fixture f;
    PStreamInfo info = NULL;
    BYTE cpd[] = { 1, 2, 3 };
    fixture_init(&f);
    f.tracks[0].codecPrivateData = cpd;
    f.tracks[0].codecPrivateDataSize = sizeof cpd;
    f.info.name[0] = 0;
    f.info.streamCaps.bufferDuration = 0;
    f.info.streamCaps.replayDuration = 5 * SECOND;
    StreamInfo given = f.info;
    fixture_stream(&f);
    CHECK(memcmp(&given, &f.info, sizeof given) == 0);
    CHECK_EQ(kinesisVideoStreamGetStreamInfo(f.stream, &info), STATUS_SUCCESS);
    CHECK_EQ(strlen(info->name), DEFAULT_STREAM_NAME_LEN);
    CHECK_EQ(info->streamCaps.bufferDuration, 20 * SECOND);
    CHECK_EQ(info->streamCaps.replayDuration, 0);
    CHECK_EQ(info->streamCaps.timecodeScale, MS);
    CHECK(info->streamCaps.trackInfoList != f.tracks);
    CHECK(memcmp(info->streamCaps.trackInfoList[0].codecPrivateData, cpd, sizeof cpd) == 0);
    CHECK_EQ(kinesisVideoStreamSetNalAdaptationFlags(f.stream, NAL_ADAPTATION_ANNEXB_NALS), STATUS_SUCCESS);
    CHECK_EQ(info->streamCaps.nalAdaptationFlags, NAL_ADAPTATION_ANNEXB_NALS);
    fixture_free(&f);
}

static void test_device_limits(void)
{
    struct fixture f;
    fixture_init(&f);
#define REFUSED(change, wanted)                                                                    \
    do {                                                                                           \
        struct fixture g;                                                                          \
        fixture_init(&g);                                                                          \
        change;                                                                                    \
        CHECK_EQ(createKinesisVideoClient(&g.device, &g.callbacks, &g.client), wanted);            \
        CHECK_EQ(g.client, INVALID_CLIENT_HANDLE_VALUE);                                           \
    } while (0)
    REFUSED(g.device.version = 2, STATUS_INVALID_DEVICE_INFO_VERSION);
    REFUSED(g.device.streamCount = MAX_STREAM_COUNT + 1, STATUS_MAX_STREAM_COUNT);
    REFUSED(g.device.streamCount = 0, STATUS_MIN_STREAM_COUNT);
    REFUSED(g.device.storageInfo.version = 1, STATUS_INVALID_STORAGE_INFO_VERSION);
    REFUSED(g.device.storageInfo.storageSize = MIN_STORAGE_ALLOCATION_SIZE - 1, STATUS_INVALID_STORAGE_SIZE);
    REFUSED(g.device.storageInfo.storageSize = MAX_STORAGE_ALLOCATION_SIZE + 1, STATUS_INVALID_STORAGE_SIZE);
    REFUSED(g.device.storageInfo.spillRatio = 101, STATUS_INVALID_SPILL_RATIO);
    REFUSED(memset(g.device.storageInfo.rootDirectory, 'a', sizeof g.device.storageInfo.rootDirectory),
            STATUS_INVALID_ROOT_DIRECTORY_LENGTH);
    REFUSED(memset(g.device.name, 'a', sizeof g.device.name), STATUS_INVALID_DEVICE_NAME_LENGTH);
    REFUSED(memset(g.device.clientId, 'a', sizeof g.device.clientId), STATUS_INVALID_CLIENT_ID_STRING_LENGTH);
    REFUSED(g.device.clientInfo.version = 4, STATUS_INVALID_CLIENT_INFO_VERSION);
    REFUSED(g.device.tagCount = MAX_TAG_COUNT + 1, STATUS_MAX_TAG_COUNT);
    REFUSED(g.device.tagCount = 1, STATUS_DEVICE_TAGS_COUNT_NON_ZERO_TAGS_NULL);
    REFUSED(g.callbacks.version = 1, STATUS_INVALID_CALLBACKS_VERSION);
    REFUSED(g.callbacks.putStreamFn = NULL, STATUS_SERVICE_CALL_CALLBACKS_MISSING);
    fixture_client(&f);
    fixture_free(&f);
}

int main(void)
{
    test_a_frame_reaches_the_service_and_is_done();
    test_every_function_answers_every_handle();
    test_null_pointers_are_statuses();
    test_a_stream_may_be_freed_inside_its_callback();
    test_a_client_may_be_freed_inside_a_callback();
    test_optional_callbacks_may_be_missing();
    test_the_program_s_locks_are_used_and_given_back();
    test_waits_end_by_their_limits();
    test_a_program_s_retry_strategy_gives_the_waits();
    test_the_copy_of_a_stream_s_configuration();
    test_device_limits();
    return CHECK_DONE();
}

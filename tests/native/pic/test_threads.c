/* test_threads.c — many threads on one client. Goal: producers, readers, ACKs, resets and frees beside each other end
 * well, callbacks of one stream never overlap, and no thread waits for another's stream, also while streams come and go
 * and the client is freed. For the thread sanitizer. */
#include <stdatomic.h>

#include "fixture.h"

#define STREAMS 4 /* one more comes and goes */
#define ROUNDS 150

struct lane {
    STREAM_HANDLE stream;
    atomic_int inside;   /* callbacks of this stream that are running */
    atomic_int overlaps;
    atomic_int ready;
    _Atomic UINT64 upload;
    _Atomic UINT64 next_upload;
    UINT64 pts;
};

static struct lane lanes[STREAMS + 1];
static CLIENT_HANDLE client;
static atomic_int stops, faults;

static struct lane *lane_of(const char *name) { return &lanes[name[0] - '0']; }

static STATUS device(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    static char arn[] = "arn";
    (void)custom, (void)name;
    return createDeviceResultEvent(context->customData, SERVICE_CALL_RESULT_OK, arn);
}

static STATUS describe(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    static const StreamDescription active = {
        .version = 1, .streamStatus = STREAM_STATUS_ACTIVE, .retention = HOUR, .streamArn = "arn"
    };
    StreamDescription description = active;
    struct lane *lane = lane_of(name);
    (void)custom;
    if (atomic_fetch_add(&lane->inside, 1) != 0) atomic_fetch_add(&lane->overlaps, 1);
    STATUS status = describeStreamResultEvent(context->customData, SERVICE_CALL_RESULT_OK, &description);
    atomic_fetch_sub(&lane->inside, 1);
    (void)status;
    return STATUS_SUCCESS;
}

static STATUS no_create(UINT64 custom, PCHAR a, PCHAR b, PCHAR c, PCHAR d, UINT64 e, PServiceCallContext context)
{
    (void)custom, (void)a, (void)b, (void)c, (void)d, (void)e, (void)context;
    return STATUS_NOT_IMPLEMENTED;
}

static STATUS endpoint(UINT64 custom, PCHAR name, PCHAR api, PServiceCallContext context)
{
    (void)custom, (void)name;
    (void)getStreamingEndpointResultEvent(context->customData, SERVICE_CALL_RESULT_OK, api);
    return STATUS_SUCCESS;
}

static STATUS token(UINT64 custom, PCHAR name, STREAM_ACCESS_MODE mode, PServiceCallContext context)
{
    static BYTE bytes[] = "t";
    (void)custom, (void)name, (void)mode;
    (void)getStreamingTokenResultEvent(context->customData, SERVICE_CALL_RESULT_OK, bytes, 1, UINT64_MAX - 1);
    return STATUS_SUCCESS;
}

static STATUS put_stream(UINT64 custom, PCHAR name, PCHAR a, UINT64 b, BOOL c, BOOL d, PCHAR e,
                         PServiceCallContext context)
{
    (void)custom, (void)a, (void)b, (void)c, (void)d, (void)e;
    struct lane *lane = lane_of(name);
    UINT64 upload = atomic_fetch_add(&lane->next_upload, 1);
    atomic_store(&lane->upload, upload);
    (void)putStreamResultEvent(context->customData, SERVICE_CALL_RESULT_OK, upload);
    return STATUS_SUCCESS;
}

static STATUS data(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload, UINT64 duration, UINT64 size)
{
    (void)custom, (void)stream, (void)upload, (void)duration, (void)size;
    struct lane *lane = lane_of(name);
    if (atomic_fetch_add(&lane->inside, 1) != 0) atomic_fetch_add(&lane->overlaps, 1);
    atomic_fetch_sub(&lane->inside, 1);
    return STATUS_SUCCESS;
}

static STATUS security_token(UINT64 custom, PBYTE *bytes, PUINT32 size, PUINT64 expiration)
{
    static BYTE secret[] = "s";
    (void)custom;
    *bytes = secret;
    *size = 1;
    *expiration = INVALID_TIMESTAMP_VALUE;
    return STATUS_SUCCESS;
}

static void *produce(void *argument)
{
    struct lane *lane = argument;
    static BYTE bytes[3000];
    Frame frame;
    memset(&frame, 0, sizeof frame);
    frame.frameData = bytes;
    frame.size = sizeof bytes;
    frame.trackId = 1;
    frame.duration = 40 * MS;
    for (int i = 0; i < ROUNDS; i++) {
        frame.flags = i % 5 == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE;
        frame.decodingTs = frame.presentationTs = lane->pts += 40 * MS;
        STATUS status = putKinesisVideoFrame(lane->stream, &frame);
        if (STATUS_FAILED(status)) atomic_fetch_add(&faults, 1); /* CHECK counts for one thread only */
    }
    return NULL;
}

static void *read_all(void *unused)
{
    BYTE buffer[4096];
    UINT32 filled = 0;
    (void)unused;
    while (!atomic_load(&stops)) {
        for (int i = 0; i < STREAMS; i++) {
            UINT64 upload = atomic_load(&lanes[i].upload);
            (void)getKinesisVideoStreamData(lanes[i].stream, upload, buffer, sizeof buffer, &filled);
        }
    }
    return NULL;
}

static void *disturb(void *unused)
{
    char ack[] = "{\"EventType\":\"PERSISTED\",\"FragmentTimecode\":16000000040}";
    StreamMetrics metrics;
    ClientMetrics client_metrics;
    (void)unused;
    metrics.version = STREAM_METRICS_CURRENT_VERSION;
    client_metrics.version = CLIENT_METRICS_CURRENT_VERSION;
    for (int n = 0; !atomic_load(&stops); n++) {
        struct lane *lane = &lanes[n % STREAMS];
        UINT64 upload = atomic_load(&lane->upload);
        (void)kinesisVideoStreamParseFragmentAck(lane->stream, upload, ack, 0);
        if (n % 7 == 0)
            (void)kinesisVideoStreamTerminated(lane->stream, upload, SERVICE_CALL_NETWORK_CONNECTION_TIMEOUT);
        if (n % 31 == 0) (void)kinesisVideoStreamResetStream(lane->stream);
        (void)getKinesisVideoStreamMetrics(lane->stream, &metrics);
        (void)getKinesisVideoMetrics(client, &client_metrics);
        (void)kvsPoke(client);
    }
    return NULL;
}

static StreamInfo info_of(int lane)
{
    static TrackInfo track = { .trackId = 1, .trackType = MKV_TRACK_INFO_TYPE_VIDEO };
    StreamInfo stream = { .version = STREAM_INFO_CURRENT_VERSION, .retention = HOUR };
    stream.streamCaps = (StreamCaps){ .keyFrameFragmentation = TRUE,
                                      .frameTimecodes = TRUE,
                                      .absoluteFragmentTimes = TRUE,
                                      .fragmentAcks = TRUE,
                                      .recoverOnError = TRUE,
                                      .bufferDuration = 60 * SECOND,
                                      .frameRate = 100,
                                      .trackInfoList = &track,
                                      .trackInfoCount = 1,
                                      .storePressurePolicy = CONTENT_STORE_PRESSURE_POLICY_DROP_TAIL_ITEM };
    stream.name[0] = (char)('0' + lane);
    return stream;
}

static void *come_and_go(void *made)
{
    STATUS status = STATUS_SUCCESS;
    StreamInfo stream = info_of(STREAMS);
    while (status != STATUS_NULL_ARG) { /* until the client is freed */
        STREAM_HANDLE handle = INVALID_STREAM_HANDLE_VALUE;
        status = createKinesisVideoStream(client, &stream, &handle);
        if (STATUS_SUCCEEDED(status)) atomic_fetch_add((atomic_int *)made, 1);
        else if (status != STATUS_NULL_ARG && status != STATUS_CLIENT_SHUTTING_DOWN &&
                 status != STATUS_STREAM_SHUTTING_DOWN)
            atomic_fetch_add(&faults, 1);
        if (STATUS_FAILED(freeKinesisVideoStream(&handle))) atomic_fetch_add(&faults, 1);
    }
    return NULL;
}

static void open_all(void)
{
    static DeviceInfo info = { .version = 1, .streamCount = STREAMS + 1 };
    ClientCallbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.getSecurityTokenFn = security_token;
    callbacks.createDeviceFn = device;
    callbacks.describeStreamFn = describe;
    callbacks.createStreamFn = no_create;
    callbacks.getStreamingEndpointFn = endpoint;
    callbacks.getStreamingTokenFn = token;
    callbacks.putStreamFn = put_stream;
    callbacks.streamDataAvailableFn = data;
    info.storageInfo.storageSize = 32 * 1024 * 1024;
    CHECK_EQ(createKinesisVideoClientSync(&info, &callbacks, &client), STATUS_SUCCESS);
    for (int i = 0; i < STREAMS; i++) {
        StreamInfo stream = info_of(i);
        lanes[i].pts = START_TIME;
        atomic_store(&lanes[i].next_upload, 1);
        CHECK_EQ(createKinesisVideoStreamSync(client, &stream, &lanes[i].stream), STATUS_SUCCESS);
    }
}

static void *free_stream(void *argument)
{
    STREAM_HANDLE stream = ((struct lane *)argument)->stream;
    if (STATUS_FAILED(freeKinesisVideoStream(&stream))) atomic_fetch_add(&faults, 1);
    return NULL;
}

int main(void)
{
    pthread_t producers[STREAMS], readers[2], disturber, freers[2], maker;
    atomic_int made = 0;
    open_all();
    CHECK_EQ(pthread_create(&disturber, NULL, disturb, NULL), 0);
    CHECK_EQ(pthread_create(&maker, NULL, come_and_go, &made), 0);
    for (int i = 0; i < 2; i++) CHECK_EQ(pthread_create(&readers[i], NULL, read_all, NULL), 0);
    for (int i = 0; i < STREAMS; i++) CHECK_EQ(pthread_create(&producers[i], NULL, produce, &lanes[i]), 0);
    for (int i = 0; i < STREAMS; i++) pthread_join(producers[i], NULL);
    /* Freed under the hands of the readers, twice at once. */
    for (int i = 0; i < 2; i++) CHECK_EQ(pthread_create(&freers[i], NULL, free_stream, &lanes[0]), 0);
    for (int i = 0; i < 2; i++) pthread_join(freers[i], NULL);
    CLIENT_HANDLE handle = client;
    CHECK_EQ(freeKinesisVideoClient(&handle), STATUS_SUCCESS);
    atomic_store(&stops, 1);
    pthread_join(maker, NULL);
    pthread_join(disturber, NULL);
    for (int i = 0; i < 2; i++) pthread_join(readers[i], NULL);
    for (int i = 0; i < STREAMS; i++) CHECK_EQ(atomic_load(&lanes[i].overlaps), 0);
    CHECK_EQ(atomic_load(&faults), 0);
    CHECK(atomic_load(&made) > 0);
    CHECK_EQ(kvsPoke(client), STATUS_NULL_ARG);
    return CHECK_DONE();
}

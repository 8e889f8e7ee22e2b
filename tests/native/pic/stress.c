/* stress.c — eight cameras on one client for a given time: a putter for each, two network threads that answer,
 * read, acknowledge and fail, tokens that run out, resets of streams and connections, stops, and streams that are freed
 * by their owners and inside callbacks. Goal: under the sanitizers nothing is touched that is not there any more, every
 * call comes back with a status that it may have, and at the end everything is given back.
 *   Usage  stress [SECONDS [SEED]]      default: 2 1. Exit status 0: every check held.
 * The clock runs twenty times as fast as the wall's, so that a token of 31 s lasts a second and a half. */
#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE 1 /* with -std=c11 the system headers hide POSIX */
#endif
#include <stdatomic.h>
#include <time.h>

#include "fixture.h"

enum { STREAMS = 8, UPLOADS = 128, JOBS = 1024, SPEED = 20 };

struct lane {
    _Atomic UINT64 stream; /* 0: to be made */
    char name[16];
    unsigned seed;
    UINT64 pts;
};

struct job {
    enum call_kind kind;
    UINT64 custom;
};

struct session {
    pthread_mutex_t lock; /* one thread reads at a time */
    atomic_int is_used;
    UINT64 stream, upload, open_tc, next_tc;
    UINT32 matched; /* bytes of a cluster header seen */
    int has_open;
};

static struct lane lanes[STREAMS];
static struct job jobs[JOBS];
static UINT32 job_first, job_count;
static pthread_mutex_t job_lock = PTHREAD_MUTEX_INITIALIZER;
static struct session sessions[UPLOADS];
static _Atomic UINT64 uploads_made;
static CLIENT_HANDLE client;
static atomic_int is_over, is_done, faults, frees_inside, resets, rotations, persisted, shut, lost_jobs;

static unsigned roll(unsigned *seed, unsigned below)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (unsigned)((UINT64)(*seed >> 8) * below >> 24);
}

static UINT64 mono_hns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (UINT64)now.tv_sec * SECOND + (UINT64)now.tv_nsec / 100;
}

static UINT64 fast_now(UINT64 custom)
{
    static _Atomic UINT64 begun;
    UINT64 none = 0, now = mono_hns();
    (void)custom;
    atomic_compare_exchange_strong(&begun, &none, now);
    return START_TIME + (now - atomic_load(&begun)) * SPEED;
}

static void rest(long nanoseconds)
{
    struct timespec pause = { 0, nanoseconds };
    (void)nanosleep(&pause, NULL);
}

static void allow(STATUS status, const STATUS *allowed, int count)
{
    int is_allowed = STATUS_SUCCEEDED(status);
    for (int i = 0; i < count; i++) is_allowed |= status == allowed[i];
    if (is_allowed) return;
    if (atomic_fetch_add(&faults, 1) < 10) fprintf(stderr, "a status that may not be: 0x%08x\n", (unsigned)status);
}
#define ALLOW(call, ...)                                                                                               \
    allow((call), (const STATUS[]){ __VA_ARGS__ }, (int)(sizeof(STATUS[]){ __VA_ARGS__ } / sizeof(STATUS)))

/* ---- callbacks: they leave jobs to the network threads ----------------------------------------------------------- */

static STATUS leave_job(enum call_kind kind, PServiceCallContext context)
{
    pthread_mutex_lock(&job_lock);
    if (job_count < JOBS) jobs[(job_first + job_count++) % JOBS] = (struct job){ kind, context->customData };
    else atomic_fetch_add(&lost_jobs, 1);
    pthread_mutex_unlock(&job_lock);
    return STATUS_SUCCESS;
}

static STATUS on_device(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    static char arn[] = "arn";
    (void)custom, (void)name;
    return createDeviceResultEvent(context->customData, SERVICE_CALL_RESULT_OK, arn);
}

static STATUS on_describe(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    (void)custom, (void)name;
    return leave_job(DESCRIBE, context);
}

static STATUS no_create(UINT64 custom, PCHAR a, PCHAR b, PCHAR c, PCHAR d, UINT64 e, PServiceCallContext context)
{
    (void)custom, (void)a, (void)b, (void)c, (void)d, (void)e, (void)context;
    return STATUS_NOT_IMPLEMENTED;
}

static STATUS on_endpoint(UINT64 custom, PCHAR name, PCHAR api, PServiceCallContext context)
{
    (void)custom, (void)name, (void)api;
    return leave_job(ENDPOINT, context);
}

static STATUS on_token(UINT64 custom, PCHAR name, STREAM_ACCESS_MODE mode, PServiceCallContext context)
{
    (void)custom, (void)name, (void)mode;
    atomic_fetch_add(&rotations, 1);
    return leave_job(TOKEN, context);
}

static STATUS put_stream(UINT64 custom, PCHAR name, PCHAR a, UINT64 b, BOOL c, BOOL d, PCHAR e,
                         PServiceCallContext context)
{
    (void)custom, (void)name, (void)a, (void)b, (void)c, (void)d, (void)e;
    return leave_job(PUT, context);
}

static STATUS security_token(UINT64 custom, PBYTE *bytes, PUINT32 size, PUINT64 expiration)
{
    static BYTE secret[] = "s";
    *bytes = secret;
    *size = 1;
    *expiration = fast_now(custom) + 60 * SECOND;
    return STATUS_SUCCESS;
}

/* Now and then a stream is freed by the callback that speaks of it. */
static void free_inside(STREAM_HANDLE stream)
{
    static atomic_uint calls;
    if (atomic_fetch_add(&calls, 1) % 5000 != 4999) return;
    for (int i = 0; i < STREAMS; i++) {
        UINT64 mine = stream;
        if (!atomic_compare_exchange_strong(&lanes[i].stream, &mine, 0)) continue;
        ALLOW(freeKinesisVideoStream(&stream), STATUS_NULL_ARG);
        atomic_fetch_add(&frees_inside, 1);
        return;
    }
}

static STATUS on_data(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload, UINT64 duration,
                      UINT64 size)
{
    (void)custom, (void)name, (void)upload, (void)duration, (void)size;
    free_inside(stream);
    return STATUS_SUCCESS;
}

static STATUS on_ack(UINT64 custom, STREAM_HANDLE stream, UPLOAD_HANDLE upload, PFragmentAck ack)
{
    (void)custom, (void)upload;
    if (ack->ackType == FRAGMENT_ACK_TYPE_PERSISTED) atomic_fetch_add(&persisted, 1);
    free_inside(stream);
    return STATUS_SUCCESS;
}

static STATUS on_client_shutdown(UINT64 custom, CLIENT_HANDLE handle)
{
    (void)custom, (void)handle;
    atomic_fetch_add(&shut, 1);
    return STATUS_SUCCESS;
}

/* ---- the network ------------------------------------------------------------------------------------------------- */

static const STATUS ANSWERS[] = { STATUS_NULL_ARG, STATUS_INVALID_STREAM_STATE, STATUS_DESCRIBE_STREAM_CALL_FAILED,
                                  STATUS_GET_STREAMING_ENDPOINT_CALL_FAILED, STATUS_GET_STREAMING_TOKEN_CALL_FAILED,
                                  STATUS_PUT_STREAM_CALL_FAILED };
#define ANSWER(call) allow((call), ANSWERS, (int)(sizeof ANSWERS / sizeof ANSWERS[0]))

static void connect_upload(UINT64 stream, UINT64 upload)
{
    for (int i = 0; i < UPLOADS; i++) {
        int unused = 0;
        struct session *session = &sessions[i];
        pthread_mutex_lock(&session->lock);
        if (atomic_compare_exchange_strong(&session->is_used, &unused, 1)) {
            session->stream = stream;
            session->upload = upload;
            session->matched = 0;
            session->has_open = 0;
            pthread_mutex_unlock(&session->lock);
            return;
        }
        pthread_mutex_unlock(&session->lock);
    }
}

static void answer(const struct job *job, unsigned *seed)
{
    static char endpoint[] = "https://localhost";
    static BYTE token[] = "t";
    StreamDescription description = { .version = 1, .streamStatus = STREAM_STATUS_ACTIVE, .retention = HOUR };
    SERVICE_CALL_RESULT result = roll(seed, 20) == 0 ? SERVICE_CALL_UNKNOWN : SERVICE_CALL_RESULT_OK;
    int is_ok = result == SERVICE_CALL_RESULT_OK;
    UINT64 upload = atomic_fetch_add(&uploads_made, 1) + 1;
    switch (job->kind) {
    case DESCRIBE: ANSWER(describeStreamResultEvent(job->custom, result, is_ok ? &description : NULL)); break;
    case ENDPOINT: ANSWER(getStreamingEndpointResultEvent(job->custom, result, endpoint)); break;
    case TOKEN:
        ANSWER(getStreamingTokenResultEvent(job->custom, result, token, sizeof token, fast_now(0) + 31 * SECOND));
        break;
    default:
        if (is_ok) connect_upload(job->custom, upload);
        ANSWER(putStreamResultEvent(job->custom, result, is_ok ? upload : NO_UPLOAD));
    }
}

static void acknowledge(const struct session *session, unsigned *seed)
{
    char text[128];
    int is_error = roll(seed, 200) == 0;
    snprintf(text, sizeof text, "{\"EventType\":\"%s\",\"FragmentTimecode\":%llu,\"FragmentNumber\":\"1\"%s}",
             is_error ? "ERROR" : "PERSISTED", (unsigned long long)session->open_tc,
             is_error ? ",\"ErrorId\":5000" : "");
    ALLOW(kinesisVideoStreamParseFragmentAck(session->stream, session->upload, text, 0), STATUS_NULL_ARG);
}

/* Finds the heads of clusters: 1F 43 B6 75, a size of one byte, E7 88, the time. Payloads hold no such bytes. */
static void scan(struct session *session, const BYTE *bytes, UINT32 size, unsigned *seed)
{
    static const BYTE head[] = { 0x1F, 0x43, 0xB6, 0x75 };
    for (UINT32 i = 0; i < size; i++) {
        if (session->matched < 4) {
            session->matched = bytes[i] == head[session->matched] ? session->matched + 1 : bytes[i] == head[0];
            continue;
        }
        if (++session->matched == 8) session->next_tc = 0;
        if (session->matched >= 8) session->next_tc = session->next_tc << 8 | bytes[i];
        if (session->matched < 15) continue;
        if (session->has_open) acknowledge(session, seed);
        session->open_tc = session->next_tc;
        session->has_open = 1;
        session->matched = 0;
    }
}

static void serve(struct session *session, unsigned *seed)
{
    static _Thread_local BYTE buffer[32768];
    UINT32 filled = 0;
    STATUS status = getKinesisVideoStreamData(session->stream, session->upload, buffer, sizeof buffer, &filled);
    ALLOW(status, STATUS_NULL_ARG, STATUS_NO_MORE_DATA_AVAILABLE, STATUS_AWAITING_PERSISTED_ACK, STATUS_END_OF_STREAM,
          STATUS_UPLOAD_HANDLE_ABORTED);
    scan(session, buffer, filled, seed);
    if (status == STATUS_AWAITING_PERSISTED_ACK && session->has_open) acknowledge(session, seed);
    int is_gone = status == STATUS_NULL_ARG || status == STATUS_END_OF_STREAM || status == STATUS_UPLOAD_HANDLE_ABORTED;
    if (!is_gone && roll(seed, 3000) == 0) {
        ALLOW(kinesisVideoStreamTerminated(session->stream, session->upload, SERVICE_CALL_NETWORK_READ_TIMEOUT),
              STATUS_NULL_ARG);
        is_gone = 1;
    }
    if (is_gone) atomic_store(&session->is_used, 0);
}

static int take_job(struct job *out)
{
    pthread_mutex_lock(&job_lock);
    int has_job = job_count != 0;
    if (has_job) {
        *out = jobs[job_first];
        job_first = (job_first + 1) % JOBS;
        job_count--;
    }
    pthread_mutex_unlock(&job_lock);
    return has_job;
}

static void *network(void *argument)
{
    unsigned seed = *(unsigned *)argument;
    struct job job;
    while (!atomic_load(&is_done)) {
        while (take_job(&job)) answer(&job, &seed);
        for (int i = 0; i < UPLOADS; i++) {
            if (!atomic_load(&sessions[i].is_used) || pthread_mutex_trylock(&sessions[i].lock) != 0) continue;
            if (atomic_load(&sessions[i].is_used)) serve(&sessions[i], &seed);
            pthread_mutex_unlock(&sessions[i].lock);
        }
        rest(200000);
    }
    return NULL;
}

/* ---- the cameras ------------------------------------------------------------------------------------------------- */

static void make_stream(struct lane *lane)
{
    struct fixture f;
    STREAM_HANDLE stream = 0;
    fixture_init(&f);
    memcpy(f.info.name, lane->name, sizeof lane->name);
    f.info.streamCaps.maxLatency = 5 * SECOND;
    f.info.streamCaps.connectionStalenessDuration = 10 * SECOND;
    f.info.streamCaps.storePressurePolicy = CONTENT_STORE_PRESSURE_POLICY_DROP_TAIL_ITEM;
    STATUS status = createKinesisVideoStream(client, &f.info, &stream); /* the name is free once the old one is gone */
    ALLOW(status, STATUS_DUPLICATE_STREAM_NAME, STATUS_STREAM_SHUTTING_DOWN);
    if (STATUS_SUCCEEDED(status)) atomic_store(&lane->stream, stream);
}

static void disturb(struct lane *lane, STREAM_HANDLE stream)
{
    char name[] = "mood", value[] = "sunny";
    StreamMetrics metrics = { .version = STREAM_METRICS_CURRENT_VERSION };
    UINT64 mine = stream;
    switch (roll(&lane->seed, 3000)) {
    case 0: ALLOW(kinesisVideoStreamResetStream(stream), STATUS_NULL_ARG); break;
    case 1: ALLOW(kinesisVideoStreamResetConnection(stream), STATUS_NULL_ARG); break;
    case 2:
        ALLOW(stopKinesisVideoStream(stream), STATUS_NULL_ARG);
        ALLOW(kinesisVideoStreamResetStream(stream), STATUS_NULL_ARG);
        break;
    case 3:
        if (atomic_compare_exchange_strong(&lane->stream, &mine, 0))
            ALLOW(freeKinesisVideoStream(&stream), STATUS_NULL_ARG);
        return;
    case 4: ALLOW(getKinesisVideoStreamMetrics(stream, &metrics), STATUS_NULL_ARG); return;
    case 5:
        ALLOW(putKinesisVideoFragmentMetadata(stream, name, value, FALSE), STATUS_NULL_ARG, STATUS_INVALID_STREAM_STATE,
              STATUS_MAX_FRAGMENT_METADATA_COUNT, STATUS_STREAM_HAS_BEEN_STOPPED);
        return;
    default: return;
    }
    atomic_fetch_add(&resets, 1);
}

static void *produce(void *argument)
{
    static const BYTE bytes[20000];
    struct lane *lane = argument;
    Frame frame = { .trackId = 1, .duration = 40 * MS };
    for (UINT32 i = 0; !atomic_load(&is_over); i++) {
        STREAM_HANDLE stream = atomic_load(&lane->stream);
        if (stream == 0) {
            make_stream(lane);
            rest(100000);
            continue;
        }
        frame.flags = i % 10 == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE;
        frame.size = 100 + roll(&lane->seed, 19000);
        frame.frameData = (PBYTE)(uintptr_t)bytes;
        frame.decodingTs = frame.presentationTs = lane->pts += 40 * MS;
        ALLOW(putKinesisVideoFrame(stream, &frame), STATUS_NULL_ARG, STATUS_STREAM_HAS_BEEN_STOPPED);
        disturb(lane, stream);
        rest(300000);
    }
    return NULL;
}

static void set_callbacks(struct fixture *f)
{
    ClientCallbacks *c = &f->callbacks;
    memset(c, 0, sizeof *c);
    c->getCurrentTimeFn = fast_now;
    c->getSecurityTokenFn = security_token;
    c->createDeviceFn = on_device;
    c->describeStreamFn = on_describe;
    c->createStreamFn = no_create;
    c->getStreamingEndpointFn = on_endpoint;
    c->getStreamingTokenFn = on_token;
    c->putStreamFn = put_stream;
    c->streamDataAvailableFn = on_data;
    c->fragmentAckReceivedFn = on_ack;
    c->clientShutdownFn = on_client_shutdown;
}

int main(int count, char **arguments)
{
    struct fixture f;
    pthread_t putters[STREAMS], readers[2];
    int seconds = count > 1 ? atoi(arguments[1]) : 2;
    unsigned seed = count > 2 ? (unsigned)atoi(arguments[2]) : 1, seeds[2] = { seed * 7 + 1, seed * 7 + 2 };
    fixture_init(&f);
    set_callbacks(&f);
    f.device.storageInfo.storageSize = UINT64_C(24) << 20;
    for (int i = 0; i < UPLOADS; i++) pthread_mutex_init(&sessions[i].lock, NULL);
    fixture_client(&f);
    client = f.client;
    for (int i = 0; i < 2; i++) CHECK_EQ(pthread_create(&readers[i], NULL, network, &seeds[i]), 0);
    for (int i = 0; i < STREAMS; i++) {
        lanes[i].seed = seed * 100 + (unsigned)i;
        lanes[i].pts = START_TIME;
        snprintf(lanes[i].name, sizeof lanes[i].name, "cam%d", i);
        CHECK_EQ(pthread_create(&putters[i], NULL, produce, &lanes[i]), 0);
    }
    for (int i = 0; i < seconds * 10; i++) {
        rest(100000000);
        ALLOW(kvsPoke(client), STATUS_NULL_ARG);
    }
    atomic_store(&is_over, 1);
    for (int i = 0; i < STREAMS; i++) pthread_join(putters[i], NULL);
    for (int i = 0; i < STREAMS; i++) {
        STREAM_HANDLE stream = atomic_load(&lanes[i].stream);
        if (stream != 0) ALLOW(stopKinesisVideoStreamSync(stream), STATUS_NULL_ARG, STATUS_OPERATION_TIMED_OUT);
    }
    fixture_free(&f); /* while the network threads are still at it */
    atomic_store(&is_done, 1);
    for (int i = 0; i < 2; i++) pthread_join(readers[i], NULL);
    for (int i = 0; i < UPLOADS; i++) pthread_mutex_destroy(&sessions[i].lock);
    printf("%d s: %d fragments persisted, %d tokens, %d resets, %d streams freed inside a callback\n", seconds,
           atomic_load(&persisted), atomic_load(&rotations), atomic_load(&resets), atomic_load(&frees_inside));
    CHECK_EQ(atomic_load(&faults), 0);
    CHECK_EQ(atomic_load(&lost_jobs), 0);
    CHECK_EQ(atomic_load(&shut), 1);
    CHECK(atomic_load(&persisted) > 0);
    if (seconds >= 10) {
        CHECK(atomic_load(&rotations) > 5 * STREAMS);
        CHECK(atomic_load(&resets) > 0);
        CHECK(atomic_load(&frees_inside) > 0);
    }
    return CHECK_DONE();
}

/* camera.c — a camera over pic.h: an encoder thread puts frames, a network thread does what the library asks for.
 *
 * The service is a few lines in memory: it answers each call, takes the bytes of PutMedia, and acknowledges each
 * fragment when the next one begins. A real program sends the same requests to Amazon Kinesis Video Streams. No
 * callback does more than note what is wanted: the network thread answers. Builds as C11 and as C++17. Prints the
 * ledger at the end: every frame put is delivered, dropped or skipped; exit status 0 when all were delivered. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pic.h"

#define FRAMES 250
#define FRAMES_PER_FRAGMENT 25
#define FRAME_TIME (40 * HUNDREDS_OF_NANOS_IN_A_MILLISECOND)
#define JOBS_MAX 64
#define UPLOAD 1
#define CLUSTER_HEAD 15 /* of a Matroska Cluster: id, unknown size, Timestamp with eight bytes */

enum job_kind { JOB_DEVICE, JOB_DESCRIBE, JOB_ENDPOINT, JOB_TOKEN, JOB_PUT, JOB_READ, JOB_QUIT };

struct job {
    enum job_kind kind;
    UINT64 custom; /* of the request; for JOB_READ the stream */
};

struct camera {
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    struct job jobs[JOBS_MAX];
    unsigned first, count;
    CLIENT_HANDLE client;
    STREAM_HANDLE stream;
    BYTE tail[CLUSTER_HEAD]; /* the last bytes taken: a cluster's head may be cut by the end of a buffer */
    UINT64 open_fragment;    /* time of the fragment that is being taken, ms */
    int has_open, fragments;
    STATUS failure;
};

static BYTE no_secret[] = "token";
static char endpoint[] = "memory:";

/* ---- what the library asks for, noted -------------------------------------------------------------------------- */

static struct camera *camera_of(UINT64 custom) { return (struct camera *)(uintptr_t)custom; }

static STATUS note(UINT64 custom, enum job_kind kind, UINT64 what)
{
    struct camera *camera = camera_of(custom);
    STATUS status = STATUS_SUCCESS;
    pthread_mutex_lock(&camera->lock);
    if (camera->count == JOBS_MAX) {
        status = STATUS_NOT_ENOUGH_MEMORY;
    } else {
        struct job *job = &camera->jobs[(camera->first + camera->count++) % JOBS_MAX];
        job->kind = kind;
        job->custom = what;
    }
    pthread_cond_signal(&camera->wanted);
    pthread_mutex_unlock(&camera->lock);
    return status;
}

static STATUS security_token(UINT64 custom, PBYTE *bytes, PUINT32 size, PUINT64 expiration)
{
    (void)custom;
    *bytes = no_secret;
    *size = (UINT32)sizeof no_secret;
    *expiration = INVALID_TIMESTAMP_VALUE; /* never */
    return STATUS_SUCCESS;
}

static STATUS create_device(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    (void)name;
    return note(custom, JOB_DEVICE, context->customData);
}

static STATUS describe_stream(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    (void)name;
    return note(custom, JOB_DESCRIBE, context->customData);
}

static STATUS create_stream(UINT64 custom, PCHAR device, PCHAR name, PCHAR type, PCHAR key, UINT64 retention,
                            PServiceCallContext context)
{
    (void)custom, (void)device, (void)name, (void)type, (void)key, (void)retention, (void)context;
    return STATUS_NOT_IMPLEMENTED; /* this service has every stream */
}

static STATUS find_endpoint(UINT64 custom, PCHAR name, PCHAR api, PServiceCallContext context)
{
    (void)name, (void)api;
    return note(custom, JOB_ENDPOINT, context->customData);
}

static STATUS find_token(UINT64 custom, PCHAR name, STREAM_ACCESS_MODE mode, PServiceCallContext context)
{
    (void)name, (void)mode;
    return note(custom, JOB_TOKEN, context->customData);
}

static STATUS put_stream(UINT64 custom, PCHAR name, PCHAR container, UINT64 start, BOOL is_absolute, BOOL wants_acks,
                         PCHAR where, PServiceCallContext context)
{
    (void)name, (void)container, (void)start, (void)is_absolute, (void)wants_acks, (void)where;
    return note(custom, JOB_PUT, context->customData);
}

static STATUS data_available(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload, UINT64 duration,
                             UINT64 size)
{
    struct camera *camera = camera_of(custom);
    (void)name, (void)upload, (void)duration, (void)size;
    pthread_mutex_lock(&camera->lock);
    struct job *last = camera->count == 0 ? NULL : &camera->jobs[(camera->first + camera->count - 1) % JOBS_MAX];
    int is_noted = last != NULL && last->kind == JOB_READ;
    pthread_mutex_unlock(&camera->lock);
    return is_noted ? STATUS_SUCCESS : note(custom, JOB_READ, stream);
}

static STATUS error_report(UINT64 custom, STREAM_HANDLE stream, UPLOAD_HANDLE upload, UINT64 time, STATUS status)
{
    (void)stream, (void)upload, (void)time;
    camera_of(custom)->failure = status;
    return STATUS_SUCCESS;
}

/* ---- the service, in memory ------------------------------------------------------------------------------------ */

static void acknowledge(struct camera *camera, STREAM_HANDLE stream, const char *type)
{
    char text[160];
    snprintf(text, sizeof text, "{\"EventType\":\"%s\",\"FragmentTimecode\":%llu,\"FragmentNumber\":\"%d\"}", type,
             (unsigned long long)camera->open_fragment, camera->fragments);
    kinesisVideoStreamParseFragmentAck(stream, UPLOAD, text, 0);
}

static void end_fragment(struct camera *camera, STREAM_HANDLE stream)
{
    if (!camera->has_open) return;
    acknowledge(camera, stream, "RECEIVED");
    acknowledge(camera, stream, "PERSISTED");
    camera->has_open = 0;
}

static int is_cluster(const BYTE *at) { return at[0] == 0x1F && at[1] == 0x43 && at[2] == 0xB6 && at[3] == 0x75; }

static void take_byte(struct camera *camera, STREAM_HANDLE stream, BYTE byte)
{
    memmove(camera->tail, camera->tail + 1, CLUSTER_HEAD - 1);
    camera->tail[CLUSTER_HEAD - 1] = byte;
    if (!is_cluster(camera->tail)) return;
    end_fragment(camera, stream);
    camera->open_fragment = 0;
    for (int i = CLUSTER_HEAD - 8; i < CLUSTER_HEAD; i++)
        camera->open_fragment = camera->open_fragment << 8 | camera->tail[i];
    camera->has_open = 1;
    camera->fragments++;
    acknowledge(camera, stream, "BUFFERING");
}

/* Reads until there is no more for now; then all that came is taken. */
static void read_upload(struct camera *camera, STREAM_HANDLE stream)
{
    static BYTE buffer[8192];
    UINT32 filled = 0;
    STATUS status = STATUS_SUCCESS;
    while (status == STATUS_SUCCESS) {
        status = getKinesisVideoStreamData(stream, UPLOAD, buffer, (UINT32)sizeof buffer, &filled);
        for (UINT32 i = 0; i < filled; i++) take_byte(camera, stream, buffer[i]);
    }
    if (status == STATUS_AWAITING_PERSISTED_ACK) end_fragment(camera, stream);
}

static void describe(UINT64 custom)
{
    StreamDescription *description = (StreamDescription *)calloc(1, sizeof *description);
    if (description == NULL) return;
    description->version = STREAM_DESCRIPTION_CURRENT_VERSION;
    description->streamStatus = STREAM_STATUS_ACTIVE;
    description->retention = HUNDREDS_OF_NANOS_IN_AN_HOUR;
    strcpy(description->streamArn, "arn:aws:kinesisvideo:memory");
    describeStreamResultEvent(custom, SERVICE_CALL_RESULT_OK, description);
    free(description);
}

static void do_job(struct camera *camera, struct job job)
{
    switch (job.kind) {
    case JOB_DEVICE: createDeviceResultEvent(job.custom, SERVICE_CALL_RESULT_OK, endpoint); break;
    case JOB_DESCRIBE: describe(job.custom); break;
    case JOB_ENDPOINT: getStreamingEndpointResultEvent(job.custom, SERVICE_CALL_RESULT_OK, endpoint); break;
    case JOB_TOKEN:
        getStreamingTokenResultEvent(job.custom, SERVICE_CALL_RESULT_OK, no_secret, (UINT32)sizeof no_secret,
                                     UINT64_MAX - 1);
        break;
    case JOB_PUT: putStreamResultEvent(job.custom, SERVICE_CALL_RESULT_OK, UPLOAD); break;
    case JOB_READ: read_upload(camera, job.custom); break;
    default: break;
    }
}

static void *network_thread(void *argument)
{
    struct camera *camera = (struct camera *)argument;
    struct job job;
    do {
        pthread_mutex_lock(&camera->lock);
        while (camera->count == 0) pthread_cond_wait(&camera->wanted, &camera->lock);
        job = camera->jobs[camera->first];
        camera->first = (camera->first + 1) % JOBS_MAX;
        camera->count--;
        pthread_mutex_unlock(&camera->lock);
        do_job(camera, job);
    } while (job.kind != JOB_QUIT);
    return NULL;
}

/* ---- the camera ------------------------------------------------------------------------------------------------ */

static void *encoder_thread(void *argument)
{
    struct camera *camera = (struct camera *)argument;
    static BYTE picture[5000];
    Frame frame;
    memset(&frame, 0, sizeof frame);
    frame.frameData = picture;
    frame.size = (UINT32)sizeof picture;
    frame.duration = FRAME_TIME;
    frame.trackId = 1;
    for (UINT32 i = 0; i < FRAMES; i++) {
        frame.flags = i % FRAMES_PER_FRAGMENT == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE;
        frame.decodingTs = frame.presentationTs = HUNDREDS_OF_NANOS_IN_AN_HOUR + i * FRAME_TIME;
        STATUS status = putKinesisVideoFrame(camera->stream, &frame);
        if (STATUS_FAILED(status)) camera->failure = status;
    }
    return NULL;
}

static STATUS open_camera(struct camera *camera)
{
    static DeviceInfo device;
    static StreamInfo info;
    static TrackInfo track;
    ClientCallbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.customData = (UINT64)(uintptr_t)camera;
    callbacks.getSecurityTokenFn = security_token;
    callbacks.createDeviceFn = create_device;
    callbacks.describeStreamFn = describe_stream;
    callbacks.createStreamFn = create_stream;
    callbacks.getStreamingEndpointFn = find_endpoint;
    callbacks.getStreamingTokenFn = find_token;
    callbacks.putStreamFn = put_stream;
    callbacks.streamDataAvailableFn = data_available;
    callbacks.streamErrorReportFn = error_report;
    device.version = DEVICE_INFO_CURRENT_VERSION;
    device.streamCount = 1;
    device.storageInfo.storageSize = 16 * 1024 * 1024;
    device.clientInfo.version = CLIENT_INFO_CURRENT_VERSION;
    info.version = STREAM_INFO_CURRENT_VERSION;
    strcpy(info.name, "front-door");
    info.retention = HUNDREDS_OF_NANOS_IN_AN_HOUR;
    info.streamCaps.keyFrameFragmentation = info.streamCaps.frameTimecodes = info.streamCaps
                                                                                 .absoluteFragmentTimes = TRUE;
    info.streamCaps.fragmentAcks = info.streamCaps.recoverOnError = TRUE;
    info.streamCaps.bufferDuration = 120 * HUNDREDS_OF_NANOS_IN_A_SECOND;
    info.streamCaps.trackInfoList = &track;
    info.streamCaps.trackInfoCount = 1;
    track.trackId = 1;
    track.trackType = MKV_TRACK_INFO_TYPE_VIDEO;
    strcpy(track.codecId, "V_MJPEG");
    STATUS status = createKinesisVideoClientSync(&device, &callbacks, &camera->client);
    return STATUS_FAILED(status) ? status : createKinesisVideoStreamSync(camera->client, &info, &camera->stream);
}

static int print_ledger(struct camera *camera)
{
    StreamMetrics metrics;
    memset(&metrics, 0, sizeof metrics);
    metrics.version = STREAM_METRICS_CURRENT_VERSION;
    getKinesisVideoStreamMetrics(camera->stream, &metrics);
    unsigned long long lost = metrics.droppedFrames + metrics.skippedFrames;
    printf("frames put %d, delivered %llu, dropped %llu, skipped %llu; fragments persisted %llu; bytes still buffered "
           "%llu\n",
           FRAMES, (unsigned long long)FRAMES - lost, (unsigned long long)metrics.droppedFrames,
           (unsigned long long)metrics.skippedFrames, (unsigned long long)metrics.persistedAcks,
           (unsigned long long)metrics.overallViewSize);
    return lost == 0 && metrics.overallViewSize == 0 && metrics.persistedAcks == FRAMES / FRAMES_PER_FRAGMENT;
}

int main(void)
{
    static struct camera camera;
    pthread_t network, encoder;
    int is_whole = 0;
    pthread_mutex_init(&camera.lock, NULL);
    pthread_cond_init(&camera.wanted, NULL);
    if (pthread_create(&network, NULL, network_thread, &camera) != 0) return 2;
    STATUS status = open_camera(&camera);
    if (STATUS_SUCCEEDED(status) && pthread_create(&encoder, NULL, encoder_thread, &camera) == 0) {
        pthread_join(encoder, NULL);
        status = stopKinesisVideoStreamSync(camera.stream);
        is_whole = print_ledger(&camera);
    }
    if (STATUS_SUCCEEDED(status)) status = camera.failure;
    note((UINT64)(uintptr_t)&camera, JOB_QUIT, 0);
    pthread_join(network, NULL);
    freeKinesisVideoClient(&camera.client);
    pthread_cond_destroy(&camera.wanted);
    pthread_mutex_destroy(&camera.lock);
    if (STATUS_FAILED(status)) fprintf(stderr, "failed with status 0x%08x\n", (unsigned)status);
    return STATUS_FAILED(status) || !is_whole;
}

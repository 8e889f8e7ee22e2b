/* fixture.h — a program that uses pic.h, for tests: a service that answers inside the call, later, or as a test
 * wants, a clock that moves only when a test sets it, and counters of everything that was called back.
 *
 * The stream of the fixture is realtime with retention, ACKs, key-frame fragments and absolute times; tests change
 * f.info and f.device before they make the client and the stream. */
#ifndef KVS_TESTS_PIC_FIXTURE_H
#define KVS_TESTS_PIC_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pic.h"

#define MS HUNDREDS_OF_NANOS_IN_A_MILLISECOND
#define SECOND HUNDREDS_OF_NANOS_IN_A_SECOND
#define HOUR HUNDREDS_OF_NANOS_IN_AN_HOUR
#define START_TIME (UINT64_C(16000000000) * MS)
#define NO_UPLOAD INVALID_UPLOAD_HANDLE_VALUE

enum call_kind { DEVICE, CERT, DESCRIBE, CREATE, TAG, ENDPOINT, TOKEN, PUT, CALL_KINDS };

struct call_script {
    int is_silent;               /* the test answers itself */
    int fail_count;              /* so many answers are `result`, then all are OK */
    SERVICE_CALL_RESULT result;
    STATUS refuse;               /* the callback itself fails */
};

struct fixture {
    UINT64 now;
    DeviceInfo device;
    StreamInfo info;
    TrackInfo tracks[3];
    ClientCallbacks callbacks;
    CLIENT_HANDLE client;
    STREAM_HANDLE stream;
    struct call_script script[CALL_KINDS];
    int count[CALL_KINDS];
    UINT64 custom[CALL_KINDS];   /* of the last call */
    ServiceCallContext context[CALL_KINDS];
    AuthInfo auth;               /* of the last call that had any */
    STATUS answered[CALL_KINDS]; /* what the last inline answer returned */
    STREAM_STATUS stream_status;
    UINT64 retention;            /* as described */
    UINT64 token_life, streaming_token_life;
    UPLOAD_HANDLE next_upload;
    int token_count, certificate_count, fingerprint_count;
    int client_ready, stream_ready, stream_closed, stream_shutdown, stream_reset, client_shutdown;
    int error_count, ack_count, dropped_count, data_count, pressure_count, stale_count, latency_count, storage_count;
    STATUS last_error;
    UPLOAD_HANDLE error_upload, closed_upload, data_upload;
    UINT64 latency, error_time, data_duration, data_size, put_start, last_dropped, last_ack_time;
    UPLOAD_HANDLE over_upload;   /* the last that was over: notice (0, 0) */
    char text[64];
    UINT64 pts;
    int order;                   /* shutdown and drop reports are numbered in the order they come */
    int shutdown_at, first_drop_at, client_shutdown_at;
};

static inline struct fixture *fixture_of(UINT64 custom) { return (struct fixture *)(uintptr_t)custom; }

static inline UINT64 fixture_now(UINT64 custom) { return fixture_of(custom)->now; }

static inline STATUS fixture_security_token(UINT64 custom, PBYTE *bytes, PUINT32 size, PUINT64 expiration)
{
    struct fixture *f = fixture_of(custom);
    static BYTE token[] = "secret";
    f->token_count++;
    *bytes = token;
    *size = sizeof token;
    *expiration = f->token_life == INVALID_TIMESTAMP_VALUE ? f->token_life : f->now + f->token_life;
    return STATUS_SUCCESS;
}

static inline void fixture_note(struct fixture *f, enum call_kind kind, PServiceCallContext context)
{
    f->count[kind]++;
    f->custom[kind] = context->customData;
    f->context[kind] = *context;
    if (context->pAuthInfo != NULL) f->auth = *context->pAuthInfo;
}

static inline SERVICE_CALL_RESULT fixture_result(struct fixture *f, enum call_kind kind)
{
    struct call_script *script = &f->script[kind];
    if (script->fail_count <= 0) return SERVICE_CALL_RESULT_OK;
    script->fail_count--;
    return script->result;
}

static inline STATUS fixture_answer(struct fixture *f, enum call_kind kind, SERVICE_CALL_RESULT result)
{
    static char arn[] = "arn:aws:kinesisvideo:us-east-1:123456789012:stream/a/1", endpoint[] = "https://localhost";
    static BYTE token[] = "streaming";
    UINT64 custom = f->custom[kind];
    StreamDescription description;
    switch (kind) {
    case DEVICE: return createDeviceResultEvent(custom, result, arn);
    case CERT: return deviceCertToTokenResultEvent(custom, result, token, sizeof token, f->now + f->token_life);
    case DESCRIBE:
        memset(&description, 0, sizeof description);
        description.version = STREAM_DESCRIPTION_CURRENT_VERSION;
        memcpy(description.streamArn, arn, sizeof arn);
        description.streamStatus = f->stream_status;
        description.retention = f->retention;
        return describeStreamResultEvent(custom, result, result == SERVICE_CALL_RESULT_OK ? &description : NULL);
    case CREATE: return createStreamResultEvent(custom, result, arn);
    case TAG: return tagResourceResultEvent(custom, result);
    case ENDPOINT: return getStreamingEndpointResultEvent(custom, result, endpoint);
    case TOKEN:
        return getStreamingTokenResultEvent(custom, result, token, sizeof token, f->now + f->streaming_token_life);
    default:
        return putStreamResultEvent(custom, result, result == SERVICE_CALL_RESULT_OK ? f->next_upload++ : NO_UPLOAD);
    }
}

static inline STATUS fixture_called(struct fixture *f, enum call_kind kind, PServiceCallContext context)
{
    fixture_note(f, kind, context);
    if (STATUS_FAILED(f->script[kind].refuse)) return f->script[kind].refuse;
    if (!f->script[kind].is_silent) f->answered[kind] = fixture_answer(f, kind, fixture_result(f, kind));
    return STATUS_SUCCESS;
}

static inline STATUS fixture_create_device(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    CHECK(strlen(name) > 0);
    return fixture_called(fixture_of(custom), DEVICE, context);
}

static inline STATUS fixture_cert_to_token(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    (void)name;
    return fixture_called(fixture_of(custom), CERT, context);
}

static inline STATUS fixture_describe(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    CHECK(strlen(name) > 0);
    return fixture_called(fixture_of(custom), DESCRIBE, context);
}

static inline STATUS fixture_create_stream(UINT64 custom, PCHAR device, PCHAR name, PCHAR content_type, PCHAR kms,
                                           UINT64 retention, PServiceCallContext context)
{
    (void)device, (void)name, (void)content_type, (void)kms, (void)retention;
    return fixture_called(fixture_of(custom), CREATE, context);
}

static inline STATUS fixture_tag(UINT64 custom, PCHAR arn, UINT32 count, PTag tags, PServiceCallContext context)
{
    CHECK(arn != NULL && count != 0 && tags != NULL);
    return fixture_called(fixture_of(custom), TAG, context);
}

static inline STATUS fixture_endpoint(UINT64 custom, PCHAR name, PCHAR api, PServiceCallContext context)
{
    (void)name;
    CHECK_STR(api, "PUT_MEDIA");
    return fixture_called(fixture_of(custom), ENDPOINT, context);
}

static inline STATUS fixture_token(UINT64 custom, PCHAR name, STREAM_ACCESS_MODE mode, PServiceCallContext context)
{
    (void)name;
    CHECK_EQ(mode, STREAM_ACCESS_MODE_READ);
    return fixture_called(fixture_of(custom), TOKEN, context);
}

static inline STATUS fixture_put_stream(UINT64 custom, PCHAR name, PCHAR container, UINT64 start, BOOL absolute,
                                        BOOL acks, PCHAR endpoint, PServiceCallContext context)
{
    struct fixture *f = fixture_of(custom);
    (void)absolute, (void)acks;
    CHECK(strlen(name) > 0);
    CHECK_STR(container, "video/x-matroska");
    CHECK_STR(endpoint, "https://localhost");
    f->put_start = start;
    return fixture_called(f, PUT, context);
}

static inline STATUS fixture_client_ready(UINT64 custom, CLIENT_HANDLE client)
{
    (void)client;
    fixture_of(custom)->client_ready++;
    return STATUS_SUCCESS;
}

static inline STATUS fixture_stream_ready(UINT64 custom, STREAM_HANDLE stream)
{
    (void)stream;
    fixture_of(custom)->stream_ready++;
    return STATUS_SUCCESS;
}

static inline STATUS fixture_closed(UINT64 custom, STREAM_HANDLE stream, UPLOAD_HANDLE upload)
{
    (void)stream;
    fixture_of(custom)->stream_closed++;
    fixture_of(custom)->closed_upload = upload;
    return STATUS_SUCCESS;
}

static inline STATUS fixture_data(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload,
                                  UINT64 duration, UINT64 size)
{
    struct fixture *f = fixture_of(custom);
    (void)stream, (void)name;
    if (duration == 0 && size == 0) f->over_upload = upload;
    f->data_count++;
    f->data_upload = upload;
    f->data_duration = duration;
    f->data_size = size;
    return STATUS_SUCCESS;
}

static inline STATUS fixture_error(UINT64 custom, STREAM_HANDLE stream, UPLOAD_HANDLE upload, UINT64 time,
                                   STATUS status)
{
    struct fixture *f = fixture_of(custom);
    (void)stream;
    f->error_count++;
    f->error_upload = upload;
    f->error_time = time;
    f->last_error = status;
    return STATUS_SUCCESS;
}

static inline STATUS fixture_ack(UINT64 custom, STREAM_HANDLE stream, UPLOAD_HANDLE upload, PFragmentAck ack)
{
    (void)stream, (void)upload;
    fixture_of(custom)->ack_count++;
    fixture_of(custom)->last_ack_time = ack->timestamp;
    return STATUS_SUCCESS;
}

static inline STATUS fixture_dropped(UINT64 custom, STREAM_HANDLE stream, UINT64 time)
{
    struct fixture *f = fixture_of(custom);
    (void)stream;
    f->order++;
    if (f->dropped_count++ == 0) f->first_drop_at = f->order;
    f->last_dropped = time;
    return STATUS_SUCCESS;
}

static inline STATUS fixture_storage(UINT64 custom, UINT64 remaining)
{
    (void)remaining;
    fixture_of(custom)->storage_count++;
    return STATUS_SUCCESS;
}

static inline STATUS fixture_buffer(UINT64 custom, STREAM_HANDLE stream, UINT64 remaining)
{
    (void)stream, (void)remaining;
    fixture_of(custom)->pressure_count++;
    return STATUS_SUCCESS;
}

static inline STATUS fixture_latency(UINT64 custom, STREAM_HANDLE stream, UINT64 duration)
{
    (void)stream;
    if (fixture_of(custom)->latency_count++ == 0) fixture_of(custom)->latency = duration;
    return STATUS_SUCCESS;
}

static inline STATUS fixture_stale(UINT64 custom, STREAM_HANDLE stream, UINT64 gap)
{
    (void)stream, (void)gap;
    fixture_of(custom)->stale_count++;
    return STATUS_SUCCESS;
}

static inline STATUS fixture_shutdown(UINT64 custom, STREAM_HANDLE stream, BOOL is_reset)
{
    struct fixture *f = fixture_of(custom);
    (void)stream;
    f->shutdown_at = ++f->order;
    if (is_reset) f->stream_reset++;
    else f->stream_shutdown++;
    return STATUS_SUCCESS;
}

static inline STATUS fixture_client_down(UINT64 custom, CLIENT_HANDLE client)
{
    struct fixture *f = fixture_of(custom);
    (void)client;
    f->client_shutdown_at = ++f->order;
    f->client_shutdown++;
    return STATUS_SUCCESS;
}

static inline void fixture_callbacks(struct fixture *f)
{
    ClientCallbacks *c = &f->callbacks;
    c->customData = (UINT64)(uintptr_t)f;
    c->getCurrentTimeFn = fixture_now;
    c->getSecurityTokenFn = fixture_security_token;
    c->createDeviceFn = fixture_create_device;
    c->deviceCertToTokenFn = fixture_cert_to_token;
    c->describeStreamFn = fixture_describe;
    c->createStreamFn = fixture_create_stream;
    c->tagResourceFn = fixture_tag;
    c->getStreamingEndpointFn = fixture_endpoint;
    c->getStreamingTokenFn = fixture_token;
    c->putStreamFn = fixture_put_stream;
    c->clientReadyFn = fixture_client_ready;
    c->streamReadyFn = fixture_stream_ready;
    c->streamClosedFn = fixture_closed;
    c->streamDataAvailableFn = fixture_data;
    c->streamErrorReportFn = fixture_error;
    c->fragmentAckReceivedFn = fixture_ack;
    c->droppedFrameReportFn = fixture_dropped;
    c->storageOverflowPressureFn = fixture_storage;
    c->bufferDurationOverflowPressureFn = fixture_buffer;
    c->streamLatencyPressureFn = fixture_latency;
    c->streamConnectionStaleFn = fixture_stale;
    c->streamShutdownFn = fixture_shutdown;
    c->clientShutdownFn = fixture_client_down;
}

static inline void fixture_init(struct fixture *f)
{
    StreamCaps *caps = &f->info.streamCaps;
    memset(f, 0, sizeof *f);
    f->now = START_TIME;
    f->pts = START_TIME;
    f->token_life = 10 * HOUR;
    f->streaming_token_life = 40 * HUNDREDS_OF_NANOS_IN_A_MINUTE;
    f->stream_status = STREAM_STATUS_ACTIVE;
    f->retention = 2 * HOUR;
    f->next_upload = 100;
    f->device.version = DEVICE_INFO_CURRENT_VERSION;
    f->device.streamCount = 10;
    f->device.storageInfo.storageSize = UINT64_C(10) * 1024 * 1024;
    f->device.clientInfo.version = CLIENT_INFO_CURRENT_VERSION;
    f->device.clientInfo.automaticStreamingFlags = AUTOMATIC_STREAMING_ALWAYS_CONTINUOUS;
    f->info.version = STREAM_INFO_CURRENT_VERSION;
    memcpy(f->info.name, "camera", 7);
    f->info.retention = f->retention;
    f->tracks[0].trackId = 1;
    f->tracks[0].trackType = MKV_TRACK_INFO_TYPE_VIDEO;
    f->tracks[1].trackId = 2;
    f->tracks[1].trackType = MKV_TRACK_INFO_TYPE_AUDIO;
    f->tracks[2].trackId = 3;
    f->tracks[2].trackType = MKV_TRACK_INFO_TYPE_AUDIO;
    caps->trackInfoList = f->tracks;
    caps->trackInfoCount = 1;
    caps->keyFrameFragmentation = caps->frameTimecodes = caps->absoluteFragmentTimes = TRUE;
    caps->fragmentAcks = caps->recoverOnError = caps->allowStreamCreation = TRUE;
    caps->bufferDuration = 40 * SECOND;
    caps->frameRate = 25;
    memcpy(caps->contentType, "TestContentType", 16);
    fixture_callbacks(f);
}

static inline void fixture_client(struct fixture *f)
{
    CHECK_EQ(createKinesisVideoClient(&f->device, &f->callbacks, &f->client), STATUS_SUCCESS);
}

static inline void fixture_stream(struct fixture *f)
{
    fixture_client(f);
    CHECK_EQ(createKinesisVideoStream(f->client, &f->info, &f->stream), STATUS_SUCCESS);
}

static inline void fixture_free(struct fixture *f)
{
    CHECK_EQ(freeKinesisVideoClient(&f->client), STATUS_SUCCESS);
}

/* Puts one frame 40 ms after the last. */
static inline STATUS fixture_put_sized(struct fixture *f, FRAME_FLAGS flags, UINT32 size)
{
    static BYTE bytes[2000000];
    Frame frame;
    memset(&frame, 0, sizeof frame);
    frame.flags = flags;
    frame.decodingTs = frame.presentationTs = f->pts;
    frame.duration = 40 * MS;
    frame.size = size;
    frame.frameData = bytes;
    frame.trackId = 1;
    f->pts += 40 * MS;
    f->now += 40 * MS;
    return putKinesisVideoFrame(f->stream, &frame);
}

static inline STATUS fixture_put(struct fixture *f, FRAME_FLAGS flags) { return fixture_put_sized(f, flags, 1000); }

/* So many fragments of so many frames each. */
static inline void fixture_put_fragments(struct fixture *f, int fragments, int frames)
{
    for (int i = 0; i < fragments * frames; i++) {
        CHECK_EQ(fixture_put(f, i % frames == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE), STATUS_SUCCESS);
    }
}

static inline STATUS fixture_end_fragment(struct fixture *f)
{
    Frame frame = EOFR_FRAME_INITIALIZER;
    return putKinesisVideoFrame(f->stream, &frame);
}

/* Reads all there is; the last status, and how many bytes. */
static inline STATUS fixture_read(struct fixture *f, UPLOAD_HANDLE upload, UINT64 *bytes)
{
    static BYTE buffer[65536];
    UINT32 filled = 0;
    STATUS status = STATUS_SUCCESS;
    UINT64 total = 0;
    while (status == STATUS_SUCCESS) {
        status = getKinesisVideoStreamData(f->stream, upload, buffer, sizeof buffer, &filled);
        total += filled;
    }
    if (bytes != NULL) *bytes = total;
    return status;
}

static inline STATUS fixture_ack_at(struct fixture *f, UPLOAD_HANDLE upload, FRAGMENT_ACK_TYPE type, UINT64 pts,
                                    SERVICE_CALL_RESULT result)
{
    FragmentAck ack;
    memset(&ack, 0, sizeof ack);
    ack.ackType = type;
    ack.timestamp = pts == INVALID_TIMESTAMP_VALUE ? pts : pts / MS;
    ack.result = result;
    memcpy(ack.sequenceNumber, "91", 3);
    return kinesisVideoStreamFragmentAck(f->stream, upload, &ack);
}

static inline STATUS fixture_persisted(struct fixture *f, UPLOAD_HANDLE upload, UINT64 pts)
{
    return fixture_ack_at(f, upload, FRAGMENT_ACK_TYPE_PERSISTED, pts, SERVICE_CALL_RESULT_OK);
}

static inline StreamMetrics fixture_metrics(struct fixture *f)
{
    StreamMetrics metrics;
    memset(&metrics, 0, sizeof metrics);
    metrics.version = STREAM_METRICS_CURRENT_VERSION;
    CHECK_EQ(getKinesisVideoStreamMetrics(f->stream, &metrics), STATUS_SUCCESS);
    return metrics;
}

#endif

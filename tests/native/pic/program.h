/* program.h — a program over pic.h that says what happens, for tests: camera.h has the lines. The last "camera" is the
 * client. The program has a clock that moves when it is set, locks that must be free in each callback, and a
 * service that answers as a plan says: inside the callback, later, never, or by refusing the callback.
 *   Use   program_begin(&p); createKinesisVideoClient(&p.device, &p.callbacks, &p.client);
 *         camera_open(&p.cameras[0], 0); camera_put(&p.cameras[0], FRAME_FLAG_KEY_FRAME, 1, 1000); ... */
#ifndef KVS_TESTS_PIC_PROGRAM_H
#define KVS_TESTS_PIC_PROGRAM_H

#include "camera.h"

/* ---- callbacks: clock, locks ------------------------------------------------------------------------------------- */

static inline struct program *program_of(UINT64 custom) { return (struct program *)(uintptr_t)custom; }
static inline UINT64 program_now(UINT64 custom) { return program_of(custom)->now; }
static inline UINT32 program_random(UINT64 custom) { return chance_of(&program_of(custom)->random); }

static inline MUTEX program_mutex(UINT64 custom, BOOL is_reentrant)
{
    struct program *p = program_of(custom);
    CHECK(!is_reentrant);
    for (uint32_t i = 0; i < LOCKS; i++) {
        if (p->locks[i] != 0) continue;
        p->locks[i] = 1;
        return (MUTEX)(i + 1u);
    }
    return 0;
}

static inline void program_lock(UINT64 custom, MUTEX mutex)
{
    struct program *p = program_of(custom);
    CHECK_EQ(p->locks[mutex - 1], 1);
    p->locks[mutex - 1] = 2;
    p->held++;
}

static inline void program_unlock(UINT64 custom, MUTEX mutex)
{
    struct program *p = program_of(custom);
    CHECK_EQ(p->locks[mutex - 1], 2);
    p->locks[mutex - 1] = 1;
    p->held--;
}

static inline void program_mutex_free(UINT64 custom, MUTEX mutex)
{
    CHECK_EQ(program_of(custom)->locks[mutex - 1], 1);
    program_of(custom)->locks[mutex - 1] = 0;
}

static inline CVAR program_condition(UINT64 custom) { return (CVAR)(uintptr_t)custom; }

static inline STATUS program_broadcast(UINT64 custom, CVAR condition)
{
    (void)custom, (void)condition;
    return STATUS_SUCCESS;
}

/* There is one thread: a wait without a limit would never end, one with a limit takes all of it. */
static inline STATUS program_wait(UINT64 custom, CVAR condition, MUTEX mutex, UINT64 timeout)
{
    struct program *p = program_of(custom);
    (void)condition;
    CHECK_EQ(p->held, 1);
    CHECK_EQ(p->locks[mutex - 1], 2);
    if (!CHECK(timeout != INFINITE_TIME_VALUE)) abort();
    p->now += timeout;
    return STATUS_OPERATION_TIMED_OUT;
}

static inline void program_condition_free(UINT64 custom, CVAR condition) { (void)custom, (void)condition; }

/* ---- callbacks: the service -------------------------------------------------------------------------------------- */

static inline struct camera *camera_of(struct program *p, UINT64 handle)
{
    CHECK_EQ(p->held, 0);
    for (uint32_t i = 0; i < CAMERAS; i++) {
        if (p->cameras[i].handle == handle || p->cameras[i].known == handle) return &p->cameras[i];
    }
    return &p->cameras[CAMERAS];
}

static inline UINT64 custom_of(const struct camera *camera)
{
    const struct program *p = camera->program;
    return camera == &p->cameras[CAMERAS] ? p->client : camera->handle;
}

static inline STATUS answer_describe(struct camera *camera, SERVICE_CALL_RESULT result, const char *arn)
{
    StreamDescription description;
    memset(&description, 0, sizeof description);
    description.version = STREAM_DESCRIPTION_CURRENT_VERSION;
    memcpy(description.streamArn, arn, strlen(arn) + 1u);
    description.streamStatus = camera->status;
    description.retention = 2 * HOUR;
    return describeStreamResultEvent(custom_of(camera), result,
                                     result == SERVICE_CALL_RESULT_OK ? &description : NULL);
}

/* The program notes an upload before it says that the connection stands. */
static inline STATUS answer_put(struct camera *camera, SERVICE_CALL_RESULT result)
{
    UPLOAD_HANDLE handle = NO_UPLOAD;
    if (result == SERVICE_CALL_RESULT_OK && camera->upload_count < UPLOADS) {
        handle = ++camera->program->next_upload;
        camera->uploads[camera->upload_count++] = (struct camera_upload){ .handle = handle, .bytes = digest_begin() };
    }
    return putStreamResultEvent(custom_of(camera), result, handle);
}

static inline STATUS answer_of(struct camera *camera, enum call_kind kind, SERVICE_CALL_RESULT result)
{
    static char arn[] = "arn:aws:kinesisvideo:us-east-1:123456789012:stream/a/1", endpoint[] = "https://localhost";
    static BYTE token[] = "streaming";
    const struct program *p = camera->program;
    UINT64 custom = custom_of(camera);
    switch (kind) {
    case DEVICE: return createDeviceResultEvent(custom, result, arn);
    case CERT:
        return deviceCertToTokenResultEvent(custom, result, token, p->exchanged_size, p->now + p->token_life);
    case DESCRIBE: return answer_describe(camera, result, arn);
    case CREATE: return createStreamResultEvent(custom, result, arn);
    case TAG: return tagResourceResultEvent(custom, result);
    case ENDPOINT: return getStreamingEndpointResultEvent(custom, result, endpoint);
    case TOKEN:
        return getStreamingTokenResultEvent(custom, result, token, sizeof token, p->now + p->streaming_token_life);
    default: return answer_put(camera, result);
    }
}

static const char *const KIND_NAMES[CALL_KINDS] = { "CreateDevice", "the certificate's exchange",
                                                    "DescribeStream", "CreateStream",
                                                    "TagResource", "GetDataEndpoint",
                                                    "the streaming token", "PutMedia" };

/* Answers the call of this kind, whether or not there is one. */
static inline STATUS program_answer(struct camera *camera, enum call_kind kind)
{
    SERVICE_CALL_RESULT result = camera->result[kind];
    camera->result[kind] = SERVICE_CALL_RESULT_OK;
    camera->is_waiting[kind] = 0;
    say(camera, "  answer %d to %s ...", (int)result, KIND_NAMES[kind]);
    STATUS status = answer_of(camera, kind, result);
    say(camera, "  ... %s: %s", KIND_NAMES[kind], status_name(status));
    return status;
}

static inline void called_back(struct camera *camera)
{
    if (camera->program->calls_back == NULL || camera->depth >= CALLBACK_DEPTH) return;
    camera->depth++;
    camera->program->calls_back(camera);
    camera->depth--;
}

static inline STATUS service_called(UINT64 custom, enum call_kind kind, PServiceCallContext context, const char *what)
{
    struct camera *camera = camera_of(program_of(custom), context->customData);
    static const char *const AUTHS[] = { "undefined", "certificate", "token", "none" };
    const AuthInfo *auth = context->pAuthInfo;
    CHECK(auth != NULL);
    CHECK_EQ(context->customData, custom_of(camera));
    UINT64 wait = context->callAfter > camera->program->now ? context->callAfter - camera->program->now : 0;
    char after[40] = "", timeout[40] = "";
    if (wait != 0) snprintf(after, sizeof after, ", after %" PRIu64 " ms", (uint64_t)(wait / MS));
    if (context->timeout != SERVICE_CALL_INFINITE_TIMEOUT)
        snprintf(timeout, sizeof timeout, ", within %" PRIu64 " s", (uint64_t)(context->timeout / SECOND));
    say(camera, "  <- order: %s%s, auth %s of %u bytes%s%s", KIND_NAMES[kind], what, AUTHS[auth->type],
        (unsigned)auth->size, after, timeout);
    enum plan plan = camera->plan[kind];
    camera->plan[kind] = ANSWERS;
    if (plan == REFUSES) return said(camera, "  the callback refuses", STATUS_INVALID_OPERATION);
    camera->is_waiting[kind] = 1;
    if (plan == ANSWERS) (void)program_answer(camera, kind);
    return STATUS_SUCCESS;
}

static inline STATUS program_create_device(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    CHECK_STR(name, "device");
    return service_called(custom, DEVICE, context, "");
}

static inline STATUS program_cert(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    CHECK_STR(name, "device");
    return service_called(custom, CERT, context, "");
}

static inline STATUS program_describe(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    CHECK_STR(name, camera_of(program_of(custom), context->customData)->name);
    return service_called(custom, DESCRIBE, context, "");
}

static inline STATUS program_create(UINT64 custom, PCHAR device, PCHAR name, PCHAR content_type, PCHAR kms,
                                    UINT64 retention, PServiceCallContext context)
{
    char what[80];
    CHECK_STR(device, "device");
    CHECK_STR(name, camera_of(program_of(custom), context->customData)->name);
    snprintf(what, sizeof what, " of %s, %u h, key '%s'", content_type, (unsigned)(retention / HOUR), kms);
    return service_called(custom, CREATE, context, what);
}

static inline STATUS program_tag(UINT64 custom, PCHAR arn, UINT32 count, PTag tags, PServiceCallContext context)
{
    char what[80];
    CHECK(arn != NULL && count == 1);
    snprintf(what, sizeof what, " %s=%s", tags[0].name, tags[0].value);
    return service_called(custom, TAG, context, what);
}

static inline STATUS program_endpoint(UINT64 custom, PCHAR name, PCHAR api, PServiceCallContext context)
{
    CHECK_STR(name, camera_of(program_of(custom), context->customData)->name);
    CHECK_STR(api, "PUT_MEDIA");
    return service_called(custom, ENDPOINT, context, "");
}

static inline STATUS program_token(UINT64 custom, PCHAR name, STREAM_ACCESS_MODE mode, PServiceCallContext context)
{
    CHECK_STR(name, camera_of(program_of(custom), context->customData)->name);
    CHECK_EQ(mode, STREAM_ACCESS_MODE_READ);
    return service_called(custom, TOKEN, context, "");
}

static inline STATUS program_put_stream(UINT64 custom, PCHAR name, PCHAR container, UINT64 start, BOOL absolute,
                                        BOOL acks, PCHAR endpoint, PServiceCallContext context)
{
    char what[80];
    CHECK_STR(name, camera_of(program_of(custom), context->customData)->name);
    CHECK_STR(container, "video/x-matroska");
    CHECK_STR(endpoint, "https://localhost");
    snprintf(what, sizeof what, " from %" PRId64 " ms%s%s", (int64_t)(start / MS) - (int64_t)(START_TIME / MS),
             absolute ? ", absolute" : "", acks ? ", with ACKs" : "");
    return service_called(custom, PUT, context, what);
}

/* ---- callbacks: credentials and notices -------------------------------------------------------------------------- */

static inline STATUS program_security_token(UINT64 custom, PBYTE *bytes, PUINT32 size, PUINT64 expiration)
{
    struct program *p = program_of(custom);
    static BYTE token[] = "secret";
    CHECK_EQ(p->held, 0);
    *bytes = token;
    *size = p->token_size;
    *expiration = p->now + p->token_life;
    say(&p->cameras[CAMERAS], "  <- credentials are asked for: %u bytes", (unsigned)p->token_size);
    STATUS status = p->credentials;
    p->credentials = STATUS_SUCCESS;
    return status;
}

static inline STATUS program_certificate(UINT64 custom, PBYTE *bytes, PUINT32 size, PUINT64 expiration)
{
    struct program *p = program_of(custom);
    static BYTE certificate[] = "certificate";
    CHECK_EQ(p->held, 0);
    *bytes = certificate;
    *size = sizeof certificate;
    *expiration = p->now + p->token_life;
    say(&p->cameras[CAMERAS], "  <- a certificate is asked for");
    return STATUS_SUCCESS;
}

static inline STATUS program_client_ready(UINT64 custom, CLIENT_HANDLE client)
{
    (void)client;
    say(&program_of(custom)->cameras[CAMERAS], "  <- the client is ready");
    return STATUS_SUCCESS;
}

static inline STATUS noticed(struct camera *camera)
{
    called_back(camera);
    return STATUS_SUCCESS;
}

static inline STATUS program_ready(UINT64 custom, STREAM_HANDLE stream)
{
    struct camera *camera = camera_of(program_of(custom), stream);
    say(camera, "  <- the stream is ready");
    return noticed(camera);
}

/* The number of an upload among those of its camera: the same whatever the other cameras do. */
static inline int upload_number(const struct camera *camera, UPLOAD_HANDLE handle)
{
    for (uint32_t i = 0; i < camera->upload_count; i++) {
        if (camera->uploads[i].handle == handle) return (int)i + 1;
    }
    return handle == NO_UPLOAD ? -1 : 0;
}

static inline STATUS program_closed(UINT64 custom, STREAM_HANDLE stream, UPLOAD_HANDLE upload)
{
    struct camera *camera = camera_of(program_of(custom), stream);
    say(camera, "  <- the stream is closed, last upload %d", upload_number(camera, upload));
    return noticed(camera);
}

static inline STATUS program_data(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload,
                                  UINT64 duration, UINT64 size)
{
    struct camera *camera = camera_of(program_of(custom), stream);
    CHECK_STR(name, camera->name);
    if (size == 0 && duration == 0) say(camera, "  <- upload %d is over", upload_number(camera, upload));
    else
        say(camera, "  <- data for upload %d: %" PRIu64 " bytes, %" PRIu64 " ms", upload_number(camera, upload),
            (uint64_t)size, (uint64_t)(duration / MS));
    return noticed(camera);
}

static inline int64_t time_of(UINT64 time)
{
    return time == INVALID_TIMESTAMP_VALUE ? -1 : (int64_t)(time / MS) - (int64_t)(START_TIME / MS);
}

static inline STATUS program_error(UINT64 custom, STREAM_HANDLE stream, UPLOAD_HANDLE upload, UINT64 time,
                                   STATUS status)
{
    struct camera *camera = camera_of(program_of(custom), stream);
    say(camera, "  <- an error of upload %d at %" PRId64 " ms: %s", upload_number(camera, upload), time_of(time),
        status_name(status));
    return noticed(camera);
}

static inline const char *ack_name(FRAGMENT_ACK_TYPE type)
{
    static const char *const NAMES[] = { "no type", "BUFFERING", "RECEIVED", "PERSISTED", "ERROR", "IDLE" };
    return (unsigned)type <= FRAGMENT_ACK_TYPE_IDLE ? NAMES[type] : "another type";
}

static inline STATUS program_ack(UINT64 custom, STREAM_HANDLE stream, UPLOAD_HANDLE upload, PFragmentAck ack)
{
    struct camera *camera = camera_of(program_of(custom), stream);
    say(camera, "  <- ACK of upload %d: %s at %" PRId64 ", number %s, result %d", upload_number(camera, upload),
        ack_name(ack->ackType), (int64_t)ack->timestamp, ack->sequenceNumber, (int)ack->result);
    return noticed(camera);
}

static inline STATUS program_dropped(UINT64 custom, STREAM_HANDLE stream, UINT64 time)
{
    struct camera *camera = camera_of(program_of(custom), stream);
    say(camera, "  <- a frame was dropped, %" PRId64 " ms", time_of(time));
    return noticed(camera);
}

static inline STATUS program_dropped_fragment(UINT64 custom, STREAM_HANDLE stream, UINT64 time)
{
    struct camera *camera = camera_of(program_of(custom), stream);
    say(camera, "  <- a fragment was dropped, %" PRId64 " ms", time_of(time));
    return noticed(camera);
}

static inline STATUS program_storage(UINT64 custom, UINT64 remaining)
{
    (void)remaining; /* depends on what all cameras have put, as does when it is said */
    CHECK_EQ(program_of(custom)->held, 0);
    return STATUS_SUCCESS;
}

static inline STATUS program_buffer(UINT64 custom, STREAM_HANDLE stream, UINT64 remaining)
{
    struct camera *camera = camera_of(program_of(custom), stream);
    say(camera, "  <- little of the buffer is left: %" PRIu64 " ms", (uint64_t)(remaining / MS));
    return noticed(camera);
}

static inline STATUS program_latency(UINT64 custom, STREAM_HANDLE stream, UINT64 duration)
{
    struct camera *camera = camera_of(program_of(custom), stream);
    say(camera, "  <- latency: %" PRIu64 " ms are unsent", (uint64_t)(duration / MS));
    return noticed(camera);
}

static inline STATUS program_stale(UINT64 custom, STREAM_HANDLE stream, UINT64 gap)
{
    struct camera *camera = camera_of(program_of(custom), stream);
    say(camera, "  <- no ACK for %" PRIu64 " ms", (uint64_t)(gap / MS));
    return noticed(camera);
}

static inline STATUS program_shutdown(UINT64 custom, STREAM_HANDLE stream, BOOL is_reset)
{
    struct camera *camera = camera_of(program_of(custom), stream);
    say(camera, "  <- the stream is %s", is_reset ? "reset" : "freed");
    return STATUS_SUCCESS;
}

static inline STATUS program_client_down(UINT64 custom, CLIENT_HANDLE client)
{
    (void)client;
    say(&program_of(custom)->cameras[CAMERAS], "  <- the client is freed");
    return STATUS_SUCCESS;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static inline void program_callbacks(struct program *p)
{
    p->callbacks = (ClientCallbacks){ .version = CALLBACKS_CURRENT_VERSION,
                                      .customData = (UINT64)(uintptr_t)p,
                                      .getCurrentTimeFn = program_now,
                                      .getRandomNumberFn = program_random,
                                      .createMutexFn = program_mutex,
                                      .lockMutexFn = program_lock,
                                      .unlockMutexFn = program_unlock,
                                      .freeMutexFn = program_mutex_free,
                                      .createConditionVariableFn = program_condition,
                                      .broadcastConditionVariableFn = program_broadcast,
                                      .waitConditionVariableFn = program_wait,
                                      .freeConditionVariableFn = program_condition_free,
                                      .getSecurityTokenFn = program_security_token,
                                      .getDeviceCertificateFn = program_certificate,
                                      .createDeviceFn = program_create_device,
                                      .deviceCertToTokenFn = program_cert,
                                      .describeStreamFn = program_describe,
                                      .createStreamFn = program_create,
                                      .tagResourceFn = program_tag,
                                      .getStreamingEndpointFn = program_endpoint,
                                      .getStreamingTokenFn = program_token,
                                      .putStreamFn = program_put_stream,
                                      .clientReadyFn = program_client_ready,
                                      .streamReadyFn = program_ready,
                                      .streamClosedFn = program_closed,
                                      .streamDataAvailableFn = program_data,
                                      .streamErrorReportFn = program_error,
                                      .fragmentAckReceivedFn = program_ack,
                                      .droppedFrameReportFn = program_dropped,
                                      .droppedFragmentReportFn = program_dropped_fragment,
                                      .storageOverflowPressureFn = program_storage,
                                      .bufferDurationOverflowPressureFn = program_buffer,
                                      .streamLatencyPressureFn = program_latency,
                                      .streamConnectionStaleFn = program_stale,
                                      .streamShutdownFn = program_shutdown,
                                      .clientShutdownFn = program_client_down };
}

static inline void program_info(struct program *p)
{
    StreamCaps *caps = &p->info.streamCaps;
    p->info.version = STREAM_INFO_CURRENT_VERSION;
    p->info.retention = 2 * HOUR;
    for (uint32_t i = 0; i < 2; i++) {
        p->tracks[i].trackId = i + 1u;
        p->tracks[i].trackType = i == 0 ? MKV_TRACK_INFO_TYPE_VIDEO : MKV_TRACK_INFO_TYPE_AUDIO;
        memcpy(p->tracks[i].codecId, i == 0 ? "V_TEST" : "A_TEST", 7);
    }
    caps->trackInfoList = p->tracks;
    caps->trackInfoCount = 1;
    caps->keyFrameFragmentation = caps->frameTimecodes = caps->absoluteFragmentTimes = TRUE;
    caps->fragmentAcks = caps->recoverOnError = caps->allowStreamCreation = TRUE;
    caps->bufferDuration = 40 * SECOND;
    caps->frameRate = 25;
    memcpy(caps->contentType, "video/h264", 11);
}

/* A stream of the program is realtime with retention, ACKs, key-frame fragments and absolute times; a test changes
 * p.info and p.device before it makes the client and the stream. */
static inline void program_begin(struct program *p)
{
    static char name[] = "place", value[] = "door";
    memset(p, 0, sizeof *p);
    p->now = START_TIME;
    p->token_life = 10 * HOUR;
    p->streaming_token_life = 40 * HUNDREDS_OF_NANOS_IN_A_MINUTE;
    p->token_size = 7;
    p->exchanged_size = 10;
    p->random = 1;
    p->tag = (Tag){ TAG_CURRENT_VERSION, name, value };
    p->device.version = DEVICE_INFO_CURRENT_VERSION;
    memcpy(p->device.name, "device", 7);
    p->device.streamCount = CAMERAS;
    p->device.storageInfo.storageSize = UINT64_C(10) * 1024 * 1024;
    p->device.clientInfo.version = CLIENT_INFO_CURRENT_VERSION;
    p->device.clientInfo.automaticStreamingFlags = AUTOMATIC_STREAMING_ALWAYS_CONTINUOUS;
    program_info(p);
    program_callbacks(p);
    for (uint32_t i = 0; i <= CAMERAS; i++) {
        struct camera *camera = &p->cameras[i];
        camera->program = p;
        memcpy(camera->name, i < CAMERAS ? "camera-a" : "client", i < CAMERAS ? 9 : 7);
        if (i < CAMERAS) camera->name[7] = (char)('a' + i);
        camera->handle = camera->known = INVALID_STREAM_HANDLE_VALUE;
        camera->random = i;
        camera->lines = digest_begin();
        camera->status = STREAM_STATUS_ACTIVE;
        camera->pts = START_TIME;
        for (uint32_t kind = 0; kind < CALL_KINDS; kind++) camera->result[kind] = SERVICE_CALL_RESULT_OK;
    }
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static inline STATUS camera_open(struct camera *camera, int is_sync)
{
    struct program *p = camera->program;
    memcpy(p->info.name, camera->name, sizeof camera->name);
    say(camera, "createKinesisVideoStream%s ...", is_sync ? "Sync" : "");
    STATUS status = is_sync ? createKinesisVideoStreamSync(p->client, &p->info, &camera->handle)
                            : createKinesisVideoStream(p->client, &p->info, &camera->handle);
    camera->known = camera->handle;
    return said(camera, "... created", status);
}

/* The handle is the camera's until the call returns: what is reported meanwhile finds it. */
static inline STATUS camera_free(struct camera *camera)
{
    STREAM_HANDLE handle = camera->handle;
    say(camera, "freeKinesisVideoStream ...");
    STATUS status = freeKinesisVideoStream(&handle);
    camera->handle = handle;
    return said(camera, "... freed", status);
}

static inline STATUS camera_put(struct camera *camera, FRAME_FLAGS flags, UINT64 track, UINT32 size)
{
    static BYTE bytes[1 << 20];
    Frame frame = { .flags = flags, .decodingTs = camera->pts, .presentationTs = camera->pts, .duration = 40 * MS,
                    .size = size, .frameData = bytes, .trackId = track };
    uint64_t number = ++camera->pieces;
    for (uint32_t i = 0; i < 8; i++) bytes[i] = (BYTE)(number >> 8u * i);
    if (flags & FRAME_FLAG_KEY_FRAME) camera->keys[camera->key_count++ % KEYS] = camera->pts;
    say(camera, "putKinesisVideoFrame %s%u bytes, %" PRId64 " ms, track %u ...",
        flags & FRAME_FLAG_KEY_FRAME ? "key " : "", (unsigned)size, time_of(camera->pts), (unsigned)track);
    return said(camera, "... put", putKinesisVideoFrame(camera->handle, &frame));
}

static inline STATUS camera_end_fragment(struct camera *camera)
{
    Frame frame = EOFR_FRAME_INITIALIZER;
    return said(camera, "putKinesisVideoFrame, end of fragment", putKinesisVideoFrame(camera->handle, &frame));
}

/* One read of the upload at this place among the camera's. */
static inline STATUS camera_read(struct camera *camera, uint32_t place, UINT32 size)
{
    static BYTE buffer[1 << 16];
    struct camera_upload *upload = &camera->uploads[place];
    UINT32 filled = 0;
    size = size < sizeof buffer ? size : (UINT32)sizeof buffer;
    STATUS status = getKinesisVideoStreamData(camera->handle, upload->handle, buffer, size, &filled);
    digest_add(&upload->bytes, buffer, filled);
    upload->size += filled;
    say(camera, "getKinesisVideoStreamData of upload %u: %u bytes, %s", (unsigned)place + 1, (unsigned)filled,
        status_name(status));
    return status;
}

static inline void camera_read_all(struct camera *camera, uint32_t place)
{
    while (camera_read(camera, place, 1 << 16) == STATUS_SUCCESS) {}
}

static inline STATUS camera_ack(struct camera *camera, uint32_t place, FRAGMENT_ACK_TYPE type, UINT64 time,
                                SERVICE_CALL_RESULT result)
{
    FragmentAck ack = { .version = FRAGMENT_ACK_CURRENT_VERSION, .ackType = type, .sequenceNumber = "91",
                        .result = result };
    ack.timestamp = time == INVALID_TIMESTAMP_VALUE ? time : time / MS;
    say(camera, "kinesisVideoStreamFragmentAck of upload %u, %s, %" PRId64 " ms ...", (unsigned)place + 1,
        ack_name(type), time_of(time));
    return said(camera, "... taken",
                kinesisVideoStreamFragmentAck(camera->handle, camera->uploads[place].handle, &ack));
}

/* The newest key frame but `back` of them. */
static inline UINT64 camera_key(const struct camera *camera, uint32_t back)
{
    if (camera->key_count <= back) return camera->pts;
    return camera->keys[(camera->key_count - 1u - back) % KEYS];
}

#endif

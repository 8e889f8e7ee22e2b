/* test_stories.c — stories that a generator writes: three cameras of any kind over pic.h, with frames, reads, ACKs,
 * answers in good and bad order, failures of the service, resets, stops, and calls out of callbacks. Goal: a change of
 * csrc/pic that means to change nothing changes nothing. For each seed the digests of what every camera and the client
 * saw (each call, its status, each callback, in order) and of the bytes of each upload are those in stories.txt.
 *   test_stories              compares all seeds
 *   test_stories record       prints stories.txt; `make -C tests/native/pic stories` writes it
 *   test_stories show SEED    prints the story, line by line */
#include "program.h"

enum { SEEDS = 300, STEPS = 200 };

static const char FILE_NAME[] = "tests/native/pic/stories.txt";
static const SERVICE_CALL_RESULT RESULTS[] = {
    SERVICE_CALL_RESULT_OK,          SERVICE_CALL_RESULT_OK,       SERVICE_CALL_NETWORK_READ_TIMEOUT,
    SERVICE_CALL_INTERNAL_ERROR,     SERVICE_CALL_NOT_AUTHORIZED,  SERVICE_CALL_FORBIDDEN,
    SERVICE_CALL_RESOURCE_NOT_FOUND, SERVICE_CALL_RESOURCE_IN_USE, SERVICE_CALL_STREAM_LIMIT,
    SERVICE_CALL_BAD_REQUEST,        SERVICE_CALL_UNKNOWN,         SERVICE_CALL_STREAM_AUTH_IN_GRACE_PERIOD
};
enum { RESULT_COUNT = sizeof RESULTS / sizeof RESULTS[0] };

static SERVICE_CALL_RESULT any_result(struct camera *camera) { return RESULTS[chance(camera, RESULT_COUNT)]; }

static uint32_t any_upload(struct camera *camera)
{
    uint32_t back = chance(camera, 8) < 6 ? 0 : chance(camera, 4);
    return back < camera->upload_count ? camera->upload_count - 1u - back : 0;
}

/* ---- how the streams and the client are -------------------------------------------------------------------------- */

static UINT64 some(struct camera *camera, UINT64 value) { return chance(camera, 4) == 0 ? value : 0; }

static void choose_stream(struct camera *camera)
{
    StreamInfo *info = &camera->program->info;
    StreamCaps *caps = &info->streamCaps;
    uint32_t bits = chance(camera, 1024);
    caps->streamingType = bits % 8 == 0   ? STREAMING_TYPE_NEAR_REALTIME
                          : bits % 8 == 1 ? STREAMING_TYPE_OFFLINE
                                          : STREAMING_TYPE_REALTIME;
    caps->fragmentAcks = (bits & 56) != 0 || caps->streamingType == STREAMING_TYPE_OFFLINE;
    caps->keyFrameFragmentation = (bits & 192) != 0;
    caps->absoluteFragmentTimes = (bits & 256) != 0;
    caps->recoverOnError = (bits & 512) != 0 || chance(camera, 2) != 0;
    caps->fragmentDuration = caps->keyFrameFragmentation && caps->streamingType == STREAMING_TYPE_REALTIME ? 0 : SECOND;
    caps->bufferDuration = chance(camera, 3) == 0 ? 12 * SECOND : 40 * SECOND;
    caps->frameRate = chance(camera, 4) == 0 ? 2 : 25;
    caps->replayDuration = some(camera, (chance(camera, 2) == 0 ? 4 : 20) * SECOND);
    caps->maxLatency = some(camera, 2 * SECOND);
    caps->connectionStalenessDuration = some(camera, 3 * SECOND);
    caps->timecodeScale = some(camera, 10 * MS);
    caps->recalculateMetrics = chance(camera, 2) != 0;
    caps->allowStreamCreation = chance(camera, 4) != 0;
    caps->trackInfoCount = 1u + chance(camera, 2);
    caps->frameOrderingMode = (FRAME_ORDER_MODE)chance(camera, 6);
    caps->storePressurePolicy = (CONTENT_STORE_PRESSURE_POLICY)chance(camera, 2);
    caps->viewOverflowPolicy = (CONTENT_VIEW_OVERFLOW_POLICY)chance(camera, 2);
    info->tagCount = chance(camera, 4) == 0;
    info->tags = &camera->program->tag;
}

static STATUS no_strategy(PKvsRetryStrategy strategy)
{
    (void)strategy;
    return STATUS_SUCCESS;
}

static STATUS strategy_count(PKvsRetryStrategy strategy, PUINT32 count)
{
    (void)strategy;
    *count += 1;
    return STATUS_SUCCESS;
}

static STATUS strategy_wait(PKvsRetryStrategy strategy, PUINT64 wait)
{
    (void)strategy;
    *wait = 300 * MS;
    return STATUS_SUCCESS;
}

static void choose_client(struct program *p)
{
    struct camera *client = &p->cameras[CAMERAS];
    ClientInfo *info = &p->device.clientInfo;
    if (chance(client, 3) == 0) p->device.storageInfo.storageSize = MIN_STORAGE_ALLOCATION_SIZE;
    if (chance(client, 4) == 0) info->automaticStreamingFlags = AUTOMATIC_STREAMING_INTERMITTENT_PRODUCER;
    if (chance(client, 4) == 0) p->token_size = 0;
    if (chance(client, 4) == 0) p->streaming_token_life = 45 * SECOND;
    if (chance(client, 4) == 0) p->token_life = 90 * SECOND;
    if (chance(client, 4) == 0) {
        info->kvsRetryStrategyCallbacks = (KvsRetryStrategyCallbacks){ no_strategy, strategy_count, no_strategy,
                                                                      strategy_wait };
    }
    if (chance(client, 8) == 0) p->callbacks.streamDataAvailableFn = NULL;
    if (chance(client, 8) == 0) p->callbacks.deviceCertToTokenFn = NULL;
    if (chance(client, 4) == 0) p->exchanged_size = 0;
    p->device.tagCount = chance(client, 4) == 0;
    p->device.tags = &p->tag;
}

static void create_client(struct program *p)
{
    struct camera *client = &p->cameras[CAMERAS];
    int is_sync = chance(client, 2) != 0;
    say(client, "createKinesisVideoClient%s ...", is_sync ? "Sync" : "");
    STATUS status = is_sync ? createKinesisVideoClientSync(&p->device, &p->callbacks, &p->client)
                            : createKinesisVideoClient(&p->device, &p->callbacks, &p->client);
    (void)said(client, "... created", status);
}

static void free_client(struct program *p)
{
    CLIENT_HANDLE handle = p->client;
    struct camera *client = &p->cameras[CAMERAS];
    say(client, "freeKinesisVideoClient ...");
    (void)said(client, "... freed", freeKinesisVideoClient(&handle));
    p->client = handle;
    for (uint32_t i = 0; i < CAMERAS; i++) p->cameras[i].handle = INVALID_STREAM_HANDLE_VALUE;
}

/* ---- steps of a camera ------------------------------------------------------------------------------------------- */

static void plan(struct camera *camera)
{
    enum call_kind kind = (enum call_kind)(DESCRIBE + chance(camera, PUT - DESCRIBE + 1));
    uint32_t how = chance(camera, 8);
    camera->plan[kind] = how == 0 ? REFUSES : how < 4 ? KEEPS_SILENT : ANSWERS;
    if (how >= 3) camera->result[kind] = any_result(camera);
    camera->status = chance(camera, 8) == 0 ? (STREAM_STATUS)chance(camera, 4) : STREAM_STATUS_ACTIVE;
}

/* What waits for an answer gets one; else now and then an answer to no question. */
static void answer(struct camera *camera)
{
    for (uint32_t kind = 0; kind < CALL_KINDS; kind++) {
        if (!camera->is_waiting[kind]) continue;
        if (chance(camera, 3) == 0) camera->result[kind] = any_result(camera);
        (void)program_answer(camera, (enum call_kind)kind);
        return;
    }
    if (chance(camera, 3) == 0) (void)program_answer(camera, (enum call_kind)chance(camera, CALL_KINDS));
}

/* A stream that was stopped is begun again soon, by a reset or by another stream. */
static void put_done(struct camera *camera, STATUS status)
{
    if (status != STATUS_STREAM_HAS_BEEN_STOPPED || chance(camera, 3) != 0) return;
    if (chance(camera, 2) == 0) (void)camera_free(camera);
    else (void)said(camera, "kinesisVideoStreamResetStream", kinesisVideoStreamResetStream(camera->handle));
}

static void put(struct camera *camera)
{
    uint32_t shape = chance(camera, 64), size = 1u + chance(camera, 3000);
    FRAME_FLAGS flags = shape % 8 == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE;
    if (shape == 63) camera->pts -= 200 * MS;
    else camera->pts += (20 + chance(camera, 60)) * MS;
    if (shape > 56) size *= 40;
    camera->program->now += 10 * MS;
    put_done(camera, camera_put(camera, flags, shape == 50 ? 9 : 1 + (shape % 4 == 3), size));
}

/* A small store is soon full. */
static void put_group(struct camera *camera)
{
    uint32_t count = 2 + chance(camera, 12);
    uint32_t most = camera->program->device.storageInfo.storageSize > MIN_STORAGE_ALLOCATION_SIZE ? 4000 : 60000;
    for (uint32_t i = 0; i < count; i++) {
        camera->pts += 40 * MS;
        camera->program->now += 40 * MS;
        put_done(camera, camera_put(camera, i == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE, 1,
                                    100 + chance(camera, most)));
    }
}

/* What is by chance is a statement of its own here: compilers differ in which argument of a call they compute first. */
static void read_some(struct camera *camera)
{
    uint32_t place = any_upload(camera);
    (void)camera_read(camera, place, 1u + chance(camera, 3000));
}

static void acknowledge(struct camera *camera)
{
    static const SERVICE_CALL_RESULT errors[] = { SERVICE_CALL_RESULT_STREAM_READ_ERROR,
                                                  SERVICE_CALL_RESULT_FRAGMENT_TIMECODE_NOT_MONOTONIC,
                                                  SERVICE_CALL_RESULT_KMS_KEY_DISABLED,
                                                  SERVICE_CALL_RESULT_STREAM_DELETED,
                                                  SERVICE_CALL_RESULT_ACK_INTERNAL_ERROR };
    uint32_t pick = chance(camera, 16);
    FRAGMENT_ACK_TYPE type = pick < 9 ? FRAGMENT_ACK_TYPE_PERSISTED : (FRAGMENT_ACK_TYPE)chance(camera, 7);
    SERVICE_CALL_RESULT result = SERVICE_CALL_RESULT_OK;
    if (type == FRAGMENT_ACK_TYPE_ERROR) result = errors[chance(camera, 5)];
    UINT64 time = pick == 15 ? INVALID_TIMESTAMP_VALUE : camera_key(camera, chance(camera, 3));
    (void)camera_ack(camera, any_upload(camera), type, time, result);
}

static void acknowledge_in_bytes(struct camera *camera)
{
    static const char *const types[] = { "BUFFERING", "RECEIVED", "PERSISTED", "ERROR", "OTHER" };
    char text[200];
    UPLOAD_HANDLE upload = camera->uploads[any_upload(camera)].handle;
    const char *type = types[chance(camera, 5)];
    unsigned error = 4000 + chance(camera, 2) * 501;
    int size = snprintf(text, sizeof text,
                        "{\"EventType\":\"%s\",\"FragmentTimecode\":%" PRIu64
                        ",\"FragmentNumber\":\"7\",\"ErrorId\":%u}",
                        type, (uint64_t)(camera_key(camera, chance(camera, 3)) / MS), error);
    uint32_t cut = 1u + chance(camera, (uint32_t)size - 1u);
    say(camera, "kinesisVideoStreamParseFragmentAck %s ...", text);
    (void)said(camera, "... first piece", kinesisVideoStreamParseFragmentAck(camera->handle, upload, text, cut));
    (void)said(camera, "... second piece", kinesisVideoStreamParseFragmentAck(camera->handle, upload, text + cut,
                                                                              (UINT32)size - cut));
}

static void terminate(struct camera *camera)
{
    uint32_t place = any_upload(camera);
    UPLOAD_HANDLE upload = chance(camera, 8) == 0 ? NO_UPLOAD : camera->uploads[place].handle;
    SERVICE_CALL_RESULT result = any_result(camera);
    say(camera, "kinesisVideoStreamTerminated %d with %d ...", upload_number(camera, upload), (int)result);
    (void)said(camera, "... terminated", kinesisVideoStreamTerminated(camera->handle, upload, result));
}

/* The connection breaks and the service does not answer for a while; the program goes on filming. */
static void outage(struct camera *camera)
{
    struct program *p = camera->program;
    uint32_t count = 3 + chance(camera, 10);
    if (camera->upload_count == 0) return;
    UPLOAD_HANDLE upload = camera->uploads[camera->upload_count - 1u].handle;
    (void)said(camera, "kinesisVideoStreamTerminated, an outage",
               kinesisVideoStreamTerminated(camera->handle, upload, SERVICE_CALL_NETWORK_CONNECTION_TIMEOUT));
    for (uint32_t i = 0; i < count; i++) {
        camera->result[PUT] = camera->result[DESCRIBE] = SERVICE_CALL_NETWORK_CONNECTION_TIMEOUT;
        camera->pts += SECOND;
        p->now += (1 + chance(camera, 3)) * SECOND;
        (void)said(camera, "kvsPoke", kvsPoke(p->client));
        if (i % 2 == 0) (void)camera_put(camera, FRAME_FLAG_KEY_FRAME, 1, 500);
    }
    camera->result[PUT] = camera->result[DESCRIBE] = SERVICE_CALL_RESULT_OK;
}

static void metadata(struct camera *camera)
{
    static char name[] = "door", value[] = "open", nothing[] = "";
    uint32_t pick = chance(camera, 8);
    if (pick < 4) {
        (void)said(camera, "putKinesisVideoFragmentMetadata",
                   putKinesisVideoFragmentMetadata(camera->handle, name, pick == 3 ? nothing : value, pick == 2));
        return;
    }
    StreamEventMetadata event = { .numberOfPairs = 1, .names = { name }, .values = { value } };
    (void)said(camera, "putKinesisVideoEventMetadata",
               putKinesisVideoEventMetadata(camera->handle, 1 + pick % 3, pick == 7 ? NULL : &event));
}

static void format(struct camera *camera)
{
    BYTE cpd[] = { 1, 66, 0, (BYTE)chance(camera, 4) };
    if (chance(camera, 2) == 0) {
        (void)said(camera, "kinesisVideoStreamFormatChanged",
                   kinesisVideoStreamFormatChanged(camera->handle, sizeof cpd, cpd, 1));
    } else {
        (void)said(camera, "kinesisVideoStreamSetNalAdaptationFlags",
                   kinesisVideoStreamSetNalAdaptationFlags(camera->handle, NAL_ADAPTATION_FLAG_NONE));
    }
}

static void measure(struct camera *camera)
{
    StreamMetrics m = { .version = STREAM_METRICS_CURRENT_VERSION };
    PStreamInfo info = NULL;
    (void)said(camera, "getKinesisVideoStreamMetrics", getKinesisVideoStreamMetrics(camera->handle, &m));
    say(camera, "sessions %" PRIu64 ", read %" PRIu64 ", ACKs %" PRIu64 " %" PRIu64 ", dropped %" PRIu64
        ", fragments %" PRIu64 ", stale %" PRIu64 ", latency %" PRIu64 ", put errors %" PRIu64 ", sent %" PRIu64,
        (uint64_t)m.totalSessions, (uint64_t)m.totalActiveSessions, (uint64_t)m.persistedAcks, (uint64_t)m.errorAcks,
        (uint64_t)m.droppedFrames, (uint64_t)m.droppedFragments, (uint64_t)m.staleEvents,
        (uint64_t)m.latencyPressures, (uint64_t)m.putFrameErrors, (uint64_t)m.transferredBytes);
    say(camera, "calls %" PRIu64 " and %" PRIu64 " ms, a session %" PRIu64 " ms, retries %u",
        (uint64_t)(m.cplApiCallLatency / MS), (uint64_t)(m.dataApiCallLatency / MS),
        (uint64_t)(m.avgSessionDuration / MS), (unsigned)m.streamApiCallRetryCount);
    (void)said(camera, "kinesisVideoStreamGetStreamInfo", kinesisVideoStreamGetStreamInfo(camera->handle, &info));
    if (info != NULL) CHECK_STR(info->name, camera->name);
}

/* Ends and beginnings. */
static void steer(struct camera *camera)
{
    uint32_t pick = chance(camera, 12);
    if (pick < 3) {
        (void)said(camera, "kinesisVideoStreamResetConnection", kinesisVideoStreamResetConnection(camera->handle));
    } else if (pick < 6) {
        say(camera, "kinesisVideoStreamResetStream ...");
        (void)said(camera, "... reset", kinesisVideoStreamResetStream(camera->handle));
    } else if (pick < 9) {
        say(camera, "stopKinesisVideoStream%s ...", pick == 8 ? "Sync" : "");
        (void)said(camera, "... stopped", pick == 8 ? stopKinesisVideoStreamSync(camera->handle)
                                                    : stopKinesisVideoStream(camera->handle));
    } else {
        (void)camera_free(camera);
    }
}

static void step_camera(struct camera *camera)
{
    if (!IS_VALID_STREAM_HANDLE(camera->handle) && chance(camera, 8) != 0) {
        choose_stream(camera);
        if (chance(camera, 3) == 0) plan(camera);
        (void)camera_open(camera, chance(camera, 3) == 0);
        return;
    }
    switch (chance(camera, 24)) {
    case 0:
    case 1:
    case 2: put(camera); return;
    case 3:
    case 4:
    case 5:
    case 6: put_group(camera); return;
    case 7: (void)camera_end_fragment(camera); return;
    case 8: read_some(camera); return;
    case 9:
    case 10:
    case 11:
    case 12: camera_read_all(camera, any_upload(camera)); return;
    case 13:
    case 14:
    case 15: acknowledge(camera); return;
    case 16: acknowledge_in_bytes(camera); return;
    case 17:
    case 18: answer(camera); return;
    case 19: plan(camera); return;
    case 20: chance(camera, 3) == 0 ? outage(camera) : terminate(camera); return;
    case 21: metadata(camera); return;
    case 22: chance(camera, 3) == 0 ? format(camera) : measure(camera); return;
    default:
        if (chance(camera, 2) == 0) steer(camera);
        return;
    }
}

/* Out of a callback: mostly nothing, as programs do; else what network layers and programs do there. */
static void call_back(struct camera *camera)
{
    uint32_t pick = chance(camera, 40);
    if (pick < 4 && camera->upload_count != 0) camera_read_all(camera, camera->upload_count - 1u);
    else if (pick == 4) terminate(camera);
    else if (pick == 5) put(camera);
    else if (pick == 6) acknowledge(camera);
    else if (pick == 7 && chance(camera, 4) == 0) steer(camera);
}

/* ---- steps of the client, and a story ---------------------------------------------------------------------------- */

static void plan_client(struct camera *client)
{
    static const enum call_kind kinds[] = { DEVICE, CERT, TAG };
    enum call_kind kind = kinds[chance(client, 3)];
    if (chance(client, 3) == 0) client->program->credentials = STATUS_INVALID_OPERATION;
    client->plan[kind] = chance(client, 4) == 0 ? REFUSES : chance(client, 2) == 0 ? KEEPS_SILENT : ANSWERS;
    if (chance(client, 2) == 0) client->result[kind] = any_result(client);
}

static void move_time(struct program *p, uint32_t pick)
{
    UINT64 due = INVALID_TIMESTAMP_VALUE;
    (void)kvsNextDeadline(p->client, &due);
    if (pick == 0) p->now -= p->now > START_TIME + 30 * SECOND ? 20 * SECOND : 0;
    else if (pick < 5 && due != INVALID_TIMESTAMP_VALUE && due > p->now && due < p->now + 10 * HOUR) p->now = due;
    else p->now += pick * 150 * MS;
}

static void step_client(struct program *p)
{
    struct camera *client = &p->cameras[CAMERAS];
    ClientMetrics metrics = { .version = CLIENT_METRICS_CURRENT_VERSION };
    uint32_t pick = chance(client, 16);
    if (!IS_VALID_CLIENT_HANDLE(p->client)) create_client(p);
    if (pick < 9) {
        move_time(p, chance(client, 20));
        (void)said(client, "kvsPoke", kvsPoke(p->client));
    } else if (pick < 11) {
        answer(client);
    } else if (pick < 13) {
        plan_client(client);
    } else if (pick < 14) {
        (void)said(client, "getKinesisVideoMetrics", getKinesisVideoMetrics(p->client, &metrics));
        say(client, "store %" PRIu64, (uint64_t)metrics.contentStoreSize);
    } else if (chance(client, 8) == 0) {
        (void)said(client, "stopKinesisVideoStreams", stopKinesisVideoStreams(p->client));
    } else if (chance(client, 8) == 0) {
        free_client(p);
    }
}

struct outcome {
    uint64_t lines[CAMERAS + 1], bytes;
    uint32_t uploads;
};

/* As text, which is the same on a machine of the other byte order. */
static void add_upload(struct digest *all, const struct camera_upload *upload)
{
    char text[40];
    int size = snprintf(text, sizeof text, "%016" PRIx64 " %" PRIu64, upload->bytes.value, upload->size);
    digest_add(all, text, (size_t)size);
}

static struct outcome live(uint64_t seed, FILE *out)
{
    static struct program p;
    struct outcome outcome = { .uploads = 0 };
    struct digest bytes = digest_begin();
    uint64_t order = seed;
    program_begin(&p);
    p.out = out;
    p.random = seed;
    p.calls_back = call_back;
    for (uint32_t i = 0; i <= CAMERAS; i++) p.cameras[i].random = seed * 1000u + i;
    choose_client(&p);
    create_client(&p);
    for (uint32_t i = 0; i < STEPS; i++) {
        uint32_t pick = chance_of(&order) % 16;
        if (pick < 2) step_client(&p);
        else step_camera(&p.cameras[pick < 9 ? 0 : pick % CAMERAS]);
    }
    free_client(&p);
    for (uint32_t i = 0; i <= CAMERAS; i++) {
        const struct camera *camera = &p.cameras[i];
        outcome.lines[i] = camera->lines.value;
        for (uint32_t j = 0; j < camera->upload_count; j++) add_upload(&bytes, &camera->uploads[j]);
        outcome.uploads += camera->upload_count;
    }
    for (uint32_t i = 0; i < LOCKS; i++) CHECK_EQ(p.locks[i], 0);
    outcome.bytes = bytes.value;
    return outcome;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static void record(void)
{
    printf("# Of each seed of test_stories.c: what cameras a, b, c and the client saw, the bytes of all uploads.\n"
           "# Written by: make -C tests/native/pic stories\n");
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct outcome outcome = live(seed, NULL);
        printf("%" PRIu64, seed);
        for (uint32_t i = 0; i <= CAMERAS; i++) printf(" %016" PRIx64, outcome.lines[i]);
        printf(" %016" PRIx64 "\n", outcome.bytes);
    }
}

/* 1 when the line is this seed's and says the same. */
static int is_as_recorded(const char *line, uint64_t seed, const struct outcome *outcome)
{
    char *at = NULL;
    int is_same = strtoull(line, &at, 10) == seed;
    for (uint32_t i = 0; i <= CAMERAS; i++) is_same = strtoull(at, &at, 16) == outcome->lines[i] && is_same;
    return strtoull(at, &at, 16) == outcome->bytes && is_same;
}

static void compare(FILE *file)
{
    char line[200];
    uint64_t seed = 0, uploads = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (line[0] == '#') continue;
        struct outcome outcome = live(++seed, NULL);
        uploads += outcome.uploads;
        if (CHECK(is_as_recorded(line, seed, &outcome))) continue;
        fprintf(stderr, "story %" PRIu64 " is another: test_stories show %" PRIu64 "\n", seed, seed);
        return;
    }
    CHECK_EQ(seed, SEEDS);
    printf("%" PRIu64 " stories, %" PRIu64 " uploads\n", seed, uploads);
}

int main(int argument_count, char **arguments)
{
    if (argument_count > 2 && strcmp(arguments[1], "show") == 0) {
        (void)live(strtoull(arguments[2], NULL, 10), stdout);
    } else if (argument_count > 1 && strcmp(arguments[1], "record") == 0) {
        record();
        return check_failed != 0;
    } else {
        FILE *file = fopen(FILE_NAME, "r");
        if (CHECK(file != NULL)) {
            compare(file);
            fclose(file);
        }
    }
    return CHECK_DONE();
}

/* main.c — a camera over pic.h: an encoder thread puts frames, net_curl.c brings them to the service. The encoder is a
 * file of H.264 in Annex B, read again and again. It ends when all frames are persisted or the stop timeout has passed,
 * prints the ledger, and exits with 0 when nothing was lost. */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net.h"

#define USAGE \
    "upload STREAM FILE.h264 [SECONDS [FPS [STOP_TIMEOUT]]]\n" \
    "Plays FILE for SECONDS (10) at FPS (25) into STREAM; 0 seconds: once, as fast as it is taken.\n" \
    "Ends at the latest STOP_TIMEOUT seconds (30) after the last frame.\n" \
    "Environment: KVS_ENDPOINT (a local endpoint; else AWS), AWS_REGION (us-east-1), AWS_ACCESS_KEY_ID,\n" \
    "AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, KVS_CA_FILE (certificates to trust, PEM).\n"

#define SECOND HUNDREDS_OF_NANOS_IN_A_SECOND
struct camera {
    const BYTE *media;
    size_t size, at;
    UINT64 seconds, fps, frames, refused;
    STREAM_HANDLE stream;
};

/* Where the next start code begins, or the end of the file. */
static size_t start_code(const struct camera *camera, size_t at)
{
    for (; at + 3 < camera->size; at++) {
        const BYTE *bytes = camera->media + at;
        if (bytes[0] == 0 && bytes[1] == 0 && (bytes[2] == 1 || (bytes[2] == 0 && bytes[3] == 1))) return at;
    }
    return camera->size;
}

/* The next access unit (ITU-T H.264, 7.4.1.2.3): a new one begins with a delimiter, parameter set or SEI, or with a
 * slice whose first macroblock is 0, once there was a slice. */
static size_t next_unit(struct camera *camera, const BYTE **unit, int *is_key)
{
    size_t begin = camera->at, at = begin;
    int has_slice = 0;
    *is_key = 0;
    while (at + 4 < camera->size) {
        const BYTE *nal = camera->media + at + (camera->media[at + 2] == 1 ? 3 : 4);
        const int type = nal[0] & 31, is_slice = type == 1 || type == 5;
        if (has_slice && (is_slice ? (nal[1] & 0x80) != 0 : type >= 6 && type <= 9)) break;
        has_slice |= is_slice;
        *is_key |= type == 5;
        at = start_code(camera, at + 3);
    }
    *unit = camera->media + begin;
    camera->at = at;
    return (at + 4 < camera->size ? at : camera->size) - begin;
}

static void *encoder_thread(void *argument)
{
    struct camera *camera = argument;
    const UINT64 begin = now_ticks(), end = camera->seconds * camera->fps;
    for (UINT64 i = 0; camera->seconds == 0 ? camera->at < camera->size : i < end; i++) {
        const BYTE *unit;
        int is_key;
        if (camera->at >= camera->size) camera->at = 0; /* once more from the begin */
        const UINT32 size = (UINT32)next_unit(camera, &unit, &is_key);
        const UINT64 time = begin + i * SECOND / camera->fps, now = now_ticks();
        Frame frame = { FRAME_CURRENT_VERSION, (UINT32)i, is_key ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE, time, time,
                        SECOND / camera->fps, size, (PBYTE)unit, 1 };
        struct timespec wait = { 0, (long)((time - now) * DEFAULT_TIME_UNIT_IN_NANOS) };
        if (camera->seconds != 0 && now < time && time - now < SECOND) nanosleep(&wait, NULL);
        const STATUS status = putKinesisVideoFrame(camera->stream, &frame);
        camera->frames++;
        if (STATUS_FAILED(status) && camera->refused++ == 0)
            fprintf(stderr, "frame %llu was refused with 0x%08x\n", (unsigned long long)i, (unsigned)status);
    }
    return NULL;
}

static int read_file(struct camera *camera, const char *name)
{
    static BYTE media[64 * 1024 * 1024]; /* touched as far as the file goes */
    FILE *file = fopen(name, "rb");
    camera->media = media;
    camera->size = file == NULL ? 0 : fread(media, 1, sizeof media, file);
    if (file != NULL) fclose(file);
    if (camera->size > 8 && start_code(camera, 0) == 0) return 1;
    fprintf(stderr, "%s cannot be read, or does not begin with a start code of Annex B.\n", name);
    return 0;
}

static STATUS on_error(UINT64 custom, STREAM_HANDLE stream, UPLOAD_HANDLE upload, UINT64 time, STATUS status)
{
    (void)custom, (void)stream, (void)upload, (void)time;
    fprintf(stderr, "0x%08x%s\n", (unsigned)status, IS_RECOVERABLE_ERROR(status) ? ": the library goes on" : "");
    return STATUS_SUCCESS;
}

static STATUS on_stale(UINT64 custom, STREAM_HANDLE stream, UINT64 since)
{
    (void)custom, (void)since;
    return kinesisVideoStreamResetConnection(stream); /* bytes went out and no ACK came: the connection may be dead */
}

static STATUS open_stream(struct camera *camera, const char *name, UINT64 stop_s, ClientCallbacks *callbacks,
                          CLIENT_HANDLE *client)
{
    static TrackInfo track = { .trackId = 1, .codecId = "V_MPEG4/ISO/AVC", .trackType = MKV_TRACK_INFO_TYPE_VIDEO };
    static DeviceInfo device = { .version = DEVICE_INFO_CURRENT_VERSION, .name = "camera", .streamCount = 1,
                                 .storageInfo = { .storageSize = 64 * 1024 * 1024 },
                                 .clientInfo = { .version = CLIENT_INFO_CURRENT_VERSION } };
    static StreamInfo info = { .version = STREAM_INFO_CURRENT_VERSION, .retention = 24 * HUNDREDS_OF_NANOS_IN_AN_HOUR,
                               .streamCaps = { .contentType = "video/h264", .keyFrameFragmentation = TRUE,
                                               .frameTimecodes = TRUE, .absoluteFragmentTimes = TRUE,
                                               .fragmentAcks = TRUE, .recoverOnError = TRUE,
                                               .allowStreamCreation = TRUE, .trackInfoCount = 1,
                                               .bufferDuration = 600 * SECOND, /* of an outage, as memory allows */
                                               .connectionStalenessDuration = 20 * SECOND } };
    StreamCaps *caps = &info.streamCaps;
    device.clientInfo.stopStreamTimeout = stop_s * SECOND;
    snprintf(info.name, sizeof info.name, "%s", name);
    caps->streamingType = camera->seconds == 0 ? STREAMING_TYPE_OFFLINE : STREAMING_TYPE_REALTIME;
    caps->nalAdaptationFlags = NAL_ADAPTATION_ANNEXB_NALS | NAL_ADAPTATION_ANNEXB_CPD_NALS;
    caps->frameRate = (UINT32)camera->fps;
    caps->trackInfoList = &track;
    callbacks->streamErrorReportFn = on_error;
    callbacks->streamConnectionStaleFn = on_stale;
    STATUS status = createKinesisVideoClientSync(&device, callbacks, client);
    return STATUS_FAILED(status) ? status : createKinesisVideoStreamSync(*client, &info, &camera->stream);
}

static int report(const struct camera *camera, STATUS stopped)
{
    StreamMetrics metrics = { .version = STREAM_METRICS_CURRENT_VERSION };
    getKinesisVideoStreamMetrics(camera->stream, &metrics);
    const unsigned long long lost = metrics.droppedFrames + metrics.skippedFrames, held = metrics.overallViewSize;
    printf("frames put %llu, refused %llu, lost %llu; fragments persisted %llu; bytes not acknowledged %llu; "
           "stopped with 0x%08x\n", (unsigned long long)camera->frames, (unsigned long long)camera->refused, lost,
           (unsigned long long)metrics.persistedAcks, held, (unsigned)stopped);
    return camera->refused + lost + held == 0 && STATUS_SUCCEEDED(stopped) ? 0 : 1;
}

int main(int count, char **arguments)
{
    struct camera camera = { .seconds = count > 3 ? strtoull(arguments[3], NULL, 10) : 10,
                             .fps = count > 4 ? strtoull(arguments[4], NULL, 10) : 25 };
    struct net_config config = { getenv("KVS_ENDPOINT"), getenv("AWS_REGION"), getenv("AWS_ACCESS_KEY_ID"),
                                 getenv("AWS_SECRET_ACCESS_KEY"), getenv("AWS_SESSION_TOKEN"), getenv("KVS_CA_FILE") };
    const UINT64 stop_s = count > 5 ? strtoull(arguments[5], NULL, 10) : 30;
    char aws[128];
    ClientCallbacks callbacks;
    CLIENT_HANDLE client = INVALID_CLIENT_HANDLE_VALUE;
    pthread_t encoder;
    int code = 1;
    if (count < 3 || camera.fps == 0 || stop_s == 0) return fputs(USAGE, stderr), 2;
    if (!read_file(&camera, arguments[2])) return 2;
    if (config.region == NULL) config.region = "us-east-1";
    snprintf(aws, sizeof aws, "https://kinesisvideo.%s.amazonaws.com", config.region);
    if (config.endpoint == NULL) config.endpoint = aws;
    if (config.secret_key == NULL) config.access_key = NULL;
    struct net *net = net_start(&config, &callbacks);
    if (net == NULL) return 3;
    STATUS status = open_stream(&camera, arguments[1], stop_s, &callbacks, &client);
    if (STATUS_FAILED(status)) fprintf(stderr, "the stream did not open: 0x%08x\n", (unsigned)status);
    if (STATUS_SUCCEEDED(status) && pthread_create(&encoder, NULL, encoder_thread, &camera) == 0) {
        pthread_join(encoder, NULL);
        code = report(&camera, stopKinesisVideoStreamSync(camera.stream));
    }
    freeKinesisVideoClient(&client);
    net_stop(net);
    return code;
}

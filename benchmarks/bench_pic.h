/* bench_pic.h — what the benchmarks of pic.h share: a program that uses the field's names, its network layer that
 * answers every order inside the call, and counters of allocations, bytes, locks and clock reads.
 *   Use   pic_up(&p, &(struct pic_setup){ .stream_count = 1 }); pic_put(&p, 0, data, size, 1); pic_read_all(&p, 0);
 *         pic_persist(&p, 0, pts); pic_down(&p);
 * Allocations are counted always: the linker sends malloc, calloc and free here (--wrap). Locks are the library's own
 * unless is_counting. The clock is the library's, unless counted. A stream keeps up to an hour and drops nothing. */
#ifndef KVS_BENCH_PIC_H
#define KVS_BENCH_PIC_H

#include "bench.h"
#include "pic.h"
#include "pic/sync.h"

#define PIC_MUST(call)                                                                                                 \
    do {                                                                                                               \
        STATUS must_status = (call);                                                                                   \
        if (STATUS_FAILED(must_status)) pic_die(__FILE__, __LINE__, #call, must_status);                               \
    } while (0)

static inline void pic_die(const char *file, int line, const char *what, STATUS status)
{
    fprintf(stderr, "%s:%d: %s: status 0x%08x\n", file, line, what, status);
    exit(1);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static struct bench_counts pic_counts; /* of the whole process; only one thread may allocate while it matters */
static int pic_counts_memory = 1;      /* 0: for several threads */

void *__real_malloc(size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *block);

void *__wrap_malloc(size_t size)
{
    struct bench_block *block = __real_malloc(sizeof *block + size);
    if (block == NULL) return NULL;
    block->size = size;
    if (!pic_counts_memory) return block + 1;
    pic_counts.allocs++;
    pic_counts.bytes += size;
    if (size > KVS_SLAB_SIZE && size <= KVS_SLAB_SIZE + 64u && pic_counts.slab_count < BENCH_SLABS_MAX)
        pic_counts.slabs[pic_counts.slab_count++] = (uint8_t *)(block + 1) + (size - KVS_SLAB_SIZE);
    return block + 1;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *block = __wrap_malloc(count * size);
    return block != NULL ? memset(block, 0, count * size) : NULL;
}

void __wrap_free(void *payload)
{
    struct bench_block *block = (struct bench_block *)payload - 1;
    if (payload == NULL) return;
    if (pic_counts_memory) pic_counts.bytes -= block->size;
    __real_free(block);
}

/* ---- a program and its network layer ----------------------------------------------------------------------------- */

struct pic_setup {
    uint32_t stream_count;
    uint8_t is_counting; /* locks and clock reads too */
    uint8_t is_quiet;    /* the program wants no notices of data (no streamDataAvailableFn) */
};

struct pic_program_stream {
    STREAM_HANDLE stream;
    UPLOAD_HANDLE upload;
    UINT64 pts_hns;
    uint8_t apart[128]; /* threads do not share lines of the cache */
};

struct pic_program {
    CLIENT_HANDLE client;
    struct pic_program_stream *streams;
    UPLOAD_HANDLE next_upload;
    UINT64 clock_reads, data_notices;
    BYTE buffer[1 << 17];
};

static inline struct pic_program *pic_of(UINT64 custom) { return (struct pic_program *)(uintptr_t)custom; }

static inline UINT64 pic_counted_clock(UINT64 custom)
{
    pic_of(custom)->clock_reads++;
    return kvs_host_now_hns();
}

static inline void pic_counted_lock(UINT64 custom, MUTEX mutex)
{
    pic_counts.lock_pairs++;
    kinesisVideoStreamDefaultLockMutex(custom, mutex);
}

static inline STATUS pic_no_token(UINT64 custom, PBYTE *bytes, PUINT32 size, PUINT64 expiration)
{
    static BYTE token[] = "token";
    (void)custom;
    *bytes = token;
    *size = sizeof token;
    *expiration = INVALID_TIMESTAMP_VALUE;
    return STATUS_SUCCESS;
}

static inline STATUS pic_create_device(UINT64 custom, PCHAR device, PServiceCallContext context)
{
    static char arn[] = "arn:aws:kinesisvideo:us-east-1:123456789012:device/a/1";
    (void)custom, (void)device;
    return createDeviceResultEvent(context->customData, SERVICE_CALL_RESULT_OK, arn);
}

static inline STATUS pic_describe(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    StreamDescription description;
    (void)custom;
    memset(&description, 0, sizeof description);
    description.version = STREAM_DESCRIPTION_CURRENT_VERSION;
    snprintf(description.streamArn, sizeof description.streamArn, "arn:aws:kinesisvideo:us-east-1:1:stream/%s/1", name);
    description.streamStatus = STREAM_STATUS_ACTIVE;
    description.retention = 2 * HUNDREDS_OF_NANOS_IN_AN_HOUR;
    return describeStreamResultEvent(context->customData, SERVICE_CALL_RESULT_OK, &description);
}

static inline STATUS pic_create_stream(UINT64 custom, PCHAR device, PCHAR name, PCHAR content_type, PCHAR kms,
                                       UINT64 retention, PServiceCallContext context)
{
    (void)custom, (void)device, (void)name, (void)content_type, (void)kms, (void)retention, (void)context;
    return STATUS_NOT_IMPLEMENTED; /* every stream is there already */
}

static inline STATUS pic_endpoint(UINT64 custom, PCHAR name, PCHAR api, PServiceCallContext context)
{
    static char endpoint[] = "https://s-1234abcd.kinesisvideo.us-east-1.amazonaws.com";
    (void)custom, (void)name, (void)api;
    return getStreamingEndpointResultEvent(context->customData, SERVICE_CALL_RESULT_OK, endpoint);
}

static inline STATUS pic_token(UINT64 custom, PCHAR name, STREAM_ACCESS_MODE mode, PServiceCallContext context)
{
    static BYTE token[] = "token";
    (void)custom, (void)name, (void)mode;
    return getStreamingTokenResultEvent(context->customData, SERVICE_CALL_RESULT_OK, token, sizeof token,
                                        INVALID_TIMESTAMP_VALUE);
}

/* The connection stands at once; the number in the name says which stream it is. */
static inline STATUS pic_put_stream(UINT64 custom, PCHAR name, PCHAR container, UINT64 start, BOOL is_absolute,
                                    BOOL wants_acks, PCHAR endpoint, PServiceCallContext context)
{
    struct pic_program *p = pic_of(custom);
    UPLOAD_HANDLE upload = ++p->next_upload;
    (void)container, (void)start, (void)is_absolute, (void)wants_acks, (void)endpoint;
    p->streams[atoi(name + sizeof "camera-" - 1)].upload = upload;
    return putStreamResultEvent(context->customData, SERVICE_CALL_RESULT_OK, upload);
}

static inline STATUS pic_data(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload, UINT64 duration,
                              UINT64 size)
{
    (void)stream, (void)name, (void)upload, (void)duration, (void)size;
    if (pic_counts_memory) pic_of(custom)->data_notices++; /* one thread */
    return STATUS_SUCCESS;
}

static inline void pic_fill_callbacks(struct pic_program *p, const struct pic_setup *setup, ClientCallbacks *c)
{
    memset(c, 0, sizeof *c);
    c->customData = (UINT64)(uintptr_t)p;
    c->getSecurityTokenFn = pic_no_token;
    c->createDeviceFn = pic_create_device;
    c->describeStreamFn = pic_describe;
    c->createStreamFn = pic_create_stream;
    c->getStreamingEndpointFn = pic_endpoint;
    c->getStreamingTokenFn = pic_token;
    c->putStreamFn = pic_put_stream;
    if (!setup->is_quiet) c->streamDataAvailableFn = pic_data;
    if (!setup->is_counting) return;
    c->getCurrentTimeFn = pic_counted_clock;
    c->createMutexFn = kinesisVideoStreamDefaultCreateMutex;
    c->lockMutexFn = pic_counted_lock;
    c->unlockMutexFn = kinesisVideoStreamDefaultUnlockMutex;
    c->freeMutexFn = kinesisVideoStreamDefaultFreeMutex;
    c->createConditionVariableFn = kinesisVideoStreamDefaultCreateConditionVariable;
    c->broadcastConditionVariableFn = kinesisVideoStreamDefaultBroadcastConditionVariable;
    c->waitConditionVariableFn = kinesisVideoStreamDefaultWaitConditionVariable;
    c->freeConditionVariableFn = kinesisVideoStreamDefaultFreeConditionVariable;
}

static inline void pic_open(struct pic_program *p, uint32_t index)
{
    TrackInfo track;
    StreamInfo info;
    memset(&track, 0, sizeof track);
    memset(&info, 0, sizeof info);
    track.trackId = 1;
    track.trackType = MKV_TRACK_INFO_TYPE_VIDEO;
    memcpy(track.codecId, "V_MPEG4/ISO/AVC", sizeof "V_MPEG4/ISO/AVC");
    info.version = STREAM_INFO_CURRENT_VERSION;
    snprintf(info.name, sizeof info.name, "camera-%u", index);
    info.retention = 2 * HUNDREDS_OF_NANOS_IN_AN_HOUR;
    info.streamCaps.trackInfoList = &track;
    info.streamCaps.trackInfoCount = 1;
    info.streamCaps.keyFrameFragmentation = info.streamCaps.frameTimecodes = TRUE;
    info.streamCaps.absoluteFragmentTimes = info.streamCaps.fragmentAcks = info.streamCaps.recoverOnError = TRUE;
    info.streamCaps.bufferDuration = info.streamCaps.replayDuration = HUNDREDS_OF_NANOS_IN_AN_HOUR;
    info.streamCaps.frameRate = BENCH_FPS;
    PIC_MUST(createKinesisVideoStreamSync(p->client, &info, &p->streams[index].stream));
    p->streams[index].pts_hns = BENCH_T0;
}

/* The client alone; pic_open makes its streams. */
static inline void pic_up_client(struct pic_program *p, const struct pic_setup *setup)
{
    DeviceInfo device;
    ClientCallbacks callbacks;
    memset(p, 0, sizeof *p);
    memset(&device, 0, sizeof device);
    p->streams = __real_malloc((setup->stream_count + 1u) * sizeof *p->streams); /* not counted */
    pic_fill_callbacks(p, setup, &callbacks);
    memset(&pic_counts, 0, sizeof pic_counts);
    device.version = DEVICE_INFO_CURRENT_VERSION;
    device.streamCount = setup->stream_count + 1u;
    device.storageInfo.storageSize = UINT64_C(4) << 30;
    device.clientInfo.version = CLIENT_INFO_CURRENT_VERSION;
    device.clientInfo.automaticStreamingFlags = AUTOMATIC_STREAMING_ALWAYS_CONTINUOUS;
    PIC_MUST(createKinesisVideoClientSync(&device, &callbacks, &p->client));
}

static inline void pic_up(struct pic_program *p, const struct pic_setup *setup)
{
    pic_up_client(p, setup);
    for (uint32_t i = 0; i < setup->stream_count; i++) pic_open(p, i);
}

static inline void pic_down(struct pic_program *p)
{
    PIC_MUST(freeKinesisVideoClient(&p->client));
    __real_free(p->streams);
}

static inline void pic_put(struct pic_program *p, uint32_t index, uint8_t *data, uint32_t size, int is_key)
{
    struct pic_program_stream *s = &p->streams[index];
    Frame frame = { .flags = is_key ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE,
                    .decodingTs = s->pts_hns,
                    .presentationTs = s->pts_hns,
                    .duration = BENCH_FRAME_HNS,
                    .size = size,
                    .frameData = data,
                    .trackId = 1 };
    PIC_MUST(putKinesisVideoFrame(s->stream, &frame));
    s->pts_hns += BENCH_FRAME_HNS;
}

/* One call of the network layer; whether there is more. */
static inline int pic_read(struct pic_program *p, uint32_t index, BYTE *buffer, UINT32 size)
{
    UINT32 filled = 0;
    struct pic_program_stream *s = &p->streams[index];
    STATUS status = getKinesisVideoStreamData(s->stream, s->upload, buffer, size, &filled);
    if (status != STATUS_NO_MORE_DATA_AVAILABLE) PIC_MUST(status);
    return status == STATUS_SUCCESS;
}

static inline void pic_read_all(struct pic_program *p, uint32_t index)
{
    while (pic_read(p, index, p->buffer, sizeof p->buffer)) {
    }
}

/* The service persists the fragment that begins at this pts; the network layer has parsed the ACK. */
static inline void pic_persist(struct pic_program *p, uint32_t index, uint64_t pts_hns)
{
    FragmentAck ack = { .ackType = FRAGMENT_ACK_TYPE_PERSISTED,
                        .timestamp = pts_hns / HUNDREDS_OF_NANOS_IN_A_MILLISECOND,
                        .sequenceNumber = "91343852333181432392682062614222",
                        .result = SERVICE_CALL_RESULT_OK };
    PIC_MUST(kinesisVideoStreamFragmentAck(p->streams[index].stream, p->streams[index].upload, &ack));
}

#endif

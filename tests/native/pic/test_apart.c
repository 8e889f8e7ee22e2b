/* test_apart.c — streams of one client beside each other. Goal: threads that work on different streams meet at no lock,
 * locks are always taken in the same order and no callback comes under one, a store that several streams fill refuses
 * frames and drops none, and a name is one stream's however many there are.
 *
 * The program brings its own locks, which note who is held while another is taken. */
#include "fixture.h"

#define LOCKS 200
#define FRAME_SIZE 1000

static uint8_t taken[LOCKS];         /* since noted() */
static uint8_t follows[LOCKS][LOCKS]; /* [a][b]: b was taken while a was held */
static MUTEX held[LOCKS], lock_count;
static int held_count;

static MUTEX make_lock(UINT64 custom, BOOL is_reentrant)
{
    (void)custom, (void)is_reentrant;
    CHECK(lock_count + 1 < LOCKS);
    return ++lock_count;
}

static void take_lock(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    for (int i = 0; i < held_count; i++) {
        CHECK(held[i] != mutex);
        follows[held[i]][mutex] = 1;
    }
    held[held_count++] = mutex;
    taken[mutex] = 1;
}

static void give_lock(UINT64 custom, MUTEX mutex)
{
    (void)custom;
    int at = held_count - 1;
    while (at >= 0 && held[at] != mutex) at--;
    CHECK(at >= 0);
    memmove(&held[at], &held[at + 1], (size_t)(held_count - at - 1) * sizeof held[0]);
    held_count--;
}

static void free_lock(UINT64 custom, MUTEX mutex) { (void)custom, (void)mutex; }
static CVAR make_condition(UINT64 custom) { (void)custom; return malloc(sizeof(pthread_cond_t)); }
static STATUS broadcast(UINT64 custom, CVAR condition) { (void)custom, (void)condition; return STATUS_SUCCESS; }
static STATUS no_wait(UINT64 custom, CVAR condition, MUTEX mutex, UINT64 timeout)
{
    (void)custom, (void)condition, (void)mutex, (void)timeout;
    return STATUS_OPERATION_TIMED_OUT;
}
static void free_condition(UINT64 custom, CVAR condition) { (void)custom; free(condition); }

static STATUS data_was_reported(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload, UINT64 duration,
                                UINT64 size)
{
    (void)stream, (void)name, (void)upload, (void)duration, (void)size;
    CHECK_EQ(held_count, 0);
    fixture_of(custom)->data_count++;
    return STATUS_SUCCESS;
}

static STATUS ack_was_reported(UINT64 custom, STREAM_HANDLE stream, UPLOAD_HANDLE upload, PFragmentAck ack)
{
    (void)stream, (void)upload, (void)ack;
    CHECK_EQ(held_count, 0);
    fixture_of(custom)->ack_count++;
    return STATUS_SUCCESS;
}

static void begin(struct fixture *f)
{
    fixture_init(f);
    memset(follows, 0, sizeof follows);
    lock_count = 0;
    f->callbacks.createMutexFn = make_lock;
    f->callbacks.lockMutexFn = take_lock;
    f->callbacks.unlockMutexFn = give_lock;
    f->callbacks.freeMutexFn = free_lock;
    f->callbacks.createConditionVariableFn = make_condition;
    f->callbacks.broadcastConditionVariableFn = broadcast;
    f->callbacks.waitConditionVariableFn = no_wait;
    f->callbacks.freeConditionVariableFn = free_condition;
    f->callbacks.streamDataAvailableFn = data_was_reported;
    f->callbacks.fragmentAckReceivedFn = ack_was_reported;
}

static STREAM_HANDLE open_stream(struct fixture *f, const char *name)
{
    STREAM_HANDLE stream = INVALID_STREAM_HANDLE_VALUE;
    memcpy(f->info.name, name, strlen(name) + 1);
    CHECK_EQ(createKinesisVideoStream(f->client, &f->info, &stream), STATUS_SUCCESS);
    return stream;
}

/* A frame in, before of, and out again; which locks that took. */
static void put_and_read(struct fixture *f, STREAM_HANDLE stream, UPLOAD_HANDLE upload, uint8_t *locks)
{
    int before = f->data_count;
    memset(taken, 0, sizeof taken);
    f->stream = stream;
    CHECK_EQ(fixture_put_sized(f, FRAME_FLAG_NONE, FRAME_SIZE), STATUS_SUCCESS);
    CHECK_EQ(f->data_count, before + 1);
    CHECK_EQ(fixture_read(f, upload, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    memcpy(locks, taken, sizeof taken);
}

static void test_streams_share_no_lock(void)
{
    struct fixture f;
    STREAM_HANDLE streams[2];
    uint8_t locks[2][LOCKS];
    begin(&f);
    fixture_client(&f);
    streams[0] = open_stream(&f, "one");
    streams[1] = open_stream(&f, "two");
    for (int i = 0; i < 2; i++) { /* both sessions stand, and what they had to say is said */
        f.stream = streams[i];
        CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
        CHECK_EQ(fixture_read(&f, 100 + (UPLOAD_HANDLE)i, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
    }
    f.data_count = 0;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 2; i++) put_and_read(&f, streams[i], 100 + (UPLOAD_HANDLE)i, locks[i]);
        for (int i = 0; i < LOCKS; i++) CHECK(!locks[0][i] || !locks[1][i]);
    }
    fixture_free(&f);
}

static void test_locks_have_one_order(void)
{
    struct fixture f;
    ClientMetrics metrics = { .version = CLIENT_METRICS_CURRENT_VERSION };
    begin(&f);
    fixture_client(&f);
    (void)open_stream(&f, "other");
    f.stream = open_stream(&f, "camera");
    for (int i = 0; i < 6; i++) {
        UPLOAD_HANDLE upload = f.next_upload;
        UINT64 pts = f.pts;
        fixture_put_fragments(&f, 2, 5);
        if (upload == f.next_upload) upload--;
        (void)fixture_read(&f, upload, NULL);
        CHECK_EQ(fixture_persisted(&f, upload, pts), STATUS_SUCCESS);
        (void)fixture_metrics(&f);
        CHECK_EQ(getKinesisVideoMetrics(f.client, &metrics), STATUS_SUCCESS);
        CHECK_EQ(kinesisVideoStreamTerminated(f.stream, upload, SERVICE_CALL_NETWORK_CONNECTION_TIMEOUT),
                 STATUS_SUCCESS);
        f.now += 20 * SECOND;
        CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
        if (i == 3) CHECK_EQ(kinesisVideoStreamResetStream(f.stream), STATUS_SUCCESS);
    }
    CHECK(f.ack_count > 0);
    CHECK_EQ(freeKinesisVideoStream(&f.stream), STATUS_SUCCESS);
    fixture_free(&f);
    CHECK_EQ(held_count, 0);
    for (int a = 0; a < LOCKS; a++)
        for (int b = 0; b < LOCKS; b++) CHECK(!follows[a][b] || !follows[b][a]);
}

/* One stream has room that it was granted early; the other takes `count` frames of the store, then it goes on. */
static void fill(int count)
{
    struct fixture f;
    STREAM_HANDLE early, busy;
    begin(&f);
    f.info.streamCaps.frameRate = 1000;
    f.info.streamCaps.bufferDuration = HOUR;
    fixture_client(&f);
    early = f.stream = open_stream(&f, "early");
    busy = open_stream(&f, "busy");
    CHECK_EQ(fixture_put_sized(&f, FRAME_FLAG_KEY_FRAME, 20000), STATUS_SUCCESS);
    f.stream = busy;
    for (int i = 0; i < count; i++) (void)fixture_put_sized(&f, FRAME_FLAG_KEY_FRAME, 20000);
    f.stream = early;
    for (int i = 0; i < 6; i++) (void)fixture_put_sized(&f, FRAME_FLAG_KEY_FRAME, 20000);
    CHECK_EQ(f.dropped_count, 0);
    fixture_free(&f);
}

static void test_a_store_filled_by_several_refuses(void)
{
    for (int count = 460; count < 530; count++) fill(count);
}

static void test_a_name_is_one_stream_s(void)
{
    enum { COUNT = 300 };
    struct fixture f;
    static STREAM_HANDLE streams[COUNT];
    STREAM_HANDLE again = INVALID_STREAM_HANDLE_VALUE;
    char name[32];
    fixture_init(&f);
    f.device.streamCount = COUNT + 1;
    f.device.storageInfo.storageSize = UINT64_C(64) * 1024 * 1024;
    fixture_client(&f);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "camera-%d", i);
        streams[i] = open_stream(&f, name);
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(f.info.name, sizeof name, "camera-%d", i);
        CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &again), STATUS_DUPLICATE_STREAM_NAME);
        if (i % 3 != 0) continue;
        CHECK_EQ(freeKinesisVideoStream(&streams[i]), STATUS_SUCCESS);
        CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &streams[i]), STATUS_SUCCESS);
    }
    fixture_free(&f);
}

int main(void)
{
    test_streams_share_no_lock();
    test_locks_have_one_order();
    test_a_store_filled_by_several_refuses();
    test_a_name_is_one_stream_s();
    return CHECK_DONE();
}

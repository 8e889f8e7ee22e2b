/* test_allocations.c — memory that is not there. Goal: whichever allocation fails, every call answers with a status,
 * nothing leaks, and the same program works when there is memory again; also while another thread frees the client in
 * the middle of the call. Linked with --wrap, so that malloc and calloc come here. */
#include <pthread.h>

#include "fixture.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

/* Of the thread that allocates. */
static _Thread_local long left = -1; /* allocations until one fails; -1: none does */
static _Thread_local int is_failed, is_gone; /* gone: every allocation fails */
static _Thread_local int fails_on; /* from the one that fails on, every allocation does */

static void call_beside(void);

static int fails(void)
{
    call_beside();
    if (is_gone) return 1;
    if (left < 0) return 0;
    if (left-- != 0) return 0;
    is_failed = 1;
    is_gone = fails_on;
    return 1;
}

void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return fails() ? NULL : __real_calloc(count, size); }

/* What a program does in its life; each step only when the one before went well. */
static void live(struct fixture *f)
{
    static char name[] = "a", value[] = "b";
    Tag tag = { TAG_CURRENT_VERSION, name, value };
    f->device.tagCount = f->info.tagCount = 1;
    f->device.tags = f->info.tags = &tag;
    if (STATUS_FAILED(createKinesisVideoClient(&f->device, &f->callbacks, &f->client))) return;
    if (STATUS_SUCCEEDED(createKinesisVideoStream(f->client, &f->info, &f->stream))) {
        for (int i = 0; i < 12; i++) (void)fixture_put(f, i % 3 == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE);
        (void)putKinesisVideoFragmentMetadata(f->stream, name, value, TRUE);
        (void)fixture_read(f, 100, NULL);
        (void)fixture_persisted(f, 100, START_TIME);
        (void)kinesisVideoStreamTerminated(f->stream, 100, SERVICE_CALL_RESULT_OK);
        (void)fixture_read(f, 101, NULL);
        (void)kinesisVideoStreamResetStream(f->stream);
        (void)stopKinesisVideoStream(f->stream);
        (void)freeKinesisVideoStream(&f->stream);
    }
    (void)freeKinesisVideoClient(&f->client);
}

enum { STREAMS = 12, UPLOADS = 8 };

/* Rotates until so many uploads of the stream wait for their last ACK. */
static void hold_uploads(struct fixture *f)
{
    for (int i = 0; i < UPLOADS; i++) {
        fixture_put_fragments(f, 1, 3);
        CHECK_EQ(fixture_end_fragment(f), STATUS_SUCCESS);
        (void)fixture_read(f, f->next_upload - 1, NULL);
        f->now += 57 * SECOND;
        CHECK_EQ(kvsPoke(f->client), STATUS_SUCCESS);
        (void)fixture_read(f, f->next_upload - 1, NULL);
        f->pts = f->now;
    }
}

/* Every upload of 12 streams has something to report, each stream is reset and stopped, and there is no memory for the
 * reports. */
static void test_without_memory_orders_wait_and_none_is_lost(void)
{
    struct fixture f;
    STREAM_HANDLE streams[STREAMS];
    fixture_init(&f);
    f.device.streamCount = STREAMS;
    f.streaming_token_life = 60 * SECOND;
    fixture_client(&f);
    for (int i = 0; i < STREAMS; i++) {
        f.info.name[0] = (CHAR)('a' + i);
        CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &f.stream), STATUS_SUCCESS);
        streams[i] = f.stream;
        hold_uploads(&f);
    }
    CHECK(f.count[PUT] >= STREAMS * UPLOADS);
    f.script[DESCRIBE].is_silent = is_gone = 1;
    for (int i = 0; i < STREAMS; i++) {
        f.stream = streams[i];
        for (UPLOAD_HANDLE upload = 100; upload < f.next_upload; upload++)
            (void)fixture_ack_at(&f, upload, FRAGMENT_ACK_TYPE_PERSISTED, f.pts, SERVICE_CALL_RESULT_OK);
        for (int j = 0; j < 3; j++) {
            CHECK_EQ(kinesisVideoStreamResetStream(f.stream), STATUS_SUCCESS);
            CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
        }
        CHECK_EQ(kinesisVideoStreamResetStream(f.stream), STATUS_SUCCESS);
    }
    f.script[DESCRIBE].is_silent = is_gone = 0;
    int put = f.count[PUT];
    CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
    for (int i = 0; i < STREAMS; i++) {
        f.stream = f.custom[DESCRIBE] = streams[i];
        CHECK_EQ(fixture_answer(&f, DESCRIBE, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
        fixture_put_fragments(&f, 1, 3);
    }
    CHECK_EQ(f.count[PUT], put + STREAMS);
    fixture_free(&f);
}

/* An answer that finds no memory counts as a failed try: the call is made again. */
static void test_an_answer_that_finds_no_memory_is_asked_for_again(void)
{
    static const enum call_kind kinds[] = { DESCRIBE, CREATE, ENDPOINT, TOKEN };
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        fixture_init(&f);
        f.script[kinds[i]].is_silent = 1;
        if (kinds[i] == CREATE)
            f.script[DESCRIBE] = (struct call_script){ .fail_count = 1, .result = SERVICE_CALL_RESOURCE_NOT_FOUND };
        fixture_stream(&f);
        is_gone = 1;
        CHECK_EQ(fixture_answer(&f, kinds[i], SERVICE_CALL_RESULT_OK), STATUS_NOT_ENOUGH_MEMORY);
        is_gone = 0;
        CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
        CHECK_EQ(f.count[kinds[i]], 2);
        CHECK_EQ(fixture_answer(&f, kinds[i], SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
        CHECK_EQ(f.stream_ready, 1);
        fixture_free(&f);
    }
}

/* ---- beside another thread ------------------------------------------------------------------------------------- */

/* At an allocation of the maker, another thread makes a call, and the maker goes on when that call waits or has ended.
 * Under a lock it is the next allocation that is under none: the other call would need the lock. */
static _Thread_local long until_beside = -1; /* allocations; -1: none */
static _Thread_local int locks_held;
static CLIENT_HANDLE client_beside;
static STATUS (*beside)(void);
static STATUS beside_status;
static pthread_t beside_thread;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_opened = PTHREAD_COND_INITIALIZER;
static int is_gate_open, is_begun;

static void open_gate(void)
{
    pthread_mutex_lock(&gate);
    is_gate_open = 1;
    pthread_cond_broadcast(&gate_opened);
    pthread_mutex_unlock(&gate);
}

static void *run_beside(void *unused)
{
    (void)unused;
    beside_status = beside();
    open_gate();
    return NULL;
}

static void call_beside(void)
{
    if (until_beside < 0 || (until_beside > 0 && until_beside-- > 0) || locks_held != 0) return;
    until_beside = -1;
    long kept = left;
    left = -1; /* a thread's own memory is not what is tested */
    is_begun = 1;
    CHECK_EQ(pthread_create(&beside_thread, NULL, run_beside, NULL), 0);
    left = kept;
    pthread_mutex_lock(&gate);
    while (!is_gate_open) pthread_cond_wait(&gate_opened, &gate);
    pthread_mutex_unlock(&gate);
}

static void take_lock(UINT64 custom, MUTEX mutex)
{
    kinesisVideoStreamDefaultLockMutex(custom, mutex);
    locks_held++;
}

static void give_lock(UINT64 custom, MUTEX mutex)
{
    locks_held--;
    kinesisVideoStreamDefaultUnlockMutex(custom, mutex);
}

static STATUS wait_at_gate(UINT64 custom, CVAR condition, MUTEX mutex, UINT64 timeout)
{
    open_gate();
    return kinesisVideoStreamDefaultWaitConditionVariable(custom, condition, mutex, timeout);
}

static void bring_locks(ClientCallbacks *callbacks)
{
    callbacks->createMutexFn = kinesisVideoStreamDefaultCreateMutex;
    callbacks->lockMutexFn = take_lock;
    callbacks->unlockMutexFn = give_lock;
    callbacks->freeMutexFn = kinesisVideoStreamDefaultFreeMutex;
    callbacks->createConditionVariableFn = kinesisVideoStreamDefaultCreateConditionVariable;
    callbacks->broadcastConditionVariableFn = kinesisVideoStreamDefaultBroadcastConditionVariable;
    callbacks->waitConditionVariableFn = wait_at_gate;
    callbacks->freeConditionVariableFn = kinesisVideoStreamDefaultFreeConditionVariable;
}

enum memory { ENOUGH, ONE_FAILS, ALL_FAIL };

/* Makes a client, and then a stream beside the other call, which begins at the allocation `at`; the same allocation
 * fails, or it and all after it. */
static STATUS make_beside(struct fixture *f, STATUS (*call)(void), long at, enum memory memory)
{
    static char name[] = "a", value[] = "b";
    Tag tag = { TAG_CURRENT_VERSION, name, value };
    fixture_init(f);
    bring_locks(&f->callbacks);
    f->info.tagCount = 1;
    f->info.tags = &tag;
    fixture_client(f);
    client_beside = f->client;
    beside = call;
    is_gate_open = is_begun = is_failed = 0;
    until_beside = at;
    left = memory == ENOUGH ? -1 : at;
    fails_on = memory == ALL_FAIL;
    STATUS status = createKinesisVideoStream(f->client, &f->info, &f->stream);
    left = until_beside = -1;
    is_gone = fails_on = 0;
    if (is_begun) CHECK_EQ(pthread_join(beside_thread, NULL), 0);
    return status;
}

static STATUS free_client(void) { return freeKinesisVideoClient(&client_beside); }

static void test_a_client_is_freed_while_a_stream_is_made(enum memory memory)
{
    struct fixture f;
    long at = 0;
    int freed = 0;
    do {
        STATUS status = make_beside(&f, free_client, at++, memory);
        if (is_begun) {
            CHECK_EQ(beside_status, STATUS_SUCCESS);
            CHECK_EQ(f.stream_shutdown, STATUS_SUCCEEDED(status)); /* none of a stream that the program never got */
        } else {
            fixture_free(&f);
        }
        freed += is_begun;
        CHECK_EQ(f.stream == INVALID_STREAM_HANDLE_VALUE, STATUS_FAILED(status));
        CHECK_EQ(f.client_shutdown, 1);
    } while (is_begun || is_failed);
    CHECK(freed > 10);
}

static STATUS stop_streams(void)
{
    ClientMetrics metrics = { .version = CLIENT_METRICS_CURRENT_VERSION };
    STATUS status = getKinesisVideoMetrics(client_beside, &metrics);
    return STATUS_FAILED(status) ? status : stopKinesisVideoStreams(client_beside);
}

/* A stream that is not made yet is not among those that are stopped. */
static void test_streams_are_stopped_while_another_is_made(void)
{
    struct fixture f;
    long at = 0;
    do {
        CHECK_EQ(make_beside(&f, stop_streams, at++, ENOUGH), STATUS_SUCCESS);
        if (is_begun) CHECK_EQ(beside_status, STATUS_SUCCESS);
        STATUS put = fixture_put(&f, FRAME_FLAG_KEY_FRAME);
        CHECK_EQ(put, f.stream_closed ? STATUS_STREAM_HAS_BEEN_STOPPED : STATUS_SUCCESS);
        fixture_free(&f);
    } while (is_begun);
    CHECK(at > 10);
}

int main(void)
{
    struct fixture f;
    long n = 0;
    test_an_answer_that_finds_no_memory_is_asked_for_again();
    test_without_memory_orders_wait_and_none_is_lost();
    test_a_client_is_freed_while_a_stream_is_made(ENOUGH);
    test_a_client_is_freed_while_a_stream_is_made(ONE_FAILS);
    test_a_client_is_freed_while_a_stream_is_made(ALL_FAIL);
    test_streams_are_stopped_while_another_is_made();
    do {
        fixture_init(&f);
        is_failed = 0;
        left = n;
        live(&f);
        left = -1;
        CHECK_EQ(f.client, INVALID_CLIENT_HANDLE_VALUE);
        n++;
    } while (is_failed && n < 2000);
    CHECK(n > 20 && n < 2000);
    printf("%ld allocations failed in turn\n", n - 1);
    fixture_init(&f);
    live(&f);
    CHECK_EQ(f.stream_closed, 1);
    return CHECK_DONE();
}

/* test_allocations.c — memory that is not there. Goal: whichever allocation fails, every call answers with a status,
 * nothing leaks, and the same program works when there is memory again. Linked with --wrap, so that malloc and calloc
 * come here. */
#include "fixture.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static long left = -1; /* allocations until one fails; -1: none does */
static int is_failed, is_gone; /* gone: every allocation fails */

static int fails(void)
{
    if (is_gone) return 1;
    if (left < 0) return 0;
    if (left-- != 0) return 0;
    is_failed = 1;
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

int main(void)
{
    struct fixture f;
    long n = 0;
    test_an_answer_that_finds_no_memory_is_asked_for_again();
    test_without_memory_orders_wait_and_none_is_lost();
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

/* test_allocations.c — memory that is not there. Goal: whichever allocation fails, every call answers with a status,
 * nothing leaks, and the same program works when there is memory again. Linked with --wrap, so that malloc and calloc
 * come here. */
#include "fixture.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static long left = -1; /* allocations until one fails; -1: none does */
static int is_failed;

static int fails(void)
{
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

int main(void)
{
    struct fixture f;
    long n = 0;
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

/* test_foreign_uploads.c — what network layers that were written for the reference core do with uploads. Goal: whatever
 * order they read and end them in, every frame leaves once or is counted, and what they get adds up. */
#include "scenario.h"
#include "wire.h"

/* Both uploads of a rotation are read in turn, the newer one first, and nothing is acknowledged. */
static void test_without_acks_a_rotation_with_a_backlog_loses_nothing(void)
{
    struct fixture f;
    struct wire old = { .upload = 100 }, new = { .upload = 101 };
    fixture_init(&f);
    f.info.streamCaps.fragmentAcks = FALSE;
    f.streaming_token_life = 60 * SECOND;
    fixture_stream(&f);
    fixture_put_fragments(&f, 30, 10);
    wire_read(&f, &old, 20000);
    fixture_put_fragments(&f, 40, 10);
    f.now = START_TIME + 58 * SECOND;
    CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
    CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
    while (old.status == STATUS_SUCCESS || new.status != STATUS_END_OF_STREAM) {
        UINT32 got = wire_read(&f, &new, 1000) + wire_read(&f, &old, 1000);
        if (!CHECK(got != 0 || f.stream_closed != 0)) break;
    }
    StreamMetrics metrics = fixture_metrics(&f);
    CHECK_EQ(wire_blocks(&old) + wire_blocks(&new), 700);
    CHECK_EQ(f.count[PUT], 2);
    CHECK_EQ(f.dropped_count, 0);
    CHECK_EQ(metrics.currentViewSize, 0);
    CHECK_EQ(f.stream_closed, 1);
    wire_free(&old);
    wire_free(&new);
    fixture_free(&f);
}

/* A stale connection is reset. The thread that reads the old upload leaves at once, in every state of the upload. */
static void test_after_a_reset_of_the_connection_the_old_upload_is_aborted(void)
{
    for (int state = 0; state < 3; state++) {
        struct fixture f;
        struct wire new = { .upload = 101 };
        fixture_init(&f);
        fixture_stream(&f);
        fixture_put_fragments(&f, 2, 5);
        if (state == 2) CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
        if (state > 0) (void)fixture_read(&f, 100, NULL); /* 0: not read yet; 2: it waits for its last ACK */
        CHECK_EQ(kinesisVideoStreamResetConnection(f.stream), STATUS_SUCCESS);
        CHECK_EQ(f.over_upload, 100);
        for (int i = 0; i < 2; i++) CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_UPLOAD_HANDLE_ABORTED);
        CHECK_EQ(wire_read_all(&f, &new), state == 2 ? STATUS_AWAITING_PERSISTED_ACK : STATUS_NO_MORE_DATA_AVAILABLE);
        CHECK_EQ(wire_blocks(&new), 10);
        wire_free(&new);
        fixture_free(&f);
    }
}

/* ---- a token that runs out --------------------------------------------------------------------------------------- */

static int new_upload; /* how often the second upload was announced */

static STATUS count_new(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload, UINT64 duration,
                        UINT64 size)
{
    new_upload += upload == 101;
    return fixture_data(custom, stream, name, upload, duration, size);
}

/* A token of 31 s and a backlog, of which the first upload has two fragments and a half when it is rotated. */
static void open_two(struct fixture *f, struct wire *old)
{
    new_upload = 0;
    fixture_init(f);
    f->streaming_token_life = 31 * SECOND;
    f->callbacks.streamDataAvailableFn = count_new;
    fixture_stream(f);
    fixture_put_fragments(f, 40, 5);
    wire_read(f, old, 2 * 5 * 1030 + 2500);
    f->now = START_TIME + 28 * SECOND;
    CHECK_EQ(kvsPoke(f->client), STATUS_SUCCESS);
    CHECK_EQ(f->count[TOKEN], 2);
    CHECK_EQ(f->count[PUT], 2);
    CHECK_EQ(new_upload, 0);
}

static void test_the_second_upload_begins_after_the_last_byte_of_the_first(void)
{
    struct fixture f;
    struct wire old = { .upload = 100 }, new = { .upload = 101 };
    open_two(&f, &old);
    CHECK_EQ(wire_read(&f, &new, 1000), 0); /* a reader that comes unasked gets nothing yet */
    CHECK_EQ(new.status, STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK_EQ(wire_read_all(&f, &old), STATUS_AWAITING_PERSISTED_ACK);
    CHECK_EQ(wire_blocks(&old), 15);
    CHECK_EQ(new_upload, 1);
    f.now = START_TIME + 40 * SECOND; /* one that only waits for its ACKs waits on */
    CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
    CHECK_EQ(wire_read_all(&f, &new), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK_EQ(wire_blocks(&new), 185);
    CHECK_EQ(fixture_persisted(&f, 100, START_TIME + 400 * MS), STATUS_SUCCESS);
    CHECK_EQ(wire_read_all(&f, &old), STATUS_END_OF_STREAM);
    wire_free(&old);
    wire_free(&new);
    fixture_free(&f);
}

static void test_no_byte_leaves_under_a_token_that_has_expired(void)
{
    for (int is_poked = 0; is_poked < 2; is_poked++) {
        struct fixture f;
        struct wire old = { .upload = 100 }, new = { .upload = 101 };
        open_two(&f, &old);
        f.now = START_TIME + 31 * SECOND;
        if (is_poked) CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
        CHECK_EQ(f.over_upload, is_poked ? 100 : 0);
        CHECK_EQ(wire_read(&f, &old, 1000), 0);
        CHECK_EQ(old.status, is_poked ? STATUS_UPLOAD_HANDLE_ABORTED : STATUS_NO_MORE_DATA_AVAILABLE);
        CHECK_EQ(f.over_upload, 100);
        CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_UPLOAD_HANDLE_ABORTED);
        CHECK(new_upload > 0);
        CHECK_EQ(wire_read_all(&f, &new), STATUS_NO_MORE_DATA_AVAILABLE);
        CHECK_EQ(wire_blocks(&new), 200); /* nothing of the first was acknowledged */
        CHECK_EQ(f.count[PUT], 2);
        CHECK_EQ(f.dropped_count, 0);
        wire_free(&old);
        wire_free(&new);
        fixture_free(&f);
    }
}

/* Nothing calls the library until the token is dead: the next upload gets a new one first. */
static void test_an_upload_that_is_found_expired_is_replaced_under_a_new_token(void)
{
    struct fixture f;
    struct wire old = { .upload = 100 }, new = { .upload = 101 };
    fixture_init(&f);
    f.streaming_token_life = 31 * SECOND;
    fixture_stream(&f);
    fixture_put_fragments(&f, 10, 5);
    f.now = START_TIME + 32 * SECOND;
    CHECK_EQ(wire_read(&f, &old, 1000), 0);
    CHECK_EQ(f.over_upload, 100);
    CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_UPLOAD_HANDLE_ABORTED);
    CHECK_EQ(f.count[TOKEN], 2);
    CHECK_EQ(f.count[PUT], 2);
    CHECK_EQ(wire_read_all(&f, &new), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK_EQ(wire_blocks(&new), 50);
    wire_free(&new);
    wire_free(&old);
    fixture_free(&f);
}

/* ---- what is announced ----------------------------------------------------------------------------------------- */

/* Reads whenever something is announced, and compares. */
static UINT64 announced, received;

static STATUS count_data(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload, UINT64 duration,
                         UINT64 size)
{
    UINT64 bytes = 0;
    if (size == 0) return fixture_data(custom, stream, name, upload, duration, size);
    CHECK(duration != 0);
    fixture_of(custom)->stream = stream;
    (void)fixture_read(fixture_of(custom), upload, &bytes);
    CHECK_EQ(bytes, size);
    announced += size;
    received += bytes;
    return fixture_data(custom, stream, name, upload, duration, size);
}

/* The sum of what is announced is what can be read: header, tags, ends of fragments and of the session, and not less
 * after a rotation or when frames were kept before the connection was open. */
static void test_what_is_announced_is_what_can_be_read(void)
{
    char name[] = "mood", value[] = "sunny";
    for (int is_acked = 0; is_acked < 2; is_acked++) {
        struct fixture f;
        UINT64 rest = 0;
        announced = received = 0;
        fixture_init(&f);
        f.callbacks.streamDataAvailableFn = count_data;
        f.streaming_token_life = 60 * SECOND;
        f.info.streamCaps.fragmentAcks = is_acked;
        f.script[PUT].is_silent = 1;
        fixture_stream(&f);
        fixture_put_fragments(&f, 2, 5);
        f.script[PUT].is_silent = 0;
        CHECK_EQ(fixture_answer(&f, PUT, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
        fixture_put_fragments(&f, 2, 5);
        CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, name, value, FALSE), STATUS_SUCCESS);
        fixture_put_fragments(&f, 1, 2);
        CHECK_EQ(fixture_end_fragment(&f), STATUS_SUCCESS);
        fixture_put_fragments(&f, 1, 2);
        f.now = START_TIME + 57 * SECOND;
        CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
        fixture_put_fragments(&f, 2, 5);
        CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, name, value, FALSE), STATUS_SUCCESS);
        CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
        for (UPLOAD_HANDLE upload = 100; upload < f.next_upload; upload++) {
            (void)fixture_read(&f, upload, &rest);
            CHECK_EQ(rest, 0);
        }
        CHECK_EQ(f.next_upload, 102);
        CHECK_EQ(announced, received);
        CHECK(received > 28 * 1000 + 2 * 84);
        fixture_free(&f);
    }
}

/* Two uploads at a time and a backlog: the metrics and the pressures speak of all that is unsent. */
static void test_metrics_of_two_uploads_count_all_that_is_unsent(void)
{
    struct fixture f;
    struct wire old = { .upload = 100 };
    fixture_init(&f);
    f.streaming_token_life = 60 * SECOND;
    f.info.streamCaps.maxLatency = 15 * SECOND;
    fixture_stream(&f);
    fixture_put_fragments(&f, 20, 5);
    wire_read(&f, &old, 5000);
    UINT64 size = fixture_metrics(&f).currentViewSize, duration = fixture_metrics(&f).currentViewDuration;
    CHECK(size > 95 * 1000);
    CHECK_EQ(f.latency_count, 0);
    fixture_put_fragments(&f, 60, 5);
    f.now = START_TIME + 57 * SECOND;
    CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
    CHECK_EQ(f.count[PUT], 2);
    StreamMetrics metrics = fixture_metrics(&f);
    CHECK_EQ(metrics.currentViewSize, size + 60 * 18 + 300 * (1000 + 13));
    CHECK_EQ(metrics.currentViewDuration, duration + 300 * 40 * MS);
    CHECK(f.latency_count > 0);
    UINT32 got = wire_read(&f, &old, 200);
    CHECK_EQ(fixture_metrics(&f).currentViewSize, metrics.currentViewSize - got);
    wire_free(&old);
    fixture_free(&f);
}

int main(void)
{
    test_the_second_upload_begins_after_the_last_byte_of_the_first();
    test_no_byte_leaves_under_a_token_that_has_expired();
    test_an_upload_that_is_found_expired_is_replaced_under_a_new_token();
    test_what_is_announced_is_what_can_be_read();
    test_metrics_of_two_uploads_count_all_that_is_unsent();
    test_after_a_reset_of_the_connection_the_old_upload_is_aborted();
    test_without_acks_a_rotation_with_a_backlog_loses_nothing();
    return CHECK_DONE();
}

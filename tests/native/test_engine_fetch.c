/* Wakes for data. Goal: while frames of many streams keep coming, no put wakes the host; no frame waits longer than its
 * stream's data_delay_hns for its turn; orders wake at once, and so does the first frame after a pause. */
#include "service.h"

#define DELAY MS(5)

/* Streams in READY with an open upload that has nothing to read; delays of 0 to the end. */
static void open_all(struct service *s, uint32_t count, const uint64_t *delays)
{
    static const char *const names[] = { "a", "b", "c", "d", "e", "f" };
    service_up(s, NULL);
    for (uint32_t i = 0; i < count; i++) {
        struct kvs_stream_config config = video_config();
        config.name = names[i];
        config.data_delay_hns = delays[i];
        struct kvs_stream *stream = service_open(s, &config);
        CHECK_EQ(service_put(s, stream, 0, KVS_FRAME_KEY), KVS_OK);
        service_turn(s);
    }
    s->now_hns += KVS_HNS_PER_SECOND;
    CHECK_EQ(kvs_client_poke(s->client, s->now_hns), KVS_OK);
    service_turn(s);
    s->fail.wake_count = 0;
}

/* A turn as a driver takes it: poke, drain, and the next deadline. */
static uint64_t turn(struct service *s)
{
    CHECK_EQ(kvs_client_poke(s->client, s->now_hns), KVS_OK);
    service_turn(s);
    s->fail.wake_count = 0;
    return kvs_client_next_deadline(s->client);
}

/* A frame of stream `user`, now; whether it wakes. */
static int wakes(struct service *s, uint32_t user)
{
    uint64_t before = s->fail.wake_count;
    CHECK_EQ(service_put(s, s->streams[user], (s->now_hns - T0) / KVS_HNS_PER_MS, 0), KVS_OK);
    return s->fail.wake_count != before;
}

static void test_frames_that_keep_coming_wake_nobody(void)
{
    static const uint64_t delays[] = { DELAY, DELAY, DELAY };
    struct service s;
    open_all(&s, 3, delays);
    CHECK(wakes(&s, 1)); /* the first one after a pause */
    CHECK(turn(&s) > s.now_hns + DELAY);
    s.now_hns += MS(2);
    CHECK(wakes(&s, 2));
    uint64_t due = turn(&s);
    CHECK_EQ(due, s.now_hns + DELAY);
    for (uint32_t round = 0; round < 100; round++) {
        for (uint32_t user = 1; user <= 3; user++) {
            s.now_hns += MS(1);
            CHECK(!wakes(&s, user));
        }
        uint32_t before = s.count[KVS_ACTION_DATA];
        s.now_hns = due;
        due = turn(&s);
        CHECK_EQ(s.count[KVS_ACTION_DATA] - before, 3);
        CHECK_EQ(due, s.now_hns + DELAY);
    }
    s.now_hns = due;
    CHECK(turn(&s) > s.now_hns + DELAY); /* a turn without data is the last one */
    CHECK(wakes(&s, 3));
    service_down(&s);
}

static void test_a_single_stream_with_pauses_wakes_for_each_frame(void)
{
    static const uint64_t delays[] = { DELAY };
    struct service s;
    open_all(&s, 1, delays);
    for (uint32_t i = 0; i < 50; i++) {
        CHECK(wakes(&s, 1));
        CHECK(turn(&s) > s.now_hns + DELAY);
        s.now_hns += MS(33);
    }
    service_down(&s);
}

static void test_a_long_delay_joins_the_frames_of_one_stream(void)
{
    static const uint64_t delays[] = { MS(100) };
    struct service s;
    open_all(&s, 1, delays);
    CHECK(wakes(&s, 1));
    turn(&s);
    s.now_hns += MS(33);
    CHECK(wakes(&s, 1));
    uint64_t due = turn(&s);
    CHECK_EQ(due, s.now_hns + MS(100));
    for (uint32_t i = 0; i < 3; i++) {
        s.now_hns += MS(33);
        CHECK(!wakes(&s, 1));
    }
    s.now_hns = due;
    uint32_t before = newest(&s)->size;
    CHECK_EQ(turn(&s), s.now_hns + MS(100));
    CHECK(newest(&s)->size >= before + 3 * s.frame_size);
    service_down(&s);
}

static void test_no_delay_is_never_muted_and_a_shorter_one_wakes_earlier(void)
{
    static const uint64_t delays[] = { MS(100), MS(100), 0, DELAY };
    struct service s;
    open_all(&s, 4, delays);
    CHECK(wakes(&s, 1));
    turn(&s);
    s.now_hns += MS(1);
    CHECK(wakes(&s, 2));
    uint64_t due = turn(&s);
    CHECK_EQ(due, s.now_hns + MS(100));
    s.now_hns += MS(10);
    CHECK(!wakes(&s, 1));
    CHECK(wakes(&s, 3)); /* although one waits already */
    CHECK(!wakes(&s, 4)); /* woken already */
    CHECK_EQ(turn(&s), due);
    s.now_hns += MS(2);
    CHECK(wakes(&s, 4)); /* the turn of the others is too late for it */
    CHECK_EQ(turn(&s), s.now_hns + DELAY);
    CHECK(!wakes(&s, 1));
    CHECK(!wakes(&s, 4));
    service_down(&s);
}

static void test_orders_wake_at_once_while_data_is_muted(void)
{
    static const uint64_t delays[] = { DELAY, DELAY };
    struct service s;
    open_all(&s, 2, delays);
    CHECK(wakes(&s, 1));
    turn(&s);
    s.now_hns += MS(1);
    CHECK(wakes(&s, 2));
    turn(&s);
    CHECK(!wakes(&s, 1));
    CHECK_EQ(s.fail.wake_count, 0);
    CHECK_EQ(kvs_stream_reset_connection(s.streams[1], s.now_hns), KVS_OK); /* of the stream that is listed */
    CHECK_EQ(s.fail.wake_count, 1);
    turn(&s);
    CHECK(!wakes(&s, 2));
    CHECK_EQ(kvs_stream_retry(s.streams[1], s.now_hns), KVS_OK); /* of another one */
    CHECK_EQ(s.fail.wake_count, 1);
    service_down(&s);
}

static void test_a_stream_that_goes_takes_its_muted_data_along(void)
{
    static const uint64_t delays[] = { DELAY, DELAY };
    struct service s;
    open_all(&s, 2, delays);
    CHECK(wakes(&s, 1));
    turn(&s);
    s.now_hns += MS(1);
    CHECK(wakes(&s, 2));
    turn(&s);
    CHECK(!wakes(&s, 1));
    service_free(&s, s.streams[1]);
    CHECK(!wakes(&s, 2));
    s.now_hns += DELAY;
    turn(&s);
    CHECK_EQ(kvs_stream_stop(s.streams[2], s.now_hns), KVS_OK);
    CHECK_EQ(s.fail.wake_count, 1);
    service_down(&s);
}

static void test_a_delay_above_a_second_is_refused(void)
{
    struct service s;
    struct kvs_stream_config config = video_config();
    service_up(&s, NULL);
    config.data_delay_hns = KVS_HNS_PER_SECOND + 1;
    CHECK(service_new(&s, &config) == NULL);
    CHECK_EQ(s.last_status, KVS_E_INVALID_ARG);
    config.data_delay_hns = KVS_HNS_PER_SECOND;
    CHECK(service_new(&s, &config) != NULL);
    service_down(&s);
}

int main(void)
{
    test_frames_that_keep_coming_wake_nobody();
    test_a_single_stream_with_pauses_wakes_for_each_frame();
    test_a_long_delay_joins_the_frames_of_one_stream();
    test_no_delay_is_never_muted_and_a_shorter_one_wakes_earlier();
    test_orders_wake_at_once_while_data_is_muted();
    test_a_stream_that_goes_takes_its_muted_data_along();
    test_a_delay_above_a_second_is_refused();
    return CHECK_DONE();
}

/* Room: what happens when the store, the duration or the count of frames is used up. Goal: realtime gives up the
 * oldest whole fragments and no more of them than it must, never the one being sent; where frames may not be dropped
 * the put is refused, changes nothing, and a notice reports when there is room again. */
#include "service.h"

static uint64_t dropped_store(struct kvs_stream *s) { return metrics_of(s).frames_dropped[KVS_DROP_STORE_FULL]; }
static uint64_t dropped_time(struct kvs_stream *s) { return metrics_of(s).frames_dropped[KVS_DROP_BUFFER_DURATION]; }

/* A stream whose reader stands inside the first fragment. */
static struct kvs_stream *stalled(struct service *s, const struct kvs_stream_config *config, uint32_t frame_size)
{
    service_up(s, NULL);
    struct kvs_stream *stream = service_open(s, config);
    s->frame_size = frame_size;
    service_put_fragments(s, stream, 0, 1, 5);
    s->is_silent = 1;
    service_turn(s);
    session_read(s, newest(s), 400);
    return stream;
}

/* What the session shows when it is read on: the fragment in hand whole, then fragments in order. */
static void check_reads_on(struct service *s, struct kvs_stream *stream, uint32_t first_frames)
{
    s->is_silent = newest(s)->is_silent = 0;
    session_read_all(s, newest(s));
    CHECK(service_drain(s, stream));
    struct mkv_seen seen = session_seen(&s->sessions[0]);
    CHECK_EQ(seen.clusters[0].block_count, first_frames);
    for (uint32_t i = 1; i < seen.cluster_count; i++) CHECK(seen.clusters[i].tc > seen.clusters[i - 1].tc);
    for (uint32_t i = 1; i < seen.cluster_count; i++) CHECK_EQ(seen.clusters[i].block_count, 5);
    mkv_forget(&seen);
}

static void test_the_oldest_fragment_goes_whole(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.store_max = 4 * KVS_SLAB_SIZE;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    s.hold = HOLD(KVS_ACTION_PUT_MEDIA);
    s.frame_size = 15000;
    service_put_fragments(&s, stream, 0, 3, 5);
    CHECK_EQ(dropped_store(stream), 0);
    service_put_fragments(&s, stream, 1500, 1, 5);
    CHECK_EQ(dropped_store(stream), 5);
    service_turn(&s);
    CHECK_EQ(s.last[KVS_ACTION_DROPPED].a, T0);
    CHECK_EQ(s.last[KVS_ACTION_DROPPED].b, 5);
    CHECK_EQ(s.last[KVS_ACTION_DROPPED].c, 75000);
    for (uint64_t i = 4; i < 30; i++) service_put_fragments(&s, stream, 500 * i, 1, 5);
    uint64_t dropped = dropped_store(stream);
    CHECK(dropped == 135 || dropped == 140); /* slabs at both ends are shared */
    service_answer(&s, KVS_ACTION_PUT_MEDIA, KVS_RESULT_OK);
    s.hold = 0;
    service_turn(&s);
    struct mkv_seen seen = session_seen(newest(&s)); /* a full header, though the first fragments are gone */
    CHECK_EQ(seen.header_count, 1);
    CHECK_EQ(seen.blocks[0].number, dropped);
    mkv_forget(&seen);
    REPLACED("CD-11 CD-13 CD-14 CD-18 CD-97", "the oldest whole fragment, by slabs");
    REPLACED("CD-17 CD-27", "whole fragments; every put succeeds, drops are reported oldest first");
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

static void test_count_and_duration(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.frames_max = 960;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    s.hold = HOLD(KVS_ACTION_PUT_MEDIA);
    service_put_fragments(&s, stream, 0, 96, 10);
    CHECK_EQ(dropped_time(stream), 0);
    service_put_fragments(&s, stream, 96000, 1, 2);
    CHECK_EQ(dropped_time(stream), 10);
    CHECK_EQ(metrics_of(stream).frames_buffered, 952);
    REPLACED("CD-10 CD-98", "slots are a frames_max, whole fragments go");
    service_down(&s);
    config.frames_max = 0;
    config.buffer_duration_hns = MS(40000);
    service_up(&s, NULL);
    stream = service_open(&s, &config);
    s.hold = HOLD(KVS_ACTION_PUT_MEDIA);
    service_put_fragments(&s, stream, 0, 40, 10);
    CHECK_EQ(dropped_time(stream), 0);
    service_put_fragments(&s, stream, 40000, 1, 10);
    CHECK_EQ(dropped_time(stream), 10);
    REPLACED("CD-12", "whole fragments go");
    service_down(&s);
}

/* A camera's clock that is set while nothing is sent: the hour between is no media, so nothing has to go for it. */
static void test_a_break_in_time_is_no_media(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.buffer_duration_hns = MS(120000);
    config.backward_policy = KVS_BACKWARD_SESSION;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    s.hold = HOLD(KVS_ACTION_PUT_MEDIA);
    service_put_fragments(&s, stream, 0, 2, 10);
    service_put_fragments(&s, stream, 3600000, 2, 10); /* an hour on */
    CHECK_EQ(metrics_of(stream).times_jumped, 1);
    CHECK_EQ(metrics_of(stream).duration_buffered_hns, MS(2 * 1940));
    service_put_fragments(&s, stream, 60000, 2, 10); /* and back, in a session of its own */
    CHECK_EQ(metrics_of(stream).duration_buffered_hns, MS(3 * 1940));
    CHECK_EQ(metrics_of(stream).duration_unsent_hns, MS(3 * 1940));
    CHECK_EQ(metrics_of(stream).frames_buffered, 60);
    service_put_fragments(&s, stream, 62000, 116, 10); /* 121.9 s are held then */
    CHECK_EQ(dropped_time(stream), 20);
    service_down(&s);
}

/* A connection stands still in the middle of a fragment: that one stays, and of the others only as many go as must. */
static void test_a_stalled_connection_and_the_duration(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.buffer_duration_hns = MS(3000);
    struct kvs_stream *stream = stalled(&s, &config, 100);
    for (uint64_t i = 1; i < 40; i++) {
        service_put_fragments(&s, stream, 500 * i, 1, 5);
        if (i > 8 && !CHECK(metrics_of(stream).frames_buffered >= 20)) break;
        CHECK(metrics_of(stream).frames_buffered <= 45);
    }
    check_reads_on(&s, stream, 5);
    service_down(&s);
}

static void test_a_stalled_connection_and_the_store(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.store_max = 8 * KVS_SLAB_SIZE;
    struct kvs_stream *stream = stalled(&s, &config, 4000);
    uint64_t most = 0;
    for (uint64_t i = 1; i < 80; i++) {
        service_put_fragments(&s, stream, 500 * i, 1, 5);
        uint64_t buffered = metrics_of(stream).frames_buffered;
        most = buffered > most ? buffered : most;
        if (!CHECK(i < 30 || buffered * 2 > most)) break;
    }
    check_reads_on(&s, stream, 5);
    HELD("CD-66 CD-99 CD-100");
    service_down(&s);
}

/* Large fragments: what is dropped in the middle gives its slabs back though the oldest stays. */
static void test_punched_fragments(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.store_max = 16 * KVS_SLAB_SIZE;
    struct kvs_stream *stream = stalled(&s, &config, 30000);
    for (uint64_t i = 1; i < 60; i++) service_put_fragments(&s, stream, 500 * i, 1, 5);
    CHECK(metrics_of(stream).frames_buffered >= 20);
    check_reads_on(&s, stream, 5);
    CHECK_EQ(s.client->pool.used_count, 0);
    service_down(&s);
}

static void test_refused_and_reported_when_there_is_room(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    for (uint32_t offline = 0; offline < 2; offline++) {
        config.store_max = 8 * KVS_SLAB_SIZE;
        config.full_policy = offline ? KVS_FULL_DROP_FRAGMENT : KVS_FULL_REFUSE;
        config.streaming_type = offline ? KVS_OFFLINE : KVS_REALTIME;
        service_up(&s, NULL);
        struct kvs_stream *stream = service_open(&s, &config);
        s.frame_size = 30000;
        uint32_t taken = 0;
        while (taken < 100 && service_put(&s, stream, 100 * taken, taken % 2 == 0 ? KVS_FRAME_KEY : 0) == KVS_OK)
            taken++;
        CHECK_EQ(s.last_status, KVS_E_STORE_FULL);
        CHECK(taken >= 16 && taken <= 17); /* 8 slabs less what a fragment's end needs */
        CHECK_EQ(metrics_of(stream).frames_put, taken);
        CHECK_EQ(metrics_of(stream).frames_refused, 1);
        service_turn(&s);
        CHECK_EQ(s.count[KVS_ACTION_ROOM], 0);
        CHECK_EQ(s.count[KVS_ACTION_DROPPED], 0);
        service_persist(&s, newest(&s));
        service_turn(&s);
        CHECK(s.count[KVS_ACTION_ROOM] >= 1); /* the stream's, and the client's for all the others */
        CHECK_EQ(service_put(&s, stream, 100 * taken, taken % 2 == 0 ? KVS_FRAME_KEY : 0), KVS_OK);
        CHECK(service_drain(&s, stream));
        CHECK_EQ(metrics_of(stream).frames_done, taken + 1);
        service_down(&s);
    }
    REPLACED("CD-16 CD-26", "KVS_E_STORE_FULL when the slabs are used, no reserve");
}

/* A limit shorter than the fragment: the refused put ends the fragment, so that its ACK can make room. */
static void test_a_limit_shorter_than_a_fragment(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.streaming_type = KVS_OFFLINE;
    config.buffer_duration_hns = MS(1000);
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    service_put_fragments(&s, stream, 0, 1, 9);
    CHECK_EQ(service_put(&s, stream, 1100, 0), KVS_E_STORE_FULL);
    service_turn(&s);
    CHECK_EQ(service_persist(&s, newest(&s)), 1);
    service_turn(&s);
    CHECK(s.count[KVS_ACTION_ROOM] >= 1);
    CHECK_EQ(service_put(&s, stream, 1200, KVS_FRAME_KEY), KVS_OK);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 10);
    service_down(&s);
}

static void test_a_frame_larger_than_the_store(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.store_max = 2 * KVS_SLAB_SIZE;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    struct put_as whole = { .size = 2 * KVS_SLAB_SIZE - KVS_MKV_CLUSTER_SIZE - KVS_MKV_BLOCK_SIZE,
                            .flags = KVS_FRAME_KEY };
    struct put_as more = { .size = whole.size + 1, .flags = KVS_FRAME_KEY };
    CHECK_EQ(service_put_as(&s, stream, 0, more), KVS_E_FRAME_TOO_LARGE);
    CHECK_EQ(metrics_of(stream).frames_put, 0);
    CHECK_EQ(service_put_as(&s, stream, 0, whole), KVS_OK);
    more.dts_ms = 100;
    CHECK_EQ(service_put_as(&s, stream, 100, more), KVS_E_FRAME_TOO_LARGE);
    CHECK_EQ(metrics_of(stream).frames_buffered, 1); /* nothing went for a frame that can never fit */
    CHECK_EQ(metrics_of(stream).frames_too_large, 2);
    CHECK_EQ(service_put(&s, stream, 140, 0), KVS_OK); /* it needs the one that was refused */
    CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_SKIPPED], 1);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 1);
    service_down(&s);
}

static void test_other_streams_use_the_store(void)
{
    struct kvs_client_config client = { .size = sizeof client, .store_max = 4 * KVS_SLAB_SIZE, .seed = 1 };
    struct kvs_stream_config config = video_config(), second = video_config();
    struct service s;
    second.name = "second";
    second.full_policy = KVS_FULL_REFUSE;
    service_up(&s, &client);
    struct kvs_stream *one = service_open(&s, &config), *two = service_open(&s, &second);
    s.frame_size = 60000;
    for (uint32_t i = 0; i < 4; i++) CHECK_EQ(service_put(&s, one, 100 * i, KVS_FRAME_KEY), KVS_OK);
    CHECK_EQ(service_put(&s, two, 0, KVS_FRAME_KEY), KVS_E_STORE_FULL);
    service_turn(&s);
    service_persist(&s, newest(&s));
    service_turn(&s);
    CHECK(s.count[KVS_ACTION_ROOM] >= 1); /* room was made by another stream */
    CHECK_EQ(service_put(&s, two, 0, KVS_FRAME_KEY), KVS_OK);
    CHECK(service_drain(&s, one));
    CHECK(service_drain(&s, two));
    service_down(&s);
}

/* An empty stream that shares a full store gives up the frame, never loops. */
static void test_nothing_of_its_own_to_drop(void)
{
    struct kvs_client_config client = { .size = sizeof client, .store_max = 2 * KVS_SLAB_SIZE, .seed = 1 };
    struct kvs_stream_config config = video_config(), second = video_config();
    struct service s;
    second.name = "second";
    service_up(&s, &client);
    struct kvs_stream *one = service_open(&s, &config), *two = service_open(&s, &second);
    s.frame_size = 60000;
    for (uint32_t i = 0; i < 2; i++) CHECK_EQ(service_put(&s, one, 100 * i, KVS_FRAME_KEY), KVS_OK);
    CHECK_EQ(service_put(&s, two, 0, KVS_FRAME_KEY), KVS_OK);
    CHECK_EQ(dropped_store(two), 1);
    CHECK_EQ(metrics_of(one).frames_buffered, 2);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_ROOM], 0); /* it was dropped, not refused */
    service_down(&s);
}

static void test_pressure_has_hysteresis(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.store_max = 40 * KVS_SLAB_SIZE;
    config.buffer_duration_hns = MS(100000);
    config.latency_max_hns = MS(20000);
    service_up(&s, NULL);
    s.is_silent = 1;
    struct kvs_stream *stream = service_open(&s, &config);
    s.frame_size = 20000;
    uint64_t first_latency = 0;
    for (uint32_t i = 0; i < 125; i++) {
        service_put(&s, stream, 780 * i, i % 2 == 0 ? KVS_FRAME_KEY : 0);
        service_turn(&s);
        if (first_latency == 0 && s.last[KVS_ACTION_PRESSURE].result == KVS_PRESSURE_LATENCY) first_latency = 780 * i;
    }
    struct kvs_stream_metrics m = metrics_of(stream);
    CHECK_EQ(m.pressures_store, 1);
    CHECK_EQ(m.pressures_buffer, 1);
    CHECK_EQ(m.pressures_latency, 1);
    CHECK_EQ(s.count[KVS_ACTION_PRESSURE], 3);
    CHECK(first_latency >= 19200 && first_latency <= 20800);
    s.is_silent = s.sessions[0].is_silent = 0;
    session_read_all(&s, newest(&s));
    service_persist(&s, newest(&s));
    service_turn(&s);
    service_put(&s, stream, 97600, KVS_FRAME_KEY);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_PRESSURE], 6); /* each one ended once */
    CHECK_EQ(s.last[KVS_ACTION_PRESSURE].a, 0);
    CHECK_EQ(metrics_of(stream).pressures_store, 1);
    REPLACED("CD-19 CD-20 CD-30", "an event at the edge and a counter");
    service_down(&s);
}

static void test_stale_connections(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.staleness_max_hns = MS(2000);
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    service_put_fragments(&s, stream, 0, 2, 5);
    service_turn(&s);
    CHECK_EQ(kvs_client_next_deadline(s.client), T0 + MS(2000));
    service_poke(&s, T0 + MS(1999));
    CHECK_EQ(s.count[KVS_ACTION_STALE], 0);
    service_poke(&s, T0 + MS(2500));
    CHECK_EQ(s.count[KVS_ACTION_STALE], 1);
    CHECK_EQ(s.last[KVS_ACTION_STALE].a, MS(2500));
    service_poke(&s, T0 + MS(9000));
    CHECK_EQ(s.count[KVS_ACTION_STALE], 1); /* once per silence */
    session_ack(&s, newest(&s), KVS_ACK_BUFFERING, T0 / KVS_HNS_PER_MS, 0);
    service_put(&s, stream, 2000, KVS_FRAME_KEY);
    service_turn(&s);
    service_poke(&s, T0 + MS(12000));
    CHECK_EQ(s.count[KVS_ACTION_STALE], 2);
    CHECK_EQ(metrics_of(stream).stale_events, 2);
    REPLACED("CD-21 CD-31", "an event at the edge and a counter, by deadline");
    session_ack(&s, newest(&s), KVS_ACK_BUFFERING, T0 / KVS_HNS_PER_MS, 0);
    service_put(&s, stream, 2040, 0);
    service_turn(&s);
    s.hold = HOLD(KVS_ACTION_DESCRIBE_STREAM);
    session_ack(&s, newest(&s), KVS_ACK_ERROR, T0 / KVS_HNS_PER_MS, KVS_RESULT_ACK_INTERNAL);
    service_poke(&s, T0 + MS(22000));
    CHECK_EQ(metrics_of(stream).stale_events, 2); /* of a handle that was ended no ACK is due */
    service_down(&s);
}

static void test_an_idle_stream_is_not_stale(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.staleness_max_hns = MS(2000);
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    service_put_fragments(&s, stream, 0, 2, 5);
    service_turn(&s);
    service_persist(&s, newest(&s)); /* of the open fragment its BUFFERING alone is due, and that comes too */
    session_ack(&s, newest(&s), KVS_ACK_BUFFERING, T0 / KVS_HNS_PER_MS + 500, 0);
    for (uint32_t second = 1; second < 1800; second++) {
        service_poke(&s, T0 + MS(1000 * second));
        service_turn(&s);
        service_persist(&s, newest(&s)); /* when the idle deadline has ended it */
    }
    CHECK_EQ(s.count[KVS_ACTION_STALE], 0);
    CHECK_EQ(metrics_of(stream).sessions, 1);
    service_down(&s);
}

int main(void)
{
    test_the_oldest_fragment_goes_whole();
    test_count_and_duration();
    test_a_break_in_time_is_no_media();
    test_a_stalled_connection_and_the_duration();
    test_a_stalled_connection_and_the_store();
    test_punched_fragments();
    test_refused_and_reported_when_there_is_room();
    test_a_limit_shorter_than_a_fragment();
    test_a_frame_larger_than_the_store();
    test_other_streams_use_the_store();
    test_nothing_of_its_own_to_drop();
    test_pressure_has_hysteresis();
    test_stale_connections();
    test_an_idle_stream_is_not_stale();
    return CHECK_DONE();
}

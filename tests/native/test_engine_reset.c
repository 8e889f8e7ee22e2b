/* A reset is a fresh stream. Goal: whatever was put before it, the same frames give the same bytes, durations, drops
 * and pressures as on a stream that has just been opened; only the ledger's counters go on. */
#include "service.h"

enum { VIDEO = 1, AUDIO = 2, HOURS_AHEAD = 7200000 };

static const struct kvs_track_config TRACKS[] = {
    { .id = VIDEO, .type = KVS_TRACK_VIDEO, .codec_id = "V_MPEG4/ISO/AVC" },
    { .id = AUDIO, .type = KVS_TRACK_AUDIO, .codec_id = "A_AAC" },
};

struct outcome {
    struct kvs_stream_metrics end;
    uint64_t dropped, pressures;
    uint32_t size, sum, session_count;
};

static struct kvs_stream_config config_of(uint32_t order, uint32_t backward)
{
    static const uint8_t uuid[16] = { 7 };
    struct kvs_stream_config config = video_config();
    config.tracks = TRACKS;
    config.track_count = 2;
    config.content_type = "video/h264,audio/aac";
    config.order = order;
    config.backward_policy = backward;
    config.segment_uuid = uuid;
    config.buffer_duration_hns = 30 * KVS_HNS_PER_SECOND;
    config.latency_max_hns = 10 * KVS_HNS_PER_SECOND;
    config.fragment_duration_max_hns = 20 * KVS_HNS_PER_SECOND;
    if (order == KVS_ORDER_CUT) config.flags |= KVS_NEGATIVE_BLOCK_TIME;
    return config;
}

/* So many seconds of both tracks with a key frame a second; audio lags by 60 ms, as microphones do. */
static void put_seconds(struct service *s, uint64_t from_ms, uint64_t seconds)
{
    for (uint64_t ms = 0; ms < 1000 * seconds; ms += 100) {
        uint64_t at = from_ms + ms;
        service_put_as(s, s->streams[1], at,
                       (struct put_as) { .track = VIDEO, .dts_ms = at, .flags = ms % 1000 == 0 ? KVS_FRAME_KEY : 0 });
        if (ms >= 100)
            service_put_as(s, s->streams[1], at - 60,
                           (struct put_as) { .track = AUDIO, .dts_ms = at - 60, .duration_ms = 40 });
        s->now_hns += MS(100);
    }
}

/* Times far ahead; a source that stops in the middle of a group, then a step back, an end, a silent track, tags. */
static void live_before(struct service *s)
{
    struct kvs_stream *stream = s->streams[1];
    put_seconds(s, HOURS_AHEAD, 45);
    service_put_as(s, stream, HOURS_AHEAD - 5000, (struct put_as) { .track = VIDEO, .dts_ms = HOURS_AHEAD - 5000 });
    service_put_as(s, stream, HOURS_AHEAD - 5000, (struct put_as) { .track = AUDIO, .dts_ms = HOURS_AHEAD - 5000 });
    (void)kvs_stream_end_fragment(stream, s->now_hns);
    for (uint64_t ms = 0; ms < 3000; ms += 500) {
        service_put_as(s, stream, HOURS_AHEAD + 46000 + ms,
                       (struct put_as) { .track = VIDEO, .dts_ms = HOURS_AHEAD + 46000 + ms, .flags = KVS_FRAME_KEY });
    }
    CHECK_EQ(kvs_stream_put_metadata(stream, "kept", "for ever", 1), KVS_OK);
}

static uint64_t pressures_of(const struct kvs_stream_metrics *metrics)
{
    return metrics->pressures_buffer + metrics->pressures_latency + metrics->pressures_store;
}

/* Frames of long ago, all buffered, then read, then stopped. */
static struct outcome live(struct service *s)
{
    struct outcome outcome = { .session_count = s->session_count };
    struct kvs_stream *stream = s->streams[1];
    struct kvs_stream_metrics before = metrics_of(stream);
    s->frame_number = 0;
    s->is_silent = 1;
    put_seconds(s, 0, 28);
    service_turn(s);
    outcome.end = metrics_of(stream);
    s->is_silent = newest(s)->is_silent = 0;
    session_read_all(s, newest(s));
    CHECK(service_drain(s, stream));
    struct kvs_stream_metrics after = metrics_of(stream);
    outcome.dropped = dropped_of(&after) - dropped_of(&before);
    outcome.pressures = pressures_of(&after) - pressures_of(&before);
    outcome.session_count = s->session_count - outcome.session_count;
    outcome.size = newest(s)->size;
    for (uint32_t i = 0; i < outcome.size; i++) outcome.sum = outcome.sum * 31u + newest(s)->bytes[i];
    return outcome;
}

static void check_same(const struct outcome *got, const struct outcome *wanted)
{
    CHECK_EQ(got->size, wanted->size);
    CHECK_EQ(got->sum, wanted->sum);
    CHECK_EQ(got->dropped, wanted->dropped);
    CHECK_EQ(got->pressures, wanted->pressures);
    CHECK_EQ(got->session_count, wanted->session_count);
    CHECK_EQ(got->end.duration_buffered_hns, wanted->end.duration_buffered_hns);
    CHECK_EQ(got->end.duration_unsent_hns, wanted->end.duration_unsent_hns);
    CHECK_EQ(got->end.frames_buffered, wanted->end.frames_buffered);
    CHECK_EQ(got->end.bytes_unsent, wanted->end.bytes_unsent);
    CHECK_EQ(got->end.frames_unsent, wanted->end.frames_unsent);
}

static void test_a_reset_is_a_fresh_stream(void)
{
    for (uint32_t order = KVS_ORDER_NONE; order <= KVS_ORDER_CUT; order++) {
        for (uint32_t backward = KVS_BACKWARD_SHIFT; backward <= KVS_BACKWARD_ERROR; backward++) {
            struct kvs_stream_config config = config_of(order, backward);
            struct service fresh, s;
            service_up(&fresh, NULL);
            service_open(&fresh, &config);
            struct outcome wanted = live(&fresh);
            service_down(&fresh);
            service_up(&s, NULL);
            struct kvs_stream *stream = service_open(&s, &config);
            for (uint32_t is_read = 0; is_read < 2; is_read++) {
                s.is_silent = !is_read;
                live_before(&s);
                service_turn(&s);
                CHECK_EQ(kvs_stream_reset(stream, s.now_hns), KVS_OK);
                service_turn(&s);
                CHECK_EQ(metrics_of(stream).duration_buffered_hns, 0);
                struct outcome got = live(&s);
                check_same(&got, &wanted);
                CHECK_EQ(kvs_stream_reset(stream, s.now_hns), KVS_OK);
                service_turn(&s);
            }
            service_down(&s);
        }
    }
}

/* Video for so long that the audio track is left out, then a frame of it, which waits for the next key frame. */
static void test_a_reset_drops_what_a_silent_track_holds(void)
{
    struct kvs_stream_config config = config_of(KVS_ORDER_CUT, KVS_BACKWARD_SHIFT);
    struct service s;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    put_seconds(&s, 0, 3);
    for (uint64_t ms = 3000; ms < 9000; ms += 500) {
        uint32_t flags = ms % 1000 == 0 ? KVS_FRAME_KEY : 0;
        service_put_as(&s, stream, ms, (struct put_as) { .track = VIDEO, .dts_ms = ms, .flags = flags });
        service_poke(&s, s.now_hns + MS(500));
    }
    CHECK(stream->order.queues[1].is_silent);
    service_put_as(&s, stream, 8600, (struct put_as) { .track = AUDIO, .dts_ms = 8600, .duration_ms = 40 });
    CHECK(kvs_order_count(&stream->order) != 0);
    CHECK_EQ(kvs_stream_reset(stream, s.now_hns), KVS_OK);
    struct kvs_stream_metrics metrics = metrics_of(stream);
    CHECK_EQ(metrics.frames_buffered, 0);
    CHECK_EQ(metrics.frames_put, metrics.frames_done + dropped_of(&metrics));
    service_down(&s);
}

int main(void)
{
    test_a_reset_is_a_fresh_stream();
    test_a_reset_drops_what_a_silent_track_holds();
    return CHECK_DONE();
}

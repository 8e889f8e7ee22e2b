/* The Nth allocation fails, for N = 1, 2, ... until the run passes. Goal: no leak, no crash, the ledger holds, the call
 * that failed changed nothing and works when it is repeated, and no frame is lost for want of memory.
 *
 * The story touches everything that takes memory: two tracks in cut order, codec private data found in the frames and
 * given, metadata and events, a lost connection, a token rotation, frames across slabs, many small fragments, stop. */
#include "media_bytes.h"
#include "service.h"

#define POINTS_MAX 4000u

static uint64_t refused_calls;

/* The call again after it was refused for memory; the second try has memory. */
#define AGAIN(call)                                                                                                    \
    do {                                                                                                               \
        kvs_status first_ = (call);                                                                                    \
        if (first_ == KVS_E_NOMEM) {                                                                                   \
            refused_calls++;                                                                                           \
            first_ = (call);                                                                                           \
        }                                                                                                              \
        CHECK(first_ >= 0);                                                                                            \
    } while (0)

static const struct kvs_track_config TRACKS[] = {
    { .id = 1, .type = KVS_TRACK_VIDEO, .codec_id = "V_MPEG4/ISO/AVC" },
    { .id = 2, .type = KVS_TRACK_AUDIO, .codec_id = "A_AAC", .sampling_rate = 48000, .channels = 2 },
};

static struct kvs_stream *open_stream(struct service *s)
{
    struct kvs_stream_config config = video_config();
    config.tracks = TRACKS;
    config.track_count = 2;
    config.content_type = "video/h264,audio/aac";
    config.order = KVS_ORDER_CUT;
    config.nal_flags = KVS_NAL_ANNEXB_TO_AVCC | KVS_NAL_ANNEXB_CPD;
    config.flags |= KVS_NEGATIVE_BLOCK_TIME;
    if (service_new(s, &config) == NULL) {
        CHECK_EQ(s->last_status, KVS_E_NOMEM);
        CHECK_EQ(s->client->stream_count, 0);
        refused_calls++;
        CHECK(service_new(s, &config) != NULL);
    }
    return s->streams[1];
}

/* A key frame with parameter sets (one of two), or a slice, of this size. */
static uint32_t video_bytes(uint8_t *bytes, uint32_t size, int is_key, int is_other)
{
    struct bytes sets = hex_bytes(is_other ? "00000001" H264_SPS_HIGH "00000001" H264_PPS : H264_ANNEXB);
    uint32_t at = 0;
    if (is_key) {
        memcpy(bytes, sets.at, sets.size);
        at = sets.size;
    }
    memcpy(bytes + at, is_key ? "\0\0\0\1\x65" : "\0\0\0\1\x41", 5);
    memset(bytes + at + 5, 0x80, size - at - 5);
    return size;
}

static void put_video(struct service *s, struct kvs_stream *stream, uint64_t ms, uint32_t size, int is_key,
                      int is_other)
{
    static uint8_t bytes[300000];
    uint64_t time = T0 + MS(ms);
    video_bytes(bytes, size, is_key, is_other);
    AGAIN(kvs_stream_put_frame(stream, bytes, size, time, time, MS(40), 1, is_key ? KVS_FRAME_KEY : 0, s->now_hns));
    service_check(s);
}

static void put_audio(struct service *s, struct kvs_stream *stream, uint64_t ms)
{
    uint8_t bytes[64] = { 0x21 };
    uint64_t time = T0 + MS(ms);
    AGAIN(kvs_stream_put_frame(stream, bytes, sizeof bytes, time, time, MS(20), 2, 0, s->now_hns));
    service_check(s);
}

/* One second of both tracks in fragments of half a second. */
static void put_second(struct service *s, struct kvs_stream *stream, uint64_t from_ms, int is_other)
{
    for (uint64_t ms = from_ms; ms < from_ms + 1000; ms += 100) {
        put_video(s, stream, ms, 400, ms % 500 == 0, is_other);
        put_audio(s, stream, ms + 10);
    }
}

/* A session for which there was no memory is a FAILED stream that keeps everything; a retry opens it. */
static void turn(struct service *s, struct kvs_stream *stream)
{
    for (uint32_t i = 0; i < 3; i++) {
        service_turn(s);
        if (metrics_of(stream).state != KVS_STREAM_FAILED) break;
        CHECK_EQ(metrics_of(stream).failure, KVS_E_NOMEM);
        refused_calls++;
        CHECK_EQ(kvs_stream_retry(stream, s->now_hns), KVS_OK);
    }
    for (uint32_t i = 0; i < s->session_count; i++) { /* a read that had no memory is asked for again */
        if (!s->sessions[i].is_over && s->sessions[i].is_open) session_read_all(s, &s->sessions[i]);
    }
    service_turn(s);
}

static void beginning(struct service *s)
{
    if (service_client(s, NULL) != KVS_OK) {
        CHECK_EQ(s->fail.live_blocks, 0);
        refused_calls++;
        CHECK_EQ(service_client(s, NULL), KVS_OK);
    }
    service_turn(s);
}

static void metadata(struct service *s, struct kvs_stream *stream)
{
    const char *const names[] = { "door" }, *const values[] = { "open" };
    AGAIN(kvs_stream_put_metadata(stream, "place", "hall", 1));
    AGAIN(kvs_stream_put_metadata(stream, "place", "yard", 1));
    AGAIN(kvs_stream_put_metadata(stream, "once", "1", 0));
    AGAIN(kvs_stream_put_event(stream, KVS_EVENT_IMAGE | KVS_EVENT_NOTIFICATION, "pre", 1, names, values));
    service_check(s);
}

static void middle(struct service *s, struct kvs_stream *stream)
{
    struct bytes cpd = hex_bytes(H264_ANNEXB);
    put_second(s, stream, 0, 0);
    turn(s, stream);
    metadata(s, stream);
    put_second(s, stream, 1000, 0);
    put_second(s, stream, 2000, 1); /* other parameter sets: another session */
    turn(s, stream);
    session_drop(s, newest(s), KVS_RESULT_READ_TIMEOUT);
    turn(s, stream);
    put_video(s, stream, 3000, 200000, 1, 0); /* across slabs, copied outside the lock */
    put_audio(s, stream, 3010);               /* a track that is silent for a fragment is left out of the next one */
    AGAIN(kvs_stream_end_fragment(stream, s->now_hns));
    AGAIN(kvs_stream_set_cpd(stream, 1, cpd.at, cpd.size));
    put_second(s, stream, 4000, 0);
    service_poke(s, s->now_hns + 41 * 60 * KVS_HNS_PER_SECOND); /* the token's life is over: rotation */
    turn(s, stream);
    for (uint64_t i = 0; i < 20; i++) put_video(s, stream, 5000 + 40 * i, 300, 1, 0);
    turn(s, stream);
}

static void ending(struct service *s, struct kvs_stream *stream)
{
    CHECK_EQ(kvs_stream_stop(stream, s->now_hns), KVS_OK);
    for (uint32_t round = 0; round < 20 && s->count[KVS_ACTION_CLOSED] == 0; round++) {
        turn(s, stream);
        for (uint32_t i = 0; i < s->session_count; i++) {
            if (!s->sessions[i].is_over && s->sessions[i].is_open) service_persist(s, &s->sessions[i]);
        }
    }
    struct kvs_stream_metrics m = metrics_of(stream);
    CHECK_EQ(s->count[KVS_ACTION_CLOSED], 1);
    CHECK_EQ(m.frames_buffered, 0);
    CHECK_EQ(m.frames_put, 102);
    CHECK_EQ(m.frames_done, 102); /* not one was lost for want of memory */
    service_free(s, stream);
}

/* 1 when the run needed fewer allocations than `fail_at`. */
static int story(uint64_t fail_at)
{
    struct service s;
    unsigned long failed = check_failed;
    service_start(&s);
    s.fail.fail_at = fail_at;
    s.may_fail = s.is_coded = 1;
    s.faults = 0;
    beginning(&s);
    struct kvs_stream *stream = open_stream(&s);
    turn(&s, stream);
    middle(&s, stream);
    ending(&s, stream);
    int is_past = s.fail.alloc_count < fail_at;
    service_down(&s);
    if (check_failed != failed) fprintf(stderr, "allocation %llu failed\n", (unsigned long long)fail_at);
    return is_past;
}

int main(void)
{
    uint64_t points = 1;
    while (points < POINTS_MAX && check_failed < 40 && !story(points)) points++;
    CHECK(points < POINTS_MAX);
    printf("%llu allocation points swept, %llu calls refused and repeated\n", (unsigned long long)points - 1,
           (unsigned long long)refused_calls);
    return CHECK_DONE();
}

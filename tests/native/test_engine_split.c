/* Long groups of pictures, and what a caller may forget. Goal: a fragment never grows past what the service takes, no
 * frame is lost by it, and `frames_settled` never runs ahead of what is done or dropped. */
#include "service.h"

enum { VIDEO = 1, AUDIO = 2 };

static const struct kvs_track_config TRACKS[] = {
    { .id = VIDEO, .type = KVS_TRACK_VIDEO, .codec_id = "V_MPEG4/ISO/AVC" },
    { .id = AUDIO, .type = KVS_TRACK_AUDIO, .codec_id = "A_AAC" },
};

static struct kvs_stream *limited(struct service *s, uint32_t tracks, uint64_t duration_ms, uint64_t size)
{
    struct kvs_stream_config config = video_config();
    config.tracks = TRACKS;
    config.track_count = tracks;
    config.order = tracks == 2 ? KVS_ORDER_CUT : KVS_ORDER_NONE;
    config.flags |= KVS_NEGATIVE_BLOCK_TIME;
    config.fragment_duration_max_hns = duration_ms * KVS_HNS_PER_MS;
    config.fragment_size_max = size;
    service_up(s, NULL);
    return service_open(s, &config);
}

static void put(struct service *s, uint64_t track, uint64_t dts_ms, uint64_t pts_ms, uint32_t size, uint32_t flags)
{
    struct put_as as = { .track = track, .dts_ms = dts_ms, .duration_ms = 40, .size = size, .flags = flags };
    CHECK_EQ(service_put_as(s, s->streams[1], pts_ms, as), KVS_OK);
    service_turn(s);
}

/* Every block lies after all blocks of the fragments before its own, and spans stay within the limit. */
static void check_fragments(const struct session *session, uint64_t limit_ms, uint32_t frames)
{
    struct mkv_seen seen = session_seen(session);
    uint64_t closed = 0, latest = 0;
    CHECK_EQ(seen.block_count, frames);
    for (uint32_t i = 0; i < seen.cluster_count; i++) {
        const struct seen_cluster *cluster = &seen.clusters[i];
        uint64_t first = UINT64_MAX, last = 0;
        closed = latest;
        for (uint32_t j = 0; j < cluster->block_count; j++) {
            uint64_t tc = cluster->tc + (uint64_t)(int64_t)seen.blocks[cluster->first_block + j].tc;
            CHECK(i == 0 || tc > closed);
            first = tc < first ? tc : first;
            last = tc > last ? tc : last;
        }
        CHECK(last - first <= limit_ms);
        latest = last > latest ? last : latest;
    }
    mkv_forget(&seen);
}

static void test_a_long_group_of_pictures_goes_on_in_another_fragment(void)
{
    struct service s;
    struct kvs_stream *stream = limited(&s, 1, 1000, 0);
    for (uint32_t i = 0; i < 100; i++) put(&s, VIDEO, 40 * i, 40 * i, 100, i == 0 ? KVS_FRAME_KEY : 0);
    CHECK_EQ(metrics_of(stream).fragments_put, 4); /* 25 frames of 40 ms each */
    CHECK_EQ(metrics_of(stream).fragments_split, 3);
    CHECK_EQ(s.count[KVS_ACTION_FRAGMENT_SPLIT], 3);
    CHECK_EQ(s.last[KVS_ACTION_FRAGMENT_SPLIT].a, T0 + 3000 * KVS_HNS_PER_MS);
    CHECK_EQ(s.last[KVS_ACTION_FRAGMENT_SPLIT].b, 3);
    CHECK(service_drain(&s, stream));
    check_fragments(newest(&s), 1000, 100);
    struct mkv_seen seen = session_seen(newest(&s));
    for (uint32_t i = 0; i < 4; i++) CHECK_EQ(seen.blocks[25 * i].flags & 0x80, i == 0 ? 0x80 : 0); /* no false key */
    mkv_forget(&seen);
    CHECK_EQ(metrics_of(stream).frames_done, 100);
    service_down(&s);
}

static void test_a_large_group_of_pictures_goes_on_in_another_fragment(void)
{
    struct service s;
    struct kvs_stream *stream = limited(&s, 1, 0, 10000);
    for (uint32_t i = 0; i < 40; i++) put(&s, VIDEO, 40 * i, 40 * i, 1900, i == 0 ? KVS_FRAME_KEY : 0);
    CHECK_EQ(metrics_of(stream).fragments_put, 8); /* five frames each */
    CHECK_EQ(metrics_of(stream).fragments_split, 7);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 40);
    service_down(&s);
}

/* I0 P4 B2 B1 B3 P8 B6 B5 B7 ...: only the P pictures lie after all before them. */
static void test_a_split_never_parts_pictures_that_are_out_of_order(void)
{
    static const uint32_t shown[] = { 4, 2, 1, 3 };
    struct service s;
    struct kvs_stream *stream = limited(&s, 1, 1000, 0);
    put(&s, VIDEO, 0, 0, 100, KVS_FRAME_KEY);
    for (uint32_t i = 0; i < 100; i++) put(&s, VIDEO, 40 * (i + 1), 40 * (i / 4 * 4 + shown[i % 4]), 100, 0);
    CHECK(metrics_of(stream).fragments_split >= 3);
    CHECK(service_drain(&s, stream));
    check_fragments(newest(&s), 1000, 101);
    CHECK_EQ(metrics_of(stream).frames_done, 101);
    service_down(&s);
}

static void test_sound_stays_on_its_side_of_a_split(void)
{
    struct service s;
    struct kvs_stream *stream = limited(&s, 2, 1000, 0);
    for (uint32_t i = 0; i < 100; i++) {
        put(&s, VIDEO, 40 * i, 40 * i, 100, i == 0 ? KVS_FRAME_KEY : 0);
        for (uint32_t j = 0; j < 2 && i >= 3; j++) put(&s, AUDIO, 40 * (i - 3) + 20 * j, 40 * (i - 3) + 20 * j, 30, 0);
    }
    CHECK(metrics_of(stream).fragments_split >= 3);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(s.session_count, 1);
    check_fragments(newest(&s), 1000, 100 + 2 * 97);
    CHECK_EQ(metrics_of(stream).frames_done, 100 + 2 * 97);
    service_down(&s);
}

/* Codec private data that is set in the middle of a group of pictures is for the next key frame, not for a split. */
static void test_a_split_keeps_the_header_of_its_key_frame(void)
{
    static const uint8_t first[] = { 1, 66, 0, 30 }, second[] = { 1, 66, 0, 31 };
    struct service s;
    struct kvs_stream *stream = limited(&s, 1, 1000, 0);
    CHECK_EQ(kvs_stream_set_cpd(stream, VIDEO, first, sizeof first), KVS_OK);
    for (uint32_t i = 0; i < 60; i++) {
        if (i == 10) CHECK_EQ(kvs_stream_set_cpd(stream, VIDEO, second, sizeof second), KVS_OK);
        put(&s, VIDEO, 40 * i, 40 * i, 100, i == 0 ? KVS_FRAME_KEY : 0);
    }
    CHECK_EQ(metrics_of(stream).fragments_split, 2);
    CHECK_EQ(s.session_count, 1);
    put(&s, VIDEO, 2400, 2400, 100, KVS_FRAME_KEY);
    CHECK_EQ(s.session_count, 2);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 61);
    service_down(&s);
}

/* Cut by time; the source pauses for longer than a fragment may be, and its next key frame is still held for the sound
 * when the frame after it comes. */
static void test_a_pause_splits_nothing(void)
{
    struct service s;
    struct kvs_stream_config config = video_config();
    config.tracks = TRACKS;
    config.track_count = 2;
    config.order = KVS_ORDER_CUT;
    config.flags = (config.flags & ~(uint32_t)KVS_KEY_FRAME_FRAGMENTS) | KVS_NEGATIVE_BLOCK_TIME;
    config.fragment_duration_hns = 4000 * KVS_HNS_PER_MS;
    config.fragment_duration_max_hns = 20000 * KVS_HNS_PER_MS;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, &config);
    for (uint32_t i = 0; i < 20; i++) {
        uint64_t at_ms = i < 10 ? 300 * i : 30000 + 300 * i;
        put(&s, VIDEO, at_ms, at_ms, 100, i % 10 == 0 ? KVS_FRAME_KEY : 0);
        if (i != 10) put(&s, AUDIO, at_ms, at_ms, 30, 0);
    }
    CHECK_EQ(metrics_of(stream).fragments_split, 0);
    CHECK_EQ(metrics_of(stream).fragments_put, 2);
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

static void test_without_limits_nothing_is_split(void)
{
    struct service s;
    struct kvs_stream *stream = limited(&s, 1, 0, 0);
    for (uint32_t i = 0; i < 100; i++) put(&s, VIDEO, 300 * i, 300 * i, 100, i == 0 ? KVS_FRAME_KEY : 0);
    CHECK_EQ(metrics_of(stream).fragments_put, 1);
    service_down(&s);
}

/* ---- settled frames ---------------------------------------------------------------------------------------------- */

static void test_settled_frames_are_those_before_the_oldest_fragment(void)
{
    struct service s;
    struct kvs_stream *stream = limited(&s, 2, 0, 0);
    for (uint32_t i = 0; i < 30; i++) {
        put(&s, VIDEO, 40 * i, 40 * i, 100, i % 10 == 0 ? KVS_FRAME_KEY : 0);
        put(&s, AUDIO, 40 * i + 5, 40 * i + 5, 30, 0);
    }
    CHECK_EQ(metrics_of(stream).frames_settled[0], 0);
    CHECK_EQ(metrics_of(stream).frames_settled[1], 0);
    struct mkv_seen seen = session_seen(newest(&s));
    session_ack(&s, newest(&s), KVS_ACK_PERSISTED, seen.clusters[0].tc, 0);
    mkv_forget(&seen);
    service_turn(&s);
    CHECK_EQ(metrics_of(stream).frames_settled[0], 10); /* the fragment's pictures, */
    CHECK_EQ(metrics_of(stream).frames_settled[1], 10); /* and its sound, which ends before the next key frame */
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_settled[0], 30);
    CHECK_EQ(metrics_of(stream).frames_settled[1], 30);
    service_down(&s);
}

/* Skipped and dropped frames count in their places: the numbers are those of the frames as they were put. */
static void test_settled_counts_frames_that_were_skipped(void)
{
    struct service s;
    struct kvs_stream *stream = limited(&s, 1, 0, 0);
    for (uint32_t i = 0; i < 5; i++) put(&s, VIDEO, 40 * i, 40 * i, 100, 0); /* no key frame yet */
    CHECK_EQ(metrics_of(stream).frames_settled[0], 5);
    for (uint32_t i = 5; i < 10; i++) put(&s, VIDEO, 40 * i, 40 * i, 100, i == 5 ? KVS_FRAME_KEY : 0);
    CHECK_EQ(metrics_of(stream).frames_settled[0], 5);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_OK);
    for (uint32_t i = 10; i < 13; i++) put(&s, VIDEO, 40 * i, 40 * i, 100, 0);
    CHECK_EQ(metrics_of(stream).frames_settled[0], 5); /* 10 to 12 are skipped, but 5 to 9 may be sent again */
    service_persist(&s, newest(&s));
    CHECK_EQ(metrics_of(stream).frames_settled[0], 13);
    service_down(&s);
}

int main(void)
{
    test_a_long_group_of_pictures_goes_on_in_another_fragment();
    test_a_large_group_of_pictures_goes_on_in_another_fragment();
    test_a_split_never_parts_pictures_that_are_out_of_order();
    test_sound_stays_on_its_side_of_a_split();
    test_a_split_keeps_the_header_of_its_key_frame();
    test_a_pause_splits_nothing();
    test_without_limits_nothing_is_split();
    test_settled_frames_are_those_before_the_oldest_fragment();
    test_settled_counts_frames_that_were_skipped();
    return CHECK_DONE();
}

/* Ends of fragments and what rides with their beginnings: end of fragment by the caller and by the idle deadline,
 * fragment metadata, events. Goal: every tag goes out once, with the fragment it belongs to, and again with a
 * repeat. */
#include "service.h"

static const char LONG_NAME[] =
    "12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345"
    "6789012345678901234567890123456789";
static char LONG_VALUE[258];

static struct kvs_stream *opened(struct service *s, const struct kvs_stream_config *config)
{
    service_up(s, NULL);
    return service_open(s, config);
}

/* ---- end of fragment --------------------------------------------------------------------------------------------- */

static void test_end_of_fragment(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_E_NO_FRAGMENT);
    REPLACED("CD-33", "KVS_E_NO_FRAGMENT; nothing is consumed");
    service_put_fragments(&s, stream, 0, 1, 3);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_OK);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_E_DOUBLE_EOFR);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_E_DOUBLE_EOFR);
    CHECK_EQ(service_put(&s, stream, 300, 0), KVS_OK);
    CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_SKIPPED], 1);
    HELD("CD-34 CD-35");
    service_turn(&s);
    CHECK_EQ(service_persist(&s, newest(&s)), 1); /* whole without another put */
    CHECK_EQ(metrics_of(stream).frames_done, 3);
    CHECK(kvs_view_is_empty(&stream->view));
    CHECK_EQ(metrics_of(stream).store_used, 0);
    HELD("CD-36");
    service_put_fragments(&s, stream, 400, 1, 3);
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

static void test_the_idle_deadline_ends_the_fragment_once(void)
{
    struct kvs_stream_config config = video_config(), second = video_config();
    struct service s;
    config.eofr_idle_hns = second.eofr_idle_hns = 20 * KVS_HNS_PER_SECOND;
    second.name = "second";
    struct kvs_stream *stream = opened(&s, &config), *other = service_open(&s, &second);
    CHECK(kvs_client_next_deadline(s.client) > T0 + 2000 * KVS_HNS_PER_SECOND); /* the token's */
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    service_turn(&s);
    CHECK_EQ(kvs_client_next_deadline(s.client), T0 + 20 * KVS_HNS_PER_SECOND);
    s.now_hns = T0 + 10 * KVS_HNS_PER_SECOND;
    service_put(&s, other, 10000, KVS_FRAME_KEY);
    service_turn(&s);
    service_poke(&s, T0 + 25 * KVS_HNS_PER_SECOND);
    CHECK_EQ(s.count[KVS_ACTION_FRAGMENT_ENDED], 1);
    CHECK_EQ(s.last[KVS_ACTION_FRAGMENT_ENDED].user, 1);
    CHECK_EQ(s.last[KVS_ACTION_FRAGMENT_ENDED].a, T0);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_E_DOUBLE_EOFR);
    service_poke(&s, T0 + 29 * KVS_HNS_PER_SECOND);
    CHECK_EQ(s.count[KVS_ACTION_FRAGMENT_ENDED], 1);
    service_poke(&s, T0 + 60 * KVS_HNS_PER_SECOND);
    CHECK_EQ(s.count[KVS_ACTION_FRAGMENT_ENDED], 2); /* each stream its own, once */
    CHECK_EQ(s.last[KVS_ACTION_FRAGMENT_ENDED].user, 2);
    CHECK(kvs_client_next_deadline(s.client) > T0 + 2000 * KVS_HNS_PER_SECOND);
    REPLACED("CD-39 CD-41", "a deadline, then a poke; no timer and no thread");
    HELD("CS-94 CD-42");
    service_persist(&s, &s.sessions[0]);
    CHECK_EQ(metrics_of(stream).frames_done, 1);
    service_put(&s, stream, 61000, 0);
    CHECK_EQ(metrics_of(stream).frames_dropped[KVS_DROP_SKIPPED], 1);
    service_put(&s, stream, 61040, KVS_FRAME_KEY);
    CHECK(service_drain(&s, stream));
    CHECK(service_drain(&s, other));
    service_down(&s);
}

static void test_one_of_two_tracks_keeps_the_stream_alive(void)
{
    static const struct kvs_track_config tracks[] = { { .id = 1, .type = KVS_TRACK_VIDEO, .codec_id = "V" },
                                                      { .id = 2, .type = KVS_TRACK_AUDIO, .codec_id = "A" } };
    struct kvs_stream_config config = video_config();
    struct service s;
    config.tracks = tracks;
    config.track_count = 2;
    config.eofr_idle_hns = 2 * KVS_HNS_PER_SECOND;
    struct kvs_stream *stream = opened(&s, &config);
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    for (uint64_t i = 1; i < 20; i++) {
        s.now_hns = T0 + i * KVS_HNS_PER_SECOND;
        service_put_as(&s, stream, 1000 * i, (struct put_as) { .track = 2, .dts_ms = 1000 * i });
        service_poke(&s, s.now_hns);
    }
    CHECK_EQ(s.count[KVS_ACTION_FRAGMENT_ENDED], 0);
    HELD("CD-43");
    service_down(&s);
}

/* ---- metadata ---------------------------------------------------------------------------------------------------- */

static void test_metadata_rides_with_the_next_fragment(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    config.metadata_max = 25;
    struct kvs_stream *stream = opened(&s, &config);
    for (uint32_t i = 0; i < 100; i++) {
        service_put(&s, stream, 40 * i, i % 10 == 0 ? KVS_FRAME_KEY : 0);
        CHECK_EQ(kvs_stream_put_metadata(stream, "postTagName", "postTagValue", 0), KVS_OK);
        if (i == 79) CHECK_EQ(kvs_stream_put_event(stream, 3, NULL, 0, NULL, NULL), KVS_OK);
    }
    service_turn(&s);
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.tag_count, 92); /* the last 10 wait */
    CHECK_EQ(newest(&s)->size, seen.header_size + 100 * 113 + 10 * 18 + 90 * 75 + 81 + 85);
    for (uint32_t i = 1; i < 10; i++) CHECK_EQ(seen.clusters[i].tag_count, i == 8 ? 12 : 10);
    CHECK_STR(seen.tags[80].name, KVS_MKV_NOTIFICATION_NAME);
    CHECK_STR(seen.tags[81].name, KVS_MKV_IMAGE_NAME);
    mkv_forget(&seen);
    REPLACED("CD-76 CD-77 CD-78", "250 is our header length");
    session_drop(&s, newest(&s), KVS_RESULT_READ_TIMEOUT); /* tags stay with their fragments, byte for byte */
    service_turn(&s);
    CHECK_EQ(newest(&s)->size, s.sessions[0].size);
    CHECK_EQ(memcmp(newest(&s)->bytes, s.sessions[0].bytes, s.sessions[0].size), 0);
    HELD("CD-67");
    CHECK(service_drain(&s, stream));
    seen = session_seen(newest(&s));
    CHECK_EQ(seen.tag_count, 102); /* what had no fragment yet goes out before the end */
    CHECK_EQ(seen.end_count, 1);
    mkv_forget(&seen);
    HELD("CD-86");
    service_down(&s);
}

static void test_persistent_metadata(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL);
    CHECK_EQ(kvs_stream_put_metadata(stream, "p", "v1", 1), KVS_OK);
    service_put_fragments(&s, stream, 0, 2, 2);
    CHECK_EQ(kvs_stream_put_metadata(stream, "p", "v2", 1), KVS_OK);
    service_put_fragments(&s, stream, 400, 1, 2);
    CHECK_EQ(kvs_stream_put_metadata(stream, "p", "", 1), KVS_OK);
    CHECK_EQ(kvs_stream_put_metadata(stream, "none", "", 1), KVS_OK); /* nothing to take away */
    service_put_fragments(&s, stream, 600, 1, 2);
    CHECK(service_drain(&s, stream));
    struct mkv_seen seen = session_seen(newest(&s));
    static const char *const values[] = { "v1", "v1", "v2" };
    CHECK_EQ(seen.tag_count, 3);
    for (uint32_t i = 0; i < 3; i++) CHECK_STR(seen.tags[i].value, values[i]);
    CHECK_EQ(seen.clusters[3].tag_count, 0);
    mkv_forget(&seen);
    HELD("CD-85");
    service_down(&s);
}

static void test_limits_of_metadata(void)
{
    struct kvs_stream_config config = video_config();
    struct service s;
    char name[16];
    for (uint32_t limit = 0; limit < 2; limit++) {
        uint32_t most = limit == 0 ? 10 : 25;
        config.metadata_max = limit == 0 ? 0 : 25;
        struct kvs_stream *stream = opened(&s, &config);
        for (uint32_t i = 0; i < most; i++) {
            snprintf(name, sizeof name, "n%u", i);
            CHECK_EQ(kvs_stream_put_metadata(stream, name, "v", i % 2), KVS_OK);
        }
        CHECK_EQ(kvs_stream_put_metadata(stream, "more", "v", 0), KVS_E_METADATA_COUNT);
        CHECK_EQ(kvs_stream_put_metadata(stream, "more", "v", 1), KVS_E_METADATA_COUNT);
        CHECK_EQ(kvs_stream_put_metadata(stream, "n1", "w", 1), KVS_OK);
        service_put_fragments(&s, stream, 0, 1, 2);
        CHECK_EQ(kvs_stream_put_metadata(stream, "more", "v", 0), KVS_OK);
        service_down(&s);
    }
    REPLACED("CD-80", "25 is pic.h's number, the default is the service's 10");
}

static void test_names_and_values(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL);
    static const char *const reserved[] = { "AWS", "AWS ", "AWSTag", "AWS:" };
    for (uint32_t i = 0; i < 4; i++)
        CHECK_EQ(kvs_stream_put_metadata(stream, reserved[i], "v", 0), KVS_E_METADATA_NAME);
    CHECK_EQ(kvs_stream_put_metadata(stream, "aWS", "v", 0), KVS_OK);
    CHECK_EQ(kvs_stream_put_metadata(stream, "aws", "v", 0), KVS_OK);
    HELD("CD-81");
    memset(LONG_VALUE, 'x', sizeof LONG_VALUE - 1);
    CHECK_EQ(strlen(LONG_NAME), 129);
    CHECK_EQ(kvs_stream_put_metadata(stream, "", "v", 0), KVS_E_TAG_NAME_SIZE);
    CHECK_EQ(kvs_stream_put_metadata(stream, LONG_NAME, "v", 0), KVS_E_TAG_NAME_SIZE);
    CHECK_EQ(kvs_stream_put_metadata(stream, LONG_NAME + 1, LONG_VALUE + 1, 0), KVS_OK);
    CHECK_EQ(kvs_stream_put_metadata(stream, "n", LONG_VALUE, 0), KVS_E_TAG_VALUE_SIZE);
    service_down(&s);
}

static void test_events(void)
{
    struct service s;
    const char *names[11] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k" };
    const char *values[11] = { "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11" };
    struct kvs_stream *stream = opened(&s, NULL);
    CHECK_EQ(kvs_stream_put_event(stream, 0, NULL, 0, NULL, NULL), KVS_E_INVALID_ARG);
    CHECK_EQ(kvs_stream_put_event(stream, 4, NULL, 0, NULL, NULL), KVS_E_INVALID_ARG);
    CHECK_EQ(kvs_stream_put_event(stream, 1, NULL, 0, NULL, NULL), KVS_E_NO_FRAGMENT);
    HELD("CD-83");
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    CHECK_EQ(kvs_stream_put_event(stream, 1, NULL, 11, names, values), KVS_E_EVENT_PAIRS);
    CHECK_EQ(kvs_stream_put_event(stream, 1, NULL, 1, NULL, values), KVS_E_NULL_ARG);
    memset(LONG_VALUE, 'x', sizeof LONG_VALUE - 1);
    const char *long_name = LONG_NAME, *long_value = LONG_VALUE, *none = NULL, *own = "AWS_X";
    CHECK_EQ(kvs_stream_put_event(stream, 1, NULL, 1, &none, values), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_put_event(stream, 1, NULL, 1, &long_name, values), KVS_E_EVENT_NAME_SIZE);
    CHECK_EQ(kvs_stream_put_event(stream, 1, NULL, 1, names, &long_value), KVS_E_EVENT_VALUE_SIZE);
    CHECK_EQ(kvs_stream_put_event(stream, 1, LONG_VALUE, 0, NULL, NULL), KVS_E_EVENT_PREFIX_SIZE);
    CHECK_EQ(kvs_stream_put_event(stream, 1, NULL, 1, &own, values), KVS_E_METADATA_NAME);
    CHECK_EQ(kvs_stream_put_event(stream, 1, own, 0, NULL, NULL), KVS_E_METADATA_NAME);
    HELD("CD-84");
    CHECK_EQ(kvs_stream_put_event(stream, 3, "pre", 10, names, values), KVS_OK); /* no failure left it pending */
    CHECK_EQ(kvs_stream_put_event(stream, 1, NULL, 0, NULL, NULL), KVS_E_DUPLICATE_EVENT);
    CHECK_EQ(kvs_stream_put_event(stream, 2, NULL, 0, NULL, NULL), KVS_E_DUPLICATE_EVENT);
    service_put(&s, stream, 400, KVS_FRAME_KEY);
    CHECK_EQ(kvs_stream_put_event(stream, 1, NULL, 0, NULL, NULL), KVS_OK);
    HELD("CD-79");
    CHECK_EQ(kvs_stream_reset(stream, s.now_hns), KVS_OK); /* a reset forgets what was pending */
    service_turn(&s);
    service_put(&s, stream, 800, KVS_FRAME_KEY);
    CHECK_EQ(kvs_stream_put_event(stream, 1, NULL, 0, NULL, NULL), KVS_OK);
    service_down(&s);
}

static void test_metadata_needs_a_described_stream(void)
{
    static const uint32_t kinds[] = { KVS_ACTION_DESCRIBE_STREAM, KVS_ACTION_CREATE_STREAM,
                                      KVS_ACTION_GET_DATA_ENDPOINT, KVS_ACTION_GET_TOKEN };
    struct service s;
    for (uint32_t i = 0; i < 4; i++) {
        service_up(&s, NULL);
        if (i == 1) service_script(&s, KVS_ACTION_DESCRIBE_STREAM, KVS_RESULT_NOT_FOUND, 1);
        s.hold = HOLD(kinds[i]);
        struct kvs_stream *stream = service_open(&s, NULL);
        CHECK_EQ(kvs_stream_put_metadata(stream, "a", "b", 0), i < 2 ? KVS_E_STREAM_STATE : KVS_OK);
        CHECK_EQ(kvs_stream_put_event(stream, 1, NULL, 0, NULL, NULL), i < 2 ? KVS_E_STREAM_STATE : KVS_E_NO_FRAGMENT);
        service_down(&s);
    }
    HELD("CS-84 CD-82");
}

/* A stream that reconnects asks DescribeStream again. Metadata is taken meanwhile, as frames are. */
static void test_metadata_is_taken_while_the_stream_reconnects(void)
{
    static const uint32_t kinds[] = { KVS_ACTION_DESCRIBE_STREAM, KVS_ACTION_GET_DATA_ENDPOINT, KVS_ACTION_GET_TOKEN,
                                      KVS_ACTION_PUT_MEDIA };
    struct service s;
    for (uint32_t i = 0; i < 5; i++) {
        struct kvs_stream *stream = opened(&s, NULL);
        service_put_fragments(&s, stream, 0, 1, 3);
        service_turn(&s);
        if (i < 4) s.hold = HOLD(kinds[i]);
        else service_script(&s, KVS_ACTION_DESCRIBE_STREAM, KVS_RESULT_UNKNOWN, 6); /* FAILED */
        session_drop(&s, newest(&s), KVS_RESULT_UNKNOWN);
        service_turn(&s);
        CHECK_EQ(kvs_stream_put_metadata(stream, "during", "outage", 0), KVS_OK);
        CHECK_EQ(kvs_stream_put_event(stream, KVS_EVENT_NOTIFICATION, NULL, 0, NULL, NULL), KVS_OK);
        service_put_fragments(&s, stream, 300, 1, 3);
        s.hold = 0;
        if (i < 4) service_answer(&s, kinds[i], KVS_RESULT_OK);
        else kvs_stream_retry(stream, s.now_hns);
        CHECK(service_drain(&s, stream));
        struct mkv_seen seen = session_seen(newest(&s));
        CHECK_EQ(seen.clusters[1].tag_count, 2);
        CHECK_EQ(metrics_of(stream).frames_done, 6);
        mkv_forget(&seen);
        service_down(&s);
    }
}

/* Tags that came while a large frame was copied, or that fill the room: they wait, none is lost. */
static void test_tags_at_the_end_of_a_fragment(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, NULL);
    CHECK_EQ(kvs_stream_put_metadata(stream, "keep", "1", 1), KVS_OK);
    service_put(&s, stream, 0, KVS_FRAME_KEY);
    CHECK_EQ(kvs_stream_put_metadata(stream, "once", "2", 0), KVS_OK);
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_OK);
    service_put(&s, stream, 400, KVS_FRAME_KEY);
    CHECK(service_drain(&s, stream));
    struct mkv_seen seen = session_seen(newest(&s));
    CHECK_EQ(seen.tag_count, 3); /* keep; once before the end of the first; keep again */
    CHECK_EQ(seen.clusters[0].tag_count, 1);
    CHECK_EQ(seen.clusters[1].tag_count, 2);
    CHECK_EQ(seen.end_count, 2);
    mkv_forget(&seen);
    service_down(&s);
}

int main(void)
{
    test_end_of_fragment();
    test_the_idle_deadline_ends_the_fragment_once();
    test_one_of_two_tracks_keeps_the_stream_alive();
    test_metadata_rides_with_the_next_fragment();
    test_persistent_metadata();
    test_limits_of_metadata();
    test_names_and_values();
    test_events();
    test_metadata_needs_a_described_stream();
    test_metadata_is_taken_while_the_stream_reconnects();
    test_tags_at_the_end_of_a_fragment();
    return CHECK_DONE();
}

/* Tracks that begin late, end early, pause, or lie seconds away in the interleaving. Goal: a session announces the
 * tracks that its fragments have frames of, because the service refuses a fragment for an announced track without one;
 * nothing is lost, and no session opens but for a track that comes or goes. */
#include "service.h"

enum { VIDEO = 1, AUDIO = 2 };
#define SECONDS 60u

struct plan {
    uint32_t audio_from_ms, audio_to_ms, hole_from_ms, hole_to_ms;
    int32_t apart_ms;      /* sound lies so much later in the interleaving than the pictures of its time */
    uint32_t gop, odd_gop; /* pictures in a group; in every other one */
};

static const struct kvs_track_config TRACKS[] = {
    { .id = VIDEO, .type = KVS_TRACK_VIDEO, .codec_id = "V_TEST" },
    { .id = AUDIO, .type = KVS_TRACK_AUDIO, .codec_id = "A_TEST" },
};

static struct kvs_stream *opened(struct service *s, uint32_t streaming_type)
{
    struct kvs_stream_config config = video_config();
    config.tracks = TRACKS;
    config.track_count = 2;
    config.order = KVS_ORDER_CUT;
    config.content_type = "video/x-test,audio/x-test";
    config.flags |= KVS_NEGATIVE_BLOCK_TIME;
    config.streaming_type = streaming_type;
    service_up(s, NULL);
    return service_open(s, &config);
}

static uint32_t tracks_in(const struct mkv_seen *seen, const struct seen_cluster *cluster)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < cluster->block_count; i++) mask |= 1u << seen->blocks[cluster->first_block + i].track;
    return (mask >> VIDEO & 1u) + (mask >> AUDIO & 1u);
}

/* How many fragments lack a frame of a track that their session announces. */
static uint32_t count_lacking(struct service *s)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->session_count; i++) {
        struct mkv_seen seen = session_seen(&s->sessions[i]);
        for (uint32_t j = 0; j < seen.cluster_count; j++)
            count += tracks_in(&seen, &seen.clusters[j]) != seen.track_count;
        mkv_forget(&seen);
    }
    return count;
}

static int has_sound(const struct plan *plan, uint32_t ms)
{
    return ms >= plan->audio_from_ms && ms < plan->audio_to_ms && (ms < plan->hole_from_ms || ms >= plan->hole_to_ms);
}

static int is_key(const struct plan *plan, uint32_t picture)
{
    uint32_t odd = plan->odd_gop != 0 ? plan->odd_gop : plan->gop, at = picture % (plan->gop + odd);
    return at == 0 || at == plan->gop;
}

/* A file of a minute, put as fast as it goes: 25 pictures a second, a block of sound for each. */
static void put_file(struct service *s, const struct plan *plan, int is_link_fast)
{
    uint32_t apart = (uint32_t)(plan->apart_ms < 0 ? -plan->apart_ms : plan->apart_ms);
    for (uint32_t at = 0; at < SECONDS * 1000 + apart; at += 40) {
        uint32_t video = plan->apart_ms < 0 ? at - apart : at, audio = plan->apart_ms > 0 ? at - apart : at;
        s->now_hns += KVS_HNS_PER_MS / 10;
        if (video < SECONDS * 1000) service_put(s, s->streams[1], video, is_key(plan, video / 40) ? KVS_FRAME_KEY : 0);
        CHECK_EQ(s->last_status, KVS_OK);
        if (audio < SECONDS * 1000 && has_sound(plan, audio))
            service_put_as(s, s->streams[1], audio, (struct put_as) { .track = AUDIO, .dts_ms = audio });
        CHECK_EQ(s->last_status, KVS_OK);
        if (is_link_fast) service_turn(s);
    }
}

static void check_file(const struct plan *plan, uint32_t sessions_max)
{
    for (int is_link_fast = 0; is_link_fast < 2; is_link_fast++) {
        struct service s;
        struct kvs_stream *stream = opened(&s, KVS_OFFLINE);
        put_file(&s, plan, is_link_fast);
        CHECK(service_drain(&s, stream));
        CHECK_EQ(count_lacking(&s), 0);
        CHECK(s.session_count <= sessions_max);
        CHECK_EQ(metrics_of(stream).frames_done, metrics_of(stream).frames_put);
        CHECK_EQ(metrics_of(stream).fragments_resent, 0);
        service_down(&s);
    }
}

static void test_files(void)
{
    static const uint32_t end = SECONDS * 1000;
    check_file(&(struct plan) { .audio_to_ms = end, .gop = 50 }, 1);
    check_file(&(struct plan) { .audio_from_ms = 30000, .audio_to_ms = 40000, .gop = 50 }, 3);
    check_file(&(struct plan) { .audio_from_ms = 29980, .audio_to_ms = end, .gop = 50 }, 2);
    check_file(&(struct plan) { .audio_to_ms = 20000, .gop = 50 }, 2);
    check_file(&(struct plan) { .audio_to_ms = end, .hole_from_ms = 20000, .hole_to_ms = 31000, .gop = 50 }, 3);
    check_file(&(struct plan) { .audio_to_ms = end, .hole_from_ms = 20500, .hole_to_ms = 21500, .gop = 50 }, 1);
}

/* A first key frame waits for as many pictures as a queue takes, 41 s of them: what comes still later is too late. */
static void test_files_whose_sound_lies_away_in_the_interleaving(void)
{
    static const uint32_t end = SECONDS * 1000;
    for (int32_t apart_ms = -12000; apart_ms <= 9000; apart_ms += 3000) {
        check_file(&(struct plan) { .audio_to_ms = end, .apart_ms = apart_ms, .gop = 50 }, 1);
        check_file(&(struct plan) { .audio_from_ms = 30000, .audio_to_ms = end, .apart_ms = apart_ms, .gop = 50 }, 2);
        check_file(&(struct plan) { .audio_to_ms = 30000, .apart_ms = apart_ms, .gop = 50 }, 2);
    }
}

/* Fragments of changing length are foreseen wrongly; of those that have not left, the header is put right. */
static void test_files_with_groups_of_changing_length(void)
{
    struct plan plan = { .audio_from_ms = 30000, .audio_to_ms = 45000, .gop = 25, .odd_gop = 100 };
    struct service s;
    struct kvs_stream *stream = opened(&s, KVS_OFFLINE);
    put_file(&s, &plan, 0);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(count_lacking(&s), 0);
    CHECK_EQ(metrics_of(stream).frames_done, metrics_of(stream).frames_put);
    service_down(&s);
}

/* A microphone that is pulled out: one fragment at most announces it in vain, and when it is back nothing is lost. */
static void test_a_live_track_that_dies_and_comes_back(void)
{
    struct service s;
    struct kvs_stream *stream = opened(&s, KVS_REALTIME);
    for (uint32_t at = 0; at < 40000; at += 40) {
        s.now_hns += MS(40);
        kvs_client_poke(s.client, s.now_hns);
        service_put(&s, stream, at, at % 2000 == 0 ? KVS_FRAME_KEY : 0);
        if (at < 11000 || at > 25000)
            service_put_as(&s, stream, at, (struct put_as) { .track = AUDIO, .dts_ms = at });
        service_turn(&s);
    }
    CHECK(service_drain(&s, stream));
    CHECK(count_lacking(&s) <= 1);
    CHECK_EQ(metrics_of(stream).frames_done, metrics_of(stream).frames_put);
    CHECK_EQ(metrics_of(stream).tracks_silent, 1);
    service_down(&s);
}

int main(void)
{
    test_files();
    test_files_whose_sound_lies_away_in_the_interleaving();
    test_files_with_groups_of_changing_length();
    test_a_live_track_that_dies_and_comes_back();
    return CHECK_DONE();
}

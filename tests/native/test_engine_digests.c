/* Stories of several streams of one client, each as one number: of the bytes of every upload, of every action in its
 * order, of every status that a call returned and of every deadline that was named. Goal: a change of the core's
 * inside changes none of them. The numbers stand in engine_digests.h. A change that is meant to be seen outside makes
 * them again:  test_engine_digests make > tests/native/engine_digests.h  (the program is below build/native). */
#include "engine_digests.h"
#include "media_bytes.h"
#include "story.h"

#define DIGEST_STORIES 200u
#define DIGEST_SIZE 2500u
#define DIGEST_STREAMS 3u

/* A stream of a story, while another one has its turn. */
struct lane {
    struct kvs_stream *stream;
    struct kvs_stream_config config;
    uint64_t time_ms, audio_ms;
};

static void open_lanes(struct story *story, struct lane *lanes, uint32_t count)
{
    static const char *const NAMES[DIGEST_STREAMS] = { "front-door", "back-door", "garden" };
    for (uint32_t i = 0; i < count; i++) {
        story_configure(story);
        story->config.name = NAMES[i];
        if (story_byte(story) & 1) story->config.flags |= KVS_PUT_OPENS;
        if (story_byte(story) & 1) story->config.flags |= KVS_CONFIRM_EACH;
        if (story_byte(story) & 1) story->config.fragment_duration_min_hns = MS(1000);
        if (story_byte(story) & 1) story->config.data_delay_hns = MS(50);
        lanes[i] = (struct lane) { .config = story->config };
        lanes[i].stream = service_new(&story->s, &story->config);
        CHECK(lanes[i].stream != NULL);
    }
    story->s.is_silent = story->is_silent;
}

static void take_step(struct story *story, struct lane *lane)
{
    story->stream = lane->stream;
    story->config = lane->config;
    story->time_ms = lane->time_ms;
    story->audio_ms = lane->audio_ms;
    story_step(story, story_byte(story) % 24);
    lane->time_ms = story->time_ms;
    lane->audio_ms = story->audio_ms;
    service_note_number(&story->s, (uint32_t)story->s.last_status);
    service_note_number(&story->s, kvs_client_next_deadline(story->s.client));
}

static void note_ledger(struct story *story, struct kvs_stream *stream)
{
    struct kvs_stream_metrics m = metrics_of(stream);
    const uint64_t numbers[] = { m.state,        m.frames_put,    m.frames_done,      m.frames_buffered, m.bytes_put,
                                 m.bytes_done,   m.bytes_dropped, m.fragments_put,    m.fragments_done,  m.bytes_sent,
                                 m.bytes_unsent, m.frames_unsent, m.fragments_resent, m.sessions,        m.store_used };
    for (uint32_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) service_note_number(&story->s, numbers[i]);
    for (uint32_t i = 0; i < KVS_DROP_COUNT; i++) service_note_number(&story->s, m.frames_dropped[i]);
}

static uint64_t digest_of(uint64_t seed)
{
    static const uint32_t HOWS[] = { 0, STORY_LENDS, STORY_LENDS | STORY_KEEPS, STORY_UNUSUAL };
    uint8_t bytes[DIGEST_SIZE];
    struct lane lanes[DIGEST_STREAMS];
    struct story *story = calloc(1, sizeof *story);
    if (story == NULL) abort();
    uint64_t state = seed + 100000u;
    for (uint32_t i = 0; i < DIGEST_SIZE; i++) bytes[i] = (uint8_t)next_random(&state);
    story->bytes = bytes;
    story->size = DIGEST_SIZE;
    uint32_t count = 1u + (uint32_t)(seed % DIGEST_STREAMS);
    story_client(story, HOWS[seed / DIGEST_STREAMS % 4u]);
    open_lanes(story, lanes, count);
    while (story->at < story->size && check_failed == 0 && story->s.session_count + 8 <= SERVICE_SESSIONS)
        take_step(story, &lanes[story_byte(story) % count]);
    for (uint32_t i = 0; i < count; i++) {
        struct kvs_stream_metrics metrics = metrics_of(lanes[i].stream);
        story_add(story, &metrics);
        note_ledger(story, lanes[i].stream);
    }
    uint64_t digest = story->s.digest;
    service_down(&story->s);
    free(story);
    return digest;
}

static void make(void)
{
    printf("/* engine_digests.h — made by test_engine_digests.c, which says how and what the numbers mean. */\n"
           "#ifndef KVS_TESTS_ENGINE_DIGESTS_H\n#define KVS_TESTS_ENGINE_DIGESTS_H\n\n#include <stdint.h>\n\n"
           "static const uint64_t ENGINE_DIGESTS[] = {\n");
    for (uint64_t seed = 0; seed < DIGEST_STORIES; seed++)
        printf("%s0x%016llX,%s", seed % 5 == 0 ? "    " : " ", (unsigned long long)digest_of(seed),
               seed % 5 == 4 ? "\n" : "");
    printf("};\n\n#endif\n");
}

int main(int argument_count, char **arguments)
{
    if (argument_count > 1 && strcmp(arguments[1], "make") == 0) {
        make();
        return check_failed != 0;
    }
    CHECK_EQ(sizeof ENGINE_DIGESTS / sizeof ENGINE_DIGESTS[0], DIGEST_STORIES);
    for (uint64_t seed = 0; seed < DIGEST_STORIES && check_failed == 0; seed++) {
        if (!CHECK_EQ(digest_of(seed), ENGINE_DIGESTS[seed])) fprintf(stderr, "story %llu\n", (unsigned long long)seed);
    }
    printf("%llu streams: %llu frames put, %llu done, %llu sessions, %llu fragments repeated, %llu error ACKs, "
           "%llu failures, %llu rotations\n",
           (unsigned long long)story_sums.stories, (unsigned long long)story_sums.put,
           (unsigned long long)story_sums.done, (unsigned long long)story_sums.sessions,
           (unsigned long long)story_sums.resent, (unsigned long long)story_sums.errors,
           (unsigned long long)story_sums.failed, (unsigned long long)story_sums.rotated);
    for (uint32_t i = 0; i < KVS_DROP_COUNT; i++)
        printf("dropped for reason %u: %llu\n", i, (unsigned long long)story_sums.dropped[i]);
    return CHECK_DONE();
}

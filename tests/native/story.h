/* story.h — bytes become a story: frames, reads, ACKs, faults, answers in any order, played to the real core. What must
 * hold after every step is in service_check; what must hold of the bytes that went out is checked at the end. The
 * fuzzer writes the stories, and test_engine_random.c has a generator write hundreds of them.
 *   Use   story_run(bytes, size, 0);   check_failed says whether all held. */
#ifndef KVS_TESTS_STORY_H
#define KVS_TESTS_STORY_H

#include "service.h"

#define STORY_FRAMES 4096u
#define STORY_STEPS 600u

/* Ways of the core that come to the same. */
enum story_how {
    STORY_UNUSUAL = 1, /* each frame is looked at from all sides */
    STORY_LENDS = 2,   /* what is read is lent */
    STORY_KEEPS = 4    /* and kept for as long as it may be: then a full store drops other frames */
};

struct story {
    struct service s;
    const uint8_t *bytes;
    uint32_t size, at;
    struct kvs_stream *stream;
    struct kvs_stream_config config;
    uint64_t time_ms, audio_ms, last_done;
    uint64_t pts_ms[STORY_FRAMES]; /* by frame number */
    uint8_t track[STORY_FRAMES];
    uint8_t is_ack_step, is_silent /* sessions are read by steps only */;
};

/* What all stories of a run came to. */
static struct {
    uint64_t stories, steps, put, done, dropped[KVS_DROP_COUNT], sessions, resent, failed, errors, rotated;
} story_sums;

static inline void story_add(const struct story *story, const struct kvs_stream_metrics *m)
{
    story_sums.stories++;
    story_sums.put += m->frames_put;
    story_sums.done += m->frames_done;
    for (uint32_t i = 0; i < KVS_DROP_COUNT; i++) story_sums.dropped[i] += m->frames_dropped[i];
    story_sums.sessions += m->sessions;
    story_sums.resent += m->fragments_resent;
    story_sums.errors += m->acks_error;
    story_sums.failed += story->s.count[KVS_ACTION_FAILED];
    story_sums.rotated += story->s.count[KVS_ACTION_TOKEN_ROTATED];
}

static inline uint32_t story_byte(struct story *story)
{
    return story->at < story->size ? story->bytes[story->at++] : 0;
}

static inline uint32_t story_word(struct story *story)
{
    uint32_t high = story_byte(story);
    return high << 8 | story_byte(story);
}

/* ---- the stream -------------------------------------------------------------------------------------------------- */

static inline void story_limits(struct story *story)
{
    struct kvs_stream_config *config = &story->config;
    uint32_t bits = story_byte(story);
    if (bits & 1) config->buffer_duration_hns = MS(2000);
    if (bits & 2) config->frames_max = 30;
    if (bits & 4) config->store_max = 4 * KVS_SLAB_SIZE;
    if (bits & 8) config->replay_max_hns = MS(1500);
    if (bits & 16) config->eofr_idle_hns = MS(3000);
    if (bits & 32) config->staleness_max_hns = MS(2000);
    if (bits & 64) config->latency_max_hns = MS(1000);
    if (bits & 128) config->full_policy = KVS_FULL_REFUSE;
    bits = story_byte(story);
    config->backward_policy = bits % 4;
    if (bits & 4) config->fragment_duration_max_hns = MS(700);
    if (bits & 8) config->fragment_size_max = 3000;
}

/* What the next two bytes, and those after them, say of the stream. */
static inline void story_configure(struct story *story)
{
    static const struct kvs_track_config tracks[] = {
        { .id = 1, .type = KVS_TRACK_VIDEO, .codec_id = "V_MPEG4/ISO/AVC" },
        { .id = 2, .type = KVS_TRACK_AUDIO, .codec_id = "A_AAC" },
    };
    uint32_t bits = story_byte(story), shape = story_byte(story);
    story->config = video_config();
    story->config.tracks = tracks;
    story->config.track_count = 1 + (shape & 1);
    story->config.order = shape / 2 % (KVS_ORDER_CUT + 1);
    if (bits & 1) story->config.flags |= KVS_RELATIVE_TIMES;
    if (bits & 2) story->config.flags |= KVS_NEGATIVE_BLOCK_TIME;
    if (bits & 4) story->config.flags &= ~(uint32_t)KVS_WANT_ACKS;
    if (bits & 8) story->config.flags |= KVS_NO_RECOVERY;
    if (bits & 16) story->config.flags |= KVS_SPARSE_KEYS;
    if (bits & 32) story->config.retention_hns = 0;
    story_limits(story);
    if ((bits & 64) && (story->config.flags & KVS_WANT_ACKS) && story->config.retention_hns != 0)
        story->config.streaming_type = KVS_OFFLINE;
    story->is_silent = (bits & 128) != 0;
}

static inline void story_client(struct story *story, uint32_t how)
{
    struct kvs_client_config client = { .size = sizeof client, .store_max = 8 * KVS_SLAB_SIZE, .seed = 5 };
    service_up(&story->s, &client);
    story->s.is_unusual = (how & STORY_UNUSUAL) != 0;
    story->s.lends = (how & STORY_LENDS) != 0;
    story->s.keeps_lent = (how & STORY_KEEPS) != 0;
}

static inline void story_open(struct story *story, uint32_t how)
{
    story_client(story, how);
    story_configure(story);
    story->s.is_silent = story->is_silent;
    story->stream = service_new(&story->s, &story->config);
    CHECK(story->stream != NULL);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static inline void story_put(struct story *story, uint32_t track)
{
    uint32_t shape = story_byte(story), size = story_byte(story);
    uint64_t *clock = track == 2 ? &story->audio_ms : &story->time_ms;
    uint32_t number = story->s.frame_number;
    if (number >= STORY_FRAMES) return;
    *clock += shape & 63;
    if (shape >= 250 && *clock > 500) *clock -= 500;
    uint64_t pts = *clock + (track == 1 && (shape & 64) ? 80 : 0);
    struct put_as as = {
        .track = track, .dts_ms = *clock, .duration_ms = 40, .flags = shape & 128 ? KVS_FRAME_KEY : 0
    };
    as.size = size < 200 ? 4 + size : size < 250 ? size * 40 : size * 300; /* mostly small, some across slabs */
    story->pts_ms[number] = pts;
    story->track[number] = (uint8_t)track;
    service_put_as(&story->s, story->stream, pts, as);
}

static inline struct session *story_session(struct story *story)
{
    uint32_t pick = story_byte(story);
    if (story->s.session_count == 0) return NULL;
    uint32_t back = pick % 3 % story->s.session_count;
    return &story->s.sessions[story->s.session_count - 1 - back];
}

static inline void story_read(struct story *story)
{
    struct session *session = story_session(story);
    uint32_t size = 1 + story_word(story) % 5000;
    if (session == NULL || !session->is_open || session->is_over) return;
    session_read(&story->s, session, size);
}

static inline void story_ack(struct story *story)
{
    static const uint16_t errors[] = { 4000, 4002, 4004, 4006, 4011, 4507, 5000, 5001, 7000, 1 };
    struct session *session = story_session(story);
    uint32_t type = 1 + story_byte(story) % 5, pick = story_byte(story);
    if (session == NULL || !session->is_open) return;
    struct mkv_seen seen = session_seen(session);
    uint64_t tc = pick >= 250 || seen.cluster_count == 0 ? KVS_TIME_NONE : seen.clusters[pick % seen.cluster_count].tc;
    if (pick >= 245 && tc != KVS_TIME_NONE) tc += 7;
    mkv_forget(&seen);
    session_ack(&story->s, session, type, tc, errors[pick % 10]);
}

static inline void story_persist(struct story *story)
{
    struct session *session = story_session(story);
    if (session != NULL && session->is_open && !session->is_over) service_persist(&story->s, session);
}

static inline void story_drop(struct story *story)
{
    static const uint16_t results[] = { 200, 401, 408, 500, 599, 5000, 10001, 404, 598, 0 };
    struct session *session = story_session(story);
    uint32_t result = results[story_byte(story) % 10];
    if (session != NULL && !session->is_over) session_drop(&story->s, session, result);
}

static inline void story_steer(struct story *story)
{
    uint64_t now = story->s.now_hns;
    uint32_t pick = story_byte(story);
    if (pick < 3) kvs_stream_stop(story->stream, now);
    else if (pick < 8) kvs_stream_reset(story->stream, now);
    else if (pick < 60) kvs_stream_reset_connection(story->stream, now);
    else kvs_stream_retry(story->stream, now);
    service_check(&story->s);
}

static inline void story_metadata(struct story *story)
{
    const char *const names[] = { "door" }, *const values[] = { "open" };
    uint32_t pick = story_byte(story);
    char name[8];
    snprintf(name, sizeof name, "n%u", pick % 5);
    if (pick & 128) kvs_stream_put_event(story->stream, 1 + pick % 3, "pre", 1, names, values);
    else kvs_stream_put_metadata(story->stream, name, pick & 32 ? "" : "value", pick & 64 ? 1 : 0);
    service_check(&story->s);
}

static inline void story_format(struct story *story)
{
    uint8_t cpd[4] = { 1, 66, 0, (uint8_t)(story_byte(story) % 4) };
    kvs_stream_set_cpd(story->stream, 1, cpd, sizeof cpd);
    service_check(&story->s);
}

static inline void story_time(struct story *story)
{
    uint32_t pick = story_byte(story);
    uint64_t now = story->s.now_hns + MS(pick * 20), due = kvs_client_next_deadline(story->s.client);
    if (pick > 240 && due != KVS_TIME_NONE && due > story->s.now_hns) now = due;
    story->s.now_hns = now;
    CHECK_EQ(kvs_client_poke(story->s.client, now), KVS_OK);
    service_check(&story->s);
}

static inline void story_service(struct story *story)
{
    static const uint16_t results[] = { 200, 404, 500, 401, 10003, 10002, 599, 400 };
    uint32_t pick = story_byte(story), kind = KVS_ACTION_DESCRIBE_STREAM + pick % 6;
    uint32_t result = results[story_byte(story) % 8];
    if (pick & 64) story->s.hold ^= HOLD(kind);
    else if ((pick & 128) && story->s.count[kind] != 0) service_answer(&story->s, kind, result);
    else if (story->s.script_count[kind] < 8) service_script(&story->s, kind, result, 1);
}

static inline void story_raw_ack(struct story *story)
{
    struct session *session = story_session(story);
    uint32_t size = story_byte(story) % 64;
    if (session == NULL || size > story->size - story->at) return;
    kvs_upload_ack_bytes(story->stream, session->handle, story->bytes + story->at, size, story->s.now_hns);
    story->at += size;
    service_check(&story->s);
}

static inline void story_step(struct story *story, uint32_t pick)
{
    story->is_ack_step = 0;
    switch (pick) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
    case 5: story_put(story, 1); return;
    case 6:
    case 7:
        if (story->config.track_count == 2) story_put(story, 2);
        return;
    case 8:
    case 9:
    case 10: service_turn(&story->s); return;
    case 11:
    case 12: story_read(story); return;
    case 13:
        story->is_ack_step = 1;
        story_ack(story);
        return;
    case 14:
        story->is_ack_step = 1;
        story_persist(story);
        return;
    case 15: story_drop(story); return;
    case 16: story_steer(story); return;
    case 17:
        kvs_stream_end_fragment(story->stream, story->s.now_hns);
        service_check(&story->s);
        return;
    case 18: story_metadata(story); return;
    case 19: story_format(story); return;
    case 20:
    case 21: story_time(story); return;
    case 22: story_service(story); return;
    default:
        story->is_ack_step = 1;
        story_raw_ack(story);
        return;
    }
}

/* ---- what went out ----------------------------------------------------------------------------------------------- */

/* 1 when written times are the ones that were put: nothing shifts or moves them. */
static inline int story_keeps_times(const struct story *story)
{
    uint32_t order = story->config.track_count == 1 ? (uint32_t)KVS_ORDER_NONE : story->config.order;
    return story->config.backward_policy == KVS_BACKWARD_ERROR && (order == KVS_ORDER_NONE || order == KVS_ORDER_CUT);
}

static inline void story_check_cluster(const struct story *story, const struct session *session,
                                       const struct mkv_seen *seen, uint32_t index, int64_t *last)
{
    const struct seen_cluster *cluster = &seen->clusters[index];
    uint64_t start = story->config.flags & KVS_RELATIVE_TIMES ? session->start_ms : 0;
    CHECK(index == 0 || cluster->tc > seen->clusters[index - 1].tc);
    for (uint32_t i = cluster->first_block; i < cluster->first_block + cluster->block_count; i++) {
        const struct seen_block *block = &seen->blocks[i];
        if (!CHECK(block->number < story->s.frame_number) || !CHECK(block->track >= 1 && block->track <= 2)) return;
        CHECK_EQ(block->track, story->track[block->number]);
        CHECK((int64_t)block->number > last[block->track]); /* in the order they were put, each once */
        last[block->track] = block->number;
        if (i == cluster->first_block) CHECK_EQ(block->tc, 0);
        if (!story_keeps_times(story)) continue;
        uint64_t ms = start + cluster->tc + (uint64_t)(int64_t)block->tc;
        CHECK_EQ(ms, T0 / KVS_HNS_PER_MS + story->pts_ms[block->number]);
    }
}

static inline void story_check_sessions(const struct story *story)
{
    for (uint32_t i = 0; i < story->s.session_count; i++) {
        int64_t last[3] = { -1, -1, -1 };
        struct mkv_seen seen = session_seen(&story->s.sessions[i]);
        for (uint32_t j = 0; j < seen.cluster_count; j++)
            story_check_cluster(story, &story->s.sessions[i], &seen, j, last);
        mkv_forget(&seen);
    }
}

static inline void story_check_done(struct story *story)
{
    uint64_t done = metrics_of(story->stream).frames_done;
    if (story->config.flags & KVS_WANT_ACKS) CHECK(story->is_ack_step || done == story->last_done);
    story->last_done = done;
}

/* Returns what went out and what was reported, as one number. how: enum story_how. */
static inline uint64_t story_run(const uint8_t *bytes, uint32_t size, uint32_t how)
{
    struct story *story = calloc(1, sizeof *story);
    if (story == NULL) abort();
    story->bytes = bytes;
    story->size = size;
    story_open(story, how);
    for (uint32_t i = 0; i < STORY_STEPS && story->at < size && check_failed == 0; i++) {
        story_step(story, story_byte(story) % 24);
        story_check_done(story);
        story_sums.steps++;
        if (story->s.session_count + 8 > SERVICE_SESSIONS || story->s.script_count[0] > 0) break;
    }
    if (check_failed == 0) story_check_sessions(story);
    struct kvs_stream_metrics metrics = metrics_of(story->stream);
    story_add(story, &metrics);
    service_note(&story->s, &metrics, sizeof metrics);
    uint64_t digest = story->s.digest;
    service_down(&story->s);
    free(story);
    return digest;
}

#endif

/* service.h — a network layer and a service in one, for tests: it drains the core's actions, answers every order, reads
 * every upload, keeps the bytes of each PutMedia session and acknowledges its fragments. No socket, no clock: time is
 * `now_hns` and jumps to whatever an order waits for.
 *   Use   struct service s; service_up(&s, NULL); stream = service_open(&s, &config);
 *         service_put(&s, stream, pts_ms, KVS_FRAME_KEY); service_turn(&s); service_persist(&s, session);
 *         service_down(&s);
 * After each step the ledger's sums, the view, the locks and the host's rules are checked (service_check). */
#ifndef KVS_TESTS_SERVICE_H
#define KVS_TESTS_SERVICE_H

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engine/stream.h"
#include "fail_host.h"
#include "mkv_seen.h"
#include "scenario.h"

#define SERVICE_STREAMS 8u
#define SERVICE_SESSIONS 64u
#define SERVICE_KINDS 64u
#define SESSION_SPANS 64u
#define SESSION_SPANS_FEW 5u
#define SESSION_BUFFER 300u
#define SERVICE_SCRIPT 32u
#define T0 (UINT64_C(17000000000000000)) /* when tests begin; also the pts of ms 0 */
#define MS(ms) ((uint64_t)(ms)*KVS_HNS_PER_MS)
#define HOLD(kind) (UINT64_C(1) << (kind))

struct session {
    uint64_t user, handle, start_ms, request;
    uint8_t *bytes;
    uint32_t size, capacity, end_result, acked_count;
    uint8_t is_open, is_ended, is_over, is_silent /* the network reads nothing */, is_coded, state;
    struct kvs_span spans[SESSION_SPANS]; /* of what is lent, which begins at lent_at of its bytes */
    uint32_t span_count, lent_at;
    uint8_t buffer[SESSION_BUFFER]; /* for what is not lent but copied */
};

struct service {
    struct fail_host fail;
    struct kvs_client *client;
    struct kvs_stream *streams[SERVICE_STREAMS + 1]; /* by user: 1 and up */
    uint64_t now_hns, hold;
    uint64_t token_life_hns, retention_hns; /* KVS_TIME_NONE: never, as asked */
    uint32_t stream_status, auth, read_size, frame_size, frame_number;
    uint8_t is_silent;                              /* new sessions are not read */
    uint8_t is_coded;                               /* payloads are no frame_fill bytes */
    uint8_t may_fail;                               /* calls may run out of memory */
    uint8_t lends, keeps_lent;                      /* sessions read by kvs_upload_lend; and give nothing back */
    uint8_t is_unusual;                             /* no frame of its streams is put the short way */
    uint16_t script[SERVICE_KINDS][SERVICE_SCRIPT]; /* results to give before 200 */
    uint32_t script_count[SERVICE_KINDS];
    uint32_t count[SERVICE_KINDS]; /* actions seen */
    struct kvs_action last[SERVICE_KINDS];
    uint64_t longest_wait_hns;
    kvs_status last_status;
    struct session sessions[SERVICE_SESSIONS];
    uint32_t session_count;
    uint64_t dropped[KVS_DROP_COUNT], done_frames;
    uint64_t faults; /* of the host's rules, reported already */
    uint64_t digest; /* of all actions and of all bytes that were read, in their order */
};

static inline void service_note(struct service *s, const void *bytes, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) s->digest = (s->digest ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001B3);
}

/* The same number on every machine. */
static inline void service_note_number(struct service *s, uint64_t number)
{
    for (uint32_t i = 0; i < 64; i += 8) s->digest = (s->digest ^ (number >> i & 255u)) * UINT64_C(0x100000001B3);
}

static inline void service_note_action(struct service *s, const struct kvs_action *action)
{
    const uint64_t numbers[] = { action->kind,   action->result,    (uint32_t)action->status,
                                 action->attempt, action->user,     action->request,
                                 action->upload,  action->after_hns, action->a,
                                 action->b,       action->c };
    for (uint32_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) service_note_number(s, numbers[i]);
    service_note(s, action->text, sizeof action->text);
}

/* ---- what always holds ------------------------------------------------------------------------------------------- */

static inline struct kvs_stream_metrics metrics_of(struct kvs_stream *stream)
{
    struct kvs_stream_metrics metrics = { .size = sizeof metrics };
    CHECK_EQ(kvs_stream_metrics(stream, &metrics), KVS_OK);
    return metrics;
}

static inline uint64_t dropped_of(const struct kvs_stream_metrics *metrics)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < KVS_DROP_COUNT; i++) sum += metrics->frames_dropped[i];
    return sum;
}

static inline void check_stream(struct kvs_stream *stream)
{
    struct kvs_stream_metrics m = metrics_of(stream);
    const struct kvs_view *view = &stream->view;
    uint64_t held = kvs_order_count(&stream->order), settled_count = 0;
    CHECK_EQ(m.frames_put, m.frames_done + dropped_of(&m) + m.frames_buffered);
    CHECK_EQ(m.bytes_put, m.bytes_done + m.bytes_dropped + m.bytes_buffered);
    stream_check(stream);
    for (uint64_t i = view->fragment_tail; i < view->fragment_head; i++) {
        if (kvs_view_fragment(view, i)->flags & (KVS_FRAGMENT_DONE | KVS_FRAGMENT_DROPPED)) {
            settled_count++;
            continue;
        }
        held += kvs_view_fragment_end(view, i) - kvs_view_fragment(view, i)->first_frame;
    }
    CHECK_EQ(m.frames_buffered, held);
    CHECK_EQ(stream->ledger.settled_count, settled_count);
    uint64_t settled = m.frames_settled[0] + m.frames_settled[1] + m.frames_settled[2];
    uint64_t calls = m.frames_put + m.calls_joined, waiting = 0; /* what is settled is counted in calls */
    for (uint32_t i = 0; i < stream->track_count; i++) waiting += stream->tracks[i].joined.calls;
    CHECK(settled <= calls - m.frames_buffered);
    CHECK(!kvs_view_is_empty(view) || held != 0 || settled == calls - waiting);
    CHECK(stream->chain.tail <= stream->chain.head);
    CHECK(stream->limits.slabs_max == 0 || stream->chain.held_count <= stream->limits.slabs_max);
    CHECK_EQ(stream->ledger.inflight_offset, UINT64_MAX);
}

static inline void service_check(struct service *s)
{
    CHECK_EQ(s->fail.faults, s->faults);
    s->faults = s->fail.faults;
    CHECK_EQ(s->fail.held_locks, 0);
    for (uint32_t i = 1; i <= SERVICE_STREAMS; i++) {
        if (s->streams[i] != NULL) check_stream(s->streams[i]);
    }
    if (s->client == NULL) return;
    const struct kvs_pool *pool = &s->client->pool;
    CHECK(pool->used_count + pool->free_count <= pool->slabs_max);
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

static inline struct session *session_at(struct service *s, uint32_t index)
{
    CHECK(index < s->session_count);
    return &s->sessions[index];
}
static inline struct session *newest(struct service *s) { return session_at(s, s->session_count - 1); }

static inline struct session *session_of(struct service *s, uint64_t user, uint64_t handle)
{
    for (uint32_t i = s->session_count; i-- > 0;) {
        if (s->sessions[i].user == user && s->sessions[i].handle == handle) return &s->sessions[i];
    }
    return NULL;
}

/* What was lent and is still in the session's hands has not changed. */
static inline void session_check_lent(const struct session *session)
{
    uint64_t at = session->lent_at;
    for (uint32_t i = 0; i < session->span_count; i++) {
        CHECK(memcmp(session->spans[i].bytes, session->bytes + at, (size_t)session->spans[i].size) == 0);
        at += session->spans[i].size;
    }
}

/* The next bytes as kvs_upload_read would give them. Where the service keeps what it is lent they come by few spans and
 * a small buffer at a time, and the last of them stay lent. */
static inline kvs_status session_lend(struct service *s, struct session *session, uint32_t size,
                                      enum kvs_read_state *state)
{
    struct kvs_stream *stream = s->streams[session->user];
    static uint8_t whole[1u << 16];
    struct kvs_loan loan = { .size = sizeof loan, .buffer = session->buffer, .buffer_size = SESSION_BUFFER };
    kvs_status total = 0, got = 0;
    session_check_lent(session);
    loan.spans = session->spans;
    do {
        loan.span_max = s->keeps_lent ? SESSION_SPANS_FEW : SESSION_SPANS;
        if (!s->keeps_lent) loan.buffer = whole, loan.buffer_size = sizeof whole;
        loan.size_max = size - (uint32_t)total;
        got = kvs_upload_lend(stream, session->handle, &loan, state, s->now_hns);
        session->lent_at = session->size + (uint32_t)total;
        session->span_count = got < 0 ? 0 : loan.span_count;
        for (uint32_t i = 0; i < session->span_count; i++) {
            memcpy(session->bytes + session->size + total, loan.spans[i].bytes, (size_t)loan.spans[i].size);
            total += (kvs_status)loan.spans[i].size;
        }
    } while (got > 0 && *state == KVS_READ_MORE && (uint32_t)total < size);
    if (s->keeps_lent || got < 0) return got < 0 ? got : total;
    enum kvs_read_state ignored = KVS_READ_MORE;
    loan.span_max = session->span_count = 0;
    got = kvs_upload_lend(stream, session->handle, &loan, &ignored, s->now_hns);
    CHECK_EQ(got, *state == KVS_READ_END ? KVS_E_UNKNOWN_UPLOAD : KVS_OK);
    return total;
}

static inline kvs_status session_read(struct service *s, struct session *session, uint32_t size)
{
    enum kvs_read_state state = KVS_READ_MORE;
    if (session->capacity - session->size < size) {
        session->capacity = 2 * session->capacity + size;
        session->bytes = realloc(session->bytes, session->capacity);
        if (session->bytes == NULL) abort();
    }
    kvs_status got = s->lends ? session_lend(s, session, size, &state)
                              : kvs_upload_read(s->streams[session->user], session->handle,
                                                session->bytes + session->size, size, &state, s->now_hns);
    service_check(s);
    if (got < 0) {
        CHECK(got == KVS_E_UNKNOWN_UPLOAD || (s->may_fail && got == KVS_E_NOMEM));
        session->state = got == KVS_E_NOMEM ? KVS_READ_WAIT : KVS_READ_END;
        session->is_over |= got != KVS_E_NOMEM;
        return got;
    }
    service_note(s, session->bytes + session->size, (uint32_t)got);
    session->size += (uint32_t)got;
    session->state = (uint8_t)state;
    if (state == KVS_READ_END) session->is_over = 1;
    return got;
}

static inline void session_read_all(struct service *s, struct session *session)
{
    if (session->is_over || !session->is_open) return;
    do session_read(s, session, s->read_size);
    while (session->state == KVS_READ_MORE);
}

/* The connection is gone, as the network layer reports it. */
static inline void session_drop(struct service *s, struct session *session, uint32_t result)
{
    session->is_over = 1;
    session_check_lent(session);
    session->span_count = 0;
    s->last_status = kvs_upload_ended(s->streams[session->user], session->handle, result, s->now_hns);
    service_check(s);
}

static inline kvs_status session_ack(struct service *s, struct session *session, uint32_t type, uint64_t tc_ms,
                                     uint32_t error_id)
{
    struct kvs_ack ack = { .size = sizeof ack, .type = type, .timecode_ms = tc_ms, .error_id = error_id };
    snprintf(ack.number, sizeof ack.number, "9134385233318150%llu", (unsigned long long)(tc_ms % 100000));
    s->last_status = kvs_upload_ack(s->streams[session->user], session->handle, &ack, s->now_hns);
    service_check(s);
    return s->last_status;
}

static inline struct mkv_seen session_seen(const struct session *session)
{
    struct mkv_seen seen;
    mkv_read(&seen, session->bytes, session->size);
    CHECK(!seen.is_broken);
    CHECK(seen.header_count <= 1); /* a session has one header */
    for (uint32_t i = 0; i < seen.block_count; i++) CHECK(session->is_coded || seen.blocks[i].is_intact);
    return seen;
}

/* BUFFERING, RECEIVED, PERSISTED for each cluster that is complete and not acknowledged yet; how many. */
static inline uint32_t service_persist(struct service *s, struct session *session)
{
    struct mkv_seen seen = session_seen(session);
    uint32_t count = 0;
    for (uint32_t i = session->acked_count; i < seen.cluster_count; i++) {
        if (i + 1 == seen.cluster_count && !seen.clusters[i].has_end) break;
        for (uint32_t type = KVS_ACK_BUFFERING; type <= KVS_ACK_PERSISTED; type++)
            session_ack(s, session, type, seen.clusters[i].tc, 0);
        count++;
    }
    session->acked_count += count;
    mkv_forget(&seen);
    return count;
}

/* ---- orders ------------------------------------------------------------------------------------------------------ */

static inline void service_script(struct service *s, uint32_t kind, uint32_t result, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) s->script[kind][s->script_count[kind]++] = (uint16_t)result;
}

static inline uint32_t next_result(struct service *s, uint32_t kind)
{
    if (s->script_count[kind] == 0) return KVS_RESULT_OK;
    uint32_t result = s->script[kind][0];
    s->script_count[kind]--;
    memmove(s->script[kind], s->script[kind] + 1, s->script_count[kind] * sizeof s->script[kind][0]);
    return result;
}

static inline kvs_status answer_client(struct service *s, const struct kvs_action *order, uint32_t result)
{
    struct kvs_client_answer answer = { .size = sizeof answer, .result = result, .request = order->request };
    answer.auth = s->auth;
    answer.expires_hns = KVS_TIME_NONE;
    s->last_status = kvs_client_answer(s->client, &answer, s->now_hns);
    return s->last_status;
}

static inline kvs_status answer_stream(struct service *s, const struct kvs_action *order, uint32_t result)
{
    struct kvs_stream *stream = s->streams[order->user];
    struct kvs_stream_answer answer = { .size = sizeof answer, .result = result, .request = order->request };
    answer.stream_status = s->stream_status;
    answer.retention_hns = s->retention_hns != KVS_TIME_NONE ? s->retention_hns : stream->limits.retention_hns;
    answer.expires_hns = s->token_life_hns != KVS_TIME_NONE ? s->now_hns + s->token_life_hns : KVS_TIME_NONE;
    if (order->kind == KVS_ACTION_PUT_MEDIA && result == KVS_RESULT_OK) {
        struct session *session = session_of(s, order->user, order->upload);
        if (session != NULL) session->is_open = 1;
    }
    s->last_status = kvs_stream_answer(stream, &answer, s->now_hns);
    service_check(s);
    return s->last_status;
}

/* Answers the newest order of this kind, which was held back. */
static inline kvs_status service_answer(struct service *s, uint32_t kind, uint32_t result)
{
    const struct kvs_action order = s->last[kind];
    return kind <= KVS_ACTION_TAG_CLIENT ? answer_client(s, &order, result) : answer_stream(s, &order, result);
}

static inline void note_order(struct service *s, const struct kvs_action *action)
{
    if (action->after_hns > s->now_hns) {
        if (action->after_hns - s->now_hns > s->longest_wait_hns) s->longest_wait_hns = action->after_hns - s->now_hns;
        s->now_hns = action->after_hns;
    }
    if (action->kind != KVS_ACTION_PUT_MEDIA || s->session_count == SERVICE_SESSIONS) return;
    struct session *session = &s->sessions[s->session_count++];
    memset(session, 0, sizeof *session);
    session->user = action->user;
    session->handle = action->upload;
    session->start_ms = action->a;
    session->is_silent = s->is_silent;
    session->is_coded = s->is_coded;
}

static inline void note_notice(struct service *s, const struct kvs_action *action)
{
    if (action->kind == KVS_ACTION_DROPPED) s->dropped[action->result] += action->b;
    if (action->kind == KVS_ACTION_FRAGMENT_DONE) s->done_frames += action->b;
    if (action->kind != KVS_ACTION_UPLOAD_END) return;
    struct session *session = session_of(s, action->user, action->upload);
    if (session == NULL) return;
    session->is_ended = 1;
    session->end_result = action->result;
}

static inline void take_action(struct service *s, const struct kvs_action *action)
{
    uint32_t kind = action->kind;
    service_note_action(s, action);
    s->count[kind]++;
    s->last[kind] = *action;
    if (kind <= KVS_ACTION_PUT_MEDIA) {
        note_order(s, action);
        if (s->hold & HOLD(kind)) return;
        uint32_t result = next_result(s, kind);
        if (kind <= KVS_ACTION_TAG_CLIENT) answer_client(s, action, result);
        else answer_stream(s, action, result);
        return;
    }
    note_notice(s, action);
    if (kind != KVS_ACTION_DATA) return;
    struct session *session = session_of(s, action->user, action->upload);
    if (session != NULL && !session->is_silent) session_read_all(s, session);
}

/* Drains and carries out everything until nothing is left to do; how many actions. */
static inline uint32_t service_turn(struct service *s)
{
    struct kvs_action action;
    uint32_t total = 0;
    while (total < 200000 && kvs_client_next_actions(s->client, &action, 1) == 1) {
        take_action(s, &action);
        total++;
    }
    CHECK(total < 200000); /* it comes to rest */
    service_check(s);
    return total;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static inline void service_start(struct service *s)
{
    memset(s, 0, sizeof *s);
    s->now_hns = T0;
    s->token_life_hns = s->retention_hns = KVS_TIME_NONE;
    s->stream_status = KVS_STATUS_ACTIVE;
    s->auth = KVS_AUTH_TOKEN;
    s->read_size = 4096;
    s->frame_size = 100;
}

static inline kvs_status service_client(struct service *s, const struct kvs_client_config *config)
{
    struct kvs_client_config plain = { .size = sizeof plain, .store_max = 16u << 20, .seed = 7 };
    struct kvs_host host = fail_host_of(&s->fail);
    return kvs_client_new(&host, config != NULL ? config : &plain, s->now_hns, &s->client);
}

static inline void service_up(struct service *s, const struct kvs_client_config *config)
{
    service_start(s);
    CHECK_EQ(service_client(s, config), KVS_OK);
    service_turn(s);
    CHECK_EQ(s->count[KVS_ACTION_CLIENT_READY], 1);
}

static inline void service_down(struct service *s)
{
    kvs_client_free(s->client);
    s->client = NULL;
    for (uint32_t i = 0; i < s->session_count; i++) free(s->sessions[i].bytes);
    s->fail.faults -= s->faults;
    CHECK(fail_host_is_clean(&s->fail));
}

/* A realtime stream of one H.264 video track with ACKs, two hours of retention and key-frame fragments. */
static inline struct kvs_stream_config video_config(void)
{
    static const struct kvs_track_config track = {
        .id = 1, .type = KVS_TRACK_VIDEO, .codec_id = "V_MPEG4/ISO/AVC", .width = 320, .height = 240
    };
    return (struct kvs_stream_config) {
        .size = sizeof(struct kvs_stream_config),
        .name = "front-door",
        .content_type = "video/h264",
        .flags = KVS_KEY_FRAME_FRAGMENTS | KVS_WANT_ACKS | KVS_ALLOW_CREATE,
        .retention_hns = 7200 * KVS_HNS_PER_SECOND,
        .track_count = 1,
        .tracks = &track,
    };
}

static inline struct kvs_stream *service_new(struct service *s, const struct kvs_stream_config *config)
{
    struct kvs_stream_config copy = config != NULL ? *config : video_config();
    uint32_t user = 1;
    while (user < SERVICE_STREAMS && s->streams[user] != NULL) user++;
    copy.user = user;
    s->last_status = kvs_stream_new(s->client, &copy, s->now_hns, &s->streams[user]);
    if (s->last_status != KVS_OK) s->streams[user] = NULL;
    else s->streams[user]->packer.is_unusual |= s->is_unusual;
    return s->streams[user];
}

/* A stream on its way to READY as far as the script lets it. */
static inline struct kvs_stream *service_open(struct service *s, const struct kvs_stream_config *config)
{
    struct kvs_stream *stream = service_new(s, config);
    CHECK(stream != NULL);
    service_turn(s);
    return stream;
}

static inline void service_free(struct service *s, struct kvs_stream *stream)
{
    for (uint32_t i = 1; i <= SERVICE_STREAMS; i++) {
        if (s->streams[i] == stream) s->streams[i] = NULL;
    }
    kvs_stream_free(stream);
    service_check(s);
}

/* ---- frames and steps -------------------------------------------------------------------------------------------- */

struct put_as {
    uint64_t track, dts_ms;
    uint32_t size, flags, duration_ms;
};

static inline kvs_status service_put_as(struct service *s, struct kvs_stream *stream, uint64_t pts_ms, struct put_as as)
{
    uint32_t size = as.size != 0 ? as.size : s->frame_size;
    uint8_t *bytes = malloc(size);
    if (bytes == NULL) abort();
    frame_fill(bytes, size, s->frame_number);
    s->last_status = kvs_stream_put_frame(stream, bytes, size, T0 + MS(pts_ms), T0 + MS(as.dts_ms), MS(as.duration_ms),
                                          as.track != 0 ? as.track : 1, as.flags, s->now_hns);
    if (s->last_status == KVS_OK) s->frame_number++;
    free(bytes);
    service_check(s);
    return s->last_status;
}

static inline kvs_status service_put(struct service *s, struct kvs_stream *stream, uint64_t pts_ms, uint32_t flags)
{
    return service_put_as(s, stream, pts_ms, (struct put_as) { .dts_ms = pts_ms, .flags = flags, .duration_ms = 40 });
}

/* `count` fragments of `frames` frames 100 ms apart from `from_ms` on, without a turn between. */
static inline void service_put_fragments(struct service *s, struct kvs_stream *stream, uint64_t from_ms, uint32_t count,
                                         uint32_t frames)
{
    for (uint32_t i = 0; i < count * frames; i++) {
        CHECK_EQ(service_put(s, stream, from_ms + 100u * i, i % frames == 0 ? KVS_FRAME_KEY : 0), KVS_OK);
    }
}

static inline void service_poke(struct service *s, uint64_t now_hns)
{
    s->now_hns = now_hns;
    CHECK_EQ(kvs_client_poke(s->client, now_hns), KVS_OK);
    service_check(s);
    service_turn(s);
}

/* Stops, persists whatever comes until the stream is closed; 1 when it is and every session has ended. */
static inline int service_drain(struct service *s, struct kvs_stream *stream)
{
    uint32_t closed = s->count[KVS_ACTION_CLOSED];
    CHECK_EQ(kvs_stream_stop(stream, s->now_hns), KVS_OK);
    for (uint32_t round = 0; round < 40 && s->count[KVS_ACTION_CLOSED] == closed; round++) {
        service_turn(s);
        for (uint32_t i = 0; i < s->session_count; i++) {
            if (!s->sessions[i].is_over && s->sessions[i].is_open) service_persist(s, &s->sessions[i]);
        }
        service_turn(s);
    }
    return CHECK_EQ(s->count[KVS_ACTION_CLOSED], closed + 1) && CHECK_EQ(metrics_of(stream).frames_buffered, 0);
}

#define CHECK_STATE(stream, wanted) CHECK_EQ(metrics_of(stream).state, KVS_STREAM_##wanted)

#endif

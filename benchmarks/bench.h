/* bench.h — what the C benchmarks share: a service that answers every order at once, hosts with and without counters,
 * a clock, the memcpy that figures are compared with, and the lines of JSON that benchmarks/run.py collects.
 *   Use   struct bench b; bench_up(&b, &(struct bench_setup){ .stream_count = 1 }); bench_put(&b, 0, data, size, 1);
 *         bench_read(&b, 0); bench_persist(&b, 0, pts); bench_drain(&b); bench_down(&b);
 * Timing runs over the ready-made host (kvs_host.h); counting runs are apart, because counting costs time. Each figure
 * is the best of several runs: other work on the machine only ever adds time. An unexpected status ends the program. */
#ifndef KVS_BENCH_H
#define KVS_BENCH_H

#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/kvs_host.h"
#include "kvspic.h"

#define BENCH_T0 UINT64_C(17000000000000000)
#define BENCH_FRAME_HNS 333333u
#define BENCH_FPS 30u /* frames of a fragment */
#define BENCH_SLABS_MAX 32768u

#define MUST(call)                                                              \
    do {                                                                        \
        kvs_status must_status = (call);                                        \
        if (must_status < 0) bench_die(__FILE__, __LINE__, #call, must_status); \
    } while (0)

static inline void bench_die(const char *file, int line, const char *what, kvs_status status)
{
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, kvs_status_name(status));
    exit(1);
}

static inline uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline double bench_min(double a, double b) { return a < b ? a : b; }

/* ---- hosts ------------------------------------------------------------------------------------------------------- */

/* Counts on the way to the ready-made host. `slabs` are the content store's: the largest blocks, one size. */
struct bench_counts {
    struct kvs_host below;
    uint64_t allocs, frees, lock_pairs, wakes, bytes;
    uint8_t *slabs[BENCH_SLABS_MAX];
    uint32_t slab_count;
};

struct bench_block { /* in front of each counted block; keeps what follows aligned */
    uint64_t size, unused;
};

static inline void *bench_alloc(void *ctx, size_t size)
{
    struct bench_counts *counts = ctx;
    struct bench_block *block = counts->below.alloc(counts->below.ctx, sizeof *block + size);
    if (block == NULL) return NULL;
    block->size = size;
    counts->allocs++;
    counts->bytes += size;
    if (size > KVS_SLAB_SIZE && size <= KVS_SLAB_SIZE + 64u && counts->slab_count < BENCH_SLABS_MAX)
        counts->slabs[counts->slab_count++] = (uint8_t *)(block + 1) + (size - KVS_SLAB_SIZE);
    return block + 1;
}

static inline void bench_free(void *ctx, void *payload)
{
    struct bench_counts *counts = ctx;
    struct bench_block *block = (struct bench_block *)payload - 1;
    counts->frees++;
    counts->bytes -= block->size;
    counts->below.free(counts->below.ctx, block);
}

static inline void *bench_lock_new(void *ctx)
{
    struct bench_counts *counts = ctx;
    counts->bytes += sizeof(pthread_mutex_t);
    return counts->below.lock_new(counts->below.ctx);
}
static inline void bench_lock(void *ctx, void *lock)
{
    struct bench_counts *counts = ctx;
    counts->lock_pairs++;
    counts->below.lock(counts->below.ctx, lock);
}
static inline void bench_unlock(void *ctx, void *lock)
{
    struct bench_counts *counts = ctx;
    counts->below.unlock(counts->below.ctx, lock);
}
static inline void bench_lock_free(void *ctx, void *lock)
{
    struct bench_counts *counts = ctx;
    counts->bytes -= sizeof(pthread_mutex_t);
    counts->below.lock_free(counts->below.ctx, lock);
}
static inline void bench_wake(void *ctx) { ((struct bench_counts *)ctx)->wakes++; }

/* The host that counts; the one that does not is kvs_host_init's, with this alloc where slabs are to be known. */
static inline struct kvs_host bench_host(struct bench_counts *counts, int is_counting)
{
    memset(counts, 0, sizeof *counts);
    kvs_host_init(&counts->below, NULL);
    struct kvs_host host = counts->below;
    host.ctx = counts;
    host.alloc = bench_alloc;
    host.free = bench_free;
    if (!is_counting) return host; /* the locks of the host below take no notice of ctx */
    host.lock_new = bench_lock_new;
    host.lock = bench_lock;
    host.unlock = bench_unlock;
    host.lock_free = bench_lock_free;
    host.wake = bench_wake;
    return host;
}

/* ---- a client, its streams, and the service that answers --------------------------------------------------------- */

struct bench_setup {
    uint32_t stream_count;
    uint32_t nal_flags;
    uint64_t store_max;  /* 0: 4 GiB */
    const char *content_type;
    uint8_t is_counting; /* locks too */
    uint8_t is_plain;    /* no counters at all: for several threads */
    uint8_t is_held;     /* PUT_MEDIA is left open until bench_connect */
};

struct bench_stream {
    struct kvs_stream *stream;
    uint64_t upload, pts_hns;
    struct kvs_action held; /* PUT_MEDIA that waits */
    uint8_t apart[128];     /* threads do not share lines of the cache */
};

struct bench {
    struct bench_counts counts;
    struct kvs_client *client;
    struct bench_stream *streams;
    struct bench_setup setup;
    uint64_t now_hns, action_count;
    uint8_t buffer[1 << 17];
    enum kvs_read_state read_state;
};

static inline void bench_answer(struct bench *b, const struct kvs_action *order)
{
    struct kvs_client_answer answer = { .size = sizeof answer, .result = KVS_RESULT_OK, .request = order->request };
    answer.auth = KVS_AUTH_TOKEN;
    answer.expires_hns = KVS_TIME_NONE;
    MUST(kvs_client_answer(b->client, &answer, b->now_hns));
}

static inline void bench_answer_stream(struct bench *b, struct bench_stream *s, const struct kvs_action *order)
{
    struct kvs_stream_answer answer = { .size = sizeof answer, .result = KVS_RESULT_OK, .request = order->request };
    answer.stream_status = KVS_STATUS_ACTIVE;
    answer.retention_hns = 7200 * KVS_HNS_PER_SECOND;
    answer.expires_hns = KVS_TIME_NONE;
    if (order->kind == KVS_ACTION_PUT_MEDIA) s->upload = order->upload;
    MUST(kvs_stream_answer(s->stream, &answer, b->now_hns));
}

static inline void bench_act(struct bench *b, const struct kvs_action *action)
{
    if (action->kind >= KVS_ACTION_DATA) return;
    if (action->kind < KVS_ACTION_DESCRIBE_STREAM) {
        bench_answer(b, action);
        return;
    }
    if (action->after_hns > b->now_hns) b->now_hns = action->after_hns;
    struct bench_stream *s = &b->streams[action->user - 1];
    if (action->kind == KVS_ACTION_PUT_MEDIA && b->setup.is_held) s->held = *action;
    else bench_answer_stream(b, s, action);
}

/* Takes and answers everything that the client says; how many actions. */
static inline uint32_t bench_drain(struct bench *b)
{
    struct kvs_action actions[64];
    uint32_t total = 0;
    kvs_status count;
    while ((count = kvs_client_next_actions(b->client, actions, 64)) > 0) {
        for (kvs_status i = 0; i < count; i++) bench_act(b, &actions[i]);
        total += (uint32_t)count;
    }
    MUST(count);
    return total;
}

static inline void bench_open(struct bench *b, uint32_t index)
{
    char name[32];
    struct kvs_track_config track = { .id = 1, .type = KVS_TRACK_VIDEO, .codec_id = "V_MPEG4/ISO/AVC" };
    struct kvs_stream_config config = {
        .size = sizeof config, .name = name, .user = index + 1u, .track_count = 1, .tracks = &track,
        .flags = KVS_KEY_FRAME_FRAGMENTS | KVS_WANT_ACKS, .nal_flags = b->setup.nal_flags,
        .retention_hns = 7200 * KVS_HNS_PER_SECOND, .content_type = b->setup.content_type,
    };
    snprintf(name, sizeof name, "camera-%u", index);
    MUST(kvs_stream_new(b->client, &config, b->now_hns, &b->streams[index].stream));
    b->streams[index].pts_hns = BENCH_T0;
}

static inline void bench_up(struct bench *b, const struct bench_setup *setup)
{
    struct kvs_client_config config = { .size = sizeof config, .seed = 7 };
    config.store_max = setup->store_max != 0 ? setup->store_max : UINT64_C(4) << 30;
    memset(b, 0, sizeof *b);
    b->setup = *setup;
    b->now_hns = BENCH_T0;
    b->streams = calloc(setup->stream_count + 1u, sizeof *b->streams);
    struct kvs_host host = bench_host(&b->counts, setup->is_counting);
    if (setup->is_plain) kvs_host_init(&host, NULL);
    MUST(kvs_client_new(&host, &config, b->now_hns, &b->client));
    bench_drain(b);
    for (uint32_t i = 0; i < setup->stream_count; i++) bench_open(b, i);
    bench_drain(b);
}

static inline void bench_down(struct bench *b)
{
    kvs_client_free(b->client);
    free(b->streams);
}

/* The connection of a held session stands now. */
static inline void bench_connect(struct bench *b, uint32_t index)
{
    bench_answer_stream(b, &b->streams[index], &b->streams[index].held);
}

static inline void bench_put(struct bench *b, uint32_t index, const uint8_t *data, uint32_t size, int is_key)
{
    struct bench_stream *s = &b->streams[index];
    MUST(kvs_stream_put_frame(s->stream, data, size, s->pts_hns, s->pts_hns, BENCH_FRAME_HNS, 1,
                              is_key ? KVS_FRAME_KEY : 0, b->now_hns));
    s->pts_hns += BENCH_FRAME_HNS;
}

static inline uint32_t bench_read(struct bench *b, uint32_t index)
{
    struct bench_stream *s = &b->streams[index];
    kvs_status got = kvs_upload_read(s->stream, s->upload, b->buffer, sizeof b->buffer, &b->read_state, b->now_hns);
    MUST(got);
    return (uint32_t)got;
}

static inline uint64_t bench_read_all(struct bench *b, uint32_t index)
{
    uint64_t total = 0;
    do total += bench_read(b, index);
    while (b->read_state == KVS_READ_MORE);
    return total;
}

/* The same with large frames lent: none of their bytes is touched. */
static inline uint64_t bench_lend_all(struct bench *b, uint32_t index)
{
    struct bench_stream *s = &b->streams[index];
    struct kvs_span spans[64];
    struct kvs_loan loan = { .size = sizeof loan, .size_max = sizeof b->buffer, .buffer = b->buffer, .spans = spans };
    uint64_t total = 0;
    loan.buffer_size = sizeof b->buffer;
    loan.span_max = 64;
    do {
        kvs_status got = kvs_upload_lend(s->stream, s->upload, &loan, &b->read_state, b->now_hns);
        MUST(got);
        total += (uint64_t)got;
    } while (b->read_state == KVS_READ_MORE);
    return total;
}

/* The service persists the fragment that begins at this pts, as the bytes of an ACK. */
static inline void bench_persist(struct bench *b, uint32_t index, uint64_t pts_hns)
{
    char ack[160];
    struct bench_stream *s = &b->streams[index];
    int size = snprintf(ack, sizeof ack,
                        "{\"EventType\":\"PERSISTED\",\"FragmentTimecode\":%" PRIu64
                        ",\"FragmentNumber\":\"91343852333181432392682062614222\"}",
                        pts_hns / KVS_HNS_PER_MS);
    MUST(kvs_upload_ack_bytes(s->stream, s->upload, (const uint8_t *)ack, (uint32_t)size, b->now_hns));
}

static inline struct kvs_stream_metrics bench_metrics(struct bench *b, uint32_t index)
{
    struct kvs_stream_metrics metrics = { .size = sizeof metrics };
    MUST(kvs_stream_metrics(b->streams[index].stream, &metrics));
    return metrics;
}

/* Every page of every slab is really there, so that no put is measured with a page fault in it. */
static inline void bench_touch(struct bench_counts *counts)
{
    for (uint32_t i = 0; i < counts->slab_count; i++) {
        for (uint32_t at = 0; at < KVS_SLAB_SIZE; at += 4096) {
            volatile uint8_t *byte = counts->slabs[i] + at;
            *byte = *byte;
        }
    }
}

/* ---- the baseline ------------------------------------------------------------------------------------------------ */

/* Nanoseconds for one copy of `size` bytes into the store's slabs, one after the other: what no store can be under. */
static inline double bench_memcpy_ns(struct bench_counts *counts, const uint8_t *data, uint32_t size,
                                     uint32_t frame_count)
{
    uint64_t all = (uint64_t)counts->slab_count * KVS_SLAB_SIZE, at = 0;
    uint64_t begin = bench_now_ns();
    for (uint32_t i = 0; i < frame_count; i++) {
        uint32_t done = 0;
        while (done < size) {
            uint64_t in_slab = at % KVS_SLAB_SIZE;
            uint32_t piece = size - done < KVS_SLAB_SIZE - in_slab ? size - done : (uint32_t)(KVS_SLAB_SIZE - in_slab);
            memcpy(counts->slabs[at / KVS_SLAB_SIZE] + in_slab, data + done, piece);
            done += piece;
            at = at + piece == all ? 0 : at + piece;
        }
        __asm__ volatile("" ::: "memory");
    }
    return (double)(bench_now_ns() - begin) / frame_count;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

/* A line of JSON: figure, value, unit; goal 0 means that there is none; then any further members ("\"a\":1"). */
static inline void bench_say(const char *figure, double value, const char *unit, double goal, const char *more)
{
    printf("{\"figure\":\"%s\",\"value\":%.4g,\"unit\":\"%s\"", figure, value, unit);
    if (goal > 0) printf(",\"goal\":%.6g", goal);
    printf("%s%s}\n", more[0] != 0 ? "," : "", more);
    fflush(stdout);
}

#endif

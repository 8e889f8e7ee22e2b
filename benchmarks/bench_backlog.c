/* bench_backlog.c — what a backlog costs: 10 to 100,000 frames of 1 KB, unsent, or sent but not acknowledged.
 *
 * Measured at each size: one more put, a read of a frame, the metrics, the PERSISTED that frees everything, and the
 * way from a lost connection to the first byte of the next one: the best of three in a row, because the first one also
 * pays for what 100 MB of reading threw out of the caches. The slabs were touched by a round before. A figure that
 * grows with the backlog is a mistake in the store or the view. */
#include "bench.h"

#define SIZE 1024u
#define BATCH (BENCH_FPS * 10u)
#define RUNS 5u
#define RECONNECTS 3u /* in a row, below the retries that a stream has without progress */

static struct bench b;
static uint8_t data[SIZE];

enum figure { PUT_UNSENT, PUT_UNACKED, READ_UNSENT, METRICS, ACK, RECONNECT, COPY, FIGURES };
static double best[FIGURES];

static void keep_least(enum figure figure, double ns) { best[figure] = bench_min(best[figure], ns); }

static void grow(uint32_t frame_count)
{
    for (uint32_t i = 0; i < frame_count; i++) bench_put(&b, 0, data, SIZE, i % BENCH_FPS == 0);
    bench_drain(&b);
}

static double put_batch(void)
{
    uint64_t begin = bench_now_ns();
    for (uint32_t i = 0; i < BATCH; i++) bench_put(&b, 0, data, SIZE, i % BENCH_FPS == 0);
    return (double)(bench_now_ns() - begin) / BATCH;
}

/* One frame's worth at a time, as many as the batch has. */
static double read_batch(void)
{
    struct bench_stream *s = &b.streams[0];
    uint64_t begin = bench_now_ns();
    for (uint32_t i = 0; i < BATCH / 2u; i++)
        MUST(kvs_upload_read(s->stream, s->upload, b.buffer, SIZE, &b.read_state, b.now_hns));
    return (double)(bench_now_ns() - begin) / (BATCH / 2u);
}

static double metrics_batch(void)
{
    uint64_t begin = bench_now_ns();
    for (uint32_t i = 0; i < 100; i++) bench_metrics(&b, 0);
    return (double)(bench_now_ns() - begin) / 100;
}

/* Everything is sent by now: the last whole fragment's PERSISTED frees all before it. */
static double persist_all(void)
{
    uint64_t last_pts = b.streams[0].pts_hns;
    bench_put(&b, 0, data, SIZE, 1); /* closes the fragment before it */
    bench_drain(&b);
    bench_read_all(&b, 0);
    uint64_t fragment_pts = last_pts - (uint64_t)BENCH_FPS * BENCH_FRAME_HNS;
    uint64_t begin = bench_now_ns();
    bench_persist(&b, 0, fragment_pts);
    double spent = (double)(bench_now_ns() - begin);
    bench_persist(&b, 0, last_pts);
    bench_drain(&b);
    return spent;
}

/* The connection is lost, the next one stands, and its first byte is read: all calls of the core on that way. */
static double reconnect(void)
{
    struct bench_stream *s = &b.streams[0];
    uint64_t lost = s->upload, begin = bench_now_ns();
    MUST(kvs_upload_ended(s->stream, lost, KVS_RESULT_CONNECTION_TIMEOUT, b.now_hns));
    bench_drain(&b);
    MUST(kvs_upload_read(s->stream, s->upload, b.buffer, 1, &b.read_state, b.now_hns));
    double spent = (double)(bench_now_ns() - begin);
    if (s->upload == lost) bench_die(__FILE__, __LINE__, "a new session", KVS_E_INTERNAL);
    return spent;
}

static void measure_once(uint32_t backlog)
{
    grow(backlog);
    keep_least(PUT_UNSENT, put_batch());
    keep_least(READ_UNSENT, read_batch());
    keep_least(METRICS, metrics_batch());
    bench_drain(&b);
    bench_read_all(&b, 0);
    keep_least(PUT_UNACKED, put_batch());
    bench_drain(&b);
    bench_read_all(&b, 0);
    keep_least(METRICS, metrics_batch());
    for (uint32_t i = 0; i < RECONNECTS; i++) keep_least(RECONNECT, reconnect());
    bench_read_all(&b, 0);
    keep_least(ACK, persist_all());
    keep_least(COPY, bench_memcpy_ns(&b.counts, data, SIZE, backlog + BATCH));
}

static void say(uint32_t backlog)
{
    static const struct {
        const char *name;
        double goal_ns; /* at 100,000 */
    } ROWS[] = {
        [PUT_UNSENT] = { "put of 1 KB, unsent", 200 }, [PUT_UNACKED] = { "put of 1 KB, unacked", 200 },
        [READ_UNSENT] = { "read of 1 KB, unsent", 0 }, [METRICS] = { "metrics", 100 },
        [ACK] = { "PERSISTED that frees all", 20000 }, [RECONNECT] = { "first byte after reconnect", 2000 },
    };
    for (uint32_t i = 0; i < COPY; i++) {
        char figure[64], more[96] = "";
        snprintf(figure, sizeof figure, "%s, backlog %u", ROWS[i].name, backlog);
        double ratio = best[i] / best[COPY];
        const char *flat = i == PUT_UNSENT || i == PUT_UNACKED ? ",\"flat_goal\":1.5" : "";
        if (i <= READ_UNSENT) snprintf(more, sizeof more, "\"memcpy\":%.4g,\"ratio\":%.3g%s", best[COPY], ratio, flat);
        bench_say(figure, best[i], "ns", ROWS[i].goal_ns, more);
    }
}

int main(void)
{
    static const uint32_t BACKLOGS[] = { 10, 1000, 10000, 100000 };
    memset(data, 7, sizeof data);
    for (uint32_t i = 0; i < sizeof BACKLOGS / sizeof BACKLOGS[0]; i++) {
        bench_up(&b, &(struct bench_setup) { .stream_count = 1 });
        measure_once(BACKLOGS[i]); /* touches the slabs */
        for (uint32_t j = 0; j < FIGURES; j++) best[j] = 1e18;
        for (uint32_t run = 0; run < RUNS; run++) measure_once(BACKLOGS[i]);
        say(BACKLOGS[i]);
        bench_down(&b);
    }
    return 0;
}

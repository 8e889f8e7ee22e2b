/* bench_streams.c — many streams in one client: 1 to 10,000, each with an open session whose reader waits.
 *
 * Measured: opening a stream and bringing it to its session, one put into each stream in turn, the drain of the actions
 * that these puts made (one "data available" for each stream), and the read of each. */
#include "bench.h"

#define SIZE 1024u
#define RUNS 5u

static struct bench b;
static uint8_t data[SIZE];

enum figure { PUT, DRAIN, READ, FIGURES };

/* All but the open fragment of each stream is done: the store does not grow. */
static void persist(uint32_t stream_count)
{
    for (uint32_t i = 0; i < stream_count; i++)
        bench_persist(&b, i, b.streams[i].pts_hns - (uint64_t)(BENCH_FPS + 1u) * BENCH_FRAME_HNS);
    bench_drain(&b);
}

/* A round over all streams, so many times that the clock's own step does not matter. */
static void round_trip(uint32_t stream_count, double *best)
{
    static uint64_t frame_number;
    uint64_t spent[FIGURES] = { 0 }, begin;
    uint32_t rounds = 2000 / stream_count + 1, drained = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        begin = bench_now_ns();
        for (uint32_t i = 0; i < stream_count; i++) bench_put(&b, i, data, SIZE, frame_number % BENCH_FPS == 0);
        spent[PUT] += bench_now_ns() - begin;
        begin = bench_now_ns();
        drained += bench_drain(&b);
        spent[DRAIN] += bench_now_ns() - begin;
        begin = bench_now_ns();
        for (uint32_t i = 0; i < stream_count; i++) bench_read_all(&b, i);
        spent[READ] += bench_now_ns() - begin;
        if (frame_number++ % BENCH_FPS == 0) persist(stream_count);
    }
    double count = (double)rounds * stream_count;
    best[PUT] = bench_min(best[PUT], (double)spent[PUT] / count);
    best[DRAIN] = bench_min(best[DRAIN], (double)spent[DRAIN] / (drained != 0 ? drained : 1));
    best[READ] = bench_min(best[READ], (double)spent[READ] / count);
}

static void measure(uint32_t stream_count)
{
    static const char *const NAMES[] = { "put of 1 KB in turn", "drain, an action", "read of 1 KB in turn" };
    double best[FIGURES] = { 1e18, 1e18, 1e18 };
    char figure[64];
    uint64_t begin = bench_now_ns();
    bench_up(&b, &(struct bench_setup){ .stream_count = stream_count });
    snprintf(figure, sizeof figure, "open to READY, %u streams", stream_count);
    bench_say(figure, (double)(bench_now_ns() - begin) / stream_count, "ns", 0, "");
    for (uint32_t i = 0; i < stream_count; i++) bench_put(&b, i, data, SIZE, 1);
    bench_drain(&b);
    for (uint32_t i = 0; i < stream_count; i++) bench_read_all(&b, i);
    for (uint32_t run = 0; run < RUNS; run++) {
        bench_touch(&b.counts);
        round_trip(stream_count, best);
    }
    for (uint32_t i = 0; i < FIGURES; i++) {
        snprintf(figure, sizeof figure, "%s, %u streams", NAMES[i], stream_count);
        bench_say(figure, best[i], "ns", 0, "");
    }
    bench_down(&b);
}

int main(void)
{
    memset(data, 7, sizeof data);
    for (uint32_t stream_count = 1; stream_count <= 10000; stream_count *= 10) measure(stream_count);
    return 0;
}

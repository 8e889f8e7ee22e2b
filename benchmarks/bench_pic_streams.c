/* bench_pic_streams.c — many streams in one client by the field's names: 1 to 10,000, each with a connection that waits.
 *
 * Measured: opening a stream until it is ready, one put into each stream in turn (the callback that tells of its data
 * included: pic.h has no drain apart), the read of each, the metrics of the client, and freeing them all. */
#include "bench_pic.h"

#define SIZE 1024u
#define RUNS 5u

static struct pic_program p;
static uint8_t data[SIZE];

enum figure { PUT, READ, METRICS, FIGURES };

/* All but the open fragment of each stream is done: the store does not grow. */
static void persist(uint32_t stream_count)
{
    for (uint32_t i = 0; i < stream_count; i++)
        pic_persist(&p, i, p.streams[i].pts_hns - (uint64_t)(BENCH_FPS + 1u) * BENCH_FRAME_HNS);
}

/* A round over all streams, so many times that the clock's own step does not matter. */
static void round_trip(uint32_t stream_count, uint64_t *frame_number, double *best)
{
    ClientMetrics metrics = { .version = CLIENT_METRICS_CURRENT_VERSION };
    uint64_t spent[FIGURES] = { 0 }, begin;
    uint32_t rounds = 2000 / stream_count + 1;
    for (uint32_t round = 0; round < rounds; round++) {
        begin = bench_now_ns();
        for (uint32_t i = 0; i < stream_count; i++) pic_put(&p, i, data, SIZE, *frame_number % BENCH_FPS == 0);
        spent[PUT] += bench_now_ns() - begin;
        begin = bench_now_ns();
        for (uint32_t i = 0; i < stream_count; i++) pic_read_all(&p, i);
        spent[READ] += bench_now_ns() - begin;
        if (*frame_number % BENCH_FPS == 0 && *frame_number != 0) persist(stream_count);
        (*frame_number)++;
    }
    begin = bench_now_ns();
    PIC_MUST(getKinesisVideoMetrics(p.client, &metrics));
    spent[METRICS] = bench_now_ns() - begin;
    double count = (double)rounds * stream_count;
    best[PUT] = bench_min(best[PUT], (double)spent[PUT] / count);
    best[READ] = bench_min(best[READ], (double)spent[READ] / count);
    best[METRICS] = bench_min(best[METRICS], (double)spent[METRICS] / stream_count);
}

static void say(const char *what, uint32_t stream_count, double ns)
{
    char figure[80];
    snprintf(figure, sizeof figure, "pic.h, %s, %u streams", what, stream_count);
    bench_say(figure, ns, "ns", 0, "");
}

static void measure(uint32_t stream_count)
{
    double best[FIGURES] = { 1e18, 1e18, 1e18 };
    uint64_t frame_number = 0;
    pic_up_client(&p, &(struct pic_setup) { .stream_count = stream_count });
    uint64_t begin = bench_now_ns();
    for (uint32_t i = 0; i < stream_count; i++) pic_open(&p, i);
    say("open to ready, each", stream_count, (double)(bench_now_ns() - begin) / stream_count);
    for (uint32_t i = 0; i < stream_count; i++) pic_put(&p, i, data, SIZE, 1);
    for (uint32_t i = 0; i < stream_count; i++) pic_read_all(&p, i);
    for (uint32_t run = 0; run < RUNS; run++) {
        bench_touch(&pic_counts);
        round_trip(stream_count, &frame_number, best);
    }
    say("put of 1 KB in turn", stream_count, best[PUT]);
    say("read of 1 KB in turn", stream_count, best[READ]);
    say("metrics of the client, each stream", stream_count, best[METRICS]);
    begin = bench_now_ns();
    pic_down(&p);
    say("free, each", stream_count, (double)(bench_now_ns() - begin) / stream_count);
}

int main(void)
{
    memset(data, 7, sizeof data);
    for (uint32_t stream_count = 1; stream_count <= 10000; stream_count *= 10) measure(stream_count);
    return 0;
}

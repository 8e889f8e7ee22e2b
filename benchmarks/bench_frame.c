/* bench_frame.c — one frame from put to persisted at 1, 10 and 100 KB: put, read and its share of an ACK, beside the
 * memcpy of the same bytes into the same slabs in the same run.
 *
 * "chain" is put + read + 1/30 of an ACK and of a drain of actions, as a connection that keeps up sees it. "put" is put
 * alone into slabs that were touched before. `bench_frame count FRAMES` runs that many 1 KB frames and prints nothing:
 * two such runs under callgrind, one subtracted from the other, are the instructions of a frame. */
#include "bench.h"

#define RUNS 15u

static struct bench b;
static uint8_t data[100 * 1024];

static double chain_ns(uint32_t size, uint32_t frame_count, int is_lent)
{
    uint64_t fragment_pts = 0, begin = bench_now_ns();
    for (uint32_t i = 0; i < frame_count; i++) {
        int is_key = i % BENCH_FPS == 0;
        uint64_t before_pts = fragment_pts;
        if (is_key) fragment_pts = b.streams[0].pts_hns;
        bench_put(&b, 0, data, size, is_key);
        if (i == 0) bench_drain(&b);
        if (is_lent) bench_lend_all(&b, 0);
        else bench_read_all(&b, 0);
        if (!is_key || i == 0) continue;
        bench_persist(&b, 0, before_pts);
        bench_drain(&b);
    }
    return (double)(bench_now_ns() - begin) / frame_count;
}

static void settle(void)
{
    bench_drain(&b);
    bench_read_all(&b, 0);
    uint64_t last = b.streams[0].pts_hns;
    bench_put(&b, 0, data, 1, 1); /* closes the fragment before it */
    bench_read_all(&b, 0);
    bench_persist(&b, 0, last);
    bench_drain(&b);
}

/* Puts without a reader; then everything is read and persisted, which gives the slabs back for the next run. */
static double put_ns(uint32_t size, uint32_t frame_count)
{
    uint64_t first = b.streams[0].pts_hns, begin = bench_now_ns();
    for (uint32_t i = 0; i < frame_count; i++) bench_put(&b, 0, data, size, i % BENCH_FPS == 0);
    double spent = (double)(bench_now_ns() - begin) / frame_count;
    (void)first;
    bench_drain(&b);
    bench_read_all(&b, 0);
    uint64_t last = b.streams[0].pts_hns - (uint64_t)BENCH_FPS * BENCH_FRAME_HNS;
    bench_persist(&b, 0, last);
    bench_drain(&b);
    return spent;
}

static void count(uint32_t frame_count)
{
    bench_up(&b, &(struct bench_setup){ .stream_count = 1 });
    chain_ns(1024, frame_count, 0);
    bench_down(&b);
}

static void say_counts(void)
{
    const uint32_t frame_count = BENCH_FPS * 200;
    bench_up(&b, &(struct bench_setup){ .stream_count = 1, .is_counting = 1 });
    chain_ns(1024, frame_count, 0);
    uint64_t locks = b.counts.lock_pairs, allocs = b.counts.allocs, wakes = b.counts.wakes;
    chain_ns(1024, frame_count, 0);
    bench_say("1 KB frame, lock pairs", (double)(b.counts.lock_pairs - locks) / frame_count, "pairs", 4, "");
    bench_say("1 KB frame, allocations", (double)(b.counts.allocs - allocs) / frame_count, "calls", 0, "");
    bench_say("1 KB frame, wakes", (double)(b.counts.wakes - wakes) / frame_count, "calls", 0, "");
    bench_down(&b);
}

struct goal {
    uint32_t size, frame_count;
    const char *name;
    double chain_ns, chain_ratio, put_ratio, lent_ratio;
};

static void say(const struct goal *goal, const char *part, double ns, double copy_ns, double ratio_goal)
{
    char figure[64], more[96];
    double goal_ns = part[0] == 'c' ? goal->chain_ns : 0;
    const char *what = part[0] == 'c'   ? "put + read + ACK share"
                       : part[0] == 'l' ? "put + lend + ACK share"
                                        : "put alone";
    snprintf(figure, sizeof figure, "%s frame, %s", goal->name, what);
    int used = snprintf(more, sizeof more, "\"memcpy\":%.4g,\"ratio\":%.3g", copy_ns, ns / copy_ns);
    if (ratio_goal > 0) snprintf(more + used, sizeof more - (size_t)used, ",\"ratio_goal\":%.3g", ratio_goal);
    bench_say(figure, ns, "ns", goal_ns, more);
}

static void measure(const struct goal *goal)
{
    double chain = 1e18, chain_copy = 1e18, put = 1e18, put_copy = 1e18, lent = 1e18;
    bench_up(&b, &(struct bench_setup){ .stream_count = 1 });
    chain_ns(goal->size, goal->frame_count, 0);
    for (uint32_t run = 0; run < RUNS; run++) {
        chain = bench_min(chain, chain_ns(goal->size, goal->frame_count, 0));
        lent = bench_min(lent, chain_ns(goal->size, goal->frame_count, 1));
        chain_copy = bench_min(chain_copy, bench_memcpy_ns(&b.counts, data, goal->size, goal->frame_count));
    }
    settle();
    bench_down(&b);
    bench_up(&b, &(struct bench_setup){ .stream_count = 1 });
    put_ns(goal->size, goal->frame_count);
    for (uint32_t run = 0; run < RUNS; run++) {
        put = bench_min(put, put_ns(goal->size, goal->frame_count));
        put_copy = bench_min(put_copy, bench_memcpy_ns(&b.counts, data, goal->size, goal->frame_count));
    }
    bench_down(&b);
    say(goal, "chain", chain, chain_copy, goal->chain_ratio);
    say(goal, "lent", lent, chain_copy, goal->lent_ratio);
    say(goal, "put", put, put_copy, goal->put_ratio);
}

int main(int argc, char **argv)
{
    static const struct goal GOALS[] = {
        { 1024, 60000, "1 KB", 85, 0, 0, 0 },
        { 10 * 1024, 12000, "10 KB", 250, 0, 0, 0 },
        { 100 * 1024, 1500, "100 KB", 0, 2.2, 1.3, 1.43 },
    };
    memset(data, 7, sizeof data);
    if (argc == 3 && strcmp(argv[1], "count") == 0) {
        count((uint32_t)atoi(argv[2]));
        return 0;
    }
    for (uint32_t i = 0; i < sizeof GOALS / sizeof GOALS[0]; i++) measure(&GOALS[i]);
    say_counts();
    return 0;
}

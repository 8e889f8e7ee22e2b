/* bench_pic_frame.c — one frame by the field's names, at 1, 10 and 100 KB: putKinesisVideoFrame,
 * getKinesisVideoStreamData and 1/30 of a kinesisVideoStreamFragmentAck, beside the memcpy of the same bytes into the
 * same slabs in the same run.
 *
 * The program gets a notice of data after each frame, as programs of the field do (streamDataAvailableFn); "quiet" is
 * one that wants none. "put alone" has a connection that stands still. `bench_pic_frame count FRAMES [quiet]` runs so
 * many 1 KB frames and prints nothing: two such runs under callgrind, subtracted, are the instructions of a frame. */
#include "bench_pic.h"

#define RUNS 15u

static struct pic_program p;
static uint8_t data[100 * 1024];

static double chain_ns(uint32_t size, uint32_t frame_count)
{
    uint64_t fragment_pts = 0, begin = bench_now_ns();
    for (uint32_t i = 0; i < frame_count; i++) {
        int is_key = i % BENCH_FPS == 0;
        uint64_t before_pts = fragment_pts;
        if (is_key) fragment_pts = p.streams[0].pts_hns;
        pic_put(&p, 0, data, size, is_key);
        pic_read_all(&p, 0);
        if (is_key && i != 0) pic_persist(&p, 0, before_pts);
    }
    return (double)(bench_now_ns() - begin) / frame_count;
}

/* Puts without a reader; then everything is read and persisted, which gives the slabs back for the next run. */
static double put_ns(uint32_t size, uint32_t frame_count)
{
    uint64_t begin = bench_now_ns();
    for (uint32_t i = 0; i < frame_count; i++) pic_put(&p, 0, data, size, i % BENCH_FPS == 0);
    double spent = (double)(bench_now_ns() - begin) / frame_count;
    pic_read_all(&p, 0);
    pic_persist(&p, 0, p.streams[0].pts_hns - (uint64_t)BENCH_FPS * BENCH_FRAME_HNS);
    return spent;
}

static void say_counts(int is_quiet)
{
    const uint32_t frame_count = BENCH_FPS * 200;
    const char *how = is_quiet ? ", quiet" : "";
    char figure[64];
    pic_up(&p, &(struct pic_setup) { .stream_count = 1, .is_counting = 1, .is_quiet = (uint8_t)is_quiet });
    chain_ns(1024, frame_count);
    struct bench_counts before = pic_counts;
    uint64_t clock_reads = p.clock_reads, data_notices = p.data_notices;
    chain_ns(1024, frame_count);
    snprintf(figure, sizeof figure, "pic.h, 1 KB frame, lock pairs%s", how);
    bench_say(figure, (double)(pic_counts.lock_pairs - before.lock_pairs) / frame_count, "pairs", 0, "");
    snprintf(figure, sizeof figure, "pic.h, 1 KB frame, clock reads%s", how);
    bench_say(figure, (double)(p.clock_reads - clock_reads) / frame_count, "reads", 0, "");
    snprintf(figure, sizeof figure, "pic.h, 1 KB frame, allocations%s", how);
    bench_say(figure, (double)(pic_counts.allocs - before.allocs) / frame_count, "calls", 0, "");
    if (!is_quiet)
        bench_say("pic.h, 1 KB frame, data notices", (double)(p.data_notices - data_notices) / frame_count, "calls", 0,
                  "");
    pic_down(&p);
}

static void say(const char *name, const char *what, double ns, double copy_ns)
{
    char figure[80], more[64];
    snprintf(figure, sizeof figure, "pic.h, %s frame, %s", name, what);
    snprintf(more, sizeof more, "\"memcpy\":%.4g,\"ratio\":%.3g", copy_ns, ns / copy_ns);
    bench_say(figure, ns, "ns", 0, more);
}

static void measure_chain(const char *name, uint32_t size, uint32_t frame_count, int is_quiet)
{
    double chain = 1e18, copy = 1e18;
    pic_up(&p, &(struct pic_setup) { .stream_count = 1, .is_quiet = (uint8_t)is_quiet });
    chain_ns(size, frame_count);
    for (uint32_t run = 0; run < RUNS; run++) {
        chain = bench_min(chain, chain_ns(size, frame_count));
        copy = bench_min(copy, bench_memcpy_ns(&pic_counts, data, size, frame_count));
    }
    pic_down(&p);
    say(name, is_quiet ? "put + read + ACK share, quiet" : "put + read + ACK share", chain, copy);
}

static void measure_put(const char *name, uint32_t size, uint32_t frame_count)
{
    double put = 1e18, copy = 1e18;
    pic_up(&p, &(struct pic_setup) { .stream_count = 1 });
    put_ns(size, frame_count);
    for (uint32_t run = 0; run < RUNS; run++) {
        put = bench_min(put, put_ns(size, frame_count));
        copy = bench_min(copy, bench_memcpy_ns(&pic_counts, data, size, frame_count));
    }
    pic_down(&p);
    say(name, "put alone", put, copy);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint32_t size, frame_count;
    } SIZES[] = { { "1 KB", 1024, 60000 }, { "10 KB", 10 * 1024, 12000 }, { "100 KB", 100 * 1024, 1500 } };
    memset(data, 7, sizeof data);
    if (argc >= 3 && strcmp(argv[1], "count") == 0) {
        pic_up(&p, &(struct pic_setup) { .stream_count = 1, .is_quiet = argc > 3 });
        chain_ns(1024, (uint32_t)atoi(argv[2]));
        pic_down(&p);
        return 0;
    }
    for (uint32_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        measure_chain(SIZES[i].name, SIZES[i].size, SIZES[i].frame_count, 0);
        if (i == 0) measure_chain(SIZES[i].name, SIZES[i].size, SIZES[i].frame_count, 1);
        measure_put(SIZES[i].name, SIZES[i].size, SIZES[i].frame_count);
    }
    say_counts(0);
    say_counts(1);
    return 0;
}

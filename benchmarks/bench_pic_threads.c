/* bench_pic_threads.c — threads of one client, each with a stream of its own, by the field's names: put, read and ACK
 * of 1 KB frames, each thread with notices of its data; "quiet" is a program that wants none.
 *
 * The figure is the throughput of N threads over that of one, as in bench_threads.c. Here every thread drains: each put
 * hands over what the client has to say, to whichever stream. */
#define BENCH_ROUNDS 3000u /* about a millisecond: beside other work some runs have both processors to themselves */
#include "bench_pic.h"
#include "bench_threads.h"

#define RUNS 150u

static struct pic_program p;

static void *work(void *context)
{
    struct bench_worker *worker = context;
    uint64_t fragment_pts = 0;
    bench_worker_begin(worker);
    for (uint32_t i = 0; i < BENCH_ROUNDS; i++) {
        int is_key = i % BENCH_FPS == 0;
        uint64_t before_pts = fragment_pts;
        if (is_key) fragment_pts = p.streams[worker->index].pts_hns;
        pic_put(&p, worker->index, worker->data, sizeof worker->data, is_key);
        while (pic_read(&p, worker->index, worker->buffer, sizeof worker->buffer)) {
        }
        if (is_key && i != 0) pic_persist(&p, worker->index, before_pts);
    }
    return bench_worker_end(worker);
}

static void measure(int is_quiet)
{
    pic_counts_memory = 1;
    pic_up(&p, &(struct pic_setup) { .stream_count = BENCH_THREADS_MAX, .is_quiet = (uint8_t)is_quiet });
    for (uint32_t i = 0; i < BENCH_THREADS_MAX; i++) { /* every connection stands before the threads start */
        pic_put(&p, i, bench_workers[0].data, BENCH_ROUND_SIZE, 1);
        pic_read_all(&p, i);
    }
    pic_counts_memory = 0;
    bench_say_threads(work, RUNS, NULL, "pic.h, ", is_quiet ? ", quiet" : "", 0);
    pic_down(&p);
}

int main(void)
{
    measure(0);
    measure(1);
    return 0;
}

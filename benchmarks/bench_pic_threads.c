/* bench_pic_threads.c — threads of one client, each with a stream of its own, by the field's names: put, read and ACK
 * of 1 KB frames, each thread being told of its data.
 *
 * The figure is the throughput of N threads over that of one, as in bench_threads.c. */
#include "bench_pic.h"

#define SIZE 1024u
#define FRAMES 15000u
#define RUNS 25u
#define THREADS_MAX 4u

struct worker {
    uint32_t index;
    pthread_t thread;
    uint64_t begin_ns, end_ns;
    uint8_t data[SIZE];
    BYTE buffer[1 << 17];
};

static struct pic_program p;
static struct worker workers[THREADS_MAX];
static pthread_barrier_t barrier;

static void *work(void *context)
{
    struct worker *worker = context;
    uint64_t fragment_pts = 0;
    pthread_barrier_wait(&barrier);
    worker->begin_ns = bench_now_ns();
    for (uint32_t i = 0; i < FRAMES; i++) {
        int is_key = i % BENCH_FPS == 0;
        uint64_t before_pts = fragment_pts;
        if (is_key) fragment_pts = p.streams[worker->index].pts_hns;
        pic_put(&p, worker->index, worker->data, SIZE, is_key);
        while (pic_read(&p, worker->index, worker->buffer, sizeof worker->buffer)) {
        }
        if (is_key && i != 0) pic_persist(&p, worker->index, before_pts);
    }
    worker->end_ns = bench_now_ns();
    return NULL;
}

/* From the first one's start to the last one's end. */
static double frames_per_us(uint32_t thread_count)
{
    uint64_t begin_ns = UINT64_MAX, end_ns = 0;
    pthread_barrier_init(&barrier, NULL, thread_count);
    for (uint32_t i = 0; i < thread_count; i++) {
        workers[i].index = i;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) exit(1);
    }
    for (uint32_t i = 0; i < thread_count; i++) {
        pthread_join(workers[i].thread, NULL);
        if (workers[i].begin_ns < begin_ns) begin_ns = workers[i].begin_ns;
        if (workers[i].end_ns > end_ns) end_ns = workers[i].end_ns;
    }
    pthread_barrier_destroy(&barrier);
    return (double)FRAMES * thread_count * 1000 / (double)(end_ns - begin_ns);
}

static void measure(int is_quiet)
{
    static const uint32_t COUNTS[] = { 1, 2, 4 };
    double best[THREADS_MAX + 1] = { 0 };
    pic_up(&p, &(struct pic_setup) { .stream_count = THREADS_MAX, .is_quiet = (uint8_t)is_quiet });
    for (uint32_t i = 0; i < THREADS_MAX; i++) { /* every connection stands before the threads start */
        pic_put(&p, i, workers[0].data, SIZE, 1);
        pic_read_all(&p, i);
    }
    pic_counts_memory = 0;
    for (uint32_t run = 0; run < RUNS; run++) {
        for (uint32_t i = 0; i < 3; i++) {
            double found = frames_per_us(COUNTS[i]);
            if (found > best[COUNTS[i]]) best[COUNTS[i]] = found;
        }
    }
    for (uint32_t i = 0; i < 3; i++) {
        char figure[80];
        snprintf(figure, sizeof figure, "pic.h, frames of 1 KB%s, %u threads", is_quiet ? ", quiet" : "", COUNTS[i]);
        bench_say(figure, best[COUNTS[i]], "/us", 0, "");
    }
    for (uint32_t i = 1; i < 3; i++) {
        char figure[80], more[96];
        snprintf(figure, sizeof figure, "pic.h, %u threads, %u streams, against 1%s", COUNTS[i], COUNTS[i],
                 is_quiet ? ", quiet" : "");
        snprintf(more, sizeof more, "\"frames_per_us\":%.4g,\"one_thread\":%.4g", best[COUNTS[i]], best[1]);
        bench_say(figure, best[COUNTS[i]] / best[1], "x", 0, more);
    }
    pic_down(&p);
}

int main(void)
{
    measure(0);
    measure(1);
    return 0;
}

/* bench_threads.c — threads of one client, each with a stream of its own: put, read and ACK of 1 KB frames.
 *
 * In "draining" runs each thread also drains the client's actions, those of the others too, once a fragment.
 * The figure is the throughput of N threads over that of one. Streams never wait for each other, so it should be N as
 * long as there are processors; on a machine with two, four threads show that nothing gets worse. "machine_x" is the
 * same ratio for threads that share nothing at all, which is the most that the machine gave in this run. */
#include "bench.h"

#define SIZE 1024u
#define FRAMES 15000u /* their notices fit into the queue of a stream */
#define RUNS 80u
#define THREADS_MAX 4u

struct worker {
    struct bench *b;
    uint32_t index;
    int is_draining;
    pthread_t thread;
    uint64_t begin_ns, end_ns;
    uint8_t data[SIZE];
    uint8_t buffer[1 << 17];
};

static struct bench b;
static struct worker workers[THREADS_MAX];
static pthread_barrier_t barrier;

/* As bench_read, into this thread's own buffer. */
static void read_all(struct worker *worker)
{
    struct bench_stream *s = &worker->b->streams[worker->index];
    enum kvs_read_state state = KVS_READ_MORE;
    while (state == KVS_READ_MORE)
        MUST(kvs_upload_read(s->stream, s->upload, worker->buffer, sizeof worker->buffer, &state, worker->b->now_hns));
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct kvs_action actions[64];
    uint64_t fragment_pts = 0;
    pthread_barrier_wait(&barrier);
    worker->begin_ns = bench_now_ns();
    for (uint32_t i = 0; i < FRAMES; i++) {
        int is_key = i % BENCH_FPS == 0;
        uint64_t before_pts = fragment_pts;
        if (is_key) fragment_pts = worker->b->streams[worker->index].pts_hns;
        bench_put(worker->b, worker->index, worker->data, SIZE, is_key);
        read_all(worker);
        if (!is_key || i == 0) continue;
        bench_persist(worker->b, worker->index, before_pts);
        if (worker->is_draining)
            MUST(kvs_client_next_actions(worker->b->client, actions, 64)); /* notices only: sessions stand */
    }
    worker->end_ns = bench_now_ns();
    return NULL;
}

/* The same amount of time without anything shared: what the machine, as loaded as it is, can give. */
static void *spin(void *context)
{
    struct worker *worker = context;
    pthread_barrier_wait(&barrier);
    worker->begin_ns = bench_now_ns();
    for (uint32_t i = 0; i < FRAMES * 10u; i++) {
        memcpy(worker->buffer, worker->data, SIZE);
        __asm__ volatile("" ::"r"(worker->buffer) : "memory");
    }
    worker->end_ns = bench_now_ns();
    return NULL;
}

/* From the first one's start to the last one's end. */
static double rounds_per_us(void *(*run)(void *), uint32_t thread_count)
{
    uint64_t begin_ns = UINT64_MAX, end_ns = 0;
    pthread_barrier_init(&barrier, NULL, thread_count);
    for (uint32_t i = 0; i < thread_count; i++) {
        workers[i].b = &b;
        workers[i].index = i;
        if (pthread_create(&workers[i].thread, NULL, run, &workers[i]) != 0) exit(1);
    }
    for (uint32_t i = 0; i < thread_count; i++) {
        pthread_join(workers[i].thread, NULL);
        if (workers[i].begin_ns < begin_ns) begin_ns = workers[i].begin_ns;
        if (workers[i].end_ns > end_ns) end_ns = workers[i].end_ns;
    }
    pthread_barrier_destroy(&barrier);
    return (double)FRAMES * thread_count * 1000 / (double)(end_ns - begin_ns);
}

static void measure(int is_draining)
{
    double best[THREADS_MAX + 1] = { 0 }, machine[THREADS_MAX + 1] = { 0 };
    static const uint32_t COUNTS[] = { 1, 2, 4 };
    for (uint32_t i = 0; i < THREADS_MAX; i++) workers[i].is_draining = is_draining;
    for (uint32_t run = 0; run < RUNS; run++) {
        for (uint32_t i = 0; i < 3; i++) {
            double found = rounds_per_us(work, COUNTS[i]), spun = rounds_per_us(spin, COUNTS[i]);
            if (found > best[COUNTS[i]]) best[COUNTS[i]] = found;
            if (spun > machine[COUNTS[i]]) machine[COUNTS[i]] = spun;
            bench_drain(&b);
        }
    }
    for (uint32_t i = 0; i < 3; i++) {
        char figure[64];
        snprintf(figure, sizeof figure, "frames of 1 KB%s, %u threads", is_draining ? ", draining" : "", COUNTS[i]);
        bench_say(figure, best[COUNTS[i]], "/us", 0, "");
    }
    for (uint32_t i = 1; i < 3; i++) {
        char figure[64], more[128];
        snprintf(figure, sizeof figure, "%u threads, %u streams, against 1%s", COUNTS[i], COUNTS[i],
                 is_draining ? ", draining" : "");
        snprintf(more, sizeof more, "\"frames_per_us\":%.4g,\"one_thread\":%.4g,\"machine_x\":%.3g", best[COUNTS[i]],
                 best[1], machine[COUNTS[i]] / machine[1]);
        bench_say(figure, best[COUNTS[i]] / best[1], "x", COUNTS[i] == 2 && !is_draining ? 1.8 : 0, more);
    }
}

int main(void)
{
    bench_up(&b, &(struct bench_setup) { .stream_count = THREADS_MAX, .is_plain = 1 });
    for (uint32_t i = 0; i < THREADS_MAX; i++) { /* every session stands before the threads start */
        bench_put(&b, i, workers[0].data, SIZE, 1);
        bench_drain(&b);
        bench_read_all(&b, i);
    }
    measure(0);
    measure(1);
    bench_down(&b);
    return 0;
}

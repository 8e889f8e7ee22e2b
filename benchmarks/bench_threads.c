/* bench_threads.c — threads of one client, each with a stream of its own: put, read, ACK, drain of 1 KB frames.
 *
 * The figure is the throughput of N threads over that of one. Streams never wait for each other, so it should be N as
 * long as there are processors; on a machine with two, four threads show that nothing gets worse. */
#include "bench.h"

#define SIZE 1024u
#define FRAMES 150000u
#define RUNS 5u
#define THREADS_MAX 4u

struct worker {
    struct bench *b;
    uint32_t index;
    pthread_t thread;
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
    for (uint32_t i = 0; i < FRAMES; i++) {
        int is_key = i % BENCH_FPS == 0;
        uint64_t before_pts = fragment_pts;
        if (is_key) fragment_pts = worker->b->streams[worker->index].pts_hns;
        bench_put(worker->b, worker->index, worker->data, SIZE, is_key);
        read_all(worker);
        if (!is_key || i == 0) continue;
        bench_persist(worker->b, worker->index, before_pts);
        MUST(kvs_client_next_actions(worker->b->client, actions, 64)); /* notices only: sessions stand */
    }
    pthread_barrier_wait(&barrier);
    return NULL;
}

static double frames_per_us(uint32_t thread_count)
{
    pthread_barrier_init(&barrier, NULL, thread_count + 1);
    for (uint32_t i = 0; i < thread_count; i++) {
        workers[i].b = &b;
        workers[i].index = i;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) exit(1);
    }
    pthread_barrier_wait(&barrier);
    uint64_t begin = bench_now_ns();
    pthread_barrier_wait(&barrier);
    uint64_t spent = bench_now_ns() - begin;
    for (uint32_t i = 0; i < thread_count; i++) pthread_join(workers[i].thread, NULL);
    pthread_barrier_destroy(&barrier);
    return (double)FRAMES * thread_count * 1000 / (double)spent;
}

int main(void)
{
    double best[THREADS_MAX + 1] = { 0 };
    static const uint32_t COUNTS[] = { 1, 2, 4 };
    bench_up(&b, &(struct bench_setup){ .stream_count = THREADS_MAX, .is_plain = 1 });
    for (uint32_t i = 0; i < THREADS_MAX; i++) { /* every session stands before the threads start */
        bench_put(&b, i, workers[0].data, SIZE, 1);
        bench_drain(&b);
        bench_read_all(&b, i);
    }
    for (uint32_t run = 0; run < RUNS; run++) {
        for (uint32_t i = 0; i < 3; i++) {
            double found = frames_per_us(COUNTS[i]);
            if (found > best[COUNTS[i]]) best[COUNTS[i]] = found;
        }
    }
    for (uint32_t i = 1; i < 3; i++) {
        char figure[64], more[64];
        snprintf(figure, sizeof figure, "%u threads, %u streams, against 1", COUNTS[i], COUNTS[i]);
        snprintf(more, sizeof more, "\"frames_per_us\":%.4g,\"one_thread\":%.4g", best[COUNTS[i]], best[1]);
        bench_say(figure, best[COUNTS[i]] / best[1], "x", COUNTS[i] == 2 ? 1.8 : 0, more);
    }
    bench_down(&b);
    return 0;
}

/* bench_threads.h — threads that start together, and how much they do; beside them threads that share nothing at all,
 * which do the most that the machine gives in this run.
 *   Use   bench_rounds_per_us(work, 2), where void *work(void *) is given its struct bench_worker: it calls
 *         bench_worker_begin, does BENCH_ROUNDS rounds, and calls bench_worker_end. */
#ifndef KVS_BENCH_THREADS_H
#define KVS_BENCH_THREADS_H

#include "bench.h"

#if !defined(BENCH_ROUNDS)
#define BENCH_ROUNDS 15000u /* the notices of so many frames fit into the queue of a stream */
#endif
#define BENCH_ROUND_SIZE 1024u
#define BENCH_THREADS_MAX 4u

struct bench_worker {
    uint32_t index;
    pthread_t thread;
    uint64_t begin_ns, end_ns;
    uint8_t data[BENCH_ROUND_SIZE];
    uint8_t buffer[1 << 17];
};

static struct bench_worker bench_workers[BENCH_THREADS_MAX];
static pthread_barrier_t bench_barrier;

static inline void bench_worker_begin(struct bench_worker *worker)
{
    pthread_barrier_wait(&bench_barrier);
    worker->begin_ns = bench_now_ns();
}

static inline void *bench_worker_end(struct bench_worker *worker)
{
    worker->end_ns = bench_now_ns();
    return NULL;
}

/* About the same amount of time with nothing shared. */
static inline void *bench_spin(void *context)
{
    struct bench_worker *worker = context;
    bench_worker_begin(worker);
    for (uint32_t i = 0; i < BENCH_ROUNDS * 10u; i++) {
        memcpy(worker->buffer, worker->data, sizeof worker->data);
        __asm__ volatile("" ::"r"(worker->buffer) : "memory");
    }
    return bench_worker_end(worker);
}

/* From the first one's start to the last one's end. */
static inline double bench_rounds_per_us(void *(*run)(void *), uint32_t thread_count)
{
    uint64_t begin_ns = UINT64_MAX, end_ns = 0;
    pthread_barrier_init(&bench_barrier, NULL, thread_count);
    for (uint32_t i = 0; i < thread_count; i++) {
        bench_workers[i].index = i;
        if (pthread_create(&bench_workers[i].thread, NULL, run, &bench_workers[i]) != 0) exit(1);
    }
    for (uint32_t i = 0; i < thread_count; i++) {
        pthread_join(bench_workers[i].thread, NULL);
        if (bench_workers[i].begin_ns < begin_ns) begin_ns = bench_workers[i].begin_ns;
        if (bench_workers[i].end_ns > end_ns) end_ns = bench_workers[i].end_ns;
    }
    pthread_barrier_destroy(&bench_barrier);
    return (double)BENCH_ROUNDS * thread_count * 1000 / (double)(end_ns - begin_ns);
}

/* The throughput of 1, 2 and 4 threads, the best of `runs`, said as the growth of `series` and as figures of their own:
 * names begin with `prefix` and end with `how`. `after` is called between runs, or is NULL. */
static inline void bench_say_threads(void *(*run)(void *), uint32_t runs, void (*after)(void), const char *prefix,
                                     const char *how, double goal)
{
    static const uint32_t COUNTS[] = { 1, 2, 4 };
    double best[BENCH_THREADS_MAX + 1] = { 0 }, machine[BENCH_THREADS_MAX + 1] = { 0 };
    char figure[96], more[128];
    for (uint32_t i = 0; i < runs * 3u; i++) {
        uint32_t count = COUNTS[i % 3u];
        double found = bench_rounds_per_us(run, count), spun = bench_rounds_per_us(bench_spin, count);
        if (found > best[count]) best[count] = found;
        if (spun > machine[count]) machine[count] = spun;
        if (after != NULL) after();
    }
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(figure, sizeof figure, "%sframes of 1 KB%s, %u threads", prefix, how, COUNTS[i]);
        bench_say(figure, best[COUNTS[i]], "/us", 0, "");
    }
    for (uint32_t i = 1; i < 3; i++) {
        snprintf(figure, sizeof figure, "%s%u threads, %u streams, against 1%s", prefix, COUNTS[i], COUNTS[i], how);
        snprintf(more, sizeof more, "\"machine_x\":%.3g", machine[COUNTS[i]] / machine[1]);
        bench_say(figure, best[COUNTS[i]] / best[1], "x", COUNTS[i] == 2 ? goal : 0, more);
    }
}

#endif

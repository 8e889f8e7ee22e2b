/* bench_threads.c — threads of one client, each with a stream of its own: put, read and ACK of 1 KB frames.
 *
 * In "draining" runs each thread also drains the client's actions, those of the others too, once a fragment.
 * The figure is the throughput of N threads over that of one. Streams never wait for each other, so it should be N as
 * long as there are processors; on a machine with two, four threads show that nothing gets worse. */
#include "bench_threads.h"

#define RUNS 80u

static struct bench b;

/* As bench_read_all, into this thread's own buffer. */
static void read_all(struct bench_worker *worker)
{
    struct bench_stream *s = &b.streams[worker->index];
    enum kvs_read_state state = KVS_READ_MORE;
    while (state == KVS_READ_MORE)
        MUST(kvs_upload_read(s->stream, s->upload, worker->buffer, sizeof worker->buffer, &state, b.now_hns));
}

static void work(struct bench_worker *worker, int is_draining)
{
    struct kvs_action actions[64];
    uint64_t fragment_pts = 0;
    bench_worker_begin(worker);
    for (uint32_t i = 0; i < BENCH_ROUNDS; i++) {
        int is_key = i % BENCH_FPS == 0;
        uint64_t before_pts = fragment_pts;
        if (is_key) fragment_pts = b.streams[worker->index].pts_hns;
        bench_put(&b, worker->index, worker->data, sizeof worker->data, is_key);
        read_all(worker);
        if (!is_key || i == 0) continue;
        bench_persist(&b, worker->index, before_pts);
        if (is_draining) MUST(kvs_client_next_actions(b.client, actions, 64)); /* notices only: sessions stand */
    }
    bench_worker_end(worker);
}

static void *work_alone(void *worker)
{
    work(worker, 0);
    return NULL;
}

static void *work_draining(void *worker)
{
    work(worker, 1);
    return NULL;
}

static void drain(void) { bench_drain(&b); }

int main(void)
{
    bench_up(&b, &(struct bench_setup) { .stream_count = BENCH_THREADS_MAX, .is_plain = 1 });
    for (uint32_t i = 0; i < BENCH_THREADS_MAX; i++) { /* every session stands before the threads start */
        bench_put(&b, i, bench_workers[0].data, BENCH_ROUND_SIZE, 1);
        bench_drain(&b);
        bench_read_all(&b, i);
    }
    bench_say_threads(work_alone, RUNS, drain, "", "", 1.8);
    bench_say_threads(work_draining, RUNS, drain, "", ", draining", 0);
    bench_down(&b);
    return 0;
}

/* bench_pic_backlog.c — bench_backlog.c by the field's names: what 10 to 100,000 frames of backlog cost a program that
 * uses pic.h, unsent, or sent but not acknowledged.
 *
 * Measured at each size: one more put, a read of a frame, the stream's metrics, the PERSISTED that frees everything,
 * and the way from kinesisVideoStreamTerminated over putStreamFn to the first byte of the next connection. The slabs
 * were touched by a round before. */
#include "bench_pic.h"

#define SIZE 1024u
#define BATCH (BENCH_FPS * 10u)
#define RUNS 5u
#define RECONNECTS 3u /* in a row, below the retries that a stream has without progress */

static struct pic_program p;
static uint8_t data[SIZE];

enum figure { PUT_UNSENT, PUT_UNACKED, READ_UNSENT, METRICS, ACK, RECONNECT, COPY, FIGURES };
static double best[FIGURES];

static void keep_least(enum figure figure, double ns) { best[figure] = bench_min(best[figure], ns); }

static double put_batch(uint32_t count)
{
    uint64_t begin = bench_now_ns();
    for (uint32_t i = 0; i < count; i++) pic_put(&p, 0, data, SIZE, i % BENCH_FPS == 0);
    return (double)(bench_now_ns() - begin) / count;
}

/* One frame's worth at a time, half of what the batch has. */
static double read_batch(void)
{
    uint64_t begin = bench_now_ns();
    for (uint32_t i = 0; i < BATCH / 2u; i++) pic_read(&p, 0, p.buffer, SIZE);
    return (double)(bench_now_ns() - begin) / (BATCH / 2u);
}

static double metrics_batch(void)
{
    StreamMetrics metrics = { .version = STREAM_METRICS_CURRENT_VERSION };
    uint64_t begin = bench_now_ns();
    for (uint32_t i = 0; i < 100; i++) PIC_MUST(getKinesisVideoStreamMetrics(p.streams[0].stream, &metrics));
    return (double)(bench_now_ns() - begin) / 100;
}

/* Everything is sent by now: the last whole fragment's PERSISTED frees all before it. */
static double persist_all(void)
{
    uint64_t last_pts = p.streams[0].pts_hns;
    pic_put(&p, 0, data, SIZE, 1); /* closes the fragment before it */
    pic_read_all(&p, 0);
    uint64_t begin = bench_now_ns();
    pic_persist(&p, 0, last_pts - (uint64_t)BENCH_FPS * BENCH_FRAME_HNS);
    double spent = (double)(bench_now_ns() - begin);
    pic_persist(&p, 0, last_pts);
    return spent;
}

/* The connection is lost, the program opens the next one inside the call, and its first byte is read. */
static double reconnect(void)
{
    struct pic_program_stream *s = &p.streams[0];
    UPLOAD_HANDLE lost = s->upload;
    uint64_t begin = bench_now_ns();
    PIC_MUST(kinesisVideoStreamTerminated(s->stream, lost, SERVICE_CALL_NETWORK_CONNECTION_TIMEOUT));
    pic_read(&p, 0, p.buffer, 1);
    double spent = (double)(bench_now_ns() - begin);
    if (s->upload == lost) pic_die(__FILE__, __LINE__, "a new connection", STATUS_INVALID_OPERATION);
    return spent;
}

static void measure_once(uint32_t backlog)
{
    put_batch(backlog);
    keep_least(PUT_UNSENT, put_batch(BATCH));
    keep_least(READ_UNSENT, read_batch());
    keep_least(METRICS, metrics_batch());
    pic_read_all(&p, 0);
    keep_least(PUT_UNACKED, put_batch(BATCH));
    pic_read_all(&p, 0);
    keep_least(METRICS, metrics_batch());
    for (uint32_t i = 0; i < RECONNECTS; i++) keep_least(RECONNECT, reconnect());
    pic_read_all(&p, 0);
    keep_least(ACK, persist_all());
    keep_least(COPY, bench_memcpy_ns(&pic_counts, data, SIZE, backlog + BATCH));
}

static void say(uint32_t backlog)
{
    static const char *const NAMES[] = {
        [PUT_UNSENT] = "put of 1 KB, unsent",   [PUT_UNACKED] = "put of 1 KB, unacked",
        [READ_UNSENT] = "read of 1 KB, unsent", [METRICS] = "metrics",
        [ACK] = "PERSISTED that frees all",     [RECONNECT] = "first byte after reconnect",
    };
    for (uint32_t i = 0; i < COPY; i++) {
        char figure[80], more[64] = "";
        snprintf(figure, sizeof figure, "pic.h, %s, backlog %u", NAMES[i], backlog);
        double ratio = best[i] / best[COPY];
        if (i <= READ_UNSENT) snprintf(more, sizeof more, "\"memcpy\":%.4g,\"ratio\":%.3g", best[COPY], ratio);
        bench_say(figure, best[i], "ns", 0, more);
    }
}

int main(void)
{
    static const uint32_t BACKLOGS[] = { 10, 1000, 10000, 100000 };
    memset(data, 7, sizeof data);
    for (uint32_t i = 0; i < sizeof BACKLOGS / sizeof BACKLOGS[0]; i++) {
        pic_up(&p, &(struct pic_setup) { .stream_count = 1 });
        measure_once(BACKLOGS[i]); /* touches the slabs */
        for (uint32_t j = 0; j < FIGURES; j++) best[j] = 1e18;
        for (uint32_t run = 0; run < RUNS; run++) measure_once(BACKLOGS[i]);
        say(BACKLOGS[i]);
        pic_down(&p);
    }
    return 0;
}

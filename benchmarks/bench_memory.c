/* bench_memory.c — bytes held: an idle client, an idle stream, a buffered frame; counted in the host's alloc.
 *
 * A stream is measured when it is READY and has never seen a frame, and again when a session is open and everything put
 * is persisted. A frame's cost is what it adds over its payload, slabs counted as far as they are filled. */
#include "bench.h"

#define STREAMS 1000u
#define FRAMES 60000u

static struct bench b;
static uint8_t data[1024];

static void say_streams(void)
{
    bench_up(&b, &(struct bench_setup){ .is_counting = 1 });
    uint64_t client = b.counts.bytes;
    bench_say("idle client", (double)client, "bytes", 16 * 1024, "");
    bench_down(&b);
    bench_up(&b, &(struct bench_setup){ .stream_count = STREAMS, .is_counting = 1 });
    bench_say("idle stream, READY", (double)(b.counts.bytes - client) / STREAMS, "bytes", 6 * 1024, "");
    for (uint32_t i = 0; i < STREAMS; i++) {
        uint64_t first = b.streams[i].pts_hns;
        bench_put(&b, i, data, sizeof data, 1);
        bench_drain(&b);
        bench_read_all(&b, i);
        MUST(kvs_stream_end_fragment(b.streams[i].stream, b.now_hns));
        bench_drain(&b);
        bench_read_all(&b, i);
        bench_persist(&b, i, first);
        bench_drain(&b);
    }
    struct kvs_client_metrics metrics = { .size = sizeof metrics };
    MUST(kvs_client_metrics(b.client, &metrics));
    uint64_t slabs = (uint64_t)b.counts.slab_count * (KVS_SLAB_SIZE + sizeof(void *));
    double held = (double)(b.counts.bytes - client) - (double)slabs;
    bench_say("idle stream, session open", held / STREAMS, "bytes", 6 * 1024, "");
    bench_say("slabs in use by idle streams", (double)metrics.store_used / KVS_SLAB_SIZE, "slabs", 0, "");
    bench_down(&b);
}

static void say_frames(void)
{
    bench_up(&b, &(struct bench_setup){ .stream_count = 1, .is_counting = 1 });
    bench_put(&b, 0, data, sizeof data, 1);
    bench_drain(&b);
    uint64_t before = b.counts.bytes, allocs = b.counts.allocs;
    for (uint32_t i = 1; i <= FRAMES; i++) bench_put(&b, 0, data, sizeof data, i % BENCH_FPS == 0);
    double added = (double)(b.counts.bytes - before) / FRAMES;
    bench_say("buffered frame of 1 KB, bytes over its payload", added - (double)sizeof data, "bytes", 0, "");
    bench_say("buffered frame of 1 KB, allocations", (double)(b.counts.allocs - allocs) / FRAMES, "calls", 0, "");
    bench_down(&b);
}

int main(void)
{
    say_streams();
    say_frames();
    return 0;
}

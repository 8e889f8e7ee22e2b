/* bench_pic_memory.c — bytes held behind the field's handles: an idle client, an idle stream, a buffered frame; all
 * that the library asks malloc and calloc for, its locks included, the allocator's own overhead not.
 *
 * The table of handles is the process's (it grows by 1,024 places): it is a figure of its own. A stream is
 * measured when it is ready, and again when a connection stands and everything put is persisted. The token that a
 * stream keeps for pAuthInfo is part of it. */
#include "bench_pic.h"

#define STREAMS 1000u
#define FRAMES 60000u

static struct pic_program p;
static uint8_t data[1024];

static double slab_bytes(void) { return (double)pic_counts.slab_count * (KVS_SLAB_SIZE + sizeof(void *)); }

static void say_streams(void)
{
    Frame end = EOFR_FRAME_INITIALIZER;
    pic_up_client(&p, &(struct pic_setup) { .stream_count = STREAMS });
    double client = (double)pic_counts.bytes;
    for (uint32_t i = 0; i < STREAMS; i++) pic_open(&p, i);
    bench_say("pic.h, idle client", client, "bytes", 0, "");
    bench_say("pic.h, idle stream, ready", ((double)pic_counts.bytes - client) / STREAMS, "bytes", 0, "");
    for (uint32_t i = 0; i < STREAMS; i++) {
        uint64_t first = p.streams[i].pts_hns;
        pic_put(&p, i, data, sizeof data, 1);
        pic_read_all(&p, i);
        PIC_MUST(putKinesisVideoFrame(p.streams[i].stream, &end));
        pic_read_all(&p, i);
        pic_persist(&p, i, first);
    }
    double held = (double)pic_counts.bytes - client - slab_bytes();
    bench_say("pic.h, idle stream, connected", held / STREAMS, "bytes", 0, "");
    pic_down(&p);
}

static void say_frames(void)
{
    pic_up(&p, &(struct pic_setup) { .stream_count = 1 });
    pic_put(&p, 0, data, sizeof data, 1);
    struct bench_counts before = pic_counts;
    for (uint32_t i = 1; i <= FRAMES; i++) pic_put(&p, 0, data, sizeof data, i % BENCH_FPS == 0);
    double added = (double)(pic_counts.bytes - before.bytes) / FRAMES;
    bench_say("pic.h, buffered frame of 1 KB, bytes over its payload", added - (double)sizeof data, "bytes", 0, "");
    bench_say("pic.h, buffered frame of 1 KB, allocations", (double)(pic_counts.allocs - before.allocs) / FRAMES,
              "calls", 0, "");
    pic_down(&p);
}

int main(void)
{
    pic_up_client(&p, &(struct pic_setup) { .stream_count = 1 });
    pic_down(&p);
    bench_say("pic.h, table of handles, the process's", (double)pic_counts.bytes, "bytes", 0, ""); /* what stays */
    say_streams();
    say_frames();
    return 0;
}

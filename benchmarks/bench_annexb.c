/* bench_annexb.c — an Annex-B key frame as 4K cameras make it, put as AVCC: gigabytes per second of scan and copy.
 *
 * The frame is made of the clip given as argument: its parameter sets, then one slice of about 600 KB whose bytes are
 * those of all the clip's slices, as the encoder wrote them. Beside the put: the scan alone, and the memcpy. */
#include "bench.h"
#include "media/nal.h"

#define FRAME_SIZE 600000u
#define RUNS 40u

static struct bench b;
static uint8_t clip[1 << 22], frame[FRAME_SIZE + (1 << 16)];

static uint32_t load(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    size_t size = fread(clip, 1, sizeof clip, file);
    fclose(file);
    return (uint32_t)size;
}

static uint32_t append(uint32_t at, const uint8_t *bytes, uint32_t size)
{
    if (at + size > sizeof frame) size = (uint32_t)sizeof frame - at;
    memcpy(frame + at, bytes, size);
    return at + size;
}

/* Start code and parameter sets, then a slice that takes up slice after slice until it is long enough. */
static uint32_t make_frame(uint32_t clip_size)
{
    static const uint8_t START[] = { 0, 0, 0, 1 };
    uint32_t size = 0, has_slice = 0;
    while (size < FRAME_SIZE) {
        struct kvs_nal_walk walk;
        struct kvs_nal nal;
        kvs_nal_walk_init(&walk, clip, clip_size);
        while (size < FRAME_SIZE && kvs_nal_walk_next(&walk, &nal) == 1) {
            uint32_t type = clip[nal.offset] & 31u;
            int is_set = type == 7 || type == 8;
            if ((is_set && has_slice) || (!is_set && type != 1 && type != 5)) continue;
            if (is_set || !has_slice) size = append(size, START, sizeof START);
            if (!is_set && !has_slice) {
                has_slice = 1;
                static const uint8_t IDR = 0x65;
                size = append(size, &IDR, 1);
            }
            uint32_t skip = is_set ? 0 : 1;
            size = append(size, clip + nal.offset + skip, nal.size - skip);
        }
    }
    return size;
}

static double put_ns(uint32_t size, uint32_t count)
{
    uint64_t begin = bench_now_ns();
    for (uint32_t i = 0; i < count; i++) bench_put(&b, 0, frame, size, 1);
    double spent = (double)(bench_now_ns() - begin) / count;
    bench_drain(&b);
    bench_read_all(&b, 0);
    bench_persist(&b, 0, b.streams[0].pts_hns - 2 * BENCH_FRAME_HNS);
    bench_drain(&b);
    return spent;
}

static double scan_ns(uint32_t size)
{
    struct kvs_nal_scan scan;
    uint64_t begin = bench_now_ns();
    for (uint32_t i = 0; i < 10; i++) {
        MUST(kvs_nal_scan(frame, size, &scan));
        __asm__ volatile("" ::"r"(&scan) : "memory");
    }
    return (double)(bench_now_ns() - begin) / 10;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s CLIP.h264\n", argv[0]);
        return 2;
    }
    uint32_t size = make_frame(load(argv[1]));
    double put = 1e18, plain = 1e18, scan = 1e18, copy = 1e18;
    const uint32_t count = 20;
    for (uint32_t flags = 0; flags < 2; flags++) {
        struct bench_setup setup = { .stream_count = 1, .content_type = "video/h264" };
        setup.nal_flags = flags != 0 ? KVS_NAL_ANNEXB_TO_AVCC | KVS_NAL_ANNEXB_CPD : 0;
        bench_up(&b, &setup);
        put_ns(size, count);
        for (uint32_t run = 0; run < RUNS; run++) {
            double ns = put_ns(size, count);
            if (flags != 0) put = bench_min(put, ns);
            else plain = bench_min(plain, ns);
            copy = bench_min(copy, bench_memcpy_ns(&b.counts, frame, size, count));
            scan = bench_min(scan, scan_ns(size));
        }
        bench_down(&b);
    }
    char more[128];
    snprintf(more, sizeof more, "\"memcpy\":%.4g,\"ratio\":%.3g,\"bytes\":%u", size / copy, put / copy, size);
    bench_say("Annex-B key frame to AVCC, put", size / put, "GB/s", 5, more);
    bench_say("the same frame, put without adaptation", size / plain, "GB/s", 0, more);
    bench_say("the scan alone", size / scan, "GB/s", 0, "");
    return 0;
}

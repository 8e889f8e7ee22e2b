/* Frames of any bytes through put and read: NAL adaptation, codec private data found in them, every size. What is read
 * is a document that the little reader understands, as long as what was taken, and the ledger adds up. */
#include "service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kvs_stream *open_stream(struct service *s, uint32_t shape)
{
    static const char *const types[] = { "video/h264", "video/h265", "audio/aac", "application/octet-stream" };
    static const uint32_t nal_flags[] = { 0, 8, 16, 40 };
    struct kvs_stream_config config = video_config();
    config.content_type = types[shape % 4];
    config.nal_flags = nal_flags[shape / 4 % 4];
    config.flags |= KVS_NEGATIVE_BLOCK_TIME;
    if (shape & 64) config.flags |= KVS_SPARSE_KEYS;
    if (shape & 32) config.flags |= KVS_WHOLE_PICTURES | KVS_NO_EMPTY_NALS;
    service_up(s, NULL);
    s->is_coded = 1;
    s->read_size = 1 + shape * 13;
    return service_open(s, &config);
}

static void put(struct service *s, struct kvs_stream *stream, const uint8_t *bytes, uint32_t size, uint32_t index)
{
    uint64_t time = T0 + MS(40 * (uint64_t)index);
    uint8_t *exact = malloc(size); /* so that a byte read past the end is seen */
    if (exact == NULL) abort();
    memcpy(exact, bytes, size);
    (void)kvs_stream_put_frame(stream, exact, size, time, time, MS(40), 1, index % 3 == 0 ? KVS_FRAME_KEY : 0,
                               s->now_hns);
    free(exact);
    service_check(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct service s;
    if (size < 3 || size > 60000) return 0;
    struct kvs_stream *stream = open_stream(&s, data[0]);
    size_t piece = 1 + ((size_t)data[1] << 8 | data[2]) % 20000;
    uint32_t index = 0;
    for (size_t at = 3; at < size && index < 40; at += piece, index++)
        put(&s, stream, data + at, (uint32_t)(size - at < piece ? size - at : piece), index);
    service_turn(&s);
    uint64_t put_count = metrics_of(stream).frames_put;
    CHECK(service_drain(&s, stream));
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < s.session_count; i++) {
        struct mkv_seen seen = session_seen(&s.sessions[i]);
        CHECK(seen.is_whole);
        blocks += seen.block_count;
        mkv_forget(&seen);
    }
    CHECK_EQ(blocks, metrics_of(stream).frames_done);
    CHECK_EQ(put_count, metrics_of(stream).frames_put);
    service_down(&s);
    if (check_failed != 0) abort();
    return 0;
}

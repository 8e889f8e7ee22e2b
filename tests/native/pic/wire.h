/* wire.h — what a network layer takes out of pic.h, for tests: the bytes of each upload, read a buffer at a time, and
 * what a service sees in them. */
#ifndef KVS_TESTS_PIC_WIRE_H
#define KVS_TESTS_PIC_WIRE_H

#include "fixture.h"
#include "mkv_seen.h"

struct wire {
    UPLOAD_HANDLE upload;
    BYTE *bytes;
    UINT32 size, capacity;
    STATUS status; /* of the last read */
};

/* One read of at most `size` bytes; how many came. */
static inline UINT32 wire_read(struct fixture *f, struct wire *wire, UINT32 size)
{
    UINT32 filled = 0;
    if (wire->capacity - wire->size < size) {
        wire->capacity = 2 * wire->capacity + size;
        wire->bytes = realloc(wire->bytes, wire->capacity);
        if (wire->bytes == NULL) abort();
    }
    wire->status = getKinesisVideoStreamData(f->stream, wire->upload, wire->bytes + wire->size, size, &filled);
    wire->size += filled;
    return filled;
}

static inline STATUS wire_read_all(struct fixture *f, struct wire *wire)
{
    do wire_read(f, wire, 65536);
    while (wire->status == STATUS_SUCCESS);
    return wire->status;
}

static inline struct mkv_seen wire_seen(const struct wire *wire)
{
    struct mkv_seen seen;
    mkv_read(&seen, wire->bytes, wire->size);
    CHECK(!seen.is_broken);
    return seen;
}

static inline UINT32 wire_blocks(const struct wire *wire)
{
    struct mkv_seen seen = wire_seen(wire);
    UINT32 count = seen.block_count;
    mkv_forget(&seen);
    return count;
}

static inline void wire_free(struct wire *wire)
{
    free(wire->bytes);
    memset(wire, 0, sizeof *wire);
}

#endif

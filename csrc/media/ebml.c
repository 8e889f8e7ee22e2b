/* ebml.c — EBML numbers; see ebml.h. */
#include "media/ebml.h"

#include <string.h>

#include "base/check.h"

uint32_t kvs_ebml_size_width(uint64_t value)
{
    for (uint32_t width = 1; width <= 8; width++) {
        if (value <= (UINT64_C(1) << (7u * width)) - 2u) return width;
    }
    return 0;
}

void kvs_ebml_size_put(uint8_t *out, uint64_t value, uint32_t width)
{
    KVS_CHECK(width >= 1 && width <= 8);
    KVS_CHECK(value <= (UINT64_C(1) << (7u * width)) - 2u);
    uint64_t marked = value | UINT64_C(1) << (7u * width);
    for (uint32_t index = width; index-- > 0; marked >>= 8) out[index] = (uint8_t)marked;
}

kvs_status kvs_ebml_encode_size(uint64_t value, uint8_t out[8])
{
    const uint32_t width = kvs_ebml_size_width(value);
    if (width == 0) return KVS_E_NUMBER_TOO_BIG;
    kvs_ebml_size_put(out, value, width);
    return (kvs_status)width;
}

void kvs_ebml_write_id(struct kvs_writer *writer, uint32_t id)
{
    for (uint32_t shift = 32; shift > 0; shift -= 8) {
        if (id >> (shift - 8u) != 0) kvs_writer_u8(writer, id >> (shift - 8u));
    }
}

void kvs_ebml_write_head(struct kvs_writer *writer, uint32_t id, uint64_t size, uint32_t width)
{
    uint8_t bytes[8];
    const uint32_t used = width != 0 ? width : kvs_ebml_size_width(size);
    kvs_ebml_size_put(bytes, size, used);
    kvs_ebml_write_id(writer, id);
    kvs_writer_bytes(writer, bytes, used);
}

void kvs_ebml_write_uint(struct kvs_writer *writer, uint32_t id, uint64_t value, uint32_t bytes)
{
    KVS_CHECK(bytes >= 1 && bytes <= 8);
    kvs_ebml_write_head(writer, id, bytes, 1);
    for (uint32_t shift = 8u * bytes; shift > 0; shift -= 8) {
        kvs_writer_u8(writer, (uint32_t)(value >> (shift - 8u)) & 0xFFu);
    }
}

void kvs_ebml_write_double(struct kvs_writer *writer, uint32_t id, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    kvs_ebml_write_uint(writer, id, bits, 8);
}

void kvs_ebml_write_bytes(struct kvs_writer *writer, uint32_t id, const void *bytes, size_t size, uint32_t width)
{
    kvs_ebml_write_head(writer, id, size, width);
    kvs_writer_bytes(writer, bytes, size);
}

/* buf.c — bounded writer and reader; see buf.h for what "sticky" means. */
#include "base/buf.h"

#include <string.h>

#include "base/be.h"
#include "base/check.h"

void kvs_writer_init(struct kvs_writer *writer, uint8_t *bytes, size_t capacity)
{
    writer->bytes = bytes;
    writer->capacity = capacity;
    writer->size = 0;
    writer->failed = 0;
}

/* Takes room for `size` bytes; 0 when there is none. */
static int take(struct kvs_writer *writer, size_t size)
{
    KVS_CHECK(writer->size <= writer->capacity);
    if (writer->failed || size > writer->capacity - writer->size) {
        writer->failed = 1;
        return 0;
    }
    writer->size += size;
    return 1;
}

void kvs_writer_bytes(struct kvs_writer *writer, const void *bytes, size_t size)
{
    if (!take(writer, size) || writer->bytes == NULL || size == 0) return;
    memcpy(writer->bytes + writer->size - size, bytes, size);
}

void kvs_writer_fill(struct kvs_writer *writer, uint8_t byte, size_t size)
{
    if (!take(writer, size) || writer->bytes == NULL || size == 0) return;
    memset(writer->bytes + writer->size - size, byte, size);
}

void kvs_writer_u8(struct kvs_writer *writer, uint32_t value)
{
    const uint8_t byte = (uint8_t)value;
    kvs_writer_bytes(writer, &byte, 1);
}

void kvs_writer_u16(struct kvs_writer *writer, uint32_t value)
{
    uint8_t bytes[2];
    kvs_be_put_u16(bytes, value);
    kvs_writer_bytes(writer, bytes, sizeof(bytes));
}

void kvs_writer_u32(struct kvs_writer *writer, uint32_t value)
{
    uint8_t bytes[4];
    kvs_be_put_u32(bytes, value);
    kvs_writer_bytes(writer, bytes, sizeof(bytes));
}

void kvs_writer_u64(struct kvs_writer *writer, uint64_t value)
{
    uint8_t bytes[8];
    kvs_be_put_u64(bytes, value);
    kvs_writer_bytes(writer, bytes, sizeof(bytes));
}

void kvs_reader_init(struct kvs_reader *reader, const uint8_t *bytes, size_t size)
{
    reader->bytes = bytes;
    reader->size = size;
    reader->at = 0;
    reader->failed = 0;
}

size_t kvs_reader_left(const struct kvs_reader *reader)
{
    KVS_CHECK(reader->at <= reader->size);
    return reader->failed ? 0 : reader->size - reader->at;
}

const uint8_t *kvs_reader_bytes(struct kvs_reader *reader, size_t size)
{
    if (reader->failed || size > kvs_reader_left(reader)) {
        reader->failed = 1;
        return NULL;
    }
    reader->at += size;
    return reader->bytes + reader->at - size;
}

uint32_t kvs_reader_u8(struct kvs_reader *reader)
{
    const uint8_t *bytes = kvs_reader_bytes(reader, 1);
    return bytes == NULL ? 0 : bytes[0];
}

uint32_t kvs_reader_u16(struct kvs_reader *reader)
{
    const uint8_t *bytes = kvs_reader_bytes(reader, 2);
    return bytes == NULL ? 0 : kvs_be_get_u16(bytes);
}

uint32_t kvs_reader_u32(struct kvs_reader *reader)
{
    const uint8_t *bytes = kvs_reader_bytes(reader, 4);
    return bytes == NULL ? 0 : kvs_be_get_u32(bytes);
}

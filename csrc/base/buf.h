/* buf.h — a bounded writer and a bounded reader of bytes. Both are sticky: after the first access past the end nothing
 * more is written or read, `failed` is set, and one test at the end is enough. A writer without bytes (NULL) only
 * counts, so that one function gives both the size and the content. They own no memory. */
#ifndef KVS_BASE_BUF_H
#define KVS_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct kvs_writer {
    uint8_t *bytes; /* NULL: count only */
    size_t capacity;
    size_t size; /* bytes written or counted, never above capacity */
    int failed;
};

/* bytes NULL: counts up to capacity (SIZE_MAX for no limit). */
void kvs_writer_init(struct kvs_writer *writer, uint8_t *bytes, size_t capacity);
void kvs_writer_bytes(struct kvs_writer *writer, const void *bytes, size_t size);
void kvs_writer_fill(struct kvs_writer *writer, uint8_t byte, size_t size);
void kvs_writer_u8(struct kvs_writer *writer, uint32_t value);
void kvs_writer_u16(struct kvs_writer *writer, uint32_t value); /* big-endian, as all below */
void kvs_writer_u32(struct kvs_writer *writer, uint32_t value);
void kvs_writer_u64(struct kvs_writer *writer, uint64_t value);

struct kvs_reader {
    const uint8_t *bytes;
    size_t size;
    size_t at; /* never above size */
    int failed;
};

void kvs_reader_init(struct kvs_reader *reader, const uint8_t *bytes, size_t size);
size_t kvs_reader_left(const struct kvs_reader *reader);
uint32_t kvs_reader_u8(struct kvs_reader *reader); /* 0 after the end */
uint32_t kvs_reader_u16(struct kvs_reader *reader);
uint32_t kvs_reader_u32(struct kvs_reader *reader);
const uint8_t *kvs_reader_bytes(struct kvs_reader *reader, size_t size); /* borrowed; NULL after the end */

#endif

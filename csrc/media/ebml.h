/* ebml.h — EBML numbers (RFC 8794): element ids and data sizes. A size is written in the shortest form that holds it or
 * in a fixed width of 1, 2, 4 or 8 bytes. The form with all value bits set means "unknown size" and is never used for a
 * number, so a width of k bytes holds up to 2^(7k) - 2. */
#ifndef KVS_MEDIA_EBML_H
#define KVS_MEDIA_EBML_H

#include "base/buf.h"
#include "kvspic.h"

#define KVS_EBML_SIZE_MAX ((UINT64_C(1) << 56) - 2u)
#define KVS_EBML_UNKNOWN 0xFFu /* the one-byte unknown size */

/* Bytes of the shortest form, 1 to 8; 0 when the number is above KVS_EBML_SIZE_MAX. */
uint32_t kvs_ebml_size_width(uint64_t value);
/* The number as an EBML size of `width` bytes; it must fit. */
void kvs_ebml_size_put(uint8_t *out, uint64_t value, uint32_t width);
/* The shortest form; returns its width (1 to 8).   KVS_E_NUMBER_TOO_BIG  nothing is written */
kvs_status kvs_ebml_encode_size(uint64_t value, uint8_t out[8]);

/* Elements into a bounded writer. `id` is written as it is spelled in RFC 9559, marker bits included. */
void kvs_ebml_write_id(struct kvs_writer *writer, uint32_t id);
void kvs_ebml_write_head(struct kvs_writer *writer, uint32_t id, uint64_t size, uint32_t width); /* width 0: shortest */
void kvs_ebml_write_uint(struct kvs_writer *writer, uint32_t id, uint64_t value, uint32_t bytes);
void kvs_ebml_write_double(struct kvs_writer *writer, uint32_t id, double value);
void kvs_ebml_write_bytes(struct kvs_writer *writer, uint32_t id, const void *bytes, size_t size, uint32_t width);

#endif

/* bits.h — a reader of bits, most significant first, with the Exp-Golomb codes ue(v) and se(v) of ITU-T H.264 and H.265
 * section 9. Sticky: after the first read past the end `failed` is set and every value is 0. A code of more than 32
 * leading zeros is no code of the standards and fails too. It owns no memory. */
#ifndef KVS_BASE_BITS_H
#define KVS_BASE_BITS_H

#include <stddef.h>
#include <stdint.h>

struct kvs_bits {
    const uint8_t *bytes;
    uint64_t count; /* in bits */
    uint64_t at;
    int failed;
};

void kvs_bits_init(struct kvs_bits *bits, const uint8_t *bytes, size_t size);
uint64_t kvs_bits_left(const struct kvs_bits *bits);
uint32_t kvs_bits_get(struct kvs_bits *bits, uint32_t count); /* count: 0 to 32 */
void kvs_bits_skip(struct kvs_bits *bits, uint64_t count);
uint32_t kvs_bits_ue(struct kvs_bits *bits);
int32_t kvs_bits_se(struct kvs_bits *bits);

#endif

/* bits.c — bit reader; see bits.h. */
#include "base/bits.h"

#include "base/check.h"

void kvs_bits_init(struct kvs_bits *bits, const uint8_t *bytes, size_t size)
{
    bits->bytes = bytes;
    bits->count = (uint64_t)size * 8u;
    bits->at = 0;
    bits->failed = 0;
}

uint64_t kvs_bits_left(const struct kvs_bits *bits)
{
    return bits->failed ? 0 : bits->count - bits->at;
}

static int take(struct kvs_bits *bits, uint64_t count)
{
    if (count > kvs_bits_left(bits)) bits->failed = 1;
    return !bits->failed;
}

uint32_t kvs_bits_get(struct kvs_bits *bits, uint32_t count)
{
    KVS_CHECK(count <= 32);
    if (!take(bits, count)) return 0;
    uint64_t value = 0;
    for (uint32_t taken = 0; taken < count;) {
        const uint32_t offset = (uint32_t)(bits->at & 7u);
        const uint32_t in_byte = 8u - offset;
        const uint32_t now = count - taken < in_byte ? count - taken : in_byte;
        const uint32_t byte = bits->bytes[bits->at >> 3];
        value = value << now | (byte >> (in_byte - now) & ((1u << now) - 1u));
        bits->at += now;
        taken += now;
    }
    return (uint32_t)value;
}

void kvs_bits_skip(struct kvs_bits *bits, uint64_t count)
{
    if (take(bits, count)) bits->at += count;
}

/* Zeros before the next one bit; more than 32 is no code. */
static uint32_t count_zeros(struct kvs_bits *bits)
{
    uint32_t zeros = 0;
    while (kvs_bits_get(bits, 1) == 0) {
        if (bits->failed || ++zeros > 32) {
            bits->failed = 1;
            return 0;
        }
    }
    return zeros;
}

uint32_t kvs_bits_ue(struct kvs_bits *bits)
{
    const uint32_t zeros = count_zeros(bits);
    const uint64_t suffix = kvs_bits_get(bits, zeros);
    const uint64_t value = ((UINT64_C(1) << zeros) | suffix) - 1u;
    if (value > UINT32_MAX) bits->failed = 1; /* of the codes with 32 zeros only the first fits */
    return bits->failed ? 0 : (uint32_t)value;
}

int32_t kvs_bits_se(struct kvs_bits *bits)
{
    const uint32_t code = kvs_bits_ue(bits);
    const int64_t magnitude = (int64_t)(((uint64_t)code + 1u) / 2u);
    const int64_t value = (code & 1u) != 0 ? magnitude : -magnitude;
    if (value > INT32_MAX || value < INT32_MIN) bits->failed = 1;
    return bits->failed ? 0 : (int32_t)value;
}

/* be.h — numbers to and from bytes: big-endian (Matroska, avcC, hvcC), little-endian where the Microsoft headers ask
 * for it. Any alignment, no bounds: for fields whose place is known; else use buf.h. */
#ifndef KVS_BASE_BE_H
#define KVS_BASE_BE_H

#include <stdint.h>
#include <string.h>

static inline void kvs_be_put_u16(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

static inline void kvs_be_put_u32(uint8_t *out, uint32_t value)
{
    kvs_be_put_u16(out, value >> 16);
    kvs_be_put_u16(out + 2, value & 0xFFFFu);
}

/* One swapped word where the compiler has a way to say so: it stands before every frame. */
static inline void kvs_be_put_u64(uint8_t *out, uint64_t value)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap64(value);
    memcpy(out, &value, sizeof value);
#else
    kvs_be_put_u32(out, (uint32_t)(value >> 32));
    kvs_be_put_u32(out + 4, (uint32_t)value);
#endif
}

static inline uint32_t kvs_be_get_u16(const uint8_t *in)
{
    return (uint32_t)in[0] << 8 | in[1];
}

static inline uint32_t kvs_be_get_u32(const uint8_t *in)
{
    return kvs_be_get_u16(in) << 16 | kvs_be_get_u16(in + 2);
}

static inline uint64_t kvs_be_get_u64(const uint8_t *in)
{
    return (uint64_t)kvs_be_get_u32(in) << 32 | kvs_be_get_u32(in + 4);
}

static inline void kvs_le_put_u16(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

static inline void kvs_le_put_u32(uint8_t *out, uint32_t value)
{
    kvs_le_put_u16(out, value & 0xFFFFu);
    kvs_le_put_u16(out + 2, value >> 16);
}

static inline uint32_t kvs_le_get_u16(const uint8_t *in)
{
    return (uint32_t)in[1] << 8 | in[0];
}

static inline uint32_t kvs_le_get_u32(const uint8_t *in)
{
    return kvs_le_get_u16(in + 2) << 16 | kvs_le_get_u16(in);
}

#endif

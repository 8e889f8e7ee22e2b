/* nal_made.h — parameter sets and slices of H.264 and H.265, made bit by bit for tests: ids and sizes are what a test
 * asks for, all else is the least that is legal. Frames are built of them in either framing. */
#ifndef KVS_TESTS_NAL_MADE_H
#define KVS_TESTS_NAL_MADE_H

#include <stdint.h>
#include <string.h>

#include "base/be.h"

struct made_nal {
    uint8_t bytes[64];
    uint32_t size, bits; /* bits: of the last byte, 0 when whole */
};

static inline void made_bit(struct made_nal *nal, uint32_t bit)
{
    if (nal->bits == 0) nal->bytes[nal->size++] = 0;
    nal->bytes[nal->size - 1] = (uint8_t)(nal->bytes[nal->size - 1] | (bit & 1u) << (7u - nal->bits));
    nal->bits = (nal->bits + 1u) % 8u;
}

static inline void made_bits(struct made_nal *nal, uint32_t value, uint32_t count)
{
    while (count-- > 0) made_bit(nal, value >> count);
}

static inline void made_ue(struct made_nal *nal, uint32_t value)
{
    uint32_t count = 0;
    while ((value + 1u) >> (count + 1u) != 0) count++;
    made_bits(nal, 0, count);
    made_bits(nal, value + 1u, count + 1u);
}

static inline struct made_nal made_end(struct made_nal nal)
{
    made_bit(&nal, 1);
    nal.bits = 0;
    return nal;
}

/* Something that only the content of a set differs in: quantisation of a PPS, frames kept of an SPS. */
static inline struct made_nal made_sps(int is_h265, uint32_t id, uint32_t width, uint32_t variant)
{
    struct made_nal nal = { .size = 0 };
    if (is_h265) {
        made_bits(&nal, 0x4201, 16);
        made_bits(&nal, 0x01, 8); /* VPS 0, one layer, nested */
        for (uint32_t i = 0; i < 12; i++) made_bits(&nal, 0x55, 8);
        made_ue(&nal, id);
        made_ue(&nal, 1);
        made_ue(&nal, width);
        made_ue(&nal, 240);
        made_bit(&nal, 0);
        made_ue(&nal, 0);
        made_ue(&nal, 0);
    } else {
        made_bits(&nal, 0x6742801E, 32);
        made_ue(&nal, id);
        made_ue(&nal, 0);
        made_ue(&nal, 2);
        made_ue(&nal, 1);
        made_bit(&nal, 0);
        made_ue(&nal, width / 16 - 1);
        made_ue(&nal, 14);
        made_bits(&nal, 0xC, 4); /* frames only, inference, no crop, no VUI */
    }
    made_ue(&nal, variant);
    return made_end(nal);
}

static inline struct made_nal made_pps(int is_h265, uint32_t id, uint32_t sps, uint32_t variant)
{
    struct made_nal nal = { .size = 0 };
    made_bits(&nal, is_h265 ? 0x4401 : 0x68, is_h265 ? 16 : 8);
    made_ue(&nal, id);
    made_ue(&nal, sps);
    made_bits(&nal, 5, 4);
    made_ue(&nal, variant);
    return made_end(nal);
}

static inline struct made_nal made_vps(void)
{
    struct made_nal nal = { .bytes = { 0x40, 0x01, 0x0C, 0x01, 0xFF, 0xFF, 0x55 }, .size = 7 };
    return nal;
}

/* type: of the NAL; first slice of a picture. `fill` bytes of payload follow. */
static inline struct made_nal made_slice(int is_h265, uint32_t type, uint32_t pps, uint32_t fill)
{
    struct made_nal nal = { .size = 0 };
    if (is_h265) {
        made_bits(&nal, type << 9 | 1, 16);
        made_bit(&nal, 1);
        if (type >= 16 && type <= 23) made_bit(&nal, 0);
    } else {
        made_bits(&nal, 0x60 | type, 8);
        made_ue(&nal, 0);
        made_ue(&nal, type == 5 ? 7 : 5);
    }
    made_ue(&nal, pps);
    nal = made_end(nal);
    memset(nal.bytes + nal.size, 0xA7, fill);
    nal.size += fill;
    return nal;
}

/* SEI (recovery point), access unit delimiter. */
static inline struct made_nal made_sei(int is_h265)
{
    struct made_nal h264 = { .bytes = { 0x06, 0x06, 0x01, 0xC4, 0x80 }, .size = 5 };
    struct made_nal h265 = { .bytes = { 0x4E, 0x01, 0x06, 0x01, 0xC4, 0x80 }, .size = 6 };
    return is_h265 ? h265 : h264;
}

static inline struct made_nal made_aud(int is_h265)
{
    struct made_nal h264 = { .bytes = { 0x09, 0x10 }, .size = 2 };
    struct made_nal h265 = { .bytes = { 0x46, 0x01, 0x10 }, .size = 3 };
    return is_h265 ? h265 : h264;
}

enum framing { ANNEXB_4, ANNEXB_3, LENGTHS, FRAMING_COUNT };

struct made_frame {
    uint8_t bytes[4096];
    uint32_t size;
    enum framing framing;
};

static inline void made_add(struct made_frame *frame, struct made_nal nal)
{
    uint32_t prefix = frame->framing == ANNEXB_3 ? 3 : 4;
    uint8_t head[4];
    kvs_be_put_u32(head, frame->framing == LENGTHS ? nal.size : 1);
    memcpy(frame->bytes + frame->size, head + 4 - prefix, prefix);
    memcpy(frame->bytes + frame->size + prefix, nal.bytes, nal.size);
    frame->size += prefix + nal.size;
}

#endif

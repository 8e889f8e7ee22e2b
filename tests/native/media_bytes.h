/* media_bytes.h — bytes for the media tests: hex texts, a seeded stream, parameter sets of real encoders, and heap
 * copies of exact size, so that the sanitizer sees every byte read past the end. */
#ifndef KVS_TESTS_MEDIA_BYTES_H
#define KVS_TESTS_MEDIA_BYTES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define H264_SPS "674d401eeca05017fcb808800000030080000019078b16cb" /* Main, 640x360 */
#define H264_SPS_HIGH "67640028acd940780227e5c044000003000400000300c83c60c658" /* High, 1920x1080 */
#define H264_PPS "68ef8fc8"
#define H264_AVCC "014d401effe10018" H264_SPS "010004" H264_PPS
#define H264_ANNEXB "00000001" H264_SPS "00000001" H264_PPS
#define H265_VPS "40010c01ffff01600000030090000003000003003f959409"
#define H265_SPS "42010101600000030090000003000003003fa005020171f2e595952930bc05a02000000300200000030321" /* 640x360 */
#define H265_PPS "4401c073c189"
#define H265_ANNEXB "00000001" H265_VPS "00000001" H265_SPS "000001" H265_PPS
#define H265_ARRAYS "2000010018" H265_VPS "210001002b" H265_SPS "2200010006" H265_PPS
#define H265_HVCC "0101600000009000000000003ff000fcfdf8f800000f03" H265_ARRAYS

struct bytes {
    uint8_t at[4096];
    uint32_t size;
};

static inline struct bytes hex_bytes(const char *hex)
{
    static const char DIGITS[] = "0123456789abcdef";
    struct bytes bytes;
    bytes.size = 0;
    for (; hex[0] != '\0' && hex[1] != '\0'; hex += 2) {
        const uint32_t high = (uint32_t)(strchr(DIGITS, hex[0]) - DIGITS);
        const uint32_t low = (uint32_t)(strchr(DIGITS, hex[1]) - DIGITS);
        bytes.at[bytes.size++] = (uint8_t)(high << 4 | low);
    }
    return bytes;
}

static inline uint32_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

/* Exactly `size` bytes on the heap; free it. */
static inline uint8_t *exact_copy(const uint8_t *bytes, uint32_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    if (copy == NULL) abort();
    if (size > 0) memcpy(copy, bytes, size);
    return copy;
}

/* A few bytes become others, zeros and ones above all: what start codes are made of. */
static inline void damage(uint8_t *bytes, uint32_t size, uint64_t *state)
{
    const uint32_t count = size == 0 ? 0 : 1 + next_random(state) % 4;
    for (uint32_t index = 0; index < count; index++) {
        const uint32_t at = next_random(state) % size;
        bytes[at] = next_random(state) % 2 ? (uint8_t)next_random(state) : (uint8_t)(next_random(state) % 4);
    }
}

#endif

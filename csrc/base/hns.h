/* hns.h — arithmetic on times in 100 ns ticks. Sums and differences saturate instead of wrapping: a deadline that lies
 * beyond the end of time stays there, and nothing is earlier than 0. KVS_TIME_NONE (the largest number) is "never",
 * and adding to it leaves it so. */
#ifndef KVS_BASE_HNS_H
#define KVS_BASE_HNS_H

#include "kvspic.h"

/* The largest pts, dts or duration: 2^63 - 1 nanoseconds. */
#define KVS_HNS_MEDIA_MAX (UINT64_C(9223372036854775807) / 100u)

static inline uint64_t kvs_hns_add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* a - b, 0 when b is the later one. */
static inline uint64_t kvs_hns_sub(uint64_t a, uint64_t b)
{
    return a < b ? 0 : a - b;
}

static inline uint64_t kvs_hns_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t kvs_hns_max(uint64_t a, uint64_t b)
{
    return a < b ? b : a;
}

/* Whole units of `scale` ticks in a time: the MKV timecode of it. Nearly always the unit is a millisecond, and a
 * division by a constant is a multiplication. */
static inline uint64_t kvs_hns_to_tc(uint64_t time_hns, uint64_t scale_hns)
{
    return scale_hns == KVS_HNS_PER_MS ? time_hns / KVS_HNS_PER_MS : time_hns / scale_hns;
}

#endif

/* gate.h — a put in the units of the facade, for the extension and for the test of its threads. Division and clock cost
 * a third of a small frame's put when Python does them; that a time can be true is asked here for the same reason. Each
 * argument costs 10 ns or more on its way through cffi: a plain frame, of track 1 with no more than a pts, has its own.
 *
 * Threads: with a GIL, calls follow one another. Without one, a thread may change the range of times while others put:
 * its two words have 32 bits, which every processor reads and writes whole (ARMv6 would need a lock for 64), and a put
 * beside a change may take one of each range. `stream` and `offset_hns` are set before other threads have the gate. */
#ifndef KVS_HOST_GATE_H
#define KVS_HOST_GATE_H

#include "kvspic.h"
#include "host/kvs_host.h"

#define KVSPIC_AHEAD_ANY UINT32_MAX /* as ahead_s: no time lies too far ahead */

struct kvspic_gate {
    struct kvs_stream *stream;
    int64_t offset_hns;  /* from the host's clock to the producer's */
    uint32_t earliest_s; /* a dts (or, if it is not known, a pts) before it is refused */
    uint32_t ahead_s;    /* and one that lies further ahead of the producer's now */
};

static inline uint64_t kvspic_seconds(const uint32_t *word)
{
#if defined(__GNUC__)
    return __atomic_load_n(word, __ATOMIC_RELAXED);
#else
    return *(const volatile uint32_t *)word;
#endif
}

static inline void kvspic_set_seconds(uint32_t *word, uint32_t seconds)
{
#if defined(__GNUC__)
    __atomic_store_n(word, seconds, __ATOMIC_RELAXED);
#else
    *(volatile uint32_t *)word = seconds;
#endif
}

/* Lets pass from now on what lies from `earliest_s` (since 1970) to `ahead_s` after the producer's now. */
static inline void kvspic_believe(struct kvspic_gate *gate, uint32_t earliest_s, uint32_t ahead_s)
{
    kvspic_set_seconds(&gate->earliest_s, earliest_s);
    kvspic_set_seconds(&gate->ahead_s, ahead_s);
}

static inline kvs_status kvspic_put_frame(const struct kvspic_gate *gate, const uint8_t *data, uint32_t data_size,
                                          uint64_t pts_ns, uint64_t dts_ns, uint64_t duration_ns, uint64_t track,
                                          uint32_t flags)
{
    uint64_t now_hns = kvs_host_now_hns() + (uint64_t)gate->offset_hns;
    uint64_t dts_hns = dts_ns == KVS_TIME_NONE ? KVS_TIME_NONE : dts_ns / 100;
    uint64_t time_hns = dts_ns == KVS_TIME_NONE ? pts_ns / 100 : dts_hns;
    uint64_t ahead_s = kvspic_seconds(&gate->ahead_s);
    if (time_hns < kvspic_seconds(&gate->earliest_s) * KVS_HNS_PER_SECOND) return KVS_E_FRAME_TIMESTAMP_RANGE;
    if (ahead_s != KVSPIC_AHEAD_ANY && time_hns > now_hns + ahead_s * KVS_HNS_PER_SECOND)
        return KVS_E_FRAME_TIMESTAMP_RANGE;
    return kvs_stream_put_frame(gate->stream, data, data_size, pts_ns / 100, dts_hns, duration_ns / 100, track, flags,
                                now_hns);
}

static inline kvs_status kvspic_put_plain(const struct kvspic_gate *gate, const uint8_t *data, uint32_t data_size,
                                          uint64_t pts_ns, uint32_t flags)
{
    return kvspic_put_frame(gate, data, data_size, pts_ns, KVS_TIME_NONE, 0, 1, flags);
}

#endif

/* pressure.c — warnings with hysteresis: an event when a level is passed, another when it is left again, a counter for
 * each beginning. Storage: less than 5 % of the store is free (over at 10 %). Buffer: 95 % of the duration is used.
 * Latency: what is unsent is longer than allowed. A service that falls silent is stale.c's. */
#include "engine/packer.h"

#define FREE_LOW_PERCENT 5u
#define FREE_OK_PERCENT 10u

static void set(struct kvs_stream *stream, enum kvs_pressure kind, int is_on, uint64_t value)
{
    struct kvs_stream_metrics *metrics = &stream->ledger.metrics;
    uint64_t *const counts[] = { &metrics->pressures_store, &metrics->pressures_buffer, &metrics->pressures_latency };
    if (stream->pressure.is_on[kind] == is_on) return;
    struct kvs_action action = { .kind = KVS_ACTION_PRESSURE, .result = kind, .a = (uint64_t)is_on, .b = value };
    stream->pressure.is_on[kind] = (uint8_t)is_on;
    *counts[kind] += (uint64_t)is_on;
    stream_notice(stream, &action);
}

static int is_under(uint64_t left, uint64_t limit, int was_on)
{
    return left <= limit / 100u * (was_on ? FREE_OK_PERCENT : FREE_LOW_PERCENT);
}

/* A stream knows its own share; the whole store's level is a client metric. */
static void check_store(struct kvs_stream *stream)
{
    uint64_t slabs = stream->limits.slabs_max != 0 ? stream->limits.slabs_max : stream->client->pool.slabs_max;
    uint64_t free_size = kvs_hns_sub(slabs, stream->chain.held_count) * KVS_SLAB_SIZE;
    int is_on = is_under(free_size, slabs * KVS_SLAB_SIZE, stream->pressure.is_on[KVS_PRESSURE_STORE]);
    set(stream, KVS_PRESSURE_STORE, is_on, free_size);
    stream->pressure.checked_slabs = stream->chain.held_count;
}

void pressure_check_all(struct kvs_stream *stream)
{
    if (stream->mode.streaming_type == KVS_OFFLINE) return;
    if (stream->pressure.checked_slabs != stream->chain.held_count) check_store(stream);
    uint64_t limit = stream->limits.buffer_duration_hns;
    if (limit != 0) {
        uint64_t left = kvs_hns_sub(limit, kvs_view_duration_from(&stream->view, stream->view.fragment_tail));
        set(stream, KVS_PRESSURE_BUFFER, is_under(left, limit, stream->pressure.is_on[KVS_PRESSURE_BUFFER]), left);
    }
    if (stream->limits.latency_max_hns != 0) {
        uint64_t unsent = unsent_of_stream(stream).duration_hns;
        uint64_t level = stream->limits.latency_max_hns / (stream->pressure.is_on[KVS_PRESSURE_LATENCY] ? 2u : 1u);
        set(stream, KVS_PRESSURE_LATENCY, unsent > level, unsent);
    }
}

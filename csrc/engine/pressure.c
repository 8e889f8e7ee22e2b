/* pressure.c — warnings with hysteresis: an event when a level is passed, another when it is left again, a counter for
 * each beginning. Storage: less than 5 % of the store is free (over at 10 %). Buffer: 95 % of the duration is used.
 * Latency: what is unsent is longer than allowed. Stale: bytes go out and no ACK comes. */
#include "engine/packer.h"

#define FREE_LOW_PERCENT 5u
#define FREE_OK_PERCENT 10u

static void set(struct kvs_stream *stream, uint8_t *flag, int is_on, uint32_t kind, uint64_t value)
{
    if (*flag == is_on) return;
    struct kvs_action action = { .kind = KVS_ACTION_PRESSURE, .result = kind, .a = (uint64_t)is_on, .b = value };
    *flag = (uint8_t)is_on;
    stream_notice(stream, &action);
    if (!is_on) return;
    if (kind == KVS_PRESSURE_STORE) stream->ledger.metrics.pressures_store++;
    if (kind == KVS_PRESSURE_BUFFER) stream->ledger.metrics.pressures_buffer++;
    if (kind == KVS_PRESSURE_LATENCY) stream->ledger.metrics.pressures_latency++;
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
    set(stream, &stream->pressure.store, is_under(free_size, slabs * KVS_SLAB_SIZE, stream->pressure.store),
        KVS_PRESSURE_STORE, free_size);
    stream->pressure.checked_slabs = stream->chain.held_count;
}

void pressure_check_all(struct kvs_stream *stream)
{
    if (stream->mode.streaming_type == KVS_OFFLINE) return;
    if (stream->pressure.checked_slabs != stream->chain.held_count) check_store(stream);
    uint64_t limit = stream->limits.buffer_duration_hns;
    if (limit != 0) {
        uint64_t left = kvs_hns_sub(limit, kvs_view_duration_from(&stream->view, stream->view.fragment_tail));
        set(stream, &stream->pressure.buffer, is_under(left, limit, stream->pressure.buffer), KVS_PRESSURE_BUFFER,
            left);
    }
    if (stream->limits.latency_max_hns != 0) {
        uint64_t unsent = unsent_of_stream(stream).duration_hns;
        int is_on = unsent >
                    (stream->pressure.latency ? stream->limits.latency_max_hns / 2u : stream->limits.latency_max_hns);
        set(stream, &stream->pressure.latency, is_on, KVS_PRESSURE_LATENCY, unsent);
    }
}

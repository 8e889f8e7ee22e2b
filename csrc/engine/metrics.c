/* metrics.c — counters and the ledger, read under the stream's lock; nothing is summed by walking frames. */
#include "engine/stream.h"

#include <string.h>

#include "base/version.h"

static void fill_unsent(const struct kvs_stream *stream, struct kvs_stream_metrics *out)
{
    struct unsent unsent = unsent_of_stream(stream);
    out->bytes_unsent = unsent.bytes;
    out->frames_unsent = unsent.frames + kvs_order_count(&stream->order);
    out->duration_unsent_hns = unsent.duration_hns;
}

/* All before the oldest fragment, or, without one, before the oldest frame that waits for its place. */
static void fill_settled(const struct kvs_stream *stream, struct kvs_stream_metrics *out)
{
    const struct kvs_view *view = &stream->view;
    for (uint32_t i = 0; i < stream->track_count; i++) {
        uint64_t before = track_settled(stream, i);
        if (!kvs_view_is_empty(view))
            before -= (uint32_t)((uint32_t)before - kvs_view_fragment(view, view->fragment_tail)->first_put[i]);
        out->frames_settled[i] = before;
    }
}

static uint64_t newest_of(const struct kvs_stream *stream)
{
    uint64_t newest_hns = 0;
    for (uint32_t i = 0; i < stream->track_count; i++) {
        if (stream->tracks[i].times.is_seen) newest_hns = kvs_hns_max(newest_hns, stream->tracks[i].times.dts_hns);
    }
    return newest_hns;
}

static void fill(const struct kvs_stream *stream, struct kvs_stream_metrics *out)
{
    *out = stream->ledger.metrics;
    out->size = sizeof *out;
    out->state = stream->machine.state;
    out->notices_lost = stream->out.notices_lost;
    out->failure = stream->machine.state == KVS_STREAM_FAILED ? stream->machine.failure : KVS_OK;
    out->retry_count = stream->machine.backoff.count + stream->machine.session_backoff.count;
    out->retention_hns = stream->machine.described_retention_hns;
    out->store_used = stream->chain.held_count * KVS_SLAB_SIZE;
    out->sessions_active = 0;
    EACH_UPLOAD(stream, upload) out->sessions_active += (uint64_t)upload_is_live(upload);
    out->duration_buffered_hns = kvs_view_duration_from(&stream->view, stream->view.fragment_tail);
    out->newest_hns = newest_of(stream);
    out->shift_hns = times_shift(stream);
    fill_unsent(stream, out);
    fill_settled(stream, out);
}

kvs_status kvs_stream_metrics(struct kvs_stream *stream, struct kvs_stream_metrics *metrics_out)
{
    if (stream == NULL || metrics_out == NULL) return KVS_E_NULL_ARG;
    if (metrics_out->size != sizeof *metrics_out) return KVS_E_CONFIG_SIZE;
    stream_lock(stream);
    fill(stream, metrics_out);
    stream_unlock(stream);
    return KVS_OK;
}

kvs_status kvs_client_metrics(struct kvs_client *client, struct kvs_client_metrics *metrics_out)
{
    if (client == NULL || metrics_out == NULL) return KVS_E_NULL_ARG;
    if (metrics_out->size != sizeof *metrics_out) return KVS_E_CONFIG_SIZE;
    memset(metrics_out, 0, sizeof *metrics_out);
    metrics_out->size = sizeof *metrics_out;
    metrics_out->store_max = client->pool.slabs_max * KVS_SLAB_SIZE;
    metrics_out->store_used = kvs_pool_used(&client->pool) * KVS_SLAB_SIZE;
    kvs_host_lock(&client->host, client->lock);
    metrics_out->state = client->state;
    metrics_out->stream_count = client->stream_count;
    metrics_out->retry_count = client->retry_count;
    kvs_host_unlock(&client->host, client->lock);
    return KVS_OK;
}

const char *kvs_version(void) { return KVS_VERSION; }

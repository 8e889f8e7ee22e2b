/* metrics.c — counters and the ledger, read under the stream's lock; nothing is summed by walking frames. */
#include "engine/engine.h"

#include <string.h>

#include "base/version.h"

/* The live handle that has read furthest, or NULL. */
static const struct upload *foremost(const struct kvs_stream *stream)
{
    const struct upload *best = NULL;
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads[i] != NULL; i++) {
        const struct upload *upload = stream->uploads[i];
        if (upload->state == KVS_UPLOAD_DEAD || !upload->is_bound) continue;
        if (best == NULL || upload->read_cum > best->read_cum) best = upload;
    }
    return best;
}

static void fill_unsent(const struct kvs_stream *stream, struct kvs_stream_metrics *out)
{
    const struct kvs_view *view = &stream->view;
    const struct upload *upload = foremost(stream);
    uint64_t frame = view->frame_tail, from = view->cum_bytes;
    if (!kvs_view_is_empty(view)) from = kvs_view_fragment(view, view->fragment_tail)->cum_bytes;
    if (upload != NULL) {
        from = kvs_hns_max(from, upload->read_cum);
        frame = kvs_hns_max(frame, upload->at_frame);
        if (upload->at_fragment >= view->fragment_head) frame = view->frame_head;
    }
    out->bytes_unsent = kvs_hns_sub(view->cum_bytes, from);
    out->frames_unsent = kvs_hns_sub(view->frame_head, frame) + kvs_order_count(&stream->order);
    out->duration_unsent_hns = pressure_unsent(stream);
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

static void fill(const struct kvs_stream *stream, struct kvs_stream_metrics *out)
{
    *out = stream->metrics;
    out->size = sizeof *out;
    out->state = stream->state;
    out->failure = stream->state == KVS_STREAM_FAILED ? stream->failure : KVS_OK;
    out->retry_count = stream->backoff.count + stream->session_backoff.count;
    out->retention_hns = stream->described_retention_hns;
    out->store_used = stream->chain.held_count * KVS_SLAB_SIZE;
    out->sessions_active = 0;
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads[i] != NULL; i++)
        out->sessions_active += stream->uploads[i]->state != KVS_UPLOAD_DEAD;
    out->duration_buffered_hns = kvs_view_duration_from(&stream->view, stream->view.fragment_tail);
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

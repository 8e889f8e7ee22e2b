/* metrics.c — the field's metrics out of the core's counters and what the adapter measures itself. */
#include "pic/adapter.h"

#include <string.h>

/* Fields newer than the caller's version are not there to be written. */
static const size_t CLIENT_SIZES[] = { offsetof(ClientMetrics, totalElementaryFrameRate), sizeof(ClientMetrics),
                                       sizeof(ClientMetrics) };
static const size_t STREAM_SIZES[] = { offsetof(StreamMetrics, uptime), offsetof(StreamMetrics, elementaryFrameRate),
                                       offsetof(StreamMetrics, streamApiCallRetryCount), sizeof(StreamMetrics) };

static void add_streams(struct pic_client *client, ClientMetrics *out)
{
    uint64_t retries = 0, count = 0;
    for (const struct pic_stream *stream = client->streams; stream != NULL; stream = stream->next) {
        struct kvs_stream_metrics metrics = { .size = sizeof metrics };
        (void)kvs_stream_metrics(stream->core, &metrics); /* none while it has no core yet */
        pic_lock_stream(stream);
        out->totalFrameRate += (UINT64)stream->rates.frame_rate;
        out->totalTransferRate += (UINT64)stream->rates.transfer_rate;
        out->totalElementaryFrameRate += stream->rates.elementary_frame_rate;
        pic_unlock_stream(stream);
        out->totalContentViewsSize += metrics.bytes_buffered;
        retries += metrics.retry_count;
        count++;
    }
    if (count != 0) out->clientAvgApiCallRetryCount = (DOUBLE)retries / (DOUBLE)count;
}

STATUS getKinesisVideoMetrics(CLIENT_HANDLE clientHandle, PClientMetrics pMetrics)
{
    struct pic_call call;
    ClientMetrics out;
    struct kvs_client_metrics metrics = { .size = sizeof metrics };
    if (pMetrics == NULL) return STATUS_NULL_ARG;
    if (pMetrics->version > CLIENT_METRICS_CURRENT_VERSION) return STATUS_INVALID_CLIENT_METRICS_VERSION;
    STATUS status = pic_enter_client(clientHandle, &call);
    if (STATUS_FAILED(status)) return status;
    memset(&out, 0, sizeof out);
    status = pic_status_of(kvs_client_metrics(call.client->core, &metrics));
    out.version = pMetrics->version;
    out.contentStoreSize = metrics.store_max;
    out.contentStoreAllocatedSize = metrics.store_used;
    out.contentStoreAvailableSize = metrics.store_max - metrics.store_used;
    pic_lock(call.client);
    add_streams(call.client, &out);
    pic_unlock(call.client);
    memcpy(pMetrics, &out, CLIENT_SIZES[out.version]);
    return pic_leave(&call, status);
}

static void fill_counters(const struct kvs_stream_metrics *metrics, StreamMetrics *out)
{
    out->currentViewDuration = metrics->duration_unsent_hns;
    out->overallViewDuration = metrics->duration_buffered_hns;
    out->currentViewSize = metrics->bytes_unsent;
    out->overallViewSize = metrics->bytes_buffered;
    out->transferredBytes = metrics->bytes_sent;
    out->totalSessions = metrics->sessions;
    out->bufferedAcks = metrics->acks_buffering;
    out->receivedAcks = metrics->acks_received;
    out->persistedAcks = metrics->acks_persisted;
    out->errorAcks = metrics->acks_error;
    for (uint32_t i = 0; i < KVS_DROP_COUNT; i++) out->droppedFrames += metrics->frames_dropped[i];
    out->skippedFrames = metrics->frames_dropped[KVS_DROP_SKIPPED] + metrics->frames_dropped[KVS_DROP_ERROR_ACK];
    out->droppedFrames -= out->skippedFrames;
    out->storagePressures = metrics->pressures_store;
    out->bufferPressures = metrics->pressures_buffer;
    out->streamApiCallRetryCount = metrics->retry_count;
}

static void fill_rates(const struct pic_rates *rates, StreamMetrics *out)
{
    out->currentFrameRate = rates->frame_rate;
    out->currentTransferRate = (UINT64)rates->transfer_rate;
    out->totalActiveSessions = rates->sessions_read;
    out->avgSessionDuration = rates->session_duration_hns;
    out->droppedFragments = rates->fragments_dropped;
    out->putFrameErrors = rates->put_errors;
    out->cplApiCallLatency = rates->control_latency_hns;
    out->dataApiCallLatency = rates->data_latency_hns;
    out->latencyPressures = rates->latency_pressures;
    out->staleEvents = rates->stale_events;
    out->elementaryFrameRate = rates->elementary_frame_rate;
}

STATUS getKinesisVideoStreamMetrics(STREAM_HANDLE streamHandle, PStreamMetrics pMetrics)
{
    struct pic_call call;
    StreamMetrics out;
    struct kvs_stream_metrics metrics = { .size = sizeof metrics };
    if (pMetrics == NULL) return STATUS_NULL_ARG;
    if (pMetrics->version > STREAM_METRICS_CURRENT_VERSION) return STATUS_INVALID_STREAM_METRICS_VERSION;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    memset(&out, 0, sizeof out);
    out.version = pMetrics->version;
    status = pic_status_of(kvs_stream_metrics(call.stream->core, &metrics));
    fill_counters(&metrics, &out);
    if (metrics.created_hns < call.now_hns) out.uptime = call.now_hns - metrics.created_hns;
    pic_lock_stream(call.stream);
    fill_rates(&call.stream->rates, &out);
    if (call.client->has_strategy) out.streamApiCallRetryCount = call.stream->rates.retry_number;
    pic_unlock_stream(call.stream);
    memcpy(pMetrics, &out, STREAM_SIZES[out.version]);
    return pic_leave(&call, status);
}

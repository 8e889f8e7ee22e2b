/* stream.c — the life of a stream and the end of a client: what the configuration says, memory, references. */
#include "engine/stream.h"

#include <string.h>

#include "engine/validate.h"

#define METADATA_DEFAULT 10u

static void set_limits(struct kvs_stream *stream, const struct kvs_stream_config *config)
{
    stream->limits.fragment_duration_hns = config->flags & KVS_KEY_FRAME_FRAGMENTS ? 0 : config->fragment_duration_hns;
    stream->limits.buffer_duration_hns = config->buffer_duration_hns;
    stream->limits.latency_max_hns = config->streaming_type == KVS_OFFLINE ? 0 : config->latency_max_hns;
    stream->limits.staleness_max_hns = config->staleness_max_hns;
    stream->limits.replay_max_hns = config->replay_max_hns;
    stream->limits.fragment_duration_min_hns = config->fragment_duration_min_hns;
    stream->limits.fragment_duration_max_hns = config->fragment_duration_max_hns;
    stream->limits.fragment_size_max = config->fragment_size_max;
    stream->limits.eofr_idle_hns = config->flags & KVS_KEY_FRAME_FRAGMENTS ? config->eofr_idle_hns : 0;
    stream->limits.retention_hns = config->retention_hns;
    stream->limits.data_delay_hns = config->data_delay_hns;
    stream->limits.scale_hns = config->timecode_scale_hns != 0 ? config->timecode_scale_hns : KVS_HNS_PER_MS;
    stream->limits.slabs_max = config->store_max / KVS_SLAB_SIZE;
    stream->limits.frames_max = config->frames_max;
    stream->limits.metadata_max = config->metadata_max != 0 ? config->metadata_max : METADATA_DEFAULT;
}

/* As if no frame had ever come: the sum of the resets of all parts. What is counted goes on, and so do the uploads that
 * were ended. */
void stream_restart(struct kvs_stream *stream)
{
    ledger_reset(stream);
    package_reset(stream);
    put_reset(stream);
    machine_reset(stream);
}

void stream_check(const struct kvs_stream *stream)
{
    ledger_check(stream);
    uploads_check(stream);
}

static void set_up(struct kvs_stream *stream, struct kvs_client *client, const struct kvs_stream_config *config,
                   uint64_t now_hns)
{
    memset(stream, 0, sizeof *stream);
    stream->client = client;
    stream->host = &client->host;
    stream->mode.flags = config->flags;
    stream->mode.streaming_type = config->streaming_type;
    stream->mode.nal_flags = config->nal_flags;
    stream->mode.full_policy = config->streaming_type == KVS_OFFLINE ? (uint32_t)KVS_FULL_REFUSE : config->full_policy;
    stream->mode.backward_policy = config->backward_policy;
    stream->mode.kinds = kvs_kinds_of(config->content_type);
    set_limits(stream, config);
    heap_init(stream);
    ledger_init(stream, now_hns);
    package_init(stream, config);
    machine_init(stream);
    stream_restart(stream);
}

static void set_uuid(struct kvs_stream *stream, const uint8_t *uuid)
{
    if (uuid != NULL) {
        memcpy(stream->mode.segment_uuid, uuid, sizeof stream->mode.segment_uuid);
        return;
    }
    for (uint32_t i = 0; i < sizeof stream->mode.segment_uuid; i += 8) {
        uint64_t word = kvs_prng_next(&stream->prng);
        memcpy(stream->mode.segment_uuid + i, &word, 8);
    }
}

static kvs_status allocate(struct kvs_stream *stream, const struct kvs_stream_config *config)
{
    kvs_status status = names_init(stream, config->name);
    if (status == KVS_OK) status = kvs_host_lock_new(stream->host, &stream->writer);
    if (status == KVS_OK) status = kvs_host_lock_new(stream->host, &stream->lock);
    if (status == KVS_OK) status = outbox_init(stream, config->user);
    if (status != KVS_OK) return status;
    struct format *format = NULL;
    status = format_from_config(stream->host, config, &format);
    if (status != KVS_OK) return status;
    formats_append(stream, format, 1);
    return parts_init(stream);
}

void stream_destroy(struct kvs_stream *stream)
{
    const struct kvs_host *host = stream->host;
    uploads_free(stream);
    formats_free(stream);
    parts_free(stream);
    kvs_metadata_clear(&stream->metadata, host);
    kvs_order_free(&stream->order, host);
    kvs_chain_free(&stream->chain, &stream->client->pool);
    kvs_view_fini(&stream->view);
    if (stream->out.actions.items != NULL) actions_fini(&stream->out.actions, host);
    kvs_host_lock_free(host, stream->lock);
    kvs_host_lock_free(host, stream->writer);
    kvs_host_free(host, stream->named.name);
    kvs_host_free(host, stream);
}

static kvs_status enter(struct kvs_client *client, struct kvs_stream *stream)
{
    if (client->state != KVS_CLIENT_READY && !client->was_ready) return KVS_E_CLIENT_STATE;
    if (client->stream_count >= client->stream_count_max) return KVS_E_STREAM_COUNT;
    if (names_has(client, stream)) return KVS_E_DUPLICATE_STREAM;
    kvs_status status = heap_reserve(client);
    if (status == KVS_OK) status = names_reserve(client);
    if (status != KVS_OK) return status;
    stream->prng = client->prng;
    stream->prng.state = kvs_prng_next(&client->prng);
    stream->member.next = client->streams;
    if (client->streams != NULL) client->streams->member.previous = stream;
    client->streams = stream;
    names_add(client, stream);
    client->stream_count++;
    return KVS_OK;
}

kvs_status kvs_stream_new(struct kvs_client *client, const struct kvs_stream_config *config, uint64_t now_hns,
                          struct kvs_stream **stream_out)
{
    if (client == NULL || config == NULL || stream_out == NULL) return KVS_E_NULL_ARG;
    kvs_status status = validate_stream(config);
    if (status != KVS_OK) return status;
    struct kvs_stream *stream = kvs_host_alloc(&client->host, sizeof *stream);
    if (stream == NULL) return KVS_E_NOMEM;
    set_up(stream, client, config, now_hns);
    status = allocate(stream, config);
    if (status == KVS_OK) {
        kvs_host_lock(&client->host, client->lock);
        status = enter(client, stream);
        kvs_host_unlock(&client->host, client->lock);
    }
    if (status != KVS_OK) {
        stream_destroy(stream);
        return status;
    }
    *stream_out = stream;
    stream_lock(stream);
    set_uuid(stream, config->segment_uuid);
    stream_step(stream, KVS_STREAM_EV_START, now_hns);
    stream_unlock(stream);
    return KVS_OK;
}

void kvs_stream_free(struct kvs_stream *stream)
{
    if (stream == NULL) return;
    struct kvs_client *client = stream->client;
    kvs_host_lock(&client->host, client->lock);
    stream->member.is_dead = 1;
    client_unlist(client, stream);
    heap_remove(client, stream);
    names_remove(client, stream);
    if (stream->member.previous != NULL) stream->member.previous->member.next = stream->member.next;
    else client->streams = stream->member.next;
    if (stream->member.next != NULL) stream->member.next->member.previous = stream->member.previous;
    client->stream_count--;
    int last = stream->member.references == 0;
    kvs_host_unlock(&client->host, client->lock);
    if (last) stream_destroy(stream);
}

void stream_release(struct kvs_stream *stream)
{
    struct kvs_client *client = stream->client;
    kvs_host_lock(&client->host, client->lock);
    KVS_CHECK(stream->member.references > 0);
    int last = --stream->member.references == 0 && stream->member.is_dead;
    kvs_host_unlock(&client->host, client->lock);
    if (last) stream_destroy(stream);
}

void kvs_client_free(struct kvs_client *client)
{
    if (client == NULL) return;
    while (client->streams != NULL) kvs_stream_free(client->streams);
    client_destroy(client);
}

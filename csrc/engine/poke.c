/* poke.c — deadlines that have passed: the client's own, and those of the streams that are due. */
#include "engine/stream.h"

static void poke_stream(struct kvs_stream *stream, uint64_t now_hns)
{
    stream_write_lock(stream);
    stream->timer.armed_hns = KVS_TIME_NONE;
    package_poke(stream, now_hns);
    if (now_hns >= machine_next_deadline(stream)) stream_rotate(stream, now_hns);
    uploads_expire(stream, now_hns);
    uploads_announce_due(stream, now_hns);
    ack_poke(stream, now_hns);
    stale_poke(stream, now_hns);
    stream_settle(stream, now_hns);
    stream_write_unlock(stream);
}

kvs_status kvs_client_poke(struct kvs_client *client, uint64_t now_hns)
{
    if (client == NULL) return KVS_E_NULL_ARG;
    kvs_host_lock(&client->host, client->lock);
    client->is_fetch = client->fetch_hns <= now_hns;
    if (client->is_fetch) client->fetch_hns = KVS_TIME_NONE;
    client->poked_hns = now_hns;
    client_poke(client, now_hns);
    /* Each due stream at most once per poke: one that is due again at once is met at the next. */
    for (uint32_t left = client->heap_count; left != 0; left--) {
        struct kvs_stream *stream = heap_take_due(client, now_hns);
        if (stream == NULL) break;
        stream->member.references++;
        kvs_host_unlock(&client->host, client->lock);
        poke_stream(stream, now_hns);
        stream_release(stream);
        kvs_host_lock(&client->host, client->lock);
    }
    client_unlock_and_wake(client);
    return KVS_OK;
}

uint64_t kvs_client_next_deadline(struct kvs_client *client)
{
    if (client == NULL) return KVS_TIME_NONE;
    kvs_host_lock(&client->host, client->lock);
    uint64_t due = kvs_hns_min(kvs_hns_min(client->deadline_hns, client->fetch_hns), heap_first(client));
    kvs_host_unlock(&client->host, client->lock);
    return due;
}

/* names.c — the streams of a client by name: a hash table, chained through the streams. Under the client's lock.
 * There are at least as many buckets as streams, so a name is found, and missed, in one or two looks. */
#include "engine/client.h"

#include <string.h>

#define BUCKETS_MIN 16u

static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (const char *c = name; *c != 0; c++) hash = (hash ^ (uint8_t)*c) * 16777619u;
    return hash;
}

kvs_status names_init(struct kvs_stream *stream, const char *name)
{
    size_t size = strlen(name) + 1u;
    stream->named.name = kvs_host_alloc(stream->host, size);
    if (stream->named.name == NULL) return KVS_E_NOMEM;
    memcpy(stream->named.name, name, size);
    stream->named.hash = hash_of(name);
    return KVS_OK;
}

static struct kvs_stream **bucket_of(const struct kvs_client *client, const struct kvs_stream *stream)
{
    return &client->buckets[stream->named.hash & (client->bucket_count - 1u)];
}

kvs_status names_reserve(struct kvs_client *client)
{
    if (client->stream_count < client->bucket_count) return KVS_OK;
    uint32_t count = client->bucket_count == 0 ? BUCKETS_MIN : 2u * client->bucket_count;
    struct kvs_stream **buckets = kvs_host_alloc_zero(&client->host, count * sizeof *buckets);
    if (buckets == NULL) return KVS_E_NOMEM;
    kvs_host_free(&client->host, client->buckets);
    client->buckets = buckets;
    client->bucket_count = count;
    for (struct kvs_stream *stream = client->streams; stream != NULL; stream = stream->member.next)
        names_add(client, stream);
    return KVS_OK;
}

int names_has(const struct kvs_client *client, const struct kvs_stream *stream)
{
    if (client->bucket_count == 0) return 0;
    const struct kvs_stream *other = *bucket_of(client, stream);
    while (other != NULL && strcmp(other->named.name, stream->named.name) != 0) other = other->named.next;
    return other != NULL;
}

void names_add(struct kvs_client *client, struct kvs_stream *stream)
{
    struct kvs_stream **bucket = bucket_of(client, stream);
    stream->named.next = *bucket;
    *bucket = stream;
}

void names_remove(struct kvs_client *client, const struct kvs_stream *stream)
{
    struct kvs_stream **link = bucket_of(client, stream);
    while (*link != stream) link = &(*link)->named.next;
    *link = stream->named.next;
}

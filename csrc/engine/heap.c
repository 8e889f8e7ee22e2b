/* heap.c — the deadlines of all streams of a client, each stream's least one, as a heap. Under the client's lock.
 *
 * A stream touches the heap only when its deadline becomes earlier than the heap knows; a later one is found out when
 * the earlier one fires. So a frame usually costs the client's lock nothing. */
#include "engine/client.h"

#define HEAP_MIN 16u
#define NOT_IN_HEAP UINT32_MAX

static void place(struct kvs_client *client, uint32_t index, struct kvs_stream *stream)
{
    client->heap[index] = stream;
    stream->timer.index = index;
}

static void sift_up(struct kvs_client *client, uint32_t index)
{
    struct kvs_stream *stream = client->heap[index];
    while (index > 0) {
        uint32_t parent = (index - 1u) / 2u;
        if (client->heap[parent]->timer.key <= stream->timer.key) break;
        place(client, index, client->heap[parent]);
        index = parent;
    }
    place(client, index, stream);
}

static void sift_down(struct kvs_client *client, uint32_t index)
{
    struct kvs_stream *stream = client->heap[index];
    for (;;) {
        uint32_t child = 2u * index + 1u;
        if (child >= client->heap_count) break;
        if (child + 1u < client->heap_count && client->heap[child + 1u]->timer.key < client->heap[child]->timer.key)
            child++;
        if (client->heap[child]->timer.key >= stream->timer.key) break;
        place(client, index, client->heap[child]);
        index = child;
    }
    place(client, index, stream);
}

void heap_init(struct kvs_stream *stream)
{
    stream->timer.armed_hns = KVS_TIME_NONE;
    stream->timer.index = NOT_IN_HEAP;
}

void heap_remove(struct kvs_client *client, struct kvs_stream *stream)
{
    uint32_t index = stream->timer.index;
    if (index == NOT_IN_HEAP) return;
    stream->timer.index = NOT_IN_HEAP;
    struct kvs_stream *last = client->heap[--client->heap_count];
    if (last == stream) return;
    place(client, index, last);
    sift_up(client, index);
    sift_down(client, last->timer.index);
}

/* Room for every stream there is, so that arming never fails. */
kvs_status heap_reserve(struct kvs_client *client)
{
    if (client->stream_count < client->heap_capacity) return KVS_OK;
    uint32_t capacity = client->heap_capacity == 0 ? HEAP_MIN : client->heap_capacity * 2u;
    struct kvs_stream **heap = kvs_host_alloc(&client->host, capacity * sizeof *heap);
    if (heap == NULL) return KVS_E_NOMEM;
    for (uint32_t i = 0; i < client->heap_count; i++) heap[i] = client->heap[i];
    kvs_host_free(&client->host, client->heap);
    client->heap = heap;
    client->heap_capacity = capacity;
    return KVS_OK;
}

void heap_arm(struct kvs_stream *stream, uint64_t due_hns)
{
    struct kvs_client *client = stream->client;
    if (due_hns >= stream->timer.armed_hns) return;
    stream->timer.armed_hns = due_hns;
    kvs_host_lock(&client->host, client->lock);
    if (!stream->member.is_dead) {
        uint64_t first_hns = heap_first(client);
        if (stream->timer.index == NOT_IN_HEAP) place(client, client->heap_count++, stream);
        stream->timer.key = due_hns;
        sift_up(client, stream->timer.index);
        if (due_hns < first_hns)
            stream->out.wants_wake = 1; /* the host sleeps until first_hns: it has to wake earlier */
    }
    kvs_host_unlock(&client->host, client->lock);
}

struct kvs_stream *heap_take_due(struct kvs_client *client, uint64_t now_hns)
{
    if (client->heap_count == 0 || client->heap[0]->timer.key > now_hns) return NULL;
    struct kvs_stream *stream = client->heap[0];
    heap_remove(client, stream);
    return stream;
}

uint64_t heap_first(const struct kvs_client *client)
{
    return client->heap_count != 0 ? client->heap[0]->timer.key : KVS_TIME_NONE;
}

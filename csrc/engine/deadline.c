/* deadline.c — deadlines: each stream's least one, a heap of them in the client, and the poke that acts on those
 * passed.
 *
 * A stream touches the heap only when its deadline becomes earlier than the heap knows; a later one is found out when
 * the earlier one fires. So a frame usually costs the client's lock nothing. */
#include "engine/engine.h"

#define HEAP_MIN 16u
#define NOT_IN_HEAP UINT32_MAX

/* ---- the heap; under the client's lock --------------------------------------------------------------------------- */

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

void deadline_remove(struct kvs_client *client, struct kvs_stream *stream)
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
kvs_status deadline_reserve(struct kvs_client *client)
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

/* ---- a stream's deadline ----------------------------------------------------------------------------------------- */

/* A source whose put was refused is not idle: it waits for room and goes on in the same fragment. Only when that one is
 * all there is (it fills the store) can nothing but its end make room. */
static int waits_for_room(const struct kvs_stream *stream)
{
    return stream->packer.was_refused && stream->view.fragment_tail + 1 < stream->view.fragment_head;
}

static uint64_t idle_deadline(const struct kvs_stream *stream)
{
    if (stream->limits.eofr_idle_hns == 0 || stream->ledger.is_stopped || stream->packer.is_ended ||
        waits_for_room(stream))
        return KVS_TIME_NONE;
    if (kvs_view_is_empty(&stream->view)) return KVS_TIME_NONE;
    if (kvs_view_fragment(&stream->view, stream->view.fragment_head - 1)->flags & KVS_FRAGMENT_CLOSED)
        return KVS_TIME_NONE;
    return kvs_hns_add(stream->packer.idle_since_hns, stream->limits.eofr_idle_hns);
}

static uint64_t token_deadline(const struct kvs_stream *stream)
{
    if (stream->machine.state != KVS_STREAM_STREAMING && stream->machine.state != KVS_STREAM_READY)
        return KVS_TIME_NONE;
    return kvs_token_next_deadline(&stream->machine.token);
}

static uint64_t stale_deadline(const struct kvs_stream *stream)
{
    uint64_t least = KVS_TIME_NONE;
    if (stream->limits.staleness_max_hns == 0) return least;
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        const struct upload *upload = stream->uploads.items[i];
        if (upload->state == KVS_UPLOAD_DEAD || upload->is_stale || upload->quiet_since_hns == KVS_TIME_NONE) continue;
        least = kvs_hns_min(least, kvs_hns_add(upload->quiet_since_hns, stream->limits.staleness_max_hns));
    }
    return least;
}

static uint64_t order_deadline(const struct kvs_stream *stream)
{
    return stream->order.mode == KVS_ORDER_NONE ? KVS_TIME_NONE : kvs_order_next_deadline(&stream->order);
}

void deadline_arm(struct kvs_stream *stream)
{
    uint64_t due = kvs_hns_min(kvs_hns_min(idle_deadline(stream), token_deadline(stream)),
                               kvs_hns_min(stale_deadline(stream), order_deadline(stream)));
    due = kvs_hns_min(due, session_next_expiry(stream));
    due = kvs_hns_min(due, kvs_hns_min(pace_deadline(stream), ack_deadline(stream)));
    if (due >= stream->timer.armed_hns) return;
    struct kvs_client *client = stream->client;
    stream->timer.armed_hns = due;
    kvs_host_lock(&client->host, client->lock);
    if (!stream->member.is_dead) {
        uint64_t first = client->heap_count != 0 ? client->heap[0]->timer.key : KVS_TIME_NONE;
        if (stream->timer.index == NOT_IN_HEAP) place(client, client->heap_count++, stream);
        stream->timer.key = due;
        sift_up(client, stream->timer.index);
        if (due < first) stream->out.wants_wake = 1; /* whoever sleeps until `first` has to wake earlier */
    }
    kvs_host_unlock(&client->host, client->lock);
}

static void poke_order(struct kvs_stream *stream, uint64_t now_hns)
{
    if (now_hns < order_deadline(stream)) return;
    package_held(stream, 0, now_hns);
    ledger_trim(stream); /* frames that waited in vain leave room behind */
    session_announce(stream);
}

static void poke_idle(struct kvs_stream *stream, uint64_t now_hns)
{
    if (now_hns < idle_deadline(stream)) return;
    struct kvs_action action = { .kind = KVS_ACTION_FRAGMENT_ENDED };
    action.a = kvs_view_fragment(&stream->view, stream->view.fragment_head - 1)->pts_hns;
    if (package_end_fragment(stream, now_hns) == KVS_OK) stream_notice(stream, &action);
    else stream->packer.idle_since_hns = now_hns; /* no room for the tag: try again after as long */
}

static void poke_stream(struct kvs_stream *stream, uint64_t now_hns)
{
    stream_write_lock(stream);
    stream->timer.armed_hns = KVS_TIME_NONE;
    poke_order(stream, now_hns);
    poke_idle(stream, now_hns);
    if (now_hns >= token_deadline(stream)) stream_rotate(stream, now_hns);
    session_expire(stream, now_hns);
    pace_poke(stream, now_hns);
    ack_poke(stream, now_hns);
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++)
        pressure_stale(stream, stream->uploads.items[i], now_hns);
    stream_settle(stream, now_hns);
    stream_write_unlock(stream);
}

static struct kvs_stream *take_due(struct kvs_client *client, uint64_t now_hns)
{
    if (client->heap_count == 0 || client->heap[0]->timer.key > now_hns) return NULL;
    struct kvs_stream *stream = client->heap[0];
    deadline_remove(client, stream);
    stream->member.references++;
    return stream;
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
        struct kvs_stream *stream = take_due(client, now_hns);
        if (stream == NULL) break;
        kvs_host_unlock(&client->host, client->lock);
        poke_stream(stream, now_hns);
        client_release(stream);
        kvs_host_lock(&client->host, client->lock);
    }
    client_unlock_and_wake(client);
    return KVS_OK;
}

uint64_t kvs_client_next_deadline(struct kvs_client *client)
{
    if (client == NULL) return KVS_TIME_NONE;
    kvs_host_lock(&client->host, client->lock);
    uint64_t due = kvs_hns_min(client->deadline_hns, client->fetch_hns);
    if (client->heap_count != 0) due = kvs_hns_min(due, client->heap[0]->timer.key);
    kvs_host_unlock(&client->host, client->lock);
    return due;
}

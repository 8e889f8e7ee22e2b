/* room.c — room for a frame: what the limits allow, and what goes first when they do not.
 *
 * Realtime: the oldest whole fragment goes, never the one that is being sent. Where frames may not be dropped (offline,
 * KVS_FULL_REFUSE) the put is refused and a KVS_ACTION_ROOM follows when there is room again. */
#include "engine/engine.h"

/* The oldest fragment that is neither settled nor being sent, or fragment_head. */
static uint64_t oldest_droppable(const struct kvs_stream *stream)
{
    uint64_t i = stream->view.fragment_tail;
    while (i < stream->view.fragment_head) {
        int is_settled = (kvs_view_fragment(&stream->view, i)->flags & (KVS_FRAGMENT_DONE | KVS_FRAGMENT_DROPPED)) != 0;
        if (!is_settled && !ledger_is_being_sent(stream, i)) break;
        i++;
    }
    return i;
}

static int drop_oldest(struct kvs_stream *stream, uint32_t reason)
{
    uint64_t oldest = oldest_droppable(stream);
    if (oldest == stream->view.fragment_head) return 0;
    ledger_drop_fragment(stream, oldest, reason);
    if (oldest > stream->view.fragment_tail) ledger_forget(stream, oldest);
    ledger_trim(stream);
    return 1;
}

static kvs_status refuse(struct kvs_stream *stream, kvs_status status)
{
    struct kvs_client *client = stream->client;
    stream->ledger.wants_room = stream->packer.was_refused = 1;
    kvs_host_lock(&client->host, client->lock);
    client->wants_room = 1;
    kvs_host_unlock(&client->host, client->lock);
    return status;
}

static int is_over(const struct kvs_stream *stream, uint64_t oldest, uint64_t end_hns)
{
    const struct kvs_view *view = &stream->view;
    if (oldest == view->fragment_head) return 0;
    const struct kvs_fragment *fragment = kvs_view_fragment(view, oldest);
    if (stream->limits.frames_max != 0 && view->frame_head - fragment->first_frame >= stream->limits.frames_max)
        return 1;
    if (stream->limits.buffer_duration_hns == 0) return 0;
    uint64_t more = end_hns - view->end_hns; /* a break in time, forward or back, is no media */
    return kvs_view_duration_from(view, oldest) + (more > KVS_VIEW_GAP_HNS ? 0 : more) >
           stream->limits.buffer_duration_hns;
}

/* Measured from the oldest fragment that could go: what is being sent is on its way already. Nothing is more than what
 * all fragments come to, and most often that is within the limits. */
int room_is_over_limits(const struct kvs_stream *stream, uint64_t end_hns)
{
    if (stream->limits.frames_max == 0 && stream->limits.buffer_duration_hns == 0) return 0;
    return is_over(stream, stream->view.fragment_tail, end_hns) && is_over(stream, oldest_droppable(stream), end_hns);
}

static uint64_t slabs_for(uint64_t size) { return size / KVS_SLAB_SIZE + (size % KVS_SLAB_SIZE != 0); }

kvs_status room_make(struct kvs_stream *stream, uint64_t size, uint64_t end_hns, uint64_t now_hns)
{
    struct kvs_pool *pool = &stream->client->pool;
    uint64_t most = stream->limits.slabs_max != 0 ? kvs_hns_min(stream->limits.slabs_max, pool->slabs_max)
                                                  : pool->slabs_max;
    int may_drop = stream->mode.full_policy != KVS_FULL_REFUSE;
    if (slabs_for(size) > most) return KVS_E_FRAME_TOO_LARGE;
    while (room_is_over_limits(stream, end_hns)) {
        if (!may_drop) return refuse(stream, KVS_E_STORE_FULL);
        if (!drop_oldest(stream, KVS_DROP_BUFFER_DURATION)) break;
    }
    kvs_status status = kvs_chain_reserve(&stream->chain, pool, size, stream->limits.slabs_max, now_hns);
    while (status == KVS_E_STORE_FULL && may_drop && drop_oldest(stream, KVS_DROP_STORE_FULL)) {
        status = kvs_chain_reserve(&stream->chain, pool, size, stream->limits.slabs_max, now_hns);
    }
    return status == KVS_E_STORE_FULL && !may_drop ? refuse(stream, status) : status;
}

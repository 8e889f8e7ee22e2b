/* room.c — room for a frame: what the limits allow, and what goes first when they do not.
 *
 * Realtime: the oldest whole fragment goes, never the one that is being sent. Where frames may not be dropped (offline,
 * KVS_FULL_REFUSE) the put is refused and a KVS_ACTION_ROOM follows when there is room again. */
#include "engine/packer.h"

/* The oldest fragment that is neither settled nor being sent, or fragment_head. */
static uint64_t oldest_droppable(const struct kvs_stream *stream)
{
    uint64_t i = stream->view.fragment_tail;
    while (i < stream->view.fragment_head) {
        if (!ledger_is_settled(kvs_view_fragment(&stream->view, i)->flags) && !uploads_are_sending(stream, i)) break;
        i++;
    }
    return i;
}

static int drop_oldest(struct kvs_stream *stream, uint32_t reason)
{
    uint64_t oldest = oldest_droppable(stream);
    if (oldest == stream->view.fragment_head) return 0;
    room_drop_fragment(stream, oldest, reason);
    if (oldest > stream->view.fragment_tail) uploads_forget(stream, oldest);
    uploads_trim(stream);
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

/* Frames too old to be worth repeating, where the caller set a limit: the sent ones that lie further back than that. */
void room_limit_replay(struct kvs_stream *stream, uint64_t first, uint64_t last)
{
    uint64_t limit = stream->limits.replay_max_hns;
    const struct kvs_view *view = &stream->view;
    if (limit == 0 || first + 1 >= view->fragment_head) return;
    if (kvs_view_duration_from(view, first + 1) < limit) return; /* none is so old */
    uint64_t sent = first;
    while (sent < view->fragment_head && sent <= last && (kvs_view_fragment(view, sent)->flags & KVS_FRAGMENT_SENT))
        sent++;
    uint64_t unsent_hns = kvs_view_duration_from(view, sent);
    for (uint64_t i = first; i < sent; i++) {
        uint64_t age_hns = i + 1 < sent ? kvs_view_duration_from(view, i + 1) - unsent_hns : 0;
        if (age_hns < limit) break;
        room_drop_fragment(stream, i, KVS_DROP_REPLAY_LIMIT);
    }
    uploads_trim(stream);
}

/* The packer's answer to what the ledger says of a dropped fragment: frames that would have followed in it can not be
 * decoded without it, and the next key frame opens one, whatever the last one's times. */
void room_drop_fragment(struct kvs_stream *stream, uint64_t number, uint32_t reason)
{
    uint32_t event = uploads_drop_fragment(stream, number, reason);
    if (event & LEDGER_WAS_OPEN) {
        package_move(stream, EDGE_EV_LOST);
        stream->order.is_started = 0;
        kvs_generator_reset(&stream->generator);
    }
    if (event & LEDGER_NEXT_BEGINS) stream->packer.starts_session = 1;
}

void room_drop_all(struct kvs_stream *stream, uint32_t reason)
{
    struct kvs_held held;
    struct loss loss = { .reason = reason };
    for (uint64_t i = stream->view.fragment_tail; i < stream->view.fragment_head; i++)
        room_drop_fragment(stream, i, reason);
    stream->order.is_started = 1; /* so that a flush lets everything go, also frames of a track that was left out */
    for (uint32_t i = 0; i < stream->track_count; i++) stream->order.queues[i].is_silent = 0;
    while (stream->order.mode != KVS_ORDER_NONE && kvs_order_next(&stream->order, 0, 1, &held)) {
        loss.pts_hns = held.frame.pts_hns;
        loss.frames++;
        loss.bytes += held.payload_size;
    }
    ledger_drop(stream, &loss);
    uploads_trim(stream);
}

/* ledger.c — what is done, what is dropped, what may be forgotten.
 *
 * Every frame put is in exactly one of done, dropped (with a reason) or buffered; each function here moves frames from
 * buffered to one of the others and says so by a notice. Memory goes with the oldest fragment once it is settled. */
#include "engine/engine.h"

static uint64_t frame_count(const struct kvs_stream *stream, uint64_t number)
{
    return kvs_view_fragment_end(&stream->view, number) - kvs_view_fragment(&stream->view, number)->first_frame;
}

static int is_settled(uint32_t flags) { return (flags & (KVS_FRAGMENT_DONE | KVS_FRAGMENT_DROPPED)) != 0; }

/* Part of it is with the reader of a live handle and part is not. */
int ledger_is_being_sent(const struct kvs_stream *stream, uint64_t number)
{
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads[i] != NULL; i++) {
        const struct upload *upload = stream->uploads[i];
        if (upload->state == KVS_UPLOAD_DEAD || !upload->is_bound || upload->at_fragment != number) continue;
        if (upload->sent_next > number) return 1;
    }
    return 0;
}

static void room_again(struct kvs_stream *stream)
{
    struct kvs_client *client = stream->client;
    struct kvs_action action = { .kind = KVS_ACTION_ROOM };
    if (stream->wants_room) stream_notice(stream, &action);
    stream->wants_room = 0;
    kvs_host_lock(&client->host, client->lock);
    if (client->wants_room) {
        client->wants_room = 0;
        client_push(client, &action, 0);
        stream->wants_wake |= client->wants_wake;
        client->wants_wake = 0;
    }
    kvs_host_unlock(&client->host, client->lock);
}

static void drop_old_formats(struct kvs_stream *stream)
{
    uint32_t oldest = stream->format->number;
    if (!kvs_view_is_empty(&stream->view))
        oldest = kvs_view_fragment(&stream->view, stream->view.fragment_tail)->format;
    if (kvs_order_count(&stream->order) != 0) return; /* held frames name theirs too: next time */
    while (stream->formats != stream->format && stream->formats->number < oldest) {
        struct format *format = stream->formats;
        stream->formats = format->next;
        kvs_host_free(stream->host, format);
    }
}

void ledger_trim(struct kvs_stream *stream)
{
    struct kvs_view *view = &stream->view;
    uint64_t before = view->fragment_tail, held = stream->chain.held_count;
    while (!kvs_view_is_empty(view)) {
        uint32_t flags = kvs_view_fragment(view, view->fragment_tail)->flags;
        if (!is_settled(flags) || !(flags & KVS_FRAGMENT_CLOSED) || ledger_is_being_sent(stream, view->fragment_tail))
            break;
        kvs_view_pop_fragment(view);
    }
    uint64_t floor = kvs_view_is_empty(view) ? stream->chain.head
                                             : kvs_view_fragment(view, view->fragment_tail)->floor_offset;
    floor = kvs_hns_min(floor, kvs_hns_min(kvs_order_floor(&stream->order), stream->inflight_offset));
    kvs_chain_trim(&stream->chain, &stream->client->pool, floor);
    if (view->fragment_tail != before && stream->formats != stream->format) drop_old_formats(stream);
    if (stream->chain.held_count < held || (stream->wants_room && view->fragment_tail != before)) room_again(stream);
}

void ledger_done(struct kvs_stream *stream, uint64_t from, uint64_t to)
{
    struct kvs_action action = { .kind = KVS_ACTION_FRAGMENT_DONE };
    for (uint64_t i = from; i < to; i++) {
        struct kvs_fragment *fragment = kvs_view_fragment(&stream->view, i);
        if (is_settled(fragment->flags)) continue;
        fragment->flags |= KVS_FRAGMENT_DONE;
        action.a = fragment->pts_hns;
        action.b += frame_count(stream, i);
        action.c += kvs_view_fragment_payload(&stream->view, i);
        stream->metrics.fragments_done++;
    }
    if (action.b == 0) return;
    stream->metrics.frames_done += action.b;
    stream->metrics.bytes_done += action.c;
    stream->metrics.frames_buffered -= action.b;
    stream->metrics.bytes_buffered -= action.c;
    stream_notice(stream, &action);
}

void ledger_drop_fragment(struct kvs_stream *stream, uint64_t number, uint32_t reason)
{
    struct kvs_view *view = &stream->view;
    struct kvs_fragment *fragment = kvs_view_fragment(view, number);
    if (is_settled(fragment->flags)) return;
    struct kvs_action action = { .kind = KVS_ACTION_DROPPED, .result = reason, .a = fragment->pts_hns };
    action.b = frame_count(stream, number);
    action.c = kvs_view_fragment_payload(view, number);
    if (number + 1 == view->fragment_head &&
        !(fragment->flags & KVS_FRAGMENT_CLOSED)) { /* its rest has no home any more */
        stream->skip_until_key = 1;
        stream->order.is_started = 0;
    }
    fragment->flags |= KVS_FRAGMENT_DROPPED | KVS_FRAGMENT_CLOSED;
    stream->metrics.frames_dropped[reason] += action.b;
    stream->metrics.bytes_dropped += action.c;
    stream->metrics.frames_buffered -= action.b;
    stream->metrics.bytes_buffered -= action.c;
    stream_notice(stream, &action);
    if (ledger_is_being_sent(stream, number)) return; /* its bytes go with the trim */
    uint64_t from = number > view->fragment_tail ? kvs_view_fragment(view, number - 1)->ceiling_offset
                                                 : stream->chain.tail;
    uint64_t to = number + 1 < view->fragment_head ? kvs_view_fragment(view, number + 1)->floor_offset
                                                   : fragment->ceiling_offset;
    to = kvs_hns_min(to, kvs_hns_min(kvs_order_floor(&stream->order), stream->inflight_offset));
    if (from < to && number != view->fragment_tail) kvs_chain_punch(&stream->chain, &stream->client->pool, from, to);
}

void ledger_drop_all(struct kvs_stream *stream, uint32_t reason)
{
    struct kvs_held held;
    struct kvs_action action = { .kind = KVS_ACTION_DROPPED, .result = reason };
    for (uint64_t i = stream->view.fragment_tail; i < stream->view.fragment_head; i++)
        ledger_drop_fragment(stream, i, reason);
    stream->order.is_started = 1; /* so that a flush lets everything go */
    while (stream->order.mode != KVS_ORDER_NONE && kvs_order_next(&stream->order, 0, 1, &held)) {
        action.a = held.frame.pts_hns;
        action.b++;
        action.c += held.payload_size;
    }
    stream->metrics.frames_dropped[reason] += action.b;
    stream->metrics.bytes_dropped += action.c;
    stream->metrics.frames_buffered -= action.b;
    stream->metrics.bytes_buffered -= action.c;
    if (action.b != 0) stream_notice(stream, &action);
    ledger_trim(stream);
}

/* Without acknowledgements a fragment is done when it is complete and was handed out whole. */
void ledger_handed_out(struct kvs_stream *stream)
{
    struct kvs_view *view = &stream->view;
    if (stream_waits_for_acks(stream)) return;
    uint64_t to = view->fragment_tail;
    while (to < view->fragment_head) {
        uint32_t flags = kvs_view_fragment(view, to)->flags;
        if (!(flags & KVS_FRAGMENT_CLOSED) ||
            !(is_settled(flags) || stream->sent_frames >= kvs_view_fragment_end(view, to)))
            break;
        to++;
    }
    ledger_done(stream, view->fragment_tail, to);
}

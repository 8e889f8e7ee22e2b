/* ledger.c — what is done, what is dropped, what may be forgotten: the one place that counts frames.
 *
 * Every frame put is in exactly one of done, dropped (with a reason) or buffered; each function here moves frames from
 * buffered to one of the others and reports it by a notice. Memory goes with the oldest fragment once it is settled. */
#include "engine/ledger.h"

static uint64_t frame_count(const struct kvs_stream *stream, uint64_t number)
{
    return kvs_view_fragment_end(&stream->view, number) - kvs_view_fragment(&stream->view, number)->first_frame;
}

void ledger_init(struct kvs_stream *stream, uint64_t now_hns)
{
    stream->ledger.inflight_offset = UINT64_MAX;
    stream->ledger.metrics.created_hns = now_hns;
    stream->ledger.metrics.last_put_hns = stream->ledger.metrics.last_ack_hns = KVS_TIME_NONE;
    kvs_view_init(&stream->view, stream->host);
}

void ledger_reset(struct kvs_stream *stream)
{
    kvs_view_reset(&stream->view);
    stream->ledger.is_stopped = 0;
}

void ledger_check(const struct kvs_stream *stream)
{
    const struct kvs_stream_metrics *m = &stream->ledger.metrics;
    const struct kvs_view *view = &stream->view;
    uint64_t dropped = 0, settled_count = 0, frames = kvs_order_count(&stream->order);
    for (uint32_t i = 0; i < KVS_DROP_COUNT; i++) dropped += m->frames_dropped[i];
    kvs_view_check(view);
    for (uint64_t i = view->fragment_tail; i < view->fragment_head; i++) {
        int is_settled = ledger_is_settled(kvs_view_fragment(view, i)->flags);
        settled_count += (uint64_t)is_settled;
        if (!is_settled) frames += frame_count(stream, i);
    }
    KVS_CHECK(m->frames_put == m->frames_done + dropped + m->frames_buffered);
    KVS_CHECK(m->bytes_put == m->bytes_done + m->bytes_dropped + m->bytes_buffered);
    KVS_CHECK(m->frames_buffered == frames);
    KVS_CHECK(stream->ledger.settled_count == settled_count);
}

/* ---- single frames ----------------------------------------------------------------------------------------------- */

void ledger_drop(struct kvs_stream *stream, const struct loss *loss)
{
    struct kvs_action action = { .kind = KVS_ACTION_DROPPED, .result = loss->reason, .a = loss->pts_hns };
    action.b = loss->frames;
    action.c = loss->bytes;
    if (loss->frames == 0) return;
    stream->ledger.metrics.frames_dropped[loss->reason] += loss->frames;
    stream->ledger.metrics.bytes_dropped += loss->bytes;
    stream->ledger.metrics.frames_buffered -= loss->frames;
    stream->ledger.metrics.bytes_buffered -= loss->bytes;
    stream_notice(stream, &action);
}

static void report_skipped(struct kvs_stream *stream)
{
    struct ledger *ledger = &stream->ledger;
    struct kvs_action action = { .kind = KVS_ACTION_DROPPED, .result = KVS_DROP_SKIPPED };
    if (ledger->skip_count == 0) return;
    action.a = ledger->skip_pts_hns;
    action.b = ledger->skip_count;
    action.c = ledger->skip_bytes;
    ledger->skip_count = ledger->skip_bytes = 0;
    stream_notice(stream, &action);
}

void ledger_skip(struct kvs_stream *stream, uint64_t pts_hns, uint32_t size)
{
    struct ledger *ledger = &stream->ledger;
    if (ledger->skip_count == 0) ledger->skip_pts_hns = pts_hns;
    ledger->skip_count++;
    ledger->skip_bytes += size;
    ledger->metrics.frames_buffered--;
    ledger->metrics.bytes_buffered -= size;
    ledger->metrics.frames_dropped[KVS_DROP_SKIPPED]++;
    ledger->metrics.bytes_dropped += size;
    if (!ledger->is_skipping) report_skipped(stream); /* the first at once, the rest of a run as one when it ends */
    ledger->is_skipping = 1;
}

void ledger_end_skip(struct kvs_stream *stream)
{
    report_skipped(stream);
    stream->ledger.is_skipping = 0;
}

/* ---- whole fragments --------------------------------------------------------------------------------------------- */

static void room_again(struct kvs_stream *stream)
{
    struct kvs_client *client = stream->client;
    struct kvs_action action = { .kind = KVS_ACTION_ROOM };
    if (stream->ledger.wants_room) stream_notice(stream, &action);
    stream->ledger.wants_room = 0;
    kvs_host_lock(&client->host, client->lock);
    if (client->wants_room) {
        client->wants_room = 0;
        client_push(client, &action, 0);
        stream->out.wants_wake |= client->wants_wake;
        client->wants_wake = 0;
    }
    kvs_host_unlock(&client->host, client->lock);
}

int ledger_trim(struct kvs_stream *stream, uint64_t sending)
{
    struct kvs_view *view = &stream->view;
    uint64_t to = view->fragment_tail, held = stream->chain.held_count;
    uint64_t stop = kvs_hns_min(view->fragment_head, sending);
    while (to < stop) {
        uint32_t flags = kvs_view_fragment(view, to)->flags;
        if (!ledger_is_settled(flags) || !(flags & KVS_FRAGMENT_CLOSED)) break;
        to++;
    }
    stream->ledger.settled_count -= to - view->fragment_tail;
    kvs_view_pop_fragments(view, to);
    int has_moved = to != stream->ledger.trimmed_tail;
    stream->ledger.trimmed_tail = to;
    uint64_t floor = kvs_view_is_empty(view) ? stream->chain.head
                                             : kvs_view_fragment(view, view->fragment_tail)->floor_offset;
    floor = kvs_hns_min(floor, kvs_hns_min(kvs_order_floor(&stream->order), stream->ledger.inflight_offset));
    uint64_t lent = lend_floor(stream);
    kvs_chain_trim(&stream->chain, &stream->client->pool, kvs_hns_min(floor, lent));
    lend_punch(stream, lent, floor);
    if (stream->chain.held_count < held || (stream->ledger.wants_room && has_moved)) room_again(stream);
    return has_moved;
}

struct sums {
    uint64_t fragments, frames, payload, pts_hns /* of the newest */;
};

/* From the oldest on, with none settled among them: each sum is the difference of two, and what may be forgotten is, so
 * that nothing is walked. */
static void settle_oldest(struct kvs_stream *stream, uint64_t to, uint64_t sending, struct sums *sums)
{
    struct kvs_view *view = &stream->view;
    const struct kvs_fragment *first = kvs_view_fragment(view, view->fragment_tail);
    const struct kvs_fragment *newest = kvs_view_fragment(view, to - 1);
    sums->fragments = to - view->fragment_tail;
    sums->frames = kvs_view_fragment_end(view, to - 1) - first->first_frame;
    sums->payload = newest->cum_payload + kvs_view_fragment_payload(view, to - 1) - first->cum_payload;
    sums->pts_hns = newest->pts_hns;
    uint64_t closed = newest->flags & KVS_FRAGMENT_CLOSED ? to : to - 1;
    kvs_view_pop_fragments(view, kvs_hns_min(closed, sending));
    for (uint64_t i = view->fragment_tail; i < to; i++) kvs_view_fragment(view, i)->flags |= KVS_FRAGMENT_DONE;
    stream->ledger.settled_count += to - view->fragment_tail;
}

static void settle_each(struct kvs_stream *stream, uint64_t from, uint64_t to, struct sums *sums)
{
    for (uint64_t i = from; i < to; i++) {
        struct kvs_fragment *fragment = kvs_view_fragment(&stream->view, i);
        if (ledger_is_settled(fragment->flags)) continue;
        fragment->flags |= KVS_FRAGMENT_DONE;
        stream->ledger.settled_count++;
        sums->fragments++;
        sums->frames += frame_count(stream, i);
        sums->payload += kvs_view_fragment_payload(&stream->view, i);
        sums->pts_hns = fragment->pts_hns;
    }
}

void ledger_done(struct kvs_stream *stream, uint64_t from, uint64_t to, uint64_t sending)
{
    struct sums sums = { 0, 0, 0, 0 };
    if (from >= to) return;
    if (from == stream->view.fragment_tail && stream->ledger.settled_count == 0)
        settle_oldest(stream, to, sending, &sums);
    else settle_each(stream, from, to, &sums);
    if (sums.frames == 0) return;
    struct kvs_action action = { .kind = KVS_ACTION_FRAGMENT_DONE, .a = sums.pts_hns, .b = sums.frames };
    action.c = sums.payload;
    stream->ledger.metrics.fragments_done += sums.fragments;
    stream->ledger.metrics.frames_done += sums.frames;
    stream->ledger.metrics.bytes_done += sums.payload;
    stream->ledger.metrics.frames_buffered -= sums.frames;
    stream->ledger.metrics.bytes_buffered -= sums.payload;
    stream_notice(stream, &action);
}

/* What follows a dropped fragment follows what came before it, across the break in time that it began. */
static uint32_t pass_on_new_session(struct kvs_stream *stream, uint64_t number)
{
    if (number + 1 >= stream->view.fragment_head) return LEDGER_NEXT_BEGINS;
    kvs_view_fragment(&stream->view, number + 1)->flags |= KVS_FRAGMENT_NEW_SESSION;
    return 0;
}

uint32_t ledger_drop_fragment(struct kvs_stream *stream, uint64_t number, uint32_t reason)
{
    struct kvs_view *view = &stream->view;
    struct kvs_fragment *fragment = kvs_view_fragment(view, number);
    uint32_t event = LEDGER_DROPPED;
    if (ledger_is_settled(fragment->flags)) return 0;
    if (number + 1 == view->fragment_head && !(fragment->flags & KVS_FRAGMENT_CLOSED)) event |= LEDGER_WAS_OPEN;
    fragment->flags |= KVS_FRAGMENT_DROPPED | KVS_FRAGMENT_CLOSED;
    stream->ledger.settled_count++;
    ledger_drop(stream, &(struct loss) { reason, fragment->pts_hns, frame_count(stream, number),
                                         kvs_view_fragment_payload(view, number) });
    if (fragment->flags & KVS_FRAGMENT_NEW_SESSION) event |= pass_on_new_session(stream, number);
    return event;
}

void ledger_forget(struct kvs_stream *stream, uint64_t number)
{
    kvs_view_forget(&stream->view, number);
    stream->ledger.settled_count--;
}

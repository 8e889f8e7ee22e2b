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
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        const struct upload *upload = stream->uploads.items[i];
        if (upload->state == KVS_UPLOAD_DEAD || !upload->is_bound || upload->at_fragment != number) continue;
        if (upload->sent_next > number) return 1;
    }
    return 0;
}

/* The oldest fragment of which the reader of a live handle has a part only; UINT64_MAX: none. */
static uint64_t first_being_sent(const struct kvs_stream *stream)
{
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        const struct upload *upload = stream->uploads.items[i];
        int is_within = upload->sent_next > upload->at_fragment && upload->at_fragment >= stream->view.fragment_tail;
        if (is_within && upload->is_bound && upload->state != KVS_UPLOAD_DEAD)
            first = kvs_hns_min(first, upload->at_fragment);
    }
    return first;
}

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

static int owes_nothing(const struct kvs_stream *stream, const struct upload *upload)
{
    const struct kvs_view *view = &stream->view;
    uint64_t i = kvs_hns_max(upload->done_next, view->fragment_tail);
    while (i < upload->sent_next && i < view->fragment_head && is_settled(kvs_view_fragment(view, i)->flags)) i++;
    return i >= upload->sent_next || i >= view->fragment_head;
}

/* An upload that is read to its end waits for ACKs; not when what it sent is settled without it: dropped meanwhile, or
 * acknowledged to another upload. */
static void end_waits(struct kvs_stream *stream)
{
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        struct upload *upload = stream->uploads.items[i];
        if (upload->state == KVS_UPLOAD_AWAITING_ACK && owes_nothing(stream, upload))
            session_move(stream, upload, KVS_UPLOAD_EV_LAST_ACK);
    }
}

void ledger_trim(struct kvs_stream *stream)
{
    struct kvs_view *view = &stream->view;
    uint64_t to = view->fragment_tail, held = stream->chain.held_count;
    uint64_t stop = kvs_hns_min(view->fragment_head, first_being_sent(stream));
    while (to < stop) {
        uint32_t flags = kvs_view_fragment(view, to)->flags;
        if (!is_settled(flags) || !(flags & KVS_FRAGMENT_CLOSED)) break;
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
    if (has_moved && stream->formats.first->next != NULL) formats_prune(stream);
    if (stream->chain.held_count < held || (stream->ledger.wants_room && has_moved)) room_again(stream);
    end_waits(stream);
}

struct sums {
    uint64_t fragments, frames, payload, pts_hns /* of the newest */;
};

/* From the oldest on, with none settled among them: each sum is the difference of two, and what may be forgotten is, so
 * that nothing is walked. */
static void settle_oldest(struct kvs_stream *stream, uint64_t to, struct sums *sums)
{
    struct kvs_view *view = &stream->view;
    const struct kvs_fragment *first = kvs_view_fragment(view, view->fragment_tail);
    const struct kvs_fragment *newest = kvs_view_fragment(view, to - 1);
    sums->fragments = to - view->fragment_tail;
    sums->frames = kvs_view_fragment_end(view, to - 1) - first->first_frame;
    sums->payload = newest->cum_payload + kvs_view_fragment_payload(view, to - 1) - first->cum_payload;
    sums->pts_hns = newest->pts_hns;
    uint64_t closed = newest->flags & KVS_FRAGMENT_CLOSED ? to : to - 1;
    kvs_view_pop_fragments(view, kvs_hns_min(closed, first_being_sent(stream)));
    for (uint64_t i = view->fragment_tail; i < to; i++) kvs_view_fragment(view, i)->flags |= KVS_FRAGMENT_DONE;
    stream->ledger.settled_count += to - view->fragment_tail;
}

static void settle_each(struct kvs_stream *stream, uint64_t from, uint64_t to, struct sums *sums)
{
    for (uint64_t i = from; i < to; i++) {
        struct kvs_fragment *fragment = kvs_view_fragment(&stream->view, i);
        if (is_settled(fragment->flags)) continue;
        fragment->flags |= KVS_FRAGMENT_DONE;
        stream->ledger.settled_count++;
        sums->fragments++;
        sums->frames += frame_count(stream, i);
        sums->payload += kvs_view_fragment_payload(&stream->view, i);
        sums->pts_hns = fragment->pts_hns;
    }
}

void ledger_done(struct kvs_stream *stream, uint64_t from, uint64_t to)
{
    struct sums sums = { 0, 0, 0, 0 };
    if (from >= to) return;
    if (from == stream->view.fragment_tail && stream->ledger.settled_count == 0) settle_oldest(stream, to, &sums);
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

/* The slabs that hold nothing but settled fragments go: those of this one and of its neighbours that were too small to
 * free one alone. */
static void punch(struct kvs_stream *stream, uint64_t number)
{
    const struct kvs_view *view = &stream->view;
    uint64_t before = number, after = number + 1;
    while (before > view->fragment_tail && is_settled(kvs_view_fragment(view, before - 1)->flags) &&
           !ledger_is_being_sent(stream, before - 1))
        before--;
    while (after < view->fragment_head && is_settled(kvs_view_fragment(view, after)->flags)) after++;
    if (before == view->fragment_tail) return; /* the trim takes it all */
    uint64_t from = kvs_view_fragment(view, before - 1)->ceiling_offset;
    uint64_t to = after < view->fragment_head ? kvs_view_fragment(view, after)->floor_offset : stream->chain.head;
    to = kvs_hns_min(to, kvs_hns_min(kvs_order_floor(&stream->order), stream->ledger.inflight_offset));
    lend_punch(stream, from, to);
}

/* What follows a dropped fragment follows what came before it, across the break in time that it began. */
static void pass_on_new_session(struct kvs_stream *stream, uint64_t number)
{
    if (number + 1 < stream->view.fragment_head)
        kvs_view_fragment(&stream->view, number + 1)->flags |= KVS_FRAGMENT_NEW_SESSION;
    else stream->packer.starts_session = 1;
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
        stream->packer.skip_until_key = 1;
        stream->order.is_started = 0;
        kvs_generator_reset(&stream->generator); /* the next key frame opens one, whatever the last one's times */
    }
    fragment->flags |= KVS_FRAGMENT_DROPPED | KVS_FRAGMENT_CLOSED;
    stream->ledger.settled_count++;
    stream->ledger.metrics.frames_dropped[reason] += action.b;
    stream->ledger.metrics.bytes_dropped += action.c;
    stream->ledger.metrics.frames_buffered -= action.b;
    stream->ledger.metrics.bytes_buffered -= action.c;
    stream_notice(stream, &action);
    if (fragment->flags & KVS_FRAGMENT_NEW_SESSION) pass_on_new_session(stream, number);
    if (!ledger_is_being_sent(stream, number)) punch(stream, number); /* else its bytes go with the trim */
}

/* Lets a dropped fragment's number go, so that what is never sent does not pile up behind a fragment that is being
 * sent. Read positions before it move along. */
void ledger_forget(struct kvs_stream *stream, uint64_t number)
{
    struct kvs_view *view = &stream->view;
    uint64_t first = kvs_view_fragment(view, number)->first_frame, end = kvs_view_fragment_end(view, number);
    uint64_t bytes = kvs_view_fragment_bytes(view, number);
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        struct upload *upload = stream->uploads.items[i];
        if (upload->at_fragment <= number) upload->read_cum += bytes;
        if (upload->at_frame < first) upload->at_frame += end - first;
        else if (upload->at_frame < end) upload->at_frame = end;
        upload->first += upload->first <= number;
        upload->at_fragment += upload->at_fragment <= number;
        upload->done_next += upload->done_next <= number;
        upload->sent_next += upload->sent_next <= number;
        upload->last += upload->last < number;
    }
    kvs_view_forget(view, number);
    stream->ledger.settled_count--;
}

void ledger_drop_all(struct kvs_stream *stream, uint32_t reason)
{
    struct kvs_held held;
    struct kvs_action action = { .kind = KVS_ACTION_DROPPED, .result = reason };
    for (uint64_t i = stream->view.fragment_tail; i < stream->view.fragment_head; i++)
        ledger_drop_fragment(stream, i, reason);
    stream->order.is_started = 1; /* so that a flush lets everything go, also frames of a track that was left out */
    for (uint32_t i = 0; i < stream->track_count; i++) stream->order.queues[i].is_silent = 0;
    while (stream->order.mode != KVS_ORDER_NONE && kvs_order_next(&stream->order, 0, 1, &held)) {
        action.a = held.frame.pts_hns;
        action.b++;
        action.c += held.payload_size;
    }
    stream->ledger.metrics.frames_dropped[reason] += action.b;
    stream->ledger.metrics.bytes_dropped += action.c;
    stream->ledger.metrics.frames_buffered -= action.b;
    stream->ledger.metrics.bytes_buffered -= action.c;
    if (action.b != 0) stream_notice(stream, &action);
    ledger_trim(stream);
}

/* Its reader has taken every byte of the fragment at which it stands, and none will follow. */
static int has_read_whole(const struct kvs_stream *stream, const struct upload *upload)
{
    const struct kvs_view *view = &stream->view;
    uint64_t number = upload->at_fragment;
    if (upload->state == KVS_UPLOAD_DEAD || !upload->is_bound || upload->sent_next <= number) return 0;
    if (number < view->fragment_tail || number >= view->fragment_head || upload->part < PART_FRAME) return 0;
    const struct kvs_fragment *fragment = kvs_view_fragment(view, number);
    if (!(fragment->flags & KVS_FRAGMENT_CLOSED) || upload->at_frame < kvs_view_fragment_end(view, number)) return 0;
    return upload->at_offset == fragment->trailer_size;
}

/* Without acknowledgements a fragment is done when it is complete and one upload was handed all of it. What an upload
 * has read says nothing of the fragments of another. */
void ledger_handed_out(struct kvs_stream *stream)
{
    if (stream_waits_for_acks(stream)) return;
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        uint64_t number = stream->uploads.items[i]->at_fragment;
        if (has_read_whole(stream, stream->uploads.items[i])) ledger_done(stream, number, number + 1);
    }
}

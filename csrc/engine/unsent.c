/* unsent.c — what has not been handed out yet: of the stream, and of one upload handle. Sums are differences of prefix
 * sums; only fragments that are settled out of their turn are looked at one by one, as long as there are some.
 *
 * What a live handle has read counts as handed out, what a dead one had read does not: it is sent again. */
#include "engine/uploads.h"

/* Where a reader stands: inside a fragment, before a frame; `bytes` is the prefix sum of what lies before it. */
struct place {
    uint64_t fragment, frame, bytes;
};

static struct place start_of(const struct kvs_view *view, uint64_t number)
{
    if (number >= view->fragment_head) return (struct place) { view->fragment_head, view->frame_head, view->cum_bytes };
    const struct kvs_fragment *fragment = kvs_view_fragment(view, number);
    return (struct place) { number, fragment->first_frame, fragment->cum_bytes };
}

static struct place place_of(const struct kvs_view *view, const struct upload *upload)
{
    struct place place = start_of(view, kvs_hns_max(upload->at_fragment, view->fragment_tail));
    int is_inside = upload->is_bound && upload->sent_next > upload->at_fragment;
    if (!is_inside || upload->at_fragment != place.fragment) return place;
    place.bytes = kvs_hns_max(place.bytes, upload->read_cum);
    if (upload->part >= PART_FRAME) place.frame = kvs_hns_max(place.frame, upload->at_frame);
    return place;
}

static uint64_t duration_from(const struct kvs_view *view, const struct place *from)
{
    if (from->fragment >= view->fragment_head) return 0;
    if (from->frame >= kvs_view_fragment_end(view, from->fragment))
        return kvs_view_duration_from(view, from->fragment + 1);
    return kvs_view_duration(view, from->fragment, kvs_view_frame(view, from->frame)->pts_hns);
}

static struct unsent between(const struct kvs_view *view, const struct place *from, uint64_t to)
{
    struct place end = start_of(view, to);
    return (struct unsent) {
        .bytes = kvs_hns_sub(end.bytes, from->bytes),
        .frames = kvs_hns_sub(end.frame, from->frame),
        .duration_hns = kvs_hns_sub(duration_from(view, from), kvs_view_duration_from(view, to)),
    };
}

static void add(const struct kvs_stream *stream, const struct place *from, uint64_t to, struct unsent *sum)
{
    const struct kvs_view *view = &stream->view;
    if (from->fragment >= to) return;
    struct unsent more = between(view, from, to);
    uint64_t left = stream->ledger.settled_count;
    for (uint64_t i = from->fragment; i < kvs_hns_min(to, view->fragment_head) && left != 0; i++) {
        if (!ledger_is_settled(kvs_view_fragment(view, i)->flags)) continue;
        struct place start = i == from->fragment ? *from : start_of(view, i);
        struct unsent settled = between(view, &start, i + 1);
        more.bytes -= settled.bytes;
        more.frames -= settled.frames;
        more.duration_hns = kvs_hns_sub(more.duration_hns, settled.duration_hns);
        left--;
    }
    sum->bytes += more.bytes;
    sum->frames += more.frames;
    sum->duration_hns += more.duration_hns;
}

struct unsent unsent_of_stream(const struct kvs_stream *stream)
{
    const struct kvs_view *view = &stream->view;
    struct unsent sum = { 0, 0, 0 };
    struct place at = start_of(view, view->fragment_tail);
    EACH_UPLOAD(stream, upload) {
        if (!upload_is_live(upload) || !upload->is_bound) continue;
        struct place reached = place_of(view, upload);
        if (reached.fragment < at.fragment || upload->first >= view->fragment_head) continue;
        add(stream, &at, upload->first, &sum);
        at = reached;
    }
    add(stream, &at, view->fragment_head, &sum);
    return sum;
}

/* ---- one handle -------------------------------------------------------------------------------------------------- */

static uint32_t header_left(const struct kvs_stream *stream, const struct upload *upload, uint64_t first)
{
    if (upload->is_bound && upload->part != PART_HEADER) return 0;
    if (first >= stream->view.fragment_head) return 0;
    uint32_t format = upload->is_bound ? upload->format : kvs_view_fragment(&stream->view, first)->format;
    return formats_header_size(stream, formats_find(stream, format)) -
           (upload->is_bound ? (uint32_t)upload->at_offset : 0);
}

/* The end-of-fragment tag that the reader gets behind the last fragment of a session, when that has none of its own. */
static uint32_t end_tag_left(const struct kvs_stream *stream, const struct upload *upload, uint64_t from, uint64_t to)
{
    int is_ending = upload->last != KVS_TIME_NONE ? upload->last < stream->view.fragment_head
                                                  : stream->ledger.is_stopped;
    if (!is_ending || upload->state > KVS_UPLOAD_DRAINING) return 0;
    if (from < to) {
        const struct kvs_fragment *fragment = kvs_view_fragment(&stream->view, to - 1);
        int is_closed = (fragment->flags & KVS_FRAGMENT_CLOSED) != 0;
        return is_closed && fragment->trailer_size == 0 ? KVS_MKV_END_TAG_SIZE : 0;
    }
    uint32_t sent = upload->part == PART_END ? (uint32_t)upload->at_offset : 0;
    return upload->has_sent && !upload->has_end ? KVS_MKV_END_TAG_SIZE - sent : 0;
}

/* Most readers stand inside the open fragment, with nothing before them and nothing behind it. */
static int is_inside_newest(const struct kvs_stream *stream, const struct upload *upload)
{
    const struct kvs_view *view = &stream->view;
    return upload->at_fragment + 1 == view->fragment_head && upload->part == PART_FRAME && upload->is_bound &&
           upload->last == KVS_TIME_NONE && upload_is_live(upload) && !stream->ledger.is_stopped &&
           stream->ledger.settled_count == 0 && upload->at_fragment >= view->fragment_tail;
}

static struct unsent unsent_of_newest(const struct kvs_view *view, const struct upload *upload)
{
    struct unsent sum = { view->cum_bytes - upload->read_cum, view->frame_head - upload->at_frame, 0 };
    if (sum.frames == 0) return sum;
    sum.duration_hns = kvs_view_duration(view, upload->at_fragment, kvs_view_frame(view, upload->at_frame)->pts_hns);
    return sum;
}

struct unsent unsent_of_upload(const struct kvs_stream *stream, const struct upload *upload)
{
    const struct kvs_view *view = &stream->view;
    struct unsent sum = { 0, 0, 0 };
    if (is_inside_newest(stream, upload)) return unsent_of_newest(view, upload);
    uint64_t to = upload->last == KVS_TIME_NONE ? view->fragment_head
                                                : kvs_hns_min(upload->last + 1, view->fragment_head);
    struct place at = place_of(view, upload);
    if (!upload_is_live(upload)) return sum;
    add(stream, &at, to, &sum);
    if (sum.bytes != 0 || upload->is_bound) sum.bytes += header_left(stream, upload, at.fragment);
    sum.bytes += end_tag_left(stream, upload, at.fragment, to);
    return sum;
}

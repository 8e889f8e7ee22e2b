/* view.c — see view.h. */
#include "store/view.h"

#include <string.h>

#include "base/check.h"

#define FRAMES_MIN 16u
#define FRAGMENTS_MIN 4u

void kvs_view_init(struct kvs_view *view, const struct kvs_host *host)
{
    memset(view, 0, sizeof *view);
    view->host = host;
}

void kvs_view_fini(struct kvs_view *view)
{
    if (view->frames != NULL) kvs_host_free(view->host, view->frames);
    if (view->fragments != NULL) kvs_host_free(view->host, view->fragments);
    view->frames = NULL;
    view->fragments = NULL;
}

void kvs_view_reset(struct kvs_view *view)
{
    KVS_CHECK(kvs_view_is_empty(view));
    view->end_hns = view->cum_gap_hns = 0;
}

void kvs_view_check(const struct kvs_view *view)
{
    KVS_CHECK(view->frame_tail <= view->frame_head);
    KVS_CHECK(view->frame_head - view->frame_tail <= view->frame_capacity);
    KVS_CHECK(view->fragment_tail <= view->fragment_head);
    KVS_CHECK(view->fragment_head - view->fragment_tail <= view->fragment_capacity);
    if (kvs_view_is_empty(view)) KVS_CHECK(view->frame_tail == view->frame_head);
    else KVS_CHECK(kvs_view_fragment(view, view->fragment_tail)->first_frame == view->frame_tail);
}

static uint32_t grown(uint32_t capacity, uint32_t least, uint64_t wanted)
{
    if (capacity == 0) capacity = least;
    while (capacity < wanted) capacity *= 2u;
    return capacity;
}

static kvs_status grow_frames(struct kvs_view *view, uint32_t count)
{
    uint32_t capacity = grown(view->frame_capacity, FRAMES_MIN, view->frame_head - view->frame_tail + count);
    if (capacity == view->frame_capacity) return KVS_OK;
    struct kvs_frame *frames = kvs_host_alloc(view->host, capacity * sizeof *frames);
    if (frames == NULL) return KVS_E_NOMEM;
    for (uint64_t i = view->frame_tail; i < view->frame_head; i++)
        frames[i & (capacity - 1u)] = *kvs_view_frame(view, i);
    if (view->frames != NULL) kvs_host_free(view->host, view->frames);
    view->frames = frames;
    view->frame_capacity = capacity;
    return KVS_OK;
}

static kvs_status grow_fragments(struct kvs_view *view, uint32_t count)
{
    uint32_t capacity = grown(view->fragment_capacity, FRAGMENTS_MIN,
                              view->fragment_head - view->fragment_tail + count);
    if (capacity == view->fragment_capacity) return KVS_OK;
    struct kvs_fragment *fragments = kvs_host_alloc(view->host, capacity * sizeof *fragments);
    if (fragments == NULL) return KVS_E_NOMEM;
    for (uint64_t i = view->fragment_tail; i < view->fragment_head; i++) {
        fragments[i & (capacity - 1u)] = *kvs_view_fragment(view, i);
    }
    if (view->fragments != NULL) kvs_host_free(view->host, view->fragments);
    view->fragments = fragments;
    view->fragment_capacity = capacity;
    return KVS_OK;
}

kvs_status kvs_view_grow(struct kvs_view *view, uint32_t count)
{
    kvs_status status = grow_frames(view, count);
    return status == KVS_OK ? grow_fragments(view, count) : status;
}

void kvs_view_lower_floor(struct kvs_view *view, uint64_t end, uint64_t offset)
{
    for (uint64_t i = end; i > view->fragment_tail; i--) {
        struct kvs_fragment *fragment = kvs_view_fragment(view, i - 1);
        if (fragment->floor_offset <= offset) return;
        fragment->floor_offset = offset;
    }
}

/* A fragment that begins far after the end, or, in a new session, before it. */
static void note_gap(struct kvs_view *view, const struct kvs_fragment *fragment)
{
    int is_back = (fragment->flags & KVS_FRAGMENT_NEW_SESSION) != 0 && fragment->pts_hns < view->end_hns;
    if (!is_back && fragment->pts_hns <= kvs_hns_add(view->end_hns, KVS_VIEW_GAP_HNS)) return;
    view->cum_gap_hns += fragment->pts_hns - view->end_hns;
    view->end_hns = fragment->pts_hns;
}

void kvs_view_open_fragment(struct kvs_view *view, const struct kvs_fragment *fragment)
{
    KVS_CHECK(view->fragment_head - view->fragment_tail < view->fragment_capacity);
    if (!kvs_view_is_empty(view)) kvs_view_fragment(view, view->fragment_head - 1)->flags |= KVS_FRAGMENT_CLOSED;
    struct kvs_fragment *slot = kvs_view_fragment(view, view->fragment_head++);
    *slot = *fragment;
    slot->sent_tc = fragment->timecode;
    slot->first_frame = view->frame_head;
    slot->floor_offset = fragment->prefix_offset;
    slot->ceiling_offset = fragment->prefix_offset + fragment->prefix_size;
    if (view->fragment_head - 1 > view->fragment_tail) {
        uint64_t before = kvs_view_fragment(view, view->fragment_head - 2)->ceiling_offset;
        if (before > slot->ceiling_offset) slot->ceiling_offset = before;
    }
    note_gap(view, fragment);
    slot->cum_gap_hns = view->cum_gap_hns;
    slot->cum_bytes = view->cum_bytes;
    slot->cum_payload = view->cum_payload;
    slot->read_hns = KVS_TIME_NONE;
    view->cum_bytes += fragment->prefix_size;
    kvs_view_lower_floor(view, view->fragment_head - 1, fragment->prefix_offset);
}

void kvs_view_end_fragment(struct kvs_view *view, uint64_t trailer_offset, uint32_t trailer_size)
{
    KVS_CHECK(!kvs_view_is_empty(view));
    struct kvs_fragment *fragment = kvs_view_fragment(view, view->fragment_head - 1);
    fragment->trailer_offset = trailer_offset;
    fragment->trailer_size = trailer_size;
    fragment->flags |= KVS_FRAGMENT_CLOSED;
    view->cum_bytes += trailer_size;
    if (fragment->ceiling_offset < trailer_offset + trailer_size)
        fragment->ceiling_offset = trailer_offset + trailer_size;
}

void kvs_view_forget(struct kvs_view *view, uint64_t number)
{
    KVS_CHECK(number > view->fragment_tail && number < view->fragment_head);
    uint64_t first = kvs_view_fragment(view, number)->first_frame, count = kvs_view_fragment_end(view, number) - first;
    uint64_t bytes = kvs_view_fragment_bytes(view, number), payload = kvs_view_fragment_payload(view, number);
    for (uint64_t i = first; i > view->frame_tail; i--)
        *kvs_view_frame(view, i - 1 + count) = *kvs_view_frame(view, i - 1);
    for (uint64_t i = number; i > view->fragment_tail; i--) {
        struct kvs_fragment *fragment = kvs_view_fragment(view, i);
        *fragment = *kvs_view_fragment(view, i - 1);
        fragment->first_frame += count;
        fragment->cum_bytes += bytes;
        fragment->cum_payload += payload;
    }
    view->frame_tail += count;
    view->fragment_tail++;
}

void kvs_view_pop_fragments(struct kvs_view *view, uint64_t to)
{
    KVS_CHECK(to >= view->fragment_tail && to <= view->fragment_head);
    if (to == view->fragment_tail) return;
    view->frame_tail = kvs_view_fragment_end(view, to - 1);
    view->fragment_tail = to;
}

static uint64_t in_ms(const struct kvs_view *view, uint64_t number, const struct kvs_view_query *query)
{
    uint64_t timecode = kvs_view_fragment(view, number)->sent_tc;
    timecode = timecode > query->base_tc ? timecode - query->base_tc : 0;
    return query->scale_hns == KVS_HNS_PER_MS ? timecode : timecode * query->scale_hns / KVS_HNS_PER_MS;
}

uint64_t kvs_view_find(const struct kvs_view *view, const struct kvs_view_query *query)
{
    uint64_t low = query->from, high = query->to;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (in_ms(view, middle, query) < query->wanted_ms) low = middle + 1;
        else high = middle;
    }
    return low < query->to && in_ms(view, low, query) == query->wanted_ms ? low : KVS_TIME_NONE;
}

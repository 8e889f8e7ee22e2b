/* view.h — the content view: which frames are held, and the fragments they form.
 *
 * Two rings with numbers that never come back: frame records (where a packaged block lies in the chain) and fragments
 * (their first frame, cluster time, what the service said of them). The oldest fragment is the tail; the newest, the
 * head, is the one that still grows. Sums are kept as prefix sums, so no question is answered by walking frames.
 *   Always     every frame belongs to a fragment; frames of one fragment are consecutive; kvs_view_check asserts it.
 *   Ownership  The view owns its rings (host memory). Payload bytes are the chain's.
 *   Borrowing  A returned pointer is borrowed until the next call that is not const. */
#ifndef KVS_STORE_VIEW_H
#define KVS_STORE_VIEW_H

#include "base/check.h"
#include "base/hns.h"
#include "base/host.h"
#include "kvspic.h"

struct kvs_frame {
    uint64_t offset; /* of the block (header and payload) in the chain */
    uint64_t pts_hns;
    uint32_t size;         /* block header included */
    uint32_t duration_hns; /* saturated */
};

enum kvs_fragment_flag {
    KVS_FRAGMENT_CLOSED = 1,       /* complete: no frame will follow */
    KVS_FRAGMENT_DONE = 2,         /* in the ledger as done */
    KVS_FRAGMENT_DROPPED = 4,      /* in the ledger as dropped; not sent any more */
    KVS_FRAGMENT_NEW_SESSION = 16, /* must be the first of its session */
    KVS_FRAGMENT_SENT = 32,        /* read to its end at least once */
    KVS_FRAGMENT_BUFFERING = 64,
    KVS_FRAGMENT_RECEIVED = 128
};

#define KVS_VIEW_GAP_HNS (20 * KVS_HNS_PER_SECOND) /* no fragment is longer: a step of more is a break in time */

struct kvs_fragment {
    uint64_t first_frame;
    uint64_t prefix_offset;  /* tags and cluster header in the chain */
    uint64_t trailer_offset; /* tags after its last frame */
    uint64_t floor_offset;   /* least chain offset of this and of all later fragments */
    uint64_t ceiling_offset; /* one past the greatest chain offset of this and of all earlier fragments */
    uint64_t timecode;       /* absolute cluster time, in timecode units */
    uint64_t sent_tc;        /* time of the cluster that it went out in last: its own, or of one before it */
    uint64_t pts_hns;
    uint64_t cum_bytes;   /* packaged bytes of all fragments before it, ever */
    uint64_t cum_payload; /* payload bytes of all frames before it, ever */
    uint64_t cum_gap_hns; /* of all breaks in time up to its start, ever; modulo 2^64 */
    uint64_t read_hns;    /* when its first byte was last read; KVS_TIME_NONE before */
    uint32_t prefix_size, trailer_size;
    uint32_t format;                    /* which set of tracks (engine/format.h) */
    uint32_t flags;                     /* enum kvs_fragment_flag */
    uint32_t unconfirmed;               /* how often a PERSISTED passed it over without an ACK of its own */
    uint32_t tracks;                    /* bit n: track n has a frame in it */
    uint32_t first_put[KVS_TRACKS_MAX]; /* index, modulo 2^32, of each track's first frame in it or after it */
};

struct kvs_view {
    const struct kvs_host *host;
    struct kvs_frame *frames; /* frame i is frames[i & (frame_capacity - 1)] */
    struct kvs_fragment *fragments;
    uint32_t frame_capacity, fragment_capacity;
    uint64_t frame_tail, frame_head;
    uint64_t fragment_tail, fragment_head;
    uint64_t cum_bytes, cum_payload; /* of everything put, ever */
    uint64_t end_hns;                /* greatest pts + duration since the last break in time */
    uint64_t cum_gap_hns;            /* modulo 2^64, because time may go back from one session to the next */
};

void kvs_view_init(struct kvs_view *view, const struct kvs_host *host);
void kvs_view_fini(struct kvs_view *view);
/* Forgets the times of what was held; nothing is held any more. Numbers and sums go on. */
void kvs_view_reset(struct kvs_view *view);
void kvs_view_check(const struct kvs_view *view);

static inline struct kvs_frame *kvs_view_frame(const struct kvs_view *view, uint64_t number)
{
    return &view->frames[number & (view->frame_capacity - 1u)];
}
static inline struct kvs_fragment *kvs_view_fragment(const struct kvs_view *view, uint64_t number)
{
    return &view->fragments[number & (view->fragment_capacity - 1u)];
}
static inline int kvs_view_is_empty(const struct kvs_view *view) { return view->fragment_tail == view->fragment_head; }
/* One past the last frame of a fragment. */
static inline uint64_t kvs_view_fragment_end(const struct kvs_view *view, uint64_t number)
{
    return number + 1 < view->fragment_head ? kvs_view_fragment(view, number + 1)->first_frame : view->frame_head;
}
/* Packaged bytes and payload bytes of a fragment as far as it has grown. */
static inline uint64_t kvs_view_fragment_bytes(const struct kvs_view *view, uint64_t number)
{
    uint64_t end = number + 1 < view->fragment_head ? kvs_view_fragment(view, number + 1)->cum_bytes : view->cum_bytes;
    return end - kvs_view_fragment(view, number)->cum_bytes;
}
static inline uint64_t kvs_view_fragment_payload(const struct kvs_view *view, uint64_t number)
{
    int is_newest = number + 1 == view->fragment_head;
    uint64_t end = is_newest ? view->cum_payload : kvs_view_fragment(view, number + 1)->cum_payload;
    return end - kvs_view_fragment(view, number)->cum_payload;
}

/* How much media is held from the time `pts_hns` of this fragment on. A break in time is no media: an hour between two
 * fragments counts nothing. */
static inline uint64_t kvs_view_duration(const struct kvs_view *view, uint64_t number, uint64_t pts_hns)
{
    uint64_t gaps = view->cum_gap_hns - kvs_view_fragment(view, number)->cum_gap_hns;
    uint64_t duration = view->end_hns - pts_hns - gaps;
    return duration > INT64_MAX ? 0 : duration; /* a picture that is shown after the end */
}
static inline uint64_t kvs_view_duration_from(const struct kvs_view *view, uint64_t number)
{
    if (number >= view->fragment_head) return 0;
    return kvs_view_duration(view, number, kvs_view_fragment(view, number)->pts_hns);
}

/* Makes sure that `count` more frames and fragments fit.   KVS_E_NOMEM: nothing changed */
kvs_status kvs_view_grow(struct kvs_view *view, uint32_t count);
static inline kvs_status kvs_view_reserve(struct kvs_view *view, uint32_t count)
{
    int fits = view->frame_head - view->frame_tail + count <= view->frame_capacity &&
               view->fragment_head - view->fragment_tail + count <= view->fragment_capacity;
    return fits ? KVS_OK : kvs_view_grow(view, count);
}
/* Floors never fall from one fragment to the next: a frame that was stored early and released late lowers those of the
 * fragments before `end`. */
void kvs_view_lower_floor(struct kvs_view *view, uint64_t end, uint64_t offset);
/* Opens a fragment (closing the one before); copies what the caller filled in: prefix, timecode, pts, format, flags. */
void kvs_view_open_fragment(struct kvs_view *view, const struct kvs_fragment *fragment);
/* Appends a frame of a track to the head fragment. */
static inline void kvs_view_push_frame(struct kvs_view *view, const struct kvs_frame *frame, uint32_t payload_size,
                                       uint32_t track)
{
    KVS_CHECK(view->frame_head - view->frame_tail < view->frame_capacity);
    KVS_CHECK(!kvs_view_is_empty(view));
    struct kvs_fragment *fragment = kvs_view_fragment(view, view->fragment_head - 1);
    uint64_t end_hns = frame->pts_hns + frame->duration_hns, end = frame->offset + frame->size;
    *kvs_view_frame(view, view->frame_head++) = *frame;
    view->cum_bytes += frame->size;
    view->cum_payload += payload_size;
    if (end_hns > view->end_hns) view->end_hns = end_hns;
    if (frame->offset < fragment->floor_offset) kvs_view_lower_floor(view, view->fragment_head, frame->offset);
    if (fragment->ceiling_offset < end) fragment->ceiling_offset = end;
    fragment->tracks |= 1u << track;
}
/* Adds a trailer to the head fragment and closes it. */
void kvs_view_end_fragment(struct kvs_view *view, uint64_t trailer_offset, uint32_t trailer_size);
/* Forgets a fragment that is not the oldest: those before it, and their frames, take the next higher numbers. Costs as
 * much as those before it have frames. */
void kvs_view_forget(struct kvs_view *view, uint64_t number);
/* Forgets the oldest fragments, those before `to`. */
void kvs_view_pop_fragments(struct kvs_view *view, uint64_t to);
/* The first fragment in [from, to) whose sent_tc is the one asked for; KVS_TIME_NONE when there is none. They never
 * fall within the range; minus `base` and in milliseconds (floor) they are compared with `wanted_ms`. */
struct kvs_view_query {
    uint64_t from, to, base_tc, scale_hns, wanted_ms;
};
uint64_t kvs_view_find(const struct kvs_view *view, const struct kvs_view_query *query);

#endif

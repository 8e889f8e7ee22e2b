/* order.h — the order of frames across tracks. The payload of a held frame already lies in the chain; only its record
 * waits here, so holding costs no second copy.
 *
 * CUT (enum kvs_order): fragments open at key frames of the lead video track. Such a frame K is held until a later
 * video frame has a greater pts; the cut is the least pts of K and of the frames between (its leading pictures). Frames
 * of the other tracks with pts before the cut leave before K, the rest after it. K waits for a track that has not come
 * that far, but at most `window_hns`; a track left out (`is_silent`) is not waited for and leaves only behind a K.
 * After a step back of the lead (KVS_HELD_RESTART) frames of other tracks that have the old times still leave before K,
 * and those that have the new times already wait for it.
 * DTS, PTS: the earliest front leaves once every track has one. Of two fronts of different type at the same time the
 * key frame leaves first, else the one listed first; the other is moved one timecode unit later.
 *   Always  frames of one track leave in the order they came. */
#ifndef KVS_STORE_ORDER_H
#define KVS_STORE_ORDER_H

#include "base/host.h"
#include "kvspic.h"
#include "store/view.h"

#define KVS_ORDER_QUEUE_MAX 61u                          /* DTS, PTS: frames of one track that may wait */
#define KVS_ORDER_KEY_WAIT_HNS (10 * KVS_HNS_PER_SECOND) /* CUT: how long a frame waits for a key frame to follow */
#define KVS_ORDER_EARLY_MAX_HNS (5 * KVS_HNS_PER_SECOND) /* how far a frame of another track may precede its fragment */
#define KVS_ORDER_APART_HNS                                                                                            \
    KVS_HNS_PER_SECOND /* CUT: a gap this long parts a frame of another track from the fragment */
#define KVS_ORDER_SPAN_MAX_HNS                                                                                         \
    (199 * KVS_HNS_PER_SECOND / 10)   /* CUT: and so does a fragment this long; the service takes 20 s */
#define KVS_ORDER_CUT_QUEUE_MAX 1024u /* CUT: beyond it the front is treated as waited for long enough */

#define KVS_HELD_RESTART 0x200u  /* a flag: with it the times of its track step back */
#define KVS_HELD_OPENS 0x100u /* a flag: a key frame, or what takes its place in a fragment that grew too long */

struct kvs_held {
    struct kvs_frame frame;
    uint64_t dts_hns;
    uint64_t arrival_hns;
    uint64_t index; /* how many frames of its track were put before it */
    uint32_t payload_size;
    uint32_t prefix_space; /* bytes kept free in the chain right before frame.offset, for tags and a cluster header */
    uint32_t format;       /* the number of the format that it was put with */
    uint16_t flags;        /* enum kvs_frame_flag, KVS_HELD_OPENS */
    uint8_t track;         /* index */
    uint8_t is_moved;      /* its pts has been moved by the tie rule */
};

struct kvs_held_queue {
    struct kvs_held *items; /* item i is items[i & (capacity - 1)] */
    uint32_t capacity, tail, head;
    uint32_t newest_restart; /* number of the newest item with KVS_HELD_RESTART */
    uint64_t seen_pts_hns; /* greatest pts so far, since the last step back */
    uint8_t is_seen, is_silent, is_video;
};

struct kvs_order_queue {
    uint32_t mode; /* enum kvs_order; AV acts as DTS */
    uint32_t track_count;
    uint32_t lead; /* CUT: index of the video track that opens fragments */
    uint64_t scale_hns, window_hns;
    uint64_t lead_pts_hns;   /* greatest pts of the lead frames that have left */
    uint64_t latest_pts_hns; /* greatest pts of all frames that have left */
    uint64_t first_pts_hns;  /* least pts in the open fragment; kept by who packages the frames that leave */
    uint8_t is_started;      /* the first key frame has left */
    struct kvs_held_queue queues[KVS_TRACKS_MAX];
};

/* As if no frame had ever come; nothing waits any more. What the stream is configured with stays. */
void kvs_order_reset(struct kvs_order_queue *order);
/* Room for one more frame of this track.   KVS_E_ORDER_FULL (DTS, PTS), KVS_E_NOMEM; nothing changed */
kvs_status kvs_order_reserve(struct kvs_order_queue *order, const struct kvs_host *host, uint32_t track);
void kvs_order_push(struct kvs_order_queue *order, const struct kvs_held *held);
/* 1 and the frame that may leave now, or 0. flush: nothing more will come for now, all may leave. */
int kvs_order_next(struct kvs_order_queue *order, uint64_t now_hns, int flush, struct kvs_held *held_out);
/* 1 and a frame of another track that has waited in vain for a key frame of the lead: it would be too far from one. */
int kvs_order_expired(struct kvs_order_queue *order, uint64_t now_hns, struct kvs_held *held_out);
/* When a held frame will have waited long enough; KVS_TIME_NONE. */
uint64_t kvs_order_next_deadline(const struct kvs_order_queue *order);
uint64_t kvs_order_floor(const struct kvs_order_queue *order); /* least chain offset held; UINT64_MAX when empty */
int kvs_order_names_format(const struct kvs_order_queue *order, uint32_t number);
/* The oldest frame of this track that waits, or NULL. */
const struct kvs_held *kvs_order_front(const struct kvs_order_queue *order, uint32_t track);
/* The index of the oldest frame of this track that waits; `none` when none does. */
uint64_t kvs_order_next_index(const struct kvs_order_queue *order, uint32_t track, uint64_t none);
uint32_t kvs_order_count(const struct kvs_order_queue *order);
void kvs_order_free(struct kvs_order_queue *order, const struct kvs_host *host);

#endif

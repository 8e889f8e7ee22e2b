/* state.h — what the client and its streams keep: data only. Each struct names a file. That one sets it up; files of
 * its layer and above may change it, files below do not name it (tests/tidy/engine_rules.py, held by
 * tests/tidy/test_c.py). The ledger alone changes counts of frames and bytes.
 *
 * Locks, outermost first; a lock is never taken while one further down is held:
 *   stream->writer   one large put, end of fragment, stop, reset, flush at a time per stream; held during the copy of a
 *                    large payload. A small put takes it only to wait for such a copy
 *   stream->lock     everything of the stream; held for bookkeeping and copies below LARGE_FRAME only
 *   client->lock     client machine, stream list, all queues of actions, deadline heap, references
 *   pool lock        inside kvs_pool_*, once per slab
 * A public call locks, changes, arms the stream's deadline, unlocks, and then (no lock held) wakes the host if actions
 * went from none to some. Under a lock only alloc, free and random of the host are called. */
#ifndef KVS_ENGINE_STATE_H
#define KVS_ENGINE_STATE_H

#include <stddef.h>

#include "base/check.h"
#include "base/flag.h"
#include "base/hns.h"
#include "base/host.h"
#include "base/prng.h"
#include "engine/format.h"
#include "engine/times.h"
#include "kvspic.h"
#include "machine/backoff.h"
#include "machine/client_fsm.h"
#include "machine/result.h"
#include "machine/stream_fsm.h"
#include "machine/token.h"
#include "machine/upload_fsm.h"
#include "media/cpd.h"
#include "media/generator.h"
#include "media/mkv.h"
#include "media/nal.h"
#include "media/sets.h"
#include "store/metadata.h"
#include "store/order.h"
#include "store/slab.h"
#include "store/view.h"
#include "wire/ack_parser.h"

#define UPLOADS_MAX 8u
#define LARGE_FRAME 16384u /* above it the payload is copied outside the stream's lock */
#define ACTIONS_MIN 16u
#define ACTIONS_MAX 1024u    /* notices beyond it are counted as lost */
#define ACTIONS_RESERVED 12u /* places that only orders may take, as long as there is memory for more */
/* How many orders can wait: data and end of each upload handle, the request, a failure, a close, and ends of handles
 * that are gone: a new handle's PUT_MEDIA is drained first, and what lies before it with it, so these are few. */
#define ORDERS_MAX(uploads) (2u * (uploads) + 6u)
#define TAGS_PAIRS_MAX 12u

struct action_queue {
    struct kvs_action *items; /* ring */
    uint32_t capacity, first, count;
    uint64_t lost_count; /* notices that found no room since the last report */
};

enum upload_part { PART_HEADER, PART_PREFIX, PART_FRAME, PART_TRAILER, PART_END, PART_PAUSE };

struct upload {
    uint64_t handle;
    uint8_t state;                      /* enum kvs_upload_state */
    uint8_t is_waiting;                 /* its reader waits: the next byte is announced */
    uint8_t slot;                       /* of data_queued; its own while it lives */
    uint8_t part;                       /* enum upload_part: what is read next */
    uint8_t is_bound;                   /* its reader has begun: `first` is fixed */
    uint64_t first, last;               /* fragments it covers; last KVS_TIME_NONE: open end */
    uint64_t at_fragment, at_frame;     /* read position */
    uint64_t at_offset;                 /* inside the part */
    uint64_t done_next;                 /* first fragment of it that is not done */
    uint64_t sent_next;                 /* one past the last fragment that it began to send */
    uint32_t format;                    /* number of the format that its header announces */
    uint64_t last_tc;                   /* cluster time of the fragment that it began last; KVS_TIME_NONE before */
    uint64_t base_tc;                   /* relative times: timecode of its first cluster */
    uint64_t read_cum;                  /* prefix sum (view cum_bytes) of its read position */
    uint64_t cluster_tc, cluster_bytes; /* of the cluster that it began last: its time, how much was read of it */
    uint64_t wait_until_hns;            /* the next cluster may begin then; 0: at once (pace.c) */
    uint8_t is_probe, has_probed;       /* it waits until its first cluster is done; that took too long */
    uint8_t has_end;                    /* the last thing read was a trailer with an end tag */
    uint8_t has_sent;                   /* something of a fragment was read */
    uint64_t opened_hns;
    uint64_t expires_hns;     /* of the token that it was opened with: no byte leaves from then on */
    uint64_t resend_hns;      /* what a PERSISTED passed over is sent again then; KVS_TIME_NONE: nothing */
    uint64_t quiet_since_hns; /* bytes went out since and no ACK came; KVS_TIME_NONE: none is due */
    uint8_t is_stale;
    struct kvs_ack_parser parser;
};

/* Calls without a picture, as they will begin the next frame's payload. */
struct joined {
    uint8_t *bytes;
    uint32_t size, capacity, calls, flags; /* flags: enum kvs_frame_flag */
};

struct track {
    uint64_t id;
    uint32_t type;
    uint8_t cpd_from_frames; /* without KVS_WHOLE_PICTURES */
    uint8_t has_parts;       /* parts.c looks into what is put */
    struct track_times times;
    struct kvs_sets sets;
    struct joined joined;
    uint64_t fragment_frames; /* in the open fragment */
    uint64_t frames_put;      /* taken by kvs_stream_put_frame, calls without a picture too */
};

/* Bytes of the chain that a reader has in its hands (kvs_upload_lend): none of the slabs from..to lie in goes. */
struct lent {
    uint64_t handle; /* KVS_UPLOAD_NONE: a free place */
    uint64_t from, to;
};

struct limits {
    uint64_t fragment_duration_hns, buffer_duration_hns, latency_max_hns, staleness_max_hns, replay_max_hns;
    uint64_t eofr_idle_hns, retention_hns, scale_hns;
    uint64_t fragment_duration_min_hns, fragment_duration_max_hns, fragment_size_max;
    uint64_t slabs_max, data_delay_hns;
    uint32_t frames_max, metadata_max;
};

/* ---- what each file keeps of a stream --------------------------------------------------------------------------- */

/* queue.c: what goes out of a stream. `request`, `request_count`, `put_hns` and `wants_wake` are under the stream's
 * lock, the rest is under the client's. */
struct outbox {
    uint64_t user;                   /* comes back in each action */
    uint64_t request, request_count; /* number of the outstanding order, 0: none; of all so far */
    uint64_t notices_lost;           /* of all so far, for want of room */
    uint64_t put_hns;                /* of the put that announces its bytes; KVS_TIME_NONE outside one */
    uint8_t wants_wake;              /* wake the host after unlocking */
    uint8_t in_list;
    uint8_t data_queued[UPLOADS_MAX]; /* a KVS_ACTION_DATA of this slot waits: one is enough (base/flag.h) */
    struct action_queue actions;
    struct kvs_stream *next_listed, *previous_listed; /* of the streams with actions */
};

/* heap.c: the stream's place in the client's heap of deadlines, under the client's lock. */
struct timer {
    uint64_t armed_hns; /* as the heap knows it, under the stream's lock; never later than the true deadline */
    uint64_t key;
    uint32_t index; /* UINT32_MAX: not in the heap */
};

/* names.c: by name, under the client's lock. */
struct named {
    char *name;
    uint32_t hash;
    struct kvs_stream *next; /* of those in the same bucket */
};

/* client.c: the client's list of all streams, under its lock. */
struct member {
    struct kvs_stream *next, *previous;
    uint32_t references;
    uint8_t is_dead;
};

/* stream.c: what the configuration says; nal_flags alone can change later. */
struct mode {
    uint32_t flags, streaming_type, nal_flags, full_policy, backward_policy, kinds;
    uint8_t segment_uuid[16];
};

/* ledger.c: what is counted, and what of the view is settled. */
struct ledger {
    struct kvs_stream_metrics metrics;             /* counters; the rest is filled in when asked */
    uint64_t settled_count;                        /* fragments in the view that are done or dropped */
    uint64_t trimmed_tail;                         /* the view's tail when the chain was trimmed last */
    uint64_t inflight_offset;                      /* chain bytes being written outside the lock; UINT64_MAX: none */
    uint64_t skip_pts_hns, skip_count, skip_bytes; /* skipped frames that are not reported yet */
    uint8_t is_skipping;                           /* the first of a run of skipped frames has been reported */
    uint8_t wants_room;                            /* a put was refused: KVS_ACTION_ROOM follows */
    uint8_t is_stopped;                            /* no frame is put any more */
};

/* lend.c */
struct lents {
    struct lent items[UPLOADS_MAX];
    uint32_t count; /* of them in use */
};

/* formats.c: all formats that are in use. */
struct formats {
    struct format *first, *current; /* oldest; what the next put is made for */
    uint32_t count;                 /* of all that were made: the number of the newest */
};

/* pace.c */
struct pace {
    uint64_t cluster_due_hns; /* no reader begins a cluster before it */
    uint64_t join_from;       /* fragments before it go out alone */
    uint8_t is_probing;       /* a session was refused and nothing was done since */
    uint8_t is_slow;          /* clusters are paced although no limit asks for it */
};

/* uploads.c */
struct uploads {
    struct upload *items[UPLOADS_MAX + 1u]; /* by first fragment, oldest first; NULL at the end */
    uint64_t handle_count;                  /* of all so far: the newest handle */
    uint32_t last_result;                   /* of the service: what the next UPLOAD_END gives as the reason */
};

/* put.c: the fragment that puts go to, as far as it is put; for fragments that are split by length or size. */
struct opening {
    uint64_t first_pts_hns;                 /* of the frame that begins it */
    uint64_t least_pts_hns, newest_pts_hns; /* of the lead's frames in it; least KVS_TIME_NONE: there is none */
    uint64_t size;
    uint32_t content; /* struct format's, of the frame that begins it */
};

/* Where the next frame stands. Everywhere but INSIDE it is skipped unless it opens a fragment. */
enum edge {
    EDGE_INSIDE = 0, /* behind the frames of the open fragment, which it can continue; put.c tests it as `unusual` */
    EDGE_BROKEN, /* what it could continue was dropped, or there is none yet */
    EDGE_ENDED,  /* an end of fragment was put last */
    EDGE_COUNT
};
enum edge_event { EDGE_EV_OPENED, EDGE_EV_ENDED, EDGE_EV_LOST /* a frame or the open fragment */, EDGE_EV_COUNT };

/* package.c */
struct packer {
    uint64_t last_cluster_tc;      /* of the newest fragment; KVS_TIME_NONE before */
    uint64_t latest_tc, closed_tc; /* greatest timecode of all blocks, of those in closed fragments; of a session */
    uint64_t last_key_pts_hns;
    uint64_t idle_since_hns;   /* a source that puts nothing from then on is idle; KVS_TIME_NONE: it is not */
    uint32_t packaged_format;  /* number of the newest fragment's; a session has one only */
    uint32_t packaged_content; /* struct format's, of the newest fragment */
    union {                    /* any of them: the next frame is looked at from all sides (put.c) */
        struct {
            uint8_t is_unusual;     /* as it was opened: frames are ordered, keys made here, times the clock's */
            uint8_t edge;           /* enum edge */
            uint8_t starts_session; /* the next fragment must be the first of its session */
            uint8_t force_key;      /* DTS_EOFR: whatever frame follows an end of fragment opens the next one */
            uint8_t skip_arrivals;  /* CUT: a frame of the lead was dropped on arrival; its successors need it */
            uint8_t was_refused;    /* the last put found no room */
            uint8_t is_shifted;     /* something is added to the times of a track */
        };
        uint64_t unusual;
    };
    uint8_t is_stopping; /* what is held leaves, and nothing follows it */
};
_Static_assert(offsetof(struct packer, is_stopping) == offsetof(struct packer, unusual) + sizeof(uint64_t),
               "`unusual` covers all of the marks that it stands for");

/* pressure.c: which warnings are on. */
struct pressure {
    uint64_t checked_slabs;                  /* held when the store's was last looked at; its limit never changes */
    uint8_t is_on[KVS_PRESSURE_LATENCY + 1]; /* by enum kvs_pressure */
};

/* machine.c: the stream's life as the service sees it. */
struct machine {
    struct kvs_backoff backoff, session_backoff;
    struct kvs_token token;
    struct kvs_pace paces[KVS_ACTION_PUT_MEDIA - KVS_ACTION_DESCRIBE_STREAM + 1]; /* of each kind of order */
    uint64_t wait_hns;                                                            /* before the next order is sent */
    uint64_t described_retention_hns;
    uint64_t received_hns;      /* of the first RECEIVED since the last PERSISTED; KVS_TIME_NONE: none */
    uint64_t describe_wait_hns; /* how long that may go on; 0: as long as at first */
    uint64_t skipped_start_hns; /* KVS_PUT_OPENS: of a session that a skipped frame opens; KVS_TIME_NONE: none does */
    kvs_status failure;
    uint8_t state; /* enum kvs_stream_state */
    uint8_t is_closed, is_ours /* made by our CreateStream */, is_rotating;
    uint8_t waits_for_put; /* KVS_PUT_OPENS: a session timed out with all sent */
};

struct kvs_stream {
    struct kvs_client *client;
    const struct kvs_host *host; /* the client's copy */
    void *writer, *lock;
    struct mode mode;
    struct limits limits;
    struct kvs_prng prng;

    struct member member;
    struct named named;
    struct timer timer;
    struct outbox out;

    struct kvs_chain chain;
    struct kvs_view view;
    struct kvs_order_queue order;
    struct ledger ledger;

    struct uploads uploads;
    struct lents lents;
    struct formats formats;
    struct pace pace;

    uint32_t track_count;
    struct track tracks[KVS_TRACKS_MAX];
    struct kvs_metadata metadata;
    struct kvs_generator generator;
    struct packer packer;
    struct opening opening;
    struct pressure pressure;

    struct machine machine;
};

struct kvs_client {
    struct kvs_host host;
    void *lock;
    struct kvs_pool pool;
    struct kvs_prng prng;
    char client_id[65];
    uint32_t stream_count_max, stream_count;
    uint64_t backoff_base_hns, backoff_cap_hns;
    uint8_t has_tags;

    uint8_t state; /* enum kvs_client_state */
    uint8_t was_ready, wants_room;
    uint64_t request, request_count;
    struct kvs_backoff backoff;
    uint64_t token_expires_hns, deadline_hns;
    uint64_t retry_count;

    struct action_queue actions;
    uint8_t wants_wake;
    uint8_t is_muted; /* the host was not woken for what is pending: its next turn is at fetch_hns (queue.c) */
    uint8_t is_fetch; /* the turn of poked_hns is the one that was due by fetch_hns */
    uint64_t poked_hns, fetch_hns;
    uint64_t data_hns, data_before_hns;    /* turns that handed out data: the last one, and the one before it */
    struct kvs_stream *streams, **buckets; /* all of them; by name */
    uint32_t bucket_count;                 /* a power of two, or 0 */
    struct kvs_stream *first_listed, *last_listed;
    struct kvs_stream **heap;
    uint32_t heap_count, heap_capacity;
};

static inline int stream_waits_for_acks(const struct kvs_stream *stream)
{
    return (stream->mode.flags & KVS_WANT_ACKS) != 0;
}

#endif

/* engine.h — what the files of csrc/engine share: the client, the stream, the upload handle, and who may touch them.
 *
 * Locks, outermost first; a lock is never taken while one further down is held:
 *   stream->writer   one large put, end of fragment, stop, reset, flush at a time per stream; held during the copy of a
 *                    large payload. A small put takes it only to wait for such a copy
 *   stream->lock     everything of the stream; held for bookkeeping and copies below LARGE_FRAME only
 *   client->lock     client machine, stream list, all queues of actions, deadline heap, references
 *   pool lock        inside kvs_pool_*, once per slab
 * A public call locks, changes, arms the stream's deadline, unlocks, and then (no lock held) wakes the host if actions
 * went from none to some. Under a lock only alloc, free and random of the host are called. */
#ifndef KVS_ENGINE_ENGINE_H
#define KVS_ENGINE_ENGINE_H

#include "base/check.h"
#include "base/flag.h"
#include "base/hns.h"
#include "base/host.h"
#include "base/prng.h"
#include "engine/format.h"
#include "kvspic.h"
#include "machine/backoff.h"
#include "machine/client_fsm.h"
#include "machine/stream_fsm.h"
#include "machine/token.h"
#include "machine/upload_fsm.h"
#include "media/cpd.h"
#include "media/generator.h"
#include "media/mkv.h"
#include "store/metadata.h"
#include "store/order.h"
#include "store/slab.h"
#include "store/view.h"
#include "wire/ack_parser.h"

#define UPLOADS_MAX 8u
#define LARGE_FRAME 16384u /* above it the payload is copied outside the stream's lock */
#define ACTIONS_MIN 16u
#define ACTIONS_MAX 1024u    /* notices beyond it are counted as lost */
#define ACTIONS_RESERVED 12u /* places that only orders may take */
#define TAGS_PAIRS_MAX 12u

struct action_queue {
    struct kvs_action *items; /* ring */
    uint32_t capacity, first, count;
    uint64_t lost_count; /* notices that found no room since the last report */
};

enum upload_part { PART_HEADER, PART_PREFIX, PART_FRAME, PART_TRAILER, PART_END };

struct upload {
    uint64_t handle;
    uint8_t state;                  /* enum kvs_upload_state */
    uint8_t is_waiting;             /* the reader was told to wait: the next byte is announced */
    uint8_t slot;                   /* of data_queued; its own while it lives */
    uint8_t part;                   /* enum upload_part: what is read next */
    uint8_t is_bound;               /* its first fragment is settled */
    uint64_t first, last;           /* fragments it covers; last KVS_TIME_NONE: open end */
    uint64_t at_fragment, at_frame; /* read position */
    uint64_t at_offset;             /* inside the part */
    uint64_t done_next;             /* first fragment of it that is not done */
    uint64_t sent_next;             /* one past the last fragment that it began to send */
    uint32_t format;                /* number of the format that its header announces */
    uint64_t last_tc;               /* cluster time of the fragment that it began last; KVS_TIME_NONE before */
    uint64_t base_tc;               /* relative times: timecode of its first cluster */
    uint64_t read_cum;              /* prefix sum (view cum_bytes) of its read position */
    uint8_t has_end;                /* the last thing read was a trailer with an end tag */
    uint8_t has_sent;               /* something of a fragment was read */
    uint64_t opened_hns;
    uint64_t quiet_since_hns; /* bytes went out since and no ACK came; KVS_TIME_NONE: nothing is owed */
    uint8_t is_stale;
    struct kvs_ack_parser parser;
};

struct track {
    uint64_t id;
    uint32_t type;
    uint8_t cpd_from_frames, is_seen;
    uint64_t last_dts_hns, last_input_hns, last_step_hns,
        shift_hns;            /* input: before frames in one unit were told apart */
    uint64_t fragment_frames; /* in the open fragment */
    uint64_t frames_put;      /* taken by kvs_stream_put_frame */
};

struct limits {
    uint64_t fragment_duration_hns, buffer_duration_hns, latency_max_hns, staleness_max_hns, replay_max_hns;
    uint64_t eofr_idle_hns, retention_hns, scale_hns;
    uint64_t fragment_duration_max_hns, fragment_size_max;
    uint64_t slabs_max;
    uint32_t frames_max, metadata_max;
};

struct kvs_stream {
    struct kvs_client *client;
    const struct kvs_host *host; /* the client's copy */
    void *writer, *lock;
    uint64_t user;
    char *name;
    uint32_t name_hash;
    uint32_t flags, streaming_type, nal_flags, full_policy, backward_policy;
    struct limits limits;
    uint32_t track_count, kinds;
    struct track tracks[KVS_TRACKS_MAX];
    uint8_t segment_uuid[16];
    struct kvs_prng prng;

    /* machine */
    uint8_t state; /* enum kvs_stream_state */
    uint8_t is_stopped, is_closed, is_ours /* made by our CreateStream */, is_rotating, has_waited /* READY reached */;
    kvs_status failure;
    uint32_t last_result;
    uint64_t request; /* number of the outstanding order, 0: none */
    uint32_t request_kind;
    uint64_t request_count, upload_count;
    struct kvs_backoff backoff, session_backoff;
    uint64_t wait_hns; /* owed before the next order */
    struct kvs_token token;
    uint64_t described_retention_hns;

    /* data */
    struct kvs_chain chain;
    struct kvs_view view;
    struct kvs_order_queue order;
    struct kvs_metadata metadata;
    struct kvs_generator generator;
    struct format *formats, *format; /* all that are in use; what the next put is made for */
    uint32_t format_count;
    struct upload *uploads[UPLOADS_MAX]; /* by first fragment, oldest first; NULL at the end */
    uint64_t inflight_offset;            /* chain bytes being written outside the lock; UINT64_MAX: none */
    uint64_t sent_frames;                /* one past the newest frame that was ever read whole */
    uint64_t last_cluster_tc;            /* of the newest fragment; KVS_TIME_NONE before */
    uint64_t latest_tc, closed_tc; /* greatest timecode of all blocks, of those in closed fragments; of a session */
    uint64_t last_key_pts_hns;
    uint64_t opened_pts_hns, opened_size, newest_pts_hns; /* of the fragment that puts go to, as far as it is put */
    uint64_t opening_pts_hns;                             /* of the frame that begins it */
    uint64_t skip_pts_hns, skip_count, skip_bytes;        /* skipped frames not yet reported */
    uint8_t skip_until_key, is_ended /* the last item was an end of fragment */, force_key, starts_session;
    uint8_t is_skipping;   /* the first of a run of skipped frames has been reported */
    uint8_t skip_arrivals; /* CUT: a frame of the lead was dropped on arrival; its successors need it */
    uint8_t was_refused;   /* the last put found no room */
    uint8_t wants_room, store_pressure, buffer_pressure, latency_pressure;
    uint64_t checked_slabs; /* held when the store's pressure was last looked at; its limit never changes */

    struct kvs_stream_metrics metrics; /* counters; the rest is filled in when asked */
    uint64_t settled_count;            /* fragments in the view that are done or dropped */
    uint64_t trimmed_tail;             /* the view's tail when the chain was trimmed last */

    /* out */
    uint8_t wants_wake; /* wake the host after unlocking */
    uint64_t armed_hns; /* deadline as the client's heap knows it; never later than the true one */

    /* the client's, under its lock */
    struct action_queue actions;
    uint8_t data_queued[UPLOADS_MAX];   /* a KVS_ACTION_DATA of this slot waits: one is enough (base/flag.h) */
    struct kvs_stream *next, *previous; /* all streams */
    struct kvs_stream *next_named;      /* of those in the same bucket */
    struct kvs_stream *next_listed, *previous_listed;
    uint32_t heap_index; /* UINT32_MAX: not in the heap */
    uint64_t heap_key;
    uint32_t references;
    uint8_t is_dead, in_list;
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
    struct kvs_stream *streams, **buckets; /* all of them; by name */
    uint32_t bucket_count;                 /* a power of two, or 0 */
    struct kvs_stream *first_listed, *last_listed;
    struct kvs_stream **heap;
    uint32_t heap_count, heap_capacity;
};

/* ---- action.c: the queue of actions going out -------------------------------------------------------------------- */

kvs_status actions_init(struct action_queue *queue, const struct kvs_host *host);
void actions_fini(struct action_queue *queue, const struct kvs_host *host);
void actions_push(struct action_queue *queue, const struct kvs_host *host, const struct kvs_action *action,
                  int is_order);
/* Both under the stream's lock; they take the client's, list the stream and note that the host is to be woken. */
void stream_order(struct kvs_stream *stream, const struct kvs_action *action);
void stream_notice(struct kvs_stream *stream, const struct kvs_action *action);
/* Forgets an order of the outstanding request that nobody has drained yet. */
void stream_withdraw_request(struct kvs_stream *stream);
/* Forgets a DATA of the upload handle with this slot. */
void stream_withdraw_data(struct kvs_stream *stream, uint32_t slot);
void client_push(struct kvs_client *client, const struct kvs_action *action, int is_order);

/* ---- client.c ---------------------------------------------------------------------------------------------------- */

void client_unlock_and_wake(struct kvs_client *client);
void client_unlink(struct kvs_client *client, struct kvs_stream *stream);
void client_poke(struct kvs_client *client, uint64_t now_hns);
void client_release(struct kvs_stream *stream);

/* ---- names.c ----------------------------------------------------------------------------------------------------- */

kvs_status names_reserve(struct kvs_client *client);                             /* for one more stream */
int names_has(const struct kvs_client *client, const struct kvs_stream *stream); /* another one of the same name */
void names_add(struct kvs_client *client, struct kvs_stream *stream);
void names_remove(struct kvs_client *client, const struct kvs_stream *stream);

/* ---- deadline.c -------------------------------------------------------------------------------------------------- */

void deadline_arm(struct kvs_stream *stream); /* under the stream's lock */
void deadline_remove(struct kvs_client *client, struct kvs_stream *stream);
kvs_status deadline_reserve(struct kvs_client *client);

/* ---- stream.c, answer.c: the stream machine ---------------------------------------------------------------------- */

void stream_unlock(struct kvs_stream *stream);     /* arms the deadline and wakes */
void stream_write_lock(struct kvs_stream *stream); /* the writer's lock, then the stream's */
void stream_write_unlock(struct kvs_stream *stream);
void stream_step(struct kvs_stream *stream, uint32_t event, uint64_t now_hns);
void stream_fail(struct kvs_stream *stream, uint32_t event, kvs_status cause, uint32_t result, uint64_t now_hns);
void stream_settle_all(struct kvs_stream *stream, uint64_t now_hns);
void stream_destroy(struct kvs_stream *stream);
int stream_done_on_received(const struct kvs_stream *stream);

/* ---- session.c: which upload handle covers which fragments ------------------------------------------------------- */

int session_has_place(const struct kvs_stream *stream); /* for one more handle; else wait until one goes */
int session_gap(const struct kvs_stream *stream, uint64_t *first_out, uint64_t *last_out);
kvs_status session_open(struct kvs_stream *stream, uint64_t first, uint64_t last, uint64_t now_hns);
void session_move(struct kvs_stream *stream, struct upload *upload, uint32_t event);
void session_abort(struct kvs_stream *stream, struct upload *upload, uint32_t result);
void session_abort_open(struct kvs_stream *stream, uint32_t result);
void session_abort_all(struct kvs_stream *stream, uint32_t result);
void session_remove(struct kvs_stream *stream, struct upload *upload);
void session_announce_all(struct kvs_stream *stream);
int session_is_told(const struct kvs_stream *stream); /* of what a put brings, by the caller */
void session_lost(struct kvs_stream *stream, uint32_t result, uint64_t now_hns);
void session_limit_replay(struct kvs_stream *stream, uint64_t first, uint64_t last);
void session_limit(struct kvs_stream *stream, uint64_t last); /* open ends stop at this fragment */
uint64_t upload_unsent(const struct kvs_stream *stream, const struct upload *upload);

/* ---- put.c, package.c, room.c: frames in ------------------------------------------------------------------------- */

/* Both under writer and stream lock. */
void package_held(struct kvs_stream *stream, int flush, uint64_t now_hns);
kvs_status package_end_fragment(struct kvs_stream *stream, uint64_t now_hns);
void package_trailer(struct kvs_stream *stream, uint64_t now_hns);
uint64_t track_settled(const struct kvs_stream *stream, uint32_t track); /* owed no more but for fragments */
/* Packages it, or drops it with a reason. plan: the generator's for this frame if it still holds, else NULL. */
void package_place(struct kvs_stream *stream, const struct kvs_held *held, const struct kvs_generator_plan *plan);
int room_is_over_limits(const struct kvs_stream *stream, uint64_t end_hns);
kvs_status room_make(struct kvs_stream *stream, uint64_t size, uint64_t end_hns, uint64_t now_hns);
void skip_frame(struct kvs_stream *stream, uint64_t pts_hns, uint32_t size);
void skip_report(struct kvs_stream *stream);

/* ---- ledger.c: what is done, what is dropped --------------------------------------------------------------------- */

/* Fragments from..to-1. The oldest are forgotten at once, their memory with the next trim. */
void ledger_done(struct kvs_stream *stream, uint64_t from, uint64_t to);
void ledger_drop_fragment(struct kvs_stream *stream, uint64_t number, uint32_t reason);
void ledger_forget(struct kvs_stream *stream, uint64_t number); /* dropped, and not the oldest */
void ledger_drop_all(struct kvs_stream *stream, uint32_t reason);
void ledger_trim(struct kvs_stream *stream);
void ledger_handed_out(struct kvs_stream *stream);

/* ---- formats.c: the list of formats ------------------------------------------------------------------------------ */

void formats_append(struct kvs_stream *stream, struct format *made, int is_current); /* numbers it; the list owns it */
void formats_prune(struct kvs_stream *stream);
struct format *formats_find(const struct kvs_stream *stream, uint32_t number);
/* The number of a format with the codec private data of `number` and this mask; made when there is none. */
uint32_t formats_with_mask(struct kvs_stream *stream, uint32_t number, uint32_t mask);
int ledger_is_being_sent(const struct kvs_stream *stream, uint64_t number);

/* ---- ack.c, pressure.c ------------------------------------------------------------------------------------------- */

void ack_apply(struct kvs_stream *stream, struct upload *upload, const struct kvs_ack *ack, uint64_t now_hns);
void pressure_check_all(struct kvs_stream *stream);
uint64_t pressure_unsent(const struct kvs_stream *stream); /* how much media nobody has read yet */
/* Whether the service owes an ACK on this handle, and since when; after bytes went out and after an ACK. */
void pressure_note_owed(struct kvs_stream *stream, struct upload *upload, uint64_t now_hns);
uint64_t upload_sent_whole(const struct kvs_stream *stream, const struct upload *upload);
void pressure_stale(struct kvs_stream *stream, struct upload *upload, uint64_t now_hns);

/* ---- on the way of every frame: most often there is nothing to do ------------------------------------------------ */

static inline int stream_waits_for_acks(const struct kvs_stream *stream)
{
    return (stream->flags & KVS_WANT_ACKS) != 0;
}

static inline struct upload *session_find(const struct kvs_stream *stream, uint64_t handle)
{
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads[i] != NULL; i++) {
        if (stream->uploads[i]->handle == handle) return stream->uploads[i];
    }
    return NULL;
}

/* One session without an end covers all that is buffered. */
static inline int session_covers_all(const struct kvs_stream *stream)
{
    const struct upload *only = stream->uploads[0];
    return only != NULL && only->state != KVS_UPLOAD_DEAD && only->last == KVS_TIME_NONE &&
           only->first <= stream->view.fragment_tail;
}

/* Opens a session where one is needed, closes a stopped stream that has drained. After anything that could matter; 0
 * when it did not. */
static inline int stream_settle(struct kvs_stream *stream, uint64_t now_hns)
{
    if (!stream->is_stopped && session_covers_all(stream)) return 0;
    stream_settle_all(stream, now_hns);
    return 1;
}

static inline void stream_lock(struct kvs_stream *stream) { kvs_host_lock(stream->host, stream->lock); }

/* Without a look at the deadlines: where none has come nearer. */
static inline void stream_unlock_quiet(struct kvs_stream *stream)
{
    const struct kvs_host *host = stream->host;
    int wake = stream->wants_wake;
    stream->wants_wake = 0;
    kvs_host_unlock(host, stream->lock);
    if (wake) kvs_host_wake(host);
}

/* Tells waiting readers that there are bytes. */
static inline void session_announce(struct kvs_stream *stream)
{
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads[i] != NULL; i++) {
        struct upload *upload = stream->uploads[i];
        if (!upload->is_waiting) continue;
        if (kvs_flag_get(&stream->data_queued[upload->slot])) { /* who takes that one out has yet to read */
            upload->is_waiting = 0;
            continue;
        }
        session_announce_all(stream);
        return;
    }
}

/* Room for a frame that lasts until then: nothing has to go, no slab is to be taken. */
static inline int room_is_there(const struct kvs_stream *stream, uint64_t size, uint64_t end_hns)
{
    int is_limited = stream->limits.frames_max != 0 || stream->limits.buffer_duration_hns != 0;
    return kvs_chain_has_room(&stream->chain, size) && !(is_limited && room_is_over_limits(stream, end_hns));
}

static inline void pressure_check(struct kvs_stream *stream)
{
    int is_timed = stream->limits.buffer_duration_hns != 0 || stream->limits.latency_max_hns != 0;
    if (is_timed || stream->checked_slabs != stream->chain.held_count) pressure_check_all(stream);
}

#endif

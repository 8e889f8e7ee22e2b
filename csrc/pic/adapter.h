/* adapter.h — what the files of csrc/pic share: the client and stream behind the handles, and who may touch them.
 *
 * The adapter adds to kvspic.h what the field's names ask for: handles, callbacks, tokens, waiting. It has locks for
 * bookkeeping only. None is held during a callback, and each is taken before the core's own:
 *   client->lock   the list of streams, the list of objects to be drained, orders, credentials, all that calls wait for
 *   object->lock   one of each stream: its queue of actions, its uploads, rates and notices; one of the client's queue
 * A thread takes the client's lock before an object's, and never holds two objects' locks. A put, a read or an ACK
 * takes its stream's lock alone, unless the core has actions.
 * Life      A public call holds a reference to the object of its handle (handle.h). Freeing closes the handle and waits
 *           until it holds the only reference. Inside a callback it does not wait: the last to give a reference back
 *           destroys the object. So an object is closed (its handle), then closing (waiting calls return), and a stream
 *           is gone once it has no references.
 * Draining  Actions of the core are moved into one queue per stream and one of the client (drain.c). One thread at a
 *           time drains a queue; a call inside a callback leaves its actions to the call that is being called back. */
#ifndef KVS_PIC_ADAPTER_H
#define KVS_PIC_ADAPTER_H

#include <stdatomic.h>

#include "base/host.h"
#include "kvspic.h"
#include "pic.h"
#include "pic/handle.h"

#define UPLOADS_KNOWN_MAX 16u
#define LINE_SIZE 64u /* of the cache */

struct pic_stream;
struct pic_client;

struct pic_node {
    struct pic_node *next;
    struct kvs_action action;
};

struct pic_order {                    /* the order whose answer is awaited; kind 0: none */
    uint32_t kind;
    uint64_t request, upload, call_after_hns;
};

/* What a client and a stream have in common: a handle, an order whose answer is awaited, a queue of actions. */
struct pic_object {
    struct pic_stream *stream;        /* NULL: the client's own */
    struct pic_slot *slot;
    UINT64 handle;
    void *lock;                       /* of client->host */

    /* under its lock */
    struct pic_node *first, *last;
    uint8_t is_draining;              /* claimed by one thread, which looks here again before it gives the claim up */
    uint8_t wants_data_notice;
    uint64_t latency_hns, stale_hns;  /* to be reported when not 0 */

    /* under client->lock */
    struct pic_object *next_ready;
    struct pic_order order;
    STATUS failure;
    _Atomic uint64_t room_count;      /* read without it, too */
    uint8_t is_listed;                /* in client->first_ready .. last_ready */
    uint8_t is_creating, is_ready, is_closing;
    uint8_t has_failed_call;          /* since the last order: the program's retry strategy says when the next is due */
};

struct pic_auth {                     /* immutable once it is shared */
    atomic_uint references;
    AuthInfo info;
};

enum pic_upload_state { PIC_UPLOAD_NONE, PIC_UPLOAD_OPEN, PIC_UPLOAD_DRAINED, PIC_UPLOAD_OVER };
struct pic_upload {
    UPLOAD_HANDLE handle;
    uint64_t core;                    /* the core's name for it */
    uint64_t created_hns;
    uint8_t state, has_read;
    uint64_t stale_from_hns;          /* no ACK has come since, and the program knows; 0: it is not stale */
    uint8_t is_aborted;               /* its reader is to leave at once, without waiting for a last answer */
};

struct pic_rates {
    DOUBLE frame_rate, elementary_frame_rate, transfer_rate;
    uint64_t last_put_hns, last_pts_hns;
    _Atomic uint64_t sample_hns, sample_bytes; /* read and counted without the lock, begun again under it */
    uint64_t session_duration_hns, control_latency_hns, data_latency_hns;
    uint64_t sessions_read, put_errors, fragments_dropped, latency_pressures, stale_events;
    UINT32 retry_number;
};

struct pic_stream {
    struct pic_client *client;        /* holds a reference to it */
    struct pic_object object;
    struct kvs_stream *core;
    StreamInfo info;                  /* ours, after the defaults; its pointers are ours too */
    atomic_uint is_called_inside;     /* the last call for this stream came inside a callback */
    _Atomic int64_t room;             /* bytes that it may put before it looks at the store; not while room is scarce */

    /* under object.lock */
    struct pic_upload uploads[UPLOADS_KNOWN_MAX]; /* oldest first */
    struct pic_rates rates;
    UPLOAD_HANDLE last_upload;

    /* under client->lock */
    struct pic_stream *next, *previous, *next_named;
    struct pic_auth *token;
    STATUS create_status;
    struct pic_stream *next_later, *previous_later;
    struct pic_node *later;           /* an order that is not due yet; NULL with later_hns: the core is to retry then */
    uint64_t later_hns;               /* KVS_TIME_NONE: neither */
    uint32_t outage_count;            /* how often the core has given up since a fragment was done */
    uint8_t is_in_outage;             /* the program knows of it */
    uint8_t is_closed, is_stopped, is_shutdown_reported;
    uint8_t is_gone;                  /* no references are left: it is being taken apart */
    char *endpoint, *arn;
};

struct pic_client {
    struct kvs_client *core;
    struct kvs_host host;
    ClientCallbacks callbacks;        /* ours, after the defaults */
    DeviceInfo device;                /* ours, after the defaults */
    KvsRetryStrategy strategy;
    uint8_t has_strategy;
    MUTEX lock;
    CVAR changed;                     /* broadcast whenever something that a call waits for may have happened */
    atomic_uint woken;                /* the core may have actions */
    _Atomic uint64_t deadline_hns;    /* not later than the core's */
    atomic_uint is_scarce;            /* room in the store: every put looks */
    uint8_t apart[LINE_SIZE];         /* above: read by all calls, seldom written; below: written by many */
    _Atomic uint64_t last_now_hns, ahead_hns; /* ahead: of the program's clock, by all that it was ever set back */
    uint8_t apart_too[LINE_SIZE];
    struct pic_object object;

    /* under lock */
    struct pic_object *first_ready, *last_ready;
    struct pic_node *free_nodes, *parked; /* parked: credentials to be fetched later */
    uint32_t free_node_count;
    struct pic_stream *first_later;
    uint64_t later_hns;               /* not later than the least of theirs */
    struct pic_stream *streams;
    struct pic_stream **names;        /* the same by hash of name, linked by next_named; a power of two of places */
    uint32_t stream_count, name_place_count;
    struct pic_auth *token, *certificate;
    STATUS source_status;
    uint8_t has_fingerprint;
};

/* ---- object.c: what is the same for a client and a stream ------------------------------------------------------- */

/* How an order ended: what kvs_client_answer and kvs_stream_answer ask for. */
struct pic_answer {
    uint32_t result, auth, stream_status;
    uint64_t retention_hns, expires_hns; /* expires_hns: on the program's clock */
};
/* Gives the core the answer to the object's outstanding order. STATUS_INVALID_STREAM_STATE: it has none of this kind,
 * and nothing changed. */
STATUS pic_answer(struct pic_client *client, struct pic_object *object, uint32_t kind, const struct pic_answer *answer);
/* Waits until the object is ready, has failed or is freed; under the client's lock. STATUS_OPERATION_TIMED_OUT: none of
 * them came in that time. */
STATUS pic_await_ready(struct pic_client *client, const struct pic_object *object, uint64_t most_hns);
/* What freeing begins with: closes the handle and makes *place invalid. 0: it never was a handle of this kind, and
 * nothing changed. The object comes with the handle's own reference; NULL: the handle is invalid, or it was freed. */
int pic_take_handle(UINT64 *place, uint32_t kind, void **object_out);
/* Gives back a reference to a closed object, and destroys the object when it was the last one. `waits`: until it is the
 * last one, unless inside a callback. */
void pic_let_go(struct pic_client *client, struct pic_object *object, int waits);
static inline void pic_release(struct pic_client *client, struct pic_object *object)
{
    if (!pic_slot_try_release(object->slot)) pic_let_go(client, object, 0);
}
static inline void pic_client_release(struct pic_client *client) { pic_release(client, &client->object); }
static inline void pic_stream_release(struct pic_stream *stream) { pic_release(stream->client, &stream->object); }
void pic_average(uint64_t *average, uint64_t value); /* a moving one; 0: there is none yet */
DOUBLE pic_average_rate(DOUBLE old, DOUBLE value);

/* ---- client.c, stream.c: life ---------------------------------------------------------------------------------- */

void pic_lock(struct pic_client *client);
void pic_unlock(struct pic_client *client);
/* A client's host always has locks, and an object its own. */
static inline void pic_lock_object(struct pic_client *client, const struct pic_object *object)
{
    client->host.lock(client->host.ctx, object->lock);
}
static inline void pic_unlock_object(struct pic_client *client, const struct pic_object *object)
{
    client->host.unlock(client->host.ctx, object->lock);
}
static inline void pic_lock_stream(const struct pic_stream *stream)
{
    pic_lock_object(stream->client, &stream->object);
}
static inline void pic_unlock_stream(const struct pic_stream *stream)
{
    pic_unlock_object(stream->client, &stream->object);
}
void pic_broadcast(struct pic_client *client);
/* The core's time, which goes on where the program's clock is set back, and the same time as that clock has it. */
uint64_t pic_now(struct pic_client *client);
uint64_t pic_clock_of(struct pic_client *client, uint64_t time_hns);
uint64_t pic_time_of(struct pic_client *client, uint64_t clock_hns);
void pic_client_destroy(struct pic_client *client); /* no references are left; no lock held */
void pic_stream_destroy(struct pic_stream *stream);
/* Shuts down and destroys a stream whose handle has just been closed by the caller. */
void pic_stream_close(struct pic_stream *stream);
/* Whether the caller is to report the stream's end, under the client's lock. At most one caller is. No caller is while
 * the stream is being made: the call that makes it then gives the program no handle. */
int pic_claim_shutdown(struct pic_stream *stream);
void pic_report_shutdown(struct pic_stream *stream, BOOL is_reset);
void pic_random_name(struct pic_client *client, char *name, uint32_t size);

/* ---- config.c, names.c ----------------------------------------------------------------------------------------- */

/* For kvs_stream_new, but for the name. `tracks` has KVS_TRACKS_MAX places; what *config points to is the stream's. */
void pic_config_of(const struct pic_stream *stream, struct kvs_stream_config *config, struct kvs_track_config *tracks);
STATUS pic_enter_list(struct pic_stream *stream); /* under the client's lock */
void pic_leave_list(struct pic_stream *stream);   /* the same; then no queue or list leads to the stream */

/* ---- drain.c --------------------------------------------------------------------------------------------------- */

/* Marks that callbacks of this client run on this thread, so that calls inside them leave their actions. */
struct pic_scope {
    struct pic_client *client;
    struct pic_scope *outer;
};
void pic_scope_enter(struct pic_scope *scope, struct pic_client *client);
void pic_scope_leave(struct pic_scope *scope);
int pic_is_in_callback(void);
int pic_is_in_callback_of(const struct pic_client *client);

/* After each public call, no lock held, a reference to the client held: pokes what is due, drains what there is. */
void pic_settle(struct pic_client *client, uint64_t now_hns);
/* After a put or a read: reports what is to be reported. Under the stream's lock, which it gives back. */
void pic_notify(struct pic_stream *stream, uint64_t now_hns);
/* Drains all, and `own` first; `own` is claimed by the caller (is_draining is set). Also inside a callback. */
void pic_drain(struct pic_client *client, struct pic_object *own);
void pic_pull(struct pic_client *client);                     /* under the lock */
struct pic_node *pic_pop(struct pic_client *client, struct pic_object *object); /* takes the object's */
void pic_recycle(struct pic_client *client, struct pic_node *node); /* under the lock */
void pic_append(struct pic_client *client, struct pic_object *object, struct pic_node *node); /* under the lock */
void pic_unschedule(struct pic_client *client, const struct pic_object *object); /* under the lock */
void pic_refresh_deadline(struct pic_client *client);
/* Waits for a broadcast, at most *left_hns, which is lowered; under the lock, which it gives up meanwhile. Pokes and
 * drains what comes due. 0 when the time is up. */
int pic_wait(struct pic_client *client, uint64_t *left_hns);

/* ---- later.c: under the client's lock -------------------------------------------------------------------------- */

/* Carries out this order when it is due, or (NULL) lets the core retry; takes the place of what was to be done. */
void pic_later(struct pic_stream *stream, uint64_t due_hns, struct pic_node *order);
void pic_later_cancel(struct pic_stream *stream);
void pic_later_run(struct pic_client *client, uint64_t now_hns);
/* Whether a stream that failed for this cause is tried again by the adapter. */
int pic_is_retried(const struct pic_stream *stream, kvs_status cause);
void pic_retry_later(struct pic_stream *stream);
STATUS pic_recoverable(STATUS status);

/* ---- order.c, notice.c: what an action means ------------------------------------------------------------------- */

void pic_carry_out(struct pic_client *client, struct pic_stream *stream, const struct kvs_action *action);
void pic_carry_out_notice(struct pic_client *client, struct pic_stream *stream, const struct kvs_action *action);
/* (0, 0): the upload is over. Only inside a scope. */
void pic_report_data(struct pic_stream *stream, UPLOAD_HANDLE upload, UINT64 duration, UINT64 size);
void pic_report_pending(struct pic_stream *stream); /* under the stream's lock, given up around the callback */
void pic_log(struct pic_client *client, UINT32 level, const char *text, STATUS status);

/* ---- auth.c ---------------------------------------------------------------------------------------------------- */

STATUS pic_auth_new(struct pic_client *client, AUTH_INFO_TYPE type, PBYTE bytes, UINT32 size, UINT64 expiration,
                    struct pic_auth **out);
struct pic_auth *pic_auth_hold(struct pic_client *client,
                               struct pic_auth *const *place); /* takes the lock; may be NULL */
void pic_auth_release(struct pic_client *client, struct pic_auth *auth);
void pic_auth_replace(struct pic_client *client, struct pic_auth **place, struct pic_auth *auth); /* takes the lock */
void pic_get_credentials(struct pic_client *client);
void pic_provision(struct pic_client *client);

/* ---- upload.c -------------------------------------------------------------------------------------------------- */

struct pic_upload *pic_upload_find(struct pic_stream *stream, UPLOAD_HANDLE handle); /* these five under its lock */
struct pic_upload *pic_upload_of_core(struct pic_stream *stream, uint64_t core);
/* The oldest that may have bytes, or NULL. Each put looks for it, and finds it at once. */
static inline struct pic_upload *pic_upload_open(struct pic_stream *stream)
{
    for (struct pic_upload *upload = stream->uploads; upload < stream->uploads + UPLOADS_KNOWN_MAX; upload++) {
        if (upload->state == PIC_UPLOAD_OPEN) return upload;
    }
    return NULL;
}
void pic_upload_add(struct pic_stream *stream, UPLOAD_HANDLE handle, uint64_t core, uint64_t now_hns);
void pic_upload_remove(struct pic_stream *stream, struct pic_upload *upload, uint64_t now_hns);

/* ---- status.c, validate.c -------------------------------------------------------------------------------------- */

STATUS pic_status_of(kvs_status status);
/* The same, said more exactly where the service's result tells more. */
STATUS pic_status_of_result(kvs_status status, uint32_t result);

int pic_is_bounded(const char *text, size_t max); /* it has at most `max` characters */
char *pic_copy_text(struct pic_client *client, const char *text); /* NULL: no memory */
STATUS pic_check_device(const DeviceInfo *device);
STATUS pic_check_callbacks(const ClientCallbacks *callbacks, UINT32 device_tags);
STATUS pic_check_stream(const struct pic_client *client, const StreamInfo *info);
STATUS pic_check_tags(UINT32 count, const Tag *tags);
/* A deep copy of tags or tracks in one block, or NULL for none. */
STATUS pic_copy_tags(struct pic_client *client, UINT32 count, const Tag *tags, PTag *out);
STATUS pic_copy_tracks(struct pic_client *client, UINT32 count, const TrackInfo *tracks, PTrackInfo *out);
void pic_copy_device(struct pic_client *client, const DeviceInfo *from);
void pic_copy_stream(struct pic_client *client, const StreamInfo *from, StreamInfo *to);

/* ---- call.c: the frame of a public call ------------------------------------------------------------------------ */

struct pic_call {
    struct pic_client *client;
    struct pic_stream *stream;
    uint64_t now_hns;
};
STATUS pic_enter_stream(UINT64 handle, struct pic_call *call);
STATUS pic_enter_client(UINT64 handle, struct pic_call *call);
static inline struct pic_object *pic_called(const struct pic_call *call)
{
    return call->stream != NULL ? &call->stream->object : &call->client->object;
}
/* Leaves the object, settles, and returns `status`. */
STATUS pic_leave(struct pic_call *call, STATUS status);

#endif

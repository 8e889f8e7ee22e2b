/* uploads.h — the upload handles of a stream: which fragments each covers, where its reader stands, what it has
 * sent that no ACK has settled. It knows neither how frames become fragments nor the stream's machine. */
#ifndef KVS_ENGINE_UPLOADS_H
#define KVS_ENGINE_UPLOADS_H

#include "engine/ledger.h"

/* Goes through the uploads of the stream, oldest first. The body may remove an upload if it then leaves the loop. */
#define EACH_UPLOAD(stream, each)                                                                                      \
    for (struct upload *const *each##_at = (stream)->uploads.items, *each; (each = *each##_at) != NULL; each##_at++)

/* ---- uploads.c --------------------------------------------------------------------------------------------------- */

void uploads_check(const struct kvs_stream *stream);

struct opened {
    uint64_t first, last; /* fragments; last KVS_TIME_NONE: open end */
    uint64_t start_hns;   /* the start that the service is given */
    uint64_t expires_hns; /* of the token; KVS_TIME_NONE: never */
    uint64_t now_hns;
};
/* KVS_E_SESSION_LIMIT  UPLOADS_MAX handles are alive
 * KVS_E_NOMEM          nothing changed */
kvs_status uploads_open(struct kvs_stream *stream, const struct opened *opened, struct upload **upload_out);
struct upload *uploads_opening(const struct kvs_stream *stream); /* whose PutMedia is not answered; NULL: none */
int uploads_have_place(const struct kvs_stream *stream);         /* for one more handle; else wait until one goes */
int uploads_have_live(const struct kvs_stream *stream);
/* The oldest fragments that no handle covers and that are not settled; 0: there are none. */
int uploads_gap(const struct kvs_stream *stream, uint64_t *first_out, uint64_t *last_out);
void upload_move(struct kvs_stream *stream, struct upload *upload, uint32_t event);
void upload_abort(struct kvs_stream *stream, struct upload *upload, uint32_t result);
void uploads_abort_open(struct kvs_stream *stream, uint32_t result);
void uploads_abort_all(struct kvs_stream *stream, uint32_t result);
void upload_remove(struct kvs_stream *stream, struct upload *upload);
void uploads_free(struct kvs_stream *stream);
void uploads_reaim(struct kvs_stream *stream); /* one that is only being opened takes what another one left */
void uploads_announce_all(struct kvs_stream *stream);
void uploads_announce_due(struct kvs_stream *stream, uint64_t now_hns); /* those that waited until now (pace.c) */
int uploads_follow_puts(const struct kvs_stream *stream);     /* KVS_PUT_TELLS: the caller knows what a put brings */
void uploads_limit(struct kvs_stream *stream, uint64_t last); /* open ends stop at this fragment */
void uploads_limit_to_read(struct kvs_stream *stream);        /* each ends with the fragment that is being read */
void uploads_expire(struct kvs_stream *stream, uint64_t now_hns);
int upload_is_behind(const struct kvs_stream *stream, const struct upload *upload); /* an earlier one has bytes left */
/* The least deadline of any of this layer's files; KVS_TIME_NONE: none. */
uint64_t uploads_next_deadline(const struct kvs_stream *stream);

/* What the ledger does, with what readers need of it. */
int uploads_are_sending(const struct kvs_stream *stream, uint64_t number); /* a reader has a part of this fragment */
void uploads_trim(struct kvs_stream *stream);
void uploads_done(struct kvs_stream *stream, uint64_t from, uint64_t to);
void uploads_received_is_done(struct kvs_stream *stream); /* nothing is stored any more: RECEIVED is the last word */
uint32_t uploads_drop_fragment(struct kvs_stream *stream, uint64_t number, uint32_t reason); /* enum ledger_event */
void uploads_forget(struct kvs_stream *stream, uint64_t number);
void uploads_handed_out(struct kvs_stream *stream); /* after a fragment was closed, or read to its end */

static inline int upload_is_live(const struct upload *upload) { return upload->state != KVS_UPLOAD_DEAD; }

/* One past the last fragment of which the reader has taken everything. */
static inline uint64_t upload_sent_whole(const struct kvs_stream *stream, const struct upload *upload)
{
    int is_within = upload->at_fragment < upload->sent_next;
    uint64_t end = is_within ? upload->at_fragment : upload->sent_next;
    return kvs_hns_min(end, stream->view.fragment_head);
}

/* ---- unsent.c ---------------------------------------------------------------------------------------------------- */

struct unsent {
    uint64_t bytes, frames, duration_hns;
};
struct unsent unsent_of_stream(const struct kvs_stream *stream); /* of frames that wait for their order: nothing */
/* As much as a reader gets now, the session's header and its end tag included. */
struct unsent unsent_of_upload(const struct kvs_stream *stream, const struct upload *upload);

/* ---- formats.c: the list of formats ------------------------------------------------------------------------------ */

void formats_append(struct kvs_stream *stream, struct format *made, int is_current); /* numbers it; the list owns it */
void formats_prune(struct kvs_stream *stream);
void formats_free(struct kvs_stream *stream);
struct format *formats_find(const struct kvs_stream *stream, uint32_t number);
/* The number of a format with the codec private data of `number` and this mask; made when there is none. */
uint32_t formats_with_mask(struct kvs_stream *stream, uint32_t number, uint32_t mask);
uint32_t formats_header_size(const struct kvs_stream *stream, const struct format *format);
kvs_status formats_make_header(const struct kvs_stream *stream, struct format *format); /* if it has none; NOMEM */

/* ---- pace.c: in which portions fragments go out ------------------------------------------------------------------ */

/* newest_end_hns: where the newest frame of all tracks ends, as far as it is known. */
int pace_joins(const struct kvs_stream *stream, const struct upload *upload, uint64_t newest_end_hns);
void pace_resume(struct upload *upload, uint64_t now_hns);
int pace_holds(struct kvs_stream *stream, struct upload *upload, uint64_t now_hns);
void pace_began(struct kvs_stream *stream, uint64_t now_hns);
/* A fragment is done: what was held for it goes on; the caller announces. */
void pace_let_go(struct kvs_stream *stream);
uint64_t pace_next_deadline(const struct kvs_stream *stream);

/* ---- stale.c: a service that has fallen silent ------------------------------------------------------------------- */

/* Whether an ACK is due on this handle, and since when; after bytes went out and after an ACK. */
void stale_note(struct kvs_stream *stream, struct upload *upload, uint64_t now_hns);
uint64_t stale_next_deadline(const struct kvs_stream *stream);
void stale_poke(struct kvs_stream *stream, uint64_t now_hns);

/* ---- read.c: bytes of one handle --------------------------------------------------------------------------------- */

enum step { STEP_ON, STEP_WAIT, STEP_END };
struct reader {
    struct kvs_stream *stream;
    struct upload *upload;
    uint8_t *out;
    uint32_t room, filled;
    uint64_t now_hns;
    uint64_t newest_end_hns; /* times_newest_end, where fragments can be joined (pace.c) */
    struct kvs_loan *loan;   /* NULL: everything is copied to `out` */
    int may_lend;
    int has_moved; /* from one fragment to another, or to an end: what is due and what may go can be different */
};
/* As much as there is and as fits.   KVS_E_NOMEM: nothing was read */
kvs_status read_fill(struct reader *reader, enum step *step_out);

/* ---- on the way of every frame ----------------------------------------------------------------------------------- */

static inline struct upload *uploads_find(const struct kvs_stream *stream, uint64_t handle)
{
    EACH_UPLOAD(stream, upload) {
        if (upload->handle == handle) return upload;
    }
    return NULL;
}

/* One session without an end covers all that is buffered. */
static inline int uploads_cover_all(const struct kvs_stream *stream)
{
    const struct upload *only = stream->uploads.items[0];
    return only != NULL && only->state != KVS_UPLOAD_DEAD && only->last == KVS_TIME_NONE &&
           only->first <= stream->view.fragment_tail;
}

/* Whether a reader waits that has no DATA order to come. */
static inline int uploads_wait(struct kvs_stream *stream)
{
    EACH_UPLOAD(stream, upload) {
        if (!upload->is_waiting) continue;
        if (!kvs_flag_get(&stream->out.data_queued[upload->slot])) return 1;
        upload->is_waiting = 0; /* its reader has yet to read */
    }
    return 0;
}

/* Readers that wait are given a DATA order when there are bytes. */
static inline void uploads_announce(struct kvs_stream *stream)
{
    if (uploads_wait(stream)) uploads_announce_all(stream);
}

/* The same after a put: its bytes may wait for the turn that is due within the stream's delay (queue.c). */
static inline void uploads_announce_put(struct kvs_stream *stream, uint64_t now_hns)
{
    if (!uploads_wait(stream)) return;
    stream->out.put_hns = now_hns;
    uploads_announce_all(stream);
    stream->out.put_hns = KVS_TIME_NONE;
}

#endif

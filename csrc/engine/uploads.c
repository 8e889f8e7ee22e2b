/* uploads.c — which upload handle covers which fragments.
 *
 * Every fragment that is not settled is either covered by a live upload handle or lies in a gap; a new session is
 * opened for a gap. So a fragment can not be forgotten, whatever order connections come and go in. Handles
 * are kept by their first fragment, oldest first; at most the newest has an open end. */
#include "engine/uploads.h"

void uploads_check(const struct kvs_stream *stream)
{
    uint32_t slots = 0, lent_count = 0;
    uint64_t first = 0;
    EACH_UPLOAD(stream, upload) {
        KVS_CHECK(!(slots >> upload->slot & 1u) && upload->slot < UPLOADS_MAX);
        slots |= 1u << upload->slot;
        if (!upload_is_live(upload)) continue;
        KVS_CHECK(upload->first >= first);
        first = upload->first;
    }
    for (uint32_t i = 0; i < UPLOADS_MAX; i++) lent_count += stream->lents.items[i].handle != KVS_UPLOAD_NONE;
    KVS_CHECK(stream->lents.count == lent_count);
}

int uploads_gap(const struct kvs_stream *stream, uint64_t *first_out, uint64_t *last_out)
{
    const struct kvs_view *view = &stream->view;
    uint64_t at = view->fragment_tail;
    for (uint32_t i = 0; i <= UPLOADS_MAX; i++) { /* the NULL at the end too: what lies behind all uploads */
        const struct upload *upload = stream->uploads.items[i];
        if (upload != NULL && !upload_is_live(upload)) continue;
        uint64_t end = upload != NULL && upload->first < view->fragment_head ? upload->first : view->fragment_head;
        while (at < end && ledger_is_settled(kvs_view_fragment(&stream->view, at)->flags)) at++;
        if (at < end) {
            *first_out = at;
            *last_out = upload != NULL ? upload->first - 1 : KVS_TIME_NONE;
            return 1;
        }
        if (upload == NULL || upload->last == KVS_TIME_NONE) return 0;
        if (upload->last + 1 > at) at = upload->last + 1;
    }
    return 0;
}

void upload_remove(struct kvs_stream *stream, struct upload *upload)
{
    struct upload **at = stream->uploads.items;
    while (*at != upload) at++;
    for (; *at != NULL; at++) at[0] = at[1];
    stream_withdraw_data(stream, upload->slot);
    kvs_host_free(stream->host, upload);
}

int uploads_have_place(const struct kvs_stream *stream)
{
    uint32_t live_count = 0;
    EACH_UPLOAD(stream, upload) live_count += (uint32_t)upload_is_live(upload);
    return live_count < UPLOADS_MAX;
}

/* Dead handles that were never read again make room for new ones. */
static int make_place(struct kvs_stream *stream)
{
    if (stream->uploads.items[UPLOADS_MAX - 1] == NULL) return 1;
    EACH_UPLOAD(stream, upload) {
        if (upload_is_live(upload)) continue;
        upload_remove(stream, upload);
        return 1;
    }
    return 0;
}

static void insert(struct kvs_stream *stream, struct upload *added)
{
    uint32_t taken = 0, count = 0;
    EACH_UPLOAD(stream, upload) {
        taken |= 1u << upload->slot;
        count++;
    }
    while (taken >> added->slot & 1u) added->slot++;
    struct upload **at = &stream->uploads.items[count];
    for (; at != stream->uploads.items && at[-1]->first > added->first; at--) at[0] = at[-1];
    *at = added;
}

static void announce(struct kvs_stream *stream, struct upload *upload)
{
    upload->is_waiting = 0;
    if (kvs_flag_get(&stream->out.data_queued[upload->slot])) return; /* its reader has yet to read */
    struct kvs_action action = { .kind = KVS_ACTION_DATA, .upload = upload->handle, .c = upload->slot };
    struct unsent unsent = unsent_of_upload(stream, upload);
    action.a = unsent.bytes;
    action.b = unsent.duration_hns;
    stream_order(stream, &action);
}

static int is_closed(const struct kvs_stream *stream, uint64_t number)
{
    if (number < stream->view.fragment_tail || number >= stream->view.fragment_head) return 0;
    return (kvs_view_fragment(&stream->view, number)->flags & KVS_FRAGMENT_CLOSED) != 0;
}

static int has_bytes_left(const struct upload *upload)
{
    return upload->state >= KVS_UPLOAD_READY && upload->state <= KVS_UPLOAD_DRAINING;
}

/* A session begins after the last byte of those before it was read: the fragments of a stream go out in turn. */
int upload_is_behind(const struct kvs_stream *stream, const struct upload *upload)
{
    EACH_UPLOAD(stream, earlier) {
        if (earlier == upload) break;
        if (has_bytes_left(earlier)) return !upload->is_bound;
    }
    return 0;
}

/* Whether a reader that waits would get something now: bytes, or the end of its session. */
static int gets_something(const struct kvs_stream *stream, const struct upload *upload)
{
    if (upload->wait_until_hns != 0) return 0; /* uploads_announce_due does it */
    if (upload->state == KVS_UPLOAD_STREAMING && upload->last == KVS_TIME_NONE &&
        stream->view.cum_bytes != upload->read_cum)
        return 1;
    switch (upload->state) {
    case KVS_UPLOAD_READY:
    case KVS_UPLOAD_STREAMING:
        if (upload_is_behind(stream, upload)) return 0;
        if (unsent_of_upload(stream, upload).bytes != 0) return 1;
        if (upload->last != KVS_TIME_NONE && upload->at_fragment > upload->last) return 1;
        if (upload->part == PART_FRAME && is_closed(stream, upload->at_fragment))
            return 1; /* nothing will follow in it */
        return stream->ledger.is_stopped && upload->at_fragment >= stream->view.fragment_head && upload->is_bound;
    case KVS_UPLOAD_DRAINING:
    case KVS_UPLOAD_FINISHED: return 1;
    default: return 0;
    }
}

/* For KVS_PUT_TELLS: with one open upload the caller knows that a put brings bytes for it. With a second upload, or one
 * that is to end, the caller can not know which handle has something to read. */
int uploads_follow_puts(const struct kvs_stream *stream)
{
    const struct upload *upload = stream->uploads.items[0];
    if (upload == NULL || stream->uploads.items[1] != NULL) return 0;
    int is_open = upload->state == KVS_UPLOAD_READY || upload->state == KVS_UPLOAD_STREAMING;
    return is_open && upload->last == KVS_TIME_NONE;
}

void uploads_announce_all(struct kvs_stream *stream)
{
    EACH_UPLOAD(stream, upload) {
        if (upload->is_waiting && gets_something(stream, upload)) announce(stream, upload);
    }
}

void uploads_announce_due(struct kvs_stream *stream, uint64_t now_hns)
{
    if (now_hns < pace_next_deadline(stream)) return;
    EACH_UPLOAD(stream, upload) {
        if (upload->is_waiting && upload->wait_until_hns != 0 && upload->wait_until_hns <= now_hns)
            announce(stream, upload);
    }
}

void upload_move(struct kvs_stream *stream, struct upload *upload, uint32_t event)
{
    uint32_t act = 0;
    struct kvs_action end = { .kind = KVS_ACTION_UPLOAD_END, .upload = upload->handle };
    if (kvs_fsm_move(&kvs_upload_fsm, &upload->state, event, &act) != KVS_OK) return;
    if (act == KVS_UPLOAD_ACT_NOTIFY) {
        upload->is_waiting = 1;
        if (gets_something(stream, upload)) announce(stream, upload);
    }
    if (act == KVS_UPLOAD_ACT_END) {
        end.result = stream->uploads.last_result;
        stream_order(stream, &end);
    }
}

void upload_abort(struct kvs_stream *stream, struct upload *upload, uint32_t result)
{
    stream->uploads.last_result = result;
    upload_move(stream, upload, KVS_UPLOAD_EV_ABORT);
}

void uploads_abort_all(struct kvs_stream *stream, uint32_t result)
{
    EACH_UPLOAD(stream, upload) {
        if (upload_is_live(upload)) upload_abort(stream, upload, result);
    }
}

/* A handle whose connection is only being opened takes the fragments that just lost theirs. With relative times it can
 * not: the service has its start already. */
void uploads_reaim(struct kvs_stream *stream)
{
    uint64_t first = 0, last = 0;
    EACH_UPLOAD(stream, upload) {
        if (upload->state > KVS_UPLOAD_READY || upload->is_bound || !uploads_gap(stream, &first, &last)) continue;
        if (stream->mode.flags & KVS_RELATIVE_TIMES || last == KVS_TIME_NONE || last + 1 != upload->first) continue;
        upload->first = upload->at_fragment = upload->done_next = upload->sent_next = first;
    }
}

/* Those that are connected; one that is only being opened is a new connection already. */
void uploads_abort_open(struct kvs_stream *stream, uint32_t result)
{
    EACH_UPLOAD(stream, upload) {
        if (upload_is_live(upload) && upload->state != KVS_UPLOAD_OPENING) upload_abort(stream, upload, result);
    }
    uploads_reaim(stream);
}

void uploads_limit(struct kvs_stream *stream, uint64_t last)
{
    EACH_UPLOAD(stream, upload) {
        if (!upload_is_live(upload) || upload->last != KVS_TIME_NONE) continue;
        if (upload->first > last) continue; /* it has not begun: it may as well take what comes */
        upload->last = last;
    }
    uploads_announce(stream);
}

/* ---- a token that expires ------------------------------------------------------------------------------------ */

/* What is being read goes out, the rest is left to a session with the next token. */
void uploads_limit_to_read(struct kvs_stream *stream)
{
    EACH_UPLOAD(stream, upload) {
        if (!upload_is_live(upload) || !upload->is_bound) continue;
        int is_inside = upload->sent_next > upload->at_fragment || !upload->has_sent;
        uint64_t cut = is_inside ? upload->at_fragment : upload->at_fragment - 1;
        if (upload->last == KVS_TIME_NONE || upload->last > cut) upload->last = cut;
    }
    uploads_announce(stream);
}

static uint64_t next_expiry(const struct kvs_stream *stream)
{
    uint64_t least = KVS_TIME_NONE;
    EACH_UPLOAD(stream, upload) {
        if (has_bytes_left(upload)) least = kvs_hns_min(least, upload->expires_hns);
    }
    return least;
}

/* What is not out by then is sent again by the next session. One that only waits for ACKs may wait on. */
void uploads_expire(struct kvs_stream *stream, uint64_t now_hns)
{
    if (now_hns < next_expiry(stream)) return;
    EACH_UPLOAD(stream, upload) {
        if (has_bytes_left(upload) && now_hns >= upload->expires_hns)
            upload_abort(stream, upload, KVS_RESULT_NOT_AUTHORIZED);
    }
    uploads_reaim(stream);
    uploads_announce(stream);
}

/* ---- a new one ------------------------------------------------------------------------------------------------- */

kvs_status uploads_open(struct kvs_stream *stream, const struct opened *opened, struct upload **upload_out)
{
    uint32_t count = 1;
    if (!make_place(stream)) return KVS_E_SESSION_LIMIT;
    while (stream->uploads.items[count - 1u] != NULL) count++;
    if (stream_reserve_orders(stream, count) != KVS_OK) return KVS_E_NOMEM;
    struct upload *upload = kvs_host_alloc_zero(stream->host, sizeof *upload);
    if (upload == NULL) return KVS_E_NOMEM;
    upload->handle = ++stream->uploads.handle_count;
    upload->state = (uint8_t)kvs_upload_fsm.initial;
    upload->first = upload->at_fragment = upload->done_next = upload->sent_next = opened->first;
    upload->last = opened->last;
    upload->quiet_since_hns = upload->resend_hns = KVS_TIME_NONE;
    upload->opened_hns = opened->now_hns;
    upload->expires_hns = opened->expires_hns;
    upload->base_tc = opened->start_hns / stream->limits.scale_hns; /* what that start says, whatever is sent */
    kvs_ack_parser_init(&upload->parser);
    insert(stream, upload);
    *upload_out = upload;
    return KVS_OK;
}

struct upload *uploads_opening(const struct kvs_stream *stream)
{
    EACH_UPLOAD(stream, upload) {
        if (upload->state == KVS_UPLOAD_OPENING) return upload;
    }
    return NULL;
}

/* ---- what is being sent, what is settled ------------------------------------------------------------------------- */

/* Part of it is with the reader of a live handle and part is not. */
int uploads_are_sending(const struct kvs_stream *stream, uint64_t number)
{
    EACH_UPLOAD(stream, upload) {
        if (!upload_is_live(upload) || !upload->is_bound || upload->at_fragment != number) continue;
        if (upload->sent_next > number) return 1;
    }
    return 0;
}

/* The oldest fragment of which the reader of a live handle has a part only; UINT64_MAX: none. */
static uint64_t first_being_sent(const struct kvs_stream *stream)
{
    uint64_t first = UINT64_MAX;
    EACH_UPLOAD(stream, upload) {
        int is_within = upload->sent_next > upload->at_fragment && upload->at_fragment >= stream->view.fragment_tail;
        if (is_within && upload->is_bound && upload_is_live(upload)) first = kvs_hns_min(first, upload->at_fragment);
    }
    return first;
}

static int owes_nothing(const struct kvs_stream *stream, const struct upload *upload)
{
    const struct kvs_view *view = &stream->view;
    uint64_t i = kvs_hns_max(upload->done_next, view->fragment_tail);
    while (i < upload->sent_next && i < view->fragment_head && ledger_is_settled(kvs_view_fragment(view, i)->flags))
        i++;
    return i >= upload->sent_next || i >= view->fragment_head;
}

/* An upload that is read to its end waits for ACKs; not when what it sent is settled without it: dropped meanwhile, or
 * acknowledged to another upload. */
static void end_waits(struct kvs_stream *stream)
{
    EACH_UPLOAD(stream, upload) {
        if (upload->state == KVS_UPLOAD_AWAITING_ACK && owes_nothing(stream, upload))
            upload_move(stream, upload, KVS_UPLOAD_EV_LAST_ACK);
    }
}

void uploads_trim(struct kvs_stream *stream)
{
    int has_moved = ledger_trim(stream, first_being_sent(stream));
    if (has_moved && stream->formats.first->next != NULL) formats_prune(stream);
    end_waits(stream);
}

void uploads_done(struct kvs_stream *stream, uint64_t from, uint64_t to)
{
    ledger_done(stream, from, to, first_being_sent(stream));
}

void uploads_received_is_done(struct kvs_stream *stream)
{
    for (uint64_t i = stream->view.fragment_tail; i < stream->view.fragment_head; i++) {
        uint32_t flags = kvs_view_fragment(&stream->view, i)->flags;
        if ((flags & KVS_FRAGMENT_RECEIVED) && (flags & KVS_FRAGMENT_CLOSED)) uploads_done(stream, i, i + 1);
    }
    uploads_trim(stream);
}

/* The slabs that hold nothing but settled fragments go: those of this one and of its neighbours that were too small to
 * free one alone. */
static void punch(struct kvs_stream *stream, uint64_t number)
{
    const struct kvs_view *view = &stream->view;
    uint64_t before = number, after = number + 1;
    while (before > view->fragment_tail && ledger_is_settled(kvs_view_fragment(view, before - 1)->flags) &&
           !uploads_are_sending(stream, before - 1))
        before--;
    while (after < view->fragment_head && ledger_is_settled(kvs_view_fragment(view, after)->flags)) after++;
    if (before == view->fragment_tail) return; /* the trim takes it all */
    uint64_t from = kvs_view_fragment(view, before - 1)->ceiling_offset;
    uint64_t to = after < view->fragment_head ? kvs_view_fragment(view, after)->floor_offset : stream->chain.head;
    to = kvs_hns_min(to, kvs_hns_min(kvs_order_floor(&stream->order), stream->ledger.inflight_offset));
    lend_punch(stream, from, to);
}

uint32_t uploads_drop_fragment(struct kvs_stream *stream, uint64_t number, uint32_t reason)
{
    uint32_t event = ledger_drop_fragment(stream, number, reason);
    if (event != 0 && !uploads_are_sending(stream, number)) punch(stream, number); /* else its bytes go with the trim */
    return event;
}

/* Lets a dropped fragment's number go, so that what is never sent does not pile up behind a fragment that is being
 * sent. Read positions before it move along. */
void uploads_forget(struct kvs_stream *stream, uint64_t number)
{
    struct kvs_view *view = &stream->view;
    uint64_t first = kvs_view_fragment(view, number)->first_frame, end = kvs_view_fragment_end(view, number);
    uint64_t bytes = kvs_view_fragment_bytes(view, number);
    EACH_UPLOAD(stream, upload) {
        if (upload->at_fragment <= number) upload->read_cum += bytes;
        if (upload->at_frame < first) upload->at_frame += end - first;
        else if (upload->at_frame < end) upload->at_frame = end;
        upload->first += upload->first <= number;
        upload->at_fragment += upload->at_fragment <= number;
        upload->done_next += upload->done_next <= number;
        upload->sent_next += upload->sent_next <= number;
        upload->last += upload->last < number;
    }
    ledger_forget(stream, number);
}

/* Its reader has taken every byte of the fragment at which it stands, and none will follow. */
static int has_read_whole(const struct kvs_stream *stream, const struct upload *upload)
{
    const struct kvs_view *view = &stream->view;
    uint64_t number = upload->at_fragment;
    if (!upload_is_live(upload) || !upload->is_bound || upload->sent_next <= number) return 0;
    if (number < view->fragment_tail || number >= view->fragment_head || upload->part < PART_FRAME) return 0;
    const struct kvs_fragment *fragment = kvs_view_fragment(view, number);
    if (!(fragment->flags & KVS_FRAGMENT_CLOSED) || upload->at_frame < kvs_view_fragment_end(view, number)) return 0;
    return upload->at_offset == fragment->trailer_size;
}

/* Without acknowledgements a fragment is done when it is complete and one upload was handed all of it. What an upload
 * has read says nothing of the fragments of another. */
void uploads_handed_out(struct kvs_stream *stream)
{
    if (stream_waits_for_acks(stream)) return;
    EACH_UPLOAD(stream, upload) {
        uint64_t number = upload->at_fragment;
        if (has_read_whole(stream, upload)) uploads_done(stream, number, number + 1);
    }
}

uint64_t uploads_next_deadline(const struct kvs_stream *stream)
{
    uint64_t least = kvs_hns_min(next_expiry(stream),
                                 kvs_hns_min(pace_next_deadline(stream), stale_next_deadline(stream)));
    EACH_UPLOAD(stream, upload) {
        if (upload_is_live(upload)) least = kvs_hns_min(least, upload->resend_hns);
    }
    return least;
}

int uploads_have_live(const struct kvs_stream *stream)
{
    EACH_UPLOAD(stream, upload) {
        if (upload_is_live(upload)) return 1;
    }
    return 0;
}

void uploads_free(struct kvs_stream *stream)
{
    EACH_UPLOAD(stream, upload) kvs_host_free(stream->host, upload);
}

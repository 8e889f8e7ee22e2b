/* session.c — which upload handle covers which fragments.
 *
 * Every fragment that is not in the ledger yet is either covered by a live upload handle or lies in a gap; a gap is
 * what
 * a new session is opened for. So a fragment can not be forgotten, whatever order connections come and go in. Handles
 * are kept by their first fragment, oldest first; at most the newest has an open end. */
#include "engine/engine.h"

#include <string.h>

static int is_live(const struct upload *upload) { return upload->state != KVS_UPLOAD_DEAD; }

static int is_settled(const struct kvs_stream *stream, uint64_t number)
{
    return (kvs_view_fragment(&stream->view, number)->flags & (KVS_FRAGMENT_DONE | KVS_FRAGMENT_DROPPED)) != 0;
}

int session_gap(const struct kvs_stream *stream, uint64_t *first_out, uint64_t *last_out)
{
    const struct kvs_view *view = &stream->view;
    uint64_t at = view->fragment_tail;
    for (uint32_t i = 0; i <= UPLOADS_MAX; i++) {
        const struct upload *upload = i < UPLOADS_MAX ? stream->uploads.items[i] : NULL;
        if (upload != NULL && !is_live(upload)) continue;
        uint64_t end = upload != NULL && upload->first < view->fragment_head ? upload->first : view->fragment_head;
        while (at < end && is_settled(stream, at)) at++;
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

void session_remove(struct kvs_stream *stream, struct upload *upload)
{
    uint32_t i = 0;
    while (i < UPLOADS_MAX && stream->uploads.items[i] != upload) i++;
    KVS_CHECK(i < UPLOADS_MAX);
    for (; i + 1 < UPLOADS_MAX; i++) stream->uploads.items[i] = stream->uploads.items[i + 1];
    stream->uploads.items[UPLOADS_MAX - 1] = NULL;
    stream_withdraw_data(stream, upload->slot);
    kvs_host_free(stream->host, upload);
}

int session_has_place(const struct kvs_stream *stream)
{
    if (stream->uploads.items[UPLOADS_MAX - 1] == NULL) return 1;
    for (uint32_t i = 0; i < UPLOADS_MAX; i++) {
        if (!is_live(stream->uploads.items[i])) return 1;
    }
    return 0;
}

/* Handles that were told to end and never read again make room for new ones. */
static int make_place(struct kvs_stream *stream)
{
    for (uint32_t i = 0; stream->uploads.items[UPLOADS_MAX - 1] != NULL && i < UPLOADS_MAX; i++) {
        if (is_live(stream->uploads.items[i])) continue;
        session_remove(stream, stream->uploads.items[i]);
        return 1;
    }
    return stream->uploads.items[UPLOADS_MAX - 1] == NULL;
}

static void insert(struct kvs_stream *stream, struct upload *upload)
{
    uint32_t taken = 0;
    for (uint32_t j = 0; j < UPLOADS_MAX && stream->uploads.items[j] != NULL; j++)
        taken |= 1u << stream->uploads.items[j]->slot;
    while (taken >> upload->slot & 1u) upload->slot++;
    uint32_t i = UPLOADS_MAX - 1;
    while (i > 0 && (stream->uploads.items[i - 1] == NULL || stream->uploads.items[i - 1]->first > upload->first)) {
        stream->uploads.items[i] = stream->uploads.items[i - 1];
        i--;
    }
    stream->uploads.items[i] = upload;
}

/* Frames too old to be worth repeating, where the caller set a limit: the sent ones that lie further back than that. */
void session_limit_replay(struct kvs_stream *stream, uint64_t first, uint64_t last)
{
    uint64_t limit = stream->limits.replay_max_hns;
    const struct kvs_view *view = &stream->view;
    if (limit == 0 || first + 1 >= view->fragment_head) return;
    if (kvs_view_duration_from(view, first + 1) < limit) return; /* none is so old */
    uint64_t sent = first;
    while (sent < view->fragment_head && sent <= last && (kvs_view_fragment(view, sent)->flags & KVS_FRAGMENT_SENT))
        sent++;
    uint64_t unsent_hns = kvs_view_duration_from(view, sent);
    for (uint64_t i = first; i < sent; i++) {
        uint64_t age_hns = i + 1 < sent ? kvs_view_duration_from(view, i + 1) - unsent_hns : 0;
        if (age_hns < limit) break;
        ledger_drop_fragment(stream, i, KVS_DROP_REPLAY_LIMIT);
    }
    ledger_trim(stream);
}

kvs_status session_open(struct kvs_stream *stream, uint64_t first, uint64_t last, uint64_t now_hns)
{
    uint32_t count = 1;
    if (!make_place(stream)) return KVS_E_SESSION_LIMIT;
    while (stream->uploads.items[count - 1u] != NULL) count++;
    if (stream_reserve_orders(stream, count) != KVS_OK) return KVS_E_NOMEM;
    struct upload *upload = kvs_host_alloc_zero(stream->host, sizeof *upload);
    if (upload == NULL) return KVS_E_NOMEM;
    upload->handle = ++stream->uploads.handle_count;
    upload->state = (uint8_t)kvs_upload_fsm.initial;
    upload->first = upload->at_fragment = upload->done_next = upload->sent_next = first;
    upload->last = last;
    upload->quiet_since_hns = upload->resend_hns = KVS_TIME_NONE;
    upload->opened_hns = now_hns;
    upload->expires_hns = stream->machine.token.is_set ? stream->machine.token.expires_hns : KVS_TIME_NONE;
    kvs_ack_parser_init(&upload->parser);
    insert(stream, upload);
    struct kvs_action action = { .kind = KVS_ACTION_PUT_MEDIA,
                                 .attempt = stream->machine.backoff.count,
                                 .upload = upload->handle };
    stream_withdraw_request(stream);
    action.request = stream->out.request = ++stream->out.request_count;
    action.after_hns = stream_order_time(stream, KVS_ACTION_PUT_MEDIA, now_hns);
    uint64_t start_hns = stream->machine.skipped_start_hns;
    if (first < stream->view.fragment_head) start_hns = kvs_view_fragment(&stream->view, first)->pts_hns;
    action.a = start_hns / KVS_HNS_PER_MS;
    upload->base_tc = start_hns / stream->limits.scale_hns; /* what that start says, whatever is sent */
    stream_order(stream, &action);
    return KVS_OK;
}

static void announce(struct kvs_stream *stream, struct upload *upload)
{
    upload->is_waiting = 0;
    if (kvs_flag_get(&stream->out.data_queued[upload->slot])) return; /* who takes it out has yet to read */
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
int session_is_behind(const struct kvs_stream *stream, const struct upload *upload)
{
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL && stream->uploads.items[i] != upload;
         i++) {
        if (has_bytes_left(stream->uploads.items[i])) return !upload->is_bound;
    }
    return 0;
}

/* Whether a reader that waits would get something now: bytes, or the news that the session is over. */
static int has_news(const struct kvs_stream *stream, const struct upload *upload)
{
    if (upload->wait_until_hns != 0) return 0; /* session_announce_due does it */
    if (upload->state == KVS_UPLOAD_STREAMING && upload->last == KVS_TIME_NONE &&
        stream->view.cum_bytes != upload->read_cum)
        return 1;
    switch (upload->state) {
    case KVS_UPLOAD_READY:
    case KVS_UPLOAD_STREAMING:
        if (session_is_behind(stream, upload)) return 0;
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

/* For KVS_PUT_TELLS. With a second upload, or one that is to end, the news is not the caller's to guess. */
int session_is_told(const struct kvs_stream *stream)
{
    const struct upload *upload = stream->uploads.items[0];
    if (upload == NULL || stream->uploads.items[1] != NULL) return 0;
    int is_open = upload->state == KVS_UPLOAD_READY || upload->state == KVS_UPLOAD_STREAMING;
    return is_open && upload->last == KVS_TIME_NONE;
}

void session_announce_all(struct kvs_stream *stream)
{
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        if (stream->uploads.items[i]->is_waiting && has_news(stream, stream->uploads.items[i]))
            announce(stream, stream->uploads.items[i]);
    }
}

void session_announce_due(struct kvs_stream *stream, uint64_t now_hns)
{
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        struct upload *upload = stream->uploads.items[i];
        if (upload->is_waiting && upload->wait_until_hns != 0 && upload->wait_until_hns <= now_hns)
            announce(stream, upload);
    }
}

void session_move(struct kvs_stream *stream, struct upload *upload, uint32_t event)
{
    uint32_t act = 0;
    struct kvs_action end = { .kind = KVS_ACTION_UPLOAD_END, .upload = upload->handle };
    if (kvs_fsm_move(&kvs_upload_fsm, &upload->state, event, &act) != KVS_OK) return;
    if (act == KVS_UPLOAD_ACT_NOTIFY) {
        upload->is_waiting = 1;
        if (has_news(stream, upload)) announce(stream, upload);
    }
    if (act == KVS_UPLOAD_ACT_END) {
        end.result = stream->uploads.last_result;
        stream_order(stream, &end);
    }
}

void session_abort(struct kvs_stream *stream, struct upload *upload, uint32_t result)
{
    stream->uploads.last_result = result;
    session_move(stream, upload, KVS_UPLOAD_EV_ABORT);
}

void session_abort_all(struct kvs_stream *stream, uint32_t result)
{
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        if (is_live(stream->uploads.items[i])) session_abort(stream, stream->uploads.items[i], result);
    }
}

/* A handle whose connection is only being opened takes the fragments that just lost theirs. Relative times can not
 * move:
 * its start is on the wire already. */
static void reaim_unread(struct kvs_stream *stream)
{
    uint64_t first = 0, last = 0;
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        struct upload *upload = stream->uploads.items[i];
        if (upload->state > KVS_UPLOAD_READY || upload->is_bound || !session_gap(stream, &first, &last)) continue;
        if (stream->mode.flags & KVS_RELATIVE_TIMES || last == KVS_TIME_NONE || last + 1 != upload->first) continue;
        upload->first = upload->at_fragment = upload->done_next = upload->sent_next = first;
    }
}

/* Those that are connected; one that is only being opened is a new connection already. */
void session_abort_open(struct kvs_stream *stream, uint32_t result)
{
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        struct upload *upload = stream->uploads.items[i];
        if (is_live(upload) && upload->state != KVS_UPLOAD_OPENING) session_abort(stream, upload, result);
    }
    reaim_unread(stream);
}

void session_limit(struct kvs_stream *stream, uint64_t last)
{
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        struct upload *upload = stream->uploads.items[i];
        if (!is_live(upload) || upload->last != KVS_TIME_NONE) continue;
        if (upload->first > last) continue; /* it has not begun: it may as well take what comes */
        upload->last = last;
    }
    session_announce(stream);
}

/* ---- a token that expires ------------------------------------------------------------------------------------ */

/* What is being read goes out, the rest is left to a session with the next token. */
void session_limit_to_read(struct kvs_stream *stream)
{
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        struct upload *upload = stream->uploads.items[i];
        if (!is_live(upload) || !upload->is_bound) continue;
        int is_inside = upload->sent_next > upload->at_fragment || !upload->has_sent;
        uint64_t cut = is_inside ? upload->at_fragment : upload->at_fragment - 1;
        if (upload->last == KVS_TIME_NONE || upload->last > cut) upload->last = cut;
    }
    session_announce(stream);
}

uint64_t session_next_expiry(const struct kvs_stream *stream)
{
    uint64_t least = KVS_TIME_NONE;
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        if (has_bytes_left(stream->uploads.items[i])) least = kvs_hns_min(least, stream->uploads.items[i]->expires_hns);
    }
    return least;
}

/* What is not out by then is sent again by the next session. One that only waits for ACKs may wait on. */
void session_expire(struct kvs_stream *stream, uint64_t now_hns)
{
    if (now_hns < session_next_expiry(stream)) return;
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        struct upload *upload = stream->uploads.items[i];
        if (has_bytes_left(upload) && now_hns >= upload->expires_hns)
            session_abort(stream, upload, KVS_RESULT_NOT_AUTHORIZED);
    }
    reaim_unread(stream);
    session_announce(stream);
}

/* ---- a session that was lost ------------------------------------------------------------------------------------- */

static int is_error_ack(uint32_t result)
{
    return result >= KVS_RESULT_STREAM_READ_ERROR && result < KVS_RESULT_CLIENT_LIMIT;
}

static uint32_t lost_event(uint32_t result)
{
    switch (result) {
    case KVS_RESULT_OK:
    case KVS_RESULT_DEVICE_LIMIT:
    case KVS_RESULT_STREAM_LIMIT: return KVS_STREAM_EV_ENDED_OK;
    case KVS_RESULT_NOT_AUTHORIZED:
    case KVS_RESULT_FORBIDDEN: return KVS_STREAM_EV_ENDED_AUTH;
    case KVS_RESULT_REQUEST_TIMEOUT:
    case KVS_RESULT_GATEWAY_TIMEOUT:
    case KVS_RESULT_READ_TIMEOUT:
    case KVS_RESULT_CONNECTION_TIMEOUT: return KVS_STREAM_EV_ENDED_TIMEOUT;
    default: return KVS_STREAM_EV_ENDED_ERROR;
    }
}

static int has_live(const struct kvs_stream *stream)
{
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        if (is_live(stream->uploads.items[i])) return 1;
    }
    return 0;
}

static int has_opening(const struct kvs_stream *stream)
{
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->uploads.items[i] != NULL; i++) {
        if (stream->uploads.items[i]->state == KVS_UPLOAD_OPENING) return 1;
    }
    return 0;
}

static kvs_status lost_cause(uint32_t event, uint32_t result)
{
    if (event == KVS_STREAM_EV_ENDED_AUTH) return KVS_E_NOT_AUTHORIZED;
    return is_error_ack(result) ? KVS_E_ERROR_ACK : KVS_E_CONNECTION_LOST;
}

/* Without recovery an ended session ends the stream's work, visibly; an orderly end that owes nothing is no error. */
static void lost_for_good(struct kvs_stream *stream, uint32_t result, uint64_t now_hns)
{
    uint64_t first = 0, last = 0;
    if (has_live(stream)) return;
    if (result == KVS_RESULT_OK && !session_gap(stream, &first, &last)) {
        stream_step(stream, KVS_STREAM_EV_ENDED_TIMEOUT, now_hns);
        return;
    }
    stream_fail(stream, KVS_STREAM_EV_ENDED_FATAL, lost_cause(lost_event(result), result), result, now_hns);
}

/* A session was lost while the next one is being opened. What it leaves behind needs one more, which waits its turn:
 * two that are refused in alternation would else open each other for ever. */
static void pace_next(struct kvs_stream *stream, uint32_t event)
{
    uint64_t first = 0, last = 0, wait = stream->client->backoff_cap_hns;
    if (stream->machine.state != KVS_STREAM_PUT_STREAM || event == KVS_STREAM_EV_ENDED_OK) return;
    if (!session_gap(stream, &first, &last)) return;
    (void)kvs_backoff_next(&stream->machine.session_backoff, &stream->prng, &wait);
    stream->machine.wait_hns = wait;
}

static void lost(struct kvs_stream *stream, uint32_t event, uint32_t result, uint64_t now_hns)
{
    uint64_t first = 0, last = 0, wait = 0;
    reaim_unread(stream);
    stream->uploads.last_result = result;
    if (stream->mode.flags & KVS_NO_RECOVERY) {
        lost_for_good(stream, result, now_hns);
        return;
    }
    int was_flowing = stream->machine.state == KVS_STREAM_STREAMING ||
                      (stream->machine.state == KVS_STREAM_PUT_STREAM && !has_opening(stream));
    if (!was_flowing) { /* a way to the next session is under way already */
        pace_next(stream, event);
        return;
    }
    if (has_live(stream) && !session_gap(stream, &first, &last)) return;
    int is_first = stream->machine.session_backoff.count == 0;
    if (!kvs_backoff_next(&stream->machine.session_backoff, &stream->prng, &wait)) {
        stream_fail(stream, KVS_STREAM_EV_ENDED_FATAL, lost_cause(event, result), result, now_hns);
        return;
    }
    stream->ledger.metrics.retry_count++;
    if (!is_first && stream->limits.fragment_duration_min_hns != 0)
        stream->pace.is_probing = 1; /* two losses in a row */
    stream->machine.wait_hns = is_first && event == KVS_STREAM_EV_ENDED_OK ? 0 : wait;
    stream_step(stream, event, now_hns);
}

/* Unless the ERROR ACK is about the stream, that and its endpoint are as they were: what it needs is another session.
 */
void session_refused(struct kvs_stream *stream, uint32_t error_id, uint64_t now_hns)
{
    int is_of_stream = kvs_ack_error_of(error_id)->about == KVS_ABOUT_STREAM;
    stream->pace.is_probing = 1;
    lost(stream, is_of_stream ? KVS_STREAM_EV_ENDED_ERROR : KVS_STREAM_EV_ENDED_TIMEOUT, error_id, now_hns);
    session_announce(stream); /* those that were behind it */
}

/* What a KVS_PUT_OPENS stream has put off. */
void session_timed_out(struct kvs_stream *stream, uint64_t now_hns)
{
    stream->machine.waits_for_put = 0;
    lost(stream, KVS_STREAM_EV_ENDED_TIMEOUT, stream->uploads.last_result, now_hns);
}

static int may_wait_for_put(const struct kvs_stream *stream, uint32_t event)
{
    if (!(stream->mode.flags & KVS_PUT_OPENS) || (stream->mode.flags & KVS_NO_RECOVERY) || stream->ledger.is_stopped)
        return 0;
    if (event != KVS_STREAM_EV_ENDED_TIMEOUT || stream->machine.state != KVS_STREAM_STREAMING) return 0;
    return stream->uploads.items[1] == NULL && unsent_of_stream(stream).bytes == 0;
}

kvs_status kvs_upload_ended(struct kvs_stream *stream, uint64_t handle, uint32_t result, uint64_t now_hns)
{
    if (stream == NULL) return KVS_E_NULL_ARG;
    stream_lock(stream);
    (void)lend_return(stream, handle);
    struct upload *upload = session_find(stream, handle);
    if (upload != NULL) {
        int was_live = is_live(upload);
        stream->machine.waits_for_put = was_live && may_wait_for_put(stream, lost_event(result));
        session_remove(stream, upload);
        if (stream->machine.waits_for_put) stream->uploads.last_result = result;
        else if (was_live) lost(stream, lost_event(result), result, now_hns);
        session_announce(stream); /* those that were behind it */
        stream_settle(stream, now_hns);
    }
    stream_unlock(stream);
    return KVS_OK;
}

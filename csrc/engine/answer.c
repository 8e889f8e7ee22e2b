/* answer.c — answers of the service, classified into one event of the stream machine each, and the calls that steer it.
 *
 * An answer is checked whole before anything moves. Which result is retried, skipped or final is decided here and only
 * here (machine/result.c knows the numbers); the table (machine/stream_fsm.c) has no conditions. */
#include "engine/stream.h"

#define POLL_FIRST_HNS KVS_HNS_PER_SECOND

struct verdict {
    uint32_t event;
    kvs_status cause; /* of a FATAL */
};

static kvs_status final_status(enum kvs_answer_kind kind)
{
    switch (kind) {
    case KVS_ANSWER_BAD_REQUEST: return KVS_E_BAD_REQUEST;
    case KVS_ANSWER_NOT_FOUND: return KVS_E_NOT_FOUND;
    case KVS_ANSWER_LIMIT: return KVS_E_SERVICE_LIMIT;
    case KVS_ANSWER_DEVICE: return KVS_E_SERVICE_ERROR;
    default: return KVS_OK; /* not final */
    }
}

static struct verdict described(const struct kvs_stream *stream, const struct kvs_stream_answer *answer)
{
    switch (answer->stream_status) {
    case KVS_STATUS_ACTIVE:
        return (struct verdict) { stream->mode.flags & KVS_HAS_TAGS ? KVS_STREAM_EV_ACTIVE_TAGS : KVS_STREAM_EV_ACTIVE,
                                  KVS_OK };
    case KVS_STATUS_CREATING:
    case KVS_STATUS_UPDATING: return (struct verdict) { KVS_STREAM_EV_NOT_READY, KVS_OK };
    default: return (struct verdict) { KVS_STREAM_EV_FATAL, KVS_E_STREAM_DELETING };
    }
}

static struct verdict failed(const struct kvs_stream *stream, uint32_t result)
{
    enum kvs_answer_kind kind = kvs_answer_kind_of(result);
    int is_describe = stream->machine.state == KVS_STREAM_DESCRIBE;
    /* A TagStream that did not reach the service is worth another try; what the service itself answered is final. */
    if (stream->machine.state == KVS_STREAM_TAG && kind != KVS_ANSWER_TIMEOUT && kind != KVS_ANSWER_WIRE)
        return (struct verdict) { KVS_STREAM_EV_SKIP, KVS_OK };
    if (kind == KVS_ANSWER_AUTH) return (struct verdict) { KVS_STREAM_EV_AUTH, KVS_E_NOT_AUTHORIZED };
    if (result == KVS_RESULT_IN_USE && stream->machine.state == KVS_STREAM_CREATE)
        return (struct verdict) { KVS_STREAM_EV_IN_USE, KVS_OK };
    if (result == KVS_RESULT_NOT_FOUND && is_describe && (stream->mode.flags & KVS_ALLOW_CREATE)) {
        return (struct verdict) { KVS_STREAM_EV_NOT_FOUND, KVS_OK };
    }
    if (result == KVS_RESULT_NOT_FOUND && !is_describe && stream->machine.is_ours)
        return (struct verdict) { KVS_STREAM_EV_RETRYABLE, KVS_OK };
    kvs_status cause = final_status(kind);
    return (struct verdict) { cause != KVS_OK ? KVS_STREAM_EV_FATAL : KVS_STREAM_EV_RETRYABLE, cause };
}

static struct verdict judge(const struct kvs_stream *stream, const struct kvs_stream_answer *answer)
{
    if (answer->result != KVS_RESULT_OK) return failed(stream, answer->result);
    if (stream->machine.state == KVS_STREAM_DESCRIBE) return described(stream, answer);
    if (stream->machine.state == KVS_STREAM_CREATE && (stream->mode.flags & KVS_HAS_TAGS))
        return (struct verdict) { KVS_STREAM_EV_OK_TAGS, KVS_OK };
    return (struct verdict) { KVS_STREAM_EV_OK, KVS_OK };
}

static void note_description(struct kvs_stream *stream, const struct kvs_stream_answer *answer)
{
    int is_known = answer->retention_hns == stream->machine.described_retention_hns;
    stream->machine.described_retention_hns = answer->retention_hns;
    if (!is_known && answer->retention_hns == 0) uploads_received_is_done(stream);
    if (is_known || answer->retention_hns == stream->limits.retention_hns || stream->machine.is_ours) return;
    struct kvs_action action = { .kind = KVS_ACTION_RETENTION_DIFFERS };
    action.a = stream->limits.retention_hns;
    action.b = answer->retention_hns;
    stream_notice(stream, &action);
}

static void note_token(struct kvs_stream *stream)
{
    struct kvs_action action = { .kind = KVS_ACTION_TOKEN_ROTATED };
    if (!stream->machine.is_rotating) return;
    stream->machine.is_rotating = 0;
    stream_notice(stream, &action);
}

static void note_success(struct kvs_stream *stream, const struct kvs_stream_answer *answer)
{
    if (stream->machine.state == KVS_STREAM_DESCRIBE && answer->stream_status == KVS_STATUS_ACTIVE)
        note_description(stream, answer);
    if (stream->machine.state == KVS_STREAM_CREATE) {
        stream->machine.is_ours = 1;
        stream->machine.described_retention_hns = stream->limits.retention_hns;
    }
    if (stream->machine.state == KVS_STREAM_GET_TOKEN) note_token(stream);
}

/* A PutMedia that failed leaves no handle behind. */
static void close_opening(struct kvs_stream *stream)
{
    struct upload *upload = uploads_opening(stream);
    if (upload != NULL) upload_remove(stream, upload);
}

static void open_opening(struct kvs_stream *stream)
{
    struct upload *upload = uploads_opening(stream);
    if (upload == NULL) return;
    upload_move(stream, upload, KVS_UPLOAD_EV_OPENED);
    stream->ledger.metrics.sessions++;
}

/* The wait before the same call again; 0 when the budget is spent. */
static int wait_of(struct kvs_stream *stream, uint32_t event, uint64_t *wait_out)
{
    struct kvs_backoff *backoff = event == KVS_STREAM_EV_AUTH ? &stream->machine.session_backoff
                                                              : &stream->machine.backoff;
    uint32_t count = backoff->count;
    if (!kvs_backoff_next(backoff, &stream->prng, wait_out)) return 0;
    if (event == KVS_STREAM_EV_NOT_READY)
        *wait_out = kvs_hns_min(POLL_FIRST_HNS << count, stream->client->backoff_cap_hns);
    return 1;
}

static kvs_status apply(struct kvs_stream *stream, const struct kvs_stream_answer *answer, uint64_t now_hns)
{
    struct verdict verdict = judge(stream, answer);
    uint8_t was_put = stream->machine.state == KVS_STREAM_PUT_STREAM;
    kvs_status refused = KVS_OK;
    if (stream->machine.state == KVS_STREAM_GET_TOKEN && verdict.event == KVS_STREAM_EV_OK) {
        refused = kvs_token_set(&stream->machine.token, answer->expires_hns, now_hns, &stream->prng);
        if (refused != KVS_OK) verdict.event = KVS_STREAM_EV_RETRYABLE;
    }
    stream->uploads.last_result = answer->result;
    if (was_put && verdict.event == KVS_STREAM_EV_OK) open_opening(stream);
    else if (was_put) close_opening(stream);
    if (verdict.event == KVS_STREAM_EV_OK || verdict.event == KVS_STREAM_EV_OK_TAGS ||
        answer->result == KVS_RESULT_OK) {
        if (refused == KVS_OK) note_success(stream, answer);
    }
    int is_repeat = verdict.event == KVS_STREAM_EV_RETRYABLE || verdict.event == KVS_STREAM_EV_NOT_READY ||
                    verdict.event == KVS_STREAM_EV_IN_USE || (verdict.event == KVS_STREAM_EV_AUTH && was_put);
    if (is_repeat && !wait_of(stream, verdict.event, &stream->machine.wait_hns)) {
        verdict.cause = verdict.event == KVS_STREAM_EV_AUTH ? KVS_E_NOT_AUTHORIZED
                                                            : kvs_stream_fsm.spent[stream->machine.state];
        verdict.event = stream->machine.state == KVS_STREAM_TAG ? KVS_STREAM_EV_SKIP : KVS_STREAM_EV_SPENT;
        if (stream->machine.state == KVS_STREAM_TAG) verdict.cause = KVS_OK;
    }
    if (is_repeat) stream->ledger.metrics.retry_count++;
    stream->out.request = 0;
    if (verdict.cause != KVS_OK && !(was_put && verdict.event == KVS_STREAM_EV_AUTH)) {
        stream_fail(stream, verdict.event, verdict.cause, answer->result, now_hns);
        return verdict.cause;
    }
    stream_step(stream, verdict.event, now_hns);
    return refused;
}

kvs_status kvs_stream_answer(struct kvs_stream *stream, const struct kvs_stream_answer *answer, uint64_t now_hns)
{
    if (stream == NULL || answer == NULL) return KVS_E_NULL_ARG;
    if (answer->size != sizeof *answer) return KVS_E_CONFIG_SIZE;
    stream_lock(stream);
    kvs_status status = KVS_E_STALE_ANSWER;
    if (stream->out.request != 0 && answer->request == stream->out.request) {
        status = apply(stream, answer, now_hns);
        uploads_announce(stream);
        stream_settle(stream, now_hns);
    }
    stream_unlock(stream);
    return status;
}

/* ---- stop, retry, reset ------------------------------------------------------------------------------------------ */

/* An order that another is about to replace before it was due: the pace does not count it. Else a caller that retries
 * again and again would push the next try further away each time. */
static void give_order_back(struct kvs_stream *stream, uint64_t now_hns)
{
    if (stream->out.request == 0) return;
    /* The states stand in the order of the orders that they wait for. */
    uint32_t place = (uint32_t)stream->machine.state - KVS_STREAM_DESCRIBE;
    if (stream->machine.state == KVS_STREAM_PUT_STREAM) place = KVS_ACTION_PUT_MEDIA - KVS_ACTION_DESCRIBE_STREAM;
    kvs_pace_give_back(&stream->machine.paces[place], now_hns);
}

kvs_status kvs_stream_retry(struct kvs_stream *stream, uint64_t now_hns)
{
    if (stream == NULL) return KVS_E_NULL_ARG;
    stream_lock(stream);
    kvs_status status = stream->machine.state == KVS_STREAM_STOPPED ? KVS_E_STREAM_STOPPED : KVS_OK;
    if (status == KVS_OK) {
        machine_forget_failures(stream); /* the caller sets the rate of retries, and kvs_pace bounds it */
        give_order_back(stream, now_hns);
        close_opening(stream);
        stream_step(stream, KVS_STREAM_EV_RETRY, now_hns);
    }
    stream_unlock(stream);
    return status;
}

kvs_status kvs_stream_reset_connection(struct kvs_stream *stream, uint64_t now_hns)
{
    if (stream == NULL) return KVS_E_NULL_ARG;
    stream_lock(stream);
    uploads_abort_open(stream, KVS_RESULT_OK);
    if (stream->machine.state == KVS_STREAM_STREAMING) {
        stream_step(stream, KVS_STREAM_EV_ENDED_OK, now_hns); /* asked for: no failure, whatever recovery is set */
    }
    stream_settle(stream, now_hns);
    stream_unlock(stream);
    return KVS_OK;
}

kvs_status kvs_stream_stop(struct kvs_stream *stream, uint64_t now_hns)
{
    if (stream == NULL) return KVS_E_NULL_ARG;
    stream_write_lock(stream);
    if (!stream->ledger.is_stopped) {
        stream->packer.is_stopping = 1;
        package_held(stream, 1, now_hns);
        stream->packer.is_stopping = 0;
        ledger_end_skip(stream);
        stream->ledger.is_stopped = 1;
        for (uint32_t i = 0; i < stream->track_count; i++) parts_clear(&stream->tracks[i]); /* no picture follows */
        package_trailer(stream, now_hns);
        uploads_trim(stream);
        uploads_announce(stream);
        stream_settle(stream, now_hns);
    }
    stream_write_unlock(stream);
    return KVS_OK;
}

kvs_status kvs_stream_reset(struct kvs_stream *stream, uint64_t now_hns)
{
    if (stream == NULL) return KVS_E_NULL_ARG;
    stream_write_lock(stream);
    uploads_abort_all(stream, KVS_RESULT_OK);
    ledger_end_skip(stream);
    room_drop_all(stream, KVS_DROP_RESET);
    stream_restart(stream);
    pressure_check_all(stream);
    give_order_back(stream, now_hns);
    stream_step(stream, KVS_STREAM_EV_RESET, now_hns);
    stream_write_unlock(stream);
    return KVS_OK;
}

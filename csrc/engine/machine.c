/* machine.c — the one place where the stream's machine steps, and what its acts mean: orders to the service, a session,
 * notices of state. The table is machine/stream_fsm.c. */
#include "engine/stream.h"

void machine_init(struct kvs_stream *stream)
{
    struct machine *machine = &stream->machine;
    const struct kvs_client *client = stream->client;
    kvs_backoff_init(&machine->backoff, client->backoff_base_hns, client->backoff_cap_hns, KVS_RETRIES_MAX);
    kvs_backoff_init(&machine->session_backoff, client->backoff_base_hns, client->backoff_cap_hns, KVS_RETRIES_MAX);
    machine->described_retention_hns = KVS_TIME_NONE;
}

void machine_reset(struct kvs_stream *stream)
{
    struct machine *machine = &stream->machine;
    machine_forget_failures(stream);
    kvs_token_clear(&machine->token);
    machine->skipped_start_hns = machine->received_hns = KVS_TIME_NONE;
    machine->describe_wait_hns = 0;
    machine->waits_for_put = machine->is_rotating = machine->is_closed = 0;
}

void machine_forget_failures(struct kvs_stream *stream)
{
    struct machine *machine = &stream->machine;
    machine->failure = KVS_OK;
    machine->wait_hns = 0;
    kvs_backoff_progress(&machine->backoff);
    kvs_backoff_progress(&machine->session_backoff);
}

static uint32_t order_of(uint32_t act)
{
    switch (act) {
    case KVS_STREAM_ACT_DESCRIBE: return KVS_ACTION_DESCRIBE_STREAM;
    case KVS_STREAM_ACT_CREATE: return KVS_ACTION_CREATE_STREAM;
    case KVS_STREAM_ACT_TAG: return KVS_ACTION_TAG_STREAM;
    case KVS_STREAM_ACT_GET_ENDPOINT:
    case KVS_STREAM_ACT_SKIP_TAG: return KVS_ACTION_GET_DATA_ENDPOINT;
    case KVS_STREAM_ACT_GET_TOKEN: return KVS_ACTION_GET_TOKEN;
    default: return KVS_ACTION_NONE;
    }
}

static uint64_t order_time(struct kvs_stream *stream, uint32_t kind, uint64_t now_hns)
{
    uint64_t wanted_hns = kvs_hns_add(now_hns, stream->machine.wait_hns);
    uint64_t due_hns = kvs_pace_take(&stream->machine.paces[kind - KVS_ACTION_DESCRIBE_STREAM], wanted_hns);
    stream->machine.wait_hns = 0;
    return due_hns > now_hns ? due_hns : 0;
}

/* In place of the outstanding order. */
static void send_order(struct kvs_stream *stream, struct kvs_action *action, uint64_t now_hns)
{
    stream_withdraw_request(stream);
    action->attempt = stream->machine.backoff.count;
    action->request = stream->out.request = ++stream->out.request_count;
    action->after_hns = order_time(stream, action->kind, now_hns);
    stream_order(stream, action);
}

static void report_failed(struct kvs_stream *stream, uint32_t old_state)
{
    struct kvs_action action = { .kind = KVS_ACTION_FAILED,
                                 .status = stream->machine.failure,
                                 .result = stream->uploads.last_result,
                                 .a = old_state };
    stream_withdraw_request(stream);
    stream_order(stream, &action);
}

static void carry_out(struct kvs_stream *stream, uint32_t act, uint32_t old_state, uint64_t now_hns)
{
    struct kvs_action ready = { .kind = KVS_ACTION_READY }, closed = { .kind = KVS_ACTION_CLOSED };
    struct kvs_action skipped = { .kind = KVS_ACTION_TAG_SKIPPED,
                                  .result = stream->uploads.last_result,
                                  .status = KVS_E_TAG_FAILED };
    switch (act) {
    case KVS_STREAM_ACT_AWAIT_FRAME:
        stream_withdraw_request(stream);
        stream_notice(stream, &ready);
        break;
    case KVS_STREAM_ACT_STREAM:
        stream_withdraw_request(stream);
        uploads_announce(stream);
        break;
    case KVS_STREAM_ACT_REPORT_FAILED: report_failed(stream, old_state); break;
    case KVS_STREAM_ACT_REPORT_CLOSED:
        stream_withdraw_request(stream);
        stream->machine.is_closed = 1;
        stream_order(stream, &closed);
        break;
    case KVS_STREAM_ACT_SKIP_TAG: stream_notice(stream, &skipped); break;
    default: break;
    }
    struct kvs_action order = { .kind = order_of(act) };
    if (order.kind != KVS_ACTION_NONE) send_order(stream, &order, now_hns);
}

static kvs_status open_session(struct kvs_stream *stream, uint64_t first, uint64_t last, uint64_t now_hns)
{
    struct upload *upload = NULL;
    struct opened opened = { .first = first, .last = last, .now_hns = now_hns };
    opened.expires_hns = stream->machine.token.is_set ? stream->machine.token.expires_hns : KVS_TIME_NONE;
    opened.start_hns = stream->machine.skipped_start_hns;
    if (first < stream->view.fragment_head) opened.start_hns = kvs_view_fragment(&stream->view, first)->pts_hns;
    if (!uploads_have_live(stream)) stream->machine.received_hns = KVS_TIME_NONE; /* what was between is no silence */
    kvs_status status = uploads_open(stream, &opened, &upload);
    if (status != KVS_OK) return status;
    struct kvs_action action = { .kind = KVS_ACTION_PUT_MEDIA, .upload = upload->handle };
    action.a = opened.start_hns / KVS_HNS_PER_MS;
    send_order(stream, &action, now_hns);
    return KVS_OK;
}

/* What was to be sent may be gone meanwhile. */
static void put_media(struct kvs_stream *stream, uint64_t now_hns)
{
    uint64_t first = 0, last = 0;
    if (uploads_gap(stream, &first, &last)) room_limit_replay(stream, first, last);
    if (!uploads_gap(stream, &first, &last)) {
        if (stream->machine.skipped_start_hns == KVS_TIME_NONE) {
            stream_step(stream, KVS_STREAM_EV_ENDED_TIMEOUT, now_hns);
            return;
        }
        first = stream->view.fragment_head;
        last = KVS_TIME_NONE;
    }
    kvs_status status = open_session(stream, first, last, now_hns);
    if (status != KVS_OK) stream_fail(stream, KVS_STREAM_EV_SPENT, status, KVS_RESULT_UNKNOWN, now_hns);
}

/* A state further along the way re-arms the budget; DESCRIBE to CREATE may lead back to DESCRIBE and does not, and to
 * fail is none. */
static int is_progress(uint32_t old_state, uint32_t state)
{
    return state > old_state && state < KVS_STREAM_STOPPED && state != KVS_STREAM_CREATE;
}

void stream_step(struct kvs_stream *stream, uint32_t event, uint64_t now_hns)
{
    uint32_t act = 0;
    uint8_t old_state = stream->machine.state;
    if (kvs_fsm_move(&kvs_stream_fsm, &stream->machine.state, event, &act) != KVS_OK) return;
    if (stream->machine.state != old_state) {
        struct kvs_action action = { .kind = KVS_ACTION_STATE, .a = old_state, .b = stream->machine.state };
        if (is_progress(old_state, stream->machine.state)) kvs_backoff_progress(&stream->machine.backoff);
        stream_notice(stream, &action);
    }
    if (act == KVS_STREAM_ACT_PUT_MEDIA) put_media(stream, now_hns);
    else carry_out(stream, act, old_state, now_hns);
}

void stream_fail(struct kvs_stream *stream, uint32_t event, kvs_status cause, uint32_t result, uint64_t now_hns)
{
    if (stream->machine.state != KVS_STREAM_FAILED) {
        stream->machine.failure = cause;
        stream->uploads.last_result = result;
    }
    stream_step(stream, event, now_hns);
}

/* Retention 0: nothing is ever persisted, RECEIVED is the last word. Before the first answer the caller's value
 * stands. */
int stream_done_on_received(const struct kvs_stream *stream)
{
    uint64_t retention = stream->machine.described_retention_hns;
    return (retention == KVS_TIME_NONE ? stream->limits.retention_hns : retention) == 0;
}

uint64_t machine_next_deadline(const struct kvs_stream *stream)
{
    if (stream->machine.state != KVS_STREAM_STREAMING && stream->machine.state != KVS_STREAM_READY)
        return KVS_TIME_NONE;
    return kvs_token_next_deadline(&stream->machine.token);
}

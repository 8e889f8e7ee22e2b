/* recovery.c — a session that was lost: whether another one follows, and after which wait. */
#include "engine/stream.h"

static uint32_t lost_event(uint32_t result)
{
    switch (kvs_answer_kind_of(result)) {
    case KVS_ANSWER_OK: return KVS_STREAM_EV_ENDED_OK;
    case KVS_ANSWER_LIMIT:
        return result == KVS_RESULT_CLIENT_LIMIT ? KVS_STREAM_EV_ENDED_ERROR : KVS_STREAM_EV_ENDED_OK;
    case KVS_ANSWER_AUTH: return KVS_STREAM_EV_ENDED_AUTH;
    case KVS_ANSWER_TIMEOUT: return KVS_STREAM_EV_ENDED_TIMEOUT;
    default: return KVS_STREAM_EV_ENDED_ERROR;
    }
}

static kvs_status lost_cause(uint32_t event, uint32_t result)
{
    if (event == KVS_STREAM_EV_ENDED_AUTH) return KVS_E_NOT_AUTHORIZED;
    return kvs_answer_kind_of(result) == KVS_ANSWER_ERROR_ACK ? KVS_E_ERROR_ACK : KVS_E_CONNECTION_LOST;
}

/* Without recovery the stream fails when a session ends. An orderly end with everything acknowledged is no failure. */
static void lost_for_good(struct kvs_stream *stream, uint32_t result, uint64_t now_hns)
{
    uint64_t first = 0, last = 0;
    if (uploads_have_live(stream)) return;
    if (result == KVS_RESULT_OK && !uploads_gap(stream, &first, &last)) {
        stream_step(stream, KVS_STREAM_EV_ENDED_TIMEOUT, now_hns);
        return;
    }
    stream_fail(stream, KVS_STREAM_EV_ENDED_FATAL, lost_cause(lost_event(result), result), result, now_hns);
}

/* A session was lost while the next one is being opened. What it leaves behind needs one more, which waits its turn:
 * two that are refused in alternation would else open each other for ever. */
static void delay_next_session(struct kvs_stream *stream, uint32_t event)
{
    uint64_t first = 0, last = 0, wait = stream->client->backoff_cap_hns;
    if (stream->machine.state != KVS_STREAM_PUT_STREAM || event == KVS_STREAM_EV_ENDED_OK) return;
    if (!uploads_gap(stream, &first, &last)) return;
    (void)kvs_backoff_next(&stream->machine.session_backoff, &stream->prng, &wait);
    stream->machine.wait_hns = wait;
}

static void lost(struct kvs_stream *stream, uint32_t event, uint32_t result, uint64_t now_hns)
{
    uint64_t first = 0, last = 0, wait = 0;
    uploads_reaim(stream);
    stream->uploads.last_result = result;
    if (stream->mode.flags & KVS_NO_RECOVERY) {
        lost_for_good(stream, result, now_hns);
        return;
    }
    int was_flowing = stream->machine.state == KVS_STREAM_STREAMING ||
                      (stream->machine.state == KVS_STREAM_PUT_STREAM && uploads_opening(stream) == NULL);
    if (!was_flowing) { /* a way to the next session is under way already */
        delay_next_session(stream, event);
        return;
    }
    if (uploads_have_live(stream) && !uploads_gap(stream, &first, &last)) return;
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

/* Unless the ERROR ACK is about the stream, that and its endpoint are as they were: another session is all it needs. */
void recovery_refused(struct kvs_stream *stream, uint32_t error_id, uint64_t now_hns)
{
    int is_of_stream = kvs_ack_error_of(error_id)->about == KVS_ABOUT_STREAM;
    stream->pace.is_probing = 1;
    lost(stream, is_of_stream ? KVS_STREAM_EV_ENDED_ERROR : KVS_STREAM_EV_ENDED_TIMEOUT, error_id, now_hns);
    uploads_announce(stream); /* those that were behind it */
}

/* What a KVS_PUT_OPENS stream has put off. */
void recovery_timed_out(struct kvs_stream *stream, uint64_t now_hns)
{
    stream->machine.waits_for_put = 0;
    lost(stream, KVS_STREAM_EV_ENDED_TIMEOUT, stream->uploads.last_result, now_hns);
}

int recovery_may_wait_for_put(const struct kvs_stream *stream, uint32_t result)
{
    if (!(stream->mode.flags & KVS_PUT_OPENS) || (stream->mode.flags & KVS_NO_RECOVERY) || stream->ledger.is_stopped)
        return 0;
    if (lost_event(result) != KVS_STREAM_EV_ENDED_TIMEOUT || stream->machine.state != KVS_STREAM_STREAMING) return 0;
    return stream->uploads.items[1] == NULL && unsent_of_stream(stream).bytes == 0;
}

void recovery_lost(struct kvs_stream *stream, uint32_t result, uint64_t now_hns)
{
    lost(stream, lost_event(result), result, now_hns);
}

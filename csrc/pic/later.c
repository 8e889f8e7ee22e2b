/* later.c — what is done later: an order that is not due, and another try of a stream that gave up.
 *
 * A network layer that answers inside the callback, with an error and heeding no callAfter, would use up all tries in
 * one call of the program. Its next order waits until it is due, and the first call of the program after that issues
 * it. Where the network layer answers later, an order goes out at once, and callAfter says when to send it.
 * The core gives up after its retries. Once a stream was ready this adapter is the higher layer that goes on: it tells
 * the program once for each outage and retries, for ever, with nothing dropped. All under the client's lock. */
#include "pic/adapter.h"

#define WAIT_FIRST_HNS HUNDREDS_OF_NANOS_IN_A_SECOND
#define WAIT_MAX_HNS (30 * HUNDREDS_OF_NANOS_IN_A_SECOND)

void pic_later_cancel(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    if (stream->later_hns == KVS_TIME_NONE) return;
    if (stream->previous_later != NULL) stream->previous_later->next_later = stream->next_later;
    else client->first_later = stream->next_later;
    if (stream->next_later != NULL) stream->next_later->previous_later = stream->previous_later;
    if (stream->later != NULL) pic_recycle(client, stream->later);
    stream->later = NULL;
    stream->later_hns = KVS_TIME_NONE;
}

void pic_later(struct pic_stream *stream, uint64_t due_hns, struct pic_node *order)
{
    struct pic_client *client = stream->client;
    pic_later_cancel(stream);
    stream->later = order;
    stream->later_hns = due_hns;
    stream->previous_later = NULL;
    stream->next_later = client->first_later;
    if (client->first_later != NULL) client->first_later->previous_later = stream;
    client->first_later = stream;
    if (due_hns < client->later_hns) client->later_hns = due_hns;
    pic_refresh_deadline(client);
}

static void run(struct pic_stream *stream, uint64_t now_hns)
{
    struct pic_node *order = stream->later;
    stream->later = NULL;
    pic_later_cancel(stream);
    if (order != NULL) pic_append(stream->client, &stream->object, order);
    else (void)kvs_stream_retry(stream->core, now_hns);
    atomic_store(&stream->client->woken, 1u);
}

void pic_later_run(struct pic_client *client, uint64_t now_hns)
{
    struct pic_stream *next = NULL;
    if (now_hns < client->later_hns) return;
    client->later_hns = KVS_TIME_NONE;
    for (struct pic_stream *stream = client->first_later; stream != NULL; stream = next) {
        next = stream->next_later;
        if (stream->later_hns <= now_hns) run(stream, now_hns);
        else if (stream->later_hns < client->later_hns) client->later_hns = stream->later_hns;
    }
}

/* ---- outages --------------------------------------------------------------------------------------------------- */

int pic_is_retried(const struct pic_stream *stream, kvs_status cause)
{
    int is_final = cause == KVS_E_NOT_AUTHORIZED || cause == KVS_E_BAD_REQUEST || cause == KVS_E_STREAM_DELETING;
    return !is_final && stream->object.is_ready && stream->info.streamCaps.recoverOnError;
}

/* Programs leave a recoverable error to the library, and reset a stream for a retriable one, which drops its media. */
STATUS pic_recoverable(STATUS status)
{
    return IS_RECOVERABLE_ERROR(status) ? status : STATUS_SERVICE_CALL_UNKOWN_ERROR;
}

void pic_retry_later(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    uint32_t count = stream->outage_count++;
    uint64_t most_hns = count < 5u ? WAIT_FIRST_HNS << count : WAIT_MAX_HNS; /* 1, 2, 4, 8, 16 s, then 30 s */
    uint64_t wait_hns = most_hns / 2u + client->host.random(client->host.ctx) % (most_hns / 2u);
    pic_later(stream, pic_now(client) + wait_hns, NULL);
}

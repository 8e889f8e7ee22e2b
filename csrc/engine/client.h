/* client.h — the lowest layer: what goes out (queue), which stream is due (heap), which name is whose (names),
 * and the client's own machine. It knows no frame and no fragment. */
#ifndef KVS_ENGINE_CLIENT_H
#define KVS_ENGINE_CLIENT_H

#include "engine/state.h"

/* ---- queue.c: actions going out ---------------------------------------------------------------------------------- */

kvs_status actions_init(struct action_queue *queue, const struct kvs_host *host);
void actions_fini(struct action_queue *queue, const struct kvs_host *host);
kvs_status outbox_init(struct kvs_stream *stream, uint64_t user); /* KVS_E_NOMEM */
/* Both under the stream's lock; they take the client's, list the stream and note that the host is to be woken. */
void stream_order(struct kvs_stream *stream, const struct kvs_action *action);
void stream_notice(struct kvs_stream *stream, const struct kvs_action *action);
/* Places for all orders that can wait with so many upload handles, whatever memory there is later. Under the stream's
 * lock; KVS_E_NOMEM. */
kvs_status stream_reserve_orders(struct kvs_stream *stream, uint32_t upload_count);
/* Forgets an order of the outstanding request that was not drained yet. */
void stream_withdraw_request(struct kvs_stream *stream);
/* Forgets a DATA of the upload handle with this slot. */
void stream_withdraw_data(struct kvs_stream *stream, uint32_t slot);
void client_push(struct kvs_client *client, const struct kvs_action *action, int is_order);
void client_unlist(struct kvs_client *client, struct kvs_stream *stream); /* none of its actions is drained any more */

/* ---- names.c; under the client's lock ---------------------------------------------------------------------------- */

kvs_status names_init(struct kvs_stream *stream, const char *name);              /* copies it; KVS_E_NOMEM */
kvs_status names_reserve(struct kvs_client *client);                             /* for one more stream */
int names_has(const struct kvs_client *client, const struct kvs_stream *stream); /* another one of the same name */
void names_add(struct kvs_client *client, struct kvs_stream *stream);
void names_remove(struct kvs_client *client, const struct kvs_stream *stream);

/* ---- heap.c: deadlines; under the client's lock but for heap_arm ------------------------------------------------- */

void heap_init(struct kvs_stream *stream);
kvs_status heap_reserve(struct kvs_client *client); /* for one more stream, so that arming never fails */
void heap_remove(struct kvs_client *client, struct kvs_stream *stream);
/* The stream has a deadline at due_hns. Under the stream's lock; takes the client's if that is earlier than known. */
void heap_arm(struct kvs_stream *stream, uint64_t due_hns);
/* A stream that is due, out of the heap; NULL: none is. */
struct kvs_stream *heap_take_due(struct kvs_client *client, uint64_t now_hns);
uint64_t heap_first(const struct kvs_client *client); /* KVS_TIME_NONE: empty */

/* ---- client.c ---------------------------------------------------------------------------------------------------- */

void client_unlock_and_wake(struct kvs_client *client);
void client_poke(struct kvs_client *client, uint64_t now_hns); /* its own deadline; under its lock */
void client_destroy(struct kvs_client *client);                /* it has no stream any more */

/* ---- a stream's lock --------------------------------------------------------------------------------------------- */

static inline void stream_lock(struct kvs_stream *stream) { kvs_host_lock(stream->host, stream->lock); }

/* Without a look at the deadlines: where none has come nearer. */
static inline void stream_unlock_quiet(struct kvs_stream *stream)
{
    const struct kvs_host *host = stream->host;
    int wake = stream->out.wants_wake;
    stream->out.wants_wake = 0;
    kvs_host_unlock(host, stream->lock);
    if (wake) kvs_host_wake(host);
}

#endif

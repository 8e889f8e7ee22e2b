/* action.c — the queue of actions going out, one per stream and one of the client's own, and the draining of all.
 *
 * A queue grows for notices up to ACTIONS_MAX; past it they are counted as lost. Orders always find a place: a few are
 * reserved, and there can never be more of them (one outstanding request; data and end once per upload handle). */
#include "engine/engine.h"

#include <string.h>

kvs_status actions_init(struct action_queue *queue, const struct kvs_host *host)
{
    memset(queue, 0, sizeof *queue);
    queue->items = kvs_host_alloc(host, ACTIONS_MIN * sizeof *queue->items);
    if (queue->items == NULL) return KVS_E_NOMEM;
    queue->capacity = ACTIONS_MIN;
    return KVS_OK;
}

void actions_fini(struct action_queue *queue, const struct kvs_host *host)
{
    kvs_host_free(host, queue->items);
    memset(queue, 0, sizeof *queue);
}

static struct kvs_action *at(const struct action_queue *queue, uint32_t index)
{
    return &queue->items[(queue->first + index) % queue->capacity];
}

static int grow(struct action_queue *queue, const struct kvs_host *host)
{
    if (queue->capacity >= ACTIONS_MAX) return 0;
    struct kvs_action *items = kvs_host_alloc(host, 2u * queue->capacity * sizeof *items);
    if (items == NULL) return 0;
    for (uint32_t i = 0; i < queue->count; i++) items[i] = *at(queue, i);
    kvs_host_free(host, queue->items);
    queue->items = items;
    queue->capacity *= 2u;
    queue->first = 0;
    return 1;
}

static void remove_at(struct action_queue *queue, uint32_t index)
{
    for (uint32_t i = index; i + 1 < queue->count; i++) *at(queue, i) = *at(queue, i + 1);
    queue->count--;
}

static int is_notice(const struct kvs_action *action)
{
    return action->kind >= KVS_ACTION_CLIENT_READY && action->kind != KVS_ACTION_CLOSED &&
           action->kind != KVS_ACTION_FAILED;
}

/* An order with no place left takes that of the oldest notice. */
static void evict_notice(struct action_queue *queue)
{
    for (uint32_t i = 0; i < queue->count; i++) {
        if (!is_notice(at(queue, i))) continue;
        remove_at(queue, i);
        queue->lost_count++;
        return;
    }
    KVS_CHECK(0);
}

void actions_push(struct action_queue *queue, const struct kvs_host *host, const struct kvs_action *action,
                  int is_order)
{
    uint32_t limit = is_order ? queue->capacity : queue->capacity - ACTIONS_RESERVED;
    if (queue->count >= limit && !grow(queue, host)) {
        if (!is_order) {
            queue->lost_count++;
            return;
        }
        evict_notice(queue);
    }
    *at(queue, queue->count) = *action;
    queue->count++;
}

static uint32_t actions_take(struct action_queue *queue, struct kvs_action *out, uint32_t count)
{
    uint32_t taken = 0;
    while (taken < count && queue->count != 0) {
        out[taken++] = *at(queue, 0);
        queue->first = (queue->first + 1) % queue->capacity;
        queue->count--;
    }
    if (taken < count && queue->lost_count != 0) {
        memset(&out[taken], 0, sizeof out[taken]);
        out[taken].kind = KVS_ACTION_NOTICES_LOST;
        out[taken].a = queue->lost_count;
        queue->lost_count = 0;
        taken++;
    }
    return taken;
}

/* ---- the client's list of streams with actions ------------------------------------------------------------------- */

static int has_pending(const struct kvs_client *client)
{
    return client->first_listed != NULL || client->actions.count != 0;
}

static void list_append(struct kvs_client *client, struct kvs_stream *stream)
{
    stream->previous_listed = client->last_listed;
    stream->next_listed = NULL;
    if (client->last_listed != NULL) client->last_listed->next_listed = stream;
    else client->first_listed = stream;
    client->last_listed = stream;
    stream->in_list = 1;
}

static void list_remove(struct kvs_client *client, struct kvs_stream *stream)
{
    if (!stream->in_list) return;
    if (stream->previous_listed != NULL) stream->previous_listed->next_listed = stream->next_listed;
    else client->first_listed = stream->next_listed;
    if (stream->next_listed != NULL) stream->next_listed->previous_listed = stream->previous_listed;
    else client->last_listed = stream->previous_listed;
    stream->in_list = 0;
}

void client_unlink(struct kvs_client *client, struct kvs_stream *stream) { list_remove(client, stream); }

static void stream_list(struct kvs_stream *stream)
{
    if (stream->is_listed) return;
    struct kvs_client *client = stream->client;
    stream->is_listed = 1;
    kvs_host_lock(&client->host, client->lock);
    if (!stream->is_dead) {
        if (!has_pending(client)) stream->wants_wake = 1;
        list_append(client, stream);
    }
    kvs_host_unlock(&client->host, client->lock);
}

static void stream_push(struct kvs_stream *stream, const struct kvs_action *action, int is_order)
{
    struct kvs_action copy = *action;
    copy.user = stream->user;
    uint64_t lost = stream->actions.lost_count;
    actions_push(&stream->actions, stream->host, &copy, is_order);
    stream->metrics.notices_lost += stream->actions.lost_count - lost;
    stream_list(stream);
}

void stream_order(struct kvs_stream *stream, const struct kvs_action *action) { stream_push(stream, action, 1); }
void stream_notice(struct kvs_stream *stream, const struct kvs_action *action) { stream_push(stream, action, 0); }

void stream_withdraw_request(struct kvs_stream *stream)
{
    for (uint32_t i = 0; i < stream->actions.count; i++) {
        if (at(&stream->actions, i)->request != stream->request || stream->request == 0) continue;
        remove_at(&stream->actions, i);
        break;
    }
    stream->request = 0;
}

void client_push(struct kvs_client *client, const struct kvs_action *action, int is_order)
{
    if (!has_pending(client)) client->wants_wake = 1;
    actions_push(&client->actions, &client->host, action, is_order);
}

/* The first listed stream, taken off the list and held; NULL when no stream has actions. */
static struct kvs_stream *take_listed(struct kvs_client *client)
{
    struct kvs_stream *stream = client->first_listed;
    if (stream == NULL) return NULL;
    list_remove(client, stream);
    stream->references++;
    return stream;
}

static uint32_t drain_stream(struct kvs_client *client, struct kvs_stream *stream, struct kvs_action *out,
                             uint32_t count)
{
    kvs_host_lock(stream->host, stream->lock);
    uint32_t taken = actions_take(&stream->actions, out, count);
    if (taken != 0 && out[taken - 1].kind == KVS_ACTION_NOTICES_LOST) out[taken - 1].user = stream->user;
    for (uint32_t i = 0; i < taken; i++) {
        if (out[i].kind == KVS_ACTION_DATA) session_fill_data(stream, &out[i]);
    }
    stream->is_listed = stream->actions.count != 0 || stream->actions.lost_count != 0;
    if (stream->is_listed) {
        kvs_host_lock(&client->host, client->lock);
        if (!stream->is_dead) list_append(client, stream);
        kvs_host_unlock(&client->host, client->lock);
    }
    kvs_host_unlock(stream->host, stream->lock);
    return taken;
}

kvs_status kvs_client_next_actions(struct kvs_client *client, struct kvs_action *actions_out, uint32_t count)
{
    if (client == NULL || (actions_out == NULL && count != 0)) return KVS_E_NULL_ARG;
    if (count > INT32_MAX) count = INT32_MAX;
    kvs_host_lock(&client->host, client->lock);
    uint32_t taken = actions_take(&client->actions, actions_out, count);
    while (taken < count) {
        struct kvs_stream *stream = take_listed(client);
        if (stream == NULL) break;
        kvs_host_unlock(&client->host, client->lock);
        taken += drain_stream(client, stream, actions_out + taken, count - taken);
        client_release(stream);
        kvs_host_lock(&client->host, client->lock);
    }
    kvs_host_unlock(&client->host, client->lock);
    return (kvs_status)taken;
}

/* queue.c — the queue of actions going out, one per stream and one of the client's own, and the draining of all. All
 * queues are under the client's lock: a drain waits for no stream, and no stream waits for a drain of the others.
 *
 * A queue grows for notices up to ACTIONS_MAX; past it they are counted as lost. Orders always find a place: there can
 * never be more of them than ORDERS_MAX, and a new upload handle is refused when there is no memory for so many. */
#include "engine/client.h"

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
    return &queue->items[(queue->first + index) & (queue->capacity - 1u)];
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

/* A failure or a close that still waits says nothing any more once there is a newer one. */
static void supersede(struct action_queue *queue, uint32_t kind)
{
    if (kind != KVS_ACTION_FAILED && kind != KVS_ACTION_CLOSED) return;
    for (uint32_t i = queue->count; i-- > 0;) {
        if (at(queue, i)->kind == kind) remove_at(queue, i);
    }
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

static void actions_push(struct action_queue *queue, const struct kvs_host *host, const struct kvs_action *action,
                         int is_order)
{
    uint32_t limit = is_order ? queue->capacity : queue->capacity - ACTIONS_RESERVED;
    supersede(queue, action->kind);
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
        queue->first = (queue->first + 1) & (queue->capacity - 1u);
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

/* ---- wakes for data --------------------------------------------------------------------------------------------
 *
 * Frames of many streams that are out of phase would wake the host one by one. While data keeps coming it is fetched:
 * a turn that hands some out, less than data_delay_hns after the last one that did, makes the next turn due after that
 * delay (client->fetch_hns, a deadline of the client). A put whose bytes may wait until then does not wake the host.
 * After a fetch that found no data none follows: the first frame after a pause wakes at once, an idle client sleeps. */

static int may_wait_for_fetch(const struct kvs_stream *stream, const struct kvs_action *action)
{
    uint64_t delay = stream->limits.data_delay_hns, due = stream->client->fetch_hns;
    if (action->kind != KVS_ACTION_DATA || stream->out.put_hns == KVS_TIME_NONE || delay == 0) return 0;
    return due != KVS_TIME_NONE && kvs_hns_add(stream->out.put_hns, delay) >= due;
}

static void note_data(struct kvs_client *client, uint64_t delay)
{
    if (delay == 0) return;
    if (client->data_hns != client->poked_hns) client->data_before_hns = client->data_hns;
    client->data_hns = client->poked_hns;
    int goes_on = client->is_fetch || client->poked_hns < kvs_hns_add(client->data_before_hns, delay);
    if (goes_on) client->fetch_hns = kvs_hns_min(client->fetch_hns, kvs_hns_add(client->poked_hns, delay));
}

static void list_append(struct kvs_client *client, struct kvs_stream *stream)
{
    stream->out.previous_listed = client->last_listed;
    stream->out.next_listed = NULL;
    if (client->last_listed != NULL) client->last_listed->out.next_listed = stream;
    else client->first_listed = stream;
    client->last_listed = stream;
    stream->out.in_list = 1;
}

static void list_remove(struct kvs_client *client, struct kvs_stream *stream)
{
    if (!stream->out.in_list) return;
    if (stream->out.previous_listed != NULL) stream->out.previous_listed->out.next_listed = stream->out.next_listed;
    else client->first_listed = stream->out.next_listed;
    if (stream->out.next_listed != NULL) stream->out.next_listed->out.previous_listed = stream->out.previous_listed;
    else client->last_listed = stream->out.previous_listed;
    stream->out.in_list = 0;
}

void client_unlist(struct kvs_client *client, struct kvs_stream *stream) { list_remove(client, stream); }

static void push_locked(struct kvs_stream *stream, const struct kvs_action *action, int is_order)
{
    struct kvs_client *client = stream->client;
    struct action_queue *queue = &stream->out.actions;
    uint64_t lost = queue->lost_count;
    uint32_t count = queue->count;
    actions_push(queue, stream->host, action, is_order);
    stream->out.notices_lost += queue->lost_count - lost;
    if (queue->count > count || is_order) at(queue, queue->count - 1u)->user = stream->out.user;
    if (action->kind == KVS_ACTION_DATA) kvs_flag_set(&stream->out.data_queued[action->c], 1);
    if (stream->member.is_dead) return;
    int is_first = !has_pending(client);
    if (!stream->out.in_list) list_append(client, stream);
    if (is_first && may_wait_for_fetch(stream, action)) {
        client->is_muted = 1;
    } else if (is_first || (client->is_muted && !may_wait_for_fetch(stream, action))) {
        stream->out.wants_wake = 1;
        client->is_muted = 0;
    }
}

static void stream_push(struct kvs_stream *stream, const struct kvs_action *action, int is_order)
{
    struct kvs_client *client = stream->client;
    kvs_host_lock(&client->host, client->lock);
    push_locked(stream, action, is_order);
    kvs_host_unlock(&client->host, client->lock);
}

void stream_order(struct kvs_stream *stream, const struct kvs_action *action) { stream_push(stream, action, 1); }
void stream_notice(struct kvs_stream *stream, const struct kvs_action *action) { stream_push(stream, action, 0); }

kvs_status outbox_init(struct kvs_stream *stream, uint64_t user)
{
    stream->out.user = user;
    stream->out.put_hns = KVS_TIME_NONE;
    return actions_init(&stream->out.actions, stream->host);
}

kvs_status stream_reserve_orders(struct kvs_stream *stream, uint32_t upload_count)
{
    struct kvs_client *client = stream->client;
    int has_place = 1;
    kvs_host_lock(&client->host, client->lock);
    while (has_place && stream->out.actions.capacity < ORDERS_MAX(upload_count))
        has_place = grow(&stream->out.actions, stream->host);
    kvs_host_unlock(&client->host, client->lock);
    return has_place ? KVS_OK : KVS_E_NOMEM;
}

void stream_withdraw_request(struct kvs_stream *stream)
{
    struct kvs_client *client = stream->client;
    uint64_t request = stream->out.request;
    stream->out.request = 0;
    if (request == 0) return;
    kvs_host_lock(&client->host, client->lock);
    for (uint32_t i = 0; i < stream->out.actions.count; i++) {
        if (at(&stream->out.actions, i)->request != request) continue;
        remove_at(&stream->out.actions, i);
        break;
    }
    kvs_host_unlock(&client->host, client->lock);
}

void stream_withdraw_data(struct kvs_stream *stream, uint32_t slot)
{
    struct kvs_client *client = stream->client;
    if (!kvs_flag_get(&stream->out.data_queued[slot])) return;
    kvs_host_lock(&client->host, client->lock);
    for (uint32_t i = 0; i < stream->out.actions.count; i++) {
        const struct kvs_action *action = at(&stream->out.actions, i);
        if (action->kind != KVS_ACTION_DATA || action->c != slot) continue;
        remove_at(&stream->out.actions, i);
        break;
    }
    kvs_flag_set(&stream->out.data_queued[slot], 0);
    kvs_host_unlock(&client->host, client->lock);
}

void client_push(struct kvs_client *client, const struct kvs_action *action, int is_order)
{
    if (!has_pending(client) || client->is_muted) client->wants_wake = 1;
    client->is_muted = 0;
    actions_push(&client->actions, &client->host, action, is_order);
}

/* Takes from the first listed stream, which goes to the end of the list if something is left. */
static uint32_t take_of_first(struct kvs_client *client, struct kvs_action *out, uint32_t count)
{
    struct kvs_stream *stream = client->first_listed;
    uint32_t taken = actions_take(&stream->out.actions, out, count);
    if (taken != 0 && out[taken - 1].kind == KVS_ACTION_NOTICES_LOST) out[taken - 1].user = stream->out.user;
    for (uint32_t i = 0; i < taken; i++) {
        if (out[i].kind != KVS_ACTION_DATA) continue;
        kvs_flag_set(&stream->out.data_queued[out[i].c], 0);
        out[i].c = 0;
        note_data(client, stream->limits.data_delay_hns);
    }
    list_remove(client, stream);
    if (stream->out.actions.count != 0 || stream->out.actions.lost_count != 0) list_append(client, stream);
    return taken;
}

kvs_status kvs_client_next_actions(struct kvs_client *client, struct kvs_action *actions_out, uint32_t count)
{
    if (client == NULL || (actions_out == NULL && count != 0)) return KVS_E_NULL_ARG;
    if (count > INT32_MAX) count = INT32_MAX;
    kvs_host_lock(&client->host, client->lock);
    uint32_t taken = actions_take(&client->actions, actions_out, count);
    while (taken < count && client->first_listed != NULL)
        taken += take_of_first(client, actions_out + taken, count - taken);
    kvs_host_unlock(&client->host, client->lock);
    return (kvs_status)taken;
}

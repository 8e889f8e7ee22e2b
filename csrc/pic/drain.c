/* drain.c — actions of the core become callbacks; adapter.h says which thread drains which queue.
 *
 * The core says by its wake that it may have actions (client->woken), so a call that causes none costs one atomic read
 * here. Actions are pulled under the client's lock, which keeps those of one stream in order. Their nodes are allocated
 * before they are pulled, so no action is lost for want of memory. An object that no thread drains is put on the
 * client's list of ready ones; the thread that pulled drains all on that list. */
#include "pic/adapter.h"

#define BATCH 8u
#define WAIT_MIN_HNS HUNDREDS_OF_NANOS_IN_A_MILLISECOND

static _Thread_local struct pic_scope *scopes;

void pic_scope_enter(struct pic_scope *scope, struct pic_client *client)
{
    scope->client = client;
    scope->outer = scopes;
    scopes = scope;
}

void pic_scope_leave(struct pic_scope *scope) { scopes = scope->outer; }
int pic_is_in_callback(void) { return scopes != NULL; }

int pic_is_in_callback_of(const struct pic_client *client)
{
    for (const struct pic_scope *scope = scopes; scope != NULL; scope = scope->outer) {
        if (scope->client == client) return 1;
    }
    return 0;
}

/* ---- queues; under the client's lock ----------------------------------------------------------------------- */

void pic_recycle(struct pic_client *client, struct pic_node *node)
{
    node->next = client->free_nodes;
    client->free_nodes = node;
    client->free_node_count++;
}

static struct pic_node *take_free(struct pic_client *client)
{
    struct pic_node *node = client->free_nodes;
    client->free_nodes = node->next;
    client->free_node_count--;
    return node;
}

static int reserve(struct pic_client *client)
{
    while (client->free_node_count < BATCH) {
        struct pic_node *node = client->host.alloc(client->host.ctx, sizeof *node);
        if (node == NULL) return 0;
        pic_recycle(client, node);
    }
    return 1;
}

static void schedule(struct pic_client *client, struct pic_object *object)
{
    if (object->is_listed) return;
    if (object->stream != NULL && object->stream->is_gone) return;
    object->is_listed = 1;
    object->next_ready = NULL;
    if (client->last_ready != NULL) client->last_ready->next_ready = object;
    else client->first_ready = object;
    client->last_ready = object;
}

void pic_unschedule(struct pic_client *client, const struct pic_object *object)
{
    struct pic_object *before = NULL, *at = client->first_ready;
    while (at != NULL && at != object) {
        before = at;
        at = at->next_ready;
    }
    if (at == NULL) return;
    if (before != NULL) before->next_ready = at->next_ready;
    else client->first_ready = at->next_ready;
    if (client->last_ready == at) client->last_ready = before;
    at->is_listed = 0;
}

void pic_append(struct pic_client *client, struct pic_object *object, struct pic_node *node)
{
    node->next = NULL;
    pic_lock_object(client, object);
    if (object->last != NULL) object->last->next = node;
    else object->first = node;
    object->last = node;
    int is_draining = object->is_draining;
    pic_unlock_object(client, object);
    if (!is_draining) schedule(client, object);
}

struct pic_node *pic_pop(struct pic_client *client, struct pic_object *object)
{
    pic_lock_object(client, object);
    struct pic_node *node = object->first;
    if (node != NULL) object->first = node->next;
    if (object->first == NULL) object->last = NULL;
    pic_unlock_object(client, object);
    return node;
}

void pic_pull(struct pic_client *client)
{
    struct kvs_action batch[BATCH];
    kvs_status count = (kvs_status)BATCH;
    while (count == (kvs_status)BATCH) {
        if (!reserve(client)) {
            atomic_store(&client->woken, 1u); /* the next call tries again */
            return;
        }
        count = kvs_client_next_actions(client->core, batch, BATCH);
        for (kvs_status i = 0; i < count; i++) {
            struct pic_stream *stream = (struct pic_stream *)(uintptr_t)batch[i].user;
            struct pic_node *node = take_free(client);
            node->action = batch[i];
            pic_append(client, stream != NULL ? &stream->object : &client->object, node);
        }
    }
    pic_refresh_deadline(client);
}

void pic_refresh_deadline(struct pic_client *client)
{
    uint64_t due = kvs_client_next_deadline(client->core);
    if (client->parked != NULL && client->parked->action.after_hns < due) due = client->parked->action.after_hns;
    if (client->later_hns < due) due = client->later_hns;
    atomic_store(&client->deadline_hns, due);
}

/* ---- draining --------------------------------------------------------------------------------------------------- */

static void pull_if_woken(struct pic_client *client)
{
    if (atomic_load(&client->woken) == 0) return;
    pic_lock(client);
    if (atomic_exchange(&client->woken, 0u) != 0) pic_pull(client);
    pic_unlock(client);
}

static int claim(struct pic_client *client, struct pic_object *object)
{
    pic_lock_object(client, object);
    int is_free = !object->is_draining;
    object->is_draining = 1;
    pic_unlock_object(client, object);
    return is_free;
}

/* An object that another thread has claimed is left to it: it looks at the queue again before it gives the claim up. */
static struct pic_object *take_ready(struct pic_client *client)
{
    int is_ours = 0;
    struct pic_object *object = NULL;
    pic_lock(client);
    while (!is_ours && (object = client->first_ready) != NULL) {
        client->first_ready = object->next_ready;
        if (client->first_ready == NULL) client->last_ready = NULL;
        object->is_listed = 0;
        is_ours = claim(client, object);
    }
    if (is_ours && object->stream != NULL) pic_slot_hold(object->stream->object.slot);
    pic_unlock(client);
    return object;
}

/* Credentials that are to be fetched later wait here until they are due. While the client is being made they are
 * fetched at once: the program has no handle yet with which it could poke. */
static int is_parked(struct pic_client *client, struct pic_node *node)
{
    if (node->action.kind != KVS_ACTION_GET_CREDENTIALS || node->action.after_hns <= pic_now(client)) return 0;
    pic_lock(client);
    int is_later = !client->object.is_creating;
    if (is_later) {
        client->parked = node;
        pic_refresh_deadline(client);
    }
    pic_unlock(client);
    return is_later;
}

/* An order that is not due waits where the network layer answers inside the callback (later.c). Before a stream is
 * ready the program may have no reason to call the library again, so its orders go out at once. */
static int is_put_off(struct pic_client *client, struct pic_stream *stream, struct pic_node *node)
{
    if (stream == NULL || node->action.kind > KVS_ACTION_PUT_MEDIA || node->action.after_hns <= pic_now(client))
        return 0;
    pic_lock(client);
    int is_later = stream->object.is_ready && atomic_load(&stream->is_called_inside) &&
                   !pic_slot_is_closed(stream->object.slot);
    if (is_later) pic_later(stream, node->action.after_hns, node);
    pic_unlock(client);
    return is_later;
}

static int is_over(struct pic_client *client, const struct pic_object *object)
{
    if (object->stream != NULL) return pic_slot_is_closed(object->stream->object.slot);
    pic_lock(client);
    int is_closing = client->object.is_closing;
    pic_unlock(client);
    return is_closing;
}

static void carry_out(struct pic_client *client, const struct pic_object *object, struct pic_node *node)
{
    if (is_parked(client, node) || is_put_off(client, object->stream, node)) return;
    if (!is_over(client, object)) pic_carry_out(client, object->stream, &node->action);
    pic_lock(client);
    pic_recycle(client, node);
    if (atomic_exchange(&client->woken, 0u) != 0) pic_pull(client);
    pic_unlock(client);
}

static int has_pending(const struct pic_object *object)
{
    return object->wants_data_notice || (object->latency_hns | object->stale_hns) != 0;
}

/* Reports what is pending while the queue is empty, then gives the claim up. 0: something came into the queue, and the
 * claim is kept. Under the object's lock, which it gives back. */
static int finish(struct pic_client *client, struct pic_object *object)
{
    while (object->first == NULL && has_pending(object) && !pic_slot_is_closed(object->stream->object.slot))
        pic_report_pending(object->stream);
    int is_empty = object->first == NULL;
    if (is_empty) object->is_draining = 0;
    pic_unlock_object(client, object);
    return is_empty;
}

/* Carries out all that there is for an object that the caller has claimed, and gives the claim up. */
static void run(struct pic_client *client, struct pic_object *object)
{
    struct pic_node *node = NULL;
    do {
        while ((node = pic_pop(client, object)) != NULL) carry_out(client, object, node);
        pic_lock_object(client, object);
    } while (!finish(client, object));
}

/* The call that is being called back drains what is there when its callback returns. */
static void leave_to_outer(struct pic_client *client, struct pic_object *object)
{
    pic_lock(client);
    if (object != NULL) schedule(client, object);
    if (client->first_ready != NULL) atomic_store(&client->woken, 1u);
    pic_unlock(client);
}

static void drain(struct pic_client *client, struct pic_object *own)
{
    struct pic_scope scope;
    struct pic_object *object = NULL;
    int is_nested = pic_is_in_callback_of(client);
    pic_scope_enter(&scope, client);
    pull_if_woken(client);
    if (own != NULL) run(client, own);
    while (!is_nested && (object = take_ready(client)) != NULL) {
        run(client, object);
        if (object->stream != NULL) pic_stream_release(object->stream);
        pull_if_woken(client);
    }
    if (is_nested) leave_to_outer(client, NULL);
    pic_scope_leave(&scope);
}

void pic_drain(struct pic_client *client, struct pic_object *own)
{
    atomic_store(&client->woken, 1u);
    drain(client, own);
}

/* ---- deadlines ------------------------------------------------------------------------------------------------- */

static void poke(struct pic_client *client, uint64_t now_hns)
{
    if (now_hns < atomic_load(&client->deadline_hns)) return;
    atomic_store(&client->deadline_hns, KVS_TIME_NONE);
    (void)kvs_client_poke(client->core, now_hns);
    pic_lock(client);
    pic_later_run(client, now_hns);
    if (client->parked != NULL && client->parked->action.after_hns <= now_hns) {
        struct pic_node *node = client->parked;
        client->parked = NULL;
        pic_append(client, &client->object, node);
        atomic_store(&client->woken, 1u);
    }
    pic_refresh_deadline(client);
    pic_unlock(client);
}

void pic_settle(struct pic_client *client, uint64_t now_hns)
{
    poke(client, now_hns);
    if (atomic_load(&client->woken) == 0 || pic_is_in_callback_of(client)) return;
    pic_drain(client, NULL);
}

void pic_notify(struct pic_stream *stream, uint64_t now_hns)
{
    struct pic_client *client = stream->client;
    struct pic_object *object = &stream->object;
    struct pic_scope scope;
    int is_nested = pic_is_in_callback_of(client), is_draining = object->is_draining;
    if (is_nested || is_draining) {
        pic_unlock_object(client, object);
        if (!is_draining) leave_to_outer(client, object);
        return;
    }
    object->is_draining = 1;
    if (atomic_load(&client->woken) == 0 && now_hns < atomic_load(&client->deadline_hns)) {
        pic_scope_enter(&scope, client);
        int is_done = finish(client, object);
        pic_scope_leave(&scope);
        if (is_done) return;
    } else {
        pic_unlock_object(client, object);
        poke(client, now_hns);
    }
    drain(client, object);
}

int pic_wait(struct pic_client *client, uint64_t *left_hns)
{
    uint64_t before_hns = pic_now(client), due_hns = atomic_load(&client->deadline_hns);
    uint64_t slice = due_hns > before_hns + WAIT_MIN_HNS ? due_hns - before_hns : WAIT_MIN_HNS;
    if (*left_hns == 0) return 0;
    if (slice > *left_hns) slice = *left_hns;
    STATUS status = client->callbacks.waitConditionVariableFn(client->callbacks.customData, client->changed,
                                                              client->lock, slice);
    uint64_t spent = pic_now(client) - before_hns;
    if (status != STATUS_SUCCESS && spent < slice)
        spent = slice; /* with a clock that stands still the wait would not end */
    *left_hns = spent < *left_hns ? *left_hns - spent : 0;
    pic_unlock(client);
    pic_settle(client, pic_now(client));
    pic_lock(client);
    return 1;
}

/* drain.c — actions of the core to callbacks: who drains what, see adapter.h.
 *
 * The core says by its wake that it may have actions (client->woken), so a call that gives rise to none costs one
 * atomic read here. Actions are pulled under the client's lock, which keeps those of one stream in order, into nodes
 * that are made before they are pulled, so none is ever lost for want of memory. A target that nobody drains is put on
 * the client's list of ready ones; who pulled goes through that list. */
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

static void schedule(struct pic_client *client, struct pic_target *target)
{
    if (target->is_ready) return;
    if (target->stream != NULL && target->stream->is_gone) return;
    target->is_ready = 1;
    target->next_ready = NULL;
    if (client->last_ready != NULL) client->last_ready->next_ready = target;
    else client->first_ready = target;
    client->last_ready = target;
}

void pic_unschedule(struct pic_client *client, const struct pic_target *target)
{
    struct pic_target *before = NULL, *at = client->first_ready;
    while (at != NULL && at != target) {
        before = at;
        at = at->next_ready;
    }
    if (at == NULL) return;
    if (before != NULL) before->next_ready = at->next_ready;
    else client->first_ready = at->next_ready;
    if (client->last_ready == at) client->last_ready = before;
    at->is_ready = 0;
}

void pic_append(struct pic_client *client, struct pic_target *target, struct pic_node *node)
{
    node->next = NULL;
    pic_lock_target(client, target);
    if (target->last != NULL) target->last->next = node;
    else target->first = node;
    target->last = node;
    int is_draining = target->is_draining;
    pic_unlock_target(client, target);
    if (!is_draining) schedule(client, target);
}

struct pic_node *pic_pop(struct pic_client *client, struct pic_target *target)
{
    pic_lock_target(client, target);
    struct pic_node *node = target->first;
    if (node != NULL) target->first = node->next;
    if (target->first == NULL) target->last = NULL;
    pic_unlock_target(client, target);
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
            pic_append(client, stream != NULL ? &stream->target : &client->target, node);
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

static int claim(struct pic_client *client, struct pic_target *target)
{
    pic_lock_target(client, target);
    int is_free = !target->is_draining;
    target->is_draining = 1;
    pic_unlock_target(client, target);
    return is_free;
}

/* One that is claimed already is left to that thread, which looks at the queue again before it goes. */
static struct pic_target *take_ready(struct pic_client *client)
{
    int is_ours = 0;
    struct pic_target *target = NULL;
    pic_lock(client);
    while (!is_ours && (target = client->first_ready) != NULL) {
        client->first_ready = target->next_ready;
        if (client->first_ready == NULL) client->last_ready = NULL;
        target->is_ready = 0;
        is_ours = claim(client, target);
    }
    if (is_ours && target->stream != NULL) pic_slot_hold(target->stream->slot);
    pic_unlock(client);
    return target;
}

/* Fetching credentials again has time: this file waits for it. Not while the client is being made. */
static int is_parked(struct pic_client *client, struct pic_node *node)
{
    if (node->action.kind != KVS_ACTION_GET_CREDENTIALS || node->action.after_hns <= pic_now(client)) return 0;
    pic_lock(client);
    int is_later = !client->is_creating;
    if (is_later) {
        client->parked = node;
        pic_refresh_deadline(client);
    }
    pic_unlock(client);
    return is_later;
}

/* An order that is not due, for a network layer that answers inside the callback. Before a stream is ready nothing
 * else may call the library, so its orders go out at once. */
static int is_put_off(struct pic_client *client, struct pic_stream *stream, struct pic_node *node)
{
    if (stream == NULL || node->action.kind > KVS_ACTION_PUT_MEDIA || node->action.after_hns <= pic_now(client))
        return 0;
    pic_lock(client);
    int is_later = stream->is_ready && atomic_load(&stream->is_called_inside) && !pic_slot_is_closed(stream->slot);
    if (is_later) pic_later(stream, node->action.after_hns, node);
    pic_unlock(client);
    return is_later;
}

static int is_over(struct pic_client *client, const struct pic_target *target)
{
    if (target->stream != NULL) return pic_slot_is_closed(target->stream->slot);
    pic_lock(client);
    int is_closing = client->is_closing;
    pic_unlock(client);
    return is_closing;
}

static void carry_out(struct pic_client *client, const struct pic_target *target, struct pic_node *node)
{
    if (is_parked(client, node) || is_put_off(client, target->stream, node)) return;
    if (!is_over(client, target)) pic_carry_out(client, target->stream, &node->action);
    pic_lock(client);
    pic_recycle(client, node);
    if (atomic_exchange(&client->woken, 0u) != 0) pic_pull(client);
    pic_unlock(client);
}

static int has_pending(const struct pic_target *target)
{
    return target->wants_data_notice || (target->latency_hns | target->stale_hns) != 0;
}

/* Tells what is pending while the queue is empty, then gives the claim up; 0 because something is in the queue.
 * Under the target's lock, which it gives back. */
static int finish(struct pic_client *client, struct pic_target *target)
{
    while (target->first == NULL && has_pending(target) && !pic_slot_is_closed(target->stream->slot))
        pic_tell_pending(target->stream);
    int is_empty = target->first == NULL;
    if (is_empty) target->is_draining = 0;
    pic_unlock_target(client, target);
    return is_empty;
}

/* Carries out all that there is for a target which the caller has claimed, and gives the claim up. */
static void run(struct pic_client *client, struct pic_target *target)
{
    struct pic_node *node = NULL;
    do {
        while ((node = pic_pop(client, target)) != NULL) carry_out(client, target, node);
        pic_lock_target(client, target);
    } while (!finish(client, target));
}

/* To the call that is being called back. */
static void leave_to_outer(struct pic_client *client, struct pic_target *target)
{
    pic_lock(client);
    if (target != NULL) schedule(client, target);
    if (client->first_ready != NULL) atomic_store(&client->woken, 1u);
    pic_unlock(client);
}

static void drain(struct pic_client *client, struct pic_target *own)
{
    struct pic_scope scope;
    struct pic_target *target = NULL;
    int is_nested = pic_is_in_callback_of(client);
    pic_scope_enter(&scope, client);
    pull_if_woken(client);
    if (own != NULL) run(client, own);
    while (!is_nested && (target = take_ready(client)) != NULL) {
        run(client, target);
        if (target->stream != NULL) pic_stream_release(target->stream);
        pull_if_woken(client);
    }
    if (is_nested) leave_to_outer(client, NULL);
    pic_scope_leave(&scope);
}

void pic_drain(struct pic_client *client, struct pic_target *own)
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
        pic_append(client, &client->target, node);
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

void pic_tell(struct pic_stream *stream, uint64_t now_hns)
{
    struct pic_client *client = stream->client;
    struct pic_target *target = &stream->target;
    struct pic_scope scope;
    int is_nested = pic_is_in_callback_of(client), is_draining = target->is_draining;
    if (is_nested || is_draining) {
        pic_unlock_target(client, target);
        if (!is_draining) leave_to_outer(client, target);
        return;
    }
    target->is_draining = 1;
    if (atomic_load(&client->woken) == 0 && now_hns < atomic_load(&client->deadline_hns)) {
        pic_scope_enter(&scope, client);
        int is_done = finish(client, target);
        pic_scope_leave(&scope);
        if (is_done) return;
    } else {
        pic_unlock_target(client, target);
        poke(client, now_hns);
    }
    drain(client, target);
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
        spent = slice; /* a clock that stands still must not make it longer */
    *left_hns = spent < *left_hns ? *left_hns - spent : 0;
    pic_unlock(client);
    pic_settle(client, pic_now(client));
    pic_lock(client);
    return 1;
}

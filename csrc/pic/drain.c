/* drain.c — actions of the core to callbacks: who drains what, see adapter.h.
 *
 * The core says by its wake that it may have actions (client->woken), so a call that gives rise to none costs one
 * atomic read here. Actions are pulled under the client's lock, which keeps those of one stream in order, into nodes
 * that are made before they are pulled, so none is ever lost for want of memory. */
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

static int is_in_callback_of(const struct pic_client *client)
{
    for (const struct pic_scope *scope = scopes; scope != NULL; scope = scope->outer) {
        if (scope->client == client) return 1;
    }
    return 0;
}

/* ---- queues; all under the client's lock ----------------------------------------------------------------------- */

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

void pic_schedule(struct pic_client *client, struct pic_target *target)
{
    if (target->is_ready || target->is_draining) return;
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

static void append(struct pic_client *client, struct pic_target *target, struct pic_node *node)
{
    node->next = NULL;
    if (target->last != NULL) target->last->next = node;
    else target->first = node;
    target->last = node;
    pic_schedule(client, target);
}

struct pic_node *pic_pop(struct pic_target *target)
{
    struct pic_node *node = target->first;
    if (node == NULL) return NULL;
    target->first = node->next;
    if (target->first == NULL) target->last = NULL;
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
            append(client, stream != NULL ? &stream->target : &client->target, node);
        }
    }
    pic_refresh_deadline(client);
}

void pic_refresh_deadline(struct pic_client *client)
{
    uint64_t due = kvs_client_next_deadline(client->core);
    if (client->parked != NULL && client->parked->action.after_hns < due) due = client->parked->action.after_hns;
    atomic_store(&client->deadline_hns, due);
}

/* ---- draining -------------------------------------------------------------------------------------------------- */

static struct pic_target *take_ready(struct pic_client *client)
{
    struct pic_target *target = client->first_ready;
    if (target == NULL) return NULL;
    client->first_ready = target->next_ready;
    if (client->first_ready == NULL) client->last_ready = NULL;
    target->is_ready = 0;
    target->is_draining = 1;
    if (target->stream != NULL) pic_slot_hold(target->stream->slot);
    return target;
}

/* Fetching credentials again has time: this file waits for it. Not while the client is being made. */
static int is_parked(struct pic_client *client, struct pic_node *node, uint64_t now_hns)
{
    if (node->action.kind != KVS_ACTION_GET_CREDENTIALS || client->is_creating || node->action.after_hns <= now_hns)
        return 0;
    client->parked = node;
    pic_refresh_deadline(client);
    return 1;
}

static int is_over(const struct pic_client *client, const struct pic_target *target)
{
    if (target->stream != NULL) return pic_slot_is_closed(target->stream->slot);
    return client->is_closing;
}

static int has_data_notice(const struct pic_client *client, const struct pic_target *target)
{
    return target->stream != NULL && target->stream->wants_data_notice && !is_over(client, target);
}

static void carry_out(struct pic_client *client, struct pic_stream *stream, const struct kvs_action *action)
{
    if (action->kind == KVS_ACTION_DATA && stream != NULL) {
        pic_data_action(stream, action);
        return;
    }
    pic_unlock(client);
    pic_carry_out(client, stream, action);
    pic_lock(client);
}

/* Under the lock, which it gives up around each callback. */
static void run(struct pic_client *client, struct pic_target *target)
{
    struct pic_node *node = NULL;
    while ((node = pic_pop(target)) != NULL) {
        if (target->stream == NULL && is_parked(client, node, pic_now(client))) continue;
        if (!is_over(client, target)) carry_out(client, target->stream, &node->action);
        pic_recycle(client, node);
        if (atomic_exchange(&client->woken, 0u) != 0) pic_pull(client);
    }
    if (has_data_notice(client, target)) pic_data_notice(target->stream);
}

static void run_all(struct pic_client *client, struct pic_target *target)
{
    do {
        run(client, target);
    } while (target->first != NULL || has_data_notice(client, target));
    target->is_draining = 0;
}

/* Under the lock, which it gives up around each callback. */
static void drain(struct pic_client *client, struct pic_target *own)
{
    struct pic_scope scope;
    struct pic_target *target = NULL;
    int is_nested = is_in_callback_of(client);
    pic_scope_enter(&scope, client);
    if (atomic_exchange(&client->woken, 0u) != 0) pic_pull(client);
    if (own != NULL) run_all(client, own);
    while (!is_nested && (target = take_ready(client)) != NULL) {
        run_all(client, target);
        if (target->stream != NULL) pic_stream_release_locked(target->stream);
        if (atomic_exchange(&client->woken, 0u) != 0) pic_pull(client);
    }
    if (is_nested && client->first_ready != NULL) atomic_store(&client->woken, 1u);
    pic_scope_leave(&scope);
}

void pic_drain(struct pic_client *client, struct pic_target *own)
{
    pic_lock(client);
    atomic_store(&client->woken, 1u);
    drain(client, own);
    pic_unlock(client);
}

/* ---- deadlines ------------------------------------------------------------------------------------------------- */

static void poke(struct pic_client *client, uint64_t now_hns)
{
    if (now_hns < atomic_load(&client->deadline_hns)) return;
    atomic_store(&client->deadline_hns, KVS_TIME_NONE);
    (void)kvs_client_poke(client->core, now_hns);
    pic_lock(client);
    if (client->parked != NULL && client->parked->action.after_hns <= now_hns) {
        struct pic_node *node = client->parked;
        client->parked = NULL;
        append(client, &client->target, node);
        atomic_store(&client->woken, 1u);
    }
    pic_refresh_deadline(client);
    pic_unlock(client);
}

void pic_settle(struct pic_client *client, uint64_t now_hns)
{
    poke(client, now_hns);
    if (atomic_load(&client->woken) == 0 || is_in_callback_of(client)) return;
    pic_drain(client, NULL);
}

void pic_settle_locked(struct pic_client *client, uint64_t now_hns)
{
    if (now_hns >= atomic_load(&client->deadline_hns)) {
        pic_unlock(client);
        poke(client, now_hns);
        pic_lock(client);
    }
    if (is_in_callback_of(client)) {
        if (client->first_ready != NULL) atomic_store(&client->woken, 1u); /* for the call that is being called back */
        return;
    }
    drain(client, NULL);
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

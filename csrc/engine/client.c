/* client.c — the client: making and freeing it, its own machine (credentials, device, READY).
 *
 * Credentials are fetched again by a deadline before they expire, and after a failure by a deadline too: the client
 * never latches a failure, and its streams notice nothing of either. */
#include "engine/client.h"

#include <string.h>

#define STREAMS_MAX 1000000u
#define STORE_DEFAULT (UINT64_C(128) << 20)
#define STORE_LIMIT (UINT64_C(1) << 40)
#define BACKOFF_BASE_MS 100u
#define BACKOFF_CAP_MS 10000u
#define TOKEN_LIFE_MIN_HNS (30 * KVS_HNS_PER_SECOND)
#define RETRY_AFTER_HNS (10 * KVS_HNS_PER_SECOND)

static kvs_status check_config(const struct kvs_client_config *config)
{
    if (config->size != sizeof *config) return KVS_E_CONFIG_SIZE;
    if (config->store_max != 0 && (config->store_max < 2u * KVS_SLAB_SIZE || config->store_max > STORE_LIMIT))
        return KVS_E_STORE_SIZE;
    if (config->stream_count_max > STREAMS_MAX) return KVS_E_STREAM_COUNT;
    if (config->client_id != NULL && memchr(config->client_id, 0, 65) == NULL) return KVS_E_CLIENT_ID_SIZE;
    return KVS_OK;
}

static void set_up(struct kvs_client *client, const struct kvs_host *host, const struct kvs_client_config *config)
{
    memset(client, 0, sizeof *client);
    client->host = *host;
    client->prng.state = config->seed;
    client->prng.random = host->random;
    client->prng.ctx = host->ctx;
    if (config->client_id != NULL) memcpy(client->client_id, config->client_id, strlen(config->client_id));
    client->stream_count_max = config->stream_count_max != 0 ? config->stream_count_max : STREAMS_MAX;
    client->backoff_base_hns = (config->backoff_base_ms != 0 ? config->backoff_base_ms : BACKOFF_BASE_MS) *
                               KVS_HNS_PER_MS;
    client->backoff_cap_hns = (config->backoff_cap_ms != 0 ? config->backoff_cap_ms : BACKOFF_CAP_MS) * KVS_HNS_PER_MS;
    client->has_tags = config->device_tag_count != 0;
    client->state = KVS_CLIENT_NEW;
    client->deadline_hns = client->fetch_hns = KVS_TIME_NONE;
    client->token_expires_hns = KVS_TIME_NONE;
    kvs_backoff_init(&client->backoff, client->backoff_base_hns, client->backoff_cap_hns, KVS_RETRIES_MAX);
}

/* ---- the client's machine ---------------------------------------------------------------------------------------- */

static uint32_t order_of(uint32_t act)
{
    switch (act) {
    case KVS_CLIENT_ACT_GET_CREDENTIALS: return KVS_ACTION_GET_CREDENTIALS;
    case KVS_CLIENT_ACT_PROVISION: return KVS_ACTION_PROVISION;
    case KVS_CLIENT_ACT_EXCHANGE_TOKEN: return KVS_ACTION_EXCHANGE_TOKEN;
    case KVS_CLIENT_ACT_CREATE_DEVICE: return KVS_ACTION_CREATE_DEVICE;
    case KVS_CLIENT_ACT_TAG_CLIENT: return KVS_ACTION_TAG_CLIENT;
    default: return KVS_ACTION_NONE;
    }
}

static void report_ready(struct kvs_client *client)
{
    struct kvs_action action = { .kind = KVS_ACTION_CLIENT_READY };
    kvs_backoff_progress(&client->backoff);
    client->deadline_hns = KVS_TIME_NONE;
    if (client->token_expires_hns != KVS_TIME_NONE) {
        client->deadline_hns = kvs_hns_sub(client->token_expires_hns, TOKEN_LIFE_MIN_HNS);
    }
    if (!client->was_ready) client_push(client, &action, 0);
    client->was_ready = 1;
}

static void report_failed(struct kvs_client *client, kvs_status cause, uint32_t result, uint64_t now_hns)
{
    struct kvs_action action = { .kind = KVS_ACTION_CLIENT_FAILED, .status = cause, .result = result };
    client->deadline_hns = kvs_hns_add(now_hns, RETRY_AFTER_HNS);
    client_push(client, &action, 1);
}

struct client_step {
    uint32_t event, result;
    kvs_status cause;
    uint64_t wait_hns, now_hns;
};

static kvs_status client_step(struct kvs_client *client, const struct client_step *step)
{
    struct kvs_action skipped = { .kind = KVS_ACTION_TAG_SKIPPED, .result = step->result, .status = KVS_E_TAG_FAILED };
    uint32_t act = 0;
    kvs_status status = kvs_fsm_move(&kvs_client_fsm, &client->state, step->event, &act);
    if (status != KVS_OK) return status;
    client->request = 0;
    if (act == KVS_CLIENT_ACT_SKIP_TAG) client_push(client, &skipped, 0);
    if (act == KVS_CLIENT_ACT_REPORT_READY || act == KVS_CLIENT_ACT_SKIP_TAG) report_ready(client);
    if (act == KVS_CLIENT_ACT_REPORT_FAILED) report_failed(client, step->cause, step->result, step->now_hns);
    struct kvs_action action = { .kind = order_of(act), .attempt = client->backoff.count };
    if (action.kind == KVS_ACTION_NONE) return KVS_OK;
    client->deadline_hns = KVS_TIME_NONE;
    action.request = client->request = ++client->request_count;
    action.after_hns = step->wait_hns == 0 ? 0 : kvs_hns_add(step->now_hns, step->wait_hns);
    client_push(client, &action, 1);
    return KVS_OK;
}

static kvs_status refusal_of(uint32_t result)
{
    return kvs_answer_kind_of(result) == KVS_ANSWER_AUTH ? KVS_E_NOT_AUTHORIZED : KVS_E_BAD_REQUEST;
}

static uint32_t event_of(const struct kvs_client *client, const struct kvs_client_answer *answer)
{
    enum kvs_answer_kind kind = kvs_answer_kind_of(answer->result);
    if (kind == KVS_ANSWER_AUTH || kind == KVS_ANSWER_BAD_REQUEST) return KVS_CLIENT_EV_FATAL;
    if (kind != KVS_ANSWER_OK) return KVS_CLIENT_EV_RETRYABLE;
    if (client->state == KVS_CLIENT_CREATE) return client->has_tags ? KVS_CLIENT_EV_OK_TAGS : KVS_CLIENT_EV_OK;
    if (client->state != KVS_CLIENT_AUTH && client->state != KVS_CLIENT_GET_TOKEN) return KVS_CLIENT_EV_OK;
    if (answer->auth == KVS_AUTH_MISSING) return KVS_CLIENT_EV_NO_SOURCE;
    if (answer->auth == KVS_AUTH_CERTIFICATE && client->state == KVS_CLIENT_AUTH) return KVS_CLIENT_EV_CERTIFICATE;
    return client->was_ready ? KVS_CLIENT_EV_TOKEN_AGAIN : KVS_CLIENT_EV_TOKEN;
}

static int expires_too_soon(const struct kvs_client_answer *answer, uint32_t event, uint64_t now_hns)
{
    if (event != KVS_CLIENT_EV_TOKEN && event != KVS_CLIENT_EV_TOKEN_AGAIN) return 0;
    return answer->expires_hns != KVS_TIME_NONE && kvs_hns_sub(answer->expires_hns, now_hns) < TOKEN_LIFE_MIN_HNS;
}

/* Provisioning leads back to the question that led to it: going round counts as a retry. */
static int is_repeat(const struct kvs_client *client, uint32_t event)
{
    return event == KVS_CLIENT_EV_RETRYABLE || (client->state == KVS_CLIENT_PROVISION && event == KVS_CLIENT_EV_OK);
}

static kvs_status answer_locked(struct kvs_client *client, const struct kvs_client_answer *answer, uint64_t now_hns)
{
    struct client_step step = { .result = answer->result, .now_hns = now_hns };
    if (client->request == 0 || answer->request != client->request) return KVS_E_STALE_ANSWER;
    kvs_status status = KVS_OK;
    step.event = event_of(client, answer);
    if (expires_too_soon(answer, step.event, now_hns)) {
        step.event = KVS_CLIENT_EV_RETRYABLE;
        status = KVS_E_TOKEN_EXPIRY;
    }
    if (step.event == KVS_CLIENT_EV_TOKEN || step.event == KVS_CLIENT_EV_TOKEN_AGAIN)
        client->token_expires_hns = answer->expires_hns;
    step.cause = kvs_client_fsm.spent[client->state];
    if (step.event == KVS_CLIENT_EV_FATAL) step.cause = refusal_of(answer->result);
    if (step.event == KVS_CLIENT_EV_FATAL && client->state != KVS_CLIENT_TAG) status = step.cause;
    if (is_repeat(client, step.event)) {
        client->retry_count++;
        if (!kvs_backoff_next(&client->backoff, &client->prng, &step.wait_hns)) {
            step.event = KVS_CLIENT_EV_SPENT;
            if (client->state != KVS_CLIENT_TAG) status = step.cause;
        }
    } else if (step.event != KVS_CLIENT_EV_NO_SOURCE) {
        kvs_backoff_progress(&client->backoff);
    }
    kvs_status moved = client_step(client, &step);
    return moved != KVS_OK ? moved : status;
}

kvs_status kvs_client_answer(struct kvs_client *client, const struct kvs_client_answer *answer, uint64_t now_hns)
{
    if (client == NULL || answer == NULL) return KVS_E_NULL_ARG;
    if (answer->size != sizeof *answer) return KVS_E_CONFIG_SIZE;
    kvs_host_lock(&client->host, client->lock);
    kvs_status status = answer_locked(client, answer, now_hns);
    client_unlock_and_wake(client);
    return status;
}

/* ---- made and freed ---------------------------------------------------------------------------------------------- */

void client_unlock_and_wake(struct kvs_client *client)
{
    int wake = client->wants_wake;
    client->wants_wake = 0;
    kvs_host_unlock(&client->host, client->lock);
    if (wake) kvs_host_wake(&client->host);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

kvs_status kvs_client_new(const struct kvs_host *host, const struct kvs_client_config *config, uint64_t now_hns,
                          struct kvs_client **client_out)
{
    if (config == NULL || client_out == NULL) return KVS_E_NULL_ARG;
    kvs_status status = kvs_host_check(host);
    if (status == KVS_OK) status = check_config(config);
    if (status != KVS_OK) return status;
    struct kvs_client *client = kvs_host_alloc(host, sizeof *client);
    if (client == NULL) return KVS_E_NOMEM;
    set_up(client, host, config);
    client->poked_hns = now_hns;
    status = kvs_host_lock_new(&client->host, &client->lock);
    if (status == KVS_OK) status = actions_init(&client->actions, &client->host);
    if (status == KVS_OK)
        status = kvs_pool_init(&client->pool, &client->host,
                               config->store_max != 0 ? config->store_max : STORE_DEFAULT);
    if (status != KVS_OK) {
        if (client->actions.items != NULL) actions_fini(&client->actions, &client->host);
        kvs_host_lock_free(&client->host, client->lock);
        kvs_host_free(host, client);
        return status;
    }
    struct client_step start = { .event = KVS_CLIENT_EV_START, .now_hns = now_hns };
    client_step(client, &start);
    int wake = client->wants_wake;
    client->wants_wake = 0;
    *client_out = client;
    if (wake) kvs_host_wake(host);
    return KVS_OK;
}

/* ---- deadline of the client itself ------------------------------------------------------------------------------- */

void client_poke(struct kvs_client *client, uint64_t now_hns)
{
    if (now_hns < client->deadline_hns) return;
    struct client_step step = { .now_hns = now_hns };
    client->deadline_hns = KVS_TIME_NONE;
    step.event = client->state == KVS_CLIENT_FAILED ? KVS_CLIENT_EV_RETRY : KVS_CLIENT_EV_EXPIRING;
    kvs_backoff_progress(&client->backoff);
    client_step(client, &step);
}

void client_destroy(struct kvs_client *client)
{
    struct kvs_host host = client->host;
    kvs_pool_fini(&client->pool);
    actions_fini(&client->actions, &host);
    kvs_host_free(&host, client->heap);
    kvs_host_free(&host, client->buckets);
    kvs_host_lock_free(&host, client->lock);
    kvs_host_free(&host, client);
}

/* order.c — orders of the core as service callbacks. The order is noted before the callback is called, because the
 * callback may answer it before it returns. A callback that can not even begin counts as a failed try, or, while the
 * object is being made, ends the making with its status. */
#include "pic/adapter.h"

#include <string.h>

struct service_call {
    ServiceCallContext context;
    struct pic_auth *auth;
};

static char media_api[] = "PUT_MEDIA";
static char container_type[] = MKV_CONTAINER_TYPE_STRING;
static AuthInfo no_auth = { .version = AUTH_INFO_CURRENT_VERSION, .type = AUTH_INFO_NONE };

/* The program's strategy says how long to wait after a failure; without one the core has said it. */
static uint64_t call_after(struct pic_client *client, const struct kvs_action *action, uint8_t *owes_wait,
                           UINT32 *retry_number)
{
    const KvsRetryStrategyCallbacks *plug = &client->device.clientInfo.kvsRetryStrategyCallbacks;
    uint64_t now_hns = pic_now(client), wait_hns = 0;
    pic_lock(client);
    int is_owed = *owes_wait;
    *owes_wait = 0;
    pic_unlock(client);
    if (!client->has_strategy) return action->after_hns > now_hns ? action->after_hns : now_hns;
    if (!is_owed) return now_hns;
    (void)plug->getCurrentRetryAttemptNumberFn(&client->strategy, retry_number);
    if (STATUS_FAILED(plug->executeRetryStrategyFn(&client->strategy, &wait_hns))) wait_hns = 0;
    return wait_hns < UINT64_MAX - now_hns ? now_hns + wait_hns : UINT64_MAX;
}

static void fill_context(struct pic_client *client, struct service_call *call, UINT64 handle)
{
    call->context.version = SERVICE_CALL_CONTEXT_CURRENT_VERSION;
    call->context.customData = handle;
    call->context.timeout = client->device.clientInfo.serviceCallCompletionTimeout;
    call->context.connectionTimeout = client->device.clientInfo.serviceCallConnectionTimeout;
    call->context.pAuthInfo = call->auth != NULL ? &call->auth->info : &no_auth;
}

/* ---- a stream's orders ----------------------------------------------------------------------------------------- */

/* Another thread may bring a new endpoint or ARN while the callback still reads this one: it gets a copy of its own. */
static char *copy_of(struct pic_client *client, char *const *place)
{
    char *copy = NULL;
    pic_lock(client);
    size_t size = *place != NULL ? strlen(*place) + 1u : 0;
    if (size != 0) copy = client->host.alloc(client->host.ctx, size);
    if (copy != NULL) memcpy(copy, *place, size);
    pic_unlock(client);
    return copy;
}

static STATUS tag(struct pic_stream *stream, ServiceCallContext *context)
{
    struct pic_client *client = stream->client;
    char *arn = copy_of(client, &stream->arn);
    if (arn == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    STATUS status = client->callbacks.tagResourceFn(client->callbacks.customData, arn, stream->info.tagCount,
                                                    stream->info.tags, context);
    client->host.free(client->host.ctx, arn);
    return status;
}

static STATUS put_media(struct pic_stream *stream, const struct kvs_action *action, ServiceCallContext *context)
{
    struct pic_client *client = stream->client;
    const StreamCaps *caps = &stream->info.streamCaps;
    char *endpoint = copy_of(client, &stream->endpoint);
    if (endpoint == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    context->timeout = SERVICE_CALL_INFINITE_TIMEOUT;
    STATUS status = client->callbacks.putStreamFn(client->callbacks.customData, stream->info.name, container_type,
                                                  action->a * HUNDREDS_OF_NANOS_IN_A_MILLISECOND,
                                                  caps->absoluteFragmentTimes, caps->fragmentAcks, endpoint, context);
    client->host.free(client->host.ctx, endpoint);
    return status;
}

static STATUS call_service(struct pic_stream *stream, const struct kvs_action *action, ServiceCallContext *context)
{
    const ClientCallbacks *callbacks = &stream->client->callbacks;
    UINT64 custom = callbacks->customData;
    StreamInfo *info = &stream->info;
    switch (action->kind) {
    case KVS_ACTION_DESCRIBE_STREAM: return callbacks->describeStreamFn(custom, info->name, context);
    case KVS_ACTION_CREATE_STREAM:
        return callbacks->createStreamFn(custom, stream->client->device.name, info->name, info->streamCaps.contentType,
                                         info->kmsKeyId, info->retention, context);
    case KVS_ACTION_TAG_STREAM: return tag(stream, context);
    case KVS_ACTION_GET_DATA_ENDPOINT: return callbacks->getStreamingEndpointFn(custom, info->name, media_api, context);
    case KVS_ACTION_GET_TOKEN:
        return callbacks->getStreamingTokenFn(custom, info->name, STREAM_ACCESS_MODE_READ, context);
    default: return put_media(stream, action, context);
    }
}

static void not_begun(struct pic_stream *stream, uint32_t kind, STATUS status)
{
    struct kvs_stream_answer answer = { .result = SERVICE_CALL_UNKNOWN };
    struct pic_client *client = stream->client;
    pic_lock(client);
    int is_creating = stream->is_creating;
    if (is_creating) stream->create_status = status;
    pic_broadcast(client);
    pic_unlock(client);
    if (is_creating) return;
    atomic_store(&stream->is_called_inside, 1u); /* an answer, too: the next order waits until it is due */
    pic_log(client, LOG_LEVEL_WARN, "a service call could not begin", status);
    (void)pic_answer_stream(stream, kind, &answer);
}

static void order_of_stream(struct pic_stream *stream, const struct kvs_action *action)
{
    struct pic_client *client = stream->client;
    struct service_call call;
    memset(&call, 0, sizeof call);
    UINT32 retry_number = stream->rates.retry_number;
    uint64_t after_hns = call_after(client, action, &stream->owes_wait, &retry_number);
    pic_lock_stream(stream);
    stream->rates.retry_number = retry_number;
    pic_unlock_stream(stream);
    call.auth = pic_auth_hold(client, action->kind == KVS_ACTION_PUT_MEDIA ? &stream->token : &client->token);
    fill_context(client, &call, stream->handle);
    call.context.callAfter = pic_clock_of(client, after_hns);
    pic_lock(client);
    pic_later_cancel(stream);
    stream->order = (struct pic_order){ action->kind, action->request, action->upload, after_hns };
    pic_unlock(client);
    STATUS status = call_service(stream, action, &call.context);
    pic_auth_release(client, call.auth);
    if (STATUS_FAILED(status)) not_begun(stream, action->kind, status);
}

/* ---- the client's orders --------------------------------------------------------------------------------------- */

static STATUS call_device_service(struct pic_client *client, const struct kvs_action *action,
                                  ServiceCallContext *context)
{
    const ClientCallbacks *callbacks = &client->callbacks;
    if (action->kind == KVS_ACTION_CREATE_DEVICE)
        return callbacks->createDeviceFn(callbacks->customData, client->device.name, context);
    if (callbacks->deviceCertToTokenFn == NULL) return STATUS_SERVICE_CALL_CALLBACKS_MISSING;
    return callbacks->deviceCertToTokenFn(callbacks->customData, client->device.name, context);
}

static void client_not_begun(struct pic_client *client, uint32_t kind, STATUS status)
{
    struct kvs_client_answer answer = { .size = sizeof answer,
                                        .result = SERVICE_CALL_UNKNOWN,
                                        .expires_hns = KVS_TIME_NONE };
    if (status == STATUS_SERVICE_CALL_CALLBACKS_MISSING) answer.result = SERVICE_CALL_INVALID_ARG;
    pic_lock(client);
    client->source_status = status;
    pic_unlock(client);
    (void)pic_answer_client(client, kind, &answer);
}

static void order_of_client(struct pic_client *client, const struct kvs_action *action)
{
    UINT32 retry_number = 0;
    struct service_call call;
    memset(&call, 0, sizeof call);
    uint64_t after_hns = call_after(client, action, &client->owes_wait, &retry_number);
    pic_lock(client);
    client->order = (struct pic_order){ action->kind, action->request, 0, after_hns };
    pic_unlock(client);
    if (action->kind == KVS_ACTION_GET_CREDENTIALS) {
        pic_get_credentials(client);
        return;
    }
    if (action->kind == KVS_ACTION_PROVISION) {
        pic_provision(client);
        return;
    }
    call.auth = pic_auth_hold(client,
                              action->kind == KVS_ACTION_EXCHANGE_TOKEN ? &client->certificate : &client->token);
    fill_context(client, &call, client->handle);
    call.context.callAfter = pic_clock_of(client, after_hns);
    STATUS status = call_device_service(client, action, &call.context);
    pic_auth_release(client, call.auth);
    if (STATUS_FAILED(status)) client_not_begun(client, action->kind, status);
}

void pic_carry_out(struct pic_client *client, struct pic_stream *stream, const struct kvs_action *action)
{
    if (action->kind >= KVS_ACTION_DATA) pic_carry_out_notice(client, stream, action);
    else if (stream != NULL) order_of_stream(stream, action);
    else order_of_client(client, action);
}

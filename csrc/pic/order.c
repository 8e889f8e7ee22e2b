/* order.c — orders of the core as service callbacks. The order is noted before the callback is called, because the
 * callback may answer it before it returns. A callback that can not even begin counts as a failed try, or, while the
 * object is being made, ends the making with its status. */
#include "pic/adapter.h"

#include <string.h>

static char media_api[] = "PUT_MEDIA";
static char container_type[] = MKV_CONTAINER_TYPE_STRING;
static AuthInfo no_auth = { .version = AUTH_INFO_CURRENT_VERSION, .type = AUTH_INFO_NONE };

/* The program's strategy says how long to wait after a failed call; without one the core has said it. */
static uint64_t call_after(struct pic_client *client, struct pic_object *object, const struct kvs_action *action,
                           UINT32 *retry_number)
{
    const KvsRetryStrategyCallbacks *plug = &client->device.clientInfo.kvsRetryStrategyCallbacks;
    uint64_t now_hns = pic_now(client), wait_hns = 0;
    pic_lock(client);
    int has_failed = object->has_failed_call;
    object->has_failed_call = 0;
    pic_unlock(client);
    if (!client->has_strategy) return action->after_hns > now_hns ? action->after_hns : now_hns;
    if (!has_failed) return now_hns;
    (void)plug->getCurrentRetryAttemptNumberFn(&client->strategy, retry_number);
    if (STATUS_FAILED(plug->executeRetryStrategyFn(&client->strategy, &wait_hns))) wait_hns = 0;
    return wait_hns < UINT64_MAX - now_hns ? now_hns + wait_hns : UINT64_MAX;
}

/* ---- a stream's orders ----------------------------------------------------------------------------------------- */

/* Another thread may bring a new endpoint or ARN while the callback still reads this one: it gets a copy of its own. */
static char *copy_of(struct pic_client *client, char *const *place)
{
    pic_lock(client);
    char *copy = *place != NULL ? pic_copy_text(client, *place) : NULL;
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

/* ---- either's -------------------------------------------------------------------------------------------------- */

static void stream_not_begun(struct pic_stream *stream, uint32_t kind, STATUS status)
{
    struct pic_answer answer = { .result = SERVICE_CALL_UNKNOWN };
    struct pic_client *client = stream->client;
    pic_lock(client);
    int is_creating = stream->object.is_creating;
    if (is_creating) stream->create_status = status;
    pic_broadcast(client);
    pic_unlock(client);
    if (is_creating) return;
    atomic_store(&stream->is_called_inside, 1u); /* an answer, too: the next order waits until it is due */
    pic_log(client, LOG_LEVEL_WARN, "a callback refused to begin its service call; the call counts as failed", status);
    (void)pic_answer(client, &stream->object, kind, &answer);
}

static void client_not_begun(struct pic_client *client, uint32_t kind, STATUS status)
{
    struct pic_answer answer = { .result = SERVICE_CALL_UNKNOWN, .expires_hns = KVS_TIME_NONE };
    if (status == STATUS_SERVICE_CALL_CALLBACKS_MISSING) answer.result = SERVICE_CALL_INVALID_ARG;
    pic_lock(client);
    client->source_status = status;
    pic_unlock(client);
    (void)pic_answer(client, &client->object, kind, &answer);
}

static struct pic_auth *auth_for(struct pic_client *client, struct pic_stream *stream, uint32_t kind)
{
    if (kind == KVS_ACTION_PUT_MEDIA) return pic_auth_hold(client, &stream->token);
    return pic_auth_hold(client, kind == KVS_ACTION_EXCHANGE_TOKEN ? &client->certificate : &client->token);
}

static STATUS call_back(struct pic_client *client, struct pic_stream *stream, const struct kvs_action *action,
                        uint64_t after_hns)
{
    struct pic_auth *auth = auth_for(client, stream, action->kind);
    ServiceCallContext context = { .version = SERVICE_CALL_CONTEXT_CURRENT_VERSION,
                                   .callAfter = pic_clock_of(client, after_hns),
                                   .timeout = client->device.clientInfo.serviceCallCompletionTimeout,
                                   .customData = stream != NULL ? stream->object.handle : client->object.handle,
                                   .pAuthInfo = auth != NULL ? &auth->info : &no_auth,
                                   .connectionTimeout = client->device.clientInfo.serviceCallConnectionTimeout };
    STATUS status = stream != NULL ? call_service(stream, action, &context)
                                   : call_device_service(client, action, &context);
    pic_auth_release(client, auth);
    return status;
}

static void note_retry(struct pic_stream *stream, UINT32 retry_number)
{
    pic_lock_stream(stream);
    stream->rates.retry_number = retry_number;
    pic_unlock_stream(stream);
}

static void order(struct pic_client *client, struct pic_stream *stream, const struct kvs_action *action)
{
    struct pic_object *object = stream != NULL ? &stream->object : &client->object;
    UINT32 retry_number = stream != NULL ? stream->rates.retry_number : 0;
    uint64_t after_hns = call_after(client, object, action, &retry_number);
    if (stream != NULL) note_retry(stream, retry_number);
    pic_lock(client);
    if (stream != NULL) pic_later_cancel(stream);
    object->order = (struct pic_order){ action->kind, action->request, action->upload, after_hns };
    pic_unlock(client);
    switch (action->kind) {
    case KVS_ACTION_GET_CREDENTIALS: pic_get_credentials(client); return;
    case KVS_ACTION_PROVISION: pic_provision(client); return;
    default: break;
    }
    STATUS status = call_back(client, stream, action, after_hns);
    if (STATUS_SUCCEEDED(status)) return;
    if (stream != NULL) stream_not_begun(stream, action->kind, status);
    else client_not_begun(client, action->kind, status);
}

void pic_carry_out(struct pic_client *client, struct pic_stream *stream, const struct kvs_action *action)
{
    if (action->kind >= KVS_ACTION_DATA) pic_carry_out_notice(client, stream, action);
    else order(client, stream, action);
}

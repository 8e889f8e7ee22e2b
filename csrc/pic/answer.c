/* answer.c — the result events: an answer of the service is checked whole, then matched to the order it answers.
 *
 * customData is the object's handle. An answer belongs to the outstanding order, and only if it is of that order's
 * kind; any other is refused and changes nothing. */
#include "pic/adapter.h"

#include <string.h>

static int is_bounded(const char *text, size_t max) { return memchr(text, 0, max + 1u) != NULL; }

static char *copy_text(struct pic_client *client, const char *text)
{
    size_t size = strlen(text) + 1u;
    char *copy = client->host.alloc(client->host.ctx, size);
    if (copy != NULL) memcpy(copy, text, size);
    return copy;
}

static STATUS replace_text(struct pic_client *client, char **place, const char *text)
{
    char *copy = copy_text(client, text);
    if (copy == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    pic_lock(client);
    char *old = *place;
    *place = copy;
    pic_unlock(client);
    if (old != NULL) client->host.free(client->host.ctx, old);
    return STATUS_SUCCESS;
}

/* ---- matching -------------------------------------------------------------------------------------------------- */

static void note_latency(struct pic_stream *stream, const struct pic_order *order, uint64_t now_hns)
{
    uint64_t latency = now_hns > order->call_after_hns ? now_hns - order->call_after_hns : 0;
    uint64_t *average = order->kind == KVS_ACTION_PUT_MEDIA ? &stream->rates.data_latency_hns
                                                            : &stream->rates.control_latency_hns;
    if (order->kind == KVS_ACTION_GET_TOKEN) return;
    *average = *average == 0 ? latency : *average - *average / 20u + latency / 20u;
}

STATUS pic_answer_stream(struct pic_stream *stream, uint32_t kind, const struct kvs_stream_answer *answer)
{
    struct pic_client *client = stream->client;
    struct kvs_stream_answer to_core = *answer;
    uint64_t now_hns = pic_now(client);
    pic_lock(client);
    struct pic_order order = stream->order;
    int is_ours = order.kind == kind;
    if (is_ours) {
        memset(&stream->order, 0, sizeof stream->order);
        pic_lock_stream(stream);
        note_latency(stream, &order, now_hns);
        pic_unlock_stream(stream);
        if (answer->result > SERVICE_CALL_RESULT_OK) stream->owes_wait = 1;
    }
    pic_unlock(client);
    if (!is_ours) return STATUS_INVALID_STREAM_STATE;
    to_core.size = sizeof to_core;
    to_core.request = order.request;
    to_core.expires_hns = pic_time_of(client, answer->expires_hns);
    return pic_status_of_result(kvs_stream_answer(stream->core, &to_core, now_hns), answer->result);
}

STATUS pic_answer_client(struct pic_client *client, uint32_t kind, const struct kvs_client_answer *answer)
{
    struct kvs_client_answer to_core = *answer;
    uint64_t now_hns = pic_now(client);
    pic_lock(client);
    struct pic_order order = client->order;
    int is_ours = order.kind == kind;
    if (is_ours) memset(&client->order, 0, sizeof client->order);
    if (is_ours && answer->result > SERVICE_CALL_RESULT_OK) client->owes_wait = 1;
    pic_unlock(client);
    if (!is_ours) return STATUS_INVALID_STREAM_STATE;
    to_core.request = order.request;
    to_core.expires_hns = pic_time_of(client, answer->expires_hns);
    STATUS status = pic_status_of_result(kvs_client_answer(client->core, &to_core, now_hns), answer->result);
    pic_lock(client);
    pic_refresh_deadline(client);
    pic_unlock(client);
    return status;
}

/* Leaves the result event of a stream. An answer that finds no memory counts as a failed try, so that the call is made
 * again: the network layer has given its answer and will not repeat it. */
static STATUS leave_stream(struct pic_call *call, uint32_t kind, STATUS status)
{
    struct kvs_stream_answer failed = { .result = SERVICE_CALL_UNKNOWN };
    if (status == STATUS_NOT_ENOUGH_MEMORY) (void)pic_answer_stream(call->stream, kind, &failed);
    return pic_leave(call, status);
}

static STATUS enter_stream(UINT64 custom, uint32_t kind, struct pic_call *call)
{
    STATUS status = pic_enter_stream(custom, call);
    if (STATUS_FAILED(status)) return status;
    pic_lock(call->client);
    int is_right = call->stream->order.kind == kind;
    pic_unlock(call->client);
    return is_right ? STATUS_SUCCESS : pic_leave(call, STATUS_INVALID_STREAM_STATE);
}

static STATUS enter_client(UINT64 custom, uint32_t kind, struct pic_call *call)
{
    STATUS status = pic_enter_client(custom, call);
    if (STATUS_FAILED(status)) return status;
    pic_lock(call->client);
    int is_right = call->client->order.kind == kind;
    pic_unlock(call->client);
    return is_right ? STATUS_SUCCESS : pic_leave(call, STATUS_INVALID_STREAM_STATE);
}

/* ---- the client's ---------------------------------------------------------------------------------------------- */

STATUS createDeviceResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PCHAR deviceArn)
{
    struct pic_call call;
    struct kvs_client_answer answer = { .size = sizeof answer,
                                        .result = (uint32_t)result,
                                        .expires_hns = KVS_TIME_NONE };
    STATUS status = enter_client(customData, KVS_ACTION_CREATE_DEVICE, &call);
    if (STATUS_FAILED(status)) return status;
    int is_whole = result != SERVICE_CALL_RESULT_OK || (deviceArn != NULL && is_bounded(deviceArn, MAX_ARN_LEN));
    return pic_leave(&call, is_whole ? pic_answer_client(call.client, KVS_ACTION_CREATE_DEVICE, &answer)
                                     : STATUS_INVALID_CREATE_DEVICE_RESPONSE);
}

static STATUS cert_to_token(struct pic_client *client, SERVICE_CALL_RESULT result, PBYTE token, UINT32 tokenSize,
                            UINT64 expiration)
{
    struct kvs_client_answer answer = {
        .size = sizeof answer, .result = (uint32_t)result, .auth = KVS_AUTH_TOKEN, .expires_hns = expiration
    };
    struct pic_auth *auth = NULL;
    if (result == SERVICE_CALL_RESULT_OK) {
        STATUS status = pic_auth_new(client, AUTH_INFO_TYPE_STS, token, tokenSize, expiration, &auth);
        if (STATUS_FAILED(status)) return status;
        if (auth->info.type == AUTH_INFO_NONE) answer.expires_hns = KVS_TIME_NONE;
        pic_auth_replace(client, &client->token, auth);
    }
    return pic_answer_client(client, KVS_ACTION_EXCHANGE_TOKEN, &answer);
}

STATUS deviceCertToTokenResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PBYTE token, UINT32 tokenSize,
                                    UINT64 expiration)
{
    struct pic_call call;
    struct kvs_client_answer failed = { .size = sizeof failed,
                                        .result = SERVICE_CALL_UNKNOWN,
                                        .expires_hns = KVS_TIME_NONE };
    STATUS status = enter_client(customData, KVS_ACTION_EXCHANGE_TOKEN, &call);
    if (STATUS_FAILED(status)) return status;
    status = cert_to_token(call.client, result, token, tokenSize, expiration);
    if (status == STATUS_NOT_ENOUGH_MEMORY) (void)pic_answer_client(call.client, KVS_ACTION_EXCHANGE_TOKEN, &failed);
    return pic_leave(&call, status);
}

/* ---- a stream's ------------------------------------------------------------------------------------------------ */

static STATUS describe(struct pic_stream *stream, SERVICE_CALL_RESULT result, PStreamDescription description)
{
    struct kvs_stream_answer answer = { .result = (uint32_t)result };
    if (result != SERVICE_CALL_RESULT_OK) return pic_answer_stream(stream, KVS_ACTION_DESCRIBE_STREAM, &answer);
    if (description == NULL) return STATUS_INVALID_DESCRIBE_STREAM_RESPONSE;
    if (description->version > STREAM_DESCRIPTION_CURRENT_VERSION) return STATUS_INVALID_STREAM_DESCRIPTION_VERSION;
    if (!is_bounded(description->streamArn, MAX_ARN_LEN)) return STATUS_INVALID_DESCRIBE_STREAM_RESPONSE;
    STATUS status = replace_text(stream->client, &stream->arn, description->streamArn);
    if (STATUS_FAILED(status)) return status;
    answer.stream_status = (uint32_t)description->streamStatus;
    answer.retention_hns = description->version >= 1 ? description->retention : 0;
    return pic_answer_stream(stream, KVS_ACTION_DESCRIBE_STREAM, &answer);
}

STATUS describeStreamResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PStreamDescription pStreamDescription)
{
    struct pic_call call;
    STATUS status = enter_stream(customData, KVS_ACTION_DESCRIBE_STREAM, &call);
    if (STATUS_FAILED(status)) return status;
    return leave_stream(&call, KVS_ACTION_DESCRIBE_STREAM, describe(call.stream, result, pStreamDescription));
}

static STATUS created(struct pic_stream *stream, SERVICE_CALL_RESULT result, PCHAR arn)
{
    struct kvs_stream_answer answer = { .result = (uint32_t)result };
    if (result == SERVICE_CALL_RESULT_OK) {
        if (arn == NULL || !is_bounded(arn, MAX_ARN_LEN)) return STATUS_INVALID_CREATE_STREAM_RESPONSE;
        STATUS status = replace_text(stream->client, &stream->arn, arn);
        if (STATUS_FAILED(status)) return status;
    }
    return pic_answer_stream(stream, KVS_ACTION_CREATE_STREAM, &answer);
}

STATUS createStreamResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PCHAR streamArn)
{
    struct pic_call call;
    STATUS status = enter_stream(customData, KVS_ACTION_CREATE_STREAM, &call);
    if (STATUS_FAILED(status)) return status;
    return leave_stream(&call, KVS_ACTION_CREATE_STREAM, created(call.stream, result, streamArn));
}

static STATUS endpoint_found(struct pic_stream *stream, SERVICE_CALL_RESULT result, PCHAR endpoint)
{
    struct kvs_stream_answer answer = { .result = (uint32_t)result };
    if (result == SERVICE_CALL_RESULT_OK) {
        if (endpoint == NULL) return STATUS_NULL_ARG;
        if (!is_bounded(endpoint, MAX_URI_CHAR_LEN)) return STATUS_INVALID_URI_LEN;
        STATUS status = replace_text(stream->client, &stream->endpoint, endpoint);
        if (STATUS_FAILED(status)) return status;
    }
    return pic_answer_stream(stream, KVS_ACTION_GET_DATA_ENDPOINT, &answer);
}

STATUS getStreamingEndpointResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PCHAR endpoint)
{
    struct pic_call call;
    STATUS status = enter_stream(customData, KVS_ACTION_GET_DATA_ENDPOINT, &call);
    if (STATUS_FAILED(status)) return status;
    return leave_stream(&call, KVS_ACTION_GET_DATA_ENDPOINT, endpoint_found(call.stream, result, endpoint));
}

static STATUS token_found(struct pic_stream *stream, SERVICE_CALL_RESULT result, PBYTE token, UINT32 tokenSize,
                          UINT64 expiration)
{
    struct kvs_stream_answer answer = { .result = (uint32_t)result, .expires_hns = expiration };
    struct pic_auth *auth = NULL;
    if (result == SERVICE_CALL_RESULT_OK) {
        STATUS status = pic_auth_new(stream->client, AUTH_INFO_TYPE_STS, token, tokenSize, expiration, &auth);
        if (STATUS_FAILED(status)) return status;
        pic_auth_replace(stream->client, &stream->token, auth);
    }
    return pic_answer_stream(stream, KVS_ACTION_GET_TOKEN, &answer);
}

STATUS getStreamingTokenResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PBYTE token, UINT32 tokenSize,
                                    UINT64 expiration)
{
    struct pic_call call;
    STATUS status = enter_stream(customData, KVS_ACTION_GET_TOKEN, &call);
    if (STATUS_FAILED(status)) return status;
    return leave_stream(&call, KVS_ACTION_GET_TOKEN, token_found(call.stream, result, token, tokenSize, expiration));
}

/* The name is known before the core says that there is something to read under it. */
static STATUS connected(struct pic_stream *stream, UPLOAD_HANDLE handle)
{
    struct pic_client *client = stream->client;
    struct kvs_stream_answer answer = { .result = SERVICE_CALL_RESULT_OK };
    if (!IS_VALID_UPLOAD_HANDLE(handle)) return STATUS_INVALID_ARG;
    uint64_t now_hns = pic_now(client);
    pic_lock(client);
    uint64_t core = stream->order.upload;
    pic_unlock(client);
    pic_lock_stream(stream);
    pic_upload_add(stream, handle, core, now_hns);
    pic_unlock_stream(stream);
    STATUS status = pic_answer_stream(stream, KVS_ACTION_PUT_MEDIA, &answer);
    if (STATUS_SUCCEEDED(status)) return status;
    pic_lock_stream(stream);
    struct pic_upload *upload = pic_upload_of_core(stream, core);
    if (upload != NULL) pic_upload_remove(stream, upload, now_hns);
    pic_unlock_stream(stream);
    return status;
}

STATUS putStreamResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, UPLOAD_HANDLE uploadHandle)
{
    struct pic_call call;
    struct kvs_stream_answer answer = { .result = (uint32_t)result };
    STATUS status = enter_stream(customData, KVS_ACTION_PUT_MEDIA, &call);
    if (STATUS_FAILED(status)) return status;
    if (result == SERVICE_CALL_RESULT_OK) return pic_leave(&call, connected(call.stream, uploadHandle));
    return pic_leave(&call, pic_answer_stream(call.stream, KVS_ACTION_PUT_MEDIA, &answer));
}

STATUS tagResourceResultEvent(UINT64 customData, SERVICE_CALL_RESULT result)
{
    struct pic_call call;
    struct kvs_stream_answer stream_answer = { .result = (uint32_t)result };
    struct kvs_client_answer client_answer = { .size = sizeof client_answer, .result = (uint32_t)result };
    if (customData == 0) return STATUS_NULL_ARG;
    if (pic_handle_kind(customData) == PIC_KIND_CLIENT) {
        STATUS status = enter_client(customData, KVS_ACTION_TAG_CLIENT, &call);
        return STATUS_FAILED(status)
                   ? status
                   : pic_leave(&call, pic_answer_client(call.client, KVS_ACTION_TAG_CLIENT, &client_answer));
    }
    if (pic_handle_kind(customData) != PIC_KIND_STREAM) return STATUS_INVALID_CUSTOM_DATA;
    STATUS status = enter_stream(customData, KVS_ACTION_TAG_STREAM, &call);
    return STATUS_FAILED(status)
               ? status
               : pic_leave(&call, pic_answer_stream(call.stream, KVS_ACTION_TAG_STREAM, &stream_answer));
}

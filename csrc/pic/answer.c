/* answer.c — the result events: an answer of the service is checked whole, then matched to the order it answers.
 *
 * customData is the object's handle. An answer belongs to the outstanding order, and only if it is of that order's
 * kind; any other is refused and changes nothing. */
#include "pic/adapter.h"

#include <string.h>

static STATUS replace_text(struct pic_client *client, char **place, const char *text)
{
    char *copy = pic_copy_text(client, text);
    if (copy == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    pic_lock(client);
    char *old = *place;
    *place = copy;
    pic_unlock(client);
    kvs_host_free(&client->host, old);
    return STATUS_SUCCESS;
}

static STATUS enter(UINT64 custom, uint32_t kind, struct pic_call *call)
{
    int is_stream = kind >= KVS_ACTION_DESCRIBE_STREAM;
    STATUS status = is_stream ? pic_enter_stream(custom, call) : pic_enter_client(custom, call);
    if (STATUS_FAILED(status)) return status;
    pic_lock(call->client);
    int is_right = pic_called(call)->order.kind == kind;
    pic_unlock(call->client);
    return is_right ? STATUS_SUCCESS : pic_leave(call, STATUS_INVALID_STREAM_STATE);
}

static STATUS answer_call(struct pic_call *call, uint32_t kind, const struct pic_answer *answer)
{
    return pic_answer(call->client, pic_called(call), kind, answer);
}

/* An answer that finds no memory counts as a failed try, so that the call is made again: the network layer has given
 * its answer and will not repeat it. */
static STATUS leave(struct pic_call *call, uint32_t kind, STATUS status)
{
    struct pic_answer failed = { .result = SERVICE_CALL_UNKNOWN, .expires_hns = KVS_TIME_NONE };
    if (status == STATUS_NOT_ENOUGH_MEMORY) (void)answer_call(call, kind, &failed);
    return pic_leave(call, status);
}

/* ---- answers with a result alone ------------------------------------------------------------------------------- */

STATUS createDeviceResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PCHAR deviceArn)
{
    struct pic_call call;
    struct pic_answer answer = { .result = (uint32_t)result, .expires_hns = KVS_TIME_NONE };
    STATUS status = enter(customData, KVS_ACTION_CREATE_DEVICE, &call);
    if (STATUS_FAILED(status)) return status;
    int is_whole = result != SERVICE_CALL_RESULT_OK || (deviceArn != NULL && pic_is_bounded(deviceArn, MAX_ARN_LEN));
    return leave(&call, KVS_ACTION_CREATE_DEVICE,
                 is_whole ? answer_call(&call, KVS_ACTION_CREATE_DEVICE, &answer)
                          : STATUS_INVALID_CREATE_DEVICE_RESPONSE);
}

STATUS tagResourceResultEvent(UINT64 customData, SERVICE_CALL_RESULT result)
{
    struct pic_call call;
    struct pic_answer answer = { .result = (uint32_t)result };
    uint32_t object = pic_handle_kind(customData);
    uint32_t kind = object == PIC_KIND_CLIENT ? KVS_ACTION_TAG_CLIENT : KVS_ACTION_TAG_STREAM;
    if (customData == 0) return STATUS_NULL_ARG;
    if (object != PIC_KIND_CLIENT && object != PIC_KIND_STREAM) return STATUS_INVALID_CUSTOM_DATA;
    STATUS status = enter(customData, kind, &call);
    return STATUS_FAILED(status) ? status : leave(&call, kind, answer_call(&call, kind, &answer));
}

/* ---- answers with a text --------------------------------------------------------------------------------------- */

static STATUS described(struct pic_call *call, SERVICE_CALL_RESULT result, const StreamDescription *description)
{
    struct pic_answer answer = { .result = (uint32_t)result };
    if (result != SERVICE_CALL_RESULT_OK) return answer_call(call, KVS_ACTION_DESCRIBE_STREAM, &answer);
    if (description == NULL) return STATUS_INVALID_DESCRIBE_STREAM_RESPONSE;
    if (description->version > STREAM_DESCRIPTION_CURRENT_VERSION) return STATUS_INVALID_STREAM_DESCRIPTION_VERSION;
    if (!pic_is_bounded(description->streamArn, MAX_ARN_LEN)) return STATUS_INVALID_DESCRIBE_STREAM_RESPONSE;
    STATUS status = replace_text(call->client, &call->stream->arn, description->streamArn);
    if (STATUS_FAILED(status)) return status;
    answer.stream_status = (uint32_t)description->streamStatus;
    answer.retention_hns = description->version >= 1 ? description->retention : 0;
    return answer_call(call, KVS_ACTION_DESCRIBE_STREAM, &answer);
}

STATUS describeStreamResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PStreamDescription pStreamDescription)
{
    struct pic_call call;
    STATUS status = enter(customData, KVS_ACTION_DESCRIBE_STREAM, &call);
    if (STATUS_FAILED(status)) return status;
    return leave(&call, KVS_ACTION_DESCRIBE_STREAM, described(&call, result, pStreamDescription));
}

/* A text that the answer brings, and what is said of one that is missing or too long. */
struct text {
    const char *text;
    size_t max;
    STATUS missing, too_long;
};

static STATUS with_text(struct pic_call *call, uint32_t kind, SERVICE_CALL_RESULT result, const struct text *text)
{
    struct pic_answer answer = { .result = (uint32_t)result };
    if (result == SERVICE_CALL_RESULT_OK) {
        struct pic_stream *stream = call->stream;
        if (text->text == NULL) return text->missing;
        if (!pic_is_bounded(text->text, text->max)) return text->too_long;
        STATUS status = replace_text(call->client, kind == KVS_ACTION_CREATE_STREAM ? &stream->arn : &stream->endpoint,
                                     text->text);
        if (STATUS_FAILED(status)) return status;
    }
    return answer_call(call, kind, &answer);
}

static STATUS text_event(UINT64 custom, uint32_t kind, SERVICE_CALL_RESULT result, const struct text *text)
{
    struct pic_call call;
    STATUS status = enter(custom, kind, &call);
    return STATUS_FAILED(status) ? status : leave(&call, kind, with_text(&call, kind, result, text));
}

STATUS createStreamResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PCHAR streamArn)
{
    struct text arn = { streamArn, MAX_ARN_LEN, STATUS_INVALID_CREATE_STREAM_RESPONSE,
                        STATUS_INVALID_CREATE_STREAM_RESPONSE };
    return text_event(customData, KVS_ACTION_CREATE_STREAM, result, &arn);
}

STATUS getStreamingEndpointResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PCHAR endpoint)
{
    struct text uri = { endpoint, MAX_URI_CHAR_LEN, STATUS_NULL_ARG, STATUS_INVALID_URI_LEN };
    return text_event(customData, KVS_ACTION_GET_DATA_ENDPOINT, result, &uri);
}

/* ---- answers with a token -------------------------------------------------------------------------------------- */

struct token {
    PBYTE bytes;
    UINT32 size;
    UINT64 expiration;
};

static STATUS with_token(struct pic_call *call, uint32_t kind, SERVICE_CALL_RESULT result, const struct token *token)
{
    struct pic_answer answer = { .result = (uint32_t)result, .auth = KVS_AUTH_TOKEN, .expires_hns = token->expiration };
    struct pic_client *client = call->client;
    struct pic_auth *auth = NULL;
    if (result == SERVICE_CALL_RESULT_OK) {
        STATUS status = pic_auth_new(client, AUTH_INFO_TYPE_STS, token->bytes, token->size, token->expiration, &auth);
        if (STATUS_FAILED(status)) return status;
        int never_expires = call->stream == NULL && auth->info.type == AUTH_INFO_NONE;
        if (never_expires) answer.expires_hns = KVS_TIME_NONE;
        pic_auth_replace(client, call->stream != NULL ? &call->stream->token : &client->token, auth);
    }
    return answer_call(call, kind, &answer);
}

static STATUS token_event(UINT64 custom, uint32_t kind, SERVICE_CALL_RESULT result, const struct token *token)
{
    struct pic_call call;
    STATUS status = enter(custom, kind, &call);
    return STATUS_FAILED(status) ? status : leave(&call, kind, with_token(&call, kind, result, token));
}

STATUS deviceCertToTokenResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PBYTE token, UINT32 tokenSize,
                                    UINT64 expiration)
{
    return token_event(customData, KVS_ACTION_EXCHANGE_TOKEN, result,
                       &(struct token){ token, tokenSize, expiration });
}

STATUS getStreamingTokenResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PBYTE token, UINT32 tokenSize,
                                    UINT64 expiration)
{
    return token_event(customData, KVS_ACTION_GET_TOKEN, result, &(struct token){ token, tokenSize, expiration });
}

/* ---- PutMedia -------------------------------------------------------------------------------------------------- */

/* The name is known before the core says that there is something to read under it. */
static STATUS connected(struct pic_call *call, UPLOAD_HANDLE handle)
{
    struct pic_stream *stream = call->stream;
    struct pic_answer answer = { .result = SERVICE_CALL_RESULT_OK };
    if (!IS_VALID_UPLOAD_HANDLE(handle)) return STATUS_INVALID_ARG;
    pic_lock(call->client);
    uint64_t core = stream->object.order.upload;
    pic_unlock(call->client);
    pic_lock_stream(stream);
    pic_upload_add(stream, handle, core, call->now_hns);
    pic_unlock_stream(stream);
    STATUS status = answer_call(call, KVS_ACTION_PUT_MEDIA, &answer);
    if (STATUS_SUCCEEDED(status)) return status;
    pic_lock_stream(stream);
    struct pic_upload *upload = pic_upload_of_core(stream, core);
    if (upload != NULL) pic_upload_remove(stream, upload, call->now_hns);
    pic_unlock_stream(stream);
    return status;
}

STATUS putStreamResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, UPLOAD_HANDLE uploadHandle)
{
    struct pic_call call;
    struct pic_answer answer = { .result = (uint32_t)result };
    STATUS status = enter(customData, KVS_ACTION_PUT_MEDIA, &call);
    if (STATUS_FAILED(status)) return status;
    return leave(&call, KVS_ACTION_PUT_MEDIA,
                 result == SERVICE_CALL_RESULT_OK ? connected(&call, uploadHandle)
                                                  : answer_call(&call, KVS_ACTION_PUT_MEDIA, &answer));
}

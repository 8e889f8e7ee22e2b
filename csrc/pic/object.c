/* object.c — what is the same for a client and for a stream: how an order is answered, how its caller waits for it to
 * become ready, and how its last reference goes. Which of the two an object is says object->stream. */
#include "pic/adapter.h"

#include <string.h>

#define AVERAGE_SHARE 20u /* of a moving average one part in so many is new */

void pic_average(uint64_t *average, uint64_t value)
{
    *average = *average == 0 ? value : *average - *average / AVERAGE_SHARE + value / AVERAGE_SHARE;
}

DOUBLE pic_average_rate(DOUBLE old, DOUBLE value)
{
    return old * (1 - 1.0 / AVERAGE_SHARE) + value * (1.0 / AVERAGE_SHARE);
}

/* ---- answers --------------------------------------------------------------------------------------------------- */

static void note_latency(struct pic_stream *stream, const struct pic_order *order, uint64_t now_hns)
{
    uint64_t latency_hns = now_hns > order->call_after_hns ? now_hns - order->call_after_hns : 0;
    struct pic_rates *rates = &stream->rates;
    if (order->kind == KVS_ACTION_GET_TOKEN) return;
    pic_lock_stream(stream);
    pic_average(order->kind == KVS_ACTION_PUT_MEDIA ? &rates->data_latency_hns : &rates->control_latency_hns,
                latency_hns);
    pic_unlock_stream(stream);
}

static kvs_status answer_stream(struct pic_stream *stream, uint64_t request, const struct pic_answer *answer,
                                uint64_t now_hns)
{
    struct kvs_stream_answer to_core = { .size = sizeof to_core,
                                         .result = answer->result,
                                         .request = request,
                                         .stream_status = answer->stream_status,
                                         .retention_hns = answer->retention_hns,
                                         .expires_hns = pic_time_of(stream->client, answer->expires_hns) };
    return kvs_stream_answer(stream->core, &to_core, now_hns);
}

static kvs_status answer_client(struct pic_client *client, uint64_t request, const struct pic_answer *answer,
                                uint64_t now_hns)
{
    struct kvs_client_answer to_core = { .size = sizeof to_core,
                                         .result = answer->result,
                                         .request = request,
                                         .auth = answer->auth,
                                         .expires_hns = pic_time_of(client, answer->expires_hns) };
    kvs_status status = kvs_client_answer(client->core, &to_core, now_hns);
    pic_lock(client);
    pic_refresh_deadline(client);
    pic_unlock(client);
    return status;
}

STATUS pic_answer(struct pic_client *client, struct pic_object *object, uint32_t kind, const struct pic_answer *answer)
{
    uint64_t now_hns = pic_now(client);
    pic_lock(client);
    struct pic_order order = object->order;
    int is_ours = order.kind == kind;
    if (is_ours) memset(&object->order, 0, sizeof object->order);
    if (is_ours && answer->result > SERVICE_CALL_RESULT_OK) object->has_failed_call = 1;
    pic_unlock(client);
    if (!is_ours) return STATUS_INVALID_STREAM_STATE;
    if (object->stream != NULL) note_latency(object->stream, &order, now_hns);
    return pic_status_of_result(object->stream != NULL ? answer_stream(object->stream, order.request, answer, now_hns)
                                                       : answer_client(client, order.request, answer, now_hns),
                                answer->result);
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

STATUS pic_await_ready(struct pic_client *client, const struct pic_object *object, uint64_t most_hns)
{
    while (!object->is_ready && object->failure == STATUS_SUCCESS && !object->is_closing &&
           !client->object.is_closing) {
        if (!pic_wait(client, &most_hns)) return STATUS_OPERATION_TIMED_OUT;
    }
    return STATUS_SUCCESS;
}

int pic_take_handle(UINT64 *place, uint32_t kind, void **object_out)
{
    UINT64 handle = *place;
    *object_out = handle != 0 ? pic_close(handle, kind) : NULL;
    if (handle != 0 && *object_out == NULL && !pic_was_valid(handle, kind)) return 0;
    *place = 0;
    return 1;
}

/* Inside a callback nothing waits: the call that is being called back may be the one that has the other reference. */
static void await_others(struct pic_client *client, const struct pic_object *object)
{
    while (!pic_is_in_callback() && pic_slot_references(object->slot) > 1) {
        (void)client->callbacks.waitConditionVariableFn(client->callbacks.customData, client->changed, client->lock,
                                                        INFINITE_TIME_VALUE);
    }
}

void pic_let_go(struct pic_client *client, struct pic_object *object, int waits)
{
    pic_lock(client);
    if (waits) await_others(client, object);
    uint32_t left = pic_slot_drop(object->slot);
    if (left == 1) pic_broadcast(client);
    if (left == 0 && object->stream != NULL) pic_leave_list(object->stream);
    pic_unlock(client);
    if (left != 0) return;
    if (object->stream != NULL) pic_stream_destroy(object->stream);
    else pic_client_destroy(client);
}

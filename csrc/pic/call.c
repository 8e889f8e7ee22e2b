/* call.c — the frame of a public call: from handle to object and back, and what every call does on its way out. */
#include "pic/adapter.h"

STATUS pic_enter_stream(UINT64 handle, struct pic_call *call)
{
    call->stream = pic_acquire(handle, PIC_KIND_STREAM);
    if (call->stream == NULL) return STATUS_NULL_ARG;
    call->client = call->stream->client;
    call->now_hns = pic_now(call->client);
    unsigned is_inside = (unsigned)pic_is_in_callback_of(call->client);
    if (atomic_load(&call->stream->is_called_inside) != is_inside)
        atomic_store(&call->stream->is_called_inside, is_inside);
    return STATUS_SUCCESS;
}

STATUS pic_enter_client(UINT64 handle, struct pic_call *call)
{
    call->stream = NULL;
    call->client = pic_acquire(handle, PIC_KIND_CLIENT);
    if (call->client == NULL) return STATUS_NULL_ARG;
    call->now_hns = pic_now(call->client);
    return STATUS_SUCCESS;
}

/* A thread that drains for others must not keep its own stream from being freed: it keeps the client only. */
static STATUS leave_and_settle(struct pic_call *call, STATUS status)
{
    struct pic_client *client = call->client;
    if (call->stream != NULL) {
        pic_slot_hold(client->object.slot);
        pic_stream_release(call->stream);
    }
    pic_settle(client, call->now_hns);
    pic_client_release(client);
    return status;
}

STATUS pic_leave(struct pic_call *call, STATUS status)
{
    struct pic_client *client = call->client;
    if (call->stream == NULL || atomic_load(&client->woken) != 0 || call->now_hns >= atomic_load(&client->deadline_hns))
        return leave_and_settle(call, status);
    pic_stream_release(call->stream);
    return status;
}

STATUS kvsNextDeadline(CLIENT_HANDLE clientHandle, PUINT64 pDeadline)
{
    struct pic_call call;
    if (pDeadline == NULL) return STATUS_NULL_ARG;
    STATUS status = pic_enter_client(clientHandle, &call);
    if (STATUS_FAILED(status)) return status;
    pic_lock(call.client);
    pic_refresh_deadline(call.client);
    *pDeadline = pic_clock_of(call.client, atomic_load(&call.client->deadline_hns));
    pic_unlock(call.client);
    pic_client_release(call.client);
    return STATUS_SUCCESS;
}

STATUS kvsPoke(CLIENT_HANDLE clientHandle)
{
    struct pic_call call;
    STATUS status = pic_enter_client(clientHandle, &call);
    return STATUS_FAILED(status) ? status : pic_leave(&call, STATUS_SUCCESS);
}

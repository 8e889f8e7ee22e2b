/* read.c — bytes out: what getKinesisVideoStreamData does beside the core's read, and what it measures. */
#include "pic/adapter.h"

static int is_sample_due(const struct pic_call *call)
{
    uint64_t begun_hns = atomic_load(&call->stream->rates.sample_hns);
    return call->now_hns > begun_hns && call->now_hns - begun_hns > HUNDREDS_OF_NANOS_IN_A_SECOND / 5;
}

static void note_transfer(struct pic_call *call)
{
    struct pic_rates *rates = &call->stream->rates;
    if (!is_sample_due(call)) return;
    DOUBLE past_hns = (DOUBLE)(call->now_hns - atomic_exchange(&rates->sample_hns, call->now_hns));
    DOUBLE bytes = (DOUBLE)atomic_exchange(&rates->sample_bytes, 0);
    DOUBLE rate = bytes * (DOUBLE)HUNDREDS_OF_NANOS_IN_A_SECOND / past_hns;
    rates->transfer_rate = rates->transfer_rate > 0 ? pic_average_rate(rates->transfer_rate, rate) : rate;
}

/* What a read has to know of its upload. */
struct reading {
    uint64_t core, stale_from_hns;
    uint8_t has_read, is_aborted;
};

/* 0 when there is no such upload. */
static int begin_read(struct pic_call *call, UPLOAD_HANDLE handle, struct reading *out)
{
    pic_lock_stream(call->stream);
    const struct pic_upload *upload = pic_upload_find(call->stream, handle);
    if (upload != NULL) {
        *out = (struct reading){ upload->core, upload->stale_from_hns, upload->has_read, upload->is_aborted };
        call->stream->last_upload = handle;
    }
    pic_unlock_stream(call->stream);
    return upload != NULL;
}

/* What a read changed of its upload and of the rates. Most reads change neither, and do not come here. */
static void after_read(struct pic_call *call, UPLOAD_HANDLE handle, kvs_status filled, enum kvs_read_state state)
{
    pic_lock_stream(call->stream);
    struct pic_upload *upload = pic_upload_find(call->stream, handle);
    if (upload != NULL) {
        if (filled > 0 && !upload->has_read) call->stream->rates.sessions_read++;
        if (filled > 0) upload->has_read = 1;
        if (state == KVS_READ_AWAITING_ACK) upload->state = PIC_UPLOAD_DRAINED;
        if (state == KVS_READ_END || filled == KVS_E_UNKNOWN_UPLOAD)
            pic_upload_remove(call->stream, upload, call->now_hns);
    }
    if (filled > 0) note_transfer(call);
    pic_unlock_stream(call->stream);
}

/* A full buffer is a success, whether or not there is more: the next read says which. */
static STATUS status_of_read(enum kvs_read_state state, int is_full)
{
    switch (state) {
    case KVS_READ_MORE: return STATUS_SUCCESS;
    case KVS_READ_WAIT: return is_full ? STATUS_SUCCESS : STATUS_NO_MORE_DATA_AVAILABLE;
    case KVS_READ_AWAITING_ACK: return STATUS_AWAITING_PERSISTED_ACK;
    default: return STATUS_END_OF_STREAM;
    }
}

/* Bytes were read for a connection from which no ACK comes. */
static void report_stale(struct pic_call *call, uint64_t stale_from_hns)
{
    if (call->client->callbacks.streamConnectionStaleFn == NULL) return;
    pic_lock_stream(call->stream);
    call->stream->object.stale_hns = call->now_hns - stale_from_hns;
    call->stream->rates.stale_events++;
    pic_notify(call->stream, call->now_hns);
}

STATUS getKinesisVideoStreamData(STREAM_HANDLE streamHandle, UPLOAD_HANDLE uploadHandle, PBYTE pBuffer,
                                 UINT32 bufferSize, PUINT32 pFilledSize)
{
    struct pic_call call;
    struct reading known;
    enum kvs_read_state state = KVS_READ_END;
    if (pBuffer == NULL || pFilledSize == NULL) return STATUS_NULL_ARG;
    *pFilledSize = 0;
    if (bufferSize == 0 || !IS_VALID_UPLOAD_HANDLE(uploadHandle)) return STATUS_INVALID_ARG;
    STATUS status = pic_enter_stream(streamHandle, &call);
    if (STATUS_FAILED(status)) return status;
    if (!begin_read(&call, uploadHandle, &known)) return pic_leave(&call, STATUS_UPLOAD_HANDLE_ABORTED);
    uint32_t room = bufferSize < INT32_MAX ? bufferSize : INT32_MAX;
    kvs_status filled = kvs_upload_read(call.stream->core, known.core, pBuffer, room, &state, call.now_hns);
    if (filled > 0) atomic_fetch_add(&call.stream->rates.sample_bytes, (uint64_t)filled);
    int is_plain = filled >= 0 && known.has_read && (state == KVS_READ_MORE || state == KVS_READ_WAIT);
    if (!is_plain || is_sample_due(&call)) after_read(&call, uploadHandle, filled, filled < 0 ? KVS_READ_MORE : state);
    if (filled < 0) return pic_leave(&call, pic_status_of(filled));
    if (filled > 0 && known.stale_from_hns != 0) report_stale(&call, known.stale_from_hns);
    if (state == KVS_READ_END && known.is_aborted) return pic_leave(&call, STATUS_UPLOAD_HANDLE_ABORTED);
    *pFilledSize = (UINT32)filled;
    return pic_leave(&call, status_of_read(state, (uint32_t)filled == room));
}

/* put.h — one frame on its way into the store, between the public call and the packer. */
#ifndef KVS_ENGINE_PUT_H
#define KVS_ENGINE_PUT_H

#include "engine/packer.h"

struct put {
    struct kvs_held held; /* as it will wait or be packaged */
    struct times times;
    struct track *track;
    const uint8_t *data;
    uint32_t data_size, flags;
    uint64_t duration_hns;
    struct kvs_nal_scan scan;
    struct kvs_generator_plan plan;
    struct kvs_call call;
    uint32_t joined_size;  /* of what its track keeps for it */
    struct format *format; /* new one made for this frame, not in the list yet */
    uint8_t is_adapted, is_new_session;
    uint8_t opens;    /* a fragment may begin with it */
    uint8_t is_part;  /* it holds no picture and waits for one */
    uint8_t has_plan; /* `plan` still holds */
    uint8_t is_skipped;
    uint8_t is_stored; /* the long way took it, and did not skip or drop it */
    uint8_t is_quiet;  /* it only made the open fragment longer: no deadline has come nearer */
};

static inline int put_is_large(const struct put *put) { return put->data_size > LARGE_FRAME; }

/* Called with the writer's lock for a large frame, with the stream's for a small one, and before anything else is asked
 * of the frame. put_scan sets held.payload_size; it calls put_adapt where NAL units are converted, which may change it.
 *   Statuses of kvs_stream_put_frame; nothing of the stream changed */
kvs_status put_adapt(const struct kvs_stream *stream, struct put *put, uint32_t nal_flags);
static inline kvs_status put_scan(const struct kvs_stream *stream, struct put *put)
{
    const uint32_t flags = stream->mode.nal_flags & (KVS_NAL_ANNEXB_TO_AVCC | KVS_NAL_AVCC_TO_ANNEXB);
    put->held.payload_size = put->data_size;
    return flags == 0 || put->track->type != KVS_TRACK_VIDEO ? KVS_OK : put_adapt(stream, put, flags);
}
/* Takes the frame: packaged, held, skipped, dropped or, with a status, refused. */
kvs_status put_take(struct kvs_stream *stream, struct put *put);
void put_refused(struct kvs_stream *stream, const struct put *put, kvs_status status); /* also by put_scan */

#endif

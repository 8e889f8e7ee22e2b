/* packer.h — the packer makes fragments of frames: their times, their order, room for them, codec private data, where
 * fragments open and end. It does not know the stream's machine. */
#ifndef KVS_ENGINE_PACKER_H
#define KVS_ENGINE_PACKER_H

#include "engine/uploads.h"

/* ---- package.c: a frame becomes a block, fragments open and end; under writer and stream lock -------------------- */

void package_init(struct kvs_stream *stream, const struct kvs_stream_config *config); /* the limits are set */
void package_reset(struct kvs_stream *stream);                                        /* nothing is held any more */
void package_move(struct kvs_stream *stream, enum edge_event event);
/* Packages it, or drops it with a reason. plan: the generator's for this frame if it still holds, else NULL. */
void package_place(struct kvs_stream *stream, const struct kvs_held *held, const struct kvs_generator_plan *plan);
/* Packages the frames that no longer wait for others; flush: all that are held. */
void package_held(struct kvs_stream *stream, int flush, uint64_t now_hns);
/* Ends the open fragment with a tag, as kvs_stream_end_fragment says; the same statuses. */
kvs_status package_end_fragment(struct kvs_stream *stream, uint64_t now_hns);
void package_trailer(struct kvs_stream *stream, uint64_t now_hns); /* of a stream that stops: the open fragment's */
uint64_t package_next_deadline(const struct kvs_stream *stream);   /* of a source that is idle, of frames that wait */
void package_poke(struct kvs_stream *stream, uint64_t now_hns);    /* what is due by then */
/* How many frames of the track were put before those that wait for their order: all but what fragments hold. */
uint64_t track_settled(const struct kvs_stream *stream, uint32_t track);

/* ---- room.c: what the limits allow, and what goes first ---------------------------------------------------------- */

/* Whether a frame that lasts until end_hns needs something to go. */
int room_is_over_limits(const struct kvs_stream *stream, uint64_t end_hns);
/* Room for `size` bytes of the chain; may drop the oldest fragments.
 *   KVS_E_STORE_FULL       nothing may go, and KVS_ACTION_ROOM follows; or nothing is left that could
 *   KVS_E_FRAME_TOO_LARGE  it fits in no store of this size
 *   KVS_E_NOMEM */
kvs_status room_make(struct kvs_stream *stream, uint64_t size, uint64_t end_hns, uint64_t now_hns);
/* Drops it unless it is settled. Frames that would have followed in it are skipped until a key frame comes. */
void room_drop_fragment(struct kvs_stream *stream, uint64_t number, uint32_t reason);
void room_drop_all(struct kvs_stream *stream, uint32_t reason); /* frames that wait for their order too */
/* Of fragments that are to be sent again: those too old for replay_max_hns are dropped. */
void room_limit_replay(struct kvs_stream *stream, uint64_t first, uint64_t last);

/* ---- put.c, pressure.c ------------------------------------------------------------------------------------------- */

void put_reset(struct kvs_stream *stream);
void pressure_check_all(struct kvs_stream *stream); /* reports warnings that begin or end */

/* ---- parts.c: what a call holds --------------------------------------------------------------------------------- */

struct part {
    const struct kvs_nal_scan *scan;
    uint32_t size, flags;
};
kvs_status parts_init(struct kvs_stream *stream); /* once it has its format */
void parts_free(struct kvs_stream *stream);
kvs_status parts_load(struct kvs_stream *stream, uint32_t track, const struct format *format); /* given by the caller */
void parts_clear(struct track *track);
int parts_may_wait(const struct kvs_nal_scan *scan); /* else it is put as a frame */
kvs_status parts_keep(struct kvs_stream *stream, struct track *track, const uint8_t *data, const struct part *part);
/* What a session with this key frame needs: NULL when the present format will do. */
kvs_status parts_format(struct kvs_stream *stream, uint32_t index, uint32_t pps, struct format **format_out);

/* ---- on the way of every frame: most often there is nothing to do ------------------------------------------------ */

static inline struct kvs_cpd_format stream_cpd_format(const struct kvs_stream *stream, uint32_t track)
{
    struct kvs_cpd_format format = { stream->mode.kinds, stream->tracks[track].type, stream->mode.nal_flags,
                                     stream->formats.current->tracks[track].codec_id };
    return format;
}

/* Whether this track's frames open fragments. */
static inline int stream_is_lead(const struct kvs_stream *stream, uint32_t track)
{
    return stream->order.mode != KVS_ORDER_CUT || track == stream->order.lead;
}

/* Key frames continue a fragment no longer: it is a quarter of the store already, which only its end can empty, or half
 * of the size that it may have. */
static inline int package_is_large(const struct kvs_stream *stream)
{
    const struct kvs_view *view = &stream->view;
    uint64_t slabs = stream->limits.slabs_max != 0 ? stream->limits.slabs_max : stream->client->pool.slabs_max;
    uint64_t large = slabs * KVS_SLAB_SIZE / 4u, size_max = stream->limits.fragment_size_max;
    if (stream->limits.fragment_duration_min_hns == 0 || kvs_view_is_empty(view)) return 0;
    if (size_max != 0) large = kvs_hns_min(large, size_max / 2u);
    return kvs_view_fragment_bytes(view, view->fragment_head - 1) >= large;
}

/* Room for a frame that lasts until then: nothing has to go, no slab is to be taken. */
static inline int room_is_there(const struct kvs_stream *stream, uint64_t size, uint64_t end_hns)
{
    int is_limited = stream->limits.frames_max != 0 || stream->limits.buffer_duration_hns != 0;
    return kvs_chain_has_room(&stream->chain, size) && !(is_limited && room_is_over_limits(stream, end_hns));
}

/* Where the times of the stream's blocks lie so far. */
static inline void stream_note_times(struct kvs_stream *stream, uint64_t timecode, uint64_t pts_hns)
{
    if (timecode + 1 > stream->packer.latest_tc + 1) stream->packer.latest_tc = timecode; /* KVS_TIME_NONE + 1 is 0 */
    stream->order.first_pts_hns = kvs_hns_min(stream->order.first_pts_hns, pts_hns);
}

static inline void pressure_check(struct kvs_stream *stream)
{
    int is_timed = stream->limits.buffer_duration_hns != 0 || stream->limits.latency_max_hns != 0;
    if (is_timed || stream->pressure.checked_slabs != stream->chain.held_count) pressure_check_all(stream);
}

#endif

/* packer.h — the packer makes fragments of frames: their times, their order, room for them, codec private data, where
 * fragments open and end. It does not know the stream's machine. */
#ifndef KVS_ENGINE_PACKER_H
#define KVS_ENGINE_PACKER_H

#include "engine/uploads.h"

/* ---- put.c, package.c, room.c: frames in ------------------------------------------------------------------------- */

void package_init(struct kvs_stream *stream, const struct kvs_stream_config *config); /* the limits are set */
void package_reset(struct kvs_stream *stream);                                        /* nothing is held any more */
void package_move(struct kvs_stream *stream, enum edge_event event);
void put_reset(struct kvs_stream *stream);
/* Under writer and stream lock. */
void package_held(struct kvs_stream *stream, int flush, uint64_t now_hns);
kvs_status package_end_fragment(struct kvs_stream *stream, uint64_t now_hns);
void package_trailer(struct kvs_stream *stream, uint64_t now_hns);
uint64_t package_next_deadline(const struct kvs_stream *stream); /* of a source that is idle, of frames that wait */
void package_poke(struct kvs_stream *stream, uint64_t now_hns);
uint64_t track_settled(const struct kvs_stream *stream, uint32_t track); /* not sent again but for fragments */
/* Packages it, or drops it with a reason. plan: the generator's for this frame if it still holds, else NULL. */
void package_place(struct kvs_stream *stream, const struct kvs_held *held, const struct kvs_generator_plan *plan);
int room_is_over_limits(const struct kvs_stream *stream, uint64_t end_hns);
kvs_status room_make(struct kvs_stream *stream, uint64_t size, uint64_t end_hns, uint64_t now_hns);

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

void room_drop_fragment(struct kvs_stream *stream, uint64_t number, uint32_t reason);
void room_drop_all(struct kvs_stream *stream, uint32_t reason);
void room_limit_replay(struct kvs_stream *stream, uint64_t first, uint64_t last);
void pressure_check_all(struct kvs_stream *stream);

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

/* put.c — a frame in: checked, given its place in the content store, copied once, packaged.
 *
 * Everything that can fail comes before the first change, so a put that fails changed nothing (kvspic.h names the two
 * exceptions). One writer per stream at a time. A frame above LARGE_FRAME is scanned and copied while only the writer's
 * lock is held, so the reader is not in its way; a smaller one needs the stream's lock alone. */
#include "engine/put.h"

#include "media/nal.h"

#define SPARSE_KEY_GAP_HNS (2 * KVS_HNS_PER_SECOND)
#define CPD_MAX (KVS_MKV_CPD_MAX)

void put_reset(struct kvs_stream *stream)
{
    stream->opening = (struct opening) { .least_pts_hns = KVS_TIME_NONE };
    for (uint32_t i = 0; i < KVS_TRACKS_MAX; i++) {
        times_reset(&stream->tracks[i].times);
        parts_clear(&stream->tracks[i]);
    }
}

static kvs_status set_times(struct kvs_stream *stream, struct put *put)
{
    struct kvs_held *held = &put->held;
    if (stream->mode.flags & KVS_CLOCK_TIMECODES) put->times.pts_hns = put->times.dts_hns = held->arrival_hns;
    kvs_status status = times_place(stream, held->track, put->flags, &put->times);
    held->frame.pts_hns = put->times.pts_hns;
    held->dts_hns = put->times.dts_hns;
    put->is_new_session = put->times.is_back && stream->mode.backward_policy == KVS_BACKWARD_SESSION;
    return status;
}

/* ---- what kind of frame it is ------------------------------------------------------------------------------------ */

static void set_key(struct kvs_stream *stream, struct put *put)
{
    if ((stream->mode.flags & KVS_SPARSE_KEYS) && stream_is_lead(stream, put->held.track)) {
        uint64_t last = stream->packer.last_key_pts_hns;
        int is_due = stream->packer.edge != EDGE_INSIDE || put->is_new_session || last == KVS_TIME_NONE ||
                     put->held.frame.pts_hns >= kvs_hns_add(last, SPARSE_KEY_GAP_HNS);
        if (put->held.frame.pts_hns < put->track->times.newest_hns && put->track->times.is_seen && !put->times.is_back)
            is_due = 0; /* none after a key frame lies before it */
        put->flags = is_due ? put->flags | KVS_FRAME_KEY : put->flags & ~(uint32_t)KVS_FRAME_KEY;
    }
    if (stream->packer.force_key && stream_is_lead(stream, put->held.track)) put->flags |= KVS_FRAME_KEY;
}

static int is_key(const struct put *put) { return (put->flags & KVS_FRAME_KEY) != 0; }

static int may_split(const struct kvs_stream *stream)
{
    return (stream->limits.fragment_duration_max_hns | stream->limits.fragment_size_max) != 0;
}

/* A group of pictures longer or larger than the service takes goes on in another fragment. Only a frame that lies after
 * all before it can begin one: the service refuses times that go back behind those of an earlier fragment. */
static int is_split(const struct kvs_stream *stream, const struct put *put)
{
    const struct limits *limits = &stream->limits;
    if (is_key(put) || !stream_is_lead(stream, put->held.track) || put->is_new_session) return 0;
    if (stream->order.mode != KVS_ORDER_NONE && stream->order.mode != KVS_ORDER_CUT) return 0;
    if (stream->opening.least_pts_hns == KVS_TIME_NONE || put->held.frame.pts_hns <= stream->opening.newest_pts_hns)
        return 0;
    uint64_t least_hns = stream->opening.least_pts_hns;
    /* When the frame that begins the fragment has left, other tracks' frames may have followed it. */
    if (stream->packer.last_key_pts_hns == stream->opening.first_pts_hns)
        least_hns = kvs_hns_min(least_hns, stream->order.first_pts_hns);
    uint64_t duration = put->held.frame.pts_hns + put->duration_hns - least_hns;
    uint64_t size = stream->opening.size + put->held.payload_size;
    return (limits->fragment_duration_max_hns != 0 && duration > limits->fragment_duration_max_hns) ||
           (limits->fragment_size_max != 0 && size > limits->fragment_size_max);
}

/* Whether the frame can not continue the fragment with this content (struct format), however short that is. */
static int must_open(const struct kvs_stream *stream, const struct put *put, uint32_t content)
{
    if (!put->opens) return 0;
    return package_is_large(stream) || !is_key(put) || put->format != NULL ||
           stream->formats.current->content != content;
}

/* A key frame that comes too soon after the one that began the fragment continues it. */
static int begins_fragment(const struct kvs_stream *stream, const struct put *put)
{
    uint64_t least_hns = stream->generator.config.cluster_duration_hns;
    if (!put->opens || !stream_is_lead(stream, put->held.track)) return 0;
    if (least_hns == 0 || stream->opening.least_pts_hns == KVS_TIME_NONE) return 1;
    if (put->is_new_session || stream->packer.starts_session || stream->packer.edge == EDGE_ENDED) return 1;
    if (must_open(stream, put, stream->opening.content)) return 1;
    return put->held.frame.pts_hns >= kvs_hns_add(stream->opening.first_pts_hns, least_hns);
}

static void note_opened(struct kvs_stream *stream, const struct put *put)
{
    if (begins_fragment(stream, put)) {
        stream->opening.first_pts_hns = put->held.frame.pts_hns;
        stream->opening.least_pts_hns = stream->opening.newest_pts_hns = put->held.frame.pts_hns;
        if (is_key(put)) stream->opening.content = stream->formats.current->content;
        stream->opening.size = 0;
    }
    stream->opening.size += put->held.payload_size + KVS_MKV_BLOCK_SIZE;
    if (!stream_is_lead(stream, put->held.track)) return;
    if (put->held.frame.pts_hns > stream->opening.newest_pts_hns)
        stream->opening.newest_pts_hns = put->held.frame.pts_hns;
    if (put->held.frame.pts_hns < stream->opening.least_pts_hns)
        stream->opening.least_pts_hns = put->held.frame.pts_hns; /* a leading picture */
}

/* Frames that can not be decoded without what is missing. Where frames of several tracks are ordered by time (DTS, PTS)
 * that is decided when they leave the order queue: a key frame may still be held there. */
static int is_skipped(const struct kvs_stream *stream, const struct put *put)
{
    int is_lead = stream_is_lead(stream, put->held.track);
    if (is_key(put)) return 0;
    if (put->is_new_session && is_lead) return 1; /* a session begins with a key frame */
    if (stream->packer.skip_arrivals && is_lead) return 1;
    if (stream->packer.edge == EDGE_INSIDE) return 0;
    if (stream->order.mode == KVS_ORDER_NONE) return 1;
    return stream->order.mode == KVS_ORDER_CUT && is_lead && kvs_order_count(&stream->order) == 0;
}

/* Codec private data found in a key frame: when it is not what the track has, a new format is made for it. Parameter
 * sets that can not be read are left alone: the frame still goes out. */
static kvs_status find_cpd(struct kvs_stream *stream, struct put *put)
{
    if (!put->opens) return KVS_OK;
    if (put->track->has_parts) return parts_format(stream, put->held.track, put->call.pps, &put->format);
    if (!is_key(put) || !put->track->cpd_from_frames) return KVS_OK;
    struct kvs_cpd_format cpd_format = stream_cpd_format(stream, put->held.track);
    const struct kvs_mkv_track *track = &stream->formats.current->tracks[put->held.track];
    uint32_t size = 0;
    if (!kvs_cpd_is_in_frames(&cpd_format)) return KVS_OK;
    if (kvs_cpd_from_frame(&cpd_format, put->data, put->data_size, NULL, 0, &size) != KVS_OK || size == 0 ||
        size > CPD_MAX)
        return KVS_OK;
    uint8_t *cpd = kvs_host_alloc(stream->host, size);
    if (cpd == NULL) return KVS_E_NOMEM;
    kvs_status status = kvs_cpd_from_frame(&cpd_format, put->data, put->data_size, cpd, size, &size);
    if (status == KVS_OK && (size != track->cpd_size || memcmp(cpd, track->cpd, size) != 0)) {
        struct format_change change = { &cpd_format, put->held.track, stream->formats.current->track_mask, size, cpd };
        status = format_make(stream->host, stream->formats.current, &change, &put->format);
    }
    kvs_host_free(stream->host, cpd);
    return status == KVS_E_NOMEM ? status : KVS_OK;
}

static kvs_status scan_frame(const struct kvs_stream *stream, struct put *put, uint32_t nal_flag)
{
    const uint32_t codec = put->track->sets.is_h265 ? KVS_NAL_IS_H265 : 0;
    if (stream->mode.flags & KVS_NO_EMPTY_NALS)
        return kvs_nal_scan_clean(put->data, put->data_size, nal_flag | codec, &put->scan);
    if (nal_flag == KVS_NAL_ANNEXB_TO_AVCC) return kvs_nal_scan(put->data, put->data_size, &put->scan);
    return kvs_nal_scan_avcc(put->data, put->data_size, &put->scan);
}

kvs_status put_adapt(const struct kvs_stream *stream, struct put *put, uint32_t flags)
{
    kvs_status status = scan_frame(stream, put, flags);
    if (status != KVS_OK) return status;
    if (put->scan.adapted_size == 0 && !put->track->has_parts) return KVS_E_FRAME_DATA;
    if (put->scan.adapted_size > UINT32_MAX - KVS_MKV_BLOCK_SIZE) return KVS_E_FRAME_TOO_LARGE;
    put->is_adapted = put->scan.kind != KVS_NAL_UNCHANGED;
    put->held.payload_size = (uint32_t)put->scan.adapted_size;
    return KVS_OK;
}

/* ---- the copy ---------------------------------------------------------------------------------------------------- */

static void copy_adapted(struct kvs_chain *chain, struct put *put, uint64_t offset)
{
    uint8_t prefix[KVS_NAL_PREFIX_SIZE];
    kvs_chain_write(chain, offset, put->data, put->scan.lead_size);
    offset += put->scan.lead_size;
    do {
        for (uint32_t i = 0; i < put->scan.count; i++) {
            kvs_nal_prefix(&put->scan, put->scan.nal[i].size, prefix);
            kvs_chain_write(chain, offset, prefix, sizeof prefix);
            kvs_chain_write(chain, offset + sizeof prefix, put->data + put->scan.nal[i].offset, put->scan.nal[i].size);
            offset += sizeof prefix + put->scan.nal[i].size;
        }
    } while (kvs_nal_scan_more(put->data, put->data_size, &put->scan));
}

/* A large payload is copied without the stream's lock. */
static void store(struct kvs_stream *stream, struct put *put)
{
    const struct joined *joined = &put->track->joined; /* nothing else is put while a payload is copied */
    uint64_t at = put->held.frame.offset + KVS_MKV_BLOCK_SIZE;
    if (put_is_large(put)) {
        stream->ledger.inflight_offset = put->held.frame.offset - put->held.prefix_space;
        kvs_host_unlock(stream->host, stream->lock);
    }
    if (put->joined_size != 0) kvs_chain_write(&stream->chain, at, joined->bytes, put->joined_size);
    at += put->joined_size;
    if (put->is_adapted) copy_adapted(&stream->chain, put, at);
    else kvs_chain_write(&stream->chain, at, put->data, put->data_size);
    if (!put_is_large(put)) return;
    stream_lock(stream);
    stream->ledger.inflight_offset = UINT64_MAX;
    put->has_plan = 0; /* an ACK may have taken the open fragment away meanwhile */
}

/* ---- the sequence ------------------------------------------------------------------------------------------------ */

/* The number of its frame in its track, or of the first of the calls that it takes along. */
static uint64_t number_put(struct track *track)
{
    uint64_t number = track->frames_put++ - track->joined.calls;
    parts_clear(track);
    return number;
}

static void drop_put(struct kvs_stream *stream, const struct put *put, uint32_t reason)
{
    (void)number_put(put->track);
    ledger_put(stream, put->held.payload_size);
    ledger_drop(stream, &(struct loss) { reason, put->held.frame.pts_hns, 1, put->held.payload_size });
}

static void skip_put(struct kvs_stream *stream, struct put *put)
{
    put->is_skipped = 1;
    ledger_put(stream, put->held.payload_size);
    (void)number_put(put->track);
    ledger_skip(stream, put->held.frame.pts_hns, put->held.payload_size);
}

/* Everything that can refuse the frame; nothing of the stream changes but for what room_make dropped. */
static kvs_status prepare(struct kvs_stream *stream, struct put *put)
{
    put->opens = (uint8_t)(is_key(put) || (may_split(stream) && is_split(stream, put)));
    kvs_status status = find_cpd(stream, put);
    if (status != KVS_OK) return status;
    stream->generator.must_open = must_open(stream, put, stream->packer.packaged_content);
    if (stream->order.mode == KVS_ORDER_NONE && !put->is_new_session) {
        status = kvs_generator_plan(&stream->generator, put->held.frame.pts_hns, put->held.dts_hns,
                                    put->opens ? put->flags | KVS_FRAME_KEY : put->flags, 1, &put->plan);
        if (status != KVS_OK) return status;
        put->has_plan = !stream->packer.starts_session;
    }
    if (put->opens) put->held.prefix_space = KVS_MKV_CLUSTER_SIZE + kvs_metadata_size(&stream->metadata, 0);
    uint32_t held_count = 0;
    if (stream->order.mode != KVS_ORDER_NONE) {
        held_count = kvs_order_count(&stream->order); /* they leave without asking */
        status = kvs_order_reserve(&stream->order, stream->host, put->held.track);
    }
    if (status == KVS_OK) status = kvs_view_reserve(&stream->view, held_count + 1u);
    if (status != KVS_OK) return status;
    uint64_t size = (uint64_t)put->held.prefix_space + KVS_MKV_BLOCK_SIZE + put->held.payload_size;
    uint64_t end_hns = put->held.frame.pts_hns + put->duration_hns;
    if (room_is_there(stream, size, end_hns)) return KVS_OK;
    put->has_plan = 0; /* what goes for it may be the open fragment */
    return room_make(stream, size, end_hns, put->held.arrival_hns);
}

static void adopt_format(struct kvs_stream *stream, struct put *put)
{
    if (put->format == NULL) return;
    formats_append(stream, put->format, 1);
    if (put->track->has_parts) kvs_sets_adopt(&put->track->sets, put->call.pps);
    put->format = NULL;
}

/* A split goes on with what its pictures were coded with, also where other codec private data was set meanwhile: that
 * is for the next key frame. Of a track whose parameter sets are kept it is known which ones these are (find_cpd). */
static uint32_t format_of(const struct kvs_stream *stream, const struct put *put)
{
    const struct format *format = stream->formats.first;
    if (!put->opens || is_key(put) || put->track->has_parts) return stream->formats.current->number;
    while (format != NULL && format->content != stream->opening.content) format = format->next;
    return format != NULL ? format->number : stream->formats.current->number;
}

static void commit(struct kvs_stream *stream, struct put *put)
{
    struct kvs_held *held = &put->held;
    adopt_format(stream, put);
    times_commit(stream, held->track, put->flags, put->opens, &put->times);
    ledger_put(stream, put->held.payload_size);
    held->index = number_put(put->track);
    if (may_split(stream)) note_opened(stream, put);
    held->format = format_of(stream, put);
    held->flags = (uint16_t)(put->flags | (put->opens ? KVS_HELD_OPENS : 0) |
                             (put->is_new_session ? KVS_HELD_RESTART : 0));
    put->is_quiet = put->has_plan && !(put->plan.parts & KVS_PART_CLUSTER) && !stream->packer.was_refused;
    stream->packer.force_key = stream->packer.was_refused = 0;
    if (is_key(put) && stream_is_lead(stream, held->track)) stream->packer.skip_arrivals = 0;
    if (put->is_new_session && stream_is_lead(stream, held->track))
        stream->packer.starts_session = 1; /* others follow the lead */
    stream->ledger.metrics.last_put_hns = stream->packer.idle_since_hns = held->arrival_hns;
    if (stream->order.mode == KVS_ORDER_NONE) {
        package_place(stream, held, put->has_plan ? &put->plan : NULL);
    } else {
        kvs_order_push(&stream->order, held);
        package_held(stream, 0, held->arrival_hns);
    }
}

/* ---- the short way ----------------------------------------------------------------------------------------------- */

/* The bytes of a plain frame, block header and payload. */
static void write_plain(struct kvs_stream *stream, struct put *put, int32_t block_tc)
{
    uint8_t block[KVS_MKV_BLOCK_SIZE], *place;
    const struct kvs_frame *frame = &put->held.frame;
    place = put->is_adapted ? NULL : kvs_chain_at(&stream->chain, frame->offset, frame->size);
    kvs_mkv_block_put(place != NULL ? place : block, put->held.track + 1u, block_tc, put->flags,
                      put->held.payload_size);
    if (place != NULL) {
        memcpy(place + sizeof block, put->data, put->data_size);
        return;
    }
    kvs_chain_write(&stream->chain, frame->offset, block, sizeof block);
    if (put->is_adapted) copy_adapted(&stream->chain, put, frame->offset + sizeof block);
    else kvs_chain_write(&stream->chain, frame->offset + sizeof block, put->data, put->data_size);
}

static void commit_plain(struct kvs_stream *stream, struct put *put)
{
    struct track_times *own = &put->track->times;
    ledger_put(stream, put->held.payload_size);
    put->track->frames_put++;
    times_rise(own, put->times.pts_hns, 0);
    own->last_hns = own->input_hns = put->times.pts_hns;
    own->dts_hns = put->times.dts_hns;
    if (may_split(stream)) note_opened(stream, put);
    put->is_quiet = 1;
    stream->ledger.metrics.last_put_hns = stream->packer.idle_since_hns = put->held.arrival_hns;
    kvs_view_push_frame(&stream->view, &put->held.frame, put->held.payload_size, put->held.track);
    put->track->fragment_frames++;
}

static int room_in_next_slab(struct kvs_stream *stream, const struct put *put)
{
    uint64_t end_hns = put->times.pts_hns + put->duration_hns;
    return !room_is_over_limits(stream, end_hns) &&
           kvs_chain_reserve(&stream->chain, &stream->client->pool, put->held.frame.size, stream->limits.slabs_max,
                             put->held.arrival_hns) == KVS_OK;
}

/* Nearly every frame lies in the open fragment, after all frames of its track, with room for it, and nothing of the
 * stream is unusual. Then every answer of set_times, prepare and commit is known, and this does what they would do. 0
 * when one is not known, and nothing has changed. */
static int put_plain(struct kvs_stream *stream, struct put *put)
{
    const struct track_times *own = &put->track->times;
    const uint64_t scale = stream->limits.scale_hns, pts_hns = put->times.pts_hns;
    struct kvs_frame *frame = &put->held.frame;
    int32_t block_tc = 0;
    if (stream->packer.unusual != 0 || is_key(put) || put_is_large(put) || put->track->joined.calls != 0) return 0;
    if (!times_are_plain(own, &put->times, scale) || pts_hns - own->newest_hns > KVS_VIEW_GAP_HNS) return 0;
    uint64_t pts_tc = kvs_hns_to_tc(pts_hns, scale);
    uint64_t dts_tc = put->times.dts_hns == pts_hns ? pts_tc : kvs_hns_to_tc(put->times.dts_hns, scale);
    if (!kvs_generator_is_inside(&stream->generator, pts_tc, dts_tc, &block_tc)) return 0;
    if (pts_tc + 1 <= stream->packer.closed_tc + 1) return 0; /* goes_back; KVS_TIME_NONE + 1 is 0 */
    frame->pts_hns = pts_hns;
    if (may_split(stream) && is_split(stream, put)) return 0;
    if (stream->view.frame_head - stream->view.frame_tail >= stream->view.frame_capacity) return 0;
    frame->size = put->held.payload_size + KVS_MKV_BLOCK_SIZE;
    if (!room_is_there(stream, frame->size, pts_hns + put->duration_hns) && !room_in_next_slab(stream, put)) return 0;
    frame->offset = kvs_chain_advance(&stream->chain, frame->size);
    write_plain(stream, put, block_tc);
    commit_plain(stream, put);
    stream_note_times(stream, pts_tc, pts_hns);
    return 1;
}

/* A group of pictures larger than the store: only the end of its fragment can ever make room, because the service
 * persists whole ones. The frames that come before the next key frame are skipped, and counted. */
static void end_what_fills_the_store(struct kvs_stream *stream, uint64_t now_hns)
{
    if (stream->view.fragment_tail + 1 == stream->view.fragment_head) (void)package_end_fragment(stream, now_hns);
}

/* Frames that arrive from now on are skipped until a key frame does. Where frames are held for the cut, those that are
 * held already go on: the mark is for arrivals, not for what leaves. */
static void skip_what_follows(struct kvs_stream *stream)
{
    if (stream->order.mode == KVS_ORDER_CUT) stream->packer.skip_arrivals = 1;
    else package_move(stream, EDGE_EV_LOST);
}

/* Sets are taken also from a frame that is refused for another reason: when it is put again they are known. */
static kvs_status look_into(struct kvs_stream *stream, struct put *put)
{
    struct track *track = put->track;
    kvs_status status = kvs_sets_read(&track->sets, stream->host, put->data, put->data_size, &put->scan, &put->call);
    if (status != KVS_OK) return status;
    put->is_part = !put->call.has_picture && parts_may_wait(&put->scan);
    if (put->is_part || track->joined.calls == 0) return KVS_OK;
    put->flags |= track->joined.flags;
    put->joined_size = put->call.is_nals ? track->joined.size : 0;
    if (put->held.payload_size > UINT32_MAX - KVS_MKV_BLOCK_SIZE - put->joined_size) return KVS_E_FRAME_TOO_LARGE;
    put->held.payload_size += put->joined_size;
    return KVS_OK;
}

static kvs_status keep_part(struct kvs_stream *stream, struct put *put)
{
    struct part part = { &put->scan, put->data_size, put->flags };
    put->is_quiet = 1;
    return parts_keep(stream, put->track, put->data, &part);
}

/* Pressures and readers, after a frame that was taken. */
static void announce_put(struct kvs_stream *stream, const struct put *put)
{
    pressure_check(stream);
    if ((stream->mode.flags & KVS_PUT_TELLS) && uploads_follow_puts(stream)) return;
    uploads_announce_put(stream, put->held.arrival_hns);
}

static kvs_status put_unusual(struct kvs_stream *stream, struct put *put)
{
    kvs_status status = set_times(stream, put);
    if (status != KVS_OK) return status;
    if (put->times.is_back && !put->is_new_session) {
        if (is_key(put) && stream_is_lead(stream, put->held.track)) skip_what_follows(stream);
        drop_put(stream, put, KVS_DROP_BACKWARD);
        return KVS_OK;
    }
    set_key(stream, put);
    if (is_skipped(stream, put)) {
        skip_put(stream, put);
        return KVS_OK;
    }
    status = prepare(stream, put);
    if (status == KVS_E_STORE_FULL &&
        stream->mode.full_policy != KVS_FULL_REFUSE) { /* nothing left that could go instead */
        drop_put(stream, put, KVS_DROP_STORE_FULL);
        skip_what_follows(stream);
        return KVS_OK;
    }
    if (status == KVS_E_STORE_FULL) end_what_fills_the_store(stream, put->held.arrival_hns);
    if (status != KVS_OK) return status;
    struct kvs_held *held = &put->held;
    held->frame.size = held->payload_size + KVS_MKV_BLOCK_SIZE;
    held->frame.offset = kvs_chain_advance(&stream->chain, (uint64_t)held->prefix_space + held->frame.size);
    held->frame.offset += held->prefix_space;
    store(stream, put);
    commit(stream, put);
    put->is_stored = 1;
    return KVS_OK;
}

kvs_status put_take(struct kvs_stream *stream, struct put *put)
{
    kvs_status status = KVS_OK;
    if (stream->ledger.is_stopped) return KVS_E_STREAM_STOPPED;
    if (put->track->has_parts) {
        status = look_into(stream, put);
        if (status != KVS_OK) return status;
        if (put->is_part) return keep_part(stream, put);
    }
    if (!put_plain(stream, put)) {
        status = put_unusual(stream, put);
        if (!put->is_stored) return status;
    }
    announce_put(stream, put);
    return status;
}

/* What follows a frame that the caller can not put again can not be decoded without it. */
void put_refused(struct kvs_stream *stream, const struct put *put, kvs_status status)
{
    int is_large = status == KVS_E_FRAME_TOO_LARGE;
    stream->ledger.metrics.frames_refused++;
    stream->ledger.metrics.frames_too_large += (uint64_t)is_large;
    if (!stream_is_lead(stream, put->held.track) || stream->ledger.is_stopped) return;
    if (is_large || (is_key(put) && kvs_status_class_of(status) == KVS_CLASS_MEDIA)) skip_what_follows(stream);
}

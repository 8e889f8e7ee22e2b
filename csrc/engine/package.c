/* package.c — a frame becomes a block of a fragment: the place where fragments open and end.
 *
 * The payload lies in the chain already, with room for the block header before it and, for a key frame, for the tags
 * and the cluster header before that. What is decided here is written into that room. */
#include "engine/packer.h"

#include <string.h>

#define ORDER_WINDOW_HNS (500 * KVS_HNS_PER_MS)

static void set_tracks(struct kvs_stream *stream, const struct kvs_stream_config *config)
{
    struct kvs_order_queue *order = &stream->order;
    stream->track_count = config->track_count;
    order->mode = config->order == KVS_ORDER_AV ? KVS_ORDER_DTS : config->order;
    order->track_count = config->track_count;
    order->scale_hns = stream->limits.scale_hns;
    order->window_hns = config->order_window_hns != 0 ? config->order_window_hns : ORDER_WINDOW_HNS;
    order->lead = UINT32_MAX;
    for (uint32_t i = 0; i < config->track_count; i++) {
        stream->tracks[i].id = config->tracks[i].id;
        stream->tracks[i].type = config->tracks[i].type;
        stream->tracks[i].cpd_from_frames = config->tracks[i].cpd_size == 0;
        order->queues[i].is_video = config->tracks[i].type == KVS_TRACK_VIDEO;
        if (order->queues[i].is_video && order->lead == UINT32_MAX) order->lead = i;
    }
    if (config->track_count == 1 && order->mode == KVS_ORDER_CUT) order->mode = KVS_ORDER_NONE;
    if (order->mode == KVS_ORDER_CUT && order->lead == UINT32_MAX)
        order->mode = KVS_ORDER_DTS; /* no video: nothing to cut at */
}

static int has_ends(const struct kvs_stream *stream)
{
    return stream->order.mode != KVS_ORDER_DTS && stream->order.mode != KVS_ORDER_PTS;
}

void package_init(struct kvs_stream *stream, const struct kvs_stream_config *config)
{
    struct kvs_generator_config generator = { .scale_hns = stream->limits.scale_hns };
    set_tracks(stream, config);
    if (!has_ends(stream)) stream->limits.eofr_idle_hns = 0;
    stream->packer.is_unusual = stream->order.mode != KVS_ORDER_NONE ||
                                (config->flags & (KVS_SPARSE_KEYS | KVS_CLOCK_TIMECODES)) != 0;
    generator.cluster_duration_hns = kvs_hns_max(stream->limits.fragment_duration_hns,
                                                 stream->limits.fragment_duration_min_hns);
    generator.negative_block_time = (config->flags & KVS_NEGATIVE_BLOCK_TIME) != 0;
    kvs_generator_init(&stream->generator, &generator);
}

void package_reset(struct kvs_stream *stream)
{
    uint8_t is_unusual = stream->packer.is_unusual;
    kvs_metadata_clear(&stream->metadata, stream->host);
    kvs_order_reset(&stream->order);
    kvs_generator_reset(&stream->generator);
    for (uint32_t i = 0; i < KVS_TRACKS_MAX; i++) stream->tracks[i].fragment_frames = 0;
    memset(&stream->packer, 0, sizeof stream->packer);
    stream->packer.last_cluster_tc = stream->packer.latest_tc = stream->packer.closed_tc = KVS_TIME_NONE;
    stream->packer.last_key_pts_hns = stream->packer.idle_since_hns = KVS_TIME_NONE;
    stream->packer.is_unusual = is_unusual;
    stream->packer.edge = EDGE_BROKEN;
}

/* ---- where the next frame stands --------------------------------------------------------------------------------- */

void package_move(struct kvs_stream *stream, enum edge_event event)
{
    static const uint8_t TABLE[EDGE_COUNT][EDGE_EV_COUNT] = {
        [EDGE_INSIDE] = { [EDGE_EV_OPENED] = EDGE_INSIDE, [EDGE_EV_ENDED] = EDGE_ENDED, [EDGE_EV_LOST] = EDGE_BROKEN },
        [EDGE_BROKEN] = { [EDGE_EV_OPENED] = EDGE_INSIDE, [EDGE_EV_ENDED] = EDGE_ENDED, [EDGE_EV_LOST] = EDGE_BROKEN },
        [EDGE_ENDED] = { [EDGE_EV_OPENED] = EDGE_INSIDE, [EDGE_EV_ENDED] = EDGE_ENDED, [EDGE_EV_LOST] = EDGE_ENDED },
    };
    stream->packer.edge = TABLE[stream->packer.edge][event];
}

/* ---- tags and cluster header ------------------------------------------------------------------------------------- */

/* Writes the waiting tags so that they end at `end` and do not begin before `floor`; returns where they begin. Entries
 * that came after the room was kept may not fit: those wait for the next fragment. */
static uint64_t write_tags(struct kvs_stream *stream, uint64_t floor, uint64_t end)
{
    struct kvs_metadata fits = { 0 }, waits = { 0 };
    uint64_t room = end - floor;
    uint32_t size = 0;
    struct kvs_metadata_entry *entry = stream->metadata.first;
    while (entry != NULL) {
        struct kvs_metadata_entry *next = entry->next;
        int does_fit = waits.first == NULL && size + entry->size <= room;
        if (does_fit) size += entry->size;
        kvs_metadata_push(does_fit ? &fits : &waits, entry);
        entry = next;
    }
    uint64_t at = end - size;
    for (entry = fits.first; entry != NULL; entry = entry->next) {
        kvs_chain_write(&stream->chain, at, kvs_metadata_bytes(entry), entry->size);
        at += entry->size;
    }
    kvs_metadata_packaged(&fits, stream->host);
    stream->metadata = fits;
    while (waits.first != NULL) {
        entry = waits.first;
        waits.first = entry->next;
        kvs_metadata_push(&stream->metadata, entry);
    }
    return end - size;
}

/* ---- tracks that are silent, tracks that are back ---------------------------------------------------------------- */

static void report_track(struct kvs_stream *stream, uint32_t track, int is_silent)
{
    stream->ledger.metrics.tracks_silent += (uint64_t)is_silent;
    struct kvs_action action = { .kind = KVS_ACTION_TRACK_SILENT,
                                 .a = stream->tracks[track].id,
                                 .b = (uint64_t)is_silent };
    stream_notice(stream, &action);
}

/* The newest fragment was ended so soon that frames of other tracks may still have been on their way: a track that has
 * none in it need not be silent. */
static int was_ended_early(const struct kvs_stream *stream)
{
    return stream->packer.edge == EDGE_ENDED &&
           stream->view.end_hns < kvs_hns_add(stream->packer.last_key_pts_hns, stream->order.window_hns);
}

/* Where the fragment that begins at `pts_hns` ends if it is as long as the one before. */
static uint64_t expected_end(const struct kvs_stream *stream, uint64_t pts_hns)
{
    uint64_t before_hns = stream->packer.last_key_pts_hns, length_hns = KVS_ORDER_APART_HNS;
    if (before_hns != KVS_TIME_NONE && pts_hns > before_hns)
        length_hns = kvs_hns_min(pts_hns - before_hns, KVS_ORDER_SPAN_MAX_HNS);
    return kvs_hns_add(pts_hns, length_hns);
}

/* Whether a track will have a frame in the fragment that begins at `pts_hns`. Its next frame says so, if it has come:
 * one that lies further away belongs to another fragment. If none has come, the track goes on as before, unless the
 * lead is beyond this fragment already, or nothing more will come. */
static int is_there(const struct kvs_stream *stream, uint32_t track, uint64_t pts_hns)
{
    const struct kvs_held *next = kvs_order_front(&stream->order, track);
    uint64_t end_hns = expected_end(stream, pts_hns);
    if (next != NULL) return next->frame.pts_hns < end_hns;
    if (stream->tracks[track].fragment_frames == 0 || stream->packer.is_stopping) return 0;
    return stream->order.queues[stream->order.lead].seen_pts_hns < end_hns;
}

/* A fragment of which nothing was read can still be put right: it announces the tracks that it has frames of. */
static void correct_mask(struct kvs_stream *stream)
{
    uint32_t mask = 0;
    if (stream->order.mode != KVS_ORDER_CUT || kvs_view_is_empty(&stream->view)) return;
    struct kvs_fragment *fragment = kvs_view_fragment(&stream->view, stream->view.fragment_head - 1);
    if (fragment->read_hns != KVS_TIME_NONE) return;
    for (uint32_t i = 0; i < stream->track_count; i++) mask |= (uint32_t)(stream->tracks[i].fragment_frames != 0) << i;
    if (mask == 0) return; /* its frames were not counted: it announces what it did */
    fragment->format = stream->packer.packaged_format = formats_with_mask(stream, fragment->format, mask);
}

/* Which tracks the fragment that opens now announces. */
static uint32_t wanted_mask(struct kvs_stream *stream, uint64_t pts_hns)
{
    uint32_t mask = (1u << stream->track_count) - 1u;
    if (stream->order.mode != KVS_ORDER_CUT) return mask;
    for (uint32_t i = 0; i < stream->track_count; i++) {
        struct kvs_held_queue *queue = &stream->order.queues[i];
        int was_there = is_there(stream, i, pts_hns);
        stream->tracks[i].fragment_frames = 0;
        if (i == stream->order.lead) continue;
        if (!was_there && !queue->is_silent && was_ended_early(stream)) continue;
        if (queue->is_silent == !was_there) {
            if (!was_there) mask &= ~(1u << i);
            continue;
        }
        queue->is_silent = !was_there;
        report_track(stream, i, !was_there);
        if (!was_there) mask &= ~(1u << i);
    }
    return mask;
}

/* ---- a frame ----------------------------------------------------------------------------------------------------- */

uint64_t track_settled(const struct kvs_stream *stream, uint32_t track)
{
    uint64_t frames_put = stream->tracks[track].frames_put - stream->tracks[track].joined.calls;
    return stream->order.mode == KVS_ORDER_NONE ? frames_put : kvs_order_next_index(&stream->order, track, frames_put);
}

static void report_split(struct kvs_stream *stream, uint64_t pts_hns)
{
    struct kvs_action action = { .kind = KVS_ACTION_FRAGMENT_SPLIT, .a = pts_hns };
    action.b = ++stream->ledger.metrics.fragments_split;
    stream_notice(stream, &action);
}

static void note_cpd(struct kvs_stream *stream, uint32_t number)
{
    const struct format *format = formats_find(stream, number);
    for (uint32_t i = 0; i < format->track_count; i++) {
        int is_missing = (format->track_mask >> i & 1u) != 0 && format->tracks[i].cpd_size == 0;
        stream->ledger.metrics.fragments_without_cpd[i] += (uint64_t)is_missing;
    }
}

static void open_fragment(struct kvs_stream *stream, const struct kvs_held *held, const struct kvs_generator_plan *plan)
{
    uint8_t cluster[KVS_MKV_CLUSTER_SIZE];
    struct kvs_fragment fragment = { .timecode = plan->cluster_tc,
                                     .pts_hns = plan->cluster_tc * stream->limits.scale_hns };
    uint64_t end = held->frame.offset, at = end - KVS_MKV_CLUSTER_SIZE;
    kvs_mkv_cluster_write(cluster, plan->cluster_tc);
    kvs_chain_write(&stream->chain, at, cluster, sizeof cluster);
    fragment.prefix_offset = write_tags(stream, end - held->prefix_space, at);
    fragment.prefix_size = (uint32_t)(end - fragment.prefix_offset);
    correct_mask(stream);
    fragment.format = formats_with_mask(stream, held->format, wanted_mask(stream, held->frame.pts_hns));
    for (uint32_t i = 0; i < stream->track_count; i++) fragment.first_put[i] = (uint32_t)track_settled(stream, i);
    fragment.first_put[held->track] = (uint32_t)held->index;
    if (stream->packer.starts_session) fragment.flags = KVS_FRAGMENT_NEW_SESSION;
    if (stream->packer.starts_session || fragment.format != stream->packer.packaged_format)
        stream->packer.latest_tc = KVS_TIME_NONE;
    stream->packer.packaged_format = fragment.format;
    stream->packer.packaged_content = formats_find(stream, fragment.format)->content;
    stream->packer.starts_session = 0;
    package_move(stream, EDGE_EV_OPENED);
    stream->packer.last_cluster_tc = plan->cluster_tc;
    stream->packer.closed_tc = stream->packer.latest_tc; /* of its session it may be the first */
    stream->packer.last_key_pts_hns = stream->order.first_pts_hns = held->frame.pts_hns;
    stream->ledger.metrics.fragments_put++;
    note_cpd(stream, fragment.format);
    kvs_view_open_fragment(&stream->view, &fragment);
    uploads_handed_out(stream); /* the one before is complete */
    if (!(held->flags & KVS_FRAME_KEY)) report_split(stream, held->frame.pts_hns);
}

/* A track that waited for a key frame (the first one, or after it was silent, or the last one in vain) must not stretch
 * a fragment past what the service takes. */
static int is_too_far(const struct kvs_stream *stream, const struct kvs_held *held,
                      const struct kvs_generator_plan *plan)
{
    if (stream_is_lead(stream, held->track)) return 0; /* pictures of its own, as far back as a block time can say */
    if (plan->block_tc >= 0)
        return held->frame.pts_hns > kvs_hns_add(stream->order.first_pts_hns, KVS_ORDER_SPAN_MAX_HNS);
    if ((uint64_t)-plan->block_tc * stream->limits.scale_hns > KVS_ORDER_EARLY_MAX_HNS) return 1;
    return kvs_hns_sub(stream->packer.latest_tc, plan->pts_tc) * stream->limits.scale_hns > KVS_ORDER_SPAN_MAX_HNS;
}

/* The service refuses a whole fragment for one block that lies at or before the last one of the fragments before it. */
static int goes_back(const struct kvs_stream *stream, uint64_t timecode, int opens)
{
    if (opens && stream->packer.last_cluster_tc != KVS_TIME_NONE && timecode <= stream->packer.last_cluster_tc)
        return 1;
    if (!(stream->mode.flags & KVS_NEGATIVE_BLOCK_TIME)) return 0; /* as the caller orders it */
    uint64_t latest = opens ? stream->packer.latest_tc : stream->packer.closed_tc;
    return latest != KVS_TIME_NONE && timecode <= latest;
}

/* A frame of another track that came too late for its fragment goes alone. A picture that reaches back (an encoder that
 * began again inside an open GOP) makes its fragment the first of a session, if none of it is on its way yet. */
static kvs_status check_inside(struct kvs_stream *stream, const struct kvs_held *held,
                               const struct kvs_generator_plan *plan)
{
    if (is_too_far(stream, held, plan)) return KVS_E_FRAME_TIMESTAMP;
    if (!goes_back(stream, plan->pts_tc, 0)) return KVS_OK;
    struct kvs_fragment *fragment = kvs_view_fragment(&stream->view, stream->view.fragment_head - 1);
    if (!stream_is_lead(stream, held->track) || fragment->read_hns != KVS_TIME_NONE) return KVS_E_FRAME_TIMESTAMP;
    fragment->flags |= KVS_FRAGMENT_NEW_SESSION;
    stream->packer.closed_tc = KVS_TIME_NONE; /* of this session it is the first */
    return KVS_OK;
}

/* Whether a track that was left out is back: it needs a fragment that announces it. The one that runs may end for that
 * once it has the second that the service asks for. */
static int is_awaited(const struct kvs_stream *stream, uint64_t pts_hns)
{
    if (stream->order.mode != KVS_ORDER_CUT || stream->packer.last_key_pts_hns == KVS_TIME_NONE) return 0;
    if (pts_hns < kvs_hns_add(stream->packer.last_key_pts_hns, KVS_HNS_PER_SECOND)) return 0;
    for (uint32_t i = 0; i < stream->track_count; i++) {
        if (i == stream->order.lead || !stream->order.queues[i].is_silent) continue;
        const struct kvs_held *next = kvs_order_front(&stream->order, i);
        if (next != NULL && next->frame.pts_hns < expected_end(stream, pts_hns)) return 1;
    }
    return 0;
}

/* Whether a frame that may open a fragment can not continue the one that runs, however short that is: it was put with
 * other codec private data, steps back in time, or stands where the fragment is split. */
static int must_open(const struct kvs_stream *stream, const struct kvs_held *held)
{
    if (package_is_large(stream) || !(held->flags & KVS_FRAME_KEY) || (held->flags & KVS_HELD_RESTART)) return 1;
    if (formats_find(stream, held->format)->content != stream->packer.packaged_content) return 1;
    return is_awaited(stream, held->frame.pts_hns);
}

static kvs_status plan_anew(struct kvs_stream *stream, const struct kvs_held *held, struct kvs_generator_plan *plan)
{
    if (stream->packer.starts_session && (held->flags & KVS_FRAME_KEY) && stream_is_lead(stream, held->track))
        kvs_generator_reset(&stream->generator);
    int opens = (held->flags & KVS_HELD_OPENS) != 0 && stream_is_lead(stream, held->track);
    uint32_t flags = opens ? held->flags | KVS_FRAME_KEY : held->flags;
    stream->generator.must_open = opens && must_open(stream, held);
    kvs_status status = kvs_generator_plan(&stream->generator, held->frame.pts_hns, held->dts_hns, flags,
                                           stream_is_lead(stream, held->track), plan);
    if (status == KVS_E_FRAME_TIMESTAMP && opens) {
        kvs_generator_reset(&stream->generator);
        status = kvs_generator_plan(&stream->generator, held->frame.pts_hns, held->dts_hns, flags, 1, plan);
    }
    return status;
}

/* Cluster times rise within a session. A fragment that would go back begins another session. */
static kvs_status check_plan(struct kvs_stream *stream, const struct kvs_held *held,
                             const struct kvs_generator_plan *plan)
{
    if (!(plan->parts & KVS_PART_CLUSTER)) return check_inside(stream, held, plan);
    if (held->prefix_space < KVS_MKV_CLUSTER_SIZE) return KVS_E_STREAM_STATE; /* only key frames open fragments */
    if (goes_back(stream, plan->cluster_tc, 1)) stream->packer.starts_session = 1;
    return KVS_OK;
}

static void write_block(struct kvs_stream *stream, const struct kvs_held *held, int32_t block_tc)
{
    uint8_t block[KVS_MKV_BLOCK_SIZE], *place = kvs_chain_at(&stream->chain, held->frame.offset, sizeof block);
    kvs_mkv_block_write(place != NULL ? place : block, held->track + 1u, block_tc, held->flags, held->payload_size);
    if (place == NULL) kvs_chain_write(&stream->chain, held->frame.offset, block, sizeof block);
}

static int is_skipped(const struct kvs_stream *stream, const struct kvs_held *held)
{
    return stream->packer.edge != EDGE_INSIDE && !(held->flags & KVS_FRAME_KEY);
}

static inline kvs_status package_frame(struct kvs_stream *stream, const struct kvs_held *held,
                                       const struct kvs_generator_plan *plan)
{
    struct kvs_generator_plan made;
    kvs_status status = KVS_OK;
    if (is_skipped(stream, held)) return KVS_E_STREAM_STATE;
    if (plan == NULL) {
        plan = &made;
        status = plan_anew(stream, held, &made);
    }
    if (status == KVS_OK) status = check_plan(stream, held, plan);
    if (status != KVS_OK) return status;
    kvs_generator_commit(&stream->generator, plan);
    if (plan->parts & KVS_PART_CLUSTER) {
        ledger_end_skip(stream);
        open_fragment(stream, held, plan);
    }
    write_block(stream, held, plan->block_tc);
    kvs_view_push_frame(&stream->view, &held->frame, held->payload_size, held->track);
    stream->tracks[held->track].fragment_frames++;
    stream_note_times(stream, plan->pts_tc, held->frame.pts_hns);
    return KVS_OK;
}

static void drop_held(struct kvs_stream *stream, const struct kvs_held *held, uint32_t reason)
{
    ledger_drop(stream, &(struct loss) { reason, held->frame.pts_hns, 1, held->payload_size });
}

/* Frames of other tracks that waited for a first key frame, and nothing more will come. */
static void drop_unstarted(struct kvs_stream *stream)
{
    struct kvs_held held;
    if (stream->order.mode != KVS_ORDER_CUT || kvs_order_count(&stream->order) == 0) return;
    for (uint32_t i = 0; i < stream->track_count; i++) stream->order.queues[i].is_silent = 0;
    stream->order.is_started = 1;
    while (kvs_order_next(&stream->order, UINT64_MAX, 1, &held)) drop_held(stream, &held, KVS_DROP_LATE);
    stream->order.is_started = 0;
}

void package_place(struct kvs_stream *stream, const struct kvs_held *held, const struct kvs_generator_plan *plan)
{
    if (package_frame(stream, held, plan) == KVS_OK) return;
    if (is_skipped(stream, held)) ledger_skip(stream, held->frame.pts_hns, held->payload_size);
    else drop_held(stream, held, KVS_DROP_LATE);
}

void package_held(struct kvs_stream *stream, int flush, uint64_t now_hns)
{
    struct kvs_held held;
    if (stream->order.mode == KVS_ORDER_NONE) return;
    while (kvs_order_next(&stream->order, now_hns, flush, &held)) package_place(stream, &held, NULL);
    while (kvs_order_expired(&stream->order, now_hns, &held)) drop_held(stream, &held, KVS_DROP_LATE);
    if (flush) drop_unstarted(stream);
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

/* The trailer of the open fragment: tags that no fragment has carried yet, then the end-of-fragment tag. */
static kvs_status write_trailer(struct kvs_stream *stream, uint64_t now_hns)
{
    uint8_t tag[KVS_MKV_END_TAG_SIZE];
    uint32_t size = kvs_metadata_size(&stream->metadata, 1) + KVS_MKV_END_TAG_SIZE;
    kvs_status status = kvs_chain_reserve(&stream->chain, &stream->client->pool, size, stream->limits.slabs_max,
                                          now_hns);
    if (status != KVS_OK) return status;
    correct_mask(stream);
    uint64_t offset = kvs_chain_advance(&stream->chain, size), at = offset;
    for (struct kvs_metadata_entry *entry = stream->metadata.first; entry != NULL; entry = entry->next) {
        if (entry->is_sent) continue;
        kvs_chain_write(&stream->chain, at, kvs_metadata_bytes(entry), entry->size);
        at += entry->size;
    }
    kvs_mkv_end_tag_write(tag);
    kvs_chain_write(&stream->chain, at, tag, sizeof tag);
    kvs_metadata_packaged(&stream->metadata, stream->host);
    kvs_view_end_fragment(&stream->view, offset, size);
    (void)kvs_generator_end_fragment(&stream->generator);
    return KVS_OK;
}

static int has_open_fragment(const struct kvs_stream *stream)
{
    if (kvs_view_is_empty(&stream->view)) return 0;
    return !(kvs_view_fragment(&stream->view, stream->view.fragment_head - 1)->flags & KVS_FRAGMENT_CLOSED);
}

/* A key frame that leaves by force has not waited for other tracks: who is not there need not be silent. */
static void flush_held(struct kvs_stream *stream, uint64_t now_hns)
{
    uint8_t was_silent[KVS_TRACKS_MAX];
    for (uint32_t i = 0; i < stream->track_count; i++) was_silent[i] = stream->order.queues[i].is_silent;
    package_held(stream, 1, now_hns);
    for (uint32_t i = 0; i < stream->track_count; i++) {
        struct kvs_held_queue *queue = &stream->order.queues[i];
        if (!queue->is_silent || was_silent[i]) continue;
        queue->is_silent = 0;
        report_track(stream, i, 0);
    }
}

kvs_status package_end_fragment(struct kvs_stream *stream, uint64_t now_hns)
{
    if (stream->ledger.is_stopped) return KVS_E_STREAM_STOPPED;
    if (!(stream->mode.flags & KVS_KEY_FRAME_FRAGMENTS)) return KVS_E_EOFR_NEEDS_KEY_FRAGMENTS;
    if (!has_ends(stream)) return KVS_E_EOFR_ORDER_MODE;
    flush_held(stream, now_hns);
    if (stream->packer.edge == EDGE_ENDED) return KVS_E_DOUBLE_EOFR;
    if (!has_open_fragment(stream)) return KVS_E_NO_FRAGMENT;
    /* Without room for the tag the session ends with this fragment, and that says the same. */
    if (write_trailer(stream, now_hns) != KVS_OK) {
        kvs_view_fragment(&stream->view, stream->view.fragment_head - 1)->flags |= KVS_FRAGMENT_CLOSED;
        (void)kvs_generator_end_fragment(&stream->generator);
        uploads_limit(stream, stream->view.fragment_head - 1);
    }
    package_move(stream, EDGE_EV_ENDED);
    stream->order.is_started = 0;
    stream->packer.force_key = stream->order.mode == KVS_ORDER_DTS_EOFR;
    stream->packer.idle_since_hns = KVS_TIME_NONE;
    uploads_handed_out(stream);
    uploads_announce(stream);
    return KVS_OK;
}

void package_trailer(struct kvs_stream *stream, uint64_t now_hns)
{
    if (!has_open_fragment(stream)) return;
    if (write_trailer(stream, now_hns) == KVS_OK) return;
    /* The reader adds the tag. */
    kvs_view_fragment(&stream->view, stream->view.fragment_head - 1)->flags |= KVS_FRAGMENT_CLOSED;
    uploads_handed_out(stream);
}

/* ---- deadlines --------------------------------------------------------------------------------------------------- */

/* A source whose put was refused is not idle: it waits for room and goes on in the same fragment. Only when that one is
 * all there is (it fills the store) can nothing but its end make room. */
static int waits_for_room(const struct kvs_stream *stream)
{
    return stream->packer.was_refused && stream->view.fragment_tail + 1 < stream->view.fragment_head;
}

static uint64_t idle_deadline(const struct kvs_stream *stream)
{
    if (stream->limits.eofr_idle_hns == 0 || stream->ledger.is_stopped || stream->packer.edge == EDGE_ENDED ||
        waits_for_room(stream))
        return KVS_TIME_NONE;
    if (kvs_view_is_empty(&stream->view)) return KVS_TIME_NONE;
    if (kvs_view_fragment(&stream->view, stream->view.fragment_head - 1)->flags & KVS_FRAGMENT_CLOSED)
        return KVS_TIME_NONE;
    return kvs_hns_add(stream->packer.idle_since_hns, stream->limits.eofr_idle_hns);
}

static uint64_t order_deadline(const struct kvs_stream *stream)
{
    return stream->order.mode == KVS_ORDER_NONE ? KVS_TIME_NONE : kvs_order_next_deadline(&stream->order);
}

uint64_t package_next_deadline(const struct kvs_stream *stream)
{
    return kvs_hns_min(idle_deadline(stream), order_deadline(stream));
}

static void release_held(struct kvs_stream *stream, uint64_t now_hns)
{
    if (now_hns < order_deadline(stream)) return;
    package_held(stream, 0, now_hns);
    uploads_trim(stream); /* frames that waited in vain leave room behind */
    uploads_announce(stream);
}

static void end_idle(struct kvs_stream *stream, uint64_t now_hns)
{
    if (now_hns < idle_deadline(stream)) return;
    struct kvs_action action = { .kind = KVS_ACTION_FRAGMENT_ENDED };
    action.a = kvs_view_fragment(&stream->view, stream->view.fragment_head - 1)->pts_hns;
    stream->packer.idle_since_hns = KVS_TIME_NONE; /* until the next frame */
    if (package_end_fragment(stream, now_hns) == KVS_OK) stream_notice(stream, &action);
}

void package_poke(struct kvs_stream *stream, uint64_t now_hns)
{
    release_held(stream, now_hns);
    end_idle(stream, now_hns);
}

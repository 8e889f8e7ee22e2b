/* times.c — see times.h. */
#include "engine/packer.h"

#define SYNC_HNS TIMES_STEP_MAX_HNS
#define FRAGMENT_MAX_HNS (20 * KVS_HNS_PER_SECOND) /* the service takes no longer fragment (PutMedia) */
#define LEAD_MAX_HNS (5 * KVS_HNS_PER_SECOND)      /* how far a picture may lie before others, if no dts says so */

static const struct track_times *times_of(const struct kvs_stream *stream, uint32_t track)
{
    return &stream->tracks[track].times;
}

/* Its key frames part its frames: none after one belongs before it. Where every frame could be one, the first after an
 * end of fragment has to be. */
static int is_parting_key(const struct kvs_stream *stream, uint32_t track, uint32_t frame_flags)
{
    int is_lead = stream_is_lead(stream, track);
    if (is_lead && (stream->mode.flags & KVS_SPARSE_KEYS) != 0) return stream->packer.edge != EDGE_INSIDE;
    if ((frame_flags & KVS_FRAME_KEY) == 0) return 0;
    if (is_lead) return 1;
    return stream->tracks[track].type == KVS_TRACK_VIDEO;
}

/* ---- shifts ------------------------------------------------------------------------------------------------------ */

static int is_near(uint64_t a_hns, uint64_t b_hns)
{
    return (a_hns > b_hns ? a_hns - b_hns : b_hns - a_hns) < SYNC_HNS;
}

/* A track with this shift whose last frame lies beside `pts_hns`. */
static int is_in_step(const struct kvs_stream *stream, uint32_t track, uint64_t pts_hns, uint64_t shift_hns)
{
    for (uint32_t i = 0; i < stream->track_count; i++) {
        const struct track_times *other = times_of(stream, i);
        if (i == track || !other->is_seen || other->shift_hns != shift_hns) continue;
        if (is_near(pts_hns + shift_hns, other->newest_hns)) return 1;
    }
    return 0;
}

static uint64_t newest_of_all(const struct kvs_stream *stream)
{
    uint64_t newest_hns = 0;
    for (uint32_t i = 0; i < stream->track_count; i++) {
        if (times_of(stream, i)->is_seen) newest_hns = kvs_hns_max(newest_hns, times_of(stream, i)->newest_hns);
    }
    return newest_hns;
}

/* A track that begins beside one that is shifted is shifted as well. */
static uint64_t shift_of_new(const struct kvs_stream *stream, uint32_t track, uint64_t pts_hns)
{
    for (uint32_t i = 0; i < stream->track_count; i++) {
        uint64_t shift_hns = times_of(stream, i)->shift_hns;
        if (shift_hns != 0 && is_in_step(stream, track, pts_hns, shift_hns)) return shift_hns;
    }
    return 0;
}

/* What is to be added so that the times rise again: what another track adds already, if that fits (tracks stay in
 * step), else what continues after the last frame by the usual step. */
static uint64_t shift_for(const struct kvs_stream *stream, uint32_t track, uint64_t pts_hns)
{
    const struct track_times *own = times_of(stream, track);
    for (uint32_t i = 0; i < stream->track_count; i++) {
        uint64_t shift_hns = times_of(stream, i)->shift_hns, shifted_hns = pts_hns + shift_hns;
        if (shift_hns > own->shift_hns && shifted_hns > own->newest_hns && is_near(shifted_hns, own->newest_hns))
            return shift_hns;
    }
    return own->newest_hns + kvs_hns_max(own->step_hns, stream->limits.scale_hns) - pts_hns;
}

/* The shift that this frame still needs. */
static void find_shift(const struct kvs_stream *stream, uint32_t track, uint32_t frame_flags, struct times *times)
{
    const struct track_times *own = times_of(stream, track);
    uint64_t scale = stream->limits.scale_hns, pts_tc = times->pts_hns / scale;
    times->shift_hns = own->shift_hns;
    if (!own->is_seen) {
        times->shift_hns = shift_of_new(stream, track, times->pts_hns);
        return;
    }
    int is_key = is_parting_key(stream, track, frame_flags) || (stream->mode.flags & KVS_SPARSE_KEYS) != 0;
    if (is_key && stream_is_lead(stream, track) && pts_tc > newest_of_all(stream) / scale) {
        times->ends_all = 1;
        times->shift_hns = 0;
        return;
    }
    if (own->shift_hns == 0 || pts_tc <= own->newest_hns / scale) return;
    int is_step = times->pts_hns + own->shift_hns > own->newest_hns + SYNC_HNS;
    if (is_step && !is_in_step(stream, track, times->pts_hns, own->shift_hns)) times->shift_hns = 0;
}

/* ---- frames that go back ----------------------------------------------------------------------------------------- */

/* Several frames within one unit: this one moves to the next, those after it do not. */
static int is_repeated(const struct track_times *own, const struct times *times, uint64_t scale)
{
    uint64_t input_tc = times->input_hns / scale;
    return input_tc >= own->input_hns / scale && input_tc <= own->last_hns / scale;
}

static int does_rise(const struct track_times *own, const struct times *times, uint64_t scale)
{
    uint64_t dts_hns = times->dts_hns + times->shift_hns;
    return times->dts_hns != KVS_TIME_NONE && dts_hns / scale > own->dts_hns / scale;
}

/* In the first fragment nothing lies before: there a picture is taken for a leading one if it may be one, or if its
 * decoding time says so. */
static int is_far_back(const struct track_times *own, const struct times *times, uint64_t scale)
{
    return !does_rise(own, times, scale) && times->pts_hns + LEAD_MAX_HNS < own->newest_hns;
}

/* Before the frame that a fragment began with, which may be one in the middle of a group whose fragment was split. */
static int is_before_fragment(const struct track_times *own, const struct times *times, uint64_t scale)
{
    uint64_t most_hns = does_rise(own, times, scale) ? FRAGMENT_MAX_HNS : LEAD_MAX_HNS;
    return own->opened_hns != KVS_TIME_NONE && times->pts_hns + most_hns < own->opened_hns;
}

static int is_back(const struct kvs_stream *stream, uint32_t track, uint32_t frame_flags, const struct times *times)
{
    const struct track_times *own = times_of(stream, track);
    uint64_t scale = stream->limits.scale_hns, pts_tc = times->pts_hns / scale;
    if (pts_tc > own->newest_hns / scale) return 0;
    if (is_parting_key(stream, track, frame_flags)) return 1;
    if (own->newest_hns == own->opened_hns && times->pts_hns + LEAD_MAX_HNS > own->newest_hns) return 0;
    if (own->closed_hns == KVS_TIME_NONE) return is_far_back(own, times, scale);
    if (pts_tc <= own->closed_hns / scale) return 1;
    return is_before_fragment(own, times, scale);
}

static void go_on(const struct kvs_stream *stream, uint32_t track, uint32_t frame_flags, struct times *times)
{
    const struct track_times *own = times_of(stream, track);
    uint64_t scale = stream->limits.scale_hns, given_hns = times->pts_hns;
    times->input_hns = times->pts_hns = given_hns + times->shift_hns;
    if (is_repeated(own, times, scale)) {
        times->pts_hns = (own->last_hns / scale + 1) * scale;
        times->is_bumped = 1;
    }
    if (!is_back(stream, track, frame_flags, times)) return;
    times->is_bumped = 0;
    times->is_back = stream->mode.backward_policy != KVS_BACKWARD_SHIFT;
    if (!times->is_back) times->shift_hns = shift_for(stream, track, given_hns);
    times->input_hns = times->pts_hns = given_hns + times->shift_hns;
}

static void rise(const struct track_times *own, uint64_t scale, struct times *times)
{
    if (times->dts_hns == KVS_TIME_NONE) times->dts_hns = times->pts_hns;
    else times->dts_hns += times->shift_hns;
    if (!own->is_seen || times->is_back || times->dts_hns / scale > own->dts_hns / scale) return;
    times->dts_hns = (own->dts_hns / scale + 1) * scale;
}

/* A caller who wants errors gives decoding times that rise, and both times are his. */
static kvs_status place_exact(const struct kvs_stream *stream, uint32_t track, struct times *times)
{
    const struct track_times *own = times_of(stream, track);
    uint64_t scale = stream->limits.scale_hns;
    times->input_hns = times->pts_hns;
    return own->is_seen && times->dts_hns / scale < own->dts_hns / scale ? KVS_E_FRAME_TIMESTAMP : KVS_OK;
}

kvs_status times_place(const struct kvs_stream *stream, uint32_t track, uint32_t frame_flags, struct times *times)
{
    const struct track_times *own = times_of(stream, track);
    uint64_t scale = stream->limits.scale_hns;
    times->is_back = times->is_bumped = times->ends_all = 0;
    times->shift_hns = 0;
    times->input_hns = times->pts_hns;
    if (!stream->packer.is_shifted && times_are_plain(own, times, scale)) return KVS_OK;
    if (stream->mode.backward_policy == KVS_BACKWARD_ERROR && times->dts_hns != KVS_TIME_NONE)
        return place_exact(stream, track, times);
    if (stream->packer.is_shifted) find_shift(stream, track, frame_flags, times);
    if (own->is_seen) go_on(stream, track, frame_flags, times);
    else times->input_hns = times->pts_hns = times->pts_hns + times->shift_hns;
    if (times->is_back && stream->mode.backward_policy == KVS_BACKWARD_ERROR) return KVS_E_FRAME_TIMESTAMP;
    rise(own, scale, times);
    int is_within = times->pts_hns <= KVS_HNS_MEDIA_MAX && times->dts_hns <= KVS_HNS_MEDIA_MAX;
    return is_within ? KVS_OK : KVS_E_FRAME_TIMESTAMP_RANGE;
}

/* ---- commit ------------------------------------------------------------------------------------------------------ */

static void report(struct kvs_stream *stream, uint32_t kind, uint32_t track, uint64_t ticks)
{
    struct kvs_action action = { .kind = kind, .a = stream->tracks[track].id, .b = ticks };
    stream_notice(stream, &action);
}

static void set_shift(struct kvs_stream *stream, uint32_t track, uint64_t shift_hns)
{
    struct track_times *own = &stream->tracks[track].times;
    if (shift_hns == own->shift_hns) return;
    if (shift_hns > own->shift_hns) {
        stream->ledger.metrics.times_shifted++;
        report(stream, KVS_ACTION_TIME_SHIFTED, track, shift_hns - own->shift_hns);
    } else {
        report(stream, KVS_ACTION_TIME_SHIFT_ENDED, track, own->shift_hns - shift_hns);
    }
    own->shift_hns = shift_hns;
}

static void set_shifts(struct kvs_stream *stream, uint32_t track, const struct times *times)
{
    if (!stream->packer.is_shifted && times->shift_hns == 0) return;
    for (uint32_t i = 0; i < stream->track_count && times->ends_all; i++) set_shift(stream, i, 0);
    set_shift(stream, track, times->shift_hns);
    stream->packer.is_shifted = times_shift(stream) != 0;
}

static void note_rise(struct kvs_stream *stream, uint32_t track, const struct times *times)
{
    struct track_times *own = &stream->tracks[track].times;
    uint64_t step_hns = times->pts_hns - own->newest_hns;
    if (step_hns > KVS_VIEW_GAP_HNS) {
        stream->ledger.metrics.times_jumped++;
        report(stream, KVS_ACTION_TIMES_JUMPED, track, step_hns);
    }
    times_rise(own, times->pts_hns, times->is_bumped);
}

/* The fragments before this frame are closed for the frames after it. */
static void note_opened(struct kvs_stream *stream, uint32_t track)
{
    for (uint32_t i = 0; i < stream->track_count; i++) {
        struct track_times *times = &stream->tracks[i].times;
        int is_own = i == track || (stream_is_lead(stream, track) && stream->tracks[i].type != KVS_TRACK_VIDEO);
        if (is_own && times->is_seen) times->closed_hns = times->newest_hns;
    }
}

void times_commit(struct kvs_stream *stream, uint32_t track, uint32_t frame_flags, int opens, const struct times *times)
{
    struct track_times *own = &stream->tracks[track].times;
    set_shifts(stream, track, times);
    stream->ledger.metrics.times_bumped += times->is_bumped;
    int is_parted = opens ? stream_is_lead(stream, track) : is_parting_key(stream, track, frame_flags);
    if (is_parted) note_opened(stream, track);
    if (!own->is_seen || times->is_back) { /* the first, also of a session whose times begin further back */
        own->newest_hns = times->pts_hns;
        own->closed_hns = KVS_TIME_NONE;
        own->rise_count = 0;
    } else if (times->pts_hns > own->newest_hns) {
        note_rise(stream, track, times);
    } else {
        own->rise_count++;
    }
    if (is_parted) own->opened_hns = times->pts_hns;
    own->last_hns = times->pts_hns;
    own->input_hns = times->input_hns;
    own->dts_hns = times->dts_hns;
    own->is_seen = 1;
}

void times_reset(struct track_times *times)
{
    *times = (struct track_times) { .closed_hns = KVS_TIME_NONE, .opened_hns = KVS_TIME_NONE };
}

uint64_t times_shift(const struct kvs_stream *stream)
{
    uint64_t shift_hns = 0;
    for (uint32_t i = 0; i < stream->track_count; i++)
        shift_hns = kvs_hns_max(shift_hns, times_of(stream, i)->shift_hns);
    return shift_hns;
}

uint64_t times_newest_end(const struct kvs_stream *stream)
{
    uint64_t end_hns = 0;
    for (uint32_t i = 0; i < stream->track_count; i++) {
        const struct track_times *times = times_of(stream, i);
        if (times->is_seen) end_hns = kvs_hns_max(end_hns, times->newest_hns + times->step_hns);
    }
    return end_hns;
}

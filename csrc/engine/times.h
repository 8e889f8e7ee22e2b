/* times.h — where the times of a frame end up.
 *
 * The pts is what a viewer sees: it goes out as given while that can be true. It can not be true when the service would
 * refuse it: a key frame of the leading track at or below the newest pts of its track, another frame at or below the
 * newest pts of the fragments before, or far before the frame that its own began with. B frames are none of these, nor
 * are leading pictures right behind their key frame, which may reach back when an encoder begins again. Then the
 * backward policy decides; SHIFT adds to the times of the track from there on, so that they go on after its last frame.
 * A shift ends at a key frame of the leading track, for all tracks at once, as soon as the given pts lies after all
 * that was put; and for one track at a step forward of more than a second that the other tracks have not followed,
 * because then the source's clock is right again. A source that stays behind keeps its shift.
 * The dts never appears on the wire. It is made to rise within a track, and nothing is reported of that.
 *   Always  placing changes nothing; committing can not fail. All calls under the stream's lock. */
#ifndef KVS_ENGINE_TIMES_H
#define KVS_ENGINE_TIMES_H

#include "base/hns.h"
#include "kvspic.h"

#define TIMES_STEP_MAX_HNS KVS_HNS_PER_SECOND

/* Of one track. */
struct track_times {
    uint64_t shift_hns;  /* added to the times that are given */
    uint64_t last_hns;   /* pts of the last frame, as written */
    uint64_t input_hns;  /* the same before frames of one unit got times of their own */
    uint64_t newest_hns; /* the greatest pts, as written */
    uint64_t closed_hns; /* the greatest pts before the fragment that puts go to; KVS_TIME_NONE: no such fragment */
    uint64_t opened_hns; /* pts of its key frame that began that fragment; KVS_TIME_NONE: none did */
    uint64_t dts_hns;    /* of the last frame, as written */
    uint64_t step_hns;   /* from one frame to the next */
    uint32_t rise_count; /* frames put since newest_hns rose */
    uint8_t is_seen;
};

/* Of one frame on its way. */
struct times {
    uint64_t pts_hns, dts_hns; /* in: as given (dts KVS_TIME_NONE: the order of the calls); out: as written */
    uint64_t input_hns, shift_hns;
    uint8_t is_back;   /* the times went back, and nothing was added to them */
    uint8_t is_bumped; /* moved to the next unit, because the frame before has this one */
    uint8_t ends_all;  /* the shifts of all tracks end */
};

/* Nearly every frame: later than all of its track before it. 1, and a dts that was not given is the pts. */
static inline int times_are_plain(const struct track_times *own, struct times *times, uint64_t scale_hns)
{
    if (!own->is_seen || times->pts_hns < own->newest_hns + scale_hns || times->pts_hns > KVS_HNS_MEDIA_MAX) return 0;
    uint64_t dts_hns = times->dts_hns == KVS_TIME_NONE ? times->pts_hns : times->dts_hns;
    if (dts_hns < own->dts_hns + scale_hns || dts_hns > KVS_HNS_MEDIA_MAX) return 0;
    times->dts_hns = dts_hns;
    return 1;
}

/* The usual step is what the newest pts rose by, over the frames that came meanwhile: B frames lie between. */
static inline void times_rise(struct track_times *own, uint64_t pts_hns, int is_bumped)
{
    uint64_t step_hns = pts_hns - own->newest_hns;
    if (own->rise_count != 0) step_hns /= own->rise_count + 1u;
    if (!is_bumped) own->step_hns = kvs_hns_min(step_hns, TIMES_STEP_MAX_HNS);
    own->newest_hns = pts_hns;
    own->rise_count = 0;
}

struct kvs_stream;

/* frame_flags: enum kvs_frame_flag, as the caller gave them.
 *   KVS_E_FRAME_TIMESTAMP        the times go back and the policy is ERROR
 *   KVS_E_FRAME_TIMESTAMP_RANGE  above 2^63 - 1 ns */
kvs_status times_place(const struct kvs_stream *stream, uint32_t track, uint32_t frame_flags, struct times *times);
/* opens: a fragment may begin with this frame. */
void times_commit(struct kvs_stream *stream, uint32_t track, uint32_t frame_flags, int opens,
                  const struct times *times);
void times_reset(struct track_times *times);
/* Where the newest frame of all tracks ends, if it is as long as those before it; 0: not known. */
uint64_t times_newest_end(const struct kvs_stream *stream);
/* What is added to the times of the track that is shifted most. */
uint64_t times_shift(const struct kvs_stream *stream);

#endif

/* test_foreign_media.c — frames as the field's samples and its GStreamer element put them. Goal: what reaches the
 * service is what the same program sends with the reference core, and a reset leaves nothing of the past behind. */
#include "scenario.h"
#include "wire.h"

enum { VIDEO = 1, AUDIO = 2 };

static STATUS put_track(struct fixture *f, UINT64 track, UINT64 ms, FRAME_FLAGS flags)
{
    static BYTE bytes[200];
    Frame frame = {
        .flags = flags, .trackId = track, .size = sizeof bytes, .frameData = bytes, .duration = 40 * MS
    };
    frame.presentationTs = frame.decodingTs = START_TIME + ms * MS;
    return putKinesisVideoFrame(f->stream, &frame);
}

/* ---- ends of fragments ----------------------------------------------------------------------------------------- */

static void check_groups(const struct mkv_seen *seen, UINT32 groups)
{
    CHECK_EQ(seen->cluster_count, groups);
    for (UINT32 i = 0; i < seen->cluster_count; i++) {
        const struct seen_cluster *cluster = &seen->clusters[i];
        CHECK_EQ(cluster->tc, START_TIME / MS + 1000 * i);
        CHECK_EQ(seen->blocks[cluster->first_block].track, VIDEO);
        CHECK((seen->blocks[cluster->first_block].flags & 0x80) != 0); /* the key frame */
        for (UINT32 j = 0; j < cluster->block_count; j++) CHECK(seen->blocks[cluster->first_block + j].tc >= 0);
        CHECK(cluster->has_end);
    }
}

/* Six seconds of video with a key frame a second, the audio 40 ms late, and an end of fragment after each group: once
 * before the late audio frame and once with it. The late frame belongs to a fragment that has ended, and is skipped. */
static void test_late_audio_after_an_end_of_fragment_opens_nothing(void)
{
    for (int is_behind = 0; is_behind < 2; is_behind++) {
        struct fixture f;
        struct wire wire = { .upload = 100 };
        fixture_init(&f);
        f.info.streamCaps.trackInfoCount = 2;
        f.info.streamCaps.frameOrderingMode = FRAME_ORDERING_MODE_MULTI_TRACK_AV_COMPARE_PTS_ONE_MS_COMPENSATE_EOFR;
        fixture_stream(&f);
        for (UINT64 ms = 0; ms < 6000; ms += 40) {
            if (ms > 0 && ms % 1000 == 0) CHECK_EQ(fixture_end_fragment(&f), STATUS_SUCCESS);
            if (ms > 0 && is_behind) CHECK_EQ(put_track(&f, AUDIO, ms - 40, FRAME_FLAG_NONE), STATUS_SUCCESS);
            CHECK_EQ(put_track(&f, VIDEO, ms, ms % 1000 == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE), STATUS_SUCCESS);
            if (ms > 0 && !is_behind) CHECK_EQ(put_track(&f, AUDIO, ms - 40, FRAME_FLAG_NONE), STATUS_SUCCESS);
        }
        CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
        CHECK_EQ(wire_read_all(&f, &wire), STATUS_AWAITING_PERSISTED_ACK);
        struct mkv_seen seen = wire_seen(&wire);
        check_groups(&seen, 6);
        CHECK_EQ(fixture_metrics(&f).skippedFrames, 5);
        CHECK_EQ(f.dropped_count, 0);
        CHECK_EQ(f.count[PUT], 1);
        mkv_forget(&seen);
        wire_free(&wire);
        fixture_free(&f);
    }
}

/* The two modes that compare decoding times take whatever follows for a key frame, as the reference does. */
static void test_the_dts_mode_forces_the_next_frame(void)
{
    struct fixture f;
    struct wire wire = { .upload = 100 };
    fixture_init(&f);
    f.info.streamCaps.trackInfoCount = 2;
    f.info.streamCaps.frameOrderingMode = FRAME_ORDERING_MODE_MULTI_TRACK_AV_COMPARE_DTS_ONE_MS_COMPENSATE_EOFR;
    fixture_stream(&f);
    CHECK_EQ(put_track(&f, VIDEO, 0, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(put_track(&f, AUDIO, 10, FRAME_FLAG_NONE), STATUS_SUCCESS);
    CHECK_EQ(fixture_end_fragment(&f), STATUS_SUCCESS);
    CHECK_EQ(put_track(&f, VIDEO, 80, FRAME_FLAG_NONE), STATUS_SUCCESS);
    CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
    CHECK_EQ(wire_read_all(&f, &wire), STATUS_AWAITING_PERSISTED_ACK);
    struct mkv_seen seen = wire_seen(&wire);
    CHECK_EQ(seen.cluster_count, 2);
    CHECK((seen.blocks[seen.block_count - 1].flags & 0x80) != 0);
    mkv_forget(&seen);
    wire_free(&wire);
    fixture_free(&f);
}

/* ---- resets ---------------------------------------------------------------------------------------------------- */

/* The program resets the stream and goes on with its clock set back: nothing is late, nothing is too long. */
static void test_a_reset_forgets_the_times(void)
{
    for (int mode = FRAME_ORDER_MODE_PASS_THROUGH; mode < 6; mode++) {
        struct fixture f;
        struct wire wire = { .upload = 101 };
        fixture_init(&f);
        f.info.streamCaps.trackInfoCount = mode == FRAME_ORDER_MODE_PASS_THROUGH ? 1 : 2;
        f.info.streamCaps.frameOrderingMode = (FRAME_ORDER_MODE)mode;
        fixture_stream(&f);
        for (UINT64 ms = 1000000; ms < 1030000; ms += 100) {
            CHECK_EQ(put_track(&f, VIDEO, ms, ms % 1000 == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE), STATUS_SUCCESS);
            if (mode != 0) CHECK_EQ(put_track(&f, AUDIO, ms, FRAME_FLAG_NONE), STATUS_SUCCESS);
        }
        int before = f.dropped_count, pressures = f.pressure_count;
        CHECK_EQ(kinesisVideoStreamResetStream(f.stream), STATUS_SUCCESS);
        CHECK_EQ(f.dropped_count - before, mode == 0 ? 300 : 600);
        CHECK_EQ(fixture_metrics(&f).overallViewDuration, 0);
        before = f.dropped_count;
        for (UINT64 ms = 0; ms < 35000; ms += 100) {
            CHECK_EQ(put_track(&f, VIDEO, ms, ms % 1000 == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE), STATUS_SUCCESS);
            if (mode != 0) CHECK_EQ(put_track(&f, AUDIO, ms, FRAME_FLAG_NONE), STATUS_SUCCESS);
        }
        UINT64 duration = fixture_metrics(&f).overallViewDuration;
        CHECK(duration > 34800 * MS && duration <= 35000 * MS);
        CHECK_EQ(f.dropped_count, before);
        CHECK_EQ(f.pressure_count, pressures);
        CHECK_EQ(stopKinesisVideoStream(f.stream), STATUS_SUCCESS);
        CHECK_EQ(wire_read_all(&f, &wire), STATUS_AWAITING_PERSISTED_ACK);
        CHECK_EQ(wire_blocks(&wire), mode == 0 ? 350 : 700);
        wire_free(&wire);
        fixture_free(&f);
    }
}

int main(void)
{
    test_late_audio_after_an_end_of_fragment_opens_nothing();
    test_the_dts_mode_forces_the_next_frame();
    test_a_reset_forgets_the_times();
    return CHECK_DONE();
}

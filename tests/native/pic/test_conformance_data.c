/* test_conformance_data.c — what a stream may be made of, and frames and metadata through pic.h. Goal: the limits and
 * statuses that programs of the field know, and bytes handed out in pieces of any size. */
#include "fixture.h"
#include "scenario.h"

/* ---- opening --------------------------------------------------------------------------------------------------- */

static void create(struct fixture *f, STATUS wanted, int line)
{
    if (!CHECK_EQ(createKinesisVideoStream(f->client, &f->info, &f->stream), wanted))
        fprintf(stderr, "    line %d\n", line);
    CHECK_EQ(freeKinesisVideoStream(&f->stream), STATUS_SUCCESS);
}

static void test_what_a_stream_may_be_made_of(void)
{
    struct fixture f;
    static BYTE cpd[1048577];
    BYTE zero[16] = { 0 };
    fixture_init(&f);
    fixture_client(&f);
    StreamInfo base = f.info;
    StreamCaps *caps = &f.info.streamCaps;
#define WITH(change, wanted) do { f.info = base; change; create(&f, wanted, __LINE__); } while (0)
    WITH(f.info.retention = 1, STATUS_INVALID_RETENTION_PERIOD);
    WITH(f.info.retention = HOUR - 1, STATUS_INVALID_RETENTION_PERIOD);
    WITH(f.info.retention = HOUR, STATUS_SUCCESS);
    HELD("CD-102");
    WITH(caps->trackInfoCount = 4, STATUS_MAX_TRACK_COUNT_EXCEEDED);
    WITH(caps->trackInfoCount = 0, STATUS_TRACK_INFO_MISSING);
    WITH(caps->trackInfoList = NULL, STATUS_TRACK_INFO_MISSING);
    WITH((caps->trackInfoCount = 2, f.tracks[1].trackId = 1), STATUS_DUPLICATE_TRACK_ID_FOUND);
    HELD("CD-105");
    f.tracks[1].trackId = 2;
    WITH(caps->timecodeScale = SECOND, STATUS_SUCCESS);
    WITH(caps->timecodeScale = SECOND + 1, STATUS_MKV_INVALID_TIMECODE_SCALE);
    WITH(caps->frameRate = 0, STATUS_SUCCESS);
    HELD("CD-106");
    f.tracks[0].codecPrivateData = cpd;
    f.tracks[0].codecPrivateDataSize = 1048576;
    WITH((void)0, STATUS_SUCCESS);
    f.tracks[0].codecPrivateDataSize = 1048577;
    WITH((void)0, STATUS_MKV_INVALID_CODEC_PRIVATE_LENGTH);
    f.tracks[0].codecPrivateData = NULL;
    f.tracks[0].codecPrivateDataSize = 1;
    WITH((void)0, STATUS_MKV_CODEC_PRIVATE_NULL);
    f.tracks[0].codecPrivateDataSize = 0;
    HELD("CD-108");
    WITH((caps->streamingType = STREAMING_TYPE_OFFLINE, f.info.retention = 0), STATUS_OFFLINE_MODE_WITH_ZERO_RETENTION);
    WITH((caps->streamingType = STREAMING_TYPE_OFFLINE, caps->fragmentAcks = FALSE),
         STATUS_OFFLINE_MODE_WITH_ZERO_RETENTION);
    WITH((caps->keyFrameFragmentation = FALSE, caps->fragmentDuration = SECOND - 1),
         STATUS_MKV_INVALID_CLUSTER_DURATION);
    WITH((caps->keyFrameFragmentation = FALSE, caps->fragmentDuration = 2 * SECOND), STATUS_SUCCESS);
    WITH(caps->nalAdaptationFlags = NAL_ADAPTATION_ANNEXB_NALS | NAL_ADAPTATION_AVCC_NALS,
         STATUS_MKV_BOTH_ANNEXB_AND_AVCC_SPECIFIED);
    WITH(caps->segmentUuid = zero, STATUS_MKV_INVALID_SEGMENT_UUID);
    WITH(caps->frameRate = 1; caps->bufferDuration = 10 * SECOND, STATUS_MIN_CONTENT_VIEW_ITEMS);
    WITH(f.info.version = 4, STATUS_INVALID_STREAM_INFO_VERSION);
    WITH(memset(f.info.name, 'a', sizeof f.info.name), STATUS_INVALID_STREAM_NAME_LENGTH);
    WITH(memset(caps->contentType, 'a', sizeof caps->contentType), STATUS_MKV_INVALID_CONTENT_TYPE_LENGTH);
    WITH(f.info.tagCount = 51, STATUS_MAX_TAG_COUNT);
    WITH(f.info.tagCount = 1, STATUS_DEVICE_TAGS_COUNT_NON_ZERO_TAGS_NULL);
    memset(f.tracks[0].codecId, 'a', sizeof f.tracks[0].codecId);
    WITH((void)0, STATUS_MKV_INVALID_CODEC_ID_LENGTH);
    memset(f.tracks[0].codecId, 0, sizeof f.tracks[0].codecId);
    f.tracks[0].trackId = 0;
    WITH((void)0, STATUS_MKV_INVALID_TRACK_UID);
    fixture_free(&f);
}

static void test_buffer_and_replay_durations(void)
{
    struct fixture f;
    PStreamInfo info = NULL;
    fixture_init(&f);
    f.info.streamCaps.bufferDuration = 0;
    f.info.streamCaps.replayDuration = 5 * SECOND;
    fixture_stream(&f);
    CHECK_EQ(kinesisVideoStreamGetStreamInfo(f.stream, &info), STATUS_SUCCESS);
    CHECK_EQ(info->streamCaps.bufferDuration, 20 * SECOND);
    CHECK_EQ(info->streamCaps.replayDuration, 0);
    CHECK_EQ(freeKinesisVideoStream(&f.stream), STATUS_SUCCESS);
    f.info.streamCaps.bufferDuration = 30 * SECOND;
    f.info.streamCaps.replayDuration = 90 * SECOND;
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &f.stream), STATUS_SUCCESS);
    CHECK_EQ(kinesisVideoStreamGetStreamInfo(f.stream, &info), STATUS_SUCCESS);
    CHECK_EQ(info->streamCaps.replayDuration, 30 * SECOND);
    HELD("CD-107");
    fixture_free(&f);
}

static void test_names(void)
{
    static const char *const names[] = { "ABC", "DEF", "aBC", "ABC ", " DEF" };
    struct fixture f;
    STREAM_HANDLE stream = 0;
    fixture_init(&f);
    fixture_client(&f);
    for (size_t i = 0; i < 5; i++) {
        memcpy(f.info.name, names[i], strlen(names[i]) + 1);
        CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &stream), STATUS_SUCCESS);
        CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &stream), STATUS_DUPLICATE_STREAM_NAME);
    }
    HELD("CD-103");
    f.info.name[0] = 0;
    for (int i = 0; i < 5; i++) CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &stream), STATUS_SUCCESS);
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &stream), STATUS_MAX_STREAM_COUNT);
    HELD("CD-104");
    fixture_free(&f);
}

/* ---- frames ---------------------------------------------------------------------------------------------------- */

static void test_reading_in_pieces_of_any_size(void)
{
    struct fixture f;
    static BYTE whole[200000], piece[200000];
    UINT32 filled = 0;
    fixture_init(&f);
    fixture_stream(&f);
    f.script[PUT].is_silent = 1;
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(getKinesisVideoStreamData(f.stream, 100, whole, sizeof whole, &filled), STATUS_UPLOAD_HANDLE_ABORTED);
    CHECK_EQ(filled, 0);
    HELD("CD-02 CD-24");
    CHECK_EQ(fixture_answer(&f, PUT, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
    f.script[PUT].is_silent = 0;
    CHECK_EQ(getKinesisVideoStreamData(f.stream, 100, whole, sizeof whole, &filled), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK(filled > 1000);
    HELD("CD-03");
    UINT32 header = filled, size = header / 2;
    CHECK_EQ(kinesisVideoStreamTerminated(f.stream, 100, SERVICE_CALL_UNKNOWN), STATUS_SUCCESS);
    CHECK_EQ(getKinesisVideoStreamData(f.stream, 101, piece, size, &filled), STATUS_SUCCESS);
    CHECK_EQ(filled, size);
    CHECK_EQ(getKinesisVideoStreamData(f.stream, 101, piece + size, header - size, &filled), STATUS_SUCCESS);
    CHECK_EQ(filled, header - size);
    CHECK(memcmp(whole, piece, header) == 0);
    CHECK_EQ(getKinesisVideoStreamData(f.stream, 101, piece, sizeof piece, &filled), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK_EQ(filled, 0);
    HELD("CD-04");
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_NONE), STATUS_SUCCESS);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_NONE), STATUS_SUCCESS);
    CHECK_EQ(getKinesisVideoStreamData(f.stream, 101, piece, 2026, &filled), STATUS_SUCCESS);
    CHECK_EQ(filled, 2026);
    HELD("CD-05");
    fixture_free(&f);
}

static void test_frames_before_a_key_frame_are_skipped(void)
{
    struct fixture f;
    UINT64 bytes = 0;
    fixture_init(&f);
    fixture_stream(&f);
    for (int i = 0; i < 10; i++) CHECK_EQ(fixture_put(&f, FRAME_FLAG_NONE), STATUS_SUCCESS);
    CHECK_EQ(f.count[PUT], 1);
    CHECK_EQ(f.put_start, START_TIME);
    CHECK_EQ(fixture_read(&f, 100, &bytes), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK_EQ(bytes, 0);
    CHECK_EQ(fixture_metrics(&f).skippedFrames, 10);
    CHECK_EQ(f.dropped_count, 0);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(f.count[PUT], 1);
    CHECK_EQ(fixture_read(&f, 100, &bytes), STATUS_NO_MORE_DATA_AVAILABLE);
    CHECK(bytes > 1000);
    HELD("CD-06");
    fixture_free(&f);
}

static void test_frames_that_are_refused(void)
{
    struct fixture f;
    BYTE byte = 1;
    Frame frame;
    memset(&frame, 0, sizeof frame);
    frame.flags = FRAME_FLAG_KEY_FRAME;
    frame.frameData = &byte;
    frame.size = 1;
    frame.decodingTs = frame.presentationTs = START_TIME;
    fixture_init(&f);
    fixture_stream(&f);
    frame.trackId = 9;
    CHECK_EQ(putKinesisVideoFrame(f.stream, &frame), STATUS_MKV_TRACK_INFO_NOT_FOUND);
    HELD("CD-23");
    frame.trackId = 1;
    frame.size = 0;
    CHECK_EQ(putKinesisVideoFrame(f.stream, &frame), STATUS_MKV_INVALID_FRAME_DATA);
    frame.size = 1;
    frame.frameData = NULL;
    CHECK_EQ(putKinesisVideoFrame(f.stream, &frame), STATUS_MKV_INVALID_FRAME_DATA);
    frame.frameData = &byte;
    frame.presentationTs = UINT64_MAX / 2;
    CHECK_EQ(putKinesisVideoFrame(f.stream, &frame), STATUS_MKV_MAX_FRAME_TIMECODE);
    frame.presentationTs = START_TIME;
    CHECK_EQ(putKinesisVideoFrame(f.stream, &frame), STATUS_SUCCESS);
    frame.flags = FRAME_FLAG_NONE;
    frame.decodingTs = frame.presentationTs = START_TIME - SECOND;
    CHECK_EQ(putKinesisVideoFrame(f.stream, &frame), STATUS_MKV_INVALID_FRAME_TIMESTAMP);
    frame.decodingTs = frame.presentationTs = START_TIME + 33 * SECOND;
    CHECK_EQ(putKinesisVideoFrame(f.stream, &frame), STATUS_MKV_LARGE_FRAME_TIMECODE);
    CHECK_EQ(fixture_metrics(&f).putFrameErrors, 6);
    fixture_free(&f);
}

static void test_ends_of_fragments(void)
{
    struct fixture f;
    fixture_init(&f);
    fixture_stream(&f);
    CHECK_EQ(fixture_end_fragment(&f), STATUS_CONTENT_VIEW_NO_MORE_ITEMS);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(fixture_metrics(&f).skippedFrames, 0);
    HELD("CD-33");
    CHECK_EQ(fixture_end_fragment(&f), STATUS_SUCCESS);
    CHECK_EQ(fixture_end_fragment(&f), STATUS_MULTIPLE_CONSECUTIVE_EOFR);
    CHECK_EQ(fixture_end_fragment(&f), STATUS_MULTIPLE_CONSECUTIVE_EOFR);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_NONE), STATUS_SUCCESS);
    CHECK_EQ(fixture_metrics(&f).skippedFrames, 1);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    HELD("CD-34 CD-35");
    fixture_free(&f);
    fixture_init(&f);
    f.info.streamCaps.keyFrameFragmentation = FALSE;
    f.info.streamCaps.fragmentDuration = 2 * SECOND;
    fixture_stream(&f);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(fixture_end_fragment(&f), STATUS_END_OF_FRAGMENT_FRAME_INVALID_STATE);
    HELD("CD-37");
    fixture_free(&f);
}

static void test_the_data_callback_comes_with_each_frame(void)
{
    struct fixture f;
    fixture_init(&f);
    f.script[PUT].is_silent = 1;
    fixture_stream(&f);
    CHECK_EQ(fixture_put_sized(&f, FRAME_FLAG_KEY_FRAME, 10000), STATUS_SUCCESS);
    CHECK_EQ(f.data_count, 0);
    CHECK_EQ(fixture_answer(&f, PUT, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
    CHECK_EQ(f.data_count, 1);
    CHECK_EQ(fixture_put_sized(&f, FRAME_FLAG_NONE, 10000), STATUS_SUCCESS);
    CHECK_EQ(f.data_count, 2);
    CHECK_EQ(f.data_duration, 80 * MS);
    CHECK(f.data_size >= 20000 && f.data_size < 20500);
    HELD("CD-22");
    fixture_free(&f);
}

static void test_a_full_store(void)
{
    struct fixture f;
    int puts = 0;
    STATUS status = STATUS_SUCCESS;
    fixture_init(&f);
    f.info.streamCaps.frameRate = 1000;
    fixture_stream(&f);
    while (puts < 50 && STATUS_SUCCEEDED(status = fixture_put_sized(&f, FRAME_FLAG_KEY_FRAME, 1000000))) puts++;
    CHECK_EQ(status, STATUS_STORE_OUT_OF_MEMORY);
    CHECK(puts >= 8 && puts <= 10);
    CHECK_EQ(f.dropped_count, 0);
    CHECK(f.storage_count >= 1);
    REPLACED("CD-16 CD-26", "no reserve is kept, ten frames fit");
    fixture_free(&f);
    fixture_init(&f);
    f.info.streamCaps.frameRate = 1000;
    f.info.streamCaps.storePressurePolicy = CONTENT_STORE_PRESSURE_POLICY_DROP_TAIL_ITEM;
    fixture_stream(&f);
    for (int i = 0; i < 30; i++) CHECK_EQ(fixture_put_sized(&f, FRAME_FLAG_KEY_FRAME, 1000000), STATUS_SUCCESS);
    CHECK(f.dropped_count >= 19 && f.dropped_count <= 22);
    CHECK_EQ(fixture_metrics(&f).droppedFrames, f.dropped_count);
    REPLACED("CD-17 CD-18 CD-27", "the oldest whole fragment goes");
    fixture_free(&f);
}

static void test_a_full_view(void)
{
    struct fixture f;
    fixture_init(&f);
    f.info.streamCaps.frameRate = 10;
    f.info.streamCaps.bufferDuration = 20 * SECOND; /* 200 slots, which 25 frames a second fill in 8 s */
    fixture_stream(&f);
    fixture_put_fragments(&f, 20, 10);
    CHECK_EQ(f.dropped_count, 0);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(f.dropped_count, 10);
    CHECK_EQ(f.last_dropped, START_TIME);
    REPLACED("CD-10 CD-11 CD-12 CD-13",
             "slots are a number of frames, the oldest whole fragment goes");
    fixture_free(&f);
}

static void test_latency_is_reported_with_each_put(void)
{
    for (int is_offline = 0; is_offline < 2; is_offline++) {
        struct fixture f;
        fixture_init(&f);
        f.info.streamCaps.maxLatency = 30 * 40 * MS;
        if (is_offline) f.info.streamCaps.streamingType = STREAMING_TYPE_OFFLINE;
        fixture_stream(&f);
        for (int i = 0; i < 100; i++) {
            CHECK_EQ(fixture_put(&f, i % 10 == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE), STATUS_SUCCESS);
            CHECK_EQ(f.latency_count, is_offline || i < 30 ? 0 : i - 30 + 1);
            if (i == 30 && !is_offline) CHECK_EQ(f.latency, 31 * 40 * MS);
        }
        CHECK_EQ(fixture_metrics(&f).latencyPressures, is_offline ? 0 : 70);
        CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
        int before = f.latency_count;
        CHECK_EQ(fixture_put(&f, FRAME_FLAG_NONE), STATUS_SUCCESS);
        CHECK_EQ(f.latency_count, before);
        fixture_free(&f);
    }
    HELD("CD-20 CD-30");
}

static void test_a_stale_connection_is_reported_with_each_read(void)
{
    for (int is_acked = 0; is_acked < 2; is_acked++) {
        struct fixture f;
        fixture_init(&f);
        f.info.streamCaps.connectionStalenessDuration = 30 * 40 * MS;
        f.info.streamCaps.fragmentAcks = is_acked;
        fixture_stream(&f);
        for (int i = 0; i < 60; i++) {
            CHECK_EQ(fixture_put(&f, i % 10 == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE), STATUS_SUCCESS);
            CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
            if (i < 30 || !is_acked) CHECK_EQ(f.stale_count, 0);
        }
        CHECK(is_acked ? f.stale_count >= 29 && f.stale_count <= 31 : f.stale_count == 0);
        CHECK_EQ(fixture_metrics(&f).staleEvents, (UINT64)f.stale_count);
        int before = f.stale_count;
        CHECK_EQ(fixture_ack_at(&f, 100, FRAGMENT_ACK_TYPE_BUFFERING, START_TIME + 2000 * MS, SERVICE_CALL_RESULT_OK),
                 STATUS_SUCCESS);
        CHECK_EQ(fixture_put(&f, FRAME_FLAG_NONE), STATUS_SUCCESS);
        CHECK_EQ(fixture_read(&f, 100, NULL), STATUS_NO_MORE_DATA_AVAILABLE);
        CHECK_EQ(f.stale_count, before);
        f.now += 3 * SECOND; /* nothing is read any more: reported once, by deadline */
        CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
        CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
        CHECK_EQ(f.stale_count, before + is_acked);
        fixture_free(&f);
    }
    HELD("CD-31");
    REPLACED("CD-21", "reported by deadline too, when nothing is read any more; the value is the whole gap");
}

/* ---- metadata -------------------------------------------------------------------------------------------------- */

static void test_metadata_limits(void)
{
    struct fixture f;
    char name[300], value[300], reserved[][8] = { "AWS", "AWS ", "AWSTag", "AWS:" }, allowed[][8] = { "aWS", "aws" };
    memset(name, 'n', sizeof name);
    memset(value, 'v', sizeof value);
    name[299] = value[299] = 0;
    fixture_init(&f);
    f.script[DESCRIBE].is_silent = 1;
    fixture_stream(&f);
    CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, name, value, FALSE), STATUS_INVALID_STREAM_STATE);
    CHECK_EQ(putKinesisVideoEventMetadata(f.stream, STREAM_EVENT_TYPE_LAST, NULL), STATUS_INVALID_ARG);
    CHECK_EQ(putKinesisVideoEventMetadata(f.stream, STREAM_EVENT_TYPE_NONE, NULL), STATUS_INVALID_ARG);
    CHECK_EQ(putKinesisVideoEventMetadata(f.stream, STREAM_EVENT_TYPE_NOTIFICATION, NULL), STATUS_INVALID_STREAM_STATE);
    HELD("CS-84 CD-82");
    CHECK_EQ(fixture_answer(&f, DESCRIBE, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
    CHECK_EQ(putKinesisVideoEventMetadata(f.stream, STREAM_EVENT_TYPE_NOTIFICATION, NULL), STATUS_STREAM_NOT_STARTED);
    HELD("CD-83");
    for (size_t i = 0; i < 4; i++)
        CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, reserved[i], value + 250, FALSE),
                 STATUS_INVALID_METADATA_NAME);
    for (size_t i = 0; i < 2; i++)
        CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, allowed[i], value + 250, FALSE), STATUS_SUCCESS);
    HELD("CD-81");
    CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, name, value + 250, FALSE), STATUS_MKV_INVALID_TAG_NAME_LENGTH);
    CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, value + 250, value, FALSE), STATUS_MKV_INVALID_TAG_VALUE_LENGTH);
    name[1] = 0;
    CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, name, value + 250, TRUE), STATUS_SUCCESS);
    for (int i = 3; i < 25; i++)
        CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, value + 250, value + 250, FALSE), STATUS_SUCCESS);
    CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, value + 250, value + 250, FALSE),
             STATUS_MAX_FRAGMENT_METADATA_COUNT);
    CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, name, value + 260, TRUE), STATUS_SUCCESS);
    HELD("CD-80");
    fixture_free(&f);
}

static void test_event_limits(void)
{
    struct fixture f;
    char text[300];
    StreamEventMetadata event;
    memset(&event, 0, sizeof event);
    memset(text, 't', sizeof text);
    text[299] = 0;
    fixture_init(&f);
    fixture_stream(&f);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    event.imagePrefix = text;
    CHECK_EQ(putKinesisVideoEventMetadata(f.stream, STREAM_EVENT_TYPE_IMAGE_GENERATION, &event),
             STATUS_INVALID_IMAGE_PREFIX_LENGTH);
    event.imagePrefix = NULL;
    event.numberOfPairs = 11;
    CHECK_EQ(putKinesisVideoEventMetadata(f.stream, STREAM_EVENT_TYPE_NOTIFICATION, &event), STATUS_INVALID_ARG);
    event.numberOfPairs = 1;
    CHECK_EQ(putKinesisVideoEventMetadata(f.stream, STREAM_EVENT_TYPE_NOTIFICATION, &event), STATUS_NULL_ARG);
    event.names[0] = text;
    event.values[0] = text + 250;
    CHECK_EQ(putKinesisVideoEventMetadata(f.stream, STREAM_EVENT_TYPE_NOTIFICATION, &event),
             STATUS_INVALID_IMAGE_METADATA_KEY_LENGTH);
    event.names[0] = text + 250;
    event.values[0] = text;
    CHECK_EQ(putKinesisVideoEventMetadata(f.stream, STREAM_EVENT_TYPE_NOTIFICATION, &event),
             STATUS_INVALID_IMAGE_METADATA_VALUE_LENGTH);
    HELD("CD-84");
    event.values[0] = text + 250;
    CHECK_EQ(putKinesisVideoEventMetadata(f.stream, STREAM_EVENT_TYPE_NOTIFICATION, &event), STATUS_SUCCESS);
    CHECK_EQ(putKinesisVideoEventMetadata(f.stream, STREAM_EVENT_TYPE_NOTIFICATION, NULL),
             STATUS_DUPLICATE_STREAM_EVENT_TYPE);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(putKinesisVideoEventMetadata(f.stream, STREAM_EVENT_TYPE_NOTIFICATION, NULL), STATUS_SUCCESS);
    HELD("CD-79");
    fixture_free(&f);
}

static void test_formats_are_locked_while_streaming(void)
{
    struct fixture f;
    BYTE cpd[] = { 1, 2, 3, 4 };
    fixture_init(&f);
    f.script[DESCRIBE].is_silent = f.script[ENDPOINT].is_silent = f.script[TOKEN].is_silent = 1;
    fixture_stream(&f);
    static const enum call_kind kinds[] = { DESCRIBE, ENDPOINT, TOKEN };
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ(kinesisVideoStreamFormatChanged(f.stream, sizeof cpd, cpd, 1), STATUS_SUCCESS);
        CHECK_EQ(kinesisVideoStreamFormatChanged(f.stream, 0, NULL, 1), STATUS_SUCCESS);
        CHECK_EQ(kinesisVideoStreamFormatChanged(f.stream, 0, cpd, 1), STATUS_SUCCESS);
        CHECK_EQ(kinesisVideoStreamSetNalAdaptationFlags(f.stream,
                                                         i % 2 ? NAL_ADAPTATION_AVCC_NALS : NAL_ADAPTATION_FLAG_NONE),
                 STATUS_SUCCESS);
        if (i < 3) CHECK_EQ(fixture_answer(&f, kinds[i], SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
    }
    CHECK_EQ(kinesisVideoStreamFormatChanged(f.stream, 4, NULL, 1), STATUS_MKV_CODEC_PRIVATE_NULL);
    CHECK_EQ(kinesisVideoStreamFormatChanged(f.stream, 4, cpd, 2), STATUS_MKV_TRACK_INFO_NOT_FOUND);
    CHECK_EQ(kinesisVideoStreamSetNalAdaptationFlags(f.stream, NAL_ADAPTATION_FLAG_NONE), STATUS_SUCCESS);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    CHECK_EQ(kinesisVideoStreamFormatChanged(f.stream, sizeof cpd, cpd, 1), STATUS_INVALID_STREAM_STATE);
    CHECK_EQ(kinesisVideoStreamSetNalAdaptationFlags(f.stream, NAL_ADAPTATION_ANNEXB_NALS),
             STATUS_INVALID_STREAM_STATE);
    HELD("CS-83 CD-111 CD-112");
    fixture_free(&f);
}

static void test_metrics_of_every_version(void)
{
    struct fixture f;
    ClientMetrics client;
    StreamMetrics stream;
    fixture_init(&f);
    fixture_stream(&f);
    fixture_put_fragments(&f, 1, 5);
    for (UINT32 version = 0; version <= 3; version++) {
        memset(&stream, 0xEE, sizeof stream);
        stream.version = version;
        CHECK_EQ(getKinesisVideoStreamMetrics(f.stream, &stream), STATUS_SUCCESS);
        CHECK_EQ(stream.overallViewSize, 5000);
        CHECK_EQ(stream.currentViewDuration, 200 * MS);
        CHECK_EQ(stream.totalSessions == 1, version >= 1);
        CHECK_EQ(stream.streamApiCallRetryCount == 0, version >= 3);
        memset(&client, 0xEE, sizeof client);
        client.version = version < 3 ? version : 0;
        CHECK_EQ(getKinesisVideoMetrics(f.client, &client), STATUS_SUCCESS);
        CHECK_EQ(client.contentStoreSize, UINT64_C(10) * 1024 * 1024);
        CHECK_EQ(client.contentStoreAvailableSize + client.contentStoreAllocatedSize, client.contentStoreSize);
    }
    stream.version = 4;
    client.version = 3;
    CHECK_EQ(getKinesisVideoStreamMetrics(f.stream, &stream), STATUS_INVALID_STREAM_METRICS_VERSION);
    CHECK_EQ(getKinesisVideoMetrics(f.client, &client), STATUS_INVALID_CLIENT_METRICS_VERSION);
    fixture_free(&f);
}

int main(void)
{
    test_what_a_stream_may_be_made_of();
    test_buffer_and_replay_durations();
    test_names();
    test_reading_in_pieces_of_any_size();
    test_frames_before_a_key_frame_are_skipped();
    test_frames_that_are_refused();
    test_ends_of_fragments();
    test_the_data_callback_comes_with_each_frame();
    test_a_full_store();
    test_a_full_view();
    test_latency_is_reported_with_each_put();
    test_a_stale_connection_is_reported_with_each_read();
    test_metadata_limits();
    test_event_limits();
    test_formats_are_locked_while_streaming();
    test_metrics_of_every_version();
    return CHECK_DONE();
}

/* Arguments, limits and counts of kvspic.h. Goal: every wrong argument has its own status and changes nothing, every
 * queue has an end that is reported, and ten thousand streams cost what they should. */
#include "service.h"

typedef void (*spoil_fn)(struct kvs_stream_config *config, struct kvs_track_config *tracks);

static char long_text[1100];
static uint8_t one_byte;

static void name_null(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->name = NULL;
}
static void name_empty(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->name = "";
}
static void name_long(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->name = long_text + 1099 - 257;
}
static void name_space(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->name = "ABC ";
}
static void size_wrong(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->size--;
}
static void type_long(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->content_type = long_text + 1099 - 129;
}
static void retention_short(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->retention_hns = 1;
}
static void retention_hour(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->retention_hns = 3600 * KVS_HNS_PER_SECOND - 1;
}
static void tracks_none(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->track_count = 0;
}
static void tracks_many(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->track_count = 4;
}
static void tracks_null(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->tracks = NULL;
}
static void tracks_same(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    c->track_count = 2;
    t[1].id = t[0].id;
}
static void track_zero(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)c;
    t[0].id = 0;
}
static void track_type(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)c;
    t[0].type = 4;
}
static void codec_long(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)c;
    t[0].codec_id = long_text + 1099 - 33;
}
static void track_long(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)c;
    t[0].name = long_text + 1099 - 33;
}
static void cpd_large(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)c;
    t[0].cpd = &one_byte;
    t[0].cpd_size = KVS_MKV_CPD_MAX + 1;
}
static void cpd_null(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)c;
    t[0].cpd_size = 1;
}
static void nal_both(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->nal_flags = 24;
}
static void order_none(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->order = KVS_ORDER_CUT + 1;
}
static void streaming_none(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->streaming_type = 3;
}
static void full_none(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->full_policy = 2;
}
static void backward_none(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->backward_policy = 4;
}
static void scale_large(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->timecode_scale_hns = KVS_HNS_PER_SECOND + 1;
}
static void offline_bare(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->streaming_type = KVS_OFFLINE;
    c->retention_hns = 0;
}
static void offline_deaf(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->streaming_type = KVS_OFFLINE;
    c->flags &= ~(uint32_t)KVS_WANT_ACKS;
}
static void duration_short(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->flags &= ~(uint32_t)KVS_KEY_FRAME_FRAGMENTS;
    c->fragment_duration_hns = KVS_HNS_PER_SECOND - 1;
}
static void duration_long(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    (void)t;
    c->flags &= ~(uint32_t)KVS_KEY_FRAME_FRAGMENTS;
    c->fragment_duration_hns = 30 * KVS_HNS_PER_SECOND + 1;
}
static void uuid_zero(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    static const uint8_t zero[16];
    (void)t;
    c->segment_uuid = zero;
}
static void cpd_broken(struct kvs_stream_config *c, struct kvs_track_config *t)
{
    static const uint8_t no_sps[] = { 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 1, 2, 3 };
    c->nal_flags = KVS_NAL_ANNEXB_CPD;
    t[0].cpd = no_sps;
    t[0].cpd_size = sizeof no_sps;
}

static const struct {
    spoil_fn spoil;
    kvs_status status;
} SPOILT[] = {
    { name_null, KVS_E_NULL_ARG },
    { name_empty, KVS_E_STREAM_NAME },
    { name_long, KVS_E_STREAM_NAME },
    { name_space, KVS_E_STREAM_NAME },
    { size_wrong, KVS_E_CONFIG_SIZE },
    { type_long, KVS_E_CONTENT_TYPE_SIZE },
    { retention_short, KVS_E_RETENTION },
    { retention_hour, KVS_E_RETENTION },
    { tracks_none, KVS_E_TRACK_COUNT },
    { tracks_many, KVS_E_TRACK_COUNT },
    { tracks_null, KVS_E_TRACK_COUNT },
    { tracks_same, KVS_E_DUPLICATE_TRACK },
    { track_zero, KVS_E_TRACK_UID },
    { track_type, KVS_E_INVALID_ARG },
    { codec_long, KVS_E_CODEC_ID_SIZE },
    { track_long, KVS_E_TRACK_NAME_SIZE },
    { cpd_large, KVS_E_CPD_SIZE },
    { cpd_null, KVS_E_CPD_NULL },
    { nal_both, KVS_E_NAL_FLAGS },
    { order_none, KVS_E_FRAME_ORDER_MODE },
    { streaming_none, KVS_E_INVALID_ARG },
    { full_none, KVS_E_INVALID_ARG },
    { backward_none, KVS_E_INVALID_ARG },
    { scale_large, KVS_E_TIMECODE_SCALE },
    { offline_bare, KVS_E_OFFLINE_WITHOUT_ACKS },
    { offline_deaf, KVS_E_OFFLINE_WITHOUT_ACKS },
    { duration_short, KVS_E_CLUSTER_DURATION },
    { duration_long, KVS_E_CLUSTER_DURATION },
    { uuid_zero, KVS_E_SEGMENT_UUID },
    { cpd_broken, KVS_E_MISSING_SPS },
};

static void test_every_field_of_a_stream_is_checked(void)
{
    struct service s;
    memset(long_text, 'n', sizeof long_text - 1);
    service_up(&s, NULL);
    uint64_t blocks = s.fail.live_blocks;
    for (uint32_t i = 0; i < sizeof SPOILT / sizeof *SPOILT; i++) {
        struct kvs_track_config tracks[4] = { { .id = 1, .type = KVS_TRACK_VIDEO, .codec_id = "V" },
                                              { .id = 2, .type = KVS_TRACK_AUDIO, .codec_id = "A" } };
        struct kvs_stream_config config = video_config();
        config.tracks = tracks;
        SPOILT[i].spoil(&config, tracks);
        CHECK(service_new(&s, &config) == NULL);
        if (!CHECK_EQ(s.last_status, SPOILT[i].status)) fprintf(stderr, "    row %u\n", i);
        CHECK_EQ(s.fail.live_blocks, blocks);
    }
    HELD("CD-102 CD-105 CD-108");
    service_down(&s);
}

static void test_null_is_a_status(void)
{
    struct service s;
    struct kvs_client_answer client_answer = { .size = 0 };
    struct kvs_stream_answer stream_answer = { .size = 0 };
    struct kvs_ack ack = { .size = sizeof ack };
    struct kvs_client_config config = { .size = sizeof config };
    uint8_t byte = 0;
    enum kvs_read_state state = KVS_READ_MORE;
    service_up(&s, NULL);
    struct kvs_host host = fail_host_of(&s.fail);
    struct kvs_stream *stream = service_open(&s, NULL), *none = NULL;
    const struct kvs_stream_config video = video_config();
    CHECK_EQ(kvs_client_new(NULL, &config, T0, &s.client), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_client_new(&host, NULL, T0, &s.client), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_client_new(&host, &config, T0, NULL), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_client_answer(NULL, &client_answer, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_client_answer(s.client, NULL, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_client_answer(s.client, &client_answer, T0), KVS_E_CONFIG_SIZE);
    CHECK_EQ(kvs_client_metrics(NULL, NULL), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_client_metrics(s.client, NULL), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_client_next_deadline(NULL), KVS_TIME_NONE);
    CHECK_EQ(kvs_client_poke(NULL, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_client_next_actions(NULL, NULL, 0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_client_next_actions(s.client, NULL, 1), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_client_next_actions(s.client, NULL, 0), 0);
    CHECK_EQ(kvs_stream_new(NULL, &video, T0, &none), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_new(s.client, NULL, T0, &none), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_new(s.client, &video, T0, NULL), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_put_frame(NULL, &byte, 1, T0, T0, 0, 1, 1, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_end_fragment(NULL, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_put_metadata(NULL, "a", "b", 0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_put_metadata(stream, NULL, "b", 0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_put_metadata(stream, "a", NULL, 0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_put_event(NULL, 1, NULL, 0, NULL, NULL), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_set_cpd(NULL, 1, NULL, 0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_set_cpd(stream, 1, NULL, 1), KVS_E_CPD_NULL);
    CHECK_EQ(kvs_stream_set_cpd(stream, 9, &byte, 1), KVS_E_UNKNOWN_TRACK);
    CHECK_EQ(kvs_stream_set_cpd(stream, 1, &byte, KVS_MKV_CPD_MAX + 1), KVS_E_CPD_SIZE);
    CHECK_EQ(kvs_stream_set_nal_flags(NULL, 0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_set_nal_flags(stream, 24), KVS_E_NAL_FLAGS);
    CHECK_EQ(kvs_stream_stop(NULL, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_retry(NULL, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_reset(NULL, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_reset_connection(NULL, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_answer(NULL, &stream_answer, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_answer(stream, NULL, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_answer(stream, &stream_answer, T0), KVS_E_CONFIG_SIZE);
    CHECK_EQ(kvs_upload_read(NULL, 1, &byte, 1, &state, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_upload_read(stream, 1, NULL, 1, &state, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_upload_read(stream, 1, &byte, 1, NULL, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_upload_ack_bytes(NULL, 1, &byte, 1, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_upload_ack_bytes(stream, 1, NULL, 1, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_upload_ack(NULL, 1, &ack, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_upload_ack(stream, 1, NULL, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_upload_ack(stream, 1, &ack, T0), KVS_E_ACK_TYPE);
    ack.size--;
    CHECK_EQ(kvs_upload_ack(stream, 1, &ack, T0), KVS_E_CONFIG_SIZE);
    CHECK_EQ(kvs_upload_ended(NULL, 1, 200, T0), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_metrics(NULL, NULL), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_stream_metrics(stream, NULL), KVS_E_NULL_ARG);
    CHECK(kvs_version()[0] != 0);
    uint32_t width = 0, height = 0;
    CHECK_EQ(kvs_cpd_size_h264(&byte, 1, &width, &height), KVS_E_CPD_FORMAT);
    service_down(&s);
}

static void test_machines_by_number(void)
{
    uint32_t next = 0, act = 0;
    struct kvs_machine_info info;
    CHECK_EQ(kvs_fsm_step(KVS_MACHINE_COUNT, 0, 0, &next, &act), KVS_E_MACHINE);
    CHECK_EQ(kvs_fsm_step(KVS_MACHINE_STREAM, 99, 0, &next, &act), KVS_E_MACHINE);
    CHECK_EQ(kvs_fsm_step(KVS_MACHINE_STREAM, KVS_STREAM_STOPPED, KVS_STREAM_EV_FRAME, &next, &act),
             KVS_E_STREAM_STATE);
    CHECK_EQ(kvs_fsm_step(KVS_MACHINE_STREAM, 0, 0, NULL, &act), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_machine_info(KVS_MACHINE_STREAM, NULL), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_machine_info(77, &info), KVS_E_MACHINE);
    CHECK_EQ(kvs_machine_spent_status(77, 0), KVS_E_MACHINE);
}

static void test_notices_have_an_end_and_orders_do_not(void)
{
    struct service s;
    service_up(&s, NULL);
    s.hold = HOLD(KVS_ACTION_DESCRIBE_STREAM);
    struct kvs_stream *stream = service_open(&s, NULL);
    struct kvs_action *actions = malloc(2000 * sizeof *actions);
    if (actions == NULL) abort();
    for (uint64_t i = 0; i < 3000; i++) { /* each put steps back: a notice each */
        service_put_as(&s, stream, 100000 - i, (struct put_as) { .dts_ms = 100000 - i, .flags = KVS_FRAME_KEY });
    }
    CHECK_EQ(answer_stream(&s, &s.last[KVS_ACTION_DESCRIBE_STREAM], KVS_RESULT_OK), KVS_OK);
    kvs_status count = kvs_client_next_actions(s.client, actions, 2000), lost = 0;
    CHECK(count > 900 && count <= 1024 + 1);
    uint32_t orders = 0;
    for (kvs_status i = 0; i < count; i++) orders += actions[i].kind == KVS_ACTION_GET_DATA_ENDPOINT;
    CHECK_EQ(orders, 1);
    for (kvs_status i = 0; i < count; i++)
        lost += actions[i].kind == KVS_ACTION_NOTICES_LOST ? (kvs_status)actions[i].a : 0;
    CHECK_EQ(lost, metrics_of(stream).notices_lost);
    CHECK(lost > 1900);
    for (uint64_t i = 0; i < 3000;
         i++) { /* a drain that takes exactly what is queued hears of the rest by the next one */
        service_put_as(&s, stream, 300000 - i, (struct put_as) { .dts_ms = 300000 - i, .flags = KVS_FRAME_KEY });
    }
    uint32_t queued = stream->out.actions.count;
    CHECK_EQ(kvs_client_next_actions(s.client, actions, queued), queued);
    CHECK_EQ(kvs_client_next_actions(s.client, actions, 10), 1);
    CHECK_EQ(actions[0].kind, KVS_ACTION_NOTICES_LOST);
    free(actions);
    service_down(&s);
}

/* Eight sessions wait for their ACKs: the ninth waits for a place, and has it when a handle goes. */
static void test_sessions_have_an_end(void)
{
    struct service s;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, NULL);
    uint8_t cpd[4] = { 1, 66, 0, 0 };
    for (uint32_t i = 0; i < 10; i++) {
        cpd[3] = (uint8_t)i;
        CHECK_EQ(kvs_stream_set_cpd(stream, 1, cpd, sizeof cpd), KVS_OK);
        service_put_fragments(&s, stream, 1000 * i, 1, 2);
        service_turn(&s);
    }
    CHECK_STATE(stream, STREAMING);
    CHECK_EQ(s.count[KVS_ACTION_FAILED], 0);
    CHECK_EQ(s.session_count, UPLOADS_MAX);
    CHECK_EQ(metrics_of(stream).sessions_active, UPLOADS_MAX);
    struct upload *more = NULL;
    struct opened opened = { .first = stream->view.fragment_head - 1, .last = KVS_TIME_NONE, .now_hns = s.now_hns };
    CHECK_EQ(uploads_open(stream, &opened, &more), KVS_E_SESSION_LIMIT);
    service_persist(&s, &s.sessions[0]);
    service_turn(&s);
    CHECK_EQ(s.session_count, UPLOADS_MAX + 1);
    CHECK(service_drain(&s, stream));
    CHECK_EQ(metrics_of(stream).frames_done, 20);
    CHECK_EQ(s.session_count, 10);
    service_down(&s);
}

/* As many orders as there can be, none drained, when there is no memory for a longer queue: data and end of each upload
 * handle, and the request of a reset. */
static void test_orders_have_a_place_without_memory(void)
{
    struct service s;
    struct kvs_action actions[64];
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, NULL);
    uint8_t cpd[4] = { 1, 66, 0, 0 };
    uint32_t count[SERVICE_KINDS] = { 0 };
    for (uint32_t i = 0; i < UPLOADS_MAX; i++) {
        cpd[3] = (uint8_t)i;
        CHECK_EQ(kvs_stream_set_cpd(stream, 1, cpd, sizeof cpd), KVS_OK);
        service_put_fragments(&s, stream, 1000 * i, 1, 2);
        service_turn(&s);
    }
    CHECK_EQ(kvs_stream_end_fragment(stream, s.now_hns), KVS_OK);
    service_turn(&s);
    s.fail.fail_at = s.fail.alloc_count + 1;
    s.fail.fails_after = 1;
    for (uint32_t i = 0; i < UPLOADS_MAX; i++) service_persist(&s, &s.sessions[i]);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(kvs_stream_reset(stream, s.now_hns), KVS_OK);
        CHECK_EQ(kvs_stream_stop(stream, s.now_hns), KVS_OK);
    }
    CHECK_EQ(kvs_stream_reset(stream, s.now_hns), KVS_OK);
    kvs_status taken = kvs_client_next_actions(s.client, actions, 64);
    for (kvs_status i = 0; i < taken; i++) count[actions[i].kind]++;
    CHECK_EQ(count[KVS_ACTION_DATA], UPLOADS_MAX - 1); /* the newest has no end yet: its session goes on */
    CHECK_EQ(count[KVS_ACTION_UPLOAD_END], UPLOADS_MAX);
    CHECK_EQ(count[KVS_ACTION_CLOSED], 1);
    CHECK_EQ(count[KVS_ACTION_DESCRIBE_STREAM], 1);
    s.fail.fail_at = 0;
    service_down(&s);
}

static void test_formats_that_nobody_uses_go(void)
{
    struct service s;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, NULL);
    service_put_fragments(&s, stream, 0, 2, 2);
    uint64_t before = s.fail.live_blocks;
    uint8_t cpd[20] = { 1 };
    for (uint32_t i = 0; i < 1000; i++) {
        cpd[3] = (uint8_t)i;
        CHECK_EQ(kvs_stream_set_cpd(stream, 1, cpd, sizeof cpd), KVS_OK);
    }
    CHECK(s.fail.live_blocks < before + 10);
    service_down(&s);
}

/* ---- many streams ------------------------------------------------------------------------------------------------ */

#define MANY 10000u

static void open_many(struct service *s, struct kvs_stream **streams)
{
    char name[24];
    for (uint32_t i = 0; i < MANY; i++) {
        struct kvs_stream_config config = video_config();
        snprintf(name, sizeof name, "s%u", i);
        config.name = name;
        config.user = i;
        config.eofr_idle_hns = KVS_HNS_PER_SECOND * (1 + (i * 7919) % 1000);
        CHECK_EQ(kvs_stream_new(s->client, &config, T0, &streams[i]), KVS_OK);
    }
}

static void test_ten_thousand_streams(void)
{
    struct service s;
    struct kvs_stream **streams = malloc(MANY * sizeof *streams);
    struct kvs_client_config client = { .size = sizeof client, .store_max = UINT64_C(1) << 30, .seed = 3 };
    struct kvs_action action;
    if (streams == NULL) abort();
    service_up(&s, &client);
    open_many(&s, streams);
    CHECK_EQ(s.client->stream_count, MANY);
    CHECK(s.fail.live_bytes / MANY <= 6 * 1024); /* of an idle stream */
    uint32_t count = 0, orders = 0;
    while (kvs_client_next_actions(s.client, &action, 1) == 1) {
        count++;
        orders += action.kind == KVS_ACTION_DESCRIBE_STREAM;
    }
    CHECK_EQ(orders, MANY);
    CHECK(count <= 3 * MANY);
    for (uint32_t i = 0; i < MANY; i += 2) kvs_stream_free(streams[i]);
    CHECK_EQ(s.client->stream_count, MANY / 2);
    for (uint32_t i = 1; i < MANY; i += 200) {
        CHECK_EQ(kvs_stream_put_frame(streams[i], &one_byte, 1, T0, T0, 0, 1, KVS_FRAME_KEY, T0), KVS_OK);
    }
    kvs_client_free(s.client);
    s.client = NULL;
    service_down(&s);
    free(streams);
}

/* The heap of deadlines: the least one first, whatever is armed, passed or freed. */
static void test_deadlines_in_order(void)
{
    struct service s;
    struct kvs_stream **streams = malloc(MANY * sizeof *streams);
    struct kvs_client_config client = { .size = sizeof client, .store_max = UINT64_C(1) << 31, .seed = 3 };
    if (streams == NULL) abort();
    service_up(&s, &client);
    open_many(&s, streams);
    for (uint32_t i = 0; i < 1000; i++) kvs_stream_put_frame(streams[i], &one_byte, 1, T0, T0, 0, 1, KVS_FRAME_KEY, T0);
    for (uint32_t i = 0; i < 1000; i += 3) {
        kvs_stream_free(streams[i]);
        streams[i] = NULL;
    }
    uint64_t last = 0, due = kvs_client_next_deadline(s.client);
    uint32_t pokes = 0;
    for (; due != KVS_TIME_NONE && pokes < 2000; pokes++) {
        CHECK(due > last);
        last = due;
        CHECK_EQ(kvs_client_poke(s.client, due), KVS_OK);
        due = kvs_client_next_deadline(s.client);
    }
    CHECK(pokes >= 600 && pokes <= 667);
    for (uint32_t i = 1; i < 1000; i += 3) CHECK_EQ(streams[i]->packer.edge, EDGE_ENDED);
    service_down(&s);
    free(streams);
}

int main(void)
{
    test_every_field_of_a_stream_is_checked();
    test_null_is_a_status();
    test_machines_by_number();
    test_notices_have_an_end_and_orders_do_not();
    test_sessions_have_an_end();
    test_orders_have_a_place_without_memory();
    test_formats_that_nobody_uses_go();
    test_ten_thousand_streams();
    test_deadlines_in_order();
    return CHECK_DONE();
}

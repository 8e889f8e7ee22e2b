/* Bytes that are lent (kvs_upload_lend). Goal: they are the ones that kvs_upload_read copies, they lie in the store,
 * and stay as they are until their handle's next call, whatever becomes of their frames; then their memory goes. */
#include "service.h"

enum { LARGE = 100 * 1024, SPANS = 8 };

struct reading {
    struct kvs_loan loan;
    struct kvs_span spans[SPANS];
    uint8_t buffer[1024], copy[2 * LARGE + 2048];
    uint32_t size;
    enum kvs_read_state state;
};

static kvs_status lend_by(struct service *s, struct session *session, struct reading *r, uint32_t buffer_size)
{
    r->loan = (struct kvs_loan) { .size = sizeof r->loan, .size_max = sizeof r->copy, .buffer = r->buffer };
    r->loan.buffer_size = buffer_size;
    r->loan.span_max = SPANS;
    r->loan.spans = r->spans;
    kvs_status got = kvs_upload_lend(s->streams[session->user], session->handle, &r->loan, &r->state, s->now_hns);
    service_check(s);
    r->size = 0;
    for (uint32_t i = 0; got > 0 && i < r->loan.span_count; i++) {
        memcpy(r->copy + r->size, r->spans[i].bytes, (size_t)r->spans[i].size);
        r->size += (uint32_t)r->spans[i].size;
    }
    return got;
}

static kvs_status lend(struct service *s, struct session *session, struct reading *r)
{
    return lend_by(s, session, r, sizeof r->buffer);
}

static kvs_status give_back(struct service *s, struct session *session, struct reading *r)
{
    r->loan.span_max = 0;
    kvs_status status = kvs_upload_lend(s->streams[session->user], session->handle, &r->loan, &r->state, s->now_hns);
    service_check(s);
    return status;
}

static int is_unchanged(const struct reading *r)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < r->loan.span_count; i++) {
        if (memcmp(r->spans[i].bytes, r->copy + at, (size_t)r->spans[i].size) != 0) return 0;
        at += (uint32_t)r->spans[i].size;
    }
    return at == r->size;
}

static void put_large(struct service *s, uint64_t ms, uint32_t flags)
{
    struct put_as as = { .track = 1, .dts_ms = ms, .size = LARGE, .flags = flags, .duration_ms = 40 };
    CHECK_EQ(service_put_as(s, s->streams[1], ms, as), KVS_OK);
}

/* A stream whose session is open and unread, with two fragments of a large key frame each. */
static struct session *begin(struct service *s, const struct kvs_stream_config *config)
{
    static const struct kvs_client_config CLIENT = { .size = sizeof CLIENT, .store_max = 8 * KVS_SLAB_SIZE, .seed = 5 };
    service_up(s, &CLIENT);
    s->is_silent = 1;
    service_open(s, config);
    put_large(s, 0, KVS_FRAME_KEY);
    put_large(s, 1000, KVS_FRAME_KEY);
    service_turn(s);
    return newest(s);
}

static void test_large_frames_are_lent_where_they_lie(void)
{
    struct service s;
    struct reading r;
    struct session *session = begin(&s, NULL);
    kvs_status got = lend(&s, session, &r);
    uint32_t lent_size = 0;
    CHECK(got > 2 * LARGE);
    CHECK_EQ(r.size, got);
    CHECK_EQ(r.state, KVS_READ_WAIT);
    CHECK(r.spans[0].bytes == r.buffer); /* header and cluster */
    for (uint32_t i = 0; i < r.loan.span_count; i++) {
        int is_copied = r.spans[i].bytes >= r.buffer && r.spans[i].bytes < r.buffer + sizeof r.buffer;
        lent_size += is_copied ? 0 : (uint32_t)r.spans[i].size;
    }
    CHECK_EQ(lent_size, 2 * (LARGE + KVS_MKV_BLOCK_SIZE));
    struct mkv_seen seen;
    mkv_read(&seen, r.copy, r.size);
    CHECK(!seen.is_broken && seen.block_count == 2 && seen.blocks[0].is_intact && seen.blocks[1].is_intact);
    mkv_forget(&seen);
    service_down(&s);
}

/* Ten fragments of which all but the first continue in its cluster (pace.c); each second one is a large key frame. */
static struct session *begin_joined(struct service *s)
{
    struct kvs_stream_config config = video_config();
    config.fragment_duration_min_hns = KVS_HNS_PER_SECOND;
    service_up(s, NULL);
    s->is_silent = 1;
    service_open(s, &config);
    for (uint64_t i = 0; i < 10; i++) {
        if (i % 2 != 0) put_large(s, 1000 * i, KVS_FRAME_KEY);
        else CHECK_EQ(service_put(s, s->streams[1], 1000 * i, KVS_FRAME_KEY), KVS_OK);
    }
    service_turn(s);
    return newest(s);
}

/* The time in a block's header is not the store's there, wherever the buffer ends in it. */
static void test_joined_fragments_are_the_same_for_any_buffer(void)
{
    static uint8_t wanted[12 * LARGE], got[12 * LARGE];
    struct service s;
    struct reading r;
    struct session *session = begin_joined(&s);
    kvs_status wanted_size = kvs_upload_read(s.streams[1], session->handle, wanted, sizeof wanted, &r.state, s.now_hns);
    service_down(&s);
    struct mkv_seen seen;
    mkv_read(&seen, wanted, (uint32_t)wanted_size);
    CHECK(!seen.is_broken && seen.clusters[0].block_count >= 4);
    mkv_forget(&seen);
    for (uint32_t buffer_size = 1; buffer_size <= 40; buffer_size++) {
        uint32_t got_size = 0;
        session = begin_joined(&s);
        do {
            CHECK(lend_by(&s, session, &r, buffer_size) >= 0);
            memcpy(got + got_size, r.copy, r.size);
            got_size += r.size;
        } while (r.state == KVS_READ_MORE);
        CHECK_EQ(got_size, wanted_size);
        if (!CHECK(memcmp(got, wanted, got_size) == 0)) fprintf(stderr, "    with a buffer of %u\n", buffer_size);
        service_down(&s);
    }
}

static void test_what_is_lent_outlives_its_frames(void)
{
    for (uint32_t end = 0; end < 3; end++) {
        struct service s;
        struct reading r;
        struct session *session = begin(&s, NULL);
        CHECK(lend(&s, session, &r) > 2 * LARGE);
        if (end == 0) CHECK_EQ(session_ack(&s, session, KVS_ACK_PERSISTED, T0 / KVS_HNS_PER_MS, 0), KVS_OK);
        if (end == 1) CHECK_EQ(kvs_stream_reset(s.streams[1], s.now_hns), KVS_OK);
        if (end == 2) session_ack(&s, session, KVS_ACK_ERROR, T0 / KVS_HNS_PER_MS, 4003);
        for (uint64_t ms = 2000; ms < 22000; ms += 1000) { /* more than the store holds: what may go is used again */
            struct put_as as = { .track = 1, .dts_ms = ms, .size = LARGE, .flags = KVS_FRAME_KEY };
            (void)service_put_as(&s, s.streams[1], ms, as);
        }
        CHECK(is_unchanged(&r));
        CHECK(s.streams[1]->lents.count == 1);
        (void)give_back(&s, session, &r);
        CHECK(s.streams[1]->lents.count == 0);
        service_down(&s);
    }
}

static void test_what_is_lent_costs_no_other_frame(void)
{
    struct service s;
    struct reading r;
    struct session *session = begin(&s, NULL);
    CHECK(lend(&s, session, &r) > 2 * LARGE);
    session_ack(&s, session, KVS_ACK_PERSISTED, T0 / KVS_HNS_PER_MS, 0);
    CHECK_EQ(metrics_of(s.streams[1]).frames_done, 1);
    CHECK_EQ(kvs_pool_used(&s.client->pool), 4); /* two frames of 100 KB: the first is done and lent */
    for (uint64_t ms = 2000; ms < 12000; ms += 1000) put_large(&s, ms, KVS_FRAME_KEY);
    struct kvs_stream_metrics metrics = metrics_of(s.streams[1]);
    CHECK(metrics.frames_buffered >= 3); /* four of eight slabs are lent */
    CHECK(is_unchanged(&r));
    CHECK_EQ(give_back(&s, session, &r), KVS_OK);
    service_down(&s);
}

static void test_memory_goes_with_the_next_call(void)
{
    for (uint32_t how = 0; how < 3; how++) {
        struct service s;
        struct reading r;
        struct session *session = begin(&s, NULL);
        uint8_t byte;
        CHECK(lend(&s, session, &r) > 2 * LARGE);
        session_ack(&s, session, KVS_ACK_PERSISTED, T0 / KVS_HNS_PER_MS, 0);
        CHECK_EQ(kvs_pool_used(&s.client->pool), 4);
        if (how == 0) CHECK_EQ(kvs_upload_read(s.streams[1], session->handle, &byte, 1, &r.state, s.now_hns), 0);
        if (how == 1) CHECK_EQ(lend(&s, session, &r), 0);
        if (how == 2) session_drop(&s, session, KVS_RESULT_OK);
        CHECK_EQ(kvs_pool_used(&s.client->pool), 3); /* the slab that both frames lie in stays */
        service_down(&s);
    }
}

static void test_wrong_loans_are_refused(void)
{
    struct service s;
    struct reading r;
    struct session *session = begin(&s, NULL);
    struct kvs_stream *stream = s.streams[1];
    struct kvs_loan good = { .size = sizeof good, .size_max = 1000, .buffer = r.buffer, .buffer_size = 100 };
    good.span_max = SPANS;
    good.spans = r.spans;
    struct kvs_loan bad = good;
    CHECK_EQ(kvs_upload_lend(NULL, session->handle, &bad, &r.state, s.now_hns), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_upload_lend(stream, session->handle, NULL, &r.state, s.now_hns), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_upload_lend(stream, session->handle, &bad, NULL, s.now_hns), KVS_E_NULL_ARG);
    bad.size--;
    CHECK_EQ(kvs_upload_lend(stream, session->handle, &bad, &r.state, s.now_hns), KVS_E_CONFIG_SIZE);
    bad = good, bad.buffer = NULL;
    CHECK_EQ(kvs_upload_lend(stream, session->handle, &bad, &r.state, s.now_hns), KVS_E_NULL_ARG);
    bad = good, bad.spans = NULL;
    CHECK_EQ(kvs_upload_lend(stream, session->handle, &bad, &r.state, s.now_hns), KVS_E_NULL_ARG);
    bad = good, bad.buffer_size = 0;
    CHECK_EQ(kvs_upload_lend(stream, session->handle, &bad, &r.state, s.now_hns), KVS_E_INVALID_ARG);
    bad = good, bad.size_max = 0;
    CHECK_EQ(kvs_upload_lend(stream, session->handle, &bad, &r.state, s.now_hns), KVS_E_INVALID_ARG);
    CHECK_EQ(kvs_upload_lend(stream, session->handle + 100, &good, &r.state, s.now_hns), KVS_E_UNKNOWN_UPLOAD);
    CHECK_EQ(kvs_upload_lend(stream, session->handle, &good, &r.state, s.now_hns), 100); /* of the header */
    CHECK_EQ(r.state, KVS_READ_MORE);
    service_check(&s);
    service_down(&s);
}

int main(void)
{
    test_large_frames_are_lent_where_they_lie();
    test_joined_fragments_are_the_same_for_any_buffer();
    test_what_is_lent_outlives_its_frames();
    test_what_is_lent_costs_no_other_frame();
    test_memory_goes_with_the_next_call();
    test_wrong_loans_are_refused();
    return CHECK_DONE();
}

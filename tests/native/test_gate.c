/* host/gate: the extension's put, which asks first whether a time can be true. Goal: the range holds at its ends, and a
 * thread may change it while others put, as happens in a Python without a GIL. Meant for ThreadSanitizer too. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"
#include "host/gate.h"

#define PUTTERS 3u
#define FRAMES_EACH 2000u
#define CHANGES 20000u
#define SECOND_NS UINT64_C(1000000000)
#define DAY_S 86400u

static struct kvs_client *client;
static struct kvs_stream *stream;
static struct kvspic_gate gate;
static uint64_t now_s;
static atomic_uint stored, passed_wrongly, refused_wrongly;
static const uint8_t frame[64] = { 0, 0, 0, 60, 0x65 };

static kvs_status put_at(uint64_t seconds)
{
    return kvspic_put_plain(&gate, frame, sizeof frame, seconds * SECOND_NS, KVS_FRAME_KEY);
}

static void open_stream(void)
{
    static const struct kvs_track_config track = { .id = 1, .type = KVS_TRACK_VIDEO, .codec_id = "V_MJPEG" };
    struct kvs_host host;
    kvs_host_init(&host, NULL);
    const struct kvs_client_config client_config = { .size = sizeof client_config, .store_max = 16u << 20 };
    const struct kvs_stream_config config = {
        .size = sizeof config,
        .name = "gate",
        .flags = KVS_KEY_FRAME_FRAGMENTS,
        .track_count = 1,
        .tracks = &track,
    };
    now_s = kvs_host_now_hns() / KVS_HNS_PER_SECOND;
    CHECK_EQ(kvs_client_new(&host, &client_config, kvs_host_now_hns(), &client), KVS_OK);
    struct kvs_action order;
    while (kvs_client_next_actions(client, &order, 1) == 1) {
        const struct kvs_client_answer ok = { .size = sizeof ok, .result = KVS_RESULT_OK, .request = order.request,
                                              .auth = KVS_AUTH_TOKEN, .expires_hns = KVS_TIME_NONE };
        if (order.request != 0) CHECK_EQ(kvs_client_answer(client, &ok, kvs_host_now_hns()), KVS_OK);
    }
    CHECK_EQ(kvs_stream_new(client, &config, kvs_host_now_hns(), &stream), KVS_OK);
    gate = (struct kvspic_gate){ .stream = stream, .ahead_s = KVSPIC_AHEAD_ANY };
}

static void close_stream(void)
{
    kvs_stream_free(stream);
    kvs_client_free(client);
}

static void test_the_ends_of_the_range(void)
{
    open_stream();
    CHECK_EQ(put_at(0), KVS_OK);
    CHECK_EQ(put_at(now_s + UINT32_MAX), KVS_OK); /* no limit is further than the largest one */
    kvspic_believe(&gate, (uint32_t)now_s - DAY_S, DAY_S);
    CHECK_EQ(put_at(now_s - DAY_S), KVS_OK);
    CHECK_EQ(put_at(now_s - DAY_S - 1), KVS_E_FRAME_TIMESTAMP_RANGE);
    CHECK_EQ(put_at(now_s + DAY_S), KVS_OK);
    CHECK_EQ(put_at(now_s + 2 * DAY_S), KVS_E_FRAME_TIMESTAMP_RANGE);
    gate.offset_hns = (int64_t)(DAY_S * KVS_HNS_PER_SECOND); /* the producer's clock is a day ahead of the host's */
    CHECK_EQ(put_at(now_s + 2 * DAY_S), KVS_OK);
    kvspic_believe(&gate, UINT32_MAX, 0);
    CHECK_EQ(put_at(now_s), KVS_E_FRAME_TIMESTAMP_RANGE);
    close_stream();
}

static void *put_many(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < FRAMES_EACH; i++) {
        if (put_at(now_s) != KVS_OK) atomic_fetch_add(&refused_wrongly, 1); /* both ranges have it */
        else atomic_fetch_add(&stored, 1);
        /* and neither has this one */
        if (put_at(now_s - 3 * DAY_S) != KVS_E_FRAME_TIMESTAMP_RANGE) atomic_fetch_add(&passed_wrongly, 1);
    }
    return NULL;
}

static void *change_often(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < CHANGES; i++)
        kvspic_believe(&gate, (uint32_t)now_s - (i % 2 + 1) * DAY_S, i % 2 ? KVSPIC_AHEAD_ANY : DAY_S);
    return NULL;
}

static void test_a_range_is_changed_while_others_put(void)
{
    open_stream();
    kvspic_believe(&gate, (uint32_t)now_s - DAY_S, DAY_S);
    pthread_t threads[PUTTERS + 1];
    for (unsigned i = 0; i <= PUTTERS; i++) pthread_create(&threads[i], NULL, i ? put_many : change_often, NULL);
    for (unsigned i = 0; i <= PUTTERS; i++) pthread_join(threads[i], NULL);
    struct kvs_stream_metrics found = { .size = sizeof found };
    CHECK_EQ(kvs_stream_metrics(stream, &found), KVS_OK);
    CHECK_EQ(found.frames_put, PUTTERS * FRAMES_EACH);
    CHECK_EQ(stored, PUTTERS * FRAMES_EACH);
    CHECK_EQ(refused_wrongly, 0);
    CHECK_EQ(passed_wrongly, 0);
    close_stream();
}

int main(void)
{
    test_the_ends_of_the_range();
    test_a_range_is_changed_while_others_put();
    return CHECK_DONE();
}

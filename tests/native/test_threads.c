/* Threads. Goal: any thread may call anything at any time but use a stream that is being freed. Four producers, two
 * network threads that drain, answer, read and acknowledge, and one that stops, resets, frees, reopens, pokes and asks
 * for metrics, all on eight streams of one client. It is meant for ThreadSanitizer; it also checks the ledger. Then one
 * reader that reads only after a DATA order, beside one producer.
 *
 * A slot's lock stands for the application's own rule that no thread uses a stream while or after it is freed: users
 * share it, and only the thread that frees takes it alone. It orders nothing between users. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "check.h"
#include "host/kvs_host.h"
#include "kvspic.h"
#include "scenario.h"

#define SLOTS 8u
#define PRODUCERS 4u
#define READERS 2u
#define FRAMES_EACH 8000u
#define LARGE 20000u /* copied outside the stream's lock */
#define T0 (UINT64_C(17000000000000000))

struct slot {
    pthread_rwlock_t gate;
    struct kvs_stream *stream;
    uint64_t user;
    atomic_uint_fast64_t time_ms, key_ms;
};

static struct slot slots[SLOTS];
static struct kvs_client *client;
static atomic_uint_fast64_t clock_hns, generation, faults, frames_taken, acks_taken, sessions_opened;
static atomic_int producers_left;

static uint64_t now(void) { return atomic_fetch_add(&clock_hns, 1000) + 1000; }

static void expect(int is_true)
{
    if (!is_true) atomic_fetch_add(&faults, 1);
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static void open_slot(struct slot *slot, uint32_t index)
{
    static const struct kvs_track_config track = { .id = 1, .type = KVS_TRACK_VIDEO, .codec_id = "V_MPEG4/ISO/AVC" };
    char name[16];
    uint64_t number = atomic_fetch_add(&generation, 1);
    snprintf(name, sizeof name, "s%u-%u", index, (unsigned)number);
    struct kvs_stream_config config = {
        .size = sizeof config,
        .name = name,
        .flags = KVS_KEY_FRAME_FRAGMENTS | KVS_WANT_ACKS | KVS_ALLOW_CREATE,
        .retention_hns = 3600 * KVS_HNS_PER_SECOND,
        .track_count = 1,
        .tracks = &track,
        .staleness_max_hns = KVS_HNS_PER_SECOND,
        .eofr_idle_hns = KVS_HNS_PER_MS,
        .latency_max_hns = KVS_HNS_PER_SECOND,
        .data_delay_hns = index % 2 * KVS_HNS_PER_MS,
    };
    slot->user = config.user = number << 8 | index;
    expect(kvs_stream_new(client, &config, now(), &slot->stream) == KVS_OK);
}

static void check_ledger(struct kvs_stream *stream)
{
    struct kvs_stream_metrics m = { .size = sizeof m };
    uint64_t dropped = 0;
    expect(kvs_stream_metrics(stream, &m) == KVS_OK);
    for (uint32_t i = 0; i < KVS_DROP_COUNT; i++) dropped += m.frames_dropped[i];
    expect(m.frames_put == m.frames_done + dropped + m.frames_buffered);
    expect(m.bytes_put == m.bytes_done + m.bytes_dropped + m.bytes_buffered);
}

/* ---- producers --------------------------------------------------------------------------------------------------- */

static void put_one(struct slot *slot, const uint8_t *bytes, uint32_t number)
{
    uint64_t ms = atomic_fetch_add(&slot->time_ms, 10);
    uint32_t size = number % 7 == 0 ? LARGE : 600, flags = number % 5 == 0 ? KVS_FRAME_KEY : 0;
    kvs_status status = kvs_stream_put_frame(slot->stream, bytes, size, T0 + ms * KVS_HNS_PER_MS,
                                             T0 + ms * KVS_HNS_PER_MS, 0, 1, flags, now());
    if (status == KVS_OK) atomic_fetch_add(&frames_taken, 1);
    if (status == KVS_OK && flags) atomic_store(&slot->key_ms, ms);
    expect(status == KVS_OK || status == KVS_E_STREAM_STOPPED || status == KVS_E_FRAME_TIMESTAMP ||
           status == KVS_E_LARGE_TIMECODE);
}

static void *produce(void *argument)
{
    static const uint8_t bytes[LARGE];
    const uint32_t first = *(const uint32_t *)argument;
    for (uint32_t i = 0; i < FRAMES_EACH; i++) {
        struct slot *slot = &slots[(first + i / 3) % SLOTS];
        pthread_rwlock_rdlock(&slot->gate);
        put_one(slot, bytes, i);
        if (i % 50 == 0) kvs_stream_put_metadata(slot->stream, "n", "v", (int)(i / 50 % 2));
        if (i % 97 == 0) kvs_stream_end_fragment(slot->stream, now());
        pthread_rwlock_unlock(&slot->gate);
    }
    atomic_fetch_sub(&producers_left, 1);
    return NULL;
}

/* ---- network ----------------------------------------------------------------------------------------------------- */

static void answer(struct kvs_stream *stream, const struct kvs_action *order)
{
    struct kvs_stream_answer answer_ = { .size = sizeof answer_, .request = order->request, .result = KVS_RESULT_OK };
    answer_.stream_status = KVS_STATUS_ACTIVE;
    answer_.retention_hns = 3600 * KVS_HNS_PER_SECOND;
    answer_.expires_hns = KVS_TIME_NONE;
    kvs_status status = kvs_stream_answer(stream, &answer_, now());
    if (status == KVS_OK && order->kind == KVS_ACTION_PUT_MEDIA) atomic_fetch_add(&sessions_opened, 1);
    expect(status == KVS_OK || status == KVS_E_STALE_ANSWER); /* a reset may have come between */
}

static void read_upload(struct slot *slot, uint64_t upload)
{
    uint8_t buffer[4096];
    char text[120];
    enum kvs_read_state state = KVS_READ_MORE;
    kvs_status got = 0;
    for (uint32_t i = 0; i < 64 && state == KVS_READ_MORE && got >= 0; i++)
        got = kvs_upload_read(slot->stream, upload, buffer, sizeof buffer, &state, now());
    expect(got >= 0 || got == KVS_E_UNKNOWN_UPLOAD);
    uint64_t key_ms = T0 / KVS_HNS_PER_MS + atomic_load(&slot->key_ms);
    int size = snprintf(text, sizeof text, "{\"EventType\":\"PERSISTED\",\"FragmentTimecode\":%llu}",
                        (unsigned long long)key_ms);
    kvs_status applied = kvs_upload_ack_bytes(slot->stream, upload, (const uint8_t *)text, (uint32_t)size, now());
    if (applied > 0) atomic_fetch_add(&acks_taken, 1);
}

static void carry_out(const struct kvs_action *action)
{
    struct slot *slot = &slots[action->user & 0xff];
    pthread_rwlock_rdlock(&slot->gate);
    if (slot->user == action->user && slot->stream != NULL) {
        if (action->kind >= KVS_ACTION_DESCRIBE_STREAM && action->kind <= KVS_ACTION_PUT_MEDIA)
            answer(slot->stream, action);
        if (action->kind == KVS_ACTION_DATA) read_upload(slot, action->upload);
        if (action->kind == KVS_ACTION_UPLOAD_END) kvs_upload_ended(slot->stream, action->upload, 200, now());
    }
    pthread_rwlock_unlock(&slot->gate);
}

static void *serve(void *argument)
{
    struct kvs_action actions[8];
    (void)argument;
    while (atomic_load(&producers_left) != 0) {
        kvs_status count = kvs_client_next_actions(client, actions, 8);
        for (kvs_status i = 0; i < count; i++) carry_out(&actions[i]);
    }
    return NULL;
}

/* ---- trouble ----------------------------------------------------------------------------------------------------- */

static void free_and_reopen(struct slot *slot, uint32_t index)
{
    pthread_rwlock_wrlock(&slot->gate);
    check_ledger(slot->stream);
    kvs_stream_free(slot->stream);
    open_slot(slot, index);
    pthread_rwlock_unlock(&slot->gate);
}

static void make_trouble(uint32_t turn)
{
    uint32_t index = turn % SLOTS;
    struct slot *slot = &slots[index];
    struct kvs_client_metrics metrics = { .size = sizeof metrics };
    pthread_rwlock_rdlock(&slot->gate);
    if (turn % 5 == 0) kvs_stream_reset(slot->stream, now());
    if (turn % 5 == 1) kvs_stream_reset_connection(slot->stream, now());
    if (turn % 5 == 2) kvs_stream_retry(slot->stream, now());
    if (turn % 25 == 3) kvs_stream_stop(slot->stream, now());
    check_ledger(slot->stream);
    pthread_rwlock_unlock(&slot->gate);
    if (turn % 20 == 19) free_and_reopen(slot, index);
    expect(kvs_client_metrics(client, &metrics) == KVS_OK);
    expect(metrics.store_used <= metrics.store_max);
    uint64_t due = kvs_client_next_deadline(client);
    if (due != KVS_TIME_NONE && turn % 4 == 0) expect(kvs_client_poke(client, now()) == KVS_OK);
}

static void start_client(void)
{
    struct kvs_host host;
    struct kvs_client_config config = { .size = sizeof config, .store_max = 4u << 20, .seed = 3 };
    struct kvs_action action;
    kvs_host_init(&host, NULL);
    CHECK_EQ(kvs_client_new(&host, &config, now(), &client), KVS_OK);
    while (kvs_client_next_actions(client, &action, 1) == 1) {
        struct kvs_client_answer ok = { .size = sizeof ok,
                                        .result = KVS_RESULT_OK,
                                        .request = action.request,
                                        .auth = KVS_AUTH_TOKEN,
                                        .expires_hns = KVS_TIME_NONE };
        if (action.request != 0) CHECK_EQ(kvs_client_answer(client, &ok, now()), KVS_OK);
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        pthread_rwlock_init(&slots[i].gate, NULL);
        open_slot(&slots[i], i);
    }
}

static void test_everything_at_once(void)
{
    pthread_t producers[PRODUCERS], readers[READERS];
    uint32_t firsts[PRODUCERS], turn = 0;
    atomic_store(&clock_hns, T0);
    atomic_store(&producers_left, (int)PRODUCERS);
    start_client();
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        firsts[i] = i * 2;
        CHECK_EQ(pthread_create(&producers[i], NULL, produce, &firsts[i]), 0);
    }
    for (uint32_t i = 0; i < READERS; i++) CHECK_EQ(pthread_create(&readers[i], NULL, serve, NULL), 0);
    while (atomic_load(&producers_left) != 0) make_trouble(turn++);
    for (uint32_t i = 0; i < PRODUCERS; i++) pthread_join(producers[i], NULL);
    for (uint32_t i = 0; i < READERS; i++) pthread_join(readers[i], NULL);
    for (uint32_t i = 0; i < SLOTS; i++) check_ledger(slots[i].stream);
    kvs_client_free(client);
    for (uint32_t i = 0; i < SLOTS; i++) pthread_rwlock_destroy(&slots[i].gate);
    CHECK_EQ(atomic_load(&faults), 0);
    CHECK(atomic_load(&frames_taken) > PRODUCERS * FRAMES_EACH / 4);
    printf("%llu frames, %llu ACKs, %llu sessions, %u turns of trouble\n",
           (unsigned long long)atomic_load(&frames_taken), (unsigned long long)atomic_load(&acks_taken),
           (unsigned long long)atomic_load(&sessions_opened), turn);
}

/* ---- one reader that sleeps until DATA --------------------------------------------------------------------- */

static void *produce_in_order(void *argument)
{
    static const uint8_t bytes[600];
    (void)argument;
    for (uint64_t i = 0; i < FRAMES_EACH; i++) {
        uint64_t pts_hns = T0 + i * 10 * KVS_HNS_PER_MS;
        uint32_t flags = i % 30 == 0 ? KVS_FRAME_KEY : 0;
        expect(kvs_stream_put_frame(slots[0].stream, bytes, sizeof bytes, pts_hns, pts_hns, 0, 1, flags, now()) == 0);
    }
    atomic_fetch_sub(&producers_left, 1);
    return NULL;
}

/* Reads to "wait" on each DATA and never without one; 1 while there was an action. */
static int serve_what_is_announced(void)
{
    uint8_t buffer[4096];
    struct kvs_action action;
    enum kvs_read_state state = KVS_READ_MORE;
    if (kvs_client_next_actions(client, &action, 1) == 0) return 0;
    if (action.kind >= KVS_ACTION_DESCRIBE_STREAM && action.kind <= KVS_ACTION_PUT_MEDIA)
        answer(slots[0].stream, &action);
    while (action.kind == KVS_ACTION_DATA && state == KVS_READ_MORE)
        expect(kvs_upload_read(slots[0].stream, action.upload, buffer, sizeof buffer, &state, now()) >= 0);
    return 1;
}

/* The queue is drained by one thread while another puts: a DATA that is taken out just then must not count as one that
 * is still to come, or the reader would sleep for ever. */
static void test_no_announcement_is_lost(void)
{
    pthread_t producer;
    struct kvs_stream_metrics m = { .size = sizeof m };
    atomic_store(&clock_hns, T0);
    atomic_store(&producers_left, 1);
    start_client();
    CHECK_EQ(pthread_create(&producer, NULL, produce_in_order, NULL), 0);
    while (atomic_load(&producers_left) != 0) serve_what_is_announced();
    pthread_join(producer, NULL);
    while (serve_what_is_announced()) {
    }
    CHECK_EQ(kvs_stream_metrics(slots[0].stream, &m), KVS_OK);
    CHECK_EQ(m.frames_put, FRAMES_EACH);
    CHECK_EQ(m.bytes_unsent, 0);
    kvs_client_free(client);
    for (uint32_t i = 0; i < SLOTS; i++) pthread_rwlock_destroy(&slots[i].gate);
    CHECK_EQ(atomic_load(&faults), 0);
}

int main(void)
{
    test_everything_at_once();
    test_no_announcement_is_lost();
    return CHECK_DONE();
}

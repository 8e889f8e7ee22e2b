/* The client: credentials, device, READY, refresh, and what it counts. Goal: no failure of credentials is for ever,
 * none of it stops a stream that has what it needs, and every argument is checked. */
#include "service.h"

enum {
    CREDENTIALS = KVS_ACTION_GET_CREDENTIALS,
    PROVISION = KVS_ACTION_PROVISION,
    EXCHANGE = KVS_ACTION_EXCHANGE_TOKEN,
    CREATE = KVS_ACTION_CREATE_DEVICE,
    TAG = KVS_ACTION_TAG_CLIENT,
    READY = KVS_ACTION_CLIENT_READY
};

static kvs_status answer(struct service *s, uint32_t kind, uint32_t auth, uint64_t expires_hns)
{
    struct kvs_client_answer given = { .size = sizeof given,
                                       .result = KVS_RESULT_OK,
                                       .auth = auth,
                                       .request = s->last[kind].request,
                                       .expires_hns = expires_hns };
    kvs_status status = kvs_client_answer(s->client, &given, s->now_hns);
    service_check(s);
    return status;
}

static void begin(struct service *s, uint64_t hold, const struct kvs_client_config *config)
{
    service_start(s);
    s->hold = hold;
    CHECK_EQ(service_client(s, config), KVS_OK);
    service_turn(s);
}

static void test_the_way_to_ready(void)
{
    struct service s;
    begin(&s, 0, NULL);
    CHECK_EQ(s.count[CREDENTIALS], 1);
    CHECK_EQ(s.count[EXCHANGE], 0);
    CHECK_EQ(s.count[CREATE], 1);
    CHECK_EQ(s.count[READY], 1);
    HELD("CS-01");
    service_down(&s);
    begin(&s, HOLD(CREDENTIALS), NULL);
    CHECK_EQ(answer(&s, CREDENTIALS, KVS_AUTH_CERTIFICATE, KVS_TIME_NONE), KVS_OK);
    service_turn(&s);
    CHECK_EQ(s.count[EXCHANGE], 1);
    CHECK_EQ(s.count[READY], 1);
    HELD("CS-02");
    service_down(&s);
}

static void test_no_source_of_credentials(void)
{
    struct service s;
    service_start(&s);
    s.auth = KVS_AUTH_MISSING;
    CHECK_EQ(service_client(&s, NULL), KVS_OK);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_CLIENT_FAILED], 1);
    CHECK_EQ(s.last[KVS_ACTION_CLIENT_FAILED].status, KVS_E_PROVISION_FAILED);
    CHECK(s.count[PROVISION] <= 6);
    REPLACED("CS-03", "provisioning is tried within the budget, then FAILED is reported; a deadline tries it again");
    s.auth = KVS_AUTH_TOKEN;
    service_poke(&s, kvs_client_next_deadline(s.client));
    CHECK_EQ(s.count[READY], 1);
    service_down(&s);
}

static void test_a_token_has_to_last(void)
{
    struct service s;
    static const int64_t lives[] = { -1, 0, 20, 29, 30, 40 };
    for (uint32_t i = 0; i < 6; i++) {
        begin(&s, HOLD(CREDENTIALS), NULL);
        uint64_t expires = T0 + (uint64_t)(lives[i] * (int64_t)KVS_HNS_PER_SECOND);
        CHECK_EQ(answer(&s, CREDENTIALS, KVS_AUTH_TOKEN, expires), lives[i] < 30 ? KVS_E_TOKEN_EXPIRY : KVS_OK);
        service_turn(&s);
        CHECK_EQ(s.count[READY], lives[i] >= 30);
        CHECK_EQ(s.count[CREDENTIALS], lives[i] >= 30 ? 1 : 2);
        service_down(&s);
    }
    HELD("CS-05");
    REPLACED("CS-04", "the answer says KVS_E_TOKEN_EXPIRY and counts as a failed try");
}

static void test_each_order_is_repeated_five_times(void)
{
    static const struct {
        uint32_t kind;
        kvs_status status;
    } rows[] = { { CREDENTIALS, KVS_E_AUTH_FAILED }, { CREATE, KVS_E_CREATE_DEVICE_FAILED } };
    struct service s;
    for (uint32_t i = 0; i < 2; i++) {
        service_start(&s);
        service_script(&s, rows[i].kind, KVS_RESULT_UNKNOWN, 6);
        CHECK_EQ(service_client(&s, NULL), KVS_OK);
        service_turn(&s);
        CHECK_EQ(s.count[rows[i].kind], 6);
        CHECK_EQ(s.last[KVS_ACTION_CLIENT_FAILED].status, rows[i].status);
        CHECK_EQ(s.last_status, rows[i].status);
        service_poke(&s, kvs_client_next_deadline(s.client)); /* never latched */
        CHECK_EQ(s.count[READY], 1);
        service_down(&s);
    }
    begin(&s, HOLD(CREDENTIALS), NULL);
    service_script(&s, EXCHANGE, KVS_RESULT_UNKNOWN, 6);
    s.hold = 0;
    CHECK_EQ(answer(&s, CREDENTIALS, KVS_AUTH_CERTIFICATE, KVS_TIME_NONE), KVS_OK);
    service_turn(&s);
    CHECK_EQ(s.last[KVS_ACTION_CLIENT_FAILED].status, KVS_E_CLIENT_TOKEN_FAILED);
    service_down(&s);
}

static void test_refusals_and_tags(void)
{
    struct kvs_client_config config = { .size = sizeof config, .device_tag_count = 1 };
    struct service s;
    service_start(&s);
    service_script(&s, CREATE, KVS_RESULT_BAD_REQUEST, 1);
    CHECK_EQ(service_client(&s, NULL), KVS_OK);
    service_turn(&s);
    CHECK_EQ(s.last[KVS_ACTION_CLIENT_FAILED].status, KVS_E_BAD_REQUEST);
    service_down(&s);
    service_start(&s);
    service_script(&s, CREATE, KVS_RESULT_NOT_AUTHORIZED, 1);
    CHECK_EQ(service_client(&s, NULL), KVS_OK);
    service_turn(&s);
    CHECK_EQ(s.last[KVS_ACTION_CLIENT_FAILED].status, KVS_E_NOT_AUTHORIZED);
    service_down(&s);
    for (uint32_t i = 0; i < 3; i++) { /* a device is of use without its tags */
        service_start(&s);
        service_script(&s, TAG, i == 0 ? 403 : KVS_RESULT_UNKNOWN, i == 0 ? 1 : i == 1 ? 6 : 1);
        CHECK_EQ(service_client(&s, &config), KVS_OK);
        service_turn(&s);
        CHECK_EQ(s.last_status, KVS_OK);
        CHECK_EQ(s.count[READY], 1);
        CHECK_EQ(s.count[KVS_ACTION_TAG_SKIPPED], i < 2);
        CHECK_EQ(s.count[TAG], i == 0 ? 1 : i == 1 ? 6 : 2);
        service_down(&s);
    }
}

static void test_stale_answers(void)
{
    struct service s;
    begin(&s, HOLD(CREATE), NULL);
    CHECK_EQ(answer(&s, CREDENTIALS, KVS_AUTH_TOKEN, KVS_TIME_NONE), KVS_E_STALE_ANSWER);
    CHECK_EQ(s.client->state, KVS_CLIENT_CREATE);
    CHECK(service_new(&s, NULL) == NULL);
    CHECK_EQ(s.last_status, KVS_E_CLIENT_STATE);
    HELD("CS-27");
    CHECK_EQ(answer(&s, CREATE, 0, 0), KVS_OK);
    CHECK_EQ(answer(&s, CREATE, 0, 0), KVS_E_STALE_ANSWER);
    CHECK(service_new(&s, NULL) != NULL);
    service_down(&s);
}

static void test_credentials_are_fetched_again_before_they_expire(void)
{
    struct service s;
    begin(&s, HOLD(CREDENTIALS), NULL);
    uint64_t expires = T0 + 3600 * KVS_HNS_PER_SECOND;
    CHECK_EQ(answer(&s, CREDENTIALS, KVS_AUTH_TOKEN, expires), KVS_OK);
    service_turn(&s);
    struct kvs_stream *stream = service_open(&s, NULL);
    service_put_fragments(&s, stream, 0, 2, 5);
    service_turn(&s);
    service_poke(&s, expires - 30 * KVS_HNS_PER_SECOND);
    CHECK_EQ(s.count[CREDENTIALS], 2);
    CHECK_EQ(metrics_of(stream).sessions_active, 1); /* it goes on */
    s.hold = 0;
    service_script(&s, CREDENTIALS, KVS_RESULT_UNKNOWN, 20); /* the source is down for a while */
    for (uint32_t i = 0; i < 6; i++) answer_client(&s, &s.last[CREDENTIALS], KVS_RESULT_UNKNOWN), service_turn(&s);
    CHECK(s.count[KVS_ACTION_CLIENT_FAILED] >= 1);
    struct kvs_stream_config second = video_config();
    second.name = "second";
    CHECK(service_open(&s, &second) != NULL); /* streams notice nothing of it */
    s.script_count[CREDENTIALS] = 0;
    service_poke(&s, kvs_client_next_deadline(s.client));
    CHECK_EQ(s.client->state, KVS_CLIENT_READY);
    CHECK_EQ(s.count[READY], 1);
    HELD("CS-10");
    CHECK(service_drain(&s, stream));
    service_down(&s);
}

static void test_names_and_counts(void)
{
    struct kvs_client_config client = { .size = sizeof client, .stream_count_max = 2 };
    struct kvs_stream_config config = video_config();
    struct service s;
    service_up(&s, &client);
    config.name = "ABC";
    struct kvs_stream *first = service_new(&s, &config);
    CHECK(first != NULL);
    CHECK(service_new(&s, &config) == NULL);
    CHECK_EQ(s.last_status, KVS_E_DUPLICATE_STREAM);
    config.name = "aBC";
    CHECK(service_new(&s, &config) != NULL);
    config.name = "DEF";
    CHECK(service_new(&s, &config) == NULL);
    CHECK_EQ(s.last_status, KVS_E_STREAM_COUNT);
    service_free(&s, first);
    CHECK(service_new(&s, &config) != NULL);
    CHECK_EQ(s.client->stream_count, 2);
    HELD("CS-28 CS-29 CS-33");
    REPLACED("CD-103 CD-104", "names have the service's pattern and are never empty in kvspic.h");
    service_down(&s);
}

/* The table of names grows with the streams; a name is free again as soon as its stream is. */
static void test_many_names(void)
{
    enum { COUNT = 100 };
    struct kvs_stream *streams[COUNT], *again;
    struct kvs_stream_config config = video_config();
    char name[32];
    struct service s;
    service_up(&s, NULL);
    config.name = name;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++) {
            snprintf(name, sizeof name, "camera-%d", i);
            if (round == 0 || i % 2 == 0)
                CHECK_EQ(kvs_stream_new(s.client, &config, s.now_hns, &streams[i]), KVS_OK);
            CHECK_EQ(kvs_stream_new(s.client, &config, s.now_hns, &again), KVS_E_DUPLICATE_STREAM);
        }
        CHECK_EQ(s.client->stream_count, COUNT);
        CHECK(s.client->bucket_count >= COUNT);
        for (int i = 0; i < COUNT; i += 2) kvs_stream_free(streams[i]);
    }
    service_down(&s);
}

static void test_metrics(void)
{
    struct service s;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, NULL);
    struct kvs_client_metrics m = { .size = sizeof m };
    service_put_fragments(&s, stream, 0, 4, 5);
    CHECK_EQ(kvs_client_metrics(s.client, &m), KVS_OK);
    CHECK_EQ(m.store_max, 16u << 20);
    CHECK_EQ(m.store_used, KVS_SLAB_SIZE);
    CHECK_EQ(m.stream_count, 1);
    CHECK_EQ(m.state, KVS_CLIENT_READY);
    m.size--;
    CHECK_EQ(kvs_client_metrics(s.client, &m), KVS_E_CONFIG_SIZE);
    struct kvs_stream_metrics n = { .size = 4 };
    CHECK_EQ(kvs_stream_metrics(stream, &n), KVS_E_CONFIG_SIZE);
    service_down(&s);
}

static void test_arguments_of_a_client(void)
{
    struct service s;
    struct kvs_client *client = NULL;
    struct kvs_client_config config = { .size = sizeof config };
    char id[66];
    memset(id, 'i', sizeof id - 1);
    id[65] = 0;
    service_start(&s);
    struct kvs_host host = fail_host_of(&s.fail), broken = host;
    config.size--;
    CHECK_EQ(kvs_client_new(&host, &config, T0, &client), KVS_E_CONFIG_SIZE);
    config.size++;
    config.store_max = 2 * KVS_SLAB_SIZE - 1;
    CHECK_EQ(kvs_client_new(&host, &config, T0, &client), KVS_E_STORE_SIZE);
    config.store_max = (UINT64_C(1) << 40) + 1;
    CHECK_EQ(kvs_client_new(&host, &config, T0, &client), KVS_E_STORE_SIZE);
    config.store_max = 0;
    config.stream_count_max = 1000001;
    CHECK_EQ(kvs_client_new(&host, &config, T0, &client), KVS_E_STREAM_COUNT);
    config.stream_count_max = 0;
    config.client_id = id;
    CHECK_EQ(kvs_client_new(&host, &config, T0, &client), KVS_E_CLIENT_ID_SIZE);
    id[64] = 0;
    broken.unlock = NULL;
    CHECK_EQ(kvs_client_new(&broken, &config, T0, &client), KVS_E_HOST);
    broken = host;
    broken.free = NULL;
    CHECK_EQ(kvs_client_new(&broken, &config, T0, &client), KVS_E_HOST);
    broken = host;
    broken.size = 1;
    CHECK_EQ(kvs_client_new(&broken, &config, T0, &client), KVS_E_CONFIG_SIZE);
    CHECK_EQ(s.fail.live_blocks, 0);
    host.lock_new = NULL; /* one thread only: no locks at all, no random, no wake */
    host.lock = host.unlock = host.lock_free = NULL;
    host.random = NULL;
    host.wake = NULL;
    CHECK_EQ(kvs_client_new(&host, &config, T0, &client), KVS_OK);
    kvs_client_free(client);
    CHECK(fail_host_is_clean(&s.fail));
}

int main(void)
{
    test_the_way_to_ready();
    test_no_source_of_credentials();
    test_a_token_has_to_last();
    test_each_order_is_repeated_five_times();
    test_refusals_and_tags();
    test_stale_answers();
    test_credentials_are_fetched_again_before_they_expire();
    test_names_and_counts();
    test_many_names();
    test_metrics();
    test_arguments_of_a_client();
    return CHECK_DONE();
}

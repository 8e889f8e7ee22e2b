/* test_conformance_client.c — the client's way to ready, with the statuses and callbacks that the field knows. Goal:
 * each source of credentials leads where it should, failures leave nothing behind, and later ones never stop the
 * streams. */
#include "fixture.h"
#include "scenario.h"

static STATUS no_token(UINT64 custom, PBYTE *bytes, PUINT32 size, PUINT64 expiration)
{
    fixture_of(custom)->token_count++;
    *bytes = NULL;
    *size = 0;
    *expiration = 0;
    return STATUS_SUCCESS;
}

static STATUS failing_token(UINT64 custom, PBYTE *bytes, PUINT32 size, PUINT64 expiration)
{
    (void)bytes, (void)size, (void)expiration;
    fixture_of(custom)->token_count++;
    return STATUS_OPEN_FILE_FAILED;
}

static STATUS certificate(UINT64 custom, PBYTE *bytes, PUINT32 size, PUINT64 expiration)
{
    static BYTE text[] = "certificate";
    fixture_of(custom)->certificate_count++;
    *bytes = text;
    *size = sizeof text;
    *expiration = fixture_of(custom)->now + HOUR;
    return STATUS_SUCCESS;
}

static STATUS fingerprint(UINT64 custom, PCHAR *text)
{
    static char letters[] = "0123456789ABCDEF0123456789ABCDEF";
    fixture_of(custom)->fingerprint_count++;
    *text = letters;
    return STATUS_SUCCESS;
}

static STATUS long_fingerprint(UINT64 custom, PCHAR *text)
{
    static char letters[] = "0123456789ABCDEF0123456789ABCDEFG";
    fixture_of(custom)->fingerprint_count++;
    *text = letters;
    return STATUS_SUCCESS;
}

static void test_a_token_makes_the_client_ready(void)
{
    struct fixture f;
    fixture_init(&f);
    f.callbacks.getDeviceCertificateFn = certificate;
    fixture_client(&f);
    CHECK_EQ(f.token_count, 1);
    CHECK_EQ(f.certificate_count, 0);
    CHECK_EQ(f.count[DEVICE], 1);
    CHECK_EQ(f.client_ready, 1);
    CHECK_EQ(f.auth.type, AUTH_INFO_TYPE_STS);
    CHECK_STR((const char *)f.auth.data, "secret");
    fixture_free(&f);
    HELD("CS-01");
}

static void test_a_certificate_is_exchanged_first(void)
{
    for (int is_missing = 0; is_missing < 2; is_missing++) {
        struct fixture f;
        fixture_init(&f);
        f.callbacks.getSecurityTokenFn = is_missing ? NULL : no_token;
        f.callbacks.getDeviceCertificateFn = certificate;
        f.script[CERT].is_silent = 1;
        fixture_client(&f);
        CHECK_EQ(f.certificate_count, 1);
        CHECK_EQ(f.count[CERT], 1);
        CHECK_EQ(f.auth.type, AUTH_INFO_TYPE_CERT);
        CHECK_EQ(f.count[DEVICE], 0);
        CHECK_EQ(fixture_answer(&f, CERT, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
        CHECK_EQ(f.count[DEVICE], 1);
        CHECK_EQ(f.auth.type, AUTH_INFO_TYPE_STS);
        CHECK_EQ(f.client_ready, 1);
        fixture_free(&f);
    }
    HELD("CS-02");
}

static void test_no_source_fails_provisioning(void)
{
    struct fixture f;
    fixture_init(&f);
    f.callbacks.getSecurityTokenFn = NULL;
    CHECK_EQ(createKinesisVideoClient(&f.device, &f.callbacks, &f.client), STATUS_CLIENT_PROVISION_CALL_FAILED);
    CHECK_EQ(f.client, INVALID_CLIENT_HANDLE_VALUE);
    f.callbacks.getDeviceFingerprintFn = fingerprint;
    CHECK_EQ(createKinesisVideoClient(&f.device, &f.callbacks, &f.client), STATUS_CLIENT_PROVISION_CALL_FAILED);
    CHECK_EQ(f.fingerprint_count, 1);
    f.callbacks.getDeviceFingerprintFn = long_fingerprint;
    CHECK_EQ(createKinesisVideoClient(&f.device, &f.callbacks, &f.client), STATUS_DEVICE_FINGERPRINT_LENGTH);
    REPLACED("CS-03", "a failed create gives an invalid handle");
}

static void test_a_token_that_is_about_to_expire(void)
{
    const UINT64 lives[] = { 0, 20 * SECOND, 30 * SECOND - 1 };
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++) {
        struct fixture f;
        fixture_init(&f);
        f.token_life = lives[i];
        CHECK_EQ(createKinesisVideoClient(&f.device, &f.callbacks, &f.client), STATUS_CLIENT_AUTH_CALL_FAILED);
        CHECK_EQ(f.client, INVALID_CLIENT_HANDLE_VALUE);
        CHECK_EQ(freeKinesisVideoClient(&f.client), STATUS_SUCCESS);
        CHECK_EQ(f.token_count, 6);
        f.token_life = i == 0 ? 30 * SECOND : 40 * SECOND;
        f.token_count = 0;
        fixture_client(&f);
        CHECK(f.token_count == 1 || i == 0); /* with just 30 s left the next call may ask again already */
        fixture_free(&f);
    }
    REPLACED("CS-04", "a failed create gives an invalid handle");
    HELD("CS-05");
}

static void test_a_failing_source_says_why(void)
{
    struct fixture f;
    fixture_init(&f);
    f.callbacks.getSecurityTokenFn = failing_token;
    CHECK_EQ(createKinesisVideoClient(&f.device, &f.callbacks, &f.client), STATUS_OPEN_FILE_FAILED);
    CHECK_EQ(f.token_count, 6);
    CHECK_EQ(createKinesisVideoClientSync(&f.device, &f.callbacks, &f.client), STATUS_OPEN_FILE_FAILED);
}

static void test_a_silent_service_times_out(void)
{
    struct fixture f;
    fixture_init(&f);
    f.callbacks.getCurrentTimeFn = NULL;
    f.now = 10 * HOUR + UINT64_C(40000000000000000); /* far in the future of the real clock */
    f.device.clientInfo.createClientTimeout = 20 * MS;
    f.script[DEVICE].is_silent = 1;
    CHECK_EQ(createKinesisVideoClientSync(&f.device, &f.callbacks, &f.client), STATUS_OPERATION_TIMED_OUT);
    CHECK_EQ(f.client, INVALID_CLIENT_HANDLE_VALUE);
    HELD("CS-06");
}

static void test_a_device_needs_an_arn(void)
{
    struct fixture f;
    char arn[] = "arn";
    fixture_init(&f);
    f.script[DEVICE].is_silent = 1;
    fixture_client(&f);
    CHECK_EQ(createDeviceResultEvent(f.custom[DEVICE], SERVICE_CALL_RESULT_OK, NULL),
             STATUS_INVALID_CREATE_DEVICE_RESPONSE);
    CHECK_EQ(f.client_ready, 0);
    CHECK_EQ(createKinesisVideoStream(f.client, &f.info, &f.stream), STATUS_INVALID_STREAM_STATE);
    CHECK_EQ(createDeviceResultEvent(f.custom[DEVICE], SERVICE_CALL_RESULT_OK, arn), STATUS_SUCCESS);
    CHECK_EQ(f.client_ready, 1);
    CHECK_EQ(createDeviceResultEvent(f.custom[DEVICE], SERVICE_CALL_RESULT_OK, arn), STATUS_INVALID_STREAM_STATE);
    fixture_free(&f);
    HELD("CS-07 CS-27");
}

static void test_device_tags_are_not_sent(void)
{
    struct fixture f;
    char name[] = "a", value[] = "b";
    Tag tag = { TAG_CURRENT_VERSION, name, value };
    fixture_init(&f);
    f.device.tagCount = 1;
    f.device.tags = &tag;
    fixture_client(&f);
    CHECK_EQ(f.count[TAG], 0);
    CHECK_EQ(f.client_ready, 1);
    fixture_free(&f);
    HELD("CS-08");
}

static void test_freeing_a_client_tells_its_streams_first(void)
{
    struct fixture f;
    fixture_init(&f);
    fixture_stream(&f);
    fixture_free(&f);
    CHECK_EQ(f.stream_shutdown, 1);
    CHECK_EQ(f.client_shutdown, 1);
    CHECK(f.shutdown_at < f.client_shutdown_at);
    CHECK_EQ(freeKinesisVideoClient(&f.client), STATUS_SUCCESS);
    HELD("CS-09");
}

static void test_credentials_are_renewed_by_deadline_and_never_given_up(void)
{
    struct fixture f;
    UINT64 deadline = 0;
    fixture_init(&f);
    f.token_life = HOUR;
    f.streaming_token_life = 20 * HOUR;
    fixture_stream(&f);
    CHECK_EQ(kvsNextDeadline(f.client, &deadline), STATUS_SUCCESS);
    CHECK(deadline <= f.now + HOUR - 30 * SECOND);
    f.token_life = 10 * SECOND; /* no good */
    f.now += HOUR - 20 * SECOND;
    int calls = 0;
    for (int i = 0; i < 300; i++) {
        f.now += SECOND;
        f.token_count = 0;
        CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
        calls += f.token_count;
        CHECK(f.token_count <= 1); /* on a schedule, not in a loop */
    }
    CHECK(calls > 10);
    CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
    f.token_life = 10 * HOUR;
    f.now += 20 * SECOND;
    f.token_count = 0;
    CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
    CHECK_EQ(f.token_count, 1);
    f.now += 5 * HUNDREDS_OF_NANOS_IN_A_MINUTE;
    CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
    CHECK_EQ(f.token_count, 1);
    fixture_free(&f);
    HELD("CS-10");
}

int main(void)
{
    test_a_token_makes_the_client_ready();
    test_a_certificate_is_exchanged_first();
    test_no_source_fails_provisioning();
    test_a_token_that_is_about_to_expire();
    test_a_failing_source_says_why();
    test_a_silent_service_times_out();
    test_a_device_needs_an_arn();
    test_device_tags_are_not_sent();
    test_freeing_a_client_tells_its_streams_first();
    test_credentials_are_renewed_by_deadline_and_never_given_up();
    return CHECK_DONE();
}

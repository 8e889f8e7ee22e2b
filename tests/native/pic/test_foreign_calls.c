/* test_foreign_calls.c — service calls as network layers see them that were written for the reference core. Goal: what
 * they are handed is what they expect to be handed, and what they answer at the wrong time changes nothing. */
#include "scenario.h"
#include "fixture.h"

/* ---- pointers -------------------------------------------------------------------------------------------------- */

static size_t text_size;
static UINT32 auth_types;

static STATUS create_by_text(UINT64 custom, PCHAR device, PCHAR name, PCHAR content_type, PCHAR kms, UINT64 retention,
                             PServiceCallContext context)
{
    text_size = strlen(device) + strlen(name) + strlen(content_type) + strlen(kms);
    return fixture_create_stream(custom, device, name, content_type, kms, retention, context);
}

static STATUS tag_by_text(UINT64 custom, PCHAR arn, UINT32 count, PTag tags, PServiceCallContext context)
{
    for (UINT32 i = 0; i < count; i++) text_size += strlen(tags[i].name) + strlen(tags[i].value);
    return fixture_tag(custom, arn, count, tags, context);
}

static STATUS describe_by_auth(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    auth_types |= 1u << context->pAuthInfo->type;
    return fixture_describe(custom, name, context);
}

/* The program looks at the length of every text, also of those that it left empty. */
static void test_every_text_is_a_text(void)
{
    static char key[] = "mood", none[] = "";
    for (int is_set = 0; is_set < 2; is_set++) {
        struct fixture f;
        Tag tag = { .version = TAG_CURRENT_VERSION, .name = key, .value = none };
        fixture_init(&f);
        f.script[DESCRIBE] = (struct call_script){ .fail_count = 1, .result = SERVICE_CALL_RESOURCE_NOT_FOUND };
        f.callbacks.createStreamFn = create_by_text;
        f.callbacks.tagResourceFn = tag_by_text;
        f.callbacks.describeStreamFn = describe_by_auth;
        f.info.tagCount = 1;
        f.info.tags = &tag;
        f.info.streamCaps.contentType[0] = 0;
        memcpy(f.device.name, "door", 5);
        if (is_set) memcpy(f.info.kmsKeyId, "alias/mine", 11);
        fixture_stream(&f);
        CHECK_EQ(f.count[CREATE], 1);
        CHECK_EQ(text_size, strlen("door") + strlen("camera") + strlen(key) + (is_set ? strlen("alias/mine") : 0));
        CHECK_EQ(auth_types, 1u << AUTH_INFO_TYPE_STS);
        fixture_free(&f);
    }
}

/* ---- customData ------------------------------------------------------------------------------------------------ */

static void check_custom(const struct fixture *f)
{
    CHECK_EQ(f->custom[DEVICE], f->client);
    for (int kind = DESCRIBE; kind < CALL_KINDS; kind++)
        CHECK(f->count[kind] == 0 || f->custom[kind] == f->stream);
}

/* Network layers keep what they know of a stream, its endpoint among it, under this number. */
static void test_custom_data_is_the_handle_in_every_call(void)
{
    struct fixture f;
    Tag tag = { .version = TAG_CURRENT_VERSION, .name = f.text, .value = f.text };
    fixture_init(&f);
    memcpy(f.text, "t", 2);
    f.info.tagCount = 1;
    f.info.tags = &tag;
    f.callbacks.tagResourceFn = fixture_tag;
    f.script[DESCRIBE] = (struct call_script){ .fail_count = 1, .result = SERVICE_CALL_RESOURCE_NOT_FOUND };
    f.script[TOKEN] = (struct call_script){ .fail_count = 2, .result = SERVICE_CALL_UNKNOWN };
    f.streaming_token_life = 60 * SECOND;
    fixture_stream(&f);
    check_custom(&f);
    fixture_put_fragments(&f, 2, 5);
    check_custom(&f);
    CHECK_EQ(kinesisVideoStreamTerminated(f.stream, 100, SERVICE_CALL_UNKNOWN), STATUS_SUCCESS);
    f.now += 58 * SECOND;
    CHECK_EQ(kvsPoke(f.client), STATUS_SUCCESS);
    CHECK_EQ(kinesisVideoStreamResetStream(f.stream), STATUS_SUCCESS);
    fixture_put_fragments(&f, 1, 5);
    check_custom(&f);
    for (int kind = DEVICE; kind < CALL_KINDS; kind++) CHECK(kind == CERT || f.count[kind] > 0);
    fixture_free(&f);
}

/* A stale answer is one that comes while nothing of its kind is outstanding. */
static void test_answers_that_nothing_waits_for_are_refused(void)
{
    struct fixture f;
    fixture_init(&f);
    f.script[ENDPOINT].is_silent = 1;
    fixture_stream(&f);
    for (enum call_kind kind = DESCRIBE; kind < CALL_KINDS; kind++) {
        f.custom[kind] = f.stream;
        if (kind != ENDPOINT) CHECK_EQ(fixture_answer(&f, kind, SERVICE_CALL_RESULT_OK), STATUS_INVALID_STREAM_STATE);
        if (kind != ENDPOINT) CHECK_EQ(fixture_answer(&f, kind, SERVICE_CALL_UNKNOWN), STATUS_INVALID_STREAM_STATE);
    }
    CHECK_EQ(f.count[ENDPOINT], 1);
    CHECK_EQ(fixture_answer(&f, ENDPOINT, SERVICE_CALL_RESULT_OK), STATUS_SUCCESS);
    CHECK_EQ(f.stream_ready, 1);
    CHECK_EQ(fixture_answer(&f, ENDPOINT, SERVICE_CALL_RESULT_OK), STATUS_INVALID_STREAM_STATE);
    CHECK_EQ(fixture_answer(&f, DEVICE, SERVICE_CALL_RESULT_OK), STATUS_INVALID_STREAM_STATE);
    fixture_free(&f);
}

/* After a reset the answer to the call before it may still come. It is taken once, as the answer of its kind. */
static void test_a_reset_leaves_one_call_of_a_kind_outstanding(void)
{
    struct fixture f;
    fixture_init(&f);
    f.script[DESCRIBE].is_silent = 1;
    fixture_stream(&f);
    CHECK_EQ(kinesisVideoStreamResetStream(f.stream), STATUS_SUCCESS);
    CHECK_EQ(f.count[DESCRIBE], 2);
    CHECK_EQ(describeStreamResultEvent(f.stream, SERVICE_CALL_RESOURCE_NOT_FOUND, NULL), STATUS_SUCCESS);
    CHECK_EQ(f.count[CREATE], 1);
    CHECK_EQ(f.stream_ready, 1);
    CHECK_EQ(describeStreamResultEvent(f.stream, SERVICE_CALL_RESOURCE_NOT_FOUND, NULL), STATUS_INVALID_STREAM_STATE);
    CHECK_EQ(f.count[CREATE], 1);
    fixture_free(&f);
}

/* ---- metadata -------------------------------------------------------------------------------------------------- */

/* Programs of the field end when this fails. In an outage it comes in each state of the way back. */
static void test_metadata_is_taken_in_an_outage(void)
{
    static const enum call_kind kinds[] = { DESCRIBE, ENDPOINT, TOKEN, PUT };
    char name[] = "during", value[] = "outage";
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        fixture_init(&f);
        fixture_stream(&f);
        fixture_put_fragments(&f, 2, 3);
        f.script[kinds[i]].is_silent = 1;
        CHECK_EQ(kinesisVideoStreamTerminated(f.stream, 100, SERVICE_CALL_UNKNOWN), STATUS_SUCCESS);
        CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, name, value, FALSE), STATUS_SUCCESS);
        CHECK_EQ(putKinesisVideoFragmentMetadata(f.stream, name, value, TRUE), STATUS_SUCCESS);
        CHECK_EQ(putKinesisVideoEventMetadata(f.stream, STREAM_EVENT_TYPE_NOTIFICATION, NULL), STATUS_SUCCESS);
        CHECK_EQ(fixture_put(&f, FRAME_FLAG_KEY_FRAME), STATUS_SUCCESS);
        fixture_free(&f);
    }
}

int main(void)
{
    test_metadata_is_taken_in_an_outage();
    test_every_text_is_a_text();
    test_custom_data_is_the_handle_in_every_call();
    test_answers_that_nothing_waits_for_are_refused();
    test_a_reset_leaves_one_call_of_a_kind_outstanding();
    return CHECK_DONE();
}

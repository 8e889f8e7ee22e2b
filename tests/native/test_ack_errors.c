/* The table of ERROR ACKs. Goal: each id of the service is about exactly one of fragment, session and stream, and an
 * id that is not published costs no footage. */
#include "check.h"
#include "kvspic.h"

#include <string.h>

static void test_each_id_is_found_and_says_what_to_do(void)
{
    uint32_t count = 0, last = 0;
    for (const struct kvs_ack_error *row; (row = kvs_ack_error_at(count)) != NULL; count++) {
        CHECK(row->id > last); /* in order, so none is there twice */
        last = row->id;
        CHECK(kvs_ack_error_of(row->id) == row);
        CHECK(row->about >= KVS_ABOUT_FRAGMENT && row->about <= KVS_ABOUT_STREAM);
        CHECK(strlen(row->name) > 0 && strlen(row->text) > 0 && strlen(row->remedy) > 0);
    }
    CHECK_EQ(count, 25);
}

static void test_an_unknown_id_is_about_the_session(void)
{
    static const uint32_t unknown[] = { 0, 3999, 4014, 4499, 4508, 5002, 6999, 7001, UINT32_MAX };
    for (uint32_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        CHECK_EQ(kvs_ack_error_of(unknown[i])->id, KVS_RESULT_UNKNOWN_ACK);
        CHECK_EQ(kvs_ack_error_of(unknown[i])->about, KVS_ABOUT_SESSION);
    }
}

static void test_keys_and_storage_are_about_the_stream(void)
{
    for (uint32_t id = KVS_RESULT_KMS_FIRST; id <= KVS_RESULT_STREAM_DELETED; id++)
        CHECK_EQ(kvs_ack_error_of(id)->about, KVS_ABOUT_STREAM);
    CHECK_EQ(kvs_ack_error_of(KVS_RESULT_STREAM_NOT_ACTIVE)->about, KVS_ABOUT_STREAM);
    CHECK_EQ(kvs_ack_error_of(KVS_RESULT_ACK_INTERNAL)->about, KVS_ABOUT_STREAM);
    CHECK_EQ(kvs_ack_error_of(KVS_RESULT_ARCHIVAL)->about, KVS_ABOUT_STREAM);
}

int main(void)
{
    test_each_id_is_found_and_says_what_to_do();
    test_an_unknown_id_is_about_the_session();
    test_keys_and_storage_are_about_the_stream();
    return CHECK_DONE();
}

/* base/status: every row of the status table has a name, a sentence and a class, and nothing else does. */
#include "check.h"
#include "kvspic.h"

static void test_rows(void)
{
    uint32_t index = 0;
    for (kvs_status status; (status = kvs_status_at(index)) != 0; index++) {
        CHECK(status < 0);
        CHECK(strlen(kvs_status_name(status)) > 0 && strcmp(kvs_status_name(status), "UNKNOWN") != 0);
        CHECK(strlen(kvs_status_text(status)) > 10);
        CHECK(kvs_status_class_of(status) != KVS_CLASS_NONE);
        for (uint32_t before = 0; before < index; before++) CHECK(kvs_status_at(before) != status);
    }
    CHECK(index > 90);
    CHECK_EQ(kvs_status_at(index + 1), 0);
    CHECK_EQ(kvs_status_at(UINT32_MAX), 0);
}

static void test_what_is_no_row(void)
{
    CHECK_STR(kvs_status_name(KVS_OK), "OK");
    CHECK_STR(kvs_status_text(7), "success"); /* a count */
    CHECK_STR(kvs_status_name(-1), "UNKNOWN");
    CHECK_EQ(kvs_status_class_of(KVS_OK), KVS_CLASS_NONE);
    CHECK_EQ(kvs_status_class_of(INT32_MIN), KVS_CLASS_NONE);
    CHECK_STR(kvs_status_name(KVS_E_STORE_FULL), "STORE_FULL");
    CHECK_EQ(kvs_status_class_of(KVS_E_STORE_FULL), KVS_CLASS_RESOURCE);
}

int main(void)
{
    test_rows();
    test_what_is_no_row();
    return CHECK_DONE();
}

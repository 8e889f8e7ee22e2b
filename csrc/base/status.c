/* status.c — texts, names and classes of the statuses, all made from the one table in kvspic_status.h. */
#include "kvspic.h"

struct status_row {
    kvs_status number;
    enum kvs_status_class cls;
    const char *name;
    const char *text;
};

#define KVS_STATUS_ROW(name, number, cls, text) {number, KVS_CLASS_##cls, #name, text},
static const struct status_row ROWS[] = {KVS_STATUS_TABLE(KVS_STATUS_ROW)};
#undef KVS_STATUS_ROW
#define ROW_COUNT (sizeof(ROWS) / sizeof(ROWS[0]))

static const struct status_row *find_row(kvs_status status)
{
    for (size_t index = 0; index < ROW_COUNT; index++) {
        if (ROWS[index].number == status) return &ROWS[index];
    }
    return NULL;
}

const char *kvs_status_text(kvs_status status)
{
    const struct status_row *row = find_row(status);
    if (row != NULL) return row->text;
    return status >= 0 ? "success" : "not a status of this library";
}

const char *kvs_status_name(kvs_status status)
{
    const struct status_row *row = find_row(status);
    if (row != NULL) return row->name;
    return status >= 0 ? "OK" : "UNKNOWN";
}

enum kvs_status_class kvs_status_class_of(kvs_status status)
{
    const struct status_row *row = find_row(status);
    return row == NULL ? KVS_CLASS_NONE : row->cls;
}

kvs_status kvs_status_at(uint32_t index)
{
    return index < ROW_COUNT ? ROWS[index].number : 0;
}

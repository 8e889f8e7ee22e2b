/* ack_errors.c — the table of ERROR ACKs (kvspic_acks.h) as data. */
#include "kvspic.h"

#define ROW(number, row_name, row_about, row_text, row_remedy) \
    { .id = number, .about = KVS_ABOUT_##row_about, .name = #row_name, .text = row_text, .remedy = row_remedy },
static const struct kvs_ack_error ROWS[] = { KVS_ACK_ERROR_TABLE(ROW) };
#undef ROW
#define ROW_COUNT ((uint32_t)(sizeof ROWS / sizeof ROWS[0]))

const struct kvs_ack_error *kvs_ack_error_at(uint32_t index)
{
    return index < ROW_COUNT ? &ROWS[index] : NULL;
}

const struct kvs_ack_error *kvs_ack_error_of(uint32_t id)
{
    for (uint32_t i = 0; i < ROW_COUNT; i++) {
        if (ROWS[i].id == id) return &ROWS[i];
    }
    return &ROWS[ROW_COUNT - 1u]; /* UNKNOWN is the last one */
}

/* ACK bytes, cut as the first byte says. The parser gives the same ACKs and errors however they are cut, within its
 * documented statuses. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/ack_parser.h"

#define RESULTS_MAX 64u

struct outcome {
    kvs_status status[RESULTS_MAX];
    struct kvs_ack ack[RESULTS_MAX];
    uint32_t count;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int is_true)
{
    if (!is_true) abort();
}

static void note(struct outcome *outcome, kvs_status status, const struct kvs_ack *ack)
{
    expect(status == 1 || (status <= KVS_E_ACK_KEY_START && status > KVS_E_NOMEM));
    if (outcome->count == RESULTS_MAX) return;
    outcome->status[outcome->count] = status;
    if (status == 1) outcome->ack[outcome->count] = *ack;
    outcome->count++;
}

static void parse(struct outcome *outcome, const uint8_t *bytes, uint32_t size, uint32_t piece)
{
    struct kvs_ack_parser parser;
    struct kvs_ack ack;
    kvs_ack_parser_init(&parser);
    for (uint32_t at = 0; at < size;) {
        uint32_t left = size - at < piece ? size - at : piece, used = 0;
        kvs_status status = kvs_ack_parser_next(&parser, bytes + at, left, &used, &ack);
        expect(used <= left && (used > 0 || status != KVS_OK));
        at += used;
        if (status != KVS_OK) note(outcome, status, &ack);
    }
}

static int is_equal(const struct outcome *a, const struct outcome *b)
{
    if (a->count != b->count) return 0;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct kvs_ack *x = &a->ack[i], *y = &b->ack[i];
        if (a->status[i] != b->status[i]) return 0;
        if (a->status[i] != 1) continue;
        if (x->type != y->type || x->timecode_ms != y->timecode_ms || x->error_id != y->error_id) return 0;
        if (memchr(x->number, 0, sizeof x->number) == NULL || strcmp(x->number, y->number) != 0) return 0;
    }
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, cut;
    if (size < 1 || size > 8192) return 0;
    memset(&whole, 0, sizeof whole);
    memset(&cut, 0, sizeof cut);
    parse(&whole, data + 1, (uint32_t)size - 1, UINT32_MAX);
    parse(&cut, data + 1, (uint32_t)size - 1, 1u + data[0] % 37u);
    expect(is_equal(&whole, &cut));
    return 0;
}

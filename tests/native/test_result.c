/* Kinds of results. Goal: numbers that mean the same are of one kind, and any other number is worth another try. */
#include "check.h"
#include "machine/result.h"

int main(void)
{
    static const struct {
        uint32_t first, last, kind;
    } rows[] = {
        { 0, 0, KVS_ANSWER_WIRE },
        { 200, 200, KVS_ANSWER_OK },
        { 400, 400, KVS_ANSWER_BAD_REQUEST },
        { 401, 401, KVS_ANSWER_AUTH },
        { 403, 403, KVS_ANSWER_AUTH },
        { 404, 404, KVS_ANSWER_NOT_FOUND },
        { 406, 406, KVS_ANSWER_BAD_REQUEST },
        { 408, 408, KVS_ANSWER_TIMEOUT },
        { 500, 503, KVS_ANSWER_OTHER },
        { 504, 504, KVS_ANSWER_TIMEOUT },
        { 505, 597, KVS_ANSWER_OTHER },
        { 598, 599, KVS_ANSWER_TIMEOUT },
        { 600, 3999, KVS_ANSWER_OTHER },
        { 4000, 9999, KVS_ANSWER_ERROR_ACK },
        { 10000, 10002, KVS_ANSWER_LIMIT },
        { 10003, 10003, KVS_ANSWER_OTHER },
        { 10004, 10005, KVS_ANSWER_DEVICE },
        { 10006, 10009, KVS_ANSWER_WIRE },
        { 10010, 10399, KVS_ANSWER_OTHER },
        { 10400, 10400, KVS_ANSWER_NOT_FOUND },
        { UINT32_MAX, UINT32_MAX, KVS_ANSWER_OTHER },
    };
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_EQ(kvs_answer_kind_of(rows[i].first), rows[i].kind);
        CHECK_EQ(kvs_answer_kind_of(rows[i].last), rows[i].kind);
    }
    return CHECK_DONE();
}

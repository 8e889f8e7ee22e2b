/* result.h — what kind of result a call to the service gave: the one place that knows which numbers mean the same. What
 * follows from a kind is decided by the machine that asked. */
#ifndef KVS_MACHINE_RESULT_H
#define KVS_MACHINE_RESULT_H

#include "kvspic.h"

enum kvs_answer_kind {
    KVS_ANSWER_OK,
    KVS_ANSWER_AUTH,        /* credentials or rights are missing: 401, 403 */
    KVS_ANSWER_BAD_REQUEST, /* the same again comes to the same: 400, 406 */
    KVS_ANSWER_NOT_FOUND,
    KVS_ANSWER_LIMIT,     /* of clients, devices or streams */
    KVS_ANSWER_DEVICE,    /* it is not known */
    KVS_ANSWER_TIMEOUT,   /* of a connection or of an answer */
    KVS_ANSWER_WIRE,      /* no answer of the service, or one that our side is the cause of */
    KVS_ANSWER_ERROR_ACK, /* the id of an ERROR ACK */
    KVS_ANSWER_OTHER      /* worth another try */
};

enum kvs_answer_kind kvs_answer_kind_of(uint32_t result); /* enum kvs_result, or any other number */

#endif

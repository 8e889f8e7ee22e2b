/* result.c — see result.h. */
#include "machine/result.h"

enum kvs_answer_kind kvs_answer_kind_of(uint32_t result)
{
    switch (result) {
    case KVS_RESULT_OK: return KVS_ANSWER_OK;
    case KVS_RESULT_NOT_AUTHORIZED:
    case KVS_RESULT_FORBIDDEN: return KVS_ANSWER_AUTH;
    case KVS_RESULT_BAD_REQUEST:
    case KVS_RESULT_INVALID_ARG: return KVS_ANSWER_BAD_REQUEST;
    case KVS_RESULT_NOT_FOUND:
    case KVS_RESULT_DELETED: return KVS_ANSWER_NOT_FOUND;
    case KVS_RESULT_CLIENT_LIMIT:
    case KVS_RESULT_DEVICE_LIMIT:
    case KVS_RESULT_STREAM_LIMIT: return KVS_ANSWER_LIMIT;
    case KVS_RESULT_NOT_PROVISIONED:
    case KVS_RESULT_DEVICE_NOT_FOUND: return KVS_ANSWER_DEVICE;
    case KVS_RESULT_REQUEST_TIMEOUT:
    case KVS_RESULT_GATEWAY_TIMEOUT:
    case KVS_RESULT_READ_TIMEOUT:
    case KVS_RESULT_CONNECTION_TIMEOUT: return KVS_ANSWER_TIMEOUT;
    case KVS_RESULT_NOT_SET:
    case KVS_RESULT_UNKNOWN:
    case KVS_RESULT_AUTH_FAILURE:
    case KVS_RESULT_SIGNATURE_EXPIRED:
    case KVS_RESULT_SIGNATURE_EARLY: return KVS_ANSWER_WIRE;
    default: break;
    }
    int is_ack = result >= KVS_RESULT_STREAM_READ_ERROR && result < KVS_RESULT_CLIENT_LIMIT;
    return is_ack ? KVS_ANSWER_ERROR_ACK : KVS_ANSWER_OTHER;
}

/* ack_parser.h — fragment ACKs: JSON objects in the PutMedia response, one byte at a time if need be.
 *
 * One parser per upload handle. Objects come back to back or separated by anything that is not '{'. Keys in any order;
 * numbers bare or quoted; unknown keys (any value, nested) skipped. In strings \" \\ and \/ are decoded; other escapes,
 * \uXXXX too, stay as written, because none occurs in a name that the service uses. Tokens and nesting are bounded.
 * A bad object gives one error and the parser goes on at the next '{' outside it; nothing of it is left. "Outside" is
 * after its last '}', or, when it never closes, at the first '{' where JSON allows no value.
 *   Always   the same bytes give the same ACKs and errors however they are cut.
 * Source: Amazon Kinesis Video Streams developer guide, PutMedia, "Response Syntax". */
#ifndef KVS_WIRE_ACK_PARSER_H
#define KVS_WIRE_ACK_PARSER_H

#include "kvspic.h"

#define KVS_ACK_TOKEN_MAX 128u
#define KVS_ACK_NESTING_MAX 32u

struct kvs_ack_parser {
    struct kvs_ack ack;               /* of the object being read */
    char token[KVS_ACK_TOKEN_MAX];    /* the key or value being read; unknown values are not kept */
    uint32_t depth;                   /* open brackets inside a skipped value; of a broken object, its own too */
    uint16_t token_size;
    uint8_t state;
    uint8_t key;
    uint8_t seen;                     /* known keys seen in this object, one bit each */
    uint8_t last;                     /* skipping: the last byte that was not white space; says if a value may come */
    uint8_t is_in_string, is_escaped;
};

void kvs_ack_parser_init(struct kvs_ack_parser *parser);
/* Reads from bytes until one object is complete or broken, or the bytes end. *used_out: how many were taken.
 *   1                    *ack_out is one whole ACK; call again with the rest
 *   KVS_OK               the bytes ended
 *   KVS_E_ACK_KEY_START  an object was broken: no key, comma or end where one must be (so `{}` too). As after each of
 *                        the following: call again with the rest
 *   KVS_E_ACK_VALUE_START, KVS_E_ACK_VALUE_END, KVS_E_ACK_DUPLICATE_KEY (of a known key)
 *   KVS_E_ACK_NUMBER     FragmentTimecode is not 0 to 2^64 - 2, ErrorId not 0 to 2^32 - 1
 *   KVS_E_ACK_TYPE, KVS_E_ACK_NO_ERROR_ID     found at the object's end
 *   KVS_E_ACK_TOKEN_SIZE a key or a known value has over 128 bytes (a FragmentNumber is cut at 128 instead)
 *   KVS_E_ACK_NESTING    a skipped value nests over 32 deep */
kvs_status kvs_ack_parser_next(struct kvs_ack_parser *parser, const uint8_t *bytes, uint32_t size,
                               uint32_t *used_out, struct kvs_ack *ack_out);

#endif

/* ack_parser.c — the push parser of fragment ACKs; ack_parser.h says what it accepts.
 *
 * One step function per state takes at least one byte and returns KVS_OK, 1 (a whole ACK) or the error that broke the
 * object. All that is remembered between bytes is in the struct, hence cuts do not matter. Runs of plain bytes are
 * taken at once. Every error ends in `broken`, which sets the parser to skip what is left of the object. */
#include "wire/ack_parser.h"

#include <string.h>

enum state { IDLE, FIRST_KEY, NEXT_KEY, KEY, COLON, VALUE, STRING, BARE, NESTED, BROKEN, STATE_COUNT };
enum key { KEY_UNKNOWN, KEY_TYPE, KEY_TIMECODE, KEY_NUMBER, KEY_ERROR_ID, KEY_COUNT };

struct input {
    const uint8_t *at, *end;
};

struct word {
    const char *text;
    uint8_t size, value;
};
#define WORD(text, value) { text, sizeof(text) - 1, value }

static const struct word KEYS[] = {
    WORD("EventType", KEY_TYPE), WORD("FragmentTimecode", KEY_TIMECODE), WORD("FragmentNumber", KEY_NUMBER),
    WORD("ErrorId", KEY_ERROR_ID),
};
static const struct word TYPES[] = {
    WORD("PERSISTED", KVS_ACK_PERSISTED), WORD("RECEIVED", KVS_ACK_RECEIVED), WORD("BUFFERING", KVS_ACK_BUFFERING),
    WORD("ERROR", KVS_ACK_ERROR), WORD("IDLE", KVS_ACK_IDLE),
};

static uint8_t look_up(const struct word *words, size_t count, const struct kvs_ack_parser *parser)
{
    for (size_t i = 0; i < count; i++) {
        if (words[i].size == parser->token_size && memcmp(words[i].text, parser->token, words[i].size) == 0) {
            return words[i].value;
        }
    }
    return 0;
}

static int is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void go_idle(struct kvs_ack_parser *parser)
{
    parser->state = IDLE;
}

static void begin_object(struct kvs_ack_parser *parser)
{
    parser->state = FIRST_KEY;
    parser->seen = 0;
    parser->depth = 0;
    parser->is_in_string = parser->is_escaped = 0;
    parser->ack.type = KVS_ACK_UNDEFINED;
    parser->ack.timecode_ms = KVS_TIME_NONE;
    parser->ack.error_id = 0;
    parser->ack.number[0] = '\0';
}

static void begin_token(struct kvs_ack_parser *parser, enum state state)
{
    parser->state = (uint8_t)state;
    parser->token_size = 0;
    parser->is_escaped = 0;
}

/* Where JSON wants a key, a comma or an end, a '{' can only be the next object: the one before it was cut short. */
static int may_be_value(uint8_t last)
{
    return last == ':' || last == '[' || last == ',';
}

/* One byte of what is skipped. 1 when a '{' shows that a new object begins here. */
static int skip_byte(struct kvs_ack_parser *parser, uint8_t c)
{
    if (parser->is_in_string) {
        if (c == '\n' || (c == '"' && !parser->is_escaped)) { /* JSON has no line end in a string: it was cut short */
            parser->is_in_string = 0;
            parser->last = '"';
        }
        parser->is_escaped = c == '\\' && !parser->is_escaped;
        return 0;
    }
    if (is_space(c)) return 0;
    if (c == '{' && !may_be_value(parser->last)) return 1;
    parser->last = c;
    if (c == '"') parser->is_in_string = 1;
    if (c == '{' || c == '[') parser->depth += parser->depth < UINT32_MAX;
    if (c == '}' || c == ']') parser->depth--;
    return 0;
}

/* The object is lost; c, its last byte read, may open or close something. */
static kvs_status broken(struct kvs_ack_parser *parser, uint8_t c, kvs_status status)
{
    parser->state = BROKEN;
    parser->depth++; /* from "inside a value" to "of the object" */
    parser->last = 0;
    parser->is_in_string = parser->is_escaped = 0;
    if (skip_byte(parser, c)) {
        begin_object(parser);
    } else if (parser->depth == 0) {
        go_idle(parser);
    }
    return status;
}

/* The same where c has been used up: it ended a string or was inside one. */
static kvs_status broken_after(struct kvs_ack_parser *parser, int is_in_string, kvs_status status)
{
    parser->state = BROKEN;
    parser->depth = 1;
    parser->last = '"';
    parser->is_in_string = (uint8_t)is_in_string;
    return status;
}

/* 0 and *value_out, or 1 when the token is not a decimal number of 0 to max. */
static int read_number(const struct kvs_ack_parser *parser, uint64_t max, uint64_t *value_out)
{
    uint64_t value = 0, tenth = max / 10, last = max % 10;
    for (uint16_t i = 0; i < parser->token_size; i++) {
        uint8_t digit = (uint8_t)(parser->token[i] - '0');
        if (digit > 9 || value > tenth || (value == tenth && digit > last)) return 1;
        value = value * 10 + digit;
    }
    *value_out = value;
    return parser->token_size == 0;
}

/* Only printable ASCII goes on: the number is shown in logs, and a cut could halve a UTF-8 character. */
static void keep_number(struct kvs_ack_parser *parser)
{
    for (uint16_t i = 0; i < parser->token_size; i++) {
        char c = parser->token[i];
        parser->ack.number[i] = c >= ' ' && c <= '~' ? c : '?';
    }
    parser->ack.number[parser->token_size] = '\0';
}

static kvs_status end_value(struct kvs_ack_parser *parser, int is_string)
{
    uint64_t error_id = 0;
    parser->state = NEXT_KEY;
    switch (parser->key) {
    case KEY_TYPE:
        if (is_string) parser->ack.type = look_up(TYPES, sizeof(TYPES) / sizeof(TYPES[0]), parser);
        return KVS_OK;
    case KEY_TIMECODE:
        return read_number(parser, KVS_TIME_NONE - 1, &parser->ack.timecode_ms) ? KVS_E_ACK_NUMBER : KVS_OK;
    case KEY_ERROR_ID:
        if (read_number(parser, UINT32_MAX, &error_id)) return KVS_E_ACK_NUMBER;
        parser->ack.error_id = (uint32_t)error_id;
        return KVS_OK;
    case KEY_NUMBER:
        if (is_string || (parser->token[0] >= '0' && parser->token[0] <= '9')) keep_number(parser);
        return KVS_OK;
    default:
        return KVS_OK;
    }
}

static kvs_status end_object(struct kvs_ack_parser *parser)
{
    go_idle(parser);
    if (parser->ack.type == KVS_ACK_UNDEFINED) return KVS_E_ACK_TYPE;
    if (parser->ack.type == KVS_ACK_ERROR && !(parser->seen & 1u << KEY_ERROR_ID)) return KVS_E_ACK_NO_ERROR_ID;
    return 1;
}

/* Appends a run to the token; 1 when it is over long. Values that were not asked for are not kept. */
static int keep(struct kvs_ack_parser *parser, const uint8_t *run, size_t size)
{
    if (parser->state != KEY && parser->key == KEY_UNKNOWN) return 0;
    size_t room = KVS_ACK_TOKEN_MAX - parser->token_size;
    int is_over = size > room;
    if (is_over) size = room;
    memcpy(parser->token + parser->token_size, run, size);
    parser->token_size = (uint16_t)(parser->token_size + size);
    return is_over && (parser->state == KEY || parser->key != KEY_NUMBER);
}

static kvs_status step_idle(struct kvs_ack_parser *parser, struct input *in)
{
    const uint8_t *open = memchr(in->at, '{', (size_t)(in->end - in->at));
    in->at = open == NULL ? in->end : open + 1;
    if (open != NULL) begin_object(parser);
    return KVS_OK;
}

static kvs_status step_first_key(struct kvs_ack_parser *parser, struct input *in)
{
    uint8_t c = *in->at++;
    if (c == '"') {
        begin_token(parser, KEY);
    } else if (!is_space(c)) {
        return broken(parser, c, KVS_E_ACK_KEY_START);
    }
    return KVS_OK;
}

static kvs_status step_next_key(struct kvs_ack_parser *parser, struct input *in)
{
    uint8_t c = *in->at++;
    if (c == '}') return end_object(parser);
    if (c == '"') {
        begin_token(parser, KEY);
    } else if (c != ',' && !is_space(c)) {
        return broken(parser, c, KVS_E_ACK_KEY_START);
    }
    return KVS_OK;
}

static int is_plain(uint8_t c)
{
    return c >= ' ' ? c != '"' && c != '\\' : c == '\t';
}

#define EACH(c) (UINT64_C(0x0101010101010101) * (c))

/* Whether eight bytes are plain for certain. A byte less 1 borrows from the next only where it was 0, so a byte that is
 * not plain is never missed. */
static int are_plain(const uint8_t *bytes)
{
    uint64_t word, quotes, slashes;
    memcpy(&word, bytes, sizeof word);
    quotes = word ^ EACH('"');
    slashes = word ^ EACH('\\');
    return (((word - EACH(' ')) | (quotes - EACH(1)) | (slashes - EACH(1)) | word) & EACH(0x80)) == 0;
}

/* A part of a string: a run of plain bytes, or one byte of another kind. 1 at the closing quote. */
static kvs_status string_part(struct kvs_ack_parser *parser, struct input *in)
{
    const uint8_t *run = in->at;
    if (parser->is_escaped) {
        static const uint8_t BACKSLASH = '\\';
        uint8_t c = *in->at++;
        parser->is_escaped = 0;
        if (c != '"' && c != '\\' && c != '/') {
            if (c < ' ') return broken_after(parser, c != '\n', KVS_E_ACK_VALUE_END);
            if (keep(parser, &BACKSLASH, 1)) return broken_after(parser, 1, KVS_E_ACK_TOKEN_SIZE);
        }
        return keep(parser, run, 1) ? broken_after(parser, 1, KVS_E_ACK_TOKEN_SIZE) : KVS_OK;
    }
    const uint8_t *at = run, *end = in->end;
    while (end - at >= 8 && are_plain(at)) at += 8;
    while (at < end && is_plain(*at)) at++;
    in->at = at;
    if (keep(parser, run, (size_t)(in->at - run))) return broken_after(parser, 1, KVS_E_ACK_TOKEN_SIZE);
    if (in->at == in->end) return KVS_OK;
    uint8_t c = *in->at++;
    if (c == '"') return 1;
    parser->is_escaped = c == '\\';
    return c == '\\' ? KVS_OK : broken_after(parser, c != '\n', KVS_E_ACK_VALUE_END);
}

static kvs_status step_key(struct kvs_ack_parser *parser, struct input *in)
{
    kvs_status part = string_part(parser, in);
    if (part != 1) return part == KVS_E_ACK_VALUE_END ? KVS_E_ACK_KEY_START : part;
    parser->key = look_up(KEYS, sizeof(KEYS) / sizeof(KEYS[0]), parser);
    uint8_t bit = (uint8_t)(1u << parser->key);
    if (parser->key != KEY_UNKNOWN && (parser->seen & bit)) return broken_after(parser, 0, KVS_E_ACK_DUPLICATE_KEY);
    parser->seen |= bit;
    parser->state = COLON;
    return KVS_OK;
}

/* Words between key and colon are let pass, as the field's parser does; what opens or closes something is not. */
static kvs_status step_colon(struct kvs_ack_parser *parser, struct input *in)
{
    uint8_t c = *in->at++;
    if (c == ':') parser->state = VALUE;
    return c != 0 && strchr("{}[]\",", c) != NULL ? broken(parser, c, KVS_E_ACK_VALUE_START) : KVS_OK;
}

static kvs_status begin_nested(struct kvs_ack_parser *parser, uint8_t c)
{
    if (parser->key == KEY_TIMECODE || parser->key == KEY_ERROR_ID) {
        kvs_status status = broken(parser, ' ', KVS_E_ACK_NUMBER);
        parser->depth++;
        parser->last = c;
        return status;
    }
    parser->state = NESTED;
    parser->depth = 1;
    parser->last = c;
    parser->is_in_string = parser->is_escaped = 0;
    return KVS_OK;
}

static kvs_status step_value(struct kvs_ack_parser *parser, struct input *in)
{
    uint8_t c = *in->at++;
    if (is_space(c)) return KVS_OK;
    if (c == '"') {
        begin_token(parser, STRING);
        return KVS_OK;
    }
    if (c == '{' || c == '[') return begin_nested(parser, c);
    if ((c >= '0' && c <= '9') || c == '-' || c == 't' || c == 'f' || c == 'n') {
        begin_token(parser, BARE);
        (void)keep(parser, &c, 1);
        return KVS_OK;
    }
    return broken(parser, c, KVS_E_ACK_VALUE_START);
}

static kvs_status step_string(struct kvs_ack_parser *parser, struct input *in)
{
    kvs_status part = string_part(parser, in);
    if (part != 1) return part;
    kvs_status status = end_value(parser, 1);
    return status == KVS_OK ? KVS_OK : broken_after(parser, 0, status);
}

static int is_bare(uint8_t c)
{
    return (c >= '0' && c <= '9') || (strchr(",}\"{[]: \n\r\t", c) == NULL || c == 0);
}

static kvs_status step_bare(struct kvs_ack_parser *parser, struct input *in)
{
    const uint8_t *run = in->at;
    const uint8_t *at = run, *end = in->end;
    while (at < end && is_bare(*at)) at++;
    in->at = at;
    if (in->at != run) {
        int is_over = keep(parser, run, (size_t)(in->at - run));
        return is_over ? broken(parser, ' ', KVS_E_ACK_TOKEN_SIZE) : KVS_OK;
    }
    uint8_t c = *in->at++;
    if (c == '"' || c == '{' || c == '[' || c == ']' || c == ':') return broken(parser, c, KVS_E_ACK_VALUE_END);
    kvs_status status = end_value(parser, 0);
    if (status != KVS_OK) return broken(parser, c, status);
    return c == '}' ? end_object(parser) : KVS_OK;
}

static kvs_status step_nested(struct kvs_ack_parser *parser, struct input *in)
{
    uint8_t c = *in->at++;
    if (skip_byte(parser, c)) {
        begin_object(parser);
        return KVS_E_ACK_VALUE_END;
    }
    if (parser->depth == 0) parser->state = NEXT_KEY;
    if (parser->depth <= KVS_ACK_NESTING_MAX) return KVS_OK;
    kvs_status status = broken(parser, ' ', KVS_E_ACK_NESTING);
    parser->last = c;
    return status;
}

static kvs_status step_broken(struct kvs_ack_parser *parser, struct input *in)
{
    if (skip_byte(parser, *in->at++)) {
        begin_object(parser);
    } else if (parser->depth == 0) {
        go_idle(parser);
    }
    return KVS_OK;
}

void kvs_ack_parser_init(struct kvs_ack_parser *parser)
{
    memset(parser, 0, sizeof(*parser));
    parser->ack.size = sizeof(parser->ack);
}

kvs_status kvs_ack_parser_next(struct kvs_ack_parser *parser, const uint8_t *bytes, uint32_t size,
                               uint32_t *used_out, struct kvs_ack *ack_out)
{
    static kvs_status (*const STEPS[STATE_COUNT])(struct kvs_ack_parser *, struct input *) = {
        [IDLE] = step_idle, [FIRST_KEY] = step_first_key, [NEXT_KEY] = step_next_key, [KEY] = step_key,
        [COLON] = step_colon, [VALUE] = step_value, [STRING] = step_string, [BARE] = step_bare,
        [NESTED] = step_nested, [BROKEN] = step_broken,
    };
    *used_out = 0;
    if (size == 0) return KVS_OK;
    struct input in = { bytes, bytes + size };
    kvs_status status = KVS_OK;
    while (status == KVS_OK && in.at < in.end) status = STEPS[parser->state](parser, &in);
    *used_out = (uint32_t)(in.at - bytes);
    if (status == 1) *ack_out = parser->ack;
    return status;
}

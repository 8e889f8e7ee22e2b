/* Fragment ACKs. Goal: an ACK means the same however the network cut it, a bad object gives one error and costs nothing
 * but itself, and no bytes whatsoever do more than that. */
#include <stdlib.h>

#include "base/prng.h"
#include "check.h"
#include "wire/ack_parser.h"

/* What came out of some bytes, as text: "P 5000 91" for an ACK, the number for an error, one a line. */
struct story {
    char text[8192];
    size_t size;
};

static void note(struct story *story, kvs_status status, const struct kvs_ack *ack)
{
    size_t room = sizeof(story->text) - story->size;
    int size;
    if (status != 1) {
        size = snprintf(story->text + story->size, room, "%d\n", (int)status);
    } else {
        size = snprintf(story->text + story->size, room, "%c %lld %s %u\n", "?BRPEI"[ack->type],
                        (long long)ack->timecode_ms, ack->number, (unsigned)ack->error_id);
    }
    if (size > 0 && (size_t)size < room) story->size += (size_t)size;
}

/* The bytes are copied to a block of their exact size, so that the sanitizer sees a read past them. */
static void feed(struct kvs_ack_parser *parser, const void *bytes, size_t size, struct story *story)
{
    uint8_t *copy = malloc(size + 1), *block = realloc(copy, size > 0 ? size : 1);
    memcpy(block, bytes, size);
    size_t done = 0;
    for (;;) {
        uint32_t used = 77;
        struct kvs_ack ack;
        kvs_status status = kvs_ack_parser_next(parser, block + done, (uint32_t)(size - done), &used, &ack);
        if (!CHECK(used <= size - done)) break;
        done += used;
        if (status == KVS_OK) break;
        if (!CHECK(status == 1 || (status <= KVS_E_ACK_KEY_START && status >= KVS_E_ACK_NESTING))) break;
        if (!CHECK(used > 0)) break;
        note(story, status, &ack);
    }
    CHECK_EQ(done, size);
    free(block);
}

static struct story whole(const void *bytes, size_t size)
{
    struct kvs_ack_parser parser;
    struct story story = { .size = 0 };
    kvs_ack_parser_init(&parser);
    feed(&parser, bytes, size, &story);
    return story;
}

static void gives_at(const char *bytes, const char *wanted, int line)
{
    struct story story = whole(bytes, strlen(bytes));
    if (CHECK_STR(story.text, wanted)) return;
    fprintf(stderr, "    line %d: %s\n    gave: %s    wanted: %s", line, bytes, story.text, wanted);
}
#define GIVES(bytes, wanted) gives_at(bytes, wanted, __LINE__)

/* Timecode 18446744073709551615, "absent", is shown as -1. */
#define GOOD "{\"EventType\":\"PERSISTED\",\"FragmentTimecode\":5000,\"FragmentNumber\":\"91\"}"
#define GOOD_NOTED "P 5000 91 0\n"

static void what_the_service_sends(void)
{
    GIVES("{\"EventType\":\"BUFFERING\",\"FragmentTimecode\":1565810137603,\"FragmentNumber\":"
          "\"91343852333181571046918222741096071001568090649\"}\r\n",
          "B 1565810137603 91343852333181571046918222741096071001568090649 0\n");
    GIVES("{\"EventType\":\"RECEIVED\",\"FragmentTimecode\":7,\"FragmentNumber\":\"1\"}", "R 7 1 0\n");
    GIVES(GOOD, GOOD_NOTED);
    GIVES("{\"EventType\":\"ERROR\",\"FragmentTimecode\":0,\"FragmentNumber\":\"9\",\"ErrorCode\":"
          "\"FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS\",\"ErrorId\":4004}", "E 0 9 4004\n");
    GIVES("{\"EventType\":\"IDLE\"}", "I -1  0\n"); /* CD-73 */
    GIVES("{\"EventType\":\"RECEIVED\",\"FragmentNumber\":\"1\"}", "R -1 1 0\n"); /* CD-73 */
    GIVES(GOOD GOOD "\n" GOOD ", [" GOOD "]", GOOD_NOTED GOOD_NOTED GOOD_NOTED GOOD_NOTED);
    GIVES("", "");
    GIVES("no object at all ]}\"", "");
}

static void forms_that_are_allowed(void) /* CD-71 */
{
    GIVES(" { \"FragmentTimecode\" : \"5000\" , \"FragmentNumber\":91 ,\t\"EventType\"\n:\n\"PERSISTED\" } ",
          GOOD_NOTED);
    GIVES("{\"X\":{\"a\":[1,{\"EventType\":\"IDLE\"}]},\"EventType\":\"PERSISTED\",\"Y\":[],\"FragmentTimecode\":5000,"
          "\"Z\":true,\"FragmentNumber\":\"91\",\"N\":null,\"D\":-1.5e3}", GOOD_NOTED);
    GIVES("{\"X\":\"a \\\"quoted\\\" } { brace \\\\\",\"EventType\":\"IDLE\"}", "I -1  0\n");
    GIVES("{\"X\":{\"a\":\"}}]\\\"\"},\"EventType\":\"IDLE\"}", "I -1  0\n");
    GIVES("{\"X\":\"\\u00e9\\ud83d\\ude00\\n\",\"EventType\":\"IDLE\"}", "I -1  0\n");
    GIVES("{\"X\\\"Y\":1,\"EventType\":\"IDLE\",\"FragmentNumber\":\"a\\/b\\u0041\"}", "I -1 a/b\\u0041 0\n");
    GIVES("{\"EventType\":\"IDLE\",\"FragmentNumber\":null}", "I -1  0\n");
    GIVES("{\"EventType\":\"IDLE\",\"FragmentNumber\":{\"EventType\":1}}", "I -1  0\n");
    GIVES("{\"EventType\":\"IDLE\",\"FragmentNumber\":\"\xc3\xa9\"}", "I -1 ?? 0\n");
    GIVES("{\"X\":1,\"X\":2,\"EventType\":\"IDLE\"}", "I -1  0\n"); /* unknown keys may repeat */
    GIVES("{\"EventType\" about : \"IDLE\",}", "I -1  0\n");
    GIVES("{\"EventType\":\"IDLE\",\"FragmentTimecode\":18446744073709551614}", "I -2  0\n");
    GIVES("{\"EventType\":\"IDLE\",\"FragmentTimecode\":000005}", "I 5  0\n");
    GIVES("{\"EventType\":\"ERROR\",\"ErrorId\":\"4294967295\"}", "E -1  4294967295\n");
}

/* Each error by name, and the good ACK behind it is there: at once, and after a line end. */
static void a_broken_object_costs_only_itself(void) /* CD-72 */
{
    static const struct { const char *bytes; kvs_status status; } BROKEN[] = {
        { "{}", KVS_E_ACK_KEY_START }, { "{ }", KVS_E_ACK_KEY_START }, { "{x}", KVS_E_ACK_KEY_START },
        { "{\"EventType\":\"IDLE\" x}", KVS_E_ACK_KEY_START }, { "{", KVS_E_ACK_KEY_START },
        { "{\"EventType\":\"IDLE\"", KVS_E_ACK_KEY_START }, { "{\"EventType\":\"IDLE\",", KVS_E_ACK_KEY_START },
        { "{5,{\"EventType\":\"IDLE\"}}", KVS_E_ACK_KEY_START },
        { "{\"EventType\":\"IDLE\",\"EventType\":\"IDLE\"}", KVS_E_ACK_DUPLICATE_KEY },
        { "{\"ErrorId\":1,\"ErrorId\":{\"a\":\"}\"}}", KVS_E_ACK_DUPLICATE_KEY },
        { "{\"X\":}", KVS_E_ACK_VALUE_START }, { "{\"X\":x}", KVS_E_ACK_VALUE_START },
        { "{\"X\",\"EventType\":\"IDLE\"}", KVS_E_ACK_VALUE_START }, { "{\"X\" ", KVS_E_ACK_VALUE_START },
        { "{\"X\":+1}", KVS_E_ACK_VALUE_START }, { "{\"X\"}", KVS_E_ACK_VALUE_START },
        { "{\"X\":1\"a\"}", KVS_E_ACK_VALUE_END }, { "{\"X\":1[}", KVS_E_ACK_VALUE_END },
        { "{\"X\":1:2}", KVS_E_ACK_VALUE_END }, { "{\"X\":1]}", KVS_E_ACK_VALUE_END },
        { "{\"X\":{\"a\":1", KVS_E_ACK_VALUE_END },
        { "{\"X\":\"a\x01\"}", KVS_E_ACK_VALUE_END }, { "{\"X\":\"cut\n", KVS_E_ACK_VALUE_END },
        { "{\"X\":\"cut\\\n", KVS_E_ACK_VALUE_END }, { "{\"cut\n", KVS_E_ACK_KEY_START },
        { "{\"FragmentTimecode\":null}", KVS_E_ACK_NUMBER }, { "{\"FragmentTimecode\":\"\"}", KVS_E_ACK_NUMBER },
        { "{\"FragmentTimecode\":-1}", KVS_E_ACK_NUMBER }, { "{\"FragmentTimecode\":1.5,\"a\":{}}", KVS_E_ACK_NUMBER },
        { "{\"FragmentTimecode\":18446744073709551615}", KVS_E_ACK_NUMBER },
        { "{\"FragmentTimecode\":18446744073709551616}", KVS_E_ACK_NUMBER },
        { "{\"FragmentTimecode\":99999999999999999999999}", KVS_E_ACK_NUMBER },
        { "{\"FragmentTimecode\":{\"EventType\":\"IDLE\"}}", KVS_E_ACK_NUMBER },
        { "{\"FragmentTimecode\":[{\"EventType\":\"IDLE\"}]}", KVS_E_ACK_NUMBER },
        { "{\"EventType\":\"ERROR\",\"ErrorId\":4294967296}", KVS_E_ACK_NUMBER },
        { "{\"EventType\":\"ERROR\",\"ErrorId\":\"x\",\"X\":\"}{\\\"\"}", KVS_E_ACK_NUMBER },
        { "{\"EventType\":\"persisted\"}", KVS_E_ACK_TYPE }, { "{\"EventType\":null}", KVS_E_ACK_TYPE },
        { "{\"EventType\":{\"EventType\":\"IDLE\"}}", KVS_E_ACK_TYPE }, { "{\"FragmentTimecode\":1}", KVS_E_ACK_TYPE },
        { "{\"EventType\":\"\"}", KVS_E_ACK_TYPE }, { "{\"EventType\":\"PERSISTEDX\"}", KVS_E_ACK_TYPE },
        { "{\"EventType\":\"ERROR\",\"FragmentTimecode\":1}", KVS_E_ACK_NO_ERROR_ID },
    };
    for (size_t i = 0; i < sizeof(BROKEN) / sizeof(BROKEN[0]); i++) {
        char bytes[512], wanted[64];
        for (int with_line_end = 0; with_line_end < 2; with_line_end++) {
            snprintf(bytes, sizeof(bytes), "%s%s%s%s", BROKEN[i].bytes, with_line_end ? "\n" : "", GOOD, GOOD);
            snprintf(wanted, sizeof(wanted), "%d\n%s%s", (int)BROKEN[i].status, GOOD_NOTED, GOOD_NOTED);
            GIVES(bytes, wanted);
        }
    }
}

/* A string that never ends takes what follows up to the next line, and an unfinished value takes one object. */
static void what_was_cut_short_takes_little_with_it(void)
{
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "%d\n%s", KVS_E_ACK_VALUE_END, GOOD_NOTED);
    GIVES("{\"EventType\":\"PERSI\n" GOOD, wanted);
    GIVES("{\"X\":tru" GOOD, wanted);
    snprintf(wanted, sizeof(wanted), "%d\n%s", KVS_E_ACK_KEY_START, GOOD_NOTED);
    GIVES("{\"X\":tru\n" GOOD, wanted);
    GIVES("{\"EventType\":" GOOD GOOD, wanted);
}

static void tokens_are_bounded(void)
{
    char name[400], bytes[1200], wanted[512];
    memset(name, '7', sizeof(name));
    name[128] = '\0';
    snprintf(bytes, sizeof(bytes), "{\"EventType\":\"IDLE\",\"FragmentNumber\":\"%s\"}", name);
    snprintf(wanted, sizeof(wanted), "I -1 %s 0\n", name);
    GIVES(bytes, wanted);
    name[128] = '7';
    name[300] = '\0';
    snprintf(bytes, sizeof(bytes), "{\"EventType\":\"IDLE\",\"FragmentNumber\":\"%s\"}", name); /* cut at 128 */
    GIVES(bytes, wanted);
    snprintf(bytes, sizeof(bytes), "{\"EventType\":\"IDLE\",\"FragmentNumber\":%s}", name);
    GIVES(bytes, wanted);
    /* what was not asked for is not kept, so its size does not matter */
    snprintf(bytes, sizeof(bytes), "{\"EventType\":\"IDLE\",\"X\":\"%s\",\"Y\":%s}", name, name);
    GIVES(bytes, "I -1  0\n");
    snprintf(wanted, sizeof(wanted), "%d\n%s", KVS_E_ACK_TOKEN_SIZE, GOOD_NOTED);
    static const char *const OVER[] = {
        "{\"%s\":1}" GOOD, "{\"EventType\":\"%s}{\\\"\"}" GOOD, "{\"FragmentTimecode\":%s,\"X\":{}}" GOOD,
        "{\"FragmentTimecode\":\"%s\"}" GOOD, "{\"ErrorId\":%s" GOOD, "{\"\\\\\\x%s\":[{}]}" GOOD,
    };
    for (size_t i = 0; i < sizeof(OVER) / sizeof(OVER[0]); i++) {
        const char *hole = strstr(OVER[i], "%s");
        snprintf(bytes, sizeof(bytes), "%.*s%s%s", (int)(hole - OVER[i]), OVER[i], name, hole + 2);
        GIVES(bytes, wanted);
    }
}

static void nesting_is_bounded(void)
{
    char bytes[512], wanted[64], open[64], close[64];
    for (int depth = 30; depth < 40; depth++) {
        memset(open, '[', sizeof(open));
        memset(close, ']', sizeof(close));
        open[depth] = close[depth] = '\0';
        snprintf(bytes, sizeof(bytes), "{\"X\":%s{}%s,\"EventType\":\"IDLE\"}%s", open, close, GOOD);
        if (depth < 32) {
            snprintf(wanted, sizeof(wanted), "I -1  0\n%s", GOOD_NOTED);
        } else {
            snprintf(wanted, sizeof(wanted), "%d\n%s", KVS_E_ACK_NESTING, GOOD_NOTED);
        }
        GIVES(bytes, wanted);
    }
}

/* One long text with everything in it, for the cuts. */
static size_t long_text(char *text, size_t room)
{
    char name[200];
    memset(name, 'k', sizeof(name));
    name[199] = '\0';
    int size = snprintf(text, room,
        " junk %s{}%s\n{\"X\":{\"a\":[1,{\"b\":\"}\\\"\"}]},\"EventType\":\"ERROR\",\"ErrorId\":\"4006\","
        "\"ErrorCode\":\"INVALID_MKV_DATA\"}{\"%s\":1}%s{\"FragmentTimecode\":null,\"X\":{}}{\"EventType\":\"PER\\u0041"
        "\"}{\"EventType\":\"IDLE\",\"FragmentNumber\":\"%s\"}{\"EventType\":{x{\"EventType\":\"ERROR\"}%s",
        GOOD, GOOD, name, GOOD, name, GOOD);
    return size > 0 && (size_t)size < room ? (size_t)size : 0;
}

static void an_ack_is_the_same_wherever_it_is_cut(void) /* CD-71 */
{
    char text[2048];
    size_t size = long_text(text, sizeof(text));
    struct story wanted = whole(text, size);
    CHECK(strstr(wanted.text, "E -1  4006\n") != NULL);
    for (size_t cut = 0; cut <= size; cut++) {
        struct kvs_ack_parser parser;
        struct story story = { .size = 0 };
        kvs_ack_parser_init(&parser);
        feed(&parser, text, cut, &story);
        feed(&parser, text + cut, size - cut, &story);
        if (!CHECK_STR(story.text, wanted.text)) return;
    }
    struct kvs_ack_parser parser; /* and one byte at a time, which is all cuts at once */
    struct story story = { .size = 0 };
    kvs_ack_parser_init(&parser);
    for (size_t i = 0; i < size; i++) feed(&parser, text + i, 1, &story);
    CHECK_STR(story.text, wanted.text);
}

static void feed_in_pieces(const char *text, size_t size, struct kvs_prng *prng, struct story *story)
{
    struct kvs_ack_parser parser;
    kvs_ack_parser_init(&parser);
    for (size_t done = 0; done < size;) {
        size_t piece = (size_t)kvs_prng_below(prng, 12);
        if (piece > size - done) piece = size - done;
        feed(&parser, text + done, piece, story);
        done += piece;
    }
}

/* Bytes of an alphabet that hits every branch, in random pieces, give the same story as in one piece; a good ACK after
 * the next two lines is always found again. */
static void any_bytes_give_acks_or_documented_errors(void)
{
    static const char *const PARTS[] = {
        "{", "}", "[", "]", "\"", "\\", ":", ",", " ", "\n", "1", "-", "null", "x", "\"EventType\"", "\"IDLE\"",
        "\"ErrorId\"", "\"FragmentTimecode\"", "\"FragmentNumber\"", "\"ERROR\"", "5", GOOD, "\x80", "\x01",
    };
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct kvs_prng prng = { .state = seed };
        char text[2048];
        size_t size = 0;
        for (uint64_t n = kvs_prng_below(&prng, 60); n > 0; n--) {
            const char *part = PARTS[kvs_prng_below(&prng, sizeof(PARTS) / sizeof(PARTS[0]))];
            if (size + strlen(part) >= sizeof(text)) break;
            memcpy(text + size, part, strlen(part));
            size += strlen(part);
        }
        struct story wanted = whole(text, size), story = { .size = 0 };
        feed_in_pieces(text, size, &prng, &story);
        if (!CHECK_STR(story.text, wanted.text)) {
            fprintf(stderr, "    seed %llu\n", (unsigned long long)seed);
            return;
        }
    }
}

/* However broken what came before: three objects on lines of their own, and the last one is reported. */
static void it_always_finds_back(void)
{
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct kvs_prng prng = { .state = seed };
        char text[1024];
        size_t size = (size_t)kvs_prng_below(&prng, 60);
        for (size_t i = 0; i < size; i++) text[i] = "{}[]\":,\\ \nx1"[kvs_prng_below(&prng, 12)];
        int more = snprintf(text + size, sizeof(text) - size, "\n%s\n%s\n%s\n", GOOD, GOOD, GOOD);
        struct story story = whole(text, size + (size_t)more);
        size_t wanted = strlen(GOOD_NOTED);
        if (!CHECK(story.size >= wanted && strcmp(story.text + story.size - wanted, GOOD_NOTED) == 0)) {
            fprintf(stderr, "    seed %llu: %s\n    %s", (unsigned long long)seed, text, story.text);
            return;
        }
    }
}

static void nothing_of_one_object_is_left_in_the_next(void)
{
    struct kvs_ack_parser parser;
    struct kvs_ack ack;
    uint32_t used;
    const char *text = "{\"EventType\":\"ERROR\",\"ErrorId\":4001,\"FragmentTimecode\":1,\"FragmentNumber\":\"5\"}"
                       "{\"EventType\":\"IDLE\"}";
    kvs_ack_parser_init(&parser);
    CHECK_EQ(kvs_ack_parser_next(&parser, (const uint8_t *)text, (uint32_t)strlen(text), &used, &ack), 1);
    CHECK_EQ(ack.size, sizeof(ack));
    CHECK_EQ(ack.type, KVS_ACK_ERROR);
    text += used;
    CHECK_EQ(kvs_ack_parser_next(&parser, (const uint8_t *)text, (uint32_t)strlen(text), &used, &ack), 1);
    CHECK(ack.type == KVS_ACK_IDLE && ack.error_id == 0 && ack.timecode_ms == KVS_TIME_NONE && ack.number[0] == 0);
    CHECK_EQ(kvs_ack_parser_next(&parser, NULL, 0, &used, &ack), KVS_OK);
    CHECK_EQ(used, 0);
}

int main(void)
{
    what_the_service_sends();
    forms_that_are_allowed();
    a_broken_object_costs_only_itself();
    what_was_cut_short_takes_little_with_it();
    tokens_are_bounded();
    nesting_is_bounded();
    an_ack_is_the_same_wherever_it_is_cut();
    any_bytes_give_acks_or_documented_errors();
    it_always_finds_back();
    nothing_of_one_object_is_left_in_the_next();
    return CHECK_DONE();
}

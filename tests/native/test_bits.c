/* base/bits: Exp-Golomb codes over their whole range, and no bit read past the end. */
#include "base/bits.h"
#include "check.h"

/* The code of ue(v), left-aligned at bit `at` of a zeroed buffer; returns its length. */
static uint32_t put_ue(uint8_t *bytes, uint32_t at, uint32_t value)
{
    const uint64_t code = (uint64_t)value + 1;
    uint32_t length = 0;
    while (code >> (length + 1) != 0) length++;
    for (uint32_t bit = 0; bit <= length; bit++) {
        const uint32_t place = at + length + bit;
        if ((code >> (length - bit) & 1) != 0) bytes[place / 8] |= (uint8_t)(0x80u >> place % 8);
    }
    return 2 * length + 1;
}

static void test_ue(uint32_t value, uint32_t offset)
{
    uint8_t bytes[16] = {0};
    struct kvs_bits bits;
    const uint32_t length = put_ue(bytes, offset, value);
    kvs_bits_init(&bits, bytes, sizeof(bytes));
    kvs_bits_skip(&bits, offset);
    CHECK_EQ(kvs_bits_ue(&bits), value);
    CHECK(!bits.failed && bits.at == offset + length);
    bits = (struct kvs_bits){bytes, offset + length - 1, offset, 0}; /* one bit too few */
    CHECK_EQ(kvs_bits_ue(&bits), 0);
    CHECK(bits.failed);
}

static void test_ue_values(void)
{
    static const uint32_t VALUES[] = {0, 1, 2, 3, 6, 7, 254, 255, 65534, 65535, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF};
    for (size_t index = 0; index < sizeof(VALUES) / sizeof(VALUES[0]); index++) {
        for (uint32_t offset = 0; offset < 9; offset++) test_ue(VALUES[index], offset);
    }
}

static void test_ue_that_are_none(void)
{
    static const uint8_t ZEROS[64] = {0};
    static const uint8_t TOO_LARGE[] = {0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}; /* 2^32 and more */
    struct kvs_bits bits;
    kvs_bits_init(&bits, ZEROS, sizeof(ZEROS));
    CHECK_EQ(kvs_bits_ue(&bits), 0);
    CHECK(bits.failed);
    kvs_bits_init(&bits, TOO_LARGE, sizeof(TOO_LARGE));
    CHECK_EQ(kvs_bits_ue(&bits), 0);
    CHECK(bits.failed);
    kvs_bits_init(&bits, NULL, 0);
    CHECK_EQ(kvs_bits_ue(&bits), 0);
    CHECK(bits.failed);
}

static void test_se(void)
{
    static const int32_t WANTED[] = {0, 1, -1, 2, -2, 3, -3};
    for (uint32_t code = 0; code < 7; code++) {
        uint8_t bytes[16] = {0};
        struct kvs_bits bits;
        put_ue(bytes, 0, code);
        kvs_bits_init(&bits, bytes, sizeof(bytes));
        CHECK_EQ(kvs_bits_se(&bits), WANTED[code]);
    }
    uint8_t bytes[16] = {0};
    struct kvs_bits bits;
    put_ue(bytes, 0, UINT32_MAX); /* would be 2^31 */
    kvs_bits_init(&bits, bytes, sizeof(bytes));
    CHECK_EQ(kvs_bits_se(&bits), 0);
    CHECK(bits.failed);
}

static void test_get(void)
{
    static const uint8_t BYTES[] = {0x12, 0x34, 0x56, 0x78, 0x9A};
    struct kvs_bits bits;
    kvs_bits_init(&bits, BYTES, sizeof(BYTES));
    CHECK_EQ(kvs_bits_get(&bits, 4), 1);
    CHECK_EQ(kvs_bits_get(&bits, 32), 0x23456789);
    CHECK_EQ(kvs_bits_get(&bits, 0), 0);
    CHECK_EQ(kvs_bits_left(&bits), 4);
    CHECK_EQ(kvs_bits_get(&bits, 5), 0);
    CHECK(bits.failed);
    CHECK_EQ(kvs_bits_get(&bits, 1), 0);
    kvs_bits_init(&bits, BYTES, sizeof(BYTES));
    kvs_bits_skip(&bits, UINT64_MAX);
    CHECK(bits.failed);
}

int main(void)
{
    test_ue_values();
    test_ue_that_are_none();
    test_se();
    test_get();
    return CHECK_DONE();
}

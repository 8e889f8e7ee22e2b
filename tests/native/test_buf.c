/* base/buf, base/be: nothing is written or read past the end, and the first failure sticks. */
#include "base/be.h"
#include "base/buf.h"
#include "check.h"

static void test_writer_stops_at_the_end(void)
{
    for (size_t capacity = 0; capacity <= 20; capacity++) {
        uint8_t bytes[32];
        struct kvs_writer writer;
        memset(bytes, 0xEE, sizeof(bytes));
        kvs_writer_init(&writer, bytes, capacity);
        kvs_writer_u8(&writer, 1);
        kvs_writer_u16(&writer, 0x0203);
        kvs_writer_u32(&writer, 0x04050607);
        kvs_writer_u64(&writer, UINT64_C(0x08090A0B0C0D0E0F));
        kvs_writer_bytes(&writer, "\x10\x11", 2);
        kvs_writer_fill(&writer, 0x12, 2);
        CHECK_EQ(writer.failed, capacity < 19);
        CHECK(writer.size <= capacity);
        for (size_t at = 0; at < writer.size && at < 18; at++) CHECK_EQ(bytes[at], at + 1);
        for (size_t at = writer.size; at < sizeof(bytes); at++) CHECK_EQ(bytes[at], 0xEE);
    }
}

static void test_failure_sticks(void)
{
    uint8_t bytes[4];
    struct kvs_writer writer;
    kvs_writer_init(&writer, bytes, sizeof(bytes));
    kvs_writer_u64(&writer, 1);
    kvs_writer_u8(&writer, 1);
    CHECK_EQ(writer.size, 0);
    CHECK(writer.failed);
}

static void test_counting(void)
{
    struct kvs_writer writer;
    kvs_writer_init(&writer, NULL, SIZE_MAX);
    kvs_writer_fill(&writer, 0, SIZE_MAX - 10);
    kvs_writer_u64(&writer, 1);
    CHECK(!writer.failed && writer.size == SIZE_MAX - 2);
    kvs_writer_u32(&writer, 1);
    CHECK(writer.failed && writer.size == SIZE_MAX - 2);
}

static void test_reader(void)
{
    static const uint8_t BYTES[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct kvs_reader reader;
    kvs_reader_init(&reader, BYTES, sizeof(BYTES));
    CHECK_EQ(kvs_reader_u8(&reader), 1);
    CHECK_EQ(kvs_reader_u16(&reader), 0x0203);
    CHECK_EQ(kvs_reader_u32(&reader), 0x04050607);
    CHECK_EQ(kvs_reader_left(&reader), 2);
    CHECK(kvs_reader_bytes(&reader, 2) == BYTES + 7);
    CHECK(!reader.failed);
    CHECK(kvs_reader_bytes(&reader, 0) != NULL);
    CHECK_EQ(kvs_reader_u8(&reader), 0);
    CHECK(reader.failed);
    CHECK(kvs_reader_bytes(&reader, 0) == NULL);
    kvs_reader_init(&reader, BYTES, sizeof(BYTES));
    CHECK(kvs_reader_bytes(&reader, SIZE_MAX) == NULL);
    CHECK_EQ(kvs_reader_left(&reader), 0);
}

static void test_endianness(void)
{
    uint8_t bytes[8];
    kvs_be_put_u64(bytes, UINT64_C(0xF102030405060708));
    CHECK(bytes[0] == 0xF1 && bytes[7] == 8);
    CHECK(kvs_be_get_u64(bytes) == UINT64_C(0xF102030405060708));
    kvs_le_put_u32(bytes, 0xF1020304);
    CHECK(bytes[0] == 4 && bytes[3] == 0xF1);
    CHECK_EQ(kvs_le_get_u32(bytes), 0xF1020304);
    CHECK_EQ(kvs_le_get_u16(bytes), 0x0304);
}

int main(void)
{
    test_writer_stops_at_the_end();
    test_failure_sticks();
    test_counting();
    test_reader();
    test_endianness();
    return CHECK_DONE();
}

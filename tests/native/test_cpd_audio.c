/* media/cpd_aac and WAVEFORMATEX: what generators write is read back, HE-AAC is understood, damage is survived. */
#include "base/be.h"
#include "check.h"
#include "media/cpd.h"
#include "media_bytes.h"

static struct kvs_aac parsed(const char *hex, kvs_status wanted)
{
    const struct bytes bytes = hex_bytes(hex);
    uint8_t *copy = exact_copy(bytes.at, bytes.size);
    struct kvs_aac aac = {0, 0, 0, 0};
    CHECK_EQ(kvs_aac_parse(copy, bytes.size, &aac), wanted);
    free(copy);
    return aac;
}

static void check_aac(const char *hex, uint32_t type, uint32_t rate, uint32_t output_rate, uint32_t channels)
{
    const struct kvs_aac aac = parsed(hex, KVS_OK);
    CHECK_EQ(aac.object_type, type);
    CHECK_EQ(aac.sampling_rate, rate);
    CHECK_EQ(aac.output_sampling_rate, output_rate);
    CHECK_EQ(aac.channels, channels);
}

static void test_aac_round_trip(void)
{
    static const uint32_t RATES[] = {
        96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350,
    };
    for (size_t index = 0; index < sizeof(RATES) / sizeof(RATES[0]); index++) {
        for (uint32_t config = 1; config <= 7; config++) {
            uint8_t cpd[2];
            struct kvs_aac aac = {0, 0, 0, 0};
            CHECK_EQ(kvs_aac_generate(2, RATES[index], config, cpd), KVS_OK);
            CHECK_EQ(kvs_aac_parse(cpd, 2, &aac), KVS_OK);
            CHECK(aac.sampling_rate == RATES[index] && aac.channels == (config == 7 ? 8 : config));
        }
    }
    uint8_t cpd[2];
    CHECK_EQ(kvs_aac_generate(2, 44101, 2, cpd), KVS_E_INVALID_ARG);
    CHECK_EQ(kvs_aac_generate(2, 44100, 0, cpd), KVS_E_INVALID_ARG);
    CHECK_EQ(kvs_aac_generate(2, 44100, 8, cpd), KVS_E_INVALID_ARG);
    CHECK_EQ(kvs_aac_generate(0, 44100, 2, cpd), KVS_E_INVALID_ARG);
    CHECK_EQ(kvs_aac_generate(31, 44100, 2, cpd), KVS_E_INVALID_ARG);
}

static void test_aac_forms(void)
{
    check_aac("1190", 2, 48000, 0, 2);
    check_aac("1210", 2, 44100, 0, 2);
    check_aac("2b920800", 2, 22050, 44100, 2);   /* SBR in front: 5, 22050, stereo, 44100, LC */
    check_aac("eb8a0800", 2, 22050, 44100, 1);   /* parametric stereo: 29 */
    check_aac("139056e5a0", 2, 22050, 44100, 2); /* SBR behind: sync word, 5, present, 44100 */
    check_aac("139056e500", 2, 22050, 0, 2);     /* the same, not present */
    check_aac("2c08", 5, 16000, 0, 1);           /* SBR in front, cut off */
    check_aac("1780576010", 2, 44736, 0, 2);     /* a rate of its own: index 15, 24 bits */
    check_aac("1180", 2, 48000, 0, 0);           /* no configuration, no program config element */
    check_aac("118004c400002000", 2, 48000, 0, 2); /* a program config element with one front pair */
}

static void test_aac_refusals(void)
{
    parsed("", KVS_E_AAC_CPD);
    parsed("11", KVS_E_AAC_CPD);
    parsed("11c0", KVS_E_AAC_CHANNELS);  /* configuration 8 */
    parsed("1690", KVS_E_AAC_FREQUENCY); /* index 13 */
    parsed("0790", KVS_E_AAC_FREQUENCY); /* a rate of its own that is not there */
}

static void test_aac_damage(void)
{
    static const char *const HEX[] = {"1190", "2b920800", "139056e5a0", "118004c400002000", "f9ffffffffffffffff"};
    uint64_t seed = 9;
    for (int round = 0; round < 20000; round++) {
        const struct bytes bytes = hex_bytes(HEX[round % 5]);
        const uint32_t size = next_random(&seed) % (bytes.size + 1);
        uint8_t *copy = exact_copy(bytes.at, size);
        struct kvs_aac aac = {0, 0, 0, 0};
        damage(copy, size, &seed);
        const kvs_status status = kvs_aac_parse(copy, size, &aac);
        CHECK(status < 0 || (status == KVS_OK && aac.sampling_rate > 0 && aac.channels < 256));
        free(copy);
    }
}

static void test_pcm(void)
{
    uint8_t cpd[KVS_PCM_CPD_SIZE];
    struct kvs_media_values values = {0, 0, 0, 0, 0, 0};
    CHECK_EQ(kvs_pcm_generate(6, 8000, 1, cpd), KVS_OK);
    CHECK_EQ(kvs_le_get_u32(cpd + 8), 8000); /* one byte a sample */
    CHECK_EQ(kvs_pcm_parse(cpd, 16, &values), KVS_OK);
    CHECK(values.sampling_rate == 8000 && values.channels == 1 && values.bit_depth == 8);
    CHECK_EQ(kvs_pcm_parse(cpd, 15, &values), KVS_E_PCM_CPD);
    cpd[0] = 1;
    CHECK_EQ(kvs_pcm_parse(cpd, 18, &values), KVS_E_PCM_CPD);
    CHECK_EQ(kvs_pcm_generate(7, 192000, 2, cpd), KVS_OK);
    CHECK_EQ(kvs_le_get_u32(cpd + 8), 384000);
    CHECK_EQ(kvs_pcm_generate(5, 8000, 1, cpd), KVS_E_INVALID_ARG);
    CHECK_EQ(kvs_pcm_generate(6, 7999, 1, cpd), KVS_E_INVALID_ARG);
    CHECK_EQ(kvs_pcm_generate(6, 192001, 1, cpd), KVS_E_INVALID_ARG);
    CHECK_EQ(kvs_pcm_generate(6, 8000, 3, cpd), KVS_E_INVALID_ARG);
}

int main(void)
{
    test_aac_round_trip();
    test_aac_forms();
    test_aac_refusals();
    test_aac_damage();
    test_pcm();
    return CHECK_DONE();
}

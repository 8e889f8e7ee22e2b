/* cpd_aac.c — AAC AudioSpecificConfig, ISO/IEC 14496-3 section 1.6: two bytes for plain AAC, more for escapes, for
 * spectral band replication (HE-AAC) signalled in front or behind, and for a program config element. What a short
 * record leaves out is not missed: "no SBR" and, without channel configuration, 0 channels. */
#include "base/bits.h"
#include "media/cpd.h"

enum { AOT_SBR = 5, AOT_SCALABLE = 6, AOT_ER_SCALABLE = 20, AOT_ER_BSAC = 22, AOT_PS = 29, AOT_ESCAPE = 31 };
enum { INDEX_EXPLICIT = 15, SYNC_SBR = 0x2B7 };

static const uint32_t RATES[13] = {
    96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350,
};
#define RATE_COUNT (sizeof(RATES) / sizeof(RATES[0]))

static uint32_t read_object_type(struct kvs_bits *bits)
{
    const uint32_t type = kvs_bits_get(bits, 5);
    return type == AOT_ESCAPE ? 32 + kvs_bits_get(bits, 6) : type;
}

/* 0 when the index is reserved or the bits end. */
static uint32_t read_rate(struct kvs_bits *bits)
{
    const uint32_t index = kvs_bits_get(bits, 4);
    if (index == INDEX_EXPLICIT) return kvs_bits_get(bits, 24);
    return index < RATE_COUNT && !bits->failed ? RATES[index] : 0;
}

/* Channels in `count` elements of a program config element; each says whether it is a pair. */
static uint32_t read_elements(struct kvs_bits *bits, uint32_t count)
{
    uint32_t channels = 0;
    for (uint32_t index = 0; index < count; index++) {
        channels += 1 + kvs_bits_get(bits, 1);
        kvs_bits_skip(bits, 4);
    }
    return channels;
}

static void skip_mixdown(struct kvs_bits *bits, uint32_t size)
{
    if (kvs_bits_get(bits, 1) != 0) kvs_bits_skip(bits, size);
}

static uint32_t read_program_channels(struct kvs_bits *bits)
{
    kvs_bits_skip(bits, 4 + 2 + 4); /* tag, object type, frequency index */
    const uint32_t front = kvs_bits_get(bits, 4);
    const uint32_t side = kvs_bits_get(bits, 4);
    const uint32_t back = kvs_bits_get(bits, 4);
    const uint32_t lfe = kvs_bits_get(bits, 2);
    const uint32_t data = kvs_bits_get(bits, 3);
    const uint32_t coupling = kvs_bits_get(bits, 4);
    skip_mixdown(bits, 4);
    skip_mixdown(bits, 4);
    skip_mixdown(bits, 3);
    uint32_t channels = read_elements(bits, front) + read_elements(bits, side) + read_elements(bits, back);
    kvs_bits_skip(bits, 4u * (lfe + data) + 5u * coupling);
    kvs_bits_skip(bits, (8u - bits->at % 8u) % 8u); /* byte alignment, counted from the record's start */
    kvs_bits_skip(bits, 8u * (uint64_t)kvs_bits_get(bits, 8));
    channels += lfe;
    return bits->failed ? 0 : channels;
}

static int has_ga_config(uint32_t type)
{
    return (type >= 1 && type <= 4) || type == AOT_SCALABLE || type == 7 || type == 17 || (type >= 19 && type <= 23);
}

/* GASpecificConfig: passed over for what may follow; the channels of a program config element are taken along. */
static void read_ga_config(struct kvs_bits *bits, int has_program, struct kvs_aac *aac)
{
    const uint32_t type = aac->object_type;
    kvs_bits_skip(bits, 1); /* frameLengthFlag */
    if (kvs_bits_get(bits, 1) != 0) kvs_bits_skip(bits, 14);
    const uint32_t has_extension = kvs_bits_get(bits, 1);
    if (has_program) aac->channels = read_program_channels(bits);
    if (type == AOT_SCALABLE || type == AOT_ER_SCALABLE) kvs_bits_skip(bits, 3);
    if (has_extension == 0) return;
    if (type == AOT_ER_BSAC) kvs_bits_skip(bits, 5 + 11);
    if (type == 17 || type == 19 || type == AOT_ER_SCALABLE || type == 23) kvs_bits_skip(bits, 3);
    kvs_bits_skip(bits, 1);
}

/* SBR announced behind the configuration, so that old readers do not see it. */
static void read_trailing_sbr(struct kvs_bits *bits, struct kvs_aac *aac)
{
    if (kvs_bits_left(bits) < 16 || kvs_bits_get(bits, 11) != SYNC_SBR) return;
    if (read_object_type(bits) != AOT_SBR || kvs_bits_get(bits, 1) == 0) return;
    const uint32_t rate = read_rate(bits);
    if (!bits->failed) aac->output_sampling_rate = rate;
}

/* SBR announced in front: the output rate and the core's object type follow. A record cut off here says nothing. */
static void read_leading_sbr(struct kvs_bits *bits, struct kvs_aac *aac)
{
    const uint32_t rate = read_rate(bits);
    const uint32_t type = read_object_type(bits);
    if (bits->failed || rate == 0) return;
    aac->output_sampling_rate = rate;
    aac->object_type = type;
}

kvs_status kvs_aac_parse(const uint8_t *cpd, uint32_t size, struct kvs_aac *aac_out)
{
    if (size < 2) return KVS_E_AAC_CPD;
    struct kvs_aac aac = {0, 0, 0, 0};
    struct kvs_bits bits;
    kvs_bits_init(&bits, cpd, size);
    aac.object_type = read_object_type(&bits);
    aac.sampling_rate = read_rate(&bits);
    const uint32_t channel_config = kvs_bits_get(&bits, 4);
    if (channel_config > 7) return KVS_E_AAC_CHANNELS;
    if (aac.sampling_rate == 0) return KVS_E_AAC_FREQUENCY;
    if (bits.failed) return KVS_E_AAC_CPD;
    aac.channels = channel_config == 7 ? 8 : channel_config;
    const int is_sbr = aac.object_type == AOT_SBR || aac.object_type == AOT_PS;
    if (is_sbr) read_leading_sbr(&bits, &aac);
    if (has_ga_config(aac.object_type)) read_ga_config(&bits, channel_config == 0, &aac);
    if (!is_sbr) read_trailing_sbr(&bits, &aac);
    *aac_out = aac;
    return KVS_OK;
}

kvs_status kvs_aac_generate(uint32_t object_type, uint32_t sampling_rate, uint32_t channel_config, uint8_t out[2])
{
    uint32_t index = 0;
    while (index < RATE_COUNT && RATES[index] != sampling_rate) index++;
    if (index == RATE_COUNT || channel_config < 1 || channel_config > 7) return KVS_E_INVALID_ARG;
    if (object_type < 1 || object_type >= AOT_ESCAPE) return KVS_E_INVALID_ARG;
    out[0] = (uint8_t)(object_type << 3 | index >> 1);
    out[1] = (uint8_t)((index & 1u) << 7 | channel_config << 3);
    return KVS_OK;
}

/* Codec private data and parameter sets in any form: recognised, converted, read. Sizes asked for first are the sizes
 * written then, never more than the capacity, and a record that was made is recognised. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "media/cpd.h"
#include "media/sps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int is_true)
{
    if (!is_true) abort();
}

static void adapt(const struct kvs_cpd_format *format, const uint8_t *bytes, uint32_t size)
{
    uint32_t wanted = 0, written = 0;
    struct kvs_media_values values = { 0 };
    kvs_status status = kvs_cpd_adapt(format, bytes, size, NULL, 0, &wanted);
    (void)kvs_cpd_describe(format, bytes, size, &values);
    if (status != KVS_OK) return;
    uint8_t *out = malloc(wanted + 1u);
    expect(out != NULL);
    expect(kvs_cpd_adapt(format, bytes, size, out, wanted, &written) == KVS_OK && written == wanted);
    if (wanted > 0) expect(kvs_cpd_adapt(format, bytes, size, out, wanted - 1, &written) == KVS_E_BUFFER_TOO_SMALL);
    expect(kvs_cpd_adapt(format, bytes, size, out, wanted, &written) == KVS_OK);
    (void)kvs_cpd_describe(format, out, written, &values);
    free(out);
}

static void from_frame(const struct kvs_cpd_format *format, const uint8_t *bytes, uint32_t size)
{
    uint32_t wanted = 0, written = 0;
    if (!kvs_cpd_is_in_frames(format) || kvs_cpd_from_frame(format, bytes, size, NULL, 0, &wanted) != KVS_OK) return;
    uint8_t *out = malloc(wanted + 1u);
    expect(out != NULL);
    expect(kvs_cpd_from_frame(format, bytes, size, out, wanted, &written) == KVS_OK && written == wanted);
    enum kvs_cpd_form form = written == 0 ? KVS_CPD_UNKNOWN : kvs_cpd_form_of(format->kinds & 3u, out, written);
    expect(written == 0 || format->kinds != KVS_KIND_H264 || form == KVS_CPD_AVCC);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t kinds[] = { KVS_KIND_H264, KVS_KIND_H265,  KVS_KIND_AAC,
                                      KVS_KIND_G711, KVS_KIND_VIDEO, KVS_KIND_UNKNOWN };
    static const char *const codecs[] = { NULL,    "V_MPEG4/ISO/AVC", "V_MPEGH/ISO/HEVC",
                                          "A_AAC", "A_MS/ACM",        "V_MS/VFW/FOURCC" };
    uint32_t width = 0, height = 0;
    if (size < 2 || size > 70000) return 0;
    struct kvs_cpd_format format = { kinds[data[0] % 6], 1u + data[0] / 6u % 3u, data[1] & 56u, codecs[data[1] % 6] };
    if ((format.nal_flags & 24u) == 24u) format.nal_flags &= 32u;
    uint32_t left = (uint32_t)size - 2;
    uint8_t *exact = malloc(left + 1u); /* so that a byte read past the end is seen */
    expect(exact != NULL);
    memcpy(exact + 1, data + 2, left);
    adapt(&format, exact + 1, left);
    from_frame(&format, exact + 1, left);
    (void)kvs_cpd_size_h264(exact + 1, left, &width, &height);
    (void)kvs_cpd_size_h265(exact + 1, left, &width, &height);
    (void)kvs_cpd_size_bih(exact + 1, left, &width, &height);
    free(exact);
    return 0;
}

/* Frames as Annex B and as AVCC: scanned, adapted piece by piece as the store does it. The pieces add up to the size
 * that was announced, they never overlap or leave the frame, and what was made of Annex B reads as AVCC. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "media/nal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int is_true)
{
    if (!is_true) abort();
}

/* The adapted frame, NULL when it stays as it is. */
static uint8_t *rewrite(const uint8_t *bytes, uint32_t size, struct kvs_nal_scan *scan)
{
    if (scan->kind == KVS_NAL_UNCHANGED) return NULL;
    uint64_t total = scan->adapted_size, at = scan->lead_size, last_end = scan->lead_size;
    uint8_t *out = malloc((size_t)total + 1u);
    expect(out != NULL && scan->lead_size <= size && at <= total);
    memcpy(out, bytes, scan->lead_size);
    do {
        for (uint32_t i = 0; i < scan->count; i++) {
            uint64_t from = scan->nal[i].offset, length = scan->nal[i].size;
            expect(from >= last_end && from + length <= size && at + KVS_NAL_PREFIX_SIZE + length <= total);
            kvs_nal_prefix(scan, scan->nal[i].size, out + at);
            memcpy(out + at + KVS_NAL_PREFIX_SIZE, bytes + from, (size_t)length);
            at += KVS_NAL_PREFIX_SIZE + length;
            last_end = from + length;
        }
    } while (kvs_nal_scan_more(bytes, size, scan));
    expect(at == total);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kvs_nal_scan scan, again;
    if (size < 1 || size > 100000) return 0;
    uint32_t left = (uint32_t)size;
    uint8_t *exact = malloc(size);
    expect(exact != NULL);
    memcpy(exact, data, size);
    if (kvs_nal_scan(exact, left, &scan) == KVS_OK) {
        uint64_t adapted = scan.adapted_size;
        uint8_t *avcc = rewrite(exact, left, &scan);
        if (avcc != NULL && scan.lead_size == 0) expect(kvs_nal_scan_avcc(avcc, (uint32_t)adapted, &again) == KVS_OK);
        free(avcc);
    }
    if (kvs_nal_scan_avcc(exact, left, &scan) == KVS_OK) free(rewrite(exact, left, &scan));
    for (uint32_t flag = KVS_NAL_ANNEXB_TO_AVCC; flag <= KVS_NAL_AVCC_TO_ANNEXB; flag *= 2) {
        if (kvs_nal_scan_clean(exact, left, flag, &scan) == KVS_OK) free(rewrite(exact, left, &scan));
    }
    free(exact);
    return 0;
}

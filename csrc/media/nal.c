/* nal.c — Annex B and length-prefixed NAL framing; see nal.h for the use. ITU-T H.264 annex B, ISO/IEC 14496-15.
 *
 * The scan's inner loop looks for two zero bytes in a row, 64 bytes a round: they are as rare as start codes in coded
 * video, because emulation prevention breaks up longer runs, so that everything behind the search may be plain code. */
#include "media/nal.h"

#include <string.h>

#include "base/be.h"
#include "base/check.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#define HAS_SSE2 1
#elif defined(__ARM_NEON) || defined(__ARM_NEON__)
#include <arm_neon.h>
#define HAS_NEON 1
#endif

#define NONE UINT32_MAX /* no position: sizes are below it */

/* ---- search for zeros */

size_t kvs_nal_find_zeros_scalar(const uint8_t *data, size_t size, size_t at)
{
    while (at + 1 < size) {
        if (data[at + 1] != 0) at += 2;
        else if (data[at] == 0) return at;
        else at += 1;
    }
    return size;
}

#if defined(HAS_SSE2)
/* Bytes that are 0 where a byte and its successor both are. */
static inline __m128i pair(const uint8_t *bytes)
{
    return _mm_or_si128(_mm_loadu_si128((const __m128i *)(const void *)bytes),
                        _mm_loadu_si128((const __m128i *)(const void *)(bytes + 1)));
}

static inline int has_pair(const uint8_t *bytes)
{
    const __m128i low = _mm_min_epu8(pair(bytes), pair(bytes + 16));
    const __m128i high = _mm_min_epu8(pair(bytes + 32), pair(bytes + 48));
    return _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(low, high), _mm_setzero_si128())) != 0;
}
#elif defined(HAS_NEON)
static inline uint8x16_t pair(const uint8_t *bytes)
{
    return vorrq_u8(vld1q_u8(bytes), vld1q_u8(bytes + 1));
}

static inline int has_pair(const uint8_t *bytes)
{
    const uint8x16_t low = vminq_u8(pair(bytes), pair(bytes + 16));
    const uint8x16_t high = vminq_u8(pair(bytes + 32), pair(bytes + 48));
    const uint8x16_t zero = vceqq_u8(vminq_u8(low, high), vdupq_n_u8(0));
    const uint64x2_t halves = vreinterpretq_u64_u8(zero);
    return (vgetq_lane_u64(halves, 0) | vgetq_lane_u64(halves, 1)) != 0;
}
#endif

size_t kvs_nal_find_zeros(const uint8_t *data, size_t size, size_t at)
{
#if defined(HAS_SSE2) || defined(HAS_NEON)
    while (at < size && size - at > 64 && !has_pair(data + at)) at += 64; /* looks at 65 bytes */
#endif
    return kvs_nal_find_zeros_scalar(data, size, at);
}

/* ---- Annex B */

struct start_code {
    uint32_t begin; /* of its zeros: the end of the NAL before */
    uint32_t end;   /* where the NAL begins */
};

static uint32_t end_of_zeros(const uint8_t *data, uint32_t size, uint32_t at)
{
    while (at < size && data[at] == 0) at++;
    return at;
}

/* The next start code at or after `at`: 1, or 0 and an empty one at the end of the data. */
static kvs_status next_start(const uint8_t *data, uint32_t size, uint32_t at, struct start_code *start)
{
    for (;;) {
        const uint32_t begin = (uint32_t)kvs_nal_find_zeros(data, size, at);
        const uint32_t end = end_of_zeros(data, size, begin);
        if (end >= size) break;
        if (data[end] == 1) {
            *start = (struct start_code){begin, end + 1u};
            return 1;
        }
        if (end - begin > 3) return KVS_E_ANNEXB_FRAME;
        at = end + 1u;
    }
    *start = (struct start_code){size, NONE};
    return 0;
}

/* Hands out a NAL: into nal[] while there is room; the first one without room is where the next batch begins. */
static void add_nal(struct kvs_nal_scan *scan, uint32_t resume, uint32_t offset, uint32_t size)
{
    if (size == 0 && scan->is_clean) return;
    scan->adapted_size += (uint64_t)KVS_NAL_PREFIX_SIZE + size;
    if (scan->count < KVS_NAL_SCAN_MAX) scan->nal[scan->count++] = (struct kvs_nal){offset, size};
    else if (scan->resume == NONE) scan->resume = resume;
}

/* Without the zeros at its end: a NAL ends with a one bit (H.264 7.4.1, H.265 7.4.2). */
static uint32_t trimmed(const uint8_t *data, uint32_t offset, uint32_t end)
{
    while (end > offset && data[end - 1u] == 0) end--;
    return end - offset;
}

static uint32_t annexb_size(const struct kvs_nal_scan *scan, const uint8_t *data, uint32_t offset, uint32_t end)
{
    return scan->is_clean ? trimmed(data, offset, end) : end - offset;
}

static kvs_status scan_annexb(const uint8_t *data, uint32_t size, uint32_t at, struct kvs_nal_scan *scan)
{
    while (at != NONE) {
        struct start_code next;
        const kvs_status found = next_start(data, size, at, &next);
        if (found < 0) return found;
        add_nal(scan, at, at, annexb_size(scan, data, at, next.begin));
        at = next.end;
    }
    return KVS_OK;
}

/* ---- lengths */

static kvs_status scan_lengths(const uint8_t *data, uint32_t size, uint32_t at, struct kvs_nal_scan *scan)
{
    while (at < size) {
        if (size - at < KVS_NAL_PREFIX_SIZE && scan->is_clean && trimmed(data, at, size) == 0) return KVS_OK;
        if (size - at < KVS_NAL_PREFIX_SIZE) return KVS_E_AVCC_FRAME;
        const uint32_t nal_size = kvs_be_get_u32(data + at);
        const uint32_t offset = at + KVS_NAL_PREFIX_SIZE;
        if (nal_size > size - offset) return KVS_E_AVCC_FRAME;
        add_nal(scan, at, offset, nal_size);
        at = offset + nal_size;
    }
    return KVS_OK;
}

/* allows_empty: lengths of 0 and zeros at the end are passed over; *empty_out: there are such. */
static int fits_lengths(const uint8_t *data, uint32_t size, int allows_empty, int *empty_out)
{
    *empty_out = 0;
    if (size <= KVS_NAL_PREFIX_SIZE || kvs_be_get_u32(data) == 1) return 0;
    const int is_ambiguous = kvs_be_get_u32(data) >> 8 == 1;
    uint32_t at = 0, count = 0;
    while (size - at > KVS_NAL_PREFIX_SIZE) {
        const uint32_t nal_size = kvs_be_get_u32(data + at);
        at += KVS_NAL_PREFIX_SIZE;
        if (nal_size > size - at || (nal_size == 0 && !allows_empty)) return 0;
        if (is_ambiguous && nal_size > 0 && data[at] >= 0x80) return 0; /* forbidden_zero_bit */
        count += nal_size > 0;
        *empty_out |= nal_size == 0;
        at += nal_size;
    }
    if (at == size) return count > 0;
    *empty_out = 1;
    return allows_empty && count > 0 && trimmed(data, at, size) == 0;
}

/* Of data that begins with 00 00 01 and fits as lengths: whether its first NAL is none. In H.265 the low bit of a
 * header's first byte is the highest of the layer's number, which is 0 in every stream of one layer. */
static int is_start_code(const uint8_t *data, uint32_t size, int is_h265)
{
    struct start_code inside;
    if (size <= KVS_NAL_PREFIX_SIZE || kvs_be_get_u32(data) >> 8 != 1) return 0;
    if (is_h265 && (data[KVS_NAL_PREFIX_SIZE] & 1u) != 0) return 1;
    const uint32_t end = KVS_NAL_PREFIX_SIZE + kvs_be_get_u32(data);
    return next_start(data, end < size ? end : size, KVS_NAL_PREFIX_SIZE, &inside) != 0;
}

int kvs_nal_is_length_prefixed(const uint8_t *data, uint32_t size)
{
    int has_empty = 0;
    return fits_lengths(data, size, 0, &has_empty);
}

/* ---- scans */

static kvs_status begin_scan(const uint8_t *data, uint32_t size, uint32_t kind, struct kvs_nal_scan *scan)
{
    scan->kind = kind;
    scan->count = 0;
    scan->is_clean = 0;
    scan->lead_size = 0;
    scan->resume = NONE;
    scan->adapted_size = 0;
    if (data == NULL || size == 0) return KVS_E_FRAME_DATA;
    return size == UINT32_MAX ? KVS_E_FRAME_TOO_LARGE : KVS_OK;
}

static kvs_status keep_all(uint32_t size, struct kvs_nal_scan *scan)
{
    scan->lead_size = size;
    scan->adapted_size = size;
    return KVS_OK;
}

static kvs_status start_annexb(const uint8_t *data, uint32_t size, uint32_t is_clean, struct kvs_nal_scan *scan)
{
    struct start_code first = {size, NONE};
    const kvs_status status = next_start(data, size, 0, &first);
    if (status < 0) return status;
    scan->lead_size = first.begin;
    scan->adapted_size = first.begin;
    if (first.end == NONE) return KVS_OK;
    scan->kind = KVS_NAL_TO_LENGTHS;
    scan->is_clean = is_clean;
    return scan_annexb(data, size, first.end, scan);
}

kvs_status kvs_nal_scan(const uint8_t *data, uint32_t size, struct kvs_nal_scan *scan_out)
{
    const kvs_status status = begin_scan(data, size, KVS_NAL_UNCHANGED, scan_out);
    if (status != KVS_OK) return status;
    if (!kvs_nal_is_length_prefixed(data, size)) return start_annexb(data, size, 0, scan_out);
    return keep_all(size, scan_out);
}

kvs_status kvs_nal_scan_avcc(const uint8_t *data, uint32_t size, struct kvs_nal_scan *scan_out)
{
    const kvs_status status = begin_scan(data, size, KVS_NAL_TO_START_CODES, scan_out);
    return status != KVS_OK ? status : scan_lengths(data, size, 0, scan_out);
}

static kvs_status clean_lengths(const uint8_t *data, uint32_t size, uint32_t kind, struct kvs_nal_scan *scan)
{
    scan->kind = kind;
    scan->is_clean = 1;
    return scan_lengths(data, size, 0, scan);
}

kvs_status kvs_nal_scan_clean(const uint8_t *data, uint32_t size, uint32_t nal_flags, struct kvs_nal_scan *scan_out)
{
    int has_empty = 0;
    const kvs_status status = begin_scan(data, size, KVS_NAL_UNCHANGED, scan_out);
    if (status != KVS_OK) return status;
    if ((nal_flags & KVS_NAL_AVCC_TO_ANNEXB) != 0) return clean_lengths(data, size, KVS_NAL_TO_START_CODES, scan_out);
    if (trimmed(data, 0, size) == 0) return clean_lengths(data, 0, KVS_NAL_CLEANED, scan_out);
    const int is_lengths = fits_lengths(data, size, 1, &has_empty) &&
                           !is_start_code(data, size, (nal_flags & KVS_NAL_IS_H265) != 0);
    if (!is_lengths) return start_annexb(data, size, 1, scan_out);
    return has_empty ? clean_lengths(data, size, KVS_NAL_CLEANED, scan_out) : keep_all(size, scan_out);
}

/* The frame passed its scan, so the batch can not fail; it ends where nal[] is full. */
static void scan_batch(const uint8_t *data, uint32_t size, uint32_t at, struct kvs_nal_scan *scan)
{
    const uint64_t adapted_size = scan->adapted_size;
    while (at != NONE && at < size + (scan->kind == KVS_NAL_TO_LENGTHS) && scan->resume == NONE) {
        struct start_code next = {0, 0};
        uint32_t offset = at;
        if (scan->kind == KVS_NAL_TO_LENGTHS) {
            const kvs_status found = next_start(data, size, at, &next);
            KVS_CHECK(found >= 0);
            next.begin = offset + annexb_size(scan, data, offset, next.begin);
        } else if (size - at < KVS_NAL_PREFIX_SIZE) {
            break; /* zeros at the end */
        } else {
            offset = at + KVS_NAL_PREFIX_SIZE;
            next.begin = offset + kvs_be_get_u32(data + at);
            next.end = next.begin;
        }
        add_nal(scan, at, offset, next.begin - offset);
        at = next.end;
    }
    scan->adapted_size = adapted_size;
}

int kvs_nal_scan_more(const uint8_t *data, uint32_t size, struct kvs_nal_scan *scan)
{
    const uint32_t at = scan->resume;
    scan->count = 0;
    scan->resume = NONE;
    if (at == NONE) return 0;
    scan_batch(data, size, at, scan);
    return 1;
}

void kvs_nal_prefix(const struct kvs_nal_scan *scan, uint32_t nal_size, uint8_t out[KVS_NAL_PREFIX_SIZE])
{
    kvs_be_put_u32(out, scan->kind == KVS_NAL_TO_START_CODES ? 1u : nal_size);
}

void kvs_nal_copy(const uint8_t *data, uint32_t size, struct kvs_nal_scan *scan, uint8_t *out)
{
    uint8_t *to = out;
    memcpy(to, data, scan->lead_size);
    to += scan->lead_size;
    do {
        for (uint32_t index = 0; index < scan->count; index++) {
            const struct kvs_nal nal = scan->nal[index];
            kvs_nal_prefix(scan, nal.size, to);
            memcpy(to + KVS_NAL_PREFIX_SIZE, data + nal.offset, nal.size);
            to += KVS_NAL_PREFIX_SIZE + nal.size;
        }
    } while (kvs_nal_scan_more(data, size, scan));
    KVS_CHECK((uint64_t)(to - out) == scan->adapted_size);
}

/* ---- walk */

void kvs_nal_walk_init(struct kvs_nal_walk *walk, const uint8_t *data, uint32_t size)
{
    *walk = (struct kvs_nal_walk){.data = data, .size = size, .stop = size};
    walk->is_lengths = kvs_nal_is_length_prefixed(data, size);
}

/* The position in Annex B is the end of a start code, or 0 before the first one. */
static kvs_status walk_annexb(struct kvs_nal_walk *walk, struct kvs_nal *nal_out)
{
    struct start_code next = {0, walk->at};
    if (walk->at == 0) {
        const kvs_status first = next_start(walk->data, walk->size, 0, &next);
        if (first <= 0) return first;
    }
    const uint32_t offset = next.end;
    if (offset != NONE && offset >= walk->stop) return 0; /* not given: its end need not be looked for */
    const kvs_status found = next_start(walk->data, walk->size, offset, &next);
    if (found < 0) return found;
    *nal_out = (struct kvs_nal){offset, next.begin - offset};
    walk->at = next.end;
    return 1;
}

static kvs_status walk_lengths(struct kvs_nal_walk *walk, struct kvs_nal *nal_out)
{
    const uint32_t offset = walk->at + KVS_NAL_PREFIX_SIZE;
    *nal_out = (struct kvs_nal){offset, kvs_be_get_u32(walk->data + walk->at)};
    walk->at = offset + nal_out->size;
    return 1;
}

kvs_status kvs_nal_walk_next(struct kvs_nal_walk *walk, struct kvs_nal *nal_out)
{
    if (walk->at == NONE || walk->at >= walk->size) return 0;
    const kvs_status found = walk->is_lengths ? walk_lengths(walk, nal_out) : walk_annexb(walk, nal_out);
    if (found <= 0) return found;
    return nal_out->offset < walk->stop;
}

uint32_t kvs_nal_unescape(const uint8_t *nal, uint32_t size, uint8_t *out)
{
    uint32_t written = 0;
    uint32_t zeros = 0;
    for (uint32_t at = 0; at < size; at++) {
        if (zeros >= 2 && nal[at] == 3 && at + 1u < size && nal[at + 1u] <= 3) {
            zeros = 0;
            continue;
        }
        zeros = nal[at] == 0 ? zeros + 1u : 0u;
        out[written++] = nal[at];
    }
    return written;
}

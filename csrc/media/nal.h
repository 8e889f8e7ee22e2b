/* nal.h — NAL units of H.264 and H.265 in two framings: Annex B (start codes) and "AVCC" (4-byte big-endian lengths).
 *
 * A scan finds every NAL and the adapted size before anything is copied, so errors come first and the caller's
 * destination may be a chain of slabs:
 *   kvs_nal_scan(...);  reserve scan.adapted_size
 *   copy data[0 .. scan.lead_size)         (that is all of it when scan.kind is KVS_NAL_UNCHANGED)
 *   do for each scan.nal[i]: write kvs_nal_prefix (4 bytes), copy data[offset .. offset + size)
 *   while (kvs_nal_scan_more(data, size, &scan));
 * Emulation prevention stays in frames. Nothing is kept: a scan points nowhere, offsets count from `data`. */
#ifndef KVS_MEDIA_NAL_H
#define KVS_MEDIA_NAL_H

#include <stddef.h>

#include "kvspic.h"

#define KVS_NAL_SCAN_MAX 32u
#define KVS_NAL_PREFIX_SIZE 4u

struct kvs_nal {
    uint32_t offset; /* of the NAL header in the data */
    uint32_t size;
};

enum kvs_nal_kind {
    KVS_NAL_UNCHANGED = 0,   /* the data is right as it is; count is 0, lead_size is the data's size */
    KVS_NAL_TO_LENGTHS = 1,  /* Annex B in, a length before each NAL out */
    KVS_NAL_TO_START_CODES = 2, /* lengths in, start codes out; the size stays */
    KVS_NAL_CLEANED = 3      /* lengths in and out, some NALs are left out */
};

struct kvs_nal_scan {
    uint32_t kind;         /* enum kvs_nal_kind */
    uint32_t count;        /* of nal[], those not yet handed out */
    uint32_t lead_size;    /* bytes before the first start code: copied without a length */
    uint32_t resume;       /* where kvs_nal_scan_more goes on */
    uint32_t is_clean;     /* empty NALs are left out */
    uint64_t adapted_size; /* of the whole frame; also above 4 GiB it is right */
    struct kvs_nal nal[KVS_NAL_SCAN_MAX];
};

/* Annex B -> lengths. Data that is length-prefixed as a whole is recognised and left unchanged. Zeros before a start
 * code belong to no NAL (trailing_zero_8bits); zeros at the end of the data stay in the last one.
 *   KVS_E_FRAME_DATA       size 0 or data NULL
 *   KVS_E_FRAME_TOO_LARGE  size UINT32_MAX
 *   KVS_E_ANNEXB_FRAME     four or more zeros that do not lead to a start code */
kvs_status kvs_nal_scan(const uint8_t *data, uint32_t size, struct kvs_nal_scan *scan_out);
/* Lengths -> start codes.
 *   KVS_E_FRAME_DATA    size 0 or data NULL
 *   KVS_E_AVCC_FRAME    a length is cut off or past the end */
kvs_status kvs_nal_scan_avcc(const uint8_t *data, uint32_t size, struct kvs_nal_scan *scan_out);
/* Either of the two, by nal_flags (KVS_NAL_ANNEXB_TO_AVCC or KVS_NAL_AVCC_TO_ANNEXB), without NALs that are empty and
 * without zeros at the end of the data: cameras and FLV muxers write both, and a decoder stops at a length of 0. When
 * nothing is left the answer is KVS_OK and an adapted size of 0. Data that begins like a start code of three bytes and
 * like a length is looked at more closely than by kvs_nal_is_length_prefixed: with KVS_NAL_IS_H265 by both bytes of a
 * header, and because no NAL has a start code inside. */
#define KVS_NAL_IS_H265 1u
kvs_status kvs_nal_scan_clean(const uint8_t *data, uint32_t size, uint32_t nal_flags, struct kvs_nal_scan *scan_out);
/* Replaces nal[] by the next ones; 0 when there are none (count is 0 then). data, size: as given to the scan. */
int kvs_nal_scan_more(const uint8_t *data, uint32_t size, struct kvs_nal_scan *scan);
/* The four bytes that go before a NAL. */
void kvs_nal_prefix(const struct kvs_nal_scan *scan, uint32_t nal_size, uint8_t out[KVS_NAL_PREFIX_SIZE]);
/* The whole adapted frame into contiguous memory of adapted_size bytes, from a fresh scan; uses the scan up. */
void kvs_nal_copy(const uint8_t *data, uint32_t size, struct kvs_nal_scan *scan, uint8_t *out);

/* Whether the data consists of 4-byte lengths, none 0, that fit to the last byte. A four-byte start code in front means
 * Annex B. A length of 256 to 511 looks like a three-byte start code: then every NAL must also have a sound header,
 * which is enough to know one from the other for the H.264 that encoders make (an access unit should begin with four
 * bytes anyway). */
int kvs_nal_is_length_prefixed(const uint8_t *data, uint32_t size);

/* One NAL after the other, in either framing, without adapting anything: for parameter sets. Borrows the data. */
struct kvs_nal_walk {
    const uint8_t *data;
    uint32_t size;
    uint32_t at;    /* where the search goes on */
    uint32_t stop;  /* NALs that begin here or later are not given; size at first */
    int is_lengths; /* length-prefixed, else Annex B */
};
void kvs_nal_walk_init(struct kvs_nal_walk *walk, const uint8_t *data, uint32_t size);
/* 1 and *nal_out, 0 after the last one.   KVS_E_ANNEXB_FRAME as for kvs_nal_scan */
kvs_status kvs_nal_walk_next(struct kvs_nal_walk *walk, struct kvs_nal *nal_out);

/* Removes emulation prevention (00 00 03 before 00 to 03) into out, which has room for size bytes; returns the size. */
uint32_t kvs_nal_unescape(const uint8_t *nal, uint32_t size, uint8_t *out);

/* Offset of the next two zero bytes in a row at or after `at`; size when there are none. The first is the fast one
 * chosen at compile time (SSE2, NEON or scalar), the second is always scalar. */
size_t kvs_nal_find_zeros(const uint8_t *data, size_t size, size_t at);
size_t kvs_nal_find_zeros_scalar(const uint8_t *data, size_t size, size_t at);

#endif

/* sets.h — the parameter sets of one H.264 or H.265 track, by kind and id, wherever they came from: given codec private
 * data, frames, or calls that hold nothing else. ITU-T H.264 7.3.2, ITU-T H.265 7.3.2.
 *
 * What a picture needs is a chain: the PPS that its slices name, the SPS that the PPS names, the VPS of that. A session
 * announces sets in its header. A key frame can be decoded in it when each set of its chain is the header's, or comes
 * in the frame itself and replaces none of the header's; only else another header is needed. So sets that are
 * repeated, whose ids alternate or count up, or that are not used, open no session.
 *   Always     the newest content of an id counts. At most KVS_SETS_MAX sets and KVS_SETS_SIZE_MAX bytes: those unused
 *              for longest go first.
 *   Ownership  host memory of the caller's host; kvs_sets_free returns it. Calls of one object do not overlap. */
#ifndef KVS_MEDIA_SETS_H
#define KVS_MEDIA_SETS_H

#include "base/host.h"
#include "media/nal.h"
#include "media/sps.h"

#define KVS_SETS_MAX 320u       /* H.264: 32 SPS and 256 PPS; H.265 has fewer */
#define KVS_SETS_SIZE_MAX 65536u
#define KVS_SETS_NO_PPS UINT32_MAX

struct kvs_set {
    uint8_t *bytes; /* the NAL with its header */
    uint32_t size, id;
    uint32_t parent;          /* PPS: id of its SPS; SPS of H.265: id of its VPS */
    uint32_t unit;            /* the access unit that it came with last */
    uint64_t sum, header_sum; /* of its content; of what the header has under its id, 0: nothing */
    uint8_t kind;             /* enum kvs_set_kind */
};

struct kvs_sets {
    struct kvs_set *items; /* NULL before the first */
    uint32_t count, capacity, size;
    uint32_t unit; /* number of the access unit that is being read */
    uint8_t is_h265;
    uint8_t is_unit_over;  /* a picture was read: what comes next belongs to another unit */
    uint8_t has_header;    /* the header has a chain; else the first that is whole makes one */
    struct kvs_sps header; /* of the SPS in the header, when it could be read */
};

enum kvs_set_kind { KVS_SET_VPS = 0, KVS_SET_SPS = 1, KVS_SET_PPS = 2 };

/* What was found in the data of one call. */
struct kvs_call {
    uint32_t pps;         /* that its first slice names; KVS_SETS_NO_PPS */
    uint8_t is_nals;      /* it consists of NALs */
    uint8_t has_picture;  /* a slice is among them, or something that is not known */
};

void kvs_sets_init(struct kvs_sets *sets, int is_h265);
void kvs_sets_free(struct kvs_sets *sets, const struct kvs_host *host);
/* Replaces all by what is in a header's codec private data: avcC, hvcC, Annex B, in any form of cpd.h. What can not be
 * read is passed over.   KVS_E_NOMEM  some may be missing */
kvs_status kvs_sets_load(struct kvs_sets *sets, const struct kvs_host *host, const uint8_t *cpd, uint32_t size);
/* Goes over the NALs of a call, which passed `scan` (fresh), and keeps the parameter sets among them.   KVS_E_NOMEM */
kvs_status kvs_sets_read(struct kvs_sets *sets, const struct kvs_host *host, const uint8_t *data, uint32_t size,
                         const struct kvs_nal_scan *scan, struct kvs_call *call_out);
/* Whether the key frame that was read last needs another header, and one can be made. */
int kvs_sets_need_header(const struct kvs_sets *sets, uint32_t pps);
/* The chain of this PPS, and the other PPS of its SPS, as Annex B. size 0: it is not whole.
 *   KVS_OK; out NULL gives the size */
uint32_t kvs_sets_write(const struct kvs_sets *sets, uint32_t pps, uint8_t *out);
/* That is the header now. */
void kvs_sets_adopt(struct kvs_sets *sets, uint32_t pps);

#endif

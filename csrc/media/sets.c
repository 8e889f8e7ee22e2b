/* sets.c — see sets.h. */
#include "media/sets.h"

#include <string.h>

#include "base/bits.h"
#include "base/buf.h"
#include "media/cpd.h"

#define SET_MAX 65535u   /* the records' lengths have 16 bits */
#define SLICE_HEAD 48u   /* of a slice: the codes before the PPS id, with emulation prevention, are shorter */
#define PPS_HEAD 24u
#define ITEMS_MIN 4u

void kvs_sets_init(struct kvs_sets *sets, int is_h265)
{
    *sets = (struct kvs_sets){.is_h265 = is_h265 != 0};
}

void kvs_sets_free(struct kvs_sets *sets, const struct kvs_host *host)
{
    for (uint32_t index = 0; index < sets->count; index++) kvs_host_free(host, sets->items[index].bytes);
    kvs_host_free(host, sets->items);
    kvs_sets_init(sets, sets->is_h265);
}

/* ---- what a NAL is ---- */

enum nal_use { USE_PICTURE, USE_SLICE, USE_VPS, USE_SPS, USE_PPS, USE_OTHER };

/* What no standard knows counts as a picture: it stays a frame of its own. */
static enum nal_use h264_use(uint32_t head)
{
    const uint32_t type = head & 0x1Fu;
    if ((head & 0x80u) != 0) return USE_PICTURE;
    if (type == 1 || type == 2 || type == 5) return USE_SLICE;
    if (type == 7 || type == 8) return (head & 0x60u) == 0 ? USE_OTHER : type == 7 ? USE_SPS : USE_PPS;
    return type >= 6 && type <= 16 ? USE_OTHER : USE_PICTURE;
}

static enum nal_use h265_use(uint32_t head)
{
    const uint32_t type = head >> 1;
    if (type <= 9 || (type >= 16 && type <= 21)) return USE_SLICE;
    if (type < 32 || type > 63) return USE_PICTURE;
    return type == 32 ? USE_VPS : type == 33 ? USE_SPS : type == 34 ? USE_PPS : USE_OTHER;
}

static enum nal_use use_of(const struct kvs_sets *sets, const uint8_t *nal)
{
    return sets->is_h265 ? h265_use(nal[0]) : h264_use(nal[0]);
}

static void begin_bits(struct kvs_bits *bits, const uint8_t *nal, uint32_t size, uint8_t *room, uint32_t room_size)
{
    kvs_bits_init(bits, room, kvs_nal_unescape(nal, size < room_size ? size : room_size, room));
}

static uint32_t pps_of_slice(const struct kvs_sets *sets, const uint8_t *nal, uint32_t size)
{
    uint8_t room[SLICE_HEAD];
    struct kvs_bits bits;
    begin_bits(&bits, nal, size, room, sizeof(room));
    if (sets->is_h265) {
        const uint32_t type = nal[0] >> 1;
        kvs_bits_skip(&bits, 16u + 1u + (type >= 16 && type <= 23)); /* ... no_output_of_prior_pics_flag */
    } else {
        kvs_bits_skip(&bits, 8);
        kvs_bits_ue(&bits); /* first_mb_in_slice */
        kvs_bits_ue(&bits); /* slice_type */
    }
    const uint32_t pps = kvs_bits_ue(&bits);
    return bits.failed ? KVS_SETS_NO_PPS : pps;
}

/* ---- by id ---- */

static struct kvs_set *find(const struct kvs_sets *sets, uint32_t kind, uint32_t id)
{
    for (uint32_t index = 0; index < sets->count; index++) {
        if (sets->items[index].kind == kind && sets->items[index].id == id) return &sets->items[index];
    }
    return NULL;
}

/* The identity of a set: kind, id and what it refers to. */
static struct kvs_set identify(const struct kvs_sets *sets, enum nal_use use, const uint8_t *nal, uint32_t size)
{
    struct kvs_set set = {.kind = use == USE_VPS ? KVS_SET_VPS : use == USE_SPS ? KVS_SET_SPS : KVS_SET_PPS};
    uint8_t room[PPS_HEAD];
    struct kvs_bits bits;
    begin_bits(&bits, nal, size, room, sizeof(room));
    kvs_bits_skip(&bits, sets->is_h265 ? 16 : 8);
    if (use == USE_VPS) {
        set.id = kvs_bits_get(&bits, 4);
    } else if (use == USE_PPS) {
        set.id = kvs_bits_ue(&bits);
        set.parent = kvs_bits_ue(&bits);
    } else {
        struct kvs_sps sps;
        (void)(sets->is_h265 ? kvs_sps_h265(nal, size, &sps) : kvs_sps_h264(nal, size, &sps)); /* its ids are read */
        set.id = sps.id;
        set.parent = sps.vps_id;
    }
    return set;
}

/* FNV-1a, 64 bits; never 0. */
static uint64_t sum_of(const uint8_t *bytes, uint32_t size)
{
    uint64_t sum = UINT64_C(0xCBF29CE484222325);
    for (uint32_t index = 0; index < size; index++) sum = (sum ^ bytes[index]) * UINT64_C(0x100000001B3);
    return sum == 0 ? 1 : sum;
}

/* ---- keeping them ---- */

static void drop_item(struct kvs_sets *sets, const struct kvs_host *host, uint32_t index)
{
    sets->size -= sets->items[index].size;
    kvs_host_free(host, sets->items[index].bytes);
    memmove(&sets->items[index], &sets->items[index + 1u], (--sets->count - index) * sizeof(*sets->items));
}

static void drop_oldest(struct kvs_sets *sets, const struct kvs_host *host)
{
    uint32_t oldest = 0;
    for (uint32_t index = 1; index < sets->count; index++) {
        if (sets->items[index].unit < sets->items[oldest].unit) oldest = index;
    }
    drop_item(sets, host, oldest);
}

static kvs_status reserve(struct kvs_sets *sets, const struct kvs_host *host)
{
    if (sets->count < sets->capacity) return KVS_OK;
    const uint32_t capacity = sets->capacity == 0 ? ITEMS_MIN : sets->capacity * 2u;
    struct kvs_set *items = kvs_host_alloc(host, capacity * sizeof(*items));
    if (items == NULL) return KVS_E_NOMEM;
    if (sets->count > 0) memcpy(items, sets->items, sets->count * sizeof(*items));
    kvs_host_free(host, sets->items);
    sets->items = items;
    sets->capacity = capacity;
    return KVS_OK;
}

static kvs_status store(struct kvs_sets *sets, const struct kvs_host *host, struct kvs_set made, const uint8_t *nal)
{
    made.bytes = kvs_host_alloc(host, made.size);
    if (made.bytes == NULL) return KVS_E_NOMEM;
    memcpy(made.bytes, nal, made.size);
    struct kvs_set *known = find(sets, made.kind, made.id);
    if (known != NULL) {
        made.header_sum = known->header_sum;
        sets->size += made.size - known->size;
        kvs_host_free(host, known->bytes);
        *known = made;
        return KVS_OK;
    }
    while (sets->count >= KVS_SETS_MAX || (sets->count > 0 && sets->size + made.size > KVS_SETS_SIZE_MAX))
        drop_oldest(sets, host);
    if (reserve(sets, host) != KVS_OK) {
        kvs_host_free(host, made.bytes);
        return KVS_E_NOMEM;
    }
    sets->items[sets->count++] = made;
    sets->size += made.size;
    return KVS_OK;
}

/* Most often it is known: then nothing but the unit changes. */
static kvs_status note(struct kvs_sets *sets, const struct kvs_host *host, enum nal_use use, const uint8_t *nal,
                       uint32_t size)
{
    if (size < 2 || size > SET_MAX) return KVS_OK;
    struct kvs_set set = identify(sets, use, nal, size);
    struct kvs_set *known = find(sets, set.kind, set.id);
    if (known != NULL && known->size == size && memcmp(known->bytes, nal, size) == 0) {
        known->unit = sets->unit;
        return KVS_OK;
    }
    set.size = size;
    set.unit = sets->unit;
    set.sum = sum_of(nal, size);
    return store(sets, host, set, nal);
}

/* ---- a call ---- */

static kvs_status read_nal(struct kvs_sets *sets, const struct kvs_host *host, const uint8_t *nal, uint32_t size,
                           struct kvs_call *call)
{
    if (size == 0) return KVS_OK;
    const enum nal_use use = use_of(sets, nal);
    call->is_nals = 1;
    if (use == USE_OTHER) return KVS_OK;
    if (use != USE_PICTURE && use != USE_SLICE) return note(sets, host, use, nal, size);
    call->has_picture = 1;
    if (use == USE_SLICE && call->pps == KVS_SETS_NO_PPS) call->pps = pps_of_slice(sets, nal, size);
    return KVS_OK;
}

/* Data that stays as it is: lengths, or nothing that is known. */
static kvs_status read_lengths(struct kvs_sets *sets, const struct kvs_host *host, const uint8_t *data, uint32_t size,
                               struct kvs_call *call)
{
    struct kvs_nal_walk walk;
    struct kvs_nal nal;
    kvs_status status = KVS_OK;
    kvs_nal_walk_init(&walk, data, size); /* its scan has asked more, and agreed */
    if (!walk.is_lengths) {
        call->has_picture = 1;
        return KVS_OK;
    }
    while (status == KVS_OK && kvs_nal_walk_next(&walk, &nal) > 0)
        status = read_nal(sets, host, data + nal.offset, nal.size, call);
    return status;
}

kvs_status kvs_sets_read(struct kvs_sets *sets, const struct kvs_host *host, const uint8_t *data, uint32_t size,
                         const struct kvs_nal_scan *scan, struct kvs_call *call_out)
{
    kvs_status status = KVS_OK;
    *call_out = (struct kvs_call){.pps = KVS_SETS_NO_PPS};
    if (sets->is_unit_over) sets->unit++;
    sets->is_unit_over = 0;
    if (scan->kind == KVS_NAL_UNCHANGED) status = read_lengths(sets, host, data, size, call_out);
    for (uint32_t index = 0; index < scan->count && status == KVS_OK; index++)
        status = read_nal(sets, host, data + scan->nal[index].offset, scan->nal[index].size, call_out);
    if (scan->count == KVS_NAL_SCAN_MAX) call_out->has_picture = 1; /* nothing but sets would be fewer */
    sets->is_unit_over = call_out->has_picture;
    return status;
}

/* ---- the chain of a picture ---- */

struct chain {
    struct kvs_set *vps, *sps, *pps;
};

static int find_chain(const struct kvs_sets *sets, uint32_t pps, struct chain *chain)
{
    *chain = (struct chain){NULL, NULL, NULL};
    if (pps == KVS_SETS_NO_PPS) return 0;
    chain->pps = find(sets, KVS_SET_PPS, pps);
    if (chain->pps != NULL) chain->sps = find(sets, KVS_SET_SPS, chain->pps->parent);
    if (chain->sps != NULL && sets->is_h265) chain->vps = find(sets, KVS_SET_VPS, chain->sps->parent);
    return chain->sps != NULL; /* decoders do without a VPS */
}

static void read_sps(const struct kvs_sets *sets, const struct kvs_set *set, struct kvs_sps *sps)
{
    (void)(sets->is_h265 ? kvs_sps_h265(set->bytes, set->size, sps) : kvs_sps_h264(set->bytes, set->size, sps));
    sps->id = sps->vps_id = 0; /* another id alone is no other picture */
}

static int is_same_shape(const struct kvs_sets *sets, const struct kvs_set *set)
{
    struct kvs_sps sps;
    const struct kvs_sps *header = &sets->header;
    read_sps(sets, set, &sps);
    return sps.width == header->width && sps.height == header->height &&
           sps.chroma_format_idc == header->chroma_format_idc && sps.bit_depth_luma == header->bit_depth_luma &&
           sps.bit_depth_chroma == header->bit_depth_chroma && sps.profile_idc == header->profile_idc &&
           sps.constraint_flags == header->constraint_flags && sps.level_idc == header->level_idc &&
           memcmp(sps.profile_tier_level, header->profile_tier_level, sizeof(sps.profile_tier_level)) == 0;
}

/* Whether a reader who has the header and the frame has this set. */
static int is_at_hand(const struct kvs_sets *sets, const struct kvs_set *set)
{
    if (set == NULL || set->sum == set->header_sum) return 1;
    if (set->header_sum != 0 || set->unit != sets->unit) return 0;
    return set->kind != KVS_SET_SPS || is_same_shape(sets, set);
}

int kvs_sets_need_header(const struct kvs_sets *sets, uint32_t pps)
{
    struct chain chain;
    if (!find_chain(sets, pps, &chain)) return 0;
    if (!sets->has_header) return 1;
    return !is_at_hand(sets, chain.vps) || !is_at_hand(sets, chain.sps) || !is_at_hand(sets, chain.pps);
}

/* Whether the header that this chain makes has the set. */
static int is_announced(const struct chain *chain, const struct kvs_set *set)
{
    return set == chain->vps || set == chain->sps || (set->kind == KVS_SET_PPS && set->parent == chain->sps->id);
}

uint32_t kvs_sets_write(const struct kvs_sets *sets, uint32_t pps, uint8_t *out)
{
    struct kvs_writer writer;
    struct chain chain;
    if (!find_chain(sets, pps, &chain)) return 0;
    kvs_writer_init(&writer, out, UINT32_MAX);
    for (uint32_t index = 0; index < sets->count; index++) {
        const struct kvs_set *set = &sets->items[index];
        if (!is_announced(&chain, set)) continue;
        kvs_writer_u32(&writer, 1);
        kvs_writer_bytes(&writer, set->bytes, set->size);
    }
    return (uint32_t)writer.size;
}

void kvs_sets_adopt(struct kvs_sets *sets, uint32_t pps)
{
    struct chain chain;
    if (!find_chain(sets, pps, &chain)) return;
    sets->has_header = 1;
    read_sps(sets, chain.sps, &sets->header);
    for (uint32_t index = 0; index < sets->count; index++) {
        struct kvs_set *set = &sets->items[index];
        set->header_sum = is_announced(&chain, set) ? set->sum : 0;
    }
}

/* ---- out of a header ---- */

static kvs_status load_nal(struct kvs_sets *sets, const struct kvs_host *host, const uint8_t *nal, uint32_t size)
{
    if (size == 0) return KVS_OK;
    const enum nal_use use = use_of(sets, nal);
    return use == USE_VPS || use == USE_SPS || use == USE_PPS ? note(sets, host, use, nal, size) : KVS_OK;
}

/* `count` sets, each behind its 16-bit length. */
static kvs_status load_run(struct kvs_sets *sets, const struct kvs_host *host, struct kvs_reader *reader,
                           uint32_t count)
{
    kvs_status status = KVS_OK;
    while (count-- > 0 && status == KVS_OK && !reader->failed) {
        const uint32_t size = kvs_reader_u16(reader);
        const uint8_t *nal = kvs_reader_bytes(reader, size);
        if (nal != NULL) status = load_nal(sets, host, nal, size);
    }
    return status;
}

static kvs_status load_avcc(struct kvs_sets *sets, const struct kvs_host *host, struct kvs_reader *reader)
{
    kvs_reader_bytes(reader, 5);
    const kvs_status status = load_run(sets, host, reader, kvs_reader_u8(reader) & 0x1Fu);
    return status == KVS_OK ? load_run(sets, host, reader, kvs_reader_u8(reader)) : status;
}

static kvs_status load_arrays(struct kvs_sets *sets, const struct kvs_host *host, struct kvs_reader *reader,
                              uint32_t head_size)
{
    kvs_status status = KVS_OK;
    kvs_reader_bytes(reader, head_size);
    while (status == KVS_OK && kvs_reader_left(reader) > 0 && !reader->failed) {
        kvs_reader_u8(reader); /* the type; each NAL says it itself */
        status = load_run(sets, host, reader, kvs_reader_u16(reader));
    }
    return status;
}

static kvs_status load_annexb(struct kvs_sets *sets, const struct kvs_host *host, const uint8_t *cpd, uint32_t size)
{
    struct kvs_nal_walk walk;
    struct kvs_nal nal;
    kvs_status status = KVS_OK;
    kvs_nal_walk_init(&walk, cpd, size);
    while (status == KVS_OK && kvs_nal_walk_next(&walk, &nal) > 0)
        status = load_nal(sets, host, cpd + nal.offset, nal.size);
    return status;
}

static kvs_status load_form(struct kvs_sets *sets, const struct kvs_host *host, const uint8_t *cpd, uint32_t size)
{
    struct kvs_reader reader;
    kvs_reader_init(&reader, cpd, size);
    switch (kvs_cpd_form_of(sets->is_h265 ? KVS_KIND_H265 : KVS_KIND_H264, cpd, size)) {
    case KVS_CPD_AVCC: return load_avcc(sets, host, &reader);
    case KVS_CPD_HVCC: return load_arrays(sets, host, &reader, 22 + 1);
    case KVS_CPD_H265_ARRAYS: return load_arrays(sets, host, &reader, 0);
    case KVS_CPD_ANNEXB: return load_annexb(sets, host, cpd, size);
    case KVS_CPD_SPS: return load_nal(sets, host, cpd, size);
    default: return KVS_OK;
    }
}

kvs_status kvs_sets_load(struct kvs_sets *sets, const struct kvs_host *host, const uint8_t *cpd, uint32_t size)
{
    kvs_sets_free(sets, host);
    const kvs_status status = load_form(sets, host, cpd, size);
    for (uint32_t index = 0; index < sets->count; index++) {
        struct kvs_set *set = &sets->items[index];
        set->header_sum = set->sum;
        if (set->kind != KVS_SET_SPS || sets->has_header) continue;
        sets->has_header = 1;
        read_sps(sets, set, &sets->header);
    }
    return status;
}

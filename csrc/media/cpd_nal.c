/* cpd_nal.c — H.264 avcC and H.265 hvcC records (ISO/IEC 14496-15): made from parameter sets, recognised, read.
 *
 * All parameter sets of a kind are kept, in the order in which they come; everything else (access unit delimiters, SEI)
 * is left out. H.264 NALs with nal_ref_idc 0 are no parameter sets. */
#include "media/cpd_nal.h"

#include "base/be.h"
#include "base/check.h"
#include "media/cpd.h"
#include "media/sps.h"

enum { H264_IDR = 5, H264_SPS = 7, H264_PPS = 8 };
enum { H265_BLA_FIRST = 16, H265_CRA = 21, H265_VPS = 32, H265_SPS = 33, H265_PPS = 34 };

#define NAL_MAX 65535u /* the records' lengths have 16 bits */
#define HVCC_HEAD_SIZE 23u
#define ANNEXB_AVCC_MIN 11u /* the shortest input that can hold what a record needs */
#define ANNEXB_HVCC_MIN 15u
#define SPS_CPD_MIN 8u

static uint32_t type_of(const struct kvs_nal_walk *walk, const struct kvs_nal *nal, int is_h265)
{
    if (nal->size == 0) return 0;
    const uint32_t head = walk->data[nal->offset];
    if (is_h265) return head >> 1; /* above 63 with the forbidden bit */
    const int is_reference = (head & 0x80u) == 0 && (head & 0x60u) != 0;
    return is_reference ? head & 0x1Fu : 0;
}

/* The next NAL of this type: 1, 0 or a status. */
static kvs_status next_of(struct kvs_nal_walk *walk, int is_h265, uint32_t type, struct kvs_nal *nal_out)
{
    kvs_status found;
    do {
        found = kvs_nal_walk_next(walk, nal_out);
    } while (found > 0 && type_of(walk, nal_out, is_h265) != type);
    return found;
}

/* How many there are of this type, or a status. */
static kvs_status count_of(struct kvs_nal_walk walk, int is_h265, uint32_t type, uint32_t max)
{
    struct kvs_nal nal;
    uint32_t count = 0;
    kvs_status found;
    while ((found = next_of(&walk, is_h265, type, &nal)) > 0) {
        if (nal.size > NAL_MAX || ++count > max) return KVS_E_ANNEXB_CPD;
    }
    return found < 0 ? found : (kvs_status)count;
}

/* Each NAL of this type behind its 16-bit length. They have been counted, so nothing can fail. */
static void write_all_of(struct kvs_nal_walk walk, int is_h265, uint32_t type, struct kvs_writer *writer)
{
    struct kvs_nal nal;
    while (next_of(&walk, is_h265, type, &nal) > 0) {
        kvs_writer_u16(writer, nal.size);
        kvs_writer_bytes(writer, walk.data + nal.offset, nal.size);
    }
}

kvs_status kvs_cpd_find_entry(struct kvs_nal_walk walk, int is_h265, struct kvs_nal *nal_out)
{
    kvs_status found;
    while ((found = kvs_nal_walk_next(&walk, nal_out)) > 0) {
        const uint32_t type = type_of(&walk, nal_out, is_h265);
        if (is_h265 ? type >= H265_BLA_FIRST && type <= H265_CRA : type == H264_IDR) return 1;
    }
    return found;
}

/* ---- avcC */

static int has_avcc_extension(uint32_t profile_idc)
{
    return profile_idc != 66 && profile_idc != 77 && profile_idc != 88;
}

static kvs_status write_avcc_extension(const uint8_t *nal, uint32_t size, struct kvs_writer *writer)
{
    struct kvs_sps sps;
    if (!has_avcc_extension(nal[1])) return KVS_OK;
    const kvs_status status = kvs_sps_h264(nal, size, &sps);
    if (status != KVS_OK && status != KVS_E_SPS_WIDTH && status != KVS_E_SPS_HEIGHT) return status;
    kvs_writer_u8(writer, 0xFCu | sps.chroma_format_idc);
    kvs_writer_u8(writer, 0xF8u | (sps.bit_depth_luma - 8u));
    kvs_writer_u8(writer, 0xF8u | (sps.bit_depth_chroma - 8u));
    kvs_writer_u8(writer, 0); /* no SPS extensions */
    return KVS_OK;
}

kvs_status kvs_cpd_write_avcc(struct kvs_nal_walk walk, struct kvs_writer *writer)
{
    const kvs_status sps_count = count_of(walk, 0, H264_SPS, 31);
    if (sps_count <= 0) return sps_count < 0 ? sps_count : KVS_E_MISSING_SPS;
    const kvs_status pps_count = count_of(walk, 0, H264_PPS, 255);
    if (pps_count <= 0) return pps_count < 0 ? pps_count : KVS_E_MISSING_PPS;
    struct kvs_nal_walk first = walk;
    struct kvs_nal nal;
    const kvs_status found = next_of(&first, 0, H264_SPS, &nal);
    KVS_CHECK(found == 1);
    if (nal.size < 4) return KVS_E_ANNEXB_CPD;
    const uint8_t *sps = walk.data + nal.offset;
    kvs_writer_u8(writer, 1);
    kvs_writer_bytes(writer, sps + 1, 3); /* profile, compatibility, level */
    kvs_writer_u8(writer, 0xFF);          /* lengths of 4 bytes */
    kvs_writer_u8(writer, 0xE0u | (uint32_t)sps_count);
    write_all_of(walk, 0, H264_SPS, writer);
    kvs_writer_u8(writer, (uint32_t)pps_count);
    write_all_of(walk, 0, H264_PPS, writer);
    return write_avcc_extension(sps, nal.size, writer);
}

/* The sets of one kind in an avcC; *first_out is the first one's place. 0 when they are not what the record says. */
static int read_avcc_sets(struct kvs_reader *reader, uint32_t count, uint32_t type, struct kvs_nal *first_out)
{
    for (uint32_t index = 0; index < count; index++) {
        const uint32_t size = kvs_reader_u16(reader);
        const uint32_t offset = (uint32_t)reader->at;
        const uint8_t *nal = kvs_reader_bytes(reader, size);
        if (nal == NULL || size == 0 || (nal[0] & 0x1Fu) != type) return 0;
        if (index == 0) *first_out = (struct kvs_nal){offset, size};
    }
    return !reader->failed;
}

/* 1 and the place of the first SPS when this is an avcC. Reserved bits may have any value and lengths any size: both
 * occur. A record without a PPS counts (avc3 streams carry them in band) unless it is cut off. */
static int find_avcc_sps(const uint8_t *cpd, uint32_t size, struct kvs_nal *sps_out)
{
    struct kvs_reader reader;
    struct kvs_nal pps;
    kvs_reader_init(&reader, cpd, size);
    if (kvs_reader_u8(&reader) != 1) return 0;
    kvs_reader_bytes(&reader, 4);
    const uint32_t sps_count = kvs_reader_u8(&reader) & 0x1Fu;
    if (sps_count == 0 || !read_avcc_sets(&reader, sps_count, H264_SPS, sps_out)) return 0;
    return read_avcc_sets(&reader, kvs_reader_u8(&reader), H264_PPS, &pps);
}

/* ---- hvcC */

static void write_hvcc_head(const struct kvs_sps *sps, struct kvs_writer *writer)
{
    kvs_writer_u8(writer, 1);
    kvs_writer_bytes(writer, sps->profile_tier_level, sizeof(sps->profile_tier_level));
    kvs_writer_u16(writer, 0xF000); /* min_spatial_segmentation_idc: not known */
    kvs_writer_u8(writer, 0xFC);    /* parallelismType: not known */
    kvs_writer_u8(writer, 0xFCu | sps->chroma_format_idc);
    kvs_writer_u8(writer, 0xF8u | ((sps->bit_depth_luma - 8u) & 7u));
    kvs_writer_u8(writer, 0xF8u | ((sps->bit_depth_chroma - 8u) & 7u));
    kvs_writer_u16(writer, 0); /* avgFrameRate: not known */
    kvs_writer_u8(writer, sps->temporal_layers << 3 | sps->temporal_id_nested << 2 | 3u); /* lengths of 4 bytes */
}

static kvs_status count_nals(struct kvs_nal_walk walk)
{
    struct kvs_nal nal;
    kvs_status count = 0;
    kvs_status found;
    while ((found = kvs_nal_walk_next(&walk, &nal)) > 0) count++;
    return found < 0 ? found : count;
}

static kvs_status read_first_sps(struct kvs_nal_walk walk, struct kvs_sps *sps_out)
{
    struct kvs_nal nal;
    const kvs_status found = next_of(&walk, 1, H265_SPS, &nal);
    if (found <= 0) return found < 0 ? found : KVS_E_MISSING_SPS;
    const kvs_status status = kvs_sps_h265(walk.data + nal.offset, nal.size, sps_out);
    return status == KVS_E_SPS_WIDTH || status == KVS_E_SPS_HEIGHT ? KVS_OK : status;
}

kvs_status kvs_cpd_write_hvcc(struct kvs_nal_walk walk, struct kvs_writer *writer)
{
    static const uint8_t TYPES[3] = {H265_VPS, H265_SPS, H265_PPS};
    kvs_status counts[3];
    uint32_t arrays = 0;
    const kvs_status nals = count_nals(walk);
    if (nals < 2) return nals < 0 ? nals : nals == 0 ? KVS_E_ANNEXB_CPD : KVS_E_MISSING_NALUS;
    for (uint32_t index = 0; index < 3; index++) {
        counts[index] = count_of(walk, 1, TYPES[index], NAL_MAX);
        if (counts[index] < 0) return counts[index];
        arrays += counts[index] > 0;
    }
    struct kvs_sps sps;
    const kvs_status status = read_first_sps(walk, &sps);
    if (status != KVS_OK) return status;
    write_hvcc_head(&sps, writer);
    kvs_writer_u8(writer, arrays);
    for (uint32_t index = 0; index < 3; index++) {
        if (counts[index] == 0) continue;
        kvs_writer_u8(writer, TYPES[index]);
        kvs_writer_u16(writer, (uint32_t)counts[index]);
        write_all_of(walk, 1, TYPES[index], writer);
    }
    return KVS_OK;
}

static int has_hvcc_head(const uint8_t *cpd, uint32_t size)
{
    return size > HVCC_HEAD_SIZE && cpd[0] == 1 && cpd[13] >> 4 == 0xF && cpd[15] >> 2 == 0x3F &&
           cpd[16] >> 2 == 0x3F && cpd[17] >> 3 == 0x1F && cpd[18] >> 3 == 0x1F;
}

/* Goes over one array. Its NALs are skipped, but the one of an SPS array: its place is returned (1). */
static kvs_status read_array(struct kvs_reader *reader, struct kvs_nal *sps_out)
{
    const uint32_t type = kvs_reader_u8(reader) & 0x3Fu;
    const uint32_t count = kvs_reader_u16(reader);
    if (reader->failed) return KVS_E_HEVC_FORMAT;
    if (type == H265_SPS && count != 1) return KVS_E_HEVC_NALU_COUNT;
    for (uint32_t index = 0; index < count; index++) {
        const uint32_t size = kvs_reader_u16(reader);
        const uint32_t offset = (uint32_t)reader->at;
        kvs_reader_bytes(reader, size);
        if (reader->failed) return type == H265_SPS ? KVS_E_HEVC_NALU_SIZE : KVS_E_HEVC_FORMAT;
        if (type == H265_SPS) *sps_out = (struct kvs_nal){offset, size};
    }
    return type == H265_SPS;
}

/* The SPS of an hvcC, or of its arrays alone. */
static kvs_status find_array_sps(const uint8_t *cpd, uint32_t size, struct kvs_nal *sps_out)
{
    struct kvs_reader reader;
    kvs_reader_init(&reader, cpd, size);
    if (has_hvcc_head(cpd, size)) kvs_reader_bytes(&reader, HVCC_HEAD_SIZE);
    while (kvs_reader_left(&reader) > 0) {
        const kvs_status found = read_array(&reader, sps_out);
        if (found != 0) return found < 0 ? found : KVS_OK;
    }
    return KVS_E_MISSING_SPS;
}

/* ---- any form */

static int has_start_code(const uint8_t *cpd, uint32_t size)
{
    uint32_t at = 0;
    while (at < size && cpd[at] == 0) at++;
    return at >= 2 && at < size && cpd[at] == 1;
}

static enum kvs_cpd_form h264_form_of(const uint8_t *cpd, uint32_t size)
{
    struct kvs_nal sps;
    if (has_start_code(cpd, size)) return KVS_CPD_ANNEXB;
    if (find_avcc_sps(cpd, size, &sps)) return KVS_CPD_AVCC;
    return size >= 4 && (cpd[0] & 0x9Fu) == H264_SPS && (cpd[0] & 0x60u) != 0 ? KVS_CPD_SPS : KVS_CPD_UNKNOWN;
}

static enum kvs_cpd_form h265_form_of(const uint8_t *cpd, uint32_t size)
{
    struct kvs_nal sps;
    if (has_start_code(cpd, size)) return KVS_CPD_ANNEXB;
    if (find_array_sps(cpd, size, &sps) != KVS_OK) return KVS_CPD_UNKNOWN;
    return has_hvcc_head(cpd, size) ? KVS_CPD_HVCC : KVS_CPD_H265_ARRAYS;
}

enum kvs_cpd_form kvs_cpd_form_of(uint32_t kind, const uint8_t *cpd, uint32_t size)
{
    if (kind == KVS_KIND_H264) return h264_form_of(cpd, size);
    return kind == KVS_KIND_H265 ? h265_form_of(cpd, size) : KVS_CPD_UNKNOWN;
}

/* The first SPS of an Annex-B record. */
static kvs_status find_annexb_sps(const uint8_t *cpd, uint32_t size, int is_h265, struct kvs_nal *sps_out)
{
    struct kvs_nal_walk walk;
    kvs_nal_walk_init(&walk, cpd, size);
    const kvs_status found = next_of(&walk, is_h265, is_h265 ? H265_SPS : H264_SPS, sps_out);
    return found > 0 ? KVS_OK : found < 0 ? found : KVS_E_MISSING_SPS;
}

kvs_status kvs_cpd_size_h264(const uint8_t *cpd, uint32_t size, uint32_t *width_out, uint32_t *height_out)
{
    struct kvs_nal nal = {0, size};
    struct kvs_sps sps;
    kvs_status status = KVS_OK;
    if (size < SPS_CPD_MIN) return KVS_E_CPD_FORMAT;
    if (has_start_code(cpd, size)) status = find_annexb_sps(cpd, size, 0, &nal);
    else if (!find_avcc_sps(cpd, size, &nal)) nal = (struct kvs_nal){0, size};
    if (status == KVS_OK) status = kvs_sps_h264(cpd + nal.offset, nal.size, &sps);
    if (status != KVS_OK) return status;
    *width_out = sps.width;
    *height_out = sps.height;
    return KVS_OK;
}

kvs_status kvs_cpd_size_h265(const uint8_t *cpd, uint32_t size, uint32_t *width_out, uint32_t *height_out)
{
    struct kvs_nal nal = {0, size};
    struct kvs_sps sps;
    if (size < SPS_CPD_MIN) return KVS_E_CPD_FORMAT;
    kvs_status status = KVS_OK;
    if (has_start_code(cpd, size)) status = find_annexb_sps(cpd, size, 1, &nal);
    else status = find_array_sps(cpd, size, &nal);
    if (status == KVS_OK) status = kvs_sps_h265(cpd + nal.offset, nal.size, &sps);
    if (status != KVS_OK) return status;
    *width_out = sps.width;
    *height_out = sps.height;
    return KVS_OK;
}

/* ---- conversions */

typedef kvs_status write_fn(struct kvs_nal_walk walk, struct kvs_writer *writer);

static kvs_status convert(struct kvs_nal_walk walk, write_fn *write, struct kvs_writer *writer, uint32_t *size_out)
{
    struct kvs_writer counter;
    kvs_writer_init(&counter, NULL, UINT32_MAX);
    kvs_status status = write(walk, &counter);
    if (status != KVS_OK) return status;
    if (counter.failed || counter.size > writer->capacity) return KVS_E_BUFFER_TOO_SMALL;
    if (writer->bytes != NULL) status = write(walk, writer);
    KVS_CHECK(status == KVS_OK && !writer->failed);
    *size_out = (uint32_t)counter.size;
    return KVS_OK;
}

static void init_output(struct kvs_writer *writer, uint8_t *out, uint32_t capacity)
{
    kvs_writer_init(writer, out, out == NULL ? UINT32_MAX : capacity);
}

static kvs_status pass_through(const uint8_t *in, uint32_t in_size, struct kvs_writer *writer, uint32_t *size_out)
{
    kvs_writer_bytes(writer, in, in_size);
    if (writer->failed) return KVS_E_BUFFER_TOO_SMALL;
    *size_out = in_size;
    return KVS_OK;
}

kvs_status kvs_cpd_avcc_from_annexb(const uint8_t *in, uint32_t in_size, uint8_t *out, uint32_t capacity,
                                    uint32_t *size_out)
{
    struct kvs_nal_walk walk;
    struct kvs_writer writer;
    init_output(&writer, out, capacity);
    if (in_size < ANNEXB_AVCC_MIN) return KVS_E_CPD_TOO_SHORT;
    const int is_made = kvs_cpd_form_of(KVS_KIND_H264, in, in_size) == KVS_CPD_AVCC;
    if (is_made) return pass_through(in, in_size, &writer, size_out);
    kvs_nal_walk_init(&walk, in, in_size);
    return convert(walk, kvs_cpd_write_avcc, &writer, size_out);
}

kvs_status kvs_cpd_hvcc_from_annexb(const uint8_t *in, uint32_t in_size, uint8_t *out, uint32_t capacity,
                                    uint32_t *size_out)
{
    struct kvs_nal_walk walk;
    struct kvs_writer writer;
    init_output(&writer, out, capacity);
    if (in_size < ANNEXB_HVCC_MIN) return KVS_E_CPD_TOO_SHORT;
    const int is_made = kvs_cpd_form_of(KVS_KIND_H265, in, in_size) == KVS_CPD_HVCC;
    if (is_made) return pass_through(in, in_size, &writer, size_out);
    kvs_nal_walk_init(&walk, in, in_size);
    const kvs_status status = convert(walk, kvs_cpd_write_hvcc, &writer, size_out);
    return status == KVS_E_ANNEXB_FRAME ? KVS_E_ANNEXB_CPD : status;
}

kvs_status kvs_cpd_from_frame(const struct kvs_cpd_format *format, const uint8_t *frame, uint32_t frame_size,
                              uint8_t *out, uint32_t capacity, uint32_t *size_out)
{
    *size_out = 0;
    if (!kvs_cpd_is_in_frames(format) || frame_size == UINT32_MAX) return KVS_OK;
    const int is_h265 = kvs_cpd_nal_kind(format) == KVS_KIND_H265;
    struct kvs_nal_walk walk;
    struct kvs_nal entry;
    struct kvs_writer writer;
    init_output(&writer, out, capacity);
    kvs_nal_walk_init(&walk, frame, frame_size);
    kvs_status status = kvs_cpd_find_entry(walk, is_h265, &entry);
    if (status <= 0) return status;
    walk.stop = entry.offset;
    status = count_of(walk, is_h265, is_h265 ? H265_SPS : H264_SPS, NAL_MAX);
    if (status <= 0) return status;
    return convert(walk, is_h265 ? kvs_cpd_write_hvcc : kvs_cpd_write_avcc, &writer, size_out);
}

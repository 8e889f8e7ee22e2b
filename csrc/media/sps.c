/* sps.c — sequence parameter sets; see sps.h. Field names in comments are those of the standards. */
#include "media/sps.h"

#include <string.h>

#include "base/bits.h"
#include "media/nal.h"

#define SIDE_MAX 65535

/* The NAL without emulation prevention; what lies beyond KVS_SPS_MAX is cut off. */
struct rbsp {
    uint8_t bytes[KVS_SPS_MAX];
    uint32_t size;
};

static void read_rbsp(const uint8_t *nal, uint32_t size, struct rbsp *rbsp)
{
    rbsp->size = kvs_nal_unescape(nal, size < KVS_SPS_MAX ? size : KVS_SPS_MAX, rbsp->bytes);
}

/* Cropped sides, or the status of the one that is impossible. The bits have been read to the end. */
static kvs_status set_size(struct kvs_sps *sps, int64_t width, int64_t height)
{
    if (width < 0 || width > SIDE_MAX) return KVS_E_SPS_WIDTH;
    if (height < 0 || height > SIDE_MAX) return KVS_E_SPS_HEIGHT;
    sps->width = (uint32_t)width;
    sps->height = (uint32_t)height;
    return KVS_OK;
}

struct crop {
    int64_t left, right, top, bottom;
};

static struct crop read_crop(struct kvs_bits *bits)
{
    struct crop crop = {0, 0, 0, 0};
    if (kvs_bits_get(bits, 1) == 0) return crop;
    crop.left = kvs_bits_ue(bits);
    crop.right = kvs_bits_ue(bits);
    crop.top = kvs_bits_ue(bits);
    crop.bottom = kvs_bits_ue(bits);
    return crop;
}

/* ---- H.264 */

static int has_chroma_fields(uint32_t profile_idc)
{
    static const uint8_t PROFILES[] = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135};
    return memchr(PROFILES, (int)profile_idc, sizeof(PROFILES)) != NULL;
}

/* A list ends with its last coefficient or when next_scale becomes 0. */
static void skip_scaling_list(struct kvs_bits *bits, uint32_t count)
{
    int64_t last = 8;
    int64_t next = 8;
    for (uint32_t index = 0; index < count && next != 0 && !bits->failed; index++) {
        next = (last + kvs_bits_se(bits)) & 255;
        if (next != 0) last = next;
    }
}

static void skip_scaling_matrix(struct kvs_bits *bits, uint32_t chroma_format_idc)
{
    const uint32_t lists = chroma_format_idc == 3 ? 12 : 8;
    for (uint32_t list = 0; list < lists && !bits->failed; list++) {
        if (kvs_bits_get(bits, 1) != 0) skip_scaling_list(bits, list < 6 ? 16 : 64);
    }
}

static kvs_status read_chroma(struct kvs_bits *bits, struct kvs_sps *sps, int *is_separate)
{
    if (!has_chroma_fields(sps->profile_idc)) return KVS_OK;
    const uint32_t chroma_format_idc = kvs_bits_ue(bits);
    if (chroma_format_idc > 3) return KVS_E_SPS_CHROMA_FORMAT;
    sps->chroma_format_idc = chroma_format_idc;
    if (chroma_format_idc == 3) *is_separate = (int)kvs_bits_get(bits, 1);
    const uint32_t luma = kvs_bits_ue(bits);
    const uint32_t chroma = kvs_bits_ue(bits);
    if (luma > 6 || chroma > 6) return KVS_E_SPS_BITS;
    sps->bit_depth_luma = 8 + luma;
    sps->bit_depth_chroma = 8 + chroma;
    kvs_bits_skip(bits, 1); /* qpprime_y_zero_transform_bypass_flag */
    if (kvs_bits_get(bits, 1) != 0) skip_scaling_matrix(bits, chroma_format_idc);
    return KVS_OK;
}

static void skip_picture_order(struct kvs_bits *bits)
{
    const uint32_t type = kvs_bits_ue(bits);
    if (type == 0) kvs_bits_ue(bits);
    if (type > 2) bits->failed = 1;
    if (type != 1) return;
    kvs_bits_skip(bits, 1);
    kvs_bits_se(bits);
    kvs_bits_se(bits);
    const uint32_t count = kvs_bits_ue(bits);
    if (count > 255) bits->failed = 1;
    for (uint32_t index = 0; index < count && !bits->failed; index++) kvs_bits_se(bits);
}

static kvs_status read_h264_size(struct kvs_bits *bits, int is_separate, struct kvs_sps *sps)
{
    const int64_t width_mbs = (int64_t)kvs_bits_ue(bits) + 1;
    const int64_t height_units = (int64_t)kvs_bits_ue(bits) + 1;
    const int64_t fields = 2 - (int64_t)kvs_bits_get(bits, 1); /* frame_mbs_only_flag */
    if (fields == 2) kvs_bits_skip(bits, 1);
    kvs_bits_skip(bits, 1); /* direct_8x8_inference_flag */
    const struct crop crop = read_crop(bits);
    if (bits->failed) return KVS_E_SPS_BITS;
    const uint32_t chroma_array_type = is_separate ? 0 : sps->chroma_format_idc;
    const int64_t unit_x = chroma_array_type == 1 || chroma_array_type == 2 ? 2 : 1;
    const int64_t unit_y = (chroma_array_type == 1 ? 2 : 1) * fields;
    return set_size(sps, 16 * width_mbs - unit_x * (crop.left + crop.right),
                    16 * height_units * fields - unit_y * (crop.top + crop.bottom));
}

kvs_status kvs_sps_h264(const uint8_t *nal, uint32_t size, struct kvs_sps *sps_out)
{
    *sps_out = (struct kvs_sps){.chroma_format_idc = 1, .bit_depth_luma = 8, .bit_depth_chroma = 8};
    if (size < 4) return KVS_E_CPD_TOO_SHORT;
    const int is_sps = (nal[0] & 0x9Fu) == 7 && (nal[0] & 0x60u) != 0;
    if (!is_sps) return KVS_E_SPS_NALU;
    struct rbsp rbsp;
    struct kvs_bits bits;
    read_rbsp(nal, size, &rbsp);
    kvs_bits_init(&bits, rbsp.bytes, rbsp.size);
    kvs_bits_skip(&bits, 8);
    sps_out->profile_idc = (uint8_t)kvs_bits_get(&bits, 8);
    sps_out->constraint_flags = (uint8_t)kvs_bits_get(&bits, 8);
    sps_out->level_idc = (uint8_t)kvs_bits_get(&bits, 8);
    sps_out->id = kvs_bits_ue(&bits);
    int is_separate = 0;
    const kvs_status status = read_chroma(&bits, sps_out, &is_separate);
    if (status != KVS_OK) return status;
    kvs_bits_ue(&bits); /* log2_max_frame_num_minus4 */
    skip_picture_order(&bits);
    kvs_bits_ue(&bits);      /* max_num_ref_frames */
    kvs_bits_skip(&bits, 1); /* gaps_in_frame_num_value_allowed_flag */
    return read_h264_size(&bits, is_separate, sps_out);
}

/* ---- H.265 */

static void skip_sub_layers(struct kvs_bits *bits, uint32_t sub_layers)
{
    uint64_t skipped = 0;
    for (uint32_t layer = 0; layer < sub_layers; layer++) {
        if (kvs_bits_get(bits, 1) != 0) skipped += 88;
        if (kvs_bits_get(bits, 1) != 0) skipped += 8;
    }
    if (sub_layers > 0) kvs_bits_skip(bits, 2u * (8u - sub_layers));
    kvs_bits_skip(bits, skipped);
}

static kvs_status read_h265_size(struct kvs_bits *bits, struct kvs_sps *sps)
{
    sps->id = kvs_bits_ue(bits);
    const uint32_t chroma_format_idc = kvs_bits_ue(bits);
    if (chroma_format_idc > 3) return KVS_E_SPS_CHROMA_FORMAT;
    sps->chroma_format_idc = chroma_format_idc;
    if (chroma_format_idc == 3) kvs_bits_skip(bits, 1); /* separate_colour_plane_flag */
    const int64_t width = kvs_bits_ue(bits);
    const int64_t height = kvs_bits_ue(bits);
    const struct crop crop = read_crop(bits);
    const uint32_t luma = kvs_bits_ue(bits);
    const uint32_t chroma = kvs_bits_ue(bits);
    if (bits->failed || luma > 8 || chroma > 8) return KVS_E_SPS_BITS;
    sps->bit_depth_luma = 8 + luma;
    sps->bit_depth_chroma = 8 + chroma;
    const int64_t unit_x = chroma_format_idc == 1 || chroma_format_idc == 2 ? 2 : 1;
    const int64_t unit_y = chroma_format_idc == 1 ? 2 : 1;
    return set_size(sps, width - unit_x * (crop.left + crop.right), height - unit_y * (crop.top + crop.bottom));
}

kvs_status kvs_sps_h265(const uint8_t *nal, uint32_t size, struct kvs_sps *sps_out)
{
    *sps_out = (struct kvs_sps){.chroma_format_idc = 1, .bit_depth_luma = 8, .bit_depth_chroma = 8};
    if (size < 4) return KVS_E_CPD_TOO_SHORT;
    if (nal[0] >> 1 != 33) return KVS_E_SPS_NALU; /* the forbidden bit makes the number larger */
    struct rbsp rbsp;
    struct kvs_bits bits;
    read_rbsp(nal, size, &rbsp);
    kvs_bits_init(&bits, rbsp.bytes, rbsp.size);
    kvs_bits_skip(&bits, 16); /* NAL header */
    sps_out->vps_id = kvs_bits_get(&bits, 4);
    const uint32_t sub_layers = kvs_bits_get(&bits, 3);
    if (sub_layers > 6) return KVS_E_SPS_RESERVED;
    sps_out->temporal_layers = sub_layers + 1;
    sps_out->temporal_id_nested = kvs_bits_get(&bits, 1);
    for (uint32_t index = 0; index < sizeof(sps_out->profile_tier_level); index++) {
        sps_out->profile_tier_level[index] = (uint8_t)kvs_bits_get(&bits, 8);
    }
    skip_sub_layers(&bits, sub_layers);
    return read_h265_size(&bits, sps_out);
}

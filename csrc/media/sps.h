/* sps.h — sequence parameter sets: the picture size and what avcC and hvcC records need. ITU-T H.264 section 7.3.2.1,
 * ITU-T H.265 section 7.3.2.2. Input is one NAL with its header and with emulation prevention (removed here, up to
 * KVS_SPS_MAX bytes; what is needed lies near the front). Parsing stops after the last field that is needed: the VUI is
 * not read. */
#ifndef KVS_MEDIA_SPS_H
#define KVS_MEDIA_SPS_H

#include "kvspic.h"

#define KVS_SPS_MAX 4096u

struct kvs_sps {
    uint32_t id, vps_id; /* vps_id: H.265 */
    uint32_t width, height; /* cropped */
    uint32_t chroma_format_idc; /* 0 to 3 */
    uint32_t bit_depth_luma, bit_depth_chroma; /* 8 for plain video */
    uint8_t profile_idc, constraint_flags, level_idc; /* H.264 */
    uint8_t profile_tier_level[12]; /* H.265: general_profile_space .. general_level_idc, as hvcC wants it */
    uint32_t temporal_layers;       /* H.265: 1 to 7 */
    uint32_t temporal_id_nested;    /* H.265 */
};

/*   KVS_E_CPD_TOO_SHORT       fewer than 4 bytes
 *   KVS_E_SPS_NALU            not an SPS (type, forbidden bit, H.264: nal_ref_idc 0)
 *   KVS_E_SPS_BITS            ends too early or has an impossible code
 *   KVS_E_SPS_CHROMA_FORMAT   above 3
 *   KVS_E_SPS_WIDTH, _HEIGHT  below 0 or above 65535 after cropping; *sps_out has the other fields all the same */
kvs_status kvs_sps_h264(const uint8_t *nal, uint32_t size, struct kvs_sps *sps_out);
kvs_status kvs_sps_h265(const uint8_t *nal, uint32_t size, struct kvs_sps *sps_out);

#endif

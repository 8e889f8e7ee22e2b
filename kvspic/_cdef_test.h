/* Internal functions of csrc/media for the vector runner (kvspic/testing); no part of the public interface. */
typedef int32_t kvs_status;

struct kvs_mkv_track {
    uint64_t id;
    uint32_t type;
    uint32_t cpd_size;
    const char *codec_id;
    const char *name;
    const uint8_t *cpd;
    double sampling_rate;
    double output_sampling_rate;
    uint32_t width, height;
    uint32_t channels, bit_depth;
};
struct kvs_mkv_header {
    const uint8_t *segment_uuid;
    uint64_t timecode_scale_hns;
    const char *client_id;
    const struct kvs_mkv_track *tracks;
    uint32_t track_count;
    uint32_t track_mask;
};
struct kvs_mkv_tag {
    const char *name;
    const char *value;
    uint32_t name_size;
    uint32_t value_size;
};
enum kvs_mkv_parent { KVS_MKV_PARENT_TAGS, KVS_MKV_PARENT_TAG, KVS_MKV_PARENT_SIMPLE };
#define KVS_MKV_CLUSTER_SIZE ...
#define KVS_MKV_BLOCK_SIZE ...
kvs_status kvs_mkv_header_check(const struct kvs_mkv_header *header);
uint32_t kvs_mkv_header_size(const struct kvs_mkv_header *header);
uint32_t kvs_mkv_header_write(const struct kvs_mkv_header *header, uint8_t *out);
void kvs_mkv_cluster_write(uint8_t *out, uint64_t timecode);
void kvs_mkv_block_write(uint8_t *out, uint32_t track_number, int32_t relative_timecode, uint32_t frame_flags,
                         uint64_t payload_size);
kvs_status kvs_mkv_tag_check(const struct kvs_mkv_tag *tag);
uint32_t kvs_mkv_tag_chain_size(enum kvs_mkv_parent parent, const struct kvs_mkv_tag *tags, uint32_t count);
uint32_t kvs_mkv_tag_chain_write(enum kvs_mkv_parent parent, const struct kvs_mkv_tag *tags, uint32_t count,
                                 uint8_t *out);
kvs_status kvs_ebml_encode_size(uint64_t value, uint8_t out[8]);

struct kvs_generator_config {
    uint64_t scale_hns;
    uint64_t cluster_duration_hns;
    int negative_block_time;
};
struct kvs_generator {
    struct kvs_generator_config config;
    uint8_t state;
    uint64_t session_tc;
    uint64_t cluster_tc, cluster_dts_tc;
};
enum kvs_generator_part { KVS_PART_HEADER = 1, KVS_PART_CLUSTER = 2, KVS_PART_BLOCK = 4 };
struct kvs_generator_plan {
    uint32_t parts;
    uint8_t state;
    uint64_t pts_tc;
    uint64_t session_tc;
    uint64_t cluster_tc;
    uint64_t cluster_dts_tc;
    int32_t block_tc;
};
void kvs_generator_init(struct kvs_generator *generator, const struct kvs_generator_config *config);
kvs_status kvs_generator_plan(const struct kvs_generator *generator, uint64_t pts_hns, uint64_t dts_hns,
                              uint32_t frame_flags, int opens_allowed, struct kvs_generator_plan *plan_out);
void kvs_generator_commit(struct kvs_generator *generator, const struct kvs_generator_plan *plan);
void kvs_generator_reset(struct kvs_generator *generator);

struct kvs_nal {
    uint32_t offset;
    uint32_t size;
};
struct kvs_nal_scan {
    uint32_t kind;
    uint32_t count;
    uint32_t lead_size;
    uint32_t resume;
    uint32_t is_clean;
    uint64_t adapted_size;
    struct kvs_nal nal[32];
};
kvs_status kvs_nal_scan(const uint8_t *data, uint32_t size, struct kvs_nal_scan *scan_out);
kvs_status kvs_nal_scan_avcc(const uint8_t *data, uint32_t size, struct kvs_nal_scan *scan_out);
void kvs_nal_copy(const uint8_t *data, uint32_t size, struct kvs_nal_scan *scan, uint8_t *out);
uint32_t kvs_nal_unescape(const uint8_t *nal, uint32_t size, uint8_t *out);

struct kvs_cpd_format {
    uint32_t kinds;
    uint32_t track_type;
    uint32_t nal_flags;
    const char *codec_id;
};
enum kvs_kind {
    KVS_KIND_H264 = 1, KVS_KIND_H265 = 2, KVS_KIND_AAC = 4, KVS_KIND_G711 = 8, KVS_KIND_VIDEO = 16, KVS_KIND_AUDIO = 32,
    KVS_KIND_UNKNOWN = 64
};
struct kvs_media_values {
    uint32_t width, height;
    double sampling_rate;
    double output_sampling_rate;
    uint32_t channels, bit_depth;
};
struct kvs_aac {
    uint32_t object_type;
    uint32_t sampling_rate;
    uint32_t output_sampling_rate;
    uint32_t channels;
};
uint32_t kvs_kinds_of(const char *content_type);
kvs_status kvs_cpd_adapt(const struct kvs_cpd_format *format, const uint8_t *in, uint32_t in_size,
                         uint8_t *out, uint32_t capacity, uint32_t *size_out);
kvs_status kvs_cpd_describe(const struct kvs_cpd_format *format, const uint8_t *cpd, uint32_t size,
                            struct kvs_media_values *values);
kvs_status kvs_cpd_from_frame(const struct kvs_cpd_format *format, const uint8_t *frame, uint32_t frame_size,
                              uint8_t *out, uint32_t capacity, uint32_t *size_out);
kvs_status kvs_cpd_avcc_from_annexb(const uint8_t *in, uint32_t in_size, uint8_t *out, uint32_t capacity,
                                    uint32_t *size_out);
kvs_status kvs_cpd_hvcc_from_annexb(const uint8_t *in, uint32_t in_size, uint8_t *out, uint32_t capacity,
                                    uint32_t *size_out);
kvs_status kvs_cpd_size_h264(const uint8_t *cpd, uint32_t size, uint32_t *width_out, uint32_t *height_out);
kvs_status kvs_cpd_size_h265(const uint8_t *cpd, uint32_t size, uint32_t *width_out, uint32_t *height_out);
kvs_status kvs_cpd_size_bih(const uint8_t *cpd, uint32_t size, uint32_t *width_out, uint32_t *height_out);
kvs_status kvs_aac_parse(const uint8_t *cpd, uint32_t size, struct kvs_aac *aac_out);
kvs_status kvs_aac_generate(uint32_t object_type, uint32_t sampling_rate, uint32_t channel_config, uint8_t out[2]);
kvs_status kvs_pcm_parse(const uint8_t *cpd, uint32_t size, struct kvs_media_values *values_out);
kvs_status kvs_pcm_generate(uint32_t format, uint32_t sampling_rate, uint32_t channels, uint8_t *out);

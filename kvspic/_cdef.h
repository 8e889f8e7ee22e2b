/* _cdef.h — the C interface as cffi reads it: csrc/include/kvspic.h without comments and preprocessor, then the host
 * functions that the extension takes along. Types and values are checked by the C compiler against the headers;
 * tests/unit/test_lib.py checks that nothing of kvspic.h is missing here. What each name means stands in kvspic.h. */
typedef int32_t kvs_status;

enum kvs_status_class {
    KVS_CLASS_NONE,
    KVS_CLASS_USAGE, KVS_CLASS_STATE, KVS_CLASS_MEDIA, KVS_CLASS_RESOURCE, KVS_CLASS_SERVICE, KVS_CLASS_INTERNAL
};

const char *kvs_status_text(kvs_status status);
const char *kvs_status_name(kvs_status status);
enum kvs_status_class kvs_status_class_of(kvs_status status);
kvs_status kvs_status_at(uint32_t index);

#define KVS_TIME_NONE ...
#define KVS_HNS_PER_MS ...
#define KVS_HNS_PER_SECOND ...
#define KVS_UPLOAD_NONE ...
#define KVS_SLAB_SIZE ...
#define KVS_TRACKS_MAX ...
#define KVS_RETRIES_MAX ...

struct kvs_host {
    uint32_t size;
    void *ctx;
    void *(*alloc)(void *ctx, size_t size);
    void (*free)(void *ctx, void *block);
    void *(*lock_new)(void *ctx);
    void (*lock)(void *ctx, void *lock);
    void (*unlock)(void *ctx, void *lock);
    void (*lock_free)(void *ctx, void *lock);
    uint32_t (*random)(void *ctx);
    void (*wake)(void *ctx);
};

enum kvs_result {
    KVS_RESULT_NOT_SET = 0, KVS_RESULT_OK = 200, KVS_RESULT_BAD_REQUEST = 400, KVS_RESULT_NOT_AUTHORIZED = 401,
    KVS_RESULT_FORBIDDEN = 403, KVS_RESULT_NOT_FOUND = 404, KVS_RESULT_INVALID_ARG = 406,
    KVS_RESULT_REQUEST_TIMEOUT = 408,
    KVS_RESULT_INTERNAL_ERROR = 500, KVS_RESULT_NOT_IMPLEMENTED = 501, KVS_RESULT_UNAVAILABLE = 503,
    KVS_RESULT_GATEWAY_TIMEOUT = 504, KVS_RESULT_READ_TIMEOUT = 598, KVS_RESULT_CONNECTION_TIMEOUT = 599,
    KVS_RESULT_STREAM_READ_ERROR = 4000, KVS_RESULT_FRAGMENT_SIZE = 4001, KVS_RESULT_FRAGMENT_DURATION = 4002,
    KVS_RESULT_CONNECTION_DURATION = 4003, KVS_RESULT_NOT_MONOTONIC = 4004, KVS_RESULT_MULTI_TRACK = 4005,
    KVS_RESULT_INVALID_MKV = 4006, KVS_RESULT_PRODUCER_TIMESTAMP = 4007, KVS_RESULT_STREAM_NOT_ACTIVE = 4008,
    KVS_RESULT_METADATA_LIMIT = 4009, KVS_RESULT_TRACK_MISMATCH = 4010, KVS_RESULT_FRAMES_MISSING = 4011,
    KVS_RESULT_MORE_TRACKS = 4012, KVS_RESULT_KMS_FIRST = 4500, KVS_RESULT_KMS_LAST = 4506,
    KVS_RESULT_STREAM_DELETED = 4507, KVS_RESULT_ACK_INTERNAL = 5000, KVS_RESULT_ARCHIVAL = 5001,
    KVS_RESULT_UNKNOWN_ACK = 7000, KVS_RESULT_CLIENT_LIMIT = 10000, KVS_RESULT_DEVICE_LIMIT = 10001,
    KVS_RESULT_STREAM_LIMIT = 10002, KVS_RESULT_IN_USE = 10003, KVS_RESULT_NOT_PROVISIONED = 10004,
    KVS_RESULT_DEVICE_NOT_FOUND = 10005, KVS_RESULT_UNKNOWN = 10006, KVS_RESULT_AUTH_FAILURE = 10007,
    KVS_RESULT_SIGNATURE_EXPIRED = 10008, KVS_RESULT_SIGNATURE_EARLY = 10009, KVS_RESULT_DELETED = 10400
};

struct kvs_client;
struct kvs_stream;

struct kvs_client_config {
    uint32_t size;
    uint32_t stream_count_max;
    uint64_t store_max;
    uint64_t seed;
    const char *client_id;
    uint32_t device_tag_count;
    uint32_t backoff_base_ms;
    uint32_t backoff_cap_ms;
};

kvs_status kvs_client_new(const struct kvs_host *host, const struct kvs_client_config *config,
                                  uint64_t now_hns, struct kvs_client **client_out);

void kvs_client_free(struct kvs_client *client);

enum kvs_auth { KVS_AUTH_NONE = 0, KVS_AUTH_TOKEN = 1, KVS_AUTH_CERTIFICATE = 2, KVS_AUTH_MISSING = 3 };
struct kvs_client_answer {
    uint32_t size;
    uint32_t result;
    uint64_t request;
    uint32_t auth;
    uint64_t expires_hns;
};

kvs_status kvs_client_answer(struct kvs_client *client, const struct kvs_client_answer *answer,
                                     uint64_t now_hns);

struct kvs_client_metrics {
    uint32_t size;
    uint32_t state;
    uint64_t store_max, store_used;
    uint64_t stream_count;
    uint64_t retry_count;
};
kvs_status kvs_client_metrics(struct kvs_client *client, struct kvs_client_metrics *metrics_out);

uint64_t kvs_client_next_deadline(struct kvs_client *client);
kvs_status kvs_client_poke(struct kvs_client *client, uint64_t now_hns);

enum kvs_track_type { KVS_TRACK_VIDEO = 1, KVS_TRACK_AUDIO = 2, KVS_TRACK_UNKNOWN = 3 };
struct kvs_track_config {
    uint64_t id;
    uint32_t type;
    uint32_t cpd_size;
    const char *codec_id;
    const char *name;
    const uint8_t *cpd;
    double sampling_rate;
    uint16_t width, height;
    uint16_t channels, bit_depth;
};

enum kvs_streaming_type { KVS_REALTIME = 0, KVS_OFFLINE = 2 };
enum kvs_stream_flag {
    KVS_KEY_FRAME_FRAGMENTS = 1,
    KVS_CLOCK_TIMECODES = 2,
    KVS_RELATIVE_TIMES = 4,
    KVS_WANT_ACKS = 8,
    KVS_NO_RECOVERY = 16,
    KVS_ALLOW_CREATE = 32,
    KVS_NEGATIVE_BLOCK_TIME = 64,
    KVS_HAS_TAGS = 128,
    KVS_SPARSE_KEYS = 256,
    KVS_FORMAT_LOCKED = 512,
    KVS_PUT_TELLS = 1024,
    KVS_NO_EMPTY_NALS = 2048,
    KVS_WHOLE_PICTURES = 4096,
    KVS_CONFIRM_EACH = 16384
};
enum kvs_nal_flag { KVS_NAL_ANNEXB_TO_AVCC = 8, KVS_NAL_AVCC_TO_ANNEXB = 16, KVS_NAL_ANNEXB_CPD = 32 };

enum kvs_order {
    KVS_ORDER_NONE = 0, KVS_ORDER_AV = 1, KVS_ORDER_DTS = 2, KVS_ORDER_PTS = 3, KVS_ORDER_DTS_EOFR = 4,
    KVS_ORDER_PTS_EOFR = 5, KVS_ORDER_CUT = 6
};
enum kvs_full_policy { KVS_FULL_DROP_FRAGMENT = 0, KVS_FULL_REFUSE = 1 };
enum kvs_backward_policy {
    KVS_BACKWARD_SHIFT = 0, KVS_BACKWARD_DROP = 1, KVS_BACKWARD_SESSION = 2, KVS_BACKWARD_ERROR = 3
};

struct kvs_stream_config {
    uint32_t size;
    uint32_t flags;
    uint64_t user;
    const char *name;
    const char *content_type;
    uint64_t retention_hns;
    uint32_t streaming_type;
    uint32_t nal_flags;
    uint32_t order;
    uint32_t full_policy;
    uint32_t backward_policy;
    uint32_t frames_max;
    uint32_t metadata_max;
    uint32_t track_count;
    const struct kvs_track_config *tracks;
    const uint8_t *segment_uuid;
    uint64_t timecode_scale_hns;
    uint64_t fragment_duration_hns;
    uint64_t buffer_duration_hns;
    uint64_t store_max;
    uint64_t latency_max_hns;
    uint64_t staleness_max_hns;
    uint64_t replay_max_hns;
    uint64_t eofr_idle_hns;
    uint64_t order_window_hns;
    uint64_t fragment_duration_max_hns;
    uint64_t fragment_size_max;
    uint64_t fragment_duration_min_hns;
    uint64_t data_delay_hns;
};

kvs_status kvs_stream_new(struct kvs_client *client, const struct kvs_stream_config *config,
                                  uint64_t now_hns, struct kvs_stream **stream_out);

void kvs_stream_free(struct kvs_stream *stream);

enum kvs_frame_flag { KVS_FRAME_KEY = 1, KVS_FRAME_DISCARDABLE = 2, KVS_FRAME_INVISIBLE = 4 };

kvs_status kvs_stream_put_frame(struct kvs_stream *stream, const uint8_t *data, uint32_t data_size,
                                        uint64_t pts_hns, uint64_t dts_hns, uint64_t duration_hns,
                                        uint64_t track, uint32_t flags, uint64_t now_hns);

kvs_status kvs_stream_end_fragment(struct kvs_stream *stream, uint64_t now_hns);

kvs_status kvs_stream_put_metadata(struct kvs_stream *stream, const char *name, const char *value,
                                           int persistent);
enum kvs_event_type { KVS_EVENT_IMAGE = 1, KVS_EVENT_NOTIFICATION = 2 };
kvs_status kvs_stream_put_event(struct kvs_stream *stream, uint32_t types, const char *image_prefix,
                                        uint32_t pair_count, const char *const *names, const char *const *values);

kvs_status kvs_stream_set_cpd(struct kvs_stream *stream, uint64_t track, const uint8_t *cpd, uint32_t cpd_size);
kvs_status kvs_stream_set_nal_flags(struct kvs_stream *stream, uint32_t nal_flags);

kvs_status kvs_stream_stop(struct kvs_stream *stream, uint64_t now_hns);

kvs_status kvs_stream_retry(struct kvs_stream *stream, uint64_t now_hns);

kvs_status kvs_stream_reset(struct kvs_stream *stream, uint64_t now_hns);

kvs_status kvs_stream_reset_connection(struct kvs_stream *stream, uint64_t now_hns);

enum kvs_stream_status {
    KVS_STATUS_CREATING = 0, KVS_STATUS_ACTIVE = 1, KVS_STATUS_UPDATING = 2, KVS_STATUS_DELETING = 3
};
struct kvs_stream_answer {
    uint32_t size;
    uint32_t result;
    uint64_t request;
    uint32_t stream_status;
    uint64_t retention_hns;
    uint64_t expires_hns;
};

kvs_status kvs_stream_answer(struct kvs_stream *stream, const struct kvs_stream_answer *answer,
                                     uint64_t now_hns);

enum kvs_read_state {
    KVS_READ_MORE = 0,
    KVS_READ_WAIT = 1,
    KVS_READ_AWAITING_ACK = 2,
    KVS_READ_END = 3
};

kvs_status kvs_upload_unsent(struct kvs_stream *stream, uint64_t upload, uint64_t *bytes_out,
                                     uint64_t *duration_hns_out);
kvs_status kvs_upload_read(struct kvs_stream *stream, uint64_t upload, uint8_t *buffer, uint32_t buffer_size,
                                   enum kvs_read_state *state_out, uint64_t now_hns);
struct kvs_span {
    const uint8_t *bytes;
    uint64_t size;
};
struct kvs_loan {
    uint32_t size;
    uint32_t size_max;
    uint8_t *buffer;
    uint32_t buffer_size;
    uint32_t span_max;
    struct kvs_span *spans;
    uint32_t span_count;
};
kvs_status kvs_upload_lend(struct kvs_stream *stream, uint64_t upload, struct kvs_loan *loan,
                                   enum kvs_read_state *state_out, uint64_t now_hns);
enum kvs_ack_type {
    KVS_ACK_UNDEFINED = 0, KVS_ACK_BUFFERING = 1, KVS_ACK_RECEIVED = 2, KVS_ACK_PERSISTED = 3,
    KVS_ACK_ERROR = 4, KVS_ACK_IDLE = 5
};

kvs_status kvs_upload_ack_bytes(struct kvs_stream *stream, uint64_t upload, const uint8_t *bytes,
                                        uint32_t size, uint64_t now_hns);
enum kvs_ack_about { KVS_ABOUT_FRAGMENT = 1, KVS_ABOUT_SESSION = 2, KVS_ABOUT_STREAM = 3 };
struct kvs_ack_error {
    uint32_t id;
    uint32_t about;
    const char *name;
    const char *text;
    const char *remedy;
};
const struct kvs_ack_error *kvs_ack_error_of(uint32_t id);
const struct kvs_ack_error *kvs_ack_error_at(uint32_t index);

struct kvs_ack {
    uint32_t size;
    uint32_t type;
    uint64_t timecode_ms;
    uint32_t error_id;
    char number[129];
};
kvs_status kvs_upload_ack(struct kvs_stream *stream, uint64_t upload, const struct kvs_ack *ack,
                                  uint64_t now_hns);

kvs_status kvs_upload_ended(struct kvs_stream *stream, uint64_t upload, uint32_t result, uint64_t now_hns);

enum kvs_action_kind {
    KVS_ACTION_NONE = 0,

    KVS_ACTION_GET_CREDENTIALS = 1, KVS_ACTION_PROVISION = 2, KVS_ACTION_EXCHANGE_TOKEN = 3,
    KVS_ACTION_CREATE_DEVICE = 4, KVS_ACTION_TAG_CLIENT = 5,

    KVS_ACTION_DESCRIBE_STREAM = 10, KVS_ACTION_CREATE_STREAM = 11, KVS_ACTION_TAG_STREAM = 12,
    KVS_ACTION_GET_DATA_ENDPOINT = 13, KVS_ACTION_GET_TOKEN = 14,
    KVS_ACTION_PUT_MEDIA = 15,

    KVS_ACTION_DATA = 20,
    KVS_ACTION_UPLOAD_END = 21,

    KVS_ACTION_CLIENT_READY = 30, KVS_ACTION_CLIENT_FAILED = 31,
    KVS_ACTION_STATE = 32,
    KVS_ACTION_READY = 33,
    KVS_ACTION_FAILED = 34,
    KVS_ACTION_CLOSED = 35,
    KVS_ACTION_TOKEN_ROTATED = 36,

    KVS_ACTION_ACK = 40,
    KVS_ACTION_FRAGMENT_DONE = 41,
    KVS_ACTION_ERROR_ACK = 42,
    KVS_ACTION_DROPPED = 43,
    KVS_ACTION_ROOM = 44,
    KVS_ACTION_PRESSURE = 45,
    KVS_ACTION_STALE = 46,
    KVS_ACTION_TIME_SHIFTED = 47,
    KVS_ACTION_RETENTION_DIFFERS = 48,
    KVS_ACTION_TAG_SKIPPED = 49,
    KVS_ACTION_TRACK_SILENT = 50,
    KVS_ACTION_LATE_ERROR_ACK = 51,
    KVS_ACTION_FRAGMENT_ENDED = 52,
    KVS_ACTION_NOTICES_LOST = 53,
    KVS_ACTION_FRAGMENT_SPLIT = 54,
    KVS_ACTION_TIMES_JUMPED = 55,
    KVS_ACTION_TIME_SHIFT_ENDED = 56,
    KVS_ACTION_UNCONFIRMED = 57
};
enum kvs_drop {
    KVS_DROP_STORE_FULL = 0, KVS_DROP_BUFFER_DURATION = 1, KVS_DROP_SKIPPED = 2,
    KVS_DROP_ERROR_ACK = 3, KVS_DROP_REPLAY_LIMIT = 4, KVS_DROP_RESET = 5, KVS_DROP_BACKWARD = 6, KVS_DROP_LATE = 7,
    KVS_DROP_UNCONFIRMED = 8, KVS_DROP_COUNT = 9
};
enum kvs_pressure { KVS_PRESSURE_STORE = 0, KVS_PRESSURE_BUFFER = 1, KVS_PRESSURE_LATENCY = 2 };

struct kvs_action {
    uint32_t kind;
    uint32_t result;
    int32_t status;
    uint32_t attempt;
    uint64_t user;
    uint64_t request;
    uint64_t upload;
    uint64_t after_hns;
    uint64_t a, b, c;
    char text[72];
};

kvs_status kvs_client_next_actions(struct kvs_client *client, struct kvs_action *actions_out, uint32_t count);

struct kvs_stream_metrics {
    uint32_t size;
    uint32_t state;
    int32_t failure;
    uint32_t retry_count;
    uint64_t frames_put, frames_done, frames_buffered, frames_dropped[9];
    uint64_t bytes_put, bytes_done, bytes_buffered, bytes_dropped;
    uint64_t frames_refused, frames_unsent;
    uint64_t bytes_unsent, bytes_sent;
    uint64_t duration_buffered_hns, duration_unsent_hns;
    uint64_t fragments_put, fragments_done, fragments_resent;
    uint64_t acks_buffering, acks_received, acks_persisted, acks_error, acks_late, acks_bad;
    uint64_t ack_latency_hns;
    uint64_t sessions, sessions_active;
    uint64_t pressures_store, pressures_buffer, pressures_latency, stale_events, times_shifted, notices_lost;
    uint64_t store_used;
    uint64_t retention_hns;
    uint64_t created_hns, last_put_hns, last_ack_hns;
    uint64_t fragments_split;
    uint64_t frames_too_large;
    uint64_t tracks_silent;
    uint64_t times_jumped;
    uint64_t times_bumped;
    uint64_t shift_hns;
    uint64_t calls_joined;
    uint64_t fragments_without_cpd[3];
    uint64_t newest_hns;
    uint64_t frames_settled[3];
};
kvs_status kvs_stream_metrics(struct kvs_stream *stream, struct kvs_stream_metrics *metrics_out);

enum kvs_machine {
    KVS_MACHINE_CLIENT = 0, KVS_MACHINE_STREAM = 1, KVS_MACHINE_UPLOAD = 2, KVS_MACHINE_GENERATOR = 3,
    KVS_MACHINE_COUNT = 4
};
enum kvs_client_state {
    KVS_CLIENT_NEW, KVS_CLIENT_AUTH, KVS_CLIENT_PROVISION, KVS_CLIENT_GET_TOKEN, KVS_CLIENT_CREATE, KVS_CLIENT_TAG,
    KVS_CLIENT_READY, KVS_CLIENT_FAILED, KVS_CLIENT_STATE_COUNT
};
enum kvs_stream_state {
    KVS_STREAM_NEW, KVS_STREAM_DESCRIBE, KVS_STREAM_CREATE, KVS_STREAM_TAG, KVS_STREAM_GET_ENDPOINT,
    KVS_STREAM_GET_TOKEN, KVS_STREAM_READY, KVS_STREAM_PUT_STREAM, KVS_STREAM_STREAMING, KVS_STREAM_STOPPED,
    KVS_STREAM_FAILED, KVS_STREAM_STATE_COUNT
};
struct kvs_machine_info {
    const char *name;
    uint32_t state_count, event_count, act_count, initial, retries_max;
};
kvs_status kvs_machine_info(uint32_t machine, struct kvs_machine_info *info_out);
const char *kvs_machine_state_name(uint32_t machine, uint32_t state);
const char *kvs_machine_event_name(uint32_t machine, uint32_t event);
const char *kvs_machine_act_name(uint32_t machine, uint32_t act);

kvs_status kvs_machine_spent_status(uint32_t machine, uint32_t state);

kvs_status kvs_fsm_step(uint32_t machine, uint32_t state, uint32_t event, uint32_t *next_out,
                                uint32_t *act_out);

const char *kvs_version(void);


/* csrc/host/kvs_host.h */
struct kvs_host_wake;
void kvs_host_init(struct kvs_host *host_out, struct kvs_host_wake *wake);
kvs_status kvs_host_wake_new(struct kvs_host_wake **wake_out, intptr_t *read_fd_out);
void kvs_host_wake_free(struct kvs_host_wake *wake);
uint64_t kvs_host_now_hns(void);

/* csrc/host/gate.h */
struct kvspic_gate {
    struct kvs_stream *stream;
    int64_t offset_hns;
    uint32_t earliest_s;
    uint32_t ahead_s;
};
#define KVSPIC_AHEAD_ANY ...
void kvspic_believe(struct kvspic_gate *gate, uint32_t earliest_s, uint32_t ahead_s);
kvs_status kvspic_put_frame(const struct kvspic_gate *gate, const uint8_t *data, uint32_t data_size, uint64_t pts_ns,
                            uint64_t dts_ns, uint64_t duration_ns, uint64_t track, uint32_t flags);
kvs_status kvspic_put_plain(const struct kvspic_gate *gate, const uint8_t *data, uint32_t data_size, uint64_t pts_ns,
                            uint32_t flags);
/* kvspic/_ffi_build.py, CALLS */
uint64_t kvspic_now_hns(const int64_t *offset_hns);
kvs_status kvspic_turn(struct kvs_client *client, uint64_t now_hns, struct kvs_action *actions_out, uint32_t count,
                       uint64_t *deadline_out);

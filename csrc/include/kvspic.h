/* kvspic.h — the producer core of Amazon Kinesis Video Streams: frames in, a PutMedia byte stream out.
 *
 * The core owns no thread, socket, clock or file. A call changes it (a frame, an answer of the service, ACK bytes, a
 * deadline that passed); then the caller drains actions (kvs_client_next_actions) and reads the next deadline
 * (kvs_client_next_deadline). Nothing ever calls back into user code.
 *
 * Conventions
 *   Time     uint64_t in 100 ns ticks ("hns") since the Unix epoch unless said otherwise; `now_hns` never goes back.
 *            KVS_TIME_NONE means "no time". Media times (pts, dts) are of the caller's choice.
 *   Status   0 (KVS_OK), a count, or a negative status of kvspic_status.h. On error nothing changed.
 *   Threads  Any thread may call any function at any time, except with a stream or client that is
 *            being freed or was. Streams do not wait for each other. Without lock functions: one thread only.
 *   Memory   Pointers passed in are read during the call only. An `_out` pointer is the caller's.
 *   Structs  `size` is sizeof the struct as the caller compiled it; zero the rest for the defaults.
 * The service's side is described in the Amazon Kinesis Video Streams developer guide, "PutMedia". */
#ifndef KVSPIC_H
#define KVSPIC_H

#include <stddef.h>
#include <stdint.h>

#include "kvspic_acks.h"
#include "kvspic_status.h"

#if defined(_WIN32) && defined(KVS_BUILD_SHARED)
#define KVS_API __declspec(dllexport)
#elif defined(__GNUC__)
#define KVS_API __attribute__((visibility("default")))
#else
#define KVS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status ---------------------------------------------------------------------------------------------------- */

typedef int32_t kvs_status;

enum kvs_status_code {
    KVS_OK = 0,
#define KVS_STATUS_ENUM(name, number, cls, text) KVS_E_##name = number,
    KVS_STATUS_TABLE(KVS_STATUS_ENUM)
#undef KVS_STATUS_ENUM
};

enum kvs_status_class {
    KVS_CLASS_NONE, /* not a status of this library */
    KVS_CLASS_USAGE, KVS_CLASS_STATE, KVS_CLASS_MEDIA, KVS_CLASS_RESOURCE, KVS_CLASS_SERVICE, KVS_CLASS_INTERNAL
};

KVS_API const char *kvs_status_text(kvs_status status); /* a sentence; static storage; never NULL */
KVS_API const char *kvs_status_name(kvs_status status); /* "STORE_FULL"; static storage; never NULL */
KVS_API enum kvs_status_class kvs_status_class_of(kvs_status status);
KVS_API kvs_status kvs_status_at(uint32_t index);       /* the table's rows by index, 0 past the end */

#define KVS_TIME_NONE UINT64_MAX
#define KVS_HNS_PER_MS UINT64_C(10000)
#define KVS_HNS_PER_SECOND UINT64_C(10000000)
#define KVS_UPLOAD_NONE UINT64_C(0)
#define KVS_SLAB_SIZE 65536u
#define KVS_TRACKS_MAX 3u
#define KVS_RETRIES_MAX 5u /* repeats of one call without progress, then the stream is FAILED */

/* ---- host ------------------------------------------------------------------------------------------------------ */

/* All that the core asks for while a call runs. Orders leave by kvs_client_next_actions instead, so nothing called
 * from here may block for long, raise or come back in. kvs_client_new copies the struct; ctx outlives the client. */
struct kvs_host {
    uint32_t size;                          /* sizeof(struct kvs_host) */
    void *ctx;                              /* first argument of each call; the core never reads it */
    void *(*alloc)(void *ctx, size_t size); /* required; NULL makes the call return KVS_E_NOMEM */
    void (*free)(void *ctx, void *block);   /* required; block is never NULL */
    void *(*lock_new)(void *ctx);           /* with lock, unlock, lock_free: all four, or none (one thread only) */
    void (*lock)(void *ctx, void *lock);    /* not re-entrant; held for bookkeeping only */
    void (*unlock)(void *ctx, void *lock);
    void (*lock_free)(void *ctx, void *lock);
    uint32_t (*random)(void *ctx);          /* optional; jitter and segment UUIDs; else a generator from config.seed */
    void (*wake)(void *ctx);                /* optional; actions went from none to some; never called under a lock */
};

/* ---- service results --------------------------------------------------------------------------------------------- */

/* What the network layer reports of a call: HTTP numbers where there was an answer, the field's own numbers else.
 * Numbers not listed count as KVS_RESULT_UNKNOWN, which is retried. */
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

/* What an ERROR ACK is about, which decides what becomes of the fragment: see kvspic_acks.h. */
enum kvs_ack_about { KVS_ABOUT_FRAGMENT = 1, KVS_ABOUT_SESSION = 2, KVS_ABOUT_STREAM = 3 };
struct kvs_ack_error {
    uint32_t id;
    uint32_t about;     /* enum kvs_ack_about */
    const char *name;   /* "KMS_KEY_DISABLED"; the strings have static storage and are never NULL */
    const char *text;   /* what it means */
    const char *remedy; /* what to do */
};
KVS_API const struct kvs_ack_error *kvs_ack_error_of(uint32_t id);    /* never NULL: else the row of UNKNOWN */
KVS_API const struct kvs_ack_error *kvs_ack_error_at(uint32_t index); /* rows by index, NULL past the end */

/* ---- client ---------------------------------------------------------------------------------------------------- */

struct kvs_client;
struct kvs_stream;

struct kvs_client_config {
    uint32_t size;
    uint32_t stream_count_max; /* 0: 1,000,000 */
    uint64_t store_max;        /* bytes of frames that all streams may hold together; 0: 128 MiB; counted in slabs */
    uint64_t seed;             /* for jitter and UUIDs when the host has no random */
    const char *client_id;     /* appended to the MKV writing application; NULL or at most 64 bytes */
    uint32_t device_tag_count; /* above 0: TAG_CLIENT is part of the client's way to READY */
    uint32_t backoff_base_ms;  /* 0: 100 */
    uint32_t backoff_cap_ms;   /* 0: 10,000; jitter included */
};

/* Makes a client and starts its way to READY (drain: KVS_ACTION_GET_CREDENTIALS is the first order).
 *   KVS_E_NULL_ARG, KVS_E_CONFIG_SIZE, KVS_E_HOST, KVS_E_STORE_SIZE, KVS_E_CLIENT_ID_SIZE, KVS_E_NOMEM */
KVS_API kvs_status kvs_client_new(const struct kvs_host *host, const struct kvs_client_config *config,
                                  uint64_t now_hns, struct kvs_client **client_out);
/* Frees the client and all its streams, whatever their state. NULL is allowed. */
KVS_API void kvs_client_free(struct kvs_client *client);

/* How the client's orders are answered; `request` is the action's. */
enum kvs_auth { KVS_AUTH_NONE = 0, KVS_AUTH_TOKEN = 1, KVS_AUTH_CERTIFICATE = 2, KVS_AUTH_MISSING = 3 };
struct kvs_client_answer {
    uint32_t size;
    uint32_t result;      /* enum kvs_result */
    uint64_t request;
    uint32_t auth;        /* GET_CREDENTIALS, EXCHANGE_TOKEN: enum kvs_auth */
    uint64_t expires_hns; /* of the token; KVS_TIME_NONE: never */
};
/*   KVS_E_STALE_ANSWER  not the outstanding request: nothing changed
 *   KVS_E_TOKEN_EXPIRY  less than 30 s left: counted as a failed try */
KVS_API kvs_status kvs_client_answer(struct kvs_client *client, const struct kvs_client_answer *answer,
                                     uint64_t now_hns);

struct kvs_client_metrics {
    uint32_t size;
    uint32_t state;              /* enum kvs_client_state */
    uint64_t store_max, store_used;   /* bytes, in whole slabs */
    uint64_t stream_count;
    uint64_t retry_count;
};
KVS_API kvs_status kvs_client_metrics(struct kvs_client *client, struct kvs_client_metrics *metrics_out);

/* Least of all deadlines, or KVS_TIME_NONE; cheap. After it passed call kvs_client_poke, then drain. */
KVS_API uint64_t kvs_client_next_deadline(struct kvs_client *client);
KVS_API kvs_status kvs_client_poke(struct kvs_client *client, uint64_t now_hns);

/* ---- stream ---------------------------------------------------------------------------------------------------- */

enum kvs_track_type { KVS_TRACK_VIDEO = 1, KVS_TRACK_AUDIO = 2, KVS_TRACK_UNKNOWN = 3 };
struct kvs_track_config {
    uint64_t id;             /* not 0; also the MKV TrackUID */
    uint32_t type;           /* enum kvs_track_type */
    uint32_t cpd_size;
    const char *codec_id;    /* Matroska codec id, at most 32 bytes */
    const char *name;        /* at most 32 bytes; NULL or empty: no Name element */
    const uint8_t *cpd;      /* codec private data or NULL; copied */
    double sampling_rate;    /* audio; 0: from cpd */
    uint16_t width, height;  /* video; 0: from cpd */
    uint16_t channels, bit_depth;
};

enum kvs_streaming_type { KVS_REALTIME = 0, KVS_OFFLINE = 2 }; /* 1 counts as REALTIME */
enum kvs_stream_flag {
    KVS_KEY_FRAME_FRAGMENTS = 1u << 0, /* each key frame opens a fragment; else fragment_duration_hns decides */
    KVS_CLOCK_TIMECODES = 1u << 1,     /* pts = dts = now_hns */
    KVS_RELATIVE_TIMES = 1u << 2,      /* cluster times count from the session's first cluster */
    KVS_WANT_ACKS = 1u << 3,
    KVS_NO_RECOVERY = 1u << 4,         /* an ended session is not reopened: FAILED at once */
    KVS_ALLOW_CREATE = 1u << 5,
    KVS_NEGATIVE_BLOCK_TIME = 1u << 6, /* leading pictures may lie before their cluster's time, down to -32768 */
    KVS_HAS_TAGS = 1u << 7,            /* issue TAG_STREAM on the way */
    KVS_SPARSE_KEYS = 1u << 8,         /* frames need no others (audio alone, JPEG): one is flagged as key 2 s or more
                                        * after the last, whatever the caller flags */
    KVS_FORMAT_LOCKED = 1u << 9,       /* kvs_stream_set_cpd is refused while streaming */
    KVS_PUT_TELLS = 1u << 10,          /* the thread that puts a frame wakes the reader of the stream's one upload by
                                        * itself: no KVS_ACTION_DATA after a put, only for bytes that come otherwise */
    KVS_NO_EMPTY_NALS = 1u << 11,      /* with a NAL flag: NALs of size 0 are left out, in either framing */
    KVS_WHOLE_PICTURES = 1u << 12,     /* H.264 and H.265 with KVS_NAL_ANNEXB_TO_AVCC: a call whose data has no picture
                                        * is no frame of the ledger but begins the payload of its track's next frame.
                                        * Parameter sets are taken from any call, in place of those that were given; a
                                        * key frame opens a new session if it needs others than the present one has */
    KVS_PUT_OPENS = 1u << 13,          /* as the field's programs expect it: any frame that is put opens a session, also
                                        * one that is skipped; and when a session times out with all sent, the next
                                        * one waits for a put or a stop */
    KVS_CONFIRM_EACH = 1u << 14        /* PERSISTED makes earlier fragments of its session done only if each had an ACK
                                        * of its own; the others are sent again. Else all earlier ones are done. */
};
enum kvs_nal_flag { KVS_NAL_ANNEXB_TO_AVCC = 8, KVS_NAL_AVCC_TO_ANNEXB = 16, KVS_NAL_ANNEXB_CPD = 32 };
/* How frames of several tracks are ordered. CUT holds frames only around fragment edges and opens fragments at video
 * frames only; DTS and PTS release the earliest frame once every track has one (EOFR: end of fragment is allowed).
 * After an end of fragment DTS_EOFR takes the next frame for a key frame, whatever its flags; PTS_EOFR skips frames
 * until a key frame comes, so that a late frame of another track opens nothing. */
enum kvs_order {
    KVS_ORDER_NONE = 0, KVS_ORDER_AV = 1, KVS_ORDER_DTS = 2, KVS_ORDER_PTS = 3, KVS_ORDER_DTS_EOFR = 4,
    KVS_ORDER_PTS_EOFR = 5, KVS_ORDER_CUT = 6
};
enum kvs_full_policy { KVS_FULL_DROP_FRAGMENT = 0, KVS_FULL_REFUSE = 1 };
/* What becomes of a frame whose pts can not be true: a key frame at or before the newest frame of its track, another
 * frame at or before the newest one of the fragments before. (ERROR: also a dts that goes back.) SHIFT adds to times
 * of the track until the given ones can be true again: kvs_stream_metrics.shift_hns. */
enum kvs_backward_policy {
    KVS_BACKWARD_SHIFT = 0, KVS_BACKWARD_DROP = 1, KVS_BACKWARD_SESSION = 2, KVS_BACKWARD_ERROR = 3
};

struct kvs_stream_config {
    uint32_t size;
    uint32_t flags;            /* enum kvs_stream_flag */
    uint64_t user;             /* comes back in each action of this stream */
    const char *name;          /* 1 to 256 bytes; copied */
    const char *content_type;  /* e.g. "video/h264,audio/aac"; NULL: none; decides how codec private data is read */
    uint64_t retention_hns;    /* counts only for a stream that this call creates */
    uint32_t streaming_type;   /* enum kvs_streaming_type */
    uint32_t nal_flags;        /* enum kvs_nal_flag */
    uint32_t order;            /* enum kvs_order */
    uint32_t full_policy;      /* enum kvs_full_policy; offline always refuses */
    uint32_t backward_policy;  /* enum kvs_backward_policy */
    uint32_t frames_max;       /* 0: no limit but the store and the duration */
    uint32_t metadata_max;     /* entries waiting for a fragment; 0: 10, the service's limit */
    uint32_t track_count;
    const struct kvs_track_config *tracks;
    const uint8_t *segment_uuid; /* 16 bytes, not all zero; NULL: random */
    uint64_t timecode_scale_hns;    /* 0: 1 ms */
    uint64_t fragment_duration_hns; /* used without KVS_KEY_FRAME_FRAGMENTS */
    uint64_t buffer_duration_hns;   /* 0: no limit; beyond it the oldest fragment is dropped (offline: refused) */
    uint64_t store_max;             /* bytes of this stream, 0: the client's */
    uint64_t latency_max_hns;       /* 0: no latency pressure */
    uint64_t staleness_max_hns;     /* 0: no stale-connection event */
    uint64_t replay_max_hns;        /* 0: no limit; older frames are dropped(REPLAY_LIMIT) at a reconnect */
    uint64_t eofr_idle_hns;         /* 0: off, as with AV, DTS, PTS; else a fragment ends after so long a pause */
    uint64_t order_window_hns;      /* 0: 500 ms; how long CUT holds a frame for other tracks */
    /* A frame that would make the open fragment longer or larger begins another one, key frame or not, as soon as it
     * lies after all frames before it. The service takes 20 s and 50 MB. 0: no limit. */
    uint64_t fragment_duration_max_hns;
    uint64_t fragment_size_max;
    /* 0: each fragment goes out as it is, as soon as it can be read. Else a key frame within so long after the begin of
     * the fragment continues it (but not with other codec private data, after a step back, or when the fragment has
     * half of fragment_size_max), and no more than 5 clusters begin in a second; what is behind (an outage, a file) is
     * joined to clusters of up to 10 s. The service takes 5 fragments a second of a stream, and none below 1 s. At most
     * 10 s. */
    uint64_t fragment_duration_min_hns;
    /* How long a frame that a put has stored may wait before KVS_ACTION_DATA wakes the host; at most 1 s. 0: each wakes
     * at once. While the frames of the client's streams keep coming, no put wakes the host: kvs_client_next_deadline
     * names a time within this delay instead. The first frame after a pause wakes at once. For programs that call
     * kvs_client_poke before each drain, due or not, and sleep no longer than the next deadline. */
    uint64_t data_delay_hns;
};

/* Opens a stream and orders DescribeStream. All or nothing.
 *   KVS_E_CLIENT_STATE  the client is not READY
 *   usage statuses of kvspic_status.h for each field; KVS_E_STREAM_COUNT, KVS_E_NOMEM */
KVS_API kvs_status kvs_stream_new(struct kvs_client *client, const struct kvs_stream_config *config,
                                  uint64_t now_hns, struct kvs_stream **stream_out);
/* Frees the stream; what is buffered is lost. Later actions of it are not handed out. NULL is allowed. */
KVS_API void kvs_stream_free(struct kvs_stream *stream);

enum kvs_frame_flag { KVS_FRAME_KEY = 1, KVS_FRAME_DISCARDABLE = 2, KVS_FRAME_INVISIBLE = 4 };
/* Packages one frame into the content store; never waits for the network.
 * data: one access unit, 1 byte or more, copied. pts, dts, duration: ticks. The pts goes out as given while it can be
 * true. dts KVS_TIME_NONE: not known, the order of the calls is the order of decoding.
 *   KVS_OK             taken: from now on the frame is in the ledger
 *   KVS_E_STORE_FULL   no room and the policy is to refuse (always so when offline): wait for KVS_ACTION_ROOM
 *   KVS_E_FRAME_TOO_LARGE, KVS_E_STREAM_STOPPED, KVS_E_UNKNOWN_TRACK, media statuses, KVS_E_NOMEM
 * A STORE_FULL while the open fragment is all that is buffered ends that fragment, because only that can make room.
 * After a frame that was refused as too large, and after a key frame refused for its times or its bytes, frames of the
 * leading track are skipped until the next key frame: they need it. */
KVS_API kvs_status kvs_stream_put_frame(struct kvs_stream *stream, const uint8_t *data, uint32_t data_size,
                                        uint64_t pts_hns, uint64_t dts_hns, uint64_t duration_hns,
                                        uint64_t track, uint32_t flags, uint64_t now_hns);
/* Ends the open fragment, so that the service need not wait for the next one. Non-key frames are then skipped until a
 * key frame comes.   KVS_E_DOUBLE_EOFR, KVS_E_NO_FRAGMENT, KVS_E_EOFR_NEEDS_KEY_FRAGMENTS, KVS_E_STREAM_STOPPED ... */
KVS_API kvs_status kvs_stream_end_fragment(struct kvs_stream *stream, uint64_t now_hns);
/* Queues a name and value for the next fragment (persistent: for every one from then on; empty value removes it).
 *   KVS_E_STREAM_STATE  no DescribeStream or CreateStream was answered yet; from the first answer on metadata is taken
 *   KVS_E_METADATA_NAME, KVS_E_TAG_NAME_SIZE, KVS_E_TAG_VALUE_SIZE, KVS_E_METADATA_COUNT, KVS_E_STREAM_STOPPED */
KVS_API kvs_status kvs_stream_put_metadata(struct kvs_stream *stream, const char *name, const char *value,
                                           int persistent);
enum kvs_event_type { KVS_EVENT_IMAGE = 1, KVS_EVENT_NOTIFICATION = 2 };
KVS_API kvs_status kvs_stream_put_event(struct kvs_stream *stream, uint32_t types, const char *image_prefix,
                                        uint32_t pair_count, const char *const *names, const char *const *values);
/* New codec private data of a track: the next key frame opens a new session with it. size 0 clears. */
KVS_API kvs_status kvs_stream_set_cpd(struct kvs_stream *stream, uint64_t track, const uint8_t *cpd, uint32_t cpd_size);
KVS_API kvs_status kvs_stream_set_nal_flags(struct kvs_stream *stream, uint32_t nal_flags);
/* No more frames. What is buffered drains; then KVS_ACTION_CLOSED. A second stop is KVS_OK and does nothing. */
KVS_API kvs_status kvs_stream_stop(struct kvs_stream *stream, uint64_t now_hns);
/* Out of FAILED (or of any state but stopped): Describe again, nothing dropped, with the whole budget of tries. However
 * often it is asked for, no second has more than two orders of one kind for a stream. */
KVS_API kvs_status kvs_stream_retry(struct kvs_stream *stream, uint64_t now_hns);
/* Drops all that is buffered (ledger: RESET) and starts again at Describe; also out of stopped. */
KVS_API kvs_status kvs_stream_reset(struct kvs_stream *stream, uint64_t now_hns);
/* Ends the open sessions (KVS_ACTION_UPLOAD_END) and opens a new one; nothing is dropped. */
KVS_API kvs_status kvs_stream_reset_connection(struct kvs_stream *stream, uint64_t now_hns);

enum kvs_stream_status {
    KVS_STATUS_CREATING = 0, KVS_STATUS_ACTIVE = 1, KVS_STATUS_UPDATING = 2, KVS_STATUS_DELETING = 3
};
struct kvs_stream_answer {
    uint32_t size;
    uint32_t result;         /* enum kvs_result */
    uint64_t request;        /* of the action that is answered */
    uint32_t stream_status;  /* DESCRIBE_STREAM with result 200 */
    uint64_t retention_hns;  /* DESCRIBE_STREAM with result 200 */
    uint64_t expires_hns;    /* GET_TOKEN with result 200; KVS_TIME_NONE: never */
};
/* Answers the outstanding order of the stream. PUT_MEDIA is answered with 200 as soon as the connection is open and
 * its request head is sent; a later failure is reported by kvs_upload_ended.
 *   KVS_OK              taken; what follows is in the actions
 *   KVS_E_STALE_ANSWER  not the outstanding request: nothing changed
 *   KVS_E_TOKEN_EXPIRY  less than 30 s left: counted as a failed try
 *   service statuses    the answer moved the stream to FAILED; the status is its cause */
KVS_API kvs_status kvs_stream_answer(struct kvs_stream *stream, const struct kvs_stream_answer *answer,
                                     uint64_t now_hns);

/* ---- uploads: one PutMedia session each -------------------------------------------------------------------------- */

enum kvs_read_state {
    KVS_READ_MORE = 0,         /* the buffer is full: read again */
    KVS_READ_WAIT = 1,         /* nothing more now: read again after KVS_ACTION_DATA */
    KVS_READ_AWAITING_ACK = 2, /* all is sent: keep the connection, the last PERSISTED is to come */
    KVS_READ_END = 3           /* end the body after these bytes; the handle is gone */
};
/* How much a read of this handle gives now, and how long that lasts; the session's header and end tag are bytes too.
 *   KVS_E_UNKNOWN_UPLOAD */
KVS_API kvs_status kvs_upload_unsent(struct kvs_stream *stream, uint64_t upload, uint64_t *bytes_out,
                                     uint64_t *duration_hns_out);
/* Copies the session's next bytes into buffer; returns how many (0 is possible) and says what comes next.
 *   KVS_E_UNKNOWN_UPLOAD  not (or no longer) a handle of this stream: close the connection */
KVS_API kvs_status kvs_upload_read(struct kvs_stream *stream, uint64_t upload, uint8_t *buffer, uint32_t buffer_size,
                                   enum kvs_read_state *state_out, uint64_t now_hns);
/* Bytes of an upload, to be sent in the order of their spans. */
struct kvs_span {
    const uint8_t *bytes;
    uint64_t size;
};
struct kvs_loan {
    uint32_t size;          /* sizeof(struct kvs_loan) */
    uint32_t size_max;      /* as many bytes at most; 1 or more */
    uint8_t *buffer;        /* for headers and small frames, which are copied */
    uint32_t buffer_size;   /* 1 or more; 16 KB is good for many small frames */
    uint32_t span_max;      /* room in spans; 0: nothing is read, what was lent is given back */
    struct kvs_span *spans; /* filled from the front */
    uint32_t span_count;    /* out: how many were filled */
};
/* The same as kvs_upload_read, but large frames are lent where they lie in the store instead of being copied; returns
 * the number of bytes in all spans. Lent bytes stay as they are until the next kvs_upload_lend or kvs_upload_read of
 * this handle, kvs_upload_ended of it, or kvs_stream_free: also when they are acknowledged, dropped or reset meanwhile.
 * Their memory counts in the store until then: a reader whose peer stands still keeps up to size_max of it.
 * KVS_READ_MORE: also when the spans or the buffer are full.
 *   KVS_E_UNKNOWN_UPLOAD  as for kvs_upload_read; what was lent is given back
 *   KVS_E_CONFIG_SIZE     loan->size
 *   KVS_E_INVALID_ARG     size_max or buffer_size is 0, or size_max above 2^31 - 1 */
KVS_API kvs_status kvs_upload_lend(struct kvs_stream *stream, uint64_t upload, struct kvs_loan *loan,
                                   enum kvs_read_state *state_out, uint64_t now_hns);
enum kvs_ack_type {
    KVS_ACK_UNDEFINED = 0, KVS_ACK_BUFFERING = 1, KVS_ACK_RECEIVED = 2, KVS_ACK_PERSISTED = 3,
    KVS_ACK_ERROR = 4, KVS_ACK_IDLE = 5
};
/* Bytes of the response body as they came, cut anywhere. Every whole ACK in them is applied, bad ones are counted and
 * skipped; returns the number applied, or the first error when none was. */
KVS_API kvs_status kvs_upload_ack_bytes(struct kvs_stream *stream, uint64_t upload, const uint8_t *bytes,
                                        uint32_t size, uint64_t now_hns);
struct kvs_ack {
    uint32_t size;
    uint32_t type;         /* enum kvs_ack_type */
    uint64_t timecode_ms;  /* as written in the ACK; KVS_TIME_NONE: absent */
    uint32_t error_id;     /* ERROR: enum kvs_result 4000 and up */
    char number[129];      /* fragment number, NUL-terminated */
};
KVS_API kvs_status kvs_upload_ack(struct kvs_stream *stream, uint64_t upload, const struct kvs_ack *ack,
                                  uint64_t now_hns);
/* The connection of this handle is gone; result says why (200: an orderly end by the service). */
KVS_API kvs_status kvs_upload_ended(struct kvs_stream *stream, uint64_t upload, uint32_t result, uint64_t now_hns);

/* ---- actions out ------------------------------------------------------------------------------------------------- */

enum kvs_action_kind {
    KVS_ACTION_NONE = 0,
    /* orders of the client; answer with kvs_client_answer */
    KVS_ACTION_GET_CREDENTIALS = 1, KVS_ACTION_PROVISION = 2, KVS_ACTION_EXCHANGE_TOKEN = 3,
    KVS_ACTION_CREATE_DEVICE = 4, KVS_ACTION_TAG_CLIENT = 5,
    /* orders of a stream; answer with kvs_stream_answer, not before after_hns */
    KVS_ACTION_DESCRIBE_STREAM = 10, KVS_ACTION_CREATE_STREAM = 11, KVS_ACTION_TAG_STREAM = 12,
    KVS_ACTION_GET_DATA_ENDPOINT = 13, KVS_ACTION_GET_TOKEN = 14,
    KVS_ACTION_PUT_MEDIA = 15,   /* upload; a: start timestamp, ms since the epoch of the media times */
    /* orders about a session; no answer */
    KVS_ACTION_DATA = 20,        /* upload has bytes: read it. When ordered: a: bytes unsent, b: their ticks */
    KVS_ACTION_UPLOAD_END = 21,  /* the core is done with upload: close the connection. result: why (200: orderly) */
    /* notices of state */
    KVS_ACTION_CLIENT_READY = 30, KVS_ACTION_CLIENT_FAILED = 31, /* status: cause */
    KVS_ACTION_STATE = 32,       /* a: old, b: new enum kvs_stream_state */
    KVS_ACTION_READY = 33,       /* the stream may stream; after each way through READY */
    KVS_ACTION_FAILED = 34,      /* status: cause, result: the last service result, a: state it happened in */
    KVS_ACTION_CLOSED = 35,      /* stopped and drained */
    KVS_ACTION_TOKEN_ROTATED = 36,
    /* notices of data */
    KVS_ACTION_ACK = 40,         /* upload; result: enum kvs_ack_type; a: timecode ms, b: fragment pts,
                                  * c: ticks since its first byte was read; text: number */
    KVS_ACTION_FRAGMENT_DONE = 41, /* a: pts, b: frames, c: bytes freed */
    KVS_ACTION_ERROR_ACK = 42,   /* upload; result: error id; status; a: timecode ms, b: fragment pts; text: number */
    KVS_ACTION_DROPPED = 43,     /* result: enum kvs_drop; a: first frame's pts, b: frames, c: bytes */
    KVS_ACTION_ROOM = 44,        /* a put was refused with STORE_FULL and now there is room */
    KVS_ACTION_PRESSURE = 45,    /* result: enum kvs_pressure; a: 1 begins, 0 ends; b: value */
    KVS_ACTION_STALE = 46,       /* a: ticks since the last ACK while bytes were sent */
    KVS_ACTION_TIME_SHIFTED = 47,/* times went back: a: track, b: ticks added to them from now on */
    KVS_ACTION_RETENTION_DIFFERS = 48, /* a: asked for, b: described; the described one counts */
    KVS_ACTION_TAG_SKIPPED = 49, /* result */
    KVS_ACTION_TRACK_SILENT = 50,/* a: track; b: 1 left out, 0 back */
    KVS_ACTION_LATE_ERROR_ACK = 51, /* ERROR for a fragment that was already done; result: error id */
    KVS_ACTION_FRAGMENT_ENDED = 52, /* the idle deadline ended the fragment; a: pts of its start */
    KVS_ACTION_NOTICES_LOST = 53, /* a: how many notices found no room; orders are never lost */
    KVS_ACTION_FRAGMENT_SPLIT = 54, /* a: pts where a new fragment begins without a key frame; b: fragments_split */
    KVS_ACTION_TIMES_JUMPED = 55,/* more than 20 s ahead of the track's last frame: a: track, b: ticks */
    KVS_ACTION_UNCONFIRMED = 57, /* a PERSISTED passed over a fragment that had no ACK: it is sent again, or dropped
                                  * when b is above 3; a: pts, b: how often so far */
    KVS_ACTION_TIME_SHIFT_ENDED = 56 /* given times go out as they are again: a: track, b: ticks no longer added */
};
enum kvs_drop {
    KVS_DROP_STORE_FULL = 0, KVS_DROP_BUFFER_DURATION = 1, KVS_DROP_SKIPPED = 2, /* no key frame since the last edge */
    KVS_DROP_ERROR_ACK = 3, KVS_DROP_REPLAY_LIMIT = 4, KVS_DROP_RESET = 5, KVS_DROP_BACKWARD = 6, KVS_DROP_LATE = 7,
    KVS_DROP_UNCONFIRMED = 8, /* sent four times without an ACK of its own while later fragments were PERSISTED */
    KVS_DROP_COUNT = 9
};
enum kvs_pressure { KVS_PRESSURE_STORE = 0, KVS_PRESSURE_BUFFER = 1, KVS_PRESSURE_LATENCY = 2 };

struct kvs_action {
    uint32_t kind;      /* enum kvs_action_kind */
    uint32_t result;
    int32_t status;
    uint32_t attempt;   /* orders: 0 for the first try */
    uint64_t user;      /* the stream's config.user; 0 for the client's own */
    uint64_t request;   /* orders: give it back in the answer */
    uint64_t upload;
    uint64_t after_hns; /* orders: do not send before; 0: at once */
    uint64_t a, b, c;
    char text[72];      /* NUL-terminated; longer fragment numbers are cut */
};
/* Moves up to `count` actions into actions_out; returns how many, 0 when there are none. Actions of one stream keep
 * their order. */
KVS_API kvs_status kvs_client_next_actions(struct kvs_client *client, struct kvs_action *actions_out, uint32_t count);

/* ---- metrics and ledger ------------------------------------------------------------------------------------------ */

/* frames_put = frames_done + sum(frames_dropped) + frames_buffered, always; the same holds for bytes (payload). */
struct kvs_stream_metrics {
    uint32_t size;
    uint32_t state;                 /* enum kvs_stream_state */
    int32_t failure;                /* cause while FAILED, else 0 */
    uint32_t retry_count;           /* repeats without progress: of the present call, and of sessions */
    uint64_t frames_put, frames_done, frames_buffered, frames_dropped[KVS_DROP_COUNT];
    uint64_t bytes_put, bytes_done, bytes_buffered, bytes_dropped;
    uint64_t frames_refused, frames_unsent;
    uint64_t bytes_unsent, bytes_sent;       /* packaged bytes; sent counts repeats too */
    uint64_t duration_buffered_hns, duration_unsent_hns;
    uint64_t fragments_put, fragments_done, fragments_resent;
    uint64_t acks_buffering, acks_received, acks_persisted, acks_error, acks_late, acks_bad;
    uint64_t ack_latency_hns;       /* moving average, first byte read to PERSISTED */
    uint64_t sessions, sessions_active;
    uint64_t pressures_store, pressures_buffer, pressures_latency, stale_events, times_shifted, notices_lost;
    uint64_t store_used;            /* slabs held, in bytes */
    uint64_t retention_hns;         /* as described; KVS_TIME_NONE before */
    uint64_t created_hns;
    uint64_t last_put_hns;          /* when a frame came that was stored: not skipped, not dropped on arrival */
    uint64_t last_ack_hns;          /* of any type but ERROR; both KVS_TIME_NONE before the first */
    uint64_t fragments_split;       /* ended by a limit of the configuration, not by a key frame */
    uint64_t frames_too_large;      /* refused: larger than all of the store */
    uint64_t tracks_silent;         /* how often a track was left out */
    uint64_t times_jumped;          /* frames far ahead of the last one of their track */
    uint64_t times_bumped;          /* frames moved a little, because their time was that of the frame before */
    uint64_t shift_hns;             /* added to the given times now, of the track that is shifted most; 0: none is */
    /* Calls whose data held no picture, which went out with the next frame of their track (KVS_WHOLE_PICTURES). */
    uint64_t calls_joined;
    /* Per track, as configured: fragments that were packaged with a header that has no codec private data for it. */
    uint64_t fragments_without_cpd[KVS_TRACKS_MAX];
    uint64_t newest_hns;            /* the latest decoding time of any track, as packaged; 0 before the first frame */
    /* Per track, as configured: how many of the frames that kvs_stream_put_frame took, from the first one on, will
     * not be sent again: they are persisted or dropped, or held no picture and their stream was stopped. What a caller
     * keeps elsewhere of these may go. */
    uint64_t frames_settled[KVS_TRACKS_MAX];
};
KVS_API kvs_status kvs_stream_metrics(struct kvs_stream *stream, struct kvs_stream_metrics *metrics_out);

/* ---- machines, for documentation and tests ----------------------------------------------------------------------- */

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
KVS_API kvs_status kvs_machine_info(uint32_t machine, struct kvs_machine_info *info_out);
KVS_API const char *kvs_machine_state_name(uint32_t machine, uint32_t state); /* NULL past the end */
KVS_API const char *kvs_machine_event_name(uint32_t machine, uint32_t event);
KVS_API const char *kvs_machine_act_name(uint32_t machine, uint32_t act);
/* What the machine reports when the retries of this state are spent; 0: no budget here. */
KVS_API kvs_status kvs_machine_spent_status(uint32_t machine, uint32_t state);
/* One step as the engine makes it: KVS_OK and the next state and act, KVS_E_STREAM_STATE for an absent cell, or
 * KVS_E_MACHINE for a number past the end. */
KVS_API kvs_status kvs_fsm_step(uint32_t machine, uint32_t state, uint32_t event, uint32_t *next_out,
                                uint32_t *act_out);

KVS_API const char *kvs_version(void);

#ifdef __cplusplus
}
#endif
#endif

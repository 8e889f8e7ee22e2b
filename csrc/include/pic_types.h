/* pic_types.h — basic types, enumerations and limits of pic.h, with the names and numbers that the field knows.
 *
 * Underneath are the standard integer types. Enumerations are 4 bytes, strings are char (never const: programs hand
 * them on as they are). Times and durations are UINT64 in 100 ns ticks ("hns"). Part of pic.h: include that one.
 *
 * A program that also uses the utility library of AWS's producer has that library's headers on its include path. They
 * define the basic types, tags and retry strategies too; they are included first then, and ours step aside. */
#ifndef KVSPIC_PIC_TYPES_H
#define KVSPIC_PIC_TYPES_H

#include <stddef.h>
#include <stdint.h>

#if !defined(_WIN32)
#include <pthread.h> /* CVAR is a pthread_cond_t *, and programs that bring their own rely on it */
#endif

#if defined(__has_include)
#if __has_include(<com/amazonaws/kinesis/video/utils/Include.h>)
#include <com/amazonaws/kinesis/video/utils/Include.h>
#endif
#endif

#include "pic_status.h"

#if defined(_WIN32) && defined(KVS_BUILD_SHARED)
#define KVS_PIC_API __declspec(dllexport)
#elif defined(__GNUC__)
#define KVS_PIC_API __attribute__((visibility("default")))
#else
#define KVS_PIC_API
#endif

/* __COMMON_DEFINITIONS__ and __UTILS_H__ are the include guards of AWS's headers. */
#ifndef __COMMON_DEFINITIONS__
#ifndef TRUE
#define TRUE 1
#endif
#ifndef FALSE
#define FALSE 0
#endif
#ifndef VOID
#if defined(_WIN32)
typedef void VOID; /* with a macro of this name windows.h, if it comes later, leaves out its own types */
#else
#define VOID void
#endif
#endif

typedef uint8_t UINT8;
typedef uint16_t UINT16;
typedef uint32_t UINT32;
typedef uint64_t UINT64;
typedef int8_t INT8;
typedef int16_t INT16;
typedef int32_t INT32;
typedef int64_t INT64;
typedef uintptr_t UINT_PTR;
typedef double DOUBLE;
typedef float FLOAT;
typedef char CHAR;
typedef UINT8 BYTE;
typedef INT32 BOOL;
typedef UINT_PTR SIZE_T;
typedef UINT8 *PUINT8;
typedef UINT16 *PUINT16;
typedef UINT32 *PUINT32;
typedef UINT64 *PUINT64;
typedef INT16 *PINT16;
typedef INT32 *PINT32;
typedef INT64 *PINT64;
typedef DOUBLE *PDOUBLE;
typedef CHAR *PCHAR;
typedef BYTE *PBYTE;
typedef BOOL *PBOOL;
typedef SIZE_T *PSIZE_T;
typedef void *PVOID;

typedef UINT64 TID;
typedef UINT64 MUTEX; /* a pointer in disguise; 0 is no mutex */
#if defined(_WIN32)
typedef struct _RTL_CONDITION_VARIABLE *CVAR;
#else
typedef pthread_cond_t *CVAR;
#endif

#define HUNDREDS_OF_NANOS_IN_A_SECOND UINT64_C(10000000)
#define HUNDREDS_OF_NANOS_IN_A_MILLISECOND UINT64_C(10000)
#define HUNDREDS_OF_NANOS_IN_A_MICROSECOND UINT64_C(10)
#define HUNDREDS_OF_NANOS_IN_AN_HOUR UINT64_C(36000000000)
#define HUNDREDS_OF_NANOS_IN_A_MINUTE UINT64_C(600000000)
#define DEFAULT_TIME_UNIT_IN_NANOS 100
#define INFINITE_TIME_VALUE UINT64_MAX
#endif

/* Handles carry a generation: a freed one is never mistaken for a newer object. 0 is no handle. */
typedef UINT64 CLIENT_HANDLE;
typedef UINT64 STREAM_HANDLE;
typedef UINT64 UPLOAD_HANDLE; /* chosen by the network layer, one per PutMedia connection; all ones is none */
typedef CLIENT_HANDLE *PCLIENT_HANDLE;
typedef STREAM_HANDLE *PSTREAM_HANDLE;
typedef UPLOAD_HANDLE *PUPLOAD_HANDLE;

#define IS_VALID_CLIENT_HANDLE(handle) ((handle) != INVALID_CLIENT_HANDLE_VALUE)
#define IS_VALID_STREAM_HANDLE(handle) ((handle) != INVALID_STREAM_HANDLE_VALUE)
#define IS_VALID_UPLOAD_HANDLE(handle) ((handle) != INVALID_UPLOAD_HANDLE_VALUE)
#define IS_VALID_TIMESTAMP(timestamp) ((timestamp) != INVALID_TIMESTAMP_VALUE)

/* ---- limits and defaults ------------------------------------------------------------------------------------------- */

#define MAX_DEVICE_NAME_LEN 128
#define MAX_STREAM_COUNT 1000000 /* streams of one client */
#define MAX_STREAM_NAME_LEN 256
#define MAX_UPDATE_VERSION_LEN 64
#define MAX_ARN_LEN 2048
#define MAX_AUTH_LEN 10000
#define MAX_URI_CHAR_LEN 10000
#define MIN_STORAGE_ALLOCATION_SIZE 1048576 /* bytes */
#define MAX_STORAGE_ALLOCATION_SIZE UINT64_C(10737418240) /* bytes */
#define MAX_SEGMENT_METADATA_COUNT 1024
#define MIN_RETENTION_PERIOD UINT64_C(36000000000) /* one hour, in ticks */
#define MAX_FRAGMENT_METADATA_COUNT 25 /* entries that wait for a fragment */
#define MAX_FRAGMENT_METADATA_TAGS 10
#define MAX_EVENT_CUSTOM_PAIRS 10
#define MAX_FRAGMENT_SEQUENCE_NUMBER 128
#define MAX_ACK_FRAGMENT_LEN 1024 /* bytes of one call */
#define MIN_STREAMING_TOKEN_EXPIRATION_DURATION UINT64_C(300000000) /* 30 s */
#define MAX_ENFORCED_TOKEN_EXPIRATION_DURATION UINT64_C(24000000000) /* 40 min */
#define STREAMING_TOKEN_EXPIRATION_GRACE_PERIOD UINT64_C(30000000) /* 3 s */
#define DEFAULT_FRAME_RATE 24 /* frames per second */
#define MIN_BUFFER_DURATION_IN_SECONDS 20
#define MIN_VIEW_BUFFER_DURATION UINT64_C(200000000) /* 20 s, the default */
#define SERVICE_CALL_DEFAULT_CONNECTION_TIMEOUT UINT64_C(50000000) /* 5 s */
#define SERVICE_CALL_DEFAULT_TIMEOUT UINT64_C(100000000) /* 10 s */
#define SERVICE_CALL_INFINITE_TIMEOUT UINT64_MAX
#define SERVICE_CALL_MAX_RETRY_COUNT 5 /* repeats without progress */
#define MKV_CONTAINER_TYPE_STRING "video/x-matroska"
#define STORAGE_PRESSURE_NOTIFICATION_THRESHOLD 5 /* percent left */
#define BUFFER_DURATION_PRESSURE_NOTIFICATION_THRESHOLD 5 /* percent left */
#define DEFAULT_DEVICE_NAME_LEN 16
#define DEFAULT_STREAM_NAME_LEN 16
#define MAX_DEVICE_FINGERPRINT_LENGTH 32
#define MAX_CLIENT_ID_STRING_LENGTH 64
#define MAX_IMAGE_PREFIX_LENGTH 256
#define DEFAULT_TIMECODE_SCALE_SENTINEL 0
#define STREAM_LATENCY_PRESSURE_CHECK_SENTINEL 0
#define FRAGMENT_KEY_FRAME_DURATION_SENTINEL 0
#define CONNECTION_STALENESS_DETECTION_SENTINEL 0
#define RETENTION_PERIOD_SENTINEL 0
#define INTERMITTENT_PRODUCER_PERIOD_SENTINEL_VALUE 0
#define MAX_SUPPORTED_TRACK_COUNT_PER_STREAM 3
#define CLIENT_READY_TIMEOUT_DURATION_IN_SECONDS 15
#define STREAM_READY_TIMEOUT_DURATION_IN_SECONDS 30
#define STREAM_CLOSED_TIMEOUT_DURATION_IN_SECONDS 120
#define DEFAULT_LOGGER_LOG_LEVEL 4
#define CLIENT_SHUTDOWN_SEMAPHORE_TIMEOUT UINT64_C(30000000) /* unused: free waits for calls in flight */
#define STREAM_SHUTDOWN_SEMAPHORE_TIMEOUT UINT64_C(10000000) /* unused: free waits for calls in flight */
#define DEVICE_INFO_CURRENT_VERSION 1
#define CALLBACKS_CURRENT_VERSION 0
#define STREAM_INFO_CURRENT_VERSION 3
#define SEGMENT_INFO_CURRENT_VERSION 0
#define STORAGE_INFO_CURRENT_VERSION 0
#define AUTH_INFO_CURRENT_VERSION 0
#define SERVICE_CALL_CONTEXT_CURRENT_VERSION 1
#define STREAM_DESCRIPTION_CURRENT_VERSION 1
#define FRAGMENT_ACK_CURRENT_VERSION 0
#define STREAM_METRICS_CURRENT_VERSION 3
#define CLIENT_METRICS_CURRENT_VERSION 2
#define CLIENT_INFO_CURRENT_VERSION 3
#define STREAM_EVENT_METADATA_CURRENT_VERSION 0
#define INVALID_CLIENT_HANDLE_VALUE ((CLIENT_HANDLE)0)
#define INVALID_STREAM_HANDLE_VALUE ((STREAM_HANDLE)0)
#define INVALID_UPLOAD_HANDLE_VALUE ((UPLOAD_HANDLE)UINT64_MAX)
#define INVALID_TIMESTAMP_VALUE UINT64_MAX

#ifndef __UTILS_H__
/* Levels for ClientInfo.loggerLogLevel and logPrintFn. */
#define LOG_LEVEL_VERBOSE 1
#define LOG_LEVEL_DEBUG 2
#define LOG_LEVEL_INFO 3
#define LOG_LEVEL_WARN 4
#define LOG_LEVEL_ERROR 5
#define LOG_LEVEL_FATAL 6
#define LOG_LEVEL_SILENT 7
#define LOG_LEVEL_PROFILE 8

#define MAX_TAG_COUNT 50
#define MAX_TAG_NAME_LEN 128
#define MAX_TAG_VALUE_LEN 1024
#define TAG_CURRENT_VERSION 0
#define MAX_PATH_LEN 4096
#endif

#define FRAME_CURRENT_VERSION 0
#define TRACK_INFO_CURRENT_VERSION 0

#define MKV_MAX_CODEC_ID_LEN 32
#define MKV_MAX_TRACK_NAME_LEN 32
#define MAX_CONTENT_TYPE_LEN 128
#define MKV_SEGMENT_UUID_LEN 16

/* Content types (StreamCaps.contentType) and Matroska codec ids (TrackInfo.codecId). PCHAR: programs hand them to
 * functions that take one. */
#define MKV_H264_CONTENT_TYPE ((PCHAR) "video/h264")
#define MKV_AVC_CONTENT_TYPE ((PCHAR) "video/avc")
#define MKV_H265_CONTENT_TYPE ((PCHAR) "video/h265")
#define MKV_HEVC_CONTENT_TYPE ((PCHAR) "video/hevc")
#define MKV_AAC_CONTENT_TYPE ((PCHAR) "audio/aac")
#define MKV_ALAW_CONTENT_TYPE ((PCHAR) "audio/alaw")
#define MKV_MULAW_CONTENT_TYPE ((PCHAR) "audio/mulaw")
#define MKV_X_MKV_VIDEO_CONTENT_TYPE ((PCHAR) "video/x-matroska")
#define MKV_X_MKV_AUDIO_CONTENT_TYPE ((PCHAR) "audio/x-matroska")
#define MKV_H264_AAC_MULTI_CONTENT_TYPE ((PCHAR) "video/h264,audio/aac")
#define MKV_H264_MULAW_MULTI_CONTENT_TYPE ((PCHAR) "video/h264,audio/mulaw")
#define MKV_H264_AVC_CODEC_ID ((PCHAR) "V_MPEG4/ISO/AVC")
#define MKV_H265_HEVC_CODEC_ID ((PCHAR) "V_MPEGH/ISO/HEVC")
#define MKV_FOURCC_CODEC_ID ((PCHAR) "V_MS/VFW/FOURCC")
#define MKV_AAC_CODEC_ID ((PCHAR) "A_AAC")
#define MKV_AAC_MPEG4_MAIN_CODEC_ID ((PCHAR) "A_AAC/MPEG4/MAIN")
#define MKV_PCM_CODEC_ID ((PCHAR) "A_MS/ACM")
#define MKV_PCM_INT_LIT_CODEC_ID ((PCHAR) "A_PCM/INT/LIT")
#define MKV_PCM_INT_BIG_CODEC_ID ((PCHAR) "A_PCM/INT/BIG")
#define MKV_PCM_FLOAT_IEEE_CODEC_ID ((PCHAR) "A_PCM/FLOAT/IEEE")

#define KVS_AAC_CPD_SIZE_BYTE 2  /* what mkvgenGenerateAacCpd writes */
#define KVS_PCM_CPD_SIZE_BYTE 18 /* what mkvgenGeneratePcmCpd writes */

/* ---- enumerations -------------------------------------------------------------------------------------------------- */

/* What a frame is. END_OF_FRAGMENT stands alone: such a frame has no payload (EOFR_FRAME_INITIALIZER). */
typedef enum {
    FRAME_FLAG_NONE = 0,
    FRAME_FLAG_KEY_FRAME = 1,
    FRAME_FLAG_DISCARDABLE_FRAME = 2,
    FRAME_FLAG_INVISIBLE_FRAME = 4,
    FRAME_FLAG_END_OF_FRAGMENT = 8
} FRAME_FLAGS;

/* Kind of a track; the last name is spelled as the field spells it. */
typedef enum {
    MKV_TRACK_INFO_TYPE_VIDEO = 1,
    MKV_TRACK_INFO_TYPE_AUDIO = 2,
    MKV_TRACK_INFO_TYPE_UNKOWN = 3
} MKV_TRACK_INFO_TYPE;

/* MPEG-4 audio object types (ISO/IEC 14496-3). */
typedef enum {
    AAC_MAIN = 1,
    AAC_LC = 2,
    AAC_SSR = 3,
    AAC_LTP = 4,
    SBR = 5,
    AAC_SCALABLE = 6
} KVS_MPEG4_AUDIO_OBJECT_TYPES;

/* Format codes of WAVEFORMATEX for G.711. */
typedef enum {
    KVS_PCM_FORMAT_CODE_ALAW = 6,
    KVS_PCM_FORMAT_CODE_MULAW = 7
} KVS_PCM_FORMAT_CODE;

/* What goes when the buffer is full by duration or by count. Both drop the oldest whole fragment here. */
typedef enum {
    CONTENT_VIEW_OVERFLOW_POLICY_DROP_TAIL_VIEW_ITEM = 0,
    CONTENT_VIEW_OVERFLOW_POLICY_DROP_UNTIL_FRAGMENT_START = 1
} CONTENT_VIEW_OVERFLOW_POLICY;

/* OFFLINE never drops: a put waits for room. */
typedef enum {
    STREAMING_TYPE_REALTIME = 0,
    STREAMING_TYPE_NEAR_REALTIME = 1,
    STREAMING_TYPE_OFFLINE = 2
} STREAMING_TYPE;
#define IS_OFFLINE_STREAMING_MODE(type) ((type) == STREAMING_TYPE_OFFLINE)
#define GET_STREAMING_TYPE_STR(type) \
    ((PCHAR)((type) == STREAMING_TYPE_REALTIME        ? "STREAMING_TYPE_REALTIME" \
             : (type) == STREAMING_TYPE_NEAR_REALTIME ? "STREAMING_TYPE_NEAR_REALTIME" \
                                                      : "STREAMING_TYPE_OFFLINE"))

/* Names for programs; the codec of a track is TrackInfo.codecId. */
typedef enum {
    AUDIO_CODEC_ID_AAC = 0,
    AUDIO_CODEC_ID_PCM_ALAW = 1,
    AUDIO_CODEC_ID_PCM_MULAW = 2
} AUDIO_CODEC_ID, *PAUDIO_CODEC_ID;

/* Names for programs; the codec of a track is TrackInfo.codecId. */
typedef enum {
    VIDEO_CODEC_ID_H264 = 0,
    VIDEO_CODEC_ID_H265 = 1
} VIDEO_CODEC_ID, *PVIDEO_CODEC_ID;

/* All three keep frames in memory. */
typedef enum {
    DEVICE_STORAGE_TYPE_IN_MEM = 0,
    DEVICE_STORAGE_TYPE_HYBRID_FILE = 1,
    DEVICE_STORAGE_TYPE_IN_MEM_CONTENT_STORE_ALLOC = 2
} DEVICE_STORAGE_TYPE;

/* As DescribeStream says it. */
typedef enum {
    STREAM_STATUS_CREATING = 0,
    STREAM_STATUS_ACTIVE = 1,
    STREAM_STATUS_UPDATING = 2,
    STREAM_STATUS_DELETING = 3
} STREAM_STATUS;

/* Handed to getStreamingTokenFn. */
typedef enum {
    STREAM_ACCESS_MODE_READ = 0,
    STREAM_ACCESS_MODE_WRITE = 1
} STREAM_ACCESS_MODE;

/* How a service call ended: the HTTP status where there was an answer, 4000 and up for error ACKs, 10000 and up for
 * what the caller found out itself. */
typedef enum {
    SERVICE_CALL_RESULT_NOT_SET = 0,
    SERVICE_CALL_RESULT_OK = 200,
    SERVICE_CALL_INVALID_ARG = 406,
    SERVICE_CALL_RESOURCE_NOT_FOUND = 404,
    SERVICE_CALL_CLIENT_LIMIT = 10000,
    SERVICE_CALL_DEVICE_LIMIT = 10001,
    SERVICE_CALL_STREAM_LIMIT = 10002,
    SERVICE_CALL_RESOURCE_IN_USE = 10003,
    SERVICE_CALL_BAD_REQUEST = 400,
    SERVICE_CALL_FORBIDDEN = 403,
    SERVICE_CALL_SIGNATURE_EXPIRED = 10008,
    SERVICE_CALL_SIGNATURE_NOT_YET_CURRENT = 10009,
    SERVICE_CALL_DEVICE_NOT_PROVISIONED = 10004,
    SERVICE_CALL_DEVICE_NOT_FOUND = 10005,
    SERVICE_CALL_NOT_AUTHORIZED = 401,
    SERVICE_CALL_REQUEST_TIMEOUT = 408,
    SERVICE_CALL_GATEWAY_TIMEOUT = 504,
    SERVICE_CALL_NETWORK_READ_TIMEOUT = 598,
    SERVICE_CALL_NETWORK_CONNECTION_TIMEOUT = 599,
    SERVICE_CALL_RESOURCE_DELETED = 10400,
    SERVICE_CALL_STREAM_AUTH_IN_GRACE_PERIOD = 10401,
    SERVICE_CALL_NOT_IMPLEMENTED = 501,
    SERVICE_CALL_INTERNAL_ERROR = 500,
    SERVICE_CALL_SERVICE_UNAVAILABLE = 503,
    SERVICE_CALL_UNKNOWN = 10006,
    SERVICE_CALL_AUTH_FAILURE = 10007,
    SERVICE_CALL_RESULT_STREAM_READ_ERROR = 4000,
    SERVICE_CALL_RESULT_FRAGMENT_SIZE_REACHED = 4001,
    SERVICE_CALL_RESULT_FRAGMENT_DURATION_REACHED = 4002,
    SERVICE_CALL_RESULT_CONNECTION_DURATION_REACHED = 4003,
    SERVICE_CALL_RESULT_FRAGMENT_TIMECODE_NOT_MONOTONIC = 4004,
    SERVICE_CALL_RESULT_MULTI_TRACK_MKV = 4005,
    SERVICE_CALL_RESULT_INVALID_MKV_DATA = 4006,
    SERVICE_CALL_RESULT_INVALID_PRODUCER_TIMESTAMP = 4007,
    SERVICE_CALL_RESULT_STREAM_NOT_ACTIVE = 4008,
    SERVICE_CALL_RESULT_FRAGMENT_METADATA_LIMIT_REACHED = 4009,
    SERVICE_CALL_RESULT_TRACK_NUMBER_MISMATCH = 4010,
    SERVICE_CALL_RESULT_FRAMES_MISSING_FOR_TRACK = 4011,
    SERVICE_CALL_RESULT_MORE_THAN_ALLOWED_TRACKS_FOUND = 4012,
    SERVICE_CALL_RESULT_KMS_KEY_ACCESS_DENIED = 4500,
    SERVICE_CALL_RESULT_KMS_KEY_DISABLED = 4501,
    SERVICE_CALL_RESULT_KMS_KEY_VALIDATION_ERROR = 4502,
    SERVICE_CALL_RESULT_KMS_KEY_UNAVAILABLE = 4503,
    SERVICE_CALL_RESULT_KMS_KEY_INVALID_USAGE = 4504,
    SERVICE_CALL_RESULT_KMS_KEY_INVALID_STATE = 4505,
    SERVICE_CALL_RESULT_KMS_KEY_NOT_FOUND = 4506,
    SERVICE_CALL_RESULT_STREAM_DELETED = 4507,
    SERVICE_CALL_RESULT_ACK_INTERNAL_ERROR = 5000,
    SERVICE_CALL_RESULT_FRAGMENT_ARCHIVAL_ERROR = 5001,
    SERVICE_CALL_RESULT_SIGNALING_GO_AWAY = 6000,
    SERVICE_CALL_RESULT_SIGNALING_RECONNECT_ICE = 6001,
    SERVICE_CALL_RESULT_UNKNOWN_ACK_ERROR = 7000
} SERVICE_CALL_RESULT;

typedef enum {
    FRAGMENT_ACK_TYPE_UNDEFINED = 0,
    FRAGMENT_ACK_TYPE_BUFFERING = 1,
    FRAGMENT_ACK_TYPE_RECEIVED = 2,
    FRAGMENT_ACK_TYPE_PERSISTED = 3,
    FRAGMENT_ACK_TYPE_ERROR = 4,
    FRAGMENT_ACK_TYPE_IDLE = 5
} FRAGMENT_ACK_TYPE;

typedef enum {
    AUTH_INFO_UNDEFINED = 0,
    AUTH_INFO_TYPE_CERT = 1,
    AUTH_INFO_TYPE_STS = 2,
    AUTH_INFO_NONE = 3
} AUTH_INFO_TYPE;

/* INTERMITTENT_PRODUCER: 20 s after the last frame the open fragment is ended (by kvsPoke or any other call). */
typedef enum {
    AUTOMATIC_STREAMING_INTERMITTENT_PRODUCER = 0,
    AUTOMATIC_STREAMING_ALWAYS_CONTINUOUS = 256
} AUTOMATIC_STREAMING_FLAGS;

typedef enum {
    NAL_ADAPTATION_FLAG_NONE = 0,
    NAL_ADAPTATION_ANNEXB_NALS = 8,
    NAL_ADAPTATION_AVCC_NALS = 16,
    NAL_ADAPTATION_ANNEXB_CPD_NALS = 32
} NAL_ADAPTATION_FLAGS;

/* How frames of several tracks are put in order. Mode 1 acts as mode 2. In the EOFR modes frames may be ended. */
typedef enum {
    FRAME_ORDER_MODE_PASS_THROUGH = 0,
    FRAME_ORDERING_MODE_MULTI_TRACK_AV = 1,
    FRAME_ORDERING_MODE_MULTI_TRACK_AV_COMPARE_DTS_ONE_MS_COMPENSATE = 2,
    FRAME_ORDERING_MODE_MULTI_TRACK_AV_COMPARE_PTS_ONE_MS_COMPENSATE = 3,
    FRAME_ORDERING_MODE_MULTI_TRACK_AV_COMPARE_DTS_ONE_MS_COMPENSATE_EOFR = 4,
    FRAME_ORDERING_MODE_MULTI_TRACK_AV_COMPARE_PTS_ONE_MS_COMPENSATE_EOFR = 5
} FRAME_ORDER_MODE;

/* OOM: a put that finds no room fails; DROP_TAIL_ITEM: the oldest fragment goes. */
typedef enum {
    CONTENT_STORE_PRESSURE_POLICY_OOM = 0,
    CONTENT_STORE_PRESSURE_POLICY_DROP_TAIL_ITEM = 1
} CONTENT_STORE_PRESSURE_POLICY;

/* Bits. */
typedef enum {
    STREAM_EVENT_TYPE_NONE = 0,
    STREAM_EVENT_TYPE_IMAGE_GENERATION = 1,
    STREAM_EVENT_TYPE_NOTIFICATION = 2,
    STREAM_EVENT_TYPE_LAST = 4
} STREAM_EVENT_TYPE;
#define CHECK_STREAM_EVENT_TYPE_IMAGE_GENERATION(types) (((types) & STREAM_EVENT_TYPE_IMAGE_GENERATION) != 0)
#define CHECK_STREAM_EVENT_TYPE_NOTIFICATION(types) (((types) & STREAM_EVENT_TYPE_NOTIFICATION) != 0)
#define CHECK_STREAM_EVENT_TYPE_LAST(types) (((types) & STREAM_EVENT_TYPE_LAST) != 0)

#ifndef __UTILS_H__
typedef enum {
    KVS_RETRY_STRATEGY_DISABLED = 0,
    KVS_RETRY_STRATEGY_EXPONENTIAL_BACKOFF_WAIT = 1
} KVS_RETRY_STRATEGY_TYPE;
#endif

#endif

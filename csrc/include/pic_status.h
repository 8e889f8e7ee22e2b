/* pic_status.h — the statuses that the functions of pic.h return, with the numbers that the field knows.
 *
 * A status is 32 bits: 0 is success, else the upper half names the module and the lower half the case. Part of pic.h:
 * include that one. Which of our own statuses becomes which of these is the table in csrc/pic/status.c; some numbers
 * stand here only because programs name them. A block steps aside where the program's own headers define it. */
#ifndef KVSPIC_PIC_STATUS_H
#define KVSPIC_PIC_STATUS_H

#include <stdint.h>

/* common */
#ifndef STATUS_BASE
typedef uint32_t STATUS;
#define STATUS_SUCCEEDED(status) ((STATUS)(status) == STATUS_SUCCESS)
#define STATUS_FAILED(status) ((STATUS)(status) != STATUS_SUCCESS)
#define STATUS_BASE 0x00000000 /* base value of the common range; numerically equal to success */
#define STATUS_SUCCESS 0x00000000 /* operation succeeded */
#define STATUS_NULL_ARG 0x00000001 /* A required pointer was NULL or a handle was invalid */
#define STATUS_INVALID_ARG 0x00000002 /* an argument value is out of its permitted set */
#define STATUS_INVALID_ARG_LEN 0x00000003 /* A string or buffer argument has an unacceptable length */
#define STATUS_NOT_ENOUGH_MEMORY 0x00000004 /* an allocation failed */
#define STATUS_BUFFER_TOO_SMALL 0x00000005 /* caller buffer cannot hold the result */
#define STATUS_UNEXPECTED_EOF 0x00000006 /* input ended before parsing was complete */
#define STATUS_FORMAT_ERROR 0x00000007 /* input data does not have the expected format */
#define STATUS_INVALID_HANDLE_ERROR 0x00000008 /* handle does not refer to a live object */
#define STATUS_OPEN_FILE_FAILED 0x00000009 /* file could not be opened */
#define STATUS_READ_FILE_FAILED 0x0000000a /* file could not be read */
#define STATUS_WRITE_TO_FILE_FAILED 0x0000000b /* file could not be written */
#define STATUS_INTERNAL_ERROR 0x0000000c /* internal invariant broken */
#define STATUS_INVALID_OPERATION 0x0000000d /* operation not permitted in the present condition */
#define STATUS_NOT_IMPLEMENTED 0x0000000e /* feature is not implemented */
#define STATUS_OPERATION_TIMED_OUT 0x0000000f /* A wait ended because its time limit passed */
#define STATUS_NOT_FOUND 0x00000010 /* requested item does not exist */
#define STATUS_CREATE_THREAD_FAILED 0x00000011 /* thread could not be created (generic) */
#define STATUS_THREAD_NOT_ENOUGH_RESOURCES 0x00000012 /* thread call failed for lack of system resources */
#define STATUS_THREAD_INVALID_ARG 0x00000013 /* thread call received an invalid argument */
#define STATUS_THREAD_PERMISSIONS 0x00000014 /* thread call lacked permission */
#define STATUS_THREAD_DEADLOCKED 0x00000015 /* join would dead-lock */
#define STATUS_THREAD_DOES_NOT_EXIST 0x00000016 /* no thread with the given id */
#define STATUS_JOIN_THREAD_FAILED 0x00000017 /* thread join failed */
#define STATUS_WAIT_FAILED 0x00000018 /* waiting on a synchronisation object failed */
#define STATUS_CANCEL_THREAD_FAILED 0x00000019 /* thread cancel failed */
#define STATUS_THREAD_IS_NOT_JOINABLE 0x0000001a /* thread is detached and cannot be joined */
#define STATUS_DETACH_THREAD_FAILED 0x0000001b /* thread detach failed */
#define STATUS_THREAD_ATTR_INIT_FAILED 0x0000001c /* thread attribute object could not be initialised */
#define STATUS_THREAD_ATTR_SET_STACK_SIZE_FAILED 0x0000001d /* thread stack size could not be set */
#define STATUS_MEMORY_NOT_FREED 0x0000001e /* instrumented allocator found memory that was not released */
#define STATUS_INVALID_THREAD_PARAMS_VERSION 0x0000001f /* thread parameter structure has an unknown version */
#endif

/* content store (kept for programs that name them) */
#ifndef STATUS_HEAP_BASE
#define STATUS_HEAP_BASE 0x10000000 /* base value of the heap range */
#define STATUS_HEAP_FLAGS_ERROR 0x10000001 /* heap type flags missing or contradictory */
#define STATUS_HEAP_NOT_INITIALIZED 0x10000002 /* heap used before initialisation */
#define STATUS_HEAP_CORRUPTED 0x10000003 /* heap bookkeeping inconsistent (double free or overrun) */
#define STATUS_HEAP_VRAM_LIB_MISSING 0x10000004 /* video memory library could not be loaded */
#define STATUS_HEAP_VRAM_LIB_REOPEN 0x10000005 /* video memory library could not be re-opened */
#define STATUS_HEAP_VRAM_INIT_FUNC_SYMBOL 0x10000006 /* init symbol missing in video memory library */
#define STATUS_HEAP_VRAM_ALLOC_FUNC_SYMBOL 0x10000007 /* alloc symbol missing in video memory library */
#define STATUS_HEAP_VRAM_FREE_FUNC_SYMBOL 0x10000008 /* free symbol missing in video memory library */
#define STATUS_HEAP_VRAM_LOCK_FUNC_SYMBOL 0x10000009 /* lock symbol missing in video memory library */
#define STATUS_HEAP_VRAM_UNLOCK_FUNC_SYMBOL 0x1000000a /* unlock symbol missing in video memory library */
#define STATUS_HEAP_VRAM_UNINIT_FUNC_SYMBOL 0x1000000b /* uninit symbol missing in video memory library */
#define STATUS_HEAP_VRAM_GETMAX_FUNC_SYMBOL 0x1000000c /* get-max-size symbol missing in video memory library */
#define STATUS_HEAP_DIRECT_MEM_INIT 0x1000000d /* direct memory part of a hybrid heap failed to initialise */
#define STATUS_HEAP_VRAM_INIT_FAILED 0x1000000e /* video memory library initialisation failed */
#define STATUS_HEAP_LIBRARY_FREE_FAILED 0x1000000f /* video memory library could not be unloaded */
#define STATUS_HEAP_VRAM_ALLOC_FAILED 0x10000010 /* video memory allocation failed */
#define STATUS_HEAP_VRAM_FREE_FAILED 0x10000011 /* video memory release failed */
#define STATUS_HEAP_VRAM_MAP_FAILED 0x10000012 /* video memory mapping failed */
#define STATUS_HEAP_VRAM_UNMAP_FAILED 0x10000013 /* video memory unmapping failed */
#define STATUS_HEAP_VRAM_UNINIT_FAILED 0x10000014 /* video memory library shutdown failed */
#define STATUS_INVALID_ALLOCATION_SIZE 0x10000015 /* allocation size is zero, too large or inconsistent */
#define STATUS_HEAP_REALLOC_ERROR 0x10000016 /* changing the size of an allocation failed */
#define STATUS_HEAP_FILE_HEAP_FILE_CORRUPT 0x10000017 /* backing file of the file heap is damaged */
#endif

/* trace */
#ifndef STATUS_TP_BASE
#define STATUS_TP_BASE 0x10100000 /* base value of the trace profiler range */
#define STATUS_MIN_PROFILER_BUFFER 0x10100001 /* profiler buffer below the minimum size */
#endif

/* content view */
#ifndef STATUS_VIEW_BASE
#define STATUS_VIEW_BASE 0x30000000 /* base value of the content view range */
#define STATUS_MIN_CONTENT_VIEW_ITEMS 0x30000001 /* view item capacity below the minimum of 10 */
#define STATUS_INVALID_CONTENT_VIEW_DURATION 0x30000002 /* view buffer duration must be greater than zero */
#define STATUS_CONTENT_VIEW_NO_MORE_ITEMS 0x30000003 /* current position reached the head of the view */
#define STATUS_CONTENT_VIEW_INVALID_INDEX 0x30000004 /* index outside of the window */
#define STATUS_CONTENT_VIEW_INVALID_TIMESTAMP 0x30000005 /* timestamp goes backwards or is outside of the window */
#define STATUS_INVALID_CONTENT_VIEW_LENGTH 0x30000006 /* item length must be greater than zero */
#endif

/* MKV */
#define STATUS_MKVGEN_BASE 0x32000000 /* base value of the MKV generator range */
#define STATUS_MKV_INVALID_FRAME_DATA 0x32000001 /* frame has no data or zero size */
#define STATUS_MKV_INVALID_FRAME_TIMESTAMP 0x32000002 /* frame timestamp precedes the current cluster */
#define STATUS_MKV_INVALID_CLUSTER_DURATION 0x32000003 /* cluster duration out of range */
#define STATUS_MKV_INVALID_CONTENT_TYPE_LENGTH 0x32000004 /* content type string too long */
#define STATUS_MKV_NUMBER_TOO_BIG 0x32000005 /* value does not fit an EBML variable length integer */
#define STATUS_MKV_INVALID_CODEC_ID_LENGTH 0x32000006 /* codec id string too long */
#define STATUS_MKV_INVALID_TRACK_NAME_LENGTH 0x32000007 /* track name too long */
#define STATUS_MKV_INVALID_CODEC_PRIVATE_LENGTH 0x32000008 /* codec private data too long */
#define STATUS_MKV_CODEC_PRIVATE_NULL 0x32000009 /* codec private size given without data */
#define STATUS_MKV_INVALID_TIMECODE_SCALE 0x3200000a /* timecode scale out of range */
#define STATUS_MKV_MAX_FRAME_TIMECODE 0x3200000b /* timestamp or duration above the maximum */
#define STATUS_MKV_LARGE_FRAME_TIMECODE 0x3200000c /* frame timecode relative to its cluster does not fit 16 bits */
#define STATUS_MKV_INVALID_ANNEXB_NALU_IN_FRAME_DATA 0x3200000d /* frame is not valid Annex-B */
#define STATUS_MKV_INVALID_AVCC_NALU_IN_FRAME_DATA 0x3200000e /* frame is not valid AVCC */
#define STATUS_MKV_BOTH_ANNEXB_AND_AVCC_SPECIFIED 0x3200000f /* two conflicting NAL adaptations requested */
#define STATUS_MKV_INVALID_ANNEXB_NALU_IN_CPD 0x32000010 /* codec private data is not valid Annex-B */
#define STATUS_MKV_PTS_DTS_ARE_NOT_SAME 0x32000011 /* PTS and DTS differ where they must match */
#define STATUS_MKV_INVALID_H264_H265_CPD 0x32000012 /* H.264/H.265 codec private data invalid */
#define STATUS_MKV_INVALID_H264_H265_SPS_WIDTH 0x32000013 /* width derived from SPS invalid */
#define STATUS_MKV_INVALID_H264_H265_SPS_HEIGHT 0x32000014 /* height derived from SPS invalid */
#define STATUS_MKV_INVALID_H264_H265_SPS_NALU 0x32000015 /* SPS NAL unit invalid */
#define STATUS_MKV_INVALID_BIH_CPD 0x32000016 /* bitmap info header codec private data too short or invalid */
#define STATUS_MKV_INVALID_HEVC_NALU_COUNT 0x32000017 /* HEVC configuration has a wrong NAL unit count */
#define STATUS_MKV_INVALID_HEVC_FORMAT 0x32000018 /* HEVC configuration record malformed */
#define STATUS_MKV_HEVC_SPS_NALU_MISSING 0x32000019 /* HEVC configuration has no SPS */
#define STATUS_MKV_INVALID_HEVC_SPS_NALU_SIZE 0x3200001a /* HEVC SPS size invalid */
#define STATUS_MKV_INVALID_HEVC_SPS_CHROMA_FORMAT_IDC 0x3200001b /* HEVC SPS chroma format invalid */
#define STATUS_MKV_INVALID_HEVC_SPS_RESERVED 0x3200001c /* HEVC SPS reserved bits invalid */
#define STATUS_MKV_MIN_ANNEX_B_CPD_SIZE 0x3200001d /* annex-B codec private data below minimum size */
#define STATUS_MKV_ANNEXB_CPD_MISSING_NALUS 0x3200001e /* annex-B codec private data lacks required NAL units */
#define STATUS_MKV_INVALID_ANNEXB_CPD_NALUS 0x3200001f /* annex-B codec private data has unexpected NAL units */
#define STATUS_MKV_INVALID_TAG_NAME_LENGTH 0x32000020 /* tag name empty or too long */
#define STATUS_MKV_INVALID_TAG_VALUE_LENGTH 0x32000021 /* tag value too long */
#define STATUS_MKV_INVALID_GENERATOR_STATE_TAGS 0x32000022 /* tags cannot be produced in the present generator state */
#define STATUS_MKV_INVALID_AAC_CPD_SAMPLING_FREQUENCY_INDEX 0x32000023 /* AAC sampling frequency index invalid */
#define STATUS_MKV_INVALID_AAC_CPD_CHANNEL_CONFIG 0x32000024 /* AAC channel configuration invalid */
#define STATUS_MKV_INVALID_AAC_CPD 0x32000025 /* AAC codec private data invalid */
#define STATUS_MKV_TRACK_INFO_NOT_FOUND 0x32000026 /* frame refers to a track id that is not configured */
#define STATUS_MKV_INVALID_SEGMENT_UUID 0x32000027 /* segment UUID missing */
#define STATUS_MKV_INVALID_TRACK_UID 0x32000028 /* track id must not be zero */
#define STATUS_MKV_INVALID_CLIENT_ID_LENGTH 0x32000029 /* client id string too long */
#define STATUS_MKV_INVALID_AMS_ACM_CPD 0x3200002a /* A_MS/ACM codec private data too short or of unknown format */
#define STATUS_MKV_MISSING_SPS_FROM_H264_CPD 0x3200002b /* H.264 codec private data has no SPS */
#define STATUS_MKV_MISSING_PPS_FROM_H264_CPD 0x3200002c /* H.264 codec private data has no PPS */
#define STATUS_MKV_INVALID_PARENT_TYPE 0x3200002d /* tag parent element type invalid */

/* utilities */
#ifndef STATUS_UTILS_BASE
#define STATUS_UTILS_BASE 0x40000000 /* base value of the utils range */
#define STATUS_INVALID_BASE64_ENCODE 0x40000001 /* base64 input malformed */
#define STATUS_INVALID_BASE 0x40000002 /* numeric base out of range */
#define STATUS_INVALID_DIGIT 0x40000003 /* character is not a digit of the base */
#define STATUS_INT_OVERFLOW 0x40000004 /* number does not fit the target type */
#define STATUS_EMPTY_STRING 0x40000005 /* string is empty */
#define STATUS_DIRECTORY_OPEN_FAILED 0x40000006 /* directory could not be opened */
#define STATUS_PATH_TOO_LONG 0x40000007 /* path exceeds the maximum length */
#define STATUS_UNKNOWN_DIR_ENTRY_TYPE 0x40000008 /* directory entry of unknown type */
#define STATUS_REMOVE_DIRECTORY_FAILED 0x40000009 /* directory removal failed */
#define STATUS_REMOVE_FILE_FAILED 0x4000000a /* file removal failed */
#define STATUS_REMOVE_LINK_FAILED 0x4000000b /* link removal failed */
#define STATUS_DIRECTORY_ACCESS_DENIED 0x4000000c /* directory access denied */
#define STATUS_DIRECTORY_MISSING_PATH 0x4000000d /* directory path does not exist */
#define STATUS_DIRECTORY_ENTRY_STAT_ERROR 0x4000000e /* directory entry could not be inspected */
#define STATUS_STRFTIME_FALIED 0x4000000f /* time formatting failed */
#define STATUS_MAX_TIMESTAMP_FORMAT_STR_LEN_EXCEEDED 0x40000010 /* timestamp format string too long */
#define STATUS_UTIL_MAX_TAG_COUNT 0x40000011 /* too many tags */
#define STATUS_UTIL_INVALID_TAG_VERSION 0x40000012 /* tag structure version unknown */
#define STATUS_UTIL_TAGS_COUNT_NON_ZERO_TAGS_NULL 0x40000013 /* tag count given without tag array */
#define STATUS_UTIL_INVALID_TAG_NAME_LEN 0x40000014 /* tag name length invalid */
#define STATUS_UTIL_INVALID_TAG_VALUE_LEN 0x40000015 /* tag value length invalid */
#define STATUS_EXPONENTIAL_BACKOFF_INVALID_STATE 0x4000002a /* back-off object is terminated or corrupt */
#define STATUS_EXPONENTIAL_BACKOFF_RETRIES_EXHAUSTED 0x4000002b /* back-off retry budget used up (state is reset) */
#define STATUS_THREADPOOL_MAX_COUNT 0x4000002c /* thread pool already at its maximum */
#define STATUS_THREADPOOL_INTERNAL_ERROR 0x4000002d /* thread pool internal failure */
#define STATUS_HASH_TABLE_BASE 0x40100000 /* base value of the hash table range */
#define STATUS_HASH_KEY_NOT_PRESENT 0x40100001 /* key is not in the table */
#define STATUS_HASH_KEY_ALREADY_PRESENT 0x40100002 /* key is already in the table */
#define STATUS_HASH_ENTRY_ITERATION_ABORT 0x40100003 /* iteration callback asked to stop */
#define STATUS_BIT_READER_BASE 0x41000000 /* base value of the bit reader range */
#define STATUS_BIT_READER_OUT_OF_RANGE 0x41000001 /* read beyond the end of the bit buffer */
#define STATUS_BIT_READER_INVALID_SIZE 0x41000002 /* requested bit count invalid */
#define STATUS_TIMER_QUEUE_BASE 0x41100000 /* base value of the timer queue range */
#define STATUS_TIMER_QUEUE_STOP_SCHEDULING 0x41100001 /* returned by a timer callback to remove its timer */
#define STATUS_INVALID_TIMER_COUNT_VALUE 0x41100002 /* timer capacity invalid */
#define STATUS_INVALID_TIMER_PERIOD_VALUE 0x41100003 /* timer period invalid */
#define STATUS_MAX_TIMER_COUNT_REACHED 0x41100004 /* no free timer slot */
#define STATUS_TIMER_QUEUE_SHUTDOWN 0x41100005 /* timer queue is shut down */
#define STATUS_SEMAPHORE_BASE 0x41200000 /* base value of the semaphore range */
#define STATUS_SEMAPHORE_OPERATION_AFTER_SHUTDOWN 0x41200001 /* semaphore used after its shutdown began */
/* Semaphore is locked against new acquirers (object is being freed) */
#define STATUS_SEMAPHORE_ACQUIRE_WHEN_LOCKED 0x41200002
#define STATUS_FILE_LOGGER_BASE 0x41300000 /* base value of the file logger range */
#define STATUS_FILE_LOGGER_INDEX_FILE_INVALID_SIZE 0x41300001 /* log index file has a wrong size */
#endif

/* state machines */
#if defined(__has_include)
#if __has_include(<com/amazonaws/kinesis/video/state/Include.h>)
#define KVSPIC_STATE_STATUSES_ELSEWHERE /* pic.h includes that header, which defines these */
#endif
#endif
#ifndef KVSPIC_STATE_STATUSES_ELSEWHERE
#define STATUS_STATE_BASE 0x52000000 /* base value of the state range; equal to the client base */
/* Present state is not among the accepted states (used for client and stream machines) */
#define STATUS_INVALID_STREAM_STATE 0x5200000e
#define STATUS_STATE_MACHINE_NAME_LEN_INVALID 0x5200009a /* state machine name empty or longer than 32 */
#define STATUS_STATE_MACHINE_STATE_NOT_FOUND 0x52000056 /* requested next state is not in the state table */
#endif

/* client, streams, service */
#define STATUS_CLIENT_BASE 0x52000000 /* base value of the client range */
#define STATUS_MAX_STREAM_COUNT 0x52000001 /* stream count above limit, or no free stream slot */
#define STATUS_MIN_STREAM_COUNT 0x52000002 /* deviceInfo.streamCount is zero */
#define STATUS_INVALID_DEVICE_NAME_LENGTH 0x52000003 /* device name longer than 128 */
#define STATUS_INVALID_DEVICE_INFO_VERSION 0x52000004 /* deviceInfo version unknown */
#define STATUS_MAX_TAG_COUNT 0x52000005 /* too many tags on device or stream */
#define STATUS_DEVICE_FINGERPRINT_LENGTH 0x52000006 /* device fingerprint longer than 32 */
#define STATUS_INVALID_CALLBACKS_VERSION 0x52000007 /* clientCallbacks version unknown */
#define STATUS_INVALID_STREAM_INFO_VERSION 0x52000008 /* streamInfo version unknown */
#define STATUS_INVALID_STREAM_NAME_LENGTH 0x52000009 /* stream name longer than 256 */
#define STATUS_INVALID_STORAGE_SIZE 0x5200000a /* storage size outside of min/max */
#define STATUS_INVALID_ROOT_DIRECTORY_LENGTH 0x5200000b /* storage root directory path too long */
#define STATUS_INVALID_SPILL_RATIO 0x5200000c /* spill ratio above 100 */
#define STATUS_INVALID_STORAGE_INFO_VERSION 0x5200000d /* storageInfo version unknown */
#define STATUS_SERVICE_CALL_CALLBACKS_MISSING 0x5200000f /* A mandatory service call callback is NULL */
#define STATUS_SERVICE_CALL_NOT_AUTHORIZED_ERROR 0x52000010 /* service answered 401 or 403 */
#define STATUS_DESCRIBE_STREAM_CALL_FAILED 0x52000011 /* describe retries exhausted */
/* Describe reported OK without a usable description or ARN */
#define STATUS_INVALID_DESCRIBE_STREAM_RESPONSE 0x52000012
#define STATUS_STREAM_IS_BEING_DELETED_ERROR 0x52000013 /* described stream is in DELETING status */
#define STATUS_SERVICE_CALL_INVALID_ARG_ERROR 0x52000014 /* service answered invalid argument (406) */
#define STATUS_SERVICE_CALL_DEVICE_NOT_FOND_ERROR 0x52000015 /* service does not know the device */
#define STATUS_SERVICE_CALL_DEVICE_NOT_PROVISIONED_ERROR 0x52000016 /* device is not provisioned */
#define STATUS_SERVICE_CALL_RESOURCE_NOT_FOUND_ERROR 0x52000017 /* service answered resource not found (404) */
#define STATUS_INVALID_AUTH_LEN 0x52000018 /* token or certificate longer than 10000 bytes */
#define STATUS_CREATE_STREAM_CALL_FAILED 0x52000019 /* createStream retries exhausted */
#define STATUS_GET_STREAMING_TOKEN_CALL_FAILED 0x5200002a /* getStreamingToken retries exhausted */
#define STATUS_GET_STREAMING_ENDPOINT_CALL_FAILED 0x5200002b /* getStreamingEndpoint retries exhausted */
#define STATUS_INVALID_URI_LEN 0x5200002c /* streaming endpoint longer than 10000 */
/* PutStream failed (status of PutStream, Streaming and Stopped states) */
#define STATUS_PUT_STREAM_CALL_FAILED 0x5200002d
#define STATUS_STORE_OUT_OF_MEMORY 0x5200002e /* content store has no room for the frame */
#define STATUS_NO_MORE_DATA_AVAILABLE 0x5200002f /* nothing (more) to read for the upload handle at present */
#define STATUS_INVALID_TAG_VERSION 0x52000030 /* tag version unknown */
#define STATUS_SERVICE_CALL_UNKOWN_ERROR 0x52000031 /* unclassified service call failure */
#define STATUS_SERVICE_CALL_RESOURCE_IN_USE_ERROR 0x52000032 /* resource is in use */
#define STATUS_SERVICE_CALL_CLIENT_LIMIT_ERROR 0x52000033 /* client limit exceeded */
#define STATUS_SERVICE_CALL_DEVICE_LIMIT_ERROR 0x52000034 /* device limit exceeded */
#define STATUS_SERVICE_CALL_STREAM_LIMIT_ERROR 0x52000035 /* stream limit exceeded */
#define STATUS_SERVICE_CALL_RESOURCE_DELETED_ERROR 0x52000036 /* resource was deleted */
#define STATUS_SERVICE_CALL_TIMEOUT_ERROR 0x52000037 /* request, gateway or network time-out */
#define STATUS_STREAM_READY_CALLBACK_FAILED 0x52000038 /* ready state retries exhausted */
#define STATUS_DEVICE_TAGS_COUNT_NON_ZERO_TAGS_NULL 0x52000039 /* tag count given without tag array */
#define STATUS_INVALID_STREAM_DESCRIPTION_VERSION 0x5200003a /* streamDescription version unknown */
#define STATUS_INVALID_TAG_NAME_LEN 0x5200003b /* tag name length invalid */
#define STATUS_INVALID_TAG_VALUE_LEN 0x5200003c /* tag value length invalid */
/* TagStream retries exhausted; reported through the error callback and then skipped */
#define STATUS_TAG_STREAM_CALL_FAILED 0x5200003d
#define STATUS_INVALID_CUSTOM_DATA 0x5200003e /* custom data of a tag result is neither a client nor a stream */
#define STATUS_INVALID_CREATE_STREAM_RESPONSE 0x5200003f /* createStream reported OK without a usable ARN */
#define STATUS_CLIENT_AUTH_CALL_FAILED 0x52000040 /* client Auth state retries exhausted */
#define STATUS_GET_CLIENT_TOKEN_CALL_FAILED 0x52000041 /* certificate to token retries exhausted */
/* Provisioning retries exhausted (always, as provisioning is a stub) */
#define STATUS_CLIENT_PROVISION_CALL_FAILED 0x52000042
#define STATUS_CREATE_CLIENT_CALL_FAILED 0x52000043 /* createDevice retries exhausted */
#define STATUS_CLIENT_READY_CALLBACK_FAILED 0x52000044 /* status of the client Ready state */
#define STATUS_TAG_CLIENT_CALL_FAILED 0x52000045 /* device tagging retries exhausted */
#define STATUS_INVALID_CREATE_DEVICE_RESPONSE 0x52000046 /* createDevice reported OK without a usable ARN */
#define STATUS_ACK_TIMESTAMP_NOT_IN_VIEW_WINDOW 0x52000047 /* ACK timestamp outside of the buffered window */
#define STATUS_INVALID_FRAGMENT_ACK_VERSION 0x52000048 /* fragmentAck version unknown */
#define STATUS_INVALID_TOKEN_EXPIRATION 0x52000049 /* streaming token already expired or valid for less than 30 s */
#define STATUS_END_OF_STREAM 0x5200004a /* upload handle is finished; networking must close it */
#define STATUS_DUPLICATE_STREAM_NAME 0x5200004b /* A stream of that name exists in the client */
#define STATUS_INVALID_RETENTION_PERIOD 0x5200004c /* retention non-zero but below one hour */
#define STATUS_INVALID_ACK_KEY_START 0x5200004d /* ACK JSON key start malformed */
#define STATUS_INVALID_ACK_DUPLICATE_KEY_NAME 0x5200004e /* ACK JSON key repeated */
#define STATUS_INVALID_ACK_INVALID_VALUE_START 0x5200004f /* ACK JSON value start malformed */
#define STATUS_INVALID_ACK_INVALID_VALUE_END 0x52000050 /* ACK JSON value end malformed */
#define STATUS_INVALID_PARSED_ACK_TYPE 0x52000051 /* parsed ACK has no type */
#define STATUS_STREAM_HAS_BEEN_STOPPED 0x52000052 /* frame or metadata put after the stop API */
#define STATUS_INVALID_STREAM_METRICS_VERSION 0x52000053 /* streamMetrics version unknown */
#define STATUS_INVALID_CLIENT_METRICS_VERSION 0x52000054 /* clientMetrics version unknown */
#define STATUS_INVALID_CLIENT_READY_STATE 0x52000055 /* client was ready but has no auth any more */
#define STATUS_INVALID_FRAGMENT_ACK_TYPE 0x52000057 /* ACK type not supported */
#define STATUS_INVALID_STREAM_READY_STATE 0x52000058 /* status of the stream New state */
#define STATUS_CLIENT_FREED_BEFORE_STREAM 0x52000059 /* stream has no parent client */
#define STATUS_ALLOCATION_SIZE_SMALLER_THAN_REQUESTED 0x5200005a /* content store returned a too small block */
#define STATUS_VIEW_ITEM_SIZE_GREATER_THAN_ALLOCATION 0x5200005b /* buffered item larger than its block */
#define STATUS_ACK_ERR_STREAM_READ_ERROR 0x5200005c /* error ACK 4000: service failed reading the stream */
#define STATUS_ACK_ERR_FRAGMENT_SIZE_REACHED 0x5200005d /* error ACK 4001: fragment too big */
#define STATUS_ACK_ERR_FRAGMENT_DURATION_REACHED 0x5200005e /* error ACK 4002: fragment too long */
#define STATUS_ACK_ERR_CONNECTION_DURATION_REACHED 0x5200005f /* error ACK 4003: connection lasted too long */
#define STATUS_ACK_ERR_FRAGMENT_TIMECODE_NOT_MONOTONIC 0x52000060 /* error ACK 4004: fragment timecode went backwards */
#define STATUS_ACK_ERR_MULTI_TRACK_MKV 0x52000061 /* error ACK 4005: multi-track MKV not supported */
#define STATUS_ACK_ERR_INVALID_MKV_DATA 0x52000062 /* error ACK 4006: MKV could not be parsed */
#define STATUS_ACK_ERR_INVALID_PRODUCER_TIMESTAMP 0x52000063 /* error ACK 4007: producer timestamp invalid */
#define STATUS_ACK_ERR_STREAM_NOT_ACTIVE 0x52000064 /* error ACK 4008: stream not active */
#define STATUS_ACK_ERR_KMS_KEY_ACCESS_DENIED 0x52000065 /* error ACK 4500: KMS access denied */
#define STATUS_ACK_ERR_KMS_KEY_DISABLED 0x52000066 /* error ACK 4501: KMS key disabled */
#define STATUS_ACK_ERR_KMS_KEY_VALIDATION_ERROR 0x52000067 /* error ACK 4502: KMS validation error */
#define STATUS_ACK_ERR_KMS_KEY_UNAVAILABLE 0x52000068 /* error ACK 4503: KMS key unavailable */
#define STATUS_ACK_ERR_KMS_KEY_INVALID_USAGE 0x52000069 /* error ACK 4504: KMS key usage invalid */
#define STATUS_ACK_ERR_KMS_KEY_INVALID_STATE 0x5200006a /* error ACK 4505: KMS key state invalid */
#define STATUS_ACK_ERR_KMS_KEY_NOT_FOUND 0x5200006b /* error ACK 4506: KMS key not found */
#define STATUS_ACK_ERR_STREAM_DELETED 0x5200006c /* error ACK 4507: stream deleted */
#define STATUS_ACK_ERR_ACK_INTERNAL_ERROR 0x5200006d /* error ACK 5000: service internal error */
#define STATUS_ACK_ERR_FRAGMENT_ARCHIVAL_ERROR 0x5200006e /* error ACK 5001: fragment could not be archived */
#define STATUS_ACK_ERR_UNKNOWN_ACK_ERROR 0x5200006f /* error ACK with unknown id (7000) */
#define STATUS_MISSING_ERR_ACK_ID 0x52000070 /* error ACK without an error id */
#define STATUS_INVALID_ACK_SEGMENT_LEN 0x52000071 /* ACK segment longer than 1024 */
#define STATUS_AWAITING_PERSISTED_ACK 0x52000072 /* all bytes sent; the handle waits for its last persisted ACK */
#define STATUS_PERSISTED_ACK_TIMEOUT 0x52000073 /* last persisted ACK did not come in time */
#define STATUS_MAX_FRAGMENT_METADATA_COUNT 0x52000074 /* fragment metadata queue full (25) */
#define STATUS_ACK_ERR_FRAGMENT_METADATA_LIMIT_REACHED 0x52000075 /* error ACK 4009: fragment metadata limit reached */
/* Blocked offline put frame was woken by stop or shutdown */
#define STATUS_BLOCKING_PUT_INTERRUPTED_STREAM_TERMINATED 0x52000076
#define STATUS_INVALID_METADATA_NAME 0x52000077 /* metadata name uses the reserved AWS prefix */
/* End-of-fragment frame while key frame fragmentation is off */
#define STATUS_END_OF_FRAGMENT_FRAME_INVALID_STATE 0x52000078
#define STATUS_TRACK_INFO_MISSING 0x52000079 /* no track info given */
#define STATUS_MAX_TRACK_COUNT_EXCEEDED 0x5200007a /* more than 3 tracks */
#define STATUS_OFFLINE_MODE_WITH_ZERO_RETENTION 0x5200007b /* offline streaming needs retention and fragment ACKs */
#define STATUS_ACK_ERR_TRACK_NUMBER_MISMATCH 0x5200007c /* error ACK 4010: block track number not declared */
#define STATUS_ACK_ERR_FRAMES_MISSING_FOR_TRACK 0x5200007d /* error ACK 4011: a declared track has no frames */
#define STATUS_ACK_ERR_MORE_THAN_ALLOWED_TRACKS_FOUND 0x5200007e /* error ACK 4012: too many tracks */
#define STATUS_UPLOAD_HANDLE_ABORTED 0x5200007f /* upload handle is unknown or errored; networking must drop it */
#define STATUS_INVALID_CERT_PATH_LENGTH 0x52000080 /* certificate path too long */
#define STATUS_DUPLICATE_TRACK_ID_FOUND 0x52000081 /* two tracks share an id */
#define STATUS_INVALID_CLIENT_INFO_VERSION 0x52000082 /* clientInfo version unknown */
#define STATUS_INVALID_CLIENT_ID_STRING_LENGTH 0x52000083 /* client id longer than 64 */
/* Key frame flags and end-of-fragment frames mixed in a mode that forbids it */
#define STATUS_SETTING_KEY_FRAME_FLAG_WHILE_USING_EOFR 0x52000084
#define STATUS_MAX_FRAME_TIMESTAMP_DELTA_BETWEEN_TRACKS_EXCEEDED 0x52000085 /* per-track re-order queue overflow */
#define STATUS_STREAM_SHUTTING_DOWN 0x52000086 /* stream is shutting down */
#define STATUS_CLIENT_SHUTTING_DOWN 0x52000087 /* client is shutting down */
/* Session ended while waiting for its last persisted ACK (intended report) */
#define STATUS_PUTMEDIA_LAST_PERSIST_ACK_NOT_RECEIVED 0x52000088
/* Content store allocator mode needs an aligned heap build */
#define STATUS_NON_ALIGNED_HEAP_WITH_IN_CONTENT_STORE_ALLOCATORS 0x52000089
#define STATUS_MULTIPLE_CONSECUTIVE_EOFR 0x5200008a /* two end-of-fragment frames in a row */
#define STATUS_DUPLICATE_STREAM_EVENT_TYPE 0x5200008b /* stream event of that type already pending */
#define STATUS_STREAM_NOT_STARTED 0x5200008c /* event metadata put before the first frame */
#define STATUS_INVALID_IMAGE_PREFIX_LENGTH 0x5200008d /* image prefix longer than 256 */
#define STATUS_INVALID_IMAGE_METADATA_KEY_LENGTH 0x5200008e /* event metadata key too long */
#define STATUS_INVALID_IMAGE_METADATA_VALUE_LENGTH 0x5200008f /* event metadata value too long */

/* ---- which errors pass ---------------------------------------------------------------------------------------- */

/* The library comes back from these by itself; the stream keeps what it holds. */
#define IS_RECOVERABLE_ERROR(error) \
    ((error) == STATUS_SERVICE_CALL_RESOURCE_NOT_FOUND_ERROR || (error) == STATUS_SERVICE_CALL_UNKOWN_ERROR || \
     (error) == STATUS_SERVICE_CALL_RESOURCE_IN_USE_ERROR || (error) == STATUS_SERVICE_CALL_TIMEOUT_ERROR || \
     (error) == STATUS_ACK_TIMESTAMP_NOT_IN_VIEW_WINDOW || (error) == STATUS_INVALID_ACK_KEY_START || \
     (error) == STATUS_INVALID_ACK_DUPLICATE_KEY_NAME || (error) == STATUS_INVALID_ACK_INVALID_VALUE_START || \
     (error) == STATUS_INVALID_ACK_INVALID_VALUE_END || (error) == STATUS_ACK_ERR_STREAM_READ_ERROR || \
     (error) == STATUS_ACK_ERR_FRAGMENT_SIZE_REACHED || (error) == STATUS_ACK_ERR_FRAGMENT_DURATION_REACHED || \
     (error) == STATUS_ACK_ERR_CONNECTION_DURATION_REACHED || \
     (error) == STATUS_ACK_ERR_FRAGMENT_TIMECODE_NOT_MONOTONIC || (error) == STATUS_ACK_ERR_INVALID_MKV_DATA || \
     (error) == STATUS_ACK_ERR_ACK_INTERNAL_ERROR || (error) == STATUS_ACK_ERR_FRAGMENT_ARCHIVAL_ERROR || \
     (error) == STATUS_ACK_ERR_UNKNOWN_ACK_ERROR || (error) == STATUS_ACK_ERR_FRAGMENT_METADATA_LIMIT_REACHED || \
     (error) == STATUS_ACK_ERR_FRAMES_MISSING_FOR_TRACK || \
     (error) == STATUS_PUTMEDIA_LAST_PERSIST_ACK_NOT_RECEIVED)
/* A service call that failed after all its repeats: calling again may help. */
#define IS_RETRIABLE_ERROR(error) \
    ((error) == STATUS_DESCRIBE_STREAM_CALL_FAILED || (error) == STATUS_CREATE_STREAM_CALL_FAILED || \
     (error) == STATUS_GET_STREAMING_TOKEN_CALL_FAILED || \
     (error) == STATUS_GET_STREAMING_ENDPOINT_CALL_FAILED || (error) == STATUS_PUT_STREAM_CALL_FAILED || \
     (error) == STATUS_INVALID_TOKEN_EXPIRATION)

#endif

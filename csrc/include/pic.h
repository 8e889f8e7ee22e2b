/* pic.h — the producer library of Amazon Kinesis Video Streams under the names that C and C++ programs know.
 *
 * The program brings the network (service callbacks), the library brings everything between a frame and the bytes of
 * PutMedia. It makes no thread: a call does its work, then gives its callbacks on the caller's thread, with no lock held.
 * A callback may answer with its result event before it returns, and may call any other function; what that gives rise
 * to is called back when the present callback has returned. Functions are safe from any thread. Freed, foreign and
 * invalid handles are answered with a status. A program that may be silent for long asks kvsNextDeadline and calls
 * kvsPoke; every other call does the same on its way. It is an adapter over kvspic.h, which new programs may prefer. */
#ifndef KVSPIC_PIC_H
#define KVSPIC_PIC_H

#if defined(__KINESIS_VIDEO_CLIENT_INCLUDE__) || defined(__MKV_GEN_INCLUDE__)
#error "AWS's own client or mkvgen header came before pic.h. Put kvspic's include directory first on the include path."
#endif

#include "pic_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- structures -------------------------------------------------------------------------------------------------------- */

typedef struct Frame Frame, *PFrame;
typedef struct TrackVideoConfig TrackVideoConfig, *PTrackVideoConfig;
typedef struct TrackAudioConfig TrackAudioConfig, *PTrackAudioConfig;
typedef union TrackCustomData TrackCustomData, *PTrackCustomData;
typedef struct TrackInfo TrackInfo, *PTrackInfo;
typedef struct FragmentAck FragmentAck, *PFragmentAck;
typedef struct StreamCaps StreamCaps, *PStreamCaps;
typedef struct StreamInfo StreamInfo, *PStreamInfo;
typedef struct StorageInfo StorageInfo, *PStorageInfo;
typedef struct ClientInfo ClientInfo, *PClientInfo;
typedef struct DeviceInfo DeviceInfo, *PDeviceInfo;
typedef struct ClientMetrics ClientMetrics, *PClientMetrics;
typedef struct StreamMetrics StreamMetrics, *PStreamMetrics;
typedef struct FragmentMetadata FragmentMetadata, *PFragmentMetadata;
typedef struct SegmentInfo SegmentInfo, *PSegmentInfo;
typedef struct StreamDescription StreamDescription, *PStreamDescription;
typedef struct AuthInfo AuthInfo, *PAuthInfo;
typedef struct ServiceCallContext ServiceCallContext, *PServiceCallContext;
typedef struct StreamEventMetadata StreamEventMetadata, *PStreamEventMetadata;
typedef struct ClientCallbacks ClientCallbacks, *PClientCallbacks;
typedef PStreamInfo *PPStreamInfo;

#ifndef __UTILS_H__ /* the guard of AWS's utility header, which defines these too */
typedef struct Tag Tag, *PTag;
typedef struct KvsRetryStrategy KvsRetryStrategy, *PKvsRetryStrategy;
typedef struct KvsRetryStrategyCallbacks KvsRetryStrategyCallbacks, *PKvsRetryStrategyCallbacks;

/* Opaque to the library; the strategy's own business. */
typedef PUINT64 PRetryStrategy;
typedef PUINT64 PRetryStrategyConfig;
typedef STATUS (*CreateRetryStrategyFn)(PKvsRetryStrategy);
typedef STATUS (*GetCurrentRetryAttemptNumberFn)(PKvsRetryStrategy, PUINT32); /* for the metrics */
typedef STATUS (*FreeRetryStrategyFn)(PKvsRetryStrategy);
typedef STATUS (*ExecuteRetryStrategyFn)(PKvsRetryStrategy, PUINT64); /* the wait in ticks */

/* A name and value for a device or a stream (at most 50; name 128, value 1024 bytes). */
struct Tag {
    UINT32 version;
    PCHAR name;
    PCHAR value;
};

/* The object of a retry strategy; createRetryStrategyFn fills it. The library hands it back and never looks inside. */
struct KvsRetryStrategy {
    PRetryStrategy pRetryStrategy;
    PRetryStrategyConfig pRetryStrategyConfig;
    KVS_RETRY_STRATEGY_TYPE retryStrategyType;
};

/* A retry strategy of the program: all four functions, else the built-in waits are used. After each failed call the
 * strategy is executed once, for the wait before the next call. Several threads may execute it at once. */
struct KvsRetryStrategyCallbacks {
    CreateRetryStrategyFn createRetryStrategyFn;
    GetCurrentRetryAttemptNumberFn getCurrentRetryAttemptNumberFn;
    FreeRetryStrategyFn freeRetryStrategyFn;
    ExecuteRetryStrategyFn executeRetryStrategyFn;
};
#endif

/* One access unit, or an end of fragment. frameData is read during the call only. */
struct Frame {
    UINT32 version;
    UINT32 index;
    FRAME_FLAGS flags;
    UINT64 decodingTs;
    UINT64 presentationTs;
    UINT64 duration;
    UINT32 size;
    PBYTE frameData;
    UINT64 trackId;
};

/* 0: taken from the codec private data. */
struct TrackVideoConfig {
    UINT16 videoWidth;
    UINT16 videoHeight;
};

/* 0: taken from the codec private data. */
struct TrackAudioConfig {
    DOUBLE samplingFrequency;
    UINT16 channelConfig;
    UINT16 bitDepth;
};

/* Which member counts is said by TrackInfo.trackType. */
union TrackCustomData {
    TrackAudioConfig trackAudioConfig;
    TrackVideoConfig trackVideoConfig;
};

/* One track. trackId is not 0 and unique in the stream; codecPrivateData has at most 1 MiB and is copied. */
struct TrackInfo {
    UINT32 version;
    UINT64 trackId;
    CHAR codecId[33];
    CHAR trackName[33];
    UINT32 codecPrivateDataSize;
    PBYTE codecPrivateData;
    MKV_TRACK_INFO_TYPE trackType;
    TrackCustomData trackCustomData;
};

/* One fragment ACK. timestamp is the fragment's timecode in units of the stream (ms by default), all ones: absent. */
struct FragmentAck {
    UINT32 version;
    FRAGMENT_ACK_TYPE ackType;
    UINT64 timestamp;
    CHAR sequenceNumber[129];
    SERVICE_CALL_RESULT result;
};

/* How a stream behaves. Zero means "default" for durations and rates; all Booleans are as given. */
struct StreamCaps {
    STREAMING_TYPE streamingType;
    CHAR contentType[129];
    BOOL adaptive;
    UINT64 maxLatency;
    UINT64 fragmentDuration;
    BOOL keyFrameFragmentation;
    BOOL frameTimecodes;
    BOOL absoluteFragmentTimes;
    BOOL fragmentAcks;
    BOOL recoverOnError;
    UINT32 nalAdaptationFlags;
    UINT32 avgBandwidthBps;
    UINT32 frameRate;
    UINT64 bufferDuration;
    UINT64 replayDuration;
    UINT64 connectionStalenessDuration;
    UINT64 timecodeScale;
    BOOL recalculateMetrics;
    PBYTE segmentUuid;
    PTrackInfo trackInfoList;
    UINT32 trackInfoCount;
    FRAME_ORDER_MODE frameOrderingMode;
    CONTENT_STORE_PRESSURE_POLICY storePressurePolicy;
    CONTENT_VIEW_OVERFLOW_POLICY viewOverflowPolicy;
    BOOL allowStreamCreation;
};

/* A stream to open. Read, copied and never written to. An empty name becomes 16 random characters. */
struct StreamInfo {
    UINT32 version;
    CHAR name[257];
    UINT32 tagCount;
    PTag tags;
    UINT64 retention;
    CHAR kmsKeyId[2049];
    StreamCaps streamCaps;
};

/* The buffer that all streams of a client share; storageSize is in bytes, taken as it is needed. */
struct StorageInfo {
    UINT32 version;
    DEVICE_STORAGE_TYPE storageType;
    UINT64 storageSize;
    UINT32 spillRatio;
    CHAR rootDirectory[4097];
};

/* Timeouts and options of a client; 0 or all ones: the default (create client 15 s, create stream 30 s, stop 120 s,
 * offline put 15 s, service calls 10 s, connecting 5 s). */
struct ClientInfo {
    UINT32 version;
    UINT64 createClientTimeout;
    UINT64 createStreamTimeout;
    UINT64 stopStreamTimeout;
    UINT64 offlineBufferAvailabilityTimeout;
    UINT32 loggerLogLevel;
    BOOL logMetric;
    UINT64 metricLoggingPeriod;
    AUTOMATIC_STREAMING_FLAGS automaticStreamingFlags;
    UINT64 reservedCallbackPeriod;
    KvsRetryStrategy kvsRetryStrategy;
    KvsRetryStrategyCallbacks kvsRetryStrategyCallbacks;
    UINT64 serviceCallCompletionTimeout;
    UINT64 serviceCallConnectionTimeout;
};

/* A client to create. Read and copied. */
struct DeviceInfo {
    UINT32 version;
    CHAR name[129];
    UINT32 tagCount;
    PTag tags;
    StorageInfo storageInfo;
    UINT32 streamCount;
    CHAR clientId[65];
    ClientInfo clientInfo;
};

/* Counters of a client. Set version before the call; newer fields are left alone. */
struct ClientMetrics {
    UINT32 version;
    DOUBLE clientAvgApiCallRetryCount;
    UINT64 contentStoreSize;
    UINT64 contentStoreAvailableSize;
    UINT64 contentStoreAllocatedSize;
    UINT64 totalContentViewsSize;
    UINT64 totalFrameRate;
    UINT64 totalTransferRate;
    DOUBLE totalElementaryFrameRate;
};

/* Counters of a stream. Set version before the call; newer fields are left alone. Durations are in ticks, rates per second. */
struct StreamMetrics {
    UINT32 version;
    UINT64 currentViewDuration;
    UINT64 overallViewDuration;
    UINT64 currentViewSize;
    UINT64 overallViewSize;
    DOUBLE currentFrameRate;
    UINT64 currentTransferRate;
    UINT64 uptime;
    UINT64 transferredBytes;
    UINT64 totalSessions;
    UINT64 totalActiveSessions;
    UINT64 avgSessionDuration;
    UINT64 bufferedAcks;
    UINT64 receivedAcks;
    UINT64 persistedAcks;
    UINT64 errorAcks;
    UINT64 droppedFrames;
    UINT64 droppedFragments;
    UINT64 skippedFrames;
    UINT64 storagePressures;
    UINT64 latencyPressures;
    UINT64 bufferPressures;
    UINT64 staleEvents;
    UINT64 putFrameErrors;
    UINT64 cplApiCallLatency;
    UINT64 dataApiCallLatency;
    DOUBLE elementaryFrameRate;
    UINT32 streamApiCallRetryCount;
};

/* Kept for programs that name it; the library does not use it. */
struct FragmentMetadata {
    UINT64 offset;
    UINT64 length;
    UINT64 timecode;
    UINT64 duration;
};

/* Kept for programs that name it; the library does not use it. */
struct SegmentInfo {
    UINT32 version;
    UINT32 segmentDataSize;
    PBYTE segmentData;
    UINT32 fragmentCount;
    PBYTE fragmentData;
};

/* What DescribeStream answered. Version 0 has no retention and no key id. */
struct StreamDescription {
    UINT32 version;
    CHAR deviceName[129];
    CHAR streamName[257];
    CHAR contentType[129];
    CHAR updateVersion[65];
    CHAR streamArn[2049];
    STREAM_STATUS streamStatus;
    UINT64 creationTime;
    UINT64 retention;
    CHAR kmsKeyId[2049];
};

/* Credentials as they were given to the library; expiration in ticks on the client's clock. */
struct AuthInfo {
    UINT32 version;
    AUTH_INFO_TYPE type;
    BYTE data[10000];
    UINT32 size;
    UINT64 expiration;
};

/* What a service callback needs. customData is the handle of the stream (or of the client), always the same number, and
 * goes into the result event. An answer is taken for the outstanding call of its kind; when there is none it is refused.
 * pAuthInfo is never NULL and valid during the callback. Do not send the request before callAfter. */
struct ServiceCallContext {
    UINT32 version;
    UINT64 callAfter;
    UINT64 timeout;
    UINT64 customData;
    PAuthInfo pAuthInfo;
    UINT64 connectionTimeout;
};

/* What goes with an event: at most 10 pairs; imagePrefix or NULL. */
struct StreamEventMetadata {
    UINT32 version;
    PCHAR imagePrefix;
    UINT8 numberOfPairs;
    PCHAR names[10];
    PCHAR values[10];
};

/* A frame that ends the open fragment. */
#define EOFR_FRAME_INITIALIZER { FRAME_CURRENT_VERSION, 0, FRAME_FLAG_END_OF_FRAGMENT, 0, 0, 0, 0, NULL, 0 }
#define CHECK_FRAME_FLAG_KEY_FRAME(flags) (((flags) & FRAME_FLAG_KEY_FRAME) != FRAME_FLAG_NONE)
#define CHECK_FRAME_FLAG_END_OF_FRAGMENT(flags) (((flags) & FRAME_FLAG_END_OF_FRAGMENT) != FRAME_FLAG_NONE)

/* ---- callbacks: the first argument of each is ClientCallbacks.customData ------------------------------------------------- */

typedef void (*logPrintFunc)(UINT32, PCHAR, PCHAR, ...); /* level, tag, printf format */
typedef logPrintFunc LogPrintFunc;
/* ticks since the Unix epoch; the library never lets its own time go back */
typedef UINT64 (*GetCurrentTimeFunc)(UINT64);
typedef STATUS (*GetKvsRetryStrategyFn)(CLIENT_HANDLE); /* kept for programs that name it */
/* certificate, size, expiration; borrowed until the next call */
typedef STATUS (*GetDeviceCertificateFunc)(UINT64, PBYTE *, PUINT32, PUINT64);
typedef STATUS (*GetSecurityTokenFunc)(UINT64, PBYTE *, PUINT32, PUINT64); /* token, size, expiration; size 0: none */
typedef STATUS (*GetDeviceFingerprintFunc)(UINT64, PCHAR *); /* at most 32 characters */
typedef STATUS (*StreamUnderflowReportFunc)(UINT64, STREAM_HANDLE); /* never called */
typedef STATUS (*StorageOverflowPressureFunc)(UINT64, UINT64); /* less than 5 % of the store is left: bytes */
/* little of the buffer duration is left: that much */
typedef STATUS (*BufferDurationOverflowPressureFunc)(UINT64, STREAM_HANDLE, UINT64);
/* with each put that finds more unsent than StreamCaps.maxLatency: this duration */
typedef STATUS (*StreamLatencyPressureFunc)(UINT64, STREAM_HANDLE, UINT64);
/* time since bytes were sent without an ACK: once by deadline, then with each read until an ACK comes */
typedef STATUS (*StreamConnectionStaleFunc)(UINT64, STREAM_HANDLE, UINT64);
/* once per frame dropped; the time is that of the first frame dropped together with it */
typedef STATUS (*DroppedFrameReportFunc)(UINT64, STREAM_HANDLE, UINT64);
/* near realtime: a fragment that began at this time was dropped */
typedef STATUS (*DroppedFragmentReportFunc)(UINT64, STREAM_HANDLE, UINT64);
/* upload or all ones, time of the fragment or all ones, status. Once a stream was ready and recovers on errors, an
 * outage is reported once, with a recoverable status: the library goes on by itself and keeps the media. */
typedef STATUS (*StreamErrorReportFunc)(UINT64, STREAM_HANDLE, UPLOAD_HANDLE, UINT64, UINT32);
typedef STATUS (*FragmentAckReceivedFunc)(UINT64, STREAM_HANDLE, UPLOAD_HANDLE, PFragmentAck); /* the ACK is borrowed */
typedef STATUS (*ClientReadyFunc)(UINT64, CLIENT_HANDLE);
typedef STATUS (*StreamReadyFunc)(UINT64, STREAM_HANDLE); /* after each way through READY */
typedef STATUS (*StreamClosedFunc)(UINT64, STREAM_HANDLE, UPLOAD_HANDLE); /* stopped, and all is acknowledged */
/* there is something to read for this upload: duration and bytes; (0, 0): read once more, it is over */
typedef STATUS (*StreamDataAvailableFunc)(UINT64, STREAM_HANDLE, PCHAR, UPLOAD_HANDLE, UINT64, UINT64);
typedef MUTEX (*CreateMutexFunc)(UINT64, BOOL); /* TRUE: re-entrant */
typedef void (*LockMutexFunc)(UINT64, MUTEX);
typedef void (*UnlockMutexFunc)(UINT64, MUTEX);
typedef BOOL (*TryLockMutexFunc)(UINT64, MUTEX);
typedef void (*FreeMutexFunc)(UINT64, MUTEX);
typedef CVAR (*CreateConditionVariableFunc)(UINT64);
typedef STATUS (*SignalConditionVariableFunc)(UINT64, CVAR);
typedef STATUS (*BroadcastConditionVariableFunc)(UINT64, CVAR);
/* timeout in ticks; STATUS_OPERATION_TIMED_OUT when it passed */
typedef STATUS (*WaitConditionVariableFunc)(UINT64, CVAR, MUTEX, UINT64);
typedef void (*FreeConditionVariableFunc)(UINT64, CVAR);
typedef UINT32 (*GetRandomNumberFunc)(UINT64);
typedef STATUS (*CreateDeviceFunc)(UINT64, PCHAR, PServiceCallContext); /* device name */
/* device name; the certificate is in pAuthInfo */
typedef STATUS (*DeviceCertToTokenFunc)(UINT64, PCHAR, PServiceCallContext);
/* device name, stream name, content type, KMS key or NULL, retention */
typedef STATUS (*CreateStreamFunc)(UINT64, PCHAR, PCHAR, PCHAR, PCHAR, UINT64, PServiceCallContext);
typedef STATUS (*DescribeStreamFunc)(UINT64, PCHAR, PServiceCallContext); /* stream name */
typedef STATUS (*GetStreamingEndpointFunc)(UINT64, PCHAR, PCHAR, PServiceCallContext); /* stream name, API name */
typedef STATUS (*GetStreamingTokenFunc)(UINT64, PCHAR, STREAM_ACCESS_MODE, PServiceCallContext); /* stream name */
/* stream name, container type, start of the media, absolute times, ACKs, endpoint */
typedef STATUS (*PutStreamFunc)(UINT64, PCHAR, PCHAR, UINT64, BOOL, BOOL, PCHAR, PServiceCallContext);
typedef STATUS (*TagResourceFunc)(UINT64, PCHAR, UINT32, PTag, PServiceCallContext); /* ARN, count, tags */
typedef STATUS (*ClientShutdownFunc)(UINT64, CLIENT_HANDLE); /* the client is being freed */
typedef STATUS (*StreamShutdownFunc)(UINT64, STREAM_HANDLE, BOOL); /* TRUE: reset, FALSE: freed */

/* What the library calls. It is copied. Needed are createDeviceFn, createStreamFn, describeStreamFn,
 * getStreamingEndpointFn, getStreamingTokenFn and putStreamFn, with tags also tagResourceFn; all else may be NULL.
 * Callbacks run on the thread of some call into the library, with no lock held, and may call back: a service callback may
 * give its result event before it returns. What a notification returns changes nothing. The mutex and condition-variable
 * functions come all together or not at all (tryLockMutexFn is not used). */
struct ClientCallbacks {
    UINT32 version;
    UINT64 customData;
    GetCurrentTimeFunc getCurrentTimeFn;
    GetRandomNumberFunc getRandomNumberFn;
    CreateMutexFunc createMutexFn;
    LockMutexFunc lockMutexFn;
    UnlockMutexFunc unlockMutexFn;
    TryLockMutexFunc tryLockMutexFn;
    FreeMutexFunc freeMutexFn;
    CreateConditionVariableFunc createConditionVariableFn;
    SignalConditionVariableFunc signalConditionVariableFn;
    BroadcastConditionVariableFunc broadcastConditionVariableFn;
    WaitConditionVariableFunc waitConditionVariableFn;
    FreeConditionVariableFunc freeConditionVariableFn;
    GetDeviceCertificateFunc getDeviceCertificateFn;
    GetSecurityTokenFunc getSecurityTokenFn;
    GetDeviceFingerprintFunc getDeviceFingerprintFn;
    StreamUnderflowReportFunc streamUnderflowReportFn;
    StorageOverflowPressureFunc storageOverflowPressureFn;
    BufferDurationOverflowPressureFunc bufferDurationOverflowPressureFn;
    StreamLatencyPressureFunc streamLatencyPressureFn;
    StreamConnectionStaleFunc streamConnectionStaleFn;
    DroppedFrameReportFunc droppedFrameReportFn;
    DroppedFragmentReportFunc droppedFragmentReportFn;
    StreamErrorReportFunc streamErrorReportFn;
    FragmentAckReceivedFunc fragmentAckReceivedFn;
    StreamDataAvailableFunc streamDataAvailableFn;
    StreamReadyFunc streamReadyFn;
    StreamClosedFunc streamClosedFn;
    CreateStreamFunc createStreamFn;
    DescribeStreamFunc describeStreamFn;
    GetStreamingEndpointFunc getStreamingEndpointFn;
    GetStreamingTokenFunc getStreamingTokenFn;
    PutStreamFunc putStreamFn;
    TagResourceFunc tagResourceFn;
    CreateDeviceFunc createDeviceFn;
    DeviceCertToTokenFunc deviceCertToTokenFn;
    ClientReadyFunc clientReadyFn;
    LogPrintFunc logPrintFn;
    ClientShutdownFunc clientShutdownFn;
    StreamShutdownFunc streamShutdownFn;
};

/* ---- functions ----------------------------------------------------------------------------------------------------------- */

/* Makes a client and starts its way to ready: credentials, device. clientReadyFn tells the end.
 * On any failure *pClientHandle is invalid and nothing is left behind. */
KVS_PIC_API STATUS createKinesisVideoClient(PDeviceInfo pDeviceInfo, PClientCallbacks pClientCallbacks,
                                            PCLIENT_HANDLE pClientHandle);
/* The same, and waits until the client is ready, has failed, or createClientTimeout has passed. */
KVS_PIC_API STATUS createKinesisVideoClientSync(PDeviceInfo pDeviceInfo, PClientCallbacks pClientCallbacks,
                                                PCLIENT_HANDLE pClientHandle);
/* Frees the client and its streams and sets the handle invalid; unsent frames are lost. Returns when no other thread is
 * inside any more; called from a callback it returns at once and the last one out does the rest. Freed or invalid: success. */
KVS_PIC_API STATUS freeKinesisVideoClient(PCLIENT_HANDLE pClientHandle);
/* Stops all streams of the client. */
KVS_PIC_API STATUS stopKinesisVideoStreams(CLIENT_HANDLE clientHandle);
/* Opens a stream: DescribeStream is ordered. On failure, also when a callback answered it inside this call, nothing is left. */
KVS_PIC_API STATUS createKinesisVideoStream(CLIENT_HANDLE clientHandle, PStreamInfo pStreamInfo,
                                            PSTREAM_HANDLE pStreamHandle);
/* The same, and waits until the stream is ready, has failed (that status is returned), or createStreamTimeout has passed. */
KVS_PIC_API STATUS createKinesisVideoStreamSync(CLIENT_HANDLE clientHandle, PStreamInfo pStreamInfo,
                                                PSTREAM_HANDLE pStreamHandle);
/* As freeKinesisVideoClient, for one stream. To deliver what is buffered, stop it first. */
KVS_PIC_API STATUS freeKinesisVideoStream(PSTREAM_HANDLE pStreamHandle);
/* No more frames. What is buffered is still delivered; then streamClosedFn. A second stop does nothing. */
KVS_PIC_API STATUS stopKinesisVideoStream(STREAM_HANDLE streamHandle);
/* The same, and waits until the stream is closed, has failed, or stopStreamTimeout has passed. */
KVS_PIC_API STATUS stopKinesisVideoStreamSync(STREAM_HANDLE streamHandle);
/* Packages one frame into the store. Never waits, except for an offline stream without room: up to
 * offlineBufferAvailabilityTimeout, and for that stream alone. */
KVS_PIC_API STATUS putKinesisVideoFrame(STREAM_HANDLE streamHandle, PFrame pFrame);
/* The next bytes of this upload. STATUS_SUCCESS: the buffer is full, read again; STATUS_NO_MORE_DATA_AVAILABLE and
 * STATUS_AWAITING_PERSISTED_ACK: pause until streamDataAvailableFn; STATUS_END_OF_STREAM: end the body after these bytes;
 * STATUS_UPLOAD_HANDLE_ABORTED: drop the connection. *pFilled counts in every case. */
KVS_PIC_API STATUS getKinesisVideoStreamData(STREAM_HANDLE streamHandle, UPLOAD_HANDLE uploadHandle,
                                             PBYTE pBuffer, UINT32 bufferSize, PUINT32 pFilledSize);
/* A name and value for the next fragment; persistent: for every one from then on, until the value is empty. */
KVS_PIC_API STATUS putKinesisVideoFragmentMetadata(STREAM_HANDLE streamHandle, PCHAR name, PCHAR value,
                                                   BOOL persistent);
/* An event (STREAM_EVENT_TYPE bits) for the next fragment. pStreamEventMetadata may be NULL. */
KVS_PIC_API STATUS putKinesisVideoEventMetadata(STREAM_HANDLE streamHandle, UINT32 events,
                                                PStreamEventMetadata pStreamEventMetadata);
KVS_PIC_API STATUS getKinesisVideoMetrics(CLIENT_HANDLE clientHandle, PClientMetrics pMetrics);
KVS_PIC_API STATUS getKinesisVideoStreamMetrics(STREAM_HANDLE streamHandle, PStreamMetrics pMetrics);
/* Answers createDeviceFn. */
KVS_PIC_API STATUS createDeviceResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PCHAR deviceArn);
/* Answers deviceCertToTokenFn; the token is copied. */
KVS_PIC_API STATUS deviceCertToTokenResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PBYTE token,
                                                UINT32 tokenSize, UINT64 expiration);
/* Answers createStreamFn; with OK an ARN is needed. */
KVS_PIC_API STATUS createStreamResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PCHAR streamArn);
/* Answers describeStreamFn; the description is copied. */
KVS_PIC_API STATUS describeStreamResultEvent(UINT64 customData, SERVICE_CALL_RESULT result,
                                             PStreamDescription pStreamDescription);
/* Answers getStreamingTokenFn; at least 30 s of life are needed. */
KVS_PIC_API STATUS getStreamingTokenResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PBYTE token,
                                                UINT32 tokenSize, UINT64 expiration);
/* Answers getStreamingEndpointFn. */
KVS_PIC_API STATUS getStreamingEndpointResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, PCHAR endpoint);
/* Answers putStreamFn. OK as soon as the connection is open; uploadHandle is the network layer's name for it. Any
 * failure returned means: close that connection. */
KVS_PIC_API STATUS putStreamResultEvent(UINT64 customData, SERVICE_CALL_RESULT result, UPLOAD_HANDLE uploadHandle);
/* Answers tagResourceFn. */
KVS_PIC_API STATUS tagResourceResultEvent(UINT64 customData, SERVICE_CALL_RESULT result);
/* New codec private data for a track (size 0 clears); not while streaming. */
KVS_PIC_API STATUS kinesisVideoStreamFormatChanged(STREAM_HANDLE streamHandle, UINT32 codecPrivateDataSize,
                                                   PBYTE codecPrivateData, UINT64 trackId);
/* New NAL_ADAPTATION_FLAGS; not while streaming. */
KVS_PIC_API STATUS kinesisVideoStreamSetNalAdaptationFlags(STREAM_HANDLE streamHandle, UINT32 nalAdaptationFlags);
/* The connection of this upload is gone; all ones: all are. */
KVS_PIC_API STATUS kinesisVideoStreamTerminated(STREAM_HANDLE streamHandle, UPLOAD_HANDLE uploadHandle,
                                                SERVICE_CALL_RESULT result);
/* One ACK, parsed by the caller. */
KVS_PIC_API STATUS kinesisVideoStreamFragmentAck(STREAM_HANDLE streamHandle, UPLOAD_HANDLE uploadHandle,
                                                 PFragmentAck pFragmentAck);
/* Bytes of the response body as they came, at most 1024, cut anywhere; length 0: up to the first NUL. */
KVS_PIC_API STATUS kinesisVideoStreamParseFragmentAck(STREAM_HANDLE streamHandle, UPLOAD_HANDLE uploadHandle,
                                                      PCHAR ackSegment, UINT32 ackSegmentSize);
/* The library's own copy, valid while the stream lives. */
KVS_PIC_API STATUS kinesisVideoStreamGetStreamInfo(STREAM_HANDLE streamHandle, PPStreamInfo ppStreamInfo);
/* Drops what is buffered and starts again at DescribeStream; also after a stop or a failure. */
KVS_PIC_API STATUS kinesisVideoStreamResetStream(STREAM_HANDLE streamHandle);
/* Ends the open uploads and opens a new one; nothing is dropped. The reader of an old one gets
 * STATUS_UPLOAD_HANDLE_ABORTED, so that it need not wait for a last answer of a peer that may be silent. */
KVS_PIC_API STATUS kinesisVideoStreamResetConnection(STREAM_HANDLE streamHandle);
/* The status that belongs to a result. */
KVS_PIC_API STATUS serviceCallResultCheck(SERVICE_CALL_RESULT result);

/* ---- the platform functions that a client uses by default, and codec private data for audio ----------------------- */

/* What stands for a NULL member of ClientCallbacks; customData is not used. Programs name them in their own tables. */
KVS_PIC_API UINT64 kinesisVideoStreamDefaultGetCurrentTime(UINT64 customData); /* wall clock, ticks since 1970 */
KVS_PIC_API UINT32 kinesisVideoStreamDefaultGetRandomNumber(UINT64 customData);
KVS_PIC_API MUTEX kinesisVideoStreamDefaultCreateMutex(UINT64 customData, BOOL reentrant); /* 0: no memory */
KVS_PIC_API VOID kinesisVideoStreamDefaultLockMutex(UINT64 customData, MUTEX mutex);
KVS_PIC_API VOID kinesisVideoStreamDefaultUnlockMutex(UINT64 customData, MUTEX mutex);
KVS_PIC_API BOOL kinesisVideoStreamDefaultTryLockMutex(UINT64 customData, MUTEX mutex); /* TRUE: it is locked now */
KVS_PIC_API VOID kinesisVideoStreamDefaultFreeMutex(UINT64 customData, MUTEX mutex);
KVS_PIC_API CVAR kinesisVideoStreamDefaultCreateConditionVariable(UINT64 customData); /* NULL: no memory */
KVS_PIC_API STATUS kinesisVideoStreamDefaultSignalConditionVariable(UINT64 customData, CVAR cvar);
KVS_PIC_API STATUS kinesisVideoStreamDefaultBroadcastConditionVariable(UINT64 customData, CVAR cvar);
/* timeout in ticks, INFINITE_TIME_VALUE: no limit. STATUS_OPERATION_TIMED_OUT when it passed. */
KVS_PIC_API STATUS kinesisVideoStreamDefaultWaitConditionVariable(UINT64 customData, CVAR cvar, MUTEX mutex,
                                                                  UINT64 timeout);
KVS_PIC_API VOID kinesisVideoStreamDefaultFreeConditionVariable(UINT64 customData, CVAR cvar);
/* Notifications that do nothing and return STATUS_SUCCESS. */
KVS_PIC_API STATUS kinesisVideoStreamDefaultClientReady(UINT64 customData, CLIENT_HANDLE clientHandle);
KVS_PIC_API STATUS kinesisVideoStreamDefaultStreamReady(UINT64 customData, STREAM_HANDLE streamHandle);
KVS_PIC_API STATUS kinesisVideoStreamDefaultStreamDataAvailable(UINT64 customData, STREAM_HANDLE streamHandle,
                                                                PCHAR streamName, UINT64 uploadHandle, UINT64 duration,
                                                                UINT64 size);
KVS_PIC_API STATUS kinesisVideoStreamDefaultEndOfStream(UINT64 customData, STREAM_HANDLE streamHandle,
                                                        UPLOAD_HANDLE uploadHandle);
KVS_PIC_API STATUS kinesisVideoStreamDefaultClientShutdown(UINT64 customData, CLIENT_HANDLE clientHandle);
KVS_PIC_API STATUS kinesisVideoStreamDefaultStreamShutdown(UINT64 customData, STREAM_HANDLE streamHandle,
                                                           BOOL resetStream);
/* Writes an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1) of KVS_AAC_CPD_SIZE_BYTE bytes.
 *   STATUS_NULL_ARG     no buffer
 *   STATUS_INVALID_ARG  bufferSize, a rate that is not in the standard's table, a channel configuration outside 1 to 7 */
KVS_PIC_API STATUS mkvgenGenerateAacCpd(KVS_MPEG4_AUDIO_OBJECT_TYPES objectType, UINT32 samplingFrequency,
                                        UINT16 channelConfig, PBYTE buffer, UINT32 bufferSize);
/* Writes the WAVEFORMATEX of G.711 (one byte a sample) of KVS_PCM_CPD_SIZE_BYTE bytes.
 *   STATUS_NULL_ARG     no buffer
 *   STATUS_INVALID_ARG  bufferSize, format, a rate outside 8,000 to 192,000, channels other than 1 and 2 */
KVS_PIC_API STATUS mkvgenGeneratePcmCpd(KVS_PCM_FORMAT_CODE format, UINT32 samplingFrequency, UINT16 channels,
                                        PBYTE buffer, UINT32 bufferSize);

/* ---- for programs that may be idle: additions of this library ----------------------------------------------------------------- */

/* The time (on the client's clock) by which kvsPoke has something to do, or INVALID_TIMESTAMP_VALUE: end of an idle
 * fragment, renewal of tokens and credentials, stale connections. */
KVS_PIC_API STATUS kvsNextDeadline(CLIENT_HANDLE clientHandle, PUINT64 pDeadline);
/* Does what is due and gives its callbacks. Every other call does so too. */
KVS_PIC_API STATUS kvsPoke(CLIENT_HANDLE clientHandle);

#ifdef __cplusplus
}
#endif

/* The include guards of AWS's client and MKV headers: a program that includes them later has their names already. */
#ifndef __KINESIS_VIDEO_CLIENT_INCLUDE__
#define __KINESIS_VIDEO_CLIENT_INCLUDE__
#endif
#ifndef __MKV_GEN_INCLUDE__
#define __MKV_GEN_INCLUDE__
#endif
/* AWS's state machine library, where a program has it: its header needs the names above. */
#if defined(__has_include)
#if __has_include(<com/amazonaws/kinesis/video/state/Include.h>)
#include <com/amazonaws/kinesis/video/state/Include.h>
#endif
#endif
#endif

/* defaults.c — the platform functions that a client uses where its callbacks are NULL, under the names by which
 * programs put them into tables of their own, and codec private data for audio. None of them needs a client. */
#include "pic.h"

#include "host/kvs_host.h"
#include "media/cpd.h"
#include "pic/sync.h"

UINT64 kinesisVideoStreamDefaultGetCurrentTime(UINT64 customData)
{
    (void)customData;
    return kvs_host_now_hns();
}

UINT32 kinesisVideoStreamDefaultGetRandomNumber(UINT64 customData)
{
    struct kvs_host host;
    (void)customData;
    kvs_host_init(&host, NULL);
    return host.random(host.ctx);
}

MUTEX kinesisVideoStreamDefaultCreateMutex(UINT64 customData, BOOL reentrant)
{
    return pic_mutex_new(customData, reentrant);
}

VOID kinesisVideoStreamDefaultLockMutex(UINT64 customData, MUTEX mutex) { pic_mutex_lock(customData, mutex); }

VOID kinesisVideoStreamDefaultUnlockMutex(UINT64 customData, MUTEX mutex) { pic_mutex_unlock(customData, mutex); }

BOOL kinesisVideoStreamDefaultTryLockMutex(UINT64 customData, MUTEX mutex)
{
    return pic_mutex_try_lock(customData, mutex);
}

VOID kinesisVideoStreamDefaultFreeMutex(UINT64 customData, MUTEX mutex) { pic_mutex_free(customData, mutex); }

CVAR kinesisVideoStreamDefaultCreateConditionVariable(UINT64 customData) { return pic_condition_new(customData); }

STATUS kinesisVideoStreamDefaultSignalConditionVariable(UINT64 customData, CVAR cvar)
{
    return pic_condition_signal(customData, cvar);
}

STATUS kinesisVideoStreamDefaultBroadcastConditionVariable(UINT64 customData, CVAR cvar)
{
    return pic_condition_broadcast(customData, cvar);
}

STATUS kinesisVideoStreamDefaultWaitConditionVariable(UINT64 customData, CVAR cvar, MUTEX mutex, UINT64 timeout)
{
    return pic_condition_wait(customData, cvar, mutex, timeout);
}

VOID kinesisVideoStreamDefaultFreeConditionVariable(UINT64 customData, CVAR cvar)
{
    pic_condition_free(customData, cvar);
}

STATUS kinesisVideoStreamDefaultClientReady(UINT64 customData, CLIENT_HANDLE clientHandle)
{
    (void)customData, (void)clientHandle;
    return STATUS_SUCCESS;
}

STATUS kinesisVideoStreamDefaultStreamReady(UINT64 customData, STREAM_HANDLE streamHandle)
{
    (void)customData, (void)streamHandle;
    return STATUS_SUCCESS;
}

STATUS kinesisVideoStreamDefaultStreamDataAvailable(UINT64 customData, STREAM_HANDLE streamHandle, PCHAR streamName,
                                                    UINT64 uploadHandle, UINT64 duration, UINT64 size)
{
    (void)customData, (void)streamHandle, (void)streamName, (void)uploadHandle, (void)duration, (void)size;
    return STATUS_SUCCESS;
}

STATUS kinesisVideoStreamDefaultEndOfStream(UINT64 customData, STREAM_HANDLE streamHandle, UPLOAD_HANDLE uploadHandle)
{
    (void)customData, (void)streamHandle, (void)uploadHandle;
    return STATUS_SUCCESS;
}

STATUS kinesisVideoStreamDefaultClientShutdown(UINT64 customData, CLIENT_HANDLE clientHandle)
{
    (void)customData, (void)clientHandle;
    return STATUS_SUCCESS;
}

STATUS kinesisVideoStreamDefaultStreamShutdown(UINT64 customData, STREAM_HANDLE streamHandle, BOOL resetStream)
{
    (void)customData, (void)streamHandle, (void)resetStream;
    return STATUS_SUCCESS;
}

STATUS mkvgenGenerateAacCpd(KVS_MPEG4_AUDIO_OBJECT_TYPES objectType, UINT32 samplingFrequency, UINT16 channelConfig,
                            PBYTE buffer, UINT32 bufferSize)
{
    if (buffer == NULL) return STATUS_NULL_ARG;
    if (bufferSize < KVS_AAC_CPD_SIZE_BYTE) return STATUS_INVALID_ARG;
    const kvs_status status = kvs_aac_generate((uint32_t)objectType, samplingFrequency, channelConfig, buffer);
    return status == KVS_OK ? STATUS_SUCCESS : STATUS_INVALID_ARG;
}

STATUS mkvgenGeneratePcmCpd(KVS_PCM_FORMAT_CODE format, UINT32 samplingFrequency, UINT16 channels, PBYTE buffer,
                            UINT32 bufferSize)
{
    if (buffer == NULL) return STATUS_NULL_ARG;
    if (bufferSize < KVS_PCM_CPD_SIZE_BYTE) return STATUS_INVALID_ARG;
    const kvs_status status = kvs_pcm_generate((uint32_t)format, samplingFrequency, channels, buffer);
    return status == KVS_OK ? STATUS_SUCCESS : STATUS_INVALID_ARG;
}

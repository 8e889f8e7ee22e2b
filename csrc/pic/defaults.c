/* defaults.c — what stands for callbacks that are NULL, under the names by which programs put it into tables of their
 * own (locks and condition variables: sync_*.c), and codec private data for audio. None of it needs a client. */
#include "pic.h"

#include "host/kvs_host.h"
#include "media/cpd.h"

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

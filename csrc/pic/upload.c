/* upload.c — the network layer's names of PutMedia connections beside the core's. All under the stream's lock. */
#include "pic/adapter.h"

#include <string.h>

struct pic_upload *pic_upload_find(struct pic_stream *stream, UPLOAD_HANDLE handle)
{
    for (uint32_t i = 0; i < UPLOADS_KNOWN_MAX; i++) {
        if (stream->uploads[i].state != PIC_UPLOAD_NONE && stream->uploads[i].handle == handle)
            return &stream->uploads[i];
    }
    return NULL;
}

struct pic_upload *pic_upload_of_core(struct pic_stream *stream, uint64_t core)
{
    for (uint32_t i = 0; i < UPLOADS_KNOWN_MAX; i++) {
        if (stream->uploads[i].state != PIC_UPLOAD_NONE && stream->uploads[i].core == core) return &stream->uploads[i];
    }
    return NULL;
}

void pic_upload_remove(struct pic_stream *stream, struct pic_upload *upload, uint64_t now_hns)
{
    size_t after = (size_t)(stream->uploads + UPLOADS_KNOWN_MAX - (upload + 1));
    pic_average(&stream->rates.session_duration_hns, now_hns - upload->created_hns);
    memmove(upload, upload + 1, after * sizeof *upload);
    memset(&stream->uploads[UPLOADS_KNOWN_MAX - 1], 0, sizeof *upload);
}

/* There are more places here than handles that the core keeps: in a full table the core has forgotten the oldest. */
void pic_upload_add(struct pic_stream *stream, UPLOAD_HANDLE handle, uint64_t core, uint64_t now_hns)
{
    uint32_t i = 0;
    if (stream->uploads[UPLOADS_KNOWN_MAX - 1].state != PIC_UPLOAD_NONE)
        pic_upload_remove(stream, &stream->uploads[0], now_hns);
    while (stream->uploads[i].state != PIC_UPLOAD_NONE) i++;
    stream->uploads[i] = (struct pic_upload){
        .handle = handle, .core = core, .created_hns = now_hns, .state = PIC_UPLOAD_OPEN
    };
}

/* parts.c — what one call of a put holds, for streams with KVS_WHOLE_PICTURES: parameter sets are taken from wherever
 * they come, and a call without a picture waits for the next frame of its track.
 *
 * Encoders hand out SPS, PPS, SEI and delimiters in calls of their own, or one buffer with the configuration before
 * the first frame (Android's MediaCodec). Such a call is no frame: the ledger does not know it, and it leaves as the
 * beginning of the payload of the frame that follows. */
#include "engine/packer.h"

#include <string.h>

#define PARTS_MAX 65536u
#define PARTS_MIN 512u

static int is_h265(const struct kvs_stream *stream, uint32_t track)
{
    struct kvs_cpd_format format = stream_cpd_format(stream, track);
    return kvs_cpd_nal_kind(&format) == KVS_KIND_H265;
}

kvs_status parts_init(struct kvs_stream *stream)
{
    kvs_status status = KVS_OK;
    for (uint32_t i = 0; i < stream->track_count && status == KVS_OK; i++) {
        struct kvs_cpd_format format = stream_cpd_format(stream, i);
        struct track *track = &stream->tracks[i];
        track->has_parts = (stream->mode.flags & KVS_WHOLE_PICTURES) != 0 && kvs_cpd_is_in_frames(&format);
        kvs_sets_init(&track->sets, is_h265(stream, i));
        status = parts_load(stream, i, stream->formats.current);
    }
    return status;
}

kvs_status parts_load(struct kvs_stream *stream, uint32_t track, const struct format *format)
{
    if (!stream->tracks[track].has_parts) return KVS_OK;
    return kvs_sets_load(&stream->tracks[track].sets, stream->host, format->tracks[track].cpd,
                         format->tracks[track].cpd_size);
}

void parts_free(struct kvs_stream *stream)
{
    for (uint32_t i = 0; i < stream->track_count; i++) {
        kvs_sets_free(&stream->tracks[i].sets, stream->host);
        kvs_host_free(stream->host, stream->tracks[i].joined.bytes);
    }
}

void parts_clear(struct track *track) { track->joined.size = track->joined.calls = track->joined.flags = 0; }

/* ---- a call without a picture ------------------------------------------------------------------------------------ */

int parts_may_wait(const struct kvs_nal_scan *scan) { return scan->adapted_size <= PARTS_MAX; }

static kvs_status reserve(struct kvs_stream *stream, struct joined *joined, uint32_t size)
{
    uint32_t capacity = joined->capacity == 0 ? PARTS_MIN : joined->capacity;
    if (joined->size + size <= joined->capacity) return KVS_OK;
    while (capacity < joined->size + size) capacity *= 2u;
    uint8_t *bytes = kvs_host_alloc(stream->host, capacity);
    if (bytes == NULL) return KVS_E_NOMEM;
    if (joined->size != 0) memcpy(bytes, joined->bytes, joined->size);
    kvs_host_free(stream->host, joined->bytes);
    joined->bytes = bytes;
    joined->capacity = capacity;
    return KVS_OK;
}

kvs_status parts_keep(struct kvs_stream *stream, struct track *track, const uint8_t *data, const struct part *part)
{
    struct joined *joined = &track->joined;
    struct kvs_nal_scan scan = *part->scan; /* the copy uses it up */
    uint32_t size = (uint32_t)scan.adapted_size;
    if (joined->size + size > PARTS_MAX) joined->size = 0; /* no picture for so long: the sets among them are known */
    kvs_status status = reserve(stream, joined, size);
    if (status != KVS_OK) return status;
    if (size != 0) kvs_nal_copy(data, part->size, &scan, joined->bytes + joined->size);
    joined->size += size;
    joined->calls++;
    joined->flags |= part->flags & KVS_FRAME_KEY;
    track->frames_put++;
    stream->ledger.metrics.calls_joined++;
    return KVS_OK;
}

/* ---- codec private data ------------------------------------------------------------------------------------------ */

kvs_status parts_format(struct kvs_stream *stream, uint32_t index, uint32_t pps, struct format **format_out)
{
    struct kvs_sets *sets = &stream->tracks[index].sets;
    struct kvs_cpd_format cpd_format = stream_cpd_format(stream, index);
    uint32_t size = kvs_sets_need_header(sets, pps) ? kvs_sets_write(sets, pps, NULL) : 0;
    if (size == 0) return KVS_OK;
    uint8_t *cpd = kvs_host_alloc(stream->host, size);
    if (cpd == NULL) return KVS_E_NOMEM;
    kvs_sets_write(sets, pps, cpd);
    cpd_format.nal_flags |= KVS_NAL_ANNEXB_CPD;
    struct format_change change = { &cpd_format, index, stream->formats.current->track_mask, size, cpd };
    kvs_status status = format_make(stream->host, stream->formats.current, &change, format_out);
    kvs_host_free(stream->host, cpd);
    if (status != KVS_OK && status != KVS_E_NOMEM) kvs_sets_adopt(sets, pps); /* no record can be made of them */
    return status == KVS_E_NOMEM ? status : KVS_OK;
}

/* tags.c — the calls that change what goes out beside frames: fragment metadata, events, codec private data. */
#include "engine/stream.h"

#include <string.h>

#define EVENT_ALL (KVS_EVENT_IMAGE | KVS_EVENT_NOTIFICATION)

struct event {
    const char *image_prefix;
    uint32_t pair_count;
    const char *const *names;
    const char *const *values;
};

static int is_reserved(const char *name) { return strncmp(name, "AWS", 3) == 0; }
static int is_longer(const char *text, size_t limit) { return memchr(text, 0, limit + 1u) == NULL; }

/* Before a first DescribeStream was answered the stream may turn out not to exist, and metadata could only be lost.
 * From then on metadata is taken in every state, as frames are: a stream that reconnects describes again. */
static kvs_status check_state(const struct kvs_stream *stream)
{
    if (stream->ledger.is_stopped) return KVS_E_STREAM_STOPPED;
    return stream->machine.described_retention_hns == KVS_TIME_NONE ? KVS_E_STREAM_STATE : KVS_OK;
}

static struct kvs_metadata_entry *render(struct kvs_stream *stream, const char *name, const struct kvs_mkv_tag *tags,
                                         uint32_t count)
{
    uint32_t size = kvs_mkv_tags_size(tags, count);
    struct kvs_metadata_entry *entry = kvs_metadata_new(stream->host, name, (uint32_t)strlen(name), size);
    if (entry != NULL) kvs_mkv_tags_write(tags, count, entry->bytes + entry->name_size);
    return entry;
}

/* ---- fragment metadata ------------------------------------------------------------------------------------------- */

static kvs_status put_metadata(struct kvs_stream *stream, const char *name, const char *value, int persistent)
{
    struct kvs_mkv_tag tag = kvs_mkv_tag_of(name, value);
    struct kvs_metadata_entry *entry = NULL;
    int is_removal = persistent && value[0] == 0;
    if (!is_removal) {
        entry = render(stream, name, &tag, 1);
        if (entry == NULL) return KVS_E_NOMEM;
        entry->is_persistent = persistent != 0;
    }
    struct kvs_metadata_entry *old = persistent ? kvs_metadata_take(&stream->metadata, name, (uint32_t)strlen(name))
                                                : NULL;
    if (entry != NULL && old == NULL && stream->metadata.weight >= stream->limits.metadata_max) {
        kvs_host_free(stream->host, entry);
        return KVS_E_METADATA_COUNT;
    }
    kvs_host_free(stream->host, old);
    if (entry != NULL) kvs_metadata_push(&stream->metadata, entry);
    return KVS_OK;
}

kvs_status kvs_stream_put_metadata(struct kvs_stream *stream, const char *name, const char *value, int persistent)
{
    if (stream == NULL || name == NULL || value == NULL) return KVS_E_NULL_ARG;
    stream_lock(stream);
    kvs_status status = check_state(stream);
    if (status == KVS_OK && (name[0] == 0 || is_longer(name, KVS_MKV_TAG_NAME_MAX))) status = KVS_E_TAG_NAME_SIZE;
    if (status == KVS_OK && is_reserved(name)) status = KVS_E_METADATA_NAME;
    if (status == KVS_OK && is_longer(value, KVS_MKV_TAG_VALUE_MAX)) status = KVS_E_TAG_VALUE_SIZE;
    if (status == KVS_OK) status = put_metadata(stream, name, value, persistent);
    stream_unlock(stream);
    return status;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static kvs_status check_event(const struct event *event)
{
    if (event->pair_count > 10u) return KVS_E_EVENT_PAIRS;
    if (event->pair_count != 0 && (event->names == NULL || event->values == NULL)) return KVS_E_NULL_ARG;
    for (uint32_t i = 0; i < event->pair_count; i++) {
        if (event->names[i] == NULL || event->values[i] == NULL) return KVS_E_NULL_ARG;
        if (is_reserved(event->names[i])) return KVS_E_METADATA_NAME;
        if (event->names[i][0] == 0 || is_longer(event->names[i], KVS_MKV_TAG_NAME_MAX)) return KVS_E_EVENT_NAME_SIZE;
        if (is_longer(event->values[i], KVS_MKV_TAG_VALUE_MAX)) return KVS_E_EVENT_VALUE_SIZE;
    }
    if (event->image_prefix == NULL) return KVS_OK;
    if (is_reserved(event->image_prefix)) return KVS_E_METADATA_NAME;
    return is_longer(event->image_prefix, KVS_MKV_TAG_VALUE_MAX) ? KVS_E_EVENT_PREFIX_SIZE : KVS_OK;
}

static struct kvs_metadata_entry *render_event(struct kvs_stream *stream, uint32_t type, const struct event *event)
{
    struct kvs_mkv_tag tags[TAGS_PAIRS_MAX];
    const char *name = type == KVS_EVENT_IMAGE ? KVS_MKV_IMAGE_NAME : KVS_MKV_NOTIFICATION_NAME;
    uint32_t count = 0;
    tags[count++] = kvs_mkv_tag_of(name, "");
    if (type == KVS_EVENT_IMAGE && event->image_prefix != NULL)
        tags[count++] = kvs_mkv_tag_of(KVS_MKV_IMAGE_PREFIX_NAME, event->image_prefix);
    for (uint32_t i = 0; i < event->pair_count; i++) tags[count++] = kvs_mkv_tag_of(event->names[i], event->values[i]);
    struct kvs_metadata_entry *entry = render(stream, name, tags, count);
    if (entry == NULL) return NULL;
    entry->event_types = (uint8_t)type;
    entry->weight = count;
    return entry;
}

static kvs_status put_event(struct kvs_stream *stream, uint32_t types, const struct event *event)
{
    static const uint32_t order[] = { KVS_EVENT_NOTIFICATION, KVS_EVENT_IMAGE };
    struct kvs_metadata_entry *entries[2] = { NULL, NULL };
    uint32_t weight = stream->metadata.weight;
    kvs_status status = KVS_OK;
    for (uint32_t i = 0; i < 2; i++) {
        if (!(types & order[i])) continue;
        entries[i] = render_event(stream, order[i], event);
        if (entries[i] == NULL) status = KVS_E_NOMEM;
        else weight += entries[i]->weight;
    }
    if (status == KVS_OK && weight > kvs_hns_max(stream->limits.metadata_max, 2u * TAGS_PAIRS_MAX))
        status = KVS_E_METADATA_COUNT;
    for (uint32_t i = 0; i < 2; i++) {
        if (status != KVS_OK) kvs_host_free(stream->host, entries[i]);
        else if (entries[i] != NULL) kvs_metadata_push(&stream->metadata, entries[i]);
    }
    return status;
}

kvs_status kvs_stream_put_event(struct kvs_stream *stream, uint32_t types, const char *image_prefix,
                                uint32_t pair_count, const char *const *names, const char *const *values)
{
    struct event event = { image_prefix, pair_count, names, values };
    if (stream == NULL) return KVS_E_NULL_ARG;
    if (types == 0 || (types & ~(uint32_t)EVENT_ALL) != 0) return KVS_E_INVALID_ARG;
    kvs_status status = check_event(&event);
    if (status != KVS_OK) return status;
    stream_lock(stream);
    status = check_state(stream);
    if (status == KVS_OK && (stream->metadata.event_types & types) != 0) status = KVS_E_DUPLICATE_EVENT;
    if (status == KVS_OK && stream->packer.last_cluster_tc == KVS_TIME_NONE) status = KVS_E_NO_FRAGMENT;
    if (status == KVS_OK) status = put_event(stream, types, &event);
    stream_unlock(stream);
    return status;
}

/* ---- codec private data ------------------------------------------------------------------------------------------ */

static int is_locked(const struct kvs_stream *stream)
{
    int is_flowing = stream->machine.state == KVS_STREAM_PUT_STREAM || stream->machine.state == KVS_STREAM_STREAMING ||
                     stream->machine.state == KVS_STREAM_TAG;
    return (stream->mode.flags & KVS_FORMAT_LOCKED) != 0 && is_flowing;
}

static kvs_status set_cpd(struct kvs_stream *stream, uint32_t track, const uint8_t *cpd, uint32_t cpd_size)
{
    struct kvs_cpd_format cpd_format = { stream->mode.kinds, stream->tracks[track].type, stream->mode.nal_flags,
                                         stream->formats.current->tracks[track].codec_id };
    struct format_change change = { &cpd_format, track, stream->formats.current->track_mask, cpd_size, cpd };
    struct format *made = NULL;
    if (is_locked(stream)) return KVS_E_STREAM_STATE;
    kvs_status status = format_make(stream->host, stream->formats.current, &change, &made);
    if (status == KVS_OK) status = parts_load(stream, track, made);
    if (status != KVS_OK) {
        if (made != NULL) format_free(stream->host, made);
        return status;
    }
    formats_append(stream, made, 1);
    stream->tracks[track].cpd_from_frames = cpd_size == 0;
    return KVS_OK;
}

kvs_status kvs_stream_set_cpd(struct kvs_stream *stream, uint64_t track, const uint8_t *cpd, uint32_t cpd_size)
{
    uint32_t index = 0;
    if (stream == NULL) return KVS_E_NULL_ARG;
    if (cpd_size > KVS_MKV_CPD_MAX) return KVS_E_CPD_SIZE;
    if (cpd == NULL && cpd_size != 0) return KVS_E_CPD_NULL;
    while (index < stream->track_count && stream->tracks[index].id != track) index++;
    if (index == stream->track_count) return KVS_E_UNKNOWN_TRACK;
    stream_write_lock(stream);
    kvs_status status = set_cpd(stream, index, cpd, cpd_size);
    stream_write_unlock(stream);
    return status;
}

kvs_status kvs_stream_set_nal_flags(struct kvs_stream *stream, uint32_t nal_flags)
{
    uint32_t both = KVS_NAL_ANNEXB_TO_AVCC | KVS_NAL_AVCC_TO_ANNEXB;
    if (stream == NULL) return KVS_E_NULL_ARG;
    if ((nal_flags & both) == both) return KVS_E_NAL_FLAGS;
    stream_write_lock(stream);
    kvs_status status = is_locked(stream) ? KVS_E_STREAM_STATE : KVS_OK;
    if (status == KVS_OK) stream->mode.nal_flags = nal_flags;
    stream_write_unlock(stream);
    return status;
}

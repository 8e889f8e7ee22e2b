/* formats.c — a stream's list of formats: which one a fragment has, and when one may go.
 *
 * `formats.current` is what the next put is made for. The list holds it and all that fragments or held frames still
 * name. There is one format nearly always, so the walks here cost nothing then. */
#include "engine/uploads.h"

static int is_named(const struct kvs_stream *stream, uint32_t number)
{
    const struct kvs_view *view = &stream->view;
    for (uint64_t i = view->fragment_tail; i < view->fragment_head; i++) {
        if (kvs_view_fragment(view, i)->format == number) return 1;
    }
    EACH_UPLOAD(stream, upload) {
        if (upload->is_bound && upload->part == PART_HEADER && upload->format == number) return 1;
    }
    return stream->order.mode != KVS_ORDER_NONE && kvs_order_names_format(&stream->order, number);
}

void formats_prune(struct kvs_stream *stream)
{
    struct format **link = &stream->formats.first;
    while (*link != NULL) {
        struct format *format = *link;
        if (format == stream->formats.current || is_named(stream, format->number)) {
            link = &format->next;
            continue;
        }
        *link = format->next;
        format_free(stream->host, format);
    }
}

void formats_append(struct kvs_stream *stream, struct format *made, int is_current)
{
    struct format **link = &stream->formats.first;
    while (*link != NULL) link = &(*link)->next;
    *link = made;
    made->number = ++stream->formats.count;
    if (made->content == 0) made->content = made->number;
    if (!is_current) return; /* a frame that leaves its order queue may be all that names another one now */
    stream->formats.current = made;
    formats_prune(stream);
}

struct format *formats_find(const struct kvs_stream *stream, uint32_t number)
{
    struct format *format = stream->formats.first;
    while (format != NULL && format->number != number) format = format->next;
    KVS_CHECK(format != NULL);
    return format;
}

uint32_t formats_with_mask(struct kvs_stream *stream, uint32_t number, uint32_t mask)
{
    struct format *base = formats_find(stream, number), *made = NULL;
    struct format_change change = { NULL, UINT32_MAX, mask, 0, NULL };
    if (base->track_mask == mask) return base->number;
    for (struct format *format = stream->formats.first; format != NULL; format = format->next) {
        if (format->content == base->content && format->track_mask == mask) return format->number;
    }
    if (format_make(stream->host, base, &change, &made) != KVS_OK) return number; /* no memory: as it was put */
    formats_append(stream, made, 0);
    return made->number;
}

/* ---- the header of a session ------------------------------------------------------------------------------------- */

static struct kvs_mkv_header header_of(const struct kvs_stream *stream, const struct format *format)
{
    return (struct kvs_mkv_header) { stream->mode.segment_uuid, stream->limits.scale_hns,
                                     stream->client->client_id, format->tracks,
                                     format->track_count,       format->track_mask };
}

uint32_t formats_header_size(const struct kvs_stream *stream, const struct format *format)
{
    struct kvs_mkv_header header = header_of(stream, format);
    return format->header != NULL ? format->header_size : kvs_mkv_header_size(&header);
}

kvs_status formats_make_header(const struct kvs_stream *stream, struct format *format)
{
    struct kvs_mkv_header header = header_of(stream, format);
    if (format->header != NULL) return KVS_OK;
    format->header_size = kvs_mkv_header_size(&header);
    format->header = kvs_host_alloc(stream->host, format->header_size);
    if (format->header == NULL) return KVS_E_NOMEM;
    kvs_mkv_header_write(&header, format->header);
    return KVS_OK;
}

void formats_free(struct kvs_stream *stream)
{
    while (stream->formats.first != NULL) {
        struct format *format = stream->formats.first;
        stream->formats.first = format->next;
        format_free(stream->host, format);
    }
}

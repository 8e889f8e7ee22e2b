/* names.c — the streams of a client: the list of all, and the same by name. All under the client's lock. */
#include "pic/adapter.h"

#include <string.h>

#define NAMES_MIN 16u

static struct pic_stream **place_of(const struct pic_client *client, const char *name)
{
    uint32_t hash = 2166136261u;
    for (const char *c = name; *c != 0; c++) hash = (hash ^ (uint8_t)*c) * 16777619u;
    return &client->names[hash & (client->name_place_count - 1u)];
}

static void link_name(struct pic_stream *stream)
{
    struct pic_stream **place = place_of(stream->client, stream->info.name);
    stream->next_named = *place;
    *place = stream;
}

/* As many places as streams, so that looking for a name costs the same however many there are. Without memory for more
 * places the table stays as it is. */
static void grow_names(struct pic_client *client)
{
    if (client->stream_count < client->name_place_count) return;
    uint32_t count = client->name_place_count != 0 ? 2u * client->name_place_count : NAMES_MIN;
    struct pic_stream **old = client->names, **names = client->host.alloc(client->host.ctx, count * sizeof *names);
    if (names == NULL) return;
    memset(names, 0, count * sizeof *names);
    client->names = names;
    client->name_place_count = count;
    for (struct pic_stream *each = client->streams; each != NULL; each = each->next) link_name(each);
    if (old != NULL) client->host.free(client->host.ctx, old);
}

static STATUS enter_name(struct pic_stream *stream)
{
    grow_names(stream->client);
    if (stream->client->names == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    const struct pic_stream *other = *place_of(stream->client, stream->info.name);
    while (other != NULL && strcmp(other->info.name, stream->info.name) != 0) other = other->next_named;
    if (other != NULL) return STATUS_DUPLICATE_STREAM_NAME;
    link_name(stream);
    return STATUS_SUCCESS;
}

static void leave_name(struct pic_stream *stream)
{
    struct pic_stream **at = place_of(stream->client, stream->info.name);
    while (*at != stream) at = &(*at)->next_named;
    *at = stream->next_named;
}

STATUS pic_enter_list(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    STATUS status = client->object.is_ready ? STATUS_SUCCESS : STATUS_INVALID_STREAM_STATE;
    if (client->object.is_closing) status = STATUS_CLIENT_SHUTTING_DOWN;
    if (client->stream_count >= client->device.streamCount && status == STATUS_SUCCESS)
        status = STATUS_MAX_STREAM_COUNT;
    if (STATUS_SUCCEEDED(status)) status = enter_name(stream);
    if (STATUS_FAILED(status)) return status;
    stream->next = client->streams;
    if (client->streams != NULL) client->streams->previous = stream;
    client->streams = stream;
    client->stream_count++;
    return STATUS_SUCCESS;
}

void pic_leave_list(struct pic_stream *stream)
{
    struct pic_client *client = stream->client;
    pic_unschedule(client, &stream->object);
    pic_later_cancel(stream);
    leave_name(stream);
    if (stream->previous != NULL) stream->previous->next = stream->next;
    else client->streams = stream->next;
    if (stream->next != NULL) stream->next->previous = stream->previous;
    client->stream_count--;
    stream->is_gone = 1;
}

/* metadata.c — see metadata.h. */
#include "store/metadata.h"

#include <string.h>

struct kvs_metadata_entry *kvs_metadata_new(const struct kvs_host *host, const char *name, uint32_t name_size,
                                            uint32_t size)
{
    struct kvs_metadata_entry *entry = kvs_host_alloc(host, sizeof *entry + name_size + size);
    if (entry == NULL) return NULL;
    memset(entry, 0, sizeof *entry);
    entry->name_size = (uint16_t)name_size;
    entry->size = size;
    entry->weight = 1;
    memcpy(entry->bytes, name, name_size);
    return entry;
}

void kvs_metadata_push(struct kvs_metadata *metadata, struct kvs_metadata_entry *entry)
{
    entry->next = NULL;
    if (metadata->last != NULL) metadata->last->next = entry;
    else metadata->first = entry;
    metadata->last = entry;
    metadata->weight += entry->weight;
    metadata->event_types |= entry->event_types;
}

struct kvs_metadata_entry *kvs_metadata_take(struct kvs_metadata *metadata, const char *name, uint32_t name_size)
{
    struct kvs_metadata_entry *before = NULL;
    for (struct kvs_metadata_entry *entry = metadata->first; entry != NULL; before = entry, entry = entry->next) {
        if (!entry->is_persistent || entry->name_size != name_size || memcmp(entry->bytes, name, name_size) != 0)
            continue;
        if (before != NULL) before->next = entry->next;
        else metadata->first = entry->next;
        if (metadata->last == entry) metadata->last = before;
        metadata->weight -= entry->weight;
        return entry;
    }
    return NULL;
}

uint32_t kvs_metadata_size(const struct kvs_metadata *metadata, int only_unsent)
{
    uint32_t size = 0;
    for (const struct kvs_metadata_entry *entry = metadata->first; entry != NULL; entry = entry->next) {
        if (!only_unsent || !entry->is_sent) size += entry->size;
    }
    return size;
}

void kvs_metadata_packaged(struct kvs_metadata *metadata, const struct kvs_host *host)
{
    struct kvs_metadata_entry *entry = metadata->first;
    memset(metadata, 0, sizeof *metadata);
    while (entry != NULL) {
        struct kvs_metadata_entry *next = entry->next;
        if (entry->is_persistent) {
            entry->is_sent = 1;
            kvs_metadata_push(metadata, entry);
        } else {
            kvs_host_free(host, entry);
        }
        entry = next;
    }
}

void kvs_metadata_clear(struct kvs_metadata *metadata, const struct kvs_host *host)
{
    while (metadata->first != NULL) {
        struct kvs_metadata_entry *entry = metadata->first;
        metadata->first = entry->next;
        kvs_host_free(host, entry);
    }
    memset(metadata, 0, sizeof *metadata);
}

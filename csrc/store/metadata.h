/* metadata.h — fragment metadata that waits for the next fragment, already rendered as MKV Tags.
 *
 * Entries leave in the order they came, all of them with the next fragment. A persistent entry stays and is repeated
 * with every fragment; a new one of the same name replaces it. The bytes are opaque here.
 *   Ownership  Entries are host memory of the list; kvs_metadata_clear gives them back. */
#ifndef KVS_STORE_METADATA_H
#define KVS_STORE_METADATA_H

#include "base/host.h"
#include "kvspic.h"

struct kvs_metadata_entry {
    struct kvs_metadata_entry *next;
    uint32_t size;   /* of the rendered bytes */
    uint32_t weight; /* how many name/value pairs it counts for */
    uint16_t name_size;
    uint8_t is_persistent, is_sent;
    uint8_t event_types; /* enum kvs_event_type bits, 0 for plain metadata */
    uint8_t bytes[];     /* name, then the rendered Tags */
};

struct kvs_metadata {
    struct kvs_metadata_entry *first, *last;
    uint32_t weight;      /* of all entries */
    uint32_t event_types; /* waiting ones */
};

/* A fresh entry, not in the list yet; fill bytes + name_size with the rendered Tags. NULL: no memory. */
struct kvs_metadata_entry *kvs_metadata_new(const struct kvs_host *host, const char *name, uint32_t name_size,
                                            uint32_t size);
void kvs_metadata_push(struct kvs_metadata *metadata, struct kvs_metadata_entry *entry);
/* Takes the persistent entry of this name out; NULL when there is none. The caller frees or pushes it again. */
struct kvs_metadata_entry *kvs_metadata_take(struct kvs_metadata *metadata, const char *name, uint32_t name_size);
/* Rendered bytes of all entries, or of those never sent. */
uint32_t kvs_metadata_size(const struct kvs_metadata *metadata, int only_unsent);
/* After packaging: entries for one fragment go, persistent ones count as sent. only_unsent: as in _size. */
void kvs_metadata_packaged(struct kvs_metadata *metadata, const struct kvs_host *host);
void kvs_metadata_clear(struct kvs_metadata *metadata, const struct kvs_host *host);

static inline const uint8_t *kvs_metadata_bytes(const struct kvs_metadata_entry *entry)
{
    return entry->bytes + entry->name_size;
}

#endif

/* lend.c — bytes of the store that readers have in their hands. Each loan is one range of the chain, from the first
 * byte lent to the last; what lies between belongs to the same upload. No slab goes that they lie in.
 *
 * A loan is its handle's, not its upload's: an upload may be removed (its last ACK, an error, a reset) while the
 * network still writes from it. So it has a place of its own until the handle's next call. */
#include "engine/ledger.h"

static struct lent *find(const struct kvs_stream *stream, uint64_t handle)
{
    for (uint32_t i = 0; i < UPLOADS_MAX; i++) {
        if (stream->lents.items[i].handle == handle) return (struct lent *)&stream->lents.items[i];
    }
    return NULL;
}

int lend_return(struct kvs_stream *stream, uint64_t handle)
{
    struct lent *lent = stream->lents.count != 0 && handle != KVS_UPLOAD_NONE ? find(stream, handle) : NULL;
    if (lent == NULL) return 0;
    lent->handle = KVS_UPLOAD_NONE;
    stream->lents.count--;
    return 1;
}

void lend_note(struct kvs_stream *stream, uint64_t handle, uint64_t from, uint64_t to)
{
    struct lent *lent = stream->lents.count != 0 ? find(stream, handle) : NULL;
    if (lent == NULL) {
        lent = find(stream, KVS_UPLOAD_NONE);
        *lent = (struct lent) { handle, from, to };
        stream->lents.count++;
        return;
    }
    lent->from = kvs_hns_min(lent->from, from);
    lent->to = kvs_hns_max(lent->to, to);
}

uint64_t lend_floor(const struct kvs_stream *stream)
{
    uint64_t floor = UINT64_MAX;
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->lents.count != 0; i++) {
        if (stream->lents.items[i].handle != KVS_UPLOAD_NONE) floor = kvs_hns_min(floor, stream->lents.items[i].from);
    }
    return floor;
}

void lend_punch(struct kvs_stream *stream, uint64_t from, uint64_t to)
{
    if (from >= to) return;
    for (uint32_t i = 0; i < UPLOADS_MAX && stream->lents.count != 0; i++) {
        const struct lent *lent = &stream->lents.items[i];
        if (lent->handle == KVS_UPLOAD_NONE || lent->from >= to || lent->to <= from) continue;
        lend_punch(stream, from, lent->from);
        lend_punch(stream, lent->to, to);
        return;
    }
    kvs_chain_punch(&stream->chain, &stream->client->pool, from, to);
}

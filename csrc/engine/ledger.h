/* ledger.h — the ledger counts what becomes of frames, and gives back the memory of those that are settled.
 * Which fragments readers stand in is an argument; what a higher layer has to do next is returned.
 *   Always  frames_put = frames_done + sum(frames_dropped) + frames_buffered; the same holds for bytes. */
#ifndef KVS_ENGINE_LEDGER_H
#define KVS_ENGINE_LEDGER_H

#include "engine/client.h"

void ledger_init(struct kvs_stream *stream, uint64_t now_hns);
void ledger_reset(struct kvs_stream *stream);       /* all is settled and trimmed; the counters go on */
void ledger_check(const struct kvs_stream *stream); /* walks all fragments */

struct loss {
    uint32_t reason; /* enum kvs_drop */
    uint64_t pts_hns, frames, bytes;
};

/* What the drop of a fragment means for the frames after it. */
enum ledger_event {
    LEDGER_DROPPED = 1,
    LEDGER_WAS_OPEN = 2,   /* frames that would have followed in it have no fragment */
    LEDGER_NEXT_BEGINS = 4 /* the next fragment that is put must be the first of its session */
};

static inline int ledger_is_settled(uint32_t fragment_flags)
{
    return (fragment_flags & (KVS_FRAGMENT_DONE | KVS_FRAGMENT_DROPPED)) != 0;
}

/* A frame was put: it is buffered. */
static inline void ledger_put(struct kvs_stream *stream, uint32_t payload_size)
{
    struct kvs_stream_metrics *metrics = &stream->ledger.metrics;
    metrics->frames_put++;
    metrics->bytes_put += payload_size;
    metrics->frames_buffered++;
    metrics->bytes_buffered += payload_size;
}

/* Buffered frames that lie in no fragment are dropped, with one notice. Without frames: nothing. */
void ledger_drop(struct kvs_stream *stream, const struct loss *loss);
/* A buffered frame is dropped because no key frame came since the last edge. The first of a run is reported at once,
 * the rest when ledger_end_skip ends the run. */
void ledger_skip(struct kvs_stream *stream, uint64_t pts_hns, uint32_t size);
void ledger_end_skip(struct kvs_stream *stream);
/* Fragments from..to-1 are done; settled ones among them stay as they are. The oldest are forgotten at once, but for
 * those from `sending` on: a reader stands there. */
void ledger_done(struct kvs_stream *stream, uint64_t from, uint64_t to, uint64_t sending);
/* Returns enum ledger_event; 0: it was settled. */
uint32_t ledger_drop_fragment(struct kvs_stream *stream, uint64_t number, uint32_t reason);
void ledger_forget(struct kvs_stream *stream, uint64_t number); /* dropped, and not the oldest */
/* Settled fragments at the tail are forgotten, but for those from `sending` on, and memory that nothing needs goes;
 * with a notice when a put waits for room. 1 when fragments went since the last trim. */
int ledger_trim(struct kvs_stream *stream, uint64_t sending);

/* ---- lend.c: what readers have in their hands -------------------------------------------------------------------- */

/* Given back by the handle's next call, whether or not the core still knows it. The caller trims. */
int lend_return(struct kvs_stream *stream, uint64_t handle);                            /* 0: nothing was lent */
void lend_note(struct kvs_stream *stream, uint64_t handle, uint64_t from, uint64_t to); /* one more piece */
uint64_t lend_floor(const struct kvs_stream *stream);                   /* least chain offset lent; UINT64_MAX: none */
void lend_punch(struct kvs_stream *stream, uint64_t from, uint64_t to); /* slabs in [from, to) go, but those lent */

#endif

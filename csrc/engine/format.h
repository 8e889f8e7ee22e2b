/* format.h — a set of tracks as a session's header announces it: which tracks, with which codec private data.
 *
 * Immutable once made, but for the header. A stream keeps a list, oldest first; fragments name theirs by number, so a
 * repeated fragment goes out with the header that it was made for. A change (new codec private data, a track that falls
 * silent or comes back) appends a new one; a session carries fragments of one format only.
 *   Ownership  host memory; the stream's list owns them; all calls under the stream's lock. */
#ifndef KVS_ENGINE_FORMAT_H
#define KVS_ENGINE_FORMAT_H

#include "kvspic.h"
#include "media/cpd.h"
#include "media/mkv.h"

struct format {
    struct format *next; /* newer */
    uint32_t number;     /* 1 and up; given by the list */
    uint32_t content;    /* same for formats that differ in the mask only */
    uint32_t track_count, track_mask;
    uint32_t header_size;
    uint8_t *header; /* of a session of this format; made when the first one is read, then kept */
    struct kvs_mkv_track tracks[KVS_TRACKS_MAX]; /* pointers into bytes[] */
    uint8_t bytes[];
};

/* From a configuration that has passed validate.c.   KVS_E_NOMEM; media statuses of kvs_cpd_adapt */
kvs_status format_from_config(const struct kvs_host *host, const struct kvs_stream_config *config,
                              struct format **format_out);
/* Like `like`, with the codec private data of one track replaced (track UINT32_MAX: none) and with this mask. `cpd` is
 * adapted as `cpd_format` says.   KVS_E_NOMEM; media statuses of kvs_cpd_adapt */
struct format_change {
    const struct kvs_cpd_format *cpd_format;
    uint32_t track, mask, cpd_size;
    const uint8_t *cpd;
};
kvs_status format_make(const struct kvs_host *host, const struct format *like, const struct format_change *change,
                       struct format **format_out);
void format_free(const struct kvs_host *host, struct format *format);

#endif

/* pace.c — in which portions, and how fast, fragments leave for the service. Only where fragment_duration_min_hns is
 * set: without it each fragment goes out as it is, as soon as it can be read.
 *
 * The service takes 5 fragments a second of a stream, of 1 to 20 s each (developer guide, "Quotas"). A live stream
 * whose key frames are joined to fragments of 1 s or more (media/generator.h) never meets that. What waits behind an
 * outage or comes from a file would: so a reader that stands before a fragment which is complete already, while more
 * than BEHIND_COUNT wait or because it is too short, lets it continue in the cluster that runs, up to 10 s, and begins
 * at most one cluster in PACE_HNS.
 *
 * After a session that was refused (and where clusters are paced, after two that were lost) the next one sends a single
 * cluster, ends it with a tag, and goes on when that is done: what is refused again and again costs one fragment a
 * session, not all that fits into the buffers on the way. */
#include "engine/uploads.h"

#define PACE_HNS (210 * KVS_HNS_PER_MS)  /* a little more than a fifth of a second: clocks and networks are not exact */
#define BEHIND_COUNT 5u                  /* fragments that wait: more than what leaves in a second */
#define SHORT_HNS (990 * KVS_HNS_PER_MS) /* a second, but for rounding */
#define JOIN_MAX_HNS (10 * KVS_HNS_PER_SECOND)
#define JOIN_MAX_BYTES (32u << 20)

static uint64_t end_of(const struct kvs_stream *stream, uint64_t number)
{
    const struct kvs_view *view = &stream->view;
    if (number + 1 < view->fragment_head) return kvs_view_fragment(view, number + 1)->pts_hns;
    return view->end_hns;
}

/* The last frame of all may not say how long it lasts: as long as those before it. One frame alone: not known. */
static int is_short(const struct kvs_stream *stream, uint64_t number, uint64_t newest_end_hns)
{
    uint64_t pts_hns = kvs_view_fragment(&stream->view, number)->pts_hns;
    uint64_t length_hns = kvs_hns_sub(end_of(stream, number), pts_hns);
    if (length_hns == 0) return 0;
    if (number + 1 == stream->view.fragment_head)
        length_hns = kvs_hns_max(length_hns, kvs_hns_sub(newest_end_hns, pts_hns));
    return length_hns < SHORT_HNS;
}

static int must_probe(const struct kvs_stream *stream, const struct upload *upload)
{
    if (!stream->pace.is_probing || upload->has_probed || !upload->has_sent || !stream_waits_for_acks(stream)) return 0;
    return kvs_hns_max(upload->done_next, stream->view.fragment_tail) < upload->sent_next;
}

/* Without tags of its own before it, right behind the fragment that was sent last, and short enough. */
int pace_joins(const struct kvs_stream *stream, const struct upload *upload, uint64_t newest_end_hns)
{
    const struct kvs_view *view = &stream->view;
    const struct kvs_fragment *fragment = kvs_view_fragment(view, upload->at_fragment);
    if (stream->limits.fragment_duration_min_hns == 0 || !upload->has_sent || upload->has_end) return 0;
    if (upload->sent_next != upload->at_fragment || upload->at_fragment < stream->pace.join_from) return 0;
    if (must_probe(stream, upload)) return 0; /* what may be refused again is to be small */
    if (!(fragment->flags & KVS_FRAGMENT_CLOSED) || fragment->prefix_size != KVS_MKV_CLUSTER_SIZE) return 0;
    if (!is_short(stream, upload->at_fragment, newest_end_hns) &&
        view->fragment_head - upload->at_fragment <= BEHIND_COUNT)
        return 0;
    uint64_t begin_hns = upload->cluster_tc * stream->limits.scale_hns, end_hns = end_of(stream, upload->at_fragment);
    if (end_hns < begin_hns || end_hns - begin_hns > JOIN_MAX_HNS) return 0;
    uint64_t size = upload->cluster_bytes + kvs_view_fragment_bytes(view, upload->at_fragment);
    uint64_t size_max = stream->limits.fragment_size_max;
    return size <= (size_max != 0 ? kvs_hns_min(size_max, JOIN_MAX_BYTES) : JOIN_MAX_BYTES);
}

static int is_paced(const struct kvs_stream *stream)
{
    return stream->pace.is_slow || stream->limits.fragment_duration_min_hns != 0;
}

/* A reader is here: a wait that is over ends, also when what waited was dropped meanwhile. */
void pace_resume(struct upload *upload, uint64_t now_hns)
{
    if (upload->wait_until_hns == 0 || upload->wait_until_hns > now_hns) return;
    if (upload->is_probe) upload->has_probed = 1; /* no word for so long: go on */
    upload->wait_until_hns = 0;
    upload->is_probe = 0;
}

/* Whether the reader has to wait before it begins a cluster; then wait_until_hns says for how long at most. */
int pace_holds(struct kvs_stream *stream, struct upload *upload, uint64_t now_hns)
{
    if (upload->wait_until_hns > now_hns) return 1;
    if (must_probe(stream, upload)) {
        upload->is_probe = 1;
        upload->wait_until_hns = kvs_hns_add(now_hns, stream->client->backoff_cap_hns);
    } else if (is_paced(stream) && stream->pace.cluster_due_hns > now_hns) {
        upload->wait_until_hns = stream->pace.cluster_due_hns;
    }
    return upload->wait_until_hns != 0;
}

void pace_began(struct kvs_stream *stream, uint64_t now_hns)
{
    stream->pace.cluster_due_hns = kvs_hns_add(now_hns, PACE_HNS);
}

/* A fragment is done: what was held for it goes on. */
void pace_let_go(struct kvs_stream *stream)
{
    stream->pace.is_probing = 0;
    EACH_UPLOAD(stream, upload) {
        if (!upload->is_probe) continue;
        upload->is_probe = 0;
        upload->wait_until_hns = 0;
    }
}

uint64_t pace_next_deadline(const struct kvs_stream *stream)
{
    uint64_t least = KVS_TIME_NONE;
    EACH_UPLOAD(stream, upload) {
        if (!upload_is_live(upload) || upload->wait_until_hns == 0 || !upload->is_waiting) continue;
        least = kvs_hns_min(least, upload->wait_until_hns);
    }
    return least;
}

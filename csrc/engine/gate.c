/* gate.c — the end of a public call: the stream's next deadline is the least of all layers, and the host is woken when
 * that is earlier than it knows, or when there are actions. */
#include "engine/stream.h"

static void arm(struct kvs_stream *stream)
{
    uint64_t due_hns = kvs_hns_min(package_next_deadline(stream), machine_next_deadline(stream));
    heap_arm(stream, kvs_hns_min(due_hns, uploads_next_deadline(stream)));
}

void stream_unlock(struct kvs_stream *stream)
{
    arm(stream);
    stream_unlock_quiet(stream);
}

void stream_write_lock(struct kvs_stream *stream)
{
    kvs_host_lock(stream->host, stream->writer);
    stream_lock(stream);
}

void stream_write_unlock(struct kvs_stream *stream)
{
    const struct kvs_host *host = stream->host;
    arm(stream);
    int wake = stream->out.wants_wake;
    stream->out.wants_wake = 0;
    kvs_host_unlock(host, stream->lock);
    kvs_host_unlock(host, stream->writer);
    if (wake) kvs_host_wake(host);
}

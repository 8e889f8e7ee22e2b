/* The whole path once: client, stream, frames, session, ACKs, stop. Goal: a frame put is a frame persisted, and the
 * ledger says so at every step. */
#include "service.h"

static void test_a_frame_put_is_a_frame_persisted(void)
{
    struct service s;
    service_up(&s, NULL);
    struct kvs_stream *stream = service_open(&s, NULL);
    CHECK_STATE(stream, READY);
    CHECK_EQ(s.count[KVS_ACTION_DESCRIBE_STREAM], 1);
    CHECK_EQ(s.count[KVS_ACTION_PUT_MEDIA], 0);
    HELD("CS-11");
    service_put_fragments(&s, stream, 0, 3, 5);
    service_turn(&s);
    CHECK_EQ(s.count[KVS_ACTION_PUT_MEDIA], 1);
    CHECK_STATE(stream, STREAMING);
    struct session *session = newest(&s);
    struct mkv_seen seen = session_seen(session);
    CHECK_EQ(seen.cluster_count, 3);
    CHECK_EQ(seen.block_count, 15);
    CHECK_EQ(seen.header_count, 1);
    CHECK_EQ(seen.clusters[0].tc, T0 / KVS_HNS_PER_MS);
    CHECK_EQ(session->start_ms, T0 / KVS_HNS_PER_MS);
    mkv_forget(&seen);
    CHECK_EQ(service_persist(&s, session), 2);
    CHECK_EQ(metrics_of(stream).frames_done, 10);
    CHECK(service_drain(&s, stream));
    CHECK(session->is_over);
    CHECK_EQ(metrics_of(stream).frames_done, 15);
    CHECK_EQ(metrics_of(stream).store_used, 0);
    CHECK_EQ(s.done_frames, 15);
    service_free(&s, stream);
    service_down(&s);
}

int main(void)
{
    test_a_frame_put_is_a_frame_persisted();
    return CHECK_DONE();
}

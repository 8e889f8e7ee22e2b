"""An upload that breaks off after byte N. Goal: for every N, exactly the fragments that were whole by then are kept."""

from unit.local import mkv_bytes as mkv

from kvspic.local.model import Service
from kvspic.local.put_session import Phase
from kvspic.local.records import KeepFragment, SendAck
from kvspic.local.settings import Settings

NOW = 17_000_000_000_000_000
HEADS = {
    "x-amzn-stream-name": "cam",
    "x-amzn-fragment-timecode-type": "ABSOLUTE",
    "x-amzn-producer-start-timestamp": "0",
}
PARTS = [mkv.header(), mkv.cluster(1000), mkv.END, mkv.cluster(2000), mkv.tags(("a", "b")), mkv.cluster(3000)]
BODY = b"".join(PARTS) + mkv.END
# The byte at which each fragment is known to be whole: the end of the tag, of the next Cluster's Timestamp, of the tag.
CLUSTER_HEAD_SIZE = len(mkv.cluster(3000)) - len(mkv.block())
WHOLE_AT = [len(b"".join(PARTS[:3])), len(b"".join(PARTS[:5])) + CLUSTER_HEAD_SIZE, len(BODY)]


def test_a_cut_after_each_byte_keeps_what_was_whole_and_acknowledges_nothing_more():
    service = Service(Settings.unlimited())
    service.call("CreateStream", {"StreamName": "cam", "DataRetentionInHours": 1}, NOW)
    for size in range(len(BODY) + 1):
        session = service.open_put(HEADS, NOW)
        effects = session.feed(BODY[:size], NOW)
        assert session.cut() == []
        kept = [effect.fragment.timecode for effect in effects if isinstance(effect, KeepFragment)]
        events = [effect.ack.event for effect in effects if isinstance(effect, SendAck)]
        assert kept == [1000, 2000, 3000][: sum(size >= place for place in WHOLE_AT)]
        assert events.count("RECEIVED") == len(kept)
        assert set(events) <= {"BUFFERING", "RECEIVED"}
        assert session.phase is Phase.CLOSED
        assert session.end_of_body(NOW) == []

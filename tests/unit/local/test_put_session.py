"""A PutMedia session of the model. Goal: each rule of the service about a body has its ACK, at the time that is given,
and nothing is stored that was not whole."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.local import mkv_bytes as mkv

from kvspic.local.acks import AckError
from kvspic.local.errors import ServiceError
from kvspic.local.mkv_reader import read_all
from kvspic.local.model import Service, fragment_counter
from kvspic.local.put_session import Phase
from kvspic.local.quotas import Quotas
from kvspic.local.records import CloseSession, KeepFragment, KeepHeader, SendAck
from kvspic.local.settings import Settings
from kvspic.units import HNS_PER_MS, HNS_PER_S

NOW = 1_700_000_000 * HNS_PER_S
T = 1_600_000_000_000


class Session:
    """A session of a new stream, with a clock of its own and a store that is durable when the test says so."""

    def __init__(self, settings=None, retention=24, absolute=True, start="0"):
        self.now = NOW
        self.service = Service(settings or Settings.unlimited())
        request = {"StreamName": "cam", "DataRetentionInHours": retention}
        self.arn = self.service.call("CreateStream", request, self.now)["StreamARN"]
        self.core = self.service.open_put(heads(absolute, start), self.now)
        self.kept, self.closed = [], None

    def seen(self, effects):
        """Apply the effects; return the ACKs among them as short texts."""
        found = []
        for effect in effects:
            assert self.closed is None
            if isinstance(effect, SendAck):
                ack = effect.ack
                found.append(f"{ack.event} {int(ack.error)}" if ack.error else ack.event)
            elif isinstance(effect, KeepFragment):
                self.kept.append(effect.fragment)
            elif isinstance(effect, CloseSession):
                self.closed = effect
        return found

    def feed(self, data):
        return self.seen(self.core.feed(data, self.now))

    def end(self):
        return self.seen(self.core.end_of_body(self.now))

    def stored(self, index=-1):
        return self.seen(self.core.stored(self.kept[index].number, self.now))

    def wait(self, seconds):
        self.now += int(seconds * HNS_PER_S)
        return self.seen(self.core.tick(self.now))


def heads(absolute=True, start="0"):
    return {
        "x-amzn-stream-name": "cam",
        "x-amzn-fragment-timecode-type": "ABSOLUTE" if absolute else "RELATIVE",
        "x-amzn-producer-start-timestamp": start,
    }


def test_a_fragment_is_buffering_received_and_persisted_in_its_time():
    session = Session()
    assert session.feed(mkv.header()) == []
    assert session.feed(mkv.cluster(T)) == ["BUFFERING"]
    assert session.kept == []
    assert session.feed(mkv.cluster(T + 1000)) == ["RECEIVED", "BUFFERING"]
    assert session.stored() == ["PERSISTED"]
    assert session.feed(mkv.END) == ["RECEIVED"]
    assert session.end() == []
    assert session.core.phase is Phase.DRAINING
    assert session.stored() == ["PERSISTED"]
    assert session.closed == CloseSession(is_error=False)


def test_a_kept_fragment_is_the_bytes_of_its_cluster_with_its_tags_and_times():
    data = mkv.header() + mkv.tags(("a", "b")) + mkv.cluster(T, mkv.block(0), mkv.block(400)) + mkv.END
    session = Session()
    session.feed(data)
    kept = session.kept[0]
    assert data[kept.offset : kept.offset + kept.size] == mkv.cluster(T, mkv.block(0), mkv.block(400))
    ((offset, size),) = kept.tags
    assert data[offset : offset + size] == mkv.tags(("a", "b"))
    assert (kept.producer_hns, kept.server_hns) == (T * HNS_PER_MS, NOW)
    assert kept.duration_hns == 800 * HNS_PER_MS


def test_the_header_is_kept_before_the_first_fragment():
    effects = Session().core.feed(mkv.body(1), NOW)
    kinds = [type(effect) for effect in effects]
    assert kinds.index(KeepHeader) < kinds.index(KeepFragment)


def test_numbers_have_47_digits_grow_and_hold_the_servers_time():
    session = Session()
    session.feed(mkv.body(5))
    numbers = [fragment.number for fragment in session.kept]
    assert {len(number) for number in numbers} == {47}
    assert [int(number) for number in numbers] == sorted({int(number) for number in numbers})
    assert [fragment_counter(number) for number in numbers] == [1, 2, 3, 4, 5]
    assert int(numbers[0]) >> 28 & (2**64 - 1) == NOW // HNS_PER_MS


def test_without_retention_nothing_is_persisted_and_the_end_waits_for_nothing():
    session = Session(retention=0)
    assert session.feed(mkv.body(1)) == ["BUFFERING", "RECEIVED"]
    assert len(session.kept) == 1
    assert session.end() == []
    assert session.closed == CloseSession(is_error=False)


def many_tags(count, name="t"):
    return mkv.tags(*[(f"{name}{i}", "v") for i in range(count)])


NOTIFY = ("AWS_KINESISVIDEO_NOTIFICATION", "")
RULES = {
    "not Matroska": (b"GIF89a..........", ["ERROR 4006"]),
    "two documents": (mkv.body(1) + mkv.body(1), ["BUFFERING", "RECEIVED", "ERROR 4006"]),
    "lacing": (mkv.header() + mkv.cluster(T, mkv.block(flags=0x82)), ["BUFFERING", "ERROR 4006"]),
    "no track": (
        mkv.ebml() + mkv.segment_head() + mkv.element("1654AE6B", b"") + mkv.cluster(T), ["ERROR 4006"]),
    "four tracks": (mkv.header(1, 2, 3, 4) + mkv.cluster(T), ["ERROR 4012"]),
    "other track": (mkv.header(1) + mkv.cluster(T, mkv.block(number=2)), ["BUFFERING", "ERROR 4010"]),
    "missing track": (mkv.header(1, 2) + mkv.cluster(T) + mkv.END, ["BUFFERING", "ERROR 4011"]),
    "same cluster time": (
        mkv.header() + mkv.cluster(T) + mkv.cluster(T), ["BUFFERING", "RECEIVED", "ERROR 4004"]),
    "frame at the last time of the fragment before": (
        mkv.header() + mkv.cluster(T, mkv.block(0), mkv.block(1000)) + mkv.cluster(T + 1000),
        ["BUFFERING", "RECEIVED", "BUFFERING", "ERROR 4004"]),
    "leading picture before the last frame": (
        mkv.header() + mkv.cluster(T, mkv.block(0), mkv.block(960))
        + mkv.cluster(T + 1000, mkv.block(0), mkv.block(-40)),
        ["BUFFERING", "RECEIVED", "BUFFERING", "ERROR 4004"]),
    "over 20 s": (mkv.header() + mkv.cluster(T, mkv.block(0), mkv.block(20001)), ["BUFFERING", "ERROR 4002"]),
    "time past all calendars": (mkv.header() + mkv.cluster(2**62), ["ERROR 4007"]),
    "eleven tags": (mkv.header() + many_tags(11) + mkv.cluster(T), ["ERROR 4009"]),
    "eleven tags in two": (mkv.header() + many_tags(6) + many_tags(5, "u") + mkv.cluster(T), ["ERROR 4009"]),
    "reserved name": (mkv.header() + mkv.tags(("AWS_MINE", "")) + mkv.cluster(T), ["ERROR 4009"]),
    "long tag name": (mkv.header() + mkv.tags(("n" * 129, "")) + mkv.cluster(T), ["ERROR 4009"]),
    "long tag value": (mkv.header() + mkv.tags(("n", "v" * 257)) + mkv.cluster(T), ["ERROR 4009"]),
    "event with eleven pairs": (
        mkv.header() + mkv.tags(NOTIFY, *[(f"t{i}", "") for i in range(11)]) + mkv.cluster(T), ["ERROR 4009"]),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_each_broken_rule_has_its_error_and_ends_the_session(name):
    data, acks = RULES[name]
    session = Session()
    assert session.feed(data) == acks
    assert session.closed == CloseSession(is_error=True)
    assert (session.feed(b"x"), session.end(), session.wait(60)) == ([], [], [])
    bytewise = Session()
    assert [ack for i in range(len(data)) for ack in bytewise.feed(data[i : i + 1])] == acks


ALLOWED = {
    "negative block time after a gap": mkv.cluster(T) + mkv.cluster(T + 1000, mkv.block(0), mkv.block(-40)) + mkv.END,
    "frames that go back": mkv.cluster(T, mkv.block(0), mkv.block(80), mkv.block(40)) + mkv.END,
    "exactly 20 s": mkv.cluster(T, mkv.block(0), mkv.block(20000)) + mkv.END,
    "ten tags and an event with ten pairs": (
        many_tags(10) + mkv.tags(NOTIFY, *[(f"t{i}", "") for i in range(10)]) + mkv.cluster(T) + mkv.END),
    "tags of longest size": mkv.tags(("n" * 128, "v" * 256)) + mkv.cluster(T) + mkv.END,
    "block group": mkv.cluster(T, mkv.group(0)) + mkv.END,
    "known cluster size": mkv.cluster(T, known=True) + mkv.END,
    "end tag twice": mkv.cluster(T) + mkv.END + mkv.END,
    "time zero": mkv.cluster(0) + mkv.END,
}  # fmt: skip


@pytest.mark.parametrize("name", ALLOWED)
def test_what_the_service_allows_is_received(name):
    session = Session()
    assert session.feed(mkv.header() + ALLOWED[name])[-1] == "RECEIVED"
    assert session.closed is None


def test_other_tags_do_not_complete_a_fragment():
    session = Session()
    session.feed(mkv.header() + mkv.cluster(T))
    assert session.feed(mkv.tags(("a", "b"))) == []
    assert session.feed(mkv.cluster(T + 1000)) == ["RECEIVED", "BUFFERING"]
    session.feed(mkv.END)
    assert [len(fragment.tags) for fragment in session.kept] == [0, 1]


def test_a_fragment_over_the_size_limit_is_refused_while_it_comes():
    session = Session(Settings.unlimited(fragment_size_max=1000))
    head = mkv.header() + mkv.cluster(T, b"\xa3" + mkv.size(1 << 40) + mkv.block_body(1, 0, 0x80, b""))
    assert session.feed(head) == ["BUFFERING"]
    assert session.feed(bytes(1000)) == ["ERROR 4001"]
    at_once = Session(Settings.unlimited(fragment_size_max=1000))
    assert at_once.feed(mkv.body(1, payload=bytes(1000)))[-1] == "ERROR 4001"


def test_a_header_without_end_is_refused():
    session = Session(Settings.unlimited(header_size_max=1000))
    head = mkv.ebml() + mkv.segment_head() + bytes.fromhex("EC") + mkv.size(1 << 40)
    assert session.feed(head) == []
    assert session.feed(bytes(1000)) == ["ERROR 4006"]


def test_an_error_names_its_fragment():
    session = Session()
    effects = session.core.feed(mkv.header() + mkv.cluster(T, mkv.block(number=2)), NOW)
    buffering, error = [effect.ack for effect in effects if isinstance(effect, SendAck)]
    assert (error.timecode, error.number, error.error) == (T, buffering.number, AckError.TRACK_NUMBER_MISMATCH)


def test_a_body_that_ends_inside_a_frame_is_not_kept():
    session = Session()
    session.feed(mkv.header() + mkv.cluster(T)[:-1])
    assert session.end() == ["ERROR 4006"]
    assert session.kept == []


def test_a_cut_body_says_nothing_and_keeps_what_was_whole():
    session = Session()
    session.feed(mkv.header() + mkv.cluster(T) + mkv.END + mkv.cluster(T + 1000))
    assert session.core.cut() == []
    assert len(session.kept) == 1
    assert session.stored() == []


def test_relative_time_adds_the_start_and_keeps_the_acks_number_raw():
    session = Session(absolute=False, start="1600000000.25")
    effects = session.core.feed(mkv.header(scale=100_000) + mkv.cluster(10) + mkv.END, NOW)
    assert effects[1].ack.timecode == 10
    session.seen(effects)
    assert session.kept[0].producer_hns == (T + 250) * HNS_PER_MS + 10 * 1000


def test_idle_acks_come_at_their_interval_and_data_starts_it_again():
    session = Session()
    session.feed(mkv.header())
    assert session.core.deadline_hns == NOW + 5 * HNS_PER_S
    assert [session.wait(1) for _ in range(6)] == [[], [], [], [], ["IDLE"], []]
    session.feed(mkv.cluster(T))
    assert session.wait(4.9) == []
    assert session.wait(0.1) == ["IDLE"]


def test_a_session_without_data_is_closed_and_its_open_fragment_dropped():
    session = Session()
    session.feed(mkv.header() + mkv.cluster(T))
    assert session.wait(30) == []
    assert session.closed == CloseSession(is_error=False)
    assert session.kept == []
    assert session.core.deadline_hns is None


def test_an_old_session_is_ended_with_an_error():
    session = Session(Settings.unlimited(session_age_max_hns=60 * HNS_PER_S))
    for i in range(5):
        session.feed((mkv.header() if i == 0 else b"") + mkv.cluster(T + i * 1000))
        session.wait(10)
    session.feed(mkv.END)
    assert session.wait(10) == ["ERROR 4003"]


def test_persisted_waits_for_the_delay_that_was_set():
    session = Session(Settings.unlimited(persist_delay_hns=HNS_PER_S))
    session.feed(mkv.body(1))
    assert session.stored() == []
    session.end()
    assert session.core.deadline_hns == NOW + HNS_PER_S
    assert session.wait(1) == ["PERSISTED"]
    assert session.closed == CloseSession(is_error=False)


def test_a_fragment_that_cannot_be_stored_is_an_archival_error():
    session = Session()
    session.feed(mkv.body(1))
    assert session.seen(session.core.store_failed(session.kept[0].number, NOW)) == ["ERROR 5001"]
    assert session.closed == CloseSession(is_error=True)


def test_deleting_the_stream_ends_the_session():
    session = Session()
    session.feed(mkv.header() + mkv.cluster(T))
    session.service.call("DeleteStream", {"StreamARN": session.arn}, NOW)
    session.service.call("CreateStream", {"StreamName": "cam"}, NOW + 1)
    assert session.wait(0) == ["ERROR 4008"]


def test_connections_are_limited_where_a_limit_is_set():
    session = Session(Settings.unlimited(quotas=Quotas(sessions_max=1)))
    with pytest.raises(ServiceError) as caught:
        session.service.open_put(heads(), NOW)
    assert caught.value.name == "ConnectionLimitExceededException"
    session.core.cut()
    session.service.open_put(heads(), NOW)


@settings(deadline=None)  # the machine may be busy; time says nothing here
@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
def test_any_bytes_end_in_effects_and_at_most_one_error(data, cut):
    data = mkv.header() + mkv.cluster(T) + data
    session = Session()
    acks = session.feed(data[:cut]) + session.feed(data[cut:]) + session.end()
    assert sum(ack.startswith("ERROR") for ack in acks) <= 1
    assert acks.count("RECEIVED") == len(session.kept)
    assert all(fragment.offset + fragment.size <= len(data) for fragment in session.kept)
    assert all(read_all(data[: fragment.offset + fragment.size]) for fragment in session.kept)

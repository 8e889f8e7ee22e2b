"""Fuzzing of what strangers send to the local endpoint, by Atheris: Matroska, signatures, JSON bodies and page tokens.

Usage, from the project's root: python tests/fuzz/fuzz_endpoint.py mkv|sigv4|json|tokens [-max_total_time=60 CORPUS ...]
The seeds are made here, of the bytes that the unit tests send. Every input must end with the documented answer: events
or one Problem, an answer that is JSON, or a ServiceError. Anything else is an exception that ends the run, with the
input in a file.
"""

from __future__ import annotations

import base64
import json
import random
import shutil
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["kvspic.local"]):
    from kvspic.local import app, sigv4
    from kvspic.local.documents import missing_fragment_tags
    from kvspic.local.errors import ServiceError
    from kvspic.local.hub import Hub
    from kvspic.local.media_out import MediaOut
    from kvspic.local.mkv_events import Problem
    from kvspic.local.mkv_reader import UPLOAD_LIMITS, MkvReader, read_all
    from kvspic.local.model import Service
    from kvspic.local.playback import Playback
    from kvspic.local.records import KeepFragment, SendAck
    from kvspic.local.settings import Settings
    from kvspic.local.store import Store
    from kvspic.local.streams import StreamRecord
    from kvspic.units import HNS_PER_S

from unit.local import mkv_bytes as mkv

NOW = 1_600_000_000 * HNS_PER_S
SETTINGS = Settings.unlimited()
KEYS = {"AKIDEXAMPLE": "not-a-secret-of-anyone"}
HEADS = {
    "x-amzn-stream-name": "cam",
    "x-amzn-fragment-timecode-type": "ABSOLUTE",
    "x-amzn-producer-start-timestamp": "0",
}


def new_service() -> Service:
    """A service with one stream."""
    service = Service(SETTINGS)
    service.call("CreateStream", {"StreamName": "cam", "DataRetentionInHours": 24, "Tags": {"a": "b"}}, NOW)
    return service


# Matroska: the same events wherever the bytes are cut and however long a slice is, and what a session keeps was sent.


def mkv_seeds() -> list[bytes]:
    """Bodies as the unit tests send them, with a byte that says how they are cut."""
    group = mkv.header() + mkv.cluster(1000, mkv.group(0, b"frame", mkv.uint("9B", 40)), known=True)
    events = mkv.tags(("AWS_KINESISVIDEO_NOTIFICATION", ""), ("place", "door"))
    parts = [mkv.body(2), mkv.header(1, 2) + events + mkv.cluster(5, mkv.block(), mkv.block(3, b"x", 2)), group]
    return [
        bytes([cut]) + part for cut in (1, 7, 64) for part in [*parts, missing_fragment_tags("5", is_damaged=False)]
    ]


def fuzz_mkv(data: bytes) -> None:
    """Feed a body whole, in pieces and to a session."""
    if not data:
        return
    step, body = data[0] or 256, data[1:]
    whole = MkvReader(limits=UPLOAD_LIMITS)
    expected = whole.feed(body) + whole.close()
    cut = MkvReader(limits=UPLOAD_LIMITS)
    cut.slice_max = 1 + step % 5
    found = []
    for start in range(0, len(body), step):
        found += cut.feed(body[start : start + step])
        while cut.has_more:
            found += cut.feed(b"")
    found += cut.close()
    if found != expected:
        raise AssertionError(f"cut at {step}: {found} instead of {expected}")
    if any(isinstance(event, Problem) for event in expected[:-1]):
        raise AssertionError("events after a Problem")
    read_all(body)
    session = new_service().open_put(HEADS, NOW)
    effects = session.feed(body, NOW) + session.tick(NOW + HNS_PER_S) + session.end_of_body(NOW)
    for effect in effects:
        if isinstance(effect, SendAck):
            json.loads(effect.ack.line())
        elif isinstance(effect, KeepFragment):
            ranges = [(effect.fragment.offset, effect.fragment.size), *effect.fragment.tags]
            if not all(0 <= offset <= offset + size <= len(body) for offset, size in ranges):
                raise AssertionError(f"{effect} points outside of the body")


# Signatures: a request that was not signed is refused, whatever it says.


def sigv4_seeds() -> list[bytes]:
    """Requests as lines: method, path, query, headers; then the body."""
    scope = "AKIDEXAMPLE/20200913/us-east-1/kinesisvideo/aws4_request"
    signature = "0" * 64
    fields = f"Credential={scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
    head = f"host:x\nx-amz-date:20200913T122640Z\nauthorization:AWS4-HMAC-SHA256 {fields}"
    query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope.replace('/', '%2F')}&X-Amz-Date=20200913T122640Z"
    query += f"&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"
    return [f"POST\n/describeStream\n\n{head}\n\n{{}}".encode(), f"GET\n/x\n{query}\nhost:x\n\n".encode()]


def fuzz_sigv4(data: bytes) -> None:
    """Check a signature that cannot be right."""
    head, _, body = data.partition(b"\n\n")
    lines = head.decode("utf-8", "surrogateescape").split("\n")
    method, path, query, *headers = [*lines, "", "", ""]
    pairs = [line.partition(":") for line in headers]
    request = sigv4.SignedRequest(method, path, query, {name.lower(): value for name, _, value in pairs}, body)
    region = sigv4.signing_region(request)
    if region is not None and not 1 <= len(region) <= 32:
        raise AssertionError(f"the region {region}")
    try:
        sigv4.verify(request, KEYS, NOW / HNS_PER_S)
    except ServiceError as error:
        if KEYS["AKIDEXAMPLE"] in error.message:
            raise AssertionError("a secret in a message") from error
        return
    raise AssertionError("a request was accepted that nothing signed")


# JSON bodies and tokens: every operation, against a store with two fragments.


class _Hub(Hub):
    """Asks the store at once: no loop is needed."""

    async def ask(self, work):
        return work()


class _Response:
    async def write(self, data):
        """Take what is sent."""


def _now(coroutine):
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


class Endpoint:
    """The parts of the endpoint below HTTP."""

    def __init__(self, folder: Path) -> None:
        service, store = new_service(), Store(folder)
        self.record = next(iter(service.streams.changed.values())).to_dict()
        self.arn = self.record["arn"]
        store.save_stream(self.record)
        session, file, body = service.open_put(HEADS, NOW), store.open_session(1), mkv.body(2)
        store.append(file, [body])
        for effect in session.feed(body, NOW) + session.end_of_body(NOW):
            if isinstance(effect, KeepFragment):
                store.keep_fragment(file, effect.fragment)
                self.number = effect.fragment.number
            elif not isinstance(effect, SendAck) and hasattr(effect, "header"):
                store.keep_header(file, effect.header)
        store.close()
        self.hub = _Hub(service, Store(folder), lambda: NOW, lambda: NOW / HNS_PER_S)
        media, playback = MediaOut(self.hub, 0), Playback(self.hub)
        self.calls = {
            "ListFragments": media.list_fragments,
            "GetMedia": media.start_of,
            "GetMediaForFragmentList": self._list,
            "GetHLSStreamingSessionURL": lambda body: playback.hls_url(body, "http://x"),
            "GetDASHStreamingSessionURL": lambda body: playback.dash_url(body, "http://x"),
            "GetClip": playback.clip,
            "GetImages": playback.images,
        }
        self.media = media
        self.operations = sorted({*self.calls, "GetDataEndpoint", *service.operations})

    async def _list(self, body):
        _, rows = await self.media.listed_rows(body)
        await self.media.send_list(_Response(), rows)

    def call(self, operation: str, body: dict) -> None:
        """Answer one request from the state at the start."""
        service = self.hub.service = Service(SETTINGS)
        service.streams.restore([dict(self.record)], 2)
        try:
            if operation in self.calls:
                _now(self.calls[operation](body))
            elif operation == "GetDataEndpoint":
                service.get_data_endpoint(body, "http://x", NOW)
            else:
                json.dumps(service.call(operation, body, NOW))
        except ServiceError as error:
            error.message.encode()
        for stream in service.streams.all():
            StreamRecord(**json.loads(json.dumps(stream.to_dict())))


def json_seeds() -> list[bytes]:
    """The name of an operation and a body that it takes."""
    span = {"StartTimestamp": 1_500_000_000, "EndTimestamp": 1_700_000_000.5}
    selector = {"FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": span}
    tags = [{"Key": "a", "Value": "b"}]
    pictures = {
        "Status": "ENABLED", "ImageSelectorType": "PRODUCER_TIMESTAMP", "DestinationConfig": {"Uri": "s3://b/x"},
        "SamplingInterval": 3000, "Format": "JPEG", "FormatConfig": {"JPEGQuality": "80"}, "WidthPixels": 64,
    }  # fmt: skip
    bodies = {
        "GetMedia": {"StartSelector": {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": "1"}},
        "ListFragments": {"FragmentSelector": selector, "MaxResults": 1},
        "GetMediaForFragmentList": {"Fragments": ["1", ENDPOINT.number]},
        "GetHLSStreamingSessionURL": {"PlaybackMode": "ON_DEMAND", "HLSFragmentSelector": selector, "Expires": 300},
        "GetDASHStreamingSessionURL": {"PlaybackMode": "LIVE_REPLAY", "DASHFragmentSelector": selector},
        "GetClip": {"ClipFragmentSelector": selector},
        "GetImages": {"ImageSelectorType": "PRODUCER_TIMESTAMP", "Format": "JPEG", **span, "SamplingInterval": 3000},
        "CreateStream": {"DataRetentionInHours": 2, "MediaType": "video/h264", "Tags": {"a": "b"}},
        "UpdateDataRetention": {"CurrentVersion": "x", "Operation": "INCREASE_DATA_RETENTION",
                                "DataRetentionChangeInHours": 1},
        "ListStreams": {"MaxResults": 1, "StreamNameCondition": {
            "ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "c"}},
        "TagStream": {"Tags": {"a": "b"}},
        "TagResource": {"ResourceARN": ENDPOINT.arn, "Tags": tags},
        "UntagStream": {"TagKeyList": ["a"]},
        "UpdateImageGenerationConfiguration": {"ImageGenerationConfiguration": pictures},
        "GetDataEndpoint": {"APIName": "PUT_MEDIA"},
    }  # fmt: skip
    return [_line(name, {"StreamName": "cam", **bodies.get(name, {})}) for name in ENDPOINT.operations]


def _line(operation: str, body: object) -> bytes:
    return f"{operation}\n{json.dumps(body)}".encode()


def fuzz_json(data: bytes) -> None:
    """Call the operation that the first line names with the rest as its body."""
    name, _, text = data.partition(b"\n")
    operation = name.decode("latin-1")
    if operation not in ENDPOINT.operations:
        operation = ENDPOINT.operations[len(data) % len(ENDPOINT.operations)]
    try:
        body = app._json_object(text)
    except ServiceError:
        return
    ENDPOINT.call(operation, body)


VALUES = (
    None, True, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e-300, 1e18, 1e308, float("nan"), float("inf"),
    "", "a", "\0", "\ud800", "ä" * 300, "0", "1" * 128, "٣", "cam", [], {}, [[]], [None] * 60, {"": ""},
    {"a": {"a": []}},
)  # fmt: skip


def _changed(value: object, rng: random.Random) -> object:
    """The value with one of its nodes replaced, removed or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        rest = {name: one for name, one in value.items() if name != key}
        return rest if rng.random() < 0.1 else {**rest, key: _changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        return value[:at] + [_changed(value[at], rng)] * rng.choice((0, 1, 1, 2)) + value[at + 1 :]
    if isinstance(value, str) and value and rng.random() < 0.3:
        at = rng.randrange(len(value))
        return value[:at] + chr(rng.choice((0, 32, 47, 58, 65, 122, 233, 0x660, 0xD800, 0x1F600))) + value[at + 1 :]
    if isinstance(value, (int, float)) and rng.random() < 0.3:
        return value + rng.choice((-1, 1))
    return rng.choice(VALUES)


def mutate_json(data: bytes, max_size: int, seed: int) -> bytes:
    """Change a body as JSON; sometimes as bytes."""
    rng = random.Random(seed)
    name, _, text = data.partition(b"\n")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if body is None or rng.random() < 0.1:
        return atheris.Mutate(data, max_size)
    for _ in range(rng.choice((1, 1, 2, 4))):
        body = _changed(body, rng)
    return (name + b"\n" + json.dumps(body).encode())[:max_size]


def token_seeds() -> list[bytes]:
    """The inside of tokens as they are given out: ListFragments, GetImages, ListStreams."""
    return [b'0["PRODUCER_TIMESTAMP", 0, 9999999999, 5, 1]', b"1123456789", b"2cam", b"3" + ENDPOINT.number.encode()]


def fuzz_tokens(data: bytes) -> None:
    """Ask for a page with a token as it is, and with one that is written as ours are."""
    kind, inside = data[:1], data[1:]
    for token in (inside.decode("utf-8", "replace"), base64.b64encode(inside).decode()):
        span = {"StartTimestamp": 1_500_000_000, "EndTimestamp": 1_700_000_000, "NextToken": token}
        if kind == b"0":
            ENDPOINT.call("ListFragments", {"StreamName": "cam", "NextToken": token})
        elif kind == b"1":
            options = {"ImageSelectorType": "PRODUCER_TIMESTAMP", "Format": "JPEG", "MaxResults": 1}
            ENDPOINT.call("GetImages", {"StreamName": "cam", **span, **options})
        elif kind == b"2":
            for operation in ("ListStreams", "ListTagsForStream", "ListSignalingChannels"):
                ENDPOINT.call(operation, {"StreamName": "cam", "NextToken": token})
        else:
            selector = {"StartSelectorType": "CONTINUATION_TOKEN", "ContinuationToken": token}
            ENDPOINT.call("GetMedia", {"StreamName": "cam", "StartSelector": selector})


def mutate_token(data: bytes, max_size: int, seed: int) -> bytes:
    """Change the inside of a token as JSON, or as bytes."""
    if seed % 2:
        return atheris.Mutate(data, max_size)
    return (data[:1] + mutate_json(b"\n" + data[1:], max_size, seed)[1:])[:max_size]


TARGETS = {
    "mkv": (fuzz_mkv, mkv_seeds, None),
    "sigv4": (fuzz_sigv4, sigv4_seeds, None),
    "json": (fuzz_json, json_seeds, mutate_json),
    "tokens": (fuzz_tokens, token_seeds, mutate_token),
}


def main() -> None:
    """Fuzz the target that the first argument names."""
    one, seeds, mutator = TARGETS[NAME]
    folder = SCRATCH / "seeds"
    folder.mkdir(parents=True)
    for count, seed in enumerate(seeds()):
        (folder / f"seed-{count}").write_bytes(seed)
        one(seed)
    corpora = [argument for argument in sys.argv[2:] if not argument.startswith("-")]
    flags = [argument for argument in sys.argv[2:] if argument.startswith("-")]
    atheris.Setup([sys.argv[0], *flags, *corpora, str(folder)], one, custom_mutator=mutator)
    atheris.Fuzz()  # it ends the process


if __name__ == "__main__":
    NAME = sys.argv[1]
    SCRATCH = Path("build/fuzz") / f"scratch-{NAME}"
    shutil.rmtree(SCRATCH, ignore_errors=True)
    if NAME in ("json", "tokens"):
        ENDPOINT = Endpoint(SCRATCH / "store")
    main()

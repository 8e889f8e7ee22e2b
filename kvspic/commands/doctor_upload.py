"""The upload of ``kvspic doctor``: seconds of test pattern to a stream, every ACK of every fragment, and the way back.

This is what no test without an account can see: that the service of today takes what this version sends. The stream
must exist; its other media is left alone, because only the fragments whose numbers came with our ACKs are fetched.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from kvspic import errors
from kvspic.actions import AckReceived, AckType, ConnectionBusy, ErrorAck, Event, StreamFailed
from kvspic.commands.doctor_checks import ASK_ALLOW, Service
from kvspic.commands.doctor_findings import Report, cause_and_remedy
from kvspic.commands.exits import ExitCode
from kvspic.commands.media_log import MediaLog, compare, read_joined
from kvspic.commands.result import UploadResult
from kvspic.commands.upload import Upload, UploadPlan
from kvspic.join import Joiner, JoinError
from kvspic.provider.control import FragmentInfo
from kvspic.provider.results import ServiceError
from kvspic.sources import Source, SourceError, open_source
from kvspic.units import HNS_PER_S

__all__ = ["Sent", "check_way_back", "upload_pattern"]

WANTED = (AckType.BUFFERING, AckType.RECEIVED, AckType.PERSISTED)
LISTED_S = 15.0  # ListFragments may know a fragment some seconds after its ACK
LOOK_S = 1.0
SPEED = 1.0  # the pace of a camera


@dataclass
class Sent:
    """What an upload put, and what the service said about it."""

    put: MediaLog = field(default_factory=MediaLog)
    acks: dict[str, set[AckType]] = field(default_factory=lambda: defaultdict(set))  # by fragment number
    errors: list[ErrorAck] = field(default_factory=list)
    failure: StreamFailed | None = None
    is_busy: bool = False
    keeps_media: bool = True

    @property
    def persisted(self) -> list[str]:
        """Numbers of the fragments that the service says it has, oldest first."""
        return sorted((number for number, seen in self.acks.items() if AckType.PERSISTED in seen), key=int)

    def take(self, event: Event) -> None:
        """Note an event of the stream."""
        if isinstance(event, AckReceived) and event.number:
            self.acks[event.number].add(event.type)
        elif isinstance(event, ErrorAck):
            self.errors.append(event)
        elif isinstance(event, ConnectionBusy):
            self.is_busy = True
        elif isinstance(event, StreamFailed):
            self.failure = event


def upload_pattern(report: Report, service: Service, seconds: float, *, keeps_media: bool) -> Sent | None:
    """Upload a test pattern at its own pace; None where nothing useful was sent."""
    try:
        source = open_source(f"testsrc:duration={seconds:g},gop=50")
    except SourceError as error:
        report.fail("upload", *cause_and_remedy(error), ExitCode.USAGE)
        return None
    with source:
        sent, result = _upload(source, service)
    sent.keeps_media = keeps_media
    if sent.is_busy:
        text = "the service counted another connection of the stream, and refused a second one at first"
        report.warn("connections", text, "end the other producer of this stream, or give each its own")
    failure = result.failure()
    latency = "" if result.ack_persisted_ms_p50 is None else f", PERSISTED after {result.ack_persisted_ms_p50:.0f} ms"
    text = (
        f"{result.frames_persisted} of {result.frames_offered} frames done in {result.fragments_persisted} fragments, "
        f"{result.bytes_sent} bytes in {result.seconds:.1f} s{latency}"
    )
    if failure is None:
        report.ok("upload", text)
    else:
        why, remedy = cause_and_remedy(failure)
        _fail_upload(report, sent, f"{text}. {why}", remedy, failure.code)
    _check_acks(report, sent)
    return sent if sent.acks else None


def _fail_upload(report: Report, sent: Sent, text: str, remedy: str, code: ExitCode) -> None:
    failure = sent.failure
    if failure is not None:
        text = f"{text}. The stream failed: {failure.cause}"
        kind = errors.BY_STATUS.get(failure.status, errors.InternalError)
        if issubclass(kind, errors.NotAuthorizedError):
            remedy, code = ASK_ALLOW.format("PutMedia"), ExitCode.REFUSED
    report.fail("upload", text, remedy, code)


def _upload(source: Source, service: Service) -> tuple[Sent, UploadResult]:
    sent = Sent()
    tracks = {track.number: track for track in source.tracks}
    plane = service.plane
    plan = UploadPlan(
        source, service.stream, endpoint_url=plane.endpoint_url, region=service.region, speed=SPEED, is_live=True,
        stall_timeout_s=30.0, on_event=sent.take, creates=False,
    )  # fmt: skip
    upload = Upload(plan, lambda frame, base_ns: sent.put.add_source(tracks[frame.track], frame, base_ns))
    return sent, upload.run()


def _check_acks(report: Report, sent: Sent) -> None:
    if not sent.acks and not sent.errors:
        report.skip("acks", "no fragment was acknowledged")
        return
    wanted = WANTED if sent.keeps_media else WANTED[:2]
    counts = Counter(kind for seen in sent.acks.values() for kind in seen)
    text = f"of {len(sent.acks)} fragments: " + ", ".join(f"{counts[kind]} {kind.name}" for kind in wanted)
    if sent.errors:
        first = sent.errors[0]
        text += f"; {len(sent.errors)} ERROR, the first {first.error_id} {first.error_name}"
        report.fail("acks", text, "look the number up in docs/errors.md", ExitCode.REFUSED)
    elif counts[wanted[-1]] < max(1, len(sent.acks)):
        report.fail("acks", text, "send the output of kvspic -v doctor with a bug report", ExitCode.INCOMPLETE)
    elif any(counts[kind] < len(sent.acks) for kind in wanted):
        report.warn("acks", f"{text}: nothing is lost, and the service left ACKs out", "report it")
    else:
        report.ok("acks", f"{text}, no ERROR")


async def check_way_back(report: Report, service: Service, sent: Sent) -> None:
    """ListFragments has what was persisted, and its media has the same frames, bytes and times."""
    numbers = sent.persisted
    if not sent.keeps_media:
        report.skip("way back", "the stream keeps no media")
        return
    if not numbers:
        report.skip("way back", "no fragment was persisted")
        return
    operation = "ListFragments"
    try:
        missing = await _missing(service, numbers)
        if missing:
            text = f"{len(missing)} of {len(numbers)} persisted fragments are not listed after {LISTED_S:g} s"
            report.fail("way back", text, "report it, with the output of this command", ExitCode.INCOMPLETE)
            return
        operation = "GetMediaForFragmentList"
        back = await _fetch(service, numbers)
    except ServiceError as error:
        text, remedy = cause_and_remedy(error)
        if error.is_denied:
            report.warn("way back", f"not checked: {text}", ASK_ALLOW.format(operation))
        else:
            code = ExitCode.UNREACHABLE if error.is_unreachable else ExitCode.REFUSED
            report.fail("way back", text, remedy, code)
        return
    except JoinError as error:
        report.fail("way back", str(error), "report it, with the output of this command", ExitCode.INCOMPLETE)
        return
    found = compare(sent.put, back)
    if found.is_equal:
        report.ok("way back", f"{len(numbers)} fragments listed, {found.frames} frames came back equal")
    else:
        report.fail("way back", f"what came back differs: {found.problem}", "report it", ExitCode.INCOMPLETE)


async def _missing(service: Service, numbers: list[str]) -> set[str]:
    loop = asyncio.get_running_loop()
    end_s = loop.time() + LISTED_S
    now_hns = int(service.plane.clock.now() * HNS_PER_S)
    while True:
        listed: list[FragmentInfo] = await service.plane.list_fragments(
            service.stream, (now_hns - 3600 * HNS_PER_S, now_hns + 3600 * HNS_PER_S)
        )
        missing = set(numbers) - {fragment.number for fragment in listed}
        if not missing or loop.time() > end_s:
            return missing
        await asyncio.sleep(LOOK_S)


class _Kept(io.BytesIO):
    """A part in memory, whose bytes outlive the joiner's ``close``."""

    media = b""

    def close(self) -> None:
        self.media = self.getvalue() if not self.closed else self.media
        super().close()


async def _fetch(service: Service, numbers: list[str]) -> MediaLog:
    parts: list[_Kept] = []

    def open_part(number: int) -> _Kept:
        parts.append(_Kept())
        return parts[-1]

    joiner = Joiner(open_part)
    try:
        async for piece in service.plane.get_media_for_fragment_list(service.stream, numbers):
            joiner.feed(piece)
    finally:
        report = joiner.close()
    back = MediaLog()
    for part, file in zip(report.parts, parts):
        read_joined([file.media], part.start_ms or 0, back)
    return back

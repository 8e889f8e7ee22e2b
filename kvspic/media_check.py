"""The media check: whether what is put can be decoded, and lies at the times that were meant.

Each track is watched until there is a verdict, for at most 300 frames or 10 s of media; again when a session opens or
codec private data is given, and every 10 s while the last verdict was bad. What shows only over time is read once a
second from the core's counters. A finding (``kvspic.media_findings``) is reported once, and stands until a later
verdict is good. Pure: frames, counters and the time are arguments. Always: a frame is looked at, never changed and
never kept.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from kvspic.actions import Event, MediaProblem, TimesAnchored, TimesJumped, TimesShifted
from kvspic.media_bits import (
    ADTS,
    ALL_SETS,
    CODEC_OF_NAME,
    LATM,
    NO_UNITS,
    NUMBERS,
    OTHER,
    RAW_PICTURE,
    Look,
    codec_of,
    is_private_of,
    length_size_of,
    look_at,
)
from kvspic.media_findings import FINDINGS
from kvspic.media_sound import SoundClock
from kvspic.types import Buffer, Track, TrackType
from kvspic.units import NS_PER_S

__all__ = ["CounterWatch", "MediaCheck", "MediaCounts", "TrackWatch"]

KEY = 1
DAY_NS = 86_400 * NS_PER_S
YEAR_2000_NS = 946_684_800 * NS_PER_S
WATCH_FRAMES = 300
WATCH_NS = 10 * NS_PER_S
AGAIN_NS = 10 * NS_PER_S
BAD_MIN = 3  # a damaged frame, or two, is no verdict
ENOUGH = 10  # frames for a verdict about times, and for a good one
ENOUGH_AT_END = 3  # the same when no more will come
KEYS_ENOUGH = 2  # key frames for a good verdict: a wrong flag shows with the second one
UNFLAGGED_FRAMES = 25  # without any flag, before it is called forgotten
STEP_MIN_NS = 1_000_000  # frames come no closer: the times of a stream are written in milliseconds
HANDFUL = 5
RECENT_NS = 60 * NS_PER_S
FUTURE_NS = 60 * NS_PER_S
FRAGMENT_MIN_NS = 900_000_000  # of 1 s: a camera's clock is not exact
FRAGMENTS_PER_S = 5
FRAGMENTS_NS = 10 * NS_PER_S

IN_FRAMES = frozenset(("h264", "h265"))
FOUND_TRACKS = {
    "JPEG": "MjpegTrack",
    "H.264": "H264Track",
    "H.265": "H265Track",
    "H.264 or H.265": "H264Track or H265Track",
    ADTS: "AacTrack, without the headers",
}

Values = dict[str, Any]
Found = tuple[str, Values]


class MediaCounts(NamedTuple):
    """What is read of the core once a second. ``newest_ns`` is the latest time that was packaged, 0 for none."""

    times_bumped: int = 0
    times_shifted: int = 0
    fragments_put: int = 0
    newest_ns: int = 0
    without_private: tuple[int, ...] = ()  # by track as opened: fragments without its codec private data


@dataclass
class _Window:
    """What a track showed since the watch began."""

    frames: int = 0
    pictures: int = 0  # frames with a picture whose bytes are of the codec
    bad: Counter[str] = field(default_factory=Counter)  # by what they look like
    middles: int = 0
    several: int = 0
    flagged: int = 0
    wrong: int = 0
    unflagged_keys: int = 0
    first_ns: int = 0
    last_ns: int = 0
    sound: SoundClock | None = None  # of frames whose bytes say how long they last

    @property
    def span_ns(self) -> int:
        return self.last_ns - self.first_ns

    @property
    def step_ns(self) -> float:
        return self.span_ns / (self.frames - 1) if self.frames > 1 else 0.0


class TrackWatch:
    """Watches the frames of one track. ``is_watching`` is True while it wants to see them."""

    def __init__(self, track: Track, number: int, *, leads: bool = True, has_times: bool = True) -> None:
        self.number = number
        self._has_times = has_times
        self.codec = codec_of(track)
        self._track = track
        self._name = CODEC_OF_NAME[self.codec].title if self.codec else track.codec_id
        self._needs_private = CODEC_OF_NAME[self.codec].needs_private
        self._has_keys = leads and track.type == TrackType.VIDEO and not track.independent
        self._length_size = length_size_of(self.codec, track.cpd)
        self._has_private = bool(track.cpd)
        self._is_private_wrong = bool(track.cpd) and not is_private_of(self.codec, bytes(track.cpd or b""))
        self._is_length_prefixed = False
        self._lacks_private = False
        self._sets: frozenset[str] = frozenset()  # that came so far, each maybe in a call of its own
        self._without_private = 0  # fragments so far
        self._flag_waits = False  # a call without a picture had the flag: it is meant for the next picture
        self._window = _Window()
        self.is_watching = bool(self.codec)  # of other tracks the counters alone are watched

    @property
    def is_new(self) -> bool:
        """Whether too few frames came yet for a verdict about their times."""
        return self.is_watching and 0 < self._window.frames < ENOUGH

    @property
    def is_good(self) -> bool:
        """Whether what came is enough for a good verdict, if nothing was found."""
        window = self._window
        if not self._has_keys:
            return window.frames >= ENOUGH and (window.sound is None or window.sound.is_enough)
        return window.frames >= ENOUGH and window.flagged >= KEYS_ENOUGH

    def watch_again(self) -> None:
        """Begin another watch, unless one is going on."""
        if self.codec and not self.is_watching:
            self._window, self._lacks_private, self.is_watching = _Window(), False, True

    def give_private(self, cpd: bytes) -> None:
        """Codec private data was given for the frames from now on."""
        self._has_private = bool(cpd)
        self._is_private_wrong = bool(cpd) and not is_private_of(self.codec, cpd)
        self._track = replace(self._track, cpd=cpd)
        self._length_size = length_size_of(self.codec, cpd)
        self.is_watching = False
        self.watch_again()

    def look(self, data: Buffer, pts_ns: int, flags: int) -> None:
        """Take a look at a frame."""
        window = self._window
        look = look_at(self.codec, data, self._track, self._length_size)
        self._note_time(pts_ns)
        window.frames += 1
        if look.found:
            window.bad[look.found] += 1
            return
        if look.sound_ns and self._has_times:
            window.sound = window.sound or SoundClock()
            window.sound.note(pts_ns, look.sound_ns)
        self._is_length_prefixed = look.is_length_prefixed
        if self.codec in IN_FRAMES:
            self._sets |= look.sets
            self._has_private |= self._sets == ALL_SETS
        elif self._needs_private and not self._has_private:
            self._lacks_private = True
        is_flagged = bool(flags & KEY)
        if not look.has_picture:
            self._flag_waits |= is_flagged
            return
        is_flagged, self._flag_waits = is_flagged or self._flag_waits, False
        window.pictures += 1
        window.middles += not look.begins
        window.several += look.is_several
        if self._has_keys and look.begins:
            self._note_key(look, is_flagged)
        elif look.key and self.codec in IN_FRAMES:
            self._lacks_private |= not self._has_private

    def compare(self, without_private: int, fragments: int) -> Found | None:
        """Compare with what the core made of the frames: how many fragments so far have no codec private data of this
        track, and how many are new since the last time. Parameter sets that came between two watches count, and those
        that the core could not read do not."""
        without, self._without_private = without_private - self._without_private, without_private
        if self.codec not in IN_FRAMES or not fragments:
            return None
        self._has_private = without < fragments
        return None if self._has_private else self._no_private()

    def found(self, is_end: bool = False) -> dict[str, Found]:
        """Return the findings of the watch so far, by aspect: the gravest of the media, and one of the times.

        ``is_end``: no more frames will come, so a verdict is made of what there is.
        """
        media = next(self._found_in_media(is_end), None)
        times = self._found_in_times(is_end)
        return {aspect: found for aspect, found in (("media", media), ("times", times)) if found}

    def end_when_sure(self, is_bad: bool) -> None:
        """End the watch when there is a good verdict, or when it has been long enough."""
        window = self._window
        is_long = window.frames >= WATCH_FRAMES or window.span_ns >= WATCH_NS
        self.is_watching = not (is_long or (self.is_good and not is_bad))

    def _note_time(self, pts_ns: int) -> None:
        window = self._window
        if not window.frames:
            window.first_ns = window.last_ns = pts_ns
        window.first_ns, window.last_ns = min(window.first_ns, pts_ns), max(window.last_ns, pts_ns)

    def _note_key(self, look: Look, is_flagged: bool) -> None:
        window = self._window
        window.flagged += is_flagged
        window.wrong += is_flagged and look.key is False
        window.unflagged_keys += look.key is True and not is_flagged
        if is_flagged and self._needs_private and not self._has_private:
            self._lacks_private = True

    # ---- verdicts on the media, gravest first

    def _found_in_media(self, is_end: bool) -> Iterator[Found]:
        window = self._window
        least = 1 if is_end else BAD_MIN
        bad = window.bad.total()
        if bad >= least and bad * 4 >= window.frames:
            yield self._bad_bytes(bad)
        values: Values = {"frames": window.frames, "codec": self._name}
        if window.middles >= least and window.middles * 5 >= window.pictures:
            yield "slices-apart", {"bad": window.middles, **values}
        if window.several >= least and window.several * 2 >= window.pictures:
            yield "several-frames", {"bad": window.several, **values}
        if self._lacks_private:
            yield self._no_private()
        if self._is_private_wrong and window.pictures:
            yield "codec-private-data-wrong", {"codec": self._name, "source": self._source()}
        unfit = window.sound.found() if window.sound is not None else None
        if unfit is not None:
            lasts, step = (f"{value:.1f}" for value in unfit)
            yield "sound-lasts-wrong", {"lasts": lasts, "step": step, "rate": self._track.sample_rate, **values}
        if window.wrong:
            yield "key-frame-flag-wrong", {"bad": window.wrong, "flagged": window.flagged}
        is_long = is_end or window.frames >= UNFLAGGED_FRAMES
        if window.unflagged_keys and not window.flagged and is_long:
            yield "key-frames-not-flagged", {"shown": window.unflagged_keys, **values}

    def _bad_bytes(self, bad: int) -> Found:
        found = self._window.bad.most_common(1)[0][0]
        values: Values = {"bad": bad, "frames": self._window.frames, "codec": self._name, "found": found}
        if found == NUMBERS:
            return "array-of-numbers", values
        if found == RAW_PICTURE:
            return "raw-pictures", values
        if self.codec == "aac" and found in (ADTS, LATM):
            return "aac-framing", values
        if found in (OTHER, NO_UNITS):
            is_cut = bad < self._window.frames and self._track.type == TrackType.VIDEO
            return "half-frames" if is_cut else "not-of-codec", values
        return self._other(found)

    def _other(self, found: str) -> Found:
        track = FOUND_TRACKS.get(found, "kvspic.Track")
        return "other-codec", {"found": found, "codec": self._name, "track": track}

    def _no_private(self) -> Found:
        if self.codec == "mjpeg":
            return "motion-jpeg-without-size", {}
        if self._track.type == TrackType.AUDIO:
            return "audio-without-codec-private-data", {"codec": self._name, "source": self._source()}
        return "no-codec-private-data", {"source": self._source()}

    def _source(self) -> str:
        """Where the codec private data of such frames is to be had."""
        made = {"h264": "H264Track", "h265": "H265Track", "aac": "AacTrack"}.get(self.codec, "Track")
        given = f"{made}(cpd=bytes(stream.codec_context.extradata))"
        if self.codec == "aac":
            return f"give AacTrack(sample_rate=..., channels=...), or what the container has: {given} with PyAV"
        if self.codec not in IN_FRAMES or self._is_length_prefixed:
            return f"give what the container has: {given} with PyAV, or the tracks of kvspic.sources.open_file"
        return (
            f"open the stream with the encoder's own track (tracks=[encoder.track] of kvspic.sources.NumpyEncoder) or "
            f"{made}(cpd=bytes(encoder.extradata)) with PyAV, or let the encoder repeat its parameter sets at each key "
            "frame"
        )

    # ---- the verdict on times

    def _found_in_times(self, is_end: bool) -> Found | None:
        window = self._window
        enough = ENOUGH_AT_END if is_end else ENOUGH
        if not self._has_times or window.frames < enough:
            return None
        if window.last_ns >= YEAR_2000_NS or window.step_ns >= STEP_MIN_NS:
            return None
        unit = _unit_of(window)
        values = {"frames": window.frames, "span": window.span_ns}
        return ("times-not-nanoseconds", {"unit": unit[0], "factor": unit[1], **values}) if unit else None


def _unit_of(window: _Window) -> tuple[str, str] | None:
    """What times that lie so close together probably are, and how nanoseconds are made of them: by the size of the
    numbers if they count from 1970, else by the step of a camera of 5 to 200 frames a second."""
    by_size = (
        (YEAR_2000_NS // NS_PER_S, "seconds", "int(seconds * 1_000_000_000)"),
        (YEAR_2000_NS // 1_000_000, "milliseconds", "milliseconds * 1_000_000"),
        (YEAR_2000_NS // 1_000, "microseconds", "microseconds * 1_000"),
        (YEAR_2000_NS // 100, "ticks of 100 ns", "ticks * 100"),
    )
    for least, name, factor in by_size:
        if least <= window.first_ns < least * 4 and window.last_ns < least * 4:
            return name, factor
    step = window.step_ns
    if step == 0:
        return None  # all times are the same: they are counted as repeated
    if step == 1:
        return "numbers of frames", "number * 1_000_000_000 // frame_rate"
    if step < 5:
        return "seconds", "int(seconds * 1_000_000_000)"
    if step < 450:
        return "milliseconds", "milliseconds * 1_000_000"
    if step < 9_500:
        return "ticks of a time base", "int(packet.pts * packet.time_base * 1_000_000_000) with PyAV"
    return "microseconds", "microseconds * 1_000"


class _Sample(NamedTuple):
    at_ns: int
    anchored: int
    counts: MediaCounts


class CounterWatch:
    """Watches what shows only over time, from the core's counters and some events."""

    def __init__(self, *, has_times: bool, is_relative: bool) -> None:
        self._has_times = has_times
        self._is_relative = is_relative  # times need not be those of a day
        self._samples: deque[_Sample] = deque([_Sample(-RECENT_NS, 0, MediaCounts())])
        self._anchored = 0
        self._far: tuple[int, int] | None = None  # when, how far
        self.begin: MediaCounts | None = None  # after the first frame

    def note(self, event: Event, now_ns: int) -> None:
        """Take note of an event about times."""
        if isinstance(event, TimesAnchored):
            self._anchored += 1
        far_ns = event.ahead_ns if isinstance(event, TimesJumped) else 0
        far_ns = -event.shift_ns if isinstance(event, TimesShifted) else far_ns
        if abs(far_ns) > DAY_NS:
            self._far = now_ns, far_ns

    @property
    def last(self) -> MediaCounts:
        """The counters as they were seen last."""
        return self._samples[-1].counts

    def new_fragments(self, counts: MediaCounts) -> int:
        """How many fragments were begun since the counters were looked at."""
        return counts.fragments_put - self._samples[-1].counts.fragments_put

    def found(self, counts: MediaCounts, now_ns: int, wall_ns: int) -> dict[str, Values]:
        """Return the findings that stand now. ``now_ns`` never steps; ``wall_ns`` is the time of day."""
        samples = self._samples
        while len(samples) > 1 and samples[1].at_ns <= now_ns - RECENT_NS:
            samples.popleft()
        samples.append(_Sample(now_ns, self._anchored, counts))
        if self.begin is None and counts.newest_ns:  # no frame was looked at
            self.begin = counts
        found = self._found_in_fragments(counts)
        if self._has_times:
            found.update(self._found_in_recent(now_ns))
            found.update(self._found_in_newest(counts.newest_ns, wall_ns))
        return found

    def _found_in_recent(self, now_ns: int) -> dict[str, Values]:
        """What happened more than a handful of times within a minute; of several, what the others may follow from."""
        before, last = self._samples[0], self._samples[-1]
        recent = {
            "times-anchored": last.anchored - before.anchored,
            "times-shifted": last.counts.times_shifted - before.counts.times_shifted,
            "times-repeated": last.counts.times_bumped - before.counts.times_bumped,
        }
        found: dict[str, Values] = {}
        for name, count in recent.items():
            if count > HANDFUL and not found:
                found[name] = {"count": count}
        if self._far is not None and self._far[0] > now_ns - RECENT_NS:
            days, where = abs(self._far[1]) / DAY_NS, "back" if self._far[1] < 0 else "ahead"
            found["times-far-apart"] = {"days": f"{days:.0f}", "where": where}
        return found

    def _found_in_newest(self, newest_ns: int, wall_ns: int) -> dict[str, Values]:
        if not newest_ns or self._is_relative or wall_ns < YEAR_2000_NS:
            return {}
        if newest_ns > wall_ns + FUTURE_NS:
            return {"times-in-the-future": {"ahead": (newest_ns - wall_ns) // NS_PER_S}}
        return {"times-long-past": {}} if newest_ns < YEAR_2000_NS else {}

    def _found_in_fragments(self, counts: MediaCounts) -> dict[str, Values]:
        """Over the last ten seconds of media, or more where a second brought more."""
        before = self.begin
        if before is None:
            return {}
        for sample in reversed(self._samples):
            if before.newest_ns < sample.counts.newest_ns <= counts.newest_ns - FRAGMENTS_NS:
                before = sample.counts
                break
        span_ns = counts.newest_ns - before.newest_ns
        count = counts.fragments_put - before.fragments_put
        if span_ns < FRAGMENTS_NS or count * FRAGMENT_MIN_NS <= span_ns:
            return {}
        rate = count * NS_PER_S / span_ns
        if rate > FRAGMENTS_PER_S:
            return {"fragments-too-many": {"rate": f"{rate:.1f}"}}
        return {"fragments-short": {"seconds": f"{1 / rate:.2f}"}}


class MediaCheck:
    """The check of one stream. Frames may come from any thread; ``lock`` is held while one is looked at.

    ``has_times``: the times of frames count, else those of their arrival do. ``is_relative``: they count from any zero.
    """

    def __init__(
        self,
        stream_name: str,
        tracks: Sequence[Track],
        lock: AbstractContextManager[object],
        *,
        has_times: bool = True,
        is_relative: bool = False,
    ) -> None:
        self._name = stream_name
        self._lock = lock
        lead = next(
            (track for track in tracks if track.type == TrackType.VIDEO), None
        )  # fragments begin with its frames
        watches = (
            TrackWatch(track, track.number or index, leads=track is lead, has_times=has_times)
            for index, track in enumerate(tracks, 1)
        )
        self._tracks = {watch.number: watch for watch in watches}
        self._counters = CounterWatch(has_times=has_times, is_relative=is_relative)
        self._standing: dict[tuple[int, str], MediaProblem] = {}  # by track and aspect
        self._again_ns = 0
        self._beside = 0  # frames of tracks that have a verdict, while another is waited for
        self.count = 0  # problems so far
        self.is_watching = any(watch.is_watching for watch in self._tracks.values())
        self.on_change: Callable[[], None] = lambda: None  # :attr:`is_watching` may be another now

    @property
    def has_begun(self) -> bool:
        """Whether :meth:`begin` was called."""
        return self._counters.begin is not None

    def begin(self, counts: MediaCounts) -> None:
        """Take the counters after the first frame, which later ones are compared with."""
        self._counters.begin = counts

    @property
    def reason(self) -> str:
        """What stands now, in words, the gravest first; empty when nothing does."""
        with self._lock:
            standing = sorted(self._standing.values(), key=lambda problem: not problem.is_undecodable)
        return str(standing[0]) if standing else ""

    def look(self, data: Buffer, pts_ns: int, track: int, flags: int) -> list[MediaProblem]:
        """Take a look at a frame that was put, or was refused as no frame; return what is new."""
        with self._lock:
            watch = self._tracks.get(track)
            if watch is None or not watch.is_watching:
                self._beside += 1
                if self._beside > WATCH_FRAMES:  # the others are silent
                    self._end()
                return []
            watch.look(data, pts_ns, flags)
            found = watch.found()
            problems = self._take(watch.number, found)
            if not found and watch.is_good:
                self._forget(watch.number)
            watch.end_when_sure(bool(found))
            self._update()
            return problems

    def watch_again(self) -> None:
        """A session opens: look at all tracks again."""
        with self._lock:
            for watch in self._tracks.values():
                watch.watch_again()
            self._update()

    def give_up(self) -> None:
        """Look at no more frames, until :meth:`watch_again`."""
        with self._lock:
            self._end()

    def give_private(self, track: int, cpd: bytes) -> None:
        """A track goes on with other codec private data."""
        with self._lock:
            if track in self._tracks:
                self._tracks[track].give_private(cpd)
            self._update()

    def note(self, event: Event, now_ns: int) -> None:
        """Take note of an event of the stream."""
        self._counters.note(event, now_ns)

    def look_at_counters(self, counts: MediaCounts, now_ns: int, wall_ns: int) -> list[MediaProblem]:
        """Once a second: return what is new. ``now_ns`` never steps, ``wall_ns`` is the time of day."""
        if counts == self._counters.last and not self._standing:
            return []  # the stream is idle
        with self._lock:
            fragments = self._counters.new_fragments(counts)
            found = self._counters.found(counts, now_ns, wall_ns)
            problems = self._compare(counts, fragments)
            if now_ns >= self._again_ns:
                self._again_ns = now_ns + AGAIN_NS
                for number in {number for number, _ in self._standing if number}:
                    self._tracks[number].watch_again()
                self._update()
            if any(watch.is_new for watch in self._tracks.values()):
                found = {name: values for name, values in found.items() if not name.startswith("times-")}
            return problems + self._take_counted(found)

    def conclude(self, counts: MediaCounts, now_ns: int, wall_ns: int) -> list[MediaProblem]:
        """The stream ends: return what is new by what there is."""
        with self._lock:
            fragments = self._counters.new_fragments(counts)
            found = self._counters.found(counts, now_ns, wall_ns)
            problems = []
            for watch in self._tracks.values():
                if watch.is_watching:
                    problems += self._take(watch.number, watch.found(is_end=True))
            problems += self._compare(counts, fragments)
            return problems + self._take_counted(found)

    def _compare(self, counts: MediaCounts, fragments: int) -> list[MediaProblem]:
        problems = []
        for watch, without in zip(self._tracks.values(), counts.without_private):
            found = watch.compare(without, fragments)
            if found is not None and (watch.number, "media") not in self._standing:
                problems += self._take(watch.number, {"private": found})
            elif fragments:
                self._standing.pop((watch.number, "private"), None)
        return problems

    def _take_counted(self, found: dict[str, Values]) -> list[MediaProblem]:
        """What is counted for the whole stream, without what follows from something that stands already."""
        causes = {problem.name for problem in self._standing.values()}
        if "times-not-nanoseconds" in causes:
            found = {name: values for name, values in found.items() if not name.startswith("times-")}
        if "key-frame-flag-wrong" in causes:
            found = {name: values for name, values in found.items() if not name.startswith("fragments-")}
        for aspect in [aspect for number, aspect in self._standing if not number and aspect not in found]:
            del self._standing[0, aspect]
        return self._take(0, {name: (name, values) for name, values in found.items()})

    def _take(self, number: int, found: dict[str, Found]) -> list[MediaProblem]:
        problems = []
        for aspect, (name, values) in found.items():
            standing = self._standing.get((number, aspect))
            if standing is not None and standing.name == name:
                continue
            finding = FINDINGS[name]
            text, remedy = finding.text.format(**values), finding.remedy.format(**values)
            problem = MediaProblem(self._name, name, number, text, remedy, finding.is_undecodable)
            self._standing[number, aspect] = problem
            problems.append(problem)
        self.count += len(problems)
        return problems

    def _forget(self, number: int) -> None:
        for aspect in ("media", "times"):
            self._standing.pop((number, aspect), None)

    def _end(self) -> None:
        for watch in self._tracks.values():
            watch.is_watching = False
        self._update()

    def _update(self) -> None:
        is_watching = any(watch.is_watching for watch in self._tracks.values())
        if is_watching != self.is_watching:
            self._beside = 0
            self.is_watching = is_watching
            self.on_change()

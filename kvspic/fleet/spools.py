"""The folders in which a worker keeps frames that the service has not acknowledged: one for each job and version, with
a note that says whose they are.

Always: a folder holds frames of epochs up to the note's; those of earlier epochs end where the job was claimed after
them. So only the frames of the note's epoch may reach into the time of another worker.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from kvspic.fleet.holding import Assignment
from kvspic.types import Track, TrackLike, TrackType, track_of

__all__ = [
    "BACKFILL_NAME",
    "SpoolNote",
    "folder_of",
    "is_settled",
    "read_note",
    "remove_settled",
    "size_of",
    "spool_options",
    "write_note",
]

logger = logging.getLogger("kvspic.fleet")

BACKFILL_NAME = "kvspic-backfill"  # metadata of each fragment that was spooled; its value: the worker that sent it
NOTE = "job.json"
NOTE_MAX = 8 << 20  # bytes; codec private data is what is large


@dataclass(frozen=True)
class SpoolNote:
    """Whose frames a folder holds, and how their stream is opened. No source: nothing here is a secret."""

    job: str
    version: int
    epoch: int
    name: str
    stream: str
    endpoint: str
    region: str
    retention_hours: float
    tracks: tuple[Track, ...]

    @classmethod
    def of(cls, job: Assignment, tracks: Iterable[TrackLike]) -> SpoolNote:
        """Return the note of a job that is carried now."""
        hours = float(job.options.get("retention_hours", 24))
        place = job.stream, job.endpoint, job.region
        return cls(job.id, job.version, job.epoch, job.name, *place, hours, tuple(map(track_of, tracks)))


def folder_of(spool: Path, job: Assignment) -> Path:
    """Return the folder of a job's frames."""
    return spool / f"{job.id}.v{job.version}"


def read_note(folder: Path) -> SpoolNote | None:
    """Return the note of a folder; None where there is none that can be read."""
    try:
        with open(folder / NOTE, "rb") as file:
            words = json.loads(file.read(NOTE_MAX))
        tracks = tuple(_track(one) for one in words["tracks"])
        return SpoolNote(**{**{name: words[name] for name in _NAMES}, "tracks": tracks})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write_note(folder: Path, note: SpoolNote) -> None:
    """Write the note of a folder. Where that fails there is none: an old one would say where to cut new frames."""
    words = {**asdict(note), "tracks": [_words(track) for track in note.tracks]}
    new = folder / f"{NOTE}.new"
    try:
        new.write_text(json.dumps(words), encoding="utf-8")
        new.replace(folder / NOTE)
    except OSError as error:
        logger.warning("%s: the note in %s cannot be written: %s", note.name, folder, error.strerror)
        with contextlib.suppress(OSError):
            (folder / NOTE).unlink(missing_ok=True)


def is_settled(folder: Path) -> bool:
    """Whether no frame waits in a folder."""
    return next(folder.glob("*/*.seg"), None) is None


def size_of(folder: Path) -> int:
    """Bytes of the frames in a folder."""
    total = 0
    for path in folder.glob("*/*.seg"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def remove_settled(folder: Path) -> bool:
    """Remove a folder in which no frame waits; return whether it is gone."""
    if is_settled(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return True
    return False


def spool_options(folder: Path, until_ns: int | None, handler: str) -> dict[str, Any]:
    """Return the options of a stream that sends what lies in a folder."""
    return {"spool": folder, "recovered_until_ns": until_ns, "recovered_tags": {BACKFILL_NAME: handler}}


_NAMES = tuple(field.name for field in fields(SpoolNote) if field.name != "tracks")
_TRACK_NAMES = tuple(field.name for field in fields(Track))


def _words(track: Track) -> dict[str, Any]:
    words = {name: getattr(track, name) for name in _TRACK_NAMES}
    return {**words, "cpd": None if track.cpd is None else base64.b64encode(track.cpd).decode()}


def _track(words: Mapping[str, Any]) -> Track:
    cpd = words["cpd"]
    found = {name: words[name] for name in _TRACK_NAMES}
    return Track(**{**found, "type": TrackType(words["type"]), "cpd": None if cpd is None else base64.b64decode(cpd)})

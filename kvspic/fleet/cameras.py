"""``cameras.yaml``: the text of a file to the bodies of jobs. Pure.

    defaults: {group: yard, options: {retention_hours: 48, spool: true}, autorestart: {delay: 30}}
    cameras:
      - {name: front-door, source: "rtsp://10.0.0.9/1", secret: door}

``defaults`` has what every camera has that does not say otherwise; ``options`` and ``autorestart`` are joined member by
member. What each field may be is the matter of :mod:`kvspic.fleet.jobs`; here a file must have this form, and two
cameras may share neither a name nor a stream.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kvspic.fleet import jobs
from kvspic.plain_text import PlainTextError, parse_text

__all__ = ["CameraFileError", "read_cameras", "source_of"]

_JOINED = ("options", "autorestart")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCHEMES = {scheme for schemes in jobs.SCHEMES.values() for scheme in schemes}
_PATTERN = "testsrc:duration=0"  # never ends, as a camera
_EXAMPLE = "cameras:\n  - {name: front-door, source: 'rtsp://10.0.0.9/1'}"


class CameraFileError(ValueError):
    """A file of cameras cannot be used; the text says where and what to change."""


def source_of(source: str | Mapping[str, Any], secret: str | None = None) -> dict[str, Any]:
    """Return the source of a job for what a person writes: a URL, a path, ``test``, or the mapping itself.

    Raises:
        ValueError: no worker carries such a source.
    """
    if not isinstance(source, str):
        made = dict(source)
    elif not source.strip():
        raise ValueError("The source is empty; give a URL such as rtsp://10.0.0.9/1, a path, /dev/video0 or test.")
    else:
        scheme = _SCHEME.match(source)
        if scheme is not None and scheme[1].lower() not in _SCHEMES:
            raise ValueError(
                f"No worker carries a source of the scheme {scheme[1]}://; it may be a camera (rtsp://, rtsps://), "
                "the path of a file, a device such as /dev/video0, or test."
            )
        made = jobs.source_of(_PATTERN if source == "test" else source)
    return made if secret is None else {**made, "secret": secret}


def read_cameras(text: str) -> list[dict[str, Any]]:
    """Read a file of cameras and return one body of ``POST /v1/jobs`` for each, in its order.

    Raises:
        CameraFileError: it has another form, or two cameras have one name or one stream.
    """
    try:
        found = parse_text(text, "fleet")
    except PlainTextError as error:
        raise CameraFileError(f"The file {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("cameras"), list):
        raise CameraFileError(f"The file has no list of cameras. Write one, such as\n{_EXAMPLE}")
    others = sorted(set(found) - {"cameras", "defaults"})
    if others:
        raise CameraFileError(f"The file has {others[0]!r}, which is not known: it may have cameras and defaults.")
    defaults = found.get("defaults") or {}
    if not isinstance(defaults, dict) or "name" in defaults or "stream" in defaults:
        raise CameraFileError("defaults is a mapping of what all cameras have; name and stream are each camera's own.")
    if len(found["cameras"]) > jobs.APPLY_JOBS_MAX:
        raise CameraFileError(
            f"The file has {len(found['cameras'])} cameras; at most {jobs.APPLY_JOBS_MAX} fit in one."
        )
    bodies = [_body(number, camera, defaults) for number, camera in enumerate(found["cameras"], 1)]
    _check_apart(bodies)
    return bodies


def _body(number: int, camera: Any, defaults: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(camera, dict):
        raise CameraFileError(f"Camera {number} is no mapping; write it as {{name: ..., source: ...}}.")
    body = {**defaults, **camera}
    for name in _JOINED:
        if isinstance(defaults.get(name), dict) and isinstance(camera.get(name), dict):
            body[name] = {**defaults[name], **camera[name]}
    label = f"Camera {number} ({camera['name']})" if isinstance(camera.get("name"), str) else f"Camera {number}"
    for name in ("name", "source"):
        if name not in body:
            raise CameraFileError(f"{label} has no {name}; each camera needs a name and a source.")
    if not isinstance(body["source"], (str, dict)):
        raise CameraFileError(f"{label}: the source is a text or a mapping with type and url.")
    try:
        body["source"] = source_of(body["source"], body.pop("secret", None))
    except ValueError as error:
        raise CameraFileError(f"{label}: {error}") from None
    return body


def _check_apart(bodies: list[dict[str, Any]]) -> None:
    """Find cameras that would be one job, or that would send into one stream."""
    names: dict[Any, int] = {}
    streams: dict[Any, int] = {}
    for number, body in enumerate(bodies, 1):
        name, stream = str(body["name"]), str(body.get("stream") or body["name"])
        place = (str(body.get("endpoint", "")), str(body.get("region", "")), stream)
        if name in names:
            raise CameraFileError(f"Cameras {names[name]} and {number} have the same name {name!r}; change one.")
        if place in streams:
            raise CameraFileError(
                f"Cameras {streams[place]} and {number} would both send into the stream {stream!r}; give one of them "
                "another stream."
            )
        names[name] = streams[place] = number

"""The files of the pages: by their path below ``kvspic/web``, with the headers that browsers get.

Browsers ask each time whether a file has changed. The policy lets a page run its own scripts only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

__all__ = ["WebFile", "headers", "web_file"]

_FOLDERS = ("fleet", "lib", "local", "vendor")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class WebFile:
    """One file; ``tag`` is what a browser that has it sends as If-None-Match."""

    content: bytes
    content_type: str
    tag: str


def headers(origins: Iterable[str] = ()) -> dict[str, str]:
    """Return the headers of every answer to a page.

    Args:
        origins: where video and its playlists may come from besides the page's own server, as in ``https:``.
    """
    others = " ".join(["", *origins])
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"media-src 'self' blob:{others}; connect-src 'self'{others}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def web_file(name: str) -> WebFile | None:
    """Return a file by its path, such as ``lib/dom.js``; None where there is none."""
    return _files().get(name)


@lru_cache(1)
def _files() -> dict[str, WebFile]:
    """All files: half a megabyte."""
    found: dict[str, WebFile] = {}
    for folder in _FOLDERS:
        for file in (resources.files("kvspic") / "web" / folder).iterdir():
            if file.is_file():
                content, suffix = file.read_bytes(), file.name[file.name.rfind(".") :]
                tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
                kind = _TYPES.get(suffix, "application/octet-stream")
                found[f"{folder}/{file.name}"] = WebFile(content, kind, tag)
    return found

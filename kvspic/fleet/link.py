"""A worker's way to its servers: two calls, a list of URLs, and what an answer that is no answer means.

The next server is asked when one cannot be reached, so a request never waits for a server that is down longer than its
own time limit. Only aiohttp is needed; nothing here knows what the calls are about.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

__all__ = ["Link", "LinkDown", "Refused", "check_urls"]

ANSWER_MAX = 8 << 20
DENIED = (401, 403)


class LinkDown(Exception):
    """No server answered, or the one that did cannot work now (502 to 504, 507). The text says which and why."""


class Refused(Exception):
    """A server refused a call.

    Attributes:
        url: of the server. status: of HTTP. name: what the answer calls it, such as ``superseded``; "" where it has no
            name. answer: its whole body.
    """

    def __init__(self, url: str, status: int, answer: Mapping[str, Any], text: str) -> None:
        super().__init__(text)
        self.url, self.status = url, status
        self.name = str(answer.get("error") or "")
        self.answer = answer

    @property
    def is_denied(self) -> bool:
        """Whether the token is the trouble."""
        return self.status in DENIED


def check_urls(urls: str | Sequence[str]) -> list[str]:
    """Return the servers' URLs without a slash at the end. Raises ValueError with the remedy."""
    found = [url.strip().rstrip("/") for url in ([urls] if isinstance(urls, str) else urls)]
    for url in found:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url[:200]!r} is no URL of a server: write http://HOST:PORT or https://HOST.")
    if not found:
        raise ValueError("There is no URL of a server: give at least one.")
    return found


class Link:
    """Use it with ``async with``; one per worker."""

    def __init__(self, urls: Sequence[str], token: str | None, ca_file: str | None = None) -> None:
        self._urls = list(urls)
        self._place = 0
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """The server that is asked next."""
        return self._urls[self._place]

    async def __aenter__(self) -> Link:
        context = ssl.create_default_context(cafile=self._ca_file) if self._ca_file else True
        self._session = aiohttp.ClientSession(
            headers=self._headers, connector=aiohttp.TCPConnector(ssl=context, limit=8)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, path: str, body: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one request to the server that answered last; a failure makes the next one the first.

        Raises:
            LinkDown: not reached, not answered in time, or the server cannot work now. Refused: it said no.
        """
        url, session = self.url, self._session
        if session is None:
            raise RuntimeError("the link is not open: use it with async with")
        try:
            return await self._post(session, url, path, body, aiohttp.ClientTimeout(total=timeout_s))
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as error:
            self.turn_from(url)
            text = f"no answer within {timeout_s:g} s" if isinstance(error, asyncio.TimeoutError) else str(error)
            raise LinkDown(f"{url}: {text or type(error).__name__}") from error
        except LinkDown:
            self.turn_from(url)
            raise

    def turn_from(self, url: str) -> None:
        """Ask the server behind this one next, unless another call has turned from it already."""
        if url == self.url:
            self._place = (self._place + 1) % len(self._urls)

    async def _post(
        self,
        session: aiohttp.ClientSession,
        url: str,
        path: str,
        body: Mapping[str, Any],
        timeout: aiohttp.ClientTimeout,
    ) -> dict[str, Any]:
        async with session.post(url + path, json=body, allow_redirects=False, timeout=timeout) as response:
            raw = await response.content.read(ANSWER_MAX)
            found = _object(raw)
            if response.status == 200 and found is not None:
                return found
            answer = found or {}
            reason = answer.get("message") or response.reason
            text = f"{url}{path} answered {response.status} {answer.get('error') or ''}: {reason}"
            if response.status in (500, 502, 503, 504, 507) or (found is None and response.status not in DENIED):
                raise LinkDown(text)
            raise Refused(url, response.status, answer, text)


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None

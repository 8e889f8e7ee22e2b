"""The service's clock as far as we know it: the wall clock plus an offset learned from the service's answers.

A machine may be hours off, a camera without a battery clock decades. A signature is refused when its time is more than
5 minutes off; each answer has a Date header, and that refusal names the server's time in its text too ("Signature
expired: A is now earlier than B (C - 5 min.)"). What is learned holds for the whole process: signatures are made and
expiries judged by :data:`SERVICE_CLOCK`.
"""

from __future__ import annotations

import calendar
import contextlib
import datetime
import email.utils
import functools
import re
import time
from collections.abc import Callable

__all__ = ["SERVICE_CLOCK", "ServiceClock", "date_of", "server_time", "wait_asked_s"]

SMALLEST_OFFSET_S = 30.0  # below it the difference is transmission time; AWS accepts 5 minutes
LATEST_S = 7_258_118_400.0  # the year 2200; near 10000 nothing could be signed
STAMP = re.compile(r"\b(\d{8}T\d{6}Z)\b")


class ServiceClock:
    """Seconds since 1970 as the service counts them; starts with no offset. Any thread may use it."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self.offset_s = 0.0
        self.is_known = False  # the service has answered with its time

    def wall(self) -> float:
        """What the clock of this machine shows."""
        return self._wall()

    def now(self) -> float:
        return self._wall() + self.offset_s

    def is_past(self, moment_s: float) -> bool:
        """Whether a moment is over. False while the service has not answered with its time yet: a
        machine whose clock is ahead would throw good keys away, and then never ask the service."""
        return self.is_known and moment_s <= self.now()

    def learn(self, server_time_s: float | None) -> None:
        """Take over the server's time if it is far from ours; small differences set the offset back to none. A time
        that cannot be now is no time."""
        if server_time_s is None or not 0 <= server_time_s <= LATEST_S:
            return
        offset_s = server_time_s - self._wall()
        self.offset_s = offset_s if abs(offset_s) >= SMALLEST_OFFSET_S else 0.0
        self.is_known = True


SERVICE_CLOCK = ServiceClock(time.time)
"""The one of this process: all services agree on the time, and this machine has one clock to be wrong."""


def server_time(date_header: str, message: str) -> float | None:
    """The server's time from an answer: the third stamp of a refusal's text, else its Date header, else None."""
    stamps = STAMP.findall(message) if message.startswith("Signature ") else []
    if len(stamps) >= 3:
        with contextlib.suppress(ValueError):  # the 99th of a month
            return float(calendar.timegm(datetime.datetime.strptime(stamps[2], "%Y%m%dT%H%M%SZ").timetuple()))
    return date_of(date_header)


@functools.lru_cache(maxsize=64)
def date_of(header: str) -> float | None:
    """An HTTP date in seconds since 1970, None if it is none."""
    try:
        return email.utils.parsedate_to_datetime(header).timestamp() if header else None
    except (TypeError, ValueError, OverflowError):
        return None


def wait_asked_s(retry_after: str, date_header: str) -> float | None:
    """The wait that a Retry-After header asks for: seconds, or a date, which counts from the answer's own Date."""
    if retry_after.isascii() and retry_after.isdigit() and len(retry_after) <= 6:
        return float(retry_after)
    until_s, sent_s = date_of(retry_after), date_of(date_header)
    return None if until_s is None or sent_s is None else max(0.0, until_s - sent_s)

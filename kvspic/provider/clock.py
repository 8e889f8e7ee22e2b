"""The service's clock as far as we know it: the wall clock plus an offset learned from refused signatures.

Pure: the wall clock is given. A signature is refused when its time is more than 5 minutes off; the refusal names
the server's time in its text ("Signature expired: A is now earlier than B (C - 5 min.)") and in its Date header.
"""

from __future__ import annotations

import calendar
import datetime
import email.utils
import re
from collections.abc import Callable

__all__ = ["ServiceClock", "server_time"]

SMALLEST_OFFSET_S = 30.0  # below it the difference is transmission time; AWS accepts 5 minutes
STAMP = re.compile(r"\b(\d{8}T\d{6}Z)\b")


class ServiceClock:
    """Seconds since 1970 as the service counts them; starts with no offset."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self.offset_s = 0.0

    def now(self) -> float:
        return self._wall() + self.offset_s

    def learn(self, server_time_s: float | None) -> None:
        """Take over the server's time if it is far from ours; small differences set the offset back to none."""
        if server_time_s is None:
            return
        offset_s = server_time_s - self._wall()
        self.offset_s = offset_s if abs(offset_s) >= SMALLEST_OFFSET_S else 0.0


def server_time(date_header: str, message: str) -> float | None:
    """The server's time from a refusal: the third stamp of its text, else its Date header, else None."""
    stamps = STAMP.findall(message) if message.startswith("Signature ") else []
    if len(stamps) >= 3:
        return float(calendar.timegm(datetime.datetime.strptime(stamps[2], "%Y%m%dT%H%M%SZ").timetuple()))
    try:
        return email.utils.parsedate_to_datetime(date_header).timestamp() if date_header else None
    except (TypeError, ValueError, OverflowError):
        return None

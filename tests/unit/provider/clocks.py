"""Clocks of the service for tests: a wall clock that the test sets, and a service that has answered with its time."""

from kvspic.provider.clock import ServiceClock

__all__ = ["clock_at", "known_clock"]


def known_clock(wall):
    """A service's clock that agrees with ``wall``, which gives seconds since 1970."""
    clock = ServiceClock(wall)
    clock.learn(wall())
    return clock


def clock_at(now_s):
    """A service's clock that stands still."""
    return known_clock(lambda: now_s)

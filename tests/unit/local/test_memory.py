"""Freed memory. Goal: an endpoint gives back what its uploads took once the last one has ended, and not before."""

import asyncio
import platform

import pytest

from kvspic.local import hub
from kvspic.local.memory import give_back


class Uploads:
    """The part of a hub that counts uploads."""

    upload_over, _give_back = hub.Hub.upload_over, hub.Hub._give_back

    def __init__(self, *open_ones: str) -> None:
        self.live = {1: set(open_ones), 2: set()}


@pytest.mark.parametrize("others, count", [((), 1), (("one",), 0)])
def test_memory_is_given_back_when_the_last_upload_has_ended(monkeypatch, others, count):
    given = []
    monkeypatch.setattr(hub, "give_back", lambda: given.append(1))
    monkeypatch.setattr(hub, "GIVE_BACK_S", 0.0)

    async def run():
        Uploads(*others).upload_over()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(run())
    assert len(given) == count


def test_an_upload_that_begins_meanwhile_keeps_the_memory(monkeypatch):
    given = []
    monkeypatch.setattr(hub, "give_back", lambda: given.append(1))
    monkeypatch.setattr(hub, "GIVE_BACK_S", 0.0)

    async def run():
        uploads = Uploads()
        uploads.upload_over()
        uploads.live[2].add("next")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(run())
    assert given == []


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries give memory back by themselves")
def test_glibc_can_give_memory_back():
    assert give_back()

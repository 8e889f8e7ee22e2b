"""The provider and our local endpoint. Goal: two readings of the service's interface, written apart, agree."""

import asyncio

import pytest
from unit.local import mkv_bytes as mkv
from unit.provider.servers import run_watched
from unit.provider.uploads import make_upload

from kvspic.provider.control import ControlPlane
from kvspic.provider.credentials import StaticCredentials
from kvspic.provider.results import ServiceError, ServiceResult
from kvspic.provider.upload import EndedBy

pytest.importorskip("aiohttp")
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

KEYS = StaticCredentials("AKIDLOCAL", "local-secret", "local-token")


def with_endpoint(folder, story, stream="front-door", **options):
    """``await story(control, endpoint)`` with one stream of 24 h retention; uploads go to "front-door"."""

    async def run():
        secrets = {"AKIDLOCAL": "local-secret"}
        options.setdefault("settings", Settings.unlimited())
        async with LocalEndpoint(folder, access_keys=secrets, live_wait_seconds=0.1, **options) as endpoint:
            control = ControlPlane(endpoint_url=endpoint.url, credentials=KEYS)
            await control.create_stream(stream, retention_hours=24, media_type="video/h264")
            return await story(control, endpoint)

    return run_watched(run(), seconds=30)


async def collect(pieces):
    return b"".join([piece async for piece in pieces])


def test_a_stream_is_made_described_and_tagged(tmp_path):
    async def story(control, endpoint):
        with pytest.raises(ServiceError) as missing:
            await control.describe_stream("window")
        with pytest.raises(ServiceError) as taken:
            await control.create_stream("door", retention_hours=24, media_type="video/h264")
        described = await control.describe_stream("door")
        await control.tag_stream(described.arn, {"site": "north"})
        url = await control.get_data_endpoint("door")
        return missing.value.result, taken.value.result, described, url == endpoint.url

    missing, taken, described, is_own_url = with_endpoint(tmp_path, story, "door")
    assert missing is ServiceResult.NOT_FOUND
    assert taken is ServiceResult.IN_USE
    assert described.retention_hours == 24
    assert is_own_url


def test_fragments_go_up_are_acknowledged_meanwhile_and_come_back(tmp_path):
    async def story(control, endpoint):
        upload = make_upload(endpoint.url, credentials=KEYS)
        upload.put(mkv.header() + mkv.cluster(1_600_000_000_000) + mkv.END)
        running = asyncio.ensure_future(upload.session.run())
        await upload.wait_for_ack(b"PERSISTED")
        upload.put(mkv.cluster(1_600_000_001_000), None)
        outcome = await running
        found = await control.list_fragments("front-door")
        media = await collect(control.get_media_for_fragment_list("front-door", [entry.number for entry in found]))
        live = await collect(control.get_media("front-door", {"StartSelectorType": "EARLIEST"}))
        return upload, outcome, found, media, live

    upload, outcome, found, media, live = with_endpoint(tmp_path, story)
    assert outcome.ended_by is EndedBy.BODY
    assert upload.acks.count(b"PERSISTED") == 2
    assert [entry.producer_time_hns for entry in found] == [16_000_000_000_000_000, 16_000_000_010_000_000]
    assert media.count(mkv.block()) == live.count(mkv.block()) == 2


def test_wrong_keys_are_refused_everywhere(tmp_path):
    wrong = StaticCredentials("AKIDLOCAL", "another-secret")

    async def story(control, endpoint):
        with pytest.raises(ServiceError) as caught:
            await ControlPlane(endpoint_url=endpoint.url, credentials=wrong).describe_stream("door")
        upload = make_upload(endpoint.url, credentials=wrong)
        upload.put(mkv.header(), None)
        return caught.value.result, await upload.session.run()

    result, outcome = with_endpoint(tmp_path, story)
    assert result is ServiceResult.FORBIDDEN
    assert outcome.result is ServiceResult.FORBIDDEN
    assert outcome.ended_by is EndedBy.REFUSED


def test_a_missing_stream_refuses_the_upload_however_much_is_sent(tmp_path):
    async def story(control, endpoint):
        upload = make_upload(endpoint.url, credentials=KEYS)
        piece = b"m" * 65536

        upload.session.next_body = lambda: memoryview(piece)
        return await upload.session.run()

    outcome = with_endpoint(tmp_path, story, "door", lingering_seconds=0)
    assert outcome.result is ServiceResult.NOT_FOUND
    assert outcome.error_name == "ResourceNotFoundException"


def test_what_is_no_matroska_is_an_error_ack_and_an_orderly_end(tmp_path):
    async def story(control, endpoint):
        upload = make_upload(endpoint.url, credentials=KEYS)
        upload.put(b"this is no Matroska, whatever it may be")
        return upload, await upload.session.run()

    upload, outcome = with_endpoint(tmp_path, story)
    assert b"4006" in upload.acks
    assert outcome.ended_by is EndedBy.SERVICE

"""Real time. Goal: ACKs are read while the body is being sent, so a live stream is persisted while it goes on."""

import pytest

from kvspic.commands.upload import Upload, UploadPlan
from kvspic.local.server import LocalEndpoint
from kvspic.sources import open_source

pytestmark = pytest.mark.timed


def test_the_first_fragment_is_persisted_before_half_of_a_realtime_body_is_sent(tmp_path):
    with LocalEndpoint.run_in_thread(tmp_path) as endpoint, open_source("testsrc:width=320,height=240") as source:
        upload = Upload(UploadPlan(source, "live", endpoint_url=endpoint.url, speed=1.0, is_live=True))
        result = upload.run()
    assert result.is_complete
    assert 9.5 <= result.seconds <= 12  # ten seconds of media at their own pace
    assert upload.first_persisted is not None
    assert upload.first_persisted.was_reading
    assert upload.first_persisted.bytes_sent < result.bytes_sent / 2

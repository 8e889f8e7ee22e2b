"""The suite's own safeguards. Goal: a test run proves something, and reaches nothing but this machine."""

import os
import socket

import pytest


def test_a_missing_tool_skips_the_test_here(require_tool, monkeypatch):
    monkeypatch.setitem(require_tool.__globals__, "IN_CI", False)
    with pytest.raises(pytest.skip.Exception, match="no-such-tool"):
        require_tool("no-such-tool")


def test_a_missing_tool_fails_the_test_in_ci(require_tool, monkeypatch):
    monkeypatch.setitem(require_tool.__globals__, "IN_CI", True)
    with pytest.raises(pytest.fail.Exception, match="no-such-tool"):
        require_tool("no-such-tool")


def test_no_test_reaches_past_loopback():
    with socket.socket() as client, pytest.raises(RuntimeError, match=r"192\.0\.2\.1"):
        client.connect(("192.0.2.1", 443))
    with socket.socket() as client, pytest.raises(RuntimeError, match=r"example\.com"):
        client.connect_ex(("example.com", 443))


def test_loopback_is_open():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_no_test_sees_credentials_of_the_machine():
    assert sorted(name for name in os.environ if name.startswith("AWS_")) == [
        "AWS_CONFIG_FILE",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_SHARED_CREDENTIALS_FILE",
    ]
    assert not os.path.exists(os.environ["AWS_SHARED_CREDENTIALS_FILE"])

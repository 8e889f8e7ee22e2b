"""How the one call travels: gRPC's settings on both sides, certificates, tokens, and addresses. Pure but for gRPC.

On loopback neither is needed. Beyond it an agent wants a token over TLS, or certificates of both sides, because it
runs load for everyone who may call it; ``is_insecure`` says that its owner wants it otherwise.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc

from kvspic.bench.proto import METHOD, SERVICE
from kvspic.loopback import is_loopback

__all__ = ["PATH", "BenchError", "Security", "options", "split_address"]

PATH = f"/{SERVICE}/{METHOD}"
MESSAGE_MAX = 4 * 1024 * 1024
KEEPALIVE_MS = 10_000


class BenchError(Exception):
    """The agent or the controller cannot do its work; the text is one sentence with cause and remedy.

    Attributes:
        code: the exit code that it ends a command with.
    """

    def __init__(self, text: str, code: int = 2) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Security:
    """Who may call, and what both sides show. PEM texts; empty: not used.

    Attributes:
        token: what every call must bring.
        certificate, key: this side's own.
        authority: the other side must have a certificate of it; on an agent it makes TLS mutual.
        server_name: the name in the agents' certificates, where it differs from the address.
        is_insecure: beyond loopback without any of it.
    """

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""
    authority: bytes = b""
    server_name: str = ""
    is_insecure: bool = False

    @property
    def has_tls(self) -> bool:
        """Whether calls are encrypted."""
        return bool(self.certificate or self.authority)

    def check_agent(self, host: str) -> None:
        """See that an agent that listens on ``host`` is not open to everyone.

        Raises:
            BenchError: it would be.
        """
        if bool(self.certificate) != bool(self.key):
            raise BenchError("--tls-cert and --tls-key belong together: give both.")
        if self.authority and not self.certificate:
            raise BenchError("--client-ca needs --tls-cert and --tls-key: the agent has to show a certificate too.")
        if is_loopback(host) or self.is_insecure or self.authority or (self.token and self.certificate):
            return
        raise BenchError(
            f"An agent on {host} would run load for everyone who reaches it: give --token-file with --tls-cert and "
            "--tls-key, or --client-ca for mutual TLS, or --insecure if the network is closed."
        )

    def check_controller(self, hosts: Iterable[str]) -> None:
        """See that no token goes over an open network.

        Raises:
            BenchError: it would.
        """
        if bool(self.certificate) != bool(self.key):
            raise BenchError("--tls-cert and --tls-key belong together: give both.")
        far = next((host for host in hosts if not is_loopback(host)), None)
        if far is not None and not self.has_tls and not self.is_insecure:
            raise BenchError(
                f"The agent on {far} would be called without TLS: give --tls-ca (and --token-file, or --tls-cert and "
                "--tls-key), or --insecure if the network is closed."
            )

    def server_credentials(self) -> grpc.ServerCredentials | None:
        """What gRPC wants of an agent; None: no TLS."""
        if not self.certificate:
            return None
        is_mutual = bool(self.authority)
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)], root_certificates=self.authority or None, require_client_auth=is_mutual
        )

    def channel_credentials(self) -> grpc.ChannelCredentials | None:
        """What gRPC wants of a controller; None: no TLS."""
        if not self.has_tls:
            return None
        return grpc.ssl_channel_credentials(self.authority or None, self.key or None, self.certificate or None)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a call brings."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def accepts(self, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        """Whether a call brings the token, if one is asked for."""
        if not self.token:
            return True
        brought = next((value for key, value in metadata if key == "authorization"), "")
        text = brought.encode() if isinstance(brought, str) else brought
        return hmac.compare_digest(text, f"Bearer {self.token}".encode())


def options(server_name: str = "") -> list[tuple[str, Any]]:
    """Settings of a channel or a server: a dead connection is noticed in 20 s, a port has one owner."""
    named = [("grpc.ssl_target_name_override", server_name)] if server_name else []
    return [
        *named,
        ("grpc.so_reuseport", 0),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", MESSAGE_MAX),
        ("grpc.max_send_message_length", MESSAGE_MAX),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_MS),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[host]:port``.

    Raises:
        BenchError: it is not of this form.
    """
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise BenchError(f"An agent's address is written as host:port or [host]:port, not {address!r}.")
    return host, int(port)

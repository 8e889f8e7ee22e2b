"""Which names, addresses and URLs are this machine's own."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

__all__ = ["is_loopback", "is_loopback_url"]


def is_loopback(host: str) -> bool:
    """Say whether a name or an address, without a port, is this machine's own (RFC 6761, section 6.3, for names)."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def is_loopback_url(url: str | None) -> bool:
    """Say whether a URL is to this machine: no proxy can reach it, and it needs neither real keys nor a region.

    Raises:
        ValueError: it is no URL, as ``http://[::1``.
    """
    return is_loopback(urlsplit(url or "").hostname or "")

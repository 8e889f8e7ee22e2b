"""How clients reach the endpoint, and which of them may. Pure: what a request says goes in, a decision comes out.

Without keys the endpoint does not ask who a caller is, so other callers must not reach it: a page of
another site that a browser shows (Origin), or one whose name was made to lead here (Host, "DNS rebinding").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from kvspic.local.errors import ServiceError
from kvspic.local.sigv4 import SignedRequest, signing_region, verify
from kvspic.loopback import is_loopback

__all__ = ["Access"]


def _name_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # such as //[::1
        return url


@dataclass(frozen=True)
class Access:
    """The rules of the front door.

    Attributes:
        keys: secret by access key; given, every request must be signed by one of them.
        public_url: the address that clients use where it differs from the one they call, as in a container.
        region: the only one that a signature may name; None takes any.
        allow_origins: sites whose pages may call the endpoint, such as ``http://localhost:3000``.
        is_insecure: everyone who reaches the endpoint may use it, whatever Host they name.
    """

    keys: Mapping[str, str] | None = None
    public_url: str | None = None
    region: str | None = None
    allow_origins: tuple[str, ...] = ()
    is_insecure: bool = False

    def base_url(self, scheme: str, host: str, port: int) -> str:
        """Return the address for a client that sent ``host`` in its Host header to our ``port``.

        Clients exist that send the name without the port; without ours the answer would lead them to port 80 or 443.
        """
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        _, colon, said = host.rpartition("]")[2].rpartition(":")  # what follows an IPv6 address in brackets
        return f"{scheme}://{host}" if colon and said else f"{scheme}://{host.rstrip(':')}:{port}"

    def check_site(self, own_url: str, headers: Mapping[str, str]) -> None:
        """Refuse what a page of another site has a browser do. Keys are enough by themselves: browsers have none.

        Args:
            own_url: what :meth:`base_url` says for this request.
            headers: of the request, names in lower case.

        Raises:
            ServiceError: AccessDeniedException, in words.
        """
        if self.keys is not None:
            return
        host, public = _name_of(f"//{headers.get('host', '')}"), _name_of(self.public_url or "")
        if not (self.is_insecure or not host or is_loopback(host) or host == public):
            text = f"The Host {host!r} is not this endpoint's: give it access keys, --public-url, or --insecure."
            raise ServiceError("AccessDeniedException", text, status=403)
        origin = headers.get("origin")
        if origin is not None and origin not in (own_url, *self.allow_origins):
            text = f"Pages of {origin[:200]!r} may not call this endpoint: name the site with --allow-origin."
            raise ServiceError("AccessDeniedException", text, status=403)

    def check_signature(self, request: SignedRequest, now_seconds: float) -> None:
        """Refuse a request that no key has signed, or that is signed for another region.

        Raises:
            ServiceError: what the service answers.
        """
        region = signing_region(request)
        if self.region is not None and region is not None and region != self.region:
            text = f"Credential should be scoped to a valid region, not {region[:64]!r}."
            raise ServiceError("InvalidSignatureException", text)
        if self.keys is not None:
            verify(request, self.keys, now_seconds)

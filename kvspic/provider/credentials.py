"""Where keys come from: botocore's whole chain, fixed keys, or a function of the user's.

A source is asked before every call and keeps its own cache; ``refresh=True`` asks for keys that are not the cached
ones. Looking keys up may wait for files, processes or the network, so it always runs in a thread, never on the loop.
Keys never show: the repr of :class:`Credentials` names nothing but the last four characters of the access key.
"""

from __future__ import annotations

import datetime
import functools
import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from kvspic.provider.clock import SERVICE_CLOCK, ServiceClock
from kvspic.threads import in_thread

__all__ = [
    "BotocoreCredentials",
    "CallableCredentials",
    "CredentialFetchError",
    "CredentialSource",
    "Credentials",
    "NoCredentialsError",
    "StaticCredentials",
    "loopback_credentials",
]

logger = logging.getLogger(__name__)

RENEWAL_S = 20 * 60.0  # before keys expire: botocore renews them 15 minutes before


@dataclass(frozen=True, repr=False)
class Credentials:
    """Keys for one moment. ``expiry_s`` is in seconds since 1970, None for keys that do not expire."""

    access_key: str
    secret_key: str
    session_token: str | None = None
    expiry_s: float | None = None

    def __repr__(self) -> str:
        kind = "temporary" if self.session_token else "permanent"
        return f"Credentials(access_key='...{self.access_key[-4:]}', {kind}, expiry_s={self.expiry_s})"


class NoCredentialsError(Exception):
    """No source has keys. The name is the one that botocore uses; results are classified by it."""


class CredentialFetchError(Exception):
    """A source could not get its keys this time. The text is one sentence with cause and remedy, and never a secret."""


class CredentialSource(Protocol):
    """Gives keys that are valid now; ``refresh`` asks for other keys than the last ones, which were refused."""

    async def get(self, *, refresh: bool = False) -> Credentials: ...


class StaticCredentials:
    """Always the same keys; a refresh cannot change them."""

    def __init__(
        self, access_key: str, secret_key: str, session_token: str | None = None, expiry_s: float | None = None
    ) -> None:
        if not access_key or not secret_key:
            raise ValueError("an access key and a secret key are needed; pass both")
        self._credentials = Credentials(access_key, secret_key, session_token, expiry_s)

    async def get(self, *, refresh: bool = False) -> Credentials:
        return self._credentials


class CallableCredentials:
    """Keys from a function that returns :class:`Credentials`, plain (run in a thread) or async.

    It is called each time; a function that is slow should keep its keys itself.
    """

    def __init__(self, function: Callable[[], Credentials | Awaitable[Credentials]]) -> None:
        self._function = function

    async def get(self, *, refresh: bool = False) -> Credentials:
        function: Callable[[], Any] = self._function
        answer = function() if inspect.iscoroutinefunction(function) else await in_thread(function)
        credentials: Credentials = await answer if inspect.isawaitable(answer) else answer
        return credentials


class BotocoreCredentials:
    """Keys from botocore's chain: environment, profiles, SSO, processes, containers, instance metadata.

    Temporary keys are renewed before they expire, by the service's clock; while that fails, the old ones go on for as
    long as they are valid. A refresh starts the chain again, which also sees changed files; a call during a walk
    through the chain shares what the walk finds. ``profile`` defaults to AWS_PROFILE. ``without`` names providers of
    the chain to leave out.
    """

    def __init__(
        self, profile: str | None = None, *, without: tuple[str, ...] = (), clock: ServiceClock = SERVICE_CLOCK
    ) -> None:
        self._profile = profile
        self._without = without
        self._clock = clock
        self._lock = threading.Lock()  # one lookup at a time: the chain may run a process or ask the network
        self._walked_s = 0.0
        self._found: Any = None
        self._failure: Exception | None = None
        self._kept: Credentials | None = None

    async def get(self, *, refresh: bool = False) -> Credentials:
        kept = self._kept
        if kept is not None and not refresh and (kept.expiry_s is None or self._now_s() < kept.expiry_s - RENEWAL_S):
            return kept  # botocore would give the same: that needs no thread
        return await in_thread(functools.partial(self.get_now, refresh=refresh))

    def get_now(self, *, refresh: bool = False) -> Credentials:
        """The same, blocking.

        Raises:
            NoCredentialsError: the chain has none. Errors of botocore (a broken profile, an expired SSO login) pass.
        """
        asked_s = time.monotonic()
        with self._lock:
            if (refresh or self._found is None) and self._walked_s <= asked_s:
                self._walk()
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            if self._found is None:
                raise NoCredentialsError(
                    "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
                )
            return self._freeze()

    @property
    def method(self) -> str:
        """Which provider of the chain gave the keys, in botocore's word, such as ``env``; empty before."""
        return str(getattr(self._found, "method", "") or "")

    def _walk(self) -> None:
        self._found = self._failure = self._kept = None
        try:
            self._found = self._walk_chain()
            if hasattr(self._found, "_time_fetcher"):  # of temporary keys; else botocore goes by the machine's clock
                self._found._time_fetcher = self._now
        except Exception as error:
            self._failure = error
        self._walked_s = time.monotonic()

    def _walk_chain(self) -> Any:
        import botocore.session

        session = botocore.session.Session(profile=self._profile)
        chain = session.get_component("credential_provider")
        for name in self._without:
            chain.remove(name)
        return session.get_credentials()

    def _freeze(self) -> Credentials:
        kept = self._kept
        try:
            frozen = self._found.get_frozen_credentials()  # renews temporary keys some minutes before they expire
        except Exception as error:
            if kept is None or kept.expiry_s is None or self._clock.is_past(kept.expiry_s):
                raise
            logger.warning("renewing the credentials failed with %s; the old ones are kept", type(error).__name__)
            return kept
        expiry = getattr(self._found, "_expiry_time", None)
        expiry_s = expiry.timestamp() if expiry else None
        self._kept = Credentials(frozen.access_key, frozen.secret_key, frozen.token, expiry_s)
        return self._kept

    def _now(self) -> datetime.datetime:
        """What botocore judges expiries by; nothing has expired before the service has answered with its time."""
        return datetime.datetime.fromtimestamp(self._now_s(), datetime.timezone.utc)

    def _now_s(self) -> float:
        return self._clock.now() if self._clock.is_known else 0.0


class _LoopbackCredentials:
    """Keys for an endpoint on this machine: real ones if the user has some, else dummy ones of no account."""

    def __init__(self) -> None:
        self._chain = BotocoreCredentials(without=("iam-role",))  # asking the metadata service would cost seconds
        self._dummy: Credentials | None = None

    @property
    def method(self) -> str:
        """As of :class:`BotocoreCredentials`; empty for dummy keys."""
        return "" if self._dummy is not None else self._chain.method

    async def get(self, *, refresh: bool = False) -> Credentials:
        import botocore.exceptions

        if self._dummy is not None and not refresh:
            return self._dummy
        try:
            found = await self._chain.get(refresh=refresh)
        except NoCredentialsError:
            self._dummy = Credentials("local", "local")
        except botocore.exceptions.BotoCoreError as error:
            logger.debug("credential chain failed with %s; using dummy keys for loopback", type(error).__name__)
            self._dummy = Credentials("local", "local")
        else:
            self._dummy = None
            return found
        return self._dummy


def loopback_credentials() -> CredentialSource:
    """Keys for a loopback http endpoint, which needs no configuration: the chain's without the metadata service,
    dummy keys only when there are none."""
    return _LoopbackCredentials()

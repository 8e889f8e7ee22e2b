"""One stream of the simulation: the real core and the driver's own rules, with simulated calls and uploads.

Orders become calls of the simulated service; what is answered, what the retry policy is asked and what its decisions
mean is :mod:`kvspic.driver.rules`, the same that the driver runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kvspic import errors
from kvspic.actions import Action, ActionKind, PressureKind
from kvspic.core import Stream
from kvspic.driver.rules import CallEnd, OrderRules, Recovery, described
from kvspic.local.acks import Ack
from kvspic.provider.results import ServiceResult, classify, classify_transport, is_credential_problem
from kvspic.provider.upload import PutMediaOutcome
from kvspic.retry import Decision, GiveUp
from kvspic.testing.clock import Timer
from kvspic.testing.sim_checks import Account, Violation
from kvspic.testing.sim_plan import StreamPlan
from kvspic.testing.sim_service import Answer
from kvspic.testing.sim_upload import SimUpload
from kvspic.types import DropReason
from kvspic.units import HNS_PER_S

if TYPE_CHECKING:
    from kvspic.testing.simulation import World

__all__ = ["SimStream"]

Take = Callable[[Mapping[str, Any]], dict[str, int]]  # from an answer of the service to the fields for the core
Done = Callable[["Mapping[str, Any] | None", int], None]  # the answer, or None and the result

ROUNDS_PER_MINUTE_MAX = 100  # of Describe, GetDataEndpoint, GetToken, PutMedia, and TagStream where there are tags
RETRIES_MAX = 5
TRIES_PER_MINUTE_MAX = 10 + 24 + 1  # of the policy: ten at once, then one each 2.5 s


class SimStream:
    """One life of a stream, from open to free."""

    def __init__(self, world: World, plan: StreamPlan, account: Account, core: Stream) -> None:
        self.world = world
        self.plan = plan
        self.account = account
        self.core = core
        self.rules = OrderRules(plan.name, core, world.endpoints, world.throttle)
        self.recovery = Recovery(world.policy, core, self.rules, self._later)
        self.uploads: dict[int, SimUpload] = {}
        self.calls = 0  # outstanding
        self.endpoint_url = ""  # where the upload goes that begins next
        self._timers: list[Timer] = []  # of what the policy decided; a later one replaces none
        self.is_given_up = self.is_closed = self.is_stopped = self.is_freed = False
        self.on_room: Callable[[], None] = lambda: None
        self.on_closed: Callable[[], None] = lambda: None
        self.given_up_for = 0
        self._tries: list[int] = []
        self._last_order = 0
        self._may_hurry = False  # the next order follows a retry, whose pause was the policy's or the user's
        self._table: dict[int, Callable[[Action], None]] = {
            ActionKind.DESCRIBE_STREAM: self._describe,
            ActionKind.CREATE_STREAM: self._create,
            ActionKind.TAG_STREAM: self._tag,
            ActionKind.GET_DATA_ENDPOINT: self._get_endpoint,
            ActionKind.GET_TOKEN: self._get_token,
            ActionKind.PUT_MEDIA: self._put_media,
            ActionKind.UPLOAD_END: self._upload_end,
            ActionKind.FAILED: self._failed,
            ActionKind.STALE: self._stale,
            ActionKind.PRESSURE: self._pressure,
            ActionKind.FRAGMENT_DONE: self._fragment_done,
            ActionKind.DROPPED: self._dropped,
            ActionKind.ROOM: lambda action: self.on_room(),
            ActionKind.CLOSED: self._closed,
        }

    def on_action(self, action: Action) -> None:
        """Handle one action of this stream."""
        self.world.note(self, action)
        if ActionKind.DESCRIBE_STREAM <= action.kind <= ActionKind.PUT_MEDIA:
            self._count_order(action)
        handler = self._table.get(action.kind)
        if handler is not None:
            handler(action)

    def _count_order(self, action: Action) -> None:
        now_hns = self.world.clock.now_hns
        if action.attempt > RETRIES_MAX:
            raise Violation("more retries than budgeted", f"{self.plan.name}: attempt {action.attempt}")
        may_hurry, self._may_hurry = self._may_hurry or action.kind != self._last_order, False
        self._last_order = action.kind
        if action.attempt and not action.after_hns and not may_hurry:
            raise Violation("a retry without a pause", f"{self.plan.name}: {ActionKind(action.kind).name}")
        recent = [at for at in self.account.orders if at > now_hns - 60 * HNS_PER_S]
        self.account.orders = [*recent, now_hns]
        if len(recent) > ROUNDS_PER_MINUTE_MAX * (5 if self.plan.has_tags else 4):
            raise Violation("a storm of calls", f"{self.plan.name}: {len(recent)} in a minute")

    def free(self) -> None:
        """Give the stream up at once."""
        self.is_freed = True
        for timer in self._timers:
            timer.cancel()
        for upload in tuple(self.uploads.values()):
            upload.handle.end()
        self.core.close()

    # ---- the control plane

    def _call(self, action: Action, operation: str, request: Mapping[str, Any], take: Take) -> None:
        """Make a call, refresh refused keys once, answer the core once, whatever happens."""

        def done(fields: Mapping[str, Any] | None, result: int) -> None:
            self.rules.answer(action, self.world.clock.now_hns, {"result": result} if fields is None else take(fields))

        self._ask(operation, request, done)

    def _ask(self, operation: str, request: Mapping[str, Any], done: Done) -> None:
        self.calls += 1
        clock, began = self.world.clock, CallEnd(0)

        def settle(fields: Mapping[str, Any] | None, result: int) -> None:
            self.calls -= 1
            done(fields, result)

        def replied(answer: Answer, is_repeat: bool) -> None:
            if answer.fields is not None:
                self.rules.called(replace(began, http_status=200), clock.now_hns)
                settle(answer.fields, 200)
                return
            if is_credential_problem(answer.status, answer.error_name) and answer.trouble is None and not is_repeat:
                ask(True)
                return
            if answer.trouble is not None:
                result = classify_transport(answer.trouble)
            else:
                result = classify(answer.status, answer.error_name)
            end = CallEnd(began.began_hns, answer.status, answer.error_name, answer.retry_after_s, operation)
            pause_hns = self.rules.called(end, clock.now_hns)
            clock.call_later(pause_hns, lambda: settle(None, int(result)))

        def ask(refresh: bool) -> None:
            keys = self.world.credentials(refresh)
            if keys is None:
                self.rules.called(began, clock.now_hns)
                clock.call_later(HNS_PER_S // 100, lambda: settle(None, int(ServiceResult.NOT_AUTHORIZED)))
                return
            self.account.called(operation, clock.now_hns)
            self.world.service.call(operation, request, keys, lambda answer: replied(answer, refresh))

        def begin() -> None:
            nonlocal began
            began = CallEnd(clock.now_hns, operation=operation)
            ask(False)

        self._paced(operation, begin)

    def _paced(self, operation: str, begin: Callable[[], None]) -> None:
        """Begin a call of the service when it is this stream's turn."""
        wait_hns = self.rules.wait_hns(operation, self.world.clock.now_hns)
        if wait_hns:
            self.world.clock.call_later(wait_hns, begin)
        else:
            begin()

    def _reply(self, action: Action, fields: dict[str, int]) -> None:
        self.calls -= 1
        self.rules.answer(action, self.world.clock.now_hns, fields)

    def _describe(self, action: Action) -> None:
        def take(answer: Mapping[str, Any]) -> dict[str, int]:
            info = answer["StreamInfo"]
            self.account.done_on_received = info["DataRetentionInHours"] == 0
            return described(info["Status"], info["DataRetentionInHours"])

        self._call(action, "DescribeStream", {"StreamName": self.plan.name}, take)

    def _create(self, action: Action) -> None:
        def take(answer: Mapping[str, Any]) -> dict[str, int]:
            self.account.done_on_received = self.plan.retention_hours == 0
            return {}

        request = {"StreamName": self.plan.name, "DataRetentionInHours": self.plan.retention_hours}
        self._call(action, "CreateStream", request, take)

    def _tag(self, action: Action) -> None:
        self._call(action, "TagStream", {"StreamName": self.plan.name, "Tags": {"a": "b"}}, lambda answer: {})

    def _get_endpoint(self, action: Action) -> None:
        name, now_hns = self.plan.name, self.world.clock.now_hns

        def take(answer: Mapping[str, Any]) -> dict[str, int]:
            self.rules.learn_endpoint(str(answer["DataEndpoint"]), now_hns)
            return {}

        if not self.rules.has_endpoint(action, now_hns):
            self._call(action, "GetDataEndpoint", {"StreamName": name, "APIName": "PUT_MEDIA"}, take)
            return
        self.calls += 1
        self.world.clock.call_later(0, lambda: self._reply(action, {}))

    def _get_token(self, action: Action) -> None:
        keys = self.world.credentials(self.rules.takes_refresh(action), self.plan.name)
        if keys is None:
            self.rules.called(CallEnd(self.world.clock.now_hns), self.world.clock.now_hns)
        fields = {"result": int(ServiceResult.NOT_AUTHORIZED)} if keys is None else {"expires_hns": keys.expires_hns}
        self.calls += 1
        self.world.clock.call_later(HNS_PER_S // 100, lambda: self._reply(action, fields))

    # ---- uploads

    def _put_media(self, action: Action) -> None:
        self.account.uploads_open.add(action.upload)
        upload = SimUpload(self, action, lambda outcome: self._upload_done(upload, outcome))
        self.uploads[action.upload] = upload
        self.rules.began(upload.handle)
        self._begin_in_turn(upload)

    def _begin_in_turn(self, upload: SimUpload) -> None:
        """Begin an upload when the ones before it leave it room, and it is known where it goes."""
        clock = self.world.clock
        if upload.handle.is_over:
            upload.begin()
        elif self.rules.wait_for_elders_hns(upload.handle, clock.now_hns) > 0:
            clock.call_later(HNS_PER_S // 2, lambda: self._begin_in_turn(upload))
        elif (url := self.rules.endpoint(clock.now_hns)) is None:
            self._find_endpoint(upload)
        else:
            self.endpoint_url = url
            self._paced("PutMedia", upload.begin)

    def _find_endpoint(self, upload: SimUpload) -> None:
        asked_hns, last = self.world.clock.now_hns, self.rules.last_endpoint()

        def done(fields: Mapping[str, Any] | None, result: int) -> None:
            if fields is not None:
                self.rules.learn_endpoint(str(fields["DataEndpoint"]), asked_hns)
            self.endpoint_url = str(fields["DataEndpoint"]) if fields is not None else last or ""
            if fields is None and last is None:
                self._upload_done(upload, PutMediaOutcome(ServiceResult(result)))
            else:
                self._paced("PutMedia", upload.begin)

        self._ask("GetDataEndpoint", {"StreamName": self.plan.name, "APIName": "PUT_MEDIA"}, done)

    def _upload_done(self, upload: SimUpload, outcome: PutMediaOutcome) -> None:
        action, clock = upload.handle.action, self.world.clock
        self.uploads.pop(action.upload)
        self.account.uploads_open.discard(action.upload)
        self.world.write(self.plan.name, f"upload {action.upload} ended: {outcome.message}")
        pause_hns = self.rules.ended(upload.handle, outcome, upload.began_hns, clock.now_hns)
        for other in tuple(self.uploads.values()):
            if self.rules.wait_for_elders_hns(other.handle, clock.now_hns) <= 0:
                other.hurry()
        if upload.handle.is_over or self.is_freed:
            return
        self.calls += 1

        def tell() -> None:
            self.calls -= 1
            self.rules.upload_ended(upload.handle, outcome.result, clock.now_hns)

        clock.call_later(pause_hns, tell)

    def told_of_ack(self, ack: Ack) -> None:
        """An ACK has reached the core."""
        if ack.event != "IDLE":
            self.account.orders.clear()

    def data(self, number: int) -> None:
        """There is something to read for an upload."""
        upload = self.uploads.get(number)
        if upload is not None:
            upload.more()

    def _upload_end(self, action: Action) -> None:
        upload = self.uploads.get(action.upload)
        if upload is not None:
            upload.handle.end()

    # ---- notices

    def _fragment_done(self, action: Action) -> None:
        self.recovery.fragment_done()

    def _dropped(self, action: Action) -> None:
        self.world.accounts.dropped(self.account, action.result, action.b)
        self.recovery.dropped(DropReason(action.result), self.world.clock.now_hns)

    def _closed(self, action: Action) -> None:
        self.is_closed = True
        self.on_closed()

    def _stale(self, action: Action) -> None:
        self._decided("stale", self.recovery.stale(self.world.clock.now_hns))

    def _pressure(self, action: Action) -> None:
        if action.a and action.result == PressureKind.LATENCY:
            self._decided("late", self.recovery.late(self.world.clock.now_hns))

    def _failed(self, action: Action) -> None:
        failure = errors.from_status(action.status, "")
        self._decided(failure.name, self.recovery.failed(action, failure, self.world.clock.now_hns))

    def _decided(self, trouble: str, decision: Decision) -> None:
        self.is_given_up = self.is_given_up or isinstance(decision, GiveUp)
        self.world.write(self.plan.name, f"policy: {trouble} -> {decision}")

    def _later(self, after_hns: int, act: Callable[[int], None]) -> None:
        def run() -> None:
            if not self.is_freed:
                self._count_try()
                self._may_hurry = True
                act(self.world.clock.now_hns)

        pending = [timer for timer in self._timers if timer.is_pending]
        self._timers = [*pending, self.world.clock.call_later(after_hns, run)]

    def _count_try(self) -> None:
        """What the policy asks for is bounded by a budget of tries, whatever the policy is."""
        now_hns = self.world.clock.now_hns
        self._tries = [at for at in self._tries if at > now_hns - 60 * HNS_PER_S] + [now_hns]
        if len(self._tries) > TRIES_PER_MINUTE_MAX:
            raise Violation("more retries than budgeted", f"{self.plan.name}: {len(self._tries)} tries in a minute")

    def user_retry(self) -> None:
        """The user says: try again."""
        self.is_given_up = False
        self._may_hurry = True
        self._guarded(self.core.retry)

    def user_reset(self) -> None:
        """The user drops everything and begins again."""
        self.is_given_up = self.is_stopped = self.is_closed = False
        self.may_skip()
        self._guarded(self.core.reset)

    def may_skip(self) -> None:
        """From now on the source may go on in the middle of a GOP, whose frames are skipped."""
        if DropReason.SKIPPED in self.account.offline_losses:
            self.account.offline_losses.remove(DropReason.SKIPPED)

    def user_stop(self) -> None:
        """No more frames."""
        self.is_stopped = True
        self._guarded(self.core.stop)

    def _guarded(self, act: Callable[[int], None]) -> None:
        try:
            act(self.world.clock.now_hns)
        except errors.StateError as error:
            self.world.write(self.plan.name, f"refused: {type(error).__name__}")

    # ---- how it is

    def condition(self) -> str:
        """What it does or waits for, in words; empty when nothing would ever make it go on."""
        found = self.account.metrics
        if self.is_given_up or not found.frames_buffered:
            return "given up" if self.is_given_up else "idle"
        if self.calls:
            return "calling"
        if any(timer.is_pending for timer in self._timers):
            return "waiting to try again"
        if self.world.has_later_order(self.account.number):
            return "waiting to call"
        if self.uploads:
            return "uploading"
        return ""

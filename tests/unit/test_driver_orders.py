"""Orders. Goal: each order is answered exactly once, with what the provider said or could not do."""

import asyncio
from dataclasses import dataclass, field

import pytest

from kvspic import errors
from kvspic.actions import Action, ActionKind
from kvspic.core import TIME_NONE, UploadReader
from kvspic.driver import orders as driver_orders
from kvspic.driver.aio import Clock
from kvspic.driver.orders import OrderSettings, StreamOrders
from kvspic.provider.control import StreamDescription
from kvspic.provider.credentials import Credentials, NoCredentialsError
from kvspic.provider.endpoints import EndpointCache
from kvspic.provider.results import ServiceError, ServiceResult

HOUR_HNS = 36_000_000_000
SETTINGS = OrderSettings("door", 90 * 60 * 10_000_000, "video/h264", {"place": "hall"}, None, True, True)

KEYS = Credentials("AK", "SK")


class Core:
    """A stream that writes down each call."""

    reader = UploadReader(16)

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, int]]] = []
        self.ended: list[tuple[int, int]] = []
        self.refusal: Exception | None = None

    def answer(self, request: int, now_hns: int, **fields: int) -> None:
        self.answers.append((request, fields))
        if self.refusal is not None:
            raise self.refusal

    def upload_ended(self, upload: int, result: int, now_hns: int) -> None:
        self.ended.append((upload, result))


@dataclass
class Plane:
    """A control plane that answers from memory, or fails."""

    failure: Exception | None = None
    keys: Credentials = KEYS
    calls: list[tuple[object, ...]] = field(default_factory=list)
    user_agent: str = "test"

    @property
    def credentials(self) -> "Plane":
        return self

    @property
    def clock(self) -> "Plane":
        return self

    def now(self) -> float:
        return 1000.0

    async def get(self, *, refresh: bool = False) -> Credentials:
        self.note("get", refresh)
        return self.keys

    async def describe_stream(self, name: str) -> StreamDescription:
        self.note("describe", name)
        return StreamDescription(name, "arn:x", "UPDATING", 3)

    async def create_stream(self, name: str, **wanted: object) -> str:
        self.note("create", name, wanted["retention_hours"], wanted["media_type"])
        return "arn:x"

    async def tag_stream(self, name: str, tags: dict[str, str]) -> None:
        self.note("tag", name, tags)

    async def get_data_endpoint(self, name: str) -> str:
        self.note("endpoint", name)
        return "http://127.0.0.1:1"

    async def put_media_target(self, url: str) -> object:
        self.note("target", url)
        raise ServiceError("Finding the AWS region", ServiceResult.INVALID_ARG)

    def note(self, *call: object) -> None:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure


def order(kind: ActionKind, **fields: int) -> Action:
    return Action(kind, 0, 0, 0, 1, 77, 0, 0, 0, 0, 0, b"")._replace(**fields)


class Bench:
    """Orders over a written-down core and plane."""

    def __init__(self, **plane: object) -> None:
        self.core = Core()
        self.plane = Plane(**plane)
        self.clock = Clock()
        self.tasks: list[asyncio.Task[object]] = []
        self.orders = StreamOrders(SETTINGS, self.core, self.plane, EndpointCache(), self.spawn, self.clock)

    def spawn(self, work, name: str) -> "asyncio.Task[object]":
        task = asyncio.ensure_future(work)
        self.tasks.append(task)
        return task

    def carry_out(self, *actions: Action) -> list[dict[str, int]]:
        async def run() -> None:
            for action in actions:
                self.orders.table[action.kind](action)
                await asyncio.gather(*self.tasks)
                self.tasks.clear()

        asyncio.run(run())
        return [fields for _, fields in self.core.answers]


def test_a_description_is_answered_with_state_and_retention():
    assert Bench().carry_out(order(ActionKind.DESCRIBE_STREAM)) == [{"status": 2, "retention_hns": 3 * HOUR_HNS}]


def test_a_stream_is_created_with_whole_hours():
    bench = Bench()
    assert bench.carry_out(order(ActionKind.CREATE_STREAM)) == [{}]
    assert bench.plane.calls == [("create", "door", 2, "video/h264")]


def test_tags_go_to_the_service():
    bench = Bench()
    assert bench.carry_out(order(ActionKind.TAG_STREAM)) == [{}]
    assert bench.plane.calls == [("tag", "door", {"place": "hall"})]


def test_an_endpoint_is_asked_for_once_and_again_after_a_failure():
    bench = Bench()
    first = order(ActionKind.GET_DATA_ENDPOINT)
    bench.carry_out(first, first, first._replace(attempt=1))
    assert bench.plane.calls == [("endpoint", "door")] * 2


CALLS = [ActionKind.DESCRIBE_STREAM, ActionKind.CREATE_STREAM, ActionKind.TAG_STREAM, ActionKind.GET_DATA_ENDPOINT]


@pytest.mark.parametrize("kind", CALLS)
def test_a_call_that_fails_is_a_result(kind):
    bench = Bench(failure=ServiceError("It", ServiceResult.NOT_FOUND, http_status=404))
    assert bench.carry_out(order(kind)) == [{"result": 404}]
    assert bench.orders.last_error.startswith("It failed (HTTP 404)")


@pytest.mark.parametrize("kind", [*CALLS, ActionKind.GET_TOKEN])
def test_an_answer_that_makes_no_sense_is_a_result_too(kind):
    assert Bench(failure=ValueError("'x' is no number")).carry_out(order(kind)) == [{"result": 10006}]


def test_an_exception_that_nobody_expected_is_given_to_the_stream():
    bench, faults = Bench(), []
    bench.orders.on_fault = faults.append
    bench.core.refusal = ZeroDivisionError("a bug")
    bench.carry_out(order(ActionKind.DESCRIBE_STREAM))
    assert [str(fault) for fault in faults] == ["a bug"]


def test_an_answer_waits_as_long_as_the_service_asked_and_so_does_the_next_call_when_it_throttled(monkeypatch):
    waits = []

    async def sleep(duration_hns: int) -> None:
        waits.append(round(duration_hns / 10_000_000))

    monkeypatch.setattr(driver_orders, "_sleep", sleep)
    throttled = {"error_name": "ThrottlingException", "http_status": 400, "retry_after_s": 3.0}
    bench = Bench(failure=ServiceError("It", ServiceResult.UNKNOWN, **throttled))
    bench.carry_out(order(ActionKind.DESCRIBE_STREAM))
    bench.plane.failure = None
    bench.carry_out(order(ActionKind.TAG_STREAM))
    bench.carry_out(order(ActionKind.DESCRIBE_STREAM))
    assert waits == [0, 3, 0, 3]


def test_keys_that_never_expire_are_answered_so():
    assert Bench().carry_out(order(ActionKind.GET_TOKEN)) == [{"expires_hns": TIME_NONE}]


def test_an_expiry_becomes_a_duration_of_the_cores_clock():
    bench = Bench(keys=Credentials("AK", "SK", "T", expiry_s=1060.0))
    before = bench.clock.now_hns()
    expires_hns = bench.carry_out(order(ActionKind.GET_TOKEN))[0]["expires_hns"]
    assert before + 60 * 10_000_000 <= expires_hns <= bench.clock.now_hns() + 60 * 10_000_000


def test_keys_are_refreshed_when_they_failed_or_were_refused():
    bench = Bench()
    first = order(ActionKind.GET_TOKEN)
    bench.carry_out(first, first._replace(attempt=1))
    bench.orders.rules.refresh_next = True
    bench.carry_out(first, first)
    assert bench.plane.calls == [("get", False), ("get", True), ("get", True), ("get", False)]


def test_a_source_of_keys_that_raises_tells_no_secret():
    bench = Bench(failure=RuntimeError("key SECRET"))
    assert bench.carry_out(order(ActionKind.GET_TOKEN)) == [{"result": 10006}]  # tried again: it may work soon
    assert "SECRET" not in bench.orders.last_error
    assert "RuntimeError" in bench.orders.last_error


def test_a_source_without_keys_is_a_refusal():
    bench = Bench(failure=NoCredentialsError("none"))
    assert bench.carry_out(order(ActionKind.GET_TOKEN)) == [{"result": 401}]


@pytest.mark.parametrize("name", ["STALE_ANSWER", "NULL_ARG", "DESCRIBE_FAILED"])
def test_an_answer_that_the_core_does_not_want_hurts_nobody(name):
    bench = Bench()
    bench.core.refusal = errors.named(name)
    bench.carry_out(order(ActionKind.DESCRIBE_STREAM))


def test_an_upload_that_cannot_start_is_answered_and_forgotten():
    bench = Bench()
    assert bench.carry_out(order(ActionKind.PUT_MEDIA, upload=5)) == [{"result": 406}]
    assert bench.core.ended == []
    bench.orders.data(5)
    bench.carry_out(order(ActionKind.UPLOAD_END, upload=5))


def test_stopping_cancels_what_is_under_way():
    async def run():
        bench = Bench()
        bench.plane.describe_stream = lambda name: asyncio.sleep(3600)
        bench.orders.table[ActionKind.DESCRIBE_STREAM](order(ActionKind.DESCRIBE_STREAM))
        await asyncio.sleep(0)
        bench.orders.stop()
        await asyncio.gather(*bench.tasks, return_exceptions=True)
        return bench

    bench = asyncio.run(run())
    assert bench.tasks[0].cancelled()
    assert bench.core.answers == []

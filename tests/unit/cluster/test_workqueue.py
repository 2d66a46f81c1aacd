"""Writes that nobody waits for: bounded, once a key, and quiet where they are refused."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from tests.support.clock import Clock
from webhook.cluster import workqueue
from webhook.cluster.errors import Absent, Busy, ClusterError, Denied, Forbidden, Unreachable
from webhook.cluster.workqueue import FAILED_PAUSE, REFUSED_PAUSE, WorkQueue, run_in_background


class Target:
    """What was written; `error` is raised instead while there is one."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.error: ClusterError | None = None

    def write(self, text: str) -> workqueue.Write:
        async def write() -> None:
            if self.error is not None:
                raise self.error
            self.written.append(text)

        return write


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workqueue, "WRITE_INTERVAL", 0)


@pytest.fixture
def target() -> Target:
    return Target()


async def until(probe: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not probe():
            await asyncio.sleep(0)


async def test_what_is_offered_is_written_in_order_and_each_key_once(target: Target) -> None:
    writer = WorkQueue("things")
    for key, text in (("a", "first"), ("b", "second"), ("a", "newer")):
        assert writer.add(key, target.write(text))
    async with run_in_background(writer):
        await until(lambda: writer.written == 2)
        assert target.written == ["newer", "second"]
        assert writer.add("a", target.write("again"))
        await until(lambda: writer.written == 3)
    assert (writer.failed, writer.dropped) == (0, 0)


async def test_some_kinds_are_written_more_slowly(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    sleep = asyncio.sleep

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        await sleep(0)

    monkeypatch.setattr(workqueue, "WRITE_INTERVAL", 2)
    monkeypatch.setattr(asyncio, "sleep", rest)
    writer = WorkQueue("things", rests=10)
    writer.add("a", target.write("a"))
    async with run_in_background(writer):
        async with asyncio.timeout(5):
            while not rests:
                await sleep(0)
    assert rests == [20]


async def test_what_does_not_fit_is_dropped_and_counted(target: Target) -> None:
    writer = WorkQueue("things", limit=2)
    assert [writer.add(key, target.write(key)) for key in "abcb"] == [True, True, False, True]
    assert writer.dropped == 1


async def test_a_bug_in_one_write_does_not_end_the_others(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    async def bug() -> None:
        raise ZeroDivisionError

    writer = WorkQueue("things")
    writer.add("a", bug)
    writer.add("b", target.write("b"))
    async with run_in_background(writer):
        await until(lambda: writer.written == 1)
    assert writer.failed == 1
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("error", "pause"),
    [(Forbidden("no"), REFUSED_PAUSE), (Absent("what"), REFUSED_PAUSE), (Unreachable("?"), FAILED_PAUSE)],
)
async def test_a_failure_stops_writes_for_a_while_and_is_logged_once(
    target: Target, error: ClusterError, pause: float, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    writer = WorkQueue("things", clock=clock)
    target.error = error
    with caplog.at_level(logging.INFO):
        async with run_in_background(writer):
            for failures in (1, 2):
                assert writer.add("a", target.write("a"))
                await until(lambda failures=failures: writer.failed == failures)  # type: ignore[misc]
                assert not writer.add("a", target.write("a"))
                clock.now += pause
            target.error = None
            assert writer.add("a", target.write("a"))
            await until(lambda: writer.written == 1)
    assert [record.getMessage() for record in caplog.records] == [
        f"no things are written for now: {error}",
        "things are written again",
    ]
    assert writer.dropped == 2


async def test_an_object_that_is_not_taken_closes_nothing(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    """Neither one that is invalid nor one that an admission policy is against."""
    writer = WorkQueue("things", clock=Clock())
    async with run_in_background(writer):
        target.error = Denied("thing a: POST was answered 422 invalid name")
        writer.add("a", target.write("a"), "shop")
        await until(lambda: writer.failed == 1)
        target.error = None
        assert writer.add("b", target.write("b"), "shop")
        await until(lambda: writer.written == 1)
    (record,) = caplog.records
    assert record.getMessage() == "one of the things is not taken: thing a: POST was answered 422 invalid name"


async def test_a_refusal_in_one_namespace_closes_no_other(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    writer = WorkQueue("things", clock=clock)
    async with run_in_background(writer):
        target.error = Forbidden("no right")
        writer.add("a", target.write("a"), "ci")
        await until(lambda: writer.failed == 1)
        target.error = None
        assert not writer.add("a", target.write("a"), "ci")
        for number in range(5):
            assert writer.add(number, target.write(str(number)), "shop")
        await until(lambda: writer.written == 5)
        assert not writer.add("a", target.write("a"), "ci")
        clock.now += REFUSED_PAUSE
        assert writer.add("a", target.write("a"), "ci")
    assert [each.getMessage() for each in caplog.records] == ["no things are written for now in namespace ci: no right"]


async def test_namespaces_that_refuse_are_bounded(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workqueue, "REFUSED_LIMIT", 3)
    writer = WorkQueue("things", clock=Clock())
    target.error = Forbidden("no right")
    async with run_in_background(writer):
        for number in range(9):
            assert writer.add(number, target.write("a"), f"team-{number}")
        await until(lambda: writer.failed == 9)
    assert len(writer._closed) == 3


async def test_an_api_server_that_asks_for_a_pause_gets_it(target: Target) -> None:
    clock = Clock()
    writer = WorkQueue("things", clock=clock)
    target.error = Busy("later", 30)
    async with run_in_background(writer):
        writer.add("a", target.write("a"))
        await until(lambda: writer.failed == 1)
    clock.now += 29
    assert not writer.add("a", target.write("a"))
    clock.now += 1
    assert writer.add("a", target.write("a"))

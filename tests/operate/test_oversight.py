"""When statuses are looked at and the cluster is scanned, and that a failure of either hurts nothing else."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webhook.cluster import Unreachable
from webhook.operate import OperateSettings, repeating
from webhook.operate.changes import Changes
from webhook.operate.oversight import PAUSE, RESYNC, SETTLE, Oversight
from webhook.operate.repeating import Pause, repeat
from webhook.operate.scanning import Scanning
from webhook.operate.standing import Moment, Standing
from webhook.status import Outcomes

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Still(Standing):
    """Statuses of which nothing is known but when the next one turns."""

    def __init__(self) -> None:
        self.turn: datetime | None = None
        self.sums = None

    async def round(self, now: datetime) -> tuple[Moment, datetime | None]:
        return Moment((), (), ()), self.turn


class Short(Scanning):
    """A scan that takes no time."""

    def __init__(self) -> None:
        self.rounds = 0

    async def round(self) -> None:
        self.rounds += 1

    def sums(self) -> dict[str, Outcomes]:
        return {"all": Outcomes(failing=self.rounds)}


class Scene:
    """An oversight whose clock a test sets."""

    def __init__(self, interval: timedelta = HOUR) -> None:
        self.standing, self.scanning, self.now = Still(), Short(), NOW
        self.oversight = Oversight(self.standing, self.scanning, interval, lambda: self.now)


async def test_a_scan_has_its_sums_shown_and_the_next_one_waits() -> None:
    scene = Scene()
    assert await scene.oversight.scan() == Pause(SETTLE, HOUR.total_seconds())
    assert scene.standing.sums == {"all": Outcomes(failing=1)}
    assert scene.oversight.standing_due.is_set()
    assert not scene.oversight.scan_due.is_set()


async def test_a_change_asks_for_both() -> None:
    scene = Scene()
    scene.oversight.changed()
    assert scene.oversight.standing_due.is_set()
    assert scene.oversight.scan_due.is_set()


async def test_statuses_are_looked_at_when_an_exception_ends_and_then_it_is_scanned() -> None:
    scene = Scene()
    assert await scene.oversight.stand() == Pause(PAUSE, RESYNC)
    scene.standing.turn = NOW + timedelta(seconds=20)
    assert await scene.oversight.stand() == Pause(PAUSE, 20)
    assert not scene.oversight.scan_due.is_set()
    scene.now, scene.standing.turn = NOW + timedelta(seconds=20), NOW + 24 * HOUR
    assert await scene.oversight.stand() == Pause(PAUSE, RESYNC)
    assert scene.oversight.scan_due.is_set()


async def test_without_an_interval_there_is_no_scan() -> None:
    for interval, loops in ((HOUR, 2), (timedelta(), 1)):
        coroutines = Scene(interval).oversight.loops()
        assert len(coroutines) == loops
        for each in coroutines:
            each.close()


class Steps:
    """A step that does what it is told, one thing a time."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.taken = 0

    async def __call__(self) -> Pause:
        self.taken += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return Pause(0.0, 60.0)


@contextlib.asynccontextmanager
async def repeated(steps: Steps, due: asyncio.Event) -> Any:
    task = asyncio.create_task(repeat("the steps", steps, due))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(probe: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not probe():
            await asyncio.sleep(0.001)


async def test_the_next_step_is_taken_when_it_is_due() -> None:
    steps, due = Steps(), asyncio.Event()
    async with repeated(steps, due):
        await until(lambda: steps.taken == 1)
        await asyncio.sleep(0.01)
        assert steps.taken == 1
        due.set()
        await until(lambda: steps.taken == 2)


async def test_a_failure_is_logged_once_and_the_step_taken_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(repeating, "RETRY", 0.0)
    away = Unreachable("the API server does not answer")
    steps = Steps(away, away, ZeroDivisionError(), None)
    with caplog.at_level(logging.WARNING):
        async with repeated(steps, asyncio.Event()):
            await until(lambda: steps.taken == 4)
    assert [record.getMessage() for record in caplog.records] == [
        "the steps: the API server does not answer",
        "the steps failed, which is a bug",
    ]


class Event(dict[str, Any]):
    """What kopf tells a handler."""

    def __init__(self, kind: str | None, uid: str = "u", generation: int | None = None, **labels: str) -> None:
        super().__init__(type=kind, body={"metadata": {"uid": uid, "generation": generation, "labels": labels}})


async def test_only_what_may_matter_counts_as_a_change() -> None:
    told: list[int] = []
    changes = Changes(OperateSettings("web"), None, lambda: told.append(1))
    changes._operators = 1
    for event, expected in (
        (Event(None, generation=1), 0),  # the first listing
        (Event("MODIFIED", generation=1), 0),  # a status of ours
        (Event("MODIFIED", generation=2), 1),
        (Event("ADDED", "n"), 2),
        (Event("MODIFIED", "n"), 2),
        (Event("MODIFIED", "n", mode="warn"), 3),
        (Event("DELETED", "n"), 4),
    ):
        await changes._changed(**event)
        assert len(told) == expected
    changes._operators = 2  # after an outage: what is other than before is a change
    await changes._changed(**Event(None, generation=2))
    assert len(told) == 4
    await changes._changed(**Event(None, generation=3))
    assert len(told) == 5

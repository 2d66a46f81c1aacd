"""When statuses are looked at and the cluster is scanned, and that a failure of either hurts nothing else."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webhook.cluster.client import Cluster
from webhook.cluster.errors import Busy, ClusterError, Unreachable
from webhook.controller import loop, scheduler
from webhook.controller.background_scan import BackgroundScan
from webhook.controller.loop import Interval, repeat
from webhook.controller.policy_status import ClusterState, PolicyStatusController
from webhook.controller.scheduler import RESYNC_INTERVAL, SCAN_INTERVAL, STATUS_INTERVAL, Scheduler
from webhook.controller.settings import OperateSettings
from webhook.controller.triggers import SCAN_REQUESTED, Triggers
from webhook.controller.workload_watch import Workloads
from webhook.policy.conditions import Outcomes
from webhook.scan.collector import KINDS
from webhook.scan.document import document

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Still(PolicyStatusController):
    """Statuses of which nothing is known but when the next one turns."""

    def __init__(self) -> None:
        self.turn: datetime | None = None
        self.sums = self.matches = None

    async def round(self, now: datetime) -> tuple[ClusterState, datetime | None]:
        return ClusterState((), (), ()), self.turn


class Short(BackgroundScan):
    """A scan that takes no time, or as long as it is held."""

    def __init__(self) -> None:
        self.rounds = 0
        self.looks: list[set[str]] = []
        self.failure: ClusterError | None = None
        self.free = asyncio.Event()
        self.free.set()
        self.document = None

    async def round(self) -> None:
        await self.free.wait()
        self.rounds += 1
        self.document = document("here", "now", ())

    async def look(self, namespaces: Collection[str]) -> None:
        if self.failure is not None:
            raise self.failure
        self.looks.append(set(namespaces))

    def sums(self) -> dict[str, Outcomes]:
        return {"all": Outcomes.of(denied=self.rounds)}


class Heard(Workloads):
    """Streams that say nothing."""

    def __init__(self) -> None:
        super().__init__(Cluster())

    async def listed(self) -> None:
        """At once."""


class Scene:
    """An oversight whose clock a test sets."""

    def __init__(self, interval: timedelta = HOUR) -> None:
        self.statuses, self.scanning, self.now = Still(), Short(), NOW
        self.scheduler = Scheduler(self.statuses, self.scanning, Heard(), interval, lambda: self.now)


async def test_a_scan_has_its_sums_shown_and_the_next_one_waits() -> None:
    scene = Scene()
    assert await scene.scheduler.scan() == Interval(SCAN_INTERVAL, HOUR.total_seconds())
    assert scene.statuses.sums == {"all": Outcomes.of(denied=1)}
    assert scene.scheduler.status_due.is_set()
    assert not scene.scheduler.scan_due.is_set()


async def test_what_changes_everywhere_asks_for_a_scan_and_what_changes_in_a_namespace_for_a_look() -> None:
    """Statuses follow from policies and namespaces, not from workloads."""
    for governed, changed, statuses, scan, look in (
        ([None], [], True, True, False),
        (["shop"], [], True, False, True),
        ([], ["shop"], False, False, True),
    ):
        due = Scene().scheduler
        for name in governed:
            due.policy_changed(name)
        for namespace in changed:
            due.changed(namespace)
        assert (due.status_due.is_set(), due.scan_due.is_set(), due.look_due.is_set()) == (statuses, scan, look)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for changes to gather, or for Pods to run."""
    monkeypatch.setattr(scheduler, "BATCH_DELAY", 0.0)
    monkeypatch.setattr(scheduler, "RUNTIME_CHECK_DELAY", 0.01)


@pytest.mark.usefixtures("hasty")
async def test_what_has_changed_is_looked_at_and_once_more_when_its_pods_run() -> None:
    scene = Scene()
    await scene.scheduler.scan()
    scene.scheduler.status_due.clear()
    for namespace in ("shop", "shop", "web"):
        scene.scheduler.changed(namespace)
    await scene.scheduler.look()
    scene.scheduler.look_due.clear()
    await asyncio.wait_for(scene.scheduler.look_due.wait(), 5)
    await scene.scheduler.look()
    await asyncio.sleep(0.05)
    await scene.scheduler.look()
    assert scene.scanning.looks == [{"shop", "web"}, {"shop", "web"}, set()]
    assert not scene.scheduler.status_due.is_set()  # the sums are as they were


@pytest.mark.usefixtures("hasty")
async def test_what_could_not_be_looked_at_is_looked_at_the_next_time() -> None:
    scene = Scene()
    await scene.scheduler.scan()
    scene.scheduler.changed("shop")
    scene.scanning.failure = Unreachable("the API server does not answer")
    with pytest.raises(Unreachable):
        await scene.scheduler.look()
    scene.scanning.failure = None
    await scene.scheduler.look()
    assert scene.scanning.looks == [{"shop"}]


async def test_where_very_much_changes_everything_is_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what waits is bounded, and many namespaces are not listed one by one."""
    monkeypatch.setattr(scheduler, "FULL_SCAN_NAMESPACES", 2)
    scene = Scene()
    for namespace in ("a", "b", "a"):
        scene.scheduler.changed(namespace)
    assert not scene.scheduler.scan_due.is_set()
    scene.scheduler.changed("c")
    assert scene.scheduler.scan_due.is_set()
    assert len(scene.scheduler._changed) == 2
    await scene.scheduler.scan()
    assert (scene.scheduler._changed, scene.scheduler.scan_due.is_set()) == (set(), False)


@pytest.mark.usefixtures("hasty")
async def test_a_change_during_a_scan_is_looked_at_after_it() -> None:
    """The scan may have listed that namespace before: it must not have the last word."""
    scene = Scene()
    scene.scanning.free.clear()
    scanning = asyncio.create_task(scene.scheduler.scan())
    await asyncio.sleep(0)
    scene.scheduler.changed("web")
    looking = asyncio.create_task(scene.scheduler.look())
    await asyncio.sleep(0.01)
    assert scene.scanning.looks == []
    scene.scanning.free.set()
    await asyncio.gather(scanning, looking)
    assert scene.scanning.looks == [{"web"}]


async def test_statuses_are_looked_at_when_an_exception_ends_and_then_it_is_scanned() -> None:
    scene = Scene()
    assert await scene.scheduler.update_statuses() == Interval(STATUS_INTERVAL, RESYNC_INTERVAL)
    scene.statuses.turn = NOW + timedelta(seconds=20)
    assert await scene.scheduler.update_statuses() == Interval(STATUS_INTERVAL, 20)
    assert not scene.scheduler.scan_due.is_set()
    scene.now, scene.statuses.turn = NOW + timedelta(seconds=20), NOW + 24 * HOUR
    assert await scene.scheduler.update_statuses() == Interval(STATUS_INTERVAL, RESYNC_INTERVAL)
    assert scene.scheduler.scan_due.is_set()


async def test_without_an_interval_there_is_no_scan() -> None:
    for interval, loops in ((HOUR, 3 + len(KINDS)), (timedelta(), 1)):
        coroutines = Scene(interval).scheduler.loops()
        assert len(coroutines) == loops
        for each in coroutines:
            each.close()


class Steps:
    """A step that does what it is told, one thing a time."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.taken = 0

    async def __call__(self) -> Interval:
        self.taken += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return Interval(0.0, 60.0)


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
    monkeypatch.setattr(loop, "RETRY", 0.0)
    away = Unreachable("the API server does not answer")
    steps = Steps(away, away, ZeroDivisionError(), None)
    with caplog.at_level(logging.WARNING):
        async with repeated(steps, asyncio.Event()):
            await until(lambda: steps.taken == 4)
    assert [record.getMessage() for record in caplog.records] == [
        "the steps: the API server does not answer",
        "the steps failed, which is a bug",
    ]


async def test_an_api_server_that_asks_for_a_pause_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    sleep = asyncio.sleep

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", nap)
    steps = Steps(Busy("too many requests", 30.0), Busy("too many requests", 2.0))
    async with repeated(steps, asyncio.Event()):
        await until(lambda: steps.taken == 3)
    assert [each for each in naps if each >= 1.0] == [30.0, loop.RETRY]


async def test_policies_and_exceptions_that_vanish_unseen_have_the_cluster_scanned() -> None:
    """Kopf says nothing of what went while no stream was open: the next look at all statuses does."""
    found = Scene().scheduler
    found._notice_vanished({"p": "", "e": "shop", "q": ""})
    assert not found.scan_due.is_set()
    found._notice_vanished({"p": "", "q": ""})
    assert found._changed == {"shop"}
    assert found.look_due.is_set()
    assert not found.scan_due.is_set()
    found._notice_vanished({"q": ""})
    assert found.scan_due.is_set()


BEFORE, BEGAN, AFTER = "2026-03-01T11:59:59Z", datetime(2026, 3, 1, 12, tzinfo=UTC), "2026-03-01T12:00:01Z"


class Event(dict[str, Any]):
    """What kopf tells a handler."""

    def __init__(
        self, kind: str | None, uid: str = "u", generation: int | None = None, created: str = BEFORE, **labels: str
    ) -> None:
        metadata: dict[str, Any] = {
            "name": "shop",
            "namespace": "of-it",
            "uid": uid,
            "generation": generation,
            "labels": labels,
        }
        metadata["creationTimestamp"] = created
        super().__init__(type=kind, body={"metadata": metadata})


async def test_only_what_may_matter_counts_as_a_change() -> None:
    result: list[str | None] = []
    changes = Triggers(OperateSettings("web"), None, result.append, BEGAN)
    for event, expected in (
        (Event(None, generation=1), 0),  # the first listing
        (Event("MODIFIED", generation=1), 0),  # a status of ours
        (Event("MODIFIED", generation=2), 1),
        (Event("ADDED", "n"), 2),
        (Event("MODIFIED", "n"), 2),
        (Event("MODIFIED", "n", mode="warn"), 3),
        (Event("DELETED", "n"), 4),
    ):
        await changes._namespace(**event)
        assert len(result) == expected
    # After an outage everything is listed again: what is other than before is a change, and so is what is newer than we.
    await changes._namespace(**Event(None, generation=2))
    assert len(result) == 4
    await changes._namespace(**Event(None, generation=3))
    await changes._exception(**Event(None, "e", generation=1, created=AFTER))
    await changes._policy(**Event(None, "p", generation=1, created=AFTER))
    await changes._policy(**Event(None, "old", generation=1))
    assert result == [*(["shop"] * 5), "of-it", None]


async def test_a_scan_can_be_asked_for_by_an_annotation() -> None:
    """Each other value asks once; other annotations, such as kubectl's own, ask for nothing."""
    result: list[str | None] = []
    changes = Triggers(OperateSettings("web"), None, result.append, BEGAN)
    event = Event(None, generation=1)
    await changes._policy(**event)
    for annotations, expected in (
        ({SCAN_REQUESTED: "1"}, 1),
        ({SCAN_REQUESTED: "1", "other": "x"}, 1),
        ({SCAN_REQUESTED: "2"}, 2),
    ):
        event = Event("MODIFIED", generation=1)
        event["body"]["metadata"]["annotations"] = annotations
        await changes._policy(**event)
        assert result == [None] * expected

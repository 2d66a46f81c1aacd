"""Memory is bounded, work is done once, and nobody is left waiting or running."""

import asyncio
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.clock import Clock
from webhook.caching import FairSemaphore, LRUCache, SingleFlight
from webhook.registry.transport.http import Breaker


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2000)), max_size=60))
def test_the_weight_never_passes_the_limit(puts: list[tuple[int, int]]) -> None:
    """And is exactly that of what is kept."""
    memory: LRUCache[int, int] = LRUCache(3000)
    for key, weight in puts:
        memory.put(key, weight, weight)
        assert memory.weight <= 3000
        kept = [value for value in (memory.get(each) for each in range(10)) if value is not None]
        assert memory.weight == sum(value + 200 for value in kept)
        assert len(memory) == len(kept)


def test_what_was_used_last_is_kept() -> None:
    """The least recently used one goes first."""
    memory: LRUCache[str, int] = LRUCache(650)
    for key in "abc":
        memory.put(key, 1)
    assert memory.get("a") == 1
    memory.put("d", 1)
    assert [memory.get(key) for key in "abcd"] == [1, None, 1, 1]
    memory.drop("a")
    memory.drop("a")
    assert memory.get("a") is None


def test_what_is_used_often_outlives_a_flood() -> None:
    """Also where it was used for the last time while the map was nearly empty."""
    memory: LRUCache[int, str] = LRUCache(100 * 200)
    memory.put(-1, "hot")
    for key in range(40):
        memory.put(key, "cold")
    assert memory.get(-1) == "hot"
    for key in range(40, 139):
        memory.put(key, "cold")
    assert memory.get(-1) == "hot"


def test_what_is_too_heavy_is_not_kept_and_replaces_nothing_else() -> None:
    """Only its own predecessor is gone."""
    memory: LRUCache[str, int] = LRUCache(1000)
    memory.put("a", 1)
    memory.put("b", 1)
    memory.put("b", 2, 2000)
    assert (memory.get("a"), memory.get("b")) == (1, None)


async def test_many_askers_share_one_flight() -> None:
    """And one who gives up does not stop it."""
    flights, release, began = SingleFlight(), asyncio.Event(), 0

    async def work() -> int:
        nonlocal began
        began += 1
        await release.wait()
        return 7

    impatient = asyncio.create_task(flights.join("key", work))
    patient = [asyncio.create_task(flights.join("key", work)) for _ in range(5)]
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    assert flights.running("key")
    release.set()
    assert await asyncio.gather(*patient) == [7] * 5
    assert began == 1
    assert len(flights) == 0


async def test_a_failure_reaches_everybody_and_is_not_remembered() -> None:
    """The next one tries again."""
    flights = SingleFlight()

    async def fail() -> int:
        raise ValueError("no")

    for _ in range(2):
        outcomes = await asyncio.gather(*(flights.join("key", fail) for _ in range(3)), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["no"] * 3


async def test_closing_cancels_what_flies() -> None:
    """And waits until it is gone."""
    flights, gone = SingleFlight(), False

    async def work() -> None:
        nonlocal gone
        try:
            await asyncio.Event().wait()
        finally:
            gone = True

    task = flights.start("key", work)
    await asyncio.sleep(0)
    await flights.aclose()
    assert gone
    assert task.cancelled()


class Turns:
    """Work under a semaphore that is done when the test says so."""

    def __init__(self, *bounds: int) -> None:
        self.semaphore = FairSemaphore(*bounds)
        self.running: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def begin(self, *works: str) -> None:
        """Begin works, each called by its name and a digit."""
        for work in works:
            self._ends[work] = asyncio.Event()
            self.tasks[work] = asyncio.create_task(self.semaphore.run(work[0], partial(self._work, work)))
        await self.settle()

    async def end(self, *works: str) -> None:
        """Let works end."""
        for work in works:
            self._ends[work].set()
        await self.settle()

    async def settle(self) -> None:
        """Until nothing moves."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def _work(self, work: str) -> None:
        self.running.append(work)
        try:
            await self._ends[work].wait()
        finally:
            self.running.remove(work)


async def test_no_name_takes_more_than_its_share() -> None:
    """Two names, of which one is busy."""
    turns = Turns(3, 2)
    await turns.begin("a1", "a2", "a3", "b1", "b2")
    assert turns.running == ["a1", "a2", "b1"]
    await turns.end("a1")
    assert turns.running == ["a2", "b1", "a3"]
    await turns.end("a2", "a3")
    assert turns.running == ["b1", "b2"]
    await turns.end("b1", "b2")
    assert not turns.semaphore._waiting
    assert not turns.semaphore._running


async def test_every_name_has_a_turn_of_its_own() -> None:
    """However many are busy with what never ends; up to a bound."""
    turns = Turns(4, 2, 6)
    await turns.begin("a1", "a2", "a3", "b1", "b2", "b3")
    assert turns.running == ["a1", "a2", "b1", "b2"]
    await turns.begin("c1", "c2", "d1", "e1")
    assert turns.running == ["a1", "a2", "b1", "b2", "c1", "d1"]
    await turns.end("d1")
    assert turns.running == ["a1", "a2", "b1", "b2", "c1", "e1"]
    await turns.end(*turns.running)
    await turns.end(*turns.running)


async def test_turns_go_round_by_name() -> None:
    """Who has asked for many does not come before who has asked for one."""
    turns = Turns(1, 1, 1)
    await turns.begin("a1", "a2", "a3", "a4", "b1", "c1")
    order = []
    while turns.running:
        order += turns.running
        await turns.end(*turns.running)
    assert order == ["a1", "a2", "b1", "c1", "a3", "a4"]


async def test_who_gives_up_leaves_the_turn_to_others() -> None:
    """While it waits, and at the moment when it is given one."""
    turns = Turns(1, 1, 1)
    await turns.begin("a1", "b1", "c1", "d1")
    turns.tasks["b1"].cancel()
    await turns.settle()
    turns._ends["a1"].set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # a1 has ended, c1 was given its turn and has not run yet
    turns.tasks["c1"].cancel()
    await turns.settle()
    assert turns.running == ["d1"]
    await turns.end("d1")
    assert not turns.semaphore._waiting
    assert turns.semaphore._sum == 0


def test_a_circuit_opens_and_one_tries_when_it_may_close() -> None:
    """After as many failures in a row as it takes."""
    clock = Clock()
    breaker = Breaker(10, clock, threshold=2)
    breaker.failed("host", "team", "status 503")
    assert breaker.allows("host", "team")
    breaker.failed("host", "team", "status 503")
    assert not breaker.allows("host", "team")
    assert breaker.allows("other", "team")
    clock.now += 10
    assert breaker.allows("host", "team")
    assert not breaker.allows("host", "team")
    breaker.failed("host", "team", "status 503")
    clock.now += 9
    assert not breaker.allows("host", "team")
    clock.now += 1
    assert breaker.allows("host", "team")
    breaker.succeeded("host", "team")
    assert breaker.allows("host", "team")
    assert breaker.allows("host", "team")


def test_failures_with_successes_between_open_nothing() -> None:
    """It takes them in a row."""
    breaker = Breaker(10, Clock(), threshold=2)
    for _ in range(5):
        breaker.failed("host", "team", "status 503")
        breaker.succeeded("host", "team")
    assert breaker.allows("host", "team")


def test_hosts_are_forgotten_when_there_are_too_many() -> None:
    """An attacker may name any number of them."""
    breaker = Breaker(10, Clock(), threshold=1)
    for number in range(5000):
        breaker.failed(f"host{number}", "team", "status 503")
    assert len(breaker._circuits) == 4096
    assert not breaker.allows("host4999", "team")


def test_a_host_fails_for_one_or_for_all() -> None:
    """What it answers one namespace says nothing to another; that nobody is there does."""
    breaker = Breaker(10, Clock(), threshold=1)
    breaker.failed("host", "team", "status 503")
    assert not breaker.allows("host", "team")
    assert breaker.allows("host", "other")
    breaker.failed("host", None, "does not resolve")
    assert not breaker.allows("host", "other")
    assert breaker.why("host", "other") == "does not resolve"
    breaker.succeeded("host", "other")
    assert breaker.allows("host", "other")
    assert not breaker.allows("host", "team")


@pytest.mark.parametrize("count", [1, 100])
async def test_lanes_pass_on_what_work_raises(count: int) -> None:
    """And keep their turn free."""
    lanes = FairSemaphore(1, 1)

    async def fail() -> None:
        raise ValueError("no")

    for _ in range(count):
        with pytest.raises(ValueError, match="no"):
            await lanes.run("a", fail)

"""Memory is bounded, work is done once, and nobody is left waiting or running."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.caching import FairSemaphore, LRUCache, SingleFlight
from webhook.registry.transport.circuit_breaker import Breaker


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


async def test_no_lane_takes_more_than_its_share() -> None:
    """Two names, of which one is busy."""
    lanes, running, most = FairSemaphore(3, 2), {"a": 0, "b": 0}, {"a": 0, "b": 0}
    release = asyncio.Event()

    async def work(name: str) -> None:
        running[name] += 1
        most[name] = max(most[name], running[name])
        await release.wait()
        running[name] -= 1

    tasks = [asyncio.create_task(lanes.run("a", lambda: work("a"))) for _ in range(5)]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(lanes.run("b", lambda: work("b"))) for _ in range(5)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert running == {"a": 2, "b": 1}
    release.set()
    await asyncio.gather(*tasks)
    assert most["a"] == 2
    assert most["b"] <= 2
    assert lanes._lanes == {}


class Clock:
    """A clock that stands still until it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_circuit_opens_and_one_tries_when_it_may_close() -> None:
    """After as many failures in a row as it takes."""
    clock = Clock()
    breaker = Breaker(10, clock, threshold=2)
    breaker.failed("host")
    assert breaker.allows("host")
    breaker.failed("host")
    assert not breaker.allows("host")
    assert breaker.allows("other")
    clock.now = 10
    assert breaker.allows("host")
    assert not breaker.allows("host")
    breaker.failed("host")
    clock.now = 19
    assert not breaker.allows("host")
    clock.now = 20
    assert breaker.allows("host")
    breaker.succeeded("host")
    assert breaker.allows("host")
    assert breaker.allows("host")


def test_failures_with_successes_between_open_nothing() -> None:
    """It takes them in a row."""
    breaker = Breaker(10, Clock(), threshold=2)
    for _ in range(5):
        breaker.failed("host")
        breaker.succeeded("host")
    assert breaker.allows("host")


def test_hosts_are_forgotten_when_there_are_too_many() -> None:
    """An attacker may name any number of them."""
    breaker = Breaker(10, Clock(), threshold=1)
    for number in range(5000):
        breaker.failed(f"host{number}")
    assert len(breaker._circuits) == 4096
    assert not breaker.allows("host4999")


@pytest.mark.parametrize("count", [1, 100])
async def test_lanes_pass_on_what_work_raises(count: int) -> None:
    """And keep their turn free."""
    lanes = FairSemaphore(1, 1)

    async def fail() -> None:
        raise ValueError("no")

    for _ in range(count):
        with pytest.raises(ValueError, match="no"):
            await lanes.run("a", fail)

"""What a reflector asks an API server for, and what its store holds after whatever happened to the streams."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path

import msgspec
import pytest
from kubernetes.aio.config import kube_config

from tests.support.watched_api import POLICIES, WatchedApi, serving
from webhook.cluster import backoff, reflector, supervisor
from webhook.cluster.client import Cluster

LIFETIME = 5  # seconds


class Kept:
    """The keys that there are; `poisoned` is one that the store cannot cope with."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.poisoned = ""
        self.synced = 0

    def update(self, key: str, raw: msgspec.Raw) -> None:
        if key == self.poisoned:
            raise ZeroDivisionError
        self.keys.add(key)

    def delete(self, key: str) -> None:
        self.keys.discard(key)

    def replace(self, keys: Collection[str]) -> None:
        self.keys = set(keys)

    def sync(self) -> None:
        self.synced += 1


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WatchedApi]:
    """It has three policies."""
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(reflector, "RETRY_PAUSE", 0.01)
    monkeypatch.setattr(backoff, "FIRST_PAUSE", 0.01)
    found = WatchedApi(POLICIES)
    found.fill(POLICIES, ("a", "b", "c"))
    async with serving(found, tmp_path / "kubeconfig"):
        yield found


@pytest.fixture
def short_lives(api: WatchedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream has lived its time within a moment."""
    api.second = 0.02
    monkeypatch.setattr(reflector, "SHORTEST_STREAM", 0.9 * api.second)


@contextlib.asynccontextmanager
async def following(kept: Kept) -> AsyncIterator[None]:
    async with contextlib.aclosing(Cluster()) as cluster:
        loop = reflector.follow(cluster, POLICIES, "policies", kept, lifetime=LIFETIME, synced=kept.sync)
        async with supervisor.background(loop):
            yield


async def until(probe: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not probe():
            await asyncio.sleep(0.005)


async def test_objects_come_change_and_go(api: WatchedApi) -> None:
    kept = Kept()
    async with following(kept):
        await until(lambda: kept.keys == {"a", "b", "c"} and api.counts["streams"])
        await api.put(POLICIES, "d")
        await until(lambda: "d" in kept.keys)
        await api.remove(POLICIES, "a")
        await until(lambda: kept.keys == {"b", "c", "d"})
    assert api.counts["listings"] == 1


async def test_a_stream_that_breaks_is_taken_up_where_it_ended(
    api: WatchedApi, caplog: pytest.LogCaptureFixture
) -> None:
    """Without another listing, and without a word; what vanished meanwhile has vanished."""
    kept = Kept()
    async with following(kept):
        for name in "abc":
            await until(lambda: api.streams)
            api.cut()
            await until(lambda: not api.streams)
            await api.remove(POLICIES, name)
            await until(lambda name=name: name not in kept.keys)  # type: ignore[misc]
    assert api.counts["listings"] == 1
    assert caplog.records == []


@pytest.mark.usefixtures("short_lives")
async def test_a_stream_that_has_lived_its_time_is_followed_by_the_next_at_once(
    api: WatchedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change in between is not seen late: a namespace that is made then may be asked about half a second later."""
    monkeypatch.setattr(reflector, "RETRY_PAUSE", 60.0)
    monkeypatch.setattr(backoff, "FIRST_PAUSE", 60.0)
    kept = Kept()
    async with following(kept):
        await until(lambda: api.counts["streams"] == 2)
        await api.put(POLICIES, "d")
        await until(lambda: "d" in kept.keys)
    assert api.counts["listings"] == 1


@pytest.mark.usefixtures("short_lives")
async def test_a_stream_goes_on_from_its_bookmark(api: WatchedApi) -> None:
    """So that it is not too old, though nothing of its kind has changed for long."""
    kept = Kept()
    async with following(kept):
        await until(lambda: api.counts["streams"])
        api.objects["/elsewhere"] = {}
        await api.put("/elsewhere", "x")
        streams = api.counts["streams"]
        await until(lambda: api.counts["streams"] > streams)
        api.forget()
        streams = api.counts["streams"]
        await until(lambda: api.counts["streams"] > streams)
        await api.put(POLICIES, "d")
        await until(lambda: "d" in kept.keys)
    assert api.counts["listings"] == 1


async def test_what_the_api_server_has_forgotten_is_listed_anew(api: WatchedApi) -> None:
    kept = Kept()
    async with following(kept):
        await until(lambda: api.streams)
        api.breaking = True
        api.cut()
        await api.remove(POLICIES, "a")
        await api.put(POLICIES, "d")
        api.forget()
        api.breaking = False
        await until(lambda: kept.keys == {"b", "c", "d"})
    assert api.counts["listings"] == 2


@pytest.mark.parametrize("trouble", ["broken", "429", "500"])
async def test_trouble_with_streams_causes_no_listings_and_ever_longer_pauses(
    api: WatchedApi, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing everything is what an API server with too much to do needs least."""
    naps: list[float] = []
    sleep = asyncio.sleep

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        await sleep(0)

    kept = Kept()
    if trouble == "broken":
        api.breaking = True
    else:
        api.refusals = [(int(trouble), {"Retry-After": "5"} if trouble == "429" else {})] * 100
    monkeypatch.setattr(asyncio, "sleep", nap)
    monkeypatch.setattr(backoff, "FIRST_PAUSE", 1.0)
    async with following(kept):
        async with asyncio.timeout(10):
            while len(naps) < 8:
                await sleep(0.001)
    assert api.counts["listings"] == 1
    least = 5.0 if trouble == "429" else 1.0
    for number, seconds in enumerate(naps[:8]):
        pause = max(min(2.0**number, backoff.LONGEST_PAUSE), least)
        assert pause <= seconds <= 1.5 * pause


async def test_a_kind_that_is_not_installed_has_no_objects_until_it_is(
    api: WatchedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector, "ABSENT_PAUSE", 0.01)
    there, kept = api.objects.pop(POLICIES), Kept()
    async with following(kept):
        await until(lambda: kept.synced)
        assert kept.keys == set()
        api.objects[POLICIES] = there
        await until(lambda: kept.keys == {"a", "b", "c"})


async def test_an_api_server_that_is_away_confirms_nothing_and_is_waited_for(
    api: WatchedApi, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept()
    async with following(kept):
        await until(lambda: kept.keys and api.streams)
        api.failing = 503
        synced = kept.synced
        api.cut()
        await until(lambda: caplog.records)
        assert (kept.keys, kept.synced) == ({"a", "b", "c"}, synced)
        api.failing = 0
        await until(lambda: api.streams)
        await api.put(POLICIES, "d")
        await until(lambda: "d" in kept.keys)
    assert [each.getMessage() for each in caplog.records if each.levelname == "WARNING"] == [
        "changes are not seen: policies: GET was answered 503 as a test says"
    ]


async def test_an_object_that_the_store_cannot_cope_with_silences_no_other(
    api: WatchedApi, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it is in the listing or comes later; nor one whose metadata is none."""
    kept = Kept()
    kept.poisoned = "b"
    api.objects[POLICIES]["odd"] = {"metadata": 5}
    async with following(kept):
        await until(lambda: api.streams)
        assert kept.keys == {"a", "c"}
        await api.put(POLICIES, "b")
        await api.put(POLICIES, "d")
        await until(lambda: kept.keys == {"a", "c", "d"})
    assert len(caplog.records) == 3
    assert api.counts["listings"] == 1


async def test_a_reflector_that_fails_is_begun_anew(
    api: WatchedApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept()
    bugs = iter([ZeroDivisionError("a bug")])
    listing = reflector._Reflector._list

    async def fail_once(self: reflector._Reflector) -> str:
        for bug in bugs:
            raise bug
        return await listing(self)

    monkeypatch.setattr(reflector._Reflector, "_list", fail_once)
    async with following(kept):
        await until(lambda: kept.keys == {"a", "b", "c"})
    (record,) = caplog.records
    assert record.getMessage() == "following policies failed, which is a bug"


@pytest.mark.usefixtures("short_lives")
async def test_every_stream_confirms_what_is_held(api: WatchedApi) -> None:
    kept = Kept()
    async with following(kept):
        await until(lambda: kept.synced >= 3)
    assert api.counts["listings"] == 1

"""Which namespaces are told of, from streams that end, break and grow too old."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from typing import Any

import msgspec
import pytest

from tests.support.pods import Object
from webhook.cluster import backoff, reflector
from webhook.cluster.client import Cluster, Page
from webhook.cluster.errors import Expired, Unreachable
from webhook.cluster.object_meta import ListMetadata
from webhook.controller.workload_watch import Workloads
from webhook.scan.collector import KINDS

PODS = "/api/v1/pods"


def obj(name: str, generation: int = 1, uid: str = "u", owner: tuple[str, str] | None = None) -> Object:
    """The metadata of an object in the namespace that its name begins with; the owner's API version and kind."""
    metadata = {"namespace": name.partition("-")[0], "name": name, "uid": uid, "generation": generation}
    reference = owner and {"apiVersion": owner[0], "kind": owner[1], "name": "it", "uid": "o", "controller": True}
    return {"metadata": {**metadata, "resourceVersion": "1", **({"ownerReferences": [reference]} if owner else {})}}


class Told(Cluster):
    """Lists and streams of Pods one after the other; of all else there is nothing. At the end it is silent."""

    def __init__(self, *result: list[Object] | list[tuple[str, Object]] | Exception) -> None:
        super().__init__()
        self.result = list(result)
        self.queries: list[str] = []
        self.whole = 0  # how often more than metadata was asked for

    async def chunks(self, path: str, what: str, *, only_metadata: bool = False) -> AsyncIterator[Page]:
        self.whole += not only_metadata
        found = await self._next() if path == PODS else []
        items = tuple(msgspec.Raw(json.dumps(each).encode()) for each in found)
        yield Page(ListMetadata(resource_version="7"), items)

    async def lines(
        self, path: str, what: str, silence: float, *, only_metadata: bool = False
    ) -> AsyncGenerator[bytes]:
        self.whole += not only_metadata
        if not path.startswith(f"{PODS}?"):
            await asyncio.Event().wait()
        self.queries.append(path)
        for kind, each in await self._next():
            yield json.dumps({"type": kind, "object": each}).encode()

    async def _next(self) -> list[Any]:
        if not self.result:
            await asyncio.Event().wait()
        found = self.result.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


async def changes(api: Told, pods: reflector.Store | None = None) -> list[str]:
    """What is told of, until nothing more comes."""
    heard: list[str] = []
    workloads = Workloads(api, pods)
    tasks = [asyncio.ensure_future(each) for each in workloads.loops(heard.append)]
    try:
        async with asyncio.timeout(5):
            await workloads.listed()
            while api.result:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return heard


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between streams."""
    monkeypatch.setattr(reflector, "RETRY_PAUSE", 0.0)
    monkeypatch.setattr(backoff, "FIRST_PAUSE", 0.0)


async def test_a_namespace_is_triggered_when_something_in_it_comes_changes_or_goes() -> None:
    """Not for a new status; and an object that was replaced by one of the same name has changed."""
    first, second = obj("a-1"), obj("b-1", 2)
    stream = [
        ("MODIFIED", first),
        ("ADDED", obj("c-1")),
        ("MODIFIED", obj("b-1", 3)),
        ("BOOKMARK", {"metadata": {"resourceVersion": "9"}}),
        ("DELETED", first),
    ]
    api = Told([first, second], stream, [("ADDED", obj("c-1", uid="another"))])
    assert await changes(api) == ["a", "b", "c", "b", "a", "c"]
    assert [query.rpartition("resourceVersion=")[2] for query in api.queries] == ["7", "1", "1"]
    assert api.whole == 0


@pytest.mark.parametrize("owner", [("apps/v1", "ReplicaSet"), ("batch/v1", "Job"), ("v1", "ReplicationController")])
async def test_pods_of_a_workload_tell_nothing(owner: tuple[str, str]) -> None:
    """Their makers have streams of their own; those of a custom resource stand for it."""
    stream = [("ADDED", obj("a-2", owner=owner)), ("DELETED", obj("a-1", owner=owner))]
    custom = ("ADDED", obj("b-1", owner=("argoproj.io/v1alpha1", "ReplicaSet")))
    assert await changes(Told([obj("a-1", owner=owner)], [*stream, custom])) == ["b"]


@pytest.mark.parametrize("end", [Expired("too old", ""), [("ERROR", {"kind": "Status"})]], ids=["410", "ERROR"])
async def test_after_a_gap_the_namespaces_that_changed_meanwhile_are_triggered(end: Any) -> None:
    """And nothing else is."""
    before = [obj("a-1"), obj("b-1"), obj("c-1")]
    after = [obj("a-1"), obj("b-1", 2), obj("d-1")]
    assert await changes(Told(before, end, after)) == ["a", "b", "c", "b", "d", "c"]


async def test_the_first_scan_waits_until_changes_are_heard_of_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("webhook.controller.workload_watch.FIRST_LISTING_TIMEOUT", 0.05)
    workloads = Workloads(Told(Unreachable("away")))
    loops = [asyncio.ensure_future(each) for each in workloads.loops(lambda _name: None)]
    await asyncio.wait_for(workloads.listed(), 5)
    assert len(loops) == len(KINDS)
    for each in loops:
        each.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await each


class Names:
    """A store of names."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def update(self, key: str, raw: msgspec.Raw) -> None:
        self.told.append(("update", key))

    def delete(self, key: str) -> None:
        self.told.append(("delete", key))

    def replace(self, keys: Collection[str]) -> None:
        self.told.append(("replace", set(keys)))


async def test_another_store_receives_all_pods_by_the_same_stream() -> None:
    owned = obj("a-pod", owner=("apps/v1", "ReplicaSet"))
    api, names = Told([owned], [("DELETED", owned)]), Names()
    assert await changes(api, names) == []
    assert names.told == [("update", "a/a-pod"), ("replace", {"a/a-pod"}), ("delete", "a/a-pod")]
    assert len(api.queries) == 2

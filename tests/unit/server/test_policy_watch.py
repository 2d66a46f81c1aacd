"""When a view of the cluster is shown: only whole, and then at once; and what it holds as objects come and go."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kubernetes.aio.config import kube_config

from tests.support.watched_api import EXCEPTIONS, NAMESPACES, POLICIES, WatchedApi, serving
from webhook.cluster import backoff, reflector
from webhook.cluster.client import Cluster
from webhook.cluster.supervisor import background
from webhook.policy.cache import PolicyCache
from webhook.server import policy_watch
from webhook.server.policy_watch import PUBLISH_INTERVAL, PolicyWatch

OURS = {"apiVersion": "nonroot.dev/v1alpha1"}


@pytest.fixture
def view() -> PolicyCache:
    return PolicyCache()


@pytest.fixture
def watch(view: PolicyCache) -> PolicyWatch:
    return PolicyWatch(view)


def namespace(name: str, **labels: str) -> msgspec.Raw:
    return msgspec.Raw(json.dumps({"kind": "Namespace", "metadata": {"name": name, "labels": labels}}).encode())


def policy(name: str, mode: str) -> msgspec.Raw:
    body = {**OURS, "kind": "NonRootPolicy", "metadata": {"name": name}, "spec": {"mode": mode}}
    return msgspec.Raw(json.dumps(body).encode())


async def test_nothing_is_shown_before_every_listing_is_complete(view: PolicyCache, watch: PolicyWatch) -> None:
    watch.namespaces.update("web", namespace("web"))
    watch.namespaces.replace({"web"})
    watch.policies.update("p", policy("p", "Enforce"))
    watch.exceptions.replace(())
    assert not view.ready  # there may be more policies
    watch.policies.replace({"p"})
    assert view.ready
    assert view.effective_policy("web").mode == "Enforce"


async def test_of_a_burst_the_first_and_the_last_change_are_shown(
    view: PolicyCache, watch: PolicyWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for store in (watch.namespaces, watch.policies, watch.exceptions):
        store.replace(())
    shows = []
    show = view.replace

    def counted(*given: Any) -> None:
        shows.append(1)
        show(*given)

    monkeypatch.setattr(view, "replace", counted)
    await asyncio.sleep(2 * PUBLISH_INTERVAL)
    for number in range(100):
        watch.namespaces.update("web", namespace("web", **{"nonroot.dev/mode": "enforce" if number % 2 else "warn"}))
        if number == 0:
            assert view.effective_policy("web").mode == "Warn"
    await asyncio.sleep(2 * PUBLISH_INTERVAL)
    assert view.effective_policy("web").mode == "Enforce"
    assert 2 <= len(shows) < 20  # two, but on a machine that is busy for a pause at a time


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WatchedApi]:
    """An API server with one namespace and our kinds."""
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(reflector, "RETRY_PAUSE", 0.01)
    monkeypatch.setattr(reflector, "ABSENT_PAUSE", 0.01)
    monkeypatch.setattr(backoff, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(policy_watch, "PUBLISH_INTERVAL", 0.0)
    found = WatchedApi(NAMESPACES, POLICIES, EXCEPTIONS)
    found.fill(NAMESPACES, ["web"])
    async with serving(found, tmp_path / "kubeconfig"):
        yield found


@contextlib.asynccontextmanager
async def watched(view: PolicyCache) -> AsyncIterator[None]:
    async with contextlib.aclosing(Cluster()) as cluster, background(*PolicyWatch(view).loops(cluster)):
        yield


async def until(probe: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not probe():
            await asyncio.sleep(0.005)


async def put(api: WatchedApi, kind: str, name: str, **spec: Any) -> None:
    path, place = (POLICIES, "") if kind == "NonRootPolicy" else (EXCEPTIONS, "web")
    await api.put(path, name, place, **OURS, kind=kind, spec=spec)


async def test_policies_labels_and_exceptions_count_as_they_come_and_go(api: WatchedApi, view: PolicyCache) -> None:
    async with watched(view):
        await until(lambda: view.ready)
        assert (view.knows("web"), view.effective_policy("web").policy.metadata.name) == (True, "(built-in)")
        await put(api, "NonRootPolicy", "strict", mode="Warn")
        await until(lambda: view.effective_policy("web").mode == "Warn")
        await api.put(NAMESPACES, "web", labels={"nonroot.dev/mode": "enforce"})
        await until(lambda: view.effective_policy("web").mode == "Enforce")
        await put(api, "NonRootException", "old-app", reason="because")
        await until(lambda: len(view.exceptions("web")) == 1)
        await api.remove(EXCEPTIONS, "old-app", "web")
        await until(lambda: view.exceptions("web") == ())
        await api.remove(POLICIES, "strict")
        await until(lambda: view.effective_policy("web").policy.metadata.name == "(built-in)")
        await api.remove(NAMESPACES, "web")
        await until(lambda: not view.knows("web"))
        assert view.age < 10


async def test_what_vanished_while_no_stream_was_open_is_gone(api: WatchedApi, view: PolicyCache) -> None:
    """Also where the API server has forgotten that it did."""
    await put(api, "NonRootException", "old-app", reason="because")
    async with watched(view):
        await until(lambda: len(view.exceptions("web")) == 1 and len(api.streams) == 3)
        api.failing = 503
        api.cut()
        await api.remove(EXCEPTIONS, "old-app", "web")
        api.forget()
        assert len(view.exceptions("web")) == 1
        api.failing = 0
        await until(lambda: view.exceptions("web") == ())


async def test_without_our_crds_there_are_namespaces_alone_until_they_come(api: WatchedApi, view: PolicyCache) -> None:
    await put(api, "NonRootPolicy", "strict", mode="Enforce")
    kinds = {path: api.objects.pop(path) for path in (POLICIES, EXCEPTIONS)}
    async with watched(view):
        await until(lambda: view.ready)
        assert view.effective_policy("web").mode == "Audit"
        api.objects |= kinds
        await until(lambda: view.effective_policy("web").mode == "Enforce")


async def test_a_policy_that_cannot_be_used_is_a_problem_and_no_other_is(api: WatchedApi, view: PolicyCache) -> None:
    async with watched(view):
        await put(api, "NonRootPolicy", "odd", mode="Sometimes")
        await put(api, "NonRootPolicy", "strict", mode="Enforce")
        await until(lambda: view.effective_policy("web").mode == "Enforce")
        assert list(view.problems) == ["NonRootPolicy odd"]
        await put(api, "NonRootPolicy", "strict", mode="Sometimes")
        await until(lambda: len(view.problems) == 2)
        assert view.effective_policy("web").mode == "Enforce"  # the last version that could be used


async def test_the_view_ages_while_nothing_confirms_it(api: WatchedApi, view: PolicyCache) -> None:
    api.failing = 500
    async with watched(view):
        await asyncio.sleep(0.05)
        assert not view.ready
        assert view.age > 1e9
        api.failing = 0
        await until(lambda: view.ready)
        assert view.age < 10

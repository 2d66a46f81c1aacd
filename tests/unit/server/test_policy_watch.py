"""When a view is shown: only whole, and then at once."""

import asyncio
from typing import Any

import pytest

from webhook.cluster.watch import ApiAnswer
from webhook.policy.cache import PolicyCache
from webhook.server.policy_watch import PAUSE, _Store

CORE = ApiAnswer("v1", frozenset({"namespaces", "pods"}))
OURS = ApiAnswer("v1alpha1", frozenset({"nonrootpolicies", "nonrootexceptions", "imageidentities"}))


@pytest.fixture
def view() -> PolicyCache:
    return PolicyCache()


@pytest.fixture
def store(view: PolicyCache) -> _Store:
    return _Store(view)


def listed(resource: str, *uids: str) -> ApiAnswer:
    return ApiAnswer(resource, uids=frozenset(uids))


def namespace(name: str, **labels: str) -> Any:
    return {"kind": "Namespace", "metadata": {"name": name, "uid": f"uid-{name}", "labels": labels}}


def policy(name: str, mode: str) -> Any:
    api = {"apiVersion": "nonroot.dev/v1alpha1", "kind": "NonRootPolicy"}
    return api | {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": {"mode": mode}}


def gone(uid: str) -> Any:
    return {"metadata": {"uid": uid}}


async def test_nothing_is_shown_before_every_listing_was_heard_to_its_end(view: PolicyCache, store: _Store) -> None:
    for answer in (CORE, OURS, listed("namespaces", "uid-web"), listed("nonrootpolicies", "uid-p")):
        store.observe(answer)
    store.change("namespaces", False, namespace("web"))
    store.change("nonrootpolicies", False, policy("p", "Enforce"))
    assert not view.ready  # the exceptions have not been listed yet
    store.observe(listed("nonrootexceptions", "uid-e"))
    assert not view.ready  # nor has the one that there is been heard of
    store.change("nonrootexceptions", True, gone("uid-e"))
    assert view.ready
    assert view.effective_policy("web").mode == "Enforce"


async def test_without_our_crds_there_are_namespaces_alone(view: PolicyCache, store: _Store) -> None:
    store.observe(CORE)
    store.observe(listed("namespaces", "uid-web"))
    assert not view.ready
    store.change("namespaces", False, namespace("web"))
    assert view.ready


async def test_crds_that_come_later_hold_the_view_until_they_are_listed(view: PolicyCache, store: _Store) -> None:
    store.observe(CORE)
    store.observe(listed("namespaces"))
    await asyncio.sleep(2 * PAUSE)
    store.observe(OURS)
    store.observe(listed("nonrootpolicies", "uid-p"))
    store.change("nonrootpolicies", False, policy("p", "Enforce"))
    assert view.effective_policy("web").mode == "Audit"
    store.observe(listed("nonrootexceptions"))
    assert view.effective_policy("web").mode == "Enforce"


async def test_of_a_burst_the_first_and_the_last_change_are_shown(
    view: PolicyCache, store: _Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.observe(CORE)
    store.observe(listed("namespaces"))
    shows = []
    replace = view.replace

    def counted(*given: Any) -> None:
        shows.append(1)
        replace(*given)

    monkeypatch.setattr(view, "replace", counted)
    await asyncio.sleep(2 * PAUSE)
    for number in range(100):
        mode = "enforce" if number % 2 else "warn"
        store.change("namespaces", False, namespace("web", **{"nonroot.dev/mode": mode}))
        if number == 0:
            assert view.effective_policy("web").mode == "Warn"
    await asyncio.sleep(2 * PAUSE)
    assert view.effective_policy("web").mode == "Enforce"
    assert 2 <= len(shows) < 20  # two, but on a machine that is busy for a pause at a time


async def test_every_answer_about_a_resource_confirms_it(view: PolicyCache, store: _Store) -> None:
    store.observe(CORE)
    assert view.age > 1e9
    store.observe(ApiAnswer("namespaces"))
    assert view.age < 1

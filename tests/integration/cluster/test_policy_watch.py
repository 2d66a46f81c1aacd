"""The view of a real cluster, through what may happen to its API server."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.config import kube_config

from tests.e2e.target import Target
from tests.support import cluster
from tests.support.api_proxy import ApiProxy, proxied
from webhook.cluster import reflector
from webhook.cluster.client import Cluster
from webhook.cluster.supervisor import background
from webhook.policy.cache import PolicyCache
from webhook.server.policy_watch import PolicyWatch

pytestmark = pytest.mark.timeout(120)
NAMESPACE = f"view-{secrets.token_hex(4)}"  # one for all tests here: namespaces take long to go


@pytest.fixture(scope="module")
def prepared() -> Iterator[Target]:
    """A cluster with the CRDs and one namespace of ours."""
    found = cluster.reach()
    with cluster.crds(found):
        found.kubectl("create", "namespace", NAMESPACE)
        try:
            yield found
        finally:
            found.delete("namespaces", NAMESPACE)


@pytest.fixture
def target(prepared: Target) -> Iterator[Target]:
    """The same, and nothing of the last test in it."""
    yield prepared
    prepared.label(NAMESPACE, **{"nonroot.dev/mode": None})
    for kind in ("nonrootexceptions", "nonrootpolicies"):
        prepared.kubectl("delete", kind, "-n", NAMESPACE, "-l", "test=view")


@pytest.fixture
async def proxy(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiProxy]:
    """The only way to the cluster for the code under test."""
    async with proxied(target, tmp_path) as (found, kubeconfig):
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        yield found


@contextlib.asynccontextmanager
async def watched() -> AsyncIterator[PolicyCache]:
    """A view that is being kept up to date."""
    view = PolicyCache()
    async with contextlib.aclosing(Cluster()) as api, background(*PolicyWatch(view).loops(api)):
        yield view


async def until(probe: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not probe():
            await asyncio.sleep(0.02)


async def apply(target: Target, kind: str, name: str, **spec: Any) -> None:
    document = {
        "apiVersion": "nonroot.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "labels": {"test": "view"}},
        "spec": spec,
    }
    await kubectl(target, "apply", "-n", NAMESPACE, "-f", "-", text=json.dumps(document))


async def kubectl(target: Target, *arguments: str, text: str = "") -> None:
    await asyncio.to_thread(target.kubectl, *arguments, text=text)


async def test_policies_labels_and_exceptions_count_as_they_come_and_go(target: Target, proxy: ApiProxy) -> None:
    async with watched() as view:
        await until(lambda: view.ready)
        first = view.effective_policy(NAMESPACE).policy.metadata.name  # `default` where a chart once brought it
        assert view.effective_policy(NAMESPACE).mode == "Audit"
        selector = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
        await apply(target, "NonRootPolicy", NAMESPACE, mode="Warn", namespaceSelector=selector)
        await until(lambda: view.effective_policy(NAMESPACE).mode == "Warn")
        await kubectl(target, "label", "namespace", NAMESPACE, "nonroot.dev/mode=enforce")
        await until(lambda: view.effective_policy(NAMESPACE).mode == "Enforce")
        await apply(target, "NonRootException", "old-app", reason="because")
        await until(lambda: len(view.exceptions(NAMESPACE)) == 1)
        await kubectl(target, "delete", "nonrootexception", "-n", NAMESPACE, "old-app")
        await until(lambda: view.exceptions(NAMESPACE) == ())
        await kubectl(target, "label", "namespace", NAMESPACE, "nonroot.dev/mode-")
        await until(lambda: view.effective_policy(NAMESPACE).mode == "Warn")
        await kubectl(target, "delete", "nonrootpolicy", NAMESPACE)
        await until(lambda: view.effective_policy(NAMESPACE).policy.metadata.name == first)
        assert view.problems == {}
        assert view.age < 60


async def test_an_api_server_that_is_away_at_first_is_waited_for(target: Target, proxy: ApiProxy) -> None:
    await proxy.stop()
    async with watched() as view:
        await asyncio.sleep(2)
        assert not view.ready
        await proxy.start()
        await until(lambda: view.ready)


async def test_the_last_view_stays_while_the_api_server_is_away(target: Target, proxy: ApiProxy) -> None:
    async with watched() as view:
        await kubectl(target, "label", "namespace", NAMESPACE, "nonroot.dev/mode=enforce")
        await until(lambda: view.ready and view.effective_policy(NAMESPACE).mode == "Enforce")
        await proxy.stop()
        await kubectl(target, "label", "namespace", NAMESPACE, "nonroot.dev/mode=warn", "--overwrite")
        before = view.age
        await asyncio.sleep(2)
        assert (view.ready, view.effective_policy(NAMESPACE).mode) == (True, "Enforce")
        assert view.age >= before + 1.9
        await proxy.start()
        await until(lambda: view.effective_policy(NAMESPACE).mode == "Warn")
        await until(lambda: view.age < 10)  # the other streams, too


async def test_what_vanished_unseen_is_gone_after_the_next_listing(target: Target, proxy: ApiProxy) -> None:
    await apply(target, "NonRootException", "old-app", reason="because")
    async with watched() as view:
        await until(lambda: len(view.exceptions(NAMESPACE)) == 1)
        await proxy.stop()
        await kubectl(target, "delete", "nonrootexception", "-n", NAMESPACE, "old-app")
        proxy.gone.add("nonrootexceptions")
        await proxy.start()
        await until(lambda: view.exceptions(NAMESPACE) == ())
        assert not proxy.gone


async def test_a_right_that_is_missing_is_named_once_in_a_line(
    target: Target, proxy: ApiProxy, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing again at each further attempt; what it was refused it tries until it may."""
    monkeypatch.setattr(reflector, "ABSENT_PAUSE", 0.1)
    proxy.forbidden |= {"namespaces", "nonrootpolicies"}
    async with watched() as view:
        await until(lambda: len(caplog.records) == 2)
        await until(lambda: proxy.refused > 8)
        assert not view.ready
        assert sorted(record.getMessage() for record in caplog.records) == [
            f"changes are not seen: {each}: GET was answered 403; check the RBAC of the ServiceAccount"
            for each in ("namespaces", "nonrootpolicies")
        ]
        proxy.forbidden.clear()
        await until(lambda: view.ready)


async def test_crds_that_come_later_are_noticed(target: Target, proxy: ApiProxy) -> None:
    proxy.hidden = "nonroot.dev"
    await apply(target, "NonRootException", "old-app", reason="because")
    async with watched() as view:
        await until(lambda: view.ready)
        assert view.exceptions(NAMESPACE) == ()
        proxy.hidden = ""
        await until(lambda: len(view.exceptions(NAMESPACE)) == 1)

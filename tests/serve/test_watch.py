"""The view of a real cluster, through what may happen to its API server."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kubernetes.config import kube_config

from tests.e2e.target import Target
from tests.support import cluster
from tests.support.api_proxy import ApiProxy, proxied
from tests.support.images import image
from webhook import reference, store
from webhook.background import running
from webhook.cluster import Cluster
from webhook.identities import Identities
from webhook.image import Platform, Query
from webhook.image_identity import ImageIdentity, of_fact
from webhook.observed import Fact
from webhook.memory import ClusterMemory
from webhook.serve.watch import watch
from webhook.view import ClusterView

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]
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
            found.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def target(prepared: Target) -> Iterator[Target]:
    """The same, and nothing of the last test in it."""
    yield prepared
    prepared.kubectl("label", "namespace", NAMESPACE, "nonroot.dev/mode-")
    for kind in ("nonrootexceptions", "nonrootpolicies"):
        prepared.kubectl("delete", kind, "-n", NAMESPACE, "-l", "test=view")


@pytest.fixture
async def proxy(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiProxy]:
    """The only way to the cluster for the code under test."""
    async with proxied(target, tmp_path) as (found, kubeconfig):
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        yield found


@contextlib.asynccontextmanager
async def watched(known: Identities | None = None) -> AsyncIterator[ClusterView]:
    """A view that is being kept up to date; the watch must end by itself when asked."""
    view, stop = ClusterView(), asyncio.Event()
    watching = asyncio.create_task(watch(view, Identities() if known is None else known, stop))
    try:
        yield view
    finally:
        stop.set()
        await asyncio.wait_for(watching, 10)


async def until(probe: Callable[[], object], seconds: float = 20) -> None:
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
        assert view.govern(NAMESPACE).policy.metadata.name == "built-in"
        selector = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
        await apply(target, "NonRootPolicy", NAMESPACE, mode="Warn", namespaceSelector=selector)
        await until(lambda: view.govern(NAMESPACE).mode == "Warn")
        await kubectl(target, "label", "namespace", NAMESPACE, "nonroot.dev/mode=enforce")
        await until(lambda: view.govern(NAMESPACE).mode == "Enforce")
        await apply(target, "NonRootException", "old-app", reason="because")
        await until(lambda: len(view.exceptions(NAMESPACE)) == 1)
        await kubectl(target, "delete", "nonrootexception", "-n", NAMESPACE, "old-app")
        await until(lambda: view.exceptions(NAMESPACE) == ())
        await kubectl(target, "label", "namespace", NAMESPACE, "nonroot.dev/mode-")
        await until(lambda: view.govern(NAMESPACE).mode == "Warn")
        await kubectl(target, "delete", "nonrootpolicy", NAMESPACE)
        await until(lambda: view.govern(NAMESPACE).policy.metadata.name == "built-in")
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
        await until(lambda: view.ready and view.govern(NAMESPACE).mode == "Enforce")
        await proxy.stop()
        await kubectl(target, "label", "namespace", NAMESPACE, "nonroot.dev/mode=warn", "--overwrite")
        before = view.age
        await asyncio.sleep(2)
        assert (view.ready, view.govern(NAMESPACE).mode) == (True, "Enforce")
        assert view.age >= before + 1.9
        await proxy.start()
        await until(lambda: view.govern(NAMESPACE).mode == "Warn")
        assert view.age < 10


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


async def test_crds_that_come_later_are_noticed(target: Target, proxy: ApiProxy) -> None:
    proxy.hidden = "nonroot.dev"
    await apply(target, "NonRootException", "old-app", reason="because")
    async with watched() as view:
        await until(lambda: view.ready)
        assert view.exceptions(NAMESPACE) == ()
        proxy.hidden = ""
        touch = f"nonroot.dev/test={secrets.token_hex(4)}"  # any change of the CRD, as when it is established
        await kubectl(target, "annotate", "crd", "nonrootexceptions.nonroot.dev", touch, "--overwrite")
        await until(lambda: len(view.exceptions(NAMESPACE)) == 1)
    await kubectl(target, "annotate", "crd", "nonrootexceptions.nonroot.dev", "nonroot.dev/test-")


def identity(digest: str, image: str = "registry.example/view:1") -> ImageIdentity:
    made = of_fact(Fact(image, digest, AMD64, 1500, 1600), (AMD64,), datetime.now(UTC))
    assert made is not None
    return made


AMD64 = Platform("linux", "amd64")


@pytest.fixture
async def api(target: Target) -> AsyncIterator[Cluster]:
    """The API server itself, for what a test writes; what it has written of identities is removed."""
    async with contextlib.aclosing(Cluster()) as cluster:
        yield cluster
        found = [each async for each in store.listed(cluster) if each.spec.image.startswith("registry.example/view")]
        for each in found:
            await store.remove(cluster, each)


async def test_identities_come_and_go_and_are_found_again_after_a_restart(
    target: Target, api: Cluster, proxy: ApiProxy
) -> None:
    digests = [f"sha256:{secrets.token_hex(32)}" for _ in range(3)]
    for digest in digests[:2]:
        await store.create(api, identity(digest))
        await store.create(api, identity(digest))  # somebody else was first
    known = Identities()
    async with watched(known) as view:
        await until(lambda: view.ready and {each.digest for each in seen(known)} >= set(digests[:2]))
        await store.create(api, identity(digests[2]))
        await until(lambda: digests[2] in {each.digest for each in seen(known)})
        (first,) = [each async for each in store.listed(api) if each.digest == digests[0]]
        await store.change(api, first, {"aliases": ["registry.example/view:2"]})
        await until(lambda: known.of_reference("registry.example/view:2"))
        await store.change(api, first, {"aliases": []})  # as it was read it is no more
        await proxy.stop()
        (first,) = [each async for each in store.listed(api) if each.digest == digests[0]]
        assert first.spec.aliases
        await store.remove(api, first)
        await store.remove(api, first)
        proxy.gone.add("imageidentities")
        await proxy.start()
        await until(lambda: digests[0] not in {each.digest for each in seen(known)})
    again = Identities()
    async with watched(again):
        await until(lambda: {each.digest for each in seen(again)} >= set(digests[1:]))


def seen(known: Identities) -> tuple[ImageIdentity, ...]:
    return known.of_reference("registry.example/view:1")


@pytest.mark.parametrize("absent", [False, True], ids=["no right to list them", "no such kind"])
async def test_without_identities_there_is_a_view(target: Target, proxy: ApiProxy, absent: bool) -> None:
    if absent:
        proxy.hidden = "nonroot.dev"
    else:
        proxy.forbidden.add("imageidentities")
    async with watched() as view:
        await until(lambda: view.ready)
        await asyncio.sleep(3)
        await kubectl(target, "label", "namespace", NAMESPACE, "nonroot.dev/mode=enforce")
        await until(lambda: view.govern(NAMESPACE).mode == "Enforce", 5)
        assert view.age < 40


async def test_what_a_registry_has_told_is_written_once(target: Target, api: Cluster) -> None:
    """And not for a dry run, nor where it is known."""
    memory = ClusterMemory(api)
    asked = reference.parse("registry.example/view:1")
    told = image("app")
    told = msgspec.structs.replace(told, digest=f"sha256:{secrets.token_hex(32)}", index=())
    async with running(memory.writer):
        memory.learn(asked, told, Query("registry.example/view:1", dry_run=True))
        for _ in range(3):
            memory.learn(asked, told, Query("registry.example/view:1"))
        await until(lambda: memory.writer.written == 1)
        await asyncio.sleep(0.2)
    assert (memory.writer.written, memory.writer.failed) == (1, 0)
    (stored,) = [each async for each in store.listed(api) if each.digest == told.digest]
    assert (stored.spec.user, stored.spec.uid, stored.spec.gid) == ("app", 1000, 1000)
    later = ClusterMemory(api)
    later.put("uid", stored)
    later.learn(asked, told, Query("registry.example/view:1"))
    assert not later.writer._waiting

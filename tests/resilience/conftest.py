"""The installed release, two namespaces, a registry that can be told to lie, and traffic through all of it."""

import asyncio
import contextlib
import itertools
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import msgspec
import pytest

from deploy import release
from deploy.dev.images.build import Pushed
from deploy.dev.oci import Content, accounts_layer, image
from deploy.dev.registry import Registry
from deploy.local import cluster, paths
from deploy.local.layout import Layout
from tests.conformance.cluster import connect
from tests.e2e.conftest import product, target
from tests.e2e.target import Target
from tests.resilience import rights
from tests.resilience.figures import RECORDED, Fault, record
from tests.resilience.replicas import ADMISSION, CONTROLLER, Replica, replicas, whole
from tests.resilience.traffic import BEFORE, Kind, Tally, Traffic, straight
from tests.support import control_plane
from tests.support.cluster import CRDS, reach, serve
from tests.support.pods import DEFAULTS

__all__ = ["product", "target"]

LONG = bool(os.environ.get("NONROOT_SURVIVE_LONG"))  # hours instead of minutes
long = pytest.mark.skipif(not LONG, reason="part of the long form: make test-survive LONG=1")
UID = 1500
STATED = DEFAULTS  # all that there is to inject, beside a uid
MODES = {
    "enforce": {"nonroot.dev/mode": "enforce"},
    "warn": {"nonroot.dev/mode": "warn"},
    "audit": {},
}  # and their labels
TAG_LIFE = 3  # seconds: tags are asked for again and again, so that a registry that is away is noticed


def app(number: int = 0) -> Content:
    """An image with a USER that only its own /etc/passwd explains; each number is another image."""
    return image(accounts_layer(f"app:x:{UID}:{UID}::/:"), user="app", settings={"Cmd": [str(number)]})


@pytest.fixture(autouse=True)
def _noted(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Each test's figures, for the end of the run, and what rights it has used, before the audit log forgets it."""
    before = len(RECORDED)
    yield
    for row in RECORDED[before:]:
        name, *measured = msgspec.structs.asdict(row).items()
        record_property(str(name[1]), ", ".join(f"{what} {value}" for what, value in measured))
    if LONG:
        rights.note()


def install(target: Target, product: Pushed, **values: object) -> None:
    """The release of `installed`, with more `values` of the chart's."""
    registries = {
        "insecure": [target.registry.rpartition(":")[0]],
        "pullSecrets": {"scope": "cluster"},
        "tagLife": TAG_LIFE,
    }
    pinned = release.Image.parse(product.pinned)
    release.install(pinned, target.environment, registries, chart=release.CHART, **values)


@pytest.fixture(scope="package")
def installed(target: Target, product: Pushed) -> Iterator[Target]:
    """The chart with its own defaults, but for our image, registries on the host of the cluster's own, and tags' lives."""
    if os.geteuid():
        pytest.skip("does harm to the processes of the release: needs root")
    release.uninstall(target.environment)  # whatever somebody left, a failed install above all
    try:
        install(target, product)
        if not replicas(target):
            pytest.skip("does harm to the processes of the release: they are not on this machine")
        yield target
    finally:
        release.uninstall(target.environment)


@pytest.fixture(scope="package")
def namespaces(installed: Target) -> Iterator[tuple[str, str]]:
    """A namespace that enforces, and one that nobody has labelled."""
    mark = secrets.token_hex(2)
    names = f"survive-{mark}", f"survive-audit-{mark}"
    installed.namespace(names[0], **{"nonroot.dev/mode": "enforce"})
    installed.namespace(names[1])
    yield names
    installed.kubectl("delete", "namespace", "--wait=false", *names)


@pytest.fixture
async def registry(target: Target) -> AsyncIterator[Registry]:
    """A registry at the address of the cluster's own, where replicas reach it; it has `app`, `root` and `number`."""
    async with Registry(address=target.registry.rpartition(":")[0]) as running:
        running.push("known/app:1", app())
        running.push("known/root:1", image(user="root"))
        running.push("known/number:1", image(user="1001"))
        yield running


@pytest.fixture
def kinds(registry: Registry, namespaces: tuple[str, str]) -> list[Kind]:
    """One of each answer that there is."""
    enforced, audited = namespaces
    known = f"{registry.host}/known"
    return [
        Kind("named", enforced, f"{known}/app:1", "patched", UID),
        Kind("demanding", enforced, f"{known}/app:1", "patched", UID, context={"runAsNonRoot": True}),
        Kind("number", enforced, f"{known}/number:1", "patched", 1001),
        Kind("root", enforced, f"{known}/root:1", "refused"),
        Kind("stated", enforced, f"{known}/app:1", "untouched", context={"runAsUser": 1234, **STATED}),
        Kind("elsewhere", audited, f"{known}/root:1", "untouched"),
    ]


@pytest.fixture
async def traffic(installed: Target, kinds: list[Kind], tmp_path: Path) -> AsyncIterator[Traffic]:
    """Traffic that is answered right, over connections that are open already."""
    for component in (ADMISSION, CONTROLLER):
        whole(installed, component)
    async with connect(installed.environment, tmp_path) as api:
        await _warm(replicas(installed), kinds)
        made = Traffic(api.session, kinds)
        for kind in kinds:
            await made.one(kind)
        assert not made.tally.wrong, made.tally
        yield made


async def _warm(asked: list[Replica], kinds: list[Kind]) -> None:
    """Show every image to every replica, so that each has seen it before the fault; nothing is written down of that."""
    async with aiohttp.ClientSession() as session:
        for one, kind in itertools.product(asked, kinds):
            await straight(session, one.address, kind)


@pytest.fixture
def layout(target: Target) -> Layout:
    """The cluster's own processes, which are everybody's who uses it meanwhile; skips where they are not ours to touch."""
    found = Layout(paths.default_state())
    if Path(target.environment["KUBECONFIG"]) != found.kubeconfig or not cluster.running():
        pytest.skip("only a cluster of deploy/local has parts that can be paused and restarted from here")
    return found


def born(target: Target, name: str, labels: Mapping[str, str]) -> None:
    """Make a namespace with its service account, where no controller does."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
    for each in (namespace, account):
        target.apply(each, namespace=name)


def gone(target: Target, name: str) -> None:
    """Delete a namespace, where no controller finishes that."""
    target.delete("namespaces", name)
    empty = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {"finalizers": []}}
    target.kubectl("replace", "--raw", f"/api/v1/namespaces/{name}/finalize", "-f", "-", text=json.dumps(empty))


@pytest.fixture
def alone() -> Iterator[Target]:
    """An API server with our kinds and nothing else."""
    reach()
    with control_plane.alone() as running:
        target = Target({**os.environ, "KUBECONFIG": str(running.kubeconfig)}, "")
        serve(target, CRDS)
        yield target


Scene = Callable[..., AbstractAsyncContextManager[Tally]]


@pytest.fixture
def scene(traffic: Traffic) -> Scene:
    """Commit a fault under traffic, which must come to rest again, and record a row: `async with` the name and the fault inside.

    A wrong verdict may never be. `lost` is the most that may be lost, where there is such a bound: of the long form alone,
    because a machine that is busy with other tests loses some by itself.
    """

    @contextlib.asynccontextmanager
    async def play(name: str, *more: Kind, lost: int | None = None, note: str = "") -> AsyncIterator[Tally]:
        async with traffic.running(*more) as tally:
            await asyncio.sleep(BEFORE)
            assert not (LONG and tally.trouble), f"before the fault: {tally}"
            yield tally
            recovered = await traffic.calm(time.monotonic())
        row = Fault.of(name, tally, recovered, note)
        record(row)
        assert not tally.wrong, tally.wrong[:5]
        assert not LONG or lost is None or row.lost <= lost, tally

    return play

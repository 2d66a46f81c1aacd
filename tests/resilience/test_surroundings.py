"""What an installed release stands on gives way under steady admissions: names, disk, clock, what watches ask for.

Its controller dies between any two of its writes, too.
"""

import asyncio
import contextlib
import json
import os
import secrets
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.dev.images.build import Pushed
from deploy.local import cluster, control_plane
from deploy.local.layout import Layout
from deploy.release import NAMESPACE
from tests.e2e.controller import scan
from tests.e2e.target import Target, deployment, eventually
from tests.resilience import rights
from tests.resilience.clocks import JUMPS, Clock
from tests.resilience.conftest import Scene, install, long
from tests.resilience.replicas import ADMISSION, CONTROLLER, replicas, whole
from tests.resilience.test_certificates import certificate, restored
from tests.resilience.traffic import Kind
from tests.support import reports
from tests.support.api_server import Refused
from tests.support.cluster import serve

pytestmark = [long, pytest.mark.survive, pytest.mark.timeout(600)]

WHILE = 10.0  # seconds
ROTATION_WRITES = 4  # two Secrets, and the CA in two configurations
SCAN_WRITES = 4
WRITING = {"create", "update", "patch", "delete"}
SECRETS = ("nonroot-webhook-ca", "nonroot-webhook-tls")
OPENREPORTS = "openreports.io/v1alpha1"
NOW = "import time; print(time.time())"
ROOT = '{"spec":{"securityContext":{"runAsUser":0}}}'


async def test_names_do_not_resolve(scene: Scene, installed: Target, namespaces: tuple[str, str]) -> None:
    """Pods of known images go on; one of a registry that must be looked up waits, at each replica for half a minute."""
    named = Kind("elsewhere", namespaces[0], "registry{n}.example.com/app:1", "verified", images=3)
    with contextlib.ExitStack() as stack:
        for each in replicas(installed):
            stack.enter_context(each.without_names())
        async with scene(
            "DNS silent", named, note="images of registries to look up: waited for, then left to the kubelet"
        ):
            await asyncio.sleep(WHILE)


@pytest.fixture(scope="module")
def surrounded(
    installed: Target, product: Pushed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[int], None]]:
    """The release with a clock that jumps when told to, and a small disk for temporary files."""
    clock = Clock(tmp_path_factory.mktemp("clock"))
    library = Path(clock.environment["LD_PRELOAD"])
    held = {"faketime": b64encode(library.read_bytes()).decode()}
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "faketime", "namespace": NAMESPACE}}
    installed.apply({**made, "binaryData": held}, namespace=NAMESPACE)
    named = {**clock.environment, "LD_PRELOAD": "/faketime/faketime", "FAKETIME_TIMESTAMP_FILE": "/clock/now"}
    volumes = {
        "extraEnv": [{"name": name, "value": value} for name, value in {**named, "TMPDIR": "/small"}.items()],
        "extraVolumes": [
            {"name": "faketime", "configMap": {"name": "faketime"}},
            {"name": "clock", "emptyDir": {}},
            {"name": "small", "emptyDir": {"medium": "Memory", "sizeLimit": "64Ki"}},
        ],
        "extraVolumeMounts": [{"name": each, "mountPath": f"/{each}"} for each in ("faketime", "clock", "small")],
    }
    install(installed, product, **volumes, controller=volumes)

    def jump(seconds: int) -> None:
        for component in (ADMISSION, CONTROLLER):
            for each in whole(installed, component):
                assert "faketime" in Path(f"/proc/{each.pid}/maps").read_text()
                Path(f"/proc/{each.pid}/root/clock/now").write_text(f"{seconds:+d}\n")

    yield jump
    install(installed, product)
    installed.kubectl("delete", "configmap", "faketime", "--namespace", NAMESPACE)


@pytest.mark.parametrize("jump", JUMPS)
async def test_the_clock_jumps(surrounded: Callable[[int], None], scene: Scene, installed: Target, jump: str) -> None:
    """That of every process of ours; the cluster's goes on."""
    async with scene(f"the clock of replicas and controller {jump}", lost=0):
        await asyncio.to_thread(surrounded, JUMPS[jump])
        try:
            await asyncio.sleep(WHILE)
            pod = replicas(installed)[0].pod
            seen = await _kubectl(installed, "exec", "--namespace", NAMESPACE, pod, "--", "python", "-c", NOW)
            assert abs(float(seen) - time.time() - JUMPS[jump]) < 60
        finally:
            await asyncio.to_thread(surrounded, 0)


async def test_the_disk_is_full(surrounded: Callable[[int], None], scene: Scene, installed: Target) -> None:
    """There is no room for temporary files; the root is read-only, and the log is the node's."""
    async with scene("the disk full", lost=0):
        for each in replicas(installed):
            _fill(Path(f"/proc/{each.pid}/root/small/rest"))
        await asyncio.sleep(WHILE)


def _fill(file: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        file.write_bytes(bytes(1 << 20))


async def test_the_watch_history_is_gone(scene: Scene, installed: Target, layout: Layout) -> None:
    """What the watches ask for is compacted away before the API server is back: they begin anew, and miss nothing."""
    async with scene("the API server restarted, its watch history gone (410)"):
        await asyncio.to_thread(layout.processes.stop, control_plane.APISERVER)
        await asyncio.to_thread(_compact)
        await asyncio.to_thread(cluster.up)
    name = f"survive-late-{secrets.token_hex(2)}"
    await asyncio.to_thread(installed.namespace, name, **{"nonroot.dev/mode": "enforce"})
    try:
        with pytest.raises(Refused, match="denied the request"):
            await _kubectl(installed, "run", "root", "--image=registry.example/root:1", "-n", name, "--overrides", ROOT)
    finally:
        await _kubectl(installed, "delete", "namespace", name, "--wait=false")


def _compact() -> None:
    """Forget all of etcd's history, up to a revision that no watch has seen."""
    key = b64encode(b"survive").decode()
    revision = [_etcd("kv/put", {"key": key, "value": key})["header"]["revision"] for _ in range(10)][-1]
    _etcd("kv/deleterange", {"key": key})
    _etcd("kv/compaction", {"revision": revision, "physical": True})


def _etcd(what: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(f"{os.environ['NONROOT_ETCD']}/v3/{what}", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=30) as reply:
        answer: dict[str, Any] = json.load(reply)
        return answer


async def test_the_controller_is_killed_in_a_rotation(scene: Scene, installed: Target) -> None:
    """After each of its writes: both Secrets lost, and a new CA in force in the end, with no admission lost on the way."""
    async with scene(
        "the controller killed between every two writes of a rotation", lost=0, note=f"{ROTATION_WRITES} times"
    ):
        for number in range(1, ROTATION_WRITES + 1):
            former = certificate(installed)
            killed = asyncio.create_task(asyncio.to_thread(_kill_after, installed, number))
            await asyncio.sleep(0.2)
            await _kubectl(installed, "delete", "secret", *SECRETS, "--namespace", NAMESPACE)
            await killed
            await restored(installed, former)
            await asyncio.to_thread(whole, installed, CONTROLLER)


async def test_the_controller_is_killed_in_a_scan(scene: Scene, installed: Target, namespaces: tuple[str, str]) -> None:
    """After each of its writes: in the end there is one report for each workload, as if nothing had been."""
    crd, names = reports.crd(OPENREPORTS), {f"web{number}" for number in range(SCAN_WRITES)}
    await asyncio.to_thread(serve, installed, crd)
    made = [deployment(name, "registry.example/app:1", non_root=False) for name in names]
    for each in made:
        each["spec"]["replicas"] = 0
    try:
        async with scene(
            "the controller killed between every two writes of a scan", lost=0, note=f"{SCAN_WRITES} times"
        ):
            await asyncio.to_thread(lambda: installed.apply(*made, namespace=namespaces[1]))
            for number in range(1, SCAN_WRITES + 1):
                killed = asyncio.create_task(asyncio.to_thread(_kill_after, installed, number))
                await asyncio.sleep(0.2)
                await _kubectl(installed, "delete", "reports", "--all", "--namespace", namespaces[1])
                await asyncio.to_thread(scan, installed, namespaces[1])
                await killed
                await asyncio.to_thread(whole, installed, CONTROLLER)

            def reported() -> bool:
                return {each["scope"]["name"] for each in installed.get("reports", namespaces[1])} == names

            await asyncio.to_thread(eventually, reported, "a report for each workload")
    finally:
        await _kubectl(installed, "delete", "deployments", "--all", "--namespace", namespaces[1])
        await _kubectl(installed, "delete", "-f", str(crd))


def _kill_after(target: Target, number: int) -> None:
    """SIGKILL the controller as soon as the API server has written down so many writes of its; another Pod takes over.

    A container that is killed again and again would be started later and later.
    """
    (controller,) = whole(target, CONTROLLER)
    read: dict[int, int] = {}
    for _ in rights.entries(read):
        pass
    deadline = time.monotonic() + 60
    while number > 0:
        assert time.monotonic() < deadline, f"{number} writes too few"
        number -= sum(
            each["user"]["username"].endswith("-controller") and each["verb"] in WRITING
            for each in rights.entries(read)
        )
        time.sleep(0.001)
    controller.kill()
    target.kubectl("delete", "pod", controller.pod, "--namespace", NAMESPACE, "--force", "--grace-period=0")


async def _kubectl(target: Target, *words: str) -> str:
    return await asyncio.to_thread(target.kubectl, *words)

"""The control plane itself stands still, restarts, and starts from cold, with the webhook installed and enforcing.

Only on deploy/local, whose parts are processes of this machine; they are everybody's who uses the cluster meanwhile.
"""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from deploy.local import cluster, control_plane, node, paths
from deploy.local.layout import Layout
from tests.e2e.target import Refused, Target
from tests.survive.conftest import Scene, long
from tests.survive.figures import Fact, record
from tests.survive.replicas import ADMISSION, CONTROLLER, whole

pytestmark = [long, pytest.mark.survive, pytest.mark.timeout(600)]

ROOT = '{"spec":{"securityContext":{"runAsUser":0}}}'
PAUSE = 10.0  # seconds without etcd


@pytest.fixture
def layout(target: Target) -> Layout:
    """The cluster's processes; skips where they are not ours to touch."""
    found = Layout(paths.default_state())
    if Path(target.environment["KUBECONFIG"]) != found.kubeconfig or not cluster.running():
        pytest.skip("only a cluster of deploy/local has parts that can be paused and restarted from here")
    return found


async def test_etcd_stands_still(scene: Scene, layout: Layout) -> None:
    """Admission asks etcd for nothing; what the API server itself cannot do meanwhile is not lost by us."""
    etcd = layout.processes.running(control_plane.ETCD)
    assert etcd is not None
    async with scene(f"etcd paused for {PAUSE:.0f} s", lost=0):
        os.kill(etcd.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(PAUSE)
        finally:
            os.kill(etcd.pid, signal.SIGCONT)


async def test_the_api_server_restarts(scene: Scene, layout: Layout) -> None:
    """Its watch history is gone with it; the replicas' view stays and is taken up again."""
    async with scene("the API server restarted", lost=0):
        await asyncio.to_thread(layout.processes.stop, control_plane.APISERVER)
        await asyncio.to_thread(cluster.up)


async def test_a_cold_start_needs_nobody(layout: Layout, installed: Target, namespaces: tuple[str, str]) -> None:
    """All of the cluster ends and starts again with hooks that nobody answers: it comes up, and our Pods with it."""
    began = time.monotonic()
    await asyncio.to_thread(_end, layout)
    await asyncio.to_thread(cluster.up)
    up = time.monotonic() - began
    for component in (ADMISSION, CONTROLLER):
        await asyncio.to_thread(whole, installed, component)
    record(
        Fact("cold start of the cluster", f"node ready after {up:.0f} s, ours after {time.monotonic() - began:.0f} s")
    )
    with pytest.raises(Refused, match="denied the request"):
        installed.kubectl(
            "run", "root", "--image=registry.example/root:1", "--namespace", namespaces[0], "--overrides", ROOT
        )


def _end(layout: Layout) -> None:
    """End every process of the cluster and every container; what is stored stays."""
    node.stop(layout)
    for name in reversed(cluster.PROCESSES):
        layout.processes.stop(name)

"""Parts of the control plane stand still or restart under steady admissions."""

import asyncio
import os
import signal

import pytest

from deploy.local import cluster, control_plane
from deploy.local.layout import Layout
from tests.resilience.conftest import Scene, long

pytestmark = [long, pytest.mark.survive, pytest.mark.timeout(600)]

PAUSE = 10.0  # seconds without etcd


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
    """The replicas' view stays and is taken up again. While it starts, it may not know yet where we are."""
    async with scene("the API server restarted"):
        await asyncio.to_thread(layout.processes.stop, control_plane.APISERVER)
        await asyncio.to_thread(cluster.up)

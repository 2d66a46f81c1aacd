"""The whole cluster ends and starts again, with hooks that nobody answers. The last but few by its name: it takes all along."""

import asyncio
import time

import pytest

from deploy.local import cluster, node
from deploy.local.layout import Layout
from tests.e2e.target import Target
from tests.resilience.conftest import long
from tests.resilience.figures import Fact, record
from tests.resilience.replicas import ADMISSION, CONTROLLER, whole
from tests.support.api_server import Refused

pytestmark = [long, pytest.mark.survive, pytest.mark.timeout(600)]

ROOT = '{"spec":{"securityContext":{"runAsUser":0}}}'


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

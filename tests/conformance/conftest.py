"""The cluster whose kubelet is asked: KUBECONFIG reaches it, and its nodes pull from NONROOT_REGISTRY by plain HTTP."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance import cluster, images, runner
from tests.conformance.cluster import Api
from tests.conformance.matrix import ACCOUNTS, Cell
from tests.conformance.model import Node
from tests.conformance.runner import BatchRunner

BYSTANDER = Cell("1500", "found")


@pytest.fixture
def registry() -> str:
    """Where the nodes pull from."""
    if not (os.environ.get("KUBECONFIG") and os.environ.get("NONROOT_REGISTRY")):
        pytest.skip("needs KUBECONFIG and NONROOT_REGISTRY: use make test-e2e, which starts a cluster")
    if not images.BUSYBOX.exists():
        pytest.skip(f"needs a static {images.BUSYBOX}: apt-get install busybox-static")
    return os.environ["NONROOT_REGISTRY"]


@pytest.fixture
async def api(registry: str, tmp_path: Path) -> AsyncIterator[Api]:
    """The API server."""
    async with cluster.connect(os.environ, tmp_path) as connected:
        yield connected


@pytest.fixture
async def runtime(api: Api) -> Node:
    """What runs on the cluster's nodes, with containerd as the runtime: nobody has written down what others say."""
    versions = {
        f"{found['kubeletVersion']} {found['containerRuntimeVersion']}"
        for found in (each["status"]["nodeInfo"] for each in (await api.call("GET", "/api/v1/nodes"))["items"])
    }
    match = re.fullmatch(r"v(\d+)\.(\d+)\.\S+ containerd://v?(\d+)\.(\d+)\.(\d+).*", "".join(versions))
    if not match:
        pytest.skip(f"the model's words are containerd's, and the nodes run {versions}")
    kubelet, minor, *version = (int(number) for number in match.groups())
    return Node("containerd", (version[0], version[1], version[2]), (kubelet, minor))


@pytest.fixture
async def batch_runner(api: Api, registry: str) -> AsyncIterator[BatchRunner]:
    """The kubelet, in a namespace that is removed afterwards."""

    def reference(cell: Cell) -> str:
        return images.reference(registry, images.content(cell.user, ACCOUNTS[cell.accounts]))

    await images.push(registry, [images.content(BYSTANDER.user, BYSTANDER.files)])
    name = await runner.namespace(api)
    yield BatchRunner(api, name, reference, reference(BYSTANDER))
    await api.call("DELETE", f"/api/v1/namespaces/{name}")

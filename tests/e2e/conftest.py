"""The cluster, the images and the release, each made once for all end-to-end tests.

Nothing here knows which cluster it is: KUBECONFIG reaches it, and NONROOT_REGISTRY is the HOST:PORT of a plain HTTP registry
from which its nodes and Pods can pull. `make test` starts one where there is none (deploy/with_cluster.py). Where the nodes'
files are in reach, CONTAINERD_ADDRESS and NONROOT_REGISTRY_HOSTS have the socket and the folder of each, as PATH has folders.
NONROOT_OFFLINE says that there is no way to package indexes, as in the network of deploy/kind.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy import release
from deploy.dev.images.build import Built, Pushed, build_all, build_product, push, push_all
from tests.e2e.predictions import Predictions
from tests.e2e.target import Target


@pytest.fixture(scope="session")
def target() -> Target:
    """A cluster."""
    if not (os.environ.get("KUBECONFIG") and os.environ.get("NONROOT_REGISTRY")):
        pytest.skip("needs KUBECONFIG and NONROOT_REGISTRY: use make test-e2e, which starts a cluster")

    def of_each_node(name: str) -> tuple[str, ...]:
        return tuple(filter(None, os.environ.get(name, "").split(os.pathsep)))

    sockets, folders = of_each_node("CONTAINERD_ADDRESS"), of_each_node("NONROOT_REGISTRY_HOSTS")
    return Target(os.environ, os.environ["NONROOT_REGISTRY"], sockets, folders)


@pytest.fixture
def online() -> None:
    """Skips where nothing can be fetched."""
    if os.environ.get("NONROOT_OFFLINE"):
        pytest.skip("fetches packages or modules, and there is no way to them from here (NONROOT_OFFLINE)")


@pytest.fixture(scope="session")
def built() -> dict[str, Built]:
    """The example images, built from their Dockerfiles."""
    return build_all()


@pytest.fixture(scope="session")
def images(target: Target, built: dict[str, Built]) -> dict[str, Pushed]:
    """The same in the cluster's registry."""
    return push_all(built.values(), target.registry)


@pytest.fixture(scope="session")
def product(target: Target) -> Pushed:
    """Our own image in the cluster's registry, from our own Dockerfile."""
    return push(build_product().reference, target.registry)


@pytest.fixture(scope="session", autouse=True)
def predictions(target: Target) -> Iterator[Predictions]:
    """No controller has predicted anything wrongly when all tests are over but what a test has meant to be wrong."""
    found = Predictions()
    with found.listening(target):
        yield found
    assert found.wrong() == []


def fronts(registry: str) -> tuple[str, str]:
    """Two HOST:PORT at which a test may put a front before that registry; we may speak plain HTTP there too."""
    host, _, port = registry.rpartition(":")
    return f"{host}:{int(port) + 1}", f"{host}:{int(port) + 2}"


@contextmanager
def reached_by_nodes(target: Target, registry: str, hosts: str) -> Iterator[None]:
    """Every node's containerd reaches the registry as this hosts.toml says, which it reads at each pull."""
    if not target.registry_hosts:
        pytest.skip("the nodes' registry configuration is not reachable from here (NONROOT_REGISTRY_HOSTS)")
    folders = [Path(each, registry) for each in target.registry_hosts]
    try:
        for folder in folders:
            folder.mkdir(exist_ok=True)
            (folder / "hosts.toml").write_text(hosts)
        yield
    finally:
        for folder in folders:
            shutil.rmtree(folder)


def registries(target: Target) -> dict[str, object]:
    """The chart's values under `registry`: all else is as the chart has it."""
    return {"insecure": [target.registry, *fronts(target.registry)], "pullSecrets": {"scope": "cluster"}}


@pytest.fixture(scope="session")
def installed(target: Target, product: Pushed) -> Iterator[Target]:
    """The cluster with the chart installed; removed at the end, also where it was installed only by half."""
    try:
        release.install(release.Image.parse(product.pinned), target.environment, registries(target))
        target.kubectl("delete", "imageidentities", "--all")  # no test is to know what an earlier run has learned
        yield target
    finally:
        release.uninstall(target.environment)


@pytest.fixture
def namespace(target: Target, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a namespace of this test's own; it, and whatever namespace begins with it, is removed afterwards."""
    words = request.node.name.partition("[")[0].removeprefix("test_").replace("_", "-")
    name = f"{words[:40].strip('-')}-{secrets.token_hex(4)}"
    yield name
    for each in target.get("namespaces"):
        if each["metadata"]["name"].startswith(name):
            target.delete("namespaces", each["metadata"]["name"])

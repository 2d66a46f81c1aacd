"""Where the tests of the one cluster run in another process (tests/conftest.py), these have an API server of their own."""

import os
from collections.abc import Iterator

import pytest
from kubernetes.aio.config import kube_config

from tests.support import control_plane


@pytest.fixture(scope="package", autouse=True)
def api_server() -> Iterator[None]:
    """What KUBECONFIG names meanwhile. It has controllers, and no node."""
    if not (os.environ.get("KUBECONFIG") and os.environ.get("PYTEST_XDIST_WORKER")):
        yield
        return
    with control_plane.alone(controllers=True) as layout, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(layout.kubeconfig))
        patch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(layout.kubeconfig))  # read when it was imported
        yield

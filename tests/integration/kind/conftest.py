"""The Docker of deploy/kind, which a test starts and ends."""

import os
import shutil
from collections.abc import Iterator

import pytest

from deploy.kind import engine


@pytest.fixture(scope="module")
def docker() -> Iterator[None]:
    """Ours, for the tests of one module; skips where this machine cannot have it."""
    if os.geteuid() != 0:
        pytest.skip("Docker in namespaces of its own needs root")
    if shutil.which("apt-get") is None:
        pytest.skip("Docker, and the base of a node, are packages of Debian or Ubuntu, and there is no apt-get here")
    if engine.running():
        pytest.skip("the cluster of `make kind` runs here, and a test would change it: make kind-down")
    with engine.borrowed():
        yield

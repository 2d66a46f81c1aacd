"""What holds for every test."""

import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:  # half a second, which pytest-xdist's own process needs not have
    from tests.support.scripted import Api
    from webhook.cluster.client import Cluster

# A busy machine is slow, which is no fault of the property that it tests. `make test` asks for the second profile by
# pytest's --hypothesis-profile; a test that needs more examples than others takes a multiple of the profile's number.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", _patient, max_examples=15)
settings.register_profile("thorough", _patient, max_examples=100)
settings.load_profile("quick")

# jsonschema imports its checks of IRIs, whose grammars take a third of each worker's start; no schema here has that format.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and tests are no garbage: it is not looked for among them, neither here nor later, which took seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are cores: some tests wait."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests that take seconds of CPU to the thorough profile, unless their file is named on the command line."""
    if config.getoption("--hypothesis-profile") == "thorough":
        return
    named = {Path(argument.partition("::")[0]).resolve() for argument in config.args}
    left = {item for item in items if item.get_closest_marker("thorough") and item.path not in named}
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=list(left))


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "AsyncIterator[Api]":
    """An API server that answers as scripted, and is the kubeconfig's."""
    from kubernetes.aio.config import kube_config

    from tests.support.scripted import serving

    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    async with serving(tmp_path / "kubeconfig") as found:
        yield found


@pytest.fixture
async def connection(api: "Api") -> "AsyncIterator[Cluster]":
    """A connection to it."""
    from webhook.cluster.client import Cluster

    async with contextlib.aclosing(Cluster()) as made:
        yield made

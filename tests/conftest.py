"""What holds for every test."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from kubernetes.aio.config import kube_config

from tests.support.scripted import Api, serving
from webhook.cluster.client import Cluster

# A busy machine is slow, which is no fault of the property that it tests.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """An API server that answers as told, and is the kubeconfig's."""
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    async with serving(tmp_path / "kubeconfig") as found:
        yield found


@pytest.fixture
async def connection(api: Api) -> AsyncIterator[Cluster]:
    """A connection to it."""
    async with contextlib.aclosing(Cluster()) as made:
        yield made

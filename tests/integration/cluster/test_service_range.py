"""The Service range of a real cluster is found, with the one right that takes, and no registry may have an address in it."""

import contextlib
from ipaddress import ip_address
from pathlib import Path

import pytest
from kubernetes.aio.config import kube_config

from tests.support import cluster
from webhook.cluster.client import Cluster
from webhook.cluster.service_range import service_networks
from webhook.registry.settings import RegistrySettings
from webhook.registry.transport.dialer import EgressPolicy


async def test_the_service_range_is_found_and_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has configured it, and the address of a Service is in it."""
    target = cluster.reach()
    service = target.kubectl("get", "service", "kubernetes", "-n", "default", "-o", "jsonpath={.spec.clusterIP}")
    rule = {"apiGroups": ["networking.k8s.io"], "resources": ["servicecidrs"], "verbs": ["list"]}
    with cluster.access(target, tmp_path, rule) as kubeconfig:
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        async with contextlib.aclosing(Cluster()) as api:
            found = await service_networks(api, {})
    assert found
    other = str(ip_address(service) + 9)
    before, after = EgressPolicy(RegistrySettings()), EgressPolicy(RegistrySettings().denying(found))
    for address in (service, other):
        assert before.allows("registry.default.svc:443", address, own=True)
        assert not after.allows("registry.default.svc:443", address, own=True)
    await before.aclose()
    await after.aclose()

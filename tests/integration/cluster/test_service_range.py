"""The Service range of a real cluster is found and followed, with the one right that takes, and denied to registries."""

import contextlib
import json
from ipaddress import ip_address
from pathlib import Path

import pytest
from kubernetes.aio.config import kube_config

from tests.support import cluster
from webhook.cluster.client import Cluster
from webhook.cluster.service_range import ServiceRange
from webhook.registry.settings import RegistrySettings
from webhook.registry.transport.egress import EgressPolicy

ADDED = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "ServiceCIDR",
    "metadata": {"name": "nonroot-added"},
    "spec": {"cidrs": ["192.168.77.0/24"]},
}


async def test_the_service_range_is_found_and_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has configured it, the address of a Service is in it, and one that is added counts without a restart."""
    target = cluster.reach()
    service = target.kubectl("get", "service", "kubernetes", "-n", "default", "-o", "jsonpath={.spec.clusterIP}")
    rule = {"apiGroups": ["networking.k8s.io"], "resources": ["servicecidrs"], "verbs": ["list"]}
    egress = EgressPolicy(RegistrySettings())

    def allowed() -> list[str]:
        addresses = (service, str(ip_address(service) + 9), "192.168.77.7")
        return [each for each in addresses if egress.allows("registry.default.svc:443", each, own=True)]

    with cluster.access(target, tmp_path, rule) as kubeconfig:
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        async with contextlib.aclosing(Cluster()) as api, contextlib.aclosing(egress):
            found = ServiceRange(api, egress.deny, {})
            assert len(allowed()) == 3
            await found.read()
            assert allowed() == ["192.168.77.7"]
            target.kubectl("create", "-f", "-", text=json.dumps(ADDED))
            try:
                await found.read()
                assert allowed() == []
            finally:
                target.kubectl("delete", "servicecidr", "nonroot-added", "--wait=false")

"""The addresses of the cluster's Services, which no registry of a stranger's image may have.

Since Kubernetes 1.33 they are ServiceCIDR objects; before, the API server's own address among them is all that a Pod knows.
Source: kubernetes/kubernetes staging/src/k8s.io/api/networking/v1/types.go (ServiceCIDR); pkg/kubelet/kubelet_pods.go
(getServiceEnvVarMap, KUBERNETES_SERVICE_HOST).
"""

import logging
import os
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

import msgspec

from webhook.cluster.client import Cluster, ClusterError, decode

_PATH = "/apis/networking.k8s.io/v1/servicecidrs"

log = logging.getLogger(__name__)


class _Spec(msgspec.Struct, frozen=True):
    cidrs: tuple[str, ...] = ()


class _ServiceCidr(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


async def service_networks(cluster: Cluster, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The networks, as CIDRs; where they cannot be read the one address that is known, and a line in the log."""
    found: list[str] = []
    try:
        async for page in cluster.pages(_PATH, "the cluster's ServiceCIDRs"):
            found += [each for raw in page for each in decode(raw, _ServiceCidr, "a ServiceCIDR").spec.cidrs]
    except ClusterError as error:
        log.warning(
            "the Service range is not known, so registries may have addresses in it: %s; "
            "write it under deniedNetworks in the registry configuration",
            error,
        )
    networks = [each for each in found if _is_network(each)]
    if networks:
        log.info("no registry may have an address of a Service: %s", ", ".join(networks))
        return tuple(networks)
    try:
        return (str(ip_address(environment.get("KUBERNETES_SERVICE_HOST", ""))),)
    except ValueError:
        return ()


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True

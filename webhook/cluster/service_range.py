"""The addresses of the cluster's Services, which no registry that a Pod names may have.

Since Kubernetes 1.33 they are ServiceCIDR objects; before, the API server's own address among them is all that a Pod knows.
Source: kubernetes/kubernetes staging/src/k8s.io/api/networking/v1/types.go (ServiceCIDR); pkg/kubelet/kubelet_pods.go
(getServiceEnvVarMap, KUBERNETES_SERVICE_HOST).
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import NoReturn

import msgspec

from webhook.cluster.client import Cluster, decode
from webhook.cluster.errors import ClusterError

PERIOD = 60.0  # seconds between two looks: there are few and they hardly change, so nothing is watched

_PATH = "/apis/networking.k8s.io/v1/servicecidrs"

log = logging.getLogger(__name__)


class _Spec(msgspec.Struct, frozen=True):
    cidrs: tuple[str, ...] = ()


class _ServiceCidr(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


class ServiceRange:
    """The networks of Services: `deny` is called with them, as CIDRs, at first and whenever they have changed.

    Where they cannot be read it is what was read last, or the one address that is known, and a line in the log says so.
    """

    def __init__(
        self,
        cluster: Cluster,
        deny: Callable[[tuple[str, ...]], None],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._cluster = cluster
        self._deny = deny
        self._networks = _own_address(environment)
        self._readable = True
        deny(self._networks)

    async def follow(self) -> NoReturn:
        """Read them again and again until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            await self.read()

    async def read(self) -> None:
        """Read them once."""
        found = set[str]()
        try:
            async for page in self._cluster.pages(_PATH, "the cluster's ServiceCIDRs"):
                found.update(each for raw in page for each in decode(raw, _ServiceCidr, "a ServiceCIDR").spec.cidrs)
        except ClusterError as error:
            if self._readable:
                log.warning(
                    "the Service range cannot be read, so registries may have addresses in it beyond %s: %s; "
                    "write it under deniedNetworks in the registry configuration",
                    ", ".join(self._networks) or "none",
                    error,
                )
            self._readable = False
            return
        self._readable = True
        networks = tuple(sorted(filter(_is_network, found))) or self._networks
        if networks != self._networks:
            log.info("no registry may have an address of a Service: %s", ", ".join(networks))
            self._networks = networks
            self._deny(networks)


def _own_address(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The API server's address among the Services, which every Pod has in its environment."""
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

"""The addresses of Services, read at a small server that answers as told."""

import logging

import pytest

from tests.support.scripted import Api, status
from webhook.cluster.client import Cluster
from webhook.cluster.service_range import service_networks

API_SERVER = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}


def cidr(*networks: str) -> dict[str, object]:
    """A ServiceCIDR."""
    return {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": list(networks)}}


async def test_every_range_of_the_cluster_is_found(api: Api, connection: Cluster) -> None:
    """Of both families, and what was added later."""
    api.answer(200, {"metadata": {}, "items": [cidr("10.96.0.0/12", "fd00:10:96::/112"), cidr("10.64.0.0/16", "x")]})
    assert await service_networks(connection, API_SERVER) == ("10.96.0.0/12", "fd00:10:96::/112", "10.64.0.0/16")
    assert api.asked[0][1].startswith("/apis/networking.k8s.io/v1/servicecidrs?")


@pytest.mark.parametrize("code", [403, 404, 500])
async def test_where_they_cannot_be_read_the_api_servers_address_counts(
    api: Api, connection: Cluster, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    """Before Kubernetes 1.33; the log says what to write."""
    api.answer(code, status(code, "no"))
    with caplog.at_level(logging.WARNING):
        assert await service_networks(connection, API_SERVER) == ("10.96.0.1",)
    assert "deniedNetworks" in caplog.text
    assert await service_networks(connection, {}) == ()
    assert await service_networks(connection, {"KUBERNETES_SERVICE_HOST": "kubernetes.default"}) == ()


async def test_an_answer_that_is_none(api: Api, connection: Cluster) -> None:
    """Stops nothing."""
    api.answer(200, {"metadata": {}, "items": [{"spec": 7}]})
    assert await service_networks(connection, API_SERVER) == ("10.96.0.1",)

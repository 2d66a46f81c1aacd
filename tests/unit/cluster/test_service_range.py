"""The addresses of Services, read at a small server that answers as scripted."""

import asyncio
import logging

import pytest

from tests.support.scripted import Api, status
from webhook.cluster import service_range
from webhook.cluster.client import Cluster
from webhook.cluster.service_range import ServiceRange

API_SERVER = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
KNOWN = ("10.64.0.0/16", "10.96.0.0/12", "fd00:10:96::/112")


def cidrs(*each: tuple[str, ...]) -> dict[str, object]:
    """A list of ServiceCIDRs."""
    return {
        "metadata": {},
        "items": [{"metadata": {"name": "kubernetes"}, "spec": {"cidrs": list(networks)}} for networks in each],
    }


class Denied(list[tuple[str, ...]]):
    """What was denied, each time that it was told."""

    async def until(self, count: int) -> None:
        """Wait until it was told so many times."""
        while len(self) < count:
            await asyncio.sleep(0)


@pytest.fixture
def denied() -> Denied:
    return Denied()


@pytest.fixture
def found(connection: Cluster, denied: Denied) -> ServiceRange:
    return ServiceRange(connection, denied.append, API_SERVER)


async def test_every_range_of_the_cluster_is_found(api: Api, found: ServiceRange, denied: Denied) -> None:
    """Of both families, and what is no network left out."""
    api.answer(200, cidrs(("10.96.0.0/12", "fd00:10:96::/112"), ("10.64.0.0/16", "x")))
    await found.read()
    assert denied == [("10.96.0.1",), KNOWN]
    assert api.asked[0][1].startswith("/apis/networking.k8s.io/v1/servicecidrs?")
    await found.read()
    assert len(denied) == 2


async def test_what_is_added_later_is_followed(
    api: Api, found: ServiceRange, denied: Denied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is taken away; while it cannot be read it stays."""
    monkeypatch.setattr(service_range, "PERIOD", 0)
    first, second = ("10.96.0.0/12",), ("10.64.0.0/16",)
    api.answer(200, cidrs(first))
    following = asyncio.create_task(found.follow())
    await denied.until(2)
    api.answer(200, cidrs(first, second))
    await denied.until(3)
    api.answer(503, status(503, "no"))
    asked = len(api.asked)
    while len(api.asked) < asked + 3:
        await asyncio.sleep(0)
    api.answer(200, cidrs(second))
    await denied.until(4)
    following.cancel()
    assert denied == [("10.96.0.1",), first, (*second, *first), second]


@pytest.mark.parametrize("code", [403, 404, 500])
async def test_where_they_cannot_be_read_the_api_servers_address_counts(
    api: Api, found: ServiceRange, denied: Denied, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    """Before Kubernetes 1.33; the log says what to write, once until they could be read."""
    with caplog.at_level(logging.WARNING):
        for times in (1, 2):
            api.answer(code, status(code, "no"))
            await found.read()
            await found.read()
            assert denied[-1] == ("10.96.0.1",)
            assert caplog.text.count("deniedNetworks") == times
            api.answer(200, cidrs())
            await found.read()
    assert denied == [("10.96.0.1",)]


@pytest.mark.parametrize("environment", [{}, {"KUBERNETES_SERVICE_HOST": "kubernetes.default"}])
async def test_outside_a_cluster_nothing_is_known(
    api: Api, connection: Cluster, denied: Denied, environment: dict[str, str]
) -> None:
    ServiceRange(connection, denied.append, environment)
    assert denied == [()]


async def test_an_answer_that_is_none(api: Api, found: ServiceRange, denied: Denied) -> None:
    """Stops nothing."""
    api.answer(200, {"metadata": {}, "items": [{"spec": 7}]})
    await found.read()
    assert denied == [("10.96.0.1",)]

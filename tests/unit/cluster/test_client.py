"""Calls to the Kubernetes API, against a small server that answers as scripted."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import pytest
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import kube_config

from tests.support.scripted import Api, status
from webhook.cluster import client as cluster
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Busy, Expired, Unreachable


@pytest.mark.parametrize("error", [aiohttp.ClientConnectionError("x"), TimeoutError(), ConnectionResetError()])
async def test_no_answer_is_unreachable(
    api: Api, connection: Cluster, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    client = await connection._connect()

    async def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(client, "request", fail)
    with pytest.raises(Unreachable, match="does not answer"):
        await connection.call("GET", "/api/v1/pods", "Pods")


@pytest.mark.thorough
async def test_a_slow_link_is_no_dead_one(api: Api, connection: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time runs from the last byte: a page of large Pods takes longer than an API server may be silent."""
    monkeypatch.setattr(cluster, "SILENCE_TIMEOUT", 0.3)
    api.pace, api.body = 0.05, b"{" + b" " * 998 + b"}"
    assert await connection.call("GET", "/api/v1/pods", "Pods") == api.body
    api.pace = 0.6
    with pytest.raises(Unreachable, match="does not answer"):
        await connection.call("GET", "/api/v1/pods", "Pods")


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited."""
    found: list[float] = []
    monkeypatch.setattr(asyncio, "sleep", AsyncMock(side_effect=found.append))
    return found


@pytest.mark.parametrize(
    ("code", "seconds", "waited"), [(429, "5", 5), (429, "", 1), (503, "2", 2), (429, "86400", 60), (429, "-1", 1)]
)
async def test_a_read_is_repeated_when_the_api_server_asks_for_it(
    api: Api, connection: Cluster, naps: list[float], code: int, seconds: str, waited: float
) -> None:
    api.headers = {"Retry-After": seconds} if seconds else {}
    api.pages = [(code, status(code, "too many requests"))] * 2
    assert await connection.call("GET", "/api/v1/pods", "Pods") == b"{}"
    assert naps == [waited, waited]


async def test_who_is_put_off_for_ever_hears_of_it(api: Api, connection: Cluster, naps: list[float]) -> None:
    """And a write, which may have had an effect, is not repeated."""
    api.answer(429, status(429, "too many requests"))
    with pytest.raises(Busy, match="Pods: GET was answered 429 too many requests"):
        await connection.call("GET", "/api/v1/pods", "Pods")
    assert len(api.asked) == cluster.READ_TRIES
    api.asked.clear()
    with pytest.raises(Busy):
        await connection.call("POST", "/api/v1/pods", "Pods", {})
    assert len(api.asked) == 1


async def test_no_proxy_has_networks(api: Api, connection: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Go: the API server of a cluster has an address, and Python would ask the proxy for it."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "10.96.0.0/12")
    assert await connection.call("GET", "/api/v1/pods", "Pods") == b"{}"  # a loopback address needs no entry
    for host, proxy in (("https://10.96.0.1:443", None), ("https://192.0.2.1:6443", "http://127.0.0.1:9")):
        configuration = Configuration(host=host)
        cluster._proxy(configuration)
        assert configuration.proxy == proxy
    configuration = Configuration(host="https://10.96.0.1:443", proxy="http://kubeconfig.example:3128")
    cluster._proxy(configuration)
    assert configuration.proxy == "http://kubeconfig.example:3128"


async def test_a_proxy_that_is_none_is_named(api: Api, connection: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://user:hunter2@proxy")
    with pytest.raises(Unreachable, match="HTTP_PROXY names no http or https proxy") as raised:
        await connection.call("GET", "/api/v1/pods", "Pods")
    assert "hunter2" not in str(raised.value)


def page(names: str, token: str = "") -> tuple[int, Any]:
    return 200, {"metadata": {"continue": token}, "items": [{"name": name} for name in names]}


async def listed(connection: Cluster) -> list[str]:
    pages = [page async for page in connection.pages("/api/v1/pods", "Pods")]
    return ["".join(json.loads(bytes(raw))["name"] for raw in page) for page in pages]


async def test_a_list_is_read_by_pages(api: Api, connection: Cluster) -> None:
    api.pages = [page("ab", "x+/="), page("c"), (200, {"metadata": {}, "items": None})]
    assert await listed(connection) == ["ab", "c"]
    assert [asked[1] for asked in api.asked] == [
        "/api/v1/pods?limit=500",
        "/api/v1/pods?limit=500&continue=x%2B/%3D",
    ]
    assert await listed(connection) == [""]


async def test_a_list_that_grew_too_old_goes_on_with_what_there_is_now(api: Api, connection: Cluster) -> None:
    gone = (410, status(410, "the list is too old") | {"metadata": {"continue": "now"}})
    api.pages = [page("ab", "old"), gone, page("cd", "more"), page("e")]
    assert await listed(connection) == ["ab", "cd", "e"]
    assert api.asked[2][1].endswith("continue=now")


@pytest.mark.parametrize("token", ["", "old"])
async def test_a_list_that_cannot_go_on_says_so(api: Api, connection: Cluster, token: str) -> None:
    gone = (410, status(410, "too old") | {"metadata": {"continue": token}})
    api.pages = [page("ab", "old"), gone]
    with pytest.raises(Expired, match="Pods: GET was answered 410 too old"):
        await listed(connection)
    api.pages = [gone]
    with pytest.raises(Expired):
        await listed(connection)


async def test_a_cluster_is_called_what_its_kubeconfig_calls_it(api: Api, connection: Cluster) -> None:
    assert await connection.name() == "test"
    with pytest.raises(Unreachable, match="set KUBECONFIG"):
        await Cluster("other").name()


async def test_without_any_credentials_the_next_step_is_named(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", "/nowhere/kubeconfig")
    with pytest.raises(Unreachable, match="set KUBECONFIG"):
        await Cluster().call("GET", "/api/v1/pods", "Pods")


async def test_another_client_gets_the_same_access(
    api: Api, connection: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kopf's: by the same proxy, and without a word of the token where it is printed."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    access = await connection.access()
    assert access.server.startswith("http://127.0.0.1:")
    assert (access.authorization, access.verified, access.proxy) == ("Bearer t0ken", True, None)
    assert "t0ken" not in repr(access)


@pytest.mark.parametrize("year", [2000, 2055])
async def test_the_time_is_the_api_servers(api: Api, connection: Cluster, year: int) -> None:
    """However wrong our own clock is; a date that is none changes nothing."""
    api.answer(404, status(404, "not found"))
    api.date = f"Sat, 01 Jan {year} 00:00:00 GMT"
    await connection.call("GET", "/api/v1/pods", "Pods", absent_ok=True)
    api.date = "yesterday"
    await connection.call("GET", "/api/v1/pods", "Pods", absent_ok=True)
    assert timedelta() <= connection.now() - datetime(year, 1, 1, tzinfo=UTC) < timedelta(minutes=1)

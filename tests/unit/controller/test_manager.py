"""The controller's loop and its probes, without a cluster."""

import asyncio
import logging
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import aiohttp
import pytest

from tests.support.controllers import CONFIGURATIONS, FakeObjects
from webhook.cluster.access_reviews import ClusterAccessReviews
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Conflict, Unreachable
from webhook.cluster.metrics_readers import MetricsReaders
from webhook.controller import manager, probes
from webhook.controller.certificate_rotation import Names, Plan, Rotation
from webhook.controller.settings import OperateSettings
from webhook.errors import InvalidSetting
from webhook.server.tls import ServingCertificate, TlsOptions, self_signed_files

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "PAUSE", 0.005)
    monkeypatch.setattr(manager, "PERIOD", 5.0)


@pytest.fixture
def objects() -> FakeObjects:
    return FakeObjects()


class Running:
    """The loop, until the test ends it."""

    def __init__(self, objects: FakeObjects) -> None:
        plan = Plan(("hook.web.svc",), timedelta(days=365), timedelta(days=90))
        rotation = Rotation(objects, Names("web", "ca", "tls", CONFIGURATIONS), plan, lambda: NOW)
        self.state = probes.State()
        self.wake, self.stop = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(manager.keep(rotation, self.state, self.wake, self.stop))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        self.wake.set()
        await asyncio.wait_for(self.task, 2)

    async def until_in_order(self) -> None:
        async with asyncio.timeout(5):
            while self.state.problem is not None:
                await asyncio.sleep(0.005)


async def test_it_is_ready_once_everything_is_written(objects: FakeObjects) -> None:
    async with Running(objects) as running:
        assert running.state.problem is not None
        await running.until_in_order()
    assert running.state.writes == 4
    assert running.state.expiry == {
        "ca": (NOW + timedelta(days=365)).timestamp(),
        "serving": (NOW + timedelta(days=90)).timestamp(),
    }


async def test_it_looks_again_when_it_is_woken(objects: FakeObjects) -> None:
    async with Running(objects) as running:
        await running.until_in_order()
        del objects.secrets["tls"]
        await asyncio.sleep(0.05)
        assert "tls" not in objects.secrets
        running.wake.set()
        async with asyncio.timeout(2):
            while "tls" not in objects.secrets:
                await asyncio.sleep(0.005)


async def test_a_conflict_is_looked_at_again_at_once(objects: FakeObjects) -> None:
    failures = [Conflict("Secret web/ca"), Conflict("Secret web/ca")]

    def conflict() -> None:
        if failures:
            raise failures.pop()

    objects.before = conflict
    async with Running(objects) as running:
        await running.until_in_order()
    assert not failures


async def test_an_outage_is_logged_once_and_outlived(objects: FakeObjects, caplog: pytest.LogCaptureFixture) -> None:
    down = True

    def fail() -> None:
        if down:
            raise Unreachable("Secret web/ca: the API server does not answer")

    objects.before = fail
    with caplog.at_level(logging.WARNING):
        async with Running(objects) as running:
            await asyncio.sleep(0.1)
            assert running.state.problem == "Secret web/ca: the API server does not answer"
            down = False
            await running.until_in_order()
    assert len(caplog.records) == 1


async def test_a_fight_over_the_bundle_is_bounded_and_said(
    objects: FakeObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "PAUSE", 1.0)
    objects.after = lambda: objects.put_configuration(*CONFIGURATIONS[0], b"mine")
    async with Running(objects) as running:
        await asyncio.sleep(0.2)
        assert "does anything else write them?" in (running.state.problem or "")
        assert len(objects.writes) == manager.MOST_STEPS


async def test_the_probes_say_what_is_not_in_order() -> None:
    state = probes.State()
    async with probes.serve(state, "127.0.0.1", 0) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:

        async def get(path: str) -> tuple[int, str]:
            async with client.get(path) as response:
                return response.status, await response.text()

        assert await get("/healthz") == (200, "ok\n")
        assert await get("/readyz") == (503, "the certificates have not been looked at yet\n")
        state.problem, state.expiry, state.writes = None, {"ca": 1.5}, 3
        assert await get("/readyz") == (200, "ok\n")
        _, metrics = await get("/metrics")
        assert 'nonroot_certificate_expiry_timestamp_seconds{certificate="ca"} 1.5' in metrics
        assert "nonroot_certificate_writes_total 3.0" in metrics


class Readers(MetricsReaders):
    """Lets the header `Bearer prometheus` read."""

    def __init__(self) -> None:
        super().__init__(ClusterAccessReviews(Cluster()))

    async def refusal(self, authorization: str) -> tuple[int, str] | None:
        if authorization == "Bearer prometheus":
            return None
        return (403, "not you\n") if authorization else (401, "who are you?\n")


async def test_metrics_are_served_over_tls_to_their_readers() -> None:
    """Probes ask for no token: the kubelet has none for us."""
    with self_signed_files(("localhost",)) as (ca, cert, key):
        context = ServingCertificate(cert, key).context
        trust = ssl.create_default_context(cadata=ca.decode())
        async with (
            probes.serve(probes.State(), "127.0.0.1", 0, tls=context, readers=Readers()) as port,
            aiohttp.ClientSession(f"https://localhost:{port}", connector=aiohttp.TCPConnector(ssl=trust)) as client,
        ):
            async with client.get("/healthz") as response:
                assert response.status == 200
            for token, status in (("", 401), ("jane", 403), ("prometheus", 200)):
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                async with client.get("/metrics", headers=headers) as response:
                    assert response.status == status
                    assert ("nonroot_build_info" in await response.text()) is (status == 200)
                    assert response.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)


async def test_probes_of_both_families_reach_an_unspecified_ipv6_address() -> None:
    """On a dual-stack cluster kubelets probe by IPv4."""
    async with probes.serve(probes.State(), "::", 0) as port, aiohttp.ClientSession() as client:
        for host in ("127.0.0.1", "[::1]"):
            async with client.get(f"http://{host}:{port}/healthz") as response:
                assert response.status == 200


async def test_a_port_that_is_taken_is_a_setting_that_cannot_be_used() -> None:
    async with probes.serve(probes.State(), "127.0.0.1", 0) as port:
        with pytest.raises(InvalidSetting, match=rf"cannot listen on 127\.0\.0\.1:{port}.*--metrics-port"):
            async with probes.serve(probes.State(), "127.0.0.1", port):
                pass


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        pytest.param(OperateSettings("web", ca_secret="x", tls_secret="x"), "are the same", id="one Secret for both"),
        pytest.param(
            OperateSettings("web", metrics_cert=Path("a")), "belong together", id="a certificate without a key"
        ),
        pytest.param(
            OperateSettings("web", metrics_key=Path("a")), "belong together", id="a key without a certificate"
        ),
        pytest.param(OperateSettings("web", metrics_authentication=True), "--metrics-cert", id="tokens in clear text"),
        pytest.param(
            OperateSettings("web", tls=TlsOptions("1.3", ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",))),
            "leave out one",
            id="cipher suites of another version",
        ),
        pytest.param(OperateSettings("web", leaf_lifetime=timedelta()), "leaf-lifetime", id="no lifetime"),
        pytest.param(OperateSettings("web", leaf_lifetime=timedelta(days=122)), "a third", id="too long for its CA"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: OperateSettings, reason: str) -> None:
    OperateSettings("web").check()
    with pytest.raises(InvalidSetting, match=reason):
        settings.check()

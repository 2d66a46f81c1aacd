"""A real Prometheus scrapes a real server, and a controller's collectors: every expression of ours finds something."""

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from tests.integration.server.test_server import POLICY, Server
from tests.support import pages, prometheus
from tests.support.authority import Authority
from tests.support.images import Table
from tests.support.objects import Objects
from tests.support.pods import minimal, tweak
from tests.support.prometheus import Prometheus
from tests.unit.server.test_asgi import review
from webhook.cluster.workqueue import WorkQueue
from webhook.controller import probes
from webhook.controller.background_scan import BackgroundScan
from webhook.controller.image_identities import Reconciler
from webhook.controller.patched_pods import PatchedPods
from webhook.controller.policy_status import PolicyStatusController
from webhook.image.identity_index import IdentityIndex
from webhook.metrics import ADMISSION, CONTROLLER, Background
from webhook.registry.transport.stats import RegistryStats
from webhook.server.counters import Metrics

pytestmark = pytest.mark.prometheus


def _post(server: Server, path: str, body: bytes) -> None:
    with closing(server.connect(server.get("/ca.crt"))) as connection:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        connection.getresponse().read()


@contextmanager
def _admission(folder: Path) -> Iterator[int]:
    """The metrics port of a real server that has allowed, denied, patched, put off, not understood and not answered."""
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "clients.crt").write_text(Authority(folder, "clients").pem)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a registry that takes a connection and says nothing
        registry = f"127.0.0.1:{silent.getsockname()[1]}"
        insecure = ("--insecure-registry", registry, "--insecure-registry", "127.0.0.1:1")
        asked = ("--identity-api", "--identity-api-client-ca", str(folder / "clients.crt"))
        server = Server("--self-signed", "--policy", str(folder / "policy.yaml"), *insecure, *asked)
        try:
            safe, root = (tweak(minimal(), {"spec.securityContext.runAsUser": uid}) for uid in (5, 0))
            for pod in (safe, root):
                _post(server, "/mutate", review(pod))
                _post(server, "/validate", review(pod))
            for host in (registry, "127.0.0.1:1"):
                pending = tweak(minimal(), {"spec.containers.0.image": f"{host}/app:1"})
                _post(server, "/validate?timeout=1s", review(pending))
            _post(server, "/validate", b"no review")
            _post(server, "/externaldata", b"{}")
            yield server.ports[1]
        finally:
            server.stop()


async def _rest(ports: list[int], ready: threading.Event, stop: asyncio.Event) -> None:
    """A controller that has scanned, and of a replica what only one in a cluster knows."""
    reconciler = Reconciler(Objects(), IdentityIndex())
    scanning = BackgroundScan(Objects(), Table({}), reconciler, lambda _event: None, reports=True)
    scanning.document = msgspec.structs.replace(await pages.small(), at=datetime.now(UTC).isoformat())
    state = probes.State()
    state.expiry = {"ca": 2e9, "serving": 2e9}
    replica = Metrics()
    replica.view_age, replica.identities = (lambda: 1.0), (lambda: 1.0)
    replica.background.writers["Event"] = WorkQueue("Events")
    async with AsyncExitStack() as closing_all:
        policies = PolicyStatusController(Objects(), lambda _event: None)
        patched = PatchedPods(
            Objects(), lambda _event: None, scanning.ran_unpatched, IdentityIndex(), lambda: policies.view
        )
        for collectors in ((scanning, policies, patched, Background(RegistryStats())), (replica,)):
            serving = probes.serve(state, "127.0.0.1", 0, collectors)
            ports.append(await closing_all.enter_async_context(serving))
        ready.set()
        await stop.wait()


@contextmanager
def _cluster() -> Iterator[list[int]]:
    """The metrics ports of `_rest`, which runs in a loop of its own."""
    ports: list[int] = []
    ready, stop, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(_rest(ports, ready, stop),))
    thread.start()
    try:
        assert ready.wait(20)
        yield ports
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def scraping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        _admission(folder) as server,
        _cluster() as others,
        prometheus.prometheus([f"127.0.0.1:{port}" for port in (server, *others)], folder) as running,
    ):
        yield running


def test_every_panel_shows_something(scraping: Prometheus) -> None:
    panels = prometheus.dashboard()
    empty = [each.title for each in panels if not scraping.query(each.expression)]
    assert empty == []


@pytest.mark.parametrize("title", ["Would be denied", "Unknown"])
def test_where_no_workload_has_a_verdict_its_number_is_zero(scraping: Prometheus, title: str) -> None:
    """Not "No data", which says that nothing was scanned."""
    (expression,) = (each.expression for each in prometheus.dashboard() if each.title == title)
    (series,) = scraping.query(re.sub('verdict="[a-z]+"', 'verdict="that nobody has"', expression))
    assert series["value"][1] == "0"


def test_every_alert_can_be_evaluated_and_looks_at_something(scraping: Prometheus) -> None:
    """The metrics of ours in it are there, with the labels' values; those of the API server are not scraped here."""
    result = [each for group in scraping.ask("rules")["groups"] for each in group["rules"]]
    assert {each["name"]: (each["health"], each.get("lastError", "")) for each in result} == {
        each["name"]: ("ok", "") for each in result
    }
    assert {each["name"] for each in result} == prometheus.alerts().keys()
    asked = {
        f"{name}{matchers}" for text in prometheus.alerts().values() for name, matchers in prometheus.selectors(text)
    }
    assert [each for each in asked if not scraping.query(each)] == []


def test_a_healthy_release_alerts_nobody(scraping: Prometheus) -> None:
    """Pending counts as well: what only has not lasted long enough yet. The one registry here does not answer."""
    firing = {each["labels"]["alertname"] for each in scraping.ask("alerts")["alerts"]}
    assert firing <= {"NonrootWebhookRegistriesSilent"}


def test_what_is_exposed_is_what_is_documented(scraping: Prometheus) -> None:
    """Every metric of the reference is scraped, with its type and its words, and no other of ours."""
    found = {
        re.sub("_(bucket|sum|count)$", "", name): result[0]
        for name, result in scraping.ask("metadata").items()
        if name.startswith("nonroot_")
    }
    documented = {each.name: {"type": each.kind, "help": each.text, "unit": ""} for each in (*ADMISSION, *CONTROLLER)}
    assert found == documented
    for family in (*ADMISSION, *CONTROLLER):
        name = f"{family.name}_count" if family.kind == "histogram" else family.name
        for series in scraping.query(name):
            assert series["metric"].keys() - {"__name__", "instance", "job"} == family.labels.keys()

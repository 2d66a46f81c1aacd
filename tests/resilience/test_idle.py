"""Connections that were idle for about as long as somebody on the way keeps them: no Pod is lost on one that just closed.

The API server keeps an idle connection for 90 s, and keeps some that it dialled and never used (golang/go
src/net/http/transport.go); we keep both for 120 s. Each pause has a server and a namespace of its own, so that all of them
pass at once; but for those of an installed release, which is being restarted when they end.
"""

import asyncio
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from deploy.release import NAMESPACE
from tests.conformance.cluster import connect
from tests.e2e.target import Target
from tests.resilience.conftest import long
from tests.resilience.figures import Fact, record
from tests.resilience.traffic import Kind, Traffic
from tests.resilience.victim import Victim, serving
from tests.support import cluster

pytestmark = [long, pytest.mark.survive, pytest.mark.cluster, pytest.mark.timeout(900)]

PAUSES = (5.0, 9.9, 10.1, 30.0, 60.0, 89.8, 90.0, 90.2, 119.8, 120.0, 120.2)  # seconds
NEAR = (90.0, 120.0)  # of those, where it ends in the midst of a rolling restart
EARLIER = 8.0  # seconds before the end of a pause, in which a restart begins that takes about 20
ROUNDS = 3
AT_ONCE = 20  # Pods: so many connections are dialled
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"generateName": "idle-"},
    "spec": {"containers": [{"name": "app", "image": "registry.invalid/app:1"}], "securityContext": {"runAsUser": 1}},
}


@pytest.fixture
def places(tmp_path: Path) -> Iterator[tuple[Target, list[str]]]:
    """A cluster with a namespace for each pause, which also names a configuration and a folder."""
    target, mark = cluster.reach(), secrets.token_hex(2)
    names = [f"idle-{mark}-{number}" for number in range(len(PAUSES))]
    for name in names:
        target.namespace(name)
    for name in names:
        (tmp_path / name).mkdir()
    yield target, names
    target.kubectl("delete", "validatingwebhookconfigurations", "--ignore-not-found", *names)
    target.kubectl("delete", "namespaces", "--wait=false", *names)


async def test_idle_connections_lose_nothing(places: tuple[Target, list[str]], tmp_path: Path) -> None:
    target, names = places
    async with connect(target.environment, tmp_path) as api:
        lost = await asyncio.gather(
            *(
                _pause(api.session, target, name, seconds, tmp_path / name)
                for name, seconds in zip(names, PAUSES, strict=True)
            )
        )
    sent = len(PAUSES) * ROUNDS * AT_ONCE
    result = ", ".join(f"{each:g}" for each in PAUSES)
    failures = [each for found in lost for each in found]
    record(
        Fact(f"{sent} Pods on connections that were idle for {result} s", f"{len(failures)} lost {failures[:3] or ''}")
    )
    assert not failures


async def test_idle_connections_lose_nothing_through_rolling_restarts(
    traffic: Traffic, kinds: list[Kind], installed: Target
) -> None:
    named = kinds[0]
    rollout = ("--namespace", NAMESPACE, "deployment/nonroot-webhook-admission")

    async def burst() -> None:
        await asyncio.gather(*(traffic.one(named) for _ in range(AT_ONCE)))

    for seconds in NEAR:
        await burst()
        await asyncio.sleep(seconds - EARLIER)
        await asyncio.to_thread(installed.kubectl, "rollout", "restart", *rollout)
        await asyncio.sleep(EARLIER)
        await burst()
        await asyncio.to_thread(installed.kubectl, "rollout", "status", *rollout, "--timeout=120s")
    tally, result = traffic.tally, ", ".join(f"{each:g}" for each in NEAR)
    record(
        Fact(
            f"bursts of {AT_ONCE} Pods on connections that were idle for {result} s, in the midst of rolling restarts",
            f"{tally.admissions} Pods, {tally.lost.total() + tally.away.total()} lost",
        )
    )
    assert (tally.wrong, tally.trouble) == ([], []), tally


async def _pause(session: aiohttp.ClientSession, target: Target, name: str, seconds: float, folder: Path) -> list[str]:
    """What went wrong with Pods that come in bursts, so far apart."""
    async with serving(folder) as victim:
        await asyncio.to_thread(_register, target, name, victim)
        await _burst(session, name)
        found: list[str] = []
        for _ in range(ROUNDS):
            await asyncio.sleep(seconds)
            found += await _burst(session, name)
    return found


def _register(target: Target, name: str, victim: Victim) -> None:
    selector = {"matchLabels": {"kubernetes.io/metadata.name": name}}
    configuration = victim.configuration("Validating", name, namespaceSelector=selector)
    target.kubectl("create", "-f", "-", text=json.dumps(configuration))


async def _burst(session: aiohttp.ClientSession, namespace: str) -> list[str]:
    async def one() -> str:
        address = f"http://localhost/api/v1/namespaces/{namespace}/pods?dryRun=All"
        async with session.post(address, json=POD) as reply:
            return "" if reply.status == 201 else str((await reply.json())["message"])

    return [each for each in await asyncio.gather(*(one() for _ in range(AT_ONCE))) if each]

"""One tenant does its worst: another's Pods are admitted as if it were not there, and replicas stay within their memory."""

import asyncio
import contextlib
import json
import secrets
import sys
from collections.abc import AsyncIterator, Sequence

import pytest

from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Registry
from tests.e2e.target import Target
from tests.resilience.conftest import LONG, UID
from tests.resilience.figures import Fact, record
from tests.resilience.replicas import Replica, whole
from tests.resilience.traffic import Kind, Traffic
from tests.resilience.victim import LIMIT

pytestmark = [pytest.mark.survive, pytest.mark.timeout(900)]

QUIET = 60.0 if LONG else 5.0  # seconds
WHILE = 300.0 if LONG else 20.0
IMAGES = 12_000 if LONG else 1_000  # each of which the honest tenant asks for once


@contextlib.asynccontextmanager
async def hostile(target: Target, address: str, namespace: str) -> AsyncIterator[dict[str, int]]:
    """The hostile tenant meanwhile; at the end, how many Pods of each kind it has sent."""
    sent: dict[str, int] = {}
    command = [sys.executable, "-m", "tests.resilience.hostile", address, namespace]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=dict(target.environment))
    assert process.stdout is not None
    assert await process.stdout.readline()
    try:
        yield sent
    finally:
        printed, _ = await process.communicate(b"")
        sent |= json.loads(printed)


async def peak(watched: Sequence[Replica], seconds: float) -> int:
    """The most MiB that one of them had meanwhile."""
    most = 0
    for _ in range(int(seconds)):
        most = max(most, *(each.memory for each in watched))
        await asyncio.sleep(1)
    return most


async def test_one_tenant_does_its_worst(
    installed: Target, registry: Registry, namespaces: tuple[str, str], traffic: Traffic
) -> None:
    """Values of a MiB, registries and name servers that hang, archives of records."""
    for number in range(IMAGES):
        accounts = accounts_layer(f"app:x:{UID}:{UID}:{number}:/:")
        registry.push(f"cold/app{number}:1", image(accounts, user="app"))
    cold = Kind("cold", namespaces[0], f"{registry.host}/cold/app{{n}}:1", "patched", UID, images=IMAGES)
    evil = installed.namespace(f"survive-evil-{secrets.token_hex(2)}", **{"nonroot.dev/mode": "enforce"})
    both = whole(installed)
    async with traffic.running(cold) as quiet:
        await asyncio.sleep(QUIET)
    with contextlib.ExitStack() as silent:
        for each in both:
            silent.enter_context(each.without_names())
        async with hostile(installed, registry.host.rpartition(":")[0], evil) as sent, traffic.running(cold) as during:
            memory = await peak(both, WHILE)
    installed.kubectl("delete", "namespace", evil, "--wait=false")
    record(
        Fact(
            f"one tenant does its worst for {WHILE:.0f} s: {', '.join(sent)}",
            f"another's admissions: {_quantiles(quiet.seconds)} in {QUIET:.0f} quiet seconds, {_quantiles(during.seconds)} "
            f"meanwhile, {during.lost.total()} lost, {len(during.wrong)} wrong; replicas {memory} MiB at most; it sent "
            f"{[*sent.values()]} Pods",
        )
    )
    assert all(sent.values())
    assert not during.wrong, during.wrong[:5]
    assert not LONG or not during.lost, during  # a machine that is busy with other tests loses some by itself
    assert both == whole(installed), "one of them was replaced"
    assert memory < LIMIT
    assert not LONG or _quantile(during.seconds, 99) <= 2 * _quantile(quiet.seconds, 99)


def _quantile(seconds: Sequence[float], percent: int) -> float:
    return sorted(seconds)[len(seconds) * percent // 100]


def _quantiles(seconds: Sequence[float]) -> str:
    middle, late = (1000 * _quantile(seconds, percent) for percent in (50, 99))
    return f"{len(seconds)} with p50 {middle:.0f} ms and p99 {late:.0f} ms"

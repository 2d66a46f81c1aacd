"""One tenant does its worst: another's Pods are admitted as if it were not there, and replicas stay within their memory.

Pods of a MiB keep an API server busy, whoever reviews them. So the long form sends the same Pods at the same rate once more, to a
namespace of which no replica is asked: what others suffer there is not ours.
"""

import asyncio
import contextlib
import itertools
import json
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

import aiohttp
import msgspec
import pytest

from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Registry
from tests.e2e.target import Target
from tests.resilience.conftest import LONG, UID
from tests.resilience.figures import Fact, record
from tests.resilience.replicas import Replica, whole
from tests.resilience.traffic import Kind, Tally, Traffic, straight
from tests.resilience.victim import LIMIT

pytestmark = [pytest.mark.survive, pytest.mark.timeout(900)]

QUIET = 60.0 if LONG else 5.0  # seconds
WHILE = 300.0 if LONG else 20.0
ELSEWHERE = 120.0
IMAGES = 16_000 if LONG else 1_000  # each of which the honest tenant asks for once
STRAIGHT = IMAGES * 7 // 8  # the first that is asked for at a replica itself
PAUSE = 0.1  # seconds between two reviews of a replica
UNSELECTED = "kube-node-lease"  # a namespace that the chart's hooks leave out


class Scene(msgspec.Struct):
    """What the honest tenant's admissions took, through the API server, and its reviews straight at a replica."""

    tally: Tally
    straight: list[float] = []

    def __str__(self) -> str:
        return f"{_quantiles(self.tally.seconds)}, straight at a replica {_quantiles(self.straight)}"


class Honest:
    """The honest tenant: the usual traffic, and Pods whose images nobody has read yet."""

    def __init__(self, traffic: Traffic, kinds: Sequence[Kind], cold: Kind, asked: Sequence[Replica]) -> None:
        self._traffic = traffic
        self._kinds = [*kinds, cold]
        self._asked = asked
        self._numbers = itertools.count(STRAIGHT)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[Scene]:
        """It is admitted meanwhile."""
        stop = asyncio.Event()
        async with aiohttp.ClientSession() as session, self._traffic.running(self._kinds[-1]) as tally:
            found = Scene(tally)
            async with asyncio.TaskGroup() as clients:
                for each in self._asked:
                    clients.create_task(self._review(session, each.address, found.straight, stop))
                try:
                    yield found
                finally:
                    stop.set()

    async def _review(
        self, session: aiohttp.ClientSession, address: str, seconds: list[float], stop: asyncio.Event
    ) -> None:
        for kind in itertools.cycle(self._kinds):
            if stop.is_set():
                return
            seconds.append(await straight(session, address, kind, next(self._numbers), "/mutate"))
            await asyncio.sleep(PAUSE)


@contextlib.asynccontextmanager
async def hostile(
    target: Target, address: str, namespace: str, rates: Mapping[str, float]
) -> AsyncIterator[dict[str, int]]:
    """The hostile tenant meanwhile; at the end, how many Pods of each kind it has sent."""
    sent: dict[str, int] = {}
    command = [sys.executable, "-m", "tests.resilience.hostile", address, namespace, json.dumps(rates)]
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
    installed: Target, registry: Registry, namespaces: tuple[str, str], kinds: list[Kind], traffic: Traffic
) -> None:
    """Values of a MiB, registries and name servers that hang, archives of records."""
    for number in range(IMAGES):
        accounts = accounts_layer(f"app:x:{UID}:{UID}:{number}:/:")
        registry.push(f"cold/app{number}:1", image(accounts, user="app"))
    cold = Kind("cold", namespaces[0], f"{registry.host}/cold/app{{n}}:1", "patched", UID, images=IMAGES)
    honest = Honest(traffic, kinds, cold, both := whole(installed))
    evil = installed.namespace(f"survive-evil-{secrets.token_hex(2)}", **{"nonroot.dev/mode": "enforce"})
    evils = partial(hostile, installed, registry.host.rpartition(":")[0])
    async with honest.working() as quiet:
        await asyncio.sleep(QUIET)
    with contextlib.ExitStack() as silent:
        for each in both:
            silent.enter_context(each.without_names())
        async with evils(evil, {}) as sent, honest.working() as during:
            memory = await peak(both, WHILE)
    installed.delete("namespaces", evil)
    scenes = f"{quiet} in {QUIET:.0f} quiet seconds; {during} meanwhile"
    if LONG:
        rates = {kind: number / WHILE for kind, number in sent.items()}
        async with evils(UNSELECTED, rates) as sent_elsewhere, honest.working() as elsewhere:
            await asyncio.sleep(ELSEWHERE)
        scenes += f"; {elsewhere} while {[*sent_elsewhere.values()]} such Pods in {ELSEWHERE:.0f} s go past the webhook"
    record(
        Fact(
            f"one tenant does its worst for {WHILE:.0f} s: {', '.join(sent)}",
            f"another's admissions: {scenes}; {during.tally.lost.total()} lost, {len(during.tally.wrong)} wrong; replicas "
            f"{memory} MiB at most; it sent {[*sent.values()]} Pods",
        )
    )
    assert all(sent.values())
    assert not during.tally.wrong, during.tally.wrong[:5]
    assert both == whole(installed), "one of them was replaced"
    assert memory < LIMIT
    if LONG:  # a machine that is busy with other tests loses some by itself, and is slow
        assert not during.tally.lost, during.tally
        assert _late(during.tally.seconds) <= 2 * _late(elsewhere.tally.seconds)
        assert _late(during.straight) <= 2 * _late(quiet.straight)


def _quantile(seconds: Sequence[float], percent: int) -> float:
    return sorted(seconds)[len(seconds) * percent // 100]


def _late(seconds: Sequence[float]) -> float:
    return _quantile(seconds, 99)


def _quantiles(seconds: Sequence[float]) -> str:
    middle, late = (1000 * _quantile(seconds, percent) for percent in (50, 99))
    return f"{len(seconds)} with p50 {middle:.0f} ms and p99 {late:.0f} ms"

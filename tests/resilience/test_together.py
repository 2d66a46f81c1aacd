"""The heaviest attacks at the same time: what each may take is bounded, and so is the sum of them."""

import asyncio
import itertools
import json
import urllib.request
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy.dev.oci import image
from deploy.dev.registry import Hang, Registry
from tests.conformance.cluster import Refused as NotCreated
from tests.conformance.cluster import connect
from tests.e2e.target import Target, eventually
from tests.resilience.conftest import LONG, born
from tests.resilience.test_images import IMAGES, WINDOWS, windowed
from tests.resilience.test_malice import DOCUMENTS, WHOLE
from tests.resilience.victim import LIMIT, MIB, Victim, head, serving
from tests.support.api_server import Refused
from tests.support.pods import Object, minimal, tweak
from tests.unit.server.test_asgi import review
from webhook.admission.handler import LARGE_PODS_CONTAINERS, SMALL_POD_CONTAINERS
from webhook.server.limits import FEW_CONNECTIONS

pytestmark = [pytest.mark.survive, pytest.mark.timeout(300)]

FLOOD = 200  # reviews of 7 MiB
CROWDS = 20  # Pods of 10,000 containers
SLOW = 400  # requests that never end
MUTE = 300  # connections that never begin TLS
BOMBS = ("a gzip bomb of 2 GiB", "a zstd bomb of 2 GiB", "an /etc/passwd of 1 GiB")
BURST = 250 * 1024  # bytes of a review that is large, and not by much
GUESTS = 900
SHARE = 0.75  # of a replica's memory, at most: the rest is for what a large cluster adds


async def test_the_heaviest_attacks_at_once(tmp_path: Path) -> None:
    """Floods, crowds, windows, bombs and slow clients together: whoever finds no room is told so, and no connection breaks."""
    async with Registry() as registry, serving(tmp_path, "--insecure-registry", registry.host) as victim:
        for number in range(WINDOWS):
            registry.push(f"evil/window:{number}", image(windowed(number), user="app"))
        for number, name in enumerate(BOMBS):
            registry.push(f"evil/bomb:{number}", await asyncio.to_thread(IMAGES[name]))
        async with victim.attacked("the heaviest of these at once") as answers:
            slow, mute = await victim.connected(SLOW), await victim.connected(MUTE, tls=False)
            for _, writer in slow:
                writer.write(head(MIB) + WHOLE)
            found = await asyncio.gather(
                *_times(FLOOD, victim, DOCUMENTS["7 MiB of annotations"]),
                *_times(CROWDS, victim, DOCUMENTS["10,000 containers of as many images"]),
                *(_known(victim, f"{registry.host}/evil/window:{number}") for number in range(WINDOWS)),
                *(_known(victim, f"{registry.host}/evil/bomb:{number}") for number in range(len(BOMBS))),
            )
            answers.append(", ".join(f"{number} × {code}" for code, number in Counter(found).most_common()))
            for _, writer in (*slow, *mute):
                writer.close()
        assert victim.memory("VmHWM") < LIMIT * SHARE
        result = set(found)
        assert 200 in result
        assert not LONG or result == {200}  # a client on a busy machine may be too late to begin TLS


async def test_a_large_pod_that_finds_no_room_is_created_a_moment_later(alone: Target, tmp_path: Path) -> None:
    """Its client is asked to come again, as every client of Kubernetes does by itself upon a 429."""
    async with (
        Registry() as registry,
        serving(tmp_path, "--insecure-registry", registry.host) as victim,
        connect(alone.environment, tmp_path) as api,
    ):
        registry.lie(Hang(asyncio.Event()))
        alone.apply(
            victim.configuration("Validating", "crowded", timeoutSeconds=10)
        )  # twice ours: this machine is busy
        born(alone, "crowded", {})
        await asyncio.to_thread(eventually, lambda: _refuses(alone), "a hook that is called")
        crowd = review(_crowd(LARGE_PODS_CONTAINERS, f"{registry.host}/app:1"))
        unlike = (
            _crowd(SMALL_POD_CONTAINERS + 1, f"app:{number}") for number in itertools.count()
        )  # else one answer is for all
        large = (tweak(each, {"spec.securityContext.runAsUser": 1000}) for each in unlike)
        under_way = asyncio.create_task(victim.review(crowd))
        while not _crowded((await victim.review(review(next(large))))[1]):
            assert not under_way.done()
            await asyncio.sleep(0.02)
        before = _turned_away(victim)
        pod = tweak(next(large), {"metadata.namespace": "crowded"})
        async with asyncio.timeout(30):
            while True:
                try:
                    await api.call("POST", "/api/v1/namespaces/crowded/pods", pod)
                except NotCreated as answer:
                    assert "try again in a second" in str(answer)
                    await asyncio.sleep(1)
                else:
                    break
        assert _turned_away(victim) > before
        await under_way


def _crowded(answer: dict[str, Any]) -> bool:
    """Whether a review found no room, and says so inside its answer."""
    status = answer["response"].get("status", {})
    return status.get("code") == 429 and "large Pods are being evaluated" in status["message"]


def _turned_away(victim: Victim) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{victim.metrics_port}/metrics", timeout=5) as reply:
        lines = reply.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if 'decision="retry"' in line)


def _crowd(number: int, image: str) -> Object:
    return tweak(minimal(), {"spec.containers": [{"name": f"c{each}", "image": image} for each in range(number)]})


def _refuses(target: Target) -> bool:
    """Whether a Pod of root is refused; it is not stored where it is not."""
    root = tweak(minimal(), {"metadata.namespace": "crowded", "spec.securityContext.runAsUser": 0})
    try:
        target.kubectl("create", "--dry-run=server", "-f", "-", text=json.dumps(root))
    except Refused as refused:
        return "denied the request" in str(refused)
    return False


async def test_of_many_connections_those_that_have_brought_much_are_not_kept(tmp_path: Path) -> None:
    """Nor is what TLS has set aside for each of them."""
    body = review(tweak(minimal(), {"metadata.annotations": {"a": "x" * BURST}}))
    async with serving(tmp_path) as victim, victim.attacked(f"{GUESTS} connections, 250 KiB over each") as answers:
        before = victim.files
        connections = await victim.connected(GUESTS)
        for reader, writer in connections:
            writer.write(head(len(body)) + body)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        answers.append(f"{GUESTS} × 200")
        assert victim.files < before + FEW_CONNECTIONS + 20
        for _, writer in connections:
            writer.close()


def _times(number: int, victim: Victim, body: bytes) -> list[Coroutine[Any, Any, Any]]:
    return [_status(victim, body) for _ in range(number)]


async def _status(victim: Victim, body: bytes) -> Any:
    try:
        status, _ = await victim.review(body, seconds=120)
    except aiohttp.ClientError as error:
        return type(error).__name__
    return status


async def _known(victim: Victim, reference: str) -> Any:
    """The status once the image is no longer waited for."""
    body = review(tweak(minimal(), {"spec.containers.0.image": reference}))
    for _ in range(200):
        try:
            status, answer = await victim.review(body, seconds=120)
        except aiohttp.ClientError as error:
            return type(error).__name__
        if status != 200 or answer["response"].get("status", {}).get("code") != 429:
            return status
        await asyncio.sleep(0.2)
    raise AssertionError(f"{reference} is still waited for")

"""An hour of mixed reviews at a moderate rate, while policies, exceptions, namespaces and images come and go.

A process of its own, with an API server and a real registry that nobody else touches.
"""

import asyncio
import json
import os
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from deploy.dev.oci import Content, accounts_layer, image
from tests.conformance import images
from tests.e2e.target import Target
from tests.resilience import heartbeat
from tests.resilience.conftest import MODES, STATED, born, gone, long
from tests.resilience.descriptors import CALLERS, SPARE, held
from tests.resilience.figures import Fact, record
from tests.resilience.victim import Victim, serving
from tests.support.distribution import Distribution
from tests.support.pods import minimal, tweak
from tests.unit.server.test_asgi import review

pytestmark = [long, pytest.mark.survive, pytest.mark.cluster, pytest.mark.timeout(7200)]

SECONDS = float(os.environ.get("NONROOT_SOAK_SECONDS", "3600"))
WARM = SECONDS / 12  # after which what the process holds is compared with what it holds at the end
SAMPLES = 12
RATE = 25  # reviews a second
IMAGES = 500
FRESH = 4  # images that come in each round of changes, for as many that nobody asks for any more
ROUND = 10.0  # seconds between two rounds
REMEMBERED = 0.0075  # MiB that an image takes while there is room: 5 KiB in caches, then its ImageIdentity
REST = 35.0  # seconds: aiohttp keeps an idle connection for 15, and looks every 15
CHANGE_TIMEOUT = 30.0  # seconds until a change must count

Kind = Literal[
    "name", "number", "root", "stated", "none"
]  # the image's USER; a compliant Pod; an image that is not there
Verdict = Literal["patched", "warned", "refused", "allowed", "pending", "unpatched"]
KINDS: tuple[Kind, ...] = ("name", "number", "root", "stated", "none")
CHANGING = "changing"  # a namespace whose policy, and whose exception, changes
STRICTEST: dict[tuple[str, str], dict[Kind, Verdict]] = {  # by mode and hook; what is not here is allowed in silence
    ("enforce", "/mutate"): {"name": "patched", "number": "patched", "root": "warned", "none": "patched"},
    # As they are sent here, unpatched, they are asked for again, or refused when they have come for too long.
    ("enforce", "/validate"): {"root": "refused", "name": "unpatched", "number": "unpatched", "none": "unpatched"},
    ("warn", "/validate"): {"root": "warned", "none": "warned"},
}


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[str]:
    """The real one, empty."""
    running = Distribution(tmp_path / "registry")
    await running.ready()
    yield running.host
    running.stop()


async def test_an_hour(alone: Target, registry: str, tmp_path: Path) -> None:
    """No verdict is wrong, nothing grows, and every change counts soon."""
    pulse = tmp_path / "pulse"
    program, environment = ("tests.resilience.heartbeat", str(pulse)), {"KUBECONFIG": alone.environment["KUBECONFIG"]}
    for name, labels in {**MODES, CHANGING: {}}.items():
        born(alone, name, labels)
    async with serving(
        tmp_path, "--insecure-registry", registry, program=program, environment=environment, standalone=False
    ) as victim:
        soak = Soak(victim, registry)
        await soak.push(IMAGES)
        fresh = held(victim.process.pid)
        samples: list[Sample] = []
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(soak.traffic()), tasks.create_task(soak.changes(alone))]
            for number in range(SAMPLES + 1):
                samples.append(Sample.of(victim, heartbeat.read(pulse) if number else heartbeat.Pulse()))
                print(samples[-1], soak.tally.reviews, soak.tally.wrong[-3:], flush=True)
                if number < SAMPLES:
                    await asyncio.sleep(SECONDS / SAMPLES)
            for each in running:
                each.cancel()
        busy = held(victim.process.pid)
        await victim.session.close()
        await asyncio.sleep(REST)
        rested = held(victim.process.pid)
        log = victim.log.read_text()
    early, late = samples[1], samples[-1]
    tally = soak.tally
    record(
        Fact(
            f"{SECONDS:.0f} s of {RATE} reviews a second, with an API server and a registry of their own",
            f"{tally.reviews:,} reviews, {len(tally.wrong)} wrong, {tally.failed} failed, {tally.retried} × 429; "
            f"{dict(sorted(tally.verdicts.items()))}; {tally.images} images, {tally.changes} changes of policies, exceptions "
            f"and namespaces, of which the slowest counted after {tally.slowest:.1f} s; median {1000 * tally.median:.1f} ms, "
            f"longest {tally.longest:.2f} s; memory {[round(each.memory) for each in samples]} MiB, open {fresh.total()} when "
            f"it was new, {busy.total()} under load ({busy[CALLERS]} connections of the test's, which keeps as many as it ever "
            f"needed at once), {rested.total()} without it, tasks {early.tasks} then {late.tasks}, "
            f"{late.cpu - early.cpu:.0f} s CPU; loop silent "
            f"{late.silent:.0f} ms at most, at work {late.at_work:.0f} ms of that; warnings in the log "
            f"{log.count(' WARNING ')}, errors {log.count(' ERROR ')}",
        )
    )
    assert not tally.wrong, tally.wrong[:5]
    assert not tally.failed
    assert " ERROR " not in log
    assert late.memory <= 1.1 * early.memory + REMEMBERED * tally.images
    assert rested.total() <= fresh.total() + SPARE, rested - fresh
    assert late.tasks <= early.tasks + RATE  # as many may be under way


class Sample(msgspec.Struct, frozen=True):
    """What the process holds at a moment: MiB, tasks; CPU seconds and the worst of its pulse so far."""

    memory: float
    tasks: int
    cpu: float
    silent: float
    at_work: float

    @classmethod
    def of(cls, victim: Victim, pulse: heartbeat.Pulse) -> "Sample":
        """Of this moment."""
        return cls(victim.memory(), pulse.tasks, victim.cpu, pulse.silent, pulse.at_work)


class Tally(msgspec.Struct):
    """What became of the reviews. Times are seconds; `slowest` is the longest until a change counted."""

    reviews: int = 0
    failed: int = 0
    retried: int = 0
    images: int = 0
    changes: int = 0
    slowest: float = 0.0
    longest: float = 0.0
    verdicts: Counter[str] = msgspec.field(default_factory=Counter)
    wrong: list[str] = []
    latest: deque[float] = msgspec.field(default_factory=lambda: deque(maxlen=10_000))

    @property
    def median(self) -> float:
        """Of the latest reviews."""
        return sorted(self.latest)[len(self.latest) // 2]


class Soak:
    """Sends reviews and makes changes, and knows what is right."""

    def __init__(self, victim: Victim, registry: str) -> None:
        self.tally = Tally()
        self._victim = victim
        self._registry = registry
        self._known: deque[tuple[Kind, str, int]] = deque(maxlen=IMAGES)  # USER, reference, uid

    async def push(self, count: int) -> None:
        """So many new images, in the place of as many old ones."""
        made: list[tuple[Kind, Content, int]] = []
        for number in range(self.tally.images, self.tally.images + count):
            kind, uid = KINDS[number % 3], 2000 + number
            user = {"name": "app", "number": str(uid), "root": "0"}[kind]
            layer = accounts_layer(f"app:x:{uid}:{uid}::/:")
            made.append((kind, image(layer, user=user, settings={"Cmd": [str(number)]}), uid))
        await images.push(self._registry, [content for _, content, _ in made])
        self._known.extend((kind, images.reference(self._registry, content), uid) for kind, content, uid in made)
        self.tally.images += count

    async def traffic(self) -> None:
        """Reviews at a steady rate, whatever the last ones take."""
        async with asyncio.TaskGroup() as clients:
            due = time.monotonic()
            while True:
                clients.create_task(self._any())
                due += 1 / RATE
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def changes(self, target: Target) -> None:
        """Round after round: another policy, an exception or none, a namespace that comes and goes, a few images."""
        root = next(reference for kind, reference, _ in self._known if kind == "root")
        number = 0
        while True:
            for mode, right in (("Enforce", "refused"), ("Warn", "warned"), ("Audit", "allowed")):
                await asyncio.sleep(ROUND)
                await self.push(FRESH)
                await asyncio.to_thread(_apply, target, _policy(mode))
                await self._counts(right, CHANGING, root)
                if mode == "Enforce":
                    await asyncio.to_thread(_apply, target, _exception(root))
                    await self._counts("allowed", CHANGING, root)
                    await asyncio.to_thread(target.kubectl, "delete", "nonrootexceptions", "--all", "-n", CHANGING)
                    await self._counts("refused", CHANGING, root)
                name = f"born-{number}"
                await asyncio.to_thread(born, target, name, MODES["enforce"])
                await self._review("root", root, 0, name, "enforce", "/validate")
                await asyncio.to_thread(gone, target, name)
                number += 1
                self.tally.changes += 1

    async def _counts(self, right: str, namespace: str, root: str) -> None:
        """Wait until a change counts, and see that it stays so."""
        began = time.monotonic()
        while await self._ask(root, namespace, "/validate") != right:
            if time.monotonic() > began + CHANGE_TIMEOUT:
                self.tally.wrong.append(f"{namespace} is not {right} after {CHANGE_TIMEOUT:.0f} s")
                return
            await asyncio.sleep(0.05)
        self.tally.changes += 1
        self.tally.slowest = max(self.tally.slowest, time.monotonic() - began)
        for _ in range(3):
            if (found := await self._ask(root, namespace, "/validate")) != right:
                self.tally.wrong.append(f"{namespace} was {right}, then {found}")

    async def _any(self) -> None:
        kind, reference, uid = random.choice(self._known)  # noqa: S311
        mode, hook = random.choice(list(MODES)), random.choice(("/mutate", "/validate"))  # noqa: S311
        chance = random.random()  # noqa: S311
        if chance < 0.05:
            kind, reference = "none", f"{self._registry}/none/app{random.randrange(IMAGES)}:1"  # noqa: S311
        elif chance < 0.2:
            kind = "stated"
        await self._review(kind, reference, uid, mode, mode, hook)

    async def _review(self, kind: Kind, reference: str, uid: int, namespace: str, mode: str, hook: str) -> None:
        """One review, whose verdict is known."""
        began = time.monotonic()
        try:
            found = await self._ask(reference, namespace, hook, uid if kind == "stated" else None)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is counted
            self.tally.failed += 1
            print(f"failed: {error!r}")
            return
        self.tally.latest.append(time.monotonic() - began)
        self.tally.longest = max(self.tally.longest, self.tally.latest[-1])
        self.tally.reviews += 1
        self.tally.verdicts[f"{mode} {hook} {found}"] += 1
        right = STRICTEST.get((mode, hook), {}).get(kind, "allowed")
        if found != right and (found, mode) != ("pending", "warn"):  # which waits 300 ms for an image, and says so
            self.tally.wrong.append(f"{mode} {hook} {kind} {reference}: {found}, not {right}")

    async def _ask(self, reference: str, namespace: str, hook: str, uid: int | None = None) -> str:
        """The verdict in the end: what is to be asked again is asked again, as client-go does."""
        pod = tweak(minimal(), {"spec.containers.0.image": reference})
        if uid is not None:
            pod = tweak(pod, {"spec.containers.0.securityContext": {**STATED, "runAsUser": uid}})
        body = review(pod, namespace=namespace)
        while True:
            status, answer = await self._victim.review(body, hook)
            response: dict[str, Any] = answer["response"]
            if "the Pod was not patched" in response.get("status", {}).get("message", ""):
                return "unpatched"
            if response.get("status", {}).get("code") != 429:
                break
            self.tally.retried += 1
            await asyncio.sleep(response["status"]["details"]["retryAfterSeconds"])
        assert status == 200
        if not response["allowed"]:
            return "refused"
        warnings = " ".join(response.get("warnings", ()))
        return (
            "patched"
            if response.get("patch")
            else "pending"
            if "pending:" in warnings
            else "warned"
            if warnings
            else "allowed"
        )


def _policy(mode: str) -> dict[str, Any]:
    here = {"matchLabels": {"kubernetes.io/metadata.name": CHANGING}}
    return {"kind": "NonRootPolicy", "metadata": {"name": CHANGING}, "spec": {"mode": mode, "namespaceSelector": here}}


def _exception(reference: str) -> dict[str, Any]:
    spec = {"reason": "a soak", "images": [reference]}
    return {"kind": "NonRootException", "metadata": {"name": "soak", "namespace": CHANGING}, "spec": spec}


def _apply(target: Target, made: dict[str, Any]) -> None:
    target.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "nonroot.dev/v1alpha1", **made}))

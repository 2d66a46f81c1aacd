"""Many admissions: nothing leaks, and the event loop is always there. The long form is 100,000 each way."""

import asyncio
import contextlib
import itertools
import json
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import pytest

from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Registry
from tests.conformance.cluster import Api, Refused, connect
from tests.e2e.target import Target
from tests.resilience import heartbeat
from tests.resilience.conftest import LONG, MODES, STATED, UID, app, born, long
from tests.resilience.descriptors import CALLERS, SPARE, held
from tests.resilience.figures import Fact, record
from tests.resilience.replicas import whole
from tests.resilience.traffic import Kind, Tally, Traffic
from tests.resilience.victim import MIB, Victim, serving
from tests.support.pods import minimal, tweak
from tests.unit.server.test_asgi import review
from webhook.admission import response_cache
from webhook.registry.settings import CacheLimits

pytestmark = [pytest.mark.survive, pytest.mark.timeout(7200)]

REVIEWS = 100_000 if LONG else 6_000
IMAGES = 500
CLIENTS = 16
ADMISSIONS = 100_000  # through the API server
CHANGE = 1.0  # seconds that a namespace and its exception live
REST = 125.0  # seconds after which nobody on the way keeps an idle connection
GROUP = "/apis/nonroot.dev/v1alpha1"
FRESH, STEP = 30_000, 3_000
BLOCKED = 50.0  # milliseconds


@pytest.fixture
async def stocked() -> AsyncIterator[Registry]:
    """A registry on loopback: images with a name, a number and root, in equal parts."""
    async with Registry() as running:
        for number in range(IMAGES):
            content = (app(number), image(user=str(1000 + number)), image(user="0", settings={"Cmd": [str(number)]}))
            running.push(f"team/app{number}:1", content[number % 3])
        yield running


async def test_nothing_leaks_under_load(stocked: Registry, tmp_path: Path) -> None:
    """Patched, refused, warned and fine, mixed: memory and files are at the end what they were after warming up."""
    pulse = tmp_path / "pulse"
    reviews = [
        (hook, number, review(tweak(minimal(), {"spec.containers.0.image": f"{stocked.host}/team/app{number}:1"})))
        for number, hook in itertools.product(range(IMAGES), ("/mutate", "/validate"))
    ]
    program = ("tests.resilience.heartbeat", str(pulse))
    async with serving(tmp_path, "--insecure-registry", stocked.host, program=program) as victim:
        answers = Counter[str]()
        await _send(victim, reviews, len(reviews), answers)
        await _send(victim, reviews, REVIEWS // 10, answers)
        await asyncio.sleep(heartbeat.WARM + 2)  # until the pulse has begun to count
        before = (victim.memory(), victim.files, heartbeat.read(pulse).tasks)
        began, cpu = time.monotonic(), victim.cpu
        await _send(victim, reviews, REVIEWS, answers)
        seconds, cpu = time.monotonic() - began, victim.cpu - cpu
        await asyncio.sleep(2)  # until the pulse has counted what is left
        beat = heartbeat.read(pulse)
        after = (victim.memory(), victim.files, beat.tasks)
    record(
        Fact(
            f"{REVIEWS:,} reviews of {IMAGES} images, {CLIENTS} at a time, direct",
            f"{seconds:.0f} s, {1000 * cpu / REVIEWS:.2f} ms CPU each; {dict(answers)}; memory {before[0]:.0f} then "
            f"{after[0]:.0f} MiB, files {before[1]} then {after[1]}, tasks {before[2]} then {after[2]}; loop silent "
            f"{beat.silent:.0f} ms at most, at work {beat.at_work:.0f} ms of that",
        )
    )
    assert after[0] <= 1.1 * before[0]
    assert after[1] <= before[1]
    assert after[2] <= before[2]
    assert not LONG or beat.at_work < BLOCKED


@long
async def test_memory_stops_at_its_bounds(tmp_path: Path) -> None:
    """Ever more images, each of which is asked for once: the caches grow full, and then nothing grows."""
    bound = (sum(msgspec.structs.astuple(CacheLimits())) + response_cache.CACHE_LIMIT) / MIB
    async with Registry() as registry, serving(tmp_path, "--insecure-registry", registry.host) as victim:
        memory = [victim.memory()]
        for first in range(0, FRESH, STEP):
            for number in range(first, first + STEP):
                registry.push(f"team/app{number}:1", image(accounts_layer(f"app:x:{1 + number}:1::/:"), user="app"))
            fresh = iter(range(first, first + STEP))

            async def client() -> None:
                for number in fresh:  # noqa: B023  # which all of them share, and nobody else
                    assert "patch" in await victim.ask(f"{registry.host}/team/app{number}:1", "/mutate")

            async with asyncio.TaskGroup() as clients:
                for _ in range(CLIENTS):
                    clients.create_task(client())
            memory.append(victim.memory())
    record(
        Fact(
            f"{FRESH:,} images, each asked for once: memory after every {STEP:,} of them",
            f"{[round(each) for each in memory]} MiB; its caches may grow to {bound:.0f} MiB together",
        )
    )
    assert memory[-1] <= memory[0] + bound
    assert memory[-1] <= 1.02 * memory[-2]


async def _send(victim: Victim, reviews: list[tuple[str, int, bytes]], count: int, answers: Counter[str]) -> None:
    """So many of them in random order, each checked."""
    chosen = iter(random.choices(reviews, k=count) if count != len(reviews) else reviews)  # noqa: S311

    async def client() -> None:
        for hook, number, body in chosen:
            status, answer = await victim.review(body, hook)
            response = answer["response"]
            unpatched = "the Pod was not patched" in response.get("status", {}).get("message", "")
            refused = "unpatched" if unpatched else "refused"
            verdict = "patched" if response.get("patch") else "allowed" if response["allowed"] else refused
            root = number % 3 == 2
            right = {"/mutate": "allowed" if root else "patched", "/validate": "refused" if root else "unpatched"}
            answers[f"{hook} {verdict}"] += 1
            assert status == 200
            assert verdict == right[hook], (hook, number, response)

    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(client())


@long
async def test_a_long_day(alone: Target, stocked: Registry, tmp_path: Path) -> None:
    """Through a real API server, while policies, exceptions and namespaces come and go."""
    shelf = _many(stocked)
    for name, labels in MODES.items():
        born(alone, name, labels)
    pulse = tmp_path / "pulse"
    program, environment = ("tests.resilience.heartbeat", str(pulse)), {"KUBECONFIG": alone.environment["KUBECONFIG"]}
    async with serving(
        tmp_path, "--insecure-registry", stocked.host, program=program, environment=environment, standalone=False
    ) as victim:
        _register(alone, victim)
        await asyncio.sleep(heartbeat.WARM + 2)  # until it watches all that it ever will
        fresh = held(victim.process.pid)
        async with connect(alone.environment, tmp_path) as api:
            kinds = _kinds(shelf, {name: name for name in MODES})
            await _admitted(api, kinds, ADMISSIONS // 10)
            before = (victim.memory(), heartbeat.read(pulse).tasks)
            tally, result = await _admitted(api, kinds, ADMISSIONS)
            await asyncio.sleep(2)  # until the pulse has counted what is left
            beat = heartbeat.read(pulse)
            after, busy = (victim.memory(), beat.tasks), held(victim.process.pid)
        await asyncio.sleep(REST)
        rested = held(victim.process.pid)
    record(
        Fact(
            f"{ADMISSIONS:,} admissions through a real API server, {IMAGES} images, while policies, exceptions and "
            "namespaces change: one server",
            f"{result}; memory {before[0]:.0f} then {after[0]:.0f} MiB, tasks {before[1]} then {after[1]}; open "
            f"{fresh.total()} when it was new, {busy.total()} under load ({busy[CALLERS]} connections of the API server's to "
            f"it), {rested.total()} after {REST:.0f} s of rest; loop silent {beat.silent:.0f} ms at most, at work "
            f"{beat.at_work:.0f} ms of that",
        )
    )
    assert not tally.wrong
    assert not tally.lost
    assert after[0] <= 1.1 * before[0]
    assert after[1] <= before[1]
    assert rested.total() <= fresh.total() + SPARE, rested - fresh
    assert beat.at_work < BLOCKED


@long
async def test_a_long_day_of_replicas(installed: Target, registry: Registry, tmp_path: Path) -> None:
    """The same through both replicas of an installed release, whose tags live for seconds."""
    shelf, mark = _many(registry), secrets.token_hex(2)
    names = {mode: f"survive-{mode}-{mark}" for mode in MODES}
    for mode, labels in MODES.items():
        installed.namespace(names[mode], **labels)
    both = whole(installed)
    async with connect(installed.environment, tmp_path) as api:
        kinds = _kinds(shelf, names)
        try:
            await _admitted(api, kinds, ADMISSIONS // 10)
            before, answered = [each.memory for each in both], [each.reviews for each in both]
            tally, result = await _admitted(api, kinds, ADMISSIONS)
            after, busy = [each.memory for each in both], [held(each.pid) for each in both]
            answered = [each.reviews - past for each, past in zip(both, answered, strict=True)]
        finally:
            installed.kubectl("delete", "namespaces", "--wait=false", *names.values())
    await asyncio.sleep(REST)
    rested = [held(each.pid) for each in both]
    record(
        Fact(
            f"{ADMISSIONS:,} admissions through a real API server, {IMAGES} images, while policies, exceptions and "
            "namespaces change: the replicas of an installed release",
            f"{result}; reviews {[round(each) for each in answered]}; memory {before} then {after} MiB; open "
            f"{[each.total() for each in busy]} under load, {[each.total() for each in rested]} after {REST:.0f} s of rest",
        )
    )
    assert both == whole(installed), "one of them was replaced"
    assert not tally.wrong
    assert not tally.lost
    assert all(late <= 1.1 * early for early, late in zip(before, after, strict=True))
    assert all(idle.total() <= full.total() for idle, full in zip(rested, busy, strict=True))


def _many(registry: Registry) -> str:
    """So many images, half of them with a name to look up and half of them root's; where they are."""
    for number in range(IMAGES // 2):
        registry.push(f"many/app{number}:1", app(number))
        registry.push(f"many/root{number}:1", image(user="root", settings={"Cmd": [str(number)]}))
    return f"{registry.host}/many"


def _kinds(shelf: str, namespaces: Mapping[str, str]) -> list[Kind]:
    """One of each answer that there is, over all images; of each five clients, one of whose Pods are stored."""
    named, root = f"{shelf}/app{{n}}:1", f"{shelf}/root{{n}}:1"
    enforce, warn, audit = (namespaces[mode] for mode in ("enforce", "warn", "audit"))
    half = IMAGES // 2
    kinds = [
        Kind("named", enforce, named, "patched", UID, images=half),
        Kind("demanding", enforce, named, "patched", UID, context={"runAsNonRoot": True}, images=half),
        Kind("root", enforce, root, "refused", images=half),
        Kind("stated", enforce, named, "untouched", context={"runAsUser": 1234, **STATED}, images=half),
        Kind("warned", warn, root, "warned", images=half),
        Kind("audited", audit, root, "untouched", images=half),
    ]
    return [*kinds * 4, *(msgspec.structs.replace(each, stored=True) for each in kinds)]


async def _admitted(api: Api, kinds: list[Kind], count: int) -> tuple[Tally, str]:
    """What became of so many admissions, while things change; and that in words."""
    began = time.monotonic()
    try:
        async with Traffic(api.session, kinds, pause=0).running() as tally:
            for rounds in itertools.count():
                if tally.admissions >= count:
                    break
                await _change(api, rounds)
    finally:
        await api.call("DELETE", f"{GROUP}/nonrootpolicies?labelSelector=survive")
    seconds = time.monotonic() - began
    return tally, (
        f"{tally.admissions:,} in {seconds:.0f} s, {tally.admissions / seconds:.0f} a second, {rounds} rounds of changes; "
        f"{len(tally.wrong)} wrong, {tally.lost.total()} lost, {tally.away.total()} unanswered, "
        f"{tally.retried} × 429, longest wait {tally.longest:.2f} s"
    )


def _register(target: Target, victim: Victim) -> None:
    """Both hooks, as the chart has them: one may fail, the other may not."""
    for configuration in (victim.configuration("Mutating", "mutate"), victim.configuration("Validating", "validate")):
        target.kubectl("create", "-f", "-", text=json.dumps(configuration))


async def _change(api: Api, number: int) -> None:
    """A policy, a namespace and an exception that the view must follow, and that change no verdict of the traffic's."""
    version, name, born = (
        {"apiVersion": "nonroot.dev/v1alpha1"},
        f"survive-{number % 7}",
        f"survive-born-{secrets.token_hex(4)}",
    )
    spec = {"mode": "Warn", "priority": number % 100, "namespaceSelector": {"matchLabels": {"survive": "nobody"}}}
    policy = {**version, "kind": "NonRootPolicy", "metadata": {"name": name, "labels": {"survive": ""}}, "spec": spec}
    how = "fieldManager=survive&force=true"
    await api.call("PATCH", f"{GROUP}/nonrootpolicies/{name}?{how}", policy, "application/apply-patch+yaml")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": born, "labels": MODES["enforce"]}}
    await api.call("POST", "/api/v1/namespaces", namespace)
    spec = {"reason": f"change {number}", "images": ["registry.invalid/*"]}
    exception = {**version, "kind": "NonRootException", "metadata": {"name": name}, "spec": spec}
    await api.call("POST", f"{GROUP}/namespaces/{born}/nonrootexceptions", exception)
    await asyncio.sleep(CHANGE)
    await api.call("DELETE", f"{GROUP}/namespaces/{born}/nonrootexceptions")
    await api.call("DELETE", f"/api/v1/namespaces/{born}")
    with contextlib.suppress(Refused):  # a controller may have finished it
        await api.call("PUT", f"/api/v1/namespaces/{born}/finalize", {**namespace, "spec": {"finalizers": []}})
    if number % 7 == 6:
        await api.call("DELETE", f"{GROUP}/nonrootpolicies?labelSelector=survive")

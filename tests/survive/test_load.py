"""Many admissions: nothing leaks, and the event loop is always there. The long form is 100,000 each way."""

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.target import Target
from tests.kubelet.cluster import connect
from tests.serve.test_reviews import review
from tests.support.oci import image
from tests.support.pods import minimal, tweak
from tests.support.registry import Registry
from tests.survive import heartbeat
from tests.survive.conftest import LONG, MODES, STATED, UID, app, born, gone, long
from tests.survive.figures import Fact, record
from tests.survive.traffic import Kind, Traffic
from tests.survive.victim import Victim, serving

pytestmark = [pytest.mark.survive, pytest.mark.timeout(7200)]

REVIEWS = 100_000 if LONG else 6_000
IMAGES = 500
CLIENTS = 16
SECONDS, WARM = 300.0, 60.0  # through the API server
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
        (door, number, review(tweak(minimal(), {"spec.containers.0.image": f"{stocked.host}/team/app{number}:1"})))
        for number, door in itertools.product(range(IMAGES), ("/mutate", "/validate"))
    ]
    program = ("tests.survive.heartbeat", str(pulse))
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


async def _send(victim: Victim, reviews: list[tuple[str, int, bytes]], count: int, answers: Counter[str]) -> None:
    """So many of them in random order, each checked."""
    chosen = iter(random.choices(reviews, k=count) if count != len(reviews) else reviews)  # noqa: S311

    async def client() -> None:
        for door, number, body in chosen:
            status, answer = await victim.review(body, door)
            response = answer["response"]
            verdict = "patched" if response.get("patch") else "allowed" if response["allowed"] else "refused"
            root = number % 3 == 2
            right = {"/mutate": "allowed" if root else "patched", "/validate": "refused" if root else "allowed"}
            answers[f"{door} {verdict}"] += 1
            assert status == 200
            assert verdict == right[door], (door, number, response)

    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(client())


@long
async def test_a_long_day(alone: Target, stocked: Registry, tmp_path: Path) -> None:
    """Through a real API server, while policies, exceptions and namespaces come and go."""
    for number in range(IMAGES // 2):
        stocked.push(f"many/app{number}:1", app(number))
        stocked.push(f"many/root{number}:1", image(user="root", settings={"Cmd": [str(number)]}))
    for name, labels in MODES.items():
        born(alone, name, labels)
    pulse = tmp_path / "pulse"
    program, environment = ("tests.survive.heartbeat", str(pulse)), {"KUBECONFIG": alone.environment["KUBECONFIG"]}
    async with (
        serving(
            tmp_path, "--insecure-registry", stocked.host, program=program, environment=environment, standalone=False
        ) as victim,
        connect(alone.environment, tmp_path) as api,
    ):
        _register(alone, victim)
        kinds = _kinds(f"{stocked.host}/many")
        traffic = Traffic(api.session, [*kinds, *kinds], pause=0)
        async with traffic.running() as warming:
            await asyncio.sleep(WARM)
        before = (victim.memory(), victim.files, heartbeat.read(pulse).tasks)
        async with traffic.running() as tally:
            began = time.monotonic()
            for number in itertools.count():
                if time.monotonic() > began + SECONDS:
                    break
                await asyncio.to_thread(_change, alone, number)
        seconds = time.monotonic() - began
        await asyncio.sleep(2)  # until the pulse has counted what is left
        beat = heartbeat.read(pulse)
        after = (victim.memory(), victim.files, beat.tasks)
    record(
        Fact(
            f"{SECONDS:.0f} s of admissions through a real API server, {IMAGES} images, while policies, exceptions and namespaces "
            "change",
            f"{tally.admissions:,} admissions, {tally.admissions / seconds:.0f} a second, {len(tally.wrong)} wrong, "
            f"{tally.lost.total()} lost, {tally.unpatched} unpatched, longest wait {tally.longest:.2f} s; memory "
            f"{before[0]:.0f} then {after[0]:.0f} MiB, files {before[1]} then {after[1]}, tasks {before[2]} then {after[2]}; "
            f"loop silent {beat.silent:.0f} ms at most, at work {beat.at_work:.0f} ms of that",
        )
    )
    assert not [*warming.wrong, *tally.wrong]
    assert not tally.lost
    assert after[0] <= 1.1 * before[0]
    assert beat.at_work < BLOCKED


def _kinds(shelf: str) -> list[Kind]:
    """One of each answer that there is, over all images."""
    named, root = f"{shelf}/app{{n}}:1", f"{shelf}/root{{n}}:1"
    half = IMAGES // 2
    return [
        Kind("named", "enforce", named, "patched", UID, images=half),
        Kind("demanding", "enforce", named, "patched", UID, context={"runAsNonRoot": True}, images=half),
        Kind("root", "enforce", root, "refused", images=half),
        Kind("stated", "enforce", named, "untouched", context={"runAsUser": 1234, **STATED}, images=half),
        Kind("warned", "warn", root, "warned", images=half),
        Kind("audited", "audit", root, "untouched", images=half),
    ]


def _register(target: Target, victim: Victim) -> None:
    """Both doors, as the chart has them: one may fail, the other may not."""
    for kind, door, policy in (("Mutating", "mutate", "Ignore"), ("Validating", "validate", "Fail")):
        configuration = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": f"{kind}WebhookConfiguration",
            "metadata": {"name": door},
            "webhooks": [victim.hook(door, policy)],
        }
        target.kubectl("create", "-f", "-", text=json.dumps(configuration))


def _change(target: Target, number: int) -> None:
    """Something that the view must follow, and that changes no verdict of the traffic's."""
    name = f"survive-{number % 7}"
    nobody = {"matchLabels": {"survive": "nobody"}}
    policy = {"mode": "Warn", "priority": number % 100, "namespaceSelector": nobody}
    exception = {"reason": f"change {number}", "images": ["registry.invalid/*"]}
    objects = [
        {"kind": "NonRootPolicy", "metadata": {"name": name}, "spec": policy},
        {"kind": "NonRootException", "metadata": {"name": name, "namespace": "audit"}, "spec": exception},
    ]
    for each in objects:
        target.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "nonroot.dev/v1alpha1", **each}))
    born(target, f"born-{number}", MODES["enforce"])
    gone(target, f"born-{number}")
    if number % 7 == 6:
        target.kubectl("delete", "nonrootpolicies", *(f"survive-{each}" for each in range(7)))
        target.kubectl("delete", "nonrootexceptions", "--namespace", "audit", "--all")

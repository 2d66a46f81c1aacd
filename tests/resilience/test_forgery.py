"""A Pod of the cluster sends reviews of its own making: what it learns, what it can make us do, and how to shut it out."""

import asyncio
import json
import subprocess
import time
from collections import Counter

import pytest

from deploy.dev.oci import image
from deploy.dev.registry import Registry
from tests.e2e.target import Target
from tests.resilience.conftest import LONG, Scene, long
from tests.resilience.figures import Fact, record
from tests.resilience.replicas import CONTROLLER, Replica, replicas
from tests.resilience.traffic import Kind, Traffic
from tests.unit.server.test_asgi import review
from webhook.cluster import events, image_identities, workqueue

pytestmark = [pytest.mark.survive, pytest.mark.timeout(300)]

FORGED = 200 if LONG else 50


def _send(pod: Replica, address: str, body: bytes, seconds: int = 30) -> str:
    """The answer that a replica gives to somebody in that Pod's network, who is patient."""
    url = f"https://{address}:10250/validate?timeout=5s"
    curl = ("curl", "-sS", "--insecure", "--max-time", str(seconds), "-H", "Content-Type: application/json")
    return pod.run(*curl, "--data-binary", "@-", url, text=body.decode())


async def test_a_forger_learns_what_a_look_at_the_image_tells_and_changes_nothing(
    scene: Scene, installed: Target, kinds: list[Kind]
) -> None:
    """It is answered as the API server would be; behind the NetworkPolicy, whose effect is imitated, not at all."""
    one, *_ = replicas(installed)
    (somebody,) = replicas(installed, CONTROLLER)
    root = next(kind for kind in kinds if kind.right == "refused")
    forged = review(root.pod(0), namespace=root.namespace)
    before = _state(installed)
    async with scene(f"{FORGED} forged reviews from a Pod", lost=0):
        answers = [json.loads(await asyncio.to_thread(_send, somebody, one.address, forged)) for _ in range(FORGED)]
    assert {each["response"]["status"]["code"] for each in answers} == {403}
    after = _state(installed)
    learned = answers[0]["response"]["status"]["message"]
    record(Fact("what a forged review is told", learned))
    print("while they came, anybody wrote", sorted(after - before))  # the scan and others do, too
    async with scene("the review port for the API server alone", lost=0):
        with one.behind_a_policy(installed.registry.partition(":")[0]):
            with pytest.raises(subprocess.CalledProcessError) as refusal:
                await asyncio.to_thread(_send, somebody, one.address, forged, 3)
            await asyncio.sleep(5)
    assert "timed out" in refusal.value.stderr.lower()


@long
async def test_what_a_forger_can_make_us_do(installed: Target, namespaces: tuple[str, str], registry: Registry) -> None:
    """Read images, remember them, and tell Events of workloads that do not exist: so many a second, and so many in all."""
    one, *_ = replicas(installed)
    (somebody,) = replicas(installed, CONTROLLER)
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": True}
    before, began = _state(installed), time.monotonic()
    for number in range(FORGED):
        registry.push(f"forged/root{number}:1", image(user="0", settings={"Cmd": [str(number)]}))
        name = f"forged-{number}"
        pod = Kind(name, namespaces[0], f"{registry.host}/forged/root{number}:1", "refused").pod(0)
        pod["metadata"]["ownerReferences"] = [{**owner, "name": name, "uid": name}]
        await asyncio.to_thread(_send, somebody, one.address, review(pod, namespace=namespaces[0]))
    await asyncio.sleep(5)  # what is written is written in the background
    seconds = time.monotonic() - began
    written = Counter(each.partition(" ")[0] for each in _state(installed) - before)
    asked = sum("/forged/" in str(each) for each in registry.requests)
    record(
        Fact(
            f"{FORGED} forged reviews of as many images and workloads, in {seconds:.0f} s",
            f"{asked} requests to the registry, {dict(written)} written; never more than "
            f"{image_identities.OBJECTS_LIMIT:,} ImageIdentity objects, "
            f"and {1 / (events.WRITE_INTERVALS * workqueue.WRITE_INTERVAL):.0f} Events a second",
        )
    )
    assert written["ImageIdentity"] <= FORGED
    assert (
        written["Event"] <= seconds / (events.WRITE_INTERVALS * workqueue.WRITE_INTERVAL) + 10
    )  # and what others tell


@long
async def test_a_dry_run_changes_nothing_anywhere(
    traffic: Traffic, installed: Target, kinds: list[Kind], registry: Registry
) -> None:
    """No Event, no memory of an image, no report: nothing in the cluster names the images that were asked for."""
    for _ in range(5):
        for kind in kinds:
            await traffic.one(kind)
    assert not traffic.tally.wrong
    await asyncio.sleep(5)  # what is written is written in the background
    listed = await asyncio.to_thread(installed.kubectl, "api-resources", "--verbs=list", "-o", "name")
    everything = await asyncio.to_thread(installed.kubectl, "get", ",".join(listed.split()), "-A", "-o", "json")
    assert registry.host not in everything


def _state(target: Target) -> set[str]:
    """What we may write: Events and what is remembered of images, by name."""
    found = [each for kind in ("events", "imageidentities") for each in target.get(kind)]
    ours = (each for each in found if each["kind"] == "ImageIdentity" or "nonroot" in json.dumps(each))
    return {f"{each['kind']} {each['metadata']['name']}" for each in ours}

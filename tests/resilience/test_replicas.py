"""Replicas and the controller of an installed release die, hang, starve and move, under steady admissions."""

import asyncio
import json

import pytest

from deploy.release import NAMESPACE
from tests.e2e.target import Target
from tests.resilience.conftest import LONG, Scene, long
from tests.resilience.replicas import CONTROLLER, Replica, busiest, replicas, whole
from tests.resilience.traffic import Traffic

pytestmark = [pytest.mark.survive, pytest.mark.timeout(600)]

WHILE = 30.0 if LONG else 12.0  # seconds for which a replica hangs
CUT_OFF = 12.0
DEPLOYMENT = "deployment/nonroot-webhook-admission"


async def test_one_replica_is_killed(scene: Scene, installed: Target) -> None:
    async with scene("a replica SIGKILLed"):
        (await _busiest(installed)).kill()


@long
async def test_both_replicas_are_killed_at_once(scene: Scene, installed: Target) -> None:
    """The API server refuses where it was told to fail closed, and says why."""
    both = replicas(installed)
    async with scene("both replicas SIGKILLed"):
        for each in both:
            each.kill()


@long
async def test_a_replica_hangs(scene: Scene, installed: Target) -> None:
    async with scene(f"a replica SIGSTOPped for {WHILE:.0f} s"):
        with (await _busiest(installed)).frozen():
            await asyncio.sleep(WHILE)


@long
async def test_a_replica_is_cut_off(scene: Scene, installed: Target) -> None:
    async with scene(f"all traffic of a replica dropped for {CUT_OFF:.0f} s"):
        with (await _busiest(installed)).cut_off():
            await asyncio.sleep(CUT_OFF)


@long
async def test_a_replica_runs_out_of_memory(scene: Scene, installed: Target) -> None:
    async with scene("a replica killed for its memory"):
        one = await _busiest(installed)
        await asyncio.to_thread(one.exhaust_memory)
    (state,) = (
        each["status"]["containerStatuses"][0]["lastState"]
        for each in installed.get("pods", NAMESPACE)
        if each["metadata"]["name"] == one.pod
    )
    assert state["terminated"]["exitCode"] == 137, state


@long
async def test_the_controller_is_killed(scene: Scene, installed: Target) -> None:
    """It has no part in admission."""
    (controller,) = replicas(installed, CONTROLLER)
    async with scene("the controller SIGKILLed", lost=0):
        controller.kill()


async def test_a_rolling_upgrade_loses_nothing(scene: Scene, traffic: Traffic, installed: Target) -> None:
    """Neither of those that come all the time nor of those whose connections were idle."""
    before = {each.pod for each in replicas(installed)}
    async with traffic.rarer(7.0).running() as rare, scene("a rolling upgrade", lost=0):
        await _kubectl(installed, "rollout", "restart", "--namespace", NAMESPACE, DEPLOYMENT)
        await _kubectl(installed, "rollout", "status", "--namespace", NAMESPACE, DEPLOYMENT, "--timeout=120s")
        await _gone(installed, before)
    assert not rare.wrong, rare.wrong
    assert not (LONG and rare.trouble), rare
    assert before.isdisjoint({each.pod for each in await asyncio.to_thread(whole, installed)})


@long
async def test_a_drain_takes_one_replica_at_a_time_and_loses_nothing(scene: Scene, installed: Target) -> None:
    """What `kubectl drain` does to each Pod, without taking the only node away from everybody else."""
    async with scene("a replica evicted, as by a drain", lost=0):
        one = await _busiest(installed)
        (other,) = (each for each in replicas(installed) if each.pod != one.pod)
        await _evict(installed, one)
        with pytest.raises(Exception, match="disruption budget"):
            await _evict(installed, other)
        await _gone(installed, {one.pod})


async def _busiest(target: Target) -> Replica:
    return await asyncio.to_thread(busiest, target)


async def _evict(target: Target, replica: Replica) -> None:
    metadata = {"name": replica.pod, "namespace": NAMESPACE}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{replica.pod}/eviction"
    await asyncio.to_thread(target.kubectl, "create", "--raw", path, "-f", "-", text=json.dumps(eviction))


async def _gone(target: Target, pods: set[str]) -> None:
    """Until the Pods have left, their last connections with them."""
    for name in pods:
        await _kubectl(target, "wait", "--namespace", NAMESPACE, "--for=delete", f"pod/{name}", "--timeout=90s")


async def _kubectl(target: Target, *words: str) -> str:
    return await asyncio.to_thread(target.kubectl, *words)

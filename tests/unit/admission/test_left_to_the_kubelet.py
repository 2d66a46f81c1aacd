"""Each way in which `onUnknown: Verify` may strand a named image says so at admission: by /validate, which sees all of them."""

from typing import Any, get_args

import pytest

from tests.support.evaluation import apply
from tests.support.guarantee import containers, keeps_root_out
from tests.support.images import unknown
from tests.support.pods import minimal, tweak
from tests.unit.admission.test_handler import Scene, operations, response
from webhook.admission.retry_window import RETRY_WINDOW
from webhook.image.source import Cause

SAID = "the kubelet decides: a numeric USER above 0 runs, and a named one or root does not start (CreateContainerConfigError)"
APP = {"name": "app", "image": "registry.example/app:1"}
GOOD = {"name": "good", "image": "registry.example/good:1", "securityContext": {"runAsUser": 1000}}
PODS: dict[str, dict[str, Any]] = {
    "says nothing": {},
    "demands it": {"spec.containers.0.securityContext": {"runAsNonRoot": True}},
    "the Pod demands it": {"spec.securityContext": {"runAsNonRoot": True}},
    "init": {"spec.containers": [GOOD], "spec.initContainers": [APP]},
    "sidecar": {"spec.containers": [GOOD], "spec.initContainers": [{**APP, "restartPolicy": "Always"}]},
}


@pytest.mark.parametrize("cause", sorted(set(get_args(Cause)) - {"invalid"}))
@pytest.mark.parametrize("pod", PODS)
async def test_a_new_pod(pod: str, cause: Cause) -> None:
    scene = Scene().found(unknown(cause))
    made = tweak(minimal(), PODS[pod])
    if cause == "pending":
        assert (await scene.ask("mutate", made)).decision == "retry"
        scene.clock.now += RETRY_WINDOW
    made = apply(made, operations(await scene.ask("mutate", made)))
    outcome = await scene.ask("enforce", made)
    assert outcome.decision == "allow"
    (warning,) = response(outcome)["warnings"]
    assert f"{cause}: a test says so; {SAID}; " in warning
    assert all(keeps_root_out(made, each) for _, each in containers(made))


async def test_a_debug_container_and_a_new_image_of_a_pod_that_demands_it() -> None:
    scene = Scene().found(unknown("unauthorized"))
    old = tweak(minimal(), {"spec.containers.0": GOOD})
    debugged = tweak(old, {"spec.ephemeralContainers": [APP]})
    mutated = await scene.ask("mutate", debugged, "UPDATE", old=old, sub_resource="ephemeralcontainers")
    debugged = apply(debugged, operations(mutated))
    outcomes = [await scene.ask("enforce", debugged, "UPDATE", old=old, sub_resource="ephemeralcontainers")]
    demanding = tweak(minimal(), {"spec.securityContext": {"runAsNonRoot": True}})
    outcomes.append(
        await scene.ask("enforce", demanding, "UPDATE", old=tweak(demanding, {"spec.containers.0.image": "a.io/b:1"}))
    )
    for outcome in outcomes:
        assert outcome.decision == "allow"
        assert [SAID in each for each in response(outcome)["warnings"]] == [True]

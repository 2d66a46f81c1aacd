"""A Pod of thousands of containers costs what so many containers cost, and not their square: anybody may send one."""

import json
import sys
from types import FrameType
from typing import Any

import pytest

from tests.support.images import Table, image
from tests.support.pods import Object, effective_policy, minimal, review, tweak
from webhook.admission.handler import Admission
from webhook.policy.cache import PolicySnapshot
from webhook.policy.types import Documents

FEW, MANY = 30, 120


def mounted(volume: Object, uid: int | None = None, *, shared: bool = False) -> Any:
    """Pods whose containers each mount a volume of their own, or all the same one."""

    def make(count: int) -> Object:
        names = [f"v{0 if shared else each}" for each in range(count)]
        containers = [
            {"name": f"c{each}", "image": "a.io/app", "volumeMounts": [{"name": name, "mountPath": "/m"}]}
            | ({"securityContext": {"runAsUser": uid}} if uid else {})
            for each, name in enumerate(names)
        ]
        volumes = [{"name": each, **volume} for each in dict.fromkeys(names)]
        return tweak(minimal(), {"spec.containers": containers, "spec.volumes": volumes})

    return make


def containers(image: str, **more: Any) -> Any:
    """Pods of many containers."""
    return lambda count: tweak(
        minimal(), {"spec.containers": [{"name": f"c{each}", "image": image, **more} for each in range(count)]}
    )


def debugged(count: int) -> Object:
    """As if somebody debugged one container many times, as root."""
    each = {"image": "a.io/root", "targetContainerName": "app"}
    return tweak(minimal(), {"spec.ephemeralContainers": [{"name": f"e{number}", **each} for number in range(count)]})


def injected(count: int) -> Object:
    """As an earlier pass has left it."""
    pod = containers("a.io/app", securityContext={"runAsUser": 1000})(count)
    record = [{"container": each["name"], "fields": ["runAsUser"]} for each in pod["spec"]["containers"]]
    return tweak(pod, {"metadata.annotations": {"nonroot.dev/injected": json.dumps(record)}})


PODS = {
    "a USER to look up": containers("a.io/app"),
    "root": containers("a.io/root"),
    "root in the spec": containers("a.io/app", securityContext={"runAsUser": 0}),
    "containers that debug": debugged,
    "a record of injections": injected,
    "a volume each": mounted({"emptyDir": {}}),
    "one volume for all": mounted({"emptyDir": {}}, shared=True),
    "one volume for all, with uids": mounted({"emptyDir": {}}, 1000, shared=True),
    "a claim each": mounted({"persistentVolumeClaim": {"claimName": "x"}}),
    "a Secret each": mounted({"secret": {"secretName": "x", "defaultMode": 256}}),
}


async def steps(pod: Object) -> int:
    """How many instructions of Python it takes to answer a review of the Pod, by both hooks."""
    documents = Documents((effective_policy(fsGroup=2000).policy,))
    images = Table({"a.io/app": image("app"), "a.io/root": image("")})
    found = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal found
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        found += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for hook in ("mutate", "validate"):
            await Admission(PolicySnapshot(documents), images).review(review(pod), hook)
    finally:
        sys.settrace(before)
    return found


@pytest.mark.thorough
@pytest.mark.parametrize("kind", PODS)
async def test_the_work_grows_with_the_number_of_containers(kind: str) -> None:
    few, many = await steps(PODS[kind](FEW)), await steps(PODS[kind](MANY))
    assert many < 1.2 * few * MANY / FEW

"""What containers of a Pod share; and one of thousands costs what so many cost, not their square: anybody may send it."""

import json
import sys
from types import FrameType
from typing import Any

import pytest

from tests.support.images import Table, image
from tests.support.pods import IMAGE, Object, effective_policy, minimal, review, tweak, workload
from tests.support.tables import table
from webhook.admission.handler import Admission
from webhook.evaluation.pod_facts import PodFacts, Writer
from webhook.policy.cache import PolicySnapshot
from webhook.policy.types import Documents
from webhook.workload.workload import Slot

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


def of(**uids: int | None) -> tuple[PodFacts, dict[str, Slot]]:
    """The facts of a Pod whose containers have these names and runAsUser; c writes the volume, as does an ephemeral one."""
    mounts = [{"name": "data", "mountPath": "/data"}]
    containers = [
        {"name": name, "image": IMAGE, "securityContext": {"runAsUser": uid} if uid else {}}
        | ({"volumeMounts": mounts} if name == "c" else {})
        for name, uid in uids.items()
    ]
    debugger = {"name": "debug", "image": IMAGE, "volumeMounts": mounts}
    pod = workload(
        tweak(
            minimal(),
            {
                "spec.initContainers": containers[:1],
                "spec.containers": containers[1:],
                "spec.ephemeralContainers": [debugger],
            },
        )
    )
    return PodFacts(pod), {slot.container.name: slot for slot in pod.slots()}


def test_containers_are_numbered_in_their_order() -> None:
    facts, slots = of(a=1, b=2, c=3)
    assert {name: facts.place(slot) for name, slot in slots.items()} == {"a": 0, "b": 1, "c": 2, "debug": 3}


@table(
    ("uids", "slot", "name", "expected"),
    {
        "the other's": ({"a": 1, "b": 2, "c": None}, "a", "", 2),
        "nobody else has one": ({"a": 1, "b": None, "c": None}, "a", "", None),
        "its own, which another has as well": ({"a": 1, "b": 1, "c": None}, "a", "", 1),
        "of several none": ({"a": 1, "b": 2, "c": 3}, "a", "", None),
        "and none of one that has none": ({"a": None, "b": 2, "c": 3}, "a", "", None),
        "that of a name": ({"a": 1, "b": 2, "c": 3}, "a", "b", 2),
        "that of a name, which is its own as well": ({"a": 1, "b": 1, "c": 3}, "a", "b", 1),
        "that of its own name": ({"a": 1, "b": 2, "c": 3}, "a", "a", None),
        "that of a name that is not there": ({"a": 1, "b": 2, "c": 3}, "a", "x", None),
    },
)
def test_the_one_uid_that_others_have(uids: dict[str, int | None], slot: str, name: str, expected: int | None) -> None:
    facts, slots = of(**uids)
    assert facts.only_uid_beside(slots[slot], name) == expected


def test_the_first_who_writes_a_volume_under_another_uid() -> None:
    facts, _ = of(a=1, b=2, c=3)
    assert facts.first_other_writer("data", 1) == Writer(2, "c", 3)
    assert facts.first_other_writer("data", 3) is None
    assert facts.first_other_writer("nobody's", 1) is None


@pytest.mark.thorough
@pytest.mark.parametrize("kind", PODS)
async def test_the_work_grows_with_the_number_of_containers(kind: str) -> None:
    few, many = await steps(PODS[kind](FEW)), await steps(PODS[kind](MANY))
    assert many < 1.2 * few * MANY / FEW

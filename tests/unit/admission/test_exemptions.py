"""What is exempted is what somebody meant: forged owners, borrowed names and other containers are refused as any other."""

from typing import Any

import msgspec

from tests.support.images import image
from tests.support.pods import effective_policy, minimal, tweak
from tests.support.tables import table
from tests.unit.admission.test_handler import Scene
from webhook.policy.types import ExceptionSpec, Metadata, NonRootException

ROOT = {"name": "istio-init", "image": "docker.io/istio/proxyv2:1.20.0", "securityContext": {"runAsUser": 0}}
PRIVILEGED = {**ROOT, "securityContext": {"runAsUser": 0, "privileged": True}}


def owned(kind: str, name: str, api_version: str = "apps/v1") -> list[dict[str, Any]]:
    return [{"apiVersion": api_version, "kind": kind, "name": name, "uid": "forged", "controller": True}]


@table(
    ("owners", "workloads", "username", "decision"),
    {
        "the DaemonSet's controller": (
            *(owned("DaemonSet", "node-agent"), {"kind": "DaemonSet", "name": "node-agent"}),
            *("system:serviceaccount:kube-system:daemon-set-controller", "allow"),
        ),
        "a user who forges its Pod": (
            *(owned("DaemonSet", "node-agent"), {"kind": "DaemonSet", "name": "node-agent"}),
            *("jane", "deny"),
        ),
        "a user who forges a Pod of a Deployment": (
            *(owned("ReplicaSet", "web-anything", "evil/v1"), {"kind": "Deployment", "name": "web"}),
            *("jane", "deny"),
        ),
    },
)
async def test_an_exception_by_owner(
    owners: list[dict[str, Any]], workloads: dict[str, str], username: str, decision: str
) -> None:
    spec = msgspec.convert({"reason": "reads the node's logs", "workloads": [workloads]}, ExceptionSpec)
    scene = Scene().found(image(""))
    scene.view.excuses = (NonRootException(Metadata("logs", "default"), spec),)
    pod = tweak(minimal(), {"metadata.ownerReferences": owners})
    assert (await scene.ask("validate", pod, username=username)).decision == decision


@table(
    ("paths", "decision"),
    {
        "as the mesh adds it": ({"spec.initContainers": [ROOT]}, "allow"),
        "as a regular container": ({"spec.containers.0": PRIVILEGED}, "deny"),
        "with a command of its own": ({"spec.initContainers": [ROOT | {"command": ["sh", "-c", "evil"]}]}, "deny"),
        "beside a container that is root": (
            {"spec.initContainers": [ROOT], "spec.containers.0.securityContext.runAsUser": 0},
            "deny",
        ),
    },
)
async def test_a_preset(paths: dict[str, Any], decision: str) -> None:
    scene = Scene(effective_policy(presets=["istio"]))
    pod = tweak(minimal(), {"spec.containers.0.securityContext.runAsUser": 1000} | paths)
    assert (await scene.ask("validate", pod)).decision == decision

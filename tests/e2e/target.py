"""The cluster under test, whichever it is, through kubectl alone."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
EVENTUALLY_SECONDS = 240.0  # until something that must happen has happened, also on a busy machine


class Refused(Exception):
    """The API server, or kubectl, said no; the text is what the user sees."""


class Target(msgspec.Struct, frozen=True):
    """A cluster: the environment that reaches it, a registry that its nodes and Pods can pull from, and its runtimes."""

    environment: Mapping[str, str]
    registry: str
    containerd: tuple[str, ...] = ()
    """Each node's socket."""
    registry_hosts: tuple[str, ...] = ()
    """Each node's folder of registries."""

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """What kubectl prints; `Refused` with its words where it fails."""
        return self.run("kubectl", *arguments, text=text).stdout

    def run(self, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run any program in the cluster's environment; `Refused` where it fails."""
        done = subprocess.run(
            command, input=text, env=dict(self.environment), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Refused(done.stderr.strip() or done.stdout.strip())
        return done

    def apply(self, *objects: dict[str, Any], namespace: str = "default") -> str:
        """Create objects, in `namespace` where they name none; the warnings are in the answer."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        done = self.run("kubectl", "create", "--namespace", namespace, "-f", "-", text=text)
        return done.stdout + done.stderr

    def get(self, kind: str, namespace: str, *arguments: str) -> list[dict[str, Any]]:
        """Objects of a kind."""
        found = self.kubectl("get", kind, "--namespace", namespace, "-o", "json", *arguments)
        items: list[dict[str, Any]] = json.loads(found)["items"]
        return items

    def namespace(self, name: str, **labels: str) -> str:
        """A fresh namespace whose service account exists."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        eventually(lambda: bool(self.get("serviceaccounts", name)), f"the service account of {name}")
        return name


def eventually(probe: Callable[[], T | None], what: str, seconds: float = EVENTUALLY_SECONDS) -> T:
    """The first true answer of `probe`; fails with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.5)


class Outcome(msgspec.Struct, frozen=True):
    """What became of a Deployment's Pod: running as somebody, or waiting with a reason, or never created.

    Its status says as whom it runs; where that says nothing (`told` is false), the runtime does.
    """

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    reason: str = ""
    message: str = ""
    run_as_user: int | None = None
    container: str = ""
    told: bool = False


def deployment(name: str, image: str, *, non_root: bool, **pod: Any) -> dict[str, Any]:
    """A Deployment of one container that demands runAsNonRoot, or says nothing at all."""
    spec: dict[str, Any] = {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "app", "image": image}],
        **({"securityContext": {"runAsNonRoot": True}} if non_root else {}),
        **pod,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    }


def outcomes(target: Target, namespace: str, names: set[str]) -> dict[str, Outcome]:
    """What became of each Deployment, once all of them have come to something."""

    def probe() -> dict[str, Outcome] | None:
        found = {**_refused(target, namespace), **_pods(target, namespace)}
        return found if names <= found.keys() else None

    return eventually(probe, f"an outcome for each of {sorted(names)} in {namespace}")


def _pods(target: Target, namespace: str) -> dict[str, Outcome]:
    found = {}
    for pod in target.get("pods", namespace):
        name = pod["metadata"].get("labels", {}).get("app", pod["metadata"]["name"])
        statuses = pod["status"].get("containerStatuses")
        outcome = _outcome(target, pod, statuses[0]) if statuses else None
        if outcome is not None:
            found[name] = outcome
    return found


def _outcome(target: Target, pod: dict[str, Any], status: dict[str, Any]) -> Outcome | None:
    run_as_user = pod["spec"]["containers"][0].get("securityContext", {}).get("runAsUser")
    waiting = status["state"].get("waiting", {})
    if waiting.get("reason", "").startswith("CreateContainer"):
        return Outcome(reason=waiting["reason"], message=waiting.get("message", ""), run_as_user=run_as_user)
    if "running" not in status["state"]:
        return None
    container = status["containerID"].rpartition("/")[2]
    said = status.get("user", {}).get("linux")
    if said:
        user = (said["uid"], said["gid"], tuple(sorted(said.get("supplementalGroups", []))))
    else:
        user = runtime_user(target, container)
    return Outcome(*user, run_as_user=run_as_user, container=container, told=bool(said))


def runtime_user(target: Target, container: str) -> tuple[int, int, tuple[int, ...]]:
    """The uid, the gid and the groups of a container by the runtime's own record of its process."""
    assert target.containerd, "a status does not say who runs, and the runtime is out of reach (CONTAINERD_ADDRESS)"
    for node in target.containerd:
        with contextlib.suppress(Refused):
            words = ("--address", node, "--namespace", "k8s.io", "containers", "info", container)
            record = target.run("ctr", *words).stdout
            user = json.loads(record)["Spec"]["process"]["user"]
            return user["uid"], user["gid"], tuple(sorted(user.get("additionalGids", [])))
    raise AssertionError(f"no node's runtime knows of the container {container}")


def _refused(target: Target, namespace: str) -> dict[str, Outcome]:
    """Deployments whose Pods a hook refused, by the event on their ReplicaSet; one that did not answer in time is asked again."""
    found = {}
    for event in target.get("events", namespace, "--field-selector", "reason=FailedCreate"):
        if "denied the request" in event["message"]:
            name = event["involvedObject"]["name"].rpartition("-")[0]
            found[name] = Outcome(reason="FailedCreate", message=event["message"])
    return found

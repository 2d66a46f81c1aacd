"""The cluster under test, whichever it is, through its API server and kubectl alone."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from tests.support.api_server import MERGE, Absent, ApiServer, Object, Refused, api_server

T = TypeVar("T")
EVENTUALLY_SECONDS = 240.0  # until something that must happen has happened, also on a busy machine


class Target(msgspec.Struct, frozen=True):
    """A cluster: the environment that reaches it, a registry that its nodes and Pods can pull from, and its runtimes."""

    environment: Mapping[str, str]
    registry: str
    containerd: tuple[str, ...] = ()
    """Each node's socket."""
    registry_hosts: tuple[str, ...] = ()
    """Each node's folder of registries."""

    @property
    def api(self) -> ApiServer:
        """Its API server."""
        return api_server(self.environment["KUBECONFIG"])

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

    def apply(self, *objects: Object, namespace: str = "default") -> str:
        """Create objects, in `namespace` where they name none; the warnings. All are tried, also if some are refused."""
        warnings, refused = list[str](), list[str]()
        for each in objects:
            try:
                warnings += self.api.create(each, namespace).warnings
            except Refused as error:
                refused.append(str(error))
        if refused:
            raise Refused("\n".join(refused))
        return "\n".join(warnings)

    def get(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """Objects of a kind, in one namespace or in all, which these selectors select."""
        return self.api.objects(kind, namespace, labels=labels, fields=fields)

    def patch(self, kind: str, name: str, changes: Object, namespace: str = "") -> None:
        """Merge changes into an object."""
        self.api.call("PATCH", self.api.resource(kind).path(namespace, name), changes, content_type=MERGE)

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Have an object deleted, where it is there; it may go later."""
        with contextlib.suppress(Absent):
            self.api.call("DELETE", self.api.resource(kind).path(namespace, name))

    def token(self, account: str, namespace: str = "default") -> str:
        """A service account's token."""
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        path = f"{self.api.resource('serviceaccounts').path(namespace, account)}/token"
        return str(self.api.call("POST", path, request).object["status"]["token"])

    def label(self, namespace: str, **labels: str | None) -> None:
        """Set labels of a namespace; None takes one away."""
        self.patch("namespaces", namespace, {"metadata": {"labels": labels}})

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
    for event in target.get("events", namespace, fields="reason=FailedCreate"):
        if "denied the request" in event["message"]:
            name = event["involvedObject"]["name"].rpartition("-")[0]
            found[name] = Outcome(reason="FailedCreate", message=event["message"])
    return found

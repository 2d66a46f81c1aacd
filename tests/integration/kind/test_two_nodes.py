"""The chart on two nodes of kind: up.sh, first light on both, an upgrade, and an uninstallation. A story, told in order."""

import json
import subprocess
from functools import partial
from typing import Any

import pytest

from deploy import release
from deploy.kind import engine, offline
from tests.e2e.target import Target, eventually
from tests.support.api_server import Object, Refused
from tests.support.helm import CHART

pytestmark = pytest.mark.timeout(2700)  # the first run builds the node image

NODES = ("nonroot-control-plane", "nonroot-worker")
REGISTRY = "nonroot-registry:5000"
NAMED, ROOT = f"{REGISTRY}/demo/named-user:1", f"{REGISTRY}/demo/root:1"
HOOKS = "mutatingwebhookconfigurations,validatingwebhookconfigurations"


class Inside(Target, frozen=True):
    """A cluster that is reached in the namespaces of our Docker alone: by programs that run there, not by HTTP from here."""

    def run(self, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return super().run(*engine.inside(), *command, text=text)

    def apply(self, *objects: Object, namespace: str = "default") -> str:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        done = self.run("kubectl", "create", "--namespace", namespace, "-f", "-", text=text)
        return done.stdout + done.stderr

    def get(self, kind: str, namespace: str = "default", *, labels: str = "", fields: str = "") -> list[Object]:
        chosen = (f"--namespace={namespace}", f"--selector={labels}", f"--field-selector={fields}")
        found: list[Object] = json.loads(self.kubectl("get", kind, *chosen, "-o", "json"))["items"]
        return found


@pytest.fixture(scope="module")
def target(docker: None) -> Target:
    """The cluster that `NODES=2 make kind` makes."""
    del docker
    environment = offline.release(offline.kubernetes(), print) | {"NODES": str(len(NODES))}
    command, full = offline.command([offline.SCRIPTS / "up.sh"], environment)
    done = subprocess.run(command, env=full, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"run root --image={ROOT}" in done.stdout
    return Inside(full, REGISTRY)


def pod(name: str, image: str, node: str) -> dict[str, Any]:
    """A Pod that demands runAsNonRoot and names its node, so that no scheduler chooses another."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True},
            "containers": [{"name": "app", "image": image}],
        },
    }


def test_there_are_two_nodes(target: Target) -> None:
    """Both are ready."""
    nodes = target.get("nodes")
    assert sorted(each["metadata"]["name"] for each in nodes) == sorted(NODES)
    for each in nodes:
        assert [found["status"] for found in each["status"]["conditions"] if found["type"] == "Ready"] == ["True"]


@pytest.mark.parametrize("node", NODES)
def test_a_named_user_starts_by_the_injected_uid(target: Target, node: str) -> None:
    """On either node the kubelet refuses the name, and runs it once it has a number; root is refused by us."""
    target.apply(pod(f"alone-{node}", NAMED, node), namespace="default")
    printed = target.apply(pod(f"named-{node}", NAMED, node), namespace="demo")
    assert "Warning" not in printed, printed  # an image that cannot be read is let in, and the kubelet refuses its name

    def refused() -> bool:
        waiting = state(target, "default", f"alone-{node}").get("state", {}).get("waiting", {})
        return "non-numeric user (app)" in waiting.get("message", "")

    eventually(partial(runs_as, target, 1000, f"named-{node}"), f"the named user on {node}")
    eventually(refused, f"the kubelet's word on {node}")
    with pytest.raises(Refused, match="image runs as root"):
        target.apply(pod(f"root-{node}", ROOT, node), namespace="demo")


def test_an_upgrade_of_the_chart(target: Target) -> None:
    """Every Pod of the release is another afterwards, and the new replicas inject; what ran before runs on."""
    before = release_pods(target)
    target.run(
        "helm", "upgrade", release.RELEASE, str(CHART), "--namespace", release.NAMESPACE, "--reuse-values",
        "--set", "logging.format=json", "--wait", "--timeout", "180s",
    )  # fmt: skip
    # Helm is content when all new ones are ready: the last former one is then still to go.
    target.kubectl("rollout", "status", "deployment", "-n", release.NAMESPACE, "--timeout=180s")
    after = release_pods(target)
    assert after
    assert not before & after
    for name in after:
        assert json.loads(target.kubectl("-n", release.NAMESPACE, "logs", name).splitlines()[0])
    target.apply(pod("upgraded", NAMED, NODES[1]), namespace="demo")
    for name in ("upgraded", *(f"named-{node}" for node in NODES)):
        eventually(partial(runs_as, target, 1000, name), f"the Pod {name} after the upgrade")


def test_an_uninstallation(target: Target) -> None:
    """Nothing of the release is left but the CRDs that it keeps, and a root Pod is created in the namespace that enforced."""
    target.run("helm", "uninstall", release.RELEASE, "--namespace", release.NAMESPACE, "--wait")
    assert "nonroot" not in target.kubectl("get", HOOKS, "-o", "name")
    free = pod("root", ROOT, NODES[1])
    del free["spec"]["securityContext"]
    target.apply(free, namespace="demo")
    eventually(partial(runs_as, target, 0, "root"), "the root Pod")


def release_pods(target: Target) -> set[str]:
    """The release's Pods that run and are not about to end."""
    found = target.get("pods", release.NAMESPACE, fields="status.phase=Running")
    return {each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]}


def state(target: Target, namespace: str, name: str) -> dict[str, Any]:
    """What the node says of the Pod's one container; empty while it says nothing."""
    (found,) = target.get("pods", namespace, fields=f"metadata.name={name}")
    (status,) = found["status"].get("containerStatuses") or [{}]
    return dict(status)


def runs_as(target: Target, uid: int, name: str) -> bool:
    """Whether the Pod of the namespace "demo" runs, and the kubelet says as whom."""
    status = state(target, "demo", name)
    user: dict[str, int] = status.get("user", {}).get("linux", {})
    return "running" in status.get("state", {}) and user.get("uid") == uid

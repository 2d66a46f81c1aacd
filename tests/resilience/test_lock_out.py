"""Every replica dead, and enforcing: what a cluster needs to live works all the same, and so does every way out."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from deploy import release
from deploy.dev.images.build import Pushed
from deploy.release import NAMESPACE, RELEASE
from tests.e2e.target import Target, eventually
from tests.resilience.conftest import install, long
from tests.resilience.figures import Fact, record
from tests.resilience.replicas import ADMISSION, CONTROLLER, whole
from tests.support.api_server import Refused

pytestmark = [pytest.mark.survive, pytest.mark.timeout(600)]

CONFIGURATIONS = "mutatingwebhookconfigurations,validatingwebhookconfigurations"
SWITCH = ("delete", CONFIGURATIONS, "-l", "app.kubernetes.io/part-of=nonroot-webhook")


@pytest.fixture
def dead(installed: Target, namespaces: tuple[str, str]) -> Target:
    """The release without one running replica, and a namespace in which therefore nothing can be created."""
    for component in (ADMISSION, CONTROLLER):
        whole(installed, component)
    installed.kubectl("scale", "--namespace", NAMESPACE, "--replicas=0", "deployment", "--all")
    eventually(lambda: not installed.get("pods", NAMESPACE), "every Pod of ours gone")
    with pytest.raises(Refused, match="failed calling webhook") as refusal:
        _create(installed, namespaces[0])
    record(Fact("what a user reads while every replica is dead", str(refusal.value)))
    return installed


def _create(target: Target, namespace: str) -> None:
    """A Pod that runs as root, as far as storing it would go."""
    command = ["run", "root", "--image=registry.example/root:1", "--dry-run=server", "--namespace", namespace]
    target.kubectl(*command, "--overrides", '{"spec":{"securityContext":{"runAsUser":0}}}')


def test_the_cluster_lives_and_the_release_can_be_rolled_back(dead: Target, namespaces: tuple[str, str]) -> None:
    """System Pods, nodes and unlabelled namespaces are never blocked; `helm rollback` brings our own Pods back."""
    for namespace in ("kube-system", "kube-node-lease", NAMESPACE, namespaces[1]):
        _create(dead, namespace)
    (node, *_) = dead.get("nodes", "default")
    dead.kubectl("label", "node", node["metadata"]["name"], "nonroot.dev/survive=1", "--overwrite")
    dead.kubectl("label", "node", node["metadata"]["name"], "nonroot.dev/survive-")
    with _timed("`helm rollback` with everything of ours dead"):
        dead.run("helm", "rollback", RELEASE, "1", "--namespace", NAMESPACE, "--wait", "--timeout", "120s")
    assert len(whole(dead)) == 2


@long
def test_the_documented_switch_turns_everything_off(dead: Target, namespaces: tuple[str, str]) -> None:
    """One command, and what was blocked is created; installing again turns it on."""
    with _timed("everything switched off by the documented command, everything of ours dead"):
        dead.kubectl(*SWITCH)
        _create(dead, namespaces[0])
    dead.run("helm", "upgrade", RELEASE, str(release.CHART), "--namespace", NAMESPACE, "--reuse-values", "--wait")
    eventually(lambda: _refuses(dead, namespaces[0]), "enforcement again")


@long
def test_a_dead_release_can_be_uninstalled(dead: Target, namespaces: tuple[str, str], product: Pushed) -> None:
    """`helm uninstall` takes the hooks along, though nobody of ours is there to help."""
    with _timed("`helm uninstall` with everything of ours dead"):
        release.uninstall(dead.environment)
    _create(dead, namespaces[0])
    install(dead, product)  # other tests come


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    record(Fact(what, f"done after {time.monotonic() - began:.0f} s"))


def _refuses(target: Target, namespace: str) -> bool:
    try:
        _create(target, namespace)
    except Refused as refusal:
        return "denied" in str(refusal)
    return False

"""The ways past every webhook that Kubernetes itself has, each tried: what docs/explanation/security-model.md says of them is so.

Namespaces that the hooks leave out are in test_first_light, updates and debug containers in test_updates and test_adversary.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from deploy.dev.images.build import Pushed
from tests.e2e.replies import in_force
from tests.e2e.target import Target, deployment, eventually, outcomes
from tests.e2e.test_remembered import create, identity, pod
from tests.support.api_server import Refused

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ENFORCE = {"nonroot.dev/mode": "enforce"}
MIRROR = "kubernetes.io/config.mirror"


@pytest.fixture
def enforced(installed: Target, namespace: str) -> str:
    """A namespace that enforces."""
    return installed.namespace(namespace, **ENFORCE)


def _refused(target: Target, namespace: str, made: dict[str, Any]) -> str:
    """Why such a Pod would not be let in; nothing where it would."""
    try:
        create(target, namespace, made, dry_run=True)
    except Refused as refusal:
        return str(refusal)
    return ""


def test_a_static_pod_is_started_without_asking(installed: Target, images: dict[str, Pushed], enforced: str) -> None:
    """Who writes on a node's disk is root there already. Its mirror Pod is let in, or nobody would see who it runs as."""
    folder = os.environ.get("NONROOT_STATIC_PODS")
    if not folder:
        pytest.skip("needs the folder of a node's static Pods (NONROOT_STATIC_PODS)")
    manifest = pod(images["g-root"].reference, "static")
    manifest["metadata"]["namespace"] = enforced
    file = Path(folder, f"{enforced}.json")
    file.write_text(json.dumps(manifest))
    try:

        def mirror() -> dict[str, Any] | None:
            return next(
                (each for each in installed.get("pods", enforced) if "static" in each["metadata"]["name"]), None
            )

        found = eventually(mirror, "the static Pod's mirror")
        assert MIRROR in found["metadata"]["annotations"]
        assert identity(installed, enforced, found["metadata"]["name"])["uid"] == 0
    finally:
        file.unlink()


def test_a_pod_that_calls_itself_a_mirror_is_not_run(
    installed: Target, images: dict[str, Pushed], enforced: str
) -> None:
    """The webhook lets it be, as the kubelet does: it deletes what mirrors no static Pod of its own."""
    made = pod(images["g-root"].reference, "forged")
    made["metadata"]["annotations"] = {MIRROR: "0"}
    (node, *_) = installed.get("nodes")
    made["spec"] |= {"nodeName": node["metadata"]["name"], "automountServiceAccountToken": False}
    create(installed, enforced, made)
    eventually(lambda: not installed.get("pods", enforced), "the forged mirror deleted")
    started = installed.get("events", enforced, fields="reason=Started")
    assert started == []


def test_pods_from_before_the_label_run_on_until_they_are_made_anew(
    installed: Target, images: dict[str, Pushed], namespace: str
) -> None:
    installed.namespace(namespace)
    installed.apply(deployment("old", images["g-root"].reference, non_root=False), namespace=namespace)
    assert outcomes(installed, namespace, {"old"})["old"].uid == 0
    installed.label(namespace, **ENFORCE)
    eventually(lambda: _refused(installed, namespace, pod(images["g-root"].reference)), "the label's effect")
    (before,) = installed.get("pods", namespace)
    assert identity(installed, namespace, before["metadata"]["name"])["uid"] == 0
    update = ("-n", namespace, "set", "image", f"pod/{before['metadata']['name']}")
    for image, refusal in (("j-named-root", "image runs as root"), ("e-numeric", "root is not ruled out")):
        with pytest.raises(Refused, match=refusal):
            installed.kubectl(*update, f"app={images[image].reference}")
    installed.kubectl("-n", namespace, "delete", "pods", "--all", "--now")

    def refused() -> bool:
        found = installed.get("events", namespace, fields="reason=FailedCreate")
        return any("image runs as root" in each["message"] for each in found)

    eventually(refused, "the refusal of its successor")
    assert installed.get("pods", namespace) == []


def test_root_in_a_user_namespace_is_refused_unless_a_policy_allows_it(
    installed: Target, images: dict[str, Pushed], enforced: str
) -> None:
    """And then there alone: a Pod of the node's own user namespace is none of it."""
    root = pod(images["f-no-user"].reference)
    inside = {**root, "spec": {**root["spec"], "hostUsers": False}}
    assert ["image runs as root" in _refused(installed, enforced, made) for made in (root, inside)] == [True, True]
    here = {"matchLabels": {"kubernetes.io/metadata.name": enforced}}
    spec = {"mode": "Enforce", "rootInUserNamespaces": "Allow", "namespaceSelector": here}
    head = {"apiVersion": "nonroot.dev/v1alpha1", "kind": "NonRootPolicy", "metadata": {"name": enforced}}
    installed.apply({**head, "spec": spec})
    try:
        in_force(installed, enforced, enforced)
        assert _refused(installed, enforced, inside) == ""
        assert "image runs as root" in _refused(installed, enforced, root)
    finally:
        installed.delete("nonrootpolicies", enforced)


def test_windows_containers_are_no_administrators(installed: Target, images: dict[str, Pushed], enforced: str) -> None:
    """As they are stored: there is no Windows node here."""
    made = pod("registry.example/windows/app:1")
    made["spec"]["os"] = {"name": "windows"}
    context, _ = create(installed, enforced, made, dry_run=True)
    assert context["runAsNonRoot"] is True
    for name in ("ContainerAdministrator", "containeradministrator"):
        made["spec"]["securityContext"] = {"windowsOptions": {"runAsUserName": name}}
        assert "ContainerAdministrator" in _refused(installed, enforced, made)
    disguised = pod(images["g-root"].reference)  # a Linux image that calls itself one of Windows: no Linux node runs it
    disguised["spec"]["os"] = {"name": "windows"}
    disguised["spec"]["nodeName"] = installed.get("nodes")[0]["metadata"]["name"]
    installed.apply(disguised, namespace=enforced)

    def rejected() -> bool:
        (found,) = installed.get("pods", enforced)
        return bool(found["status"].get("reason") == "PodOSNotSupported" or found["status"]["phase"] == "Failed")

    eventually(rejected, "the kubelet's refusal of a Pod for Windows")

"""What changes a Pod after its creation: debug containers, a new image, a resize, and every kind of template."""

import json
from typing import Any

import pytest

from deploy.dev.images.build import Pushed
from tests.e2e.replies import everywhere, in_force, noted
from tests.e2e.target import Target, eventually
from tests.support.api_server import Refused
from webhook.workload.workload import TEMPLATE_KINDS

pytestmark = pytest.mark.e2e

ENFORCE = {"nonroot.dev/mode": "enforce"}


def _pod(name: str, image: str, **context: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "app",
                    "image": image,
                    "securityContext": context,
                    "resources": {"requests": {"cpu": "10m"}},
                }
            ],
        },
    }


def _get(target: Target, namespace: str, name: str) -> dict[str, Any]:
    return target.api.read("pods", name, namespace)


def test_a_debug_container_gets_its_own_images_uid_or_is_refused(
    installed: Target, images: dict[str, Pushed], namespace: str
) -> None:
    """Through the ephemeralcontainers subresource: new entries are patched, the rest of the Pod stays as it is."""
    target = installed
    target.namespace(namespace, **ENFORCE)
    target.apply(_pod("app", images["e-numeric"].reference), namespace=namespace)
    eventually(lambda: _get(target, namespace, "app")["status"]["phase"] == "Running", "a running Pod to debug")
    debug = ["-n", namespace, "debug", "app", "--profile=legacy", "--attach=false", "--target=app"]
    target.kubectl(*debug, f"--image={images['b-groupadd-system'].reference}", "--container=named", "--", "sleep", "60")
    (ephemeral,) = _get(target, namespace, "app")["spec"]["ephemeralContainers"]
    assert ephemeral["securityContext"]["runAsUser"] > 0
    assert ephemeral["securityContext"]["runAsNonRoot"] is True

    def identity() -> int | None:
        statuses = _get(target, namespace, "app")["status"].get("ephemeralContainerStatuses") or [{}]
        uid = statuses[0].get("user", {}).get("linux", {}).get("uid")
        return None if uid is None else int(uid)

    uid = eventually(identity, "the debug container's identity")
    assert uid == ephemeral["securityContext"]["runAsUser"]
    with pytest.raises(Refused, match="image runs as root"):
        target.kubectl(*debug, f"--image={images['g-root'].reference}", "--container=root", "--", "sleep", "60")


def test_a_new_image_is_allowed_or_refused_and_never_patched(
    installed: Target, images: dict[str, Pushed], namespace: str
) -> None:
    """The securityContext of a Pod is immutable: a patch would turn every such update into an error."""
    target = installed
    target.namespace(namespace, **ENFORCE)
    names = [images[name].reference for name in ("e-numeric", "i-numeric-group", "g-root")]
    demands = {"allowPrivilegeEscalation": False, "runAsNonRoot": True}
    policy = {
        "apiVersion": "nonroot.dev/v1alpha1",
        "kind": "NonRootPolicy",
        "metadata": {"name": namespace},
        "spec": {"inject": "Never", "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
    }
    target.apply(policy)
    try:
        in_force(target, namespace, namespace)
        target.apply(_pod("app", names[0], **demands), namespace=namespace)
        target.kubectl("-n", namespace, "set", "image", "pod/app", f"app={names[1]}")
        container = _get(target, namespace, "app")["spec"]["containers"][0]
        assert (container["image"], container["securityContext"]) == (names[1], demands)
        with pytest.raises(Refused, match="image runs as root"):
            target.kubectl("-n", namespace, "set", "image", "pod/app", f"app={names[2]}")
        with pytest.raises(Refused, match=r"root is not ruled out.*runAsNonRoot: true"):
            target.apply(_pod("open", names[0], allowPrivilegeEscalation=False), namespace=namespace)
        resized = '{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"11m"}}}]}}'
        # Asked and not done: the kubelet 1.36 can die of it (a nil pointer in doPodResizeAction), and admission is what is tried.
        resize = ("patch", "pod", "app", "--subresource=resize", "--dry-run=server", "--patch", resized)
        target.kubectl("-n", namespace, *resize)
        target.kubectl("-n", namespace, "label", "pod", "app", "any=label")
    finally:
        target.delete("nonrootpolicies", namespace)


@pytest.mark.parametrize("kind", TEMPLATE_KINDS)
def test_a_template_is_warned_about_and_never_changed(
    kind: str, installed: Target, images: dict[str, Pushed], namespace: str
) -> None:
    """So that its author learns before any Pod fails, and GitOps sees no drift."""
    target = installed
    target.namespace(namespace, **ENFORCE)
    labels = {"app": "x"}
    restart = "Never" if kind in {"Job", "CronJob"} else "Always"
    spec = {"restartPolicy": restart, "containers": [{"name": "app", "image": images["g-root"].reference}]}
    template = {"metadata": {"labels": labels}, "spec": spec}
    holders: dict[str, tuple[str, dict[str, Any]]] = {
        "Job": ("batch/v1", {"spec": {"suspend": True, "template": template}}),
        "CronJob": ("batch/v1", {"spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}}),
        "PodTemplate": ("v1", {"template": template}),
        "ReplicationController": ("v1", {"spec": {"replicas": 0, "selector": labels, "template": template}}),
        "StatefulSet": (
            "apps/v1",
            {"spec": {"replicas": 0, "serviceName": "x", "selector": {"matchLabels": labels}, "template": template}},
        ),
        "DaemonSet": ("apps/v1", {"spec": {"selector": {"matchLabels": labels}, "template": template}}),
    }
    replicas = {"spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}}
    version, holder = holders.get(kind, ("apps/v1", replicas))
    written = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, **holder}
    everywhere(target, namespace, written, lambda said: noted(said, "verdict") == "refused", "the image known")
    assert "Warning: nonroot: image runs as root" in target.apply(written, namespace=namespace)
    made = json.dumps(target.api.read(f"{version}/{kind}", "x", namespace))
    assert "runAsUser" not in made
    assert "nonroot.dev/injected" not in made

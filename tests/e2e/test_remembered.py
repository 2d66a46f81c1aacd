"""What the cluster itself knows of images: from its nodes where a registry refuses us, from before where it is away."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from deploy.dev.images.build import Built, Pushed
from tests.e2e.conftest import fronts, reached_by_nodes
from tests.e2e.controller import scan
from tests.e2e.front import front
from tests.e2e.replies import Response, everywhere, noted
from tests.e2e.target import Target, eventually
from tests.support.api_server import Refused

pytestmark = pytest.mark.e2e

LOGIN = "node:a-password-of-the-nodes-own"


@contextmanager
def cluster_objects(target: Target, registry: str) -> Iterator[None]:
    """Afterwards nothing is stored of that registry's images: other tests meet them for the first time."""
    try:
        yield
    finally:
        for each in stored(target, registry):
            target.delete("imageidentities", each["metadata"]["name"])


@pytest.fixture(scope="module")
def nodes_only(installed: Target, images: dict[str, Pushed]) -> Iterator[dict[str, str]]:
    """Images of a registry for which the node's containerd has a password, and we have not."""
    _, line = fronts(installed.registry)
    basic = base64.b64encode(LOGIN.encode()).decode()
    hosts = f'server = "http://{line}"\n[host."http://{line}"]\n[host."http://{line}".header]\nAuthorization = "Basic {basic}"\n'
    serving = front(line, installed.registry, login=LOGIN)
    with reached_by_nodes(installed, line, hosts), serving, cluster_objects(installed, line):
        yield {shape: image.reference.replace(installed.registry, line) for shape, image in images.items()}


def pod(image: str, name: str = "app", *, non_root: bool = False) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "app", "image": image}],
            **({"securityContext": {"runAsNonRoot": True}} if non_root else {}),
        },
    }


def create(
    target: Target, namespace: str, made: dict[str, Any], *, dry_run: bool = False
) -> tuple[dict[str, Any], str]:
    """The container's security context as it was stored, and what the user is told."""
    answer = target.api.create(made, namespace, dry_run=dry_run)
    context: dict[str, Any] = answer.object["spec"]["containers"][0].get("securityContext", {})
    return context, "\n".join(answer.warnings)


def identity(target: Target, namespace: str, name: str = "app") -> dict[str, Any]:
    """Who the Pod's container is, by its kubelet."""

    def probe() -> dict[str, Any] | None:
        (found,) = (each for each in target.get("pods", namespace) if each["metadata"]["name"] == name)
        statuses = found["status"].get("containerStatuses") or [{}]
        user: dict[str, Any] | None = statuses[0].get("user", {}).get("linux")
        return user if "running" in statuses[0].get("state", {}) else None

    return eventually(probe, f"the Pod {name} of {namespace} running")


def stored(target: Target, registry: str, source: str = "") -> list[dict[str, Any]]:
    found = target.get("imageidentities")
    return [each for each in found if each["spec"]["image"].startswith(registry) and source in each["spec"]["source"]]


def test_the_kubelet_decides_about_what_only_nodes_can_pull(
    installed: Target, nodes_only: dict[str, str], namespace: str
) -> None:
    """The registry refuses us and serves the kubelet: a number runs, and neither a name nor root ever starts."""
    target = installed
    target.namespace(namespace, **{"nonroot.dev/mode": "enforce"})
    refusals = {"k-supplementary": "image has non-numeric user", "f-no-user": "image will run as root"}
    for name in ("e-numeric", *refusals):
        context, result = create(target, namespace, pod(nodes_only[name], name))
        assert context == {"runAsNonRoot": True}
        assert "unauthorized" in result
        assert "the kubelet decides: a numeric USER above 0 runs" in result
    for name, refusal in refusals.items():
        assert refusal in eventually(partial(waiting, target, namespace, name), f"the kubelet's word on {name}")
    assert identity(target, namespace, "e-numeric")["uid"] > 0
    for words in ({"runAsNonRoot": False}, {"runAsUser": 0}):
        made = pod(nodes_only["g-root"], "open")
        made["spec"]["containers"][0]["securityContext"] = words
        with pytest.raises(Refused, match=r"root is not ruled out|runs as root"):
            create(target, namespace, made)


def waiting(target: Target, namespace: str, name: str) -> str:
    """Why the Pod's container does not start, in its kubelet's words; empty while there is none."""
    (found,) = (each for each in target.get("pods", namespace) if each["metadata"]["name"] == name)
    statuses = found["status"].get("containerStatuses") or [{}]
    state = statuses[0].get("state", {}).get("waiting", {})
    return str(state.get("message", "")) if state.get("reason") == "CreateContainerConfigError" else ""


def test_what_only_nodes_can_pull_is_known_from_them(
    installed: Target, nodes_only: dict[str, str], namespace: str
) -> None:
    """Unknown at first; once it has run, where nothing is enforced, its uid is known, and so is its root."""
    target = installed
    target.namespace(namespace)
    web, root = nodes_only["k-supplementary"], nodes_only["g-root"]
    for name, image in (("first", web), ("root", root)):
        assert create(target, namespace, pod(image, name))[0] == {}
    first = identity(target, namespace, "first")
    assert identity(target, namespace, "root")["uid"] == 0
    scan(target, namespace)
    for image in (web, root):
        eventually(partial(stored, target, image, "observed"), f"what the nodes have shown of {image}")
    target.label(namespace, **{"nonroot.dev/mode": "enforce"})

    for image, who in ((web, f"uid {first['uid']}"), (root, "uid 0")):
        known = partial(_identified, who)
        everywhere(target, namespace, pod(image), known, f"{who} of {image} known in mode Enforce")
    context, _ = create(target, namespace, pod(web, "second", non_root=True))
    assert (context["runAsUser"], context["runAsGroup"]) == (first["uid"], first["gid"])
    assert identity(target, namespace, "second") == first
    with pytest.raises(Refused, match=r"image runs as root: container \"app\""):
        create(target, namespace, pod(root, "again"), dry_run=True)


def _identified(who: str, response: Response) -> bool:
    """Whether the answer is mode Enforce's, about an image that is known to be that user's."""
    return noted(response, "mode") == "Enforce" and f": {who} " in f"{noted(response, 'identities')} "


def test_what_was_known_is_answered_while_the_registry_is_away_and_after_a_restart(
    installed: Target, images: dict[str, Pushed], built: dict[str, Built], namespace: str
) -> None:
    """By tag and by digest."""
    target = installed
    target.namespace(namespace, **{"nonroot.dev/mode": "enforce"})
    line, _ = fronts(target.registry)
    image, who = images["c-adduser-busybox"], built["c-adduser-busybox"].uid
    by_tag, by_digest = (each.replace(target.registry, line) for each in (image.reference, image.pinned))
    with cluster_objects(target, line):
        with front(line, target.registry):
            create(target, namespace, pod(by_tag, "known"))
            eventually(lambda: stored(target, by_tag, "registry"), "what the registry has told")
        target.kubectl("-n", "nonroot-system", "rollout", "restart", "deployment/nonroot-webhook-admission")
        target.kubectl("-n", "nonroot-system", "rollout", "status", "deployment/nonroot-webhook-admission")
        for reference in (by_tag, by_digest):
            eventually(partial(is_uid, target, namespace, reference, who), f"the uid of {reference}")
        _, result = create(target, namespace, pod(f"{by_tag}-of-another"), dry_run=True)
        assert "unreachable" in result


def is_uid(target: Target, namespace: str, image: str, uid: int | None) -> bool:
    """Whether a Pod of that image would get this uid."""
    context, _ = create(target, namespace, pod(image), dry_run=True)
    return context.get("runAsUser") == uid

"""An image that takes longer to read than a request may last strands nobody: the API server's clients come again.

The image's name leads to a slow line for us; the node is told of a faster one, so that only our reading is slow.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.dev.images.build import Pushed
from tests.e2e.conftest import fronts, reached_by_nodes
from tests.e2e.front import front
from tests.e2e.target import Target, deployment, eventually

pytestmark = pytest.mark.e2e

DELAY = 8.0  # seconds that each blob takes: more than the hooks' timeout of 5


@pytest.fixture(scope="module")
def slow(installed: Target, images: dict[str, Pushed]) -> Iterator[dict[str, str]]:
    """Names of images on the slow line, by shape; the node reaches the same registry under its name at full speed."""
    line, _ = fronts(installed.registry)
    hosts = f'server = "http://{installed.registry}"\n'
    with reached_by_nodes(installed, line, hosts), front(line, installed.registry, seconds=DELAY):
        yield {shape: image.reference.replace(installed.registry, line) for shape, image in images.items()}


def _running(target: Target, namespace: str, app: str) -> dict[str, Any] | None:
    for pod in target.get("pods", namespace):
        if pod["metadata"].get("labels", {}).get("app") == app or pod["metadata"]["name"] == app:
            statuses = pod["status"].get("containerStatuses") or [{}]
            if statuses[0].get("state", {}).get("running") or pod["status"]["phase"] == "Succeeded":
                return pod
    return None


def test_cold_images_are_waited_for_without_a_failure(installed: Target, slow: dict[str, str], namespace: str) -> None:
    """A `kubectl run`, a bare Pod, a Deployment and a Job all come up by themselves, each with its image's own uid."""
    target = installed
    target.namespace(namespace, **{"nonroot.dev/mode": "enforce"})
    job = deployment("job", slow["d-addgroup-system"], non_root=True)
    job |= {"apiVersion": "batch/v1", "kind": "Job"}
    job["spec"] = {"template": job["spec"]["template"]}
    job["spec"]["template"]["spec"] |= {"restartPolicy": "Never"}
    job["spec"]["template"]["spec"]["containers"][0]["command"] = ["true"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bare"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "app", "image": slow["k-supplementary"]}],
        },
    }
    target.apply(deployment("deployment", slow["b-groupadd-system"], non_root=True), job, namespace=namespace)
    began = time.monotonic()
    target.kubectl("-n", namespace, "run", "run", f"--image={slow['a-useradd-uid']}", "--grace-period=0")
    waited = time.monotonic() - began
    assert waited > DELAY / 2, f"the image was known after {waited:.1f} s: nothing was waited for"
    target.apply(pod, namespace=namespace)
    for app in ("run", "bare", "deployment", "job"):
        found = eventually(lambda app=app: _running(target, namespace, app), f"{app} up by itself")  # type: ignore[misc]
        assert found["spec"]["containers"][0]["securityContext"]["runAsUser"] > 0
    failures = target.get("events", namespace, fields="type=Warning")
    result = [each["message"] for each in failures if each["reason"] in {"FailedCreate", "Failed"}]
    assert not result

"""The fastest call is the one never made: how many Pods of manifests as people write them the API server keeps to itself."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.chart.test_hooks import Hook, called, create, namespace, path_of, pytestmark, registered, tools

__all__ = ["namespace", "pytestmark", "registered", "tools"]

CORPUS = Path(__file__).parents[2] / "unit" / "check" / "corpus"
SHAPES = (
    "add-ons",
    "helm-secured",
    "helm-web",
    "init-and-sidecars",
    "jobs",
    "kustomize-overlay",
    "kustomize-shop",
    "meshes",
    "statefulsets",
)
# What the API server itself would look up and miss here, or takes only later; none of it is a hook's business.
FOREIGN = (
    "serviceAccountName",
    "serviceAccount",
    "priorityClassName",
    "runtimeClassName",
    "nodeName",
    "overhead",
    "ephemeralContainers",
)


def _specs(value: Any) -> Iterator[dict[str, Any]]:
    """Every Pod's spec in a document, as deep as its kind holds it."""
    if isinstance(value, dict):
        if isinstance(value.get("containers"), list):
            yield value
        else:
            for each in value.values():
                yield from _specs(each)
    elif isinstance(value, list):
        for each in value:
            yield from _specs(each)


def _pods() -> dict[str, dict[str, Any]]:
    pods = {}
    for name in SHAPES:
        documents = yaml.safe_load_all((CORPUS / f"{name}.yaml").read_text())
        for number, spec in enumerate(_specs(list(documents))):
            mounted = {mount["name"] for each in spec["containers"] for mount in each.get("volumeMounts", ())}
            claimed = mounted - {volume["name"] for volume in spec.get("volumes", ())}  # by a StatefulSet, for its Pods
            volumes = [*spec.get("volumes", ()), *({"name": each, "emptyDir": {}} for each in sorted(claimed))]
            kept = {key: item for key, item in spec.items() if key not in FOREIGN}
            pods[f"{name}-{number}"] = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "probe"},
                "spec": kept | {"schedulerName": "none", "volumes": volumes},
            }
    return pods


@pytest.mark.parametrize("hook", ["mutate", "enforce"])
def test_the_share_of_pods_that_are_never_sent(
    hook: Hook, registered: Callable[[Hook], None], namespace: str, record_property: Callable[[str, object], None]
) -> None:
    """Printed; whoever wrote nothing about users must be seen, and whoever wrote all that there is must not."""
    pods = _pods()
    registered(hook)
    sent = {name for name, pod in pods.items() if called(partial(create, path_of(namespace, pod), pod))}
    record_property(f"Pods that are never sent to {hook}", f"{len(pods) - len(sent)} of {len(pods)}")
    silent = {name for name, pod in pods.items() if '"runAsUser"' not in json.dumps(pod)}
    assert silent <= sent < pods.keys()

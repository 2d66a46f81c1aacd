"""What Argo CD or Flux would find to correct on an installed release: nothing, after the controller has run.

Both compare by a dry run of a server-side apply of what they rendered. Argo CD has also applied it itself, under its own
name; for Flux it was Helm. (argoproj/argo-cd gitops-engine/pkg/diff; fluxcd/helm-controller internal/action/diff.go.)
"""

import json
from typing import Any

import pytest

from deploy.release import NAMESPACE, RELEASE
from tests.e2e.target import Target

pytestmark = pytest.mark.e2e

ARGO_CD, FLUX = "argocd-controller", "helm-controller"  # the names under which they apply
Objects = list[dict[str, Any]]


@pytest.fixture
def rendered(installed: Target) -> str:
    """What Helm made of the chart for this release: the same text that both tools apply."""
    return installed.run("helm", "get", "manifest", RELEASE, "-n", NAMESPACE).stdout


def _apply(target: Target, manager: str, rendered: str, *more: str) -> Objects:
    words = ("--server-side", "--force-conflicts", f"--field-manager={manager}", *more)
    found: Objects = json.loads(target.kubectl("apply", *words, "-f", "-", "-o", "json", text=rendered))["items"]
    return found


def _live(target: Target, rendered: str) -> Objects:
    words = ("get", "-f", "-", "-o", "json", "--show-managed-fields")
    found: Objects = json.loads(target.kubectl(*words, text=rendered))["items"]
    return found


def _settled(live: dict[str, Any]) -> dict[str, Any]:
    """An object without what changes by itself, or with every write, whoever writes."""
    forgotten = ("managedFields", "resourceVersion")
    metadata = {key: value for key, value in live["metadata"].items() if key not in forgotten}
    return {key: value for key, value in live.items() if key not in _written(live)} | {"metadata": metadata}


def _written(live: dict[str, Any]) -> set[str]:
    """The fields that the controller writes: of the ConfigMaps that it keeps, the data, which the chart does not have."""
    return {"data"} if live["metadata"]["name"].endswith(("-enforced", "-history")) else {"status"}


def _differing(target: Target, manager: str, rendered: str) -> list[str]:
    """The kinds of the objects in which that manager would change anything."""
    wanted, live = _apply(target, manager, rendered, "--dry-run=server"), _live(target, rendered)
    pairs = zip(wanted, live, strict=True)
    return [there["kind"] for asked, there in pairs if _settled(asked) != _settled(there)]


@pytest.mark.parametrize("tool", [FLUX, ARGO_CD])
def test_nothing_differs_after_the_controller_ran(installed: Target, rendered: str, tool: str) -> None:
    """Over all objects of the release; and something does as soon as anybody has changed it."""
    if tool == ARGO_CD:
        _apply(installed, tool, rendered)
    assert {"Deployment", "CustomResourceDefinition", "MutatingWebhookConfiguration"} <= {
        each["kind"] for each in _live(installed, rendered)
    }
    assert _differing(installed, tool, rendered) == []
    service = ("service", "nonroot-webhook", "-n", NAMESPACE)
    installed.kubectl("patch", *service, "--type=json", "-p", '[{"op":"remove","path":"/metadata/labels"}]')
    assert _differing(installed, tool, rendered) == ["Service"]
    _apply(installed, tool, rendered)
    assert _differing(installed, tool, rendered) == []


def test_the_ca_is_the_controllers_and_nothing_else_is(installed: Target, rendered: str) -> None:
    """It is in every hook, so there was something to drift; and of all objects it owns those fields alone."""
    live = _live(installed, rendered)
    hooks = [hook for each in live for hook in each.get("webhooks", ())]
    assert len(hooks) == 4
    assert all(hook["clientConfig"]["caBundle"] for hook in hooks)
    owned = [
        entry["fieldsV1"]
        for each in live
        for entry in each["metadata"]["managedFields"]
        if entry["manager"] == "nonroot-operate"
    ]
    bundle: dict[str, Any] = {"f:clientConfig": {"f:caBundle": {}}}
    assert {json.dumps(value) for each in owned for value in each["f:webhooks"].values()} == {json.dumps(bundle)}
    owners = [
        entry["manager"] for each in live for entry in each["metadata"]["managedFields"] if "f:caBundle" in str(entry)
    ]
    assert (len(owned), owners) == (2, ["nonroot-operate"] * 2)

"""A real second mutating webhook that adds containers, sorted before ours and after it."""

from pathlib import Path
from typing import Any

import pytest

from deploy.dev.images.build import Pushed
from tests.e2e.injector import NAME, injector, sidecar
from tests.e2e.meshes import MESHES, injecting
from tests.e2e.target import Target, eventually
from tests.support.api_server import Refused
from tests.support.pods import DEFAULTS

pytestmark = pytest.mark.e2e

BEFORE, AFTER = "aa-injector", "zzz-injector"  # of zz-nonroot-webhook
STATED = {"runAsUser": 1000, **DEFAULTS}


def _pod(name: str, image: str, context: dict[str, Any]) -> dict[str, Any]:
    container = {"name": "app", "image": image, "securityContext": context}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}


def _dry_run(target: Target, namespace: str, pod: dict[str, Any]) -> dict[str, Any]:
    """The Pod as the API server would store it."""
    return target.api.create(pod, namespace, dry_run=True).object


def _uids(pod: dict[str, Any]) -> dict[str, int | None]:
    return {each["name"]: each.get("securityContext", {}).get("runAsUser") for each in pod["spec"]["containers"]}


def _contexts(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    spec = pod["spec"]
    return {each["name"]: each["securityContext"] for each in spec["containers"] + spec["initContainers"]}


@pytest.fixture
def enforced(installed: Target, namespace: str) -> str:
    """A namespace that enforces."""
    return installed.namespace(namespace, **{"nonroot.dev/mode": "enforce"})


def _registered(target: Target, namespace: str, image: str, asked: list[str]) -> None:
    def called() -> bool:
        _dry_run(target, namespace, _pod("probe", image, {}))
        return bool(asked)

    eventually(called, "a call of the injector")


@pytest.mark.parametrize("name", [BEFORE, AFTER])
def test_a_sidecar_is_evaluated_and_patched_whenever_it_comes(
    installed: Target, images: dict[str, Pushed], enforced: str, tmp_path: Path, name: str
) -> None:
    """Before us it is there when we are asked; after us the API server asks again, because the Pod has changed."""
    silent = images["k-supplementary"].reference
    with injector(installed, name, enforced, sidecar(images["a-useradd-uid"].reference), tmp_path) as asked:
        _registered(installed, enforced, images["e-numeric"].reference, asked)
        made = _dry_run(installed, enforced, _pod("silent", silent, {}))
        assert _uids(made) == {"app": 1500, NAME: 1000}


def test_a_skipped_pod_that_gets_a_sidecar_afterwards_is_refused_rather_than_admitted_unread(
    installed: Target, images: dict[str, Pushed], enforced: str, tmp_path: Path
) -> None:
    """Complete when we would have been called, so that the call is skipped and never made up for: /validate sees to it."""
    complete = images["e-numeric"].reference
    with injector(installed, AFTER, enforced, sidecar(images["g-root"].reference), tmp_path) as asked:
        _registered_or_refused(installed, enforced, complete, asked)
        with pytest.raises(Refused, match=f'runs as root: container "{NAME}"'):
            _dry_run(installed, enforced, _pod("complete", complete, STATED))
    with injector(installed, AFTER, enforced, sidecar(images["a-useradd-uid"].reference), tmp_path) as asked:
        _registered(installed, enforced, complete, asked)
        with pytest.raises(Refused, match=f'the Pod was not patched: container "{NAME}".*runAsUser: 1000'):
            _dry_run(installed, enforced, _pod("complete", complete, STATED))
    with injector(installed, BEFORE, enforced, sidecar(images["a-useradd-uid"].reference), tmp_path) as asked:
        _registered(installed, enforced, complete, asked)
        made = _dry_run(installed, enforced, _pod("complete", complete, STATED))
        assert _uids(made) == {"app": 1000, NAME: 1000}


def _registered_or_refused(target: Target, namespace: str, image: str, asked: list[str]) -> None:
    def called() -> bool:
        try:
            _dry_run(target, namespace, _pod("probe", image, STATED))
        except Refused:
            return bool(asked)
        return False

    eventually(called, "a call of the injector")


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("name", [BEFORE, AFTER])
def test_a_meshs_containers_keep_their_fields_and_the_pod_comes_out_the_same_each_time(
    installed: Target, images: dict[str, Pushed], namespace: str, tmp_path: Path, name: str, mesh: str
) -> None:
    """Under Pod Security restricted, which admits no such Pod but with what we add: to the app and, for Istio, to the mesh."""
    restricted = {"nonroot.dev/mode": "enforce", "pod-security.kubernetes.io/enforce": "restricted"}
    installed.namespace(namespace, **restricted)
    pod = _pod("silent", images["k-supplementary"].reference, {})
    patch = injecting(mesh, images["a-useradd-uid"].reference)
    with injector(installed, name, namespace, patch, tmp_path) as asked:
        _registered(installed, namespace, images["e-numeric"].reference, asked)
        made = _dry_run(installed, namespace, pod)
        asked.clear()
        again = _dry_run(installed, namespace, pod)
        once_more = _dry_run(installed, namespace, {**pod, "spec": made["spec"]})
    assert once_more["spec"] == made["spec"]
    assert _contexts(again) == _contexts(made)
    assert (
        2 <= len(asked) <= 4
    )  # each of the two Pods once, and at most once more because another webhook has changed it
    contexts = _contexts(made)
    assert contexts.pop("app") == {"runAsUser": 1500, **DEFAULTS}
    injected = MESHES[mesh]["containers"] | MESHES[mesh]["initContainers"]
    added = {"seccompProfile": {"type": "RuntimeDefault"}}
    assert contexts == {each: added | context for each, context in injected.items()}

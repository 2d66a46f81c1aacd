"""The last end-to-end test, by its name: `helm uninstall` leaves a cluster that works as if we had never been there."""

import secrets
from collections.abc import Iterator

import pytest

from deploy import release
from deploy.dev.images.build import Pushed
from tests.e2e.controller import mismatches
from tests.e2e.predictions import Predictions
from tests.e2e.target import Target, deployment, eventually, outcomes

pytestmark = pytest.mark.e2e

CONFIGURATIONS = "mutatingwebhookconfigurations,validatingwebhookconfigurations"


@pytest.fixture(scope="module")
def handled(installed: Target, images: dict[str, Pushed]) -> Iterator[str]:
    """A namespace with something of everything that the operator watches and writes."""
    target, name = installed, f"handled-{secrets.token_hex(2)}"
    target.namespace(name)
    made = {"apiVersion": "nonroot.dev/v1alpha1", "metadata": {"name": name}}
    selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    exception = {"reason": "so that there is one", "images": ["registry.example/app:*"]}
    kinds = {"NonRootPolicy": selector, "NonRootException": exception}
    target.apply(*({**made, "kind": kind, "spec": spec} for kind, spec in kinds.items()), namespace=name)
    target.apply(deployment("web", images["a-useradd-uid"].reference, non_root=False), namespace=name)
    outcomes(target, name, {"web"})

    def written() -> bool:
        found = [each for kind in ("nonrootpolicies", "nonrootexceptions") for each in target.get(kind, name)]
        return all("status" in each for each in found) and bool(target.get("imageidentities", name))

    eventually(written, "the statuses, and what is stored of the image")
    yield name
    target.delete("nonrootpolicies", name)
    target.delete("namespaces", name)


def test_no_prediction_was_wrong(installed: Target, predictions: Predictions) -> None:
    """Nothing that any test has run came out otherwise than any controller had predicted; the last one has no count either."""
    assert eventually(lambda: {mismatches(installed)} - {None}, "a scan") == {0}
    assert predictions.wrong() == []


def _without_kopf(target: Target, kind: str) -> None:
    found = [each for one in kind.split(",") for each in target.get(one)]
    assert found
    for each in found:
        metadata = each["metadata"]
        assert not [name for name in metadata.get("annotations", {}) if "kopf" in name], metadata["name"]
        assert not [name for name in metadata.get("finalizers", []) if "nonroot" in name or "kopf" in name], metadata[
            "name"
        ]


@pytest.mark.parametrize(
    "kind",
    [
        *("namespaces", "pods", "secrets", "events", "deployments,replicasets,jobs", CONFIGURATIONS),
        *("nonrootpolicies", "nonrootexceptions", "imageidentities"),
    ],
)
@pytest.mark.usefixtures("handled")
def test_no_object_carries_a_finalizer_or_annotation_of_the_operator(installed: Target, kind: str) -> None:
    """Watching leaves no trace on what is watched, so that nothing hangs when we are gone."""
    _without_kopf(installed, kind)


def test_after_uninstall_nothing_is_refused_or_changed(
    installed: Target, images: dict[str, Pushed], namespace: str, handled: str
) -> None:
    """In a namespace that still asks for enforcement, a root Pod and an unpatched one run; any namespace can be deleted."""
    release.uninstall(installed.environment)
    assert "nonroot" not in installed.kubectl("get", CONFIGURATIONS, "-o", "name")
    installed.namespace(namespace, **{"nonroot.dev/mode": "enforce"})
    chosen = ("a-useradd-uid", "g-root")
    made = (deployment(name, images[name].reference, non_root=False) for name in chosen)
    installed.apply(*made, namespace=namespace)
    found = outcomes(installed, namespace, set(chosen))
    assert (found["a-useradd-uid"].uid, found["a-useradd-uid"].run_as_user) == (1000, None)
    assert (found["g-root"].uid, found["g-root"].run_as_user) == (0, None)
    installed.kubectl("delete", "namespace", namespace, handled, "--timeout=120s")

"""The last end-to-end test, by its name: `helm uninstall` leaves a cluster that works as if we had never been there."""

import pytest

from deploy import release
from tests.e2e.controller import mismatches
from tests.e2e.target import Target, deployment, eventually, outcomes
from tests.images.build import Pushed

pytestmark = pytest.mark.e2e

CONFIGURATIONS = "mutatingwebhookconfigurations,validatingwebhookconfigurations"


def test_no_prediction_was_wrong(installed: Target) -> None:
    """Nothing that any test has run came out otherwise than the controller had foretold, as far as it lives."""
    assert eventually(lambda: {mismatches(installed)} - {None}, "a scan") == {0}


def _without_kopf(target: Target, kind: str) -> None:
    for each in target.get(kind, "default", "--all-namespaces"):
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
def test_no_object_carries_a_finalizer_or_annotation_of_the_operator(installed: Target, kind: str) -> None:
    """Watching leaves no trace on what is watched, so that nothing hangs when we are gone."""
    _without_kopf(installed, kind)


def test_after_uninstall_nothing_is_refused_or_changed(
    installed: Target, images: dict[str, Pushed], namespace: str
) -> None:
    """In a namespace that still asks for enforcement, a root Pod and an unpatched one run."""
    release.uninstall(installed.environment)
    assert "nonroot" not in installed.kubectl("get", CONFIGURATIONS, "-o", "name")
    installed.namespace(namespace, **{"nonroot.dev/mode": "enforce"})
    chosen = ("a-useradd-uid", "g-root")
    made = (deployment(name, images[name].reference, non_root=False) for name in chosen)
    installed.apply(*made, namespace=namespace)
    found = outcomes(installed, namespace, set(chosen))
    assert (found["a-useradd-uid"].uid, found["a-useradd-uid"].run_as_user) == (1000, None)
    assert (found["g-root"].uid, found["g-root"].run_as_user) == (0, None)
    installed.kubectl("delete", "namespace", namespace, "--timeout=60s")

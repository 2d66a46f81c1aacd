"""A real cluster for tests that need its API server alone."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.target import Target

CRDS = Path(__file__).parents[2] / "charts/nonroot-webhook/files/crds"
OURS = "app.kubernetes.io/part-of=nonroot-webhook"


def reach() -> Target:
    """The cluster that KUBECONFIG names; skips where it names none."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("needs KUBECONFIG: use make test, which starts a cluster")
    return Target(os.environ, "")


@contextlib.contextmanager
def crds(target: Target) -> Iterator[None]:
    """Our CRDs; where the chart has brought them already they stay, else they go afterwards."""
    missing = not target.kubectl("get", "crd", "-l", OURS, "-o", "name")
    if missing:
        target.kubectl("create", "-f", str(CRDS))
    try:
        target.kubectl("wait", "--for=condition=Established", "crd", "-l", OURS)
        yield
    finally:
        if missing:
            target.kubectl("delete", "-f", str(CRDS), "--wait")

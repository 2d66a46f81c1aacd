"""A real cluster for tests that need its API server alone."""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.layout import HOST
from tests.e2e.target import Target, eventually
from tests.support.api_server import Refused

CRDS = Path(__file__).parents[2] / "charts/nonroot-webhook/files/crds"
OURS = "app.kubernetes.io/part-of=nonroot-webhook"


def reach() -> Target:
    """The cluster that KUBECONFIG names; skips where it names none."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("needs KUBECONFIG: use make test, which starts a cluster")
    return Target(os.environ, "")


def version(target: Target) -> tuple[int, int]:
    """That of its API server, such as (1, 33)."""
    found = target.api.call("GET", "/version").object
    return int(found["major"]), int(found["minor"].rstrip("+"))


def own_address() -> str:
    """The address at which the API server, nodes and Pods reach this machine: that of the registry, which runs on it."""
    return os.environ.get("NONROOT_REGISTRY", HOST).partition(":")[0]


def served(target: Target, *crds: str) -> None:
    """Wait until the API server lists objects of every kind that `kubectl get` finds by these words.

    `kubectl wait` is no use: it fails where a CRD has no status yet, and once that says established, discovery and the store
    are still to come ("429 storage is (re)initializing").
    """
    names = [each.partition("/")[2] for each in target.kubectl("get", *crds, "-o", "name").split()]

    def listed() -> bool:
        try:
            return bool([target.get(each) for each in names])
        except Refused:
            return False

    eventually(listed, f"the kinds {', '.join(names)}")


def serve(target: Target, crd: Path) -> None:
    """Install a CRD, or those of a folder."""
    target.kubectl("apply", "--server-side", "-f", str(crd))
    served(target, "-f", str(crd))


@contextlib.contextmanager
def crds(target: Target) -> Iterator[None]:
    """Our CRDs; where the chart has brought them already they stay, else they go afterwards."""
    missing = not target.kubectl("get", "crd", "-l", OURS, "-o", "name")
    if missing:
        target.kubectl("create", "-f", str(CRDS))
    try:
        served(target, "crd", "-l", OURS)
        yield
    finally:
        if missing:
            target.kubectl("delete", "-f", str(CRDS), "--wait")


@contextlib.contextmanager
def access(target: Target, folder: Path, *rules: dict[str, Any]) -> Iterator[Path]:
    """A kubeconfig of somebody who has these rules in the whole cluster, and no other right."""
    name = f"access-{secrets.token_hex(4)}"
    group, subject = "rbac.authorization.k8s.io", {"kind": "ServiceAccount", "name": name, "namespace": "default"}
    made: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": list(rules)},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [subject],
        },
    ]
    target.apply(*made)
    try:
        config = json.loads(target.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
        config["users"][0]["user"] = {"token": target.token(name)}
        path = folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(config))
        yield path
    finally:
        for kind in ("serviceaccounts", "clusterroles", "clusterrolebindings"):
            target.delete(kind, name, "default")

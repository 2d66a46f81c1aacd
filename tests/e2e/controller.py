"""The one controller of the release, seen from outside: what makes it scan, and what its metrics say."""

import secrets

from deploy.release import NAMESPACE
from tests.e2e.target import Target
from tests.support.api_server import Refused

CONTROLLER = "app.kubernetes.io/component=controller"


def scan(target: Target, namespace: str) -> None:
    """Have the controller look at everything again: a namespace's label has changed."""
    target.label(namespace, **{"test/scan": secrets.token_hex(4)})


def mismatches(target: Target) -> float | None:
    """How many predictions were wrong since it started; None before its first scan, or while it is away."""
    pods = [each["metadata"]["name"] for each in target.get("pods", NAMESPACE, labels=CONTROLLER)]
    if len(pods) != 1:
        return None
    try:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pods[0]}:8080/proxy/metrics"
        lines = target.api.call("GET", path).body.decode().splitlines()
    except Refused:
        return None
    result = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return float(result["nonroot_identity_mismatches_total"]) if "nonroot_scan_timestamp_seconds" in result else None


def restart(target: Target) -> None:
    """End it; another takes its place."""
    target.kubectl("delete", "pods", "-l", CONTROLLER, "-n", NAMESPACE, "--now")

"""The watch on patched Pods, on a real API server and with exactly the chart's rights: statuses as a real kubelet wrote them.

Kubelet 1.36.3 and containerd 2.2.1 with runc 1.1.5 wrote them for images that were injected the wrong fields. No node is
needed here: nobody schedules the Pods.
"""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.target import Target, eventually
from tests.support import cluster, helm
from tests.support.api_server import MERGE
from tests.support.controller import controller
from webhook.workload.annotations import ANNOTATION

pytestmark = pytest.mark.timeout(600)

DIGEST = "registry.example/app@sha256:" + "cd" * 32
MOMENT = "2026-11-29T20:10:52Z"
ALL = ["allowPrivilegeEscalation", "capabilities", "runAsUser"]

Json = dict[str, Any]


def over(code: int, **more: str) -> Json:
    return {"terminated": {"exitCode": code, "reason": "Error", "startedAt": MOMENT, "finishedAt": MOMENT, **more}}


RAN = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": MOMENT, "finishedAt": MOMENT}}
UNVERIFIED = {
    "waiting": {
        "reason": "CreateContainerConfigError",
        "message": "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root",
    }
}
# By the state: the injected fields, and which of them is reported.
STATES: dict[str, tuple[Json, list[str], str]] = {
    "not-executed": (over(1), ALL, "capabilities"),
    "not-executed-by-a-shell": (over(126), ALL, "capabilities"),
    "named": (UNVERIFIED, ["runAsNonRoot"], "runAsNonRoot"),
    "by-itself": (over(3), ALL, ""),
    "well": (RAN, ALL, ""),
}


def pod(name: str, fields: list[str] | None) -> Json:
    """A Pod that nobody schedules; with the fields that were injected, None: none."""
    record = None if fields is None else {ANNOTATION: json.dumps([{"container": "app", "fields": fields}])}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": record},
        "spec": {
            "schedulerName": "nobody",
            "automountServiceAccountToken": False,
            "containers": [{"name": "app", "image": "registry.example/app:1"}],
        },
    }


def counted(metrics: str, field: str) -> float:
    """The failures that were counted by a field."""
    name = f'nonroot_injection_failures_total{{field="{field}"}} '
    return next(float(line.removeprefix(name)) for line in metrics.splitlines() if line.startswith(name))


@pytest.fixture
def target() -> Iterator[Target]:
    with cluster.crds(found := cluster.reach()):
        yield found


def test_a_failure_is_reported_within_a_minute(target: Target, tmp_path: Path) -> None:
    namespace = target.namespace(f"patched-{secrets.token_hex(4)}")

    def state(name: str, status: Json) -> None:
        reported = {
            "name": "app",
            "image": "app",
            "imageID": DIGEST,
            "ready": False,
            "restartCount": 0,
            "state": status,
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
        target.api.call("PATCH", path, {"status": {"containerStatuses": [reported]}}, content_type=MERGE)

    def noted() -> dict[str, str]:
        found = target.get("events.events.k8s.io", namespace, fields="reason=InjectionStopsContainer")
        return {each["regarding"]["name"]: each["note"] for each in found}

    try:
        target.apply(pod("before", None), namespace=namespace)
        state("before", RAN)
        with cluster.access(target, tmp_path, *helm.controllers_rights()) as kubeconfig:
            flags = ("--namespace=default", "--no-manage-certificates", "--no-reports", "--survey-rate=0")
            with controller(kubeconfig, *flags) as running:
                eventually(lambda: "nonroot_scan_timestamp_seconds " in running.answer("/metrics"), "a scan")
                for name, (status, fields, _) in STATES.items():
                    target.apply(pod(name, fields), namespace=namespace)
                    state(name, status)
                wanted = {name: field for name, (_, _, field) in STATES.items() if field}
                eventually(lambda: wanted.keys() <= noted().keys(), f"Events about {sorted(wanted)}", 60.0)
                notes, metrics = noted(), running.answer("/metrics")
    finally:
        target.delete("namespaces", namespace)
    assert notes.keys() == wanted.keys()
    for name, field in wanted.items():
        assert f"the injected {field}" in notes[name], notes[name]
    assert counted(metrics, "capabilities") >= 2  # and whatever else fails in the cluster
    assert counted(metrics, "runAsNonRoot") >= 1

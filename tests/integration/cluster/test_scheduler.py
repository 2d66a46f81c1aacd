"""Statuses, scans and reports on a real API server: every write counted, and the process with the chart's own rights."""

import contextlib
import json
import secrets
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.e2e.target import Target, eventually
from tests.support import cluster, helm, reports
from tests.support.controller import Controller, controller
from tests.support.images import Table
from webhook.cluster.client import Cluster
from webhook.cluster.events import Event
from webhook.controller.background_scan import BackgroundScan
from webhook.controller.image_identities import Reconciler
from webhook.controller.policy_status import PolicyStatusController
from webhook.image.identity_index import IdentityIndex

pytestmark = pytest.mark.timeout(600)

FLAGS = ("--namespace=default", "--no-manage-certificates", "--report-page")
NAME = f"oversight-{secrets.token_hex(4)}"
KINDS = {"openreports.io/v1alpha1": "reports.openreports.io", "wgpolicyk8s.io/v1alpha2": "policyreports.wgpolicyk8s.io"}


def pod(name: str, **context: Any) -> dict[str, Any]:
    container = {"name": "app", "image": "registry.example/app:1", "securityContext": context}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"schedulerName": "nobody", "containers": [container]},
    }


def deployment(name: str, **context: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod(name, **context)["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def policy(**spec: Any) -> dict[str, Any]:
    selector = {"matchLabels": {"kubernetes.io/metadata.name": NAME}}
    return {
        "apiVersion": "nonroot.dev/v1alpha1",
        "kind": "NonRootPolicy",
        "metadata": {"name": NAME},
        "spec": {"namespaceSelector": selector, **spec},
    }


def exception(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "nonroot.dev/v1alpha1",
        "kind": "NonRootException",
        "metadata": {"name": name},
        "spec": {"reason": "because a test says so", **spec},
    }


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A cluster with our kinds, and a namespace of ours with a policy and three workloads."""
    found = cluster.reach()
    with cluster.crds(found):
        found.namespace(NAME)
        found.apply(policy(mode="Audit"))
        found.apply(
            deployment("web", runAsUser=1001),
            pod("fine", runAsUser=1001),
            pod("root", runAsUser=0),
            namespace=NAME,
        )
        eventually(lambda: len(found.get("pods", NAME)) == 4, "the Pods of the Deployment")
        try:
            yield found
        finally:
            found.delete("nonrootpolicies", NAME)
            found.delete("namespaces", NAME)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, target: Target) -> Iterator[str]:
    """The full name of one of the two kinds of report, installed."""
    path = reports.crd(request.param)
    cluster.serve(target, path)
    yield KINDS[request.param]
    target.kubectl("delete", "-f", str(path))


class Counting(Cluster):
    """Notes every write that reaches the API server."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    async def call(self, method: str, path: str, what: str, body: Any = None, **given: Any) -> bytes | None:
        if method != "GET":
            self.writes.append(f"{method} {what}")
        return await super().call(method, path, what, body, **given)


async def test_every_workload_has_a_report_and_a_second_scan_writes_nothing(target: Target, kind: str) -> None:
    """Other tests' objects are in the cluster too: what is counted is ours."""

    def ours(api: Counting) -> list[str]:
        return sorted(each for each in api.writes if f"{NAME}/" in each or each.endswith(NAME))

    events: list[Event] = []

    async def look(*, wanted: bool = True) -> Counting:
        """One controller's whole life: a scan, and the statuses."""
        async with contextlib.aclosing(Counting()) as api:
            scanning = BackgroundScan(api, Table({}), Reconciler(api, IdentityIndex()), events.append, reports=wanted)
            await scanning.round()
            statuses = PolicyStatusController(api, events.append)
            statuses.sums = scanning.sums()
            await statuses.round(datetime.now(UTC))
            return api

    first = await look()
    made = {each["metadata"]["name"]: each for each in target.get(kind, NAME)}
    assert len(made) == 3
    assert {name for name in ours(first) if "report" in name} == {f"POST report {NAME}/{each}" for each in made}
    by_scope = {each["scope"]["name"]: each for each in made.values()}
    assert {name: each["summary"]["fail"] for name, each in by_scope.items()} == {"web": 0, "fine": 0, "root": 1}
    (owner,) = by_scope["web"]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("Deployment", "web")
    (stored,) = (each for each in target.get("nonrootpolicies", "default") if each["metadata"]["name"] == NAME)
    assert stored["status"]["namespaces"] == 1
    former = {"unchanged": 0, "fixed": 2, "failing": 1, "excepted": 0}
    counts = {"compliant": 0, "fixable": 2, "denied": 1, "unknown": 0, "exempted": 0}
    assert stored["status"]["workloads"] == counts | former
    second = await look()
    assert ours(second) == []
    target.kubectl("delete", "pod", "root", "-n", NAME, "--now")
    target.apply(pod("root", runAsUser=1001), namespace=NAME)
    third = await look()
    assert len([each for each in ours(third) if each.startswith("POST report")]) == 1
    assert len([each for each in ours(third) if each.startswith("PUT report")]) == 0
    target.kubectl("delete", "pod", "root", "-n", NAME, "--now")
    target.apply(pod("root", runAsUser=0), namespace=NAME)
    await look(wanted=False)
    assert target.get(kind, NAME) == []


def states(target: Target, kind: str, name: str) -> dict[str, str]:
    """The reasons of an object's conditions, by type."""
    (found,) = (each for each in target.get(kind, NAME) if each["metadata"]["name"] == name)
    return {each["type"]: each["reason"] for each in found.get("status", {}).get("conditions", [])}


def test_the_process_with_exactly_the_rights_of_the_chart(target: Target, kind: str, tmp_path: Path) -> None:
    """An exception ends while it watches; it is killed, started again, and writes nothing anew."""
    with cluster.access(target, tmp_path, *helm.controllers_rights()) as kubeconfig:
        with controller(kubeconfig, *FLAGS, "--scan-interval=60") as running:
            eventually(lambda: len(target.get(kind, NAME)) == 3, "three reports")
            eventually(lambda: states(target, "nonrootpolicies", NAME).get("Ready") == "InForce", "the policy's status")
            soon = datetime.now(UTC) + timedelta(days=1)
            target.apply(exception("short", expires=f"{soon:%Y-%m-%dT%H:%M:%SZ}"), namespace=NAME)
            eventually(lambda: states(target, "nonrootexceptions", "short").get("Ready") == "InForce", "its status")
            assert states(target, "nonrootexceptions", "short")["ExpiresSoon"] == "WithinAWeek"
            end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=10)
            patch = json.dumps({"spec": {"expires": f"{end:%Y-%m-%dT%H:%M:%SZ}"}})
            target.kubectl("patch", "nonrootexception", "short", "-n", NAME, "--type=merge", "-p", patch)
            target.label(NAME, **{"nonroot.dev/mode": "strict"})
            eventually(
                lambda: states(target, "nonrootpolicies", NAME).get("NamespaceLabelsValid") == "BadLabel",
                "the label",
            )
            eventually(lambda: states(target, "nonrootexceptions", "short")["Ready"] == "Expired", "its end")
            late = (datetime.now(UTC) - end).total_seconds()
            print(f"an exception was called expired {late:.1f} s after its end")
            assert 0 <= late < 60  # that very minute
            eventually(
                lambda: 'nonroot_workloads{mode="Enforce"' in running.answer("/metrics"), "a scan of the new mode"
            )
            assert NAME in running.answer("/report")
            eventually(lambda: _outcomes(target, kind) == {"fixed": 2, "refused": 1}, "reports without the exception")
            eventually(
                lambda: _sums(target) == {"fixable": 2, "denied": 1, "fixed": 2, "failing": 1},
                "the same in the policy's status",
            )
            wanted = {
                ("NonRootPolicy", "BadLabel"),
                ("NonRootException", "WithinAWeek"),
                ("NonRootException", "Expired"),
            }
            eventually(lambda: _events(target) >= wanted, f"Events {sorted(wanted)}")
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(60) == 0
        before = _versions(target, kind)
        with controller(kubeconfig, *FLAGS) as running:
            eventually(lambda: "\nnonroot_scan_timestamp_seconds " in running.answer("/metrics"), "a scan")
            time.sleep(5)  # for what it might write then; other tests' reports it may well write
        assert _versions(target, kind) == before
    target.kubectl("delete", "nonrootexception", "short", "-n", NAME)
    target.label(NAME, **{"nonroot.dev/mode": None})


def test_what_is_applied_changed_or_deleted_is_in_the_reports_within_seconds(
    target: Target, kind: str, tmp_path: Path
) -> None:
    """Long before the next scan: of a Deployment, of a Pod that nobody made, and of a namespace with all that is in it."""
    name = f"{NAME}-moving"

    def outcome() -> dict[str, str]:
        """The outcomes, by workload."""
        found = target.get(kind, name)
        return {each["scope"]["name"]: each["results"][0]["properties"]["outcome"] for each in found}

    def soon(outcomes: dict[str, str]) -> None:
        began = time.monotonic()
        eventually(lambda: outcome() == outcomes, f"the outcomes {outcomes}")
        print(f"{outcomes} after {time.monotonic() - began:.1f} s")

    with (
        cluster.access(target, tmp_path, *helm.controllers_rights()) as kubeconfig,
        controller(kubeconfig, *FLAGS, "--scan-interval=3600") as running,
    ):
        eventually(lambda: _scanned(running), "the first scan")
        first = _scanned(running)
        target.namespace(name)
        target.apply(deployment("web", runAsUser=0), pod("lone", runAsUser=1001), namespace=name)
        soon({"web": "refused", "lone": "fixed"})
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "securityContext": {"runAsUser": 7}}]}}}}
        target.kubectl("patch", "deployment", "web", "-n", name, "-p", json.dumps(patch))
        soon({"web": "fixed", "lone": "fixed"})
        target.apply(exception("let-be", workloads=[{"kind": "Pod", "name": "lone"}]), namespace=name)
        soon({"web": "fixed", "lone": "excepted"})
        target.kubectl("delete", "pod", "lone", "-n", name, "--now")
        soon({"web": "fixed"})
        assert f'resource_namespace="{name}"' in running.answer("/metrics")
        target.kubectl("delete", "namespace", name)
        eventually(lambda: name not in running.answer("/metrics"), "a controller that knows nothing of it")
        assert _scanned(running) == first


def test_a_kind_of_report_that_is_installed_late_a_default_policy_and_a_scan_on_demand(
    target: Target, tmp_path: Path
) -> None:
    """Without waiting for the next scan, which is an hour away."""
    flags = (*FLAGS, "--scan-interval=60", "--default-policy")
    path = reports.crd("openreports.io/v1alpha1")

    def counted() -> int:
        found = {each["metadata"]["name"]: each for each in target.get("nonrootpolicies", "default")}
        workloads: dict[str, int] = found.get("default", {}).get("status", {}).get("workloads", {})
        return sum(workloads.values())

    with (
        cluster.access(target, tmp_path, *helm.controllers_rights()) as kubeconfig,
        controller(kubeconfig, *flags) as running,
    ):
        try:
            eventually(lambda: _scanned(running), "the first scan")
            target.namespace(f"{NAME}-ungoverned")
            target.apply(deployment("web", runAsUser=1001), namespace=f"{NAME}-ungoverned")
            eventually(lambda: counted() > 0, "counts of what no other policy governs")
            cluster.serve(target, path)
            kind = KINDS["openreports.io/v1alpha1"]
            eventually(lambda: len(target.get(kind, NAME)) == 3, "reports of what has not changed")
            results = [result for each in target.get(kind, NAME) for result in each["results"]]
            assert all(abs(each["timestamp"]["seconds"] - time.time()) < 300 for each in results)
            before = _scanned(running)
            target.kubectl("annotate", "nonrootpolicy", "default", "nonroot.dev/scan-requested-at=now")
            eventually(lambda: _scanned(running) not in {"", before}, "a scan on demand")
        finally:
            running.process.send_signal(signal.SIGTERM)
            running.process.wait(60)
            target.kubectl("delete", "--ignore-not-found", "-f", str(path))
            target.delete("nonrootpolicies", "default")
            target.kubectl("delete", "namespace", f"{NAME}-ungoverned", "--wait=false", "--ignore-not-found")


async def test_metadata_is_all_that_is_sent_where_nothing_else_is_asked_for(target: Target) -> None:
    """So a stream of all Pods costs a small part of their size."""
    async with contextlib.aclosing(Cluster()) as api:
        listed = [
            msgspec.json.decode(raw)
            async for page in api.pages("/api/v1/pods", "Pods", only_metadata=True)
            for raw in page
        ]
        stream = api.lines("/api/v1/pods?watch=true&timeoutSeconds=1&resourceVersion=0", "Pods", 30, only_metadata=True)
        streamed = [json.loads(line)["object"] async for line in stream]
    assert {frozenset(each) for each in (*listed, *streamed)} <= {
        frozenset({"metadata"}), frozenset({"apiVersion", "kind", "metadata"}),
    }  # fmt: skip
    assert NAME in {each["metadata"]["namespace"] for each in listed}
    assert NAME in {each["metadata"]["namespace"] for each in streamed}


def _scanned(running: Controller) -> str:
    """When everything was scanned; "" before it ever was."""
    lines = running.answer("/metrics").splitlines()
    return next((line for line in lines if line.startswith("nonroot_scan_timestamp_seconds ")), "")


def _sums(target: Target) -> dict[str, int]:
    """What the policy's status says of workloads, as far as there are any."""
    (found,) = (each for each in target.get("nonrootpolicies", "default") if each["metadata"]["name"] == NAME)
    return {name: count for name, count in found["status"]["workloads"].items() if count}


def _events(target: Target) -> set[tuple[str, str]]:
    """The kinds of objects of ours that there are Events about, and their reasons."""
    found = [*target.get("events", NAME), *target.get("events", "default")]
    ours = (each for each in found if each["involvedObject"].get("name") in {NAME, "short"})
    return {(each["involvedObject"]["kind"], each["reason"]) for each in ours}


def _outcomes(target: Target, kind: str) -> Counter[str]:
    """How many results have each outcome, over all reports."""
    found = (result for each in target.get(kind, NAME) for result in each["results"])
    return Counter(each["properties"]["outcome"] for each in found)


def _versions(target: Target, *kinds: str) -> dict[str, str]:
    """The resourceVersion of everything that is kept here."""
    found = [each for kind in (*kinds, "nonrootpolicies", "nonrootexceptions") for each in target.get(kind, NAME)]
    return {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in found if NAME in json.dumps(each)}

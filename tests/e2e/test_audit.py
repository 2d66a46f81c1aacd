"""A cluster owner's way: watch, read what would happen, turn it on, and see exactly that; exceptions and their end."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy.dev.images.build import Pushed
from tests.e2e.controller import mismatches, restart, scan
from tests.e2e.predictions import Predictions
from tests.e2e.replies import everywhere, in_force, noted
from tests.e2e.target import Outcome, Target, deployment, eventually, outcomes
from tests.e2e.test_first_light import REFUSED
from tests.support import reports
from tests.support.api_server import Refused
from tests.support.cluster import serve

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

OPENREPORTS = "openreports.io/v1alpha1"


@pytest.fixture(scope="module")
def reporting(installed: Target) -> Iterator[Target]:
    """The release, in a cluster with OpenReports."""
    crd = reports.crd(OPENREPORTS)
    serve(installed, crd)
    yield installed
    installed.kubectl("delete", "-f", str(crd))


@pytest.fixture
def policy(reporting: Target, namespace: str) -> Iterator[str]:
    """The namespace, unlabelled, with a policy that says nothing: everything is audited."""
    target = reporting
    target.namespace(namespace)
    selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    target.apply(_ours("NonRootPolicy", namespace, selector))
    in_force(target, namespace, namespace)
    yield namespace
    target.delete("nonrootpolicies", namespace)


def _ours(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "nonroot.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def reported(target: Target, namespace: str) -> dict[str, dict[str, Any]]:
    """What the reports say, by workload: the one result about its container's identity."""
    found = {each["scope"]["name"]: each["results"] for each in target.get("reports", namespace)}
    return {name: next(iter(sorted(results, key=_gravity))) for name, results in found.items()}


def _gravity(result: dict[str, Any]) -> int:
    return ("fail", "error", "skip", "pass", "warn").index(result["result"])


def fresh(target: Target, namespace: str, names: set[str]) -> dict[str, Outcome]:
    """What becomes of Pods that are made now in the place of those that run."""
    target.kubectl("delete", "events", "--all", "-n", namespace)
    target.kubectl("delete", "pods", "--all", "-n", namespace, "--now")
    return outcomes(target, namespace, names)


def answer(target: Target, namespace: str, reason: str) -> dict[str, str]:
    """The Deployments whose ReplicaSets have an Event of ours with that reason, and what it says."""
    found = target.get("events", namespace, fields=f"reason={reason}")
    return {each["involvedObject"]["name"].rpartition("-")[0]: each["message"] for each in found}


def enforced(target: Target, namespace: str, image: str) -> bool:
    """Whether a Pod of a root image would be refused now."""
    pod = {"metadata": {"name": "dry"}, "apiVersion": "v1", "kind": "Pod"}
    spec = {"containers": [{"name": "app", "image": image}]}
    try:
        target.api.create(pod | {"spec": spec}, namespace, dry_run=True)
    except Refused as refused:
        return "image runs as root" in str(refused)
    return False


def test_the_prediction_of_audit_mode_is_what_happens_in_enforce(
    reporting: Target, images: dict[str, Pushed], policy: str
) -> None:
    """Every image in audit, where nothing is changed or refused; then the same, enforced."""
    target, namespace, names = reporting, policy, set(images)
    made = (deployment(name, each.reference, non_root=False) for name, each in images.items())
    target.apply(*made, namespace=namespace)
    audited = outcomes(target, namespace, names)
    assert {name for name, each in audited.items() if each.reason} == {"h-no-such-user"}  # which no runtime starts
    assert {each.run_as_user for each in audited.values()} == {None}
    scan(target, namespace)
    predicted, uids = _scanned(target, namespace)
    assert {name for name, outcome in predicted.items() if outcome == "refused"} == set(REFUSED)

    def in_reports() -> bool:
        return {name: each["properties"]["outcome"] for name, each in reported(target, namespace).items()} == predicted

    eventually(in_reports, "a report for each workload, which says what the command line does")
    counts = Counter(predicted.values())
    line = [namespace, "Audit", "1", *(str(counts[each]) for each in ("refused", "fixed", "unknown")), "True"]
    listed = ("get", "nonrootpolicies", namespace, "--no-headers")
    eventually(lambda: target.kubectl(*listed).split()[: len(line)] == line, f"the status {line}")
    eventually(
        lambda: answer(target, namespace, "PodWouldBeDenied").keys() == REFUSED.keys(), "Events of what would be"
    )
    assert not answer(target, namespace, "PodDenied")

    target.label(namespace, **{"nonroot.dev/mode": "enforce"})
    eventually(lambda: enforced(target, namespace, images["g-root"].reference), "enforcement")
    found = fresh(target, namespace, names)
    for name in names - REFUSED.keys():
        assert found[name].reason == "", f"{name}: {found[name].message}"
        same = (audited[name].uid, audited[name].gid, audited[name].groups)
        assert (found[name].uid, found[name].gid, found[name].groups) == same, name
        assert found[name].uid == uids[name], name
        if predicted[name] == "unchanged":
            assert found[name].run_as_user is None, name
    eventually(lambda: answer(target, namespace, "PodDenied").keys() == REFUSED.keys(), "Events of denials")
    for name, denial in answer(target, namespace, "PodDenied").items():
        assert found[name].reason == "FailedCreate", name
        assert REFUSED[name] in found[name].message, name
        assert REFUSED[name] in denial, name


def _scanned(target: Target, namespace: str) -> tuple[dict[str, str], dict[str, int]]:
    """What the command line predicts for each Deployment, and the uid of its container."""
    words = f"-m webhook scan -n {namespace} -o json --insecure-registry {target.registry}"
    command = [sys.executable, *words.split()]
    done = subprocess.run(command, env=dict(target.environment), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # as it has found something
    workloads = json.loads(done.stdout)["workloads"]
    return (
        {each["name"]: each["outcome"] for each in workloads},
        {each["name"]: each["containers"][0]["uid"] for each in workloads},
    )


def test_a_wrong_fact_is_noticed(
    reporting: Target, images: dict[str, Pushed], policy: str, predictions: Predictions
) -> None:
    """The policy says something else of an image than its container shows, and nothing but that was ever wrong."""
    target, namespace, name = reporting, policy, "b-groupadd-system"
    predictions.meant.add(namespace)
    target.apply(deployment(name, images[name].reference, non_root=False), namespace=namespace)
    outcomes(target, namespace, {name})
    scan(target, namespace)
    eventually(lambda: name in reported(target, namespace), "a report")
    assert eventually(lambda: {mismatches(target)} - {None}, "a scan") == {0}
    spec = {"knownImages": [{"image": images[name].reference, "uid": 4242}]}
    target.patch("nonrootpolicies", namespace, {"spec": spec})
    try:
        eventually(lambda: mismatches(target) == 1, "a mismatch in the metrics")
        mismatch = "reason=IdentityMismatch"
        (event,) = eventually(lambda: target.get("events", namespace, fields=mismatch), "an Event of it")
        assert (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == ("Deployment", name)
        assert "where uid 4242 was predicted" in event["message"]
        eventually(lambda: any(namespace in each for each in predictions.reported), "it among all that were wrong")
    finally:
        target.delete("nonrootpolicies", namespace)
        restart(target)  # so that the count is that of the other tests alone
    eventually(lambda: mismatches(target) == 0, "a controller that knows nothing of it")


def test_an_exception_lets_one_through_until_it_ends(reporting: Target, images: dict[str, Pushed], policy: str) -> None:
    """With its reason in the report, unpatched, and refused again from that moment on."""
    target, namespace, name = reporting, policy, "g-root"
    target.label(namespace, **{"nonroot.dev/mode": "enforce"})
    spec = {
        "reason": "the vendor needs root until May",
        "workloads": [{"kind": "Deployment", "name": name}],
        "expires": "2096-05-01T00:00:00Z",
    }
    target.apply(_ours("NonRootException", "vendor", spec), namespace=namespace)
    listed = ("get", "nonrootexceptions", "vendor", "-n", namespace, "--no-headers")
    reasons = {"InForce", "MatchesNothing"}  # the latter once a scan has found that there is no such Deployment yet
    eventually(lambda: reasons & set(target.kubectl(*listed).split()), "its status")
    both = {name, "f-no-user"}
    made = (deployment(each, images[each].reference, non_root=False) for each in both)

    eventually(lambda: enforced(target, namespace, images["f-no-user"].reference), "enforcement")
    target.apply(*made, namespace=namespace)
    found = outcomes(target, namespace, both)
    assert (found[name].reason, found[name].uid, found[name].run_as_user) == ("", 0, None)
    assert found["f-no-user"].reason == "FailedCreate"

    def let_be() -> bool:
        result = reported(target, namespace).get(name, {})
        return result.get("result") == "skip" and spec["reason"] in result["message"]

    eventually(let_be, "a report of the exception with its reason")
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=15)  # until then every replica has seen it
    target.patch("nonrootexceptions", "vendor", {"spec": {"expires": f"{end:%Y-%m-%dT%H:%M:%SZ}"}}, namespace)
    eventually(lambda: datetime.now(UTC) >= end, "the end of the exception")
    assert fresh(target, namespace, both)[name].reason == "FailedCreate"
    eventually(lambda: "Expired" in target.kubectl(*listed), "its status")
    eventually(lambda: reported(target, namespace).get(name, {}).get("result") == "fail", "a report without it")


def test_audit_speaks_to_the_audit_log_alone_and_warn_to_the_user_too(
    reporting: Target, images: dict[str, Pushed], policy: str
) -> None:
    """Never a refusal or a change; a template warns whoever applies it, before any Pod fails."""
    path = Path(os.environ.get("NONROOT_AUDIT_LOG") or "/nowhere")
    if not path.is_file():
        pytest.skip("the API server's audit log is not reachable from here (NONROOT_AUDIT_LOG)")
    target, image = reporting, images["g-root"].reference
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "audited"},
        "spec": {"containers": [{"name": "app", "image": image}]},
    }

    def known(mode: str) -> None:
        """Neither mode waits long for an image, nor Audit at all."""
        refused = ["refused", mode]
        everywhere(
            target,
            policy,
            pod,
            lambda said: [noted(said, "verdict"), noted(said, "mode")] == refused,
            f"{mode} of root",
        )

    known("Audit")
    assert "Warning" not in target.apply(pod, deployment("audited", image, non_root=False), namespace=policy)
    (made,) = (each for each in target.get("pods", policy) if each["metadata"]["name"] == "audited")
    assert "securityContext" not in made["spec"]["containers"][0]
    assert "nonroot.dev/injected" not in made["metadata"].get("annotations", {})
    target.label(policy, **{"nonroot.dev/mode": "warn"})
    known("Warn")
    warned = target.api.create(deployment("warned", image, non_root=False), policy, dry_run=True)
    assert any("image runs as root" in each for each in warned.warnings)
    assert "image runs as root" in target.apply(pod | {"metadata": {"name": "warned"}}, namespace=policy)
    for name, kind in (("audited", "pods"), ("audited", "deployments"), ("warned", "pods")):
        notes = eventually(partial(_annotations, path, policy, kind, name), f"the audit log about {kind} {name}")
        hook = "templates" if kind == "deployments" else "advise"
        assert notes[f"{hook}.nonroot.dev/mode"] == ("Warn" if name == "warned" else "Audit")
        assert notes[f"{hook}.nonroot.dev/policy"] == policy
        assert notes[f"{hook}.nonroot.dev/verdict"] == "refused"
        assert notes[f"{hook}.nonroot.dev/identities"].startswith("app: uid 0 ")
        assert "image runs as root" in notes[f"{hook}.nonroot.dev/findings"]


def _annotations(path: Path, namespace: str, resource: str, name: str) -> dict[str, str] | None:
    """What the audit log has of the creation of an object; it may have begun a new file since."""
    logs = path.parent.glob(f"{path.stem}*{path.suffix}")
    for line in (line for each in logs for line in each.read_text().splitlines()):
        event = json.loads(line)
        about = event.get("objectRef", {})
        if (about.get("namespace"), about.get("resource"), about.get("name")) == (namespace, resource, name):
            notes: dict[str, str] = event.get("annotations", {})
            return notes
    return None

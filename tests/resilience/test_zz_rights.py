"""Least rights, proven: what the release may do, by its roles, beside what it did, by the API server's audit log.

The last test of the suite by its name. What no other test has it do, it is made to do here.
"""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from deploy.dev.images.build import Pushed
from deploy.release import NAMESPACE
from tests.e2e.controller import restart
from tests.e2e.target import Target, deployment, eventually
from tests.resilience import rights
from tests.resilience.conftest import long
from tests.resilience.figures import Fact, record
from tests.resilience.replicas import CONTROLLER, whole
from tests.resilience.rights import REFUSED, USED, Right
from tests.resilience.test_certificates import certificate, damage, renewed
from tests.support import reports
from tests.support.cluster import serve
from webhook.cluster.client import MANAGED_BY
from webhook.controller.image_identities import DAY, RETENTION
from webhook.image.image_identity import ImageIdentity, ImageIdentitySpec

pytestmark = [pytest.mark.survive, pytest.mark.timeout(600)]

REPORTS = {
    "reports": ("openreports.io/v1alpha1", "Report"),
    "policyreports": ("wgpolicyk8s.io/v1alpha2", "PolicyReport"),
}  # and which of them the other makes superfluous
ROOT = {"securityContext": {"runAsUser": 0}}


def _granted(target: Target) -> set[Right]:
    label = "app.kubernetes.io/part-of=nonroot-webhook"
    roles = [*target.get("clusterroles", NAMESPACE, labels=label), *target.get("roles", NAMESPACE, labels=label)]
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@long
def test_what_is_granted_is_what_is_used(installed: Target, namespaces: tuple[str, str], product: Pushed) -> None:
    """No right is granted that no test has seen used, and nothing that was asked for was forbidden."""
    if not rights.LOG:
        pytest.skip("needs the API server's audit log (NONROOT_AUDIT_LOG)")
    _deny_twice(installed, namespaces[0])
    former = certificate(installed)
    damage(installed)
    renewed(installed, former)
    _age_identities(installed, product)
    for plural, (api_version, kind) in REPORTS.items():
        _report(installed, namespaces[1], plural, api_version, kind)
    rights.note()
    granted = _granted(installed)
    unused = sorted(granted - USED)
    named = ", ".join(f"{verb} {resource}" for _, resource, verb in unused)
    record(Fact("rights granted and used", f"{len(granted & USED)} of {len(granted)}; unused: {named or 'none'}"))
    assert not REFUSED - granted
    assert REFUSED <= USED
    assert granted == USED


def _deny_twice(target: Target, namespace: str) -> None:
    """A controller tries again, and the Event that says why it may not is counted."""
    target.apply(deployment("root", "registry.example/root:1", non_root=False, **ROOT), namespace=namespace)

    def counted() -> bool:
        denials = target.get("events", namespace, fields="reason=PodDenied")
        return any(each.get("series", {}).get("count", 0) > 1 for each in denials)

    eventually(counted, "counted denials")
    target.kubectl("delete", "deployment", "root", "--namespace", namespace)


def _age_identities(target: Target, product: Pushed) -> None:
    """One was seen last some days ago and is in use, another is forgotten."""

    def of_the_product() -> dict[str, Any] | None:
        return next((each for each in target.get("imageidentities") if each["spec"]["image"] == product.pinned), None)

    used = eventually(of_the_product, "what the node has shown of our own image")
    name, now = used["metadata"]["name"], datetime.now(UTC)
    aged = json.dumps({"spec": {"lastSeen": (now - 2 * DAY).isoformat()}})
    target.kubectl("patch", "imageidentity", name, "--type=merge", "-p", aged)
    spec = {**used["spec"], "digest": f"sha256:{'0' * 64}", "lastSeen": (now - RETENTION - DAY).isoformat()}
    forgotten = ImageIdentity("", msgspec.convert(spec, ImageIdentitySpec)).proper_name
    target.apply({**used, "metadata": {"name": forgotten}, "spec": spec})
    restart(target)

    def kept() -> bool:
        found = {each["metadata"]["name"]: each["spec"]["lastSeen"] for each in target.get("imageidentities")}
        return forgotten not in found and datetime.fromisoformat(found[name]) > now - DAY

    eventually(kept, "the one seen now, the other deleted")


def _report(target: Target, namespace: str, plural: str, api_version: str, kind: str) -> None:
    """Made for a workload, changed with it, and removed where it has none."""
    crd = reports.crd(api_version)
    serve(target, crd)
    metadata = {"name": "orphan", "labels": MANAGED_BY}
    target.apply({"apiVersion": api_version, "kind": kind, "metadata": metadata}, namespace=namespace)
    made = deployment("web", "registry.example/app:1", non_root=False)
    made["spec"]["replicas"] = 0
    target.apply(made, namespace=namespace)
    restart(target)

    def said() -> set[str]:
        return {json.dumps(each.get("results")) for each in target.get(plural, namespace)}

    eventually(lambda: len(said()) == 1 and "null" not in said(), f"one of the {plural}")
    before = said()
    target.kubectl("set", "image", "deployment/web", "app=registry.example/other:1", "--namespace", namespace)
    eventually(lambda: said() != before, "what is said of another image")
    target.kubectl("delete", "deployment", "web", "--namespace", namespace)
    target.kubectl("delete", "-f", str(crd))
    whole(target, CONTROLLER)

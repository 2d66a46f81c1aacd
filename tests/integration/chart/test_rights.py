"""What both processes may do in every rendering of ci/: what its values turn on uses it, and nothing else is granted.

That a right is used is proven by the API server's audit log (tests/resilience/test_zz_rights.py), for the default rendering.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.helm import CHART, NAMESPACE, Manifest, manifests, template

Right = tuple[str, str, str, str]
"""API group, resource, verb, and the one object that it is limited to, or ""."""

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
CONFIGURATIONS = "admissionregistration.k8s.io"
RENDERINGS = sorted((CHART / "ci").glob("*.yaml"))


def rights(group: str, resources: str, verbs: str, names: str = "") -> set[Right]:
    objects = names.split() or [""]
    return {(group, each, verb, name) for each in resources.split() for verb in verbs.split() for name in objects}


BOTH = (
    rights("", "namespaces", "list watch")
    | rights("nonroot.dev", "nonrootpolicies nonrootexceptions", "list watch")
    | rights("apiextensions.k8s.io", "customresourcedefinitions", "list watch")
    | rights("events.k8s.io", "events", "create patch")
    | rights("networking.k8s.io", "servicecidrs", "list")
)
TOKENS = rights("authentication.k8s.io", "tokenreviews", "create") | rights(
    "authorization.k8s.io", "subjectaccessreviews", "create"
)
PULL_SECRETS = rights("", "secrets serviceaccounts", "get")
SCAN = (
    rights("", "pods replicationcontrollers", "list watch")
    | rights("apps", "deployments replicasets statefulsets daemonsets", "list watch")
    | rights("batch", "jobs cronjobs", "list watch")
    | rights("", "nodes serviceaccounts", "list")
    | rights("", "namespaces", "get")
    | rights("", "persistentvolumeclaims", "list")
    | rights("storage.k8s.io", "csidrivers storageclasses", "list")
    | rights("nonroot.dev", "imageidentities", "create list patch delete")
)


def admission(values: dict[str, Any]) -> set[Right]:
    """What admission uses with these values."""
    used = BOTH | rights("nonroot.dev", "imageidentities", "create list watch")
    if values["identityApi"]["enabled"] or values["metrics"]["authentication"]:
        used |= TOKENS
    return used | (PULL_SECRETS if _reads_pull_secrets(values) else set())


def controller(values: dict[str, Any]) -> set[Right]:
    """What the controller uses with these values."""
    used = (
        BOTH
        | rights("nonroot.dev", "nonrootpolicies/status nonrootexceptions/status", "patch")
        | rights(CONFIGURATIONS, "validatingwebhookconfigurations", "get", values["webhook"]["validatingConfiguration"])
        | rights("", "configmaps", "get patch", "nonroot-webhook-enforced")
    )
    if values["defaultPolicy"]:
        used |= rights("nonroot.dev", "nonrootpolicies", "create")
    if values["controller"]["labelNamespaces"]:
        used |= rights("", "namespaces", "patch")
    if values["scan"]["interval"]:
        writes = "create get update list delete" if values["reports"]["enabled"] else "list delete"
        used |= rights("", "configmaps", "get patch", "nonroot-webhook-history")
        used |= SCAN | rights("openreports.io", "reports", writes) | rights("wgpolicyk8s.io", "policyreports", writes)
        used |= PULL_SECRETS if _reads_pull_secrets(values) else set()
    page = values["reportPage"]["enabled"] and values["reportPage"]["authentication"]
    if page or values["metrics"]["authentication"]:
        used |= TOKENS
    if values["certificates"]["mode"] == "controller":
        for kind in ("mutating", "validating"):
            name = values["webhook"][f"{kind}Configuration"]
            used |= rights(CONFIGURATIONS, f"{kind}webhookconfigurations", "get list watch patch", name)
        used |= rights("", "secrets", "create")
        used |= rights("", "secrets", "get update", "nonroot-webhook-ca nonroot-webhook-tls")
    return used


def _reads_pull_secrets(values: dict[str, Any]) -> bool:
    scope = values["registry"]["pullSecrets"]
    return scope["scope"] == "cluster" or (scope["scope"] == "namespaces" and bool(scope["namespaces"]))


def _granted(made: list[Manifest], account: str) -> set[Right]:
    """The union of the roles that are bound to a ServiceAccount, wherever."""
    rules = {(each["kind"], each["metadata"]["name"]): each["rules"] for each in made if each["kind"].endswith("Role")}
    bound = [
        each["roleRef"]
        for each in made
        if each["kind"].endswith("RoleBinding")
        and any(who["kind"] == "ServiceAccount" and who["name"] == account for who in each["subjects"])
    ]
    return {
        (group, resource, verb, name)
        for role in bound
        for rule in rules[role["kind"], role["name"]]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def _overlaid(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """As Helm puts values over the chart's own."""
    merged = dict(base)
    for key, value in given.items():
        former = merged.get(key)
        merged[key] = _overlaid(former, value) if isinstance(former, dict) and isinstance(value, dict) else value
    return merged


@pytest.mark.parametrize("path", RENDERINGS, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="as it is"),
        pytest.param({"scan": {"interval": 0}, "defaultPolicy": False}, id="without a scan"),
        pytest.param({"reports": {"enabled": False}}, id="without reports"),
        pytest.param({"reportPage": {"enabled": True, "authentication": True}}, id="with a page for readers"),
        pytest.param({"metrics": {"secure": True, "authentication": True}}, id="with metrics for readers"),
    ],
)
def test_what_is_granted_is_what_is_used(path: Path, more: dict[str, Any]) -> None:
    values = _overlaid(_overlaid(VALUES, yaml.safe_load(path.read_text()) or {}), more)
    made = manifests(template(path, **more))
    accounts = {
        component: next(
            each["spec"]["template"]["spec"]["serviceAccountName"]
            for each in made
            if each["kind"] == "Deployment" and each["metadata"]["name"].endswith(component)
        )
        for component in ("admission", "controller")
    }
    if not values["rbac"]["create"]:
        assert [each["kind"] for each in made if "Role" in each["kind"]] == []
        return
    assert _granted(made, accounts["admission"]) == admission(values)
    assert _granted(made, accounts["controller"]) == controller(values)
    namespaces = {each["metadata"].get("namespace") for each in made if each["kind"] == "Role"}
    assert namespaces <= {values["namespaceOverride"] or NAMESPACE}

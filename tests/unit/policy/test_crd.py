"""The CRDs: generated from the types, structural, and accepted by a real API server."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from tests.e2e.target import Refused, Target
from tests.support import cluster
from webhook.errors import InvalidDocument
from webhook.policy import crd, types
from webhook.policy.loader import read

BY_KIND = {resource.kind: resource for resource in crd.RESOURCES}


def _spec(kind: str) -> dict[str, Any]:
    (version,) = crd.definition(BY_KIND[kind])["spec"]["versions"]
    spec: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


def test_the_chart_holds_what_the_types_say(tmp_path: Path) -> None:
    crd.write(tmp_path)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text() for path in cluster.CRDS.iterdir()}
    assert kept == made, "run python -m webhook.policy.crd charts/nonroot-webhook/files/crds"


@pytest.mark.parametrize("kind", BY_KIND)
def test_nothing_in_it_is_beyond_a_structural_schema(kind: str) -> None:
    definition = json.loads(json.dumps(crd.definition(BY_KIND[kind])))
    assert list(YAML(typ="safe", pure=True).load((cluster.CRDS / f"{BY_KIND[kind].plural}.yaml").read_text())) == list(
        definition
    )
    text = json.dumps(definition)
    for word in ("$ref", "anyOf", "allOf", '"null"', '"title"', "prefixItems"):
        assert word not in text


def test_defaults_are_those_of_the_types() -> None:
    def stored(schema: dict[str, Any]) -> Any:
        inner = {name: stored(each) for name, each in schema.get("properties", {}).items() if "default" in each}
        return inner or schema["default"]

    assert msgspec.convert(stored(_spec("NonRootPolicy")), types.PolicySpec) == types.PolicySpec()


def _undescribed(schema: dict[str, Any], path: str) -> list[str]:
    found = []
    for name, each in schema.get("properties", {}).items():
        inner = f"{path}.{name}"
        found += ([] if each.get("description") else [inner]) + _undescribed(each, inner)
        found += _undescribed(each.get("items", {}), inner)
    return found


@pytest.mark.parametrize("kind", ["NonRootPolicy", "NonRootException"])
def test_every_field_is_described(kind: str) -> None:
    resource = BY_KIND[kind]
    assert resource.status is not None
    for part in (resource.spec, resource.status):
        assert _undescribed(crd.schema(part), kind) == []


def test_an_empty_default_is_not_stored_in_every_object() -> None:
    properties = _spec("NonRootPolicy")["properties"]
    assert "default" not in properties["presets"]
    assert "default" not in properties["exemptions"]
    assert properties["onUnknown"]["default"] == {}


def test_every_kind_carries_the_label_by_which_it_is_noticed() -> None:
    for resource in crd.RESOURCES:
        labels = crd.definition(resource)["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "nonroot-webhook"


def test_the_command_writes_into_its_directory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "webhook.policy.crd"]
    subprocess.run([*command, str(tmp_path)], check=True)
    assert len(list(tmp_path.iterdir())) == len(crd.RESOURCES)
    assert "usage" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


# --- against a real API server ---


def _document(kind: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "crd-test"} | ({"namespace": "default"} if BY_KIND[kind].namespaced else {})
    return {"apiVersion": types.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


IDENTITY = {
    "image": "registry.example/app@sha256:" + "0" * 64,
    "platform": "linux/amd64",
    "user": "app",
    "uid": 1500,
    "gid": 1600,
    "groups": [1600, 1700],
    "source": "observed",
    "firstSeen": "2026-03-01T12:00:00Z",
    "lastSeen": "2026-03-02T12:00:00Z",
}
GOOD = [
    pytest.param(_document("NonRootPolicy"), id="a policy of defaults"),
    pytest.param(
        _document("NonRootPolicy", rootImages="Assign", assign={"uid": 1000, "images": ["*"]}), id="an assignment"
    ),
    pytest.param(
        _document(
            "NonRootPolicy",
            mode="Enforce",
            inject="Always",
            priority=-5,
            namespaceSelector={"matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]},
            onUnknown={"default": "Deny", "rateLimited": "Allow"},
            knownImages=[{"image": "*", "uid": 1}],
            presets=["istio"],
            fsGroup=2000,
        ),
        id="a policy with everything",
    ),
    pytest.param(
        _document("NonRootException", reason="because", expires="2026-12-31T23:59:00+01:00"), id="an exception"
    ),
    pytest.param(_document("ImageIdentity", **IDENTITY), id="an identity"),
]
BAD = [
    pytest.param(_document("NonRootPolicy", mode="enforce"), "spec.mode", id="a mode in lower case"),
    pytest.param(_document("NonRootPolicy", rootImages="Assign"), "spec.assign", id="Assign without assign"),
    pytest.param(
        _document("NonRootPolicy", assign={"uid": 1, "images": ["*"]}), "spec.assign", id="assign without Assign"
    ),
    pytest.param(_document("NonRootPolicy", fsGroup=0), "spec.fsGroup", id="the root group"),
    pytest.param(_document("NonRootPolicy", knownImages=[{"image": "*"}]), "spec.knownImages[0].uid", id="no uid"),
    pytest.param(
        _document("NonRootPolicy", namespaceSelector={"matchExpressions": [{"key": "team", "operator": "In"}]}),
        "spec.namespaceSelector",
        id="In without values",
    ),
    pytest.param(
        _document(
            "NonRootPolicy",
            namespaceSelector={"matchExpressions": [{"key": "team", "operator": "Exists", "values": ["a"]}]},
        ),
        "spec.namespaceSelector",
        id="Exists with values",
    ),
    pytest.param(
        _document("NonRootPolicy", knownImages=[{"image": "*", "uid": 1, "groups": [-1]}]),
        "spec.knownImages[0].groups[0]",
        id="a negative group",
    ),
    pytest.param(_document("NonRootPolicy", colour="red"), "spec.colour", id="an unknown field"),
    pytest.param(_document("NonRootException"), "spec.reason", id="no reason"),
    pytest.param(_document("NonRootException", reason=""), "spec.reason", id="an empty reason"),
    pytest.param(_document("NonRootException", reason="x", rules=["everything"]), "spec.rules[0]", id="no such rule"),
    pytest.param(_document("NonRootException", reason="x", expires="tomorrow"), "spec.expires", id="no date"),
    pytest.param(
        _document("NonRootException", reason="x", expires="2026-12-31T23:59:00"), "spec.expires", id="no time zone"
    ),
    pytest.param(_document("ImageIdentity", **IDENTITY | {"uid": -1}), "spec.uid", id="a negative uid"),
    pytest.param(_document("ImageIdentity", **IDENTITY | {"source": "rumour"}), "spec.source", id="no such source"),
]


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A cluster with the CRDs."""
    found = cluster.reach()
    with cluster.crds(found):
        yield found


@pytest.mark.cluster
@pytest.mark.parametrize("document", GOOD)
def test_the_api_server_takes_what_we_take(target: Target, document: dict[str, Any]) -> None:
    answer = target.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", text=json.dumps(document))
    stored = json.loads(answer)
    if stored["kind"] != "ImageIdentity":
        read(stored, "stored")


@pytest.mark.cluster
@pytest.mark.parametrize(("document", "field"), BAD)
def test_the_api_server_refuses_what_we_refuse_and_names_the_field(
    target: Target, document: dict[str, Any], field: str
) -> None:
    with pytest.raises(Refused) as refused:
        target.kubectl("create", "--dry-run=server", "-f", "-", text=json.dumps(document))
    assert field in str(refused.value)
    if document["kind"] != "ImageIdentity":
        with pytest.raises(InvalidDocument, match=re.escape(re.split(r"[.\[]", field)[1])):
            read(document, "here")


@pytest.mark.cluster
def test_explain_says_what_a_field_means(target: Target) -> None:
    text = target.kubectl("explain", "nonrootpolicy.spec.mode")
    assert "Audit says, Warn tells the user, Enforce refuses." in text
    assert "Uid" not in target.kubectl("explain", "nonrootpolicy.spec", "--recursive")
    for path in (
        "spec.onUnknown.rateLimited",
        "spec.namespaceSelector.matchExpressions.operator",
        "status.workloads.failing",
    ):
        text = target.kubectl("explain", f"nonrootpolicy.{path}")
        assert "<no description>" not in text
        assert "DESCRIPTION" in text


@pytest.mark.cluster
def test_a_listing_shows_the_columns(target: Target) -> None:
    document = _document("ImageIdentity", **IDENTITY) | {"metadata": {"name": "sha256-crd-test"}}
    target.kubectl("create", "-f", "-", text=json.dumps(document))
    try:
        lines = target.kubectl("get", "imageidentities", "sha256-crd-test").splitlines()
    finally:
        target.kubectl("delete", "imageidentity", "sha256-crd-test")
    assert lines[0].split() == ["NAME", "IMAGE", "USER", "UID", "GID", "AGE"]
    assert lines[1].split()[2:5] == ["app", "1500", "1600"]


@pytest.mark.cluster
def test_a_listing_shows_the_state_of_policies_and_exceptions(target: Target) -> None:
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": "2026-03-01T12:00:00Z", "reason": reason, "message": "x"}
        for kind, reason in (("Ready", "InForce"), ("ExpiresSoon", "WithinAWeek"))
    ]
    sums = {"unchanged": 9, "failing": 1, "fixed": 2, "unknown": 3}
    target.kubectl("create", "-f", "-", text=json.dumps(_document("NonRootPolicy", mode="Warn")))
    exception = _document("NonRootException", reason="because", expires="2036-12-31T23:59:00Z")
    target.kubectl("create", "-f", "-", text=json.dumps(exception))
    try:
        for kind, status in (
            ("nonrootpolicy", {"namespaces": 4, "workloads": sums, "conditions": conditions[:1]}),
            ("nonrootexception", {"conditions": conditions}),
        ):
            body = json.dumps({"status": status})
            target.kubectl("patch", kind, "crd-test", "--subresource=status", "--type=merge", "-p", body)
        policies = target.kubectl("get", "nonrootpolicies", "crd-test").splitlines()
        exceptions = target.kubectl("get", "nonrootexceptions", "crd-test").splitlines()
    finally:
        target.kubectl("delete", "nonrootpolicy,nonrootexception", "crd-test")
    assert policies[0].split() == ["NAME", "MODE", "NAMESPACES", "FAILING", "FIXED", "UNKNOWN", "READY", "AGE"]
    assert policies[1].split()[:-1] == ["crd-test", "Warn", "4", "1", "2", "3", "True"]
    assert exceptions[0].split() == ["NAME", "REASON", "EXPIRES", "READY", "WHY", "EXPIRES", "SOON", "AGE"]
    assert exceptions[1].split()[:-1] == ["crd-test", "because", "2036-12-31T23:59:00Z", "True", "InForce", "True"]

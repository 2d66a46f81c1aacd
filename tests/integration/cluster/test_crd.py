"""The CustomResourceDefinitions, as a real API server applies them."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.e2e.target import Target
from tests.support import cluster
from tests.support.api_server import Refused
from tests.unit.policy.test_crd import BY_KIND
from webhook.errors import InvalidDocument
from webhook.image.image_identity import ImageIdentity, ImageIdentitySpec
from webhook.policy import types
from webhook.policy.loader import read


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
    *(
        pytest.param(
            _document("NonRootPolicy", rootImages="Assign", assign={"uid": uid, "images": ["*"]}), id=f"assigned {uid}"
        )
        for uid in (1, 2147483647, "FromImage")
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
    *(
        pytest.param(
            _document("NonRootPolicy", rootImages="Assign", assign={"uid": uid, "images": ["*"]}),
            "spec.assign.uid",
            id=f"assigned {uid}",
        )
        for uid in (0, -1, 2147483648, "fromImage", "1000", "")
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


@pytest.mark.parametrize("document", GOOD)
def test_the_api_server_takes_what_we_take(target: Target, document: dict[str, Any]) -> None:
    stored = target.api.create(document, "default", dry_run=True).object
    if stored["kind"] != "ImageIdentity":
        read(stored, "stored")


@pytest.mark.parametrize(("document", "field"), BAD)
def test_the_api_server_refuses_what_we_refuse_and_names_the_field(
    target: Target, document: dict[str, Any], field: str
) -> None:
    with pytest.raises(Refused) as refused:
        target.api.create(document, "default", dry_run=True)
    assert field in str(refused.value)
    if document["kind"] != "ImageIdentity":
        with pytest.raises(InvalidDocument, match=re.escape(re.split(r"[.\[]", field)[1])):
            read(document, "here")


def test_explain_says_what_a_field_means(target: Target) -> None:
    text = target.kubectl("explain", "nonrootpolicy.spec.mode")
    assert "Audit records, Warn warns the user, Enforce denies." in text
    assert "Uid" not in target.kubectl("explain", "nonrootpolicy.spec", "--recursive")
    for path in (
        "spec.onUnknown.rateLimited",
        "spec.namespaceSelector.matchExpressions.operator",
        "status.workloads.denied",
    ):
        text = target.kubectl("explain", f"nonrootpolicy.{path}")
        assert "<no description>" not in text
        assert "DESCRIPTION" in text


def test_a_listing_of_images_fits_80_columns(target: Target) -> None:
    """Also of an image with a long name and a number of ten digits; what is longer is in the wide one."""
    image = f"registry.example/{'a-very-long-group/' * 5}a-very-long-name-of-an-image:2026.11.29-1a2b3c4"
    spec = {**IDENTITY, "image": image, "user": "nonroot", "uid": 4294967294, "digest": f"sha256:{'ab' * 32}"}
    name = ImageIdentity("", msgspec.convert(spec, ImageIdentitySpec)).proper_name
    target.kubectl(
        "create", "-f", "-", text=json.dumps(_document("ImageIdentity", **spec) | {"metadata": {"name": name}})
    )
    try:
        lines = target.kubectl("get", "imageidentities", name).splitlines()
        wide = target.kubectl("get", "imageidentities", name, "-o", "wide").splitlines()
    finally:
        target.kubectl("delete", "imageidentity", name)
    assert lines[0].split() == ["NAME", "USER", "UID", "SOURCE", "AGE"]
    assert lines[1].split()[:-1] == [name, "nonroot", "4294967294", "observed"]
    assert max(map(len, lines)) <= 80
    assert wide[0].split()[5:] == ["GID", "PLATFORM", "IMAGE"]
    assert wide[1].split()[5:] == ["1600", "linux/amd64", image]


def test_a_listing_shows_the_state_of_policies_and_exceptions(target: Target) -> None:
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": "2026-03-01T12:00:00Z", "reason": reason, "message": "x"}
        for kind, reason in (("Ready", "InForce"), ("ExpiresSoon", "WithinAWeek"))
    ]
    sums = {"compliant": 9, "denied": 1, "fixable": 2, "unknown": 3}
    target.kubectl("create", "-f", "-", text=json.dumps(_document("NonRootPolicy", mode="Warn")))
    exception = _document("NonRootException", reason="because", expires="2036-12-31T23:59:00Z")
    target.kubectl("create", "-f", "-", text=json.dumps(exception))
    try:
        for kind, status in (
            ("nonrootpolicy", {"namespaces": 4, "workloads": sums, "conditions": conditions[:1]}),
            ("nonrootexception", {"matches": 7, "conditions": conditions}),
        ):
            body = json.dumps({"status": status})
            target.kubectl("patch", kind, "crd-test", "--subresource=status", "--type=merge", "-p", body)
        policies = target.kubectl("get", "nonrootpolicies", "crd-test").splitlines()
        exceptions = target.kubectl("get", "nonrootexceptions", "crd-test").splitlines()
    finally:
        target.kubectl("delete", "nonrootpolicy,nonrootexception", "crd-test")
    assert policies[0].split() == ["NAME", "MODE", "NAMESPACES", "DENIED", "FIXABLE", "UNKNOWN", "READY", "WHY", "AGE"]
    assert policies[1].split()[:-1] == ["crd-test", "Warn", "4", "1", "2", "3", "True", "InForce"]
    assert exceptions[0].split() == ["NAME", "REASON", "MATCHES", "EXPIRES", "READY", "WHY", "EXPIRES", "SOON", "AGE"]
    assert exceptions[1].split()[:-1] == ["crd-test", "because", "7", "2036-12-31T23:59:00Z", "True", "InForce", "True"]

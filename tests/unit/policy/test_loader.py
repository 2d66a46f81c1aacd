"""Policy documents become policies, or an error that names the document and the field."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.tables import table
from webhook.errors import InvalidDocument
from webhook.policy.loader import load
from webhook.policy.types import NonRootException, NonRootPolicy, PolicySpec


def document(kind: str = "NonRootPolicy", name: str = "strict", **spec: Any) -> dict[str, Any]:
    """A plain document as YAML gives it."""
    return {"apiVersion": "nonroot.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def test_a_policy_of_one_word_has_every_default() -> None:
    """What an empty spec means is part of the contract."""
    (found,) = load([document()], "f").policies
    spec = found.spec
    assert (spec.mode, spec.inject, spec.templates, spec.namespace_label) == ("Audit", None, "Warn", "Honor")
    assert (spec.root_images, spec.on_unknown.default, spec.on_unknown.invalid) == ("Refuse", None, "Deny")
    assert (spec.presets, spec.known_images, spec.exceptions, spec.fs_group) == ((), (), "Allow", None)
    assert spec.defaults == ("runAsNonRoot", "allowPrivilegeEscalation", "capabilities", "seccompProfile")


def test_a_policy_may_leave_out_its_spec() -> None:
    """As kubectl lets one."""
    plain = document()
    del plain["spec"]
    assert load([plain], "f").policies[0].spec == PolicySpec()


def test_a_whole_policy_is_read() -> None:
    """In the spelling of the CRD."""
    (found,) = load(
        [
            document(
                mode="Enforce",
                inject="Never",
                rootImages="Assign",
                assign={"uid": 5000, "gid": 0, "images": ["docker.io/*"]},
                onUnknown={"default": "Deny", "rateLimited": "Allow"},
                namespaceSelector={"matchLabels": {"team": "a"}},
                knownImages=[{"image": "local/*", "uid": 7}],
                exemptions={"serviceAccounts": ["ci:*"]},
            )
        ],
        "f",
    ).policies
    assert found.spec.assign is not None
    assert (found.spec.assign.uid, found.spec.assign.gid) == (5000, 0)
    assert found.spec.on_unknown.action("rateLimited") == "Allow"


def test_the_servers_own_fields_are_let_through() -> None:
    """A file may be what kubectl get printed."""
    plain = document() | {"status": {"conditions": []}}
    plain["metadata"] |= {"uid": "x", "managedFields": [], "annotations": {"a": "b"}}
    assert load([plain], "f").policies[0].metadata.name == "strict"


def test_empty_documents_are_skipped() -> None:
    """As kubectl does."""
    assert len(load([None, document(), None], "f").policies) == 1


@table(
    ("plain", "says"),
    {
        "a list": ([], "f, document 1"),
        "text": ("x", "f, document 1"),
        "another apiVersion": (
            document() | {"apiVersion": "v1"},
            "f, document 1: apiVersion: cannot be 'v1': it is one of nonroot.dev/v1alpha1",
        ),
        "another kind": (document() | {"kind": "Pod"}, "kind: "),
        "no metadata": ({k: v for k, v in document().items() if k != "metadata"}, "metadata"),
        "no name": (document() | {"metadata": {}}, "metadata: "),
        "an empty name": (document() | {"metadata": {"name": ""}}, "metadata.name: "),
        "a field beside spec": (document() | {"data": 1}, "data"),
        "a misspelt field": (document(modes="Enforce"), "spec: there is no field 'modes'; did you mean mode?"),
        "a misspelt field inside": (document(onUnknown={"pendign": "Deny"}), "spec.onUnknown: "),
        "a mode in lower case": (document(mode="enforce"), "spec.mode: "),
        "a uid of 0": (document(rootImages="Assign", assign={"uid": 0, "images": ["*"]}), "spec.assign.uid: "),
        "a uid beyond 31 bits": (document(fsGroup=2**31), "spec.fsGroup: "),
        "no images to assign to": (
            document(rootImages="Assign", assign={"uid": 1, "images": []}),
            "spec.assign.images",
        ),
        "Assign without assign": (document(rootImages="Assign"), "give both or neither"),
        "assign without Assign": (document(assign={"uid": 1, "images": ["*"]}), "give both or neither"),
        "an unknown rule": (document("NonRootException", reason="x", rules=["root"]), "spec.rules[0]: "),
        "an exception without a reason": (document("NonRootException"), "reason"),
        "an exception with an empty reason": (document("NonRootException", reason=""), "spec.reason: "),
        "an exception of more globs than are compiled in no time": (
            document("NonRootException", reason="x", images=[f"image{number}*" for number in range(129)]),
            "spec.images: ",
        ),
        "an expiry without a time zone": (
            document("NonRootException", reason="x", expires="2026-01-01T00:00:00"),
            "spec.expires: ",
        ),
        "an expiry that is a word": (document("NonRootException", reason="x", expires="soon"), "spec.expires: "),
    },
)
def test_a_wrong_document_is_refused(plain: Any, says: str) -> None:
    """The message names the file, the document's place in it and the field."""
    with pytest.raises(InvalidDocument) as caught:
        load([plain], "f")
    assert str(caught.value).startswith("f, document 1")
    assert says in str(caught.value)


def test_an_exception_without_a_spec_is_refused() -> None:
    """It would be one without a reason."""
    plain = document("NonRootException")
    del plain["spec"]
    with pytest.raises(InvalidDocument, match="needs at least a reason"):
        load([plain], "f")


def test_the_message_names_the_policy_once_it_is_known() -> None:
    """Which helps in a file of twenty."""
    with pytest.raises(InvalidDocument, match=r"f, document 2 \(NonRootPolicy 'b'\): spec\.mode"):
        load([document(), document(name="b", mode="x")], "f")


@table(
    ("second", "refused"),
    {
        "a policy of that name": (document(), True),
        "an exception of that name": (document("NonRootException", reason="x"), False),
    },
)
def test_names_of_policies_differ(second: dict[str, Any], refused: bool) -> None:
    """Two policies of one name would make the order of files matter."""
    if refused:
        with pytest.raises(InvalidDocument, match="document 2: there is a NonRootPolicy 'strict' already"):
            load([document(), second], "f")
    else:
        assert len(load([document(), second], "f").exceptions) == 1


def test_names_of_exceptions_differ_within_a_namespace() -> None:
    """And only there."""
    one = document("NonRootException", reason="x")
    elsewhere = one | {"metadata": {"name": "strict", "namespace": "b"}}
    assert len(load([one, elsewhere], "f").exceptions) == 2
    with pytest.raises(InvalidDocument, match="already in that namespace"):
        load([one, one], "f")


def test_an_expiry_is_read_from_yaml_as_it_is_from_the_cluster() -> None:
    """YAML knows times, JSON does not; both give the same minute."""
    text = "apiVersion: nonroot.dev/v1alpha1\nkind: NonRootException\nmetadata: {name: a}\n"
    text += "spec: {reason: x, expires: 2026-01-01T02:00:00%s}\n"
    for zone in ("Z", "+00:00"):
        (plain,) = YAML(typ="safe", pure=True).load_all(io.StringIO(text % zone))
        (found,) = load([plain], "f").exceptions
        assert found.spec.expires == datetime(2026, 1, 1, 2, tzinfo=UTC)


def test_documents_know_their_kind() -> None:
    """For whoever sorts them."""
    found = load([document(), document("NonRootException", reason="x")], "f")
    assert isinstance(found.policies[0], NonRootPolicy)
    assert isinstance(found.exceptions[0], NonRootException)

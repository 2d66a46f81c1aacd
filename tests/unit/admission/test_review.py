"""An AdmissionReview is decoded, or refused with a status and a reason."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pods import minimal, review_body, tweak
from tests.support.tables import table
from webhook.admission.review import START, Address, Review, address, decode
from webhook.errors import MalformedReview
from webhook.workload.podspec import Pod


def test_a_review_is_read() -> None:
    """Everything that is evaluated arrives; a Pod has been decoded with it."""
    review = decode(review_body(minimal(), "UPDATE", old=minimal(), sub_resource="ephemeralcontainers"))
    assert (review.operation, review.sub_resource, review.namespace) == ("UPDATE", "ephemeralcontainers", "default")
    assert (review.kind.kind, review.user_info.username, review.dry_run) == ("Pod", "jane", False)
    assert review.object == msgspec.convert(minimal(), Pod)
    assert json.loads(bytes(review.old_object)) == minimal()


@table(
    ("kind", "change"),
    {
        "another kind": ("Deployment", {}),
        "a Pod that is malformed": ("Pod", {"spec.containers": 7}),
        "another kind that has no field of a Pod": ("Service", {"spec": "x", "metadata": 7}),
    },
)
def test_an_object_that_is_no_pod_waits(kind: str, change: dict[str, Any]) -> None:
    """Until its kind is known, and whatever is wrong with it is said by whoever decodes it."""
    body = json.loads(review_body(tweak(minimal(), change)))
    review = decode(json.dumps(tweak(body, {"request.kind.kind": kind})).encode())
    assert isinstance(review.object, msgspec.Raw)
    assert json.loads(bytes(review.object)) == tweak(minimal(), change)


@table(
    ("paths", "says"),
    {
        "another version": ({"apiVersion": "admission.k8s.io/v1beta1"}, "'admission.k8s.io/v1beta1'"),
        "another kind of review": ({"kind": "Review"}, "'Review'"),
        "a CREATE without an object": ({"request.object": None}, "has no object"),
        "an UPDATE without an object": ({"request.object": None, "request.operation": "UPDATE"}, "has no object"),
        "a uid that is a number": ({"request.uid": 7}, "no AdmissionReview"),
        "a request without a kind": ({"request.kind": None}, "no AdmissionReview"),
        "a terminal's escape sequence": ({"kind": "\x1b[31m"}, r"'\x1b[31m'"),
    },
)
def test_what_cannot_be_answered_is_refused(paths: dict[str, Any], says: str) -> None:
    """The status is 400, and the message says what is wrong in printable text."""
    body = json.dumps(tweak(json.loads(review_body(minimal())), paths)).encode()
    with pytest.raises(MalformedReview) as caught:
        decode(body)
    assert caught.value.status == 400
    assert says in str(caught.value)


@table(
    ("paths", "said"),
    {
        "kinds that are long": (
            {"apiVersion": "v" * 81, "kind": "k" * 81},
            f"expected apiVersion 'admission.k8s.io/v1' and kind 'AdmissionReview', got '{'v' * 80}' '{'k' * 80}'",
        ),
        "no request": ({"request": None}, "the AdmissionReview has no request"),
        "a request without a uid": ({"request.uid": ""}, "the AdmissionReview's request has no uid"),
    },
)
def test_what_is_wrong_with_the_envelope_is_said(paths: dict[str, Any], said: str) -> None:
    with pytest.raises(MalformedReview) as caught:
        decode(json.dumps(tweak(json.loads(review_body(minimal())), paths)).encode())
    assert str(caught.value) == said


def test_an_object_that_is_null_counts_as_none() -> None:
    """The API server writes null for what it does not send."""
    with pytest.raises(MalformedReview, match="has no object"):
        decode(review_body(None))


def test_a_deletion_needs_no_object() -> None:
    """It carries the old one only."""
    assert decode(review_body(None, "DELETE", old=minimal())).operation == "DELETE"


@table(
    "body",
    {
        "nothing": b"",
        "no JSON": b"{",
        "a list": b"[]",
        "null": b"null",
        "bytes that are no UTF-8": b'{"apiVersion":"\xff"}',
        "half a surrogate pair": b'{"apiVersion":"\\ud800","kind":"AdmissionReview"}',
        "deep nesting": b'{"request":' * 100_000,
        "deep lists where they are skipped": b'{"x":' + b"[" * 100_000,
        "text after the end": review_body(minimal()) + b"x",
    },
)
def test_rubbish_is_refused(body: bytes) -> None:
    """Never another exception than ours."""
    with pytest.raises(MalformedReview):
        decode(body)


@given(st.binary())
def test_arbitrary_bytes_are_a_review_or_malformed(body: bytes) -> None:
    """Bytes from anybody who can reach the port."""
    _read(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = ("uid", "kind", "operation", "object", "oldObject", "subResource", "userInfo", "dryRun", "namespace")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_arbitrary_fields_are_a_review_or_malformed(fields: dict[str, Any]) -> None:
    """The right shape with the wrong types in it."""
    body = json.loads(review_body(minimal()))
    body["request"] |= fields
    _read(json.dumps(body).encode())


def _read(body: bytes) -> None:
    try:
        review = decode(body)
    except MalformedReview as error:
        assert str(error)
        return
    assert isinstance(review, Review)
    assert review.uid
    msgspec.json.encode(review.uid)


FIRST = b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{'


@table(
    ("start", "read"),
    {
        "as an API server writes it": (
            review_body(minimal(), namespace="shop"),
            ("705ab4f5-6393-11e8-b7cc-42010a800002", "shop"),
        ),
        "the first of many bytes": (
            FIRST + b'"uid":"u","namespace":"shop","object":' + b"x" * START,
            ("u", "shop"),
        ),
        "an escaped uid": (FIRST + rb'"uid" : "a\"b","namespace":"n","object":{}', ('a"b', "n")),
        "no namespace": (FIRST + b'"uid":"u","object":{"metadata":{"namespace":"other"}}', ("u", "")),
        "two objects and a request in them": (
            FIRST + b'"object":{"request":{"uid":"x"},"object":{}},"uid":"x"',
            None,
        ),
        "a namespace before the request": (b'{"namespace":"x",' + FIRST[1:] + b'"uid":"u"', ("u", "")),
        "the uid of the object alone": (FIRST + b'"object":{"metadata":{"uid":"u"}}', None),
        "a uid too far away": (FIRST + b" " * START + b'"uid":"u"', None),
        "an uid that is no JSON": (FIRST + b'"uid":"\\x"', None),
        "no review": (b'{"request":{"uid":"u"}}', None),
        "nothing": (b"", None),
    },
)
def test_whose_review_it_is_stands_in_its_first_bytes(start: bytes, read: tuple[str, str] | None) -> None:
    """Where there is no room for the rest."""
    assert address(start) == (read and Address(*read))

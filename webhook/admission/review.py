"""The decoding of an AdmissionReview of admission.k8s.io/v1, as far as it is evaluated.

Source: k8s.io/api admission/v1/types.go; k8s.io/apiserver pkg/admission/plugin/webhook/request/admissionreview.go.
"""

import re

import msgspec

from webhook.errors import MalformedReview
from webhook.workload.podspec import Pod

API_VERSION = "admission.k8s.io/v1"
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
SIZE_LIMIT = 7 * 1024 * 1024  # object and oldObject of an API server's 3 MiB each; controller-runtime's own limit


class GroupVersionKind(msgspec.Struct, frozen=True, gc=False):
    """The kind of the object in the review."""

    kind: str = ""


class UserInfo(msgspec.Struct, frozen=True, gc=False):
    """The user who makes the request."""

    username: str = ""


class Review(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The request of an AdmissionReview. An object other than a Pod stays undecoded until its kind is known."""

    uid: str
    operation: str
    kind: GroupVersionKind
    sub_resource: str = ""
    name: str = ""
    namespace: str = ""
    user_info: UserInfo = UserInfo()
    object: msgspec.Raw | Pod = msgspec.Raw()
    old_object: msgspec.Raw = msgspec.Raw()
    dry_run: bool = False


class _AnyReview(Review, frozen=True, gc=False):
    object: msgspec.Raw = msgspec.Raw()


class _PodReview(Review, frozen=True, gc=False, kw_only=True):
    object: Pod


class _Envelope(msgspec.Struct, rename="camel", gc=False):
    api_version: str = ""
    kind: str = ""
    request: _AnyReview | None = None


class _PodEnvelope(msgspec.Struct, rename="camel", gc=False):
    api_version: str = ""
    kind: str = ""
    request: _PodReview | None = None


_DECODER = msgspec.json.Decoder(_Envelope)
_POD_DECODER = msgspec.json.Decoder(_PodEnvelope)


def decode(body: bytes) -> Review:
    """Read a review; `MalformedReview` says what is wrong with one that cannot be answered."""
    try:
        envelope = _of_a_pod(body) or _DECODER.decode(body)
    except _UNREADABLE as error:
        raise MalformedReview(f"the body is no AdmissionReview: {error}") from None
    if envelope.api_version != API_VERSION or envelope.kind != "AdmissionReview":
        given = f"{envelope.api_version[:80]!a} {envelope.kind[:80]!a}"
        raise MalformedReview(f"expected apiVersion {API_VERSION!r} and kind 'AdmissionReview', got {given}")
    review = envelope.request
    if review is None:
        raise MalformedReview("the AdmissionReview has no request")
    if not review.uid:
        raise MalformedReview("the AdmissionReview's request has no uid")
    if review.operation in {"CREATE", "UPDATE"} and absent(review.object):
        raise MalformedReview(f"the {review.operation} request has no object")
    return review


def _of_a_pod(body: bytes) -> _PodEnvelope | None:
    """The envelope with its Pod, read in one go, as nearly every review can be; None: its object has to wait."""
    try:
        envelope = _POD_DECODER.decode(body)
    except _UNREADABLE:
        return None
    review = envelope.request
    return envelope if review is not None and review.kind.kind == "Pod" else None


class Address(msgspec.Struct, frozen=True, gc=False):
    """The uid of a request and its namespace: enough to answer it without evaluating it."""

    uid: str
    namespace: str


START = 8192  # bytes of a review in which an API server has said all but the objects


def address(start: bytes) -> Address | None:
    """Read uid and namespace from the first bytes of a review that has no room; None where they are not in them.

    API servers write the request's fields in the order of their type, and the objects last.
    Source: k8s.io/api admission/v1/types.go (AdmissionRequest)
    """
    before, found, request = start[:START].partition(b'"request"')
    head = request.partition(b'"object"')[0]
    uid, namespace = _UID.search(head), _NAMESPACE.search(head)
    if not found or b'"AdmissionReview"' not in before or uid is None:
        return None
    try:
        return Address(*(msgspec.json.decode(each[1], type=str) if each else "" for each in (uid, namespace)))
    except _UNREADABLE:
        return None


_UID = re.compile(rb'"uid"\s*:\s*("(?:[^"\\]|\\.)+")')
_NAMESPACE = re.compile(rb'"namespace"\s*:\s*("(?:[^"\\]|\\.)*")')


def absent(found: msgspec.Raw | Pod) -> bool:
    """Whether an object is not there: left out, or null."""
    return isinstance(found, msgspec.Raw) and memoryview(found).nbytes <= len("null") and bytes(found) in {b"", b"null"}

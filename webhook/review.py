"""bytes -> Review: an AdmissionReview of admission.k8s.io/v1, of which only what is judged is decoded.

Source: k8s.io/api admission/v1/types.go; k8s.io/apiserver pkg/admission/plugin/webhook/request/admissionreview.go.
"""

import msgspec

from webhook.errors import MalformedReview

API_VERSION = "admission.k8s.io/v1"
SIZE_LIMIT = 7 * 1024 * 1024  # object and oldObject of an API server's 3 MiB each; controller-runtime's own limit


class GroupVersionKind(msgspec.Struct, frozen=True):
    """The kind of the object in the review."""

    group: str = ""
    version: str = ""
    kind: str = ""


class UserInfo(msgspec.Struct, frozen=True):
    """Who asks."""

    username: str = ""


class Review(msgspec.Struct, frozen=True, rename="camel"):
    """The request of an AdmissionReview. `object` and `old_object` stay undecoded until their kind is known."""

    uid: str
    operation: str
    kind: GroupVersionKind
    sub_resource: str = ""
    name: str = ""
    namespace: str = ""
    user_info: UserInfo = UserInfo()
    object: msgspec.Raw = msgspec.Raw()
    old_object: msgspec.Raw = msgspec.Raw()
    dry_run: bool = False


class _Envelope(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    request: Review | None = None


_DECODER = msgspec.json.Decoder(_Envelope)


def decode(body: bytes) -> Review:
    """Read a review; `MalformedReview` says what is wrong with one that cannot be answered."""
    try:
        envelope = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
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


def absent(raw: msgspec.Raw) -> bool:
    """Whether an object is not there: left out, or null."""
    return memoryview(raw).nbytes <= len("null") and bytes(raw) in {b"", b"null"}

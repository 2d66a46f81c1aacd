"""The encoding of an AdmissionReview response: a decision and a patch as bytes.

Source: k8s.io/api admission/v1/types.go; k8s.io/apiserver pkg/admission/plugin/webhook/errors/statuserror.go (codes and
reasons), pkg/admission/attributes.go (audit annotation keys hold no slash).
"""

from base64 import b64encode

import msgspec

from webhook.admission.decision import ALLOWED, AdmissionDecision
from webhook.evaluation.patch import Operation

_ENCODER = msgspec.json.Encoder()
_HEAD = b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":'
_REASONS = {403: "Forbidden", 429: "TooManyRequests"}
RETRY_AFTER = 1  # seconds; client-go waits that long and tries again without a word


def encode(
    answer: AdmissionDecision = ALLOWED, patch: list[Operation] | None = None, audit: dict[str, str] | None = None
) -> bytes:
    """The end of an AdmissionReview, after its uid, see `addressed`; a denial carries its HTTP code, reason and message."""
    response: dict[str, object] = {"allowed": answer.code == 200}
    if answer.code != 200:
        status: dict[str, object] = {"code": answer.code, "reason": _REASONS[answer.code], "message": answer.message}
        if answer.code == 429:
            status["details"] = {"retryAfterSeconds": RETRY_AFTER}
        response["status"] = status
    elif patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = b64encode(_ENCODER.encode(patch)).decode()
    if answer.warnings:
        response["warnings"] = answer.warnings
    if audit:
        response["auditAnnotations"] = audit
    return b"%b}" % _ENCODER.encode(response)[1:]


def addressed(uid: str, response: bytes) -> bytes:
    """A complete AdmissionReview: what `encode` returned, with the uid of a request."""
    return b"".join((_HEAD, _ENCODER.encode(uid), b",", response))

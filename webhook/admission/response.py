"""The encoding of an AdmissionReview response: a decision and a patch as bytes.

Source: k8s.io/api admission/v1/types.go; k8s.io/apiserver pkg/admission/plugin/webhook/errors/statuserror.go (codes and
reasons), pkg/admission/attributes.go (audit annotation keys hold no slash).
"""

from base64 import b64encode

import msgspec

from webhook.admission.decision import ALLOWED, AdmissionDecision
from webhook.evaluation.patch import Operation

_ENCODER = msgspec.json.Encoder()
_HEAD = '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":'
_REASONS = {403: "Forbidden", 429: "TooManyRequests"}
RETRY_AFTER = 1  # seconds; client-go waits that long and tries again without a word


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """A response as JSON: its `fields` but for the uid and the patch, and the `patch`, empty where there is none."""

    fields: str
    patch: str = ""


def encode(
    answer: AdmissionDecision = ALLOWED, patch: list[Operation] | None = None, audit: dict[str, str] | None = None
) -> Encoded:
    """A response for any uid, see `addressed`; a denial carries its HTTP code, reason and message."""
    response: dict[str, object] = {"allowed": answer.code == 200}
    encoded_patch = ""
    if answer.code != 200:
        status: dict[str, object] = {"code": answer.code, "reason": _REASONS[answer.code], "message": answer.message}
        if answer.code == 429:
            status["details"] = {"retryAfterSeconds": RETRY_AFTER}
        response["status"] = status
    elif patch:
        response["patchType"] = "JSONPatch"
        encoded_patch = _ENCODER.encode(patch).decode()
    if answer.warnings:
        response["warnings"] = answer.warnings
    if audit:
        response["auditAnnotations"] = audit
    return Encoded(_ENCODER.encode(response).decode()[1:-1], encoded_patch)


def addressed(uid: str, response: Encoded) -> bytes:
    """A complete AdmissionReview: what `encode` returned, with the uid of a request."""
    patch = f',"patch":"{b64encode(response.patch.encode()).decode()}"' if response.patch else ""
    return "".join((_HEAD, _ENCODER.encode(uid).decode(), ",", response.fields, patch, "}}")).encode()

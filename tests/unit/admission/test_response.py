"""A response is an AdmissionReview that the API server takes, whatever is in it."""

import base64
import json
from typing import Any

from webhook.admission.decision import AdmissionDecision
from webhook.admission.response import addressed, encode

UID = "705ab4f5"


def response(*args: Any, **more: Any) -> dict[str, Any]:
    """The decoded response of an encoded review."""
    review = json.loads(addressed(UID, encode(*args, **more)))
    assert set(review) == {"apiVersion", "kind", "response"}
    assert (review["apiVersion"], review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    found = review["response"]
    assert isinstance(found, dict)
    assert found["uid"] == UID
    return found


def test_allowed_says_nothing_more() -> None:
    """Neither status, nor patch, nor warnings."""
    assert response() == {"uid": UID, "allowed": True}


def test_warnings_and_audit_annotations_go_along() -> None:
    """With whatever answer."""
    found = response(AdmissionDecision(200, warnings=("a", "b")), None, {"policy": "p"})
    assert found == {"uid": UID, "allowed": True, "warnings": ["a", "b"], "auditAnnotations": {"policy": "p"}}


def test_a_denial_has_its_own_code() -> None:
    """Without one the API server would say 400."""
    found = response(AdmissionDecision(403, "no root here"))
    assert found["allowed"] is False
    assert found["status"] == {"code": 403, "reason": "Forbidden", "message": "no root here"}


def test_come_again_says_when() -> None:
    """client-go waits that long and tries again without a word."""
    assert response(AdmissionDecision(429, "wait"))["status"] == {
        "code": 429,
        "reason": "TooManyRequests",
        "message": "wait",
        "details": {"retryAfterSeconds": 1},
    }


def test_a_patch_and_its_type_stand_together() -> None:
    """One without the other is a failed call."""
    patch = [{"op": "add", "path": "/spec", "value": {"é": 1}}]
    found = response(AdmissionDecision(200), patch)
    assert found["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(found["patch"], validate=True)) == patch


def test_an_empty_patch_is_none() -> None:
    """A validating hook that returns one, even empty, is a failed call."""
    assert "patch" not in response(AdmissionDecision(200), [])
    assert "patchType" not in response(AdmissionDecision(200), [])


def test_a_denial_carries_no_patch() -> None:
    """Nothing is changed in what is refused."""
    assert set(response(AdmissionDecision(403, "no"), [{"op": "add", "path": "/a", "value": 1}])) == {
        "uid",
        "allowed",
        "status",
    }

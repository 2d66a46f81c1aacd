"""Pods as mutations of one minimal one, and everything a review wraps around them."""

import copy
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from webhook.admission.review import Review
from webhook.admission.review import decode as decode_review
from webhook.policy.selection import EffectivePolicy
from webhook.policy.types import Metadata, NonRootPolicy, PolicySpec
from webhook.workload import workload as pod
from webhook.workload.workload import Slot, Workload

IMAGE = "registry.example/app:1"
DIGEST = "sha256:" + "cd" * 32
DEFAULTS = {  # all that a policy of defaults has to inject, beside a uid
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}

Object = dict[str, Any]


def minimal() -> Object:
    """The smallest Pod that the API server would send: one container, nothing said about users."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [{"name": "app", "image": IMAGE}]},
    }


def tweak(obj: Object, paths: Mapping[str, Any]) -> Object:
    """A copy of `obj` with values set at dotted paths, such as `spec.containers.0.securityContext.runAsUser`.

    What is missing on the way is made; an index one past the end of a list appends; the value None deletes.
    """
    changed = copy.deepcopy(obj)
    for path, value in paths.items():
        *way, last = path.split(".")
        place: Any = changed
        for step, following in zip(way, path.split(".")[1:], strict=True):
            place = _enter(place, step, [] if following.isdigit() else {})
        if value is None:
            place.pop(int(last) if isinstance(place, list) else last)
        elif isinstance(place, list):
            place[int(last) : int(last) + 1] = [value]
        else:
            place[last] = value
    return changed


def _enter(place: Any, step: str, empty: Any) -> Any:
    if not isinstance(place, list):
        return place.setdefault(step, empty)
    if int(step) == len(place):
        place.append(empty)
    return place[int(step)]


def within(kind: str, obj: Object) -> Object:
    """A Pod's spec as the template of another kind."""
    template = {"metadata": {"labels": {"app": "web"}}, "spec": obj["spec"]}
    body: Object = {"kind": kind, "metadata": {"name": "web", "namespace": "default"}}
    if kind == "PodTemplate":
        return body | {"template": template}
    if kind == "CronJob":
        return body | {"spec": {"jobTemplate": {"spec": {"template": template}}}}
    return body | {"spec": {"template": template}}


def workload(obj: Object | None = None, **paths: Any) -> Workload:
    """A decoded Pod or template; `paths` tweak its first container's security context by field name."""
    obj = minimal() if obj is None else obj
    if paths:
        obj = tweak(obj, {f"spec.containers.0.securityContext.{field}": value for field, value in paths.items()})
    decoded = pod.decode(obj["kind"], json.dumps(obj).encode())
    assert decoded is not None
    return decoded


def ran(obj: Object, uid: int, gid: int = 0, *groups: int, image_id: str = f"registry.example/app@{DIGEST}") -> Object:
    """A Pod as its node reports it: every container as that user."""
    user = {"linux": {"uid": uid, "gid": gid, "supplementalGroups": [gid, *groups]}}
    status = {
        f"{kind}Statuses": [
            {"name": each["name"], "imageID": image_id, "user": user} for each in obj["spec"][f"{kind}s"]
        ]
        for kind in ("initContainer", "container", "ephemeralContainer")
        if f"{kind}s" in obj["spec"]
    }
    return obj | {"status": status}


def first(work: Workload) -> Slot:
    """The first container's slot."""
    return next(work.slots())


def effective_policy(mode: str = "Enforce", **spec: Any) -> EffectivePolicy:
    """A policy named `strict` in that mode; `spec` in the CRD's own spelling."""
    policy = NonRootPolicy(Metadata("strict"), msgspec.convert({"mode": mode, **spec}, PolicySpec))
    return EffectivePolicy(policy, policy.spec.mode, "because a test says so")


def review_body(
    obj: Object | None,
    operation: str = "CREATE",
    *,
    old: Object | None = None,
    sub_resource: str = "",
    namespace: str = "default",
    username: str = "jane",
) -> bytes:
    """An AdmissionReview as the API server posts it."""
    kind = (obj or old or minimal())["kind"]
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": kind},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "subResource": sub_resource,
        "namespace": namespace,
        "operation": operation,
        "userInfo": {"username": username},
        "object": obj,
        "oldObject": old,
        "dryRun": False,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def review(obj: Object | None, operation: str = "CREATE", **more: Any) -> Review:
    """The same, decoded."""
    return decode_review(review_body(obj, operation, **more))

"""AdmissionReviews as an API server sends them, and the two calls that it makes for each Pod."""

import base64
import copy
import json
import ssl
import urllib.request
import uuid
from typing import Any

import jsonpatch
import msgspec

GROUPS = {"Pod": "", "PodTemplate": "", "ReplicationController": "", "Job": "batch", "CronJob": "batch"}
KINDS = (
    "Pod",
    "PodTemplate",
    "ReplicationController",
    "Job",
    "CronJob",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
)


class Admitted(msgspec.Struct, frozen=True):
    """The admission of an object: the patch that /mutate answered and the response of /validate to the patched object."""

    patch: list[dict[str, Any]]
    mutated: dict[str, Any]
    validated: dict[str, Any]
    object: dict[str, Any]


def pod(name: str, image: str) -> dict[str, Any]:
    """A Pod that demands runAsNonRoot and says no uid, with the fields that the API server has defaulted by then."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "demo",
            "uid": str(uuid.uuid4()),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "containers": [
                {
                    "name": "app",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "resources": {},
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                }
            ],
            "securityContext": {"runAsNonRoot": True},
            "serviceAccountName": "default",
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
        },
    }


def review(document: dict[str, Any]) -> dict[str, Any]:
    """The creation of `document`, as an AdmissionReview."""
    kind, metadata = document["kind"], document.get("metadata", {})
    group = GROUPS.get(kind, "apps")
    version = {"group": group, "version": "v1", "kind": kind}
    resource = {"group": group, "version": "v1", "resource": kind.lower() + "s"}
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": str(uuid.uuid4()),
            "kind": version,
            "resource": resource,
            "requestKind": version,
            "requestResource": resource,
            "name": metadata.get("name", ""),
            "namespace": metadata.get("namespace", "default"),
            "operation": "CREATE",
            "userInfo": {"username": "kubernetes-admin", "groups": ["system:authenticated"]},
            "object": document,
            "oldObject": None,
            "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    }


def admit(document: dict[str, Any], server: str, trust: ssl.SSLContext) -> Admitted:
    """Send `document` to /mutate, apply the patch, send the result to /validate: the API server's order."""
    mutated = _post(f"{server}/mutate?timeout=5s", review(document), trust)
    operations = json.loads(base64.b64decode(mutated["patch"])) if "patch" in mutated else []
    patched = jsonpatch.apply_patch(copy.deepcopy(document), operations)
    validated = _post(f"{server}/validate?timeout=5s", review(patched), trust)
    return Admitted(operations, mutated, validated, patched)


def _post(url: str, body: dict[str, Any], trust: ssl.SSLContext) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10, context=trust) as reply:  # https on loopback
        answer: dict[str, Any] = json.load(reply)
    response: dict[str, Any] = answer["response"]
    if response["uid"] != body["request"]["uid"]:
        raise ValueError(f"{url} answered another request: {response['uid']!r}")
    return response

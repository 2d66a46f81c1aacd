"""Webhook configurations of these tests, each for the namespaces of one engine, and what the API server makes of a Pod there."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.target import Target, eventually
from tests.integration.engines.conftest import Ours
from tests.support.api_server import Refused
from tests.support.pods import Object


def encoded(pem: bytes) -> str:
    """A CA as objects hold it."""
    return base64.b64encode(pem).decode()


def hook(url: str, ca: str, engine: str, kind: str = "Validating", name: str = "") -> Object:
    """Sends the Pods of an engine's namespaces to a URL; mutating ones are called in the order of their names."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    webhook = {
        "name": f"{engine}.nonroot.dev",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 5,
        "clientConfig": {"url": url, "caBundle": encoded(ca.encode())},
        "namespaceSelector": {"matchLabels": {"nonroot.dev/engine": engine}},
        "rules": [rule],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name or engine},
        "webhooks": [webhook | ({"reinvocationPolicy": "IfNeeded"} if kind == "Mutating" else {})],
    }


def namespace(target: Target, name: str, engine: str, *, restricted: bool = False) -> None:
    """One of an engine, where ours enforces, and Pod Security does where asked; there is no controller that makes its account."""
    labels = {"nonroot.dev/engine": engine, "nonroot.dev/mode": "enforce"}
    if restricted:
        labels["pod-security.kubernetes.io/enforce"] = "restricted"
    target.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    target.kubectl("create", "serviceaccount", "default", "-n", name)


def take(target: Target, given: Object) -> None:
    """Create an object whose kind, or the webhook that is asked about it, may not be there yet."""
    why = ""

    def taken() -> bool:
        nonlocal why
        try:
            target.apply(given)
        except Refused as refused:
            why = str(refused)
            return "already exists" in why
        return True

    try:
        eventually(taken, f"{given['kind']} {given['metadata']['name']} to be taken", 60)
    except AssertionError as error:
        raise AssertionError(f"{error}: {why}") from None


@contextmanager
def for_a_while(target: Target, *objects: Object) -> Iterator[None]:
    """These objects are there."""
    made: list[Object] = []
    try:
        for each in objects:
            take(target, each)
            made.append(each)
        yield
    finally:
        for each in made:
            target.kubectl("delete", each["kind"], each["metadata"]["name"], "--wait=false")


def created(target: Target, where: str, given: Object) -> Object | None:
    """The spec of a Pod as it would be stored, by a dry run; None where it is refused."""
    try:
        made = target.kubectl(
            "create", "--dry-run=server", "-n", where, "-o", "json", "-f", "-", text=json.dumps(given)
        )
    except Refused:
        return None
    spec: Object = json.loads(made)["spec"]
    return spec


def comes_to_one(target: Target, ours: Ours, where: str, name: str, given: Object, other: Object) -> Object:
    """The first container's securityContext where our hooks, the mutating one under `name`, stand beside another's mutation.

    It is the same each time, and a Pod that is sent once more as it came out stays as it is; Pod Security and our validation
    admit both. `other` are fields by which that mutation is known.
    """
    ca = ours.ca.decode()

    def both() -> Object | None:
        spec = created(target, where, given)
        found = _context(spec) if spec else {}
        return spec if found.items() >= other.items() and "capabilities" in found else None

    with for_a_while(target, hook(f"{ours.url}/mutate", ca, where, "Mutating", name)):
        spec = eventually(both, "both to be called")
        with for_a_while(target, hook(f"{ours.url}/validate/enforce", ca, where)):
            for _ in range(3):
                again = created(target, where, given)  # whose volume with a token has another name each time
                assert again is not None
                assert _context(again) == _context(spec)
                assert created(target, where, {**given, "spec": spec}) == spec
    return _context(spec)


def _context(spec: Object) -> Object:
    found: Object = spec["containers"][0].get("securityContext", {})
    return found

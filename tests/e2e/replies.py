"""What each admission replica says of an object: the API server asks one of them, and each sees changes by itself."""

import json
from collections.abc import Callable
from typing import Any

from deploy.release import NAMESPACE
from tests.e2e.target import Target, eventually
from tests.support.api_server import Refused
from tests.support.pods import minimal, tweak
from tests.unit.server.test_asgi import review

ADMISSION = "app.kubernetes.io/component=admission"
STATED = tweak(minimal(), {"spec.securityContext.runAsUser": 1})  # nobody has to know its image
Response = dict[str, Any]


def everywhere(
    target: Target, namespace: str, made: dict[str, Any], holds: Callable[[Response], bool], what: str
) -> None:
    """Wait until the validating hook's response to that object holds at every replica. Nothing is created."""
    body = json.loads(review(made, namespace=namespace, dryRun=True))

    def probe() -> bool:
        pods = [each["metadata"] for each in target.get("pods", NAMESPACE, labels=ADMISSION)]
        names = [each["name"] for each in pods if "deletionTimestamp" not in each]
        return bool(names) and all(holds(_response(target, name, body)) for name in names)

    eventually(probe, f"{what}, at every replica")


def in_force(target: Target, namespace: str, policy: str) -> None:
    """Wait until every replica goes by that policy in a namespace."""
    everywhere(target, namespace, STATED, lambda said: noted(said, "policy") == policy, f"the policy {policy} in force")


def noted(response: Response, key: str) -> str:
    """What the audit log would be told under a key."""
    return str(response.get("auditAnnotations", {}).get(key, ""))


def _response(target: Target, pod: str, body: dict[str, Any]) -> Response:
    """A replica's response; an empty one while it cannot be reached."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/https:{pod}:10250/proxy/validate"
    try:
        found: Response = target.api.call("POST", path, body).object["response"]
    except Refused:
        return {}
    return found

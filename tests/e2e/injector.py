"""A second mutating webhook, as a service mesh has one: it adds containers to every Pod of a namespace."""

import base64
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.e2e.target import Target
from webhook.server import certificates

NAME = "sidecar"

Patch = list[dict[str, Any]]


def sidecar(image: str) -> Callable[[dict[str, Any]], Patch]:
    """What adds a container that says nothing but its image, where it is not there."""

    def patch(spec: dict[str, Any]) -> Patch:
        if any(each["name"] == NAME for each in spec["containers"]):
            return []
        return [{"op": "add", "path": "/spec/containers/-", "value": {"name": NAME, "image": image}}]

    return patch


@contextmanager
def injector(
    target: Target, name: str, namespace: str, patch: Callable[[dict[str, Any]], Patch], folder: Path
) -> Iterator[list[str]]:
    """Run it, registered as `name` for one namespace; the answer lists the Pods that it was asked about, as they come.

    It patches by a Pod's spec. It listens where the cluster's registry does: at an address of this machine that the API server
    reaches.
    """
    host = target.registry.rpartition(":")[0]
    ca = certificates.authority(datetime.now(UTC), timedelta(hours=1))
    leaf = certificates.leaf(ca, [str(ipaddress.ip_address(host))], datetime.now(UTC), timedelta(hours=1))
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            asked.append(request["object"]["metadata"].get("name", ""))
            review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
            body = json.dumps(review | {"response": _response(request, patch)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class' name
            """Say nothing."""

    server = ThreadingHTTPServer((host, 0), Handler)
    (folder / "tls.crt").write_bytes(leaf.certificate)
    (folder / "tls.key").write_bytes(leaf.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"https://{host}:{server.server_port}/"
    target.apply(_configuration(name, namespace, {"url": url, "caBundle": base64.b64encode(ca.certificate).decode()}))
    try:
        yield asked
    finally:
        target.delete("mutatingwebhookconfigurations", name)
        server.shutdown()
        server.server_close()
        thread.join()


def _response(request: dict[str, Any], patch: Callable[[dict[str, Any]], Patch]) -> dict[str, Any]:
    answer = {"uid": request["uid"], "allowed": True}
    made = patch(request["object"]["spec"])
    if not made:
        return answer
    return answer | {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(made).encode()).decode()}


def _configuration(name: str, namespace: str, client: dict[str, str]) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    webhook = {
        "name": "sidecar.injector.example",
        "clientConfig": client,
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 5,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [webhook],
    }

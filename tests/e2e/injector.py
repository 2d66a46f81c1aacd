"""A second mutating webhook, as a service mesh has one: it adds a sidecar to every Pod of a namespace that lacks it."""

import base64
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.e2e.target import Target
from webhook.server import certificates

NAME = "sidecar"


@contextmanager
def injector(target: Target, name: str, namespace: str, image: str, folder: Path) -> Iterator[list[str]]:
    """Run it, registered as `name` for one namespace; the answer lists the Pods that it was asked about, as they come.

    It listens where the cluster's registry does: at an address of this machine that the API server reaches.
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
            body = json.dumps(review | {"response": _response(request, image)}).encode()
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
        target.kubectl("delete", "mutatingwebhookconfiguration", name)
        server.shutdown()
        server.server_close()
        thread.join()


def _response(request: dict[str, Any], image: str) -> dict[str, Any]:
    answer = {"uid": request["uid"], "allowed": True}
    if any(each["name"] == NAME for each in request["object"]["spec"]["containers"]):
        return answer
    patch = [{"op": "add", "path": "/spec/containers/-", "value": {"name": NAME, "image": image}}]
    return answer | {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}


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

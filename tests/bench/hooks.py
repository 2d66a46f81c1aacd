"""Webhooks registered with a real API server for a while: a namespace, a configuration, and one that remembers reviews."""

import base64
import contextlib
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self

from webhook.server import certificates

HOOKS_SECONDS = 20.0  # until an API server must have noticed a new configuration
Kind = Literal["Mutating", "Validating"]


def kubectl(*words: str, given: object = None) -> str:
    """Run kubectl, with an object on its standard input if there is one."""
    text = "" if given is None else json.dumps(given)
    return subprocess.run(["kubectl", *words], input=text, capture_output=True, text=True, check=True).stdout


def apply(given: dict[str, Any], namespace: str) -> None:
    """Create an object, as a dry run."""
    kubectl("create", "--dry-run=server", "-n", namespace, "-f", "-", given=given)


@contextlib.contextmanager
def namespace(name: str) -> Iterator[str]:
    """A namespace of our own, with its ServiceAccount in place."""
    kubectl("create", "namespace", name)
    try:
        kubectl("wait", "--for=create", f"--timeout={HOOKS_SECONDS:.0f}s", "-n", name, "serviceaccount/default")
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=true")


@contextlib.contextmanager
def registered(
    name: str,
    namespace: str,
    url: str,
    ca: bytes,
    *,
    ready: Callable[[], bool],
    kind: Kind = "Validating",
    conditions: list[dict[str, str]] | None = None,
) -> Iterator[None]:
    """A webhook for the creation of Pods in one namespace; `ready` says whether the API server has called it.

    It is probed by Pods that say nothing about users, which `conditions` must let through.
    """
    hook = {
        "name": f"{name}.nonroot.dev",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 5,
        "clientConfig": {"url": url, "caBundle": base64.b64encode(ca).decode()},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "matchConditions": conditions or [],
    }
    resource = f"{kind}WebhookConfiguration"
    kubectl(
        "create",
        "-f",
        "-",
        given={
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": resource,
            "metadata": {"name": name},
            "webhooks": [hook],
        },
    )
    try:
        probe = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "probe"},
            "spec": {"containers": [{"name": "probe", "image": "probe"}]},
        }
        deadline = time.monotonic() + HOOKS_SECONDS
        while not ready():
            if time.monotonic() > deadline:
                raise SystemExit(f"the API server never called {name}")
            with contextlib.suppress(subprocess.CalledProcessError):  # a hook that denies has been called
                apply(probe, namespace)
        yield
    finally:
        kubectl("delete", resource, name)


class Recorder:
    """A webhook that allows everything and keeps the reviews."""

    def __init__(self, folder: Path) -> None:
        self.reviews: list[bytes] = []
        self.ca, cert, key = certificates.self_signed(("localhost", "127.0.0.1"), datetime.now(UTC))
        (folder / "cert").write_bytes(cert)
        (folder / "key").write_bytes(key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert", folder / "key")
        reviews = self.reviews

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # the library's word
                body = self.rfile.read(int(self.headers["Content-Length"]))
                reviews.append(body)
                response = {"uid": json.loads(body)["request"]["uid"], "allowed": True}
                answer = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
                text = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the library's word
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}/"

    def called(self) -> bool:
        """Whether anything was sent."""
        return bool(self.reviews)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

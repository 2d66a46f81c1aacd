"""What `helm test` runs in our own image: one review, sent as the API server sends it, must come back answered.

Arguments: the Service's name, which the certificate must be for, its address, and its port. The API server asks no DNS
either: it knows its Services. The variable CA holds, in PEM, who must have signed the certificate; without it the
system's authorities count.
"""

# No package, and output for `kubectl logs`.
# ruff: noqa: INP001, T201

import http.client
import json
import os
import socket
import ssl
import sys

UID = "5f0c1f44-9a3b-4c1e-8d0a-6c2f6f0f3a11"
TIMEOUT = 10  # seconds
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "helm-test", "namespace": "default"},
    "spec": {
        "securityContext": {"runAsUser": 1000},
        "containers": [{"name": "test", "image": "registry.invalid/test"}],
    },
}
REVIEW = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {
        "uid": UID,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "name": "helm-test",
        "namespace": "default",
        "userInfo": {"username": "helm-test"},
        "object": POD,
        "dryRun": True,
    },
}


def main(name: str, address: str, port: int) -> int:
    """Send the review and say what came back; 0 if it was an answer that allows the Pod."""
    try:
        status, body = _post(name, address, port)
    except OSError as error:
        print(f"{name} at {address}:{port} cannot be asked: {error}; are the admission Pods ready?")
        return 1
    print(status, body)
    if status != http.HTTPStatus.OK:
        return 1
    response = json.loads(body)["response"]
    return 0 if response["uid"] == UID and response["allowed"] else 1


def _post(name: str, address: str, port: int) -> tuple[int, str]:
    trusted = ssl.create_default_context(cadata=os.environ.get("CA"))
    plain = socket.create_connection((address, port), TIMEOUT)
    connection = http.client.HTTPConnection(name, port)
    with trusted.wrap_socket(plain, server_hostname=name) as connection.sock:
        connection.request("POST", "/validate", json.dumps(REVIEW), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

"""What `helm test` runs in our own image: one review, sent as the API server sends it, must come back answered.

Argument: the URL of /validate. The variable CA holds, in PEM, who must have signed what is served there; without it the
system's authorities count.
"""

# No package, an https URL from the chart, and output for `kubectl logs`.
# ruff: noqa: INP001, S310, T201

import json
import os
import ssl
import sys
import urllib.request

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


def main(url: str) -> int:
    """Send the review and say what came back; 0 if it was an answer that allows the Pod."""
    request = urllib.request.Request(url, json.dumps(REVIEW).encode(), {"Content-Type": "application/json"})
    trusted = ssl.create_default_context(cadata=os.environ.get("CA"))
    with urllib.request.urlopen(request, timeout=TIMEOUT, context=trusted) as answer:
        response = json.load(answer)["response"]
    print(json.dumps(response, indent=2))
    return 0 if response["uid"] == UID and response["allowed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

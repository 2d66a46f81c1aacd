"""AdmissionReviews as a real API server sends them, for the cases that the peers' captures do not have.

    python -m deploy.with_cluster python -m tests.bench.capture

It registers a webhook of its own for a namespace of its own, creates Pods as dry runs, keeps what it was sent under
reviews/, and removes everything again.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.hooks import Recorder, apply, namespace, registered

REVIEWS = Path(__file__).parent / "reviews"
NUMERIC = "registry.bench.example/team/numeric:1"  # its USER is 1000
NAMED = "registry.bench.example/team/named:1"  # its USER is a name
ROOT = "registry.bench.example/team/root:1"  # it has none
HARDENED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
_POD = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def pod(
    image: str, name: str, own: dict[str, Any] | None = None, whole: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A Pod like that of the compliant capture, with other security contexts."""
    container: dict[str, Any] = {
        "name": "app",
        "image": image,
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "LOG_LEVEL", "value": "info"}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
    }
    if own is not None:
        container["securityContext"] = own
    spec: dict[str, Any] = {"containers": [container], "nodeSelector": {"no": "where"}}
    if whole is not None:
        spec["securityContext"] = whole
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "bench"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


PODS = {
    "image": pod(NUMERIC, "image", HARDENED, _POD),
    "mutate": pod(NAMED, "mutate"),
    "violating": pod(ROOT, "violating"),
}


def main() -> None:
    """Capture them all."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Recorder(Path(folder)) as recorder,
        namespace("bench-capture") as name,
        registered("bench-capture", name, recorder.url, recorder.ca, ready=recorder.called),
    ):
        for title, given in PODS.items():
            recorder.reviews.clear()
            apply(given, name)
            review = next(each for each in recorder.reviews if json.loads(each)["request"]["name"] == title)
            (REVIEWS / f"{title}.json").write_bytes(review)
            print(f"{title}: {len(review)} bytes")


if __name__ == "__main__":
    main()

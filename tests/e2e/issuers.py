"""Who else may make the certificate that admission serves with: the user, or cert-manager."""

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deploy.release import NAMESPACE
from tests.e2e.target import Target, eventually
from tests.support import schemas
from tests.support.cluster import served
from tests.support.oracle import built
from webhook.server import certificates
from webhook.server.certificates import Pair

SECRET = "of-the-user"  # its name
CERT_MANAGER = ("github.com/cert-manager/cert-manager", "v1.21.2")
KINDS = ("certificaterequests", "certificates", "clusterissuers", "issuers")
PROGRAM = Path(__file__).parents[1] / "integration" / "oracle" / "cert_manager"


def put_certificate(target: Target, ca: Pair, lifetime: timedelta) -> Pair:
    """Put a new certificate of that CA for our Service into the user's Secret; the certificate."""
    hosts = certificates.service_hosts("nonroot-webhook", NAMESPACE)
    made = certificates.leaf(ca, hosts, datetime.now(UTC), lifetime)
    data = {"tls.crt": made.certificate, "tls.key": made.key}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }
    target.kubectl("apply", "--server-side", "-f", "-", text=json.dumps(secret))
    return made


@contextmanager
def cert_manager(target: Target, log: Path) -> Iterator[None]:
    """cert-manager's CRDs, and its controllers and CA injector as a process of this machine; what they say goes to `log`."""
    crds = b"---\n".join(schemas.files(CERT_MANAGER, [f"deploy/crds/cert-manager.io_{kind}.yaml" for kind in KINDS]))
    program = built(PROGRAM)
    target.kubectl("apply", "--server-side", "-f", "-", text=crds.decode())
    try:
        served(target, "crd", *(f"{kind}.cert-manager.io" for kind in KINDS))
        command: list[str | Path] = [program, target.environment["KUBECONFIG"]]
        with log.open("w") as said, subprocess.Popen(command, stderr=said) as running:
            try:
                eventually(lambda: running.poll() is None and log.stat().st_size, "cert-manager's first words")
                yield
            finally:
                running.terminate()
    finally:
        target.kubectl("delete", "-f", "-", text=crds.decode())

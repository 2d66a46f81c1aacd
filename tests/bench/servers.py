"""The servers that are compared, each a process of its own with TLS on loopback: ours, Kubernetes' own, and the floor."""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from deploy.local.paths import cache
from webhook.server import certificates

OURS = "nonroot-webhook"
POD_SECURITY = "Pod Security webhook"
PEER = "k8s.io/pod-security-admission/cmd/webhook"
START_LIMIT = 30.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

POLICY = """
apiVersion: nonroot.dev/v1alpha1
kind: NonRootPolicy
metadata: {name: bench}
spec: {mode: Enforce}
---
apiVersion: nonroot.dev/v1alpha1
kind: NonRootPolicy
metadata: {name: uninjected}
spec: {mode: Enforce, inject: Never, priority: 1, namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: uninjected}}}
"""
RESTRICTED = """
apiVersion: pod-security.admission.config.k8s.io/v1
kind: PodSecurityConfiguration
defaults: {enforce: restricted, enforce-version: latest}
"""


class Server(msgspec.Struct, frozen=True):
    """A running server; `validate` and `mutate` are URLs (the latter empty where it has no such hook)."""

    name: str
    pid: int
    validate: str
    mutate: str = ""

    def cpu(self) -> float:
        """CPU seconds that the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def rss(self) -> float:
        """Resident memory in MiB."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE / 2**20


def certificate(folder: Path) -> bytes:
    """Write the certificate and key that all servers use; its CA."""
    ca, cert, key = certificates.self_signed(("localhost", "127.0.0.1"), datetime.now(UTC))
    (folder / "tls.crt").write_bytes(cert)
    (folder / "tls.key").write_bytes(key)
    return ca


def ports(count: int) -> list[int]:
    """Free ports of loopback."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return found


@contextmanager
def ours(folder: Path, port: int, insecure: str) -> Iterator[Server]:
    """`nonroot serve`, whole, in mode Enforce."""
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    command = [sys.executable, "-m", "webhook", "serve", "--standalone", "--policy", str(policy)]
    command += ["--port", str(port), "--metrics-port", "0", "--insecure-registry", insecure]
    command += ["--cert", str(folder / "tls.crt"), "--key", str(folder / "tls.key")]
    url = f"https://127.0.0.1:{port}"
    with running(OURS, command, url) as pid:
        yield Server(OURS, pid, f"{url}/validate", f"{url}/mutate")


@contextmanager
def pod_security(folder: Path, port: int) -> Iterator[Server]:
    """Kubernetes' own Pod Security webhook, enforcing `restricted`; it reads namespaces from KUBECONFIG's cluster."""
    (folder / "restricted.yaml").write_text(RESTRICTED)
    command = [str(_pod_security()), "--config", str(folder / "restricted.yaml")]
    command += ["--bind-address", "127.0.0.1", "--secure-port", str(port), "--kubeconfig", os.environ["KUBECONFIG"]]
    command += ["--tls-cert-file", str(folder / "tls.crt"), "--tls-private-key-file", str(folder / "tls.key")]
    url = f"https://127.0.0.1:{port}"
    with running(POD_SECURITY, command, url) as pid:
        yield Server(POD_SECURITY, pid, url + "/")


@contextmanager
def floor(folder: Path, port: int) -> Iterator[Server]:
    """An ASGI callable that answers a constant, on the same server and TLS as ours: what the wire alone costs."""
    command = [sys.executable, "-m", "uvicorn", "tests.bench.floor:app", "--port", str(port), "--log-level", "critical"]
    command += ["--no-access-log", "--loop", "uvloop", "--http", "httptools", "--timeout-keep-alive", "120"]
    command += ["--ssl-certfile", str(folder / "tls.crt"), "--ssl-keyfile", str(folder / "tls.key")]
    url = f"https://127.0.0.1:{port}"
    with running("a constant", command, url) as pid:
        yield Server("a constant", pid, f"{url}/validate", f"{url}/mutate")


@contextmanager
def short_floor(folder: Path, port: int) -> Iterator[Server]:
    """The same constant by the short path that reviews take through our own server: what evaluating them adds."""
    command = [sys.executable, "-m", "tests.bench.floor", str(port), str(folder / "tls.crt"), str(folder / "tls.key")]
    url = f"https://127.0.0.1:{port}"
    with running("a constant, by our path", command, url) as pid:
        yield Server("a constant, by our path", pid, f"{url}/validate", f"{url}/mutate")


def _pod_security() -> Path:
    program = cache() / "bench" / "pod-security-webhook"
    if not program.exists():
        print("building the Pod Security webhook (minutes, once)")
        folder = Path(__file__).parent / "peers"
        subprocess.run(["go", "build", "-o", str(program), PEER], cwd=folder, check=True)
    return program


@contextmanager
def running(name: str, command: list[str], url: str) -> Iterator[int]:
    """A process that answers at `url`."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(name, process, url)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def allows(url: str, review: bytes) -> bool | None:
    """What a webhook answers to a review; None while it gives no answer."""
    request = urllib.request.Request(url, review, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5, context=_anybody()) as answer:
            allowed: bool = json.load(answer)["response"]["allowed"]
    except OSError:
        return None
    return allowed


def _anybody() -> ssl.SSLContext:
    return ssl._create_unverified_context()  # noqa: S323  # loopback; the certificate was made a moment ago


def _wait(name: str, process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_LIMIT
    trust = _anybody()
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/healthz", timeout=1, context=trust)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"{name} did not start")

"""The controller with a wrong clock: a process with exactly its RBAC, and libfaketime."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.e2e.target import Refused, Target, eventually
from tests.operate.test_on_a_cluster import (
    MUTATING,
    NAMESPACE,
    VALIDATING,
    bundles,
    configurations,
    get,
    kubeconfig,
    target,
)
from tests.survive.clocks import Clock
from tests.survive.conftest import long
from tests.survive.figures import Fact, record

__all__ = ["configurations", "kubeconfig", "target"]

pytestmark = [long, pytest.mark.survive, pytest.mark.cluster, pytest.mark.timeout(300)]

JUMPS = {"an hour ahead": 3600, "an hour back": -3600, "a year ahead": 31_536_000, "a year back": -31_536_000}


def test_the_controllers_clock_jumps(
    target: Target, configurations: Callable[[dict[str, Any]], None], kubeconfig: Path, tmp_path: Path
) -> None:
    """A certificate is valid or not by the API server's clock: ours makes nothing new, and nothing that is not valid."""
    configurations({"service": {"name": "hook", "namespace": NAMESPACE, "path": "/mutate"}})
    clock = Clock(tmp_path)
    with _operating(kubeconfig, clock, tmp_path / "log") as answer:
        eventually(lambda: answer("/readyz") == "ok\n", "certificates in order", 60)
        for name, seconds in JUMPS.items():
            before = (get(target, "secret", "hook-tls")["data"], bundles(target))
            clock.jump(seconds)
            time.sleep(12)  # one look at the certificates, at least
            assert (get(target, "secret", "hook-tls")["data"], bundles(target)) == before, name
            target.kubectl("delete", "secret", "-n", NAMESPACE, "hook-tls")
            made = eventually(lambda: _leaf(target), f"a new certificate, {name}", 60)
            now = datetime.now(UTC)
            assert made.not_valid_before_utc <= now < made.not_valid_after_utc, name
    record(Fact(f"the controller's clock jumps {', '.join(JUMPS)}", "no write; a lost Secret made anew, valid now"))


def _leaf(target: Target) -> x509.Certificate | None:
    with contextlib.suppress(Refused):
        return x509.load_pem_x509_certificate(b64decode(get(target, "secret", "hook-tls")["data"]["tls.crt"]))
    return None


@contextlib.contextmanager
def _operating(kubeconfig: Path, clock: Clock, log: Path) -> Iterator[Callable[[str], str]]:
    """The controller as a process, and what its plain port answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = {
        "namespace": NAMESPACE,
        "service": "hook",
        "ca-secret": "hook-ca",
        "tls-secret": "hook-tls",
        "mutating-configuration": MUTATING,
        "validating-configuration": VALIDATING,
        "host": "127.0.0.1",
        "metrics-port": str(port),
    }
    command = [sys.executable, "-m", "webhook", "operate", *(f"--{name}={value}" for name, value in flags.items())]
    environment = {**os.environ, **clock.environment, "KUBECONFIG": str(kubeconfig)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stderr=output)

    def answer(path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
                text: str = response.read().decode()
        except OSError:
            return ""
        return text

    try:
        yield answer
    finally:
        print(log.read_text()[-3000:])
        process.kill()
        process.wait()
        clock.clean(process.pid)

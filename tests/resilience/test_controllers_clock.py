"""The controller with a wrong clock: a process with exactly its RBAC, and libfaketime."""

import contextlib
import time
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.e2e.target import Target, eventually
from tests.integration.cluster.test_controller import (
    FLAGS,
    NAMESPACE,
    bundles,
    configurations,
    kubeconfig,
    secret,
    target,
)
from tests.resilience.clocks import JUMPS, Clock
from tests.resilience.conftest import long
from tests.resilience.figures import Fact, record
from tests.support.api_server import Refused
from tests.support.controller import controller

__all__ = ["configurations", "kubeconfig", "target"]

pytestmark = [long, pytest.mark.survive, pytest.mark.cluster, pytest.mark.timeout(300)]


def test_the_controllers_clock_jumps(
    target: Target, configurations: Callable[[dict[str, Any]], None], kubeconfig: Path, tmp_path: Path
) -> None:
    """A certificate is valid or not by the API server's clock: ours makes nothing new, and nothing that is not valid."""
    configurations({"service": {"name": "hook", "namespace": NAMESPACE, "path": "/mutate"}})
    clock = Clock(tmp_path)
    with (
        contextlib.ExitStack() as afterwards,
        controller(kubeconfig, *FLAGS, environment=clock.environment) as running,
    ):
        afterwards.callback(clock.clean, running.process.pid)
        eventually(lambda: running.answer("/readyz") == "ok\n", "certificates in order", 60)
        for name, seconds in JUMPS.items():
            before = (secret(target, "hook-tls")["data"], bundles(target))
            clock.jump(seconds)
            time.sleep(12)  # one look at the certificates, at least
            assert (secret(target, "hook-tls")["data"], bundles(target)) == before, name
            target.kubectl("delete", "secret", "-n", NAMESPACE, "hook-tls")
            made = eventually(lambda: _leaf(target), f"a new certificate, {name}", 60)
            now = datetime.now(UTC)
            assert made.not_valid_before_utc <= now < made.not_valid_after_utc, name
    record(Fact(f"the controller's clock jumps {', '.join(JUMPS)}", "no write; a lost Secret made anew, valid now"))


def _leaf(target: Target) -> x509.Certificate | None:
    with contextlib.suppress(Refused):
        return x509.load_pem_x509_certificate(b64decode(secret(target, "hook-tls")["data"]["tls.crt"]))
    return None

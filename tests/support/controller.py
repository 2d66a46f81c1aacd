"""The controller as a process of its own."""

import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.support.distribution import free_port


class Controller(msgspec.Struct, frozen=True):
    """A controller that runs, and the port of its probes."""

    process: subprocess.Popen[bytes]
    port: int

    def answer(self, path: str) -> str:
        """What it says there; "" while it does not listen, or has nothing good to say."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                text: str = response.read().decode()
        except OSError:
            return ""
        return text


@contextmanager
def controller(kubeconfig: Path, *flags: str, environment: Mapping[str, str] | None = None) -> Iterator[Controller]:
    """`nonroot operate` with more flags and variables. Its log is printed, and tells of no fault and no secret."""
    port = free_port()
    command = [sys.executable, "-m", "webhook", "operate", "--host=127.0.0.1", f"--metrics-port={port}", *flags]
    variables = {**os.environ, **(environment or {}), "KUBECONFIG": str(kubeconfig)}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=variables, stderr=output)
        try:
            yield Controller(process, port)
        finally:
            process.kill()
            process.wait()
            output.seek(0)
            log = output.read().decode()
            print(log)
    assert "forbidden" not in log.lower()
    assert "Traceback" not in log
    assert "PRIVATE" not in log

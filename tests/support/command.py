"""The command `nonroot` in a process of its own, forked from one that has its imports: a start takes 10 ms, not 200 to 900.

Cold starts are tested where `python -m webhook` is run: tests/integration/cli/test_main.py, and
tests/integration/documentation/test_demonstration.py for the server.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["__main__", *(f"webhook.cli.{name}" for name in ("main", "check", "fix", "explain")), "webhook.server.server"]
)
TIME_LIMIT = 60  # seconds


class _Command:
    """What the forked process does."""

    def __init__(
        self, arguments: Sequence[str], streams: Sequence[int], cwd: Path, environment: Mapping[str, str]
    ) -> None:
        self.arguments, self.streams, self.cwd, self.environment = arguments, streams, cwd, environment

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "streams": [DupFd(stream) for stream in self.streams]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "streams": [stream.detach() for stream in state["streams"]]})

    def __call__(self) -> None:
        for standard, stream in enumerate(self.streams):
            os.dup2(stream, standard)
            os.close(stream)
        sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115  # as long as the process lasts
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(self.environment)
        sys.argv = ["nonroot", *self.arguments]
        runpy.run_module("webhook", run_name="__main__", alter_sys=True)


def start(
    arguments: Sequence[str],
    streams: Sequence[IO[Any]],
    cwd: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> ForkServerProcess:
    """A running `nonroot ARGUMENTS…` with these as its standard input, output and error."""
    numbers = [stream.fileno() for stream in streams]
    process = _CONTEXT.Process(target=_Command(arguments, numbers, cwd or Path.cwd(), dict(environment)))
    process.start()
    return process


def nonroot(
    *arguments: str, stdin: str = "", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`nonroot ARGUMENTS…` once it has ended, with an environment of its own."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as error:
        given.write(stdin.encode())
        given.seek(0)
        process = start(arguments, (given, output, error), cwd, {**kept, **environment})
        process.join(TIME_LIMIT)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, TIME_LIMIT)
        output.seek(0)
        error.seek(0)
        return subprocess.CompletedProcess(arguments, process.exitcode, output.read().decode(), error.read().decode())

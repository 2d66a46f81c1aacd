"""Commands with a cluster around them, ended by SIGTERM to the first process: the cluster, which is made up, ends too."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import commands
from deploy.local.processes import Processes
from tests.support.helm import CHART

ROOT = CHART.parent.parent
# Python runs this first in each process: a cluster whose start and end are lines of a file. The rest is as it is.
STAND_IN = """\
import contextlib
import os
from pathlib import Path
from types import SimpleNamespace

from deploy.local import apt, build, cluster
from tests.support import control_plane

def note(what):
    def noted(*_, **__):
        with open(os.environ["RECORD"], "a") as record:
            print(what, file=record)
        return SimpleNamespace(kubeconfig=Path("kubeconfig"), environment=lambda: {"KUBECONFIG": "kubeconfig"})
    return noted

@contextlib.contextmanager
def alone(*_, **__):
    try:
        yield note("up")()
    finally:
        note("down")()

apt.install = build.ensure = cluster.running = lambda *_, **__: None
cluster.up, cluster.down, control_plane.alone = note("up"), note("down"), alone
"""
WAITING = """\
#!/bin/sh
if [ $# -gt 0 ]; then # by tests.versions, which does not wait for its end
  echo >&2
  exec sleep 600 2>/dev/null
fi
trap 'kill $!; echo ended >>"$RECORD"; exit' TERM
sleep 600 2>/dev/null &
echo >&2
wait
"""


@pytest.mark.parametrize(
    ("words", "record"),
    [
        ("deploy.with_cluster kubectl", ["up", "ended", "down"]),
        ("tests.versions.api_server kubectl", ["up", "ended", "down"]),
        ("tests.versions 1.33/2.0 --parts CRDs", ["up", "down"]),
        ("tests.versions 1.33 --parts CRDs", ["up", "down"]),
    ],
)
def test_the_command_ends_and_then_the_cluster(tmp_path: Path, words: str, record: list[str]) -> None:
    """kubectl, which each of them comes to ask, never answers here."""
    (tmp_path / "sitecustomize.py").write_text(STAND_IN)
    (tmp_path / "kubectl").write_text(WAITING)
    (tmp_path / "kubectl").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"} | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "NONROOT_CACHE": str(tmp_path / "cache"),
        "RECORD": str(tmp_path / "record"),
    }
    command = [sys.executable, "-m", *words.split()]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "\n"
        process.terminate()
        process.communicate()
    assert process.returncode == -signal.SIGINT
    assert (tmp_path / "record").read_text().split() == record


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """What is started; SIGTERM comes as soon as it is, before whoever starts it knows."""
    every: list[subprocess.Popen[bytes]] = []

    class Signalled(subprocess.Popen[bytes]):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            every.append(self)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Signalled)
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield every
    signal.signal(signal.SIGTERM, former)


def test_a_command_that_is_just_being_started_is_ended(started: list[subprocess.Popen[bytes]]) -> None:
    with pytest.raises(KeyboardInterrupt):
        commands.call(["sleep", "600"])
    assert [each.returncode for each in started] == [-signal.SIGTERM]


def test_a_program_of_the_cluster_that_is_just_being_started_is_known(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    processes = Processes(tmp_path / "notes", tmp_path / "logs")
    with pytest.raises(KeyboardInterrupt):
        processes.start("one", ["sleep", "600"])
    known = processes.running("one")
    processes.stop("one")
    assert known is not None
    assert [each.pid for each in started] == [known.pid]

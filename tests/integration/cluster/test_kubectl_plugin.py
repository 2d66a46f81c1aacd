"""The commands as kubectl's plugin."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.check.files import POD


@pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl")
def test_kubectl_finds_the_plugin(tmp_path: Path) -> None:
    """The real kubectl, which looks for `kubectl-nonroot` on the PATH, hands on arguments, input and exit code."""
    plugin = Path(sys.executable).with_name("kubectl-nonroot")
    assert plugin.exists(), "pip install -e . makes it"
    path = {**os.environ, "PATH": f"{plugin.parent}:{os.environ['PATH']}"}
    arguments = ["kubectl", "nonroot", "check", "-", "--no-images"]
    root = POD.replace("runAsNonRoot: true", "runAsUser: 0")
    result = subprocess.run(arguments, input=root, capture_output=True, text=True, check=False, env=path)
    assert (result.returncode, "error root-user" in result.stdout) == (1, True), result.stderr


@pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["insp"], ["inspect", ":4"]),
        (["explain", "named-"], ["named-user", ":4"]),
        (["inspect", "--off"], ["--offline", ":4"]),
        (["check", "--policy", ""], [":0"]),
        ([""], None),
    ],
)
def test_kubectl_completes_for_the_plugin(typed: list[str], offered: list[str] | None) -> None:
    """Asked as the shell's completion of kubectl asks; files are left to the shell."""
    path = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["kubectl", "__complete", "nonroot", *typed]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=path).stdout.splitlines()
    assert result == offered if offered else {"check", "explain", "fix", "inspect", "serve"} <= set(result)

"""The command without a process: its help, and how it ends."""

import errno
import os
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.unit.check.files import POD
from webhook.cli.main import main

ROOT = Path(__file__).parents[3]
HELP = Path(__file__).with_name("cli_help.txt")


def help_of(*command: str) -> str:
    """The help text at a width that does not depend on the terminal."""
    result = CliRunner().invoke(main, [*command, "--help"], prog_name="nonroot", terminal_width=100)
    return f"$ nonroot {' '.join([*command, '--help'])}\n{result.output}\n"


def test_the_help_is_the_one_that_was_agreed() -> None:
    """Flags are contracts. After an intended change: NONROOT_WRITE_HELP=1 pytest tests/unit/cli/test_main.py."""
    names = sorted(main.list_commands(None))  # type: ignore[arg-type]  # it does not look at the context
    result = help_of() + "".join(help_of(name) for name in names)
    if os.environ.get("NONROOT_WRITE_HELP"):
        HELP.write_text(result)
    assert HELP.read_text() == result


def test_the_plugin_of_kubectl_is_the_same_program() -> None:
    """`kubectl nonroot …` runs `kubectl-nonroot`, which is installed as the very same function."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kubectl-nonroot"] == scripts["nonroot"] == "webhook.cli.main:main"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And left as it was, with nothing beside it."""
    text = POD.replace("runAsNonRoot: true", "runAsUser: 7")
    (tmp_path / "pod.yaml").write_text(text)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    result = CliRunner().invoke(main, ["fix", str(tmp_path), "--no-images", "--write"])
    assert result.exit_code == 2
    assert result.output.startswith(f"nonroot: cannot write '{tmp_path}/pod.yaml': No space left on device")
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"pod.yaml": text}


def test_an_interruption_is_no_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 130, as shells have it."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "pod.yaml").write_text(POD)
    monkeypatch.setattr("webhook.cli.check.rendered", interrupted)
    assert CliRunner().invoke(main, ["check", str(tmp_path), "--no-images"]).exit_code == 130

"""The commands that a page of the documentation shows, run in a shell, and the output that it shows for them.

A page has blocks in the language `sh`. A block in the language `text` that follows one is its output, exactly. The
commands of a block without output must succeed. With NONROOT_WRITE_OUTPUT=1 the page is written anew with what the
commands print today.
"""

import os
import re
import shlex
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import msgspec

BLOCK = re.compile(
    r"^(?P<indent> *)```sh\n(?P<commands>.*?)^ *```\n(?:\n *```text\n(?P<output>.*?)^ *```\n)?",
    re.DOTALL | re.MULTILINE,
)
COMMAND_LIMIT = 300.0  # seconds


class Run(msgspec.Struct, frozen=True):
    """A block's commands, and the output that the page shows, what they print now, and their exit code."""

    commands: str
    shown: str | None
    printed: str
    exit_code: int


def rerun(page: Path, run: Callable[[str], tuple[str, int]]) -> list[Run]:
    """Runs the blocks of a page one after the other; `run` gives the output and the exit code of commands."""
    runs: list[Run] = []

    def block(match: re.Match[str]) -> str:
        commands = textwrap.dedent(match["commands"])
        printed, exit_code = run(commands)
        shown = None if match["output"] is None else textwrap.dedent(match["output"])
        if shown is not None and os.environ.get("NONROOT_WRITE_OUTPUT"):
            shown = printed
        runs.append(Run(commands, shown, printed, exit_code))
        blocks = f"```sh\n{commands}```\n" + ("" if shown is None else f"\n```text\n{shown}```\n")
        return textwrap.indent(blocks, match["indent"])

    text = BLOCK.sub(block, page.read_text(encoding="utf-8"))
    if os.environ.get("NONROOT_WRITE_OUTPUT"):
        page.write_text(text, encoding="utf-8")
    return runs


def holds(run: Run) -> bool:
    """Whether the commands do what the page says of them."""
    return run.exit_code == 0 if run.shown is None else run.printed == run.shown


def shell(folder: Path, **environment: str) -> Callable[[str], tuple[str, int]]:
    """Runs commands in that folder: what they print on both streams, and their exit code."""

    def run(commands: str) -> tuple[str, int]:
        done = subprocess.run(
            ["bash", "-e", "-c", commands],
            cwd=folder,
            env={**os.environ, "COLUMNS": "80", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=COMMAND_LIMIT,
        )
        return done.stdout, done.returncode

    return run


def program(folder: Path, python: Path, config: Path) -> Path:
    """A folder for PATH in which `nonroot` is that Python's, with a registry configuration."""
    folder.mkdir()
    script = folder / "nonroot"
    script.write_text(
        "#!/bin/sh\ncommand=$1; shift\n"
        f'exec {shlex.quote(str(python))} -m webhook "$command" --registry-config {shlex.quote(str(config))} "$@"\n'
    )
    script.chmod(0o755)
    return folder

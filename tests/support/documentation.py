"""The commands that a page of the documentation shows, run in a shell, and the output that it shows for them.

A page has blocks in the language `sh`. A block in the language `text` that follows one is its output, exactly. With
NONROOT_WRITE_OUTPUT=1 the page is written anew with what the commands print today.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

BLOCK = re.compile(r"```sh\n(?P<commands>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?", re.DOTALL)
COMMAND_LIMIT = 120.0  # seconds


class Shell:
    """A shell in which `nonroot` is the one under test, and image names lead to the registries that `config` names."""

    def __init__(self, folder: Path, config: Path, programs: Path) -> None:
        self._folder = folder
        programs.mkdir()
        program = programs / "nonroot"
        program.write_text(
            f"#!/bin/sh\ncommand=$1; shift\n"
            f'exec {shlex.quote(sys.executable)} -m webhook "$command" --registry-config {shlex.quote(str(config))} "$@"\n'
        )
        program.chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "XDG_CACHE_HOME": str(programs / "cache"),
            "COLUMNS": "80",
        }

    def run(self, commands: str) -> str:
        """What the commands print, on both streams."""
        done = subprocess.run(
            ["bash", "-c", commands],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=COMMAND_LIMIT,
        )
        return done.stdout


def rerun(page: Path, shell: Shell) -> list[tuple[str, str, str]]:
    """Each block's commands, the output shown and the output of today; the page is rewritten where that is asked for."""
    found: list[tuple[str, str, str]] = []

    def block(match: re.Match[str]) -> str:
        printed = shell.run(match["commands"])
        if match["output"] is None:
            return match[0]
        found.append((match["commands"], match["output"], printed))
        return f"```sh\n{match['commands']}```\n\n```text\n{printed}```\n"

    text = BLOCK.sub(block, page.read_text(encoding="utf-8"))
    if os.environ.get("NONROOT_WRITE_OUTPUT"):
        page.write_text(text, encoding="utf-8")
        found = [(commands, printed, printed) for commands, _, printed in found]
    return found

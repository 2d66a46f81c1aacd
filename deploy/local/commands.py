"""Running another program to its end: the answer is its output, a failure quotes what it said."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .errors import ClusterError

QUOTED_LINES = 15


def run(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
) -> str:
    """Run `command`, with `env` added to our own environment, and return what it printed."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as exc:
        raise ClusterError(f"{words[0]}: no such program (to run: {' '.join(words)})") from exc
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()[-QUOTED_LINES:]
        raise ClusterError(f"{' '.join(words)}: exit status {done.returncode}\n" + "\n".join(said))
    return done.stdout

"""The load: oha, a compiled generator, which cargo builds once, and what one run of it showed."""

import json
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from deploy.local.paths import cache

VERSION = "1.16.0"


class Figure(NamedTuple):
    """One run, or the medians of several."""

    rate: float  # requests a second
    p50: float  # milliseconds
    p99: float
    cpu: float  # milliseconds a request of the server's own


def oha() -> Path:
    """The program."""
    if found := shutil.which("oha"):
        return Path(found)
    root = cache() / "bench"
    program = root / "bin" / "oha"
    if not program.exists():
        print("building oha (minutes, once)")
        subprocess.run(["cargo", "install", "--quiet", "--locked", "--root", str(root), f"oha@{VERSION}"], check=True)
    return program


def run(
    url: str,
    body: Path,
    connections: int,
    seconds: float,
    *,
    expected: int = 200,
    cpu: Callable[[], float] = lambda: 0.0,
    options: Iterable[str] = ("--insecure",),
) -> Figure:
    """POST the lines of a file over and over; `cpu` reads the server's CPU seconds.

    SystemExit where an answer is not the expected.
    """
    command = [str(oha()), "--no-tui", "--output-format", "json", "-z", f"{seconds}s", "-c", str(connections), *options]
    command += ["-m", "POST", "-H", "Content-Type: application/json", "-Z", str(body), url]
    before = cpu()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    spent = cpu() - before
    found: dict[str, Any] = json.loads(done.stdout)
    answers = found["statusCodeDistribution"]
    if set(answers) != {str(expected)}:
        raise SystemExit(f"{url} answered {answers} to {body.name}")
    count = sum(answers.values())
    percentiles = found["latencyPercentiles"]
    return Figure(
        count / found["summary"]["total"], percentiles["p50"] * 1000, percentiles["p99"] * 1000, spent / count * 1000
    )


def median(runs: list[Figure]) -> Figure:
    """Each figure's own median."""
    return Figure(*(statistics.median(each[index] for each in runs) for index in range(len(Figure._fields))))

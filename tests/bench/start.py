"""How soon the command line is there: the program itself, one manifest, a thousand files without images.

    python -m tests.bench.start

Wall clock and CPU of whole processes, the best of some runs: what another program on the machine takes away is not ours.
"""

import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.unit.check.files import POD

ROUNDS = 10
FILES = 1000
OTHER = POD.replace("name: web", "name: other\n  labels: {a: b, c: d}")


async def main() -> list[str]:
    """The section's lines."""
    return await asyncio.to_thread(_section)


def _section() -> list[str]:
    lines = ["| command | wanted, ms | wall, ms | CPU, ms |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "one.yaml").write_text(POD)
        (folder / "many").mkdir()
        for number in range(FILES):
            (folder / "many" / f"{number}.yaml").write_text(f"{POD}---\n{OTHER}")
        for wanted, *command in (
            (150, "--version"),
            (300, "check", "one.yaml", "--no-images"),
            (2000, "check", "many", "--no-images"),
        ):
            best = [min(each) for each in zip(*(measured(folder, command) for _ in range(ROUNDS)), strict=True)]
            wall, cpu = (f"{seconds * 1000:.0f}" for seconds in best)
            lines.append(f"| `nonroot {' '.join(map(str, command))}` | {wanted} | {wall} | {cpu} |")
    return [*lines, "", f"`many` has {FILES:,} files of two documents each; the best of {ROUNDS} runs.", ""]


def measured(folder: Path, command: list[str]) -> tuple[float, float]:
    """Seconds on the clock and of CPU that one run takes."""
    program = Path(sys.executable).with_name("nonroot")
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([program, *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    print("\n".join(asyncio.run(main())))

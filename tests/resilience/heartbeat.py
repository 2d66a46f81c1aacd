"""`python -m tests.resilience.heartbeat FILE serve …`: nonroot, with its event loop's pulse in FILE, every second.

Where `silent` is long and `at_work` is not, the machine gave its processors to somebody else.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from webhook.cli import main as cli
from webhook.server import server

BEAT = 0.005  # seconds
WARM = 3.0  # seconds after the start, from which on it counts


class Pulse(msgspec.Struct):
    """The longest that the loop was silent, and the longest that it was at work meanwhile, in milliseconds; its tasks now."""

    silent: float = 0.0
    at_work: float = 0.0
    tasks: int = 0


def read(file: Path) -> Pulse:
    """What was written last."""
    return msgspec.json.decode(file.read_bytes(), type=Pulse)


async def _beat(file: Path) -> None:
    pulse, written = Pulse(), 0.0
    await asyncio.sleep(WARM)
    while True:
        began, worked = time.monotonic(), time.thread_time()
        await asyncio.sleep(BEAT)
        silent, worked = time.monotonic() - began - BEAT, time.thread_time() - worked
        pulse.silent = max(pulse.silent, silent * 1000)
        pulse.at_work = max(pulse.at_work, min(worked, silent) * 1000)
        if began > written + 1:
            pulse.tasks, written = len(asyncio.all_tasks()), began
            _write(file, pulse)


def _write(file: Path, pulse: Pulse) -> None:
    """Whole, whoever reads meanwhile."""
    new = file.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(pulse))
    new.replace(file)


def main(file: Path, arguments: list[str]) -> None:
    """Run, and beat."""
    serve = server._serve

    async def beating(*arguments: Any) -> None:
        beat = asyncio.create_task(_beat(file))
        try:
            await serve(*arguments)
        finally:
            beat.cancel()

    server._serve = beating  # type: ignore[assignment]  # whatever it takes
    cli.main(arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

"""`python -m tests.survive.heartbeat FILE serve …`: nonroot, with a pulse in its event loop that is written to FILE at its end.

Two figures, in milliseconds, from WARM seconds after its start: the longest that the loop was silent, and the longest that
it was at work meanwhile. Where the first is long and the second is not, the machine gave its processors to somebody else.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from webhook import cli
from webhook.serve import server

BEAT = 0.005  # seconds
WARM = 3.0


async def _pulse(told: dict[str, float]) -> None:
    await asyncio.sleep(WARM)
    while True:
        began, worked = time.monotonic(), time.thread_time()
        await asyncio.sleep(BEAT)
        silent, worked = time.monotonic() - began - BEAT, time.thread_time() - worked
        told["silent"] = max(told["silent"], silent * 1000)
        told["at work"] = max(told["at work"], min(worked, silent) * 1000)


def main(file: Path, arguments: list[str]) -> None:
    """Run, and write."""
    told = {"silent": 0.0, "at work": 0.0}
    serve = server._serve

    async def beating(*arguments: Any) -> None:
        pulse = asyncio.create_task(_pulse(told))
        try:
            await serve(*arguments)
        finally:
            pulse.cancel()
            file.write_text(f"{told['silent']:.1f} {told['at work']:.1f}")  # noqa: ASYNC240  # the last thing it does

    server._serve = beating  # type: ignore[assignment]  # whatever it takes
    cli.main(arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

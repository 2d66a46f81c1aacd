"""What stays in memory of something that is done again and again: for some rounds, or for NONROOT_MEMORY_SECONDS."""

import gc
import os
import time
import tracemalloc
from collections.abc import Awaitable, Callable

from tests.resilience.figures import Fact, record

SECONDS = float(os.environ.get("NONROOT_MEMORY_SECONDS", "0"))


async def growth(what: str, send: Callable[[int], Awaitable[None]], rounds: int) -> tuple[int, int]:
    """The bytes that are kept more after the rounds than after a first one, and how many rounds there were.

    Where it goes on for seconds, it records them as a figure about `what`.
    """
    await send(0)
    gc.collect()
    tracemalloc.start()
    try:
        before, until, number = tracemalloc.get_traced_memory()[0], time.monotonic() + SECONDS, 0
        while number < rounds or time.monotonic() < until:
            number += 1
            await send(number)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        if SECONDS:
            record(Fact(f"{what}, for {SECONDS:.0f} s", f"{grown >> 10:,} KiB more are kept after {number:,}"))
        return grown, number
    finally:
        tracemalloc.stop()

"""What stays in memory of something that is done again and again: for some rounds, or for NONROOT_MEMORY_SECONDS."""

import gc
import os
import time
import tracemalloc
from collections.abc import Awaitable, Callable

SECONDS = float(os.environ.get("NONROOT_MEMORY_SECONDS", "0"))


async def growth(send: Callable[[int], Awaitable[None]], rounds: int) -> tuple[int, int]:
    """The bytes that are kept more after the rounds than after a first one, and how many rounds there were."""
    await send(0)
    gc.collect()
    tracemalloc.start()
    try:
        before, until, number = tracemalloc.get_traced_memory()[0], time.monotonic() + SECONDS, 0
        while number < rounds or time.monotonic() < until:
            number += 1
            await send(number)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before, number
    finally:
        tracemalloc.stop()

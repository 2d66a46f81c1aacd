"""Writes to the API server that nobody waits for: one task, a bounded queue, one write at a time.

What cannot be written is dropped, never saved up: whatever is told here is told again by the next one that meets it. Where
the API server does not let us, or does not know the kind, nothing is offered to it for some minutes; that is logged once.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import NoReturn

from webhook.cluster.client import Absent, ClusterError, Forbidden

QUEUE_LIMIT = 1000  # writes that may wait
WRITE_INTERVAL = 0.02  # seconds between two of them at least
REFUSED_PAUSE = 300.0  # seconds without a try after a refusal that only a person will change
FAILED_PAUSE = 5.0  # and after any other failure

Write = Callable[[], Awaitable[object]]

log = logging.getLogger(__name__)


class WorkQueue:
    """Made for one kind of object, which `what` names in the log. `written`, `failed` and `dropped` are for metrics.

    It rests for `rests` times PACE after each write.
    """

    def __init__(
        self, what: str, *, limit: int = QUEUE_LIMIT, rests: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._limit = limit
        self._rests = rests
        self._clock = clock
        self._waiting: dict[Hashable, Write] = {}
        self._some = asyncio.Event()
        self._closed_until = 0.0
        self._said = ""
        self.written = self.failed = self.dropped = 0

    def add(self, key: Hashable, write: Write) -> bool:
        """Queue a write, in place of one with the same key that still waits; False where it is dropped. Never blocks."""
        full = key not in self._waiting and len(self._waiting) >= self._limit
        if full or self._clock() < self._closed_until:
            self.dropped += 1
            return False
        self._waiting[key] = write
        self._some.set()
        return True

    async def run(self) -> NoReturn:
        """Write what is offered, until cancelled. `write` raises `ClusterError` where it fails, and is not tried again."""
        while True:
            await self._some.wait()
            write = self._waiting.pop(next(iter(self._waiting)))
            if not self._waiting:
                self._some.clear()
            await self._try(write)
            await asyncio.sleep(self._rests * WRITE_INTERVAL)

    async def _try(self, write: Write) -> None:
        try:
            await write()
        except ClusterError as error:
            self.failed += 1
            refused = isinstance(error, Forbidden | Absent)
            self._closed_until = self._clock() + (REFUSED_PAUSE if refused else FAILED_PAUSE)
            kind = type(error).__name__
            if kind != self._said:
                log.warning("no %s are written for now: %s", self._what, error)
            self._said = kind
            return
        except Exception:
            self.failed += 1
            log.exception("one of the %s failed, which is a bug", self._what)
            return
        self.written += 1
        if self._said:
            log.info("%s are written again", self._what)
        self._said = ""


@contextlib.asynccontextmanager
async def run_in_background(*writers: WorkQueue) -> AsyncIterator[None]:
    """Run writers meanwhile; what waits at the end is dropped."""
    tasks = [asyncio.create_task(each.run()) for each in writers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

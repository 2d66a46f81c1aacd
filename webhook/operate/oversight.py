"""When statuses are looked at and when the cluster is scanned: one follows from the other, and both from what changes."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from webhook.operate.repeating import Pause, repeat
from webhook.operate.scanning import Scanning
from webhook.operate.standing import Standing

PAUSE = 1.0  # seconds between two looks at statuses at least: ours change them, too
RESYNC = 300.0  # seconds after which they are looked at in any case
SETTLE = 10.0  # seconds between two scans at least: several changes make one
REST = 10  # times a scan's seconds of CPU between two of them: not a tenth of a core is spent on scanning


class Oversight:
    """Two steps to be repeated. An `interval` of zero: no scan at all."""

    def __init__(
        self,
        standing: Standing,
        scanning: Scanning,
        interval: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._standing = standing
        self._scanning = scanning
        self._interval = interval
        self._now = now
        self._turn: datetime | None = None  # when time alone changes what an exception is worth
        self.standing_due, self.scan_due = asyncio.Event(), asyncio.Event()

    def changed(self) -> None:
        """A namespace, policy or exception has: everything that follows from them may have, too."""
        self.standing_due.set()
        self.scan_due.set()

    def loops(self) -> tuple[Coroutine[None, None, NoReturn], ...]:
        """What to run until cancelled, which may be anywhere: the next controller goes on from what was written."""
        standing = repeat("the statuses of policies and exceptions", self.stand, self.standing_due)
        if not self._interval:
            return (standing,)
        return (standing, repeat("the background scan", self.scan, self.scan_due))

    async def stand(self) -> Pause:
        """Look at the statuses. Raises `ClusterError`."""
        now = self._now()
        if self._turn is not None and now >= self._turn:
            self.scan_due.set()
        _, self._turn = await self._standing.round(now)
        left = RESYNC if self._turn is None else (self._turn - self._now()).total_seconds()
        return Pause(PAUSE, min(max(left, PAUSE), RESYNC))

    async def scan(self) -> Pause:
        """Scan, and have its sums shown. Raises `ClusterError`."""
        began = time.process_time()
        await self._scanning.round()
        self._standing.sums = self._scanning.sums()
        self.standing_due.set()
        least = max(SETTLE, REST * (time.process_time() - began))
        return Pause(least, max(least, self._interval.total_seconds()))

"""A queue of writes to the API server in the background: bounded, one write at a time.

What cannot be written is dropped, never saved up: whatever is added here is added again by the next one that meets it. While
the API server does not answer, nothing is sent to it for some seconds. Where RBAC does not let us write, or the kind is
not installed, nothing is sent for some minutes, in that namespace alone. One object that is not taken, as invalid or by
an admission policy, says nothing about any other.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import NoReturn

from webhook.cluster.errors import Absent, Busy, ClusterError, Denied, Forbidden
from webhook.cluster.supervisor import background, supervise

QUEUE_LIMIT = 1000  # writes that may wait
WRITE_INTERVAL = 0.02  # seconds between two of them at least
REFUSED_PAUSE = 300.0  # seconds without a try after a refusal that only a person will change
FAILED_PAUSE = 5.0  # seconds without a try while the API server does not answer, unless it asks for more
REFUSED_LIMIT = 1000  # namespaces that are kept as refused

Write = Callable[[], Awaitable[object]]

log = logging.getLogger(__name__)


class WorkQueue:
    """Made for one kind of object, which `what` names in the log. `written`, `failed` and `dropped` are for metrics.

    It rests for `rests` times WRITE_INTERVAL after each write.
    """

    def __init__(
        self, what: str, *, limit: int = QUEUE_LIMIT, rests: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.what = what
        self._limit = limit
        self._rests = rests
        self._clock = clock
        self._waiting: dict[Hashable, tuple[str, Write]] = {}
        self._some = asyncio.Event()
        self._closed: dict[str | None, float] = {}  # until when, by namespace; None: in all of them
        self.written = self.failed = self.dropped = 0

    def add(self, key: Hashable, write: Write, namespace: str = "") -> bool:
        """Queue a write, in place of one with the same key that still waits; False where it is dropped. Never blocks."""
        full = key not in self._waiting and len(self._waiting) >= self._limit
        if full or self._clock() < max(self._closed.get(each, 0.0) for each in (None, namespace)):
            self.dropped += 1
            return False
        self._waiting[key] = namespace, write
        self._some.set()
        return True

    async def run(self) -> NoReturn:
        """Do the writes, until cancelled. `write` raises `ClusterError` where it fails, and is not tried again."""
        while True:
            await self._some.wait()
            namespace, write = self._waiting.pop(next(iter(self._waiting)))
            if not self._waiting:
                self._some.clear()
            await self._try(namespace, write)
            await asyncio.sleep(self._rests * WRITE_INTERVAL)

    async def _try(self, namespace: str, write: Write) -> None:
        try:
            await write()
        except ClusterError as error:
            self._fail(namespace, error)
        except Exception:
            self.failed += 1
            log.exception("one of the %s failed, which is a bug", self.what)
        else:
            self.written += 1
            for place in (None, namespace):
                if self._closed.pop(place, None) is not None:
                    log.info("%s are written again%s", self.what, _within(place))

    def _fail(self, namespace: str, error: ClusterError) -> None:
        self.failed += 1
        place: str | None
        match error:
            case Denied():
                log.warning("one of the %s is not taken: %s", self.what, error)
                return
            case Forbidden() | Absent():
                place, pause = namespace, REFUSED_PAUSE
            case Busy():
                place, pause = None, max(FAILED_PAUSE, error.retry_after)
            case _:
                place, pause = None, FAILED_PAUSE
        if self._closed.pop(place, None) is None:
            log.warning("no %s are written for now%s: %s", self.what, _within(place), error)
        self._closed[place] = self._clock() + pause
        if len(self._closed) > REFUSED_LIMIT:
            del self._closed[next(iter(self._closed))]


def _within(namespace: str | None) -> str:
    return f" in namespace {namespace}" if namespace else ""


def run_in_background(*writers: WorkQueue) -> contextlib.AbstractAsyncContextManager[None]:
    """Run writers meanwhile; what waits at the end is dropped."""
    return background(*(supervise(f"writing {each.what}", each.run) for each in writers))

"""Remembering: a map bounded by memory, and work that is done once however many ask for it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_log = logging.getLogger(__name__)

_OVERHEAD = 200  # a key, a node of the map and a small struct, roughly


class LRUCache(Generic[K, V]):
    """A map that forgets what was used least recently once its weights pass `limit` bytes.

    What fills it should be structs with `gc=False`: the garbage collector stops everything while it looks at all the rest,
    and of ten thousand images that would be a sixth of a second.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def weight(self) -> int:
        """The bytes that the entries are held to take."""
        return self._weight

    def get(self, key: K) -> V | None:
        """The value, now the most recently used; None where it is unknown or forgotten."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, weight: int = 0) -> None:
        """Keep a value of `weight` bytes; one that is too heavy for the whole map is not kept."""
        self.drop(key)
        weight += _OVERHEAD
        if weight > self._limit:
            return
        self._entries[key] = (value, weight)
        self._weight += weight
        while self._weight > self._limit:
            _, (_, freed) = self._entries.popitem(last=False)
            self._weight -= freed

    def drop(self, key: K) -> None:
        """Forget one entry, if it is there."""
        found = self._entries.pop(key, None)
        if found is not None:
            self._weight -= found[1]


class SingleFlight:
    """Single flight: whoever asks for a key that is already being worked on waits for that work.

    The work is a task of its own, so it goes on when a caller gives up; `aclose` cancels what is left.
    """

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, V]]) -> asyncio.Task[V]:
        """The running task for `key`, begun now if there is none. Wait for it with `asyncio.wait`, or `join`."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(work())
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        return task

    def running(self, key: Hashable) -> bool:
        """Whether somebody works on `key`."""
        return key in self._tasks

    async def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The outcome of the work on `key`; a cancelled caller leaves it running for the others."""
        return await asyncio.shield(self.start(key, work))

    async def aclose(self) -> None:
        """Cancel everything that still runs, and wait until it is gone."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(key, None)
        if not task.cancelled() and isinstance(task.exception(), Exception):
            _log.debug("a look-up ended early", exc_info=task.exception())  # heard here, for nobody else may be left


class FairSemaphore:
    """A bound on what runs at once, in all and for any one name: no tenant's slow registry starves another."""

    def __init__(self, total: int, each: int) -> None:
        self._total = asyncio.Semaphore(total)
        self._each = each
        self._lanes: dict[str, tuple[asyncio.Semaphore, int]] = {}

    async def run(self, name: str, work: Callable[[], Awaitable[V]]) -> V:
        """Do the work when its turn has come."""
        lane, waiting = self._lanes.get(name) or (asyncio.Semaphore(self._each), 0)
        self._lanes[name] = (lane, waiting + 1)
        try:
            async with lane, self._total:
                return await work()
        finally:
            lane, waiting = self._lanes[name]
            if waiting == 1:
                del self._lanes[name]
            else:
                self._lanes[name] = (lane, waiting - 1)

"""Caching and sharing of work: a map bounded by memory, single flight, and a fair semaphore."""

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_log = logging.getLogger(__name__)

TENANT: ContextVar[str] = ContextVar("tenant", default="")
"""The namespace for which work is done, whose share of turns, streams and name look-ups it takes.

Tasks inherit it. Work that several namespaces wait for is done in the name of the first.
"""

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
    """Work by key that runs once at a time: a caller for a key that is being worked on waits for that work.

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
    """A bound on what runs at once: `total` in all and `each` for any one name, but one for every name.

    A name for which nothing runs need not wait until others are done, however slow they are; only beyond `most` (four times
    the total) does it wait like them. Turns go round by name, not by who came first.
    """

    def __init__(self, total: int, each: int, most: int | None = None) -> None:
        self._total = total
        self._each = each
        self._most = 4 * total if most is None else most
        self._running: Counter[str] = Counter()
        self._sum = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def run(self, name: str, work: Callable[[], Awaitable[V]]) -> V:
        """Do the work when its turn has come."""
        if name in self._waiting or not self._may_start(name):
            await self._wait(name)
        else:
            self._start(name)
        try:
            return await work()
        finally:
            self._end(name)

    def _may_start(self, name: str) -> bool:
        running = self._running[name]
        if not running:
            return self._sum < self._most
        return running < self._each and self._sum < self._total

    def _start(self, name: str) -> None:
        self._running[name] += 1
        self._sum += 1

    def _end(self, name: str) -> None:
        self._sum -= 1
        self._running[name] -= 1
        if not self._running[name]:
            del self._running[name]
        self._pass_on()

    async def _wait(self, name: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._clean(name)
            else:  # it was given at the same moment
                self._end(name)
            raise

    def _clean(self, name: str) -> None:
        """Forget who has given up; the name keeps its place."""
        queue = deque(turn for turn in self._waiting.get(name, ()) if not turn.cancelled())
        if queue:
            self._waiting[name] = queue
        else:
            self._waiting.pop(name, None)

    def _pass_on(self) -> None:
        """Give turns to those who may start, one to each name in a round; who was given one is the last of the next."""
        for name in list(self._waiting):
            self._clean(name)
            if name in self._waiting and self._may_start(name):
                queue = self._waiting.pop(name)
                self._start(name)
                queue.popleft().set_result(None)
                if queue:
                    self._waiting[name] = queue

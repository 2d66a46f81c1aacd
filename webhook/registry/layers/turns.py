"""The turns in which threads work for namespaces, so that none waits long for what another has sent."""

import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

_REST = 7  # times as long as its last turn a namespace rests that has had just a minute's share
_SHORTEST = 0.001  # seconds of a rest: a shorter one is left for the next
_NAMESPACES = 1000  # that are remembered


class ThreadTurns:
    """A bound on how many threads work at once, which they take piece by piece; turns go round by namespace.

    As `webhook.caching.FairSemaphore`, for work that no event loop can interrupt. Whatever works takes the interpreter from the
    event loop, too. So the more work a namespace has had, the longer it rests after each turn, with all of its threads: who
    never stops comes to `share` seconds of work a minute.
    """

    def __init__(
        self,
        total: int,
        share: float,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.thread_time,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._guard = threading.Lock()
        self._free = total
        self._share = share
        self._waiting: OrderedDict[str, deque[threading.Event]] = OrderedDict()
        self._clock, self._used, self._rest = clock, used, rest
        self._spent: OrderedDict[str, tuple[float, float, float]] = OrderedDict()  # seconds of work, when, rests until

    @contextlib.contextmanager
    def turn(self, namespace: str) -> Iterator[None]:
        """One piece of work, once its turn has come."""
        given = threading.Event()
        with self._guard:
            if self._free:
                self._free -= 1
                given.set()
            else:
                self._waiting.setdefault(namespace, deque()).append(given)
        given.wait()
        before = self._used()
        try:
            yield
        finally:
            took = self._used() - before
            with self._guard:
                self._pass_on()
                rest = self._spend(namespace, took)
            if rest >= _SHORTEST:
                self._rest(rest)

    def _pass_on(self) -> None:
        """Give the turn to the namespace that has waited longest since its last, which is the last of the next round."""
        if not self._waiting:
            self._free += 1
            return
        namespace, queue = self._waiting.popitem(last=False)
        queue.popleft().set()
        if queue:
            self._waiting[namespace] = queue

    def _spend(self, namespace: str, seconds: float) -> float:
        """The seconds that the namespace has to rest now. Of its work a share is forgiven a minute."""
        now = self._clock()
        spent, at, until = self._spent.pop(namespace, (0.0, now, now))
        spent = max(0.0, spent - (now - at) * self._share / 60) + seconds
        until = max(until, now) + _REST * seconds * spent / self._share
        self._spent[namespace] = spent, now, until
        if len(self._spent) > _NAMESPACES:
            self._spent.popitem(last=False)
        return until - now

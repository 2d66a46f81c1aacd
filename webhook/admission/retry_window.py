"""A time limit on asking API clients to retry: it begins when a reason is met for the first time."""

from collections.abc import Callable
from typing import Generic, TypeVar

RETRY_WINDOW = 30.0  # seconds
REASONS_LIMIT = 4096  # remembered at a time: somebody may create Pods of ever new images

Reason = TypeVar("Reason")


class RetryWindow(Generic[Reason]):
    """The reasons met lately. One that has not been met for twice RETRY_WINDOW is new when it is met again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[Reason, float] = {}  # the one met longest ago first

    def __len__(self) -> int:
        return len(self._since)

    def is_open(self, reason: Reason) -> bool:
        """Whether a Pod may be asked to come again for this reason. The call counts as meeting it."""
        now = self._clock()
        since = self._since.pop(reason, now)
        if now - since > 2 * RETRY_WINDOW:
            since = now
        self._since[reason] = since
        if len(self._since) > REASONS_LIMIT:
            del self._since[next(iter(self._since))]
        return now - since < RETRY_WINDOW

    def forget(self, reason: Reason) -> None:
        """Let the window begin anew the next time that the reason is met."""
        self._since.pop(reason, None)

"""Writes Events in the background: what is said for the first time at once, what is said again as a count, once a minute."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import msgspec

from webhook import cluster, events
from webhook.background import Writer
from webhook.cluster import Absent, Cluster, Conflict, Terminating
from webhook.events import Event

INTERVAL = 60.0  # seconds between two writes about the same
REMEMBERED = 4096  # different Events whose occurrences are counted
# Five Events a second: whoever reaches our port may have us write about anything, and the API server keeps each an hour.
RESTS = 10
TRIES = 3  # where another replica counts the same Event at the same time


class _Tally(msgspec.Struct):
    """The occurrences that are not written yet, and when the next write may be."""

    count: int = 0
    due: float = 0.0


class _Metadata(msgspec.Struct, rename="camel"):
    resource_version: str


class _Series(msgspec.Struct):
    count: int = 1


class _Stored(msgspec.Struct):
    metadata: _Metadata
    series: _Series | None = None


class Recorder:
    """Takes Events from anywhere in the process; `writer`, which is run by its owner, counts what it does for metrics.

    `instance` is the replica's name.
    """

    def __init__(
        self,
        api: Cluster,
        instance: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.writer = Writer("Events", rests=RESTS)
        self._api = api
        self._instance = instance
        self._clock = clock
        self._now = now
        self._tallies: dict[str, _Tally] = {}  # by the Event's name: it tells them apart in a sixth of the memory

    def record(self, event: Event) -> None:
        """Tell of an Event; never blocks, and is never known to fail."""
        name = event.name
        tally = self._tallies.pop(name, None) or _Tally()
        self._tallies[name] = tally
        if len(self._tallies) > REMEMBERED:
            del self._tallies[next(iter(self._tallies))]
        tally.count += 1
        now = self._clock()
        if now >= tally.due and self.writer.offer(name, partial(self._write, event, tally)):
            tally.due = now + INTERVAL

    async def _write(self, event: Event, tally: _Tally) -> None:
        count, tally.count = tally.count, 0
        path = f"/apis/{events.API_VERSION}/namespaces/{event.namespace}/events"
        what = f"Event about {event.regarding.kind} {event.namespace}/{event.regarding.name}"
        try:
            await self._api.call("POST", path, what, events.document(event, self._instance, count, self._now()))
        except (Absent, Terminating):
            return  # its namespace is gone, or goes
        except Conflict:
            await self._repeat(f"{path}/{event.name}", what, count)

    async def _repeat(self, path: str, what: str, count: int) -> None:
        """Add to the count of the Event that is there. An empty patch changes nothing and reads it, without the right to."""
        for _ in range(TRIES):
            try:
                stored = await self._patch(path, what, {})
                before = stored.series.count if stored.series else 1
                guard = {"metadata": {"resourceVersion": stored.metadata.resource_version}}
                await self._patch(path, what, guard | events.repeated(before, count, self._now()))
            except Absent:
                return  # it has expired this very moment
            except Conflict:
                continue
            return

    async def _patch(self, path: str, what: str, body: object) -> _Stored:
        answer = await self._api.call("PATCH", path, what, body, content_type="application/merge-patch+json")
        return cluster.decode(answer or b"", _Stored, what)

"""Events of events.k8s.io/v1 about objects: their documents, and how repeated ones are counted.

An Event is named after what it says, so that every replica, and the next process, finds the one that is there already.
Sources: kubernetes/api events/v1/types.go; kubernetes pkg/apis/core/validation/events.go (bounds, and that only `series` of
an Event may change; those about cluster-scoped objects stand in namespace default).
"""

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import msgspec

from webhook.cluster import client
from webhook.cluster.client import Cluster, is_name
from webhook.cluster.errors import Absent, Conflict, Terminating
from webhook.cluster.object_meta import ObjectMeta
from webhook.cluster.workqueue import WorkQueue

API_VERSION = "events.k8s.io/v1"
NOTE_LIMIT = 1024  # bytes
END_LIMIT = 200  # bytes of the parenthesis at the end of a note that is too long
NAME_LIMIT = 200  # characters of the object's name in the Event's


class Regarding(msgspec.Struct, frozen=True):
    """The object that an Event is about; `namespace` is empty for a cluster-scoped one."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


class Event(msgspec.Struct, frozen=True):
    """Something that happened to an object, and the part of the product that reports it.

    `action` is what was being done, `reason` a fixed word, `note` for people.
    """

    regarding: Regarding
    source: Literal["admission", "controller"]
    action: str
    reason: str
    note: str
    type: Literal["Normal", "Warning"] = "Warning"

    @property
    def namespace(self) -> str:
        """The namespace of the Event itself."""
        return self.regarding.namespace or "default"

    @property
    def name(self) -> str:
        """A name that all Events share which say the same of one object."""
        digest = hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]
        about = (self.regarding.name[:NAME_LIMIT].strip(".-"), self.regarding.kind[:NAME_LIMIT].lower())
        return f"{next(filter(is_name, about), 'object')}.{digest}"


def document(event: Event, instance: str, count: int, now: datetime) -> dict[str, Any]:
    """The Event after `count` occurrences; `instance` is the replica that tells it."""
    about = msgspec.structs.asdict(event.regarding)
    about["apiVersion"] = about.pop("api_version")
    made: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "Event",
        "metadata": {"name": event.name, "namespace": event.namespace},
        "eventTime": _time(now),
        "regarding": {key: value for key, value in about.items() if value},
        "reportingController": f"nonroot.dev/{event.source}",
        "reportingInstance": instance[:128],
        "type": event.type,
        "action": event.action,
        "reason": event.reason,
        "note": event.note,
    }
    return made | (repeated(1, count - 1, now) if count > 1 else {})


def clipped(note: str) -> str:
    """A note in as many bytes as an Event takes; a parenthesis at its end, which says where to read more, stays whole."""
    data = note.encode(errors="replace")
    if len(data) <= NOTE_LIMIT:
        return data.decode()
    start = data.rfind(b" (", -END_LIMIT) if data.endswith(b")") else -1
    end = "…" + data[start:].decode() if start >= 0 else "…"
    return data[: NOTE_LIMIT - len(end.encode())].decode(errors="ignore") + end


def repeated(before: int, more: int, now: datetime) -> dict[str, Any]:
    """The fields that change where an Event that has occurred `before` times did so `more` times again."""
    return {"series": {"count": before + more, "lastObservedTime": _time(now)}}


def _time(moment: datetime) -> str:
    """A MicroTime."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"


REPEAT_INTERVAL = 60.0  # seconds between two writes about the same
EVENTS_LIMIT = 4096  # different Events whose occurrences are counted
# Five Events a second: whoever reaches our port may have us write about anything, and the API server keeps each an hour.
WRITE_INTERVALS = 10
TRIES = 3  # where another replica counts the same Event at the same time


class _PendingCount(msgspec.Struct):
    """The occurrences that are not written yet, and when the next write may be."""

    count: int = 0
    due: float = 0.0


class _Series(msgspec.Struct):
    count: int = 1


class _Stored(msgspec.Struct):
    metadata: ObjectMeta
    series: _Series | None = None


class EventRecorder:
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
        self.writer = WorkQueue("Events", rests=WRITE_INTERVALS)
        self._api = api
        self._instance = instance
        self._clock = clock
        self._now = now
        self._pending: dict[
            str, _PendingCount
        ] = {}  # by the Event's name: it tells them apart in a sixth of the memory

    def record(self, event: Event) -> None:
        """Record an Event; never blocks, and is never known to fail. None stands where no namespace can be."""
        if not is_name(event.namespace):
            return
        event = msgspec.structs.replace(event, note=clipped(event.note))
        name = event.name
        pending = self._pending.pop(name, None) or _PendingCount()
        self._pending[name] = pending
        if len(self._pending) > EVENTS_LIMIT:
            del self._pending[next(iter(self._pending))]
        pending.count += 1
        now = self._clock()
        if now >= pending.due and self.writer.add(name, partial(self._write, event, pending), event.namespace):
            pending.due = now + REPEAT_INTERVAL

    async def _write(self, event: Event, pending: _PendingCount) -> None:
        count, pending.count = pending.count, 0
        path = f"/apis/{API_VERSION}/namespaces/{event.namespace}/events"
        what = f"Event about {event.regarding.kind} {event.namespace}/{event.regarding.name}"
        try:
            await self._api.call("POST", path, what, document(event, self._instance, count, self._now()))
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
                await self._patch(path, what, guard | repeated(before, count, self._now()))
            except Absent:
                return  # it has expired this very moment
            except Conflict:
                continue
            return

    async def _patch(self, path: str, what: str, body: object) -> _Stored:
        answer = await self._api.call("PATCH", path, what, body, content_type="application/merge-patch+json")
        return client.decode(answer or b"", _Stored, what)

"""What happened to an object, as an Event of events.k8s.io/v1: its document, and how another occurrence is counted.

An Event is named after what it says, so that every replica, and the next process, finds the one that is there already.
Sources: kubernetes/api events/v1/types.go; kubernetes pkg/apis/core/validation/events.go (bounds, and that only `series` of
an Event may change; those about cluster-scoped objects stand in namespace default).
"""

import hashlib
from datetime import datetime
from typing import Any, Literal

import msgspec

API_VERSION = "events.k8s.io/v1"
NOTE_LIMIT = 1024  # bytes
NAME_LIMIT = 200  # characters of the object's name in the Event's


class Regarding(msgspec.Struct, frozen=True):
    """The object that an Event is about; `namespace` is empty for a cluster-scoped one."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


class Event(msgspec.Struct, frozen=True):
    """What happened, in which part of the product. `action` is what was being done, `reason` a fixed word, `note` for people."""

    regarding: Regarding
    source: Literal["admission", "controller"]
    action: str
    reason: str
    note: str
    type: Literal["Normal", "Warning"] = "Warning"

    @property
    def namespace(self) -> str:
        """Where the Event itself stands."""
        return self.regarding.namespace or "default"

    @property
    def name(self) -> str:
        """The same for every Event that says the same of the same object."""
        said = hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]
        return f"{self.regarding.name[:NAME_LIMIT].strip('.-')}.{said}"


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
        "note": event.note.encode()[:NOTE_LIMIT].decode(errors="ignore"),
    }
    return made | (repeated(1, count - 1, now) if count > 1 else {})


def repeated(before: int, more: int, now: datetime) -> dict[str, Any]:
    """The fields that change where an Event that has occurred `before` times did so `more` times again."""
    return {"series": {"count": before + more, "lastObservedTime": _time(now)}}


def _time(moment: datetime) -> str:
    """A MicroTime."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"

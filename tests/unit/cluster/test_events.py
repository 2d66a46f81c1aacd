"""Events: their shape, and how often the same thing is written."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.support.clock import Clock
from webhook.cluster import client, events, workqueue
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Absent, ClusterError, Conflict, Denied, Forbidden, Terminating
from webhook.cluster.events import EVENTS_LIMIT, REPEAT_INTERVAL, TRIES, Event, EventRecorder, Regarding

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
OWNER = Regarding("apps/v1", "ReplicaSet", "shop", "web-5d4f", "u-1")
EVENT = Event(OWNER, "admission", "Admission", "PodDenied", "image runs as root")


def test_the_document_of_an_event() -> None:
    assert events.document(EVENT, "replica-1", 1, NOW) == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": EVENT.name, "namespace": "shop"},
        "eventTime": "2026-03-01T12:00:00.123456Z",
        "regarding": {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "namespace": "shop",
            "name": "web-5d4f",
            "uid": "u-1",
        },
        "reportingController": "nonroot.dev/admission",
        "reportingInstance": "replica-1",
        "type": "Warning",
        "action": "Admission",
        "reason": "PodDenied",
        "note": "image runs as root",
    }
    series = {"count": 4, "lastObservedTime": "2026-03-01T12:00:00.123456Z"}
    assert events.document(EVENT, "replica-1", 4, NOW)["series"] == series
    assert events.repeated(2, 2, NOW) == {"series": series}


def test_an_event_is_named_after_its_object_and_what_it_says() -> None:
    assert EVENT.name.startswith("web-5d4f.")
    assert msgspec.structs.replace(EVENT).name == EVENT.name
    others = [
        msgspec.structs.replace(EVENT, note="another"),
        msgspec.structs.replace(EVENT, reason="Another"),
        msgspec.structs.replace(EVENT, regarding=msgspec.structs.replace(OWNER, uid="u-2")),
    ]
    assert len({EVENT.name, *(each.name for each in others)}) == 4
    long = msgspec.structs.replace(EVENT, regarding=msgspec.structs.replace(OWNER, name="a" * 199 + "." + "b" * 53))
    assert len(long.name) <= 253
    assert ".." not in long.name


@pytest.mark.parametrize(
    ("kind", "name", "start"),
    [
        ("ClusterRole", "system:node", "clusterrole."),
        ("Widget", "Web_1", "widget."),
        ("Widget", "", "widget."),
        ("!", "../../secrets", "object."),
    ],
)
def test_an_object_whose_name_no_event_can_have_gets_one_nevertheless(kind: str, name: str, start: str) -> None:
    """A custom resource may be called as no Event may, and a forged review anything."""
    event = msgspec.structs.replace(EVENT, regarding=Regarding("v1", kind, "shop", name, "u-4"))
    assert event.name.startswith(start)
    assert client.is_name(event.name)


def test_an_event_about_a_cluster_scoped_object_stands_in_default() -> None:
    event = msgspec.structs.replace(EVENT, regarding=Regarding("v1", "Namespace", "", "shop", "u-3"))
    made = events.document(event, "x", 1, NOW)
    assert made["metadata"]["namespace"] == "default"
    assert "namespace" not in made["regarding"]


class Api(Cluster):
    """Keeps Events as an API server does; `refusals` are raised first, one a call."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.refusals: list[ClusterError] = []

    async def call(self, method: str, path: str, what: str, body: Any = None, **_: object) -> bytes | None:
        self.calls.append(method)
        if self.refusals:
            raise self.refusals.pop(0)
        if method == "POST":
            if body["metadata"]["name"] in self.stored:
                raise Conflict(what)
            self.stored[body["metadata"]["name"]] = json.loads(json.dumps(body))
            body["metadata"]["resourceVersion"] = "1"
            return b""
        found = self.stored.get(path.rpartition("/")[2])
        if found is None:
            raise Absent(what)
        version = found["metadata"].setdefault("resourceVersion", "1")
        if body:
            if body["metadata"]["resourceVersion"] != version:
                raise Conflict(what)
            found["metadata"]["resourceVersion"] = str(int(version) + 1)
            found["series"] = body["series"]
        return json.dumps(found).encode()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setattr(workqueue, "WRITE_INTERVAL", 0)
    return Api()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def settled() -> None:
    """Everything that could be written has been."""
    for _ in range(50):
        await asyncio.sleep(0)


def count(api: Api) -> int:
    (event,) = api.stored.values()
    found: int = event.get("series", {"count": 1})["count"]
    return found


@pytest.mark.parametrize(
    ("note", "written"),
    [
        ("é" * 512, "é" * 512),
        ("x" + "é" * 512, "x" + "é" * 510 + "…"),
        ("\ud800" * 1025, "?" * 1021 + "…"),
        ("é" * 600 + " (more: https://example.org/a)", "é" * 495 + "… (more: https://example.org/a)"),
        ("é" * 600 + " (a) (b", "é" * 510 + "…"),
        ("é (" + "é" * 600 + ")", "é (" + "é" * 508 + "…"),
        ("é" * 600 + " (\ud800)", "é" * 508 + "… (?)"),
    ],
)
async def test_a_note_is_shortened_between_two_characters_before_the_parenthesis_at_its_end(
    note: str, written: str, api: Api
) -> None:
    """However many bytes its characters have."""
    recorder = EventRecorder(api, "one", now=lambda: NOW)
    async with workqueue.run_in_background(recorder.writer):
        recorder.record(msgspec.structs.replace(EVENT, note=note))
        await settled()
    (event,) = api.stored.values()
    assert len(event["note"].encode()) <= events.NOTE_LIMIT
    assert event["note"] == written


async def test_what_is_said_again_is_counted_once_a_minute(api: Api, clock: Clock) -> None:
    recorder = EventRecorder(api, "one", clock=clock, now=lambda: NOW)
    async with workqueue.run_in_background(recorder.writer):
        recorder.record(EVENT)
        await settled()
        for _ in range(3):
            recorder.record(EVENT)
        await settled()
        assert (api.calls, count(api)) == (["POST"], 1)
        clock.now += REPEAT_INTERVAL
        recorder.record(EVENT)
        await settled()
    assert (api.calls, count(api)) == (["POST", "POST", "PATCH", "PATCH"], 5)


async def test_two_replicas_count_the_same_event(api: Api, clock: Clock) -> None:
    for instance in ("one", "two"):
        recorder = EventRecorder(api, instance, clock=clock, now=lambda: NOW)
        async with workqueue.run_in_background(recorder.writer):
            recorder.record(EVENT)
            await settled()
    assert count(api) == 2


async def test_another_replica_that_counts_at_the_same_time_is_waited_out(api: Api, clock: Clock) -> None:
    recorder = EventRecorder(api, "one", clock=clock, now=lambda: NOW)
    api.refusals = [Conflict("exists"), Conflict("changed")]
    api.stored[EVENT.name] = events.document(EVENT, "two", 1, NOW)
    async with workqueue.run_in_background(recorder.writer):
        recorder.record(EVENT)
        await settled()
        assert count(api) == 2
        api.refusals = [Conflict("exists")] * (TRIES + 1)
        clock.now += REPEAT_INTERVAL
        recorder.record(EVENT)
        await settled()
    assert (count(api), recorder.writer.failed) == (2, 0)


@pytest.mark.parametrize(
    ("refusals", "failed"),
    [
        pytest.param([Absent("no such namespace")], 0, id="its namespace is gone"),
        pytest.param([Terminating("it ends")], 0, id="its namespace ends"),
        pytest.param([Conflict("exists"), Absent("expired")], 0, id="it has expired"),
        pytest.param([Forbidden("events is forbidden")], 1, id="RBAC"),
    ],
)
async def test_what_cannot_be_written(api: Api, clock: Clock, refusals: list[ClusterError], failed: int) -> None:
    recorder = EventRecorder(api, "one", clock=clock, now=lambda: NOW)
    api.refusals = list(refusals)
    async with workqueue.run_in_background(recorder.writer):
        recorder.record(EVENT)
        await settled()
    assert recorder.writer.failed == failed
    assert not api.refusals


@pytest.mark.parametrize("namespace", ["../../../secrets/x", "Shop", "a b"])
async def test_where_no_namespace_can_be_nothing_is_written(api: Api, clock: Clock, namespace: str) -> None:
    """Else it would change the path that is asked for."""
    recorder = EventRecorder(api, "one", clock=clock)
    async with workqueue.run_in_background(recorder.writer):
        recorder.record(msgspec.structs.replace(EVENT, regarding=msgspec.structs.replace(OWNER, namespace=namespace)))
        await settled()
    assert api.calls == []


async def test_an_event_that_is_not_taken_silences_no_other(api: Api, clock: Clock) -> None:
    """Nor does a namespace in which RBAC lets nobody write."""
    recorder = EventRecorder(api, "one", clock=clock)
    for error in (Denied("422"), Forbidden("RBAC")):
        api.stored.clear()
        api.refusals = [error]
        async with workqueue.run_in_background(recorder.writer):
            recorder.record(msgspec.structs.replace(EVENT, note=str(error)))
            await settled()
            elsewhere = msgspec.structs.replace(OWNER, namespace="ci")
            recorder.record(msgspec.structs.replace(EVENT, note=str(error), regarding=elsewhere))
            await settled()
        assert len(api.stored) == 1


def test_what_is_remembered_is_bounded(api: Api, clock: Clock) -> None:
    recorder = EventRecorder(api, "one", clock=clock)
    for number in range(EVENTS_LIMIT + 10):
        recorder.record(msgspec.structs.replace(EVENT, note=str(number)))
    assert len(recorder._pending) == EVENTS_LIMIT

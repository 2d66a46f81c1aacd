"""What becomes an Event on the owner of a Pod: what was refused, and what Enforce would refuse."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from tests.support.images import Table, image
from tests.support.pods import IMAGE, Object, minimal, review_body, tweak, within
from webhook.admission.handler import Admission, WebhookKind
from webhook.admission.review import decode
from webhook.cluster import workqueue
from webhook.cluster.events import NOTE_LIMIT, Event, Regarding, clipped
from webhook.evaluation.documentation import rule_url
from webhook.image.source import Image, Unknown
from webhook.policy.cache import PolicySnapshot
from webhook.policy.types import Documents, ExceptionSpec, Metadata, NonRootException, NonRootPolicy, PolicySpec
from webhook.server.denial_events import DRY_RUN_POD_LIMIT, DenialEvents

ROOT = image("")
OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f", "uid": "u-1", "controller": True}
OWNED = tweak(
    minimal(), {"metadata.name": None, "metadata.generateName": "web-5d4f-", "metadata.ownerReferences": [OWNER]}
)
BARE = tweak(minimal(), {"metadata.uid": "u-2"})
REPLICA_SET = Regarding("apps/v1", "ReplicaSet", "default", "web-5d4f", "u-1")
POD = Regarding("v1", "Pod", "default", "web", "u-2")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workqueue, "WRITE_INTERVAL", 0)


async def result(
    obj: Object,
    spec: Mapping[str, Any],
    found: Image | Unknown = ROOT,
    *,
    hook: WebhookKind = "validate",
    exceptions: tuple[NonRootException, ...] = (),
    dry_run: bool = False,
    **review: Any,
) -> list[Event]:
    """The Events that follow from one review under a policy."""
    documents = Documents((NonRootPolicy(Metadata("strict"), msgspec.convert(spec, PolicySpec)),), exceptions)
    view, table, events = PolicySnapshot(documents), Table({IMAGE: found}), list[Event]()
    denials = DenialEvents(view, table, events.append)
    body = review_body(obj, **review)
    asked = decode(body.replace(b'"dryRun": false', b'"dryRun": true') if dry_run else body)
    async with workqueue.run_in_background(denials.dry_runs):
        denials.observe(asked, await Admission(view, table).review(asked, hook))
        for _ in range(50):
            await asyncio.sleep(0)
    return events


async def test_a_denial_is_an_event_on_the_controller_of_the_pod() -> None:
    (event,) = await result(OWNED, {"mode": "Enforce"})
    assert (event.regarding, event.reason, event.type) == (REPLICA_SET, "PodDenied", "Warning")
    assert event.note.startswith('policy "strict": image runs as root: container "app"')


@pytest.mark.parametrize("mode", ["Audit", "Warn"])
async def test_what_enforce_would_deny_is_an_event_too(mode: str) -> None:
    (event,) = await result(OWNED, {"mode": mode})
    assert (event.regarding, event.reason) == (REPLICA_SET, "PodWouldBeDenied")
    assert event.note.startswith('in mode Enforce this would be refused: policy "strict": image runs as root')
    (event,) = await result(BARE, {"mode": mode})
    assert event.regarding == POD


@pytest.mark.parametrize(
    ("obj", "given"),
    [
        pytest.param(OWNED, {"found": image("1000")}, id="nothing wrong"),
        pytest.param(OWNED, {"spec": {"mode": "Enforce"}, "dry_run": True}, id="a dry run, denied"),
        pytest.param(OWNED, {"dry_run": True}, id="a dry run"),
        pytest.param(OWNED, {"hook": "mutate"}, id="the other hook"),
        pytest.param(BARE, {"spec": {"mode": "Enforce"}}, id="a denied Pod of nobody: there is none"),
        pytest.param(within("Deployment", minimal()), {}, id="a template, whose Pods come next"),
        pytest.param(
            tweak(OWNED, {"metadata.annotations": {"a": "x" * DRY_RUN_POD_LIMIT}}), {}, id="too large to be kept"
        ),
        pytest.param(
            tweak(OWNED, {"spec.securityContext.runAsNonRoot": True}),
            {"found": image("app")},
            id="what injection cures",
        ),
        pytest.param(
            OWNED,
            {"spec": {"rootImages": "Assign", "assign": {"uid": 1001, "images": ["*"]}}},
            id="what an assignment cures",
        ),
        pytest.param(
            OWNED,
            {"exceptions": (NonRootException(Metadata("x", "default"), ExceptionSpec("because")),)},
            id="what is excepted",
        ),
        pytest.param(OWNED, {"found": Unknown("unreachable", "no route")}, id="what would only be warned about"),
    ],
)
async def test_nothing_is_recorded(obj: Object, given: dict[str, Any]) -> None:
    assert await result(obj, **{"spec": {}, **given}) == []


async def test_an_unknown_image_has_an_event_where_enforce_would_deny_it() -> None:
    (event,) = await result(OWNED, {"mode": "Audit"}, Unknown("invalid", "another digest"))
    assert "another digest" in event.note


async def test_an_image_that_the_kubelet_is_to_verify_has_an_event() -> None:
    """With what is missing, and what happens next: the Pod was let in, and may never start."""
    demanding = tweak(OWNED, {"spec.securityContext.runAsNonRoot": True})
    (event,) = await result(demanding, {"mode": "Enforce"}, Unknown("unauthorized", "no pull secret"))
    assert (event.regarding, event.reason) == (REPLICA_SET, "ImageNotRead")
    assert 'container "app"' in event.note
    assert "unauthorized: no pull secret; the kubelet decides" in event.note
    assert "name a pull secret for its registry" in event.note


@pytest.mark.parametrize("user", ["0", "ä" * 400])
async def test_an_event_ends_with_where_to_read_more_however_much_there_is_to_say(user: str) -> None:
    """In 1,024 bytes, also where what is quoted is not ASCII."""
    many = [{"name": f"c{number}{'x' * 50}", "image": IMAGE} for number in range(10)]
    for spec, found, rule in (
        ({"mode": "Enforce"}, image(user), "root-image" if user == "0" else "unresolvable-user"),
        ({"mode": "Audit"}, image(user), "root-image" if user == "0" else "unresolvable-user"),
        ({"mode": "Enforce"}, Unknown("unauthorized", user * 300), "unknown-image"),
    ):
        (event,) = await result(
            tweak(OWNED, {"spec.containers": many, "spec.securityContext.runAsNonRoot": True}), spec, found
        )
        note = clipped(event.note)
        assert 900 < len(note.encode()) <= NOTE_LIMIT
        assert "…" in note
        assert note.endswith(f"more: {rule_url(rule)})")


async def test_an_update_that_is_denied_is_an_event_on_the_pod_that_is_there() -> None:
    old = tweak(BARE, {"spec.containers.0.image": "registry.example/other:1"})
    (event,) = await result(BARE, {"mode": "Enforce"}, operation="UPDATE", old=old)
    assert (event.regarding, event.reason) == (POD, "PodDenied")
    assert await result(BARE, {"mode": "Audit"}, operation="UPDATE", old=old) == []

"""Patched Pods that do not start are told of once they are read; Pods that start are not read again."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.support.pods import DIGEST, IMAGE, Object, effective_policy, minimal, tweak
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Unreachable
from webhook.cluster.events import Event, Regarding
from webhook.controller.patched_pods import (
    FIRST_LOOK,
    LOOKS,
    NEXT_LOOK,
    RECENT,
    REPORTED_PAUSE,
    WAITING_LIMIT,
    PatchedPods,
)
from webhook.image.identity_index import IdentityIndex
from webhook.image.image_identity import ImageFacts, ImageIdentity, ImageIdentitySpec
from webhook.policy.cache import PolicySnapshot
from webhook.policy.types import Documents
from webhook.workload.annotations import ANNOTATION
from webhook.workload.container_status import Start

NOW = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)
FIELDS = ["allowPrivilegeEscalation", "capabilities", "runAsUser"]
REFUSED = "error during container init: exec /app: operation not permitted"


def status(**state: Any) -> Object:
    return {"name": "app", "imageID": f"registry.example/app@{DIGEST}", "state": state}


def died(code: int, message: str = "") -> Object:
    times = {"startedAt": "2026-06-01T12:00:00Z", "finishedAt": "2026-06-01T12:00:01Z"}
    return status(terminated={"exitCode": code, "message": message, **times})


RUNS = status(running={"startedAt": "2026-06-01T12:00:00Z"})
STARTING = status(waiting={"reason": "ContainerCreating"})


def pod(name: str, its_status: Object, *, maker: str = "", created: str = "2026-06-01T12:00:00Z") -> Object:
    """A patched Pod; of a maker, or of nobody."""
    record = json.dumps([{"container": "app", "fields": FIELDS}])
    metadata = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "creationTimestamp": created,
        "annotations": {ANNOTATION: record},
        "ownerReferences": [{"kind": "ReplicaSet", "name": maker, "uid": maker, "controller": True}] if maker else [],
    }
    return tweak(minimal(), {"metadata": metadata, "status.containerStatuses": [its_status]})


class Pods(Cluster):
    """Has Pods, and counts which are read."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, Object] = {}
        self.read: list[str] = []
        self.away = False

    async def pages(
        self, path: str, what: str, *, only_metadata: bool = False
    ) -> AsyncIterator[tuple[msgspec.Raw, ...]]:
        assert not only_metadata
        base, _, name = path.partition("?fieldSelector=metadata.name%3D")
        assert base == "/api/v1/namespaces/default/pods"
        if self.away:
            raise Unreachable(what)
        self.read.append(name)
        found = self.stored.get(name)
        yield () if found is None else (msgspec.Raw(json.dumps(found).encode()),)


class Scene:
    """The watch after its first listing, at a time of its own."""

    def __init__(self) -> None:
        self.pods, self.events, self.time = Pods(), list[Event](), 0.0
        self.ran: set[Start] = set()
        self.known = IdentityIndex()
        policies = PolicySnapshot(Documents((effective_policy().policy,)))
        self.watch = PatchedPods(
            self.pods,
            self.events.append,
            self.ran.__contains__,
            self.known,
            lambda: policies,
            clock=lambda: self.time,
            now=lambda: NOW,
        )

    def change(self, made: Object) -> None:
        """A Pod has changed, as its metadata tell."""
        name = made["metadata"]["name"]
        self.pods.stored[name] = made
        self.watch.update(f"default/{name}", msgspec.Raw(json.dumps({"metadata": made["metadata"]}).encode()))

    async def later(self, seconds: float) -> list[str]:
        """Some time passes; the Pods that are read then."""
        self.time += seconds
        self.pods.read.clear()
        await self.watch.round()
        return list(self.pods.read)

    def counts(self) -> dict[str, float]:
        """The metric, as far as it is not zero."""
        registry = CollectorRegistry()
        registry.register(self.watch)
        lines = generate_latest(registry).decode().splitlines()
        values = dict(each.rsplit(" ", 1) for each in lines if not each.startswith("#"))
        return {key: float(value) for key, value in values.items() if float(value)}


@pytest.fixture
def scene() -> Scene:
    made = Scene()
    made.watch.replace(())
    return made


async def test_a_container_that_the_runtime_cannot_execute_gets_an_event_and_is_counted(scene: Scene) -> None:
    scene.change(pod("web", died(128, REFUSED)))
    assert await scene.later(FIRST_LOOK) == ["web"]
    (event,) = scene.events
    assert event.regarding == Regarding("v1", "Pod", "default", "web", "uid-web")
    assert (event.reason, event.type, event.namespace) == ("InjectionStopsContainer", "Warning", "default")
    assert event.note == (
        f'container "app" dies at once with exit code 128: {REFUSED}. The cause is most likely the injected capabilities '
        "(or allowPrivilegeEscalation). To leave it out, write into NonRootPolicy strict: imageDefaults: "
        '[{images: ["registry.example/app:*"], defaults: [runAsNonRoot, allowPrivilegeEscalation, seccompProfile]}]'
    )
    assert scene.counts() == {'nonroot_injection_failures_total{field="capabilities"}': 1}


async def test_every_field_is_counted_from_zero(scene: Scene) -> None:
    registry = CollectorRegistry()
    registry.register(scene.watch)
    assert generate_latest(registry).decode().count("nonroot_injection_failures_total{") == 6


async def test_it_is_read_some_seconds_after_its_first_change(scene: Scene) -> None:
    scene.change(pod("web", STARTING))
    assert scene.watch.due.is_set()
    assert await scene.later(FIRST_LOOK - 1) == []
    scene.change(pod("web", STARTING))
    assert await scene.later(1) == ["web"]
    scene.change(pod("web", died(128, REFUSED)))
    assert await scene.later(FIRST_LOOK) == []
    assert await scene.later(NEXT_LOOK - FIRST_LOOK) == ["web"]
    assert len(scene.events) == 1


async def test_what_starts_is_not_read_again(scene: Scene) -> None:
    scene.change(pod("web", RUNS))
    assert await scene.later(FIRST_LOOK) == ["web"]
    scene.change(pod("web", died(126)))
    assert await scene.later(1000) == []


async def test_one_pod_of_a_maker_is_read(scene: Scene) -> None:
    for number in range(100):
        scene.change(pod(f"web-{number}", RUNS, maker="web"))
    assert await scene.later(FIRST_LOOK) == ["web-0"]
    scene.change(pod("web-100", RUNS, maker="web"))
    assert await scene.later(1000) == []
    changed = tweak(pod("web-101", RUNS, maker="web"), {"metadata.labels": {"controller-revision-hash": "2"}})
    scene.change(changed)
    assert await scene.later(FIRST_LOOK) == ["web-101"]


async def test_what_goes_on_failing_is_counted_once_for_each_pod(scene: Scene) -> None:
    scene.change(pod("web-1", died(128, REFUSED), maker="web"))
    await scene.later(FIRST_LOOK)
    for name, pause in (("web-1", REPORTED_PAUSE), ("web-2", REPORTED_PAUSE)):
        scene.change(pod(name, died(128, REFUSED), maker="web"))
        assert await scene.later(pause - 1) == []
        assert await scene.later(1) == [name]
    assert [each.regarding.name for each in scene.events] == ["web-1", "web-1", "web-2"]
    assert list(scene.counts().values()) == [2]


async def test_a_containers_own_end_is_reported_where_the_same_ran_unpatched(scene: Scene) -> None:
    scene.change(pod("web", died(126)))
    await scene.later(FIRST_LOOK)
    assert scene.events == []
    for start in ((DIGEST, ("another",), ()), (DIGEST, (), ("another",)), ("sha256:" + "0" * 64, (), ())):
        scene.ran.add(start)
    scene.change(pod("web", died(126)))
    await scene.later(NEXT_LOOK)
    assert scene.events == []
    scene.ran.add((DIGEST, (), ()))
    scene.change(pod("web", died(126)))
    await scene.later(NEXT_LOOK)
    assert (
        "injected capabilities (or allowPrivilegeEscalation, runAsUser); the same image ran without it."
        in scene.events[0].note
    )


async def test_by_its_name_where_the_digest_is_not_known(scene: Scene) -> None:
    scene.ran.add((IMAGE, (), ()))
    waits = status(waiting={"reason": "CreateContainerError", "message": "chdir to cwd: permission denied"})
    scene.change(pod("web", waits | {"imageID": ""}))
    await scene.later(FIRST_LOOK)
    assert "exemptions: {images:" in scene.events[0].note


async def test_any_end_is_reported_where_the_image_is_known_to_need_what_was_taken(scene: Scene) -> None:
    """Read by the controller after the Pod was admitted, or left out of account for Pod Security restricted."""
    scene.change(pod("web", died(2)))
    await scene.later(FIRST_LOOK)
    assert scene.events == []
    facts = ImageFacts(command_line=("/usr/bin/sudo", "/app"), setuid=("/usr/bin/sudo",))
    spec = ImageIdentitySpec(IMAGE, "linux/amd64", 1000, "registry", NOW, NOW, facts=facts)
    scene.known.update("x", ImageIdentity(f"sha256-{'cd' * 32}-linux-amd64-00000000", spec))
    scene.change(pod("web", died(2)))
    await scene.later(NEXT_LOOK)
    assert "The cause is most likely the injected allowPrivilegeEscalation. To leave" in scene.events[0].note


async def test_pods_without_our_annotation_are_not_read(scene: Scene) -> None:
    scene.change(tweak(pod("web", died(128, REFUSED)), {"metadata.annotations": None}))
    assert await scene.later(FIRST_LOOK) == []


async def test_old_pods_are_read_once_they_change() -> None:
    scene = Scene()
    old = f"{NOW - RECENT - timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"
    scene.change(pod("old", died(128, REFUSED), created=old))
    scene.change(pod("new", RUNS))
    scene.watch.replace(())
    assert await scene.later(FIRST_LOOK) == ["new"]
    scene.change(pod("old", died(128, REFUSED), created=old))
    assert await scene.later(FIRST_LOOK) == ["old"]


async def test_a_pod_that_is_gone_is_nothing_to_tell(scene: Scene) -> None:
    scene.change(pod("web", died(128, REFUSED)))
    scene.watch.delete("default/web")
    scene.pods.stored.clear()
    assert await scene.later(FIRST_LOOK) == ["web"]
    assert scene.events == []


async def test_few_are_read_at_once(scene: Scene) -> None:
    for number in range(2 * LOOKS):
        scene.change(pod(f"web-{number}", RUNS))
    assert len(await scene.later(FIRST_LOOK)) == LOOKS
    assert len(await scene.later(1)) == LOOKS
    assert await scene.later(1000) == []


@pytest.mark.thorough
async def test_those_that_wait_are_bounded(scene: Scene) -> None:
    made = pod("web", RUNS)
    for number in range(WAITING_LIMIT + 10):
        made["metadata"]["uid"] = str(number)
        scene.change(made)
    seen = 0
    while await scene.later(FIRST_LOOK):
        seen += len(scene.pods.read)
    assert seen == WAITING_LIMIT


async def test_what_could_not_be_read_is_read_again(scene: Scene) -> None:
    scene.change(pod("web", died(128, REFUSED)))
    scene.pods.away = True
    with pytest.raises(Unreachable):
        await scene.later(FIRST_LOOK)
    scene.pods.away = False
    assert await scene.later(NEXT_LOOK) == ["web"]
    assert len(scene.events) == 1

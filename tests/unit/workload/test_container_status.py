"""What a running Pod teaches, and what contradicts a prediction."""

import json
from typing import Any

import pytest

from tests.support.pods import DIGEST, IMAGE, Object, minimal, ran, tweak
from webhook.errors import MalformedReview
from webhook.image.config import Platform
from webhook.image.image_identity import Observation
from webhook.image.user import Identity
from webhook.workload import container_status
from webhook.workload.container_status import RunningContainer

AMD64 = Platform("linux", "amd64")
CONTEXT = "spec.containers.0.securityContext"
POD = "spec.securityContext"


def pod(obj: Object) -> container_status.Pod:
    return container_status.decode(json.dumps(obj).encode())


def learnt(paths: dict[str, Any], uid: int = 1500) -> list[Observation]:
    return list(container_status.observations(pod(ran(tweak(minimal(), paths), uid, 1600, 1700)), AMD64))


def test_a_container_that_says_nothing_teaches_who_its_image_is() -> None:
    assert learnt({}) == [Observation(IMAGE, DIGEST, AMD64, 1500, 1600, groups=(1600, 1700))]


@pytest.mark.parametrize("place", [CONTEXT, POD])
@pytest.mark.parametrize("field", ["runAsUser", "runAsGroup"])
def test_what_the_spec_says_itself_teaches_nothing(place: str, field: str) -> None:
    assert learnt({f"{place}.{field}": 1500}) == []


@pytest.mark.parametrize(
    "paths",
    [
        {f"{POD}.fsGroup": 0},
        {f"{POD}.supplementalGroups": [5]},
        {f"{POD}.supplementalGroupsPolicy": "Strict"},
        {"spec.volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]},
        {"spec.volumes": [{"name": "data", "ephemeral": {}}]},
    ],
    ids=lambda paths: next(iter(paths)),
)
def test_groups_that_the_pod_brings_are_not_taken_for_the_images(paths: dict[str, Any]) -> None:
    (fact,) = learnt(paths)
    assert (fact.uid, fact.gid, fact.groups) == (1500, 1600, None)


@pytest.mark.parametrize("place", [CONTEXT, POD])
def test_a_container_that_started_with_run_as_non_root_has_a_numeric_user(place: str) -> None:
    """The kubelet would have refused a name."""
    (fact,) = learnt({f"{place}.runAsNonRoot": True})
    assert fact.user == "1500"
    (fact,) = learnt({f"{POD}.runAsNonRoot": True, f"{CONTEXT}.runAsNonRoot": False})
    assert fact.user is None


def test_what_pull_secrets_opened_is_for_their_namespace() -> None:
    (fact,) = learnt({"spec.imagePullSecrets": [{"name": "mine"}]})
    assert fact.namespace == "default"
    (fact,) = learnt({})
    assert fact.namespace is None


def test_all_kinds_of_containers_teach() -> None:
    obj = minimal()
    obj["spec"]["initContainers"] = [{"name": "setup", "image": "busybox"}]
    obj["spec"]["ephemeralContainers"] = [
        {"name": "debug", "image": "Not//An:Image"},
        {"name": "d2", "image": "busybox"},
    ]
    taught = list(container_status.observations(pod(ran(obj, 0)), AMD64))
    assert [fact.image for fact in taught] == [
        "docker.io/library/busybox:latest",
        IMAGE,
        "docker.io/library/busybox:latest",
    ]
    assert [fact.uid for fact in taught] == [0, 0, 0]


@pytest.mark.parametrize("image_id", ["", "x", "sha256:short", f"registry.example/app@{DIGEST[:-1]}"])
def test_a_status_without_an_image_teaches_nothing(image_id: str) -> None:
    seen = pod(ran(minimal(), 1500, image_id=image_id))
    assert not list(container_status.observations(seen, AMD64))
    assert not list(container_status.image_usage(seen))
    (running,) = container_status.running_containers(seen)
    assert (running.digest, running.uid) == ("", 1500)


def test_an_image_from_no_registry_is_known_by_its_id() -> None:
    """The digest of its config, as containerd has it for what was imported; it is found by its name alone."""
    identifier = f"sha256:{'ef' * 32}"
    seen = pod(ran(minimal(), 1500, 1600, image_id=identifier))
    assert list(container_status.observations(seen, AMD64)) == [
        Observation(IMAGE, identifier, AMD64, 1500, 1600, groups=(1600,))
    ]
    assert list(container_status.image_usage(seen)) == [(IMAGE, identifier)]


def test_the_status_of_an_older_spec_teaches_nothing() -> None:
    """After an image was changed in place, the name is the new one and the process the old one."""
    obj = tweak(ran(minimal(), 1500), {"metadata.generation": 2, "status.observedGeneration": 1})
    assert not list(container_status.observations(pod(obj), AMD64))
    assert not list(container_status.image_usage(pod(obj)))
    assert list(container_status.observations(pod(tweak(obj, {"status.observedGeneration": 2})), AMD64))


@pytest.mark.parametrize("user", [None, {}, {"linux": None}])
def test_a_container_without_a_reported_user_teaches_nothing(user: Any) -> None:
    """A container that never started, Windows, and kubelets before 1.33."""
    obj = tweak(ran(minimal(), 1500), {"status.containerStatuses.0.user": user})
    assert not list(container_status.running_containers(pod(obj)))
    assert list(container_status.image_usage(pod(obj))) == [(IMAGE, DIGEST)]  # which image it is, is told all the same
    assert not list(container_status.running_containers(pod(minimal())))
    assert not list(container_status.image_usage(pod(minimal())))


def test_what_is_no_pod_is_refused() -> None:
    with pytest.raises(MalformedReview, match=r"^the Pod is malformed: metadata: must be a mapping, not a list$"):
        container_status.decode(b'{"metadata": []}')


def contradiction(paths: dict[str, Any], reported: tuple[int, ...], *predicted: Identity) -> str | None:
    seen = pod(ran(tweak(minimal(), paths), *reported))
    (running,) = container_status.running_containers(seen)
    return container_status.mismatch(seen, running, predicted)


WEB = Identity(1500, 1600, (1600, 1700))


@pytest.mark.parametrize(
    ("paths", "reported"),
    [
        ({}, (1500, 1600, 1700)),
        ({f"{POD}.fsGroup": 7}, (1500, 1600, 1700, 7)),
        ({f"{POD}.supplementalGroups": [7, 8]}, (1500, 1600, 1700, 7, 8)),
        ({f"{POD}.supplementalGroups": [7], f"{POD}.supplementalGroupsPolicy": "Strict"}, (1500, 1600, 7)),
        ({f"{CONTEXT}.runAsGroup": 1700}, (1500, 1700)),
        ({f"{CONTEXT}.runAsGroup": 1700}, (1500, 1700, 1600)),
        ({f"{CONTEXT}.runAsUser": 1500}, (1500, 1600, 1700)),
        ({f"{CONTEXT}.runAsUser": 4242}, (4242, 0)),
        ({"spec.volumes": [{"name": "data", "persistentVolumeClaim": {}}]}, (1500, 1600, 1700, 99)),
    ],
)
def test_what_was_predicted_is_no_mismatch(paths: dict[str, Any], reported: tuple[int, ...]) -> None:
    assert contradiction(paths, reported, WEB) is None


@pytest.mark.parametrize(
    ("paths", "reported", "result"),
    [
        ({}, (1501, 1600, 1700), "runs as uid 1501 where uid 1500 was predicted"),
        ({}, (1500, 0, 1700), "runs as gid 0 where gid 1600 was predicted"),
        ({}, (1500, 1600), "runs with the groups 1600 where 1600, 1700 were predicted"),
        ({f"{CONTEXT}.runAsUser": 4242}, (4243, 0), "runs as uid 4243 where uid 4242 was predicted"),
        ({}, (1500, 1600, 1700, 99), "runs with the groups 99, 1600, 1700 where 1600, 1700 were predicted"),
        (
            {f"{POD}.fsGroup": 7},
            (1500, 1600, 1700),
            "runs with the groups 1600, 1700 where 7, 1600, 1700 were predicted",
        ),
        ({f"{CONTEXT}.runAsUser": 1500}, (1500, 0, 1700), "runs as gid 0 where gid 1600 was predicted"),
        ({f"{CONTEXT}.runAsUser": 4242}, (1500, 1600), "runs as uid 1500 where uid 4242 was predicted"),
        ({f"{CONTEXT}.runAsGroup": 1700}, (1500, 1600), "runs as gid 1600 where gid 1700 was predicted"),
    ],
)
def test_another_identity_is_a_mismatch(paths: dict[str, Any], reported: tuple[int, ...], result: str) -> None:
    assert contradiction(paths, reported, WEB) == result


def test_one_platform_that_fits_is_enough_and_none_is_no_prediction() -> None:
    assert contradiction({}, (999, 999), WEB, Identity(999)) is None
    assert contradiction({}, (999, 999), WEB, Identity(998)) is not None
    assert contradiction({}, (999, 999)) is None


@pytest.mark.parametrize("unread", [Identity(1500), Identity(1500, 1600), Identity(1500, None, (1600,))], ids=str)
def test_accounts_that_nobody_read_are_not_compared(unread: Identity) -> None:
    assert contradiction({}, (1500, 7), unread) is None


def test_running_says_the_groups_in_order_with_the_primary_one() -> None:
    """CRI-O leaves it out."""
    obj = tweak(
        ran(minimal(), 1), {"status.containerStatuses.0.user.linux": {"uid": 1, "gid": 9, "supplementalGroups": [8, 7]}}
    )
    (running,) = container_status.running_containers(pod(obj))
    assert isinstance(running, RunningContainer)
    assert running.groups == (7, 8, 9)


STARTED = {"command": ["run"], "args": ["x", "y"]}
BY_DIGEST, BY_NAME = ((image, ("run",), ("x", "y")) for image in (DIGEST, "registry.example/app:1"))


def state(number: int = 0, **found: Any) -> dict[str, Any]:
    return {f"status.containerStatuses.{number}.state": found}


@pytest.mark.parametrize(
    ("paths", "started"),
    [
        pytest.param(state(running={}), [BY_DIGEST, BY_NAME], id="it runs"),
        pytest.param(state(terminated={"exitCode": 0}), [BY_DIGEST, BY_NAME], id="it has ended well"),
        pytest.param(state(terminated={"exitCode": 1}), [], id="it has failed"),
        pytest.param(state(waiting={"reason": "CrashLoopBackOff"}), [], id="it waits"),
        pytest.param(
            state(running={})
            | {"metadata.annotations": {"nonroot.dev/injected": '[{"container":"app","fields":["runAsUser"]}]'}},
            [],
            id="it was patched",
        ),
        pytest.param(
            state(running={})
            | {"metadata.annotations": {"nonroot.dev/injected": '[{"container":"other","fields":["runAsUser"]}]'}},
            [BY_DIGEST, BY_NAME],
            id="another was",
        ),
        pytest.param(
            state(running={}) | {"metadata.generation": 2, "status.observedGeneration": 1}, [], id="of an older spec"
        ),
    ],
)
def test_what_has_started_without_a_patch(paths: dict[str, Any], started: list[container_status.Start]) -> None:
    obj = tweak(minimal(), {f"spec.containers.0.{field}": value for field, value in STARTED.items()})
    observed = pod(tweak(ran(obj, 1500), paths))
    assert list(container_status.ran_unpatched(observed)) == started


def test_the_reason_that_keeps_a_container_from_starting_is_found() -> None:
    """Of each that is reported, and not what every container waits for at first."""
    reasons = ("ContainerCreating", "CreateContainerError", "PodInitializing", "ImagePullBackOff")
    containers = [{"name": f"c{number}", "image": IMAGE} for number in range(len(reasons) + 1)]
    paths = {f"status.containerStatuses.{n}.state": {"waiting": {"reason": each}} for n, each in enumerate(reasons)}
    observed = pod(tweak(ran(tweak(minimal(), {"spec.containers": containers}), 1500), paths))
    found = [(slot.container.name, each.reason) for slot, each in container_status.waiting(observed)]
    assert found == [("c1", "CreateContainerError"), ("c3", "ImagePullBackOff")]


def test_injected_fields_add_up() -> None:
    notes = [
        {"container": "a", "fields": ["x"]},
        {"container": "b", "fields": "y"},
        {"container": "a", "fields": ["z", 1]},
    ]
    annotated = tweak(minimal(), {"metadata.annotations": {"nonroot.dev/injected": json.dumps(notes)}})
    assert container_status.injected_fields(pod(annotated)) == {"a": ("x", "z")}
    assert container_status.injected_fields(pod(minimal())) == {}


def test_a_container_that_teaches_nothing_does_not_hide_those_behind_it() -> None:
    """One that has not started, one whose uid the spec says, and one whose image has no name."""
    obj = minimal()
    obj["spec"]["containers"] = [
        {"name": "waits", "image": IMAGE},
        {"name": "says", "image": IMAGE, "securityContext": {"runAsUser": 5}},
        {"name": "nameless", "image": ""},
        {"name": "web", "image": IMAGE},
    ]
    observed = pod(tweak(ran(obj, 1500), {"status.containerStatuses.0.user": None}))
    assert [each.slot.container.name for each in container_status.running_containers(observed)] == [
        *("says", "nameless", "web"),
    ]
    assert list(container_status.observations(observed, AMD64)) == [
        Observation(IMAGE, DIGEST, AMD64, 1500, 0, groups=(0,))
    ]

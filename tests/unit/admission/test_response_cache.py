"""The second replica of a template is answered as the first was, unless anything that counts is another."""

import inspect
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.images import Table, image, multi, platform_image
from tests.support.pods import IMAGE, Object, effective_policy, minimal, review, tweak, within, workload
from tests.support.variety import IMAGES, PODS, POLICIES
from tests.unit.admission.test_handler import View, operations
from webhook.admission import handler
from webhook.admission.handler import Admission, Outcome, WebhookKind
from webhook.admission.response_cache import CACHE_LIMIT, cacheable, key_of
from webhook.evaluation import evaluator
from webhook.image.capabilities import FileCapabilities
from webhook.image.filesystem import Capable, Survey
from webhook.image.source import Image, PlatformImage, Query, Unknown
from webhook.policy.types import ExceptionSpec, Metadata, NonRootException
from webhook.workload import podspec
from webhook.workload.annotations import ANNOTATION
from webhook.workload.workload import Workload

METADATA = ("name", "generate_name", "namespace", "uid", "owner_references", "deletion_timestamp")  # is not evaluated
LISTS = {"containers", "init_containers", "ephemeral_containers", "volumes", "node_selector"}
TOKEN: Object = {"projected": {"sources": []}}


def replica(obj: Object, suffix: str) -> Object:
    """A Pod as a ReplicaSet makes the next one: with a name and a token volume of its own."""
    volume = {"name": f"kube-api-access-{suffix}", **TOKEN}
    mount = {"name": volume["name"], "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    paths = {"metadata.name": f"web-{suffix}", "spec.volumes": [volume], "spec.containers.0.volumeMounts": [mount]}
    return tweak(obj, paths)


class Scene:
    """One Admission that goes on, beside new ones that remember nothing."""

    def __init__(self, found: Image | Unknown, **policy: Any) -> None:
        self.view = View(effective_policy(**policy))
        self.images = Table({IMAGE: found, "registry.example/other:1": image("1000")})
        self.admission = Admission(self.view, self.images)
        self.verdict = 0

    async def ask(self, obj: Object, hook: WebhookKind = "validate", **more: Any) -> Outcome:
        """The answer, which must be that of an Admission that has never seen the like."""
        asked = review(obj, **more)
        outcome = await self.admission.review(asked, hook)
        fresh = await Admission(self.view, self.images).review(asked, hook)
        assert json.loads(outcome.body) == json.loads(fresh.body)
        assert (outcome.decision, outcome.effective_policy, outcome.workload) == (
            fresh.decision,
            fresh.effective_policy,
            fresh.workload,
        )
        assert (outcome.findings, outcome.message, outcome.operations) == (
            fresh.findings,
            fresh.message,
            fresh.operations,
        )
        return outcome


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[Workload]:
    """The Pods that are really evaluated."""
    evaluated: list[Workload] = []
    evaluate = evaluator.evaluate

    async def noting(found: Workload, *arguments: Any, **more: Any) -> Any:
        evaluated.append(found)
        return await evaluate(found, *arguments, **more)

    monkeypatch.setattr(handler, "evaluate", noting)
    return evaluated


@given(IMAGES, st.lists(PODS, min_size=2, max_size=6), POLICIES, st.sampled_from(["Audit", "Warn", "Enforce"]))
async def test_every_answer_is_that_of_a_first_time(
    images: list[PlatformImage], pods: list[dict[str, Any]], policy: dict[str, Any], mode: str
) -> None:
    """For any row of Pods, each of them asked for twice at both hooks."""
    scene = Scene(multi(*images), mode=mode, **policy)
    for hook in ("mutate", "validate", "validate", "mutate"):
        for paths in pods:
            await scene.ask(tweak(minimal(), paths), hook)


@pytest.mark.parametrize("hook", ["mutate", "validate"])
async def test_replicas_are_evaluated_once(evaluations: list[Workload], hook: WebhookKind) -> None:
    """Whatever the API server has named them and their token volumes."""
    scene = Scene(image(""), mode="Enforce")
    for suffix in ("x2k9p", "8fq4z", "m0d7c"):
        outcome = await scene.ask(replica(minimal(), suffix), hook)
        assert outcome.workload is not None
        assert outcome.workload.name == f"web-{suffix}"
    assert len(evaluations) == 4  # the first one by both, and each by the fresh one
    assert len(set(evaluations)) == 1


@pytest.mark.parametrize(
    "paths",
    [
        pytest.param({"spec.containers.0.name": "b"}, id="name"),
        pytest.param({"spec.containers.0.image": "registry.example/other:1"}, id="image"),
        pytest.param({"spec.containers.0.imagePullPolicy": "Always"}, id="pull policy"),
        pytest.param({"spec.containers.0.securityContext.privileged": True}, id="privileged"),
        pytest.param({"spec.containers.0.securityContext.capabilities": {"add": ["SYS_ADMIN"]}}, id="capabilities"),
        pytest.param({"spec.containers.1": {"name": "b", "image": IMAGE}}, id="another container"),
        pytest.param({"spec.initContainers.0": {"name": "b", "image": IMAGE}}, id="an init container"),
        pytest.param(
            {"spec.initContainers.0": {"name": "b", "image": IMAGE, "restartPolicy": "Always"}}, id="a sidecar"
        ),
        pytest.param({"spec.securityContext.fsGroup": 1}, id="group of volumes"),
        pytest.param({"spec.nodeSelector": {"kubernetes.io/arch": "arm64"}}, id="architecture"),
        pytest.param({"spec.imagePullSecrets": [{"name": "s"}]}, id="pull secret"),
        pytest.param({"spec.serviceAccountName": "robot"}, id="service account"),
        pytest.param({"spec.hostUsers": False}, id="user namespace"),
        pytest.param({"spec.volumes": [{"name": "token", **TOKEN}]}, id="a token volume"),
        pytest.param({"metadata.annotations": {}}, id="annotations"),
        pytest.param({"metadata.annotations": {ANNOTATION: "[]"}}, id="an earlier patch"),
        pytest.param({"metadata.annotations": {"openshift.io/scc": "x"}}, id="OpenShift"),
    ],
)
def test_what_counts_makes_a_pod_another(paths: dict[str, Any]) -> None:
    """Each of these alone."""
    assert cacheable(workload(tweak(minimal(), paths))) != cacheable(workload())


@example({})
@given(PODS)
async def test_what_is_evaluated_is_the_key(paths: dict[str, Any]) -> None:
    """So nothing outside of the key can change a response."""
    evaluated: list[Workload] = []
    evaluate = evaluator.evaluate

    async def noting(found: Workload, *arguments: Any, **more: Any) -> Any:
        evaluated.append(found)
        return await evaluate(found, *arguments, **more)

    scene = Scene(image("1000"), mode="Enforce")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handler, "evaluate", noting)
        await scene.admission.review(review(tweak(minimal(), paths)), "mutate")
    keys = list(scene.admission._responses._answers._entries)
    assert keys or paths
    assert [_decoded(key) for key in keys] == [("mutate", "default", found) for found in evaluated[: len(keys)]]


def _key(pod: Workload) -> bytes:
    found = cacheable(pod)
    assert found is not None
    return key_of("validate", "default", found)


def _decoded(key: bytes) -> tuple[str, str, Workload]:
    return msgspec.msgpack.decode(key, type=tuple[str, str, Workload])


def test_an_input_of_the_evaluation_is_in_the_key_or_checked_beside_it() -> None:
    """A parameter that is new has no place here: say first why a cached response cannot depend on it."""
    assert set(inspect.signature(evaluator.evaluate).parameters) == {
        "workload",  # in the key, as it is evaluated
        "namespace",  # in the key
        "effective_policy",  # compared by the cache
        "injects",  # follows from the effective policy where a Pod is created
        "images",  # compared by the cache, image by image
        "budget",  # only says how long to wait: an unknown image is never kept
        "exceptions",  # there are none where there is a key
        "now",  # only read for exceptions
        "requester",  # only read for exceptions
        "slots",  # every container, where a Pod is created
        "added",  # only a scan says so
        "storage",  # only a scan asks for it
    }


def test_a_field_of_a_pod_is_in_the_key_unless_evaluation_never_sees_it() -> None:
    """A new field is in the key and is evaluated; one of the metadata is neither, until it is named here."""
    pod = podspec.PodSpec(containers=(podspec.Container(),))
    dropped: dict[str, Any] = dict.fromkeys(METADATA, "x")
    kept = cacheable(Workload("Pod", podspec.Metadata(**dropped), pod))
    assert kept is not None
    assert kept.metadata == podspec.Metadata(annotations=None)
    assert _decoded(_key(kept)) == ("validate", "default", kept)
    assert set(podspec.Metadata.__struct_fields__) == {*METADATA, "annotations"}
    assert set(Workload.__struct_fields__) == {"kind", "metadata", "spec", "pointer", "template_metadata"}
    for name in set(podspec.PodSpec.__struct_fields__) - LISTS:
        other = Workload("Pod", podspec.Metadata(), msgspec.structs.replace(pod, **{name: ("x",)}))
        assert _key(other) != _key(kept), name
    for name in set(podspec.Container.__struct_fields__) - {"volume_mounts"}:
        container = msgspec.structs.replace(podspec.Container(), **{name: ("x",)})
        other = Workload("Pod", podspec.Metadata(), podspec.PodSpec(containers=(container,)))
        assert _key(other) != _key(kept), name


@pytest.mark.parametrize("kind", ["persistentVolumeClaim", "ephemeral", "csi"])
def test_a_pod_with_a_volume_that_findings_name_is_like_no_other(kind: str) -> None:
    """They name its mounts, too."""
    assert cacheable(workload(tweak(minimal(), {"spec.volumes": [{"name": "data", kind: {}}]}))) is None


async def test_an_image_that_has_changed_is_evaluated_again(evaluations: list[Workload]) -> None:
    """Its tag was moved, or it was read anew."""
    scene = Scene(image(""), mode="Enforce")
    pod = tweak(minimal(), {"spec.securityContext.runAsNonRoot": True})
    assert (await scene.ask(pod)).decision == "deny"
    scene.images.images[IMAGE] = image("1000")
    assert (await scene.ask(pod)).decision == "allow"
    assert len(evaluations) == 4


async def test_what_is_stored_of_an_image_later_counts(evaluations: list[Workload]) -> None:
    """Of a Pod that says its uid nothing is looked up; replicas are evaluated once, until more is known of its programs."""
    raw = Capable("/app", FileCapabilities(("NET_RAW",), effective=True))
    read = msgspec.structs.replace(platform_image("1000"), survey=Survey(None, (), (), (raw,)))
    scene = Scene(Unknown("pending", "nothing is stored"), mode="Enforce")
    pod = tweak(minimal(), {"spec.securityContext.runAsUser": 1000})
    for found, drops, evaluated in ((None, True, 3), (multi(read), False, 6)):
        if found:
            scene.images.images[IMAGE] = found
        for _ in range(2):
            (context,) = (
                each["value"]
                for each in operations(await scene.ask(pod, "mutate"))
                if each["path"].endswith("/securityContext")
            )
            assert ("capabilities" in context) is drops
        assert len(evaluations) == evaluated
    assert scene.images.asked == []
    assert all(isinstance(each, Query) for each in scene.images.liked)


async def test_an_image_that_has_changed_is_asked_for_once_again_by_the_next_replica() -> None:
    """What was asked in vain, before it was evaluated again, is not kept with the answer."""
    scene = Scene(image("1000"), mode="Enforce")
    for found in (image("1001"), image("1002"), image("1003")):
        await scene.admission.review(review(minimal()), "mutate")
        scene.images.images[IMAGE] = found
    await scene.admission.review(review(minimal()), "mutate")
    scene.images.asked.clear()
    await scene.admission.review(review(minimal()), "mutate")
    assert len(scene.images.asked) == 1


async def test_another_policy_is_asked_again() -> None:
    """The same namespace, enforced from now on."""
    scene = Scene(image(""), mode="Audit")
    assert (await scene.ask(minimal())).decision == "allow"
    scene.view.rule = effective_policy(mode="Enforce")
    assert (await scene.ask(minimal())).decision == "deny"


async def test_an_exception_is_never_remembered(evaluations: list[Workload]) -> None:
    """It ends at its minute."""
    scene = Scene(image(""), mode="Enforce")
    assert (await scene.ask(minimal())).decision == "deny"
    scene.view.excuses = (NonRootException(Metadata("x", "default"), ExceptionSpec("because")),)
    for _ in range(2):
        assert (await scene.ask(minimal())).decision == "allow"
    scene.view.excuses = ()
    assert (await scene.ask(minimal())).decision == "deny"
    assert len(evaluations) == 7  # the last is the first again, but for the fresh ones


@pytest.mark.parametrize("found", [Unknown("pending", "soon"), Unknown("unreachable", "no route")])
async def test_what_was_not_known_is_asked_again(evaluations: list[Workload], found: Unknown) -> None:
    """The next answer may be another."""
    scene = Scene(found, mode="Enforce")
    for _ in range(2):
        await scene.ask(minimal())
    assert len(evaluations) == 4


async def test_a_cure_that_did_not_come_is_waited_for(evaluations: list[Workload]) -> None:
    """For how long depends on the clock."""
    scene = Scene(image("app"), mode="Enforce")
    demanding = tweak(minimal(), {"spec.securityContext.runAsNonRoot": True})
    for _ in range(2):
        assert (await scene.ask(demanding)).decision == "retry"
    assert len(evaluations) == 4


async def test_a_dry_run_asks_for_images_as_one() -> None:
    """Also where a real Pod was answered before it."""
    scene = Scene(image("1000"), mode="Enforce")
    asked = review(tweak(minimal(), {"spec.securityContext.runAsNonRoot": True}))
    for dry_run in (False, True):
        scene.images.asked.clear()
        outcome = await scene.admission.review(msgspec.structs.replace(asked, dry_run=dry_run), "validate")
        assert outcome.decision == "allow"
        assert {query.dry_run for query in scene.images.asked} == {dry_run}


async def test_memory_is_bounded() -> None:
    """Whatever the strings that a stranger sends."""
    scene = Scene(image("1000"))
    for number in range(60):
        obj = tweak(minimal(), {"spec.containers.0.name": str(number) * 100_000, "spec.containers.0.image": IMAGE})
        await scene.admission.review(review(obj), "mutate")
    assert 0 < scene.admission._responses._answers.weight <= CACHE_LIMIT


@pytest.mark.parametrize(("uids", "findings"), [((1, 1), 0), ((None, 1), 0), ((1, 2), 1)], ids=str)
async def test_replicas_that_share_an_empty_dir_are_evaluated_once(
    uids: tuple[int | None, int], findings: int, evaluations: list[Workload]
) -> None:
    """With the finding about two users, where there are two."""
    scene = Scene(Unknown("pending", "nothing is stored"), mode="Enforce")
    mounts = [{"name": "data", "mountPath": "/data"}]
    containers = [
        {"name": f"c{number}", "image": IMAGE, "volumeMounts": mounts}
        | ({"securityContext": {"runAsUser": uid}} if uid else {})
        for number, uid in enumerate(uids)
    ]
    pod = tweak(
        minimal(),
        {
            "spec.securityContext": {"runAsUser": 1, "runAsNonRoot": True},
            "spec.containers": containers,
            "spec.volumes": [{"name": "data", "emptyDir": {}}],
        },
    )
    for _ in range(3):
        outcome = await scene.ask(pod)
        assert [each.rule for each in outcome.findings] == ["shared-volume"] * findings
    assert len(evaluations) == 4  # the first one, and each by the fresh one


@pytest.mark.parametrize(
    ("uid", "own", "alike"),
    [(1, None, True), (1, 1, True), (1, 2, False), (None, None, False), (None, 1, False)],
)
def test_an_empty_dir_is_left_out_where_all_containers_have_one_user(
    uid: int | None, own: int | None, alike: bool
) -> None:
    """Of whose volume nothing is said."""
    paths: Object = {
        "spec.securityContext": {"runAsUser": uid} if uid else {},
        "spec.containers.0.securityContext": {"runAsUser": own} if own else {},
        "spec.volumes": [{"name": "data", "emptyDir": {}}],
    }
    found = cacheable(workload(tweak(minimal(), paths)))
    assert found is not None
    assert [each.name for each in found.spec.volumes or ()] == ([] if alike else ["data"])


def test_a_mount_is_part_of_a_pod_for_it_may_be_the_working_directory() -> None:
    pods = [
        cacheable(workload(tweak(minimal(), {"spec.containers.0.volumeMounts": [{"name": "data", "mountPath": path}]})))
        for path in ("/app", "/data")
    ]
    assert pods[0] != pods[1]


@pytest.mark.parametrize("kind", ["secret", "configMap"])
@pytest.mark.parametrize(("mode", "alike"), [(0o444, True), (0o604, True), (0o440, False), (0o441, False)])
def test_a_volume_that_not_everybody_may_read_is_like_no_other(kind: str, mode: int, alike: bool) -> None:
    volumes = [{"name": "data", kind: {"defaultMode": mode}}]
    assert (cacheable(workload(tweak(minimal(), {"spec.volumes": volumes}))) is not None) == alike


@pytest.mark.parametrize("name", ["containers", "initContainers", "ephemeralContainers"])
def test_where_a_token_is_mounted_makes_no_pod_another(name: str) -> None:
    """In none of its containers, each of which counts."""
    one = {"name": "a", "image": IMAGE}
    mount = {"name": "kube-api-access-x2k9p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    others = [{"name": each, "mountPath": f"/{each}"} for each in ("a", "b")]
    for before in ([], others):
        pods = ({**one, "volumeMounts": mounts} if mounts else one for mounts in (before, [*before, mount]))
        plain, same = (cacheable(workload(tweak(minimal(), {f"spec.{name}": [each]}))) for each in pods)
        assert plain == same != cacheable(workload())


def test_a_key_points_where_its_pod_does_and_can_be_looked_up() -> None:
    selectors = ({"a": "b", "c": "d"}, {"c": "d", "a": "b"})
    pods = [workload(tweak(minimal(), {"spec.nodeSelector": each})) for each in selectors]
    assert len(set(map(_key, pods))) == 1
    pods.append(workload(within("Deployment", minimal())))
    assert [found.pointer for each in pods if (found := cacheable(each))] == [each.pointer for each in pods]


async def test_an_image_is_not_waited_for_again_and_what_is_kept_is_weighed() -> None:
    scene = Scene(image("1000"), mode="Enforce")
    for _ in range(2):
        outcome = await scene.admission.review(review(minimal()), "mutate")
    assert scene.images.asked[-1].budget == 0.0
    kept = scene.admission._responses._answers
    ((key, _),) = kept._entries.items()
    rest = len(outcome.body) - len(json.dumps(json.loads(outcome.body)["response"]["uid"]))
    assert kept.weight == pytest.approx(4 * (len(key) + 2 * rest), rel=0.1)

"""The second replica of a template is answered as the first was, unless anything that counts is another."""

import base64
import inspect
import json
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.images import Table, image, multi, platform_image
from tests.support.pods import IMAGE, Object, effective_policy, minimal, review, tweak
from tests.support.variety import IMAGES, PODS, POLICIES
from tests.unit.admission.keys import decoded
from tests.unit.admission.test_handler import View, operations
from webhook.admission import handler
from webhook.admission.handler import Admission, Outcome, WebhookKind
from webhook.admission.response import Encoded
from webhook.admission.response_cache import CACHE_LIMIT, CachedResponse
from webhook.evaluation import evaluator
from webhook.image.capabilities import FileCapabilities
from webhook.image.filesystem import Capable, Special, Survey
from webhook.image.source import Image, PlatformImage, Query, Unknown
from webhook.policy.types import ExceptionSpec, Metadata, NonRootException
from webhook.workload import podspec
from webhook.workload.annotations import ANNOTATION, injection_record
from webhook.workload.workload import Workload

TOKEN: Object = {"projected": {"sources": []}}


def replica(obj: Object, suffix: str) -> Object:
    """A Pod as a ReplicaSet makes the next one: with a name and a token volume of its own."""
    volume = {"name": f"kube-api-access-{suffix}", **TOKEN}
    mount = {"name": volume["name"], "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    paths = {"metadata.name": f"web-{suffix}", "spec.volumes": [volume], "spec.containers.0.volumeMounts": [mount]}
    return tweak(obj, paths)


class Scene:
    """One Admission that goes on, beside new ones that remember nothing and evaluate each Pod as it is."""

    def __init__(self, found: Image | Unknown, **policy: Any) -> None:
        self.view = View(effective_policy(**policy))
        self.images = Table({IMAGE: found, "registry.example/other:1": image("1000")})
        self.admission = Admission(self.view, self.images)
        self.verdict = 0

    async def ask(self, obj: Object, hook: WebhookKind = "validate", **more: Any) -> Outcome:
        """The answer, which must be that of an Admission that has never seen the like, and knows of no shapes."""
        asked = review(obj, **more)
        outcome = await self.admission.review(asked, hook)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(handler, "shape_of", lambda *_: None)
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
    """For any row of Pods, each of them asked for three times at both hooks."""
    scene = Scene(multi(*images), mode=mode, **policy)
    for hook in ("mutate", "validate", "validate", "mutate", "mutate", "validate"):
        for paths in pods:
            await scene.ask(tweak(minimal(), paths), hook)


@pytest.mark.parametrize("hook", ["mutate", "validate"])
async def test_replicas_are_evaluated_twice(evaluations: list[Workload], hook: WebhookKind) -> None:
    """The second time their shape is known; whatever the API server has named them and their token volumes."""
    scene = Scene(image(""), mode="Enforce")
    for suffix in ("x2k9p", "8fq4z", "m0d7c", "4v7xn"):
        outcome = await scene.ask(replica(minimal(), suffix), hook)
        assert outcome.workload is not None
        assert outcome.workload.name == f"web-{suffix}"
    assert len(evaluations) == 2 + 4  # by the one that goes on, and each by the fresh one


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
        for _ in range(2):
            await scene.admission.review(review(tweak(minimal(), paths)), "mutate")
    keys = list(scene.admission._responses._answers._entries)
    assert keys or paths
    for key, found in zip(keys, evaluated[1:], strict=False):
        hook, namespace, pod, rest = decoded(key)
        assert (hook, namespace) == ("mutate", "default")
        if not rest:
            assert pod == found
            continue
        assert pod == _common(found)
        lengths, record = rest
        replaced = [each.container.name for each in found.slots() if not each.container.name.isascii()]
        assert [each for each in lengths if each] == list(map(len, replaced))
        assert len(record) == len(injection_record(found.metadata.annotations))


def _common(evaluated: Workload) -> Workload:
    """What is evaluated, without replaced names, the command lines beside them, and the record."""
    spec, annotations = evaluated.spec, evaluated.metadata.annotations
    named = {each.container.name for each in evaluated.slots() if not each.container.name.isascii()}
    regular, init = (
        containers
        and tuple([msgspec.structs.replace(each, name="") if each.name in named else each for each in containers])
        for containers in (spec.containers, spec.init_containers)
    )
    without = tuple(
        msgspec.structs.replace(each, command=each.command and ("",), args=each.args and ("",))
        if not each.name
        else each
        for each in regular or ()
    )
    if annotations and ANNOTATION in annotations:
        annotations = {**annotations, ANNOTATION: ""}
    return msgspec.structs.replace(
        evaluated,
        metadata=podspec.Metadata(annotations=annotations),
        spec=msgspec.structs.replace(spec, containers=without, init_containers=init),
    )


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


SERVER = Capable("/bin/serve", FileCapabilities(("NET_BIND_SERVICE",), effective=True))


@pytest.mark.parametrize(
    ("line", "survey"),
    [
        (["serve", "--all"], Survey(None, (), (), (SERVER,))),
        (["sh", "-c", "cd / && su app"], Survey(None, (), (Special("/bin/su", 0, 0, 0o4755),))),
        (["/bin/two words"], Survey(None, (), (), (msgspec.structs.replace(SERVER, path="/bin/two words"),))),
        (["podman", "run"], Survey(None, (), (Special("/usr/bin/newuidmap", 0, 0, 0o4755),))),
    ],
    ids=["capable", "setuid", "words", "helper"],
)
@pytest.mark.parametrize("first", [True, False])
async def test_a_command_line_counts_where_it_names_a_privileged_program(
    line: list[str], survey: Survey, first: bool, evaluations: list[Workload]
) -> None:
    """Whether such a Pod comes before or after the others of its shape, of which one is evaluated."""
    scene = Scene(multi(platform_image("1000", survey=survey)), mode="Enforce")
    named, *others = (
        tweak(minimal(), {"spec.containers.0.command": each[:1], "spec.containers.0.args": each[1:]})
        for each in (line, ["true"], ["sh", "-c", "make"], ["make", "all"])
    )
    pods = [named, *others] if first else [*others, named]
    for each in pods:
        await scene.ask(each, "mutate")
    evaluations.clear()
    answers = [operations(await scene.ask(each, "mutate")) for each in pods]
    differing = answers.pop(0 if first else -1)
    assert answers == [answers[0]] * 3 != [differing] * 3
    assert len(evaluations) < 2 * len(pods)
    evaluations.clear()
    await scene.ask(named, "mutate")
    assert len(evaluations) == (2 if first else 1)  # by the fresh one, and again where the others have taken its place


@pytest.mark.parametrize("space", ["", " "])
async def test_what_an_earlier_patch_left_out_counts_by_the_name_of_the_container(space: str) -> None:
    """However the record is written."""
    scene = Scene(Unknown("pending", "nothing is stored"), mode="Enforce")
    for name, left in 3 * (("app", True), ("web", True), ("web", False), ("app", False)):
        record = f'[{{"container":{space}"{name if left else "other"}","leftOut":["capabilities"]}}]'
        pod = tweak(minimal(), {"metadata.annotations": {ANNOTATION: record}, "spec.containers.0.name": name})
        outcome = await scene.ask(tweak(pod, {"spec.securityContext.runAsUser": 1000}), "mutate")
        context = next(each["value"] for each in operations(outcome) if each["path"].endswith("/securityContext"))
        assert ("capabilities" in context) is not left


async def test_every_text_about_a_container_gets_its_name(evaluations: list[Workload]) -> None:
    """Also one that rarely has it, such as what to write."""
    scene = Scene(image(""), mode="Enforce")
    for _ in range(2):
        outcome = await scene.ask(minimal())
    assert outcome.effective_policy is not None
    stand_in = next(
        each.container.name for pod in evaluations for each in pod.slots() if not each.container.name.isascii()
    )
    name = "x" * len(stand_in)
    finding = msgspec.structs.replace(outcome.findings[0], detail=stand_in, fix=stand_in, container=stand_in)
    kept = CachedResponse(Encoded(stand_in, stand_in), "deny", outcome.effective_policy, (finding,), stand_in, 0)
    texts = kept.named((name,))
    (found,) = texts.findings
    assert {found.detail, found.fix, found.container, texts.message, *msgspec.structs.astuple(texts.encoded)} == {name}


async def test_an_image_that_has_changed_is_evaluated_again(evaluations: list[Workload]) -> None:
    """Its tag was moved, or it was read anew."""
    scene = Scene(image(""), mode="Enforce")
    pod = tweak(minimal(), {"spec.securityContext.runAsNonRoot": True})
    assert (await scene.ask(pod)).decision == "deny"
    scene.images.images[IMAGE] = image("1000")
    assert (await scene.ask(pod)).decision == "allow"
    assert len(evaluations) == 4


async def test_what_is_stored_of_an_image_later_counts(evaluations: list[Workload]) -> None:
    """Of a Pod that says its uid nothing is looked up; replicas are evaluated twice, until more is known of its programs."""
    raw = Capable("/app", FileCapabilities(("NET_RAW",), effective=True))
    read = msgspec.structs.replace(platform_image("1000"), survey=Survey(None, (), (), (raw,)))
    scene = Scene(Unknown("pending", "nothing is stored"), mode="Enforce")
    pod = tweak(minimal(), {"spec.securityContext.runAsUser": 1000})
    for found, drops, evaluated in ((None, True, 2 + 3), (multi(read), False, 2 + 3 + 1 + 3)):
        if found:
            scene.images.images[IMAGE] = found
        for _ in range(3):
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
    for _ in range(2):
        assert (await scene.ask(minimal())).decision == "deny"
    scene.view.excuses = (NonRootException(Metadata("x", "default"), ExceptionSpec("because")),)
    for _ in range(2):
        assert (await scene.ask(minimal())).decision == "allow"
    scene.view.excuses = ()
    assert (await scene.ask(minimal())).decision == "deny"
    assert len(evaluations) == 4 + 4 + 1  # the last is the second again, but for the fresh one


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


async def test_the_programs_of_an_image_are_weighed() -> None:
    """Where an image has more than there is room for, nothing is kept of Pods with command lines."""
    special = tuple(Special(f"/bin/{number}", 0, 0, 0o4755) for number in range(CACHE_LIMIT // 100))
    scene = Scene(multi(platform_image("1000", survey=Survey(None, (), special))), mode="Enforce")
    for line, kept in (([], 1), (["true"], 1)):
        for _ in range(2):
            await scene.admission.review(review(tweak(minimal(), {"spec.containers.0.command": line})), "mutate")
        assert len(scene.admission._responses._answers) == kept


@pytest.mark.parametrize(("uids", "findings"), [((1, 1), 0), ((None, 1), 0), ((1, 2), 1)], ids=str)
async def test_replicas_that_share_an_empty_dir_are_evaluated_twice(
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
    assert len(evaluations) == 2 + 3  # by the one that goes on, and each by the fresh one


async def test_an_image_is_not_waited_for_again_and_what_is_kept_is_weighed() -> None:
    scene = Scene(image("1000"), mode="Enforce")
    for _ in range(3):
        outcome = await scene.admission.review(review(minimal()), "mutate")
    assert scene.images.asked[-1].budget == 0.0
    kept = scene.admission._responses._answers
    (key,) = kept._entries
    encoded = json.loads(outcome.body)["response"]["patch"]
    size = len(outcome.body) - len(encoded) + len(base64.b64decode(encoded))
    assert kept.weight == pytest.approx(4 * (120 + len(key) + 3 * size), rel=0.15)


async def test_what_was_asked_for_a_pod_is_weighed() -> None:
    """Of many containers of short images it takes more than the rest."""
    scene = Scene(image("1000"), mode="Audit")
    containers = [{"name": f"c{number}", "image": IMAGE} for number in range(1000)]
    pod = tweak(minimal(), {"spec.securityContext": {"runAsNonRoot": True}, "spec.containers": containers})
    for _ in range(2):
        await scene.admission.review(review(pod), "validate")
    kept = scene.admission._responses._answers
    ((key, (entry, *_)),) = kept._entries.items()
    asked = [each for lookup in entry.lookups for each in (lookup, lookup[0])]
    assert len(asked) == 2000
    size = len(entry.response.encoded.fields) + len(entry.response.encoded.patch)
    assert kept.weight >= sys.getsizeof(key) + size + sum(map(sys.getsizeof, asked))

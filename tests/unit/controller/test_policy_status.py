"""The statuses of policies and exceptions, kept by a controller that may be killed at any write."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tests.support.controllers import Killed
from tests.support.objects import Body, Objects
from webhook.cluster.errors import Unreachable
from webhook.cluster.events import Event
from webhook.controller.policy_status import ClusterState, PolicyStatusController
from webhook.policy.conditions import Outcomes
from webhook.policy.loader import read
from webhook.policy.types import NonRootPolicy, PolicySpec

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
NAMESPACES = "/api/v1/namespaces"
CONFIGMAPS = "/api/v1/configmaps"
POLICIES = "/apis/nonroot.dev/v1alpha1/nonrootpolicies"
EXCEPTIONS = "/apis/nonroot.dev/v1alpha1/nonrootexceptions"


class Scene:
    """A cluster, and a controller that looks at it."""

    def __init__(self) -> None:
        self.objects = Objects(NAMESPACES, POLICIES, EXCEPTIONS)
        self.events: list[Event] = []
        self.statuses = PolicyStatusController(self.objects, self.events.append)

    def namespace(self, name: str, **labels: str) -> None:
        metadata: Body = {"name": name}
        self.objects.put(NAMESPACES, {"metadata": metadata | ({"labels": labels} if labels else {})})

    def policy(self, name: str, **spec: Any) -> None:
        self.objects.put(POLICIES, self._document("NonRootPolicy", {"name": name}, spec))

    def exception(self, name: str, **spec: Any) -> None:
        metadata = {"name": name, "namespace": "shop"}
        self.objects.put(EXCEPTIONS, self._document("NonRootException", metadata, {"reason": "because", **spec}))

    def _document(self, kind: str, metadata: Body, spec: Body) -> Body:
        return {"apiVersion": "nonroot.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}

    async def round(self, now: datetime = NOW) -> tuple[ClusterState, datetime | None]:
        return await self.statuses.round(now)

    def conditions(self, collection: str, name: str) -> dict[str, str]:
        """Status and reason by type."""
        (found,) = (each for each in self.objects.all(collection) if each["metadata"]["name"] == name)
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
        return {each["type"]: f"{each['status']} {each['reason']}" for each in found["status"]["conditions"]}


@pytest.fixture
def scene() -> Scene:
    made = Scene()
    made.namespace("shop")
    made.namespace("blog", **{"nonroot.dev/mode": "strict"})
    made.policy("all", mode="Warn")
    made.exception("old", expires="2026-03-05T00:00:00Z")
    return made


async def test_statuses_are_written_once_and_then_only_when_something_changes(scene: Scene) -> None:
    _, change = await scene.round()
    assert change == datetime(2026, 3, 5, tzinfo=UTC)
    assert scene.objects.writes == [
        "PATCH the status of NonRootPolicy all",
        "PATCH the status of NonRootException shop/old",
    ]
    assert scene.conditions(POLICIES, "all") == {
        "Ready": "True InForce",
        "NamespaceLabelsValid": "False BadLabel",
        "FailsOpen": "False NoneDoes",
        "ExemptsRoot": "False NoneDoes",
    }
    assert scene.conditions(EXCEPTIONS, "old") == {"Ready": "True InForce", "ExpiresSoon": "True WithinAWeek"}
    (policy,) = scene.objects.all(POLICIES)
    assert policy["status"]["namespaces"] == 2
    assert "workloads" not in policy["status"]
    assert policy["status"]["conditions"][0]["lastTransitionTime"] == "2026-03-01T12:00:00Z"
    scene.objects.writes.clear()
    await scene.round(NOW + timedelta(hours=1))
    await PolicyStatusController(scene.objects, scene.events.append).round(NOW + timedelta(hours=2))
    assert scene.objects.writes == []


async def test_an_object_that_turns_bad_is_one_event(scene: Scene) -> None:
    await scene.round()
    result = {(each.regarding.kind, each.regarding.name, each.reason): each for each in scene.events}
    assert result.keys() == {
        ("Namespace", "blog", "BadLabel"),
        ("NonRootPolicy", "all", "BadLabel"),
        ("NonRootException", "old", "WithinAWeek"),
    }
    assert "'strict'" in result["Namespace", "blog", "BadLabel"].note
    scene.events.clear()
    await scene.round()
    await scene.round(datetime(2026, 3, 6, tzinfo=UTC))
    assert [(each.regarding.name, each.reason) for each in scene.events] == [("old", "Expired")]


async def test_a_label_that_turns_bad_again_is_another_event(scene: Scene) -> None:
    await scene.round()
    scene.namespace("blog")
    await scene.round()
    scene.events.clear()
    scene.namespace("blog", **{"nonroot.dev/mode": "strict"})
    await scene.round()
    assert {each.regarding.kind for each in scene.events} == {"Namespace", "NonRootPolicy"}


async def test_the_sums_of_a_scan_are_shown_for_each_policy(scene: Scene) -> None:
    scene.policy("none", namespaceSelector={"matchLabels": {"a": "b"}})
    scene.statuses.sums = {"all": Outcomes.of(denied=3), "gone": Outcomes.of(denied=1)}
    await scene.round()
    shown = {each["metadata"]["name"]: each["status"]["workloads"]["denied"] for each in scene.objects.all(POLICIES)}
    assert shown == {"all": 3, "none": 0}
    await PolicyStatusController(scene.objects, scene.events.append).round(NOW)  # restarted, and not scanned yet
    shown = {each["metadata"]["name"]: each["status"]["workloads"]["denied"] for each in scene.objects.all(POLICIES)}
    assert shown == {"all": 3, "none": 0}


async def test_a_document_that_the_crd_let_through_is_unusable_and_says_why(scene: Scene) -> None:
    scene.policy("broken", rootImages="Assign")
    moment, _ = await scene.round()
    assert scene.conditions(POLICIES, "broken") == {"Ready": "False Unusable"}
    assert moment.view().effective_policy("shop").policy.metadata.name == "all"
    scene.policy("broken", mode="Audit")
    await scene.round()
    assert scene.conditions(POLICIES, "broken")["Ready"] == "False Shadowed"


async def test_a_policy_that_turns_unusable_stays_in_force_for_controllers_that_have_just_started(scene: Scene) -> None:
    scene.policy("shops", mode="Enforce", priority=1)
    await scene.round()
    scene.policy("shops", mode="Enforce", rootImages="Assign")
    state, _ = await PolicyStatusController(scene.objects, scene.events.append).round(NOW)
    assert scene.conditions(POLICIES, "shops")["Ready"] == "False LastVersionInForce"
    rule = state.view().effective_policy("shop")
    assert (rule.policy.metadata.name, rule.policy.spec.priority, rule.mode) == ("shops", 1, "Enforce")
    assert "LastVersionInForce" in [each.reason for each in scene.events if each.regarding.name == "shops"]


async def test_the_fields_of_a_newer_version_are_named_and_the_rest_applies(scene: Scene) -> None:
    scene.policy("all", mode="Warn", colour="red")
    state, _ = await scene.round()
    assert scene.conditions(POLICIES, "all")["FieldsKnown"] == "False UnknownFields"
    assert state.view().effective_policy("shop").mode == "Warn"


async def test_a_policy_of_the_built_in_ones_former_name_has_no_namespaces_of_its(scene: Scene) -> None:
    """Seen before: it counted the namespaces that no policy selects."""
    nowhere = {"matchLabels": {"a": "b"}}
    scene.policy("all", mode="Warn", namespaceSelector=nowhere)
    scene.policy("built-in", namespaceSelector=nowhere)
    await scene.round()
    assert [each["status"]["namespaces"] for each in scene.objects.all(POLICIES)] == [0, 0]


async def test_what_is_enforced_without_a_label_fails_open(scene: Scene) -> None:
    scene.policy("all", mode="Enforce")
    scene.namespace("labelled", **{"nonroot.dev/mode": "enforce"})
    scene.namespace("warned", **{"nonroot.dev/mode": "warn"})
    for unchecked in ("kube-system", "openshift-monitoring"):
        scene.namespace(unchecked)
    await scene.round()
    (condition,) = (
        each
        for each in scene.objects.all(POLICIES)[0]["status"]["conditions"]
        if (each["type"], each["status"]) == ("FailsOpen", "True")
    )
    assert condition["message"].startswith("shop: enforced by this policy and not by a label")
    assert "NotLabelled" in [each.reason for each in scene.events]
    assert [each.samples[0].value for each in scene.statuses.collect()] == [0, 0, 1]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(
            {"onUnknown": {"default": "Warn"}}, "onUnknown.default: Warn: lets", id="as earlier versions stored"
        ),
        pytest.param(
            {"rootImages": "Allow", "onUnknown": {"notFound": "Allow"}},
            "rootImages: Allow, onUnknown.notFound: Allow: lets",
            id="several",
        ),
        pytest.param({"rootInUserNamespaces": "Allow"}, "rootInUserNamespaces: Allow: lets", id="user namespaces"),
        pytest.param({"onUnknown": {"default": "Deny"}}, "", id="none"),
        pytest.param(
            {"mode": "Audit", "onUnknown": {"default": "Warn"}}, "onUnknown.default: Warn: lets", id="by label"
        ),
    ],
)
async def test_a_policy_that_exempts_root_says_so(scene: Scene, spec: dict[str, Any], message: str) -> None:
    """Seen before: after an upgrade Enforce let unread images in, by a default that the former version had stored."""
    scene.policy("all", **{"mode": "Enforce", **spec})
    await scene.round()
    (condition,) = (
        each for each in scene.objects.all(POLICIES)[0]["status"]["conditions"] if each["type"] == "ExemptsRoot"
    )
    assert condition["status"] == str(bool(message))
    assert condition["message"].startswith(message)
    assert ("stored onUnknown.default: Warn" in condition["message"]) == ("onUnknown.default" in message)
    assert ("StatedByPolicy" in [each.reason for each in scene.events]) == bool(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"mode": "Warn"}, "enforced by policy all until now, it is in mode Warn, by policy all", id="mode"
        ),
        pytest.param(
            {"mode": "Enforce", "rootImages": "Allow"},
            "rootImages: Allow lets containers run as root, by policy all",
            id="root",
        ),
        pytest.param(
            {"mode": "Enforce", "onUnknown": {"default": "Warn"}},
            "onUnknown.default: Warn lets containers run as root, by policy all",
            id="unread",
        ),
        pytest.param({"mode": "Enforce", "templates": "Deny"}, "", id="nothing less"),
    ],
)
async def test_a_namespace_that_is_enforced_less_says_so(scene: Scene, change: dict[str, Any], message: str) -> None:
    scene.policy("all", mode="Enforce")
    await scene.round()
    scene.events.clear()
    scene.policy("all", **change)
    for _ in range(2):
        await scene.round()
    notes = [(each.regarding.name, each.note) for each in scene.events if each.reason == "EnforcementWeakened"]
    assert [name for name, _ in notes] == (["shop"] if message == "" or "Warn," in message else ["blog", "shop"])[
        : 2 * bool(message)
    ]
    assert all(note.startswith(message) for _, note in notes)
    assert weakened_at(scene) == (NOW.replace(microsecond=0).timestamp() if message else 0)
    assert value(scene, "nonroot_enforcement_weakened_total") == len(notes)


def weakened_at(scene: Scene) -> float:
    """When enforcement was weakened, by the metric."""
    return value(scene, "nonroot_enforcement_weakened_timestamp_seconds")


def value(scene: Scene, name: str) -> float:
    """The value of a metric."""
    return next(each.value for family in scene.statuses.collect() for each in family.samples if each.name == name)


async def test_enforcement_that_was_weakened_while_the_controller_was_away_is_an_event(scene: Scene) -> None:
    """A policy deleted, and a label taken away, which leave no object that could tell; nothing is reported twice."""
    scene.objects.stored[CONFIGMAPS] = {}
    scene.objects.put(CONFIGMAPS, {"metadata": {"name": "nonroot-webhook-enforced", "namespace": "nonroot-system"}})
    scene.policy("all", mode="Enforce", namespaceSelector={"matchLabels": {"team": "a"}})
    scene.namespace("shop", team="a")
    await scene.round()
    assert weakened_at(scene) == 0
    scene.events.clear()
    del scene.objects.stored[POLICIES]["", "all"]
    scene.namespace("blog")
    later = NOW + timedelta(hours=1)
    for now in (later, later + timedelta(hours=1)):
        scene.statuses = PolicyStatusController(scene.objects, scene.events.append)
        await scene.round(now)
        assert weakened_at(scene) == later.replace(microsecond=0).timestamp()
    notes = {each.regarding.name: each.note for each in scene.events if each.reason == "EnforcementWeakened"}
    assert len([each for each in scene.events if each.reason == "EnforcementWeakened"]) == 2
    assert notes["shop"].startswith("enforced by policy all until now, it is in mode Audit, by policy (built-in)")
    assert notes["blog"].startswith("enforced by policy (built-in) until now, it is in mode Audit")


async def test_a_namespace_that_is_made_anew_is_not_the_one_that_was_enforced(scene: Scene) -> None:
    scene.policy("all", mode="Enforce")
    await scene.round()
    scene.events.clear()
    scene.objects.put(NAMESPACES, {"metadata": {"name": "shop", "uid": "another"}})
    scene.policy("all", mode="Warn")
    await scene.round()
    assert "shop" not in [each.regarding.name for each in scene.events if each.reason == "EnforcementWeakened"]


@pytest.mark.parametrize("text", ["", "no JSON", '{"policies": []}'])
async def test_a_record_of_somebody_elses_making_is_replaced(scene: Scene, text: str) -> None:
    scene.objects.stored[CONFIGMAPS] = {}
    metadata = {"name": "nonroot-webhook-enforced", "namespace": "nonroot-system"}
    scene.objects.put(CONFIGMAPS, {"metadata": metadata, "data": {"enforced.json": text}})
    scene.policy("all", mode="Enforce")
    await scene.round()
    (kept,) = scene.objects.all(CONFIGMAPS)
    assert json.loads(kept["data"]["enforced.json"]) == {"policies": {"all": {"namespaces": ["uid-blog", "uid-shop"]}}}


async def test_an_equal_policy_does_not_weaken_by_its_name(scene: Scene) -> None:
    """Seen before: `aaa-company {Warn}` switched `shops {Enforce}` off."""
    scene.namespace("blog")
    scene.policy("shops", mode="Enforce")
    scene.policy("aaa-company", mode="Warn")
    state, _ = await scene.round()
    assert state.view().effective_policy("shop").mode == "Enforce"
    assert scene.conditions(POLICIES, "aaa-company")["Ready"] == "False Shadowed"
    assert "Shadowed" in [each.reason for each in scene.events]


async def test_an_exception_that_matches_nothing_says_so_once_all_is_scanned(scene: Scene) -> None:
    await scene.round()
    assert scene.conditions(EXCEPTIONS, "old")["Ready"] == "True InForce"
    scene.statuses.matches = {("elsewhere", "old"): 1}
    await scene.round()
    assert scene.conditions(EXCEPTIONS, "old")["Ready"] == "True MatchesNothing"
    assert scene.objects.all(EXCEPTIONS)[0]["status"]["matches"] == 0
    scene.statuses.matches = {("shop", "old"): 3}
    await scene.round()
    assert scene.conditions(EXCEPTIONS, "old")["Ready"] == "True InForce"
    assert scene.objects.all(EXCEPTIONS)[0]["status"]["matches"] == 3


async def test_exceptions_with_too_many_globs_say_so(scene: Scene) -> None:
    """By themselves, or together with those before them; who counted stays in force."""
    scene.exception("alone", images=[f"a.io/{number}{'*a' * 200}" for number in range(9)])
    for number in range(30):
        scene.exception(f"together{number:02}", images=[f"registry.example.com/{each}/*" for each in range(100)])
    await scene.round()
    assert scene.conditions(EXCEPTIONS, "alone")["Ready"] == "False Unusable"
    assert scene.conditions(EXCEPTIONS, "together00")["Ready"] == "True InForce"
    assert scene.conditions(EXCEPTIONS, "together29")["Ready"] == "False TooManyGlobs"
    notes = [each.note for each in scene.events if each.reason in {"TooManyGlobs", "Unusable"}]
    assert any("spec: its globs are too many or too long" in each for each in notes)
    assert any("as many globs with wildcards as count" in each for each in notes)


async def test_a_status_of_somebody_elses_making_is_replaced(scene: Scene) -> None:
    scene.objects.all(POLICIES)[0]["status"] = {"conditions": "fine"}
    await scene.round()
    assert scene.conditions(POLICIES, "all")["Ready"] == "True InForce"


async def test_without_our_kinds_there_are_namespaces(scene: Scene) -> None:
    objects = Objects(NAMESPACES)
    objects.put(NAMESPACES, {"metadata": {"name": "shop"}})
    moment, change = await PolicyStatusController(objects, scene.events.append).round(NOW)
    assert ([each.name for each in moment.namespaces], moment.policies, change) == (["shop"], (), None)


async def test_an_object_that_changes_meanwhile_is_left_for_the_next_round(scene: Scene) -> None:
    before = scene.objects.before
    scene.objects.before = lambda: scene.policy("all", mode="Enforce")
    await scene.round()
    scene.objects.before = before
    assert [each for each in scene.events if each.regarding.kind == "NonRootPolicy"] == []
    await scene.round()
    assert scene.conditions(POLICIES, "all")["Ready"] == "True InForce"


@pytest.mark.parametrize("error", [Killed, Unreachable])
async def test_it_goes_on_where_it_was_ended(scene: Scene, error: type[BaseException]) -> None:
    """Each of these processes is ended at its second write."""
    ended = 0
    for _ in range(3):
        written = len(scene.objects.writes)

        def end(written: int = written) -> None:
            if len(scene.objects.writes) > written:
                raise error("now")

        scene.objects.before = end
        try:
            await PolicyStatusController(scene.objects, scene.events.append).round(NOW)
        except error:
            ended += 1
    assert ended == 1
    assert len(scene.objects.writes) == 2
    assert scene.conditions(POLICIES, "all")["Ready"] == "True InForce"
    assert scene.conditions(EXCEPTIONS, "old")["Ready"] == "True InForce"


async def test_the_default_policy_is_created_once_and_then_left_to_its_owner(scene: Scene) -> None:
    """It is what the built-in policy is, comes after every other, and whoever edits it keeps that."""
    scene.statuses = PolicyStatusController(scene.objects, scene.events.append, creates_default=True)
    await scene.round()
    (made,) = (each for each in scene.objects.all(POLICIES) if each["metadata"]["name"] == "default")
    policy = read(made, "a test")
    assert isinstance(policy, NonRootPolicy)
    assert policy.spec == msgspec.structs.replace(PolicySpec(), priority=-(2**31))
    made["spec"]["mode"] = "Warn"
    scene.objects.put(POLICIES, made)
    scene.objects.writes.clear()
    await scene.round()
    assert "POST NonRootPolicy default" not in scene.objects.writes
    assert scene.conditions(POLICIES, "default")["Ready"] == "False Shadowed"


async def test_without_being_asked_no_policy_is_created(scene: Scene) -> None:
    await scene.round()
    assert [each["metadata"]["name"] for each in scene.objects.all(POLICIES)] == ["all"]


async def test_where_the_kind_is_not_installed_the_default_policy_waits(scene: Scene) -> None:
    bare = Objects(NAMESPACES)
    await PolicyStatusController(bare, scene.events.append, creates_default=True).round(NOW)
    assert bare.writes == []


async def test_counts_are_said_to_be_old_since_when_nothing_is_scanned(scene: Scene) -> None:
    """With the time at which that was noticed; while there is a scan, and where nothing was counted, nothing is said of it."""
    scene.statuses.sums, scene.statuses.matches = {"all": Outcomes.of(denied=3)}, {("shop", "old"): 1}
    await scene.round()
    assert "Scanned" not in scene.conditions(POLICIES, "all")
    scene.policy("new", mode="Audit", priority=-1)
    scene.statuses = PolicyStatusController(scene.objects, scene.events.append, scans=False)
    await scene.round(NOW + timedelta(hours=1))
    assert scene.conditions(POLICIES, "all")["Scanned"] == "False ScanOff"
    assert scene.conditions(EXCEPTIONS, "old")["Scanned"] == "False ScanOff"
    assert "Scanned" not in scene.conditions(POLICIES, "new")
    (policy,) = (each for each in scene.objects.all(POLICIES) if each["metadata"]["name"] == "all")
    assert policy["status"]["workloads"]["denied"] == 3
    since = {each["type"]: each["lastTransitionTime"] for each in policy["status"]["conditions"]}
    assert since["Scanned"] == "2026-03-01T13:00:00Z"

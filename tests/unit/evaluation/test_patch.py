"""A patch adds numbers and defaults where the Pod is silent, applies, and needs no second one."""

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.evaluation import evaluate_object, patched
from tests.support.images import DIGEST, image, multi, platform_image, unknown
from tests.support.pods import DEFAULTS, IMAGE, effective_policy, first, minimal, tweak, workload
from tests.support.tables import table
from webhook.evaluation import patch
from webhook.evaluation.pod_facts import PodFacts
from webhook.evaluation.subject import Subject
from webhook.evaluation.verdict import ContainerVerdict
from webhook.image.capabilities import FileCapabilities
from webhook.image.filesystem import Capable, Survey
from webhook.image.source import Image, Unknown
from webhook.policy.types import ExceptionSpec, Metadata, NonRootException, Rule
from webhook.workload.annotations import OPENSHIFT_SCC
from webhook.workload.workload import effective

FULL = {"runAsUser": 1000, **DEFAULTS}
OWN = "spec.containers.0.securityContext"
POD = "spec.securityContext"


def without(*names: str) -> dict[str, Any]:
    """The full injection less some fields."""
    return {name: value for name, value in FULL.items() if name not in names}


@table(
    ("paths", "found", "expected"),
    {
        "a silent Pod": ({}, image("app"), FULL),
        "a numeric USER is pinned": ({}, image("7"), FULL | {"runAsUser": 7}),
        "an empty context": ({OWN: {}}, image("app"), FULL),
        "a context that is null": (
            {"spec.containers": [{"name": "app", "image": IMAGE, "securityContext": None}]},
            image("app"),
            FULL,
        ),
        "its own number": ({f"{OWN}.runAsUser": 5}, image("app"), DEFAULTS | {"runAsUser": 5}),
        "the Pod's number is not repeated": ({f"{POD}.runAsUser": 5}, image("app"), DEFAULTS),
        "its own root": ({f"{OWN}.runAsUser": 0}, image("app"), {"runAsUser": 0}),
        "the Pod's root": ({f"{POD}.runAsUser": 0}, image("app"), None),
        "runAsNonRoot true": ({f"{OWN}.runAsNonRoot": True}, image("app"), FULL),
        "the Pod's runAsNonRoot is not repeated": (
            {f"{POD}.runAsNonRoot": True},
            image("app"),
            without("runAsNonRoot"),
        ),
        "an explicit runAsNonRoot false stays": (
            {f"{OWN}.runAsNonRoot": False},
            image("app"),
            FULL | {"runAsNonRoot": False},
        ),
        "the Pod's runAsNonRoot false stays": ({f"{POD}.runAsNonRoot": False}, image("app"), without("runAsNonRoot")),
        "an explicit escalation stays": (
            {f"{OWN}.allowPrivilegeEscalation": True},
            image("app"),
            FULL | {"allowPrivilegeEscalation": True},
        ),
        "empty capabilities are silent": ({f"{OWN}.capabilities": {}}, image("app"), FULL),
        "added capabilities are explicit": (
            {f"{OWN}.capabilities": {"add": ["NET_BIND_SERVICE"]}},
            image("app"),
            FULL | {"capabilities": {"add": ["NET_BIND_SERVICE"]}},
        ),
        "dropped capabilities are explicit": (
            {f"{OWN}.capabilities": {"drop": ["NET_RAW"]}},
            image("app"),
            FULL | {"capabilities": {"drop": ["NET_RAW"]}},
        ),
        "an empty list is explicit": (
            {f"{OWN}.capabilities": {"drop": []}},
            image("app"),
            FULL | {"capabilities": {"drop": []}},
        ),
        "no escalation false beside CAP_SYS_ADMIN": (
            {f"{OWN}.capabilities": {"add": ["CAP_SYS_ADMIN"]}},
            image("app"),
            without("allowPrivilegeEscalation") | {"capabilities": {"add": ["CAP_SYS_ADMIN"]}},
        ),
        "nor beside SYS_ADMIN, which the API server overlooks": (
            {f"{OWN}.capabilities": {"add": ["SYS_ADMIN"]}},
            image("app"),
            without("allowPrivilegeEscalation") | {"capabilities": {"add": ["SYS_ADMIN"]}},
        ),
        "a privileged container gets identity alone": (
            {f"{OWN}.privileged": True},
            image("app"),
            {"privileged": True, "runAsUser": 1000, "runAsNonRoot": True},
        ),
        "an explicitly unprivileged one gets all": (
            {f"{OWN}.privileged": False},
            image("app"),
            FULL | {"privileged": False},
        ),
        "its own seccomp profile stays": (
            {f"{OWN}.seccompProfile": {"type": "Unconfined"}},
            image("app"),
            FULL | {"seccompProfile": {"type": "Unconfined"}},
        ),
        "the Pod's seccomp profile is not repeated": (
            {f"{POD}.seccompProfile": {"type": "Localhost"}},
            image("app"),
            without("seccompProfile"),
        ),
        "on OpenShift identity alone": (
            {"metadata.annotations": {"openshift.io/scc": "nonroot-v2"}},
            image("app"),
            {"runAsUser": 1000, "runAsNonRoot": True},
        ),
        "on OpenShift no group, and so no uid that would need one": (
            {"metadata.annotations": {"openshift.io/scc": "nonroot-v2"}},
            image("app", "first:x:1000:7\napp:x:1000:1000\n"),
            None,
        ),
        "on OpenShift a uid where the container sets the group": (
            {"metadata.annotations": {"openshift.io/scc": "nonroot-v2"}, f"{OWN}.runAsGroup": 5},
            image("app", "first:x:1000:7\napp:x:1000:1000\n"),
            {"runAsUser": 1000, "runAsNonRoot": True, "runAsGroup": 5},
        ),
        "an image without USER": ({}, image(""), None),
        "a USER that is root": ({}, image("root"), None),
        "a USER that nobody has": ({}, image("nobody"), None),
        "an unknown image": ({}, unknown("unreachable"), {"runAsNonRoot": True}),
        "accounts that are unknown": ({}, multi(platform_image("app", unknown="pending")), {"runAsNonRoot": True}),
        "a uid that a user namespace may not map": (
            {"spec.hostUsers": False},
            image("70000"),
            FULL | {"runAsUser": 70000},
        ),
        "a Pod for Windows": ({"spec.os.name": "windows"}, image("ContainerUser"), {"runAsNonRoot": True}),
        "a shared uid with another primary group": (
            {},
            image("app", "first:x:1000:7\napp:x:1000:1000\n"),
            FULL | {"runAsGroup": 1000},
        ),
        "a shared uid where the container sets the group": (
            {f"{OWN}.runAsGroup": 5},
            image("app", "first:x:1000:7\napp:x:1000:1000\n"),
            FULL | {"runAsGroup": 5},
        ),
        "a shared uid with other groups": (
            {},
            image("app", "first:x:1000:1000\napp:x:1000:1000\n", "video:x:44:app\n"),
            None,
        ),
        "platforms that agree": ({}, multi(platform_image("app"), platform_image("1000")), FULL),
        "platforms that do not": ({}, multi(platform_image("app"), platform_image("7")), None),
        "platforms of which one is root": ({}, multi(platform_image("app"), platform_image("")), None),
    },
)
async def test_what_is_injected_into_a_container(
    paths: dict[str, Any], found: Image | Unknown, expected: dict[str, Any] | None
) -> None:
    """The container's whole security context afterwards; None where it has none."""
    pod = tweak(minimal(), paths)
    container = patched(pod, await evaluate_object(pod, found))["spec"]["containers"][0]
    assert container.get("securityContext") == expected


@table(
    ("spec", "expected"),
    {
        "no defaults": ({"defaults": []}, {"runAsUser": 1000}),
        "one default": ({"defaults": ["capabilities"]}, {"runAsUser": 1000, "capabilities": DEFAULTS["capabilities"]}),
        "another default for the image": (
            {"imageDefaults": [{"images": ["registry.example/*"], "defaults": ["runAsNonRoot"]}]},
            {"runAsUser": 1000, "runAsNonRoot": True},
        ),
        "another default for other images": (
            {"imageDefaults": [{"images": ["registry.example/other:*"], "defaults": []}]},
            FULL,
        ),
        "never inject": ({"inject": "Never"}, None),
        "an exempt image": ({"exemptions": {"images": ["registry.example/*"]}}, None),
        "known from the operator, but the registry is better": (
            {"knownImages": [{"image": "registry.example/*", "uid": 9}]},
            FULL,
        ),
    },
)
async def test_what_a_policy_makes_of_it(spec: dict[str, Any], expected: dict[str, Any] | None) -> None:
    """The same silent Pod under other policies."""
    verdict = await evaluate_object(minimal(), rule=effective_policy(**spec))
    assert patched(minimal(), verdict)["spec"]["containers"][0].get("securityContext") == expected


async def test_a_mode_that_does_not_inject_patches_nothing() -> None:
    """Audit and Warn, unless the policy says Always."""
    assert patch.operations(await evaluate_object(minimal(), rule=effective_policy("Warn")), workload()) == []
    assert (
        patch.operations(await evaluate_object(minimal(), rule=effective_policy("Audit", inject="Always")), workload())
        != []
    )


async def test_an_assigned_identity_is_injected() -> None:
    """Into a listed image that would run as root, never over an explicit root."""
    rule = effective_policy(rootImages="Assign", assign={"uid": 5000, "gid": 6000, "images": ["registry.example/*"]})
    silent = patched(minimal(), await evaluate_object(minimal(), image(""), rule=rule))
    assert silent["spec"]["containers"][0]["securityContext"] == DEFAULTS | {"runAsUser": 5000, "runAsGroup": 6000}
    root = tweak(minimal(), {f"{OWN}.runAsUser": 0})
    assert patched(root, await evaluate_object(root, image(""), rule=rule)) == root


GROUPS = "web:x:100:\napp:x:200:app\nhuge:x:4294967295:\n"


@pytest.mark.parametrize(
    ("found", "group"),
    [
        (image("1000:100", group=GROUPS), 100),
        (image("1000:0", group=GROUPS), 0),
        (image("app:100", group=GROUPS), 100),
        (image("app:web", group=GROUPS), 100),
        (image("app", group=GROUPS), None),
        (image("app:", group=GROUPS), None),
        (image("app:nosuch", group=GROUPS), None),
        (image("app:huge", group=GROUPS), None),
        (image("app:-5", group=GROUPS), None),
        (image("1000:1:2", group=GROUPS), None),
        (image("app:web"), None),
        (multi(platform_image("1000:100"), platform_image("1000:100", platform="linux/arm64")), 100),
        (multi(platform_image("1000:100"), platform_image("1000:200", platform="linux/arm64")), None),
    ],
    ids=lambda each: each.platforms[0].config.user.text if isinstance(each, Image) else "",
)
async def test_the_group_of_the_images_user_is_injected_where_the_policy_wants_it(
    found: Image, group: int | None
) -> None:
    """As Docker starts it; Kubernetes ignores what stands after the colon."""
    for wanted, expected in (("FromImage", group), (None, None)):
        spec = {} if wanted is None else {"runAsGroup": wanted}
        made = patched(minimal(), await evaluate_object(minimal(), found, rule=effective_policy(**spec)))
        own = made["spec"]["containers"][0]["securityContext"]
        assert (own["runAsUser"], own.get("runAsGroup")) == (1000, expected)


async def test_a_group_that_the_pod_says_stays() -> None:
    """On either level; and where OpenShift has chosen the context no group is added."""
    rule, found = effective_policy(runAsGroup="FromImage"), image("1000:100")
    for paths in ({f"{OWN}.runAsGroup": 5}, {"spec.securityContext.runAsGroup": 5}):
        pod = tweak(minimal(), paths)
        made = patched(pod, await evaluate_object(pod, found, rule=rule))
        assert "'runAsGroup': 100" not in str(made)
    pod = tweak(minimal(), {"metadata.annotations": {OPENSHIFT_SCC: "restricted-v2"}})
    own = patched(pod, await evaluate_object(pod, found, rule=rule))["spec"]["containers"][0]["securityContext"]
    assert own == {"runAsUser": 1000, "runAsNonRoot": True}


async def test_a_root_image_that_is_allowed_gets_no_defaults() -> None:
    """They would break it."""
    assert (
        patched(minimal(), await evaluate_object(minimal(), image(""), rule=effective_policy(rootImages="Allow")))
        == minimal()
    )


@pytest.mark.parametrize(
    ("paths", "found", "rules"),
    [
        ({f"{OWN}.runAsUser": 5}, image("app"), ()),
        ({}, unknown("unreachable"), ()),
        ({}, unknown("unreachable"), ("unknown-image",)),
    ],
    ids=["with a uid of its own", "of an unknown image", "of an image that may be unknown"],
)
async def test_what_an_exception_excuses_gets_nothing(
    paths: dict[str, Any], found: Image | Unknown, rules: tuple[Rule, ...]
) -> None:
    """Defaults might break it, and so might runAsNonRoot."""
    pod = tweak(minimal(), paths)
    exception = NonRootException(Metadata("x", "default"), ExceptionSpec("a test", rules=rules))
    assert patched(pod, await evaluate_object(pod, found, exceptions=[exception])) == pod


def test_an_explicit_root_gets_nothing_whatever_the_verdict() -> None:
    """Should a rule ever let it by, its defaults would still break it."""
    work = workload(runAsUser=0)
    slot = first(work)
    subject = Subject(
        workload=work,
        pod=PodFacts(work),
        slot=slot,
        os="linux",
        effective=effective(slot.container, work.context),
        policy=effective_policy().policy.spec,
        injects=True,
    )
    assert patch.injected(ContainerVerdict(subject, "compliant")) == {}


async def test_every_container_has_its_own_patch() -> None:
    """Init, sidecar, regular and ephemeral; a bad one is left alone."""
    pod = tweak(
        minimal(),
        {
            "spec.initContainers": [
                {"name": "i", "image": "a.io/i", "securityContext": {}},
                {"name": "s", "image": "a.io/s", "restartPolicy": "Always"},
            ],
            "spec.ephemeralContainers": [{"name": "e", "image": "a.io/root"}],
        },
    )
    images = {IMAGE: image("app"), "a.io/i": image("1"), "a.io/s": image("2"), "a.io/root": image("")}
    spec = patched(pod, await evaluate_object(pod, images))["spec"]
    assert [each.get("securityContext", {}).get("runAsUser") for each in spec["initContainers"]] == [1, 2]
    assert spec["containers"][0]["securityContext"]["runAsUser"] == 1000
    assert "securityContext" not in spec["ephemeralContainers"][0]


def injected(pod: dict[str, Any]) -> Any:
    """The record of what was injected."""
    return json.loads(pod["metadata"]["annotations"]["nonroot.dev/injected"])


async def test_what_was_injected_is_written_down() -> None:
    """Container, fields and digest, escaped into the pointer, beside annotations that are there."""
    pod = tweak(minimal(), {"metadata.annotations": {"a/b~c": "kept"}})
    changed = patched(pod, await evaluate_object(pod))
    assert changed["metadata"]["annotations"]["a/b~c"] == "kept"
    assert injected(changed) == [{"container": "app", "fields": sorted(FULL), "digest": DIGEST}]
    assert injected(patched(minimal(), await evaluate_object(minimal()))) == injected(changed)


async def test_a_later_pass_adds_to_what_is_written() -> None:
    """An injector may add a container between our two calls."""
    once = patched(minimal(), await evaluate_object(minimal()))
    later = tweak(once, {"spec.containers.1": {"name": "late", "image": IMAGE}})
    twice = patched(later, await evaluate_object(later))
    assert [each["container"] for each in injected(twice)] == ["app", "late"]


@pytest.mark.parametrize("text", ["", "mine", "{}", "[1]", '[{"a":1}', "[[]]"])
async def test_a_record_of_somebody_elses_is_replaced(text: str) -> None:
    """It cannot be added to."""
    pod = tweak(minimal(), {"metadata.annotations": {"nonroot.dev/injected": text}})
    assert [each["container"] for each in injected(patched(pod, await evaluate_object(pod)))] == ["app"]


async def test_nothing_is_written_where_nothing_is_injected() -> None:
    """Not even an annotation."""
    assert patch.operations(await evaluate_object(minimal(), image("")), workload()) == []


async def test_metadata_stays_where_it_is_not_stored() -> None:
    """As through the ephemeralcontainers subresource."""
    operations = patch.operations(await evaluate_object(minimal()), workload(), annotate=False)
    assert [each["path"] for each in operations] == ["/spec/containers/0/securityContext"]


CLAIM: dict[str, Any] = {
    "spec.volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "x"}}],
    "spec.containers.0.volumeMounts": [{"name": "data", "mountPath": "/data"}],
}
OPT_IN = effective_policy(fsGroup=3000)
GROUP = {"fsGroup": 3000, "fsGroupChangePolicy": "OnRootMismatch"}


@table(
    ("paths", "expected"),
    {
        "a volume that the user could not write": (CLAIM, GROUP),
        "beside other fields of the Pod": (CLAIM | {f"{POD}.runAsNonRoot": True}, GROUP | {"runAsNonRoot": True}),
        "with a change policy of its own": (
            CLAIM | {f"{POD}.fsGroupChangePolicy": "Always"},
            {"fsGroup": 3000, "fsGroupChangePolicy": "Always"},
        ),
        "an fsGroup of its own": (CLAIM | {f"{POD}.fsGroup": 7}, {"fsGroup": 7}),
        "no such volume": ({}, None),
        "on OpenShift": (CLAIM | {"metadata.annotations": {"openshift.io/scc": "x"}}, None),
        "a container that is refused": (CLAIM | {f"{OWN}.runAsUser": 0}, None),
    },
)
async def test_fs_group_is_opt_in(paths: dict[str, Any], expected: dict[str, Any] | None) -> None:
    """The Pod's whole security context afterwards."""
    pod = tweak(minimal(), paths)
    assert patched(pod, await evaluate_object(pod, rule=OPT_IN))["spec"].get("securityContext") == expected
    assert patched(pod, await evaluate_object(pod))["spec"].get("securityContext") == pod["spec"].get("securityContext")


# Properties over generated Pods.

CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "runAsUser": st.sampled_from([0, 1, 1000, 70000]),
        "runAsGroup": st.sampled_from([0, 5]),
        "runAsNonRoot": st.booleans(),
        "privileged": st.booleans(),
        "allowPrivilegeEscalation": st.booleans(),
        "capabilities": st.sampled_from([{}, {"add": ["CAP_SYS_ADMIN"]}, {"drop": ["ALL"]}, {"add": []}]),
        "seccompProfile": st.sampled_from([{"type": "Unconfined"}, {"type": "RuntimeDefault"}]),
        "windowsOptions": st.just({"runAsUserName": "ContainerUser"}),
    },
)
POD_CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "runAsUser": st.sampled_from([0, 1000]),
        "runAsGroup": st.just(5),
        "runAsNonRoot": st.booleans(),
        "fsGroup": st.just(5),
        "seccompProfile": st.just({"type": "RuntimeDefault"}),
        "supplementalGroupsPolicy": st.just("Strict"),
    },
)
IMAGES: dict[str, Image | Unknown] = {
    "a.io/named": image("app"),
    "a.io/number": image("1234"),
    "a.io/root": image(""),
    "a.io/nobody": image("x"),
    "a.io/huge": image("99999999999999999999"),
    "a.io/wide": image("70000"),
    "a.io/shared": image("app", "first:x:1000:7\napp:x:1000:1000\n"),
    "a.io/drift": image("app", "first:x:1000:7\napp:x:1000:1000\n", "g:x:44:app\n"),
    "a.io/agree": multi(platform_image("app"), platform_image("1000", platform="linux/arm64")),
    "a.io/disagree": multi(platform_image("app"), platform_image("7", platform="linux/arm64")),
    "a.io/windows": multi(platform_image("", platform="windows/amd64")),
    "a.io/pending": unknown("pending"),
    "a.io/invalid": unknown("invalid"),
}
CONTAINERS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"image": st.sampled_from([*IMAGES, "", "NOT AN IMAGE"])},
    optional={
        "securityContext": CONTEXTS | st.none(),
        "volumeMounts": st.just([{"name": "data", "mountPath": "/data"}]),
    },
)


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    """A Pod that the API server might send, sensible or not."""
    pod = minimal()
    for place, least in (("initContainers", 0), ("containers", 1)):
        pod["spec"][place] = [
            {"name": f"{place[0]}{number}"} | each
            for number, each in enumerate(draw(st.lists(CONTAINERS, min_size=least, max_size=2)))
        ]
    if draw(st.booleans()):
        pod["spec"]["securityContext"] = draw(POD_CONTEXTS | st.none())
    if draw(st.booleans()):
        pod["metadata"]["annotations"] = draw(st.sampled_from([None, {}, {"openshift.io/scc": "x"}, {"a": "b"}]))
    pod["spec"]["hostUsers"] = draw(st.sampled_from([None, True, False]))
    pod["spec"]["os"] = draw(st.sampled_from([None, {"name": "linux"}, {"name": "windows"}]))
    pod["spec"]["volumes"] = draw(st.sampled_from([[], [{"name": "data", "csi": {"driver": "x"}}]]))
    return pod


POLICIES = st.fixed_dictionaries(
    {"mode": st.sampled_from(["Audit", "Warn", "Enforce"]), "inject": st.sampled_from([None, "Always", "Never"])},
    optional={
        "fsGroup": st.just(3000),
        "defaults": st.lists(st.sampled_from([*DEFAULTS]), unique=True),
        "knownImages": st.just([{"image": "a.io/*", "uid": 77}]),
    },
)
ROOT = st.sampled_from(
    [
        {},
        {"rootImages": "Allow"},
        {"rootImages": "Assign", "assign": {"uid": 5000, "images": ["a.io/*"]}},
        {"rootImages": "Assign", "assign": {"uid": 5000, "gid": 0, "images": ["a.io/root*"]}},
    ]
)


@given(pods(), POLICIES, ROOT)
async def test_a_patched_pod_needs_no_second_patch(pod: dict[str, Any], policy: Any, root: Any) -> None:
    """Patch twice is patch once, and of what injection cures nothing is left."""
    rule = effective_policy(**policy, **root)
    once = patched(pod, await evaluate_object(pod, IMAGES, rule=rule))
    again = await evaluate_object(once, IMAGES, rule=rule)
    assert patch.operations(again, workload(once)) == []
    assert [each for each in again.containers if each.state == "fixable"] == []


@given(pods(), POLICIES, ROOT)
async def test_nothing_explicit_is_ever_changed(pod: dict[str, Any], policy: Any, root: Any) -> None:
    """A patch only adds: every value that was there is there, and only our fields are new."""
    rule = effective_policy(**policy, **root)
    before = copy.deepcopy(pod)
    verdict = await evaluate_object(pod, IMAGES, rule=rule)
    after = patched(pod, verdict)
    assert pod == before
    _only_adds(before, after, "")
    if not rule.injects:
        assert after == before


def _only_adds(before: Any, after: Any, path: str) -> None:
    if before is None or before == {}:
        return  # null and the empty object are nothing said
    if isinstance(before, dict):
        assert set(before) <= set(after), path
        for key in before:
            _only_adds(before[key], after[key], f"{path}/{key}")
    elif isinstance(before, list) and path.endswith("ontainers"):
        assert len(before) == len(after)
        for number, each in enumerate(before):
            _only_adds(each, after[number], f"{path}/{number}")
    else:
        assert before == after, path


@given(pods(), POLICIES, ROOT)
async def test_a_patch_is_legal_and_proves_non_root(pod: dict[str, Any], policy: Any, root: Any) -> None:
    """What we add is never what the API server's validation or the kubelet refuses."""
    rule = effective_policy(**policy, **root)
    after = patched(pod, await evaluate_object(pod, IMAGES, rule=rule))
    own = pod["spec"].get("securityContext") or {}
    for place in ("initContainers", "containers"):
        for old, new in zip(pod["spec"][place], after["spec"][place], strict=True):
            was, context = old.get("securityContext") or {}, new.get("securityContext") or {}
            added = set(context) - set(was)
            if not added:
                continue
            if added == {"runAsNonRoot"} and context["runAsNonRoot"]:
                continue  # the kubelet decides
            assert pod["spec"]["os"] != {"name": "windows"}
            assert context.get("runAsUser", own.get("runAsUser")) not in {None, 0}
            if "allowPrivilegeEscalation" in added:
                assert not context.get("privileged")
                assert "CAP_SYS_ADMIN" not in (context.get("capabilities", {}).get("add") or ())


def surveyed(capable: tuple[Capable, ...]) -> Image:
    """An image whose layers were read."""
    (one,) = image("app").platforms
    config = msgspec.structs.replace(one.config, entrypoint=("/app",))
    return multi(msgspec.structs.replace(one, config=config, survey=Survey(None, (), (), capable)))


async def test_what_was_left_out_stays_out_in_a_second_pass() -> None:
    """Then the Pod says its uid, so that nobody asks for the image: the record says what it needs."""
    known = surveyed((Capable("/app", FileCapabilities(("NET_RAW",), effective=True)),))
    once = patched(minimal(), await evaluate_object(minimal(), known))
    record = json.loads(once["metadata"]["annotations"]["nonroot.dev/injected"])
    assert record[0]["leftOut"] == ["allowPrivilegeEscalation", "capabilities"]
    assert patched(once, await evaluate_object(once, unknown("pending"))) == once

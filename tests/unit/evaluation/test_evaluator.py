"""The one function behind every command and hook: what it asks for, what it makes of the answers."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.support.evaluation import NOW, evaluate_object
from tests.support.images import PASSWD, Table, image, multi, platform_image, redis, unknown
from tests.support.pods import IMAGE, effective_policy, minimal, tweak, within, workload
from tests.support.tables import table
from webhook.evaluation.evaluator import KNOWN_IMAGE_BUDGET, evaluate
from webhook.image.source import Image, Query, Unknown
from webhook.image.user import Identity, Injection
from webhook.policy.exemptions import LapsedException
from webhook.policy.types import ExceptionSpec, Metadata, NonRootException, Rule, WorkloadSelector

OWN = "spec.containers.0.securityContext"


@table(
    ("paths", "found", "state", "rules"),
    {  # N runAsNonRoot, R runAsUser: the decision table
        "N unset, a numeric USER": ({}, image("7"), "compliant", []),
        "N unset, a named USER": ({}, image("app"), "compliant", []),
        "N unset, no USER": ({}, image(""), "denied", ["root-image"]),
        "N false, a numeric USER": ({f"{OWN}.runAsNonRoot": False}, image("7"), "compliant", []),
        "N false, no USER": ({f"{OWN}.runAsNonRoot": False}, image(""), "denied", ["root-image"]),
        "N true, R 0": (
            {f"{OWN}.runAsNonRoot": True, f"{OWN}.runAsUser": 0},
            image("app"),
            "denied",
            ["root-user"],
        ),
        "N unset, R 0": ({f"{OWN}.runAsUser": 0}, image("app"), "denied", ["root-user"]),
        "N true, R 1000 over a root image": (
            {f"{OWN}.runAsNonRoot": True, f"{OWN}.runAsUser": 1000},
            image(""),
            "compliant",
            [],
        ),
        "N true, a numeric USER": ({f"{OWN}.runAsNonRoot": True}, image("7"), "compliant", []),
        "N true, no USER": ({f"{OWN}.runAsNonRoot": True}, image(":7"), "denied", ["root-image"]),
        "N true, out of range": ({f"{OWN}.runAsNonRoot": True}, image("-1"), "denied", ["invalid-user"]),
        "N true, a name": ({f"{OWN}.runAsNonRoot": True}, image("app"), "fixable", ["named-user"]),
        "N true by the Pod, a name": (
            {"spec.securityContext.runAsNonRoot": True},
            image("app"),
            "fixable",
            ["named-user"],
        ),
        "N true, a name that is root": ({f"{OWN}.runAsNonRoot": True}, image("root"), "denied", ["root-image"]),
        "N true, a name with an empty uid": (
            {f"{OWN}.runAsNonRoot": True},
            image("app", "app:x::1\n"),
            "denied",
            ["root-image"],
        ),
        "N true, a name with a uid out of range": (
            {f"{OWN}.runAsNonRoot": True},
            image("app", "app:x:4294967296:1\n"),
            "denied",
            ["invalid-user"],
        ),
        "N true, a name that is absent": ({f"{OWN}.runAsNonRoot": True}, image("x"), "denied", ["unresolvable-user"]),
        "N true, a name without a passwd": (
            {f"{OWN}.runAsNonRoot": True},
            image("app", None),
            "denied",
            ["unresolvable-user"],
        ),
        "a first line of the name that is broken": (
            {},
            image("app", "app:x:abc:1\n" + PASSWD),
            "denied",
            ["root-image"],
        ),
        "platforms disagree": (
            {},
            multi(platform_image("app"), platform_image("7", platform="linux/arm64")),
            "denied",
            ["platforms-disagree"],
        ),
        "one platform is root": (
            {},
            multi(platform_image("app"), platform_image("", platform="linux/arm64")),
            "denied",
            ["root-image", "platforms-disagree"],
        ),
        "the registry is away": ({f"{OWN}.runAsNonRoot": True}, unknown("unreachable"), "unknown", ["unknown-image"]),
        "one platform's accounts are pending": (
            {f"{OWN}.runAsNonRoot": True},
            multi(platform_image("app"), platform_image("app", platform="linux/arm64", unknown="pending")),
            "unknown",
            ["unknown-image"],
        ),
        "a group that OpenShift leaves no room for": (
            {"metadata.annotations": {"openshift.io/scc": "nonroot-v2"}},
            image("app", "first:x:1000:7\napp:x:1000:1000\n"),
            "denied",
            ["identity-drift"],
        ),
        "a Windows Pod": ({"spec.os.name": "windows"}, image("ContainerUser", None), "compliant", []),
        "a Windows Pod without USER": ({"spec.os.name": "windows"}, image("", None), "compliant", []),
        "a Windows administrator": (
            {"spec.os.name": "windows"},
            image("containerADMINISTRATOR", None),
            "denied",
            ["windows-administrator"],
        ),
        "an image that only claims to be Windows": (
            {},
            multi(platform_image("", platform="windows/amd64")),
            "denied",
            ["root-image"],
        ),
        "a Windows USER on Linux nodes": (
            {},
            multi(platform_image("ContainerUser", None, platform="windows/amd64")),
            "denied",
            ["unresolvable-user"],
        ),
        "an image without platforms": ({}, Image("sha256:x", ()), "unknown", ["unknown-image"]),
        "a reference that is none": ({"spec.containers.0.image": "NOT ONE"}, image("7"), "unknown", ["unknown-image"]),
        "no image at all": ({"spec.containers.0.image": ""}, image("7"), "compliant", []),
    },
)
async def test_the_decision_table(paths: dict[str, Any], found: Image | Unknown, state: str, rules: list[str]) -> None:
    """One container, in Enforce, with every default."""
    verdict = await evaluate_object(tweak(minimal(), paths), found)
    assert (verdict.state, [each.rule for each in verdict.findings]) == (state, rules)


async def ask(pod: dict[str, Any], images: Table | None = None, **more: Any) -> list[Query]:
    """What an evaluation asks an image source for."""
    table = images or Table({IMAGE: image("app")})
    rule = more.pop("rule", effective_policy())
    options: dict[str, Any] = {"namespace": "shop", "budget": 2.0, "now": NOW} | more
    await evaluate(workload(pod), rule, table, **options)
    return table.asked


async def test_an_image_is_asked_for_with_all_that_matters() -> None:
    """As written, so that the source normalises it; with the Pod's own secrets in order."""
    pod = tweak(
        minimal(),
        {
            "spec.imagePullSecrets": [{"name": "b"}, {"name": ""}, {"name": "a"}],
            "spec.containers.0.imagePullPolicy": "Always",
            "spec.nodeSelector": {"kubernetes.io/arch": "arm64"},
        },
    )
    assert await ask(pod) == [
        Query(
            reference=IMAGE,
            os="linux",
            architectures=frozenset({"arm64"}),
            namespace="shop",
            pull_secrets=("b", "a"),
            always_pull=True,
            budget=2.0,
        )
    ]


@pytest.mark.parametrize(
    ("kind", "changes", "account"),
    [
        ("Deployment", {}, "default"),
        ("CronJob", {"spec.serviceAccountName": "shop"}, "shop"),
        ("Deployment", {"spec.imagePullSecrets": [{"name": ""}]}, ""),
        ("Pod", {"spec.serviceAccountName": "shop"}, ""),
    ],
)
async def test_a_template_without_pull_secrets_has_those_of_its_account(
    kind: str, changes: dict[str, Any], account: str
) -> None:
    """Either or; a Pod was given them before we see it."""
    pod = tweak(minimal(), changes)
    table = Table({IMAGE: image("app")})
    await evaluate(
        workload(pod if kind == "Pod" else within(kind, pod)),
        effective_policy(),
        table,
        namespace="shop",
        budget=2.0,
        now=NOW,
    )
    assert [each.service_account for each in table.asked] == [account]


@table(
    "paths",
    {
        "the container's number": {f"{OWN}.runAsUser": 1000},
        "the Pod's number": {"spec.securityContext.runAsUser": 1000},
        "even root": {f"{OWN}.runAsUser": 0},
        "no image": {"spec.containers.0.image": ""},
        "a Windows name": {"spec.os.name": "windows", f"{OWN}.windowsOptions.runAsUserName": "x"},
    },
)
async def test_no_registry_is_asked_where_the_spec_says_it_all(paths: dict[str, Any]) -> None:
    """The fastest look-up is the one never made: only what is stored of the image's programs is asked for."""
    assert await ask(tweak(minimal(), paths)) == []


@table(
    ("paths", "exceptions", "asked"),
    {
        "its author's number": ({f"{OWN}.runAsUser": 1000}, [], [IMAGE]),
        "root, which needs no privileges": ({f"{OWN}.runAsUser": 0}, [], []),
        "Windows": (
            {"spec.os.name": "windows", f"{OWN}.windowsOptions.runAsUserName": "x", f"{OWN}.runAsUser": 1},
            [],
            [],
        ),
        "no image": ({f"{OWN}.runAsUser": 1000, "spec.containers.0.image": ""}, [], []),
        "an exception from everything": (
            {f"{OWN}.runAsUser": 1000},
            [NonRootException(Metadata("e"), ExceptionSpec("because"))],
            [],
        ),
        "a number that was injected": (
            {
                f"{OWN}.runAsUser": 1000,
                "metadata.annotations": {"nonroot.dev/injected": '[{"container":"app","fields":["runAsUser"]}]'},
            },
            [],
            [],
        ),
        "a number beside one that was injected": (
            {
                f"{OWN}.runAsUser": 1000,
                "metadata.annotations": {"nonroot.dev/injected": '[{"container":"other","fields":["runAsUser"]}]'},
            },
            [],
            [IMAGE],
        ),
    },
)
async def test_what_is_stored_is_asked_for_where_its_programs_matter(
    paths: dict[str, Any], exceptions: list[NonRootException], asked: list[str]
) -> None:
    table = Table({IMAGE: image("app")})
    assert await ask(tweak(minimal(), paths), table, exceptions=exceptions) == []
    assert table.asked_stored == asked


async def test_what_is_stored_is_asked_for_as_an_image_is() -> None:
    """With the namespace, whose pull secrets may have opened it."""
    table = Table({IMAGE: image("app")})
    await ask(tweak(minimal(), {f"{OWN}.runAsUser": 1000}), table)
    (like,) = table.liked
    assert (like.namespace, like.budget, like.os) == ("shop", 2.0, "linux")


class Odd(Table):
    """A source that answers more than it was asked."""

    async def find_stored(self, references: Sequence[str], like: Query) -> Sequence[Image | None]:
        """As `webhook.image.source.Images`."""
        return [*await super().find_stored(references, like), None]


async def test_a_source_that_answers_otherwise_than_asked_is_not_believed() -> None:
    """It has a bug, and whose image is whose is not known any more."""
    with pytest.raises(ValueError, match="longer"):
        await ask(tweak(minimal(), {f"{OWN}.runAsUser": 1000}), Odd({IMAGE: image("app")}))


@table(
    ("spec", "rules", "found", "os", "expected"),
    {
        "nothing lets it": ({}, (), image(""), "linux", False),
        "the policy, an image that is root": ({"rootImages": "Allow"}, (), image(""), "linux", True),
        "the policy, an image that may become root": ({"rootImages": "Allow"}, (), image("app"), "linux", True),
        "the policy, on Windows": ({"rootImages": "Allow"}, (), image("x"), "windows", False),
        "an exception for the rule": ({}, ("root-image",), image(""), "linux", True),
        "an exception for the rule of Windows": ({}, ("windows-administrator",), image(""), "linux", False),
        "on Windows it does": ({}, ("windows-administrator",), image("x"), "windows", True),
        "and the rule of Linux does not": ({}, ("root-image",), image("x"), "windows", False),
        "an exception for what is not pinned": ({}, ("unpinned-user",), image("app"), "linux", True),
        "an exception for an unknown image": ({}, ("unknown-image",), unknown("unreachable"), "linux", True),
        "which is known": ({}, ("unknown-image",), image("app"), "linux", False),
        "an exception for another rule": ({}, ("root-user",), unknown("unreachable"), "linux", False),
        "an exception beside the policy": ({"rootImages": "Allow"}, ("root-user",), image(""), "linux", True),
    },
)
async def test_who_may_run_as_root_where_the_image_says_so(
    spec: dict[str, Any], rules: tuple[Rule, ...], found: Image | Unknown, os: str, expected: bool
) -> None:
    verdict = await evaluate_object(
        tweak(minimal(), {"spec.os": {"name": os}}),
        found,
        rule=effective_policy(**spec),
        exceptions=[excuse(rules=rules)] if rules else [],
    )
    assert [each.subject.permits_root for each in verdict.containers] == [expected]


async def test_what_an_exception_and_the_policy_excuse_adds_up() -> None:
    """With both reasons."""
    rule, exception = effective_policy(rootImages="Allow"), excuse(rules=("named-user",))
    (found,) = (await evaluate_object(minimal(), image(""), rule=rule, exceptions=[exception])).containers
    assert found.exemption is not None
    assert found.exemption.rules == {"named-user", "root-image", "unpinned-user"}
    assert found.exemption.reason == "exception e: because; policy strict allows root images"


async def test_a_policy_that_allows_root_inside_a_user_namespace_says_so() -> None:
    rule, pod = effective_policy(rootInUserNamespaces="Allow"), tweak(minimal(), {"spec.hostUsers": False})
    verdict = await evaluate_object(pod, image(""), rule=rule)
    (found,) = verdict.containers
    assert verdict.effective_policy is rule
    assert found.exemption is not None
    assert found.exemption.rules == {"root-user", "root-image", "unpinned-user"}
    assert found.exemption.reason == "policy strict allows root inside a user namespace"


async def test_an_exception_that_has_ended_is_told_of_where_it_would_have_helped() -> None:
    """By the caller's clock."""
    pod = tweak(minimal(), {"spec.containers.1": {"name": "b", "image": IMAGE}})
    for expires, states in ((NOW + timedelta(minutes=1), ["exempted", "denied"]), (NOW, ["denied", "denied"])):
        exception = excuse(containers=("app",), expires=expires)
        app, other = (await evaluate_object(pod, image(""), exceptions=[exception])).containers
        assert [app.state, other.state] == states
        ended = (LapsedException("e", "because", frozenset(), NOW),) if expires == NOW else ()
        assert (app.lapsed, other.lapsed) == (ended, ())


async def test_who_asks_for_a_pod_says_whether_its_owner_is_believed() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "controller": True}
    pod = workload(tweak(minimal(), {"metadata.name": "x", "metadata.ownerReferences": [owner]}))
    options: dict[str, Any] = {"namespace": "default", "budget": 1.0, "now": NOW}
    exceptions = [excuse(workloads=(WorkloadSelector("web", "ReplicaSet"),))]
    for requester, state in ((None, "exempted"), ("somebody", "denied")):
        verdict = await evaluate(
            pod,
            effective_policy(),
            Table({IMAGE: image("")}),
            exceptions=exceptions,
            requester=requester,
            **options,
        )
        assert verdict.state == state


async def test_a_group_of_the_image_is_what_its_groups_are_compared_with() -> None:
    """The user whose uid it is first has one more, which only the group of the name would have covered."""
    passwd, group = "first:x:1000:7::/:\napp:x:1000:1000::/:\n", "team:x:1000:first\n"
    rule = effective_policy(runAsGroup="FromImage")
    verdicts = [await evaluate_object(minimal(), image(user, passwd, group), rule=rule) for user in ("app", "app:5")]
    assert [[each.rule for each in verdict.findings] for verdict in verdicts] == [[], ["identity-drift"]]


@table(
    ("paths", "found", "detail"),
    {
        "it has no platform": ({}, Image("sha256:x", ()), "it has nothing for the nodes of the Pod (linux)"),
        "no registry is asked by a node": (
            {"spec.containers.0.imagePullPolicy": "Never"},
            unknown("notFound"),
            "imagePullPolicy is Never, and no registry tells: a test says so",
        ),
    },
)
async def test_what_is_said_of_an_image_that_is_not_found(
    paths: dict[str, Any], found: Image | Unknown, detail: str
) -> None:
    (container,) = (await evaluate_object(tweak(minimal(), paths), found)).containers
    assert isinstance(container.subject.image, Unknown)
    assert container.subject.image.detail == detail


async def test_an_identity_from_the_image_has_the_policys_group_where_it_names_one() -> None:
    for more, gid in (({}, 1000), ({"gid": 6}, 6)):
        assign = {"uid": "FromImage", "images": ["registry.example/*"], **more}
        rule = effective_policy(rootImages="Assign", assign=assign)
        (container,) = (await evaluate_object(minimal(), redis(), rule=rule)).containers
        assert container.subject.planned == Injection(999, gid)


async def test_each_container_has_the_layers_of_its_own_image() -> None:
    paths = {"spec.containers.1": {"name": "b", "image": "a.io/b"}, "spec.securityContext.runAsUser": 1000}
    images = {IMAGE: image("app"), "a.io/b": image("7")}
    verdict = await evaluate_object(tweak(minimal(), paths), images)
    assert [each.subject.layers for each in verdict.containers] == list(images.values())


async def test_a_container_that_the_owners_template_does_not_have_is_reported_so() -> None:
    """Whoever adds it decides."""
    options: dict[str, Any] = {"namespace": "shop", "budget": 2.0, "now": NOW}
    for added in (False, True):
        verdict = await evaluate(workload(), effective_policy(), Table({IMAGE: image("")}), added=added, **options)
        assert ("something adds it to the Pods" in verdict.findings[0].fix) is added


async def test_an_image_of_several_containers_is_asked_for_once_where_the_spec_says_the_user() -> None:
    pod = tweak(
        minimal(), {"spec.securityContext.runAsUser": 1000, "spec.initContainers.0": {"name": "i", "image": IMAGE}}
    )
    table = Table({IMAGE: image("app")})
    assert await ask(pod, table) == []
    assert table.asked_stored == [IMAGE]


def excuse(**spec: Any) -> NonRootException:
    """An exception."""
    return NonRootException(Metadata("e"), ExceptionSpec("because", **spec))


async def test_no_registry_is_asked_for_an_excepted_container() -> None:
    """Unless some rule still counts."""
    assert await ask(minimal(), exceptions=[excuse()]) == []
    assert len(await ask(minimal(), exceptions=[excuse(rules=("root-user",))])) == 1


async def test_every_container_is_asked_for() -> None:
    """Of all kinds, each with its own image."""
    pod = tweak(
        minimal(),
        {
            "spec.initContainers.0": {"name": "i", "image": "a.io/i"},
            "spec.ephemeralContainers.0": {"name": "e", "image": "a.io/e"},
        },
    )
    assert [query.reference for query in await ask(pod)] == ["a.io/i", IMAGE, "a.io/e"]


async def test_only_the_containers_in_question_are_evaluated() -> None:
    """On an update the others are what they were."""
    pod = tweak(minimal(), {"spec.containers.1": {"name": "b", "image": "a.io/b"}})
    slots = tuple(workload(pod).slots())
    assert [query.reference for query in await ask(pod, slots=slots[1:])] == ["a.io/b"]


async def test_windows_pods_ask_for_windows_images() -> None:
    """An index holds both."""
    (query,) = await ask(tweak(minimal(), {"spec.nodeSelector": {"kubernetes.io/os": "windows"}}))
    assert query.os == "windows"


@table(
    ("found", "state", "uid"),
    {
        "the registry has it": (image(""), "denied", 0),
        "the registry does not": (unknown("notFound"), "compliant", 77),
        "the registry is away": (unknown("unreachable"), "compliant", 77),
        "the registry is slow": (unknown("pending"), "compliant", 77),
        "the content is invalid": (unknown("invalid"), "unknown", None),
    },
)
async def test_what_the_operator_knows_fills_gaps_only(found: Image | Unknown, state: str, uid: int | None) -> None:
    """A registry's answer wins, and what it cannot have meant is no gap."""
    rule = effective_policy(knownImages=[{"image": "registry.example/*", "uid": 77}])
    verdict = await evaluate_object(minimal(), found, rule=rule)
    assert (verdict.state, verdict.containers[0].subject.uid) == (state, uid)


async def test_what_the_operator_knows_is_a_whole_identity() -> None:
    """Named by its digest alone, where the reference carries one."""
    digest = "sha256:" + "ab" * 32
    rule = effective_policy(knownImages=[{"image": digest, "uid": 77, "gid": 5, "groups": [9]}])
    pod = tweak(minimal(), {"spec.containers.0.image": f"{IMAGE.partition(':')[0]}@{digest}"})
    verdict = await evaluate(workload(pod), rule, Table({}), namespace="default", budget=1.0, now=NOW)
    assert verdict.containers[0].subject.identities[0].identity == Identity(77, 5, (5, 9))


async def test_a_registry_is_given_little_time_where_the_operator_knows() -> None:
    """The known identity is as good as the answer."""
    rule = effective_policy(knownImages=[{"image": "*/app:*", "uid": 77}])
    (query,) = await ask(minimal(), rule=rule)
    assert query.budget == KNOWN_IMAGE_BUDGET
    (query,) = await ask(minimal(), rule=rule, budget=0.0)
    assert query.budget == 0.0


@table(
    ("found", "paths", "spec", "state"),
    {
        "no USER": (image(""), {}, {}, "fixable"),
        "USER 0": (image("0:0"), {}, {}, "fixable"),
        "no USER on any platform": (multi(platform_image(""), platform_image("0")), {}, {}, "fixable"),
        "a USER that is a name, though root": (image("root"), {}, {}, "denied"),
        "a USER that is non-root": (image("7"), {}, {}, "compliant"),
        "root on one platform only": (multi(platform_image(""), platform_image("7")), {}, {}, "denied"),
        "an explicit root": (image(""), {f"{OWN}.runAsUser": 0}, {}, "denied"),
        "an image that is not listed": (image(""), {}, {"assign": {"uid": 5, "images": ["x/*"]}}, "denied"),
        "where nothing is injected": (image(""), {}, {"inject": "Never"}, "denied"),
        "where OpenShift leaves no room for the group": (
            image(""),
            {"metadata.annotations": {"openshift.io/scc": "x"}},
            {"assign": {"uid": 5, "gid": 6, "images": ["registry.example/*"]}},
            "denied",
        ),
    },
)
async def test_an_identity_is_assigned_to_listed_root_images_only(
    found: Image, paths: dict[str, Any], spec: dict[str, Any], state: str
) -> None:
    """Whose USER is empty or 0, and where the Pod does not ask for root itself."""
    rule = effective_policy(**({"rootImages": "Assign", "assign": {"uid": 5, "images": ["registry.example/*"]}} | spec))
    assert (await evaluate_object(tweak(minimal(), paths), found, rule=rule)).state == state


async def test_templates_are_evaluated_as_their_pods_would_be() -> None:
    """With pointers into the object as it was received."""
    verdict = await evaluate_object(within("CronJob", minimal()), image(""))
    (finding,) = verdict.findings
    assert finding.pointer == "/spec/jobTemplate/spec/template/spec/containers/0/securityContext/runAsUser"


@pytest.mark.parametrize("injects", [True, False])
async def test_the_caller_may_know_better_what_is_patched(injects: bool) -> None:
    """On an update of a Pod nothing is."""
    pod = tweak(minimal(), {f"{OWN}.runAsNonRoot": True})
    verdict = await evaluate(
        workload(pod),
        effective_policy(),
        Table({IMAGE: image("app")}),
        namespace="x",
        budget=1,
        now=NOW,
        injects=injects,
    )
    assert verdict.state == ("fixable" if injects else "denied")

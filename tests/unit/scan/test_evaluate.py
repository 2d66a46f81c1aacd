"""What a scan predicts of a workload is what admission would do to its Pods."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tests.support.evaluation import NOW
from tests.support.images import DIGEST, Table, image, unknown
from tests.support.made_up_cluster import named, of, running, take
from tests.support.pods import DEFAULTS, IMAGE, Object, minimal, tweak
from tests.support.tables import table
from webhook.image.source import Image, NotExamined, Unknown
from webhook.policy.cache import PolicySnapshot
from webhook.policy.loader import load
from webhook.policy.types import Documents
from webhook.scan.document import Waiting, Workload
from webhook.scan.evaluate import predict

APP = image("app")
SAFE = {"runAsUser": 5, **DEFAULTS}


def documents(*exceptions: Object, **spec: Any) -> Documents:
    """One policy and some exceptions."""
    api = {"apiVersion": "nonroot.dev/v1alpha1"}
    rule = api | {"kind": "NonRootPolicy", "metadata": {"name": "strict"}, "spec": spec}
    others = [
        api | {"kind": "NonRootException", "metadata": {"name": "e" * number, "namespace": "default"}, "spec": each}
        for number, each in enumerate(exceptions, start=1)
    ]
    return load([rule, *others], "a test")


async def predicted(
    *objects: Object, images: Mapping[str, Image | Unknown] | Image | Unknown = APP, said: Documents | None = None
) -> Workload:
    """The forecast for the one workload of some objects."""
    found, _ = take(*objects)
    (each,) = found.values()
    known = images if isinstance(images, Mapping) else {IMAGE: images}
    return await predict(each, PolicySnapshot(said or documents()), Table(known), NOW)


@table(
    ("obj", "found", "outcome", "uid"),
    {
        "explicit": (of("Deployment", **SAFE), APP, "unchanged", 5),
        "a name that is looked up": (of("Deployment"), APP, "fixed", 1000),
        "a name that the kubelet would refuse": (of("Deployment", runAsNonRoot=True), APP, "fixed", 1000),
        "a number": (of("CronJob"), image("77"), "fixed", 77),
        "only the defaults": (of("Job", runAsUser=9), APP, "fixed", 9),
        "root by the image": (of("StatefulSet"), image(""), "refused", 0),
        "root by the spec": (of("DaemonSet", runAsUser=0), APP, "refused", 0),
        "nobody's name": (of("Deployment"), image("ghost"), "refused", None),
        "an image that was not read": (of("Deployment"), unknown("unauthorized"), "unknown", None),
        "an image that lies": (of("Deployment"), unknown("invalid"), "refused", None),
    },
)
async def test_the_outcome(obj: Object, found: Image | Unknown, outcome: str, uid: int | None) -> None:
    """Enforced, whatever the mode is today."""
    result = await predicted(named(obj, "web"), images=found)
    (container,) = result.containers
    assert (result.outcome, container.outcome, container.uid, result.mode, result.today) == (
        outcome, outcome, uid, "Audit", "allow",
    )  # fmt: skip


async def test_a_fixed_container_says_what_to_write_and_what_it_is_cured_of() -> None:
    """What injection cures is a note; the fields are those that injection adds."""
    result = await predicted(named(of("Deployment", runAsNonRoot=True), "web"))
    (container,) = result.containers
    assert container.path == "spec.template.spec.containers[0].securityContext"
    assert container.yaml == (
        "runAsUser: 1000\nallowPrivilegeEscalation: false\n"
        "capabilities:\n  drop: [ALL]\n  add: [NET_BIND_SERVICE]\nseccompProfile: {type: RuntimeDefault}\n"
    )
    (finding,) = container.findings
    assert (finding.rule, finding.severity, finding.dockerfile) == ("named-user", "note", "USER 1000")
    assert (container.user, container.digest) == ("app", DIGEST)
    assert container.who == 'uid 1000 (USER "app" in the image\'s /etc/passwd)'


async def test_where_the_policy_never_injects_nothing_is_fixed() -> None:
    """And the same container, which the kubelet would refuse, is refused; a fixed one would not be."""
    result = await predicted(named(of("Deployment", runAsNonRoot=True), "web"), said=documents(inject="Never"))
    (container,) = result.containers
    assert (container.outcome, container.yaml, container.findings[0].severity) == ("refused", "", "error")
    uninjected = await predicted(named(of("Pod"), "web"), said=documents(inject="Never"))
    assert (uninjected.outcome, [each.rule for each in uninjected.containers[0].findings]) == (
        "refused",
        ["unpinned-user"],
    )


async def test_an_opt_in_fs_group_is_a_change() -> None:
    """It is the Pod's, and there because of a volume."""
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    mount = [{"name": "data", "mountPath": "/data"}]
    obj = tweak(of("Deployment", **SAFE), {"spec.template.spec.volumes": [claim]})
    obj["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = mount
    assert (await predicted(named(obj, "web"))).outcome == "unchanged"
    result = await predicted(named(obj, "web"), said=documents(fsGroup=5))
    assert (result.outcome, result.containers[0].findings[0].severity) == ("fixed", "note")


@table(
    ("mode", "inject", "obj", "today"),
    {
        "audit says nothing to anybody": ("Audit", None, of("Pod", runAsUser=0), "allow"),
        "warn warns": ("Warn", None, of("Pod", runAsUser=0), "warn"),
        "warn without injection warns of what it would cure": ("Warn", None, of("Pod", runAsNonRoot=True), "warn"),
        "warn with injection does not": ("Warn", "Always", of("Pod", runAsNonRoot=True), "allow"),
        "enforce denies": ("Enforce", None, of("Pod", runAsUser=0), "deny"),
        "enforce cures": ("Enforce", None, of("Pod", runAsNonRoot=True), "allow"),
        "enforce without injection denies": ("Enforce", "Never", of("Pod", runAsNonRoot=True), "deny"),
    },
)
async def test_what_admission_says_today(mode: str, inject: str | None, obj: Object, today: str) -> None:
    """Under the mode that is in force, after what it injects."""
    spec = {"mode": mode, **({"inject": inject} if inject else {})}
    result = await predicted(named(obj, "web"), said=documents(**spec))
    assert (result.mode, result.today) == (mode, today)


@table(
    ("found", "outcome", "today", "written"),
    {
        "a name": (APP, "fixed", "allow", "runAsUser: 1000"),
        "a number": (image("7"), "fixed", "allow", "runAsUser: 7"),
        "an image that was not read": (unknown("unreachable"), "unknown", "warn", "{runAsNonRoot: true}"),
    },
)
async def test_what_injection_pins_is_allowed_today(
    found: Image | Unknown, outcome: str, today: str, written: str
) -> None:
    """In mode Enforce; of an image that was not read it says that the kubelet decides."""
    result = await predicted(named(of("Deployment"), "web"), images=found, said=documents(mode="Enforce"))
    (container,) = result.containers
    assert (result.outcome, result.today) == (outcome, today)
    assert written in container.yaml
    assert ["the kubelet decides" in each.message for each in container.findings] == [True] * (today == "warn")


async def test_an_unknown_image_is_a_warning_today_where_the_policy_enforces() -> None:
    """And a denial where the policy says so."""
    pod = named(of("Pod"), "web")
    for action, outcome, today in (
        ("Warn", "unknown", "warn"),
        ("Allow", "unknown", "allow"),
        ("Deny", "refused", "deny"),
    ):
        result = await predicted(
            pod, images=unknown("unreachable"), said=documents(mode="Enforce", onUnknown={"default": action})
        )
        assert (result.outcome, result.today) == (outcome, today)


@table(
    ("obj", "workloads"),
    {
        "a deployment by its own name": (of("Deployment", runAsUser=0), {"kind": "Deployment", "name": "web"}),
        "a deployment by its Pods' names": (of("Deployment", runAsUser=0), {"kind": "Pod", "name": "web-*"}),
        "a deployment by its ReplicaSet": (of("Deployment", runAsUser=0), {"kind": "ReplicaSet", "name": "web-*"}),
        "a cron job by its own name": (of("CronJob", runAsUser=0), {"name": "web"}),
        "a stateful set by a pattern": (of("StatefulSet", runAsUser=0), {"name": "w*"}),
        "a bare Pod": (of("Pod", runAsUser=0), {"kind": "Pod", "name": "web"}),
    },
)
async def test_exceptions_count_as_at_admission(obj: Object, workloads: Object) -> None:
    """Of a template, by every name under which admission will see its Pods; an expired one ends at its minute."""
    spec = {"reason": "ticket 7", "workloads": [workloads]}
    result = await predicted(named(obj, "web"), said=documents(spec))
    assert (result.outcome, result.containers[0].reason) == ("excepted", "exception e: ticket 7")
    ended = spec | {"expires": (NOW - timedelta(seconds=1)).isoformat()}
    assert (await predicted(named(obj, "web"), said=documents(ended))).outcome == "refused"
    other = spec | {"workloads": [workloads | {"name": "other-*"}]}
    assert (await predicted(named(obj, "web"), said=documents(other))).outcome == "refused"


@table(
    ("days", "outcome", "soon", "reason"),
    {
        "for long": (8, "excepted", False, "exception e: ticket 7"),
        "for a week": (7, "excepted", True, "exception e: ticket 7"),
        "not any more": (-1, "refused", False, "exception e: ticket 7 (it ended at 2026-05-31 12:00 UTC)"),
    },
)
async def test_an_exception_that_ends_is_reported_before_and_after(
    days: int, outcome: str, soon: bool, reason: str
) -> None:
    """Also one of two, the other of which covers fewer rules; where another goes on, nothing is said."""
    root = named(of("Deployment", runAsUser=0), "web")
    ends = {"reason": "ticket 7", "expires": (NOW + timedelta(days=days)).isoformat()}
    (container,) = (await predicted(root, said=documents(ends))).containers
    assert (container.outcome, container.expires_soon, container.reason) == (outcome, soon, reason)
    for rules, ending in (({"rules": ["named-user"]}, soon), ({}, False)):
        said = documents(ends, {"reason": "ticket 8", **rules})
        (container,) = (await predicted(root, said=said)).containers
        assert container.expires_soon is ending
    (container,) = (await predicted(root, said=documents(ends, exceptions="Forbid"))).containers
    assert (container.expires_soon, container.reason) == (False, "")


@pytest.mark.parametrize(
    "exemptions",
    [
        {"namespaces": ["default"]},
        {"users": ["system:serviceaccount:kube-system:replicaset-*"]},
        {"serviceAccounts": ["kube-system:replicaset-controller"]},
        {"runtimeClasses": ["vm"]},
    ],
)
async def test_an_exempt_workload_is_not_evaluated_and_still_listed(exemptions: Object) -> None:
    """Its Pods are made by a controller, which may be exempt."""
    obj = tweak(of("Deployment", runAsUser=0), {"spec.template.spec.runtimeClassName": "vm"})
    pod = running(named(minimal(), "web-1-a", ("ReplicaSet", "web-1")), 0)
    result = await predicted(
        named(obj, "web"),
        named(of("ReplicaSet"), "web-1", ("Deployment", "web")),
        pod,
        said=documents(exemptions=exemptions),
    )
    (container,) = result.containers
    assert (result.outcome, result.today, container.findings) == ("excepted", "allow", ())
    assert result.reason.startswith("exempt: ")
    assert container.running[0].uid == 0


async def test_who_runs_now_is_reported_and_compared_with_the_prediction() -> None:
    """The next Pod and the Pods of today are two things: a digest that moved on predicts nothing of them."""
    deployment = named(of("StatefulSet"), "web")

    def pods(uid: int, count: int, **more: Any) -> list[Object]:
        return [running(named(minimal(), f"w-{uid}-{i}", ("StatefulSet", "web")), uid, **more) for i in range(count)]

    result = await predicted(deployment, *pods(1000, 2, gid=1000, groups=(1000,)), *pods(0, 1))
    (container,) = result.containers
    assert [(each.uid, each.gid, each.groups, each.pods) for each in container.running] == [
        (1000, 1000, (1000,), 2),
        (0, 0, (0,), 1),
    ]
    assert (result.pods, container.mismatch) == (3, "runs as uid 0 where uid 1000 was predicted")
    result = await predicted(deployment, *pods(1000, 1, gid=1000), *pods(0, 1, digest="sha256:" + "0" * 64))
    assert result.containers[0].mismatch is None


async def test_a_container_that_does_not_start_says_why() -> None:
    """In the kubelet's words, once for all Pods that wait."""
    message = "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root"
    stuck = {"waiting": {"reason": "CreateContainerConfigError", "message": message}}
    starting = {"waiting": {"reason": "ContainerCreating"}}
    pods = [
        named(minimal(), f"web-{number}", ("StatefulSet", "web"))
        | {"status": {"phase": "Pending", "containerStatuses": [{"name": "app", "state": state}]}}
        for number, state in enumerate((starting, stuck, stuck))
    ]
    (container,) = (await predicted(named(of("StatefulSet"), "web"), *pods)).containers
    assert container.waiting == Waiting("CreateContainerConfigError", message, 2)
    (container,) = (await predicted(named(of("StatefulSet"), "web"), pods[0])).containers
    assert container.waiting is None


@pytest.mark.parametrize(("source", "user"), [("registry", "1000"), ("observed", None)])
async def test_the_user_of_an_image_that_only_nodes_have_shown_is_not_known(source: Any, user: str | None) -> None:
    found = msgspec.structs.replace(image("1000"), source=source)
    (container,) = (await predicted(named(of("Deployment"), "web"), images=found)).containers
    assert (container.user, container.uid) == (user, 1000)


async def test_where_no_hook_is_asked_today_nothing_is_denied_today() -> None:
    """A policy says Enforce, but the hook for namespaces without a label is switched off."""
    view = PolicySnapshot(documents(mode="Enforce"))
    (found,) = take(named(of("Deployment", runAsUser=0), "web"))[0].values()
    for asked, today in ((True, "deny"), (False, "allow")):
        result = await predict(found, view, NotExamined(), NOW, asked_today=asked)
        assert (result.outcome, result.today) == ("refused", today)


async def test_a_pod_is_compared_with_its_own_spec_also_where_no_image_was_read() -> None:
    """A Pod that was patched says itself who it is."""
    pod = tweak(named(minimal(), "web-0", ("StatefulSet", "web")), {"spec.containers.0.securityContext.runAsUser": 7})
    result = await predicted(named(of("StatefulSet"), "web"), running(pod, 8), images=unknown("unreachable"))
    assert result.containers[0].mismatch == "runs as uid 8 where uid 7 was predicted"
    result = await predicted(named(of("StatefulSet"), "web"), running(pod, 7), images=unknown("unreachable"))
    assert result.containers[0].mismatch is None


async def test_a_wrong_fact_of_the_operators_shows() -> None:
    """What `knownImages` says has no digest to compare."""
    said = documents(knownImages=[{"image": "registry.example/*", "uid": 4}])
    pod = running(named(minimal(), "web"), 5)
    result = await predicted(pod, images=unknown("unreachable"), said=said)
    assert (result.outcome, result.containers[0].mismatch) == ("fixed", "runs as uid 5 where uid 4 was predicted")
    known = await predicted(pod, images=image("5"), said=said)  # whose word stands, while the operator's is as wrong
    assert (known.containers[0].uid, known.containers[0].mismatch) == (5, result.containers[0].mismatch)


async def test_an_image_that_is_none_is_compared_with_nothing() -> None:
    """Its name cannot even be read."""
    pod = running(tweak(named(minimal(), "web"), {"spec.containers.0.image": "::"}), 5)
    assert (await predicted(pod)).containers[0].mismatch is None


async def test_images_that_are_left_out_are_counted_and_no_finding() -> None:
    """What the manifest alone says stays said."""
    found, _ = take(named(of("Deployment"), "web"), named(of("Pod", runAsUser=0), "lone"))
    view = PolicySnapshot(documents(mode="Enforce", onUnknown={"default": "Deny"}))
    result = [await predict(each, view, NotExamined(), NOW) for each in found.values()]
    assert [(each.outcome, each.today, len(each.containers[0].findings)) for each in result] == [
        ("unknown", "allow", 0),
        ("refused", "deny", 1),
    ]
    assert result[0].containers[0].who == "not examined"


async def test_containers_of_several_shapes_are_reported_once_each() -> None:
    """Two Pods of one custom resource, which differ in one container."""
    one = named(minimal(), "a", ("Workflow", "w"))
    other = tweak(named(minimal(), "b", ("Workflow", "w")), {"spec.containers.1": {"name": "b", "image": "root:1"}})
    result = await predicted(one, other, images={IMAGE: APP, "root:1": image("")})
    assert [(each.name, each.outcome) for each in result.containers] == [("app", "fixed"), ("b", "refused")]
    assert (result.kind, result.outcome, result.pods) == ("Workflow", "refused", 2)
    assert msgspec.json.encode(result)


async def test_a_root_container_that_the_template_does_not_have_is_the_platform_teams() -> None:
    """Somebody adds it to every Pod; whoever debugs one has added his own, and is told of his own command."""
    template = named(of("StatefulSet"), "db")
    root = {"name": "agent", "image": "root:1"}
    pod = tweak(
        named(minimal(), "db-0", ("StatefulSet", "db")),
        {"spec.containers.1": root, "spec.ephemeralContainers": [root | {"name": "debug"}]},
    )
    result = await predicted(template, pod, images={IMAGE: APP, "root:1": image("")})
    fixes = {each.name: [finding.fix for finding in each.findings] for each in result.containers}
    (advice,) = fixes["agent"]
    assert advice.startswith("the template of its owner does not have it")
    assert 'a NonRootException for the container "agent"' in advice
    assert "kubectl debug" in fixes["debug"][0]

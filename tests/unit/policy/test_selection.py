"""The policy that applies to a namespace, and what it exempts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pods import effective_policy, first, minimal, tweak, workload
from tests.support.tables import table
from webhook.policy.exemptions import ExceptionIndex, Exemption, exempt, find_exemption
from webhook.policy.selection import BUILT_IN, Namespace, select_policy
from webhook.policy.types import ExceptionSpec, LabelSelector, Metadata, NonRootException, NonRootPolicy, PolicySpec

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def policy(name: str, priority: int = 0, selector: LabelSelector | None = None, **spec: Any) -> NonRootPolicy:
    """A policy that selects everything, unless told otherwise."""
    return NonRootPolicy(
        Metadata(name), PolicySpec(priority=priority, namespace_selector=selector or LabelSelector(), **spec)
    )


TEAM_A = LabelSelector({"team": "a"})


@table(
    ("policies", "chosen"),
    {
        "none": ([], "(built-in)"),
        "the only one": ([policy("a")], "a"),
        "the highest priority": ([policy("a", 1), policy("b", 2)], "b"),
        "then the stricter mode": ([policy("b", mode="Enforce"), policy("a", mode="Warn")], "b"),
        "never the stricter one of a lower priority": ([policy("b", mode="Enforce"), policy("a", 1)], "a"),
        "then no root images": ([policy("b"), policy("a", root_images="Allow")], "b"),
        "then no exceptions": ([policy("b", exceptions="Forbid"), policy("a")], "b"),
        "then the first name": ([policy("b", 1), policy("a", 1)], "a"),
        "a negative priority": ([policy("b"), policy("a", -1)], "b"),
        "one that selects": ([policy("a", 9, LabelSelector({"team": "b"})), policy("b", 0, TEAM_A)], "b"),
        "none that selects": ([policy("a", 9, LabelSelector({"team": "b"}))], "(built-in)"),
        "one that selects by the name's own label": (
            [policy("a", 0, LabelSelector({"kubernetes.io/metadata.name": "shop"}))],
            "a",
        ),
    },
)
def test_exactly_one_policy_applies_to_a_namespace(policies: list[NonRootPolicy], chosen: str) -> None:
    """In whatever order they come."""
    namespace = Namespace("shop", {"team": "a", "kubernetes.io/metadata.name": "a lie"})
    assert select_policy(policies, namespace).policy.metadata.name == chosen
    assert select_policy(reversed(policies), namespace).policy.metadata.name == chosen


@table(
    ("label", "chosen"),
    {
        "no label": (None, "ignores"),
        "a label that only one of them heeds": ("enforce", "honors"),
        "one that makes that one milder": ("audit", "ignores"),
    },
)
def test_the_stricter_policy_is_the_one_that_is_stricter_in_the_namespace(label: str | None, chosen: str) -> None:
    """Its label decides with them."""
    policies = [policy("ignores", mode="Warn", namespace_label="Ignore"), policy("honors")]
    namespace = Namespace("shop", {} if label is None else {"nonroot.dev/mode": label})
    assert select_policy(policies, namespace).policy.metadata.name == chosen


def test_without_a_policy_there_is_audit_and_no_injection() -> None:
    """Installed and not configured means harmless."""
    found = select_policy([], Namespace("shop"))
    assert (found.policy, found.mode, found.injects) == (BUILT_IN, "Audit", False)
    assert found.why == "no NonRootPolicy selects the namespace"


def test_why_counts_the_others() -> None:
    """For `nonroot policy`."""
    assert "priority 2, before 1 other(s)" in select_policy([policy("a", 1), policy("b", 2)], Namespace("x")).why


@table(
    ("setting", "own", "label", "mode", "problem"),
    {
        "no label": ("Honor", "Warn", None, "Warn", False),
        "a stricter label": ("Honor", "Audit", "enforce", "Enforce", False),
        "a milder label": ("Honor", "Enforce", "audit", "Audit", False),
        "capitals in the label": ("Honor", "Audit", "Warn", "Warn", False),
        "a bad label is the strictest": ("Honor", "Audit", "off", "Enforce", True),
        "an empty label is a bad one": ("Honor", "Audit", "", "Enforce", True),
        "a stricter label where only that counts": ("StricterOnly", "Warn", "enforce", "Enforce", False),
        "an equal label where only stricter counts": ("StricterOnly", "Warn", "warn", "Warn", False),
        "a milder label where only stricter counts": ("StricterOnly", "Warn", "audit", "Warn", False),
        "a bad label where only stricter counts": ("StricterOnly", "Audit", "x", "Enforce", True),
        "a milder label that is ignored": ("Ignore", "Warn", "audit", "Warn", False),
        "a stricter label that is ignored": ("Ignore", "Audit", "warn", "Audit", False),
        "a label that the API server does not ignore": ("Ignore", "Warn", "enforce", "Enforce", False),
        "a bad label that the API server does not ignore": ("Ignore", "Warn", "x", "Enforce", True),
    },
)
def test_the_namespace_label(setting: Any, own: Any, label: str | None, mode: str, problem: bool) -> None:
    """It wins both ways unless the policy says otherwise; a bad value is stricter, and told."""
    labels = {} if label is None else {"nonroot.dev/mode": label}
    found = select_policy([policy("a", mode=own, namespace_label=setting)], Namespace("x", labels))
    assert (found.mode, bool(found.problem)) == (mode, problem)
    assert not problem or "counts as enforce" in found.problem


ONLY = "selected by namespaceSelector with priority 0, the only one"
LABELLED = "; the mode is the namespace label's"
BAD = "it must be audit, warn or enforce, and counts as enforce"


@table(
    ("setting", "label", "why", "problem"),
    {
        "no label": ("Honor", None, ONLY, ""),
        "one that counts": ("Honor", "enforce", ONLY + LABELLED, ""),
        "an equal one where only stricter counts": ("StricterOnly", "warn", ONLY + LABELLED, ""),
        "a milder one where only stricter counts": (
            *("StricterOnly", "audit", f"{ONLY}; the namespace label asks for less, which the policy ignores", ""),
        ),
        "a milder one that is ignored": ("Ignore", "audit", ONLY, ""),
        "a bad one": (
            *("Honor", "y" * 64, ONLY + LABELLED),
            f"the namespace label nonroot.dev/mode has the value '{'y' * 63}'; {BAD}",
        ),
    },
)
def test_why_a_namespace_has_its_policy_and_mode(setting: Any, label: str | None, why: str, problem: str) -> None:
    """To the letter, for `nonroot policy`."""
    chosen = policy("a", mode="Warn", namespace_label=setting)
    found = select_policy([chosen], Namespace("x", {} if label is None else {"nonroot.dev/mode": label}))
    assert (found.policy, found.why, found.problem) == (chosen, why, problem)


@pytest.mark.parametrize("mode", [None, "audit", "enforce"])
@table(
    ("level", "restricted"),
    {
        "none": (None, False),
        "privileged": ("privileged", False),
        "baseline": ("baseline", False),
        "restricted": ("restricted", True),
        "one that nobody knows": ("strict", True),
    },
)
def test_pod_security_restricts_the_namespace(level: str | None, restricted: bool, mode: str | None) -> None:
    """Whatever the mode is, and whose it is."""
    labels = {"pod-security.kubernetes.io/enforce": level, "nonroot.dev/mode": mode}
    namespace = Namespace("x", {name: value for name, value in labels.items() if value is not None})
    found = select_policy([policy("a", mode="Warn", namespace_label="StricterOnly")], namespace)
    assert found.restricted is restricted


def test_the_label_counts_without_a_policy() -> None:
    """A namespace may ask for enforcement before anybody wrote a policy."""
    assert select_policy([], Namespace("x", {"nonroot.dev/mode": "enforce"})).mode == "Enforce"


def test_a_bad_labels_text_is_made_safe() -> None:
    """It is printed in warnings."""
    found = select_policy([], Namespace("x", {"nonroot.dev/mode": "\x1b" + "y" * 200}))
    assert found.problem.isprintable()
    assert len(found.problem) < 200


@table(
    ("spec", "namespace", "user", "paths", "why"),
    {
        "nothing is exempt": ({}, "shop", "jane", {}, None),
        "kube-system always is": ({}, "kube-system", "jane", {}, "namespace"),
        "kube-node-lease always is": ({}, "kube-node-lease", "jane", {}, "namespace"),
        "kube-public is not": ({}, "kube-public", "jane", {}, None),
        "a namespace by glob": ({"namespaces": ["ci-*"]}, "ci-1", "jane", {}, "namespace"),
        "another namespace": ({"namespaces": ["ci-*"]}, "xci-1", "jane", {}, None),
        "a user by glob": ({"users": ["system:node:*"]}, "shop", "system:node:a", {}, "user"),
        "another user": ({"users": ["system:node:*"]}, "shop", "jane", {}, None),
        "a service account": (
            {"serviceAccounts": ["ci:builder"]},
            "shop",
            "system:serviceaccount:ci:builder",
            {},
            "service account",
        ),
        "a user who is only called so": ({"serviceAccounts": ["ci:builder"]}, "shop", "ci:builder", {}, None),
        "another service account": (
            {"serviceAccounts": ["ci:builder"]},
            "shop",
            "system:serviceaccount:ci:builder2",
            {},
            None,
        ),
        "a runtime class": (
            {"runtimeClasses": ["kata"]},
            "shop",
            "jane",
            {"spec.runtimeClassName": "kata"},
            "runtime class",
        ),
        "another runtime class": ({"runtimeClasses": ["kata"]}, "shop", "jane", {"spec.runtimeClassName": "x"}, None),
        "no runtime class": ({"runtimeClasses": ["kata"]}, "shop", "jane", {}, None),
    },
)
def test_exemptions(spec: dict[str, Any], namespace: str, user: str, paths: dict[str, Any], why: str | None) -> None:
    """Of whole requests, with the reason."""
    found = effective_policy(exemptions=spec).policy.spec
    assert exempt(found, namespace, user, workload(tweak(minimal(), paths))) == why


APP = {"spec.containers.0.image": "app:1"}  # docker.io/library/app:1, to globs


def excuse(name: str = "legacy", **spec: Any) -> NonRootException:
    """An exception that excuses everything, unless told otherwise."""
    return NonRootException(Metadata(name), msgspec.convert({"reason": "because", **spec}, ExceptionSpec))


def exempted(*names: str, rules: tuple[str, ...] = ()) -> Exemption:
    """What exceptions of these names make."""
    return Exemption("; ".join(f"exception {name}: because" for name in names), frozenset(rules), names, "exception")


def owned(kind: str, name: str, api_version: str = "apps/v1", **more: Any) -> dict[str, Any]:
    """A Pod that says who its controller is."""
    reference = {"apiVersion": api_version, "kind": kind, "name": name, "uid": "u", "controller": True}
    return {"metadata.ownerReferences": [reference | more]}


ALL = exempted("legacy")
OWNED = owned("ReplicaSet", "web-5d4f")


@table(
    ("exceptions", "paths", "expected"),
    {
        "none": ([], {}, None),
        "one for everything": ([excuse()], {}, ALL),
        "by container": ([excuse(containers=["ap?"])], {}, ALL),
        "for another container": ([excuse(containers=["other"])], {}, None),
        "by the normalised reference": ([excuse(images=["docker.io/library/app:*"])], {}, ALL),
        "by the image as people write it": ([excuse(images=["app:1"])], {}, ALL),
        "by a glob as people write it": ([excuse(images=["app*"])], {}, ALL),
        "not by another tag": ([excuse(images=["app"])], {}, None),
        "not by a prefix that another registry has": (
            [excuse(images=["app*"])],
            {"spec.containers.0.image": "app.evil.example/x:1"},
            None,
        ),
        "by the Pod's name": ([excuse(workloads=[{"name": "we*"}])], {}, ALL),
        "by kind and name": ([excuse(workloads=[{"kind": "Pod", "name": "web"}])], {}, ALL),
        "of another kind": ([excuse(workloads=[{"kind": "Job", "name": "web"}])], {}, None),
        "any of several workloads": ([excuse(workloads=[{"name": "x"}, {"name": "web"}])], {}, ALL),
        "by the ReplicaSet": ([excuse(workloads=[{"kind": "ReplicaSet", "name": "web-5d4f"}])], OWNED, ALL),
        "by the Deployment behind it": ([excuse(workloads=[{"kind": "Deployment", "name": "web"}])], OWNED, ALL),
        "by the CronJob behind a Job": (
            [excuse(workloads=[{"kind": "CronJob", "name": "nightly"}])],
            owned("Job", "nightly-291", "batch/v1"),
            ALL,
        ),
        "not by an owner that is no controller": (
            [excuse(workloads=[{"kind": "ReplicaSet", "name": "web-5d4f"}])],
            owned("ReplicaSet", "web-5d4f", controller=False),
            None,
        ),
        "by a kind in small letters": ([excuse(workloads=[{"kind": "deployment", "name": "web"}])], OWNED, ALL),
        "by a kind in the plural": ([excuse(workloads=[{"kind": "deployments", "name": "web"}])], OWNED, ALL),
        "by a kind and its group": ([excuse(workloads=[{"kind": "Deployment.apps", "name": "web"}])], OWNED, ALL),
        "not by a kind of another group": (
            [excuse(workloads=[{"kind": "Deployment.x.io", "name": "web"}])],
            OWNED,
            None,
        ),
        "by the Rollout behind a ReplicaSet": ([excuse(workloads=[{"kind": "Rollout", "name": "web"}])], OWNED, ALL),
        "not by an owner of another group": (
            [excuse(workloads=[{"kind": "ReplicaSet", "name": "web-5d4f"}, {"kind": "Deployment", "name": "web"}])],
            owned("ReplicaSet", "web-5d4f", "evil/v1"),
            None,
        ),
        "not by a custom resource, of whose controller nothing is known": (
            [excuse(workloads=[{"kind": "Cluster", "name": "db"}])],
            owned("Cluster", "db", "postgresql.example/v1"),
            None,
        ),
        "by a custom resource whose controller is named": (
            [excuse(workloads=[{"kind": "Cluster", "name": "db", "serviceAccount": "db:operator"}])],
            owned("Cluster", "db", "postgresql.example/v1"),
            ALL,
        ),
        "every part must match": ([excuse(containers=["app"], images=["x"])], {}, None),
        "for some rules": (
            [excuse(rules=["root-user"])],
            {},
            exempted("legacy", rules=("root-user",)),
        ),
        "rules of two add up": (
            [excuse("a", rules=["root-user"]), excuse("b", rules=["root-image"])],
            {},
            exempted("a", "b", rules=("root-user", "root-image")),
        ),
        "every rule swallows some": (
            [excuse("a", rules=["root-user"]), excuse("b")],
            {},
            exempted("a", "b"),
        ),
        "a minute before it ends": ([excuse(expires=NOW + timedelta(minutes=1))], {}, ALL),
        "at the very minute": ([excuse(expires=NOW)], {}, None),
        "a second before": ([excuse(expires=NOW + timedelta(seconds=1))], {}, ALL),
        "in another time zone": ([excuse(expires="2026-06-01T14:00:00+02:00")], {}, None),
        "long ago": ([excuse(expires="2020-01-01T00:00:00Z")], {}, None),
        "an ended one beside another": ([excuse("old", expires=NOW), excuse()], {}, ALL),
    },
)
def test_exceptions(exceptions: list[NonRootException], paths: dict[str, Any], expected: Exemption | None) -> None:
    """Of single containers, with the reason."""
    work = workload(tweak(minimal(), APP | paths))
    assert find_exemption(effective_policy(), exceptions, work, first(work), NOW) == expected


SA = "system:serviceaccount:"
BY_OWNER = [{"kind": "DaemonSet", "name": "node-agent"}]
BY_DEPLOYMENT = [{"kind": "Deployment", "name": "web"}]
BY_NAME = [{"name": "web*"}]
CLUSTER = [{"kind": "Cluster", "name": "db", "serviceAccount": "db:operator"}]


@table(
    ("workloads", "paths", "requester", "applies"),
    {
        "its controller": (BY_OWNER, owned("DaemonSet", "node-agent"), f"{SA}kube-system:daemon-set-controller", True),
        "all controllers as one": (BY_OWNER, owned("DaemonSet", "node-agent"), "system:kube-controller-manager", True),
        "a user who forges the owner": (BY_OWNER, owned("DaemonSet", "node-agent"), "jane", False),
        "nobody": (BY_OWNER, owned("DaemonSet", "node-agent"), "", False),
        "another kind's controller": (
            BY_OWNER,
            owned("DaemonSet", "node-agent"),
            f"{SA}kube-system:job-controller",
            False,
        ),
        "an account of that name elsewhere": (
            *(BY_OWNER, owned("DaemonSet", "node-agent"), f"{SA}shop:daemon-set-controller", False),
        ),
        "the controller of the ReplicaSet behind": (
            BY_DEPLOYMENT,
            OWNED,
            f"{SA}kube-system:replicaset-controller",
            True,
        ),
        "a user who forges a ReplicaSet of it": (BY_DEPLOYMENT, OWNED, "jane", False),
        "the controller, of a kind of another group": (
            *(BY_DEPLOYMENT, owned("ReplicaSet", "web-1", "evil/v1"), f"{SA}kube-system:replicaset-controller", False),
        ),
        "a user, by the Pod's own name": (BY_NAME, {}, "jane", True),
        "a user who forges a Pod as the owner": (
            [{"name": "db"}],
            owned("Pod", "db", "v1"),
            "jane",
            False,
        ),
        "the named controller of a custom resource": (
            CLUSTER,
            owned("Cluster", "db", "x.io/v1"),
            f"{SA}db:operator",
            True,
        ),
        "a user who forges a custom resource": (CLUSTER, owned("Cluster", "db", "x.io/v1"), "jane", False),
    },
)
def test_an_owner_counts_where_its_controller_asks(
    workloads: list[dict[str, str]], paths: dict[str, Any], requester: str, applies: bool
) -> None:
    """Seen before: whoever may create Pods wrote ownerReferences into one, and it was let run as root."""
    work = workload(tweak(minimal(), paths))
    found = find_exemption(effective_policy(), [excuse(workloads=workloads)], work, first(work), NOW, requester)
    assert (found is not None) is applies


NAMES = st.sampled_from(["web", "web-5d4f", "we*", "?eb", "w[e]b", "other", "*"])
SELECTORS = st.fixed_dictionaries({"name": NAMES}, optional={"kind": st.sampled_from(["Pod", "Deployment", "Job"])})


@given(st.lists(st.lists(SELECTORS, max_size=3), max_size=6), st.sampled_from([{}, OWNED]))
def test_exceptions_found_by_name_are_those_that_apply(
    found: list[list[dict[str, str]]], paths: dict[str, Any]
) -> None:
    """However many others there are: the same release, for the same reasons, in the same order."""
    excuses = ExceptionIndex([excuse(f"e{number}", workloads=selectors) for number, selectors in enumerate(found)])
    work = workload(tweak(minimal(), paths))
    about = excuses.about(work)
    assert find_exemption(effective_policy(), about, work, first(work), NOW) == find_exemption(
        effective_policy(), excuses.all, work, first(work), NOW
    )


def test_exceptions_of_others_are_not_looked_at() -> None:
    """A namespace may have thousands, and each look costs every Pod."""
    excuses = ExceptionIndex(excuse(f"e{number}", workloads=[{"name": f"job-{number}"}]) for number in range(100))
    assert excuses.about(workload()) == ()


def test_a_policy_may_forbid_exceptions() -> None:
    """Then none counts."""
    work = workload()
    assert find_exemption(effective_policy(exceptions="Forbid"), [excuse()], work, first(work), NOW) is None


def test_a_policy_may_exempt_images() -> None:
    """Even where exceptions are forbidden."""
    work = workload(tweak(minimal(), APP))
    rule = effective_policy(exceptions="Forbid", exemptions={"images": ["docker.io/library/*"]})
    assert find_exemption(rule, [], work, first(work), NOW) == Exemption(
        "policy strict exempts the image", source="image"
    )


ISTIO = {"name": "istio-init", "image": "docker.io/istio/proxyv2:1.24"}
LINKERD = {"name": "linkerd-init", "image": "cr.l5d.io/linkerd/proxy-init:v2"}
OTEL = {
    "name": "opentelemetry-auto-instrumentation-java",
    "image": "ghcr.io/open-telemetry/opentelemetry-operator/autoinstrumentation-java:2.9",
}
TEKTON = {"name": "prepare", "image": "gcr.io/tekton-releases/github.com/tektoncd/pipeline/cmd/entrypoint:v1"}
ARGO = {"name": "wait", "image": "quay.io/argoproj/argoexec:v3.7", "command": ["argoexec", "wait"]}
GITLAB = {"name": "helper", "image": "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:x86_64-v18"}


@table(
    ("presets", "place", "container", "exempt"),
    {
        "Istio's init container": (["istio"], "initContainers", ISTIO, True),
        "by digest": (["istio"], "initContainers", ISTIO | {"image": "gcr.io/istio-release/proxyv2@sha256:x"}, True),
        "Linkerd's init container": (["linkerd"], "initContainers", LINKERD, True),
        "among other presets": (["istio", "linkerd"], "initContainers", LINKERD, True),
        "a regular container of that name and image": (["istio"], "containers", ISTIO, False),
        "an ephemeral one": (["istio"], "ephemeralContainers", ISTIO, False),
        "a sidecar": (["istio"], "initContainers", ISTIO | {"restartPolicy": "Always"}, False),
        "with another command": (["istio"], "initContainers", ISTIO | {"command": ["sh", "-c", "evil"]}, False),
        "the proxy, which needs no root": (["istio"], "initContainers", ISTIO | {"name": "istio-proxy"}, False),
        "another image": (["istio"], "initContainers", ISTIO | {"image": "docker.io/library/alpine:3"}, False),
        "an image of that name by anybody": (
            ["istio"],
            "initContainers",
            ISTIO | {"image": "evil/proxyv2:1.24"},
            False,
        ),
        "a longer image name": (
            *(["linkerd"], "initContainers", LINKERD | {"image": "cr.l5d.io/linkerd/proxy-evil:1"}, False),
        ),
        "another mesh": (["linkerd"], "initContainers", ISTIO, False),
        "OpenTelemetry": (["opentelemetry"], "initContainers", OTEL, True),
        "OpenTelemetry's as a regular container": (["opentelemetry"], "containers", OTEL, False),
        "Tekton": (["tekton"], "initContainers", TEKTON, True),
        "Argo Workflows": (["argo-workflows"], "initContainers", ARGO | {"name": "init"}, True),
        "Argo's regular container": (["argo-workflows"], "containers", ARGO, True),
        "Argo's regular container among init containers": (["argo-workflows"], "initContainers", ARGO, False),
        "GitLab Runner's regular container": (["gitlab-runner"], "containers", GITLAB, True),
        "Velero": (["velero"], "initContainers", {"name": "restore-wait", "image": "velero/velero:v1.18"}, True),
        "somebody else's argoexec": (["argo-workflows"], "containers", ARGO | {"image": "evil/argoexec:v3.7"}, False),
        "another container of Argo's image": (["argo-workflows"], "containers", ARGO | {"name": "main"}, False),
        "no preset": ([], "initContainers", ISTIO, False),
    },
)
def test_presets(presets: list[str], place: str, container: dict[str, Any], exempt: bool) -> None:
    """Only what the program itself adds, where it adds it, and only from the rule that it breaks."""
    work = workload(tweak(minimal(), {f"spec.{place}": [container]}))
    (slot,) = (each for each in work.slots() if each.list == place)
    found = find_exemption(effective_policy(presets=presets), [], work, slot, NOW)
    rules = frozenset({"root-user" if presets[:1] in (["istio"], ["linkerd"]) else "root-image"})
    assert (found and (found.rules, found.source)) == ((rules, "preset") if exempt else None)


def test_a_preset_and_an_exception_add_up() -> None:
    """Neither takes from the other."""
    work = workload(tweak(minimal(), {"spec.initContainers": [ISTIO]}))
    rule = effective_policy(presets=["istio"])
    some = find_exemption(rule, [excuse(rules=["root-image"])], work, first(work), NOW)
    assert some is not None
    assert (some.rules, some.exceptions) == (frozenset({"root-image", "root-user"}), ("legacy",))
    assert some.reason == "exception legacy: because; preset istio of policy strict"
    everything = find_exemption(rule, [excuse()], work, first(work), NOW)
    assert everything is not None
    assert everything.rules == frozenset()


@pytest.mark.parametrize(
    ("image", "released"),
    [
        ("mirror.example/hub/istio/proxyv2:1.24", True),
        ("mirror.example/hub/proxyv2:1.24", True),
        ("mirror.example/other/proxyv2:1.24", False),
        ("mirror.example/hub/evil:1", False),
    ],
)
def test_a_preset_counts_for_mirrors_that_the_policy_names(image: str, released: bool) -> None:
    """A registry of the operator's own, and no other."""
    work = workload(tweak(minimal(), {"spec.initContainers": [ISTIO | {"image": image}]}))
    rule = effective_policy(presets=["istio"], presetMirrors=["mirror.example/hub"])
    assert (find_exemption(rule, [], work, first(work), NOW) is not None) == released

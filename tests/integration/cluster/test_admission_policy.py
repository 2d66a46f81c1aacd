"""The ValidatingAdmissionPolicy of the chart on a real API server: what mode Enforce guarantees, without any webhook.

It looks at a label of the test's own, so that a release that is installed beside it has no part in this.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deploy.local import build
from tests.e2e.target import Target, eventually
from tests.support import cluster, guarantee
from tests.support.api_server import Refused
from tests.support.helm import manifests, template
from tests.support.pods import Object, minimal, tweak
from tests.support.tables import table

LABEL = "fence.nonroot.dev/mode"
PODS = 300  # random ones
ROOT = tweak(minimal(), {"spec.containers.0.securityContext": {}})
USER = tweak(minimal(), {"spec.securityContext.runAsUser": 7})

REFUSAL = "nothing keeps it from running as root"

Fence = Callable[..., None]


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A cluster with the namespaces `fenced` and `unfenced`."""
    found = cluster.reach()
    build.ensure(["helm"])
    with cluster.crds(found):
        found.namespace("fenced", **{LABEL: "enforce"})
        found.namespace("unfenced", **{LABEL: "warn"})
        yield found
        found.kubectl("delete", "namespace", "fenced", "unfenced")


def _rendered(policy: str = "") -> list[Object]:
    text = template(engines={"admissionPolicy": {"enabled": True, "policy": policy}}).replace("nonroot.dev/mode", LABEL)
    made = [each for each in manifests(text) if each["kind"].startswith("ValidatingAdmission")]
    assert len(made) == 2
    return made


@pytest.fixture
def fence(target: Target) -> Iterator[Fence]:
    """Puts the policy up, and waits until the API server evaluates by it in the namespace `fenced`; later, until it does not."""
    made: list[Object] = []
    policies: list[str] = []
    root = tweak(minimal(), {"metadata.name": "root", "spec.securityContext.runAsUser": 0})

    def up(policy: str = "", spec: Object | None = None) -> None:
        made.extend(_rendered(policy))
        if spec is not None:
            document = {"apiVersion": "nonroot.dev/v1alpha1", "kind": "NonRootPolicy", "metadata": {"name": policy}}
            policies.append(policy)
            target.apply({**document, "spec": spec})
        target.apply(*made)
        eventually(lambda: REFUSAL in _refused(target, root), "the policy to be in force")

    yield up
    for each in made:
        target.delete(f"{each['apiVersion']}/{each['kind']}", each["metadata"]["name"])
    for name in policies:
        target.delete("nonrootpolicies", name)
    eventually(lambda: not _refused(target, root), "the policy to be forgotten")


def _refused(target: Target, pod: Object, namespace: str = "fenced") -> str:
    """Why a Pod is refused; empty where it is not."""
    try:
        target.api.create(tweak(pod, {"metadata.namespace": namespace}), namespace, dry_run=True)
    except Refused as refused:
        return str(refused)
    return ""


def test_every_random_pod_is_evaluated_as_the_checker_evaluates_it(target: Target, fence: Fence) -> None:
    """The checker shares no code with the product nor with the policy."""
    fence()
    made = random.Random(20)  # noqa: S311  # the same ones each time
    pods = [_random(made, f"pod-{number}") for number in range(PODS)]
    good = {
        pod["metadata"]["name"]
        for pod in pods
        if all(guarantee.keeps_root_out(pod, each) for _, each in guarantee.containers(pod))
    }
    assert PODS / 5 < len(good) < PODS * 4 / 5
    refused = {pod["metadata"]["name"]: said for pod in pods if (said := _refused(target, pod))}
    assert {name: said for name, said in refused.items() if REFUSAL not in said} == {}
    assert refused.keys() == {pod["metadata"]["name"] for pod in pods} - good


def _random(made: random.Random, name: str) -> Object:
    def context(*, windows: bool) -> Object:
        found: Object = {}
        if made.random() < 0.5:
            found["runAsNonRoot"] = made.random() < 0.7
        if windows and made.random() < 0.6:
            found["windowsOptions"] = {"runAsUserName": made.choice(["ContainerUser", "containeradminiſtrator", "app"])}
        elif not windows and made.random() < 0.5:
            found["runAsUser"] = made.choice([0, 1, 1000, 2**31 - 1])
        return found

    windows = made.random() < 0.3
    spec: Object = {"securityContext": context(windows=windows)}
    if windows:
        where = made.choice(["os", "selector", "affinity"])
        expression = {"key": "kubernetes.io/os", "operator": "In", "values": ["windows"]}
        required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
        places: dict[str, Object] = {
            "os": {"os": {"name": "windows"}},
            "selector": {"nodeSelector": {"kubernetes.io/os": "windows"}},
            "affinity": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}},
        }
        spec |= places[where]
    for kind, most in (("containers", 2), ("initContainers", 1)):
        number = made.randint(1 if kind == "containers" else 0, most)
        spec[kind] = [
            {"name": f"{kind.lower()}-{index}", "image": "app:1", "securityContext": context(windows=windows)}
            for index in range(number)
        ]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def test_the_refusal_names_the_containers_and_what_to_write(target: Target, fence: Fence) -> None:
    fence()
    more = {"name": "side", "image": "side:1"}
    said = _refused(target, tweak(ROOT, {"spec.containers.1": more}))
    assert f"container app, side: {REFUSAL}" in said
    assert "write securityContext.runAsUser with a number above 0, or securityContext.runAsNonRoot: true" in said


def test_other_namespaces_are_left_alone(target: Target, fence: Fence) -> None:
    fence()
    assert _refused(target, ROOT, "unfenced") == ""
    assert _refused(target, ROOT, "default") == ""


def test_a_pod_that_was_there_before_may_change_but_not_its_image(target: Target, fence: Fence) -> None:
    """Its labels are nobody's user; another image is."""
    target.apply(tweak(ROOT, {"metadata.namespace": "fenced"}))
    fence()
    target.patch("pods", "web", {"metadata": {"labels": {"a": "b"}}}, "fenced")
    with pytest.raises(Refused, match=f"container app: {REFUSAL}"):
        target.kubectl("set", "image", "-n", "fenced", "pod/web", "app=other:1")
    target.kubectl("delete", "-n", "fenced", "pod", "web", "--grace-period=0", "--force")


def test_a_debug_container_is_evaluated_alone(target: Target, fence: Fence) -> None:
    """Beside a container that was there before."""
    target.apply(tweak(ROOT, {"metadata.namespace": "fenced"}))
    fence()

    def debug(name: str, **context: Any) -> None:
        found = target.api.read("pods", "web", "fenced")
        each = {"name": name, "image": "debug:1", "securityContext": context}
        found["spec"].setdefault("ephemeralContainers", []).append(each)
        target.api.call("PUT", "/api/v1/namespaces/fenced/pods/web/ephemeralcontainers", found)

    with pytest.raises(Refused, match=f"container bad: {REFUSAL}"):
        debug("bad")
    debug("good", runAsUser=7)
    debug("another", runAsNonRoot=True)
    target.kubectl("delete", "-n", "fenced", "pod", "web", "--grace-period=0", "--force")


@table(
    ("spec", "pod", "refused"),
    {
        "a policy that says nothing": ({"mode": "Enforce"}, ROOT, True),
        "root images are allowed": ({"rootImages": "Allow"}, ROOT, False),
        "but not an explicit root": (
            {"rootImages": "Allow"},
            tweak(minimal(), {"spec.containers.0.securityContext.runAsUser": 0}),
            True,
        ),
        "nor a Pod's": ({"rootImages": "Allow"}, tweak(minimal(), {"spec.securityContext.runAsUser": 0}), True),
        "and root outside of user namespaces": (
            {"rootInUserNamespaces": "Allow"},
            tweak(minimal(), {"spec.hostUsers": True}),
            True,
        ),
    },
)
def test_it_heeds_what_a_policy_lets_run_as_root(
    target: Target, fence: Fence, spec: Object, pod: Object, refused: bool
) -> None:
    fence("fence-test", spec)
    assert bool(_refused(target, pod)) is refused
    assert _refused(target, USER) == ""


def test_root_in_a_user_namespace_is_allowed_where_the_api_server_leaves_it_there(target: Target, fence: Fence) -> None:
    """Before 1.33 the gate UserNamespacesSupport is off: it drops hostUsers, and what it would store is root on the node."""
    known = cluster.version(target) >= (1, 33)
    fence("fence-test", {"rootInUserNamespaces": "Allow"})
    inside = tweak(minimal(), {"spec.hostUsers": False})
    stored = target.api.create(inside, "default", dry_run=True).object
    assert ("hostUsers" in stored["spec"]) is known
    assert bool(_refused(target, inside)) is not known


def test_a_policy_that_is_gone_refuses(target: Target, fence: Fence) -> None:
    """What is not known to be allowed is refused: parameterNotFoundAction."""
    fence("fence-test", {"rootImages": "Allow"})
    target.kubectl("delete", "nonrootpolicy", "fence-test")
    said = eventually(lambda: _refused(target, USER), "the parameter to be gone")
    assert "no params found" in said
    document = {"apiVersion": "nonroot.dev/v1alpha1", "kind": "NonRootPolicy", "metadata": {"name": "fence-test"}}
    target.apply({**document, "spec": {}})

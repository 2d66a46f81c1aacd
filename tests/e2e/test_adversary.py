"""An adversary who may create Pods in an enforced namespace, and who runs a registry: nothing that is tried runs as root.

Each attack asks for Pods, waits until every container of those that were let in has come to something, and counts. A container
has succeeded if it has run and its kubelet does not report a uid above 0 (`user` of its status). `NONROOT_ATTACK_ROUNDS`
repeats what comes in rounds. The figures are printed at the end, and stand in docs/explanation/security-model.md.
"""

import copy
import itertools
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec
import pytest

from deploy.dev import oci
from deploy.dev.oci import Content
from tests.conformance.images import ARCHITECTURE, base
from tests.e2e.conftest import fronts, reached_by_nodes
from tests.e2e.replies import in_force
from tests.e2e.target import Target, eventually
from tests.e2e.two_faced import HANG, Face, TwoFaced, two_faced
from tests.resilience.replicas import replicas, whole
from tests.support.api_server import Refused

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

ROUNDS = int(os.environ.get("NONROOT_ATTACK_ROUNDS", "1"))
ENFORCE = {"nonroot.dev/mode": "enforce"}
GONE = {"terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False, "enableServiceLinks": False}
STAY = ["/bin/busybox", "sleep", "600"]
STUCK = {
    *("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"),
    *("ErrImagePull", "ImagePullBackOff", "InvalidImageName"),
}
STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
LARGE = 4990  # containers
OTHER = {"amd64": "arm64"}.get(ARCHITECTURE, "amd64")
Pod = dict[str, Any]


def content(user: str | None, *passwd: str, architecture: str = ARCHITECTURE) -> Content:
    """An image that can run, with that USER and that /etc/passwd."""
    layers = (base(), oci.accounts_layer(*passwd)) if passwd else (base(),)
    return oci.image(*layers, user=user, architecture=architecture)


NUMBER, ROOT, NOBODY = content("1500"), content("0"), content(None)
NAME = content("app", "root:x:0:0::/:", "app:x:1500:1500::/:")
NAMED_ROOT = content("app", "root:x:0:0::/:", "app:x:0:0::/:")
ROOTS = {"zero": ROOT, "none": NOBODY, "name": NAMED_ROOT}


class Score(msgspec.Struct):
    """Pods that were asked for and let in, containers that ran, and those of them that ran as root."""

    asked: int = 0
    admitted: int = 0
    ran: int = 0
    root: list[str] = []


@pytest.fixture(scope="module")
def scores() -> Iterator[dict[str, Score]]:
    """By attack; printed when all are over."""
    found: dict[str, Score] = {}
    yield found
    print("\n| attack | Pods asked for | let in | containers that ran | as root |\n|---|---|---|---|---|")
    for name, each in found.items():
        print(f"| {name} | {each.asked} | {each.admitted} | {each.ran} | {len(each.root)} |")
    whole_score = [sum(getattr(each, field) for each in found.values()) for field in ("asked", "admitted", "ran")]
    print(f"| all | {' | '.join(map(str, whole_score))} | {sum(len(each.root) for each in found.values())} |")


class Attack:
    """One attack: the cluster, its enforced namespaces, and what came of it."""

    def __init__(self, target: Target, namespace: str, score: Score) -> None:
        self.target, self.namespace, self.score = target, namespace, score
        self._names = itertools.count()

    def ask(self, *pods: Pod, namespace: str = "", after: Iterable[dict[str, Any]] = ()) -> str:
        """Ask for Pods, in one breath with what comes before them; the API server's words about those that it refused."""
        made = []
        for each in pods:
            pod = copy.deepcopy(each)
            pod["metadata"] = {"name": f"a{next(self._names)}", **pod.get("metadata", {})}
            made.append(pod)
        self.score.asked += len(made)
        try:
            said = self.target.apply(*after, *made, namespace=namespace or self.namespace)
        except Refused as refusal:
            said = str(refusal)
        return said

    def ask_at_once(self, pods: Iterable[Pod]) -> None:
        """Ask for each Pod while the others wait for their answers."""
        asking = [threading.Thread(target=self.ask, args=(each,)) for each in pods]
        for each in asking:
            each.start()
        for each in asking:
            each.join()

    def update(self, *words: str) -> str:
        """Ask for a change of a Pod, which counts as one more."""
        self.score.asked += 1
        try:
            return self.target.kubectl("-n", self.namespace, *words)
        except Refused as refusal:
            return str(refusal)

    def settle(self, namespace: str = "") -> None:
        """Wait until every container has come to something, count, and take the Pods away."""
        namespace = namespace or self.namespace

        def settled() -> list[list[Pod]]:
            pods = self.target.get("pods", namespace)
            return [pods] if all(map(_settled, pods)) else []

        (pods,) = eventually(settled, f"every container of {namespace} settled")
        self.score.admitted += len(pods)
        for pod in pods:
            for status in _statuses(pod):
                if _has_run(status):
                    self.score.ran += 1
                    if status.get("user", {}).get("linux", {}).get("uid", 0) == 0:
                        self.score.root.append(f"{pod['metadata']['name']}: {json.dumps(status)}")
        if pods:
            self.target.kubectl("-n", namespace, "delete", "pods", "--all", "--now", "--wait=false")
        assert not self.score.root, self.score.root


def _statuses(pod: Pod) -> list[dict[str, Any]]:
    return [status for kind in STATUSES for status in pod["status"].get(kind, ())]


def _has_run(status: dict[str, Any]) -> bool:
    """Also where it has ended, or is started again."""
    states = (status["state"], status.get("lastState", {}))
    return any(
        "running" in each
        or each.get("terminated", {}).get("reason") not in {None, "StartError", "ContainerStatusUnknown"}
        for each in states
    )


def _settled(pod: Pod) -> bool:
    if pod["spec"].get("schedulingGates") or pod["status"].get("phase") == "Failed":
        return True
    statuses = _statuses(pod)
    stuck = any(each["state"].get("waiting", {}).get("reason") in STUCK for each in statuses)
    named = len(statuses) == sum(
        len(pod["spec"].get(kind, ())) for kind in ("containers", "initContainers", "ephemeralContainers")
    )
    return named and all(
        ("running" in each["state"] and "user" in each)
        or "terminated" in each["state"]
        or each["state"].get("waiting", {}).get("reason") in STUCK
        or (stuck and each["state"].get("waiting", {}).get("reason") == "PodInitializing")
        for each in statuses
    )


@pytest.fixture
def attack(installed: Target, scores: dict[str, Score], namespace: str, request: pytest.FixtureRequest) -> Attack:
    """In an enforced namespace of its own; it is scored by its test's name."""
    installed.namespace(namespace, **ENFORCE)
    name = request.node.name.removeprefix("test_").replace("_", " ")
    score = scores.setdefault(name, Score())
    return Attack(installed, namespace, score)


@pytest.fixture(scope="module")
def registry(installed: Target) -> Iterator[TwoFaced]:
    """One that nodes pull from, and which shows the webhook something else."""
    line, _ = fronts(installed.registry)
    hosts = f'server = "http://{line}"\n[host."http://{line}"]\n'
    with reached_by_nodes(installed, line, hosts), two_faced(line) as made:
        yield made


def shapes(image: str) -> Iterator[Pod]:
    """What an author may write around an image that he wants to run as root."""
    app = {"name": "app", "image": image, "command": STAY, "imagePullPolicy": "Always"}
    good = {**app, "name": "good", "securityContext": {"runAsUser": 1500}}
    for context in ({}, {"runAsNonRoot": False}, {"runAsUser": 0}, {"runAsGroup": 0}):
        yield _pod([{**app, "securityContext": context}])
    yield _pod([app], securityContext={"runAsUser": 0})
    yield _pod([app], securityContext={"runAsNonRoot": False})
    yield _pod([{**app, "securityContext": {"runAsUser": 0}}], securityContext={"runAsUser": 1500})
    yield _pod([{**app, "securityContext": {"runAsNonRoot": False}}], securityContext={"runAsNonRoot": True})
    yield _pod([good, app])
    yield _pod([good], initContainers=[{**app, "command": ["/bin/busybox", "true"]}])
    yield _pod([good], initContainers=[{**app, "restartPolicy": "Always"}])
    yield _pod([app], hostUsers=True, hostNetwork=True)


def _pod(containers: list[dict[str, Any]], **spec: Any) -> Pod:
    return {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers, **GONE, **spec}}


def _all_shapes(images: Iterable[str]) -> list[Pod]:
    """All shapes of every image; where there is one round, a third of them in turn."""
    found = list[Pod]()
    for number, image in enumerate(images):
        every = list(shapes(image))
        found += every if ROUNDS > 1 else (every[(4 * number + step) % len(every)] for step in range(4))
    return found


def test_a_registry_that_refuses_us_and_serves_root_to_the_node(attack: Attack, registry: TwoFaced) -> None:
    images = [
        registry.show(f"{status}/{name}", status, root) for status in (401, 404, 500) for name, root in ROOTS.items()
    ]
    numeric = registry.show("401/number", 401, NUMBER)
    attack.ask(*_all_shapes(images), *shapes(numeric))
    attack.settle()
    assert attack.score.ran  # the numeric one, or nothing would be shown
    assert {"401/zero", "401/name"} <= registry.pulled


LIES: dict[str, tuple[Face, Face]] = {
    "a number": (NUMBER, ROOT),
    "a name": (NAME, NAMED_ROOT),
    "a name that is nobody": (NAME, NOBODY),
    "another platform": (oci.index(NUMBER, content("0", architecture=OTHER)), ROOT),
}


def test_a_registry_that_shows_us_another_image_than_the_node(attack: Attack, registry: TwoFaced) -> None:
    images = [registry.show(f"lie/{each}", *faces) for each, faces in enumerate(LIES.values())]
    attack.ask(*_all_shapes(images))
    attack.settle()
    assert {"lie/0", "lie/1", "lie/2"} <= registry.pulled  # the last one's root is seen, and nothing of it let in


def test_a_tag_that_moves_between_admission_and_pull(attack: Attack, registry: TwoFaced) -> None:
    """Held by a scheduling gate until the tag has moved."""
    names = [f"moving/{index}" for index in range(len(ROOTS) * 2)]
    images = [
        registry.show(name, *((NAME, NAME) if number % 2 else (NUMBER, NUMBER))) for number, name in enumerate(names)
    ]
    gate = {"schedulingGates": [{"name": "test.example/moved"}]}
    pods = [{**pod, "spec": {**pod["spec"], **gate}} for pod in _all_shapes(images)]
    attack.ask(*pods)
    held = [each["metadata"]["name"] for each in attack.target.get("pods", attack.namespace)]
    assert held
    for name, root in zip(names, itertools.cycle(ROOTS.values()), strict=False):
        registry.show(name, root, root)
    for name in held:
        attack.target.patch("pods", name, {"spec": {"schedulingGates": []}}, attack.namespace)
    attack.settle()
    assert set(names) <= registry.pulled


def test_an_index_whose_platforms_disagree(attack: Attack, registry: TwoFaced) -> None:
    pairs = [*itertools.permutations(("0", "1500", None), 2), ("1500", "1600")]
    indexes = [oci.index(content(ours), content(other, architecture=OTHER)) for ours, other in pairs]
    names = [
        (NAME, content("app", "app:x:0:0::/:", architecture=OTHER)),
        (NAMED_ROOT, content("1500", architecture=OTHER)),
    ]
    indexes += [oci.index(*each) for each in names]
    indexes += [oci.index(oci.without_platform(each)) for each in (ROOT, NUMBER)]
    attack.ask(*_all_shapes(registry.show(f"index/{number}", each, each) for number, each in enumerate(indexes)))
    attack.settle()


@contextmanager
def _broken(attack: Attack, fault: str) -> Iterator[None]:
    """Admission in trouble; whole again afterwards."""
    both = replicas(attack.target)
    if os.geteuid() or not both:
        pytest.skip("does harm to the processes of the release: they are not on this machine, or not ours")
    with ExitStack() as stack:
        match fault:
            case "killed":
                for each in both:
                    each.kill()
            case "frozen":
                for each in both:
                    stack.enter_context(each.frozen())
            case "partitioned":
                for each in both:
                    stack.enter_context(each.cut_off())
            case "without the mutating hook":
                stack.enter_context(_misled(attack.target))
        yield
    whole(attack.target)


@contextmanager
def _misled(target: Target) -> Iterator[None]:
    """The API server asks for patches where there are none, and goes on without."""
    name, path = "mutatingwebhookconfiguration/zz-nonroot-webhook", "/webhooks/0/clientConfig/service/path"

    def lead(to: str) -> None:
        target.kubectl("patch", name, "--type=json", "-p", json.dumps([{"op": "replace", "path": path, "value": to}]))

    lead("/nowhere")
    try:
        time.sleep(2)  # until the API server has seen it
        yield
    finally:
        lead("/mutate")
        time.sleep(2)


@pytest.mark.parametrize("fault", ["killed", "frozen", "partitioned", "without the mutating hook"])
def test_admission(attack: Attack, registry: TwoFaced, fault: str) -> None:
    """Some at a time, because a hook that does not answer is waited for."""
    images = [registry.show(f"broken/{name}", root, root) for name, root in ROOTS.items()]
    images.append(registry.show("broken/moved", NUMBER, ROOT))
    pods = [next(shapes(image)) for image in images]
    for _ in range(ROUNDS):
        with _broken(attack, fault):
            attack.ask_at_once(pods)
        attack.settle()


def test_admission_overloaded(attack: Attack, registry: TwoFaced) -> None:
    """Clients with Pods of thousands of containers, while others ask for root."""
    crowd = _pod([{"name": f"c{n}", "image": f"{registry.host}/crowd/{n}:1"} for n in range(LARGE)])
    crowd["metadata"] = {"name": "crowd"}
    text, stop = json.dumps(crowd), threading.Event()

    def flood() -> None:
        while not stop.is_set():
            try:
                attack.target.kubectl("create", "-n", attack.namespace, "--dry-run=server", "-f", "-", text=text)
            except Refused:
                continue

    clients = [threading.Thread(target=flood) for _ in range(4)]
    for each in clients:
        each.start()
    try:
        images = [registry.show(f"crowded/{name}", root, root) for name, root in ROOTS.items()]
        many = _pod([{"name": f"c{n}", "image": images[0], "command": STAY} for n in range(17)])
        for _ in range(2 * ROUNDS):
            attack.ask(*_all_shapes(images), many)
    finally:
        stop.set()
        for each in clients:
            each.join()
    attack.settle()


POLICIES: dict[str, dict[str, Any]] = {
    "a higher priority that ignores the label": {"mode": "Audit", "priority": 100, "namespaceLabel": "Ignore"},
    "a lesser mode": {"mode": "Warn", "priority": 100},
    "nothing injected": {"mode": "Enforce", "inject": "Never", "priority": 100},
    "no defaults": {"mode": "Enforce", "defaults": [], "priority": 100},
    "a field of a newer version": {"mode": "Enforce", "colour": "red", "priority": 100},
}


def test_policies_that_are_broken_or_deleted_or_shadow_others(attack: Attack, registry: TwoFaced) -> None:
    """The namespace has the label; what a policy may allow, such as root images, is stated by it and no attack."""
    images = [registry.show(f"policy/{name}", root, root) for name, root in ROOTS.items()]
    images.append(registry.show("policy/moved", NAME, ROOT))
    with _policies(attack) as made:
        for name, spec in POLICIES.items():
            made(name, spec)
            attack.ask(*(pod for image in images for pod in itertools.islice(shapes(image), 3)))
    attack.ask(*(pod for image in images for pod in itertools.islice(shapes(image), 3)))  # none is left
    attack.settle()


def test_a_policy_that_enforces_without_a_label_and_others_of_its_rank(attack: Attack, registry: TwoFaced) -> None:
    """A lesser one that comes first by its name; admission is there."""
    attack.target.label(attack.namespace, **{"nonroot.dev/mode": None})
    images = [registry.show(f"rank/{name}", root, root) for name, root in ROOTS.items()]
    with _policies(attack) as made:
        strict = made("zzz-shops", {"mode": "Enforce"})
        made("aaa-company", {"mode": "Warn"})

        in_force(attack.target, attack.namespace, strict)
        attack.ask(*_all_shapes(images))
        attack.settle()


@contextmanager
def _policies(attack: Attack) -> Iterator[Callable[[str, dict[str, Any]], str]]:
    """What makes policies for the attacked namespace, and gives their names; they are deleted afterwards."""
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": attack.namespace}}}
    mark, names = secrets.token_hex(2), list[str]()

    def make(name: str, spec: dict[str, Any]) -> str:
        names.append(f"{name.replace(' ', '-')}-{mark}")
        head = {"apiVersion": "nonroot.dev/v1alpha1", "kind": "NonRootPolicy", "metadata": {"name": names[-1]}}
        text = json.dumps({**head, "spec": {**spec, **here}})
        attack.target.kubectl("create", "--validate=false", "-f", "-", text=text)
        return names[-1]

    try:
        yield make
    finally:
        if names:
            attack.target.kubectl("delete", "nonrootpolicies", *names)


def test_forged_owners_presets_and_annotations(attack: Attack, registry: TwoFaced) -> None:
    """An exception for a Deployment, and the presets of a policy, which others try to look like."""
    root = registry.show("forged/root", ROOT, ROOT)
    mesh = registry.show("istio/proxyv2", ROOT, ROOT)
    spec = {"reason": "a test", "workloads": [{"kind": "Deployment", "name": "legit"}]}
    exception = {"apiVersion": "nonroot.dev/v1alpha1", "kind": "NonRootException", "metadata": {"name": "legit"}}
    attack.target.apply({**exception, "spec": spec}, namespace=attack.namespace)
    owners = [
        {"apiVersion": version, "kind": kind, "name": name, "uid": "1", "controller": True}
        for version, kind, name in (
            *(("apps/v1", "ReplicaSet", "legit-5d4f8"), ("apps/v1", "Deployment", "legit")),
            *(("example.com/v1", "Deployment", "legit"), ("v1", "ReplicationController", "legit")),
        )
    ]
    forged: list[Pod] = [{"metadata": {"ownerReferences": [each]}} for each in owners]
    forged += [
        {"metadata": {"annotations": annotations}}
        for annotations in (
            {"openshift.io/scc": "privileged"},
            {"nonroot.dev/injected": '[{"container":"app","fields":["runAsNonRoot","runAsUser"]}]'},
            {"admissions.enforcer/disabled": "true"},
            {"sidecar.istio.io/status": "{}"},
            {"kubernetes.io/config.source": "file"},
        )
    ]
    forged += [{"metadata": {"labels": {"nonroot.dev/mode": "audit", "app": "legit"}}}]
    forged += [{"metadata": {"name": "legit"}}, {"metadata": {"generateName": "legit-"}}]
    presets = {"mode": "Enforce", "priority": 100, "presets": ["istio", "linkerd"], "presetMirrors": [registry.host]}
    init = {"name": "istio-init", "image": mesh, "command": STAY}
    zero = {"securityContext": {"runAsUser": 0}}
    with _policies(attack) as made:
        made("meshed", presets)
        attack.ask(
            *(
                each | _pod([{"name": "app", "image": image, "command": STAY}])
                for each in forged
                for image in (root, mesh)
            )
        )
        attack.ask(
            *(_pod([{**init, **more}]) for more in ({}, zero, {"securityContext": {"privileged": True}})),
            _pod([{"name": "app", "image": mesh, **zero}], initContainers=[]),
            *(
                _pod([_good(registry)], initContainers=[{**init, **zero, **more}])
                for more in ({}, {"name": "other"}, {"image": root})
            ),
        )
        attack.settle()


def _good(registry: TwoFaced) -> dict[str, Any]:
    image = registry.show("good/number", NUMBER, NUMBER)
    return {"name": "good", "image": image, "command": STAY, "securityContext": {"runAsUser": 1500}}


def test_changes_of_pods_that_run(attack: Attack, registry: TwoFaced) -> None:
    """Another image, and debug containers: of a Pod that was pinned, and of one from before the label that was not."""
    target, namespace = attack.target, attack.namespace
    number, root = registry.show("run/number", NUMBER, NUMBER), registry.show("run/root", ROOT, ROOT)
    others = [registry.show(f"run/{name}", *faces) for name, faces in (("401", (401, ROOT)), ("lie", (NUMBER, ROOT)))]
    others.append(registry.show("run/name", NAMED_ROOT, NAMED_ROOT))
    container = {"name": "app", "image": number, "command": STAY}
    attack.ask({"metadata": {"name": "pinned"}, **_pod([container])})
    target.label(namespace, **{"nonroot.dev/mode": None})

    def unlabelled() -> bool:
        target.kubectl("-n", namespace, "delete", "pod", "former", "--ignore-not-found", "--now")
        target.apply({"metadata": {"name": "former"}, **_pod([container])}, namespace=namespace)
        (made,) = (each for each in target.get("pods", namespace) if each["metadata"]["name"] == "former")
        return "securityContext" not in made["spec"]["containers"][0]

    eventually(unlabelled, "a Pod as it was written")
    target.label(namespace, **ENFORCE)
    eventually(lambda: all(map(_settled, target.get("pods", namespace))), "both Pods")
    for pod in ("pinned", "former"):
        for image in (root, *others):
            attack.update("debug", pod, f"--image={image}", "--profile=legacy", "--attach=false", "--", *STAY)
    said = [attack.update("set", "image", "pod/former", f"app={image}") for image in (root, *others)]
    assert all("denied the request" in each for each in said), said
    attack.update("set", "image", "pod/pinned", f"app={others[1]}")  # its runAsUser stays
    attack.settle()


def test_new_namespaces_under_churn(attack: Attack, registry: TwoFaced) -> None:
    """Pods come in one breath with their namespace, while others come, change their label and go."""
    target, stop = attack.target, threading.Event()
    images = [registry.show(f"churn/{name}", root, root) for name, root in ROOTS.items()]
    images += [registry.show(f"churn/{name}", shown, ROOT) for name, shown in (("401", 401), ("lie", NUMBER))]

    def churn() -> None:
        for number in itertools.count():
            name, modes = f"{attack.namespace}-x{number}", itertools.islice(itertools.cycle(MODES), number, number + 2)
            if stop.wait(0.2):
                return
            target.apply(_namespace(name, next(modes)))
            target.label(name, **{"nonroot.dev/mode": next(modes)})
            target.delete("namespaces", name)

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        for number in range(4 * ROUNDS):
            name = f"{attack.namespace}-{number}"
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "new", "namespace": name}}
            pods = [next(shapes(image)) for image in images]
            for each in pods:
                each["spec"]["serviceAccountName"] = "new"
            said = attack.ask(*pods, namespace=name, after=[_namespace(name, "enforce"), account])
            assert "denied the request" in said, said
            attack.settle(name)
    finally:
        stop.set()
        churning.join()


MODES = ("audit", "enforce", "warn", "enforced")


def _namespace(name: str, mode: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"nonroot.dev/mode": mode}}}


def test_a_registry_that_hangs(attack: Attack, registry: TwoFaced) -> None:
    """For us alone, and the last attack: for a while after it nobody is asked for that registry's images."""
    images = [registry.show(f"hang/{name}", HANG, root) for name, root in ROOTS.items()]
    attack.ask_at_once(_all_shapes(images))
    attack.settle()
    assert registry.hung
    assert registry.pulled & {f"hang/{name}" for name in ROOTS}

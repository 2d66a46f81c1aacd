"""What mode Enforce guarantees, tried against everything that could walk around it.

Random Pods, policies and images meet a registry that lies, refuses, breaks and hangs, hooks that are not called or not
waited for, a view that lags behind, namespaces and policies that change or vanish between two requests, too many large Pods,
and other webhooks. `NONROOT_GUARANTEE_CASES=200000` is the long form. A case is made from its
number alone, which a failure names: `play(number)` is that case again.
"""

import base64
import contextlib
import copy
import json
import os
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import settings

from tests.support.evaluation import apply
from tests.support.guarantee import containers, keeps_root_out
from tests.support.images import PASSWD, Table, image, multi, platform_image
from tests.support.pods import Object, review_body
from webhook.admission.handler import LARGE_PODS_CONTAINERS, SMALL_POD_CONTAINERS, Admission, Outcome, WebhookKind
from webhook.admission.review import decode
from webhook.image.source import Image, Images, Query, Unknown
from webhook.policy.selection import MODE_LABEL, EffectivePolicy, Namespace, select_policy
from webhook.policy.types import ExceptionSpec, Metadata, NonRootException, NonRootPolicy, PolicySpec
from webhook.workload.workload import Workload

CASES = int(os.environ.get("NONROOT_GUARANTEE_CASES", "600"))
BATCHES = 4
TRIES = 4  # that a client makes when it is asked to come again
CAUSES = ("unauthorized", "notFound", "unreachable", "rateLimited", "invalid", "tooLarge", "pending", "local")
USERS = ("", "0", "root", "app", "app", "app", "1000", "7", "-1", "ghost", "4294967296", "app:x", "ContainerUser")
PASSWDS = (PASSWD, PASSWD, None, "app:x:999:999::/:\n", "svc:x:1000:2000::/:\n" + PASSWD, "app:x:0:0::/:\n")
PLATFORMS = ("linux/amd64", "linux/arm64", "windows/amd64")
WINDOWS = ("ContainerUser", "ContainerAdministrator", "CONTAINERadministrator", "ContainerAdminiſtrator", "web")
RULES = (
    "root-image",
    "root-user",
    "unpinned-user",
    "unknown-image",
    "volume-permissions",
    "named-user",
    "invalid-user",
)
EXEMPTS = {
    "root-image",
    "root-user",
    "unpinned-user",
    "windows-administrator",
}  # the rules whose exception lets root run


class GivenUp(BaseException):
    """The API server waits no longer: no code of ours may take it for an error, as it may not a cancellation."""


class Liar(Images):
    """A source of images that says something else whenever it likes, or fails."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._said: dict[str, Image | Unknown] = {}
        self.unread: set[str] = set()  # what was not known, the last time it was asked for

    async def find(self, query: Query) -> Image | Unknown:
        """As `webhook.image.source.Images`."""
        rng, name = self._rng, query.reference
        if rng.random() < 0.01:
            raise TimeoutError(f"the registry of {name} broke")
        if rng.random() < 0.03:
            raise GivenUp(f"the registry of {name} hangs")
        if name not in self._said or rng.random() < 0.2:
            self._said[name] = self._image()
        found = self._said[name]
        unread = isinstance(found, Unknown) or any(isinstance(each.accounts, Unknown) for each in found.platforms)
        (self.unread.add if unread else self.unread.discard)(name)
        return found

    async def find_stored(self, references: Sequence[str], like: Query) -> Sequence[Image | None]:
        """As `webhook.image.source.Images`; it lies about what is stored, too."""
        found = [await self.find(msgspec.structs.replace(like, reference=each)) for each in references]
        return [each if isinstance(each, Image) else None for each in found]

    def _image(self) -> Image | Unknown:
        rng = self._rng
        if rng.random() < 0.25:
            return Unknown(rng.choice(CAUSES), "it says so")  # type: ignore[arg-type]
        platforms = [
            platform_image(
                rng.choice(USERS),
                rng.choice(PASSWDS),
                platform=rng.choice(PLATFORMS),
                unknown=rng.choice((None, None, None, None, "unreachable", "pending")),
            )
            for _ in range(rng.choice((1, 1, 2, 3)))
        ]
        found = multi(*platforms)
        return msgspec.structs.replace(found, source="observed", age=60.0) if rng.random() < 0.1 else found


class Lagging:
    """A view of the cluster in which the namespace may be missing, or have the label of yesterday."""

    def __init__(self, rng: Random, policies: list[NonRootPolicy], labels: dict[str, str]) -> None:
        self._rng, self.policies, self.labels = rng, policies, labels
        self.excuses: tuple[NonRootException, ...] = ()
        self.lag = rng.choice((0, 0, 0, 1, 40))  # how often the namespace is not there yet
        self.stale = rng.random() < 0.15  # the label is not seen

    may_enforce = True

    def knows(self, namespace: str) -> bool:
        """As `webhook.policy.cache.PolicyLister`."""
        self.lag -= 1
        return self.lag < 0

    def effective_policy(self, namespace: str) -> EffectivePolicy:
        """As `webhook.policy.cache.PolicyLister`."""
        seen = self.lag < 0 and not self.stale
        return select_policy(self.policies, Namespace(namespace, self.labels if seen else {}))

    def exceptions(self, namespace: str, workload: Workload | None = None) -> tuple[NonRootException, ...]:
        """As `webhook.policy.cache.PolicyLister`."""
        return self.excuses


def _context(rng: Random, *, pod: bool = False) -> Object | None:
    if rng.random() < 0.5:
        return None
    context: Object = {}
    if rng.random() < 0.35:
        context["runAsUser"] = rng.choice((0, 1, 1000, 70000))
    if rng.random() < 0.5:
        context["runAsNonRoot"] = rng.choice((True, True, False))
    if rng.random() < 0.1:
        context["runAsGroup"] = rng.choice((0, 1000))
    if rng.random() < 0.15:
        context["windowsOptions"] = {"runAsUserName": rng.choice(WINDOWS)}
    if not pod and rng.random() < 0.1:
        context["privileged"] = True
    return context


def _containers(rng: Random, prefix: str, number: int) -> list[Object]:
    made = []
    for each in range(number):
        one: Object = {"name": f"{prefix}{each}", "image": f"registry.example/{rng.choice('abcd')}:1"}
        context = _context(rng)
        if context is not None:
            one["securityContext"] = context
        if prefix == "init" and rng.random() < 0.3:
            one["restartPolicy"] = "Always"
        made.append(one)
    return made


def _pod(rng: Random) -> Object:
    regular = rng.choice((1, 1, 2, 3)) if rng.random() < 0.97 else SMALL_POD_CONTAINERS + 2
    spec: Object = {"containers": _containers(rng, "app", regular)}
    if rng.random() < 0.3:
        spec["initContainers"] = _containers(rng, "init", rng.choice((1, 2)))
    context = _context(rng, pod=True)
    if context is not None:
        spec["securityContext"] = context
    match rng.random():
        case chance if chance < 0.08:
            spec["os"] = {"name": rng.choice(("windows", "linux", "plan9"))}
        case chance if chance < 0.14:
            spec["nodeSelector"] = {"kubernetes.io/os": rng.choice(("windows", "linux"))}
        case chance if chance < 0.2:
            values = rng.choice((["windows"], ["windows", "linux"]))
            term = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": values}]}
            terms = [term, *rng.choice(([], [{"matchExpressions": []}]))]
            required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
            spec["affinity"] = {"nodeAffinity": required}
    if rng.random() < 0.1:
        spec["hostUsers"] = False
    if rng.random() < 0.2:
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    metadata: Object = {"name": "web", "namespace": "shop"}
    if rng.random() < 0.05:
        metadata["annotations"] = {"openshift.io/scc": "restricted"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _policy(rng: Random) -> Object:
    spec: Object = {"mode": rng.choice(("Enforce", "Enforce", "Enforce", "Warn", "Audit"))}
    if rng.random() < 0.3:
        spec["inject"] = rng.choice(("Never", "Always"))
    if rng.random() < 0.2:
        spec["rootImages"] = "Allow"
    elif rng.random() < 0.2:
        spec["rootImages"] = "Assign"
        spec["assign"] = {"uid": 4000, "images": ["registry.example/a*"]}
    if rng.random() < 0.2:
        spec["rootInUserNamespaces"] = "Allow"
    if rng.random() < 0.3:
        spec["onUnknown"] = {
            rng.choice(("default", *CAUSES)): rng.choice(("Allow", "Warn", "Verify", "Deny")) for _ in range(2)
        }
    if rng.random() < 0.2:
        spec["defaults"] = rng.choice(([], ["capabilities"], ["runAsNonRoot"]))
    if rng.random() < 0.15:
        spec["namespaceLabel"] = rng.choice(("Ignore", "StricterOnly"))
    if rng.random() < 0.1:
        spec["knownImages"] = [{"image": "registry.example/b*", "uid": 77}]
    return spec


def _excuses(rng: Random, pod: Object) -> tuple[tuple[NonRootException, ...], dict[str, set[str]]]:
    """Some exceptions, and by container the rules that they name; no rules at all: "*"."""
    excuses: list[NonRootException] = []
    excused: dict[str, set[str]] = {}
    while rng.random() < 0.15:
        name = rng.choice([each["name"] for _, each in containers(pod)])
        rules = rng.choice(((), (rng.choice(RULES),), (rng.choice(RULES), rng.choice(RULES))))
        spec = ExceptionSpec("because", containers=(name,), rules=rules)  # type: ignore[arg-type]
        excuses.append(NonRootException(Metadata(f"x{len(excuses)}", "shop"), spec))
        excused.setdefault(name, set()).update(rules or ("*",))
    return tuple(excuses), excused


class Story:
    """One Pod on its way through both hooks, in a world that is made from a number."""

    def __init__(self, number: int) -> None:
        self.rng = rng = Random(number)  # noqa: S311  # of cases, not of keys
        self.policy = msgspec.convert(_policy(rng), PolicySpec)
        self.label = rng.choice(("enforce", "enforce", "typo", None))
        labels = {} if self.label is None else {MODE_LABEL: self.label}
        policies = [NonRootPolicy(Metadata("strict"), self.policy)] if rng.random() < 0.9 else []
        self.view = Lagging(rng, policies, labels)
        self.images = Liar(rng)
        self.now = 1000.0
        self.admission = Admission(self.view, self.images, lambda: self.now)
        self.pod = _pod(rng)
        self.view.excuses, self.excused = _excuses(rng, self.pod)
        self.old: Object | None = None
        self.more: dict[str, Any] = {}
        self._update()

    @property
    def hook(self) -> WebhookKind:
        """The one that the API server chooses by the label, which it has read itself."""
        return "validate" if self.label is None else "enforce"

    @property
    def enforced(self) -> bool:
        """Without the label it is the policy alone that enforces, and only where the view shows it."""
        return self.label is not None or bool(self.view.policies and self.policy.mode == "Enforce")

    def churn(self) -> None:
        """Now and then the namespace gets another label or is made anew, or its policy is changed or deleted."""
        rng = self.rng
        match rng.random():
            case chance if chance < 0.04:
                self.label = rng.choice(("enforce", "typo", None))
                self.view.labels = {} if self.label is None else {MODE_LABEL: self.label}
            case chance if chance < 0.08:
                self.view.lag = rng.choice((1, 40))
            case chance if chance < 0.12:
                self.policy = msgspec.convert(_policy(rng), PolicySpec)
                self.view.policies = [NonRootPolicy(Metadata("strict"), self.policy)]
            case chance if chance < 0.14:
                self.policy, self.view.policies = PolicySpec(), []

    def _update(self) -> None:
        """Make it, now and then, an update: a debug container, or another image."""
        rng = self.rng
        match rng.random():
            case chance if chance < 0.1:
                self.old = copy.deepcopy(self.pod)
                self.pod["spec"]["ephemeralContainers"] = _containers(rng, "debug", rng.choice((1, 2)))
                self.more = {"old": self.old, "sub_resource": "ephemeralcontainers"}
            case chance if chance < 0.2:
                self.old = copy.deepcopy(self.pod)
                rng.choice(self.pod["spec"]["containers"])["image"] = "registry.example/e:1"
                self.more = {"old": self.old}

    async def ask(self, hook: WebhookKind, pod: Object) -> Outcome:
        """One review, through JSON."""
        crowded = self.rng.random() < 0.3
        self.admission._large_pod_containers = LARGE_PODS_CONTAINERS if crowded else 0
        operation = "CREATE" if self.old is None else "UPDATE"
        body = review_body(pod, operation, namespace="shop", **self.more)
        return await self.admission.review(decode(body), hook)

    async def told(self) -> tuple[Object, Outcome | None]:
        """The Pod as it would be stored, and the last word of /validate, after as many tries as a client makes.

        None: it was not waited for.
        """
        patchable = self.old is None or self.more.get("sub_resource") == "ephemeralcontainers"
        for _ in range(TRIES):
            pod = copy.deepcopy(self.pod)
            if patchable and self.rng.random() < 0.7:  # else the hook fails open
                with contextlib.suppress(GivenUp):
                    pod = apply(pod, operations(await self.ask("mutate", pod)))
            self.churn()
            if self.rng.random() < 0.05:  # another webhook comes after us
                _, victim = self.rng.choice(list(containers(pod)))
                victim["securityContext"] = self.rng.choice(({}, {"runAsNonRoot": False}))
            try:
                outcome = await self.ask(self.hook, pod)
            except GivenUp:
                return pod, None
            if outcome.decision != "retry":
                break
            self.now += self.rng.choice((1.0, 1.0, 12.0))
        return pod, outcome

    def new(self, pod: Object) -> list[Object]:
        """The containers that the request brings."""
        before = {each["name"]: each["image"] for _, each in containers(self.old)} if self.old else {}
        ephemeral = self.more.get("sub_resource") is not None
        return [
            each
            for kind, each in containers(pod)
            if before.get(each["name"]) != each["image"] and (not ephemeral or kind == "ephemeralContainers")
        ]

    def exempted(self, pod: Object, container: Object) -> bool:
        """Whether somebody has said by name that the container may run as root."""
        rules = self.excused.get(container["name"], set())
        unread = container["image"] in self.images.unread
        if rules & ({"*"} | EXEMPTS) or ("unknown-image" in rules and unread):
            return True
        contexts = [each.get("securityContext") or {} for each in (container, pod["spec"])]
        if self.policy.root_images == "Allow" and all("runAsUser" not in each for each in contexts):
            return True
        if self.policy.root_in_user_namespaces == "Allow" and pod["spec"].get("hostUsers") is False:
            return True
        on_unknown = self.policy.on_unknown
        stated = {on_unknown.default, *(getattr(on_unknown, field) for field in on_unknown.__struct_fields__)}
        said = next((each["runAsNonRoot"] for each in contexts if "runAsNonRoot" in each), None)
        return unread and bool(stated & {"Allow", "Warn"}) and said is not False


def operations(outcome: Outcome) -> list[dict[str, Any]]:
    """The patch in the outcome's body."""
    found = json.loads(base64.b64decode(json.loads(outcome.body)["response"].get("patch", "W10=")))
    assert isinstance(found, list)
    return found


async def play(number: int) -> str:
    """One case; what became of the Pod."""
    story = Story(number)
    pod, outcome = await story.told()
    if (
        outcome is None
    ):  # refused by the hook `enforce`, which fails closed; by the other it is let in, as FailsOpen says
        return "given up"
    new = story.new(pod)
    allowed = json.loads(outcome.body)["response"]["allowed"]
    if allowed and story.enforced:
        for each in new:
            assert keeps_root_out(pod, each) or story.exempted(pod, each), (number, each["name"], pod, outcome)
    if all(keeps_root_out(pod, each) for each in new):
        assert "root is not ruled out" not in outcome.message, (number, pod, outcome)
        assert "the Pod was not patched" not in outcome.message, (number, pod, outcome)
    return outcome.decision


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespaces come at once, or not at all."""
    monkeypatch.setattr("webhook.admission.handler.NAMESPACE_WAIT", 0.0)
    monkeypatch.setattr("webhook.admission.handler.log.disabled", True)


@pytest.mark.parametrize("batch", range(BATCHES))
async def test_whatever_both_hooks_let_through_cannot_run_as_root(batch: int) -> None:
    """And a Pod that cannot anyway is never refused for it. Some are let through and some not, or nothing would be shown."""
    decisions = [await play(number) for number in range(batch, CASES, BATCHES)]
    assert {"allow", "deny", "given up"} <= set(decisions)


HONEST = {"a": ("app", 1000), "b": ("1000", 1000), "c": ("svc", 2000), "d": ("0", 0), "e": ("", 0)}  # USER and uid
GOOD = 22 * settings().max_examples


def _starts_as_somebody(pod: Object, container: Object) -> bool:
    """Whether a container may be let in as it is or with a patch, by what it says and who its image is."""
    outer, inner = pod["spec"].get("securityContext") or {}, container.get("securityContext") or {}
    uid = inner.get("runAsUser", outer.get("runAsUser"))
    return bool(uid or (uid is None and HONEST[container["image"][-3]][1]))


async def test_good_pods_are_not_lost() -> None:
    """Of random Pods each whose containers are somebody is let in, patched, and each other one is refused."""
    table = Table(
        {
            f"registry.example/{name}:1": image(user, f"svc:x:2000:2000::/:\n{PASSWD}")
            for name, (user, _) in HONEST.items()
        }
    )
    strict = NonRootPolicy(Metadata("strict"), PolicySpec(mode="Enforce"))
    found = {"allow": 0, "deny": 0}
    number = 0
    while found["allow"] < GOOD:
        rng = Random(number)  # noqa: S311  # of cases, not of keys
        number += 1
        view = Lagging(rng, [strict], {MODE_LABEL: "enforce"})
        view.lag, view.stale = 0, False
        admission, pod = Admission(view, table), _pod(rng)
        outer = pod["spec"].get("securityContext") or {}
        if outer.keys() & {"runAsGroup", "windowsOptions"} or pod["spec"].keys() & {"os", "nodeSelector", "affinity"}:
            continue  # a sandbox of a group without a user, and other systems: not what is meant here
        outcome = await admission.review(decode(review_body(pod, "CREATE", namespace="shop")), "mutate")
        pod = apply(pod, operations(outcome))
        outcome = await admission.review(decode(review_body(pod, "CREATE", namespace="shop")), "enforce")
        good = all(_starts_as_somebody(pod, each) for _, each in containers(pod))
        assert outcome.decision == ("allow" if good else "deny"), (number - 1, pod, outcome.message)
        found[outcome.decision] += 1
    assert found["deny"]

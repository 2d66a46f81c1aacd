"""Exemptions: requests, containers of presets and unexpired exceptions that are not evaluated."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from webhook.image.reference import normalised
from webhook.policy.globs import image_matcher, is_pattern, matcher
from webhook.policy.injectors import INJECTORS, preset_matches
from webhook.policy.selection import EffectivePolicy
from webhook.policy.types import NonRootException, PolicySpec, WorkloadSelector
from webhook.workload.workload import Slot, Workload

SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-node-lease"})


SERVICE_ACCOUNT = "system:serviceaccount:"

NAMESPACE_WEIGHT = 64 * 1024  # of the patterns of a namespace's exceptions: some 0.1 s until all are compiled
WORKLOAD_EXCEPTIONS = 128  # of a namespace that name the same workload: each is looked at for each of its containers
NAMED_EXCEPTIONS = 5  # exceptions whose reasons are given; the others are counted
_BEGINNING = datetime.min.replace(tzinfo=UTC)


class Controller(msgspec.Struct, frozen=True):
    """Kubernetes' own controller of a kind: the kind's API group, and the user as whom it makes objects.

    Source: kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy/controller_policy.go
    """

    group: str
    user: str


def _controller(group: str, account: str) -> Controller:
    return Controller(group, f"{SERVICE_ACCOUNT}kube-system:{account}")


CONTROLLERS = {
    "ReplicaSet": _controller("apps", "replicaset-controller"),
    "Deployment": _controller("apps", "deployment-controller"),
    "StatefulSet": _controller("apps", "statefulset-controller"),
    "DaemonSet": _controller("apps", "daemon-set-controller"),
    "Job": _controller("batch", "job-controller"),
    "CronJob": _controller("batch", "cronjob-controller"),
    "ReplicationController": _controller("", "replication-controller"),
}
_MANAGER = "system:kube-controller-manager"  # all of them, where they have no accounts of their own
_GROUPS = {"pod": "", **{kind.lower(): each.group for kind, each in CONTROLLERS.items()}}
_OWN_KINDS = {("", "Pod"), *((each.group, kind) for kind, each in CONTROLLERS.items())}
# What an owner is made by in turn, where its name tells: NAME-HASH. A Pod says no more than that.
_MADE_BY = {
    ("apps", "ReplicaSet"): (("apps", "Deployment"), ("argoproj.io", "Rollout")),
    ("batch", "Job"): (("batch", "CronJob"),),
}


def exempt(spec: PolicySpec, namespace: str, user: str, workload: Workload) -> str | None:
    """The reason why a whole request is not evaluated; None where it is."""
    exemptions = spec.exemptions
    if exempts(spec, namespace):
        return "namespace"
    if exemptions.users and matcher(exemptions.users)(user):
        return "user"
    if exemptions.service_accounts and user.startswith(SERVICE_ACCOUNT):
        account = user.removeprefix(SERVICE_ACCOUNT)
        if matcher(exemptions.service_accounts)(account):
            return "service account"
    if workload.spec.runtime_class_name and workload.spec.runtime_class_name in exemptions.runtime_classes:
        return "runtime class"
    return None


def exempts(spec: PolicySpec, namespace: str) -> bool:
    """Whether nothing at all in a namespace is evaluated."""
    globs = spec.exemptions.namespaces
    return namespace in SYSTEM_NAMESPACES or bool(globs and matcher(globs)(namespace))


class Exemption(msgspec.Struct, frozen=True):
    """The reason why findings about a container are dropped.

    `rules` limits it to those rules; empty means every rule. `exceptions` are the names of those that apply, `source` is
    what the exemption comes from, as metrics tell them apart.
    """

    reason: str
    rules: frozenset[str] = frozenset()
    exceptions: tuple[str, ...] = ()
    source: Literal["exception", "preset", "image", "rootImages"] = "rootImages"


def select_exceptions(
    exceptions: Sequence[NonRootException], workload: Workload, requester: str | None = None
) -> tuple[NonRootException, ...]:
    """The exceptions that are about a workload, whichever container of it: asked once, for it may have thousands.

    `requester` is the user who asks for the workload; None: nobody has asked, and what it says of its owner is believed.
    """
    if not exceptions:
        return ()
    claims = tuple(_claims(workload))
    return tuple(
        [
            each
            for each in exceptions
            if not each.spec.workloads
            or any(_selects(selector, claim, requester) for selector in each.spec.workloads for claim in claims)
        ]
    )


def find_exemption(
    effective_policy: EffectivePolicy,
    exceptions: Sequence[NonRootException],
    workload: Workload,
    slot: Slot,
    now: datetime,
    requester: str | None = None,
) -> Exemption | None:
    """The exemption of a container, as `exempt_container` says, by those exceptions that are about its workload."""
    return exempt_container(effective_policy, select_exceptions(exceptions, workload, requester), slot, now)


def exempt_container(
    effective_policy: EffectivePolicy, exceptions: Sequence[NonRootException], slot: Slot, now: datetime
) -> Exemption | None:
    """The exemption, preset or unexpired exceptions that a container has; all `exceptions` are about its workload."""
    spec = effective_policy.policy.spec
    if not (exceptions or spec.exemptions.images or spec.presets):
        return None
    image = normalised(slot.container.image or "")
    if image_matcher(spec.exemptions.images)(image):
        return Exemption(f"policy {effective_policy.policy.metadata.name} exempts the image", source="image")
    matching = [each for each in (exceptions if spec.exceptions == "Allow" else ()) if _applies(each, slot, image, now)]
    rules = [frozenset[str](each.spec.rules) for each in matching]
    reasons = [f"exception {each.metadata.name}: {each.spec.reason}" for each in matching]
    preset = next((each for each in spec.presets if preset_matches(each, slot, image, spec.preset_mirrors)), None)
    if preset is not None:
        rules.append(INJECTORS[preset].rules)
        reasons.append(f"preset {preset} of policy {effective_policy.policy.metadata.name}")
    if not reasons:
        return None
    more = len(reasons) - NAMED_EXCEPTIONS
    return Exemption(
        "; ".join([*reasons[:NAMED_EXCEPTIONS], *([f"and {more} more"] if more > 0 else [])]),
        frozenset().union(*rules) if all(rules) else frozenset(),
        tuple([each.metadata.name for each in matching]),
        "exception" if matching else "preset",
    )


class LapsedException(msgspec.Struct, frozen=True):
    """An exception that would exempt a container had it not ended; of these rules, empty: of all."""

    name: str
    reason: str
    rules: frozenset[str]
    ended: datetime

    @property
    def end(self) -> str:
        """The end of the exception, for people."""
        return f"{self.ended:%Y-%m-%d %H:%M %Z}"

    def covers(self, rule: str) -> bool:
        """Whether it would have dropped the findings of a rule."""
        return not self.rules or rule in self.rules


def find_lapsed(
    effective_policy: EffectivePolicy, exceptions: Sequence[NonRootException], slot: Slot, now: datetime
) -> tuple[LapsedException, ...]:
    """Of the exceptions about its workload those that would exempt a container had they not ended; also of others in force."""
    found = []
    for each in exceptions:
        ended = each.spec.expires
        if ended is None or now < ended:
            continue
        then = exempt_container(effective_policy, (each,), slot, _BEGINNING)
        if then is not None and then.exceptions:
            found.append(LapsedException(each.metadata.name, each.spec.reason, frozenset(each.spec.rules), ended))
    return tuple(found)


def beyond_limit(exceptions: Iterable[NonRootException]) -> frozenset[str]:
    """Which of a namespace's exceptions, by name, exempt nothing because those before them are as many as count."""
    weight, about, found = 0, Counter[str](), set[str]()
    for each in sorted(exceptions, key=lambda each: each.metadata.name):
        names = {selector.name for selector in each.spec.workloads}
        if weight + each.spec.weight > NAMESPACE_WEIGHT or any(about[name] >= WORKLOAD_EXCEPTIONS for name in names):
            found.add(each.metadata.name)
        else:
            weight += each.spec.weight
            about.update(names)
    return frozenset(found)


class ExceptionIndex:
    """The exceptions of one namespace that count, found by the names that they are about: there may be thousands."""

    def __init__(self, found: Iterable[NonRootException]) -> None:
        every = tuple(found)
        left_out = beyond_limit(every)
        self.all = tuple([each for each in every if each.metadata.name not in left_out])
        self._named: dict[str, list[int]] = {}
        self._others: list[int] = []
        for place, each in enumerate(self.all):
            names = {selector.name for selector in each.spec.workloads}
            if not names or any(map(is_pattern, names)):
                self._others.append(place)
                continue
            for name in names:
                self._named.setdefault(name, []).append(place)

    def about(self, workload: Workload) -> tuple[NonRootException, ...]:
        """The exceptions that may be about a workload, in their order."""
        places = set(self._others)
        for claim in _claims(workload):
            places.update(self._named.get(claim.name, ()))
        return tuple([self.all[place] for place in sorted(places)])


def _applies(exception: NonRootException, slot: Slot, image: str, now: datetime) -> bool:
    spec = exception.spec
    if spec.expires is not None and now >= spec.expires:
        return False
    if spec.containers and not spec.matches_container(slot.container.name):
        return False
    return not spec.images or bool(spec.matches_image(image))


class _Claim(msgspec.Struct, frozen=True, gc=False):
    """A name under which an exception may know a workload; `owner` is what it says that it is owned by (None: its own name)."""

    group: str
    kind: str
    name: str
    owner: tuple[str, str] | None = None


def _claims(workload: Workload) -> Iterator[_Claim]:
    """A workload's own name, its controller's, and that of the controller's controller where the name derives from it."""
    yield _Claim(_GROUPS.get(workload.kind.lower(), ""), workload.kind, workload.name)
    for owner in workload.metadata.owner_references or ():
        if not owner.controller:
            continue
        kind = (owner.api_version.rpartition("/")[0], owner.kind)
        yield _Claim(*kind, owner.name, kind)
        stem, dash, _ = owner.name.rpartition("-")
        for maker in _MADE_BY.get(kind, ()) if dash else ():
            yield _Claim(*maker, stem, kind)


def _selects(selector: WorkloadSelector, claim: _Claim, requester: str | None) -> bool:
    if not selector.matches(claim.name) or not _names_kind(selector.kind, claim):
        return False
    if claim.owner is None:
        return True
    stated = f"{SERVICE_ACCOUNT}{selector.service_account}" if selector.service_account else ""
    if requester is None:
        return claim.owner in _OWN_KINDS or bool(stated)
    # Anybody may write ownerReferences into a Pod: only who makes the Pods of such an owner is believed.
    controller = CONTROLLERS.get(claim.owner[1]) if claim.owner in _OWN_KINDS else None
    return (bool(stated) and requester == stated) or (
        controller is not None and requester in {controller.user, _MANAGER}
    )


def _names_kind(text: str, claim: _Claim) -> bool:
    """Whether `deployment`, `Deployments` or `Deployment.apps` is a claim's kind; kinds of Kubernetes are of its own groups."""
    if not text:
        return True
    kind, dot, group = text.lower().partition(".")
    own = claim.kind.lower()
    if kind not in {own, f"{own}s"}:
        return False
    return claim.group == (group if dot else _GROUPS.get(own, claim.group))

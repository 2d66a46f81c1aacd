"""Who is not judged: exempt requests, presets and unexpired exceptions."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from webhook.image.reference import normalised
from webhook.policy.injectors import preset_matches
from webhook.policy.selection import EffectivePolicy
from webhook.policy.types import NonRootException, PolicySpec, matcher
from webhook.workload.workload import Slot, Workload

SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-node-lease"})


SERVICE_ACCOUNT = "system:serviceaccount:"


GLOB = frozenset("*?[")  # what makes a text stand for others


def exempt(spec: PolicySpec, namespace: str, user: str, workload: Workload) -> str | None:
    """Why a whole request is not judged; None where it is."""
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
    """Whether nothing at all in a namespace is judged."""
    globs = spec.exemptions.namespaces
    return namespace in SYSTEM_NAMESPACES or bool(globs and matcher(globs)(namespace))


class Exemption(msgspec.Struct, frozen=True):
    """Why a container is let be. Empty `rules`: all of them."""

    reason: str
    rules: frozenset[str] = frozenset()


def find_exemption(
    effective_policy: EffectivePolicy,
    exceptions: Sequence[NonRootException],
    workload: Workload,
    slot: Slot,
    now: datetime,
) -> Exemption | None:
    """The exemption, preset or unexpired exception that lets a container be."""
    spec = effective_policy.policy.spec
    if not (exceptions or spec.exemptions.images or spec.presets):
        return None
    image = normalised(slot.container.image or "")
    if matcher(spec.exemptions.images)(image):
        return Exemption(f"policy {effective_policy.policy.metadata.name} exempts the image")
    for preset in spec.presets:
        if preset_matches(preset, slot.container.name, image, spec.preset_mirrors):
            return Exemption(f"preset {preset} of policy {effective_policy.policy.metadata.name}")
    if spec.exceptions == "Forbid":
        return None
    matching = [each for each in exceptions if _applies(each, workload, slot, image, now)]
    if not matching:
        return None
    rules = (
        frozenset[str]()
        if any(not each.spec.rules for each in matching)
        else frozenset(rule for each in matching for rule in each.spec.rules)
    )
    return Exemption("; ".join(f"exception {each.metadata.name}: {each.spec.reason}" for each in matching), rules)


class ExceptionIndex:
    """The exceptions of one namespace, found by the names that they are about: there may be thousands."""

    def __init__(self, found: Iterable[NonRootException]) -> None:
        self.all = tuple(found)
        self._named: dict[str, list[int]] = {}
        self._others: list[int] = []
        for place, each in enumerate(self.all):
            names = {selector.name for selector in each.spec.workloads}
            if not names or any(GLOB & set(name) for name in names):
                self._others.append(place)
                continue
            for name in names:
                self._named.setdefault(name, []).append(place)

    def about(self, workload: Workload) -> tuple[NonRootException, ...]:
        """Those that may be about a workload, in their order."""
        places = set(self._others)
        for _, name in _names(workload):
            places.update(self._named.get(name, ()))
        return tuple([self.all[place] for place in sorted(places)])


def _applies(exception: NonRootException, workload: Workload, slot: Slot, image: str, now: datetime) -> bool:
    spec = exception.spec
    if spec.expires is not None and now >= spec.expires:
        return False
    if spec.containers and not matcher(spec.containers)(slot.container.name):
        return False
    if spec.images and not matcher(spec.images)(image):
        return False
    return not spec.workloads or any(
        (not selector.kind or selector.kind == kind) and matcher((selector.name,))(name)
        for selector in spec.workloads
        for kind, name in _names(workload)
    )


def _names(workload: Workload) -> list[tuple[str, str]]:
    """A workload's own kind and name and its controller's; a ReplicaSet's Deployment by the name it derives from."""
    names = [(workload.kind, workload.name)]
    for owner in workload.metadata.owner_references or ():
        if not owner.controller:
            continue
        names.append((owner.kind, owner.name))
        stem, dash, _ = owner.name.rpartition("-")
        if owner.kind == "ReplicaSet" and dash:
            names.append(("Deployment", stem))
        if owner.kind == "Job" and dash:
            names.append(("CronJob", stem))
    return names

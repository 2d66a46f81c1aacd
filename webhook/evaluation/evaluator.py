"""The one function behind every door: a workload under a policy -> Verdict."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache

import msgspec

from webhook.evaluation import kubelet, rules
from webhook.evaluation.subject import Subject, written_uid
from webhook.evaluation.verdict import ContainerVerdict, Verdict, decide
from webhook.image import reference, user
from webhook.image.config import Config, Platform, User
from webhook.image.passwd import ResolvedIds
from webhook.image.source import Image, Images, PlatformImage, Query, Unknown
from webhook.image.user import GroupMismatch, Identity, Injection, PlatformIdentity
from webhook.policy.exemptions import Exemption, find_exemption
from webhook.policy.selection import EffectivePolicy
from webhook.policy.types import Assign, KnownImage, NonRootException, PolicySpec, image_matcher, matcher
from webhook.workload import scheduling
from webhook.workload.annotations import OPENSHIFT_SCC
from webhook.workload.podspec import Container
from webhook.workload.workload import Effective, Slot, Workload, effective

Progress = Callable[[int, int], None]
"""Told how many workloads are judged, of how many that are known of so far."""


_NO_GROUP = "runAsGroup {} would be needed, which is not written where OpenShift's SCC has set the security context"
_NO_RULES: frozenset[str] = frozenset()
_ROOT_IMAGES = frozenset({"root-image", "unpinned-user"})
KNOWN_IMAGE_BUDGET = 0.3  # seconds granted to the registry where the policy already knows the image


class _Case(msgspec.Struct, gc=False):
    """A container on its way to a Subject: what its image says is filled in where it had to be asked."""

    slot: Slot
    effective: Effective
    exemption: Exemption | None
    image: Image | Unknown | None = None
    identities: tuple[PlatformIdentity, ...] = ()
    planned: Injection | GroupMismatch | None = None
    assigned: bool = False
    fault_free: bool = False
    pod_rules: frozenset[str] = _NO_RULES

    def exempt_from(self, rule: str) -> bool:
        """Whether findings of a rule about it are dropped."""
        return self.exemption is not None and (not self.exemption.rules or rule in self.exemption.rules)

    @property
    def fully_exempt(self) -> bool:
        """Whether everything about it is let be, so that nothing needs to be known."""
        return self.exemption is not None and not self.exemption.rules


async def evaluate(
    workload: Workload,
    effective_policy: EffectivePolicy,
    images: Images,
    *,
    namespace: str,
    budget: float,
    now: datetime,
    exceptions: Sequence[NonRootException] = (),
    slots: tuple[Slot, ...] | None = None,
    injects: bool | None = None,
    requester: str | None = None,
) -> Verdict:
    """Judge `slots` (every container where None) of a workload as it stands.

    `injects` overrides what the policy would patch; `requester` is the user who asks for the workload, None where nobody
    has. Images are asked for all at once and each waits `budget` seconds at most; an image is only asked for where the
    spec does not say the user. What cannot be told is a state of its own, never an exception.
    """
    spec = effective_policy.policy.spec
    injects = effective_policy.injects if injects is None else injects
    os = scheduling.operating_system(workload.spec)
    cases = [
        _Case(
            slot,
            effective(slot.container, workload.context),
            find_exemption(effective_policy, exceptions, workload, slot, now, requester),
        )
        for slot in (workload.slots() if slots is None else slots)
    ]
    unresolved = [
        case
        for case in cases
        if not case.fully_exempt and case.slot.container.image and kubelet.needs_image(case.effective, os)
    ]
    if unresolved:
        await _resolve_images(unresolved, workload, spec, images, os, namespace, budget, injects)
    injected = slots is None and any(case.planned is not None for case in unresolved)
    uids = tuple([written_uid(case.effective, case.planned) for case in cases]) if injected else ()
    if slots is None:
        _assign_pod_rules(cases)
    verdict = Verdict(
        effective_policy, tuple([_verdict(case, workload, effective_policy, os, injects, uids) for case in cases])
    )
    return verdict if spec.fs_group is None or verdict.takes_fs_group else verdict.without_fs_group()


def _assign_pod_rules(cases: list[_Case]) -> None:
    """Choose the container of which each Pod-level rule tells: the first that is not exempt from it."""
    for rule in rules.POD_RULES:
        case = next((case for case in cases if not case.exempt_from(rule)), None)
        if case is not None:
            case.pod_rules |= {rule}


async def _resolve_images(
    unresolved: list[_Case],
    workload: Workload,
    spec: PolicySpec,
    images: Images,
    os: str,
    namespace: str,
    budget: float,
    injects: bool,
) -> None:
    """Fill in what the images say."""
    searches = [_find_image(case.slot.container, workload, spec, images, os, namespace, budget) for case in unresolved]
    found = [await searches[0]] if len(unresolved) == 1 else await asyncio.gather(*searches)
    strict = workload.context.supplemental_groups_policy == "Strict"
    for case, image in zip(unresolved, found, strict=True):
        case.image = image
        if not isinstance(image, Image):
            continue
        analysis = user.analyse(image, os, case.effective.run_as_group, strict)
        case.identities, case.planned = analysis.identities, analysis.plan
        if os == "linux" and spec.assign is not None and injects and _assignable(spec.assign, case):
            case.planned, case.assigned = Injection(spec.assign.uid, spec.assign.gid), True
        if isinstance(case.planned, Injection) and case.planned.gid is not None and _no_group(workload, case.effective):
            case.planned, case.assigned = (
                None if case.assigned else GroupMismatch(_NO_GROUP.format(case.planned.gid)),
                False,
            )
        case.fault_free = analysis.fault_free and case.planned is analysis.plan


def _verdict(
    case: _Case,
    workload: Workload,
    effective_policy: EffectivePolicy,
    os: str,
    injects: bool,
    uids: tuple[int | None, ...],
) -> ContainerVerdict:
    spec = effective_policy.policy.spec
    exemption = case.exemption or _root_allowed(case, effective_policy, os)
    exempt_rules = exemption.rules if exemption is not None else _NO_RULES
    subject = Subject(
        workload,
        case.slot,
        os,
        case.effective,
        spec,
        injects,
        case.image,
        case.identities,
        case.planned,
        case.assigned,
        uids,
        case.fault_free,
        effective_policy.restricted,
        effective_policy.mode == "Enforce",
        _permits_root(case, spec, exempt_rules, os),
        exempt_rules,
        case.pod_rules,
    )
    return decide(subject, () if case.fully_exempt else rules.check(subject), exemption)


def _root_allowed(case: _Case, effective_policy: EffectivePolicy, os: str) -> Exemption | None:
    """The exemption that `rootImages: Allow` is for a container that runs as root by its image, or may."""
    if effective_policy.policy.spec.root_images != "Allow" or os != "linux" or case.effective.run_as_user is not None:
        return None
    if case.effective.run_as_non_root:
        return None
    root = any(isinstance(each.identity, Identity) and each.identity.uid == 0 for each in case.identities)
    if not (root or isinstance(case.image, Unknown)):
        return None
    return Exemption(f"policy {effective_policy.policy.metadata.name} allows root images", _ROOT_IMAGES)


def _permits_root(case: _Case, spec: PolicySpec, exempt_rules: frozenset[str], os: str) -> bool:
    """Whether a container that leaves its user to its image may run as root."""
    if not exempt_rules and spec.root_images != "Allow":
        return False
    named = "root-image" if os == "linux" else "windows-administrator"
    unread = "unknown-image" in exempt_rules and (
        isinstance(case.image, Unknown) or any(isinstance(each.identity, Unknown) for each in case.identities)
    )
    allowed = spec.root_images == "Allow" and os == "linux"
    return allowed or unread or bool(exempt_rules & {named, "unpinned-user"})


async def _find_image(
    container: Container, workload: Workload, spec: PolicySpec, images: Images, os: str, namespace: str, budget: float
) -> Image | Unknown:
    """The image from its source, or else as the operator knows it; a source's answer wins over the operator's."""
    known = stated(spec, container)
    secrets = workload.spec.image_pull_secrets
    found = await images.find(
        Query(
            reference=container.image or "",
            os=os,
            architectures=scheduling.architectures(workload.spec),
            namespace=namespace,
            pull_secrets=tuple([secret.name for secret in secrets if secret.name]) if secrets else (),
            service_account=_service_account(workload),
            always_pull=container.image_pull_policy == "Always",
            budget=min(budget, KNOWN_IMAGE_BUDGET) if known else budget,
        )
    )
    if isinstance(found, Image):
        return found if found.platforms else Unknown("notFound", f"it has nothing for the nodes of the Pod ({os})")
    # Content that runtimes may read differently is no gap in our knowledge, which is all that the operator may fill.
    return known if known is not None and found.cause != "invalid" else found


def _service_account(workload: Workload) -> str:
    """Whose pull secrets a template's Pods will be given: either their own or, all of them, the ServiceAccount's.

    Source: kubernetes plugin/pkg/admission/serviceaccount/admission.go (Admit)
    """
    if workload.is_pod or workload.spec.image_pull_secrets:
        return ""
    return workload.spec.service_account_name or "default"


def stated(spec: PolicySpec, container: Container) -> Image | None:
    """What the operator says of a container's image, for want of a better source; None where that is nothing."""
    return next((_known_image(each) for each in spec.known_images if _knows(each, container)), None)


def _knows(known: KnownImage, container: Container) -> bool:
    """Whether the operator means this image: by a glob on the normalised reference, or by its digest alone."""
    return bool(
        matcher((reference.normalised_glob(known.image), f"*@{known.image}"))(
            reference.normalised(container.image or "")
        )
    )


@lru_cache(maxsize=1024)
def _known_image(known: KnownImage) -> Image:
    """What the operator says, in place of the image's own accounts."""
    config = Config(User(str(known.uid), uid=known.uid), Platform("linux", "any"))
    numbers = ResolvedIds(known.uid, known.gid, tuple(sorted({known.gid, *known.groups})))
    return Image("", (PlatformImage(config, accounts=numbers),), source="known")


def _no_group(workload: Workload, own: Effective) -> bool:
    """Whether OpenShift has chosen the Pod's context: then a uid is all that we add, and a group cannot be kept."""
    return own.run_as_group is None and OPENSHIFT_SCC in (workload.pod_metadata.annotations or {})


def _assignable(assign: Assign, case: _Case) -> bool:
    """The image is listed, and its USER is empty or 0 on every platform; a name is never overridden."""
    image = reference.normalised(case.slot.container.image or "")
    return bool(image_matcher(assign.images)(image)) and all(
        not each.user.uid and not each.user.name for each in case.identities
    )

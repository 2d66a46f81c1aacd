"""Evaluates a workload under a policy: the one function that the server and every command call."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import lru_cache

import msgspec

from webhook.evaluation import kubelet, rules
from webhook.evaluation.pod_facts import PodFacts
from webhook.evaluation.subject import Subject
from webhook.evaluation.verdict import ContainerVerdict, Verdict, decide
from webhook.image import reference, user
from webhook.image.config import Config, Platform, User
from webhook.image.passwd import ResolvedIds
from webhook.image.source import Image, Images, PlatformImage, Query, Unknown, together
from webhook.image.user import GroupMismatch, Identity, Injection
from webhook.policy.exemptions import Exemption, exempt_container, find_lapsed, select_exceptions
from webhook.policy.globs import image_matcher, matcher
from webhook.policy.selection import EffectivePolicy
from webhook.policy.types import Assign, KnownImage, NonRootException, PolicySpec
from webhook.workload import scheduling
from webhook.workload.annotations import OPENSHIFT_SCC
from webhook.workload.storage import UNKNOWN, Storage
from webhook.workload.workload import Effective, Slot, Workload, effective

Progress = Callable[[int, int], None]
"""Told how many workloads are evaluated, of how many that are known of so far."""


_NO_GROUP = "runAsGroup {} would be needed, which is not written where OpenShift's SCC has set the security context"
_NO_RULES: frozenset[str] = frozenset()
_ROOT_IMAGES = frozenset({"root-image", "unpinned-user"})
_ROOT = _ROOT_IMAGES | {"root-user"}
KNOWN_IMAGE_BUDGET = 0.3  # seconds granted to the registry where the policy already knows the image


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
    added: bool = False,
    storage: Storage = UNKNOWN,
    injects: bool | None = None,
    requester: str | None = None,
) -> Verdict:
    """Evaluate `slots` (every container where None) of a workload as it stands; `added`: its owner's template has none of them.

    `storage` is what the cluster says of volumes. `injects` overrides what the policy would patch; `requester` is the user
    who asks for the workload, None where nobody has. Images are asked for all at once and each waits `budget` seconds at
    most; where the spec says the user they are only asked for what is stored, for the sake of their programs. What is not
    known is a state of its own, never an exception.
    """
    spec = effective_policy.policy.spec
    injects = effective_policy.injects if injects is None else injects
    restricted, enforced = effective_policy.restricted, effective_policy.mode == "Enforce"
    os = scheduling.operating_system(workload.spec)
    pod, context = PodFacts(workload), workload.context
    exceptions = select_exceptions(exceptions, workload, requester)
    subjects = [
        Subject(
            workload=workload,
            pod=pod,
            slot=slot,
            os=os,
            effective=effective(slot.container, context),
            policy=spec,
            injects=injects,
            exemption=exempt_container(effective_policy, exceptions, slot, now),
            added=added,
            storage=storage,
            restricted=restricted,
            enforced=enforced,
        )
        for slot in (workload.slots() if slots is None else slots)
    ]
    unresolved = [
        subject
        for subject in subjects
        if not subject.fully_exempt and subject.slot.container.image and kubelet.needs_image(subject.effective, os)
    ]
    if unresolved:
        await _resolve_images(unresolved, images, namespace, budget)
    resolved = [subject for subject in subjects if subject.image is None and _has_layers(subject)]
    if resolved:
        await _recall_layers(resolved, images, namespace, budget)
    if slots is None:
        if unresolved and any(subject.planned is not None for subject in unresolved):
            pod.planned = tuple([subject.written_uid for subject in subjects])
        _assign_pod_rules(subjects)
    verdict = Verdict(effective_policy, tuple([_verdict(subject, effective_policy) for subject in subjects]))
    if exceptions:
        verdict = _with_lapsed(verdict, exceptions, now)
    grouped = spec.fs_group is not None or spec.assign is not None
    return verdict if not grouped or verdict.takes_fs_group else verdict.without_fs_group()


def _assign_pod_rules(subjects: list[Subject]) -> None:
    """Choose the container that each Pod-level rule is reported for: the first that is not exempt from it."""
    left = rules.POD_RULES
    for subject in subjects:
        subject.pod_rules = subject.reported(left)
        left -= subject.pod_rules
        if not left:
            break


async def _resolve_images(unresolved: list[Subject], images: Images, namespace: str, budget: float) -> None:
    """Fill in what the images say."""
    found = await together([_find_image(subject, images, namespace, budget) for subject in unresolved])
    for subject, image in zip(unresolved, found, strict=True):
        subject.image = image
        if isinstance(image, Image):
            subject.layers = image
            _analyse(subject, image)


def _has_layers(subject: Subject) -> bool:
    """Whether what its image's programs need is still to be asked, of a container whose user its own author says."""
    container = subject.slot.container
    if subject.os != "linux" or not subject.effective.run_as_user or not container.image or subject.fully_exempt:
        return False
    return not subject.workload.metadata.annotations or container.name not in subject.pod.injections


async def _recall_layers(resolved: list[Subject], images: Images, namespace: str, budget: float) -> None:
    """Fill in what is stored of the images; where nothing is, nothing is known of their programs.

    They are asked for all at once, each image once: one question for each would cost as much as the rest of the evaluation.
    """
    layers: dict[str, Image | None] = dict.fromkeys([subject.slot.container.image or "" for subject in resolved])
    references = list(layers)
    found = await images.find_stored(references, _query(resolved[0], namespace, budget))
    layers.update(zip(references, found, strict=True))
    for subject in resolved:
        subject.layers = layers[subject.slot.container.image or ""]


def _analyse(subject: Subject, image: Image) -> None:
    """Fill in what an image means for its container."""
    strict = subject.workload.context.supplemental_groups_policy == "Strict"
    assign = subject.policy.assign
    group = _group_of_image(subject, image)
    analysis = user.analyse(image, subject.os, subject.effective.run_as_group if group is None else group, strict)
    subject.identities, subject.suggested = analysis.identities, analysis.suggested
    planned, assigned = analysis.plan, False
    if group is not None and isinstance(planned, Injection):
        planned = Injection(planned.uid, group)
    if subject.os == "linux" and assign is not None and subject.injects and _assignable(assign, subject):
        numbers = _assigned(assign, subject)
        if numbers is not None:
            planned, assigned = numbers, True
    if isinstance(planned, Injection) and planned.gid is not None and _no_group(subject.workload, subject.effective):
        planned, assigned = None if assigned else GroupMismatch(_NO_GROUP.format(planned.gid)), False
    subject.planned, subject.assigned = planned, assigned
    subject.fault_free = analysis.fault_free and planned is analysis.plan


def _with_lapsed(verdict: Verdict, exceptions: Sequence[NonRootException], now: datetime) -> Verdict:
    """The verdict with the exceptions that would apply to its containers had they not ended."""
    policy = verdict.effective_policy
    containers = []
    for each in verdict.containers:
        lapsed = find_lapsed(policy, exceptions, each.subject.slot, now)
        containers.append(msgspec.structs.replace(each, lapsed=lapsed) if lapsed else each)
    return Verdict(policy, tuple(containers))


def _group_of_image(subject: Subject, image: Image) -> int | None:
    """The group of the image's USER, where the policy wants it injected and nothing of the Pod says another."""
    wanted = subject.policy.run_as_group == "FromImage" and subject.injects and subject.effective.run_as_group is None
    if not wanted or subject.os != "linux" or _no_group(subject.workload, subject.effective):
        return None
    return user.stated_group(image)


def _verdict(subject: Subject, effective_policy: EffectivePolicy) -> ContainerVerdict:
    exemption = subject.exemption
    if exemption is None or exemption.rules:
        exemption = _joined(exemption, _root_allowed(subject, effective_policy))
    subject.exempt_rules = exemption.rules if exemption is not None else _NO_RULES
    subject.permits_root = _permits_root(subject)
    return decide(subject, () if subject.fully_exempt else rules.check(subject), exemption)


def _root_allowed(subject: Subject, effective_policy: EffectivePolicy) -> Exemption | None:
    """The exemption that a policy states for a container that runs as root, or may: by its image, or unmapped.

    The kubelet makes no difference inside a user namespace: with `runAsNonRoot: true` it does not start root there either.
    """
    own, policy = subject.effective, effective_policy.policy
    if policy.spec.root_images != "Allow" and policy.spec.root_in_user_namespaces != "Allow":
        return None
    if subject.os != "linux" or own.run_as_non_root or own.run_as_user:
        return None
    by_spec = own.run_as_user == 0
    by_image = any(isinstance(each.identity, Identity) and each.identity.uid == 0 for each in subject.identities)
    if not (by_spec or by_image or isinstance(subject.image, Unknown)):
        return None
    if policy.spec.root_in_user_namespaces == "Allow" and subject.workload.spec.host_users is False:
        return Exemption(f"policy {policy.metadata.name} allows root inside a user namespace", _ROOT)
    if policy.spec.root_images == "Allow" and not by_spec:
        return Exemption(f"policy {policy.metadata.name} allows root images", _ROOT_IMAGES)
    return None


def _joined(one: Exemption | None, other: Exemption | None) -> Exemption | None:
    if one is None or other is None:
        return one or other
    return Exemption(f"{one.reason}; {other.reason}", one.rules | other.rules)


def _permits_root(subject: Subject) -> bool:
    """Whether a container that leaves its user to its image may run as root."""
    exempt_rules = subject.exempt_rules
    if not exempt_rules and subject.policy.root_images != "Allow":
        return False
    named = "root-image" if subject.os == "linux" else "windows-administrator"
    unread = "unknown-image" in exempt_rules and subject.unknown is not None
    allowed = subject.policy.root_images == "Allow" and subject.os == "linux"
    return allowed or unread or bool(exempt_rules & {named, "unpinned-user"})


async def _find_image(subject: Subject, images: Images, namespace: str, budget: float) -> Image | Unknown:
    """The image from its source, or else as the operator knows it; a source's answer wins over the operator's."""
    container = subject.slot.container
    known = stated(subject.policy, container.image or "")
    found = await find_image(images, _query(subject, namespace, budget), known)
    if isinstance(found, Image):
        nothing = Unknown("notFound", f"it has nothing for the nodes of the Pod ({subject.os})")
        return found if found.platforms else nothing
    if container.image_pull_policy == "Never" and found.cause in _NOWHERE:
        return Unknown("local", f"imagePullPolicy is Never, and no registry tells: {found.detail}")
    return found


def _query(subject: Subject, namespace: str, budget: float) -> Query:
    """The question to an image source about the container's image."""
    container, workload = subject.slot.container, subject.workload
    secrets = workload.spec.image_pull_secrets
    return Query(
        reference=container.image or "",
        os=subject.os,
        architectures=scheduling.architectures(workload.spec),
        namespace=namespace,
        pull_secrets=tuple([secret.name for secret in secrets if secret.name]) if secrets else (),
        service_account=_service_account(workload),
        always_pull=container.image_pull_policy == "Always",
        budget=budget,
    )


def find_image(images: Images, query: Query, known: Image | None) -> Awaitable[Image | Unknown]:
    """The image from its source, or else as the operator has stated it, who is not waited for as long."""
    return images.find(query) if known is None else _find_or_stated(images, query, known)


async def _find_or_stated(images: Images, query: Query, known: Image) -> Image | Unknown:
    found = await images.find(msgspec.structs.replace(query, budget=min(query.budget, KNOWN_IMAGE_BUDGET)))
    # Content that runtimes may read differently is no gap in our knowledge, which is all that the operator may fill.
    return known if isinstance(found, Unknown) and found.cause != "invalid" else found


_NOWHERE = frozenset({"notFound", "unauthorized", "unreachable"})


def _service_account(workload: Workload) -> str:
    """Whose pull secrets a template's Pods will be given: either their own or, all of them, the ServiceAccount's.

    Source: kubernetes plugin/pkg/admission/serviceaccount/admission.go (Admit)
    """
    if workload.is_pod or workload.spec.image_pull_secrets:
        return ""
    return workload.spec.service_account_name or "default"


def stated(spec: PolicySpec, image: str) -> Image | None:
    """The identity that the operator has stated for an image; None where there is none."""
    for each in spec.known_images:
        if _knows(each, image):
            return _known_image(each)
    return None


def _knows(known: KnownImage, image: str) -> bool:
    """Whether the operator means this image: by a glob on the normalised reference, or by its digest alone."""
    return bool(matcher((reference.normalised_glob(known.image), f"*@{known.image}"))(reference.normalised(image)))


@lru_cache(maxsize=1024)
def _known_image(known: KnownImage) -> Image:
    """The image as the operator has stated it, in place of the image's own accounts."""
    config = Config(User(str(known.uid), uid=known.uid), Platform("linux", "any"))
    numbers = ResolvedIds(known.uid, known.gid, tuple(sorted({known.gid, *known.groups})))
    return Image("", (PlatformImage(config, accounts=numbers),), source="known")


def _no_group(workload: Workload, own: Effective) -> bool:
    """Whether OpenShift has chosen the Pod's context: then a uid is all that we add, and a group cannot be kept."""
    return own.run_as_group is None and OPENSHIFT_SCC in (workload.pod_metadata.annotations or {})


def _assigned(assign: Assign, subject: Subject) -> Injection | None:
    """The numbers for a root image; those of its own only where its layers leave no doubt."""
    if assign.uid != "FromImage":
        return Injection(assign.uid, assign.gid)
    found = subject.suggested
    if found is None or found.confidence != "high":
        return None
    subject.image_fs_group = found.fs_group
    return Injection(found.uid, found.gid if assign.gid is None else assign.gid)


def _assignable(assign: Assign, subject: Subject) -> bool:
    """The image is listed, and its USER is empty or 0 on every platform; a name is never overridden."""
    image = reference.normalised(subject.slot.container.image or "")
    return bool(image_matcher(assign.images)(image)) and all(
        not each.user.uid and not each.user.name for each in subject.identities
    )

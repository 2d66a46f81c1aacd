"""The one function behind every door: a workload under a policy -> Verdict."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

import msgspec

from webhook import identity, kubelet, node, reference, rules
from webhook.accounts import Accounts
from webhook.errors import InvalidReference
from webhook.finding import Subject
from webhook.identity import Answer, Drift, Identity, Injection
from webhook.image import Config, Image, Images, Platform, PlatformImage, Query, Unknown, User
from webhook.patch import OPENSHIFT_SCC
from webhook.pod import Effective, Slot, Workload, effective
from webhook.podspec import Container
from webhook.policy import Assign, KnownImage, NonRootException, PolicySpec, matcher
from webhook.scope import Governing, release
from webhook.verdict import ContainerVerdict, Verdict, decide

_NO_GROUP = "runAsGroup {} would be needed, which is not written where OpenShift's SCC has set the security context"
KNOWN_BUDGET = 0.3  # seconds granted to the registry where the policy already knows the image


class _Case(msgspec.Struct):
    """A container on its way to a Subject."""

    slot: Slot
    effective: Effective
    image: str  # the normalised reference, or the text as it stands where it is none
    os: str
    found: Image | Unknown | None = None


async def judge(
    workload: Workload,
    governing: Governing,
    images: Images,
    *,
    namespace: str,
    budget: float,
    now: datetime,
    exceptions: Iterable[NonRootException] = (),
    slots: tuple[Slot, ...] | None = None,
    injects: bool | None = None,
) -> Verdict:
    """Judge `slots` (every container where None) of a workload as it stands.

    `injects` overrides what the policy would patch. Images are asked for all at once and each waits `budget` seconds at
    most; an image is only asked for where the spec does not say the user. What cannot be told is a state of its own,
    never an exception.
    """
    spec = governing.policy.spec
    injects = governing.injects if injects is None else injects
    os = node.operating_system(workload.spec)
    cases = [
        _Case(slot, effective(slot.container, workload.context), _normalised(slot.container.image or ""), os)
        for slot in (workload.slots() if slots is None else slots)
    ]
    released = [release(governing, exceptions, workload, case.slot, case.image, now) for case in cases]
    asked = [
        case
        for case, why in zip(cases, released, strict=True)
        if (why is None or why.rules) and case.slot.container.image and kubelet.needs_image(case.effective, case.os)
    ]
    if len(asked) == 1:
        asked[0].found = await _find(asked[0], workload, spec, images, namespace, budget)
    elif asked:
        searches = (_find(case, workload, spec, images, namespace, budget) for case in asked)
        for case, found in zip(asked, await asyncio.gather(*searches), strict=True):
            case.found = found
    subjects = [_subject(workload, case, spec, injects) for case in cases]
    injected = slots is None and any(subject.planned is not None for subject in subjects)
    uids = tuple(subject.written_uid for subject in subjects) if injected else ()
    containers: list[ContainerVerdict] = []
    for subject, why in zip(subjects, released, strict=True):
        whole = msgspec.structs.replace(subject, uids=uids) if uids else subject
        findings = () if why is not None and not why.rules else rules.check(whole)
        containers.append(decide(whole, findings, why))
    return Verdict(governing, tuple(containers))


@lru_cache(maxsize=16384)
def _normalised(image: str) -> str:
    try:
        return str(reference.parse(image))
    except InvalidReference:  # told by the image source, where the image is needed at all
        return image


async def _find(
    case: _Case, workload: Workload, spec: PolicySpec, images: Images, namespace: str, budget: float
) -> Image | Unknown:
    """The image from its source, or else as the operator knows it; a source's answer wins over the operator's."""
    container: Container = case.slot.container
    known = next((each for each in spec.known_images if _knows(each, case.image)), None)
    found = await images.find(
        Query(
            reference=container.image or "",
            os=case.os,
            architectures=node.architectures(workload.spec),
            namespace=namespace,
            pull_secrets=tuple(secret.name for secret in workload.spec.image_pull_secrets or () if secret.name),
            service_account=_service_account(workload),
            always_pull=container.image_pull_policy == "Always",
            budget=min(budget, KNOWN_BUDGET) if known else budget,
        )
    )
    if isinstance(found, Image):
        return found if found.platforms else Unknown("notFound", f"it has nothing for the nodes of the Pod ({case.os})")
    # Content that runtimes may read differently is no gap in our knowledge, which is all that the operator may fill.
    return _known_image(known) if known and found.cause != "invalid" else found


def _service_account(workload: Workload) -> str:
    """Whose pull secrets a template's Pods will be given: either their own or, all of them, the ServiceAccount's.

    Source: kubernetes plugin/pkg/admission/serviceaccount/admission.go (Admit)
    """
    if workload.is_pod or workload.spec.image_pull_secrets:
        return ""
    return workload.spec.service_account_name or "default"


def _knows(known: KnownImage, image: str) -> bool:
    """Whether the operator means this image: by a glob on the normalised reference, or by its digest alone."""
    return bool(matcher((known.image, f"*@{known.image}"))(image))


def _known_image(known: KnownImage) -> Image:
    """What the operator says, as the image's own accounts would say it."""
    config = Config(User(str(known.uid), uid=known.uid), Platform("linux", "any"))
    groups = "".join(f"known{gid}:x:{gid}:known\n" for gid in known.groups)
    accounts = Accounts(f"known:x:{known.uid}:{known.gid}::/:\n".encode(), groups.encode())
    return Image("", (PlatformImage(config, accounts=accounts),), source="known")


def _subject(workload: Workload, case: _Case, spec: PolicySpec, injects: bool) -> Subject:
    answers: tuple[Answer, ...] = ()
    planned: Injection | Drift | None = None
    assigned = False
    if isinstance(case.found, Image):
        answers = identity.answers(case.found, case.os)
        if case.os == "linux":
            strict = workload.context.supplemental_groups_policy == "Strict"
            planned = _plan(case.found, answers, case.effective.run_as_group, strict)
            if spec.assign is not None and injects and _assignable(spec.assign, case.image, answers):
                planned, assigned = Injection(spec.assign.uid, spec.assign.gid), True
            if isinstance(planned, Injection) and planned.gid is not None and _no_group(workload, case.effective):
                planned, assigned = None if assigned else Drift(_NO_GROUP.format(planned.gid)), False
    return Subject(
        workload=workload,
        slot=case.slot,
        os=case.os,
        effective=case.effective,
        policy=spec,
        injects=injects,
        found=case.found,
        answers=answers,
        planned=planned,
        assigned=assigned,
    )


def _no_group(workload: Workload, own: Effective) -> bool:
    """Whether OpenShift has chosen the Pod's context: then a uid is all that we add, and a group cannot be kept."""
    return own.run_as_group is None and OPENSHIFT_SCC in (workload.pod_metadata.annotations or {})


def _plan(
    image: Image, answers: tuple[Answer, ...], run_as_group: int | None, strict: bool
) -> Injection | Drift | None:
    """The one set of numbers that is right on every platform; None where there is none or somebody is root."""
    if not all(isinstance(answer.identity, Identity) and answer.identity.uid for answer in answers):
        return None
    plans = {identity.injection(each.config.user, each.accounts, run_as_group, strict) for each in image.platforms}
    drift = next((plan for plan in plans if isinstance(plan, Drift)), None)
    return drift or (plans.pop() if len(plans) == 1 else None)


def _assignable(assign: Assign, image: str, answers: tuple[Answer, ...]) -> bool:
    """The image is listed, and its USER is empty or 0 on every platform; a name is never overridden."""
    return bool(matcher(assign.images)(image)) and all(not each.user.uid and not each.user.name for each in answers)

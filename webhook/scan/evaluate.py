"""The evaluation of a scanned workload: what becomes of its next Pods once their namespace is enforced.

The one evaluation, under the policy that is in force, with the mode that could be: Enforce, which injects unless the
policy says never.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache

import msgspec
import yaml

from webhook.admission import decision
from webhook.evaluation import patch
from webhook.evaluation.documentation import rule_url
from webhook.evaluation.evaluator import evaluate, stated
from webhook.evaluation.finding import Finding as Fault
from webhook.evaluation.finding import describe_user
from webhook.evaluation.verdict import ContainerVerdict, State, Verdict, denies, worst
from webhook.image import reference
from webhook.image.source import NOT_EXAMINED, Image, Images
from webhook.image.user import Identity, Injection, PlatformIdentity, platform_identities
from webhook.policy.cache import PolicyLister
from webhook.policy.exemptions import CONTROLLERS, exempt
from webhook.policy.selection import EffectivePolicy
from webhook.policy.types import NonRootException
from webhook.scan import document, expiry
from webhook.scan.document import LEFT_OUT, OUTCOMES, Container, Finding, Running
from webhook.scan.inventory_item import InventoryItem, ObservedContainer, PodVariant
from webhook.workload.container_status import mismatch
from webhook.workload.podspec import OwnerReference
from webhook.workload.storage import UNKNOWN, Storage
from webhook.workload.workload import Slot, Workload

IMAGE_BUDGET = 600.0  # seconds; the registry client gives up on an image long before

_NEW_UID = 1001  # for a user that the image does not have yet, as the rules' documentation has it
_BETWEEN = {"Deployment": "ReplicaSet", "CronJob": "Job"}
_REBUILT = frozenset(
    {"named-user", "root-image", "invalid-user", "unresolvable-user", "platforms-disagree", "identity-drift"}
)


async def predict(
    found: InventoryItem,
    view: PolicyLister,
    images: Images,
    now: datetime,
    exemption: str = "",
    *,
    asked_today: bool = True,
    storage: Storage = UNKNOWN,
) -> document.Workload:
    """Evaluate a workload. `images` answers as `webhook.image.source.Images` does, or with `NOT_EXAMINED`.

    `exemption` is why admission never sees it, where that is known already; not `asked_today` is admission where no hook
    that is installed sends it the Pods of the namespace as its labels stand, and so it allows them.
    """
    namespace = found.reference.namespace
    effective_policy = view.effective_policy(namespace)
    exceptions = view.exceptions(namespace)
    reason = ""
    containers: dict[object, Container] = {}
    replies: list[decision.AdmissionDecision] = []
    for variant in found.variants:
        workload = _made(variant.workload)
        why = exempt(effective_policy.policy.spec, namespace, _maker(found.reference.kind), workload)
        exempted = exemption or (f"exempt: {why}" if why else "")
        if exempted:
            reason = exempted
            slots = workload.slots() if variant.slots is None else variant.slots
            results = [_exempted(slot, exempted, found) for slot in slots]
        else:
            enforced = msgspec.structs.replace(effective_policy, mode="Enforce")
            verdict = await _evaluate(workload, variant, enforced, exceptions, images, now, storage)
            results = [_container(each, verdict, found, exceptions, now) for each in verdict.containers]
            if effective_policy.mode == "Warn":  # where injection may be off
                verdict = await _evaluate(workload, variant, effective_policy, exceptions, images, now, storage)
            if asked_today:
                replies.append(decision.admission_decision(_patched(verdict, effective_policy), patched=True))
        for each in results:
            containers.setdefault((each.kind, each.name, each.image, each.state), each)
    denied = any(each.code != 200 for each in replies)
    warned = any(each.warnings for each in replies)
    return document.Workload(
        kind=found.reference.kind,
        namespace=namespace,
        name=found.reference.name,
        policy=effective_policy.policy.metadata.name,
        mode=effective_policy.mode,
        outcome=OUTCOMES[worst(each.state for each in containers.values())],
        today="deny" if denied else "warn" if warned else "allow",
        reason=reason,
        pods=found.pods,
        containers=tuple(containers.values()),
        api_version=found.reference.api_version,
        object_uid=found.reference.uid,
    )


def _made(workload: Workload) -> Workload:
    """A template that exceptions know by all the names under which admission will see its Pods."""
    if workload.is_pod:
        return workload
    name = workload.name
    if workload.kind in _BETWEEN:
        name = f"{name}-"
    owners = (_owner(_BETWEEN.get(workload.kind, workload.kind), name), _owner("Pod", f"{name}-"))
    metadata = msgspec.structs.replace(workload.metadata, owner_references=owners)
    return msgspec.structs.replace(workload, metadata=metadata)


def _owner(kind: str, name: str) -> OwnerReference:
    group = CONTROLLERS[kind].group if kind in CONTROLLERS else ""
    return OwnerReference(kind, name, controller=True, api_version=f"{group}/v1" if group else "v1")


def _maker(kind: str) -> str:
    """The user who asks for the Pods; nobody knows who would make a bare one."""
    controller = CONTROLLERS.get(_BETWEEN.get(kind, kind))
    return controller.user if controller is not None else ""


async def _evaluate(
    workload: Workload,
    variant: PodVariant,
    effective_policy: EffectivePolicy,
    exceptions: Sequence[NonRootException],
    images: Images,
    now: datetime,
    storage: Storage,
) -> Verdict:
    return await evaluate(
        workload,
        effective_policy,
        images,
        namespace=workload.metadata.namespace or "",
        budget=IMAGE_BUDGET,
        now=now,
        exceptions=exceptions,
        slots=variant.slots,
        added=variant.slots is not None,
        storage=storage,
    )


def _patched(verdict: Verdict, effective_policy: EffectivePolicy) -> Verdict:
    """The verdict as /validate reaches it: after /mutate, and with nothing said of what was left out."""
    containers = tuple(
        msgspec.structs.replace(
            each, state="compliant", findings=tuple(fault for fault in each.findings if not each.fixes(fault))
        )
        if each.state == "fixable"
        else each
        for each in verdict.containers
        if each.subject.image is not NOT_EXAMINED
    )
    return Verdict(effective_policy, containers)


def _exempted(slot: Slot, why: str, found: InventoryItem) -> Container:
    """A container that is not evaluated; only what it runs as is known."""
    return Container(
        name=slot.container.name,
        kind=slot.kind,
        image=slot.container.image or "",
        digest="",
        user=None,
        uid=None,
        who="not evaluated",
        outcome=OUTCOMES["exempted"],
        reason=why,
        expires_soon=False,
        findings=(),
        path="",
        yaml="",
        running=_running(_observed(found, slot)),
        mismatch=None,
        waiting=found.waiting.get((slot.list, slot.container.name)),
    )


def _container(
    verdict: ContainerVerdict,
    whole: Verdict,
    found: InventoryItem,
    exceptions: Sequence[NonRootException],
    now: datetime,
) -> Container:
    subject = verdict.subject
    left_out = subject.image is NOT_EXAMINED
    fields = patch.injected(verdict)
    observed = tuple(_observed(found, subject.slot))
    return Container(
        name=subject.slot.container.name,
        kind=subject.slot.kind,
        image=subject.slot.container.image or "",
        digest=verdict.digest,
        user=None if _seen_only(subject.image) else subject.user,
        uid=subject.uid,
        who=LEFT_OUT if left_out else describe_user(subject),
        outcome=OUTCOMES[_state(verdict, changes=bool(fields))],
        reason=verdict.exemption.reason if verdict.exemption else expiry.lapsed(verdict),
        expires_soon=expiry.ends_soon(verdict, whole, exceptions, now),
        findings=() if left_out else tuple(_finding(fault, verdict) for fault in verdict.findings),
        path=subject.field("").rstrip("."),
        yaml=_yaml(msgspec.json.encode(fields)) if fields else "",
        running=_running(observed),
        mismatch=next(filter(None, (_mismatch(each, verdict) for each in observed)), None),
        waiting=found.waiting.get((subject.slot.list, subject.slot.container.name)),
        exceptions=verdict.exemption.exceptions if verdict.exemption else (),
    )


def _seen_only(image: object) -> bool:
    """Whether only nodes have shown who the image is: then its USER may be a name or a number, and is not known."""
    return isinstance(image, Image) and image.source == "observed"


def _state(verdict: ContainerVerdict, *, changes: bool) -> State:
    on_unknown = verdict.subject.policy.on_unknown
    if verdict.subject.image is NOT_EXAMINED:
        return "unknown"
    if any(denies(fault, verdict, on_unknown) for fault in verdict.findings):
        return "denied"
    if verdict.state in {"unknown", "exempted"}:
        return verdict.state
    return "fixable" if changes or any(map(verdict.fixes, verdict.findings)) else "compliant"


def _finding(fault: Fault, verdict: ContainerVerdict) -> Finding:
    denied = denies(fault, verdict, verdict.subject.policy.on_unknown)
    return Finding(
        rule=fault.rule,
        severity="note" if verdict.fixes(fault) else "error" if denied else fault.severity,
        message=f"{fault.reason}: {fault.detail}",
        fix=fault.fix,
        dockerfile=_user_line(fault, verdict) if fault.rule in _REBUILT else "",
        url=rule_url(fault.rule),
    )


def _user_line(fault: Fault, verdict: ContainerVerdict) -> str:
    """The last instruction of the image's Dockerfile: by its number, the user that it names, is made for, or is to make.

    "" of a root image that does not say whom it is made for: as anybody else it may not run.
    """
    subject = verdict.subject
    if fault.rule == "named-user" and isinstance(subject.planned, Injection):
        return f"USER {subject.planned.replacing(subject.identities[0].user)}"
    if fault.rule == "root-image":
        suggested = subject.suggested
        return f"USER {suggested.uid}" if suggested else ""
    return f"USER {subject.uid if fault.rule == 'named-user' and subject.uid else _NEW_UID}"


@lru_cache(maxsize=1024)
def _yaml(fields: bytes) -> str:
    """JSON as YAML in block style, one field a line."""
    return yaml.safe_dump(msgspec.json.decode(fields), sort_keys=False, default_flow_style=None)


def _observed(found: InventoryItem, slot: Slot) -> Iterator[ObservedContainer]:
    """The observations of the container of that name, whatever its image is at the moment."""
    for each in found.observed:
        if (each.running.slot.list, each.running.slot.container.name) == (slot.list, slot.container.name):
            yield each


def _running(observed: Iterator[ObservedContainer] | tuple[ObservedContainer, ...]) -> tuple[Running, ...]:
    """The distinct identities, those of the most Pods first."""
    pods: dict[tuple[int, int, tuple[int, ...]], int] = {}
    for each in observed:
        key = (each.running.uid, each.running.gid, each.running.groups)
        pods[key] = pods.get(key, 0) + each.pods
    return tuple(Running(*key, count) for key, count in sorted(pods.items(), key=lambda item: (-item[1], item[0])))


def _mismatch(observed_container: ObservedContainer, verdict: ContainerVerdict) -> str | None:
    """The difference to the prediction: by the Pod's own spec, by its image where the same one is known, by the operator."""
    subject, running = verdict.subject, observed_container.running
    predicted: list[Sequence[Identity]] = []
    if running.effective.run_as_user is not None:
        predicted.append([Identity(running.effective.run_as_user)])
    if _image(running.slot) == _image(subject.slot):
        if isinstance(subject.image, Image) and subject.image.digest in {"", running.digest}:
            predicted.append(_identities(subject.identities))
        operators = stated(subject.policy, subject.slot.container.image or "")
        if operators is not None:
            predicted.append(_identities(platform_identities(operators, subject.os)))
    return next(filter(None, (mismatch(observed_container.pod, running, each) for each in predicted)), None)


def _identities(results: Sequence[PlatformIdentity]) -> list[Identity]:
    return [each.identity for each in results if isinstance(each.identity, Identity)]


def _image(slot: Slot) -> str:
    return reference.normalised(slot.container.image or "")

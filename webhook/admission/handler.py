"""The admission handler: it evaluates the Pod of a review, and answers as the hook and the mode want it.

The early exits stand in a fixed order, each with its own audit annotation: subresource, deletion, mirror Pod,
exemption, nothing significant changed; then the work. Sources: k8s.io/pod-security-admission admission/admission.go
(ignoredPodSubresources, isSignificantPodUpdate); kubernetes pkg/apis/core/validation/validation.go (ValidatePodUpdate:
securityContext is immutable, so nothing is patched on update).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from webhook.admission import decision as decision_
from webhook.admission import response
from webhook.admission.decision import AdmissionDecision
from webhook.admission.response_cache import CachedResponse, RecordingSource, ResponseCache
from webhook.admission.retry_window import RetryWindow
from webhook.admission.review import Review, absent
from webhook.admission.shape import shape_of
from webhook.errors import MalformedObject
from webhook.evaluation import patch
from webhook.evaluation.documentation import more
from webhook.evaluation.evaluator import evaluate
from webhook.evaluation.finding import Finding, describe_user
from webhook.evaluation.patch import Operation
from webhook.evaluation.verdict import Verdict
from webhook.image.source import Images
from webhook.policy.cache import PolicyLister
from webhook.policy.exemptions import exempt
from webhook.policy.selection import EffectivePolicy
from webhook.text import quoted, shortened
from webhook.workload import annotations as annotations_
from webhook.workload import lengths
from webhook.workload import workload as pod
from webhook.workload.annotations import MIRROR_ANNOTATION
from webhook.workload.workload import Slot, Workload

WebhookKind = Literal["mutate", "validate", "enforce"]  # "enforce" is "validate" for namespaces that carry the label

WARN_BUDGET = 0.3  # seconds that mode Warn waits for an image
ENFORCE_BUDGET = 3.5  # seconds at most; the hooks' own timeout is 5
NAMESPACE_WAIT = 0.5  # seconds that a namespace may take to be seen, after it was made
NAMESPACE_WAIT_TRIES = 25
SMALL_POD_CONTAINERS = 16  # containers of a Pod that is always evaluated: nearly every Pod
LARGE_PODS_CONTAINERS = 10_000  # of all Pods with more, together: each takes some KiB until its Pod is answered
_EVALUATED_SUBRESOURCES = frozenset({"", "ephemeralcontainers"})
_UNRESERVED = contextlib.nullcontext()
_FORMER_WORDS = {"compliant": "fine", "denied": "refused", "exempted": "skipped"}  # of the annotation `verdict`
_DECISIONS = {200: "allow", 403: "deny", 429: "retry"}
AUDIT_LIMIT = 2000  # characters of an audit annotation
NAMESPACE_LIMIT = 253  # characters of a namespace's name that is remembered: an API server's is never longer

log = logging.getLogger(__name__)


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """An answer and its reasons, for metrics, events and logs. `message` is that of a refusal."""

    body: bytes
    hook: WebhookKind
    decision: str
    effective_policy: EffectivePolicy | None = None
    workload: Workload | None = None
    findings: tuple[Finding, ...] = ()
    message: str = ""
    operations: int = 0
    exempted: int = 0  # containers


class Admission:
    """Answers reviews from a view of policies and a source of images."""

    def __init__(self, view: PolicyLister, images: Images, clock: Callable[[], float] = time.monotonic) -> None:
        self._view = view
        self._images = images
        self._pending: RetryWindow[tuple[str, int]] = RetryWindow(clock)  # a namespace and the hash of a set of images
        self._unpatched: RetryWindow[str] = RetryWindow(clock)  # a namespace whose Pods lack what /mutate would write
        self._large_pod_containers = 0  # containers of large Pods
        self._responses = ResponseCache()

    async def review(self, review: Review, hook: WebhookKind, timeout: float = ENFORCE_BUDGET) -> Outcome:
        """Answer one review within `timeout` seconds, whatever is in it.

        By the hook `enforce` the API server asks about namespaces that carry the label, which it has read itself: the
        mode is Enforce then, even where our view has not seen the namespace yet, or is an old one. So an old view need
        not make a replica unready, which would shut the enforced namespaces and open all others.
        """
        enforced = hook == "enforce"
        if enforced:
            hook = "validate"
        try:
            return await self._review(review, hook, timeout, enforced=enforced)
        except (MalformedObject, _NotEvaluated) as error:
            retry, reason = isinstance(error, _NotEvaluated) and error.retry, str(error)
        except Exception:
            log.exception("a review was not evaluated")
            retry, reason = True, "the webhook failed to evaluate it, which its log explains"
        return self.unchecked(review.uid, review.namespace, "enforce" if enforced else hook, reason, retry=retry)

    def unchecked(self, uid: str, namespace: str, hook: WebhookKind, reason: str, *, retry: bool) -> Outcome:
        """The answer to a review that was not evaluated: refused where the namespace is enforced, else let through.

        `retry`: there may be room, or no bug, the next time. An HTTP error instead would be admitted by any hook that
        fails open.
        """
        rule = self._effective_policy(namespace, enforced=hook == "enforce")
        hook = "validate" if hook == "enforce" else hook
        if rule.mode != "Enforce" or (hook == "mutate" and not retry):
            return _pass(uid, hook, f"not evaluated: {reason}"[:AUDIT_LIMIT], rule)
        return _refuse(uid, hook, rule, 429 if retry else 403, reason)

    async def _review(self, review: Review, hook: WebhookKind, timeout: float, *, enforced: bool) -> Outcome:
        if review.sub_resource not in _EVALUATED_SUBRESOURCES or review.operation not in {"CREATE", "UPDATE"}:
            return _pass(review.uid, hook, "subresource")
        if hook == "mutate" and (
            review.kind.kind != "Pod" or (review.operation == "UPDATE" and not review.sub_resource)
        ):
            return _pass(review.uid, hook, "nothing-to-patch")
        workload = pod.decode(review.kind.kind, review.object)
        if workload is None:
            return _pass(review.uid, hook, "no-pod-spec")
        workload = lengths.bounded(workload)
        metadata = workload.metadata
        if metadata.deletion_timestamp is not None and review.operation == "UPDATE":
            return _pass(review.uid, hook, "deleting")
        if workload.is_pod and MIRROR_ANNOTATION in (metadata.annotations or {}):
            return _pass(review.uid, hook, "mirror-pod")
        namespace = (review.namespace or metadata.namespace or "")[: NAMESPACE_LIMIT + 1]
        if not self._view.knows(namespace):
            await self._wait_for_namespace(namespace)
        if hook == "mutate" and self._unpatched:
            self._unpatched.forget(namespace)  # the API server reaches us, so another try may bring the patch
        effective_policy = self._effective_policy(namespace, enforced=enforced)
        why = exempt(effective_policy.policy.spec, namespace, review.user_info.username, workload)
        if why is not None:
            return _pass(review.uid, hook, f"exempt: {why}", effective_policy)
        if hook == "mutate" and not effective_policy.injects:
            return _pass(review.uid, hook, "not-injecting", effective_policy)
        slots = _significant(review, workload)
        if slots == ():
            return _pass(review.uid, hook, "insignificant", effective_policy)
        exceptions = self._view.exceptions(namespace, workload)
        shape = entry = None
        if workload.is_pod and review.operation == "CREATE" and not exceptions:
            shape = shape_of(hook, namespace, workload)
        if shape is not None:
            entry = await self._responses.find(shape, effective_policy, self._images, dry_run=review.dry_run)
        if entry is None:
            images = RecordingSource(self._images, dry_run=review.dry_run)
            patchable = not workload.is_pod or review.operation == "CREATE" or bool(review.sub_resource)
            keeps = shape is not None and self._responses.has_seen(shape)
            evaluated = workload if shape is None else shape.pod(nameless=keeps)
            with self._reserve(workload) if workload.size > SMALL_POD_CONTAINERS else _UNRESERVED:
                verdict = await evaluate(
                    evaluated,
                    effective_policy,
                    images,
                    namespace=namespace,
                    exceptions=exceptions,
                    slots=slots,
                    injects=effective_policy.injects and patchable,
                    budget=_budget(effective_policy, workload, timeout),
                    now=datetime.now(UTC),
                    requester=review.user_info.username,
                )
            pending = _pending_images(verdict) if workload.is_pod else []  # a template waits for none
            missed = hook == "validate" and workload.is_pod and _missed(verdict)
            may_retry = bool(pending) and self._pending.is_open((namespace, hash(tuple(pending))))
            if missed and len(namespace) <= NAMESPACE_LIMIT:
                may_retry |= self._unpatched.is_open(namespace)
            entry = self._answer(review, hook, evaluated, verdict, may_retry)
            if shape is not None and keeps:
                if not pending and not missed:
                    self._responses.keep(shape, entry, images)
                entry = entry.named(shape.names)
        if entry.decision == "deny" and workload.is_pod and not self._view.knows(namespace):
            return _refuse(review.uid, hook, effective_policy, 429, f"{_unseen(namespace)}: {entry.message}")
        return Outcome(
            response.addressed(review.uid, entry.encoded),
            hook,
            entry.decision,
            effective_policy,
            workload,
            entry.findings,
            entry.message,
            entry.operations,
            entry.exempted,
        )

    @contextlib.contextmanager
    def _reserve(self, workload: Workload) -> Iterator[None]:
        """Room for a large Pod until it is evaluated; `_NotEvaluated` where there is none."""
        size = workload.size
        if size > LARGE_PODS_CONTAINERS:
            raise _NotEvaluated(
                f"{size} containers are more than the {LARGE_PODS_CONTAINERS} that are evaluated at most: make several Pods"
            )
        if self._large_pod_containers + size > LARGE_PODS_CONTAINERS:
            raise _NotEvaluated(
                f"{self._large_pod_containers} containers of large Pods are being evaluated: try again in a second",
                retry=True,
            )
        self._large_pod_containers += size
        try:
            yield
        finally:
            self._large_pod_containers -= size

    def _effective_policy(self, namespace: str, *, enforced: bool) -> EffectivePolicy:
        """The policy in force; in mode Enforce where the API server said so, or where we cannot place the namespace.

        A view that has not seen a namespace cannot tell which labels it has, and so which policies select it.
        """
        found = self._view.effective_policy(namespace)
        if found.mode == "Enforce":
            return found
        if enforced:
            why = f"{found.why}; the API server asks by the hook of enforced namespaces"
        elif self._view.may_enforce and not self._view.knows(namespace):
            why = f"{found.why}; the namespace has not been seen yet, and some policy enforces"
        else:
            return found
        return msgspec.structs.replace(found, mode="Enforce", why=why)

    async def _wait_for_namespace(self, namespace: str) -> None:
        """Wait for a namespace, and its labels, that the API server has created and the watch has not delivered yet."""
        for _ in range(NAMESPACE_WAIT_TRIES):
            await asyncio.sleep(NAMESPACE_WAIT / NAMESPACE_WAIT_TRIES)
            if self._view.knows(namespace):
                return

    def _answer(
        self, review: Review, hook: WebhookKind, workload: Workload, verdict: Verdict, may_retry: bool
    ) -> CachedResponse:
        operations: list[Operation] = []
        if hook == "validate":
            answer = decision_.admission_decision(verdict, template=not workload.is_pod, may_retry=may_retry)
        elif may_retry and (waiting := decision_.admission_decision(verdict, may_retry=True)).code == 429:
            answer = waiting
        else:
            answer = AdmissionDecision(200, warnings=decision_.advise(verdict))
            operations = patch.operations(verdict, workload, annotate=not review.sub_resource)
        audit = _audit(hook, verdict, operations, workload.metadata.annotations or {})
        return CachedResponse(
            response.encode(answer, operations, audit),
            _DECISIONS[answer.code],
            verdict.effective_policy,
            verdict.findings,
            answer.message,
            len(operations),
            [each.state for each in verdict.containers].count("exempted"),
        )


class _NotEvaluated(Exception):  # an outcome, not an error
    """A Pod was not evaluated for want of room; `retry`: there may be some in a moment."""

    def __init__(self, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.retry = retry


def _pending_images(verdict: Verdict) -> list[str]:
    """The images that a Pod may be kept waiting for, in mode Enforce."""
    if verdict.effective_policy.mode != "Enforce":
        return []
    return sorted({finding.image for finding in verdict.findings if finding.cause == "pending"})


def _missed(verdict: Verdict) -> bool:
    """Whether a Pod of an enforced namespace lacks what /mutate would have written."""
    if verdict.effective_policy.mode != "Enforce":
        return False
    for each in verdict.containers:  # noqa: SIM110  # any() and a generator take twice as long, for every review
        if each.state == "fixable" or each.missed:
            return True
    return False


def _unseen(namespace: str) -> str:
    return f"the webhook has not seen the namespace {quoted(namespace)} yet, and evaluates it as enforced: try again"


def _refuse(
    uid: str, hook: WebhookKind, effective_policy: EffectivePolicy, code: Literal[403, 429], reason: str
) -> Outcome:
    """The answer that refuses without a verdict."""
    return Outcome(
        response.addressed(uid, response.encode(AdmissionDecision(code, reason))),
        hook,
        _DECISIONS[code],
        effective_policy,
        message=reason,
    )


def _pass(uid: str, hook: WebhookKind, why: str, effective_policy: EffectivePolicy | None = None) -> Outcome:
    return Outcome(response.addressed(uid, response.encode(audit={"skipped": why})), hook, "skip", effective_policy)


def _significant(review: Review, workload: Workload) -> tuple[Slot, ...] | None:
    """The containers to evaluate: all of them (None), or on an update those that are new or whose image changed."""
    if review.operation == "CREATE":
        return None
    old = None if absent(review.old_object) else pod.decode(review.kind.kind, review.old_object)
    if old is None:
        return None
    if not workload.is_pod:
        return () if old.spec == workload.spec else None
    before = {(slot.list, slot.container.name): slot.container.image for slot in old.slots()}
    return tuple(
        slot
        for slot in workload.slots()
        if before.get((slot.list, slot.container.name)) != slot.container.image
        and (not review.sub_resource or slot.kind == "ephemeral")
    )


def _budget(effective_policy: EffectivePolicy, workload: Workload, timeout: float) -> float:
    """The seconds that the user may be kept waiting: long only where the answer could be a refusal."""
    if effective_policy.mode == "Audit" and not (workload.is_pod and effective_policy.injects):
        return 0.0
    refuses = effective_policy.mode == "Enforce" and (
        workload.is_pod or effective_policy.policy.spec.templates == "Deny"
    )
    return min(ENFORCE_BUDGET if refuses else WARN_BUDGET, timeout)


def _audit(
    hook: WebhookKind, verdict: Verdict, operations: list[Operation], annotations: Mapping[str, str]
) -> dict[str, str] | None:
    """Annotations for the API server's audit log, each hook with keys of its own.

    A reinvoked hook may not say something else under the same key, so /mutate speaks only when it patches, and once.
    """
    if hook == "mutate" and (not operations or annotations_.ANNOTATION in annotations):
        return None
    state, findings, effective_policy = verdict.state, verdict.findings, verdict.effective_policy
    identities = "; ".join(
        [f"{each.subject.slot.container.name}: {describe_user(each.subject)}" for each in verdict.containers]
    )
    notes = {
        "policy": effective_policy.policy.metadata.name,
        "mode": effective_policy.mode,
        "state": state,
        "verdict": _FORMER_WORDS.get(state, state),
        "identities": identities[:AUDIT_LIMIT],
    }
    if hook == "validate" and findings:
        notes["findings"] = shortened(
            "; ".join([finding.message for finding in findings]), AUDIT_LIMIT, more(findings[0].rule)
        )
    return notes

"""Events on the owners of Pods that are denied, would be in mode Enforce, or are admitted though their image is unknown.

A controller does not show anybody the answer to its request, so it stands where its owner looks: `kubectl describe`. Nothing of
this happens before the answer is sent.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import msgspec

from webhook.admission import decision
from webhook.admission.handler import Outcome
from webhook.admission.review import Review
from webhook.cluster.events import Event, Regarding
from webhook.cluster.workqueue import WorkQueue
from webhook.evaluation.documentation import more
from webhook.evaluation.evaluator import evaluate
from webhook.image.source import Images
from webhook.policy.cache import PolicyLister
from webhook.policy.selection import EffectivePolicy
from webhook.workload.workload import Workload

DRY_RUN_IMAGE_BUDGET = (
    30.0  # seconds for an image: what is reported once may not be met again; but one Pod is looked at after the other
)
DRY_RUN_POD_LIMIT = (
    16 * 1024
)  # bytes of a Pod that may wait to be evaluated anew; its review may be megabytes, and is let go
_SEVERE = frozenset({"error", "unknown"})


class DenialEvents:
    """Looks at what was answered. What Enforce would say is evaluated anew, one at a time, by `dry_runs`: its owner runs it."""

    def __init__(self, view: PolicyLister, images: Images, record: Callable[[Event], None]) -> None:
        self._view = view
        self._images = images
        self._record = record
        self.dry_runs = WorkQueue("dry runs of denials")

    def observe(self, review: Review, outcome: Outcome) -> None:
        """Record an Event about one answer if it denies, would deny, or allows an image that could not be read; never blocks.

        Of a dry run nothing is recorded.
        """
        workload, effective_policy = outcome.workload, outcome.effective_policy
        if workload is None or effective_policy is None or outcome.hook != "validate" or review.dry_run:
            return
        if not any(each.severity in _SEVERE for each in outcome.findings):
            return
        if not workload.is_pod:
            return  # its author has the response, and its Pods come next
        about = _regarding(review.namespace, workload)
        if outcome.decision == "deny":
            if about.kind != "Pod" or review.operation == "UPDATE":  # else its author has the response
                self._write_event(about, "PodDenied", outcome.message)
        elif effective_policy.mode == "Enforce":
            unread = [each for each in outcome.findings if each.severity == "unknown"]
            if unread and outcome.decision == "allow":
                said = "; ".join([each.message for each in unread[: decision.MESSAGE_LIMIT]])
                self._write_event(about, "ImageNotRead", said + more(unread[0].rule))
        elif review.operation == "CREATE":
            if len(msgspec.msgpack.encode(workload)) > DRY_RUN_POD_LIMIT:
                return
            images = tuple(slot.container.image for slot in workload.slots())
            self.dry_runs.add(
                (about, images), partial(self._dry_run, about, workload, effective_policy, review.user_info.username)
            )

    async def _dry_run(
        self, about: Regarding, workload: Workload, effective_policy: EffectivePolicy, requester: str
    ) -> None:
        """Evaluate with everything that Enforce would do, injection included."""
        dry_verdict = await evaluate(
            workload,
            msgspec.structs.replace(effective_policy, mode="Enforce"),
            self._images,
            namespace=about.namespace,
            budget=DRY_RUN_IMAGE_BUDGET,
            now=datetime.now(UTC),
            exceptions=self._view.exceptions(about.namespace),
            requester=requester,
        )
        message = decision.refusal(dry_verdict)
        if message:
            self._write_event(about, "PodWouldBeDenied", f"in mode Enforce this would be refused: {message}")

    def _write_event(self, about: Regarding, reason: str, note: str) -> None:
        self._record(Event(about, "admission", "Admission", reason, note))


def _regarding(namespace: str, workload: Workload) -> Regarding:
    """The controller of a Pod; the Pod itself where it has none."""
    metadata = workload.metadata
    owner = next((each for each in metadata.owner_references or () if each.controller), None)
    if owner is not None:
        return Regarding(owner.api_version, owner.kind, namespace, owner.name, owner.uid)
    return Regarding("v1", "Pod", namespace, metadata.name or "", metadata.uid)

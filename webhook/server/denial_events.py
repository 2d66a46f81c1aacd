"""Events about Pods that are refused, or would be in mode Enforce, on the workload that makes them.

A controller does not show anybody the answer to its request, so what it was told stands where its owner looks: `kubectl
describe`. Nothing of this happens before the answer is sent.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import msgspec

from webhook.admission import decision
from webhook.admission.handler import Outcome
from webhook.admission.review import Review
from webhook.cluster.events import Event, Regarding
from webhook.cluster.workqueue import Writer
from webhook.evaluation.evaluator import judge
from webhook.image.source import Images
from webhook.policy.cache import View
from webhook.policy.selection import Governing
from webhook.workload.workload import Workload

BUDGET = 30.0  # seconds for an image: what is told once may not be met again; but one Pod is looked at after the other
SUPPOSED = 16 * 1024  # bytes of a Pod that may wait to be judged anew; its review may be megabytes, and is let go
_SEVERE = frozenset({"error", "unknown"})


class Denials:
    """Looks at what was answered. What Enforce would say is judged anew, one at a time, by `hypotheses`: its owner runs it."""

    def __init__(self, view: View, images: Images, record: Callable[[Event], None]) -> None:
        self._view = view
        self._images = images
        self._record = record
        self.hypotheses = Writer("hypothetical denials")

    def consider(self, review: Review, outcome: Outcome) -> None:
        """Tell of one answer if there is something to tell, and never of a dry run. Never blocks."""
        workload, governing = outcome.workload, outcome.governing
        if workload is None or governing is None or outcome.door != "validate" or review.dry_run:
            return
        if not any(each.severity in _SEVERE for each in outcome.findings):
            return
        if not workload.is_pod:
            return  # its author was told, and its Pods come next
        about = _regarding(review.namespace, workload)
        if outcome.decision == "deny":
            if about.kind != "Pod" or review.operation == "UPDATE":  # else there is none, and whoever asked was told
                self._tell(about, "PodDenied", outcome.message)
        elif governing.mode != "Enforce" and review.operation == "CREATE":
            if len(msgspec.msgpack.encode(workload)) > SUPPOSED:
                return
            images = tuple(slot.container.image for slot in workload.slots())
            self.hypotheses.offer((about, images), partial(self._suppose, about, workload, governing))

    async def _suppose(self, about: Regarding, workload: Workload, governing: Governing) -> None:
        """Judge with everything that Enforce would do, cures included."""
        supposed = await judge(
            workload,
            msgspec.structs.replace(governing, mode="Enforce"),
            self._images,
            namespace=about.namespace,
            budget=BUDGET,
            now=datetime.now(UTC),
            exceptions=self._view.exceptions(about.namespace),
        )
        message = decision.refusal(supposed)
        if message:
            self._tell(about, "PodWouldBeDenied", f"in mode Enforce this would be refused: {message}")

    def _tell(self, about: Regarding, reason: str, note: str) -> None:
        self._record(Event(about, "admission", "Admission", reason, note))


def _regarding(namespace: str, workload: Workload) -> Regarding:
    """The controller of a Pod; the Pod itself where it has none."""
    metadata = workload.metadata
    owner = next((each for each in metadata.owner_references or () if each.controller), None)
    if owner is not None:
        return Regarding(owner.api_version, owner.kind, namespace, owner.name, owner.uid)
    return Regarding("v1", "Pod", namespace, metadata.name or "", metadata.uid)

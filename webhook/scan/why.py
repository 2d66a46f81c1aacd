"""The explanation of who a workload's containers run as, as `nonroot why` prints it; JSON version 1 of that.

The prediction is the scan's own. What is added is how it comes about: the fields that decide, what the kubelet says to them,
what admission has injected, and where the lines are to be written when somebody else makes the Pod.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from webhook import json_output
from webhook.evaluation.identity_fields import IdentityField, identity_fields, refusal
from webhook.evaluation.verdict import State
from webhook.image.config import parse_user
from webhook.image.source import Images
from webhook.policy.cache import PolicySnapshot
from webhook.policy.selection import Namespace
from webhook.policy.types import Documents
from webhook.scan import document
from webhook.scan.coverage import DEFAULT, Coverage
from webhook.scan.document import UNREACHED, Skip
from webhook.scan.effective_policy import describe_policy, qualified
from webhook.scan.evaluate import predict
from webhook.scan.inventory_item import InventoryItem
from webhook.workload import scheduling
from webhook.workload.annotations import ANNOTATION
from webhook.workload.workload import Slot, Workload


class Target(msgspec.Struct, frozen=True):
    """The workload that is asked about. Of a Pod, `owners` made it, the nearest first, and `template` is the last one's.

    `annotations` are the object's own, as far as they were read.
    """

    kind: str
    name: str
    item: InventoryItem
    owners: tuple[str, ...] = ()
    template: Workload | None = None
    annotations: dict[str, str] = {}


class Injected(msgspec.Struct, frozen=True):
    """The fields that admission has added to a container, or to the Pod where `container` is empty."""

    container: str
    fields: tuple[str, ...]


class Container(document.Container, frozen=True, kw_only=True):
    """A container as `nonroot scan` predicts it, with the `fields` that decide who it runs as.

    `kubelet` is the kubelet's refusal of it as it stands: empty where it starts it, null where that is not known.
    `path` is where `yaml` is to be written in `written_in`, the object that people edit; empty where that one does not have
    the container, because somebody adds it to its Pods.
    """

    fields: tuple[IdentityField, ...]
    kubelet: str | None
    written_in: str


class Why(msgspec.Struct, frozen=True):
    """The whole output of `nonroot why -o json`: one workload.

    `selected` says why `policy` applies to it, `outcome` what becomes of its next Pods once the namespace is enforced, `today`
    what admission does with them now, `reason` why it is exempt. Where policies or labels may not be read `policy` is
    `(unknown)`, and `mode`, `injects` and `today` may be null. `injected` is what admission has written into it.
    """

    version: Literal[1]
    kind: str
    namespace: str
    name: str
    owners: tuple[str, ...]
    pods: int
    policy: str
    mode: document.Mode | None
    injects: bool | None
    selected: str
    problem: str
    outcome: document.Outcome
    state: State
    today: Literal["allow", "warn", "deny"] | None
    reason: str
    injected: tuple[Injected, ...]
    containers: tuple[Container, ...]
    skipped: tuple[Skip, ...]

    @property
    def unknown(self) -> bool:
        """Whether something could not be determined."""
        return bool(self.skipped) or any(each.state == "unknown" for each in self.containers)


async def explain(
    target: Target,
    documents: Documents,
    namespace: Namespace,
    images: Images,
    now: datetime,
    skipped: tuple[Skip, ...] = (),
    coverage: Coverage = DEFAULT,
    *,
    policies_read: bool = True,
    labels_read: bool = True,
) -> Why:
    """The explanation of each container's user; `coverage` is what admission sees of the cluster."""
    view = PolicySnapshot(documents, {namespace.name: namespace})
    exemption = "" if coverage.covers(namespace) else UNREACHED
    item = _within(target.item, namespace.name)
    predicted = qualified(
        await predict(item, view, images, now, exemption, asked_today=coverage.asks_today(namespace)),
        policies_read=policies_read,
        labels_read=labels_read,
    )
    effective_policy = describe_policy(
        documents, namespace, now, coverage=coverage, policies_read=policies_read, labels_read=labels_read
    )
    slots = {
        (slot.list, slot.container.name): (variant.workload, slot)
        for variant in reversed(item.variants)
        for slot in variant.workload.slots()
    }
    by_name = {name: each for (_, name), each in slots.items()}
    return Why(
        version=1,
        kind=target.kind,
        namespace=namespace.name,
        name=target.name,
        owners=target.owners,
        pods=predicted.pods,
        policy=effective_policy.policy,
        mode=effective_policy.mode,
        injects=effective_policy.injects,
        selected=effective_policy.why,
        problem=effective_policy.problem,
        outcome=predicted.outcome,
        state=predicted.state,
        today=predicted.today,
        reason=predicted.reason,
        injected=tuple(_injected(target.annotations.get(ANNOTATION, ""))),
        containers=tuple(_container(each, *by_name[each.name], target) for each in predicted.containers),
        skipped=skipped,
    )


def _within(item: InventoryItem, namespace: str) -> InventoryItem:
    """The same in a namespace, which a file need not name."""
    variants = []
    for each in item.variants:
        metadata = msgspec.structs.replace(each.workload.metadata, namespace=namespace)
        variants.append(
            msgspec.structs.replace(each, workload=msgspec.structs.replace(each.workload, metadata=metadata))
        )
    reference = msgspec.structs.replace(item.reference, namespace=namespace)
    return msgspec.structs.replace(item, reference=reference, variants=tuple(variants))


def _container(predicted: document.Container, workload: Workload, slot: Slot, target: Target) -> Container:
    os = scheduling.operating_system(workload.spec)
    user = None if predicted.user is None else parse_user(predicted.user)
    fields = {name: getattr(predicted, name) for name in predicted.__struct_fields__}
    written_in = target.owners[-1] if target.owners else f"{target.kind} {target.name}"
    if target.template is not None:
        own = next((each for each in target.template.slots() if _key(each) == _key(slot)), None)
        path = target.template.path_of(own) if own else ""
        findings = (
            _moved(each, workload.path_of(slot), path, workload, target.template) for each in predicted.findings
        )
        fields |= {"path": f"{path}.securityContext" if path else "", "findings": tuple(findings)}
    return Container(
        **fields,
        fields=tuple(identity_fields(workload, slot, user, os)),
        kubelet=refusal(workload, slot, user, os),
        written_in=written_in,
    )


def _moved(finding: document.Finding, path: str, own: str, pod: Workload, template: Workload) -> document.Finding:
    """A finding about a Pod with the fields of the template that it is made from."""
    if not own:
        return finding
    fix = finding.fix.replace(f"{path}.", f"{own}.")
    if pod.path != template.path:
        fix = fix.replace(f"{pod.path}.securityContext", f"{template.path}.securityContext")
    return msgspec.structs.replace(finding, fix=fix)


def _key(slot: Slot) -> tuple[str, str]:
    return slot.list, slot.container.name


def _injected(annotation: str) -> Iterator[Injected]:
    """The record of admission on the object; nothing where somebody else wrote there."""
    try:
        entries = msgspec.json.decode(annotation or "[]", type=list[dict[str, Any]])
    except msgspec.DecodeError:
        return
    for each in entries:
        fields = each.get("fields")
        if isinstance(fields, list):
            yield Injected(str(each.get("container", "")), tuple(map(str, fields)))


def render(reports: tuple[Why, ...]) -> str:
    """One document of indented JSON for each workload."""
    return "".join(map(json_output.text, reports))


def schema() -> bytes:
    """The JSON Schema of an explanation, as it is published."""
    return json_output.schema(Why, "nonroot why")


SCHEMA = Path(__file__).with_name("why.v1.schema.json")


if __name__ == "__main__":
    SCHEMA.write_bytes(schema())

"""The effective policy of a namespace and its reasons, as `nonroot policy` prints them; JSON version 1 of that.

Why a policy does not apply is said by the same comparisons by which it does not: its selector, its priority, how strict it
is, its name.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from webhook import json_output
from webhook.policy import exemptions, selection
from webhook.policy.cache import DEFAULT_NAMESPACE
from webhook.policy.conditions import EXPIRY_WARNING
from webhook.policy.selection import MODE_LABEL, Namespace
from webhook.policy.types import Documents, Expression, LabelSelector, NonRootException, NonRootPolicy, PolicySpec
from webhook.scan.coverage import DEFAULT, Coverage
from webhook.scan.document import UNKNOWN_POLICY, Mode, Skip, Workload

State = Literal["in force", "expires soon", "expired", "forbidden", "unknown"]


class Candidate(msgspec.Struct, frozen=True):
    """A policy, and why it does or does not apply."""

    policy: str
    priority: int
    mode: Mode
    applies: bool
    why: str


class Excepted(msgspec.Struct, frozen=True):
    """An exception in the namespace. `state` says whether it counts, `expires` is in RFC 3339, null for never.

    It is unknown whether it counts where the policy, which may forbid exceptions, is.
    """

    name: str
    reason: str
    state: State
    expires: str | None
    workloads: tuple[str, ...]
    images: tuple[str, ...]
    containers: tuple[str, ...]
    rules: tuple[str, ...]


class EffectivePolicyReport(msgspec.Struct, frozen=True):
    """The whole output of `nonroot policy -o json`: one namespace.

    `label` is its nonroot.dev/mode, null where it has none. `policy` is `(built-in)` where none of the `candidates` applies,
    and `spec` what it says, defaults written out. Where `exempt`, nothing in the namespace is evaluated. Where policies or labels
    may not be read `policy` is `(unknown)`, `spec` and `candidates` are empty, and what depends on them is null.
    """

    version: Literal[1]
    namespace: str
    label: str | None
    policy: str
    mode: Mode | None
    injects: bool | None
    why: str
    problem: str
    exempt: bool | None
    spec: dict[str, Any]
    candidates: tuple[Candidate, ...]
    exceptions: tuple[Excepted, ...]
    skipped: tuple[Skip, ...]


def describe_policy(
    documents: Documents,
    namespace: Namespace,
    now: datetime,
    skipped: tuple[Skip, ...] = (),
    coverage: Coverage = DEFAULT,
    *,
    policies_read: bool = True,
    labels_read: bool = True,
) -> EffectivePolicyReport:
    """The effective policy of a namespace at a moment; `skipped` is what could not be read of it, `coverage` what admission sees.

    Where its labels or the policies could not be read, nothing is said that another policy would make wrong.
    """
    report = _explained(documents, namespace, now, skipped, coverage)
    if policies_read and labels_read:
        return report
    unread = "the NonRootPolicies" if labels_read else f"the labels of Namespace {namespace.name}"
    return msgspec.structs.replace(
        report,
        policy=UNKNOWN_POLICY,
        mode=_settled_mode(report.mode, labels_read=labels_read),
        injects=None,
        why=f"{unread} may not be read with this kubeconfig, and any policy may apply to the namespace",
        exempt=(labels_read and not coverage.covers(namespace)) or None,
        spec={},
        candidates=(),
        exceptions=tuple(
            each if each.state == "expired" else msgspec.structs.replace(each, state="unknown")
            for each in report.exceptions
        ),
    )


def qualified(workload: Workload, *, policies_read: bool, labels_read: bool) -> Workload:
    """A prediction without a policy and mode that are only guessed; its outcome is then by the built-in policy."""
    if policies_read and labels_read:
        return workload
    mode = _settled_mode(workload.mode, labels_read=labels_read)
    return msgspec.structs.replace(workload, policy=UNKNOWN_POLICY, mode=mode, today=None)


def _settled_mode(mode: Mode | None, *, labels_read: bool) -> Mode | None:
    """The mode where it is certain without the policies: no policy may set aside a label that says enforce."""
    return mode if labels_read and mode == "Enforce" else None


def _explained(
    documents: Documents, namespace: Namespace, now: datetime, skipped: tuple[Skip, ...], coverage: Coverage
) -> EffectivePolicyReport:
    effective_policy = selection.select_policy(documents.policies, namespace)
    spec = effective_policy.policy.spec
    default = spec.on_unknown.default_action(enforced=effective_policy.mode == "Enforce")
    on_unknown = msgspec.structs.replace(spec.on_unknown, default=default)
    exceptions = (
        each for each in documents.exceptions if (each.metadata.namespace or DEFAULT_NAMESPACE) == namespace.name
    )
    return EffectivePolicyReport(
        version=1,
        namespace=namespace.name,
        label=namespace.labels.get(MODE_LABEL),
        policy=effective_policy.policy.metadata.name,
        mode=effective_policy.mode,
        injects=effective_policy.injects,
        why=effective_policy.why,
        problem=effective_policy.problem,
        exempt=exemptions.exempts(spec, namespace.name) or not coverage.covers(namespace),
        spec=_plain(msgspec.structs.replace(spec, on_unknown=on_unknown)),
        candidates=tuple(
            _candidate(each, effective_policy.policy, namespace)
            for each in sorted(documents.policies, key=lambda each: selection.precedence(each, namespace))
        ),
        exceptions=tuple(_excepted(each, spec, now) for each in exceptions),
        skipped=skipped,
    )


def _candidate(policy: NonRootPolicy, applying: NonRootPolicy, namespace: Namespace) -> Candidate:
    first, name = applying.spec.priority, applying.metadata.name
    why = _unmet(policy.spec.namespace_selector, namespace.selectable)
    if policy is applying:
        why = "it selects the namespace, and no other that does comes before it"
    elif not why and policy.spec.priority < first:
        why = f"its priority {policy.spec.priority} is lower than {first}, that of {name}"
    elif not why and selection.precedence(policy, namespace)[1] > selection.precedence(applying, namespace)[1]:
        why = f"its priority is that of {name}, which is stricter"
    elif not why:
        why = f"its priority is that of {name}, which is as strict and whose name comes first"
    return Candidate(policy.metadata.name, policy.spec.priority, policy.spec.mode, policy is applying, why)


def _unmet(selector: LabelSelector, labels: dict[str, str]) -> str:
    """The first requirement of a selector that labels do not meet; empty where they meet all."""
    wanted = [Expression(key, "In", (value,)) for key, value in selector.match_labels.items()]
    for each in (*wanted, *selector.match_expressions):
        if not each.matches(labels):
            values = f" ({', '.join(each.values)})" if each.values else ""
            has = f"is {labels[each.key]!a}" if each.key in labels else "is not set"
            return f"its namespaceSelector wants {each.key} {each.operator}{values}, and the label {has}"
    return ""


def _excepted(exception: NonRootException, spec: PolicySpec, now: datetime) -> Excepted:
    entry = exception.spec
    state: State = "in force"
    if entry.expires is not None and now >= entry.expires:
        state = "expired"
    elif spec.exceptions == "Forbid":
        state = "forbidden"
    elif entry.expires is not None and now >= entry.expires - EXPIRY_WARNING:
        state = "expires soon"
    return Excepted(
        exception.metadata.name,
        entry.reason,
        state,
        entry.expires.isoformat() if entry.expires else None,
        tuple("/".join(filter(None, (each.kind, each.name))) for each in entry.workloads),
        entry.images,
        entry.containers,
        entry.rules,
    )


def _plain(value: Any) -> Any:
    """A struct as its document spells it, with the defaults written out and what is unset left out."""
    if isinstance(value, msgspec.Struct):
        fields = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        values = ((spelled, getattr(value, name)) for spelled, name in fields)
        return {spelled: _plain(each) for spelled, each in values if each is not None}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def render(report: EffectivePolicyReport) -> str:
    """Indented JSON."""
    return json_output.text(report)


def schema() -> bytes:
    """The JSON Schema of an effective policy, as it is published."""
    return json_output.schema(EffectivePolicyReport, "nonroot policy")


SCHEMA = Path(__file__).with_name("policy.v1.schema.json")


if __name__ == "__main__":
    SCHEMA.write_bytes(schema())

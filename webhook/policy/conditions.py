"""The status of policies and exceptions: its conditions and counts, in the shape that the CRDs have.

Conditions are as kubernetes/apimachinery pkg/apis/meta/v1/types.go (Condition) has them: the time is that of the last
change of `status`. Nothing in a status changes while nothing else does, so that nothing is written either.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from webhook.policy.cache import StoredObject
from webhook.policy.selection import MODE_LABEL, EffectivePolicy
from webhook.policy.types import NonRootException, NonRootPolicy

EXPIRY_WARNING = timedelta(days=7)  # before its end, an exception warns
NAMED_OBJECTS = 5  # objects that a message names; of the others it says how many
MESSAGE_LIMIT = 1000
SPEC_LIMIT = 128 * 1024  # bytes of a spec that its status keeps: the API server stores 1.5 MiB of an object

Count = Annotated[int, Meta(ge=0)]


class Condition(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One aspect of an object's state."""

    type: Annotated[str, Meta(max_length=316, description="What it is about.")]
    status: Annotated[Literal["True", "False", "Unknown"], Meta(description="Whether it is so.")]
    last_transition_time: Annotated[datetime, Meta(tz=True, description="When `status` changed last.")]
    reason: Annotated[str, Meta(min_length=1, max_length=1024, description="Why, in one word.")]
    message: Annotated[str, Meta(max_length=32768, description="Why, for people.")]
    observed_generation: Annotated[int, Meta(ge=0, description="The generation that was looked at.")] | None = None


class Outcomes(msgspec.Struct, frozen=True, rename="camel"):
    """The counts of workloads by the outcome if they were enforced now: in the words of admission, and in former ones."""

    compliant: Annotated[Count, Meta(description="Run as they are.")] = 0
    fixable: Annotated[Count, Meta(description="Run because what is missing would be injected.")] = 0
    denied: Annotated[Count, Meta(description="Would be denied.")] = 0
    unknown: Annotated[Count, Meta(description="An image of theirs could not be read.")] = 0
    exempted: Annotated[Count, Meta(description="Exempted by the policy or by an exception.")] = 0
    unchanged: Annotated[Count, Meta(description="The same as `compliant`, its former name.")] = 0
    fixed: Annotated[Count, Meta(description="The same as `fixable`, its former name.")] = 0
    failing: Annotated[Count, Meta(description="The same as `denied`, its former name.")] = 0
    excepted: Annotated[Count, Meta(description="The same as `exempted`, its former name.")] = 0

    @classmethod
    def of(
        cls, compliant: int = 0, fixable: int = 0, denied: int = 0, unknown: int = 0, exempted: int = 0
    ) -> "Outcomes":
        """The counts, under both names."""
        return cls(compliant, fixable, denied, unknown, exempted, compliant, fixable, denied, exempted)


class _Status(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    observed_generation: Annotated[int, Meta(ge=0, description="The generation that this status speaks of.")] | None = (
        None
    )
    conditions: Annotated[tuple[Condition, ...], Meta(description="Ready says whether the object is in force.")] = ()


class PolicyStatus(_Status, frozen=True):
    """The status of a policy, written by the controller.

    `last_usable` is the policy's spec as it was stored when it could be used last: that stays in force where another one
    is stored that cannot be.
    """

    namespaces: Annotated[Count, Meta(description="The namespaces to which this policy applies.")] | None = None
    workloads: (
        Annotated[Outcomes, Meta(description="What would become of the workloads there if they were enforced now.")]
        | None
    ) = None
    last_usable: (
        Annotated[
            dict[str, Any],
            Meta(description="The last spec that could be used; it stays in force while the present one cannot be."),
        ]
        | None
    ) = None


class ExceptionStatus(_Status, frozen=True):
    """The status of an exception, written by the controller."""

    matches: Annotated[Count, Meta(description="The workloads to which it applies, as last scanned.")] | None = None


class _State(msgspec.Struct, frozen=True):
    """A condition but for what it needs of the former one."""

    type: str
    status: Literal["True", "False"]
    reason: str
    message: str


_NOT_SCANNED = _State(
    "Scanned",
    "False",
    "ScanOff",
    "nothing is scanned any more (chart: scan.interval is 0): what is counted here is of the last scan before that",
)

_TOO_MANY_GLOBS = (
    "this exception exempts nothing: the exceptions of this namespace that come before it, by name, have as many globs with "
    "wildcards as count, or are as many that name no workload or this one; name images, containers and workloads in full where "
    "you can, and delete exceptions that nobody needs"
)


class PolicyScope(msgspec.Struct, frozen=True):
    """The namespaces that one policy selects.

    `selected` are those that it selects, by name, each with the policy that is in force there; `fails_open` those that it
    enforces and whose Pods the API server admits while admission is away.
    """

    selected: Mapping[str, EffectivePolicy]
    fails_open: Sequence[str] = ()


def of_policy(
    stored: StoredObject,
    spec: dict[str, Any],
    scope: PolicyScope,
    workloads: Outcomes | None,
    former: PolicyStatus,
    generation: int,
    now: datetime,
    *,
    scans: bool = True,
) -> PolicyStatus:
    """The status of a policy: `stored`, with its `spec` as it is written there.

    `workloads` None: not scanned yet, which keeps what the former status said; for good where nothing `scans`.
    """
    workloads = former.workloads if workloads is None else workloads
    name = stored.document.metadata.name if stored.document is not None else ""
    effective = {each: rule for each, rule in scope.selected.items() if rule.policy.metadata.name == name}
    states = [_policy_ready(stored, scope.selected, effective)]
    if stored.document is not None:
        asks = isinstance(stored.document, NonRootPolicy) and stored.document.spec.label_namespaces
        states += [_labels_valid(effective), _fails_open(scope.fails_open, labelling=asks)]
    if isinstance(stored.document, NonRootPolicy):
        enforces = stored.document.spec.mode == "Enforce" or any(rule.mode == "Enforce" for rule in effective.values())
        states.append(_exempts_root(stored.document.spec.allows_root if enforces else ()))
    if stored.unknown_fields:
        states.append(
            _State(
                "FieldsKnown",
                "False",
                "UnknownFields",
                f"{_named(stored.unknown_fields)}: unknown to this version of nonroot-webhook, and without effect; "
                "the rest applies. Upgrade it, or remove the field",
            )
        )
    if workloads is not None and not scans:
        states.append(_NOT_SCANNED)
    return PolicyStatus(
        observed_generation=generation,
        conditions=_conditions(states, former.conditions, generation, now),
        namespaces=len(effective),
        workloads=workloads,
        last_usable=former.last_usable if stored.problem else _kept(spec),
    )


def _kept(spec: dict[str, Any]) -> dict[str, Any] | None:
    return spec if len(msgspec.json.encode(spec)) <= SPEC_LIMIT else None


def _policy_ready(stored: StoredObject, selected: Mapping[str, EffectivePolicy], effective: Collection[str]) -> _State:
    if stored.document is None:
        return _State("Ready", "False", "Unusable", f"this policy counts nowhere: {stored.problem}")
    if stored.problem:
        return _State(
            "Ready",
            "False",
            "LastVersionInForce",
            f"this version cannot be used, and the last one that could stays in force: {stored.problem}",
        )
    if not selected:
        return _State("Ready", "True", "NoNamespace", "its namespaceSelector selects no namespace")
    first = sorted({rule.policy.metadata.name for name, rule in selected.items() if name not in effective})
    if not first:
        return _State("Ready", "True", "InForce", "it applies to the namespaces that it selects")
    if effective:
        return _State(
            "Ready",
            "True",
            "InForce",
            f"it applies to {len(effective)} of the {len(selected)} namespaces that it selects; in the others another "
            f"policy comes first: {_named(first)}",
        )
    return _State(
        "Ready",
        "False",
        "Shadowed",
        f"Shadowed by {_named(first)}: in each of the {len(selected)} namespaces that it selects another policy comes first, "
        "by its priority, then as the stricter one, then by its name",
    )


def _labels_valid(effective: Mapping[str, EffectivePolicy]) -> _State:
    bad = sorted(each for each, rule in effective.items() if rule.problem)
    if not bad:
        return _State("NamespaceLabelsValid", "True", "AllValid", f"every {MODE_LABEL} has a meaning")
    return _State(
        "NamespaceLabelsValid",
        "False",
        "BadLabel",
        f"{_named(bad)}: the label {MODE_LABEL} must be audit, warn or enforce; anything else counts as enforce",
    )


def _fails_open(namespaces: Sequence[str], *, labelling: bool) -> _State:
    if not namespaces:
        return _State("FailsOpen", "False", "NoneDoes", "no namespace depends on admission being there to be enforced")
    way = (
        "let the controller do it by the chart's controller.labelNamespaces"
        if labelling
        else "set labelNamespaces: true"
    )
    return _State(
        "FailsOpen",
        "True",
        "NotLabelled",
        f"{_named(sorted(namespaces))}: enforced by this policy and not by a label, so that their Pods are admitted "
        f"unchecked while admission is away; label the namespace {MODE_LABEL}=enforce, or {way}",
    )


def _exempts_root(fields: Sequence[str]) -> _State:
    if not fields:
        return _State(
            "ExemptsRoot", "False", "NoneDoes", "in mode Enforce nothing runs as root that is not exempted by name"
        )
    former = "onUnknown.default: Warn"
    stored = (
        f"; versions before onUnknown: Verify stored {former} in every policy: without it the kubelet decides about images "
        "that cannot be read"
    )
    return _State(
        "ExemptsRoot",
        "True",
        "StatedByPolicy",
        f"{', '.join(fields)}: lets containers run as root in mode Enforce; remove the field to end that"
        f"{stored if former in fields else ''}",
    )


def of_exception(
    stored: StoredObject,
    effective_policy: EffectivePolicy,
    matches: int | None,
    former: ExceptionStatus,
    generation: int,
    now: datetime,
    *,
    scans: bool = True,
    beyond_limit: bool = False,
) -> ExceptionStatus:
    """The status of an exception; `matches` None: nobody has counted, which keeps what was counted of this generation.

    `beyond_limit`: it exempts nothing, as `webhook.policy.exemptions.beyond_limit` says.
    """
    if matches is None and former.observed_generation == generation:
        matches = former.matches
    if not isinstance(stored.document, NonRootException):
        states = [_State("Ready", "False", "Unusable", f"this exception exempts nothing: {stored.problem}")]
    elif beyond_limit:
        states = [_State("Ready", "False", "TooManyGlobs", _TOO_MANY_GLOBS)]
    else:
        expires = stored.document.spec.expires
        states = [_exception_ready(expires, effective_policy, matches, now)]
        soon = expires is not None and expires - EXPIRY_WARNING <= now < expires
        text = f"it ends at {expires:%Y-%m-%d %H:%M %Z}" if expires else "it has no end"
        states.append(_State("ExpiresSoon", "True" if soon else "False", "WithinAWeek" if soon else "NotSoon", text))
    if matches is not None and not scans:
        states.append(_NOT_SCANNED)
    return ExceptionStatus(
        observed_generation=generation,
        conditions=_conditions(states, former.conditions, generation, now),
        matches=matches,
    )


def _exception_ready(
    expires: datetime | None, effective_policy: EffectivePolicy, matches: int | None, now: datetime
) -> _State:
    if expires is not None and now >= expires:
        return _State(
            "Ready",
            "False",
            "Expired",
            f"it ended at {expires:%Y-%m-%d %H:%M %Z}; delete it, or renew it with a reason",
        )
    if effective_policy.policy.spec.exceptions == "Forbid":
        return _State(
            "Ready", "False", "Forbidden", f"policy {effective_policy.policy.metadata.name} allows no exceptions here"
        )
    if matches == 0:
        return _State(
            "Ready",
            "True",
            "MatchesNothing",
            "it is in force and applies to no workload of the last scan: compare its workloads, images and containers with "
            "those that `nonroot scan` names; Pods of a custom resource match where serviceAccount names who makes them",
        )
    return _State("Ready", "True", "InForce", "it exempts the containers that it names")


def next_change(exceptions: Iterable[NonRootException], now: datetime) -> datetime | None:
    """The time at which the status of an exception changes by itself: at its end, or a week before; None: never."""
    ends = [each.spec.expires for each in exceptions if each.spec.expires is not None]
    return min((moment for end in ends for moment in (end - EXPIRY_WARNING, end) if moment > now), default=None)


def _conditions(
    states: Sequence[_State], former: Sequence[Condition], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Conditions with the time of their last change: the former one's while `status` stays."""
    before = {each.type: each for each in former}
    made = []
    for state in states:
        old = before.get(state.type)
        since = old.last_transition_time if old is not None and old.status == state.status else now
        made.append(Condition(state.type, state.status, since, state.reason, state.message[:MESSAGE_LIMIT], generation))
    return tuple(made)


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED_OBJECTS])
    return f"{shown} and {len(names) - NAMED_OBJECTS} more" if len(names) > NAMED_OBJECTS else shown

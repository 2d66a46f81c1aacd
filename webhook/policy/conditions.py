"""What the controller says of policies and exceptions in their status: pure, and the shape that the CRDs have.

Conditions are as kubernetes/apimachinery pkg/apis/meta/v1/types.go (Condition) has them: the time is that of the last
change of `status`. Nothing in a status changes while nothing else does, so that nothing is written either.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from webhook.policy.selection import MODE_LABEL, EffectivePolicy
from webhook.policy.types import NonRootException

EXPIRY_WARNING = timedelta(days=7)  # before its end, an exception warns
NAMED_OBJECTS = 5  # objects that a message names; of the others it says how many
MESSAGE_LIMIT = 1000

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
    """What would become of workloads if they were enforced now."""

    unchanged: Annotated[Count, Meta(description="Run as they are.")] = 0
    fixed: Annotated[Count, Meta(description="Run because what is missing would be injected.")] = 0
    failing: Annotated[Count, Meta(description="Would be refused.")] = 0
    unknown: Annotated[Count, Meta(description="An image of theirs could not be read.")] = 0
    excepted: Annotated[Count, Meta(description="Let be by an exemption or an exception.")] = 0


class _Status(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    observed_generation: Annotated[int, Meta(ge=0, description="The generation that this status speaks of.")] | None = (
        None
    )
    conditions: Annotated[tuple[Condition, ...], Meta(description="Ready says whether the object is in force.")] = ()


class PolicyStatus(_Status, frozen=True):
    """What the controller makes of a policy."""

    namespaces: Annotated[Count, Meta(description="The namespaces to which this policy applies.")] | None = None
    workloads: (
        Annotated[Outcomes, Meta(description="What would become of the workloads there if they were enforced now.")]
        | None
    ) = None


class ExceptionStatus(_Status, frozen=True):
    """What the controller makes of an exception."""


class _State(msgspec.Struct, frozen=True):
    """A condition but for what it needs of the former one."""

    type: str
    status: Literal["True", "False"]
    reason: str
    message: str


def of_policy(
    name: str,
    problem: str,
    governed: dict[str, EffectivePolicy],
    workloads: Outcomes | None,
    former: PolicyStatus,
    generation: int,
    now: datetime,
) -> PolicyStatus:
    """The status of a policy.

    `problem` says why its document cannot be used, "" where it can; `governed` is each namespace with what governs it,
    of which those count that this policy does; `workloads` None: not scanned yet, which keeps what the former status said.
    """
    namespaces = {
        each: effective_policy
        for each, effective_policy in governed.items()
        if effective_policy.policy.metadata.name == name
    }
    states = [_policy_ready(problem, len(namespaces))]
    bad = sorted(each for each, effective_policy in namespaces.items() if effective_policy.problem)
    if bad:
        states.append(
            _State(
                "NamespaceLabelsValid",
                "False",
                "BadLabel",
                f"{_named(bad)}: the label {MODE_LABEL} must be audit, warn or enforce; anything else counts as enforce",
            )
        )
    elif not problem:
        states.append(_State("NamespaceLabelsValid", "True", "AllValid", f"every {MODE_LABEL} has a meaning"))
    return PolicyStatus(
        observed_generation=generation,
        conditions=_conditions(states, former.conditions, generation, now),
        namespaces=len(namespaces),
        workloads=former.workloads if workloads is None else workloads,
    )


def _policy_ready(problem: str, namespaces: int) -> _State:
    if problem:
        return _State("Ready", "False", "Unusable", f"this policy counts nowhere: {problem}")
    if not namespaces:
        return _State(
            "Ready", "True", "NoNamespace", "no namespace is governed by it: none is selected, or others come first"
        )
    return _State("Ready", "True", "InForce", "it applies to the namespaces that it selects")


def of_exception(
    exception: NonRootException | None,
    problem: str,
    effective_policy: EffectivePolicy,
    former: ExceptionStatus,
    generation: int,
    now: datetime,
) -> ExceptionStatus:
    """The status of an exception, which is None where its document cannot be used: `problem` says why."""
    if exception is None:
        states = [_State("Ready", "False", "Unusable", f"this exception counts nowhere: {problem}")]
    else:
        expires = exception.spec.expires
        states = [_exception_ready(expires, effective_policy, now)]
        soon = expires is not None and expires - EXPIRY_WARNING <= now < expires
        text = f"it ends at {expires:%Y-%m-%d %H:%M %Z}" if expires else "it has no end"
        states.append(_State("ExpiresSoon", "True" if soon else "False", "WithinAWeek" if soon else "NotSoon", text))
    return ExceptionStatus(
        observed_generation=generation, conditions=_conditions(states, former.conditions, generation, now)
    )


def _exception_ready(expires: datetime | None, effective_policy: EffectivePolicy, now: datetime) -> _State:
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
    return _State("Ready", "True", "InForce", "what it names is let be")


def next_change(exceptions: Iterable[NonRootException], now: datetime) -> datetime | None:
    """When time alone will change the status of one of them: at its end, or a week before; None: never."""
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

"""The verdict on a workload: the state of each container under a policy, whatever the mode."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from webhook.evaluation.finding import Finding
from webhook.evaluation.subject import Subject
from webhook.image.source import Image
from webhook.policy.exemptions import Exemption, LapsedException
from webhook.policy.selection import EffectivePolicy
from webhook.policy.types import OnUnknown

State = Literal["compliant", "fixable", "denied", "unknown", "exempted"]
_RANK: dict[State, int] = {"exempted": 0, "compliant": 1, "fixable": 2, "unknown": 3, "denied": 4}


def worst(states: Iterable[State]) -> State:
    """The state of a workload, by those of its containers."""
    return max(states, key=_RANK.__getitem__, default="compliant")


class ContainerVerdict(msgspec.Struct, frozen=True):
    """One container: what it is as it stands, with what is known of it; `lapsed` are exceptions that have ended."""

    subject: Subject
    state: State
    findings: tuple[Finding, ...] = ()
    exemption: Exemption | None = None
    lapsed: tuple[LapsedException, ...] = ()

    @property
    def digest(self) -> str:
        """The digest that its image resolved to, where it was asked for."""
        return self.subject.image.digest if isinstance(self.subject.image, Image) else ""

    @property
    def missed(self) -> bool:
        """Whether only a patch that was not made leaves it open, in mode Enforce, whether it runs as root."""
        return self.subject.enforced and self.state in {"compliant", "unknown"} and self.subject.pins

    def fixes(self, finding: Finding) -> bool:
        """Whether injection takes this finding of it away."""
        return finding.fixable and self.subject.injects and self.state in {"compliant", "fixable"}


class Verdict(msgspec.Struct, frozen=True):
    """A whole Pod or template under one policy."""

    effective_policy: EffectivePolicy
    containers: tuple[ContainerVerdict, ...]

    @property
    def state(self) -> State:
        """The worst of its containers."""
        if len(self.containers) == 1:
            return self.containers[0].state
        return worst([each.state for each in self.containers])

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order of containers and rules."""
        if len(self.containers) == 1:
            return self.containers[0].findings
        return tuple([finding for each in self.containers for finding in each.findings])

    @property
    def takes_fs_group(self) -> bool:
        """Whether an fsGroup, which every container gets, would meet none that is unknown, exempted or running already."""
        return all(
            each.state in {"compliant", "fixable"} and each.exemption is None and each.subject.slot.kind != "ephemeral"
            for each in self.containers
        )

    def without_fs_group(self) -> "Verdict":
        """The verdict where no fsGroup is injected, so that what it would fix is reported."""
        containers = [
            msgspec.structs.replace(
                each,
                findings=tuple(
                    msgspec.structs.replace(finding, fixable=False) if finding.rule == "volume-permissions" else finding
                    for finding in each.findings
                ),
            )
            for each in self.containers
        ]
        return msgspec.structs.replace(self, containers=tuple(containers))


def decide(subject: Subject, findings: tuple[Finding, ...], exemption: Exemption | None) -> ContainerVerdict:
    """Sum up one container. Of the rules that an exemption names the findings are dropped, and nothing else changes."""
    if exemption is None:
        return ContainerVerdict(subject, _state(subject, findings), findings)
    if not exemption.rules:
        return ContainerVerdict(subject, "exempted", (), exemption)
    kept = tuple(each for each in findings if each.rule not in exemption.rules)
    state = _state(subject, kept)
    root_permitted = subject.permits_root and not subject.pinned and not subject.pins
    if state == "compliant" and (root_permitted or _state(subject, findings) in {"denied", "unknown"}):
        state = "exempted"
    return ContainerVerdict(subject, state, kept, exemption)


def _state(subject: Subject, findings: tuple[Finding, ...]) -> State:
    state: State = "compliant"
    for each in findings:
        if each.severity == "error":
            state = "fixable" if each.fixable and subject.injects and state in {"compliant", "fixable"} else "denied"
        if state == "denied":
            break
        if each.severity == "unknown":
            state = "unknown"
    return state


def denies(finding: Finding, container: ContainerVerdict, on_unknown: OnUnknown) -> bool:
    """Whether a finding is a reason for mode Enforce to refuse the Pod."""
    if finding.severity == "unknown":
        return on_unknown.action(finding.cause) == "Deny"
    return finding.severity == "error" and container.state == "denied"

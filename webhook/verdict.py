"""Finding* + policy -> Verdict, which knows no mode; then answer(mode): allow, warn, deny or ask to come again."""

from typing import Literal

import msgspec

from webhook.finding import Finding, Subject, quoted
from webhook.image import Image
from webhook.policy import OnUnknown
from webhook.scope import Governing, Release

State = Literal["fine", "fixable", "refused", "unknown", "skipped"]
WARNING_LIMIT = 250  # characters; the API server cuts to 256 where a request's warnings exceed 4096 in all
_RANK: dict[State, int] = {"skipped": 0, "fine": 1, "fixable": 2, "unknown": 3, "refused": 4}


class ContainerVerdict(msgspec.Struct, frozen=True):
    """One container: what it is as it stands, with what is known of it."""

    subject: Subject
    state: State
    findings: tuple[Finding, ...] = ()
    release: Release | None = None

    @property
    def digest(self) -> str:
        """The digest that its image resolved to, where it was asked for."""
        return self.subject.found.digest if isinstance(self.subject.found, Image) else ""


class Verdict(msgspec.Struct, frozen=True):
    """A whole Pod or template under one policy."""

    governing: Governing
    containers: tuple[ContainerVerdict, ...]

    @property
    def state(self) -> State:
        """The worst of its containers."""
        return max((each.state for each in self.containers), key=_RANK.__getitem__, default="fine")

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order of containers and rules."""
        return tuple(finding for each in self.containers for finding in each.findings)


def decide(subject: Subject, findings: tuple[Finding, ...], release: Release | None) -> ContainerVerdict:
    """Sum up one container. What an exception's rules cover is dropped; an excepted container is never fixable."""
    if release is not None:
        findings = tuple(each for each in findings if release.rules and each.rule not in release.rules)
        state: State = "refused" if any(each.severity == "error" for each in findings) else "skipped"
        return ContainerVerdict(subject, state, findings, release)
    state = "fine"
    for each in findings:
        if each.severity == "error":
            state = "fixable" if each.curable and subject.injects and state in {"fine", "fixable"} else "refused"
        if state == "refused":
            break
        if each.severity == "unknown":
            state = "unknown"
    return ContainerVerdict(subject, state, findings)


class Answer(msgspec.Struct, frozen=True):
    """What the API server is told. `code` 403 denies, 429 asks it to try again, 200 allows."""

    code: Literal[200, 403, 429]
    message: str = ""
    warnings: tuple[str, ...] = ()


ALLOWED = Answer(200)


def answer(verdict: Verdict, *, template: bool = False, patience: bool = False) -> Answer:
    """Apply the mode, last. `patience`: the request may still be asked to come again, while an image is pending."""
    mode = verdict.governing.mode
    if mode == "Audit":
        return ALLOWED
    spec = verdict.governing.policy.spec
    told = verdict.findings
    if mode == "Warn" or (template and spec.templates == "Warn"):
        return Answer(200, warnings=_warnings(verdict, told, template))
    denied = [each for each in told if _denies(each, verdict, spec.on_unknown)]
    pending = [each for each in told if each.cause == "pending"]
    fixable = [] if template else [each for each in told if each.severity == "error" and verdict.state == "fixable"]
    if patience and not template and (pending or fixable) and not _final(verdict):
        return Answer(429, _message(verdict, pending or fixable))
    if denied or fixable:
        return Answer(403, _message(verdict, denied or fixable))
    return Answer(200, warnings=_warnings(verdict, told, template, spec.on_unknown))


def advise(verdict: Verdict) -> tuple[str, ...]:
    """What a mutating hook says of containers that the validating one will refuse: Pod Security may answer before it."""
    refused = tuple(
        finding
        for each in verdict.containers
        if each.state == "refused"
        for finding in each.findings
        if finding.severity == "error"
    )
    return _warnings(verdict, refused, template=False) if verdict.governing.mode == "Enforce" else ()


def _denies(finding: Finding, verdict: Verdict, on_unknown: OnUnknown) -> bool:
    if finding.severity == "unknown":
        return on_unknown.action(finding.cause) == "Deny"
    if finding.severity != "error":
        return False
    return any(each.state == "refused" and finding in each.findings for each in verdict.containers)


def _final(verdict: Verdict) -> bool:
    """Some container is refused whatever the others turn out to be: no reason to wait."""
    return any(each.state == "refused" for each in verdict.containers)


def _message(verdict: Verdict, findings: list[Finding]) -> str:
    return f"policy {quoted(verdict.governing.policy.metadata.name)}: " + "; ".join(each.message for each in findings)


def _warnings(
    verdict: Verdict, findings: tuple[Finding, ...], template: bool, on_unknown: OnUnknown | None = None
) -> tuple[str, ...]:
    """One line a finding; of a template, only what its Pods would not be cured of."""
    lines = [
        f"nonroot: {each.message}"
        for each in findings
        if each.severity != "note"
        and not (on_unknown and each.severity == "unknown" and on_unknown.action(each.cause) == "Allow")
        and not (each.curable and verdict.governing.injects)
    ]
    if verdict.governing.problem:
        lines.append(f"nonroot: {verdict.governing.problem}")
    return tuple(line if len(line) <= WARNING_LIMIT else f"{line[: WARNING_LIMIT - 1]}…" for line in lines)

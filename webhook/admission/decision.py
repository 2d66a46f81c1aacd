"""The admission decision: what a verdict comes to in a mode, which is allow, warn, deny or retry.

The mode is applied here, last, and nowhere else.
"""

from typing import Literal

import msgspec

from webhook.evaluation.documentation import more, rule_url
from webhook.evaluation.finding import Finding
from webhook.evaluation.rules import unpinned_user
from webhook.evaluation.verdict import State, Verdict, denies
from webhook.policy.types import OnUnknown
from webhook.text import quoted, shortened

FAULT_LIMIT = 400  # characters of a denial with one fault, unless its advice alone is longer
_DETAIL_LEAST = 40  # characters of a fault's detail that are shown in any case, and all up to the image's name
_REFUSED = frozenset({"error", "unknown"})  # severities of what a denial may be about
_RULES_LIMIT = 3  # rules whose names end a denial

MESSAGE_LIMIT = 10  # findings in a denial; a Pod may have thousands of containers


WARNINGS_LIMIT = 4096  # characters in all; beyond, the API server cuts each to 256 and drops what is still too much


WARNING_LIMIT = 250  # characters of each, then


class AdmissionDecision(msgspec.Struct, frozen=True):
    """The answer to the API server. `code` 403 denies, 429 asks it to try again, 200 allows."""

    code: Literal[200, 403, 429]
    message: str = ""
    warnings: tuple[str, ...] = ()


ALLOWED = AdmissionDecision(200)


def admission_decision(
    verdict: Verdict, *, template: bool = False, may_retry: bool = False, patched: bool = False
) -> AdmissionDecision:
    """Apply the mode, last.

    `may_retry`: the request may still be asked to come again, while an image is pending or where a patch was missed.
    `patched`: injection has been, or would be, done.
    """
    mode = verdict.effective_policy.mode
    if mode == "Audit":
        return ALLOWED
    missed = (
        []
        if template or patched
        else [unpinned_user.missed(each.subject) for each in verdict.containers if each.missed]
    )
    if not verdict.findings and not missed and not verdict.effective_policy.problem:
        return ALLOWED
    spec = verdict.effective_policy.policy.spec
    if mode == "Warn" or (template and spec.templates == "Warn"):
        return AdmissionDecision(200, warnings=_warnings(verdict))
    denied = _denied(verdict)
    unpatched = missed if template else [*_errors(verdict, "fixable"), *missed]
    if may_retry and all(finding.cause == "pending" for finding in denied):  # else it is refused whatever comes of them
        pending = [] if template else [finding for finding in verdict.findings if finding.cause == "pending"]
        if pending or unpatched:
            return AdmissionDecision(429, _message(verdict, pending or unpatched))
    if denied or unpatched:
        return AdmissionDecision(403, _message(verdict, denied or unpatched))
    return AdmissionDecision(200, warnings=_warnings(verdict, spec.on_unknown))


def refusal(verdict: Verdict) -> str:
    """The message of the denial that mode Enforce would end in whatever is patched; "" where there is none.

    The mode in force does not matter.
    """
    denied = _denied(verdict)
    return _message(verdict, denied) if denied else ""


def advise(verdict: Verdict) -> tuple[str, ...]:
    """The warnings of a mutating hook, for Pods for which the validating one might not be called.

    Of containers that will be refused, where Pod Security answers first: else they would be reported twice. And of those
    that it patches so well that nothing is left to call the validating one for.
    """
    match verdict.effective_policy.mode:
        case "Audit":
            return ()
        case "Warn":
            refused = []
        case "Enforce":
            refused = _errors(verdict, "denied") if _pod_security_refuses(verdict) else []
    return _lines(verdict, [*refused, *(each for each in _shown(verdict) if each.severity == "warning")])


def _pod_security_refuses(verdict: Verdict) -> bool:
    """Whether Pod Security, which comes between our two hooks, refuses the Pod for a container that will be refused here."""
    return verdict.effective_policy.restricted and any(
        each.state == "denied" and not each.subject.meets_restricted for each in verdict.containers
    )


def _denied(verdict: Verdict) -> list[Finding]:
    on_unknown = verdict.effective_policy.policy.spec.on_unknown
    return [finding for each in verdict.containers for finding in each.findings if denies(finding, each, on_unknown)]


def _errors(verdict: Verdict, state: State) -> list[Finding]:
    """The errors of the containers in that state."""
    return [
        finding
        for each in verdict.containers
        if each.state == state
        for finding in each.findings
        if finding.severity == "error"
    ]


def _message(verdict: Verdict, findings: list[Finding]) -> str:
    """The policy, every fault once, and at the end who has set the mode, the rules' names and the page of the first."""
    effective_policy = verdict.effective_policy
    head = f"policy {quoted(effective_policy.policy.metadata.name)}: "
    by = f"mode {effective_policy.mode} by {effective_policy.mode_source}"
    rules = list(dict.fromkeys([finding.rule for finding in findings]))
    named = f"rules {', '.join(rules[:_RULES_LIMIT])}; " if len(rules) > 1 else ""
    tail = f"{_lapsed(verdict)} ({by}; {named}more: {rule_url(rules[0])})"
    if len(findings) == 1:
        return head + _within(findings[0], FAULT_LIMIT - len(head) - len(tail)) + tail
    shown = _together(findings[:MESSAGE_LIMIT])
    if len(findings) > MESSAGE_LIMIT:
        shown.append(f"and {len(findings) - MESSAGE_LIMIT} more")
    return head + "; ".join(shown) + tail


def _together(findings: list[Finding]) -> list[str]:
    """The messages, one for containers with the same fault and the same advice."""
    alike: dict[tuple[str, str], list[Finding]] = {}
    for each in findings:
        alike.setdefault((each.reason, each.fix), []).append(each)
    return [
        msgspec.structs.replace(group[0], detail="; ".join([each.detail for each in group])).message
        for group in alike.values()
    ]


def _lapsed(verdict: Verdict) -> str:
    """The exceptions that would have let refused containers in had they not ended, by name."""
    ended: dict[str, str] = {}
    for each in verdict.containers:
        for exception in each.lapsed:
            if any(exception.covers(finding.rule) for finding in each.findings if finding.severity in _REFUSED):
                ended[exception.name] = exception.end
    return "".join([f"; NonRootException {quoted(name)} ended at {end}" for name, end in ended.items()])


def _within(finding: Finding, room: int) -> str:
    """The message, its detail shortened to what is left of the room: what to do about it stays whole."""
    message = finding.message
    if len(message) <= room:
        return message
    before, image, _ = finding.detail.partition(quoted(finding.image))
    named = len(f"{before}{image}…") if image else 0
    detail = max(_DETAIL_LEAST, named, room - len(message) + len(finding.detail))
    return msgspec.structs.replace(finding, detail=shortened(finding.detail, detail)).message


def _warnings(verdict: Verdict, on_unknown: OnUnknown | None = None) -> tuple[str, ...]:
    """The warnings for the client, less the unknowns that the policy allows."""
    shown = _shown(verdict)
    if on_unknown is not None:
        shown = [each for each in shown if each.severity != "unknown" or on_unknown.action(each.cause) != "Allow"]
    return _lines(verdict, shown)


def _shown(verdict: Verdict) -> list[Finding]:
    """The findings for a person: no notes, nothing that injection cures."""
    return [
        finding
        for each in verdict.containers
        for finding in each.findings
        if finding.severity != "note" and not each.fixes(finding)
    ]


def _lines(verdict: Verdict, findings: list[Finding]) -> tuple[str, ...]:
    """One warning a finding, whole where the API server does, shortened by us where it would shorten or drop.

    The address of the rule's page stays whole: it says what the shortened advice did.
    """
    lines = [(f"nonroot: {finding.message}", more(finding.rule)) for finding in findings]
    if verdict.effective_policy.problem:
        lines.append((f"nonroot: {verdict.effective_policy.problem}", ""))
    if sum(len(line) + len(end) for line, end in lines) <= WARNINGS_LIMIT:
        return tuple(line + end for line, end in lines)
    most = WARNINGS_LIMIT // WARNING_LIMIT
    if len(lines) > most:
        lines[most - 1 :] = [(f"nonroot: and {len(lines) - most + 1} more", "")]
    return tuple(shortened(line, WARNING_LIMIT, end) for line, end in lines)

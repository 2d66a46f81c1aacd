"""Findings become a state for each container, and the mode turns states into one answer, last."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.support.pods import DEFAULTS, effective_policy, first, workload
from tests.support.tables import table
from webhook.admission.decision import (
    FAULT_LIMIT,
    MESSAGE_LIMIT,
    WARNING_LIMIT,
    WARNINGS_LIMIT,
    AdmissionDecision,
    admission_decision,
    advise,
    refusal,
)
from webhook.evaluation.finding import Finding, finding
from webhook.evaluation.pod_facts import PodFacts
from webhook.evaluation.subject import Subject
from webhook.evaluation.verdict import ContainerVerdict, Verdict, decide
from webhook.policy.exemptions import Exemption, LapsedException
from webhook.workload.workload import Workload, effective

WORK = workload()
SLOT = first(WORK)


FIELDS: dict[str, Any] = DEFAULTS
RESTRICTED = workload(**FIELDS)  # as Pod Security restricted wants it


def subject(injects: bool = True, work: Workload = WORK) -> Subject:
    """The first container of a minimal Pod."""
    slot = first(work)
    return Subject(
        workload=work,
        pod=PodFacts(work),
        slot=slot,
        os="linux",
        effective=effective(slot.container, work.context),
        policy=effective_policy().policy.spec,
        injects=injects,
    )


def found(severity: Any = "error", rule: Any = "root-user", *, fixable: bool = False, cause: str = "") -> Finding:
    """A finding whose text is short."""
    return finding(subject(), rule, "reason", "detail", "fix", severity=severity, fixable=fixable, cause=cause)


ERROR, CURABLE = found(), found(rule="named-user", fixable=True)
WARNING, NOTE = found("warning", "volume-permissions"), found("note", "token-file-mode")
PENDING = found("unknown", "unknown-image", cause="pending")
MISSING = found("unknown", "unknown-image", cause="notFound")
INVALID = found("unknown", "unknown-image", cause="invalid")
TEXT = 'reason: container "app" detail; fix'
PAGES = "https://nonroot.dev/docs/reference/rules/"


def said(finding: Finding) -> str:
    """The warning about it, whole."""
    return f"nonroot: {finding.message} (more: {PAGES}{finding.rule}/)"


@table(
    ("findings", "injects", "exemption", "state", "kept"),
    {
        "nothing found": ((), True, None, "compliant", 0),
        "an error": ((ERROR,), True, None, "denied", 1),
        "a curable error": ((CURABLE,), True, None, "fixable", 1),
        "a curable error where nothing is patched": ((CURABLE,), False, None, "denied", 1),
        "two curable errors": ((CURABLE, CURABLE), True, None, "fixable", 2),
        "an exception for what is curable": (
            (CURABLE,),
            True,
            Exemption("x", frozenset({"named-user"})),
            "compliant",
            0,
        ),
        "both": ((CURABLE, ERROR), True, None, "denied", 2),
        "both, the other way round": ((ERROR, CURABLE), True, None, "denied", 2),
        "an unknown": ((PENDING,), True, None, "unknown", 1),
        "an error before an unknown": ((ERROR, PENDING), True, None, "denied", 2),
        "an unknown before an error": ((PENDING, ERROR), True, None, "denied", 2),
        "a warning": ((WARNING,), True, None, "compliant", 1),
        "a note": ((NOTE,), True, None, "compliant", 1),
        "a curable error and a warning": ((CURABLE, WARNING), True, None, "fixable", 2),
        "an exception for everything": ((ERROR, WARNING), True, Exemption("x"), "exempted", 0),
        "an exception for the rule": ((ERROR,), True, Exemption("x", frozenset({"root-user"})), "exempted", 0),
        "an exception for another rule": ((ERROR,), True, Exemption("x", frozenset({"root-image"})), "denied", 1),
        "an exception for another rule changes nothing": (
            (CURABLE,),
            True,
            Exemption("x", frozenset({"root-image"})),
            "fixable",
            1,
        ),
        "an exception leaves an unknown unknown": (
            (MISSING,),
            True,
            Exemption("x", frozenset({"root-image"})),
            "unknown",
            1,
        ),
        "an exception beside a warning": ((WARNING,), True, Exemption("x", frozenset({"root-image"})), "compliant", 1),
    },
)
def test_a_container_is_summed_up(
    findings: tuple[Finding, ...], injects: bool, exemption: Exemption | None, state: str, kept: int
) -> None:
    """The worst counts; what an exception covers is dropped."""
    decided = decide(subject(injects), findings, exemption)
    assert (decided.state, len(decided.findings), decided.digest) == (state, kept, "")


@table(
    ("states", "worst"),
    {
        "no containers": ([], "compliant"),
        "refused is the worst": (["unknown", "denied", "fixable"], "denied"),
        "unknown before fixable": (["unknown", "fixable"], "unknown"),
        "fixable before fine": (["compliant", "fixable", "exempted"], "fixable"),
        "fine before skipped": (["exempted", "compliant"], "compliant"),
        "skipped alone": (["exempted"], "exempted"),
    },
)
def test_a_pod_is_as_bad_as_its_worst_container(states: list[Any], worst: str) -> None:
    """For summaries."""
    containers = tuple(ContainerVerdict(subject(), state) for state in states)
    assert Verdict(effective_policy(), containers).state == worst


def verdict(
    mode: str,
    *containers: tuple[Finding, ...],
    injects: bool = True,
    problem: str = "",
    restricted: bool = False,
    work: Workload = WORK,
    **spec: Any,
) -> Verdict:
    """Each tuple of findings is a container's."""
    rule = msgspec.structs.replace(effective_policy(mode, **spec), problem=problem, restricted=restricted)
    return Verdict(rule, tuple(decide(subject(injects, work), each, None) for each in containers))


@table(
    ("given", "options", "code", "result"),
    {
        "Audit says nothing": (verdict("Audit", (ERROR,), (INVALID,)), {}, 200, 0),
        "Audit says nothing of templates": (verdict("Audit", (ERROR,), templates="Deny"), {"template": True}, 200, 0),
        "Warn warns": (verdict("Warn", (ERROR, WARNING), injects=False), {}, 200, 2),
        "Warn warns of every unknown": (
            verdict("Warn", (MISSING,), onUnknown={"default": "Allow"}, injects=False),
            {},
            200,
            1,
        ),
        "Warn never waits": (verdict("Warn", (PENDING,), injects=False), {"may_retry": True}, 200, 1),
        "Warn is silent about what is cured": (verdict("Warn", (CURABLE,)), {}, 200, 0),
        "Warn tells of it where nothing is patched": (verdict("Warn", (CURABLE,), injects=False), {}, 200, 1),
        "nothing found": (verdict("Enforce", ()), {}, 200, 0),
        "a warning": (verdict("Enforce", (WARNING,)), {}, 200, 1),
        "a note is never shown": (verdict("Enforce", (NOTE,)), {}, 200, 0),
        "an error": (verdict("Enforce", (ERROR,)), {}, 403, 1),
        "an error is not waited out": (verdict("Enforce", (ERROR,), (PENDING,)), {"may_retry": True}, 403, 1),
        "what mutation would have cured": (verdict("Enforce", (CURABLE,)), {}, 403, 1),
        "and may still cure": (verdict("Enforce", (CURABLE,)), {"may_retry": True}, 429, 1),
        "beside an unknown image": (verdict("Enforce", (CURABLE,), (MISSING,)), {}, 403, 1),
        "beside an unknown image, patiently": (
            verdict("Enforce", (CURABLE,), (MISSING,)),
            {"may_retry": True},
            429,
            1,
        ),
        "an error and a cure": (verdict("Enforce", (ERROR,), (CURABLE,)), {"may_retry": True}, 403, 1),
        "an unknown image is warned about": (verdict("Enforce", (MISSING,)), {}, 200, 1),
        "or let in": (verdict("Enforce", (MISSING,), onUnknown={"default": "Allow"}), {}, 200, 0),
        "or denied": (verdict("Enforce", (MISSING,), onUnknown={"notFound": "Deny"}), {}, 403, 1),
        "invalid content is denied": (verdict("Enforce", (INVALID,)), {}, 403, 1),
        "and not waited out": (verdict("Enforce", (INVALID,), (PENDING,)), {"may_retry": True}, 403, 1),
        "a pending image": (verdict("Enforce", (PENDING,)), {"may_retry": True}, 429, 1),
        "a pending image whose time is over": (verdict("Enforce", (PENDING,)), {}, 200, 1),
        "which the policy denies": (verdict("Enforce", (PENDING,), onUnknown={"pending": "Deny"}), {}, 403, 1),
        "but not before": (
            verdict("Enforce", (PENDING,), onUnknown={"pending": "Deny"}),
            {"may_retry": True},
            429,
            1,
        ),
        "a template is warned about": (verdict("Enforce", (ERROR,)), {"template": True}, 200, 1),
        "a template may be denied": (verdict("Enforce", (ERROR,), templates="Deny"), {"template": True}, 403, 1),
        "but never for what its Pods are cured of": (
            verdict("Enforce", (CURABLE,), templates="Deny"),
            {"template": True},
            200,
            0,
        ),
        "unless they are not": (
            verdict("Enforce", (CURABLE,), injects=False, templates="Deny"),
            {"template": True},
            403,
            1,
        ),
        "a template never waits": (
            verdict("Enforce", (PENDING,), templates="Deny"),
            {"template": True, "may_retry": True},
            200,
            1,
        ),
    },
)
def test_the_mode_is_applied_last(given: Verdict, options: dict[str, bool], code: int, result: int) -> None:
    """What is told is counted in the message of a denial, else in the warnings."""
    found = admission_decision(given, **options)
    assert found.code == code
    if code == 200:
        assert found.message == ""
        assert [each.partition(" (more: ")[0] for each in found.warnings] == [f"nonroot: {TEXT}"] * result
    else:
        assert found.warnings == ()
        head, _, tail = found.message.partition(" (mode Enforce by the policy; ")
        assert head == 'policy "strict": ' + "; ".join([TEXT] * result)
        assert tail


def test_a_denial_tells_ten_findings_and_counts_the_rest() -> None:
    """A Pod may have thousands of containers."""
    errors = [(msgspec.structs.replace(ERROR, fix=f"{ERROR.fix} {number}"),) for number in range(MESSAGE_LIMIT + 5)]
    message = admission_decision(verdict("Enforce", *errors)).message
    assert message.count(TEXT) == MESSAGE_LIMIT
    assert "; and 5 more (mode Enforce" in message
    assert " more (" not in admission_decision(verdict("Enforce", *errors[:MESSAGE_LIMIT])).message


def test_containers_with_one_fault_and_one_advice_share_a_message() -> None:
    """As those that an injector adds."""
    init, helper = (msgspec.structs.replace(ERROR, detail=f"container {name} is root") for name in ("init", "helper"))
    other = msgspec.structs.replace(ERROR, fix="do something else")
    message = admission_decision(verdict("Enforce", (init,), (other,), (helper,))).message
    assert message.startswith(
        f'policy "strict": {ERROR.reason}: container init is root; container helper is root; {ERROR.fix}; {other.message} ('
    )


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_denial_ends_with_its_first_rules(number: int) -> None:
    rules = ("root-user", "root-image", "invalid-user", "named-user")[:number]
    message = admission_decision(verdict("Enforce", tuple(found(rule=each) for each in rules))).message
    more = f"rules {', '.join(rules[:3])}; more: {PAGES}root-user/"
    assert message.endswith(f"(mode Enforce by the policy; {more})")


def test_a_refusal_is_a_denial_whatever_the_mode() -> None:
    """Of what may yet be patched, or be let in, it says nothing."""
    said = admission_decision(verdict("Enforce", (ERROR, WARNING))).message
    assert refusal(verdict("Enforce", (ERROR, WARNING))) == said
    assert refusal(verdict("Audit", (ERROR,))) == said.replace("mode Enforce", "mode Audit")
    assert refusal(verdict("Enforce", (CURABLE,), (MISSING,), (WARNING,))) == ""


def test_a_denial_of_one_fault_keeps_its_advice_within_400_characters() -> None:
    """However long the image's name is; it ends with the rule and who has set the mode."""
    long = msgspec.structs.replace(ERROR, detail="x" * 2500, fix="set runAsUser")
    found = admission_decision(verdict("Enforce", (long,))).message
    assert len(found) == FAULT_LIMIT
    assert found.endswith(f"…; set runAsUser (mode Enforce by the policy; more: {PAGES}{ERROR.rule}/)")
    labelled = msgspec.structs.replace(
        verdict("Enforce", (long,)), effective_policy=msgspec.structs.replace(effective_policy("Audit"), mode="Enforce")
    )
    assert "(mode Enforce by the namespace label nonroot.dev/mode; more: " in admission_decision(labelled).message


def test_a_denial_of_one_fault_names_the_image_whole() -> None:
    """Whoever reads it looks for that name in his manifests."""
    image = "registry.example.com/" + "a" * 150 + ":1"
    detail = f'container "app" (image "{image}", USER "nosuch") {"x" * 300}'
    long = msgspec.structs.replace(ERROR, detail=detail, image=image, fix="set runAsUser, " + "y" * 150)
    found = admission_decision(verdict("Enforce", (long,))).message
    assert f'(image "{image}"…; set runAsUser' in found
    again = msgspec.structs.replace(long, detail=f'{detail} beside "{image}"')
    assert admission_decision(verdict("Enforce", (again,))).message == found


def test_a_denial_of_one_fault_shows_where_it_is_however_long_its_advice_is() -> None:
    long = msgspec.structs.replace(ERROR, detail="x" * 100, fix="y" * 1000)
    assert f"reason: {'x' * 39}…; y" in admission_decision(verdict("Enforce", (long,))).message


def test_warnings_are_cut_only_where_the_api_server_would_cut_them() -> None:
    """Cut by us, the reason stays readable; cut by the API server, its neighbours are lost."""
    long = msgspec.structs.replace(WARNING, detail="x" * 2500)
    assert admission_decision(verdict("Enforce", (long,))).warnings == (said(long),)
    least = len(said(WARNING)) - len(WARNING.detail)
    just, beyond = (msgspec.structs.replace(WARNING, detail="x" * (WARNINGS_LIMIT - least + each)) for each in (0, 1))
    assert len(admission_decision(verdict("Enforce", (just,))).warnings[0]) == WARNINGS_LIMIT
    assert len(admission_decision(verdict("Enforce", (beyond,))).warnings[0]) == WARNING_LIMIT
    first, second = admission_decision(verdict("Enforce", (long, long))).warnings
    assert (len(first), second) == (WARNING_LIMIT, first)
    assert first.endswith(f"x… (more: {PAGES}volume-permissions/)")


def test_warnings_that_the_api_server_would_drop_are_counted_instead() -> None:
    """A Pod may have thousands of containers."""
    result = admission_decision(verdict("Enforce", (WARNING,) * 10_000)).warnings
    assert result[-1] == f"nonroot: and {10_000 - len(result) + 1} more"
    assert sum(map(len, result)) <= WARNINGS_LIMIT


def test_as_many_warnings_as_fit_are_sent() -> None:
    long = msgspec.structs.replace(WARNING, detail="x" * 2500)
    most = WARNINGS_LIMIT // WARNING_LIMIT
    assert " more" not in admission_decision(verdict("Enforce", (long,) * most)).warnings[-1]


def test_a_bad_namespace_label_is_a_warning() -> None:
    """To whoever creates Pods there."""
    assert admission_decision(verdict("Enforce", (), problem="bad label")).warnings == ("nonroot: bad label",)


@table(
    ("given", "result"),
    {
        "a refusal is told once, by who refuses": (verdict("Enforce", (ERROR, WARNING)), 1),
        "a refusal that Pod Security comes before": (verdict("Enforce", (ERROR, WARNING), restricted=True), 2),
        "a refusal of what Pod Security lets pass": (verdict("Enforce", (ERROR,), restricted=True, work=RESTRICTED), 0),
        "a warning of what it patches, for nobody else may be asked": (verdict("Enforce", (WARNING,)), 1),
        "with what would have been cured": (verdict("Enforce", (ERROR, CURABLE), restricted=True), 2),
        "not what is cured": (verdict("Enforce", (CURABLE,)), 0),
        "not what is unknown": (verdict("Enforce", (INVALID,)), 0),
        "no refusal in Warn": (verdict("Warn", (ERROR,)), 0),
        "nothing in Audit": (verdict("Audit", (ERROR,)), 0),
    },
)
def test_a_mutating_hook_says_what_the_validating_one_might_not(given: Verdict, result: int) -> None:
    """Pod Security may refuse before it is called, or nothing may be left to call it for."""
    assert [each.partition(" (more: ")[0] for each in advise(given)] == [f"nonroot: {TEXT}"] * result


def test_allowed_is_an_answer_of_its_own() -> None:
    """The commonest one."""
    assert admission_decision(verdict("Audit", (ERROR,))) == AdmissionDecision(200)


def test_a_denial_names_the_exception_that_has_ended() -> None:
    """One that would have covered what is found, however long its name; within the bound of one fault."""
    (container,) = verdict("Enforce", (ERROR,)).containers
    end = datetime(2026, 5, 31, 12, tzinfo=UTC)

    def message(*lapsed: LapsedException) -> str:
        ended = msgspec.structs.replace(container, lapsed=lapsed)
        return admission_decision(Verdict(effective_policy(), (ended,))).message

    every, one = (LapsedException("legacy", "r" * 1024, frozenset(rules), end) for rules in ((), ("root-user",)))
    said = '; NonRootException "legacy" ended at 2026-05-31 12:00 UTC (mode Enforce by the policy; more: '
    assert said in message(every)
    assert said in message(one)
    other = LapsedException("other", "r", frozenset(), end)
    assert f"ended at 2026-05-31 12:00 UTC{said.replace('legacy', 'other')}" in message(every, other)
    assert "legacy" not in message(LapsedException("legacy", "", frozenset({"root-image"}), end))
    assert len(message(every)) <= FAULT_LIMIT

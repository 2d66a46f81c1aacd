"""Every case of every rule, evaluated alone: a failing one says so, a passing one does not, a patched one is cured."""

import pytest

from tests.support.cases import FOLDER, Case, load
from tests.support.evaluation import evaluate_object, patched
from tests.support.pods import minimal, tweak, workload
from webhook.evaluation import patch

RULES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def rows(kind: str) -> pytest.MarkDecorator:
    """All cases of a kind, named by rule and sentence."""
    found = [(rule, case) for rule in RULES for case in getattr(load(rule), kind)]
    return pytest.mark.parametrize(("rule", "case"), found, ids=[f"{rule}: {case.name}" for rule, case in found])


@rows("fail")
async def test_a_failing_case_is_found(rule: str, case: Case) -> None:
    """By this rule, in these words, with a next step, at a place that is there."""
    pod = tweak(minimal(), case.pod)
    verdict = await evaluate_object(pod, case.found(), rule=case.effective_policy())
    found = [finding for finding in verdict.findings if finding.rule == rule]
    assert found, [finding.rule for finding in verdict.findings]
    assert case.says
    assert case.says in found[0].message
    assert found[0].message.isprintable()
    assert found[0].fix
    assert len([finding for finding in found if finding.container == found[0].container]) == 1


@rows("passing")
async def test_a_passing_case_is_not(rule: str, case: Case) -> None:
    """Whatever other rules say."""
    verdict = await evaluate_object(tweak(minimal(), case.pod), case.found(), rule=case.effective_policy())
    assert rule not in [finding.rule for finding in verdict.findings]


@rows("patched")
async def test_a_patched_case_is_cured(rule: str, case: Case) -> None:
    """The security contexts become what is written, and evaluated again the rule has nothing to say."""
    pod, rule_in_force = tweak(minimal(), case.pod), case.effective_policy()
    once = patched(pod, await evaluate_object(pod, case.found(), rule=rule_in_force))
    assert once["spec"]["containers"][0]["securityContext"] == case.becomes
    assert once["spec"].get("securityContext", {}) == case.pod_becomes
    again = await evaluate_object(once, case.found(), rule=rule_in_force)
    assert rule not in [finding.rule for finding in again.findings]
    assert patch.operations(again, workload(once)) == []

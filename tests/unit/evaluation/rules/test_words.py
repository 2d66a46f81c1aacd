"""What is said and patched of every failing case, to the letter, in words.json: users search for these words, programs read them.

After an intended change: NONROOT_WRITE_WORDS=1 pytest tests/unit/evaluation/rules/test_words.py, and read the difference.
"""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.cases import Case, load
from tests.support.evaluation import evaluate_object
from tests.support.pods import minimal, tweak, workload
from tests.unit.evaluation.rules.test_cases import RULES
from webhook.evaluation import patch
from webhook.evaluation.finding import describe_user

WORDS = Path(__file__).with_name("words.json")


async def _said(case: Case) -> dict[str, Any]:
    pod = tweak(minimal(), case.pod)
    verdict = await evaluate_object(pod, case.found(), rule=case.effective_policy())
    return {
        "state": verdict.state,
        "users": {each.subject.slot.container.name: describe_user(each.subject) for each in verdict.containers},
        "findings": [
            {name: value for name, value in msgspec.to_builtins(each).items() if value} for each in verdict.findings
        ],
        "patch": patch.operations(verdict, workload(pod)),
    }


@pytest.mark.parametrize("rule", RULES)
async def test_what_is_said_of_every_failing_case(rule: str) -> None:
    cases = load(rule)
    said = {each.name: msgspec.to_builtins(await _said(each)) for each in (*cases.fail, *cases.patched)}
    kept = json.loads(WORDS.read_text())
    if os.environ.get("NONROOT_WRITE_WORDS"):
        kept[rule] = said
        WORDS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    assert said == kept[rule]

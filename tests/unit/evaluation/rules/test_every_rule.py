"""A rule without its docstring, its cases or its place in the lists is found here."""

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

import webhook.evaluation.rules
from tests.support.cases import FOLDER, load
from webhook.evaluation.rules import RULES
from webhook.policy.types import Rule

SECTIONS = ["Why", "Fails", "Passes", "Fix", "Dockerfile", "Source"]
FILES = sorted(
    path.stem for path in Path(webhook.evaluation.rules.__file__).parent.glob("*.py") if path.stem != "__init__"
)


@pytest.fixture(params=FILES)
def rule(request: pytest.FixtureRequest) -> ModuleType:
    """A module of the folder."""
    return importlib.import_module(f"webhook.evaluation.rules.{request.param}")


def test_its_name_is_its_files(rule: ModuleType) -> None:
    """So that a finding leads to the code, and reads as English in an exception."""
    assert rule.__name__.rpartition(".")[2].replace("_", "-") == rule.NAME


def test_it_is_in_the_list_of_rules_once(rule: ModuleType) -> None:
    """A rule that is not in RULES is never asked."""
    assert RULES.count(rule) == 1


def test_a_policy_knows_its_name(rule: ModuleType) -> None:
    """Exceptions are checked against these names."""
    assert rule.NAME in get_args(Rule)


def test_its_docstring_has_every_section_in_order(rule: ModuleType) -> None:
    """`nonroot explain RULE` prints it."""
    text = rule.__doc__ or ""
    assert re.findall(r"^([A-Z][a-z]+): ", text, re.MULTILINE) == SECTIONS
    title, blank, *_ = text.splitlines()
    assert (title[-1], blank) == (".", "")
    sections = re.split(r"^[A-Z][a-z]+: ", text, flags=re.MULTILINE)[1:]
    assert all(section.strip() for section in sections)
    assert "`" in sections[SECTIONS.index("Fix")] or "what the cause says" in sections[SECTIONS.index("Fix")]
    assert re.search(r"\w/\w.*\.(go|md)|kubernetes pkg/", sections[SECTIONS.index("Source")])


def test_its_check_says_what_it_looks_for(rule: ModuleType) -> None:
    """In one sentence."""
    assert (rule.check.__doc__ or "").endswith(".")


def test_it_has_cases_that_fail_and_cases_that_pass(rule: ModuleType) -> None:
    """Under names that differ."""
    cases = load(rule.NAME)
    assert cases.fail
    assert cases.passing
    names = [case.name for case in (*cases.fail, *cases.passing, *cases.patched)]
    assert len(names) == len(set(names))
    assert all(case.says for case in cases.fail)
    assert all(case.becomes for case in cases.patched)


def test_there_is_nothing_beside_the_rules() -> None:
    """Neither a name without a module, nor cases without a rule."""
    names = sorted(name.replace("_", "-") for name in FILES)
    assert sorted(get_args(Rule)) == names
    assert sorted(path.name for path in FOLDER.iterdir()) == [f"{name}.yaml" for name in names]
    assert len(RULES) == len(names)

"""`nonroot explain` answers to a rule's name, and to what the kubelet or a runtime said."""

import json
from typing import get_args

import pytest
from click.testing import CliRunner

from webhook.cli import rule_docs
from webhook.cli.main import main
from webhook.errors import InvalidSetting
from webhook.policy.types import Rule


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("Error: container has runAsNonRoot and image has non-numeric user (app), cannot verify user", "named-user"),
        ("container has runAsNonRoot and image will run as root (pod: x)", "root-image"),
        ("container has runAsNonRoot and image has an invalid user id (-1).", "invalid-user"),
        ("container's runAsUser breaks non-root policy (pod: x)", "root-user"),
        ("unable to find user app: no matching entries in passwd file", "unresolvable-user"),
        ("low-port", "low-port"),
    ],
)
def test_the_rule_of_a_refusal_is_found(said: str, rule: str) -> None:
    """Whatever stands before and behind the words that are always the same."""
    assert rule_docs.find(said).name == rule
    output = CliRunner().invoke(main, ["explain", said]).output
    assert output.startswith(f"{rule}\n\n")
    assert output.endswith(f"\n\nhttps://nonroot.dev/docs/reference/rules/{rule}/\n")


def test_what_is_neither_is_said_to_be_neither() -> None:
    """With the names that there are; and every rule that a sentence leads to is one."""
    with pytest.raises(InvalidSetting, match="there is no rule 'OOMKilled'"):
        rule_docs.find("OOMKilled")
    assert {rule for _, rule in rule_docs._SAID} <= set(get_args(Rule))


def test_several_rules_and_other_forms() -> None:
    """Markdown for a wiki, JSON for a program; all rules where none is named."""
    text = CliRunner().invoke(main, ["explain", "low-port", "root-step", "-o", "markdown"]).output
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## low-port", "## root-step"]
    found = json.loads(CliRunner().invoke(main, ["explain", "-o", "json"]).output)
    assert [each["rule"] for each in found["rules"]] == list(rule_docs.names())
    assert all(each["sections"]["Why"] for each in found["rules"])

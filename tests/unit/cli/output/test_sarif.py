"""What somebody has allowed is in SARIF with who allowed it and why; it counts for nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.unit.check.files import POD
from webhook.cli.main import main

ROOT = POD.replace("runAsNonRoot: true", "runAsUser: 0")
EXCEPTION = """\
apiVersion: nonroot.dev/v1alpha1
kind: NonRootException
metadata: {name: e, namespace: shop}
spec: {reason: a ticket, rules: [root-user]}
"""


def results(folder: Path, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    command = ["check", "--no-images", "-o", "sarif", *arguments, str(folder)]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout)["runs"][0]["results"]


def suppressions(folder: Path, *arguments: str) -> list[tuple[str, str, str]]:
    """The rule, the kind and the reason of each; nothing else is found, and the exit code is 0."""
    code, found = results(folder, *arguments)
    assert code == 0, found
    return [(each["ruleId"], one["kind"], one["justification"]) for each in found for one in each["suppressions"]]


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("pod.yaml", ROOT.replace("kind: Pod", "# nonroot: allow root-user a ticket\nkind: Pod"), ""),
        ("pod.yaml", f"# nonroot: allow root-user a ticket\n{ROOT}", "root-user"),
        ("Dockerfile", "FROM a\n# nonroot: allow root-final-stage a ticket\nUSER 0\n", "root-final-stage"),
        (
            "compose.yaml",
            "services:\n  # nonroot: allow root-user a ticket\n  web: {image: a, user: '0'}\n",
            "root-user",
        ),
    ],
)
def test_a_comment_allows_in_the_source(tmp_path: Path, name: str, text: str, rule: str) -> None:
    (tmp_path / name).write_text(text)
    if not rule:  # a comment in the middle of an object is about nothing
        code, found = results(tmp_path)
        assert (code, [each["ruleId"] for each in found], "suppressions" in found[0]) == (1, ["root-user"], False)
        return
    ((found_rule, kind, reason),) = suppressions(tmp_path)
    assert (found_rule, kind) == (rule, "inSource")
    assert "a ticket" in reason


def test_an_exception_beside_the_files_is_external(tmp_path: Path) -> None:
    files, policy = tmp_path / "files", tmp_path / "policy.yaml"
    files.mkdir()
    (files / "pod.yaml").write_text(ROOT)
    policy.write_text(EXCEPTION)
    ((rule, kind, reason),) = suppressions(files, "--policy", str(policy))
    assert (rule, kind, "a ticket" in reason) == ("root-user", "external", True)


def test_a_baseline_is_external(tmp_path: Path) -> None:
    files, baseline = tmp_path / "files", tmp_path / "baseline.json"
    files.mkdir()
    (files / "pod.yaml").write_text(ROOT)
    CliRunner().invoke(main, ["check", "--no-images", "-o", f"json={baseline}", str(files)])
    assert suppressions(files, "--baseline", str(baseline)) == [
        ("root-user", "external", f"in the baseline {baseline}")
    ]


def test_a_rule_that_is_off_is_external(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pod.yaml").write_text(ROOT)
    (tmp_path / ".nonroot.yaml").write_text("rules: {root-user: off}\n")
    monkeypatch.chdir(tmp_path)
    assert suppressions(tmp_path) == [("root-user", "external", "off in .nonroot.yaml")]

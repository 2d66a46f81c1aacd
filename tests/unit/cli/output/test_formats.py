"""Every format of one report: complete, safe to print, and as its schema says."""

import json
import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests.support.markup import Markup
from webhook.check.report import Examined, Finding, Object, Report, Skipped
from webhook.cli import rule_docs
from webhook.cli.output import FORMATS, json_v1, render
from webhook.evaluation.documentation import rule_url

PAGE = "https://nonroot.dev/docs/reference/rules/named-user/"
NASTY = "\x1b[31m<b>::error::%0A\n,\u202e"
REPORT = Report(
    findings=(
        Finding("named-user", "error", "a b/pod.yaml", 9, 7, "a name: app", "write 1000", Object("Pod", "shop", "web"),
                "app", "named:1", "app", "cannot verify user is non-root"),
        Finding("unknown-image", "unknown", "pod.yaml", 1, 1, NASTY, NASTY, Object(NASTY, NASTY, NASTY), NASTY, NASTY),
        Finding("volume-permissions", "warning", "pod.yaml", 1, 1, "m", "f", Object("Pod", "", "web"), "app", "i"),
        Finding("volume-permissions", "note", "pod.yaml", 2, 1, "m", "f", Object("Pod", "", "web"), "app", "i"),
    ),
    files=(Examined("a b/pod.yaml", "manifest"), Examined("Dockerfile", "dockerfile", None, "debian:12")),
    skipped=(Skipped("chart/x.yaml", 3, NASTY),),
    workloads=2,
    containers=3,
    not_examined=1,
    allowed=1,
)  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_tells_everything_and_lets_no_stranger_write_to_the_terminal(form: str) -> None:
    """All rules, their pages, paths and lines; no escape sequence, no override of the writing direction, nothing unescaped."""
    outcome = render(form, REPORT)
    for part in ("named-user", "unknown-image", "volume-permissions", "chart/x.yaml", "write 1000", PAGE):
        assert part in outcome
    if form != "json":
        assert "\x1b" not in outcome
        assert "\u202e" not in outcome
    for form_of in FORMATS:
        assert render(form_of, Report())


def test_the_text_is_for_a_person() -> None:
    """Place, severity, rule, object, sentence, the kubelet's words, the cure, the rule's page; then what it all comes to."""
    lines = render("text", REPORT).splitlines()
    assert lines[:5] == [
        "a b/pod.yaml:9:7: error named-user  Pod shop/web, container app",
        "    a name: app",
        "    kubelet: CreateContainerConfigError: cannot verify user is non-root",
        "    fix: write 1000",
        f"    more: {PAGE}",
    ]
    assert lines[-1] == (
        "2 files, 3 containers, 1 image not examined (--no-images): "
        "1 error, 1 warning, 1 unknown, 1 note, 1 skipped, 1 allowed"
    )


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    """https://no-color.org: set and not empty means none."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    assert ("\x1b[1;31m" in render("text", REPORT)) == coloured


def test_the_json_is_as_its_published_schema_says() -> None:
    """The schema is generated from the types; whoever changes them publishes it anew."""
    published = json_v1.SCHEMA.read_bytes()
    assert published == json_v1.schema(), "run: python -m webhook.cli.output.json_v1"
    document = json.loads(render("json", REPORT))
    jsonschema.validate(document, json.loads(published))
    assert document["version"] == 1
    assert document["findings"][0] == {
        "rule": "named-user", "severity": "error", "path": "a b/pod.yaml", "line": 9, "column": 7,
        "object": {"kind": "Pod", "namespace": "shop", "name": "web"}, "container": "app", "image": "named:1",
        "user": "app", "message": "a name: app", "fix": "write 1000", "kubelet": "cannot verify user is non-root",
        "url": PAGE,
    }  # fmt: skip
    assert document["files"][1] == {"path": "Dockerfile", "kind": "dockerfile", "user": None, "base": "debian:12"}
    assert document["skipped"] == [{"path": "chart/x.yaml", "line": 3, "reason": NASTY}]
    assert document["summary"]["errors"] == 1


def test_annotations_are_one_command_a_line() -> None:
    """What a stranger wrote can neither end a command nor begin one."""
    lines = render("github", REPORT).splitlines()
    assert lines[0] == (
        "::error file=a b/pod.yaml,line=9,col=7,title=named-user%3A Pod shop/web%2C container app"
        f"::a name: app; write 1000 (more: {PAGE})"
    )
    assert [line.split(" ")[0] for line in lines[:-1]] == ["::error", "::warning", "::warning", "::notice", "::warning"]
    assert all(
        re.fullmatch(r"::\w+ file=[^:,]*,line=\d+,(col=\d+,)?title=[^:,]*::[^\r\n]*", each) for each in lines[:-1]
    )


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    """Every tag is closed, nothing is asked for, and what strangers wrote is text."""
    page = render("html", REPORT)
    markup = Markup(page)
    assert markup.asks_for() == set()
    assert markup.links() == {rule_url(each.rule) for each in REPORT.findings}
    assert "b" not in {tag for tag, _ in markup.elements}
    assert page.count("<script>") == 1


def sarif() -> Any:
    """The report as SARIF."""
    return json.loads(render("sarif", REPORT))


def test_sarif_has_rules_with_help_and_fingerprints_that_survive_moved_lines() -> None:
    """A fingerprint names what a finding is about; equal ones are counted."""
    (run,) = sarif()["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [each["id"] for each in rules] == list(rule_docs.names())
    assert all("**Why**" in each["help"]["markdown"] for each in rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "a%20b/pod.yaml"}, "region": {"startLine": 9, "startColumn": 7}}
    prints = [each["partialFingerprints"]["nonroot/v1"] for each in run["results"]]
    assert len(set(prints)) == 4
    assert prints[2].split(":")[0] == prints[3].split(":")[0]
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert notes[0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 3}


@pytest.mark.parametrize(
    ("severities", "fail_on", "code"),
    [
        ((), "error", 0),
        (("note",), "unknown", 0),
        (("unknown",), "error", 3),
        (("unknown",), "unknown", 1),
        (("warning",), "error", 0),
        (("warning",), "warning", 1),
        (("warning",), "unknown", 1),
        (("error",), "error", 1),
        (("error", "unknown"), "error", 1),
    ],
)
def test_the_exit_code_is_the_first_that_holds(severities: Any, fail_on: Any, code: int) -> None:
    """1 findings at or above, 3 something could not be determined, 0 clean."""
    findings = tuple(Finding("root-user", each, "p", 1, 1, "m", "f") for each in severities)
    assert Report(findings).exit_code(fail_on) == code
    assert Report(findings, skipped=(Skipped("p", 1, "r"),)).exit_code(fail_on) == (code or 3)

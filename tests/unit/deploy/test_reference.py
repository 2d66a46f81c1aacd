"""The documentation: its reference pages are current, and what it names exists."""

import json
import re
from pathlib import Path

import pytest
import yaml

from deploy.dev import reference
from webhook.cli import rule_docs
from webhook.cli.main import main
from webhook.evaluation.documentation import SITE

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SCHEMA = json.loads((ROOT / "charts/nonroot-webhook/values.schema.json").read_text())
VALUES = SCHEMA["properties"]
METRICS = set(re.findall(r"nonroot_[a-z_]+", "".join(path.read_text() for path in (ROOT / "webhook").rglob("*.py"))))
MAKEFILE = (ROOT / "Makefile").read_text()
ALERTS = re.findall(
    r"- alert: (\w+)", (ROOT / "charts/nonroot-webhook/templates/monitoring/prometheusrule.yaml").read_text()
)


def test_the_reference_pages_are_those_of_the_code() -> None:
    made = {reference.DOCS / path: reference.text(page) for path, page in reference.pages()}
    stale = [
        str(path.relative_to(ROOT)) for path, page in made.items() if not path.exists() or path.read_text() != page
    ]
    assert stale == [], "run: make generate"
    left = {
        path for path in (DOCS / "reference").rglob("*.md") if reference.MADE.strip() in path.read_text()
    } - made.keys()
    assert left == set(), "these describe what is no more: delete them"


def test_every_rule_has_a_page() -> None:
    assert {path.stem for path in (DOCS / "reference/rules").glob("*.md")} == {*rule_docs.names(), "index"}
    assert f"site_url: {SITE}\n" in (ROOT / ".mkdocs.yml").read_text()


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    described = re.findall(r"^## (\w+)$", (DOCS / "reference/alerts.md").read_text(), re.MULTILINE)
    assert sorted(described) == sorted(ALERTS)
    values = yaml.safe_load((ROOT / "charts/nonroot-webhook/values.yaml").read_text())
    site = re.search(r"^site_url: (.*)$", (ROOT / ".mkdocs.yml").read_text(), re.MULTILINE)
    assert site
    assert values["prometheusRule"]["runbookUrl"] == f"{site[1]}reference/alerts/"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_every_command_of_ours_exists(page: Path) -> None:
    """Whatever follows `nonroot` at the start of a line of a shell block, or inside of backquotes, is a command."""
    text = page.read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    named = {name for block in blocks for name in re.findall(r"^\s*nonroot ([a-z]+)", block, re.MULTILINE)}
    named |= set(re.findall(r"`nonroot ([a-z]+)", text))
    assert named <= set(main.list_commands(None))  # type: ignore[arg-type]  # it does not look at the context


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_every_value_metric_target_and_file_exists(page: Path) -> None:
    """What a page names in backquotes, or gives to Helm, is still called so."""
    text = page.read_text()
    found = re.findall(r"(?:`|--set(?:-json)?[ =]'?)([a-z][A-Za-z]+(?:\.[A-Za-z]+)+)(?=[`:=])", text)
    if page.parent.name == "decisions":
        found = []  # these name modules, of the package webhook among others
    wrong = [
        each for each in found if each.partition(".")[0] in VALUES and not _is_value(each) and ".example." not in each
    ]
    wrong += [each for each in re.findall(r"nonroot_[a-z_]+[a-z]", text) if each not in METRICS]
    wrong += [each for each in re.findall(r"`make ([a-z-]+)", text) if f"\n{each}:" not in MAKEFILE]
    files = re.findall(r"`((?:tests|deploy|webhook|charts)/[\w./-]+\.\w+)`", text)
    wrong += [each for each in files if not (ROOT / each).exists()]
    assert wrong == []


def _is_value(path: str) -> bool:
    """Whether the chart has it; below a value that takes any key nothing is known."""
    node = SCHEMA
    for name in path.split("."):
        if "properties" not in node:
            return bool(node.get("type") != "string")
        if name not in node["properties"]:
            return False
        node = node["properties"][name]
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_every_link_to_another_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).is_file(), target

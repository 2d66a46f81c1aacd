"""The documentation: its reference pages are current, and what it names exists."""

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
def test_every_link_to_another_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).is_file(), target

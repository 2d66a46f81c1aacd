"""What README and the documentation show is what there is: output, policies, commands and figures."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.bench import quoted
from webhook.policy.loader import load

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted({ROOT / "README.md", *(ROOT / "docs").rglob("*.md")} - set((ROOT / "docs/decisions").glob("*.md")))


def _blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)\n```", document, re.DOTALL)


def test_the_policies_shown_are_valid() -> None:
    (text,) = _blocks(README, "yaml")
    documents = load(YAML(typ="safe", pure=True).load_all(text), "README")
    assert [each.metadata.name for each in documents.policies] == ["shops"]
    assert [each.metadata.name for each in documents.exceptions] == ["legacy"]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z][a-z-]+)", README))))
def test_every_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_figures_quoted_are_those_of_the_last_bench() -> None:
    page = quoted.PAGE.read_text(encoding="utf-8")
    assert quoted.filled_in(page, quoted.RESULTS.read_text(encoding="utf-8")) == page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_other_figures_of_speed_are_quoted(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(quoted.BEGIN)
    assert not re.findall(
        r"\d (?:reviews|creations|Pods) (?:a|per|in a) second|/s\b|times (?:its|the) rate|× rate|ms of CPU|µs",
        before + rest.partition(quoted.END)[2],
    )


def test_every_section_of_the_results_says_at_which_commit_it_was_measured() -> None:
    sections = quoted.RESULTS.read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(sections) > 5
    for each in sections:
        assert re.match(r".*\n\nMeasured \d{4}-\d\d-\d\d at [0-9a-f]{7,}: \d+ cores, ", each), each[:80]

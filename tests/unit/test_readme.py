"""What README and the documentation show is what there is: output, policies, commands and figures."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from webhook.policy.loader import load

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PERFORMANCE = (ROOT / "docs/explanation/performance.md").read_text(encoding="utf-8")


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
    results = (ROOT / "tests" / "bench" / "results.md").read_text(encoding="utf-8")
    quoted = " ".join(PERFORMANCE.split())
    for review, sentence in {
        "compliant, 4 KB": "a compliant review at {rate:.1f} times its rate and {cpu:.2f} of its CPU",
        "violating": "a denied one at {rate:.1f} times and {cpu:.2f}",
        "13 containers, 31 KB": "one of 13 containers at {rate:.1f} times and {cpu:.2f}",
        "compliant, each unlike the others": "no two alike, {rate:.1f} times and {cpu:.2f}",
        "violating, each unlike the others": "denied {rate:.1f} times and {cpu:.2f}",
    }.items():
        row = rf"\| {review} \| 16 \| Pod Security webhook \|.*\| ([\d.]+) × rate, ([\d.]+) × CPU"
        (found,) = re.findall(row, results)
        assert sentence.format(rate=float(found[0]), cpu=float(found[1])) in quoted

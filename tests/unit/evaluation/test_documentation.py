"""Where messages lead."""

from pathlib import Path

from webhook.cli import rule_docs
from webhook.evaluation.documentation import SITE, more, rule_url

DOCS = Path(__file__).parents[3] / "docs"


def test_an_address_is_that_of_the_rules_page() -> None:
    """The site has rule/index.html for rule.md."""
    for rule in rule_docs.names():
        page = rule_url(rule).removeprefix(SITE).rstrip("/")
        assert (DOCS / f"{page}.md").is_file()
        assert more(rule) == f" (more: {rule_url(rule)})"

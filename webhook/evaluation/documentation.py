"""The addresses of the documentation: every message about a rule ends with that of the rule's page."""

from functools import cache

SITE = "https://nonroot.dev/docs/"


@cache
def rule_url(rule: str) -> str:
    """The address of a rule's page, which does not change: a name is never given to another rule."""
    return f"{SITE}reference/rules/{rule}/"


def more(rule: str) -> str:
    """The end of a message of one line."""
    return f" (more: {rule_url(rule)})"

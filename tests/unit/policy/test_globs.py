"""Globs match the whole of a text, as people write them in policies."""

from datetime import UTC, datetime, timedelta

from tests.support.tables import table
from webhook.policy.globs import matcher


@table(
    ("globs", "text", "expected"),
    {
        "no globs match nothing": ((), "", False),
        "the whole text": (("docker.io/*",), "docker.io/library/a:1", True),
        "not a part of it": (("docker.io",), "docker.io/library/a", False),
        "not the beginning of it": (("*/a",), "docker.io/a:1", False),
        "any of several": (("x", "*/a:?"), "docker.io/a:1", True),
        "a text beside a pattern": (("x", "b*"), "x", True),
        "neither the text nor the pattern": (("x", "b*"), "y", False),
        "several stars in several globs": (("*a*b*", "*c*d*"), "xcydz", True),
        "a class": (("*[:@]1",), "a@1", True),
        "letters count": (("A",), "a", False),
        "a line break cannot end it": (("a",), "a\n", False),
        "a star spans lines": (("a*",), "a\nb", True),
    },
)
def test_globs(globs: tuple[str, ...], text: str, expected: bool) -> None:
    """Shell globs on the whole of a text; a star spans slashes."""
    assert bool(matcher(globs)(text)) is expected


def test_many_stars_are_matched_in_no_time() -> None:
    """A policy cannot stop the webhook by a glob."""
    started = datetime.now(UTC)
    assert not matcher(("*a" * 40 + "b",))("a" * 4000)
    assert datetime.now(UTC) - started < timedelta(seconds=2)

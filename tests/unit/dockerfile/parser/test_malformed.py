"""What BuildKit refuses is refused with a line and a reason, and what it takes is taken, however odd."""

from __future__ import annotations

import pytest

from tests.unit.dockerfile.faults import FAULTS, ODDITIES
from webhook.dockerfile import Evaluation, Malformed, evaluate


@pytest.mark.parametrize(("text", "line", "words"), FAULTS)
def test_a_fault_is_reported_with_its_line(text: str, line: int, words: str) -> None:
    """And in words that name it."""
    found = evaluate(text)
    assert isinstance(found, Malformed), found
    assert (found.line, words in found.reason) == (line, True), found
    assert found.reason.isprintable()


@pytest.mark.parametrize(("text", "user"), ODDITIES)
def test_an_oddity_is_read_as_buildkit_reads_it(text: str, user: str) -> None:
    """The oracle's test asks BuildKit about the same texts."""
    found = evaluate(text)
    assert isinstance(found, Evaluation), found
    assert found.user == user


def test_a_backslash_in_a_quoted_pattern_is_a_backslash() -> None:
    """As in BuildKit since v0.34; the oracle, which is older, refuses it."""
    found = evaluate("FROM scratch\nENV A=a\\\\b\nUSER ${A#'a\\'}")
    assert isinstance(found, Evaluation), found
    assert found.user == "b"


def test_a_line_break_ends_what_a_pattern_matches() -> None:
    """Build arguments can hold one; a star does not cross it."""
    text = "FROM scratch\nARG A\nUSER ${A#*c}+${A//b*/x}+${A%b*}"
    found = evaluate(text, build_args={"A": "ab\nbc"})
    assert isinstance(found, Evaluation), found
    assert found.user == "ab\nbc+ax\nx+ab\n"


def test_the_error_of_a_missing_target_names_those_that_there_are() -> None:
    """Numbers are no names, as in BuildKit."""
    found = evaluate("FROM a AS one\nFROM b AS two", target="three")
    assert isinstance(found, Malformed)
    assert "one, two" in found.reason
    assert isinstance(evaluate("FROM a", target="0"), Malformed)

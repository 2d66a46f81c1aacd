"""Texts that are cut are cut between words."""

import pytest

from webhook.text import shortened


@pytest.mark.parametrize(
    ("text", "limit", "result"),
    [
        ("one two three", 13, "one two three"),
        ("one two three", 12, "one two…"),
        ("one two three", 8, "one two…"),
        ("one two, three", 9, "one two…"),
        ('(image "a/b", no USER) would', 13, '(image "a/b"…'),
        ("onetwothree", 6, "onetw…"),
    ],
)
def test_a_text_is_shortened_at_a_word(text: str, limit: int, result: str) -> None:
    """One word that is longer than all there is room for is cut."""
    assert shortened(text, limit) == result
    assert len(result) <= limit

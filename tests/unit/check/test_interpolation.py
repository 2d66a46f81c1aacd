"""Variables of compose files, by the examples of the specification."""

import pytest

from webhook.check.interpolation import interpolate, read_env

VALUES = {"X": "x", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "a"),
        ("$X-${X}", "x-x"),
        ("$$X", "$X"),
        ("$NO", None),
        ("${NO}", None),
        ("${NO:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${NO-}", ""),
        ("${X:+y}", "y"),
        ("${NO+y}", ""),
        ("${X:?no}", "x"),
        ("${NO?no}", None),
        ("${NO:-${PUID:-0}}", "0"),
        ("${NO:-${X}}:${NO:-7}", "x:7"),
        ("${NO:-{}}", "{}"),
        ("${X", None),
        ("$", None),
        ("${NO:-" * 50, None),
        ("${NO:-" * 50 + "}" * 50, None),
    ],
)
def test_a_variable_is_what_compose_makes_of_it(text: str, expected: str | None) -> None:
    """None is what cannot be said here."""
    assert interpolate(text, VALUES) == expected


def test_the_file_beside_it() -> None:
    """Comments, quotes, export, and variables of earlier lines."""
    text = "# a\nA=1\nexport B = \"$A-2\" # why\nC='$A'\nD=$A # x\nE\nF=\n"
    assert read_env(text) == {"A": "1", "B": "1-2", "C": "$A", "D": "1", "F": ""}

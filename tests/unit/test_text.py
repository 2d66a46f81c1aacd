"""Texts that are cut are cut between words, and a decoder's words become those of whoever wrote the document."""

from typing import Any, Literal

import msgspec
import pytest

from webhook.text import describe_error, shortened


class Inner(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Something with a constraint."""

    run_as_user: int | None = None
    mode: Literal["Audit", "Warn", "Enforce"] = "Audit"


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    """Something that holds it in every way."""

    name: str
    one: Inner | None = None
    many: tuple[Inner, ...] = ()
    named: dict[str, Inner] = {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"name": None}, "spec.name: must be a string, not null"),
        ({}, "spec: the field name is missing"),
        ([], "spec: must be a mapping, not a list"),
        ({"name": "a", "one": {"runAsUser": "1"}}, "spec.one.runAsUser: must be a whole number, not a string"),
        ({"name": "a", "many": {}}, "spec.many: must be a list, not a mapping"),
        (
            {"name": "a", "many": [{"mode": "enforce"}]},
            "spec.many[0].mode: cannot be 'enforce': it is one of Audit, Enforce, Warn; did you mean Enforce?",
        ),
        (
            {"name": "a", "one": {"mode": "zzz"}},
            "spec.one.mode: cannot be 'zzz': it is one of Audit, Enforce, Warn",
        ),
        ({"name": "a", "one": {"runAsUsr": 1}}, "spec.one: there is no field 'runAsUsr'; did you mean runAsUser?"),
        ({"name": "a", "one": {"zzz": 1}}, "spec.one: there is no field 'zzz': it has runAsUser, mode"),
        (
            {"name": "a", "named": {"x": {"mode": "enforce"}}},
            "spec.named[...].mode: cannot be 'enforce': it is one of Audit, Enforce, Warn; did you mean Enforce?",
        ),
        ({1: "a"}, "a key of spec: must be a string"),
    ],
)
def test_an_error_names_the_field_and_what_it_must_be(value: Any, text: str) -> None:
    with pytest.raises(msgspec.ValidationError) as failed:
        msgspec.convert(value, Outer)
    assert describe_error(failed.value, Outer, "spec") == text


def test_without_the_type_no_values_are_listed() -> None:
    with pytest.raises(msgspec.ValidationError) as failed:
        msgspec.convert({"name": "a", "named": {"x": {"mode": "enforce"}}}, Outer)
    assert describe_error(failed.value).endswith(".mode: cannot be 'enforce'")


def test_what_is_no_such_error_is_kept() -> None:
    """JSON that is none, and our own sentences."""
    with pytest.raises(msgspec.DecodeError) as failed:
        msgspec.json.decode(b"{", type=Outer)
    assert describe_error(failed.value) == "the document: Input data was truncated"


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


@pytest.mark.parametrize(
    ("limit", "result"),
    [
        (21, "one two three (there)"),
        (20, "one two… (there)"),
        (12, "one… (there)"),
        (3, "… (there)"),
    ],
)
def test_what_a_text_ends_with_stays_whole(limit: int, result: str) -> None:
    """However little room there is for the text itself."""
    assert shortened("one two three", limit, " (there)") == result

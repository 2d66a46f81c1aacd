"""/etc/passwd and /etc/group are read as the runtimes read them, down to what they get wrong."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.tables import table
from webhook.image.golang import overflows, parse_decimal
from webhook.image.passwd import (
    AccountFiles,
    Group,
    UnreadableAccounts,
    by_name,
    by_uid,
    entries,
    groups,
    supplementary,
)

INT64_MAX = 2**63 - 1


@table(
    ("line", "expected"),
    {
        "a whole line": ("app:x:1000:1001:App:/home/app:/bin/sh", ("app", 1000, 1001, "/home/app")),
        "no shell": ("app:x:1:2:g:/h", ("app", 1, 2, "/h")),
        "a name only": ("app", ("app", 0, 0, "")),
        "an empty uid is root": ("app:x::5", ("app", 0, 5, "")),
        "a uid of letters is root": ("app:x:abc:5", ("app", 0, 5, "")),
        "a uid with a space inside its field is root": ("app:x: 1006:5", ("app", 0, 5, "")),
        "a hexadecimal uid is root": ("app:x:0x10:5", ("app", 0, 5, "")),
        "a uid with an underscore is root": ("app:x:1_0:5", ("app", 0, 5, "")),
        "digits of another script are root": ("app:x:١٠:5", ("app", 0, 5, "")),
        "a plus sign is a number": ("app:x:+5:+6", ("app", 5, 6, "")),
        "a minus sign is kept": ("app:x:-1:-1", ("app", -1, -1, "")),
        "beyond 32 bits is kept": ("app:x:4294967296:7", ("app", 4294967296, 7, "")),
        "beyond 64 bits is cut": ("app:x:9223372036854775808:7", ("app", INT64_MAX, 7, "")),
        "below 64 bits is cut": ("app:x:-9223372036854775809:7", ("app", -INT64_MAX - 1, 7, "")),
        "too large before it is no number": ("app:x:18446744073709551616x:7", ("app", INT64_MAX, 7, "")),
        "too small before it is no number": ("app:x:-18446744073709551616x:7", ("app", -INT64_MAX - 1, 7, "")),
        "no number before it is too large": ("app:x:18446744073709551615x:7", ("app", 0, 7, "")),
        "leading zeros are decimal": ("app:x:010:7", ("app", 10, 7, "")),
        "fields too many are ignored": ("app:x:1:2:g:/h:/s:more:and more", ("app", 1, 2, "/h")),
        "a hash is no comment": ("#app:x:0:0", ("#app", 0, 0, "")),
        "an NIS line is a user called plus": ("+::::::", ("+", 0, 0, "")),
        "white space around the line goes": (" \t\u00a0app:x:7:7\u2003\r", ("app", 7, 7, "")),
        "a unit separator is no white space to Go": ("\x1fapp:x:7:7", ("\x1fapp", 7, 7, "")),
        "white space inside a name stays": ("a pp :x:7:7", ("a pp ", 7, 7, "")),
    },
)
def test_a_passwd_line_is_read(line: str, expected: tuple[str, int, int, str]) -> None:
    """Atoi's errors are ignored: what does not parse is 0, and 0 is root."""
    (entry,) = entries(line.encode())
    assert (entry.name, entry.uid, entry.gid, entry.home) == expected


def test_lines_are_numbered_as_an_editor_does() -> None:
    """Blank lines are skipped but counted, for messages."""
    assert [(each.name, each.line) for each in entries(b"\n  \na\r\n\r\nb")] == [("a", 3), ("b", 5)]


def test_a_name_that_is_no_utf_8_matches_nobody() -> None:
    """A config's USER is text, so a raw byte can never be asked for."""
    accounts = AccountFiles(b"\xff:x:1:1\n")
    assert by_name(accounts, "\ufffd") is None


def test_no_file_has_no_lines() -> None:
    """Missing and empty are alike here."""
    assert [*entries(None), *entries(b""), *groups(None), *groups(b"")] == []


def test_group_lines_are_read() -> None:
    """What stands behind a comment, too."""
    lines = b"#c:x:1:a\nshort\ng:x:45\nh:x:46:a,b:more\n"
    assert [*groups(lines)] == [Group("short", 0, ()), Group("g", 45, ()), Group("h", 46, ("a", "b"))]


DUPLICATES = AccountFiles(b"app:x:1:1\nother:x:1:2\napp:x:0:0\n1:x:9:9\n")


def test_the_first_line_of_a_name_wins() -> None:
    """A later line of the same name is never looked at, be it better or worse."""
    found = by_name(DUPLICATES, "app")
    assert found is not None
    assert (found.uid, found.line) == (1, 1)
    assert by_name(DUPLICATES, "App") is None


def test_the_first_line_of_a_uid_wins() -> None:
    """Whoever it belongs to; a number never means a user whose name is digits."""
    found = by_uid(DUPLICATES, 1)
    assert found is not None
    assert (found.name, found.line) == ("app", 1)
    assert by_uid(DUPLICATES, 7) is None


@table(
    ("size", "readable"),
    {
        "65,535 bytes fit the scanner": (65535, True),
        "65,536 bytes do not": (65536, False),
        "70 kB do not": (70_000, False),
    },
)
@pytest.mark.parametrize("end", [b"", b"\n", b"\napp:x:1:1\n"])
def test_a_long_passwd_line_makes_every_look_up_fail(size: int, readable: bool, end: bytes) -> None:
    """Names and numbers alike, even those that stand before it."""
    accounts = AccountFiles(b"first:x:1:1\n" + b"x" * size + end)
    if readable:
        assert by_name(accounts, "first") == by_uid(accounts, 1)
        return
    with pytest.raises(UnreadableAccounts, match=r"^/etc/passwd has a line longer than 64 KiB, at which the runtimes "):
        by_name(accounts, "first")
    with pytest.raises(UnreadableAccounts, match="64 KiB"):
        by_uid(accounts, 1)


def test_a_long_group_line_fails_at_a_mebibyte() -> None:
    """moby/sys user v0.4.1 has that limit, the version before it none."""
    line = b"big:x:7:" + b"a," * 400_000 + b"app\n"
    assert supplementary(AccountFiles(group=line), "app") == {7}
    with pytest.raises(
        UnreadableAccounts, match=r"^/etc/group has a line longer than 1024 KiB, at which the runtimes "
    ):
        supplementary(AccountFiles(group=b"x" * 2**20), "app")


@table(
    ("group", "expected"),
    {
        "listed in two": ("video:x:44:app,www\ndocker:x:999:www,app\n", {44, 999}),
        "a group of the user's own name is left out": ("app:x:5:app\nvideo:x:44:app\n", {44}),
        "no members": ("video:x:44:\nvideo2:x:45\n", set()),
        "members are not trimmed": ("video:x:44: app\nb:x:45:app ,x\n", set()),
        "a comment is skipped": ("#video:x:44:app\n  # c:x:45:app\n", set()),
        "a gid that is no number is 0": ("video:x:abc:app\n", {0}),
        "a line twice counts once": ("video:x:44:app\nvideo:x:44:app\n", {44}),
        "an empty member": ("video:x:44:,app\n", {44}),
    },
)
def test_supplementary_groups_are_those_that_list_the_name(group: str, expected: set[int]) -> None:
    """Lines that begin with a hash are comments here, unlike in passwd."""
    assert supplementary(AccountFiles(group=group.encode()), "app") == expected


@table(
    ("text", "number"),
    {
        "digits": ("1000", 1000),
        "zeros": ("000", 0),
        "a plus": ("+7", 7),
        "a minus": ("-7", -7),
        "minus nothing": ("-0", 0),
        "two signs": ("+-7", None),
        "a sign alone": ("-", None),
        "nothing": ("", None),
        "a line break": ("7\n", None),
        "a space": (" 7", None),
        "an underscore": ("1_0", None),
        "hexadecimal": ("0x0", None),
        "a superscript": ("²", None),
        "Arabic-Indic digits": ("١٠٠٠", None),
        "full-width digits": ("１０００", None),
        "an exponent": ("1e3", None),
        "a fraction": ("1.0", None),
        "NUL": ("0\0", None),
    },
)
def test_a_decimal_is_what_go_takes_for_one(text: str, number: int | None) -> None:
    """Python's own int() would take half of these."""
    assert parse_decimal(text) == number


def test_a_decimal_of_ten_thousand_digits_is_only_large() -> None:
    """Python would refuse to convert it, and a slow conversion would be a way to stop us."""
    number = parse_decimal("9" * 10_000)
    assert number is not None
    assert number > INT64_MAX
    assert overflows("9" * 10_000)


# An independent model of the two files: written from what the files mean, byte by byte, without sharing a line of code.

FIELD = st.one_of(
    st.sampled_from(["", "0", "7", "+7", "-7", "1000", " 7", "7 ", "x", "4294967296", "99999999999999999999", "٣"]),
    st.text(st.characters(blacklist_characters=":\n\r", blacklist_categories=["Cs"]), max_size=4),
)
LINES = st.lists(st.lists(FIELD, max_size=8).map(":".join) | st.sampled_from(["", "#a:x:1:1", "+", " app:x:7:7 "]))
FILES = st.tuples(LINES, st.sampled_from(["\n", "\r\n"])).map(lambda each: each[1].join(each[0]))


def model(text: str, comments: bool) -> list[tuple[str, int, int, str, str]]:
    """Name, third and fourth field as numbers, fourth and sixth as text: with plain loops and no regular expression."""
    found = []
    for raw in text.split("\n"):
        line = raw
        while line and (line[0].isspace() and line[0] not in "\x1c\x1d\x1e\x1f"):
            line = line[1:]
        while line and (line[-1].isspace() and line[-1] not in "\x1c\x1d\x1e\x1f"):
            line = line[:-1]
        if line == "" or (comments and line[0] == "#"):
            continue
        field = dict(enumerate(line.split(":")))
        found.append(
            (
                field[0],
                model_number(field.get(2, "")),
                model_number(field.get(3, "")),
                field.get(3, ""),
                field.get(5, ""),
            )
        )
    return found


def model_number(text: str) -> int:
    """strconv.Atoi without its error."""
    sign = -1 if text[:1] == "-" else 1
    digits = text[1:] if text[:1] in {"-", "+"} else text
    total = 0
    for digit in digits:
        if digit not in set("0123456789"):
            return 0
        total = total * 10 + "0123456789".index(digit)
        if total >= 2**64:
            break
    return max(-(2**63), min(2**63 - 1, sign * total))


@given(FILES)
def test_passwd_agrees_with_an_independent_model(text: str) -> None:
    """Line for line, and so the first of every name and uid."""
    expected = model(text, comments=False)
    found = list(entries(text.encode()))
    assert [(each.name, each.uid, each.gid, each.home) for each in found] == [
        (name, uid, gid, home) for name, uid, gid, _, home in expected
    ]
    for name, uid, *_ in expected:
        accounts = AccountFiles(text.encode())
        by = by_name(accounts, name)
        assert by is not None
        assert by.uid == next(each[1] for each in expected if each[0] == name)
        number = by_uid(accounts, uid)
        assert number is not None
        assert number.name == next(each[0] for each in expected if each[1] == uid)


@given(FILES)
@example(":::,\n0")
def test_group_agrees_with_an_independent_model(text: str) -> None:
    """Membership of every name that is listed anywhere, the empty one too: but an empty list has no members."""
    expected = [(name, gid, names.split(",")) for name, gid, _, names, _ in model(text, comments=True) if names]
    for member in {each for *_, names in expected for each in names}:
        gids = {gid for name, gid, names in expected if member in names and name != member}
        assert supplementary(AccountFiles(group=text.encode()), member) == gids


@given(st.binary(), st.text())
def test_any_bytes_are_read(data: bytes, name: str) -> None:
    """Whatever an image holds in the two files, nothing but UnreadableAccounts is raised."""
    accounts = AccountFiles(data, data)
    try:
        by_name(accounts, name)
        supplementary(accounts, name)
    except UnreadableAccounts:
        pass

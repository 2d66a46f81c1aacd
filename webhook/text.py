"""Phrases for messages, and the printing of foreign text and of decoding errors in them.

Source: jcrist/msgspec src/msgspec/_core.c (the messages of DecodeError and ValidationError).
"""

import re
from typing import Any

from msgspec import inspect

_LONG_WORD = 40  # characters
_WORD_END = re.compile(r"[.,;:)]*(?:\s|\Z)")
_PATH = re.compile(r" - at (`key` in )?`\$(.*)`\Z", re.DOTALL)
_EXPECTED = re.compile(r"Expected `([^`]+)`(.*?)(?:, got `([^`]+)`)?\Z", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`\Z", re.DOTALL)
_ENUM = re.compile(r"Invalid enum value '?(.*?)'?\Z", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_NAMES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_FOUND = {**_NAMES, "float": "a fraction", "bool": "a boolean"}
_VALUE_LIMIT = 80  # characters of a value


def ago(seconds: float) -> str:
    """A span of time in one unit: `3 h ago`; `just now` below a second."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago" if seconds >= 1 else "just now"


def quoted(text: str, limit: int = 200) -> str:
    """Text that others wrote, made safe for a terminal and a log: one line, printable, bounded."""
    text = text if len(text) <= limit else f"{text[:limit]}…"
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'


def printable(text: str, limit: int = 500) -> str:
    """Text of a file on one line without control characters, and bounded."""
    text = text if len(text) <= limit else f"{text[:limit]}…"
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def shortened(text: str, limit: int, end: str = "") -> str:
    """A text and its `end` in so many characters, with `…` where some of the text are left out: after a whole word, unless long."""
    limit = max(limit - len(end), 1)
    if len(text) <= limit:
        return text + end
    kept = text[: limit - 1]
    space = kept.rfind(" ", max(0, limit - _LONG_WORD))
    if space > 0 and not _WORD_END.match(text, limit - 1):
        kept = kept[:space]
    return f"{kept.rstrip(' ,;:')}…{end}"


def many(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def describe_error(error: Exception, kind: Any = None, root: str = "") -> str:
    """A decoder's error in its document's author's words: the field, below `root`, and what it must be.

    Of a `kind` that is known, the values and fields are named too, and the nearest one.
    """
    text = str(error)
    found = _PATH.search(text)
    path = found[2] if found else ""
    message = text[: found.start()] if found else text
    place = f"{root}{path}".lstrip(".") or "the document"
    if found and found[1]:
        return _clause(message, f"a key of {place}", None)
    return _clause(message, place, _at(inspect.type_info(kind), path) if kind is not None else None)


def _clause(message: str, place: str, kind: inspect.Type | None) -> str:
    if match := _EXPECTED.match(message):
        wanted = " or ".join(_NAMES.get(each, each) for each in match[1].split(" | ") if each != "null")
        more = f" {match[2].strip()}" if match[2] else ""
        return f"{place}: must be {wanted}{more}" + (f", not {_FOUND.get(match[3], match[3])}" if match[3] else "")
    if message == "Invalid RFC3339 encoded datetime":
        return f"{place}: must be a time as in RFC 3339, such as 2027-01-31T00:00:00Z"
    if match := _ENUM.match(message):
        values = [str(each) for each in kind.values] if isinstance(kind, inspect.LiteralType) else []
        listed = f": it is one of {', '.join(values)}" if values else ""
        return f"{place}: cannot be {match[1][:_VALUE_LIMIT]!a}{listed}{_meant(match[1], values)}"
    if match := _UNKNOWN.match(message):
        fields = [each.encode_name for each in kind.fields] if isinstance(kind, inspect.StructType) else []
        meant = _meant(match[1], fields) or (f": it has {', '.join(fields)}" if fields else "")
        return f"{place}: there is no field {match[1][:_VALUE_LIMIT]!a}{meant}"
    if match := _MISSING.match(message):
        return f"{place}: the field {match[1]} is missing"
    return f"{place}: {message}"


def _meant(text: str, values: list[str]) -> str:
    """The value that was probably meant; empty where none is near."""
    from difflib import get_close_matches  # for errors alone

    lower = {each.lower(): each for each in values}
    near = get_close_matches(text.lower(), lower, n=1)
    return f"; did you mean {lower[near[0]]}?" if near else ""


def _at(kind: inspect.Type | None, path: str) -> inspect.Type | None:
    """The type at a path of an error; None where the path leads through what has no types."""
    for name, _ in _STEP.findall(path):
        kind = _plain(kind)
        if isinstance(kind, inspect.StructType) and name:
            kind = next((each.type for each in kind.fields if each.encode_name == name), None)
        elif isinstance(kind, inspect.DictType):
            kind = kind.value_type
        elif isinstance(kind, inspect.VarTupleType | inspect.ListType) and not name:
            kind = kind.item_type
        else:
            return None
    return _plain(kind)


def _plain(kind: inspect.Type | None) -> inspect.Type | None:
    """The one type that is meant, without its constraints and without null."""
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
            continue
        kinds = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        if len(kinds) != 1:
            return None
        kind = kinds[0]
    return kind

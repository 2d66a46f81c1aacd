"""The parts of one instruction: its keyword, flags, words, JSON array, and names with values.

Source: moby/buildkit frontend/dockerfile/parser/split_command.go and line_parsers.go.
"""

import json
import re
from typing import Any

from webhook.dockerfile.parser.malformed import ParseError
from webhook.image.golang import SPACE

_BLANK = re.compile(r"[\t\v\f\r ]+")
_BYTE_SPACE = "\t\n\v\f\r \x85\xa0"  # BuildKit looks for flags byte by byte
_HEREDOC_KEYWORDS = frozenset({"RUN", "COPY", "ADD"})


def split(text: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    """Keyword in upper case, flags (the leading words that begin with `--`), and the rest of an instruction."""
    keyword, *rest = _BLANK.split(text.strip(SPACE), maxsplit=1)
    if not rest:
        return keyword.upper(), (), ""
    flags, left = _flags(rest[0], escape)
    return keyword.upper(), flags, left.strip(SPACE)


def _flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    if not text.lstrip(_BYTE_SPACE).startswith("--"):
        return (), text
    view = text.encode("utf-8", "surrogatepass").decode("latin-1")
    flags: list[str] = []
    position = 0
    while True:
        while position < len(view) and view[position] in _BYTE_SPACE:
            position += 1
        if not view.startswith("--", position):
            break
        flag, quoted, position = _flag(view, position, escape)
        if flag == "--":
            break
        if flag or quoted:
            flags.append(_text(flag))
    return tuple(flags), _text(view[position:])


def _flag(view: str, position: int, escape: str) -> tuple[str, bool, int]:
    """One flag without its quotes and escapes, whether it had quotes, and where it ends."""
    pieces: list[str] = []
    quote, quoted = "", False
    while position < len(view):
        character = view[position]
        if not quote and character in _BYTE_SPACE:
            break
        position += 1
        if quote and character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote, quoted = character, True
        elif character == escape:
            pieces.append(view[position : position + 1])
            position += 1
        else:
            pieces.append(character)
    return "".join(pieces), quoted, position


def _text(view: str) -> str:
    return view.encode("latin-1").decode("utf-8", "replace")


def takes_heredocs(text: str, escape: str) -> bool:
    """Whether `<<` in an instruction opens a heredoc: in RUN, COPY and ADD that are no JSON array, also under ONBUILD."""
    keyword, _, rest = split(text, escape)
    if keyword == "ONBUILD" and rest:
        keyword, _, rest = split(rest, escape)
    return keyword in _HEREDOC_KEYWORDS and not is_array(rest)


def is_array(text: str) -> bool:
    """Whether an instruction's rest is in JSON form, a faulty one included."""
    try:
        return parse_array(text) is not None
    except ParseError:
        return True


def parse_array(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; None where it is none, which makes it a plain text.

    Raises `ParseError` where it holds something else than strings.
    """
    text = text.lstrip(SPACE)
    if not text.startswith("["):
        return None
    try:
        array: list[Any] = json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return None
    except RecursionError:
        array = [None]
    if not all(isinstance(item, str) for item in array):
        raise ParseError("the JSON array must hold strings only")
    return tuple(item.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for item in array)


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def blank_separated(text: str) -> tuple[str, ...]:
    """The arguments of FROM, EXPOSE, COPY, ADD and VOLUME: quotes mean nothing here."""
    return tuple(_BLANK.split(text)) if text else ()


def words(text: str, escape: str) -> tuple[str, ...]:
    """The arguments of ARG, ENV and LABEL: split at unquoted spaces; quotes and escapes stay, for the expansion."""
    found: list[str] = []
    word: list[str] = []
    quote, quoted, position = "", False, 0
    while position < len(text):
        character = text[position]
        position += 1
        if not quote and character in SPACE:
            if word or quoted:
                found.append("".join(word))
            word, quoted = [], False
            continue
        if character == escape and quote != "'":
            if position < len(text):
                word.append(character + text[position])
                position += 1
            continue  # the last character of all is dropped
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote, quoted = character, True
        word.append(character)
    if word or quoted:
        found.append("".join(word))
    return tuple(found)


def names_and_values(text: str, keyword: str, escape: str) -> tuple[tuple[str, str], ...]:
    """The pairs of ENV and LABEL: `name=value …`, or the old form `name value`. Raises `ParseError`."""
    found = words(text, escape)
    if found and "=" not in found[0]:
        parts = _BLANK.split(text, maxsplit=1)
        if len(parts) < 2:
            raise ParseError(f"{keyword} {text[:80]!a} has a name and no value; write {keyword} NAME=VALUE")
        return ((parts[0], parts[1]),)
    pairs = []
    for word in found:
        name, equals, value = word.partition("=")
        if not equals:
            raise ParseError(f"{keyword} has a word that is no NAME=VALUE; is a quote missing?")
        if not name:
            raise ParseError(f"{keyword} has a value without a name; write {keyword} NAME=VALUE")
        pairs.append((name, value))
    if not pairs:
        raise ParseError(f"{keyword} needs at least one argument")
    return tuple(pairs)

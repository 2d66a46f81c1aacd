"""JSON, numbers and white space as Go's standard library reads them, where Python's differs."""

import json
import re
from functools import cache
from typing import Any, TypeVar, get_args

import msgspec

from webhook.errors import MalformedImage

S = TypeVar("S", bound=msgspec.Struct)


def decode_json(raw: bytes, what: str) -> Any:
    """JSON as only one reader could understand it: strict UTF-8, no NaN, no key twice, not even in another case.

    Go's decoder matches keys case-insensitively, Unicode folding included, and lets the last one win or merge; Python's
    does neither. A document on which the two disagree is refused.
    """
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
        if b"\\ud" in raw.lower():
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedImage(f"the {what} has half of a surrogate pair, which Go would replace") from None
    except UnicodeDecodeError:
        raise MalformedImage(f"the {what} is not UTF-8") from None
    except RecursionError:
        raise MalformedImage(f"the {what} is nested too deeply") from None
    except ValueError as error:
        raise MalformedImage(f"the {what} is not JSON: {error}") from None
    return document


def read_object(value: Any, what: str, known: frozenset[str]) -> dict[str, Any]:
    """`value` as an object in which no key is a case variant of a `known` one; null is the empty object."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedImage(f"{what} is not an object")
    folded = {_fold(key): key for key in known}
    for key in value:
        meant = folded.get(_fold(key))
        if meant is not None and meant != key:
            raise MalformedImage(f"{what} has the key {key!a}, which Go would take for {meant!r}")
    return value


def read_struct(value: Any, kind: type[S], what: str) -> S:
    """Decoded JSON as a struct, of the types that Go's decoder demands, and with no key that it would take for another.

    `MalformedImage` names the field.
    """
    _check_keys(value, kind, what)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise MalformedImage(f"{what} cannot be read: {error}") from None


def _check_keys(value: Any, kind: type[msgspec.Struct], what: str) -> None:
    """Case variants of a struct's keys, at whatever depth."""
    if isinstance(value, list):
        for each in value:
            _check_keys(each, kind, what)
    elif isinstance(value, dict):
        inner = _structs(kind)
        read_object(value, what, frozenset(inner))
        for key, held in inner.items():
            if held is not None and key in value:
                _check_keys(value[key], held, f"{key} of {what}")


@cache
def _structs(kind: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct] | None]:
    """A struct's keys, and of which struct each holds one or several."""
    return {field.encode_name: _struct_of(field.type) for field in msgspec.structs.fields(kind)}


def _struct_of(annotation: Any) -> type[msgspec.Struct] | None:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    return next(filter(None, map(_struct_of, get_args(annotation))), None)


def _fold(key: str) -> str:
    """Go's simple folding for ASCII keys: U+017F is an s and U+212A a k (the latter is what lower() does)."""
    return key.replace("\u017f", "s").lower()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise MalformedImage(f"the key {key!a} stands there twice")
        seen[key] = value
    return seen


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


# unicode.IsSpace of Go, which bytes.TrimSpace uses; Python's own set also holds U+001C to U+001F.
SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005"
    "\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


_DECIMAL = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)


_DIGITS = re.compile(r"[+-]?([0-9]+)", re.ASCII)


_INT64_MAX = 2**63 - 1


_UINT64_MAX = 2**64 - 1


def overflows(text: str) -> bool:
    """Whether Go's strconv calls it a number out of range, which it does before it sees what comes after the digits."""
    match = _DIGITS.match(text)
    return match is not None and int(match[1].lstrip("0")[:21] or "0") > _UINT64_MAX


def parse_decimal(text: str) -> int | None:
    """A number as Go's strconv writes it in base 10: an optional sign and ASCII digits, nothing else; else None.

    Python's own int() also takes spaces, underscores and other scripts' digits, and refuses 4,301 digits.
    """
    if not _DECIMAL.match(text):
        return None
    digits = text.lstrip("+-").lstrip("0")[:20] or "0"  # 20 digits are beyond any int64 already
    return -int(digits) if text[0] == "-" else int(digits)

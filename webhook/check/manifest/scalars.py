"""The type of a plain YAML scalar: null, a boolean, a number or a string, as Kubernetes' YAML reader has it.

It is YAML 1.1 without base 60, and with Go's numbers: `0644` and `0o644` are 420, `1_000` is 1000, `1e3` is 1000.
Sources: go.yaml.in/yaml/v2 resolve.go; golang strconv (ParseInt with base 0), encoding/json (how a float is written).
"""

import math
import re
from decimal import Decimal

_WORDS: dict[str, float | bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))\Z", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII)
_BETWEEN_DIGITS = re.compile(r"(?<=[0-9])_(?=[0-9])")
_NUMERIC_START = frozenset("0123456789+-.")
_WHOLE = 1e21  # below it encoding/json writes a float without an exponent: its shortest digits, then zeros
_DIGITS = 400  # more are no number of any use, and Python would refuse some


def resolve(text: str) -> str | float | bool | None:
    """The value of a plain scalar. Whole floats come out as the integers that JSON makes of them."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC_START or len(text) > _DIGITS:
        return text
    digits = _BETWEEN_DIGITS.sub("", text) if text[0] == "." else text.replace("_", "")
    whole = _INTEGER.match(digits)
    if whole is not None:
        number = _integer(whole)
        if -(2**63) <= number < (2**63 if whole[1] else 2**64):
            return number
    if _FLOAT.match(digits):
        found = float(digits)
        if math.isfinite(found):
            return int(Decimal(repr(found))) if abs(found) < _WHOLE and found.is_integer() else found
    return text


def _integer(match: re.Match[str]) -> int:
    sign, hexadecimal, binary, octal, decimal = match.groups()
    bases = ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10))
    number = next(int(digits, base) for digits, base in bases if digits)
    return -number if sign == "-" else number

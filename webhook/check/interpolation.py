"""Variables in compose files, as docker compose puts their values in.

Source: compose-spec/compose-spec 12-interpolation.md; compose-spec/compose-go dotenv (lines of .env).
"""

import re
from collections.abc import Mapping
from typing import Any

_VARIABLE = re.compile(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?:(:?[-+?])|\}))")
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][\w.]*)\s*[=:]\s*(.*?)\s*\Z")
_DEPTH = 20


def interpolate(text: str, values: Mapping[str, str], depth: int = 0) -> str | None:
    """The text with its variables replaced; None where one has neither a value nor a default, or the form is none."""
    parts: list[str] = []
    position = 0
    while (start := text.find("$", position)) != -1:
        parts.append(text[position:start])
        match = _VARIABLE.match(text, start)
        if match is None or depth > _DEPTH:
            return None
        position = match.end()
        if match[1]:
            parts.append("$")
            continue
        value = values.get(match[2] or match[3])
        if match[4]:
            end = _closing(text, position)
            if end is None:
                return None
            word, position = text[position:end], end + 1
            value = _modified(match[4], value, word, values, depth)
        if value is None:
            return None
        parts.append(value)
    return "".join((*parts, text[position:]))


def expand(data: Any, values: Mapping[str, str]) -> Any:
    """Plain data with the variables of every text in it replaced; a text stays as it is where one has no value."""
    if isinstance(data, dict):
        return {key: expand(each, values) for key, each in data.items()}
    if isinstance(data, list):
        return [expand(each, values) for each in data]
    found = interpolate(data, values) if isinstance(data, str) else None
    return data if found is None else found


def read_env(text: str) -> dict[str, str]:
    """The variables of a .env file; a line that is none is passed over."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        match = None if line.lstrip().startswith("#") else _LINE.match(line)
        if match is None:
            continue
        value = match[2]
        if value[:1] in {"'", '"'} and (end := value.find(value[0], 1)) != -1:
            value = value[1:end] if value[0] == "'" else interpolate(value[1:end], values) or ""
        else:
            value = interpolate(re.split(r"\s+#", value, maxsplit=1)[0], values) or ""
        values[match[1]] = value
    return values


def _modified(operator: str, value: str | None, word: str, values: Mapping[str, str], depth: int) -> str | None:
    """`${X:-word}` and its like; with a colon an empty value counts as none."""
    there = value is not None and not (operator[0] == ":" and not value)
    if operator[-1] == "+":
        return interpolate(word, values, depth + 1) if there else ""
    if there:
        return value
    return interpolate(word, values, depth + 1) if operator[-1] == "-" else None


def _closing(text: str, position: int) -> int | None:
    """The brace that ends a form that is open at a position."""
    depth = 1
    for index in range(position, len(text)):
        if text[index] == "}":
            depth -= 1
            if not depth:
                return index
        elif text[index] == "{" and text[index - 1] == "$":
            depth += 1
    return None

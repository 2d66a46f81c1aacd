"""Phrases for messages, and how text that others wrote is printed in them."""

import re

_LONG_WORD = 40  # characters
_WORD_END = re.compile(r"[.,;:)]*(?:\s|\Z)")


def ago(seconds: float) -> str:
    """A span of time in one unit: `3 h ago`."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


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


def shortened(text: str, limit: int) -> str:
    """At most so many characters of a text, with `…` where some are left out: after a whole word, unless that is long."""
    if len(text) <= limit:
        return text
    kept = text[: limit - 1]
    space = kept.rfind(" ", max(0, limit - _LONG_WORD))
    if space > 0 and not _WORD_END.match(text, limit - 1):
        kept = kept[:space]
    return f"{kept.rstrip(' ,;:')}…"


def many(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

"""Words of ours, and how a stranger's words are printed among them."""


def printable(text: str, limit: int = 500) -> str:
    """Text of a stranger's file on one line without control characters, and bounded."""
    text = text if len(text) <= limit else f"{text[:limit]}…"
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def many(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

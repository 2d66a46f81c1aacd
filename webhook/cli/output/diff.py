"""A unified diff of two texts that are mostly equal, in time linear to their length.

`difflib` looks for the longest common stretch of two whole files, which takes minutes where thousands of objects are
alike; a fix changes few lines in few places, so that looking a few lines ahead is enough. A diff need not be the shortest.
"""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_AHEAD = 64  # lines that are looked ahead for the next common ones
_SAME = 3  # lines that have to be equal for two places to be the same
_Operation = tuple[str, int, int, int, int]


def unified(path: str, before: str, after: str) -> Iterator[str]:
    """The lines of a unified diff that `patch -p1` takes."""
    old, new = _LINE.findall(before), _LINE.findall(after)
    name = path.lstrip("/") if path != "-" else "stdin"
    yield f"--- a/{name}\n"
    yield f"+++ b/{name}\n"
    matcher = _Known(old, new)
    for group in matcher.get_grouped_opcodes():
        (_, first, _, second, _), (_, _, last, _, end) = group[0], group[-1]
        yield f"@@ -{_range(first, last)} +{_range(second, end)} @@\n"
        for kind, i, j, k, m in group:
            if kind == "equal":
                yield from (_line(" ", line) for line in old[i:j])
            else:
                yield from (_line("-", line) for line in old[i:j])
                yield from (_line("+", line) for line in new[k:m])


class _Known(SequenceMatcher[str]):
    """Groups operations into hunks, and looks for none itself."""

    def __init__(self, old: list[str], new: list[str]) -> None:
        super().__init__(a=[], b=[])
        self._operations = list(_operations(old, new))

    def get_opcodes(self) -> Any:
        """The operations in order."""
        return self._operations


def _operations(old: list[str], new: list[str]) -> Iterator[_Operation]:
    """The steps from one text to the other, as `SequenceMatcher.get_opcodes` gives them."""
    i = k = 0
    while i < len(old) or k < len(new):
        j, m = i, k
        while j < len(old) and m < len(new) and old[j] == new[m]:
            j, m = j + 1, m + 1
        if j > i:
            yield "equal", i, j, k, m
        if j == len(old) and m == len(new):
            return
        i, k = _resync(old, new, j, m)
        kind = "replace" if i > j and k > m else "delete" if i > j else "insert"
        yield kind, j, i, m, k


def _resync(old: list[str], new: list[str], i: int, k: int) -> tuple[int, int]:
    """The nearest places behind these that are the same; the ends where there are none near."""
    for distance in range(1, _AHEAD):
        for skipped in range(distance + 1):
            j, m = i + skipped, k + distance - skipped
            if j <= len(old) and m <= len(new) and old[j : j + _SAME] == new[m : m + _SAME]:
                return j, m
    return len(old), len(new)


def _range(start: int, stop: int) -> str:
    """The lines of a hunk, as diff writes them."""
    length = stop - start
    return f"{start + 1}" if length == 1 else f"{start + 1 if length else start},{length}"


def _line(mark: str, line: str) -> str:
    return f"{mark}{line}" if line.endswith("\n") else f"{mark}{line}\n\\ No newline at end of file\n"

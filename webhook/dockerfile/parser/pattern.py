"""The wildcards of `${NAME#pattern}`, `${NAME%pattern}` and `${NAME/pattern/replacement}`.

`*` is any run of characters and `?` any one, neither across a line break; there are no brackets. A pattern is the
fixed texts between its stars, each looked for once, so that matching is linear however many stars a stranger writes.
Source: moby/buildkit frontend/dockerfile/shell/lex.go (convertShellPatternToRegex, trimPrefix, trimSuffix).
"""

import re
from typing import Self

import msgspec

from webhook.dockerfile.parser.malformed import ParseError

_ANY = None  # one character of any kind
_TEMPLATE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


class Pattern(msgspec.Struct, frozen=True):
    """The texts between the stars, character by character; `None` is a question mark."""

    texts: tuple[tuple[str | None, ...], ...]

    @classmethod
    def parse(cls, source: str) -> Self:
        """Read a pattern; raises `ParseError` where BuildKit refuses an escape."""
        texts: list[list[str | None]] = [[]]
        characters = iter(source)
        for character in characters:
            if character == "*":
                texts.append([])
            elif character == "?":
                texts[-1].append(_ANY)
            elif character != "\\":
                texts[-1].append(character)
            elif (escaped := next(characters, "")) and escaped in "*?\\}/":
                texts[-1].append(escaped)
            else:
                raise ParseError("a pattern escapes something else than * ? \\ } or /")
        return cls(tuple(map(tuple, texts)))

    def trim_prefix(self, value: str, *, longest: bool) -> str:
        """`value` without its shortest or longest beginning that matches; unchanged where none does."""
        end = self._end(value, 0, _line_end(value, 0), longest=longest, anchored=True)
        return value if end is None else value[end[1] :]

    def trim_suffix(self, value: str, *, longest: bool) -> str:
        """The same at the end of `value`: everything is turned round, because a match is looked for from the left."""
        turned = Pattern(tuple(text[::-1] for text in self.texts[::-1]))
        return turned.trim_prefix(value[::-1], longest=longest)[::-1]

    def replace(self, value: str, replacement: str, *, every: bool) -> str:
        """`value` with its leftmost longest match replaced, or with every one.

        With `every` the replacement is a template of Go's regexp package, in which `$0` is the match and any other
        `$name` is empty; without, it is plain text.
        """
        pieces, kept, position = [], 0, 0
        while position <= len(value):
            found = self._search(value, position)
            if found is None:
                break
            start, end = found
            pieces.append(value[kept:start])
            if end > kept or start == 0:  # an empty match beside the one before it is none
                pieces.append(_fill(replacement, value[start:end]) if every else replacement)
            kept = end
            position = end if end > position else position + 1
            if not every:
                break
        return "".join([*pieces, value[kept:]])

    def _search(self, value: str, position: int) -> tuple[int, int] | None:
        """The leftmost match from `position` on, line by line."""
        while position <= len(value):
            limit = _line_end(value, position)
            found = self._end(value, position, limit, longest=True, anchored=False)
            if found is not None:
                return found
            position = limit + 1
        return None

    def _end(self, value: str, start: int, limit: int, *, longest: bool, anchored: bool) -> tuple[int, int] | None:
        """Where the match begins and ends.

        Each text is placed as far left as it fits, which leaves most room for the others; the longest match differs
        only in its last text, which goes as far right as it fits.
        """
        first, *others = map(_compile, self.texts)
        found = first.match(value, start, limit) if anchored else first.search(value, start, limit)
        if found is None:
            return None
        begin, end = found.span()
        for text in others:
            before = end
            found = text.search(value, before, limit)
            if found is None:
                return None
            end = found.end()
        if others and longest:
            last = _compile(self.texts[-1][::-1]).search(value[before:limit][::-1])
            end = limit - last.start() if last else end
        return begin, end


def _compile(text: tuple[str | None, ...]) -> re.Pattern[str]:
    return re.compile("".join("." if character is _ANY else re.escape(character) for character in text))


def _line_end(value: str, position: int) -> int:
    end = value.find("\n", position)
    return len(value) if end < 0 else end


def _fill(template: str, match: str) -> str:
    def value(found: re.Match[str]) -> str:
        dollar, bare, braced = found.groups()
        return "$" if dollar else match if (bare or braced) == "0" else ""

    return _TEMPLATE.sub(value, template)

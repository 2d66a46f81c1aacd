"""The lines of a Dockerfile as BuildKit joins them: escape directive, continuations, comments, heredocs.

Source: moby/buildkit frontend/dockerfile/parser/parser.go and directives.go.
"""

import bisect
import re
from collections.abc import Iterator

import msgspec

from webhook.dockerfile.parser import words as syntax
from webhook.dockerfile.parser.expansion import split_words
from webhook.dockerfile.parser.malformed import ParseError
from webhook.image.golang import SPACE

SIZE_LIMIT = 1024 * 1024  # characters; ours, BuildKit has none
LINE_LIMIT = 64 * 1024  # bytes, of Go's bufio.Scanner

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*\Z")
_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_HEREDOC = re.compile(r"[0-9]*<<(-?)[\t\n\f\r ]*([^<]*)\Z")
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


class Heredoc(msgspec.Struct, frozen=True):
    """A text that stands in the Dockerfile itself. `line` is its first; `expand` is False where its name is quoted."""

    name: str
    body: str
    line: int
    expand: bool
    chomp: bool

    @property
    def content(self) -> str:
        """The text as the step sees it: without leading tabs where the heredoc was opened with `<<-`."""
        return _LEADING_TABS.sub("", self.body) if self.chomp else self.body


class Line(msgspec.Struct, frozen=True):
    """One instruction's text, its continuations joined. `starts` says which physical line begins at which offset."""

    text: str
    line: int
    end_line: int
    column: int
    starts: tuple[tuple[int, int], ...]
    heredocs: tuple[Heredoc, ...] = ()

    def line_at(self, offset: int) -> int:
        """The physical line of the character at `offset` of `text`."""
        return self.starts[max(0, bisect.bisect_right(self.starts, (offset, self.end_line)) - 1)][1]


class Source(msgspec.Struct, frozen=True):
    """A Dockerfile's lines, and its escape character: a backslash, or a backtick where a directive says so."""

    escape: str
    lines: tuple[Line, ...]


def read(text: str) -> Source:
    """Join the lines; raises `ParseError` with the line where BuildKit's parser would stop."""
    if len(text) > SIZE_LIMIT:
        raise ParseError(
            f"the Dockerfile is longer than {SIZE_LIMIT // 1024:,} KiB and is not read; is it a Dockerfile?", 1
        )
    reader = _Reader(text)
    lines = tuple(reader.lines())
    if not lines:
        raise ParseError("the file holds no instruction; a Dockerfile begins with FROM", 1)
    return Source(reader.escape, lines)


def opened_heredoc(word: str) -> tuple[str, bool, bool] | None:
    """The heredoc that a word opens as (name, expand, chomp), or None."""
    match = _HEREDOC.match(word)
    if not match or not match[2]:
        return None
    names, raw = split_words(match[2], raw=False), split_words(match[2], raw=True)
    if len(names) != 1:
        return None
    quotes, raw_quotes = (name.count("'") + name.count('"') for name in (names[0], raw[0]))
    return names[0], quotes == raw_quotes, bool(match[1])


class _Reader:
    """Goes through the physical lines once."""

    def __init__(self, text: str) -> None:
        self.escape = "\\"
        self._number = 0
        self._physical = iter(text.removeprefix("\ufeff").split("\n"))
        self._directives: set[str] | None = set()

    def lines(self) -> Iterator[Line]:
        """Every instruction, with what belongs to it."""
        for raw in self._next():
            text = raw.lstrip(SPACE)
            self._directive(text.rstrip("\r"))
            if not text or text.startswith("#"):
                continue
            line = self._joined(text.rstrip("\r"), 1 + len(raw) - len(text))
            heredocs = tuple(self._heredocs(line))
            yield msgspec.structs.replace(line, heredocs=heredocs, end_line=self._number)

    def _next(self) -> Iterator[str]:
        for raw in self._physical:
            self._number += 1
            if len(raw) >= LINE_LIMIT // 4 and len(raw.encode("utf-8", "surrogatepass")) >= LINE_LIMIT:
                raise ParseError(
                    f"the line is longer than {LINE_LIMIT - 1:,} bytes, the most that BuildKit reads", self._number
                )
            yield raw

    def _directive(self, text: str) -> None:
        """Take `# escape=…` and its like, which stand before everything else, comments included."""
        if self._directives is None:
            return
        match = _DIRECTIVE.match(text)
        name = match[1].lower() if match else ""
        if not match or name not in _DIRECTIVES:
            self._directives = None
            return
        if name in self._directives:
            raise ParseError(f"the directive {name} stands there twice; keep one", self._number)
        self._directives.add(name)
        if name == "escape":
            if match[2] not in ("\\", "`"):
                raise ParseError(f"the escape character {match[2]!a} must be a backslash or a backtick", self._number)
            self.escape = match[2]

    def _joined(self, text: str, column: int) -> Line:
        """The instruction that begins with `text`: comments and empty lines inside it are skipped."""
        first = self._number
        text, continued = self._continued(text)
        pieces, starts, offset = [text], [(0, first)], len(text)
        while continued and (raw := next(self._next(), None)) is not None:
            raw = raw.rstrip("\r")
            bare = raw.lstrip(SPACE)
            if not bare or bare.startswith("#"):
                continue
            text, continued = self._continued(raw)
            starts.append((offset, self._number))
            pieces.append(text)
            offset += len(text)
        return Line("".join(pieces), first, self._number, column, tuple(starts))

    def _continued(self, text: str) -> tuple[str, bool]:
        """The line without its continuation mark, and whether it had one; two escapes are none."""
        bare = text.rstrip("\t ")
        if bare.endswith(self.escape) and not bare.endswith(self.escape * 2):
            return bare[:-1], True
        return text, False

    def _heredocs(self, line: Line) -> Iterator[Heredoc]:
        """The heredocs that an instruction opens; their bodies follow it, one after the other."""
        if "<<" not in line.text or not syntax.takes_heredocs(line.text, self.escape):
            return
        try:
            words = split_words(line.text, raw=True)
        except ParseError:
            return  # BuildKit sees no heredoc either, and reads the body as instructions
        for word in words:
            opened = opened_heredoc(word)
            if opened is None:
                continue
            name, expand, chomp = opened
            body, start = [], self._number + 1
            for raw in self._next():
                bare = raw.rstrip("\r")
                if (bare.lstrip("\t") if chomp else bare) == name:
                    break
                body.append(raw + "\n")
            else:
                raise ParseError(
                    f"the heredoc {name!a} has no end; close it with a line that is {name!a} alone", line.line
                )
            yield Heredoc(name, "".join(body), start, expand, chomp)

"""The commands of a shell script in RUN, CMD or ENTRYPOINT, as far as they are known without running it.

A reader, not a shell: it knows quotes, variables, operators, comments and redirections. What only a shell could tell
(command substitution, loops, variables set elsewhere) stays in the word as it was written, dollar included.
Source: POSIX.1-2024, Shell Command Language, sections 2.2 to 2.10.
"""

import re
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from webhook.dockerfile.parser.expansion import Lookup

_RESERVED = frozenset(
    {"if", "then", "elif", "else", "fi", "do", "done", "while", "until", "!", "{", "}", "esac", "time"}
)
_NO_COMMAND = frozenset({"for", "case", "select", "function"})
_WRAPPERS = frozenset({"exec", "env", "command", "nohup", "builtin", "eatmydata"})
_ELEVATING = frozenset({"sudo", "doas"})
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)\Z", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_PLAIN = re.compile(r"[^\s\\'\"$`;&|()<>#]+")
_ASSIGNED_LIMIT = 64  # characters; a longer value is not put in where its variable is used
_SHELLS = frozenset({"sh", "bash", "ash", "dash", "ksh", "zsh"})


class Command(msgspec.Struct, frozen=True):
    """A simple command: its words without quotes, and the physical line on which it begins.

    `writes` are the files that it is redirected to; `elevated` is one under sudo; `moved` is one behind a `cd`.
    `templates` are the words before variables are replaced by their values; empty where that makes no difference.
    """

    words: tuple[str, ...]
    line: int
    writes: tuple[str, ...] = ()
    elevated: bool = False
    moved: bool = False
    templates: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The program, without its folder."""
        return self.words[0].rpartition("/")[2]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words after the program."""
        return self.words[1:]

    @property
    def operands(self) -> tuple[str, ...]:
        """The arguments that are no options; the value of an option counts as an operand here."""
        return tuple(word for word in self.arguments if not word.startswith("-"))


def is_shell(program: str) -> bool:
    """Whether a program reads such scripts."""
    return program.rpartition("/")[2] in _SHELLS


def commands(script: str, line_at: Callable[[int], int], lookup: Lookup) -> tuple[Command, ...]:
    """The commands of a script in order; `line_at` tells the line of an offset, `lookup` the environment's values."""
    return tuple(_Reader(script, line_at, lookup).read())


def array_commands(words: tuple[str, ...], line: int, lookup: Lookup) -> tuple[Command, ...]:
    """The command of a JSON array, or those of the script where it is `["sh", "-c", script]`."""
    if len(words) > 2 and is_shell(words[0]) and re.match(r"-[a-z]*c\Z", words[1]):
        return commands(words[2], lambda _offset: line, lookup)
    return tuple(_command(words, line)) if words else ()


def _command(
    words: tuple[str, ...],
    line: int,
    writes: tuple[str, ...] = (),
    templates: tuple[str, ...] = (),
    *,
    moved: bool = False,
) -> Iterator[Command]:
    """The command behind reserved words, assignments and programs that only start another one."""
    elevated = False
    while words:
        first = words[0].rpartition("/")[2]
        if first in _NO_COMMAND:
            return
        if first in _ELEVATING:
            elevated = True
        elif first not in _RESERVED and first not in _WRAPPERS and not _ASSIGNMENT.match(words[0]):
            break
        words = words[1:]
        while (first in _ELEVATING or first in _WRAPPERS) and words and words[0].startswith("-"):
            words = words[1:]
    if words or writes:
        templates = templates[len(templates) - len(words) :]
        yield Command(words or (":",), line, writes, elevated, moved, () if templates == words else templates)


class _Reader:
    """Goes through a script once."""

    def __init__(self, script: str, line_at: Callable[[int], int], lookup: Lookup) -> None:
        self._script = script
        self._line_at = line_at
        self._lookup = lookup
        self._moved = False
        self._assigned: dict[str, tuple[str, str]] = {}  # value, and what it was before variables were replaced
        self._position = 0
        self._start = 0
        self._word: list[str] | None = None
        self._words: list[str] = []
        self._template: list[str] = []
        self._templates: list[str] = []
        self._writes: list[str] = []
        self._redirected: Literal["", "read", "write"] = ""

    def read(self) -> Iterator[Command]:
        """Every command in order."""
        script = self._script
        while self._position < len(script):
            character = script[self._position]
            if run := _PLAIN.match(script, self._position):
                self._add(run[0], run.start())
                self._position = run.end()
            elif character in "'\"":
                self._quoted(character)
            elif character in "$`":
                self._expanded()
            elif character == "\\":
                if script[self._position + 1 : self._position + 2] != "\n":
                    self._add(script[self._position + 1 : self._position + 2], self._position)
                self._position += 2
            elif character == "#":
                if self._word is None:
                    end = script.find("\n", self._position)
                    self._position = len(script) if end < 0 else end
                else:
                    self._add("#", self._position)
                    self._position += 1
            elif character in "<>":
                self._redirect(character)
            elif character == "&" and script.startswith("&>", self._position):
                self._position += 1
            elif character in ";&|()\n":
                self._position += 1
                yield from self._end()
            else:
                self._end_word()
                self._position += 1
        yield from self._end()

    def _add(self, text: str, start: int, template: str | None = None) -> None:
        if self._word is None:
            self._word = []
            if not self._words and not self._writes:
                self._start = start
        self._word.append(text)
        self._template.append(text if template is None else template)

    def _end_word(self) -> None:
        if self._word is None:
            return
        word, self._word = "".join(self._word), None
        if self._redirected == "write":
            self._writes.append(word)
        elif not self._redirected:
            self._words.append(word)
            self._templates.append("".join(self._template))
        self._template.clear()
        self._redirected = ""

    def _end(self) -> Iterator[Command]:
        self._end_word()
        words, writes, templates = tuple(self._words), tuple(self._writes), tuple(self._templates)
        self._words.clear()
        self._templates.clear()
        self._writes.clear()
        self._redirected = ""
        first = 0 if all(map(_ASSIGNMENT.match, words)) else 1 if words[:1] == ("export",) else len(words)
        for word, template in zip(words[first:], templates[first:], strict=True):
            name, equals, value = word.partition("=")
            if equals and len(value) <= _ASSIGNED_LIMIT:
                self._assigned[name] = value, template.partition("=")[2]
        for command in _command(words, self._line_at(self._start), writes, templates, moved=self._moved):
            self._moved = self._moved or command.name in ("cd", "pushd")
            yield command

    def _redirect(self, character: str) -> None:
        """`>`, `>>`, `2>`, `<`, `<<`; a number before it belongs to it, and so does the next word."""
        if self._word is not None and "".join(self._word).isdigit():
            self._word = None
            self._template.clear()
        self._end_word()
        if not self._words and not self._writes:
            self._start = self._position
        while self._position < len(self._script) and self._script[self._position] in "<>":
            self._position += 1
        descriptor = self._script.startswith("&", self._position)  # as in 2>&1: no file
        if descriptor or self._script.startswith(("|", "-"), self._position):
            self._position += 1
        self._redirected = "write" if character == ">" and not descriptor else "read"

    def _quoted(self, quote: str) -> None:
        script, start = self._script, self._position
        self._add("", start)
        self._position += 1
        if quote == "'":
            end = script.find("'", self._position)
            end = len(script) if end < 0 else end
            self._add(script[self._position : end], start)
            self._position = end + 1
            return
        plain = re.compile(r'[^"\\$`]+')
        while self._position < len(script) and script[self._position] != '"':
            if run := plain.match(script, self._position):
                self._add(run[0], start)
                self._position = run.end()
            elif script[self._position] == "\\":
                following = script[self._position + 1 : self._position + 2]
                if following != "\n":
                    self._add(following if following and following in '"\\$`' else f"\\{following}", start)
                self._position += 2
            else:
                self._expanded(inside=True)
        self._position += 1

    def _expanded(self, *, inside: bool = False) -> None:
        """A variable's value where it is known; unquoted it is split at spaces. All else stays as written."""
        script, start = self._script, self._position
        match = _VARIABLE.match(script, start)
        if match:
            self._position = match.end()
            name = match[1] or match[2]
            value, template = self._assigned.get(name) or (self._lookup(name), match[0])
            if not isinstance(value, str):
                self._add(match[0], start)
            elif inside:
                self._add(value, start, template)
            else:
                for index, part in enumerate(value.split(" ")):
                    if index:
                        self._end_word()
                    if part:
                        self._add(part, start, template)
            return
        if script.startswith("$(", start):
            self._position = _closing(script, start + 1)
        elif script.startswith(("`", "${"), start):
            end = script.find("}" if script.startswith("$", start) else "`", start + 1)
            self._position = len(script) if end < 0 else end + 1
        else:
            self._position = start + 1
        self._add(script[start : self._position], start)


def _closing(script: str, start: int) -> int:
    """Behind the parenthesis that closes the one at `start`, or the end; quoted ones do not count."""
    depth = 0
    for match in re.compile(r"\\.|'[^']*'|\"(?:[^\"\\]|\\.)*\"|[()]", re.DOTALL).finditer(script, start):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0 and match[0] == ")":
            return match.end()
    return len(script)

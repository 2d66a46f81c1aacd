"""One instruction: keyword, flags and arguments, checked as BuildKit checks them before it expands anything.

Source: moby/buildkit frontend/dockerfile/instructions/parse.go and bflag.go.
"""

import csv
import re
from typing import Literal

import msgspec

from webhook.dockerfile.parser import words as syntax
from webhook.dockerfile.parser.lines import Heredoc, Line, opened_heredoc, read
from webhook.dockerfile.parser.malformed import ParseError
from webhook.image.golang import SPACE, parse_decimal

_FlagKind = Literal["text", "texts", "switch"]

_FLAGS: dict[str, dict[str, _FlagKind]] = {
    "ADD": {
        "chown": "text",
        "chmod": "text",
        "link": "switch",
        "keep-git-dir": "switch",
        "checksum": "text",
        "unpack": "switch",
        "exclude": "texts",
    },
    "COPY": {
        "chown": "text",
        "chmod": "text",
        "from": "text",
        "link": "switch",
        "parents": "switch",
        "exclude": "texts",
    },
    "FROM": {"platform": "text"},
    "HEALTHCHECK": {
        "interval": "text",
        "timeout": "text",
        "start-period": "text",
        "start-interval": "text",
        "retries": "text",
    },
    "RUN": {"mount": "texts", "network": "text", "security": "text", "device": "texts"},
}
_UNCHECKED_FLAGS = frozenset({"ARG", "STOPSIGNAL"})  # BuildKit does not look at theirs
_ONE_ARGUMENT = frozenset({"MAINTAINER", "STOPSIGNAL", "USER", "WORKDIR"})
_WORDS = frozenset({"ADD", "COPY", "EXPOSE", "FROM", "VOLUME"})
_COMMANDS = frozenset({"CMD", "ENTRYPOINT", "RUN", "SHELL"})
_ARRAYS = frozenset({"ADD", "COPY", "VOLUME"}) | _COMMANDS
_PAIRS = frozenset({"ENV", "LABEL"})
KEYWORDS = frozenset({"ARG", "HEALTHCHECK", "ONBUILD"}) | _ONE_ARGUMENT | _WORDS | _COMMANDS | _PAIRS

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*\Z")
_DURATION = re.compile(r"\+?(?:0|(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)\Z")
_CHOICES = {"network": ("default", "none", "host"), "security": ("insecure", "sandbox")}


class Instruction(msgspec.Struct, frozen=True):
    """One instruction as it is written.

    `arguments` are its words before expansion; of ENV, LABEL and ARG `pairs` are the names and values, where None is
    an ARG without one. `array` is the JSON form. `trigger` is what ONBUILD holds back.
    """

    keyword: str
    source: Line
    flags: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str | None], ...] = ()
    array: bool = False
    trigger: str = ""

    @property
    def line(self) -> int:
        """The physical line on which it begins."""
        return self.source.line

    @property
    def column(self) -> int:
        """The column of its keyword, from 1."""
        return self.source.column

    @property
    def heredocs(self) -> tuple[Heredoc, ...]:
        """The heredocs that it opens."""
        return self.source.heredocs

    def flag(self, name: str) -> str | None:
        """The value of a flag, or None where it is not given."""
        return next((value for flag, value in self.flags if flag == name), None)

    def mounts(self) -> tuple[dict[str, str], ...]:
        """The mounts of RUN as their fields; a field without a value has an empty one."""
        return tuple(_fields(value) for name, value in self.flags if name == "mount")


def parse(line: Line, escape: str) -> Instruction:
    """Read one instruction; raises `ParseError` with its line."""
    try:
        return _parse(line, escape)
    except ParseError as fault:
        raise ParseError(fault.reason, line.line, line.column) from None


def parse_trigger(onbuild: Instruction) -> Instruction:
    """The instruction that an ONBUILD of this file holds, as the stage that inherits it runs it. Raises `ParseError`."""
    return parse_inherited(onbuild.trigger, onbuild)


def parse_inherited(text: str, place: Instruction) -> Instruction:
    """A trigger, which BuildKit reads as a file of its own, with the default escape character.

    Its lines are those of `place`, because an external image's trigger has none here. Raises `ParseError`.
    """
    try:
        source = read(text)
        if len(source.lines) != 1:
            raise ParseError("it must be a single instruction")
        trigger = parse(source.lines[0], source.escape)
        if trigger.keyword == "FROM":
            raise ParseError("FROM cannot be a trigger")
    except ParseError as fault:
        raise ParseError(f"an ONBUILD trigger cannot run: {fault.reason}", place.line, place.column) from None
    where = place.source
    shown = msgspec.structs.replace(
        trigger.source, line=where.line, end_line=where.end_line, column=where.column, starts=((0, where.line),)
    )
    return msgspec.structs.replace(trigger, source=shown)


def _parse(line: Line, escape: str) -> Instruction:
    keyword, raw_flags, rest = syntax.split(line.text, escape)
    if keyword not in KEYWORDS:
        raise ParseError(f"unknown instruction {keyword[:80]!a}; is a continuation mark missing on the line above?")
    flags = () if keyword in _UNCHECKED_FLAGS else _read_flags(keyword, raw_flags, rest)
    if keyword in _PAIRS:
        return Instruction(keyword, line, flags, pairs=syntax.names_and_values(rest, keyword, escape))
    if keyword == "ARG":
        return Instruction(keyword, line, flags, pairs=_definitions(syntax.words(rest, escape)))
    if keyword == "ONBUILD":
        return Instruction(keyword, line, flags, trigger=_trigger(line, rest, escape))
    array = syntax.parse_array(rest) if keyword in _ARRAYS else None
    if array is not None:
        arguments = array
    elif keyword in _WORDS:
        arguments = syntax.blank_separated(rest)
    elif keyword == "HEALTHCHECK":
        _check_options(flags)
        return Instruction(keyword, line, flags, *_healthcheck(rest))
    else:
        arguments = (rest,) if rest else ()
    _check(keyword, arguments, array=array is not None)
    return Instruction(keyword, line, flags, arguments, array=array is not None)


def _check(keyword: str, arguments: tuple[str, ...], *, array: bool) -> None:
    if keyword in _ONE_ARGUMENT and len(arguments) != 1:
        raise ParseError(f"{keyword} needs exactly one argument")
    if keyword in ("EXPOSE", "VOLUME", "SHELL") and not arguments:
        raise ParseError(f"{keyword} needs at least one argument")
    if keyword == "SHELL" and not array:
        raise ParseError('SHELL must be a JSON array, such as SHELL ["/bin/bash", "-c"]')
    if keyword == "VOLUME" and not all(argument.strip(SPACE) for argument in arguments):
        raise ParseError("VOLUME cannot be empty")
    if keyword in ("ADD", "COPY"):
        if len(arguments) < 2:
            raise ParseError(f"{keyword} needs a source and a destination")
        if opened_heredoc(arguments[-1]):
            raise ParseError(f"{keyword} cannot have a heredoc as its destination")
    if keyword == "FROM":
        if len(arguments) not in (1, 3) or (len(arguments) == 3 and arguments[1].lower() != "as"):
            raise ParseError("FROM must be FROM IMAGE or FROM IMAGE AS NAME")
        if len(arguments) == 3 and not _STAGE_NAME.match(arguments[2].lower()):
            raise ParseError(
                f"the stage name {arguments[2][:80]!a} must begin with a letter and hold a-z, 0-9, '-', '_' and '.'"
            )


def _read_flags(keyword: str, raw: tuple[str, ...], rest: str) -> tuple[tuple[str, str], ...]:
    if keyword == "HEALTHCHECK" and rest.split(maxsplit=1)[:1] and rest.split(maxsplit=1)[0].upper() == "NONE":
        return ()
    known = _FLAGS.get(keyword, {})
    flags: list[tuple[str, str]] = []
    for text in raw:
        flag, equals, value = text.partition("=")
        name = flag.removeprefix("--")
        kind = known.get(name)
        if kind is None:
            hint = f"; {keyword} knows {', '.join(f'--{flag}' for flag in known)}" if known else ""
            raise ParseError(f"{keyword} has the unknown flag {flag[:80]!a}{hint}")
        if kind != "texts" and any(name == other for other, _ in flags):
            raise ParseError(f"{keyword} has the flag --{name} twice")
        if kind == "switch":
            if (equals and not value) or value.lower() not in ("", "true", "false"):
                raise ParseError(f"the flag --{name} must be true or false")
            value = value.lower() or "true"
        elif not equals:
            raise ParseError(f"the flag --{name} needs a value, as in --{name}=VALUE")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ParseError(f"the flag --{name} must be one of {', '.join(_CHOICES[name])}")
        if name == "mount" and "$" in _fields(value).get("from", "")[:-1]:
            raise ParseError("from= of a mount cannot hold a variable; name a stage with FROM … AS first")
        flags.append((name, value))
    return tuple(flags)


def _fields(mount: str) -> dict[str, str]:
    """A mount's fields; commas may be quoted as in CSV."""
    try:
        fields = next(csv.reader([mount], strict=True), [])
    except csv.Error as error:
        raise ParseError(f"the mount {mount[:80]!a} is no comma-separated list: {error}") from None
    return {key.lower(): value for key, _, value in (field.partition("=") for field in fields)}


def _definitions(words: tuple[str, ...]) -> tuple[tuple[str, str | None], ...]:
    if not words:
        raise ParseError("ARG needs at least one argument")
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise ParseError("ARG has a value without a name; write ARG NAME=VALUE")
        pairs.append((name, value if equals else None))
    return tuple(pairs)


def _trigger(line: Line, rest: str, escape: str) -> str:
    """The instruction that ONBUILD holds back. Only its first word is checked now, and the form that the parser needs."""
    if not rest:
        raise ParseError("ONBUILD needs an instruction")
    keyword, _, inner = syntax.split(rest, escape)
    if keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise ParseError(f"{keyword} cannot be a trigger of ONBUILD")
    if keyword in _PAIRS and syntax.words(inner, escape):
        syntax.names_and_values(inner, keyword, escape)
    elif keyword in _ARRAYS:
        syntax.parse_array(inner)
    text = re.sub(r"^\s*ONBUILD\s*", "", line.text, count=1, flags=re.IGNORECASE)
    return "".join([text, *(f"\n{heredoc.body}{heredoc.name}" for heredoc in line.heredocs)])


def _healthcheck(rest: str) -> tuple[tuple[str, ...], tuple[tuple[str, str | None], ...], bool]:
    """Arguments, no pairs, and whether the command is a JSON array."""
    if not rest:
        raise ParseError("HEALTHCHECK needs NONE or CMD and a command")
    kind, *command = re.split(f"[{SPACE}]+", rest, maxsplit=1)
    array = syntax.parse_array(command[0]) if command else None
    arguments = array if array is not None else tuple(command)
    if kind.upper() == "NONE":
        if arguments:
            raise ParseError("HEALTHCHECK NONE takes no arguments")
    elif kind.upper() != "CMD":
        raise ParseError(f"HEALTHCHECK has {kind[:80]!a} instead of CMD or NONE")
    elif not arguments:
        raise ParseError("HEALTHCHECK CMD needs a command")
    return (kind.upper(), *arguments), (), array is not None


def _check_options(flags: tuple[tuple[str, str], ...]) -> None:
    """The options of HEALTHCHECK, which BuildKit reads as Go durations and a number."""
    for name, value in flags:
        if name == "retries":
            number = parse_decimal(value)
            if value and (number is None or not 0 <= number < 2**31):
                raise ParseError(f"--retries={value[:80]!a} must be a number of times")
        elif value and not _DURATION.match(value):
            raise ParseError(f"--{name}={value[:80]!a} must be a duration, such as 30s")

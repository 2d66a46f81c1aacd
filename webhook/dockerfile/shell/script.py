"""The shell script of an instruction: its own line, or the heredoc that it consists of.

Source: moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go (dispatchRun).
"""

import bisect
import itertools
from collections.abc import Callable

from webhook.dockerfile.parser.expansion import Lookup
from webhook.dockerfile.parser.instruction import Instruction
from webhook.dockerfile.parser.lines import Heredoc, opened_heredoc
from webhook.dockerfile.shell import commands as shell
from webhook.dockerfile.shell.commands import Command
from webhook.image.golang import SPACE


def commands(instruction: Instruction, lookup: Lookup) -> tuple[Command, ...]:
    """The commands that RUN, CMD, ENTRYPOINT or HEALTHCHECK start, in shell form or as a JSON array."""
    arguments = instruction.arguments[1:] if instruction.keyword == "HEALTHCHECK" else instruction.arguments
    if not arguments:
        return ()
    if instruction.array:
        return shell.array_commands(arguments, instruction.line, lookup)
    script = arguments[0]
    if instruction.heredocs and opened_heredoc(script):
        return _body(instruction.heredocs[0], lookup)
    offset = len(instruction.source.text.rstrip(SPACE)) - len(script)
    found = shell.commands(script, lambda place: instruction.source.line_at(offset + place), lookup)
    if len(instruction.heredocs) == 1 and any(
        shell.is_shell(command.name) and not command.operands for command in found
    ):
        found += _body(instruction.heredocs[0], lookup)
    return found


def _body(heredoc: Heredoc, lookup: Lookup) -> tuple[Command, ...]:
    """The commands of a heredoc that a shell reads; none where its first line names another interpreter."""
    script = heredoc.content
    if script.startswith("#!") and not any(map(shell.is_shell, script[2:].partition("\n")[0].split())):
        return ()
    return shell.commands(script, _lines(script, heredoc.line), lookup)


def _lines(script: str, first: int) -> Callable[[int], int]:
    """The line of an offset, where the script begins on line `first`."""
    ends = list(itertools.accumulate(len(line) + 1 for line in script.split("\n")))
    return lambda offset: first + bisect.bisect_right(ends, offset)

"""The dispatch of instructions: the words of each are expanded, and its stage is changed.

Source: moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go (dispatch and what it calls).
"""

from collections.abc import Mapping
from typing import Any

from webhook.dockerfile.parser.expansion import Budget, Lookup, Missing, expand, expand_words
from webhook.dockerfile.parser.instruction import Instruction
from webhook.dockerfile.parser.lines import opened_heredoc
from webhook.dockerfile.parser.malformed import ParseError
from webhook.dockerfile.shell import commands as shell
from webhook.dockerfile.shell import script
from webhook.dockerfile.stages.state import State, join
from webhook.dockerfile.stages.step import Step

_SHELL_LIMIT = 4 * 1024 * 1024  # characters that variables put into scripts, before they stay as they are written
_NOT_IN_ENV = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})


class Dispatcher:
    """Runs the instructions of one Dockerfile, as far as that needs no build.

    `build_args` are those of the command line, `arguments` the ARG values from before the first FROM.
    """

    def __init__(
        self, escape: str, build_args: Mapping[str, str], arguments: Mapping[str, str], budget: Budget
    ) -> None:
        self._escape = escape
        self._build_args = build_args
        self._arguments = arguments
        self._budget = budget
        self._shell_left = _SHELL_LIMIT

    def step(self, stage: int, state: State, instruction: Instruction) -> Step:
        """Take one instruction of a stage; `state` is changed. Raises `ParseError` with its line."""
        try:
            return self._step(stage, state, instruction)
        except ParseError as fault:
            raise ParseError(fault.reason, instruction.line, instruction.column) from None

    def _step(self, stage: int, state: State, instruction: Instruction) -> Step:
        user, working_dir = state.user, state.working_dir
        step = Step(
            instruction=instruction,
            stage=stage,
            user=user,
            working_dir=working_dir,
            **self._expanded(instruction, state),
        )
        match instruction.keyword:
            case "USER":
                state.user, state.user_step = step.arguments[0], step
            case "WORKDIR":
                state.working_dir = join(working_dir, step.arguments[0])
            case "SHELL":
                state.shell = shell.is_shell(step.arguments[0] or "")
            case "ENV":
                for name, value in step.pairs:
                    state.export(name, value)
        return step

    def _expanded(self, instruction: Instruction, state: State) -> dict[str, Any]:
        """The expanded parts of a step, by the field of `Step` that each goes into."""
        match instruction.keyword:
            case "USER" | "WORKDIR" | "VOLUME" | "STOPSIGNAL":
                arguments = tuple(self._expand(word, state) for word in instruction.arguments)
                if instruction.keyword == "USER":
                    return {"arguments": arguments, "variables": dict(state.variables)}
                if instruction.keyword == "VOLUME" and "" in arguments:
                    raise ParseError("VOLUME is empty after expansion; give the variable a value")
                return {"arguments": arguments}
            case "ADD" | "COPY":
                return self._files(instruction, state)
            case "EXPOSE":
                return {"arguments": self._ports(instruction, state)}
            case "ENV" | "LABEL":
                pairs = [
                    (self._expand(name, state), self._expand(value or "", state)) for name, value in instruction.pairs
                ]
                return {"pairs": tuple(pairs)}
            case "ARG":
                return {"pairs": tuple(self._define(name, default, state) for name, default in instruction.pairs)}
            case "RUN" | "CMD" | "ENTRYPOINT" | "HEALTHCHECK":
                for mount in instruction.mounts():
                    for value in mount.values():
                        self._expand(value, state)
                commands = script.commands(instruction, self._in_shell(state)) if state.shell else ()
                return {"arguments": instruction.arguments, "commands": commands}
            case _:
                return {"arguments": instruction.arguments}

    def _expand(self, word: str, state: State) -> str | None:
        return expand(word, state.get, self._escape, self._budget)

    def _in_shell(self, state: State) -> Lookup:
        """The variables that a script sees, until the scripts of the file have used too much of them."""

        def value(name: str) -> str | Missing:
            found = state.get(name)
            self._shell_left -= len(found) if isinstance(found, str) else 0
            return found if self._shell_left > 0 else Missing.UNKNOWN

        return value

    def _define(self, name: str, default: str | None, state: State) -> tuple[str, str | None]:
        """ARG in a stage: the build argument, else its default, else what the same ARG before the first FROM has."""
        if name in self._build_args:
            value: str | None = self._build_args[name]
        elif default is not None:
            value = self._expand(default, state)
        elif name in self._arguments:
            value = self._arguments[name]
        else:
            known = state.get(name)
            return name, known if isinstance(known, str) else None
        if name not in _NOT_IN_ENV:
            state.variables[name] = value
        return name, value

    def _ports(self, instruction: Instruction, state: State) -> tuple[str | None, ...]:
        ports: list[str | None] = []
        for word in sorted(instruction.arguments):
            words = expand_words(word, state.get, self._escape, self._budget)
            ports.extend((None,) if words is None else words)
        return tuple(ports)

    def _files(self, instruction: Instruction, state: State) -> dict[str, Any]:
        for name in ("chmod", "checksum"):
            self._expand(instruction.flag(name) or "", state)
        bodies = {heredoc.name: heredoc for heredoc in instruction.heredocs}
        arguments, documents = [], []
        for word in instruction.arguments:
            opened = opened_heredoc(word)
            if opened is None:
                arguments.append(self._expand(word, state))
                continue
            name, expanded, _ = opened
            content: str | None = bodies[name].content if name in bodies else ""
            if expanded and content:
                content = expand(content, state.get, "\\", self._budget, quotes=False)
            arguments.append(word)
            documents.append((name, content))
        return {
            "arguments": tuple(arguments),
            "owner": self._expand(instruction.flag("chown") or "", state),
            "documents": tuple(documents),
        }

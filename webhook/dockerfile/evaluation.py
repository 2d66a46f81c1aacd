"""What building a Dockerfile would make of it: the USER of the image's config, and who each step runs as.

Source: moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go.
"""

import posixpath
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from webhook.dockerfile import script, shell
from webhook.dockerfile.evidence import Evidence, find_uid
from webhook.dockerfile.expansion import Budget, Lookup, Missing, expand, expand_words
from webhook.dockerfile.instruction import Instruction
from webhook.dockerfile.malformed import Fault, Malformed
from webhook.dockerfile.source import opened_heredoc, read
from webhook.dockerfile.stages import SCRATCH, Plan, Stage, plan
from webhook.dockerfile.step import Step
from webhook.image import Platform, parse_user

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHELL_LIMIT = 4 * 1024 * 1024  # characters that variables put into scripts, before they stay as they are written
_WINDOWS = re.compile(r"nanoserver|windowsservercore|mcr\.microsoft\.com/windows")
_NOT_IN_ENV = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})
_LINUX = Platform("linux", "amd64")


class Base(msgspec.Struct, frozen=True):
    """What is known of an external base image: the part of its config that a build on it inherits."""

    user: str = ""
    env: tuple[str, ...] = ()
    working_dir: str = ""
    onbuild: tuple[str, ...] = ()


class Evaluation(msgspec.Struct, frozen=True):
    """A Dockerfile's answer for one target.

    `user` is the USER of the built image's config, "" where it has none, None where only the base could tell: it is
    inherited, or depends on the base's ENV. `base` is the external image at the root of the target's stages, as FROM
    names it after expansion; None is `scratch`. `working_dir` is the config's too, None where only the base could tell.
    `user_step` is the USER instruction that decides, None where there is
    none. `stages` are all stages, `chain` those that the target consists of, root first, and `steps` what they run;
    `all_steps` adds, in file order, those of the stages that the target copies from. `evidence` says what is known of the uid.
    """

    user: str | None
    base: str | None
    working_dir: str | None
    user_step: Step | None
    stages: tuple[Stage, ...]
    chain: tuple[Stage, ...]
    steps: tuple[Step, ...]
    all_steps: tuple[Step, ...]
    evidence: Evidence

    @property
    def final(self) -> Stage:
        """The target stage: the last one where no other is asked for."""
        return self.chain[-1]

    @property
    def name(self) -> str:
        """The name in USER; empty where it is a number, or nothing, or not known."""
        return parse_user(self.user).name if self.user else ""

    @property
    def root(self) -> bool | None:
        """Whether the image runs as uid 0; None where that is not evident."""
        if self.user is None:
            return None
        user = parse_user(self.user)
        if user.uid is not None:
            return user.uid == 0
        if not user.name:
            return True
        return None if self.evidence.uid is None else self.evidence.uid == 0

    @property
    def windows(self) -> bool:
        """Whether the base image is one of Microsoft's for Windows, going by its name."""
        return self.base is not None and _WINDOWS.search(self.base.lower()) is not None

    @property
    def line(self) -> int:
        """Where the USER is said, from 1; the target's FROM where no instruction says one."""
        return self.user_step.line if self.user_step else self.final.origin.line

    @property
    def column(self) -> int:
        """The column of the same."""
        return self.user_step.column if self.user_step else self.final.origin.column

    @property
    def final_steps(self) -> tuple[Step, ...]:
        """The steps that stand in the target stage itself."""
        return tuple(step for step in self.steps if step.stage == self.final.index)


def evaluate(
    text: str,
    *,
    target: str | None = None,
    build_args: Mapping[str, str] | None = None,
    platform: Platform = _LINUX,
    bases: Mapping[str, Base] | None = None,
) -> Evaluation | Malformed:
    """Say what a Dockerfile builds; `Malformed` where BuildKit would not build it.

    `target` is a stage's name (`docker build --target`), `build_args` are those of `--build-arg`, `bases` the configs
    of external images by the name that `Evaluation.base` gives them. Nothing is raised for what the text holds, and
    time and memory are linear in its length. Not judged, because the USER does not depend on them: the syntax of
    ports, signals, file modes, platforms, git addresses, and of mounts beyond `from`.
    """
    budget = Budget()
    known = {} if bases is None else bases
    try:
        source = read(text)
        plans = plan(
            source,
            target=target,
            build_args=build_args or {},
            platform=platform,
            triggers=lambda image: known.get(image, Base()).onbuild,
            budget=budget,
        )
        return _Run(plans, source.escape, build_args or {}, platform, known, budget).evaluation()
    except Fault as fault:
        return Malformed(max(1, fault.line), fault.column, fault.reason)


class _State:
    """What a stage has come to: variables, user, working directory, shell."""

    def __init__(self, *, user: str | None, working_dir: str | None, is_open: bool) -> None:
        self.variables: dict[str, str | None] = {}  # None: only the base could tell
        self.exported: dict[str, str | None] = {}  # those of ENV, which the image's config keeps
        self.is_open = is_open  # whether the base may set further ones
        self.user = user
        self.user_step: Step | None = None
        self.working_dir = working_dir
        self.shell = True  # a POSIX one, as far as the file says

    def child(self) -> "_State":
        """What a stage built on this one begins with: the config's ENV is set anew, over an ARG of the same name."""
        other = _State(user=self.user, working_dir=self.working_dir, is_open=self.is_open)
        other.exported = dict(self.exported)
        other.variables = dict.fromkeys(self.variables) if self.is_open else dict(self.variables)
        other.variables |= self.exported
        other.user_step = self.user_step
        other.shell = self.shell
        return other

    def get(self, name: str) -> str | Missing:
        value = self.variables.get(name, Missing.UNKNOWN if self.is_open else Missing.UNSET)
        return Missing.UNKNOWN if value is None else value

    def export(self, name: str | None, value: str | None) -> None:
        """ENV sets a variable; where even its name is unknown, any of them may have changed."""
        if name is None:
            self.variables, self.exported = dict.fromkeys(self.variables), dict.fromkeys(self.exported)
        else:
            self.variables[name] = self.exported[name] = value


class _Run:
    """Goes through the stages in file order, as BuildKit dispatches them."""

    def __init__(
        self,
        plan: Plan,
        escape: str,
        build_args: Mapping[str, str],
        platform: Platform,
        bases: Mapping[str, Base],
        budget: Budget,
    ) -> None:
        self._plan = plan
        self._escape = escape
        self._build_args = build_args
        self._platform = platform
        self._bases = bases
        self._budget = budget
        self._shell_left = _SHELL_LIMIT
        self._states: dict[int, _State] = {}
        self._steps: dict[int, tuple[Step, ...]] = {}

    def evaluation(self) -> Evaluation:
        stages = self._plan.stages
        for stage, triggers, own in self._plan.order:
            state = self._states[stage.parent].child() if stage.parent is not None else self._root(stage)
            self._states[stage.index] = state
            done: list[Step] = []
            for index, instruction in enumerate((*triggers, *own)):
                try:
                    done.append(self._step(stage, state, instruction, triggered=index < len(triggers)))
                except Fault as fault:
                    raise Fault(fault.reason, instruction.line, instruction.column) from None
            self._steps[stage.index] = tuple(done)
        chain = [stages[self._plan.target]]
        while (parent := chain[0].parent) is not None:
            chain.insert(0, stages[parent])
        state = self._states[self._plan.target]
        steps = tuple(step for stage in chain for step in self._steps[stage.index])
        base = chain[0].external
        name = parse_user(state.user).name if state.user else ""
        group = (state.user or "").partition(":")[2]
        return Evaluation(
            user=state.user,
            base=base,
            working_dir=state.working_dir,
            user_step=state.user_step,
            stages=stages,
            chain=tuple(chain),
            steps=steps,
            all_steps=tuple(step for steps in self._steps.values() for step in steps),
            evidence=find_uid(name, group, self._plan.target, stages, self._steps),
        )

    def _root(self, stage: Stage) -> _State:
        base = Base(working_dir="/") if stage.image == SCRATCH else self._bases.get(stage.image)
        if base is None:
            return _State(user=None, working_dir=None, is_open=True)
        state = _State(user=base.user, working_dir=_join("/", base.working_dir), is_open=False)
        for variable in base.env:
            name, _, value = variable.partition("=")
            state.export(name, value)
        if self._platform.os != "windows" and "PATH" not in state.exported:
            state.export("PATH", _PATH)
        return state

    def _step(self, stage: Stage, state: _State, instruction: Instruction, *, triggered: bool) -> Step:
        user, working_dir = state.user, state.working_dir
        step = Step(
            instruction=instruction,
            stage=stage.index,
            user=user,
            working_dir=working_dir,
            triggered=triggered,
            **self._expanded(instruction, state),
        )
        match instruction.keyword:
            case "USER":
                state.user, state.user_step = step.arguments[0], step
            case "WORKDIR":
                state.working_dir = _join(working_dir, step.arguments[0])
            case "SHELL":
                state.shell = shell.is_shell(step.arguments[0] or "")
            case "ENV":
                for name, value in step.pairs:
                    state.export(name, value)
        return step

    def _expanded(self, instruction: Instruction, state: _State) -> dict[str, Any]:
        """What of a step is expanded, by the field of `Step` that it goes into."""
        match instruction.keyword:
            case "USER" | "WORKDIR" | "VOLUME" | "STOPSIGNAL":
                arguments = tuple(self._expand(word, state) for word in instruction.arguments)
                if instruction.keyword == "VOLUME" and "" in arguments:
                    raise Fault("VOLUME is empty after expansion; give the variable a value")
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

    def _expand(self, word: str, state: _State) -> str | None:
        return expand(word, state.get, self._escape, self._budget)

    def _in_shell(self, state: _State) -> Lookup:
        """The variables that a script sees, until the scripts of the file have used too much of them."""

        def value(name: str) -> str | Missing:
            found = state.get(name)
            self._shell_left -= len(found) if isinstance(found, str) else 0
            return found if self._shell_left > 0 else Missing.UNKNOWN

        return value

    def _define(self, name: str, default: str | None, state: _State) -> tuple[str, str | None]:
        """ARG in a stage: the build argument, else its default, else what the same ARG before the first FROM has."""
        if name in self._build_args:
            value: str | None = self._build_args[name]
        elif default is not None:
            value = self._expand(default, state)
        elif name in self._plan.arguments:
            value = self._plan.arguments[name]
        else:
            known = state.get(name)
            return name, known if isinstance(known, str) else None
        if name not in _NOT_IN_ENV:
            state.variables[name] = value
        return name, value

    def _ports(self, instruction: Instruction, state: _State) -> tuple[str | None, ...]:
        ports: list[str | None] = []
        for word in sorted(instruction.arguments):
            words = expand_words(word, state.get, self._escape, self._budget)
            ports.extend((None,) if words is None else words)
        return tuple(ports)

    def _files(self, instruction: Instruction, state: _State) -> dict[str, Any]:
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


def _join(current: str | None, path: str | None) -> str | None:
    """A working directory made absolute; None where that needs what is not known. An absolute one stays as written."""
    if path is None or path.startswith("/"):
        return path
    if current is None:
        return None
    return "/" + posixpath.normpath(posixpath.join(current, path)).lstrip("/") if path else current

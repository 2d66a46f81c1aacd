"""The stages of a Dockerfile: which one each builds on, which ones the target needs, and which triggers run in them.

Source: moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go and platform.go.
"""

import graphlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from webhook.dockerfile.parser import instruction as instructions
from webhook.dockerfile.parser.expansion import Budget, Lookup, Missing, expand, unset
from webhook.dockerfile.parser.instruction import Instruction
from webhook.dockerfile.parser.lines import Source
from webhook.dockerfile.parser.malformed import ParseError
from webhook.errors import InvalidReference
from webhook.image import reference
from webhook.image.config import Platform
from webhook.image.golang import parse_decimal

SCRATCH = "scratch"
STAGE_LIMIT = 1000  # ours, as the next; BuildKit has neither
TRIGGER_LIMIT = 10_000

Triggers = Callable[[str], tuple[str, ...]]  # the ONBUILD instructions of an external image


class Stage(msgspec.Struct, frozen=True):
    """A stage as it is written.

    `image` is what FROM names after expansion; `parent` is the stage of this file that it means, or None where it is
    an image of a registry or `scratch`. An `image` that only --build-arg can say is empty.
    """

    index: int
    name: str
    image: str
    parent: int | None
    origin: Instruction
    instructions: tuple[Instruction, ...]

    @property
    def external(self) -> str | None:
        """The image of a registry that it builds on directly; None for `scratch` and for a stage of this file."""
        return None if self.parent is not None or self.image in ("", SCRATCH) else self.image

    @property
    def title(self) -> str:
        """The stage in words: its name, or its number where it has none."""
        return self.name or f"stage {self.index}"


class Plan(msgspec.Struct, frozen=True):
    """The stages that a target needs, in order.

    `order` are the stages that the target needs, in file order, each with the triggers that it inherits and its own
    instructions, which run after them; `arguments` are the variables of FROM.
    """

    stages: tuple[Stage, ...]
    target: int
    arguments: Mapping[str, str]
    order: tuple[tuple[Stage, tuple[Instruction, ...], tuple[Instruction, ...]], ...]


def plan(
    source: Source,
    *,
    target: str | None,
    build_args: Mapping[str, str],
    platform: Platform,
    triggers: Triggers,
    budget: Budget,
    open_bases: bool = False,
) -> Plan:
    """Find the stages and what the target needs of them.

    `open_bases` lets FROM name what only --build-arg can say.
    Raises `ParseError` where BuildKit would refuse the file before it runs a step.
    """
    return _Planner(source, build_args, platform, budget, open_bases).plan(target, triggers)


class _Sources(msgspec.Struct):
    """Where instructions take files from: stages of the file by number, and images of a registry."""

    stages: set[int] = msgspec.field(default_factory=set)
    images: set[str] = msgspec.field(default_factory=set)


class _Planner:
    def __init__(
        self, source: Source, build_args: Mapping[str, str], platform: Platform, budget: Budget, open_bases: bool
    ) -> None:
        self._escape = source.escape
        self._source = source
        self._build_args = build_args
        self._platform = platform
        self._budget = budget
        self._open_bases = open_bases
        self._stages: list[Stage] = []
        self._by_name: dict[str, int] = {}
        self._numbered: list[int | None] = []  # what COPY --from=NUMBER counts: stages, then images in order of use
        self._sources: list[_Sources] = []

    def plan(self, target: str | None, triggers: Triggers) -> Plan:
        definitions, groups = _group(instructions.parse(line, self._escape) for line in self._source.lines)
        last = groups[-1][0].arguments
        arguments = self._arguments(definitions, target or (last[2].lower() if len(last) == 3 else ""))
        for origin, body in groups:
            self._add(origin, body, arguments)
        goal = self._target(target)
        self._numbered.extend(range(len(self._stages)))
        self._sources = [self._used(stage.instructions) for stage in self._stages]
        self._check_cycles({index: used.stages for index, used in enumerate(self._sources)})
        inherited = self._inherit(goal, triggers)
        order = tuple(
            (stage, inherited[stage.index], stage.instructions) for stage in self._stages if stage.index in inherited
        )
        return Plan(tuple(self._stages), goal, arguments, order)

    def _arguments(self, definitions: list[Instruction], target: str) -> dict[str, str]:
        """The variables of FROM: the platform's, and every ARG before the first FROM."""
        system, architecture, variant = self._platform.os, self._platform.architecture, self._platform.variant
        values = {"TARGETSTAGE": target or "default"}
        for prefix in ("BUILD", "TARGET"):
            values |= {
                f"{prefix}PLATFORM": str(self._platform),
                f"{prefix}OS": system,
                f"{prefix}OSVERSION": "",
                f"{prefix}ARCH": architecture,
                f"{prefix}VARIANT": variant,
            }
        values |= {name: value for name, value in self._build_args.items() if name in values}
        for definition in definitions:
            for name, default in definition.pairs:
                if name in self._build_args:
                    values[name] = self._build_args[name]
                elif default is not None:
                    values[name] = self._expand(default, _lookup(values), definition)
        return values

    def _expand(self, word: str, lookup: Lookup, place: Instruction) -> str:
        """A word in which nothing is unknown."""
        try:
            return expand(word, lookup, self._escape, self._budget) or ""
        except ParseError as fault:
            raise ParseError(fault.reason, place.line, place.column) from None

    def _add(self, origin: Instruction, body: tuple[Instruction, ...], arguments: Mapping[str, str]) -> None:
        if len(self._stages) == STAGE_LIMIT:
            raise ParseError(f"the file has more than {STAGE_LIMIT:,} stages", origin.line, origin.column)
        written = origin.arguments[0]
        image = self._expand(written, _lookup(arguments), origin)
        if not image and not self._open_bases:
            raise ParseError(
                f"FROM {written!a} is empty after expansion; give the ARG before the first FROM a default",
                origin.line,
                origin.column,
            )
        platform = origin.flag("platform")
        if platform and not self._expand(platform, _lookup(arguments), origin):
            raise ParseError(f"--platform={platform!a} is empty after expansion", origin.line, origin.column)
        name = origin.arguments[2].lower() if len(origin.arguments) == 3 else ""
        stage = Stage(len(self._stages), name, image, self._by_name.get(image), origin, body)
        if stage.external:
            _check_reference(stage.external, origin)
        self._stages.append(stage)
        if name:
            self._by_name[name] = stage.index

    def _target(self, target: str | None) -> int:
        if not target:
            return len(self._stages) - 1
        found = self._by_name.get(target.lower())
        if found is None:
            names = ", ".join(self._by_name) or "none; name one with FROM … AS NAME"
            raise ParseError(
                f"there is no stage {target[:80]!a}; the named stages are {names}", self._stages[0].origin.line
            )
        return found

    def _used(self, body: Iterable[Instruction]) -> _Sources:
        """The stages and images that COPY --from and the mounts of RUN take files from."""
        used = _Sources()
        for step in body:
            if step.keyword == "COPY":
                sources = [step.flag("from") or ""]
            elif step.keyword == "RUN":
                sources = [mount.get("from") or SCRATCH for mount in step.mounts()]
            else:
                continue
            for name in filter(None, sources):
                found = None if name == SCRATCH else self._find(name, step)
                if found is not None:
                    used.stages.add(found)
                    continue
                self._numbered.append(None)
                if name != SCRATCH:
                    _check_reference(name, step)
                    used.images.add(name)
        return used

    def _find(self, name: str, step: Instruction) -> int | None:
        """The stage of that name, or for COPY of that number; None for an image."""
        if step.keyword == "COPY":
            if self._expand(name, unset, step) != name:
                raise ParseError(
                    f"--from={name[:80]!a} cannot hold a variable; name a stage with FROM … AS first",
                    step.line,
                    step.column,
                )
            number = parse_decimal(name)
            if number is not None:
                if not 0 <= number < len(self._numbered):
                    raise ParseError(f"--from={name[:80]!a} is no stage; they count from 0", step.line, step.column)
                return self._numbered[number]
        return self._by_name.get(name.lower())

    def _check_cycles(self, copies: Mapping[int, set[int]]) -> None:
        for index, sources in copies.items():
            if index in sources:
                self._circular(index)
        try:
            graphlib.TopologicalSorter(copies).prepare()
        except graphlib.CycleError as error:
            self._circular(error.args[1][0])

    def _circular(self, index: int) -> None:
        stage = self._stages[index]
        raise ParseError(f"{stage.title} takes files from itself by way of others", stage.origin.line)

    def _inherit(self, goal: int, triggers: Triggers) -> dict[int, tuple[Instruction, ...]]:
        """The stages that the target needs, with the triggers that each one runs; these may need further stages."""
        inherited: dict[int, tuple[Instruction, ...]] = {}
        waiting, left = [goal], TRIGGER_LIMIT
        while waiting:
            index = waiting.pop()
            if index in inherited:
                continue
            stage = self._stages[index]
            inherited[index] = tuple(itertools.islice(self._triggers(stage, triggers), left))
            left -= len(inherited[index])
            if not left:
                raise ParseError(f"ONBUILD triggers run more than {TRIGGER_LIMIT:,} times", stage.origin.line)
            own, used = self._sources[index], self._used(inherited[index])
            needs = own.stages | used.stages
            if stage.parent is not None:
                needs.add(stage.parent)
            if any(need > index for need in needs):
                raise ParseError(f"{stage.title} takes files from a stage that comes after it", stage.origin.line)
            waiting.extend(needs | self._needs_of(own.images | used.images, triggers, stage))
        return inherited

    def _needs_of(self, images: set[str], triggers: Triggers, stage: Stage) -> set[int]:
        """The stages that the triggers of images name from which files are taken: these are read, and never run."""
        needs: set[int] = set()
        seen, waiting = set(images), list(images)
        while waiting:
            used = self._used(instructions.parse_inherited(text, stage.origin) for text in triggers(waiting.pop()))
            needs |= used.stages
            waiting.extend(used.images - seen)
            seen |= used.images
        return needs

    def _triggers(self, stage: Stage, triggers: Triggers) -> Iterator[Instruction]:
        if stage.parent is not None:
            for step in self._stages[stage.parent].instructions:
                if step.keyword == "ONBUILD":
                    yield instructions.parse_trigger(step)
        elif stage.external:
            for text in triggers(stage.external):
                yield instructions.parse_inherited(text, stage.origin)


def _group(
    parsed: Iterable[Instruction],
) -> tuple[list[Instruction], list[tuple[Instruction, tuple[Instruction, ...]]]]:
    """The ARG instructions before the first FROM, and every FROM with what follows it."""
    definitions: list[Instruction] = []
    groups: list[tuple[Instruction, list[Instruction]]] = []
    for step in parsed:
        if step.keyword == "FROM":
            groups.append((step, []))
        elif groups:
            groups[-1][1].append(step)
        elif step.keyword == "ARG":
            definitions.append(step)
        else:
            raise ParseError(f"{step.keyword} stands before the first FROM, where only ARG may", step.line, step.column)
    if not groups:
        raise ParseError("the file has no FROM, so that there is nothing to build", definitions[-1].line)
    return definitions, [(origin, tuple(body)) for origin, body in groups]


def _lookup(values: Mapping[str, str]) -> Lookup:
    return lambda name: values.get(name, Missing.UNSET)


def _check_reference(image: str, place: Instruction) -> None:
    try:
        reference.parse(image)
    except InvalidReference as error:
        raise ParseError(str(error), place.line, place.column) from None

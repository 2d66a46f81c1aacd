"""The evaluation of a Dockerfile: the USER of the image that it builds, and the user of each step.

Source: moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go.
"""

import re
from collections.abc import Mapping

import msgspec

from webhook.dockerfile.analysis.uid import ResolvedUid, find_uid
from webhook.dockerfile.parser.expansion import Budget
from webhook.dockerfile.parser.lines import read
from webhook.dockerfile.parser.malformed import Malformed, ParseError
from webhook.dockerfile.stages.dispatch import Dispatcher
from webhook.dockerfile.stages.plan import SCRATCH, Plan, Stage, plan
from webhook.dockerfile.stages.state import Base, State
from webhook.dockerfile.stages.step import Step
from webhook.image.config import Platform, parse_user

_WINDOWS = re.compile(
    r"nanoserver|servercore|ltsc20\d\d|mcr\.microsoft\.com/(?:windows|dotnet/framework)\b"
    r"|(?:^|/)microsoft/(?:iis|aspnet|dotnet-framework)\b"
)
_WINDOWS_USERS = frozenset({"containeradministrator", "containeruser"})
_LINUX = Platform("linux", "amd64")


class Evaluation(msgspec.Struct, frozen=True):
    """A Dockerfile's answer for one target.

    `user` is the USER of the built image's config, "" where it has none, None where only the base could tell: it is
    inherited, or depends on the base's ENV. `base` is the external image at the root of the target's stages, as FROM
    names it after expansion; None is `scratch`. `working_dir` is the config's too, None where only the base could tell.
    `user_step` is the USER instruction that decides, None where there is none. `stages` are all stages, `chain` those
    that the target consists of, root first, and `steps` what they run; `all_steps` adds, in file order, those of the
    stages that the target copies from. `evidence` says what is known of the uid.
    """

    user: str | None
    base: str | None
    working_dir: str | None
    user_step: Step | None
    stages: tuple[Stage, ...]
    chain: tuple[Stage, ...]
    steps: tuple[Step, ...]
    all_steps: tuple[Step, ...]
    evidence: ResolvedUid

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
        """Whether the image is for Windows, going by the name of the base image, or by that of a user whom only it has."""
        by_name = self.base is not None and _WINDOWS.search(self.base.lower()) is not None
        return by_name or (self.user or "").lower() in _WINDOWS_USERS

    @property
    def line(self) -> int:
        """The line of the USER, from 1; of the target's FROM where no instruction sets one."""
        return self.user_step.line if self.user_step else self.final.origin.line

    @property
    def column(self) -> int:
        """The column of the same."""
        return self.user_step.column if self.user_step else self.final.origin.column


def evaluate(
    text: str,
    *,
    target: str | None = None,
    build_args: Mapping[str, str] | None = None,
    platform: Platform = _LINUX,
    bases: Mapping[str, Base] | None = None,
    open_bases: bool = False,
) -> Evaluation | Malformed:
    """Say what a Dockerfile builds; `Malformed` where BuildKit would not build it.

    `target` is a stage's name (`docker build --target`), `build_args` are those of `--build-arg`, `bases` the configs
    of external images by the name that `Evaluation.base` gives them. With `open_bases` a FROM whose variable has no
    value is a base that nobody knows, as if --build-arg were still to come. Nothing is raised for what the text holds, and
    time and memory are linear in its length. Not evaluated, because the USER does not depend on them: the syntax of
    ports, signals, file modes, platforms, git addresses, and of mounts beyond `from`.
    """
    budget = Budget()
    known = {} if bases is None else bases
    try:
        source = read(text)
        planned = plan(
            source,
            target=target,
            build_args=build_args or {},
            platform=platform,
            triggers=lambda image: known.get(image, Base()).onbuild,
            budget=budget,
            open_bases=open_bases,
        )
        dispatcher = Dispatcher(source.escape, build_args or {}, planned.arguments, budget)
        return _run(planned, dispatcher, platform, known)
    except ParseError as fault:
        return Malformed(max(1, fault.line), fault.column, fault.reason)


def _run(planned: Plan, dispatcher: Dispatcher, platform: Platform, bases: Mapping[str, Base]) -> Evaluation:
    """Go through the stages in file order."""
    states: dict[int, State] = {}
    steps: dict[int, tuple[Step, ...]] = {}
    for stage, triggers, own in planned.order:
        if stage.parent is not None:
            state = states[stage.parent].child()
        elif stage.image == SCRATCH:
            state = State.scratch(platform)
        else:
            state = State.root(bases.get(stage.image), platform)
        states[stage.index] = state
        steps[stage.index] = tuple(dispatcher.step(stage.index, state, step) for step in (*triggers, *own))
    chain = [planned.stages[planned.target]]
    while (parent := chain[-1].parent) is not None:
        chain.append(planned.stages[parent])
    chain.reverse()
    state = states[planned.target]
    name = parse_user(state.user).name if state.user else ""
    group = (state.user or "").partition(":")[2]
    return Evaluation(
        user=state.user,
        base=chain[0].external,
        working_dir=state.working_dir,
        user_step=state.user_step,
        stages=planned.stages,
        chain=tuple(chain),
        steps=tuple(step for stage in chain for step in steps[stage.index]),
        all_steps=tuple(step for taken in steps.values() for step in taken),
        evidence=find_uid(name, group, planned.target, planned.stages, steps, bases),
    )

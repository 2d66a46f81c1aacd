"""The run of a check: files are read, workloads evaluated, images looked up concurrently."""

import asyncio
import gc
import shlex
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from webhook.check import workloads
from webhook.check.files import KUSTOMIZATION, Selection, Source, named, read
from webhook.check.manifest.objects import KNOWN_TEMPLATE_KINDS, TemplateKinds
from webhook.check.report import Examined, Report, Skipped, Suppressed, merge
from webhook.check.surveying import Surveying
from webhook.check.workloads import WorkloadInFile
from webhook.errors import InvalidSetting
from webhook.evaluation.evaluator import Progress, evaluate
from webhook.evaluation.verdict import Verdict
from webhook.image.source import NOT_EXAMINED, Images
from webhook.policy.cache import PolicySnapshot
from webhook.policy.exemptions import exempt
from webhook.policy.selection import EffectivePolicy
from webhook.policy.types import Assign, Documents

T = TypeVar("T")

AT_ONCE = 32  # workloads whose images are asked for together
IMAGE_BUDGET = 600.0  # seconds; the registry client gives up on an image long before


class Request(msgspec.Struct, frozen=True):
    """A request for a check: the paths, the policies and exceptions, and the options.

    `suggest` gives root images the uid that they are made for; `render` evaluates charts and kustomizations rendered.
    """

    paths: tuple[str, ...]
    documents: Documents = Documents()
    target: str | None = None
    build_args: Mapping[str, str] = msgspec.field(default_factory=dict)
    kinds: TemplateKinds = msgspec.field(default_factory=lambda: KNOWN_TEMPLATE_KINDS)
    selection: Selection = Selection()
    suggest: bool = False
    render: bool = False


class ParsedInputs(msgspec.Struct):
    """The files that were read: the workloads to evaluate, where they came from, and what could not be read.

    `others` are the Dockerfiles and compose files.
    """

    cases: list[WorkloadInFile] = []
    others: list[Source] = []
    kustomizations: list[str] = []
    examined: list[Examined] = []
    skipped: list[Skipped] = []


async def check(request: Request, images: Images, progress: Progress | None = None) -> Report:
    """Evaluate everything below the paths; `InvalidSetting` for a path that is not there or holds nothing to check."""
    sources = read(request.paths, request.selection)
    if request.render:
        from webhook.check.rendering import rendered

        sources = rendered(sources)
    return await check_sources(sources, request, images, progress)


async def check_sources(
    sources: Iterable[Source | Skipped], request: Request, images: Images, progress: Progress | None = None
) -> Report:
    """Evaluate files whose text was read already."""
    gathered = gather(sources, request)
    verdicts = await evaluate_all(gathered.cases, request, images, progress)
    excepted = [
        (case, verdict)
        for case, verdict in zip(gathered.cases, verdicts, strict=True)
        if any(each.exemption is not None for each in verdict.containers)
    ]
    reports = [_report(case, verdict) for case, verdict in zip(gathered.cases, verdicts, strict=True)]
    reports += await _suppressed(excepted, request, images)
    others = await _together([_other(source, request, images) for source in gathered.others])
    report = merge([Report(files=tuple(gathered.examined), skipped=tuple(gathered.skipped)), *reports, *others])
    return msgspec.structs.replace(  # a Dockerfile that a compose file builds is evaluated with it, and by itself
        report,
        findings=tuple(dict.fromkeys(report.findings)),
        files=tuple(dict.fromkeys(report.files)),
        skipped=tuple(dict.fromkeys(report.skipped)),
        suppressed=tuple(dict.fromkeys(report.suppressed)),
    )


def gather(sources: Iterable[Source | Skipped], request: Request) -> ParsedInputs:
    """Read all of it; `InvalidSetting` where there is nothing to check."""
    gathered = ParsedInputs()
    with _trees():
        for source in sources:
            if isinstance(source, Skipped):
                gathered.skipped.append(source)
            elif source.kind == "manifest":
                if KUSTOMIZATION.search(source.path):
                    gathered.kustomizations.append(source.path)
                _sort(source, workloads.read(source, request.kinds), gathered)
            else:
                gathered.others.append(source)
    gathered.skipped += _unrendered(gathered)
    empty = not (gathered.examined or gathered.skipped or gathered.others)
    if empty and not request.selection.skip_others:
        raise InvalidSetting(
            f"there is nothing to check in {named(request.paths)}: no manifest, compose file or Dockerfile"
        )
    return gathered


async def evaluate_all(
    cases: list[WorkloadInFile],
    request: Request,
    images: Images,
    progress: Progress | None = None,
    injects: bool | None = None,
) -> list[Verdict]:
    """Every workload's verdict, in order; one without containers where admission would not evaluate the workload.

    `injects` overrides what the policies would patch.
    """
    view, now, done = PolicySnapshot(request.documents), datetime.now(UTC), 0
    images = Surveying(images)

    async def one(case: WorkloadInFile) -> Verdict:
        nonlocal done
        effective_policy = view.effective_policy(case.namespace)
        if request.suggest:
            effective_policy = _suggesting(effective_policy)
        if exempt(effective_policy.policy.spec, case.namespace, "", case.workload) is not None:
            return Verdict(effective_policy, ())
        verdict = await evaluate(
            case.workload,
            effective_policy,
            images,
            namespace=case.namespace,
            budget=IMAGE_BUDGET,
            now=now,
            exceptions=(*view.exceptions(case.namespace), *case.exceptions),
            slots=case.slots,
            injects=injects,
        )
        done += 1
        if progress:
            progress(done, len(cases))
        return verdict

    return await _together([one(case) for case in cases])


async def _suppressed(excepted: list[tuple[WorkloadInFile, Verdict]], request: Request, images: Images) -> list[Report]:
    """The findings in workloads with exceptions if there were none."""
    cases = [msgspec.structs.replace(case, exceptions=()) for case, _ in excepted]
    policies = msgspec.structs.replace(request, documents=Documents(request.documents.policies))
    reports = []
    for (case, verdict), bare in zip(excepted, await evaluate_all(cases, policies, images), strict=True):
        reasons = {
            each.subject.slot.container.name: each.exemption.reason for each in verdict.containers if each.exemption
        }
        counted = set(workloads.findings(case, verdict))
        found = [each for each in workloads.findings(case, _examined(bare)) if each not in counted]
        kind: Literal["inSource", "external"] = "inSource" if case.exceptions else "external"
        suppressed = [Suppressed(each, kind, reasons.get(each.container, "")) for each in found]
        reports.append(Report(suppressed=tuple(suppressed)))
    return reports


def _examined(verdict: Verdict) -> Verdict:
    """The verdict about the containers whose images were not left out."""
    containers = tuple(each for each in verdict.containers if each.subject.image is not NOT_EXAMINED)
    return msgspec.structs.replace(verdict, containers=containers)


def _suggesting(effective_policy: EffectivePolicy) -> EffectivePolicy:
    """The policy by which root images that nothing is assigned to get what their layers show."""
    policy = effective_policy.policy
    if policy.spec.assign is not None:
        return effective_policy
    spec = msgspec.structs.replace(policy.spec, root_images="Assign", assign=Assign("FromImage", ("*",)))
    return msgspec.structs.replace(effective_policy, policy=msgspec.structs.replace(policy, spec=spec))


async def _together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All outcomes in order, of work that is done a bounded number at a time."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def in_turn(each: Coroutine[Any, Any, T]) -> T:
        async with turns:
            return await each

    return await asyncio.gather(*(in_turn(each) for each in work))


async def _other(source: Source, request: Request, images: Images) -> Report:
    if source.kind == "compose":
        from webhook.check import compose

        return await compose.check(source, images, NOT_EXAMINED, IMAGE_BUDGET)
    from webhook.check import dockerfiles

    target, arguments = request.target, request.build_args
    return await dockerfiles.check(source, images, NOT_EXAMINED, IMAGE_BUDGET, target, arguments)


def _unrendered(gathered: ParsedInputs) -> Iterator[Skipped]:
    """The kustomizations below whose folder nothing was evaluated: what they make of other folders is not known."""
    if not gathered.kustomizations:
        return
    evaluated = {str(parent) for case in gathered.cases for parent in Path(case.path).parents}
    for path in gathered.kustomizations:
        folder = str(Path(path).parent)
        if folder not in evaluated:
            command = f"kubectl kustomize {shlex.quote(folder)} | nonroot check -"
            yield Skipped(path, 1, f"a kustomization is evaluated by what it renders: give --render, or {command}")


@contextmanager
def _trees() -> Iterator[None]:
    """Trees have no cycles, and looking for some among them would double the time of a large check."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _sort(source: Source, found: Iterable[WorkloadInFile | Skipped | None], gathered: ParsedInputs) -> None:
    objects = False
    for each in found:
        if isinstance(each, Skipped):
            gathered.skipped.append(each)
        else:
            objects = True
            if each is not None:
                gathered.cases.append(each)
    if objects:
        gathered.examined.append(Examined(source.path, source.kind))


def _report(case: WorkloadInFile, verdict: Verdict) -> Report:
    if not verdict.containers and case.slots is None:
        exempted = sum(1 for _ in case.workload.slots())
        return Report(workloads=1, containers=exempted, allowed=exempted)
    examined = _examined(verdict)
    return Report(
        findings=tuple(workloads.findings(case, examined)),
        workloads=1,
        containers=len(verdict.containers),
        not_examined=len(verdict.containers) - len(examined.containers),
        by_shape=(case.workload.kind,) if case.found.by_shape else (),
        allowed=sum(1 for each in verdict.containers if each.exemption is not None),
    )

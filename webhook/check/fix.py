"""Paths -> what would change in which file, and what is left for people."""

from collections.abc import Iterable

import msgspec

from webhook.check.files import Source, read
from webhook.check.manifest.edit import Addition, NotEditable, apply
from webhook.check.report import Report, Skipped, merge
from webhook.check.run import IMAGE_BUDGET, Request, check_sources, evaluate_all, gather
from webhook.check.workloads import WorkloadInFile
from webhook.evaluation import patch
from webhook.evaluation.evaluator import Progress
from webhook.evaluation.patch import Operation
from webhook.evaluation.verdict import Verdict
from webhook.image.source import Images


class Change(msgspec.Struct, frozen=True):
    """A file's text before and after."""

    path: str
    before: str
    after: str


class Fixes(msgspec.Struct, frozen=True):
    """The changes, and the check of the files as they would be then."""

    changes: tuple[Change, ...]
    rest: Report


async def fix(request: Request, images: Images, progress: Progress | None = None) -> Fixes:
    """Work out what admission would inject into every workload; nothing is written.

    `InvalidSetting` for a path that is not there or holds nothing to check.
    """
    read_already = list(read(request.paths))
    gathered = gather(read_already, request)
    verdicts = await evaluate_all(gathered.cases, request, images, progress, injects=True)
    wanted = _wanted(gathered.cases, verdicts)
    changes: list[Change] = []
    left: list[Skipped] = []
    then: list[Source | Skipped] = []
    for source in read_already:
        if isinstance(source, Skipped):
            then.append(source)
            continue
        if source.kind == "dockerfile":
            after = await _rewritten(source, request, images)
        else:
            after, unedited = _edited(source, wanted.get(source.path, []))
            left += unedited
        if after != source.text:
            changes.append(Change(source.path, source.mark + source.text, source.mark + after))
        then.append(msgspec.structs.replace(source, text=after))
    rest = await check_sources(then, request, images)
    return Fixes(tuple(changes), merge([rest, Report(skipped=tuple(left))]))


async def _rewritten(source: Source, request: Request, images: Images) -> str:
    from webhook.check import dockerfiles

    return await dockerfiles.rewritten(source, images, IMAGE_BUDGET, request.target, request.build_args)


def _wanted(cases: Iterable[WorkloadInFile], verdicts: Iterable[Verdict]) -> dict[str, list[Addition]]:
    """What to add, by path; an addition is one container's, so that one that cannot be made leaves the others alone."""
    wanted: dict[str, list[Addition]] = {}
    for case, verdict in zip(cases, verdicts, strict=True):
        parents: dict[str, list[Operation]] = {}
        for operation in patch.operations(verdict, case.workload, annotate=False):
            pointer = operation["path"].removesuffix("/securityContext").partition("/securityContext/")[0]
            parents.setdefault(pointer, []).append(operation)
        for operations in parents.values():
            addition = Addition(case.document, case.found.node, case.found.pointer, tuple(operations))
            wanted.setdefault(case.path, []).append(addition)
    return wanted


def _edited(source: Source, additions: list[Addition]) -> tuple[str, list[Skipped]]:
    """The text with every addition that can be made, and why the others cannot."""
    try:
        return apply(source.text, additions), []
    except NotEditable as first:
        possible: list[Addition] = []
        left: list[Skipped] = []
        for addition in additions:
            try:
                apply(source.text, [addition])
                possible.append(addition)
            except NotEditable as error:
                left.append(Skipped(source.path, error.line, str(error)))
        if not left:
            return source.text, [Skipped(source.path, first.line, str(first))]
        return apply(source.text, possible), list(dict.fromkeys(left))

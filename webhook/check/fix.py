"""The fix of files: what would change in each, and what is left for people."""

from collections.abc import Iterable

import msgspec

from webhook.check.files import Source, read
from webhook.check.manifest.edit import Addition, apply
from webhook.check.report import Report, Skipped, merge
from webhook.check.run import IMAGE_BUDGET, Request, check_sources, evaluate_all, gather
from webhook.check.workloads import WorkloadInFile
from webhook.evaluation import patch
from webhook.evaluation.evaluator import Progress
from webhook.evaluation.patch import Operation
from webhook.evaluation.verdict import Verdict
from webhook.image.source import Images


class Change(msgspec.Struct, frozen=True):
    """A file's text before and after. `fixed` counts the containers, or the USER instructions, that were fixed."""

    path: str
    before: str
    after: str
    fixed: int = 1


class Fixes(msgspec.Struct, frozen=True):
    """The changes, and the check of the files as they would be then. `texts` are all of these as they would be."""

    changes: tuple[Change, ...]
    rest: Report
    texts: tuple[Source, ...] = ()


async def fix(request: Request, images: Images, progress: Progress | None = None) -> Fixes:
    """Work out what admission would inject into every workload; nothing is written.

    `InvalidSetting` for a path that is not there or holds nothing to check.
    """
    read_already = list(read(request.paths, request.selection))
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
        fixed = 1
        if source.kind == "dockerfile":
            after = await _rewritten(source, request, images)
        else:
            additions = wanted.get(source.path, [])
            after, unedited = _edited(source, additions)
            fixed = len(additions) - len(unedited)
            left += unedited
        if after != source.text:
            changes.append(Change(source.path, source.mark + source.text, source.mark + after, fixed))
        then.append(msgspec.structs.replace(source, text=after))
    rest = await check_sources(then, request, images)
    texts = tuple(each for each in then if isinstance(each, Source))
    return Fixes(tuple(changes), merge([rest, Report(skipped=tuple(left))]), texts)


async def _rewritten(source: Source, request: Request, images: Images) -> str:
    from webhook.check import dockerfiles

    return await dockerfiles.rewritten(source, images, IMAGE_BUDGET, request.target, request.build_args)


def _wanted(cases: Iterable[WorkloadInFile], verdicts: Iterable[Verdict]) -> dict[str, list[Addition]]:
    """The additions by file; each is one container's, so that one that cannot be made leaves the others alone."""
    wanted: dict[str, list[Addition]] = {}
    for case, verdict in zip(cases, verdicts, strict=True):
        parents: dict[str, list[Operation]] = {}
        for operation in patch.operations(verdict, case.workload, annotate=False):
            pointer = operation["path"].removesuffix("/securityContext").partition("/securityContext/")[0]
            parents.setdefault(pointer, []).append(operation)
        for operations in () if case.found.aliases else parents.values():
            addition = Addition(case.document, case.found.node, case.found.pointer, tuple(operations))
            wanted.setdefault(case.path, []).append(addition)
    return wanted


def _edited(source: Source, additions: list[Addition]) -> tuple[str, list[Skipped]]:
    """The text with every addition that can be made, and why the others cannot."""
    text, failures = apply(source.text, additions)
    return text, list(dict.fromkeys(Skipped(source.path, each.line, str(each)) for each in failures))

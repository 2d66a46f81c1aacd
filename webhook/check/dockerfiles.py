"""The check of a Dockerfile: what is wrong with the image that it builds, with the base image's USER where it is read."""

import asyncio
import re
from collections.abc import Mapping

import msgspec

from webhook.check.files import Source
from webhook.check.report import Examined, Finding, Report, Skipped, Suppressed
from webhook.check.suppressions import Comment, read_comments
from webhook.dockerfile import Base, Evaluation, Malformed, evaluate, rules
from webhook.dockerfile.finding import DockerfileFinding
from webhook.image.passwd import AccountFiles
from webhook.image.source import Image, Images, Query, Unknown

_BASES = 8  # of one file
_WHOLE_USER = re.compile(r"(USER[ \t]+\S+)[ \t\r]*\Z", re.IGNORECASE)
RULES = tuple(rule.NAME for rule in rules.RULES)


class Evaluations(msgspec.Struct, frozen=True):
    """The evaluation of a Dockerfile `alone`, and `informed` by its base image; one object where the base adds nothing.

    `bases` are the images that were read for that; `unread` is why a base that alone could tell the USER was not.
    """

    alone: Evaluation
    informed: Evaluation
    bases: Mapping[str, Base] = msgspec.field(default_factory=dict)
    unread: Unknown | None = None


async def read(
    source: Source, images: Images, budget: float, target: str | None, build_args: Mapping[str, str]
) -> Evaluations | Malformed:
    """Evaluate a Dockerfile; bases that could tell more are asked for, for `budget` seconds each.

    That is the one that says the USER; or, where no step of the file gives a USER name its uid, every one, with its
    accounts, as it or its triggers may.
    """
    alone = evaluate(source.text, target=target, build_args=build_args, open_bases=True)
    if isinstance(alone, Malformed):
        return alone
    references: list[str] = []
    if alone.user is None and alone.base is not None:
        references = [alone.base]
    elif alone.name not in ("", "root") and (alone.evidence.uid is None or not alone.evidence.line):
        references = list(dict.fromkeys(stage.external for stage in alone.stages if stage.external))[:_BASES]
    named = bool(alone.name)
    answers = dict(
        zip(references, await asyncio.gather(*(_base(each, images, budget, named) for each in references)), strict=True)
    )
    bases = {image: base for image, base in answers.items() if isinstance(base, Base)}
    unread = answers.get(alone.base) if alone.user is None and alone.base is not None else None
    informed = (
        evaluate(source.text, target=target, build_args=build_args, open_bases=True, bases=bases) if bases else alone
    )
    if isinstance(informed, Malformed):
        return informed
    return Evaluations(alone, informed, bases, unread if isinstance(unread, Unknown) else None)


async def check(
    source: Source,
    images: Images,
    not_examined: Unknown,
    budget: float,
    target: str | None = None,
    build_args: Mapping[str, str] | None = None,
) -> Report:
    """Evaluate one Dockerfile, built with `--target` and `--build-arg`; `not_examined` is the answer of --no-images."""
    reading = await read(source, images, budget, target, build_args or {})
    if isinstance(reading, Malformed):
        return Report(skipped=(_skipped(source, reading),))
    alone, evaluation = reading.alone, reading.informed
    skipped: list[Skipped] = []
    left_out = int(reading.unread is not_examined)
    if reading.unread is not None and not left_out:
        reason = f"the base image {alone.base!a} could not be read: {reading.unread.cause}: {reading.unread.detail}"
        skipped.append(Skipped(source.path, alone.line, reason))
    comments = tuple(read_comments(source.text, source.path, RULES))
    skipped += [each for each in comments if isinstance(each, Skipped)]
    found = rules.check(evaluation)
    allowed = [(each, comment) for each in found if (comment := _allowing(each, comments))]
    return Report(
        findings=tuple(_finding(source.path, evaluation, each) for each in found if not _allowing(each, comments)),
        files=(Examined(source.path, "dockerfile", alone.user, alone.base),),
        skipped=tuple(skipped),
        not_examined=left_out,
        allowed=len(allowed),
        suppressed=tuple(
            Suppressed(_finding(source.path, evaluation, each), "inSource", comment.reason) for each, comment in allowed
        ),
    )


def _skipped(source: Source, malformed: Malformed) -> Skipped:
    return Skipped(source.path, malformed.line, f"no Dockerfile that BuildKit builds: {malformed.reason}")


async def _base(reference: str, images: Images, budget: float, accounts: bool) -> Base | Unknown | None:
    """The base that a build inherits; None where its platforms do not agree, so that the USER stays open."""
    found = await images.find(Query(reference, accounts=accounts, budget=budget))
    if not isinstance(found, Image):
        return found
    configs = [each.config for each in found.platforms]
    if len({(each.user.text, each.on_build) for each in configs}) != 1:
        return None
    first = configs[0]
    read = {each.accounts for each in found.platforms}
    same = read.pop() if len(read) == 1 else None
    return Base(
        user=first.user.text,
        env=first.env,
        working_dir=first.working_dir,
        onbuild=first.on_build,
        accounts=same if isinstance(same, AccountFiles) else None,
    )


async def rewritten(
    source: Source, images: Images, budget: float, target: str | None, build_args: Mapping[str, str]
) -> str:
    """The text with the number in USER where a step of the file or its base image says it, and all else as it was."""
    reading = await read(source, images, budget, target, build_args)
    if isinstance(reading, Malformed):
        return source.text
    evaluation = reading.informed
    comments = tuple(read_comments(source.text, source.path, RULES))
    lines = source.text.split("\n")
    for each in rules.check(evaluation):
        before, line = lines[each.line - 1][: each.column - 1], lines[each.line - 1][each.column - 1 :]
        written = _WHOLE_USER.match(line)
        if each.replacement and written and not _allowing(each, comments):
            lines[each.line - 1] = f"{before}{each.replacement}{line[written.end(1) :]}"
    changed = "\n".join(lines)
    after = evaluate(changed, target=target, build_args=build_args, open_bases=True, bases=reading.bases)
    numeric = isinstance(after, Evaluation) and after.user is not None and not after.name
    return changed if numeric else source.text


def _finding(path: str, evaluation: Evaluation, found: DockerfileFinding) -> Finding:
    return Finding(
        rule=found.rule,
        severity=found.severity,
        path=path,
        line=found.line,
        column=found.column,
        message=f"{found.reason}: {found.detail}",
        fix=found.fix,
        image=evaluation.base or "",
        user=evaluation.user,
    )


def _allowing(finding: DockerfileFinding, comments: tuple[Comment | Skipped, ...]) -> Comment | None:
    """The comment that allows a finding: on a line of its own, above the instruction that it speaks about."""
    for each in comments:
        if isinstance(each, Comment) and each.about == finding.line != each.line and finding.rule in each.rules:
            return each
    return None

"""Files that the user must change are copied as root's.

Why: COPY and ADD make files that belong to root, whatever USER says. What the user then changes, or a volume that it
fills from them, is "permission denied", at build time or, worse, at the first write in the cluster.
Fails: `USER 10001`, `COPY run.sh /run.sh`, `RUN chmod +x /run.sh`; `COPY data /data` with `VOLUME /data`.
Passes: the same with `COPY --chown=10001`, or with a `RUN chown` of root's behind it.
Fix: give the files to the user as they are copied.
Dockerfile: `COPY --chown=10001:10001 run.sh /run.sh`; an executable: `COPY --chmod=755 run.sh /run.sh`.
Source: docker/docs, Dockerfile reference, "COPY --chown --chmod"
"""

import posixpath
from collections.abc import Iterator
from typing import Final

from webhook.dockerfile.analysis.writable_paths import WritablePaths, changed
from webhook.dockerfile.evaluation import Evaluation
from webhook.dockerfile.finding import DockerfileFinding
from webhook.dockerfile.stages.step import Step
from webhook.text import quoted

NAME: Final = "unowned-files"

_ROOTS = ("", "0", "root", "0:0", "root:root")


def check(evaluation: Evaluation) -> Iterator[DockerfileFinding]:
    """COPY without --chown, and a step or volume that shows that the user writes there."""
    if not evaluation.user or evaluation.root:
        return
    writable, copied, reported = WritablePaths(), dict[str, Step](), set[int]()
    for step in evaluation.steps:
        writable.apply(step)
        for path, why in _written(step):
            origin = copied.get(path)
            if origin is not None and not writable.given(path) and origin.line not in reported:
                reported.add(origin.line)
                yield _finding(origin, path, why)
        if step.keyword in ("COPY", "ADD") and step.owner in _ROOTS and step.instruction.flag("chmod") is None:
            copied |= dict.fromkeys(_places(step), step)


def _written(step: Step) -> Iterator[tuple[str, str]]:
    """Paths that a step shows to be the user's to write, and how."""
    if step.keyword == "VOLUME":
        for volume in step.arguments:
            if volume is not None:
                yield posixpath.normpath(volume), f"line {step.line} makes it a volume"
    elif step.keyword == "RUN" and step.as_root is False:
        for command in step.commands:
            if not command.elevated:
                for path in changed(command, step):
                    yield path, f"line {command.line} changes it as {quoted(step.user or '')}"


def _places(step: Step) -> Iterator[str]:
    """The paths that a COPY or ADD makes: its destination, and in a folder the file of each source."""
    destination = step.destination
    if destination is None or destination == "/":
        return
    folder = destination.rstrip("/")
    yield folder
    for source in step.sources:
        if source and not any(character in source for character in "*?[<"):
            yield posixpath.join(folder, posixpath.basename(source.rstrip("/")))


def _finding(origin: Step, path: str, why: str) -> DockerfileFinding:
    return DockerfileFinding(
        rule=NAME,
        severity="warning",
        line=origin.line,
        column=origin.column,
        reason="files are root's",
        detail=f"{origin.keyword} writes {quoted(path)} as root, and {why}",
        fix=f"add --chown with the user's number to {origin.keyword}, such as: {origin.keyword} --chown=10001:10001",
    )

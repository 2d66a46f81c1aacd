"""The report of a check: its findings, what was skipped, and the exit code. The output formats render this; none of them is it."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from webhook.evaluation.finding import Severity

Kind = Literal["manifest", "dockerfile", "compose"]


class Skipped(msgspec.Struct, frozen=True):
    """A part of a file that could not be examined, from a line on, and the reason."""

    path: str
    line: int
    reason: str


FailOn = Literal["error", "warning", "unknown"]
_RANK: dict[Severity, int] = {"error": 3, "warning": 2, "unknown": 1, "note": 0}


class Object(msgspec.Struct, frozen=True):
    """The Kubernetes object that a finding is about; of a compose file the service."""

    kind: str
    namespace: str
    name: str


class Finding(msgspec.Struct, frozen=True):
    """One fault at one place. `line` and `column` count from 1.

    `user` is the image's USER where it was read, `kubelet` what the kubelet would say instead of starting the container.
    """

    rule: str
    severity: Severity
    path: str
    line: int
    column: int
    message: str
    fix: str
    object: Object | None = None
    container: str = ""
    image: str = ""
    user: str | None = None
    kubelet: str | None = None


class Suppressed(msgspec.Struct, frozen=True):
    """A finding that does not count, and why: by the file itself (`inSource`) or by something beside it (`external`)."""

    finding: Finding
    kind: Literal["inSource", "external"]
    reason: str


class Examined(msgspec.Struct, frozen=True):
    """A file that was evaluated. Of a Dockerfile `user` is the USER of the image that it builds, `base` its external base."""

    path: str
    kind: Kind
    user: str | None = None
    base: str | None = None


class Report(msgspec.Struct, frozen=True):
    """The outcome. `not_examined` images were left out on demand; `allowed` containers by an exception or a comment.

    `by_shape` are the kinds in which a Pod template was found by its shape alone; `suppressed` are the findings that were
    allowed.
    """

    findings: tuple[Finding, ...] = ()
    files: tuple[Examined, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    workloads: int = 0
    containers: int = 0
    not_examined: int = 0
    allowed: int = 0
    by_shape: tuple[str, ...] = ()
    suppressed: tuple[Suppressed, ...] = ()

    def count(self, severity: Severity) -> int:
        """The number of findings of a severity."""
        return sum(1 for each in self.findings if each.severity == severity)

    def exit_code(self, fail_on: FailOn = "error", *, accept_skipped: bool = False) -> int:
        """1 for findings at or above `fail_on`, else 3 where something could not be determined and must be, else 0."""
        if any(_RANK[each.severity] >= _RANK[fail_on] for each in self.findings):
            return 1
        return 3 if not accept_skipped and (self.skipped or self.count("unknown")) else 0


def merge(reports: Iterable[Report]) -> Report:
    """Several reports as one, in that order."""
    parts = tuple(reports)
    return Report(
        findings=tuple(each for part in parts for each in part.findings),
        files=tuple(each for part in parts for each in part.files),
        skipped=tuple(each for part in parts for each in part.skipped),
        workloads=sum(part.workloads for part in parts),
        containers=sum(part.containers for part in parts),
        not_examined=sum(part.not_examined for part in parts),
        allowed=sum(part.allowed for part in parts),
        suppressed=tuple(each for part in parts for each in part.suppressed),
        by_shape=tuple(dict.fromkeys(kind for part in parts for kind in part.by_shape)),
    )

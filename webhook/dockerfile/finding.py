"""Findings about a Dockerfile."""

from typing import Literal

import msgspec

Severity = Literal["error", "warning"]


class DockerfileFinding(msgspec.Struct, frozen=True):
    """One fault of one line. `reason` is fixed per rule, `detail` says what and why, `fix` what to write instead.

    `line` and `column` count from 1. `replacement` is a text for the whole instruction on that line, where one is
    certain to be right; else empty.
    """

    rule: str
    severity: Severity
    line: int
    column: int
    reason: str
    detail: str
    fix: str
    replacement: str = ""

    @property
    def message(self) -> str:
        """The finding as one text, for a person."""
        return f"{self.reason}: {self.detail}; {self.fix}"

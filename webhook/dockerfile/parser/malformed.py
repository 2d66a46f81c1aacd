"""A Dockerfile that BuildKit would not build, as a value: it is reported with its line and never taken for clean."""

import msgspec


class Malformed(msgspec.Struct, frozen=True):
    """The reason why a Dockerfile cannot be evaluated, with its line.

    `line` and `column` count from 1; `reason` names the text, the fault and the next step.
    """

    line: int
    column: int
    reason: str


class ParseError(Exception):
    """Inside this package: the text cannot be read on; `evaluate` turns it into a `Malformed` with the line."""

    def __init__(self, reason: str, line: int = 0, column: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column

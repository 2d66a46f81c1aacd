"""Workflow commands, which GitHub shows as annotations at the line.

Source: actions/toolkit packages/core/src/command.ts (escapeData, escapeProperty).
"""

from webhook.check.report import Report
from webhook.cli.output.summary import one_line, subject, summary
from webhook.text import printable

_LEVELS = {"error": "error", "warning": "warning", "unknown": "warning", "note": "notice"}


def render(report: Report) -> str:
    """One command a finding and one for each thing that was skipped."""
    lines = []
    for each in report.findings:
        title = f"{each.rule}: {subject(each)}" if subject(each) else each.rule
        lines.append(
            f"::{_LEVELS[each.severity]} file={_property(each.path)},line={each.line},col={each.column},"
            f"title={_property(title)}::{_escaped(one_line(each))}"
        )
    lines += [
        f"::warning file={_property(each.path)},line={each.line},title=skipped::{_data(each.reason)}"
        for each in report.skipped
    ]
    return "\n".join([*lines, summary(report), ""])


def _data(text: str) -> str:
    return _escaped(printable(text, 4000))


def _escaped(line: str) -> str:
    return line.replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

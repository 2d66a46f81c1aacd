"""A check's report as text: place, rule, message, remedy. Colours only where somebody sees them; NO_COLOR is heeded."""

from collections.abc import Iterator

from rich.text import Text

from webhook.check.report import Finding, Report
from webhook.cli.console import printed
from webhook.cli.output.summary import subject, summary
from webhook.evaluation.documentation import rule_url
from webhook.text import printable

_STYLES = {"error": "bold red", "warning": "yellow", "unknown": "magenta", "note": "cyan"}


def render(report: Report) -> str:
    """The report as lines."""
    return printed((*lines(report), summary(report)))


def lines(report: Report) -> Iterator[str | Text]:
    """The findings and what was skipped, without the closing sentence."""
    yield from map(_finding, report.findings)
    for each in report.skipped:
        place = Text(f"{printable(each.path)}:{each.line}: ", style="bold")
        yield Text.assemble(place, ("skipped", "magenta"), f" {printable(each.reason)}")


def _finding(finding: Finding) -> Text:
    line = Text(f"{printable(finding.path)}:{finding.line}:{finding.column}: ", style="bold")
    text = Text.assemble(line, (finding.severity, _STYLES[finding.severity]), " ", (finding.rule, "bold"))
    about = subject(finding)
    text.append(f"  {about}" if about else "")
    text.append(f"\n    {printable(finding.message, 2000)}")
    if finding.kubelet:
        text.append(f"\n    kubelet: CreateContainerConfigError: {printable(finding.kubelet)}")
    text.append(f"\n    fix: {printable(finding.fix)}\n    more: {rule_url(finding.rule)}")
    return text

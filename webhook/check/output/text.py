"""For a person at a terminal: place, rule, sentence, cure. Colours only where somebody sees them; NO_COLOR is heeded."""

import io
import sys

from rich.console import Console
from rich.text import Text

from webhook.check.output.wording import subject, summary
from webhook.check.report import Finding, Report
from webhook.wording import printable

_STYLES = {"error": "bold red", "warning": "yellow", "unknown": "magenta", "note": "cyan"}


def render(report: Report) -> str:
    """The report as lines that never wrap; with colours where standard output is a terminal that wants them."""
    out = io.StringIO()
    terminal = sys.stdout.isatty()
    console = Console(file=out, force_terminal=terminal, soft_wrap=True, highlight=False, markup=False, emoji=False)
    for finding in report.findings:
        console.print(_finding(finding))
    for each in report.skipped:
        place = Text(f"{printable(each.path)}:{each.line}: ", style="bold")
        console.print(Text.assemble(place, ("skipped", "magenta"), f" {printable(each.reason)}"))
    console.print(summary(report))
    return out.getvalue()


def _finding(finding: Finding) -> Text:
    line = Text(f"{printable(finding.path)}:{finding.line}:{finding.column}: ", style="bold")
    told = Text.assemble(line, (finding.severity, _STYLES[finding.severity]), " ", (finding.rule, "bold"))
    about = subject(finding)
    told.append(f"  {about}" if about else "")
    told.append(f"\n    {printable(finding.message, 2000)}")
    if finding.kubelet:
        told.append(f"\n    kubelet: CreateContainerConfigError: {printable(finding.kubelet)}")
    told.append(f"\n    fix: {printable(finding.fix)}")
    return told

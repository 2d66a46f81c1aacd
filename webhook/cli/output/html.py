"""One HTML page that needs nothing else: no font, no request."""

from webhook.check.report import Report
from webhook.cli.output.summary import subject, summary
from webhook.scan import html


def render(report: Report) -> str:
    """The report as a page: the sentence, the findings, what was skipped."""
    return html.render("cli/output/page.html", report=report, summary=summary(report), subject=subject)

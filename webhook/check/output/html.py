"""One HTML page that needs nothing else: no font, no request."""

from webhook import page
from webhook.check.output.wording import subject, summary
from webhook.check.report import Report


def render(report: Report) -> str:
    """The report as a page: the sentence, the findings, what was skipped."""
    return page.render("check/output/page.html", report=report, summary=summary(report), subject=subject)

"""JUnit's XML, for CI systems that show tests: one test case for each finding and each file without any.

Source: testmoapp/junitxml README (testsuite, testcase, failure, skipped).
"""

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from webhook.check.report import Finding, Report, Skipped
from webhook.cli.output.summary import one_line, subject
from webhook.text import printable


def render(report: Report) -> str:
    """One suite; what is only a note passes."""
    failures = [each for each in report.findings if each.severity != "note"]
    concerned = {each.path for each in failures} | {each.path for each in report.skipped}
    clean = [each.path for each in report.files if each.path not in concerned]
    total = len(failures) + len(report.skipped) + len(clean)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="nonroot" tests="{total}" failures="{len(failures)}" skipped="{len(report.skipped)}">',
        *map(_failure, failures),
        *map(_skipped, report.skipped),
        *_passed(clean),
        "</testsuite>",
    ]
    return "\n".join(lines) + "\n"


def _failure(finding: Finding) -> str:
    name = f"{finding.rule}: {subject(finding)}" if subject(finding) else finding.rule
    body = escape(f"{printable(finding.path)}:{finding.line}: {one_line(finding)}")
    message = quoteattr(printable(finding.message, 2000))
    return f"{_case(finding.path, name)}><failure type={quoteattr(finding.severity)} message={message}>{body}</failure></testcase>"


def _skipped(skipped: Skipped) -> str:
    return f"{_case(skipped.path, 'skipped')}><skipped message={quoteattr(printable(skipped.reason))}/></testcase>"


def _passed(paths: list[str]) -> Iterator[str]:
    for path in paths:
        yield f"{_case(path, 'nonroot')}/>"


def _case(path: str, name: str) -> str:
    return f"  <testcase classname={quoteattr(printable(path))} name={quoteattr(printable(name))}"

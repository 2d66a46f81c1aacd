"""GitLab's Code Quality report, which a merge request shows at its lines.

Source: docs.gitlab.com ci/testing/code_quality (description, check_name, fingerprint, severity, location).
"""

from collections import Counter

from webhook import json_output
from webhook.check.report import Report
from webhook.cli.output.fingerprint import fingerprint
from webhook.cli.output.summary import one_line
from webhook.text import printable

_SEVERITIES = {"error": "critical", "warning": "major", "unknown": "minor", "note": "info"}


def render(report: Report) -> str:
    """A list of issues; what was skipped is one of them, because nobody evaluated it."""
    seen: Counter[str] = Counter()
    issues: list[dict[str, object]] = [
        {
            "description": one_line(each),
            "check_name": each.rule,
            "fingerprint": fingerprint(each, seen),
            "severity": _SEVERITIES[each.severity],
            "location": {"path": each.path, "lines": {"begin": each.line}},
        }
        for each in report.findings
    ]
    issues += [
        {
            "description": printable(f"skipped: {each.reason}", 4000),
            "check_name": "skipped",
            "fingerprint": f"skipped:{printable(each.path)}:{each.line}",
            "severity": "info",
            "location": {"path": each.path, "lines": {"begin": each.line}},
        }
        for each in report.skipped
    ]
    return json_output.text(issues)

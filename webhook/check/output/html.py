"""One HTML page that needs nothing else: no script, no font, no request."""

from html import escape

from webhook.check.output.wording import subject, summary
from webhook.check.report import Finding, Report
from webhook.wording import printable

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.5rem;border-bottom:1px solid #d0d7de}
code{font:14px ui-monospace,monospace;overflow-wrap:anywhere}.error{color:#b3001b}.warning{color:#7a4d00}
.unknown{color:#6f2dbd}.note{color:#075985}.severity{font-weight:600}
@media (prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}
.error{color:#ff7b72}.warning{color:#e3b341}.unknown{color:#d2a8ff}.note{color:#79c0ff}}
"""


def render(report: Report) -> str:
    """The report as a page: the sentence, the findings, what was skipped."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>nonroot check</title><style>{_STYLE}</style></head><body>",
        f"<h1>nonroot check</h1><p>{_safe(summary(report))}</p>",
    ]
    if report.findings:
        parts.append("<table><thead><tr><th>Severity</th><th>Rule</th><th>Where</th><th>What</th></tr></thead><tbody>")
        parts += [_row(each) for each in report.findings]
        parts.append("</tbody></table>")
    if report.skipped:
        parts.append("<h2>Skipped</h2><ul>")
        parts += [
            f"<li><code>{_safe(each.path)}:{each.line}</code> {_safe(each.reason)}</li>" for each in report.skipped
        ]
        parts.append("</ul>")
    return "\n".join([*parts, "</body></html>", ""])


def _row(finding: Finding) -> str:
    kubelet = f"<br>kubelet: <code>{_safe(finding.kubelet)}</code>" if finding.kubelet else ""
    return (
        f'<tr><td class="severity {finding.severity}">{finding.severity}</td><td><code>{_safe(finding.rule)}</code></td>'
        f"<td><code>{_safe(finding.path)}:{finding.line}:{finding.column}</code><br>{_safe(subject(finding))}</td>"
        f"<td>{_safe(finding.message)}{kubelet}<br>Fix: {_safe(finding.fix)}</td></tr>"
    )


def _safe(text: str) -> str:
    return escape(printable(text, 4000))

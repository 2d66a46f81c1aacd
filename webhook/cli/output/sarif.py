"""SARIF 2.1.0, for code scanning: every rule with its help, and fingerprints that survive moved lines.

Sources: OASIS sarif-spec Schemata/sarif-schema-2.1.0.json; github/docs content/code-security (which properties code
scanning reads: partialFingerprints, help.markdown).
"""

from collections import Counter
from typing import Any
from urllib.parse import quote

import webhook
from webhook import json_output
from webhook.check.report import Finding, Report, Suppressed
from webhook.cli import rule_docs
from webhook.cli.output.fingerprint import fingerprint
from webhook.cli.output.summary import subject
from webhook.text import printable

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "unknown": "warning", "note": "note"}
_HOME = "https://nonroot.dev/"
_ROOT_RULES = frozenset(
    {
        "administrator-user",
        "inherited-user",
        "root-final-stage",
        "root-image",
        "root-user",
        "windows-administrator",
    }
)
_FINGERPRINT = "nonroot/v1"


def render(report: Report) -> str:
    """The report as one run."""
    pages = [rule_docs.page(name) for name in rule_docs.names()]
    index = {page.name: number for number, page in enumerate(pages)}
    seen: Counter[str] = Counter()
    run = {
        "tool": {
            "driver": {
                "name": "nonroot",
                "semanticVersion": webhook.__version__,
                "informationUri": _HOME,
                "rules": [_rule(page) for page in pages],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [
            *(_result(each, index, seen) for each in report.findings),
            *(_result(each.finding, index, seen) | _suppression(each) for each in report.suppressed),
        ],
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {
                        "level": "warning",
                        "message": {"text": f"skipped: {printable(each.reason)}"},
                        "locations": [_location(each.path, each.line)],
                    }
                    for each in report.skipped
                ],
            }
        ],
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json_output.text(log)


def _rule(page: rule_docs.RuleDoc) -> dict[str, Any]:
    return {
        "id": page.name,
        "shortDescription": {"text": page.title},
        "fullDescription": {"text": page.section("Why") or page.title},
        "help": {"text": page.text, "markdown": page.markdown},
        "helpUri": page.url,
        "defaultConfiguration": {"level": "error" if page.name in _ROOT_RULES else "warning"},
        "properties": {"tags": ["security"], "security-severity": "8.0" if page.name in _ROOT_RULES else "5.0"},
    }


def _result(finding: Finding, index: dict[str, int], seen: Counter[str]) -> dict[str, Any]:
    return {
        "ruleId": finding.rule,
        "ruleIndex": index[finding.rule],
        "level": _LEVELS[finding.severity],
        "message": {"text": printable(f"{finding.message}; {finding.fix}", 4000)},
        "locations": [_location(finding.path, finding.line, finding.column, subject(finding))],
        "partialFingerprints": {_FINGERPRINT: fingerprint(finding, seen)},
    }


def _suppression(suppressed: Suppressed) -> dict[str, Any]:
    reason = printable(suppressed.reason)
    return {"suppressions": [{"kind": suppressed.kind, "status": "accepted", "justification": reason}]}


def _location(path: str, line: int, column: int | None = None, name: str = "") -> dict[str, Any]:
    region = {"startLine": line} if column is None else {"startLine": line, "startColumn": column}
    uri = "stdin" if path == "-" else quote(path.replace("\\", "/"), errors="surrogateescape")
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}
    if name:
        location["logicalLocations"] = [{"fullyQualifiedName": name}]
    return location

"""SARIF 2.1.0, for code scanning: every rule with its help, and fingerprints that survive moved lines.

Sources: OASIS sarif-spec Schemata/sarif-schema-2.1.0.json; github/docs content/code-security (which properties code
scanning reads: partialFingerprints, help.markdown).
"""

import hashlib
from collections import Counter
from typing import Any
from urllib.parse import quote

import webhook
from webhook import json_output
from webhook.check.report import Finding, Report
from webhook.cli import rule_docs
from webhook.cli.output.summary import subject
from webhook.text import printable

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "unknown": "warning", "note": "note"}
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
                "rules": [_rule(page) for page in pages],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, index, seen) for each in report.findings],
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
        "properties": {"tags": ["security"]},
    }


def _result(finding: Finding, index: dict[str, int], seen: Counter[str]) -> dict[str, Any]:
    return {
        "ruleId": finding.rule,
        "ruleIndex": index[finding.rule],
        "level": _LEVELS[finding.severity],
        "message": {"text": printable(f"{finding.message}; {finding.fix}", 4000)},
        "locations": [_location(finding.path, finding.line, finding.column, subject(finding))],
        "partialFingerprints": {_FINGERPRINT: _fingerprint(finding, seen)},
    }


def _location(path: str, line: int, column: int | None = None, name: str = "") -> dict[str, Any]:
    region = {"startLine": line} if column is None else {"startLine": line, "startColumn": column}
    uri = "stdin" if path == "-" else quote(path.replace("\\", "/"))
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}
    if name:
        location["logicalLocations"] = [{"fullyQualifiedName": name}]
    return location


def _fingerprint(finding: Finding, seen: Counter[str]) -> str:
    """A hash of what the finding is about, not of where it stands or of what an image is today."""
    about = finding.object
    parts = (finding.rule, finding.path, about and (about.kind, about.namespace, about.name), finding.container)
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
    seen[key] += 1
    return f"{key}:{seen[key]}"

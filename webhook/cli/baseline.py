"""A baseline: the findings of an earlier run, which a later one passes over, so that only new ones count."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from webhook.check.report import Finding, Object, Report, Suppressed
from webhook.cli.output.fingerprint import fingerprint
from webhook.errors import InvalidSetting


def without(report: Report, path: Path) -> Report:
    """The report without what the file has, which is one of `nonroot check -o json`; these count as allowed."""
    known = _fingerprints(path)
    seen: Counter[str] = Counter()
    kept: list[Finding] = []
    passed: list[Suppressed] = []
    for each in report.findings:
        if fingerprint(each, seen) in known:
            passed.append(Suppressed(each, "external", f"in the baseline {path}"))
        else:
            kept.append(each)
    return msgspec.structs.replace(
        report,
        findings=tuple(kept),
        allowed=report.allowed + len(passed),
        suppressed=(*report.suppressed, *passed),
    )


def _fingerprints(path: Path) -> frozenset[str]:
    seen: Counter[str] = Counter()
    try:
        document: Any = json.loads(path.read_bytes())
        return frozenset(fingerprint(_finding(each), seen) for each in document["findings"])
    except (OSError, ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no output of `nonroot check -o json`"
        raise InvalidSetting(f"cannot use the baseline {str(path)!a}: {reason}") from None


def _finding(data: dict[str, Any]) -> Finding:
    about = data.get("object")
    place = Object(about["kind"], about["namespace"], about["name"]) if about else None
    return Finding(data["rule"], "error", data["path"], 1, 1, "", "", place, data.get("container") or "")

"""What the formats for people have in common: text made safe to print, places, and the closing sentence."""

from webhook.check.report import Finding, Report


def printable(text: str, limit: int = 500) -> str:
    """Text of a stranger's file on one line without control characters, and bounded."""
    text = text if len(text) <= limit else f"{text[:limit]}…"
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def subject(finding: Finding) -> str:
    """What a finding is about: `Deployment shop/web, container web`; empty for a Dockerfile."""
    parts = []
    if finding.object and finding.object.kind:
        name = "/".join(filter(None, (finding.object.namespace, finding.object.name)))
        parts.append(f"{finding.object.kind} {name}".strip())
    if finding.container:
        parts.append(f"container {finding.container}")
    return printable(", ".join(parts))


def summary(report: Report) -> str:
    """The closing sentence: what was looked at, and what came of it."""
    seen = f"{_many(len(report.files), 'file')}, {_many(report.containers, 'container')}"
    counts = [
        _many(report.count("error"), "error"),
        _many(report.count("warning"), "warning"),
        f"{report.count('unknown')} unknown" if report.count("unknown") else "",
        _many(report.count("note"), "note"),
        f"{len(report.skipped)} skipped" if report.skipped else "",
        f"{report.allowed} allowed" if report.allowed else "",
        f"{_many(report.not_examined, 'image')} not examined (--no-images)" if report.not_examined else "",
    ]
    told = ", ".join(part for part in counts if part and not part.startswith("0 "))
    return f"{seen}: {told or 'nothing found'}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

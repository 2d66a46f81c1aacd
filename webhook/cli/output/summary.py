"""What the formats for people have in common: what a finding is about, and the closing sentence."""

from webhook.check.report import Finding, Report
from webhook.text import many, printable


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
    files, workloads = len(report.files), report.workloads
    looked_at = many(workloads, "workload") if workloads and not files else many(files, "file")
    seen = f"{looked_at}, {many(report.containers, 'container')}"
    counts = [
        many(report.count("error"), "error"),
        many(report.count("warning"), "warning"),
        f"{report.count('unknown')} unknown" if report.count("unknown") else "",
        many(report.count("note"), "note"),
        f"{len(report.skipped)} skipped" if report.skipped else "",
        f"{report.allowed} allowed" if report.allowed else "",
        f"{many(report.not_examined, 'image')} not examined (--no-images)" if report.not_examined else "",
    ]
    text = ", ".join(part for part in counts if part and not part.startswith("0 "))
    return f"{seen}: {text or 'nothing found'}"

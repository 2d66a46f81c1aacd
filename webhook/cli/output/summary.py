"""The parts that the formats for people share: what a finding is about, and the closing sentence."""

from typing import TYPE_CHECKING

from webhook.check.report import Finding, Report
from webhook.evaluation.documentation import more
from webhook.text import many, printable

if TYPE_CHECKING:
    from webhook.check.fix import Fixes


def subject(finding: Finding) -> str:
    """The object of a finding: `Deployment shop/web, container web`; empty for a Dockerfile."""
    parts = []
    if finding.object and finding.object.kind:
        name = "/".join(filter(None, (finding.object.namespace, finding.object.name)))
        parts.append(f"{finding.object.kind} {name}".strip())
    if finding.container:
        parts.append(f"container {finding.container}")
    return printable(", ".join(parts))


def one_line(finding: Finding) -> str:
    """A finding on one line: what is wrong, what to write, and where to read more."""
    return printable(f"{finding.message}; {finding.fix}", 4000) + more(finding.rule)


def summary(report: Report) -> str:
    """The closing sentence: what was looked at, and what came of it."""
    files, workloads = len(report.files), report.workloads
    looked_at = many(workloads, "workload") if workloads and not files else many(files, "file")
    not_examined = f", {many(report.not_examined, 'image')} not examined (--no-images)" if report.not_examined else ""
    seen = f"{looked_at}, {many(report.containers, 'container')}{not_examined}"
    if report.by_shape:
        seen += f", Pod templates found by their shape in {printable(', '.join(report.by_shape))}"
    return f"{seen}: {_counts(report) or ('nothing found in the rest' if not_examined else 'nothing found')}"


def fixed(fixes: "Fixes", *, written: bool) -> str:
    """The closing sentence of a fix: what was changed, and what is left for people."""
    places = sum(each.fixed for each in fixes.changes)
    verb = "fixed" if written else "to be fixed"
    done = f"{many(places, 'place')} in {many(len(fixes.changes), 'file')} {verb}" if places else "nothing to fix"
    files = f"{many(len(fixes.rest.files), 'file')}, {many(fixes.rest.containers, 'container')}"
    return f"{files}: {done}; left: {_counts(fixes.rest) or 'nothing'}"


def _counts(report: Report) -> str:
    """The findings by severity and what was left out; empty where there is nothing."""
    counts = [
        many(report.count("error"), "error"),
        many(report.count("warning"), "warning"),
        f"{report.count('unknown')} unknown" if report.count("unknown") else "",
        many(report.count("note"), "note"),
        f"{len(report.skipped)} skipped" if report.skipped else "",
        f"{report.allowed} allowed" if report.allowed else "",
    ]
    return ", ".join(part for part in counts if part and not part.startswith("0 "))

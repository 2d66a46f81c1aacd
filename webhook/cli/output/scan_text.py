"""A scan as text: each namespace's counts, then what is in the way of enforcing it, each with its remedy."""

from collections.abc import Iterator
from itertools import groupby

from rich.text import Text

from webhook.cli.console import printed
from webhook.evaluation.documentation import rule_url
from webhook.scan.document import Container, Counts, Document, NamespaceSummary, Skip, Workload, is_root, readable
from webhook.text import many, printable

_STYLES = {"denied": "bold red", "unknown": "magenta", "fixable": "cyan", "compliant": "green", "exempted": "dim"}
UNKNOWN = "unknown"  # the mode where it may not be read
INJECTS = {True: ", injects", False: ", injects nothing", None: ""}
RIGHTS = (
    "name the namespaces that you may read (--namespace NAMESPACE), or have the chart's ClusterRole for scans bound to you "
    "(value rbac.scanRole)"
)
_WORTH = frozenset({"error", "warning", "unknown"})


def render(document: Document) -> str:
    """The document as lines."""
    return printed(_lines(document))


def _lines(document: Document) -> Iterator[str | Text]:
    by_name = {name: list(those) for name, those in groupby(document.workloads, key=lambda each: each.place)}
    for namespace in document.summary.namespaces:
        yield _heading(namespace)
        for workload in by_name[namespace.place]:
            yield from _workload(workload)
    yield from skipped(document.skipped)
    yield _closing(document)


def skipped(skips: tuple[Skip, ...]) -> Iterator[Text]:
    """The lines about what was not read: one for all that there is no right to, with the way to get it."""
    forbidden = [each for each in skips if each.forbidden]
    if forbidden:
        names, first = ", ".join(each.object for each in forbidden), forbidden[0].reason
        yield Text.assemble(("no right to read ", "magenta"), f"{printable(names, 2000)} ({printable(first, 600)})")
        yield Text(f"  {RIGHTS}")
    for each in skips:
        if not each.forbidden:
            yield Text.assemble(("skipped ", "magenta"), f"{printable(each.object)}: {printable(each.reason)}")


def _heading(namespace: NamespaceSummary) -> Text:
    counts = namespace.workloads
    about = f"  policy {printable(namespace.policy)}, {namespace.mode or UNKNOWN}: "
    return Text.assemble((printable(namespace.place), "bold"), about, _counted(counts))


def _counted(counts: Counts) -> str:
    document = [f"{getattr(counts, name)} {name}" for name in _STYLES if getattr(counts, name)]
    return ", ".join(document) + (f"; {counts.root} run as root now" if counts.root else "")


def _workload(workload: Workload) -> Iterator[Text]:
    """The lines about a workload: what there is to do or to know, nothing of compliant and exempted containers."""
    for container in workload.containers:
        lines = list(_container(container))
        if lines or container.state not in {"compliant", "exempted"}:
            kind = "" if container.kind == "regular" else f"{container.kind} "
            about = printable(f"{workload.kind} {workload.name}, {kind}container {container.name}: {container.who}")
            yield Text.assemble("  ", (f"{container.state:9}", _STYLES[container.state]), f" {about}")
            yield from lines


def _container(container: Container) -> Iterator[Text]:
    for finding in container.findings:
        if finding.severity in _WORTH:
            yield Text(f"      {finding.rule}: {printable(finding.message, 2000)}")
            yield Text(f"      fix: {printable(finding.fix)}")
            if finding.dockerfile:
                yield Text(f"      Dockerfile: {finding.dockerfile}")
            yield Text(f"      more: {rule_url(finding.rule)}")
    if container.reason and container.state != "exempted":
        yield Text(f"      {printable(container.reason)}")
    if container.expires_soon:
        yield Text(f"      ends within a week: {printable(container.reason)}", style="yellow")
    if is_root(container):
        pods = sum(each.pods for each in container.running if each.uid == 0)
        yield Text(f"      runs as root now, in {many(pods, 'Pod')}", style="red")
    if container.waiting:
        about = f"{container.waiting.reason}: {container.waiting.message}"
        yield Text(
            f"      does not start in {many(container.waiting.pods, 'Pod')} now: {printable(about, 600)}", style="red"
        )
    if container.mismatch:
        yield Text(f"      mismatch: {container.mismatch}", style="bold red")


def _closing(document: Document) -> str:
    sums = document.summary
    left_out = f"; {many(sums.not_examined, 'image')} not examined (--no-images)" if sums.not_examined else ""
    found = f"{many(len(document.workloads), 'workload')} with {many(sums.pods, 'Pod')}"
    if readable(document):
        otherwise = "nothing would change"
    else:
        found, otherwise = f"{found} could be read, and there may be more", "that is not known"
    return (
        f"{printable(document.cluster)}: {found}; "
        f"if all were enforced now: {_counted(sums.workloads) or otherwise}{left_out}"
    )

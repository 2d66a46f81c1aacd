"""The formats of a scan, and its exit code. What findings have in common with those of a check is rendered there."""

from importlib import import_module

from webhook import json_output
from webhook.check.report import Finding, Object, Report, Skipped
from webhook.cli import output as check
from webhook.scan.document import Document

FORMATS = ("text", "json", "yaml", "sarif", "github", "html", "policyreport")
_MODULES = {
    "text": "webhook.cli.output.scan_text",
    "json": "webhook.scan.document",
    "html": "webhook.scan.html.page",
    "policyreport": "webhook.scan.policyreport",
}


def render(form: str, document: Document) -> str:
    """The document in one of `FORMATS`; only that one's module is loaded."""
    if form == "yaml":
        return json_output.yaml_text([document])
    if form in _MODULES:
        rendered: str = import_module(_MODULES[form]).render(document)
        return rendered
    return check.render(form, report(document))


def report(document: Document) -> Report:
    """The same as a check would have found it in files; the path is where the object stands in the cluster."""
    findings = [
        Finding(
            rule=finding.rule,
            severity=finding.severity,
            path=f"{workload.place}/{workload.kind}/{workload.name}",
            line=1,
            column=1,
            message=finding.message,
            fix=finding.fix,
            object=Object(workload.kind, workload.namespace, workload.name),
            container=container.name,
            image=container.image,
            user=container.user,
        )
        for workload in document.workloads
        for container in workload.containers
        for finding in container.findings
    ]
    sums = document.summary
    return Report(
        findings=tuple(findings),
        skipped=tuple(Skipped(each.object, 1, each.reason) for each in document.skipped),
        workloads=len(document.workloads),
        containers=sum(len(each.containers) for each in document.workloads),
        not_examined=sums.not_examined,
        allowed=sums.containers.excepted,
    )

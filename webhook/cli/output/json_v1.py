"""JSON, version 1: a contract. Fields may be added; none is renamed, removed or given another meaning.

Its JSON Schema is published beside this module, as `check.v1.schema.json`; `python -m webhook.cli.output.json_v1`
writes it anew from the types below.
"""

from pathlib import Path
from typing import Literal

import msgspec

from webhook import json_output
from webhook.check.report import Report
from webhook.evaluation.documentation import rule_url


class Object(msgspec.Struct, frozen=True):
    """The Kubernetes object of a finding; for a Dockerfile all three are empty."""

    kind: str
    namespace: str
    name: str


class Finding(msgspec.Struct, frozen=True):
    """One finding. `line` and `column` count from 1; `kubelet` is its refusal of the container as it stands, or null.

    `url` is the rule's page in the documentation.
    """

    rule: str
    severity: Literal["error", "warning", "unknown", "note"]
    path: str
    line: int
    column: int
    object: Object
    container: str
    image: str
    user: str | None
    message: str
    fix: str
    kubelet: str | None
    url: str


class File(msgspec.Struct, frozen=True):
    """A file that was examined.

    Of a Dockerfile `user` is the USER of the image that it builds: `""` where it is empty, null where it is inherited or
    depends on the base's ENV; then `base` is the external base image.
    """

    path: str
    kind: Literal["manifest", "dockerfile", "compose"]
    user: str | None
    base: str | None


class Skip(msgspec.Struct, frozen=True):
    """A thing that could not be examined, and why."""

    path: str
    line: int
    reason: str


class Summary(msgspec.Struct, frozen=True):
    """Counts. `not_examined` containers have an image that was left out by --no-images; `allowed` ones an exception."""

    files: int
    workloads: int
    containers: int
    errors: int
    warnings: int
    unknown: int
    notes: int
    skipped: int
    not_examined: int
    allowed: int


class Document(msgspec.Struct, frozen=True):
    """The whole output of `nonroot check -o json`."""

    version: Literal[1]
    findings: tuple[Finding, ...]
    files: tuple[File, ...]
    skipped: tuple[Skip, ...]
    summary: Summary


def document(report: Report) -> Document:
    """The report as version 1."""
    return Document(
        version=1,
        findings=tuple(
            Finding(
                rule=each.rule,
                severity=each.severity,
                path=each.path,
                line=each.line,
                column=each.column,
                object=Object(each.object.kind, each.object.namespace, each.object.name)
                if each.object
                else Object("", "", ""),
                container=each.container,
                image=each.image,
                user=each.user,
                message=each.message,
                fix=each.fix,
                kubelet=each.kubelet,
                url=rule_url(each.rule),
            )
            for each in report.findings
        ),
        files=tuple(File(each.path, each.kind, each.user, each.base) for each in report.files),
        skipped=tuple(Skip(each.path, each.line, each.reason) for each in report.skipped),
        summary=Summary(
            files=len(report.files),
            workloads=report.workloads,
            containers=report.containers,
            errors=report.count("error"),
            warnings=report.count("warning"),
            unknown=report.count("unknown"),
            notes=report.count("note"),
            skipped=len(report.skipped),
            not_examined=report.not_examined,
            allowed=report.allowed,
        ),
    )


def schema() -> bytes:
    """The JSON Schema of a check, as it is published."""
    return json_output.schema(Document, "nonroot check")


SCHEMA = Path(__file__).with_name("check.v1.schema.json")


def render(report: Report) -> str:
    """The report as indented JSON."""
    return json_output.text(document(report))


if __name__ == "__main__":
    SCHEMA.write_bytes(schema())

"""The two formats of an inspection: text for a person, and JSON version 1, a contract whose fields are only added to.

The JSON Schema is published beside this module, as `inspect.v1.schema.json`; `python -m webhook.cli.output.inspection` writes
it anew from the types below.
"""

from pathlib import Path
from typing import Literal

import msgspec

from webhook import json_output
from webhook.check import inspection
from webhook.evaluation.documentation import rule_url
from webhook.image.filesystem import Directory as Described
from webhook.image.filesystem import Suggestion, Survey
from webhook.image.source import Image, Unknown
from webhook.registry.transport.messages import Cost
from webhook.text import ago, printable

_PROGRAMS = 20


class Finding(msgspec.Struct, frozen=True):
    """A rule's finding about the image in a Pod that demands runAsNonRoot and says nothing else."""

    rule: str
    severity: Literal["error", "warning", "unknown", "note"]
    message: str
    fix: str
    url: str


class Layer(msgspec.Struct, frozen=True):
    """A layer by its digest: number `number` of `of`, counted from 1, the base."""

    digest: str
    number: int
    of: int


class Directory(msgspec.Struct, frozen=True):
    """The working directory or a declared volume. `mode` is octal; `present` is false where no layer has it.

    Then a runtime makes it, with the owner and mode that are given.
    """

    path: str
    role: Literal["workingDirectory", "volume"]
    present: bool
    uid: int
    gid: int
    mode: str


class Program(msgspec.Struct, frozen=True):
    """A setuid or setgid program. `mode` is octal."""

    path: str
    uid: int
    gid: int
    mode: str


class Capable(msgspec.Struct, frozen=True):
    """A program that is given `capabilities` when it is executed. `effective`: the kernel refuses to give it fewer."""

    path: str
    capabilities: tuple[str, ...]
    effective: bool


class StepDown(msgspec.Struct, frozen=True):
    """The start script `script` goes on as `user` by `tool`."""

    script: str
    tool: str
    user: str


class Setuid(msgspec.Struct, frozen=True):
    """The number of setuid and setgid programs, and the first of them in order of their paths."""

    count: int
    first: tuple[Program, ...]


class Platform(msgspec.Struct, frozen=True):
    """One platform. `source` says where the uid comes from: number, passwd, or none where there is no USER.

    `uid`, `gid`, `groups` and `home` are null where they are not known; then `problem` says why. `kubelet` is the
    kubelet's refusal under runAsNonRoot, null where it starts the container. `bytes_image` is what pulling it transfers.
    `passwd_layer` is null where no layer has the file; it, `directories`, `setuid`, `file_capabilities` and `steps_down`
    are null where the layers were not all read, and where that failed `unread` says why. `suggestion` is null where
    there is none: the image is not root's, or its layers do not say.
    """

    platform: str
    user: str
    uid: int | None
    gid: int | None
    groups: tuple[int, ...] | None
    home: str | None
    source: Literal["number", "passwd", "none"]
    problem: str
    kubelet: str | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    bytes_image: int
    passwd_layer: Layer | None
    directories: tuple[Directory, ...] | None
    setuid: Setuid | None
    unread: str
    file_capabilities: tuple[Capable, ...] | None
    steps_down: tuple[StepDown, ...] | None
    exposed_ports: tuple[str, ...]
    suggestion: Suggestion | None


class Spent(msgspec.Struct, frozen=True):
    """The cost of the inspection; `bytes_image` is what pulling the platforms would transfer."""

    requests: int
    bytes_read: int
    bytes_image: int


class Failure(msgspec.Struct, frozen=True):
    """The reason why the image could not be read."""

    cause: str
    detail: str


class Document(msgspec.Struct, frozen=True):
    """The whole output of `nonroot inspect -o json`. Where the image could not be read, `error` says why.

    `age` is how many seconds ago the registry said so: 0 where it was asked now, or a file was read.
    """

    version: Literal[1]
    image: str
    digest: str
    platforms: tuple[Platform, ...]
    cost: Spent
    error: Failure | None
    age: float


def document(
    reference: str, found: Image | Unknown, platforms: tuple[inspection.Platform, ...], cost: Cost
) -> Document:
    """The inspection as version 1."""
    return Document(
        version=1,
        image=reference,
        digest=found.digest if isinstance(found, Image) else "",
        platforms=tuple(_platform(each) for each in platforms),
        cost=Spent(cost.requests, cost.bytes_read, sum(each.image.size for each in platforms)),
        error=Failure(found.cause, found.detail) if isinstance(found, Unknown) else None,
        age=found.age if isinstance(found, Image) else 0.0,
    )


def as_json(report: Document) -> str:
    """Indented JSON."""
    return json_output.text(report)


def as_text(report: Document) -> str:
    """A block of lines for each platform."""
    if report.error is not None:
        return f"{printable(report.image)}: could not be read: {report.error.cause}: {printable(report.error.detail)}\n"
    lines = [f"{printable(report.image)}  {report.digest}{f'  as of {ago(report.age)}' if report.age else ''}"]
    for each in report.platforms:
        user = f'USER "{printable(each.user)}"' if each.user else "no USER"
        lines.append(f"{printable(each.platform)}: {user}, {_identity(each)}")
        refusal = f"refused: {printable(each.kubelet)}" if each.kubelet else "starts"
        lines.append(f"    with runAsNonRoot: {refusal}")
        for found in each.findings:
            lines += [f"    {found.severity} {found.rule}: {printable(found.fix)}", f"    more: {found.url}"]
        if each.passwd_layer:
            layer = each.passwd_layer
            lines.append(f"    /etc/passwd comes from layer {layer.number} of {layer.of}, {layer.digest}")
        lines += [f"    note: {printable(note)}" for note in each.notes]
        if each.suggestion:
            lines.append(f"    made for: {printable(str(each.suggestion))}")
        if each.unread:
            lines.append(f"    the layers could not all be read: {printable(each.unread)}")
    cost = report.cost
    requests = f"{cost.requests} request{'s' if cost.requests != 1 else ''}"
    lines.append(f"{requests}: {_size(cost.bytes_read)} read; a pull takes {_size(cost.bytes_image)}")
    return "\n".join(lines) + "\n"


def schema() -> bytes:
    """The JSON Schema of an inspection, as it is published."""
    return json_output.schema(Document, "nonroot inspect")


SCHEMA = Path(__file__).with_name("inspect.v1.schema.json")


def _platform(each: inspection.Platform) -> Platform:
    image, answer, known = each.image, each.user, each.user.known
    survey = image.survey if isinstance(image.survey, Survey) else None
    return Platform(
        platform=str(image.platform),
        user=answer.user.text,
        uid=known.uid if known else None,
        gid=known.gid if known else None,
        groups=known.groups if known else None,
        home=known.home if known else None,
        source="number" if answer.user.uid is not None else "passwd" if answer.user.name else "none",
        problem=answer.problem,
        kubelet=each.kubelet,
        findings=tuple(
            Finding(one.rule, one.severity, f"{one.reason}: {one.detail}", one.fix, rule_url(one.rule))
            for one in each.findings
        ),
        notes=each.notes,
        bytes_image=image.size,
        passwd_layer=_layer(survey),
        directories=tuple(map(_directory, survey.directories)) if survey else None,
        setuid=_setuid(survey) if survey else None,
        unread=image.survey.detail if isinstance(image.survey, Unknown) else "",
        file_capabilities=_capable(survey) if survey else None,
        steps_down=tuple(StepDown(one.script, one.tool, one.user) for one in survey.steps_down) if survey else None,
        exposed_ports=image.config.exposed_ports,
        suggestion=each.suggestion,
    )


def _layer(survey: Survey | None) -> Layer | None:
    found = survey.passwd if survey else None
    return Layer(found.digest, found.number, found.of) if found else None


def _directory(each: Described) -> Directory:
    return Directory(each.path, each.role, each.present, each.uid, each.gid, f"{each.mode:04o}")


def _setuid(survey: Survey) -> Setuid:
    first = survey.special[:_PROGRAMS]
    programs = tuple(Program(each.path, each.uid, each.gid, f"{each.mode:04o}") for each in first)
    return Setuid(len(survey.special), programs)


def _capable(survey: Survey) -> tuple[Capable, ...]:
    return tuple(
        Capable(each.path, each.capabilities.permitted, each.capabilities.effective)
        for each in survey.capable[:_PROGRAMS]
    )


def _identity(each: Platform) -> str:
    if each.uid is None:
        return f"its uid is not known: {printable(each.problem)}" if each.problem else "a Windows user"
    groups = f", groups {' '.join(map(str, each.groups))}" if each.groups else ""
    gid = f", gid {each.gid}" if each.gid is not None else ""
    home = f", home {printable(each.home)}" if each.home else ""
    return f"uid {each.uid}{gid}{groups}{home}"


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 100_000 else f"{count} bytes"


if __name__ == "__main__":
    SCHEMA.write_bytes(schema())

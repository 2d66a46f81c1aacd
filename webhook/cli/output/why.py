"""The formats of `nonroot why`; as text one screen for each workload."""

from collections.abc import Iterator

import yaml
from rich.text import Text

from webhook import json_output
from webhook.cli.console import printed
from webhook.cli.output.scan_text import INJECTS, UNKNOWN
from webhook.evaluation.documentation import rule_url
from webhook.evaluation.identity_fields import USER, IdentityField
from webhook.scan import why
from webhook.scan.document import LEFT_OUT
from webhook.scan.why import Container, Why
from webhook.text import many, printable

_TODAY = {"allow": "allows it", "warn": "allows it, with a warning", "deny": "denies it"}
_STATES = {
    "compliant": ("leaves it as it is", "green"),
    "fixable": ("adds the lines below", "cyan"),
    "denied": ("denies it", "bold red"),
    "unknown": ("cannot be predicted", "magenta"),
    "exempted": ("leaves it out", "dim"),
}
_WORTH = frozenset({"error", "warning", "unknown"})
_LABEL = 12  # columns


def render(form: str, reports: tuple[Why, ...]) -> str:
    """All of them, in text, json or yaml."""
    if form == "text":
        return "\n".join(printed(_lines(each)) for each in reports)
    return why.render(reports) if form == "json" else json_output.yaml_text(reports)


def _lines(report: Why) -> Iterator[Text]:
    made_by = "".join(f", made by {printable(each)}" for each in report.owners)
    yield Text.assemble(
        (printable(f"{report.kind} {report.name}"), "bold"), f" in namespace {report.namespace}{made_by}"
    )
    policy = f"{printable(report.policy)}, mode {report.mode or UNKNOWN}{INJECTS[report.injects]}"
    yield _row("policy", f"{policy}: {printable(report.selected)}")
    if report.problem:
        yield _row("problem", printable(report.problem), "bold red")
    today = report.reason and f"does not evaluate it: {printable(report.reason)}"
    does = f"{_TODAY[report.today]} in mode {report.mode}" if report.today else "what it does depends on that policy"
    yield _row("admission", today or does)
    for each in report.injected:
        about = f"container {printable(each.container)}" if each.container else "the Pod"
        yield _row("injected", f"{', '.join(map(printable, each.fields))} into {about}")
    for container in report.containers:
        yield Text("")
        yield from _container(container, report)
    for skip in report.skipped:
        yield _row("skipped", printable(f"{skip.object}: {skip.reason}"), "magenta")


def _container(container: Container, report: Why) -> Iterator[Text]:
    kind = "" if container.kind == "regular" else f"{container.kind} "
    heading = f"{kind}container {printable(container.name)}"
    yield Text.assemble((heading, "bold"), f", image {printable(container.image) or 'none'}")
    who = "not known: its image was not examined" if container.who == LEFT_OUT else printable(container.who)
    yield _row("runs as", who)
    yield from map(_field, container.fields)
    if container.kubelet is None:
        yield _row("kubelet", "what it does depends on the image, which was not read", "magenta")
    elif container.kubelet:
        yield _row("kubelet", f"does not start it: {printable(container.kubelet)}", "bold red")
    else:
        yield _row("kubelet", "starts it")
    yield from _now(container)
    if not report.reason:
        text, style = _STATES[container.state]
        because = f": {printable(container.reason)}" if container.reason else ""
        yield _row("in Enforce", f"admission {text}{because}", style)
    yield from _advice(container)


def _field(field: IdentityField) -> Text:
    name = "USER" if field.field == USER else field.field.rpartition(".")[2]
    if field.value is None:
        shown = "not known" if field.field == USER else "not set"
    else:
        place = "" if field.field == USER else " of the container" if "[" in field.field else " of the Pod"
        shown = f"{printable(field.value)}{place}"
    return Text(f"    {name} {shown}: {field.effect}")


def _now(container: Container) -> Iterator[Text]:
    for each in container.running:
        groups = f", groups {', '.join(map(str, each.groups))}" if each.groups else ""
        style = "red" if each.uid == 0 else ""
        yield _row("now", f"runs as uid {each.uid} gid {each.gid}{groups} in {many(each.pods, 'Pod')}", style)
    if container.waiting:
        about = printable(f"{container.waiting.reason}: {container.waiting.message}", 600)
        yield _row("now", f"does not start in {many(container.waiting.pods, 'Pod')}: {about}", "red")
    if container.mismatch:
        yield _row("mismatch", printable(container.mismatch), "bold red")


def _advice(container: Container) -> Iterator[Text]:
    for finding in container.findings:
        if finding.severity in _WORTH:
            yield _row(finding.severity, f"{finding.rule}: {printable(finding.message, 2000)}")
            yield _row("fix", printable(finding.fix, 2000))
            yield _row("more", rule_url(finding.rule))
        if finding.dockerfile:
            yield _row("Dockerfile", f"end it with {finding.dockerfile}")
    if container.yaml and container.path:
        yield _row("write", f"in {printable(container.written_in)}, at {container.path}:")
        lines = yaml.safe_dump(yaml.safe_load(container.yaml), sort_keys=False).splitlines()
        yield from (Text(f"    {line}") for line in lines)
    elif container.yaml:
        yield _row(
            "write", f"nothing: {printable(container.written_in)} does not have it; somebody adds it to its Pods"
        )


def _row(label: str, text: str, style: str = "") -> Text:
    return Text.assemble(f"  {label:{_LABEL}}", (text, style))

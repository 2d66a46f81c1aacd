"""The command `nonroot policy`."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.text import Text

from webhook.cli import options
from webhook.cli.console import printed
from webhook.errors import InvalidSetting
from webhook.policy.selection import MODE_LABEL, Namespace
from webhook.scan.effective_policy import Excepted, Governance, governance, render
from webhook.text import printable

if TYPE_CHECKING:
    from webhook.policy.types import Documents

_SHOWN_FIELDS = ("rootImages", "templates", "onUnknown", "exceptions", "exemptions", "presets", "knownImages")
_STYLES = {"in force": "green", "expires soon": "yellow", "expired": "red", "forbidden": "red"}


@click.command()
@click.option("-n", "--namespace", "name", required=True, help="The namespace to tell about.")
@options.CONTEXT
@options.POLICY_ALONE
@click.option(
    "--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the namespace, with --policy; repeatable."
)
@click.option("-o", "--output", "form", default="text", show_default=True, type=click.Choice(["text", "json"]))
def policy(name: str, context: str, policies: tuple[Path, ...], labels: tuple[str, ...], form: str) -> None:
    """Say which policy governs a namespace and why, and what it lets be.

    Exit codes: 2 wrong usage or no cluster, 3 something could not be told, 0 otherwise.
    """
    from webhook.cli.policy_files import load_documents

    if labels and (not policies or context):
        raise InvalidSetting("--label is for --policy without --context; the cluster knows its labels itself")
    documents = load_documents(policies) if policies else None
    if documents is None or context:
        report = asyncio.run(_read(name, context, documents))
    else:
        report = governance(documents, Namespace(name, dict(map(_label, labels))), datetime.now(UTC))
    click.echo(render(report) if form == "json" else text(report), nl=False)
    sys.exit(3 if report.skipped else 0)


def text(report: Governance) -> str:
    """For a person: the policy, what it does, who else wanted to, and what is let be."""
    return printed(_lines(report))


def _lines(report: Governance) -> Iterator[str | Text]:
    injects = "injects" if report.injects else "injects nothing"
    yield Text.assemble((report.namespace, "bold"), f": policy {report.policy}, mode {report.mode}, {injects}")
    yield f"  {printable(report.why)}"
    if report.label is not None:
        yield f"  label {MODE_LABEL}={printable(report.label)}"
    if report.problem:
        yield Text(f"  problem: {printable(report.problem)}", style="bold red")
    if report.exempt:
        yield "  the namespace is exempt: nothing in it is judged"
    for name in _SHOWN_FIELDS:
        shown = _shown(report.spec[name])
        if shown:
            yield f"  {name}: {printable(shown, 2000)}"
    for each in report.candidates:
        if not each.applies:
            yield f"  not {each.policy} (priority {each.priority}, {each.mode}): {printable(each.why)}"
    yield from map(_exception, report.exceptions)
    for skip in report.skipped:
        yield Text.assemble(("skipped ", "magenta"), f"{printable(skip.object)}: {printable(skip.reason)}")


def _shown(item: Any) -> str:
    """A part of the policy's spec, as far as it says anything."""
    if isinstance(item, dict):
        item = {name: value for name, value in item.items() if value}
    return item if isinstance(item, str) else msgspec.json.encode(item).decode() if item else ""


def _exception(exception: Excepted) -> Text:
    about = [
        f"{what} {', '.join(named)}"
        for what, named in (
            ("workloads", exception.workloads),
            ("images", exception.images),
            ("containers", exception.containers),
            ("rules", exception.rules),
        )
        if named
    ]
    until = f", until {exception.expires}" if exception.expires else ""
    report = f"{until}: {'; '.join(about) or 'everything'}; because: {exception.reason}"
    return Text.assemble(
        f"  exception {exception.name} ", (exception.state, _STYLES[exception.state]), printable(report, 2000)
    )


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InvalidSetting(f"--label {text[:80]!a} is not KEY=VALUE")
    return key, value


async def _read(name: str, context: str, documents: "Documents | None") -> Governance:
    from webhook.cluster.client import Cluster
    from webhook.scan.collector import Reader

    cluster = Cluster(context)
    try:
        reader = Reader(cluster, (name,))
        (namespace,) = await reader.namespaces()
        documents = await reader.documents() if documents is None else documents
        return governance(documents, namespace, datetime.now(UTC), tuple(reader.skipped), await reader.reach())
    finally:
        await cluster.aclose()

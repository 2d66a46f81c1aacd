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

from webhook import json_output
from webhook.cli import options
from webhook.cli.console import printed
from webhook.cli.output.scan_text import INJECTS, UNKNOWN, skipped
from webhook.errors import InvalidSetting
from webhook.policy.cache import DEFAULT_NAMESPACE
from webhook.policy.selection import MODE_LABEL, Namespace
from webhook.policy.types import Documents
from webhook.scan.effective_policy import EffectivePolicyReport, Excepted, describe_policy, render
from webhook.text import printable

if TYPE_CHECKING:
    from webhook.cluster.client import Cluster

_SHOWN_FIELDS = ("rootImages", "templates", "onUnknown", "exceptions", "exemptions", "presets", "knownImages")
_STYLES = {"in force": "green", "expires soon": "yellow", "expired": "red", "forbidden": "red", "unknown": "magenta"}


@click.command()
@click.option("-n", "--namespace", "name", default="", help="The namespace to explain, instead of the context's.")
@options.ALL_NAMESPACES
@options.cluster
@options.POLICY_ALONE
@click.option(
    "--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the namespace, with --policy; repeatable."
)
@click.option("-o", "--output", "form", default="text", show_default=True, type=click.Choice(["text", "json", "yaml"]))
def policy(
    name: str,
    everywhere: bool,
    context: str,
    kubeconfig: str,
    user: str,
    policies: tuple[Path, ...],
    labels: tuple[str, ...],
    form: str,
) -> None:
    """Say which policy applies to a namespace and why, and what it exempts.

    Exit codes: 2 wrong usage or no cluster, 3 something could not be determined, 0 otherwise.
    """
    from webhook.cli.policy_files import load_documents

    asked = not policies or bool(context or kubeconfig or user)
    if labels and asked:
        raise InvalidSetting("--label is for --policy without a cluster, which knows its labels itself")
    if everywhere and (name or not asked):
        raise InvalidSetting("-A is for all namespaces of a cluster, -n for one: give one of them")
    documents = load_documents(policies) if policies else None
    if asked:
        from webhook.cluster.client import Cluster

        cluster = Cluster(context, kubeconfig, user)
        reports = asyncio.run(_read(cluster, name, documents, everywhere=everywhere))
    else:
        namespace = Namespace(name or DEFAULT_NAMESPACE, dict(map(_label, labels)))
        reports = [describe_policy(documents or Documents(), namespace, datetime.now(UTC))]
    if form == "yaml":
        click.echo(json_output.yaml_text(reports), nl=False)
    else:
        click.echo("".join(map(render if form == "json" else text, reports)), nl=False)
    sys.exit(3 if any(each.skipped for each in reports) else 0)


def text(report: EffectivePolicyReport) -> str:
    """For a person: the policy, what it does, who else wanted to, and what is exempted."""
    return printed(_lines(report))


def _lines(report: EffectivePolicyReport) -> Iterator[str | Text]:
    policy = f": policy {report.policy}, mode {report.mode or UNKNOWN}{INJECTS[report.injects]}"
    yield Text.assemble((report.namespace, "bold"), policy)
    yield f"  {printable(report.why)}"
    if report.label is not None:
        yield f"  label {MODE_LABEL}={printable(report.label)}"
    if report.problem:
        yield Text(f"  problem: {printable(report.problem)}", style="bold red")
    if report.exempt:
        yield "  the namespace is exempt: nothing in it is evaluated"
    for name in _SHOWN_FIELDS:
        shown = _shown(report.spec.get(name))
        if shown:
            yield f"  {name}: {printable(shown, 2000)}"
    for each in report.candidates:
        if not each.applies:
            yield f"  not {each.policy} (priority {each.priority}, {each.mode}): {printable(each.why)}"
    yield from map(_exception, report.exceptions)
    yield from skipped(report.skipped)


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


async def _read(
    cluster: "Cluster", name: str, documents: Documents | None, *, everywhere: bool
) -> list[EffectivePolicyReport]:
    from webhook.scan.collector import Reader

    try:
        reader = Reader(cluster, () if everywhere else (name or await cluster.namespace(),))
        namespaces = await reader.namespaces()
        if not namespaces:  # every cluster has some
            raise InvalidSetting(f"{reader.skipped[0].reason}; name a namespace that you may read with -n")
        documents = await reader.documents() if documents is None else documents
        coverage, now = await reader.coverage(), datetime.now(UTC)
        return [
            describe_policy(
                documents,
                each,
                now,
                tuple(reader.skipped),
                coverage,
                policies_read=reader.policies_read,
                labels_read=reader.labels_read(each.name),
            )
            for each in namespaces
        ]
    finally:
        await cluster.aclose()

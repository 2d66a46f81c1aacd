"""The command `nonroot inspect`."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from webhook.cli import options

if TYPE_CHECKING:
    from webhook.image.source import Image, Query, Unknown
    from webhook.registry.transport.messages import Cost

_LOOK_UP_SECONDS = 600.0  # for one image; a large one is read whole


@click.command()
@click.argument("image")
@click.option("-o", "--output", "form", default="text", show_default=True, type=click.Choice(["text", "json"]))
@click.option(
    "--os",
    "os",
    default="linux",
    show_default=True,
    type=click.Choice(["linux", "windows"]),
    help="The operating system of the nodes.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Read no more than tells the user: no owners of directories, no setuid programs.",
)
@options.OFFLINE
@options.INSECURE_REGISTRY
@options.REGISTRY_CONFIG
def inspect(
    image: str, form: str, os: str, quick: bool, offline: bool, insecure: tuple[str, ...], registry_config: Path | None
) -> None:
    """Say who IMAGE runs as, on every platform, what the kubelet would do with it, and what a non-root run trips over.

    IMAGE is a reference, or a file: oci:FOLDER[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME]; or in the store
    of an engine on this machine: docker-daemon:NAME (Docker or Podman), containerd:NAME. Every layer is read, unless
    --quick is given.

    Exit codes: 2 wrong usage, 3 the image, one of its users or its layers could not be determined, 0 otherwise.
    """
    from webhook.check.inspection import platforms
    from webhook.cli.output import inspection
    from webhook.image.source import Image, Query

    query = Query(image, os=os, accounts=True, survey=not quick, budget=_LOOK_UP_SECONDS)
    found, cost = asyncio.run(_find(query, insecure, registry_config, offline=offline))
    shown = asyncio.run(platforms(image, found, os)) if isinstance(found, Image) else ()
    report = inspection.document(image, found, shown, cost)
    click.echo(inspection.as_json(report) if form == "json" else inspection.as_text(report), nl=False)
    sys.exit(3 if report.error or any(each.problem or each.unread for each in report.platforms) else 0)


async def _find(
    query: "Query", insecure: tuple[str, ...], registry_config: Path | None, *, offline: bool
) -> "tuple[Image | Unknown, Cost]":
    from webhook.cli.disk_cache import DiskCache
    from webhook.cli.progress import watched
    from webhook.cli.registry_client import registry_client
    from webhook.registry import layout, local_store
    from webhook.registry.transport.messages import Cost

    if query.reference.startswith(layout.TRANSPORTS):
        return await layout.read(query)
    if query.reference.startswith(local_store.TRANSPORTS):
        return await local_store.read(query)
    if offline:
        return await DiskCache(None).find(query), Cost()
    client = registry_client(insecure, registry_config, _LOOK_UP_SECONDS)
    try:
        return await watched(DiskCache(client).find(query), lambda: _read(client.total)), client.total
    finally:
        await client.aclose()


def _read(spent: "Cost") -> str:
    return f"read {spent.bytes_read / 1e6:.1f} MB in {spent.requests} requests"

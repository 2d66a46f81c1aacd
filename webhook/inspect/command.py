"""The command `nonroot inspect`."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from webhook.workstation import options

if TYPE_CHECKING:
    from webhook.image import Image, Query, Unknown
    from webhook.registry.exchange import Cost

_BUDGET = 600.0  # seconds; the registry client gives up on an image long before


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
@options.INSECURE_REGISTRY
@options.REGISTRY_CONFIG
def inspect(image: str, form: str, os: str, insecure: tuple[str, ...], registry_config: Path | None) -> None:
    """Say who IMAGE runs as, on every platform, and what the kubelet would do with it.

    IMAGE is a reference, or a file: oci:FOLDER[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME].

    Exit codes: 2 wrong usage, 3 the image or one of its users could not be told, 0 otherwise.
    """
    from webhook.image import Image, Query
    from webhook.inspect import output, portrait

    query = Query(image, os=os, accounts=True, budget=_BUDGET)
    found, cost = asyncio.run(_find(query, insecure, registry_config))
    platforms = asyncio.run(portrait.platforms(image, found, os)) if isinstance(found, Image) else ()
    told = output.document(image, found, platforms, cost)
    click.echo(output.as_json(told) if form == "json" else output.as_text(told), nl=False)
    sys.exit(3 if told.error or any(each.problem for each in told.platforms) else 0)


async def _find(
    query: "Query", insecure: tuple[str, ...], registry_config: Path | None
) -> "tuple[Image | Unknown, Cost]":
    from webhook.registry.exchange import Cost
    from webhook.workstation.desk import registry_client
    from webhook.workstation.layouts import TRANSPORTS, Layout

    if query.reference.startswith(TRANSPORTS):
        layout = Layout(query.reference)
        try:
            return await layout.find(query), layout.cost
        finally:
            await layout.aclose()
    client, cost = registry_client(insecure, registry_config), Cost()
    try:
        return await client.find(query, cost), cost
    finally:
        await client.aclose()

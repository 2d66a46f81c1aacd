"""The command `nonroot check`."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from webhook.cli import options
from webhook.cli.output import FORMATS, render
from webhook.errors import InvalidSetting

if TYPE_CHECKING:
    from webhook.check.report import FailOn, Report
    from webhook.check.run import Request
    from webhook.cli.images import ImageSource


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option(
    "-o",
    "--output",
    "form",
    default="text",
    show_default=True,
    type=click.Choice([*FORMATS, "markdown"]),
    help="Markdown is for --table, which has text and JSON besides.",
)
@click.option(
    "--table", is_flag=True, help="Say instead which practices each file keeps: Pass, Fail or Not applicable."
)
@options.FAIL_ON
@options.POLICY
@options.NO_IMAGES
@options.OFFLINE
@options.TEMPLATE_KINDS
@options.TARGET
@options.BUILD_ARGS
@click.option(
    "--image", "built", metavar="IMAGE", help="The image that the Dockerfile builds, for its size in --table."
)
@click.option(
    "--image-limit",
    default=120,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    metavar="MB",
    help="The size of a built image, compressed, that --table lets pass.",
)
@options.INSECURE_REGISTRY
@options.REGISTRY_CONFIG
def check(
    paths: tuple[str, ...],
    form: str,
    table: bool,
    fail_on: "FailOn",
    policies: tuple[Path, ...],
    no_images: bool,
    offline: bool,
    template_kinds: tuple[str, ...],
    target: str | None,
    build_args: tuple[str, ...],
    built: str | None,
    image_limit: int,
    insecure: tuple[str, ...],
    registry_config: Path | None,
) -> None:
    """Judge manifests, compose files and Dockerfiles as admission would judge what they become.

    PATH is a file, a folder, or - for standard input. A comment `# nonroot: allow RULE reason` lets a container be.

    Exit codes: 2 wrong usage, 1 findings at or above --fail-on, 3 something could not be told (an image that could not
    be read, a template that was skipped), 0 clean; the first that holds. With --table, 1 where a practice is not kept.
    """
    from webhook.cli import inputs
    from webhook.cli.images import ImageSource

    source = ImageSource(no_images, offline, insecure, registry_config)
    request = inputs.request(paths, policies, template_kinds, target, build_args)
    if table:
        sys.exit(asyncio.run(_table(request, form, source, built, image_limit * 1_000_000)))
    if built is not None:
        raise InvalidSetting("--image is for --table; `nonroot inspect` tells what else there is to an image")
    if form not in FORMATS:
        raise InvalidSetting(f"-o {form} is for --table; without it there are {', '.join(FORMATS)}")
    report = asyncio.run(_check(request, source))
    click.echo(render(form, report), nl=False)
    sys.exit(report.exit_code(fail_on))


async def _check(request: "Request", source: "ImageSource") -> "Report":
    from webhook.check.run import check
    from webhook.cli.images import images as images_of
    from webhook.cli.progress import counted

    async with images_of(source) as images:
        with counted() as progress:
            return await check(request, images, progress)


async def _table(request: "Request", form: str, source: "ImageSource", built: str | None, image_limit: int) -> int:
    """Print the status table; the exit code."""
    from webhook.check.practices.table import table
    from webhook.cli.images import images as images_of
    from webhook.cli.output.table import FORMATS as TABLE_FORMATS
    from webhook.cli.output.table import render as render_table

    if form not in TABLE_FORMATS:
        raise InvalidSetting(f"--table has no -o {form}; it has {', '.join(TABLE_FORMATS)}")
    async with images_of(source) as images:
        result = await table(request, images, built, image_limit)
    click.echo(render_table(form, result), nl=False)
    return result.exit_code

"""The command `nonroot fix`."""

import asyncio
import difflib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from webhook.cli import options
from webhook.errors import InvalidSetting

if TYPE_CHECKING:
    from webhook.check.fix import Fixes
    from webhook.check.run import Request
    from webhook.cli.images import ImageSource

_LINE = re.compile(r"[^\n]*\n|[^\n]+")


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--diff/--write", "diff", default=True, help="Show what would change (the default), or write it.")
@options.POLICY
@options.NO_IMAGES
@options.OFFLINE
@options.TEMPLATE_KINDS
@options.INSECURE_REGISTRY
@options.REGISTRY_CONFIG
def fix(
    paths: tuple[str, ...],
    diff: bool,
    policies: tuple[Path, ...],
    no_images: bool,
    offline: bool,
    template_kinds: tuple[str, ...],
    insecure: tuple[str, ...],
    registry_config: Path | None,
) -> None:
    """Write into manifests what admission would inject, and the number into a Dockerfile's USER; change nothing else.

    Comments, order, quotes, anchors and indentation stay. A second run changes nothing. What is left for people is
    told on standard error, as `nonroot check` tells it.

    Exit codes: 2 wrong usage, 1 errors are left, 3 something could not be told, 0 clean; the first that holds.
    """
    from webhook.cli import inputs
    from webhook.cli.images import ImageSource
    from webhook.cli.output import render

    if not diff and "-" in paths:
        raise InvalidSetting("--write needs files: standard input cannot be written to")
    source = ImageSource(no_images, offline, insecure, registry_config)
    request = inputs.request(paths, policies, template_kinds)
    fixes = asyncio.run(_fix(request, source))
    for change in fixes.changes:
        if diff:
            click.echo("".join(_diff(change.path, change.before, change.after)), nl=False)
        else:
            _write(Path(change.path), change.after)
            click.echo(f"fixed {ascii(change.path)[1:-1]}", err=True)
    click.echo(render("text", fixes.rest), nl=False, err=True)
    sys.exit(fixes.rest.exit_code())


async def _fix(request: "Request", source: "ImageSource") -> "Fixes":
    from webhook.check.fix import fix
    from webhook.cli.images import images as images_of
    from webhook.cli.progress import counted

    async with images_of(source) as images:
        with counted() as progress:
            return await fix(request, images, progress)


def _diff(path: str, before: str, after: str) -> list[str]:
    """A unified diff that `patch -p1` takes."""
    old, new = _LINE.findall(before), _LINE.findall(after)
    name = path.lstrip("/") if path != "-" else "stdin"
    lines = difflib.unified_diff(old, new, f"a/{name}", f"b/{name}")
    return [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]


def _write(path: Path, text: str) -> None:
    """Replace the file as a whole, its mode kept, so that nobody ever reads half of it."""
    target = path.resolve()
    try:
        mode = target.stat().st_mode & 0o7777
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode("utf-8"))
            Path(name).chmod(mode)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InvalidSetting(f"cannot write {str(path)!a}: {error.strerror}") from None

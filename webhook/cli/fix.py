"""The command `nonroot fix`."""

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from webhook.cli import options
from webhook.errors import InvalidSetting

if TYPE_CHECKING:
    from webhook.check.fix import Fixes
    from webhook.check.report import Kind
    from webhook.check.run import Request
    from webhook.cli.images import ImageSource


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option(
    "--diff/--write",
    "diff",
    default=True,
    help="Show what would change (the default), or write it: into the files, and of - to standard output.",
)
@click.option("--check", "only_check", is_flag=True, help="Write nothing, and exit with 1 where anything would change.")
@click.option(
    "--suggest",
    is_flag=True,
    help="Give root images the uid that their layers show they are made for, with an fsGroup for their volumes.",
)
@options.POLICY
@options.NO_IMAGES
@options.OFFLINE
@options.TEMPLATE_KINDS
@options.TARGET
@options.BUILD_ARGS
@options.EXCLUDE
@options.KIND
@options.SKIP_OTHERS
@options.INSECURE_REGISTRY
@options.REGISTRY_CONFIG
def fix(
    paths: tuple[str, ...],
    diff: bool,
    suggest: bool,
    only_check: bool,
    policies: tuple[Path, ...],
    no_images: bool,
    offline: bool,
    template_kinds: tuple[str, ...],
    target: str | None,
    build_args: tuple[str, ...],
    exclude: tuple[str, ...],
    kind: "Kind | None",
    skip_others: bool,
    insecure: tuple[str, ...],
    registry_config: Path | None,
) -> None:
    """Write into manifests what admission would inject, and the number into a Dockerfile's USER; change nothing else.

    Comments, order, quotes, anchors and indentation stay. A second run changes nothing. What is left for people is
    printed on standard error, as by `nonroot check`. `nonroot fix --write -` is a filter, such as Helm's
    --post-renderer takes.

    Exit codes: 2 wrong usage, 1 errors are left (with --check also: something would change), 3 something could not be
    determined, 0 clean; the first that holds.
    """
    from webhook.check.files import STDIN, Selection
    from webhook.cli import configuration, inputs
    from webhook.cli.console import printed
    from webhook.cli.images import ImageSource
    from webhook.cli.output import text
    from webhook.cli.output.diff import unified
    from webhook.cli.output.summary import fixed

    if only_check and not diff:
        raise InvalidSetting("--check writes nothing: give --write or --check")
    source = ImageSource(no_images, offline, insecure, registry_config)
    if suggest and no_images:
        raise InvalidSetting("--suggest looks at images, which --no-images does not: give one of them")
    selection = Selection(kind, exclude, skip_others)
    request = inputs.request(
        paths, policies, template_kinds, target, build_args, selection, configuration.load(), suggest=suggest
    )
    fixes = asyncio.run(_fix(request, source))
    for change in fixes.changes:
        if diff:
            click.echo("".join(unified(change.path, change.before, change.after)), nl=False)
        elif change.path != STDIN:
            _write(Path(change.path), change.after)
            click.echo(f"fixed {ascii(change.path)[1:-1]}", err=True)
    if not diff:
        for each in fixes.texts:
            if each.path == STDIN:
                click.echo(each.mark + each.text, nl=False)
    click.echo(printed((*text.lines(fixes.rest), fixed(fixes, written=not diff))), nl=False, err=True)
    code = fixes.rest.exit_code()
    sys.exit(1 if only_check and fixes.changes else code)


async def _fix(request: "Request", source: "ImageSource") -> "Fixes":
    from webhook.check.fix import fix
    from webhook.cli.images import images as images_of
    from webhook.cli.progress import counted

    async with images_of(source) as images:
        with counted() as progress:
            return await fix(request, images, progress)


def _write(path: Path, text: str) -> None:
    """Replace the file as a whole, its owner, mode and attributes kept, so that nobody ever reads half of it.

    Where the owner cannot be kept that way, or the file has other names, it is written in place.
    """
    target = path.resolve()
    data = text.encode("utf-8", "surrogateescape")
    try:
        before = target.stat()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            if before.st_nlink > 1 or not _own(Path(name), before):
                Path(name).unlink()
                target.write_bytes(data)
                return
            shutil.copystat(target, name)
            os.utime(name)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InvalidSetting(f"cannot write {str(path)!a}: {error.strerror}") from None


def _own(path: Path, like: os.stat_result) -> bool:
    """Give a file the owner and group of another; False where that is not allowed."""
    now = path.stat()
    if (now.st_uid, now.st_gid) == (like.st_uid, like.st_gid):
        return True
    try:
        os.chown(path, like.st_uid, like.st_gid)
    except OSError:
        return False
    return True

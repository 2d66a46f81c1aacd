"""The command `nonroot check`."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from webhook.cli import options
from webhook.cli.output import FORMATS
from webhook.cli.output import render as rendered
from webhook.errors import InvalidSetting

if TYPE_CHECKING:
    from webhook.check.report import FailOn, Kind, Report
    from webhook.check.run import Request
    from webhook.cli.images import ImageSource


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FORMAT[=FILE]",
    help=f"One of {', '.join(FORMATS)}, to standard output or a file; repeatable. text where none is given. "
    "--table has text, markdown and json.",
)
@click.option("--output-file", type=click.Path(path_type=Path), help="Where the output goes that names no file.")
@click.option(
    "--table", is_flag=True, help="Say instead which practices each file keeps: Pass, Fail or Not applicable."
)
@options.FAIL_ON
@options.EXIT_ZERO
@click.option(
    "--accept-skipped", is_flag=True, help="Skipped files and unread images are shown, and are no exit code 3."
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    help="Pass over the findings of an earlier `check -o json`, so that only new ones count.",
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
@options.RENDER
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
    outputs: tuple[str, ...],
    output_file: Path | None,
    table: bool,
    fail_on: "FailOn",
    exit_zero: bool,
    accept_skipped: bool,
    baseline: Path | None,
    policies: tuple[Path, ...],
    no_images: bool,
    offline: bool,
    template_kinds: tuple[str, ...],
    target: str | None,
    build_args: tuple[str, ...],
    exclude: tuple[str, ...],
    kind: "Kind | None",
    skip_others: bool,
    render: bool,
    built: str | None,
    image_limit: int,
    insecure: tuple[str, ...],
    registry_config: Path | None,
) -> None:
    """Check manifests, compose files and Dockerfiles as admission evaluates what they become.

    PATH is a file, a folder, or - for standard input. A comment `# nonroot: allow RULE reason` exempts a container.

    Exit codes: 2 wrong usage, 1 findings at or above --fail-on, 3 something could not be determined (an image that could not
    be read, a template that was skipped), 0 clean; the first that holds. With --table, 1 where a practice is not kept.
    """
    from webhook.check.files import Selection
    from webhook.cli import configuration, inputs
    from webhook.cli.images import ImageSource

    source = ImageSource(no_images, offline, insecure, registry_config)
    settings, folder = configuration.load()
    selection = Selection(kind, exclude, skip_others)
    request = inputs.request(
        paths, policies, template_kinds, target, build_args, selection, (settings, folder), render=render
    )
    targets = _targets(outputs, output_file)
    if table:
        if len(targets) > 1:
            raise InvalidSetting("--table has one output: give -o once")
        text, code = asyncio.run(_table(request, targets[0].form, source, built, image_limit * 1_000_000))
        targets[0].write(text)
        sys.exit(0 if exit_zero else code)
    if built is not None:
        raise InvalidSetting("--image is for --table; `nonroot inspect` tells what else there is to an image")
    for each in targets:
        if each.form not in FORMATS:
            known = "is for --table" if each.form == "markdown" else "is no format"
            raise InvalidSetting(f"-o {each.form[:40]} {known}; without --table there are {', '.join(FORMATS)}")
    report = settings.applied(asyncio.run(_check(request, source)))
    if baseline is not None:
        from webhook.cli.baseline import without

        report = without(report, baseline)
    for each in targets:
        each.write(rendered(each.form, report))
    sys.exit(0 if exit_zero else report.exit_code(fail_on, accept_skipped=accept_skipped))


class _Target(msgspec.Struct, frozen=True):
    """A format, and the file that it is written to; None is standard output."""

    form: str
    path: Path | None

    def write(self, text: str) -> None:
        """`InvalidSetting` where the file cannot be written."""
        if self.path is None:
            click.echo(text, nl=False)
            return
        try:
            self.path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InvalidSetting(f"cannot write {str(self.path)!a}: {error.strerror}") from None


def _targets(outputs: tuple[str, ...], output_file: Path | None) -> list[_Target]:
    """The outputs that -o and --output-file ask for: `FORMAT=FILE`, or one `FORMAT` that goes to --output-file or the terminal."""
    split = [text.partition("=") for text in outputs or ("text",)]
    targets = [_Target(form, Path(name) if equals else output_file) for form, equals, name in split]
    paths = [each.path for each in targets]
    if len(set(paths)) < len(paths):
        raise InvalidSetting("two outputs would go to one place: write -o FORMAT=FILE")
    return targets


async def _check(request: "Request", source: "ImageSource") -> "Report":
    from webhook.check.run import check
    from webhook.cli.images import images as images_of
    from webhook.cli.progress import counted

    async with images_of(source) as images:
        with counted() as progress:
            return await check(request, images, progress)


async def _table(
    request: "Request", form: str, source: "ImageSource", built: str | None, image_limit: int
) -> tuple[str, int]:
    """The status table, and the exit code."""
    from webhook.check.practices.table import table
    from webhook.cli.images import images as images_of
    from webhook.cli.output.table import FORMATS as TABLE_FORMATS
    from webhook.cli.output.table import render as render_table

    if form not in TABLE_FORMATS:
        raise InvalidSetting(f"--table has no -o {form}; it has {', '.join(TABLE_FORMATS)}")
    async with images_of(source) as images:
        result = await table(request, images, built, image_limit)
    return render_table(form, result), result.exit_code

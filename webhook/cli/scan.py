"""The command `nonroot scan`."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from webhook.cli import options
from webhook.cli.output.scan import FORMATS, render, report
from webhook.errors import InvalidSetting

if TYPE_CHECKING:
    from webhook.check.report import FailOn
    from webhook.cli.images import ImageSource
    from webhook.cluster.client import Cluster
    from webhook.policy.types import Documents
    from webhook.scan.document import Document


@click.command()
@options.NAMESPACES
@options.ALL_NAMESPACES
@options.cluster
@options.POLICY_INSTEAD
@click.option("-o", "--output", "form", default="text", show_default=True, type=click.Choice(FORMATS))
@click.option("--output-file", type=click.Path(path_type=Path), help="Write there instead of to standard output.")
@click.option(
    "--merge",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Instead of scanning: a file of `nonroot scan -o json`, one for each cluster; repeatable.",
)
@options.FAIL_ON
@options.EXIT_ZERO
@options.NO_IMAGES
@options.OFFLINE
@options.INSECURE_REGISTRY
@options.REGISTRY_CONFIG
def scan(
    namespaces: tuple[str, ...],
    everywhere: bool,
    context: str,
    kubeconfig: str,
    user: str,
    policies: tuple[Path, ...],
    form: str,
    output_file: Path | None,
    files: tuple[Path, ...],
    fail_on: "FailOn",
    exit_zero: bool,
    no_images: bool,
    offline: bool,
    insecure: tuple[str, ...],
    registry_config: Path | None,
) -> None:
    """Say what becomes of every workload of a cluster if its namespace is enforced now, and who runs as root today.

    It only reads: what the kubeconfig does not allow is said, and the rest is scanned. Images are read with the pull
    secrets of their Pods where these may be read, and with your own login.

    Exit codes: 2 wrong usage or no cluster, 1 findings at or above --fail-on, 3 something could not be determined, 0 clean; the
    first that holds.
    """
    from webhook.cli import scan_files
    from webhook.cli.images import ImageSource
    from webhook.cli.policy_files import load_documents
    from webhook.cluster.client import Cluster

    if everywhere and namespaces:
        raise InvalidSetting("-A is for all namespaces, -n for some: give one of them")
    if files and (namespaces or everywhere or context or kubeconfig or user or policies):
        raise InvalidSetting("--merge reads files and no cluster: leave out what says which cluster or policies")
    if files and form == "policyreport":
        raise InvalidSetting("-o policyreport is for one cluster, in which its reports are written: leave out --merge")
    if files:
        document = scan_files.load(files)
    else:
        source = ImageSource(no_images, offline, insecure, registry_config)
        documents = load_documents(policies) if policies else None
        document = asyncio.run(_scan(Cluster(context, kubeconfig, user), namespaces, documents, source))
    rendered = render(form, document)
    if output_file is None:
        click.echo(rendered, nl=False)
    else:
        _write(output_file, rendered)
    sys.exit(0 if exit_zero else report(document).exit_code(fail_on))


async def _scan(
    cluster: "Cluster", namespaces: tuple[str, ...], documents: "Documents | None", source: "ImageSource"
) -> "Document":
    from webhook.cli.images import images as images_of
    from webhook.cli.progress import counted
    from webhook.cluster.pull_secrets import PullSecrets
    from webhook.scan.collector import Reader
    from webhook.scan.run import scan

    try:
        name = await cluster.name()
        secrets = PullSecrets(cluster, "scan with a kubeconfig that may get the Secrets of namespace {}")
        async with images_of(source, secrets) as images:
            with counted() as progress:
                reader = Reader(cluster, namespaces)
                known = None if source.no_images else await reader.identities()
                return await scan(reader, images, cluster=name, documents=documents, known=known, progress=progress)
    finally:
        await cluster.aclose()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidSetting(f"cannot write {path}: {error.strerror}; give another --output-file") from None

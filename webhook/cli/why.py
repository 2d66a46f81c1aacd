"""The command `nonroot why`."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from webhook.cli import options
from webhook.errors import InvalidSetting

if TYPE_CHECKING:
    from webhook.cli.images import ImageSource
    from webhook.cluster.client import Cluster
    from webhook.policy.types import Documents
    from webhook.scan.document import Skip
    from webhook.scan.why import Target, Why

_IMAGE = "image"


class _Arguments(msgspec.Struct, frozen=True):
    """The subjects of one command: files, images, and workloads of a cluster by kind, as it was typed, and name."""

    files: tuple[str, ...]
    images: tuple[str, ...]
    objects: tuple[tuple[str, str], ...]


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET…")
@click.option("-n", "--namespace", default="", help="The namespace, instead of the context's.")
@click.option("-c", "--container", "containers", multiple=True, help="Only this container; repeatable.")
@options.cluster
@options.POLICY_ALONE
@click.option("-o", "--output", "form", default="text", show_default=True, type=click.Choice(["text", "json", "yaml"]))
@options.NO_IMAGES
@options.OFFLINE
@options.INSECURE_REGISTRY
@options.REGISTRY_CONFIG
def why(
    targets: tuple[str, ...],
    namespace: str,
    containers: tuple[str, ...],
    context: str,
    kubeconfig: str,
    user: str,
    policies: tuple[Path, ...],
    form: str,
    no_images: bool,
    offline: bool,
    insecure: tuple[str, ...],
    registry_config: Path | None,
) -> None:
    """Say who each container runs as, who says so, what the kubelet and admission do with it, and which lines to write.

    TARGET is KIND/NAME or KIND NAME of a cluster, such as pod/web or deploy web; image/REFERENCE, for a Pod that runs it
    and says nothing else; a file, a folder, or - for standard input. For images and files no cluster is asked unless
    --context or --kubeconfig is given; policies then come from --policy.

    Exit codes: 2 wrong usage or no cluster, 3 something could not be determined, 0 otherwise.
    """
    from webhook.cli.images import ImageSource
    from webhook.cli.output import why as output
    from webhook.cli.policy_files import load_documents

    arguments = _arguments(targets)
    source = ImageSource(no_images, offline, insecure, registry_config)
    documents = load_documents(policies) if policies else None
    if arguments.objects or context or kubeconfig or user:
        from webhook.cluster.client import Cluster

        reports = asyncio.run(_of_cluster(arguments, namespace, Cluster(context, kubeconfig, user), documents, source))
    else:
        reports = asyncio.run(_of_files(arguments, namespace, documents, source))
    if containers:
        reports = tuple(_only(each, containers) for each in reports)
    click.echo(output.render(form, reports), nl=False)
    sys.exit(3 if any(each.unknown for each in reports) else 0)


def _arguments(targets: tuple[str, ...]) -> _Arguments:
    """The arguments sorted: a file where there is one of that name, else KIND/NAME, or KIND and names."""
    from webhook.check.files import STDIN

    first, *names = targets
    if names and "/" not in first and not Path(first).exists() and first != STDIN:
        if first == _IMAGE:
            return _Arguments((), tuple(names), ())
        return _Arguments((), (), tuple((first, name) for name in names))
    files, images, objects = [], [], []
    for target in targets:
        kind, slash, name = target.partition("/")
        if target == STDIN or Path(target).exists():
            files.append(target)
        elif not slash:
            raise InvalidSetting(
                f"there is no file {target[:200]!a}; of a cluster, name KIND/NAME, such as pod/{target[:63]}"
            )
        elif kind == _IMAGE:
            images.append(name)
        elif kind:
            objects.append((kind, name))
        else:
            raise InvalidSetting(f"there is no {target[:200]!a}; give a file, KIND/NAME or image/REFERENCE")
    return _Arguments(tuple(files), tuple(images), tuple(objects))


def _only(report: "Why", names: tuple[str, ...]) -> "Why":
    """The report with these containers alone; `InvalidSetting` for one that it does not have."""
    there = [each.name for each in report.containers]
    for name in names:
        if name not in there:
            raise InvalidSetting(
                f"{report.kind} {report.name} has no container {name[:63]!a}; it has {', '.join(there)}"
            )
    return msgspec.structs.replace(report, containers=tuple(each for each in report.containers if each.name in names))


async def _of_files(
    arguments: _Arguments, namespace: str, documents: "Documents | None", source: "ImageSource"
) -> "tuple[Why, ...]":
    """The verdicts on the files and images under the policies of files."""
    from webhook.cli.images import images as images_of
    from webhook.policy.cache import DEFAULT_NAMESPACE
    from webhook.policy.selection import Namespace
    from webhook.policy.types import Documents
    from webhook.scan.why import explain

    documents, now = documents or Documents(), datetime.now(UTC)
    async with images_of(source) as images:
        return tuple(
            [
                await explain(each, documents, Namespace(namespace or place or DEFAULT_NAMESPACE), images, now, skipped)
                for each, place, skipped in _written(arguments)
            ]
        )


async def _of_cluster(
    arguments: _Arguments,
    namespace: str,
    cluster: "Cluster",
    documents: "Documents | None",
    source: "ImageSource",
) -> "tuple[Why, ...]":
    """The same under the policies of a cluster, and the workloads of the cluster itself."""
    from webhook.cli.images import images as images_of
    from webhook.cluster.pull_secrets import PullSecrets
    from webhook.registry.fallback import FallbackSource
    from webhook.scan.collector import Reader
    from webhook.scan.lookup import find, kind_of
    from webhook.scan.why import explain

    objects = [(kind_of(kind), name) for kind, name in arguments.objects]
    try:
        namespace = namespace or await cluster.namespace()
        reader = Reader(cluster, (namespace,))
        (labelled,) = await reader.namespaces()
        documents = await reader.documents() if documents is None else documents
        coverage, now = await reader.coverage(), datetime.now(UTC)
        asked = [await find(cluster, kind, namespace, name) for kind, name in objects]
        asked += [(target, skipped) for target, _, skipped in _written(arguments)]
        secrets = PullSecrets(cluster, "ask with a kubeconfig that may get the Secrets of namespace {}")
        async with images_of(source, secrets) as images:
            known = images if source.no_images else FallbackSource(images, await reader.identities())
            return tuple(
                [
                    await explain(
                        each,
                        documents,
                        labelled,
                        known,
                        now,
                        (*reader.skipped, *skipped),
                        coverage,
                        policies_read=reader.policies_read,
                        labels_read=reader.labels_read(labelled.name),
                    )
                    for each, skipped in asked
                ]
            )
    finally:
        await cluster.aclose()


def _written(arguments: _Arguments) -> "Iterator[tuple[Target, str, tuple[Skip, ...]]]":
    """The workloads of the images and files, the namespace that each names, and what could not be read beside it."""
    from webhook.scan.inventory_item import InventoryItem, PodVariant, Reference
    from webhook.scan.why import Target
    from webhook.workload.podspec import Container, Metadata, PodSpec
    from webhook.workload.workload import Workload

    for image in arguments.images:
        pod = Workload("Pod", Metadata(name="image"), PodSpec(containers=(Container(name="app", image=image),)))
        reference = Reference("v1", "Pod", "", "image", "")
        yield Target("Pod", f"of {image}", InventoryItem(reference, (PodVariant(pod),))), "", ()
    if arguments.files:
        yield from _in_files(arguments.files)


def _in_files(paths: tuple[str, ...]) -> "Iterator[tuple[Target, str, tuple[Skip, ...]]]":
    """The workloads of manifests; `InvalidSetting` where there are none."""
    from webhook.check.files import named, read
    from webhook.check.manifest.decode import plain
    from webhook.check.run import Request, gather
    from webhook.scan.document import Skip
    from webhook.scan.inventory_item import InventoryItem, PodVariant, Reference, of_pod
    from webhook.scan.why import Target
    from webhook.workload import container_status

    request = Request(paths)
    gathered = gather(read(request.paths, request.selection), request)
    skipped = tuple(Skip(f"{each.path}:{each.line}", each.reason) for each in gathered.skipped)
    if not gathered.cases:
        reason = (
            f"{skipped[0].object}: {skipped[0].reason}" if skipped else "nonroot check evaluates what else there is"
        )
        raise InvalidSetting(f"there is no workload in {named(paths)}: {reason}")
    for case in gathered.cases:
        workload, kind = case.workload, case.found.kind
        reference = Reference(case.found.group, kind, case.namespace, workload.name, "")
        if kind == "Pod":  # as `kubectl get -o yaml` has written it, with its status
            item = of_pod(reference, container_status.decode(msgspec.json.encode(plain(case.found.node))))
        else:
            item = InventoryItem(reference, (PodVariant(workload, case.slots),))
        target = Target(kind, workload.name, item, annotations=dict(workload.metadata.annotations or {}))
        yield target, case.namespace, skipped
        skipped = ()

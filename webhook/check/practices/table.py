"""The status table of a set of files: which practices each keeps, with one blunt line each.

The rows are pure functions of `webhook.check.practices`; here is which files are looked at together: a Dockerfile with
its .dockerignore, everything with the nginx.conf that lies in its folder.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from webhook.check import dockerfiles
from webhook.check.compose import environment
from webhook.check.files import STDIN, Source, named
from webhook.check.files import read as read_sources
from webhook.check.manifest import objects as kubernetes
from webhook.check.manifest.decode import plain
from webhook.check.manifest.parser import MalformedYaml, documents
from webhook.check.practices import BuildContext, Row, compose, dockerfile, image_size, nginx, workload
from webhook.check.practices.row import IMAGE_LIMIT
from webhook.check.report import Skipped
from webhook.check.run import IMAGE_BUDGET, Request
from webhook.dockerfile import Malformed
from webhook.errors import InvalidSetting, MalformedReview
from webhook.image.source import NOT_EXAMINED, Images, Unknown
from webhook.workload import json_pointer

_LIMIT = 1024 * 1024  # bytes of a neighbouring file


class TableSection(msgspec.Struct, frozen=True):
    """The rows about one file, or about one object in it."""

    title: str
    rows: tuple[Row, ...]


class Table(msgspec.Struct, frozen=True):
    """All sheets, and what could not be looked at."""

    sheets: tuple[TableSection, ...]
    skipped: tuple[Skipped, ...]

    @property
    def exit_code(self) -> int:
        """1 where a practice is not kept, else 3 where something could not be looked at, else 0."""
        failed = any(row.status == "Fail" for sheet in self.sheets for row in sheet.rows)
        return 1 if failed else 3 if self.skipped else 0


async def table(request: Request, images: Images, built: str | None = None, image_limit: int = IMAGE_LIMIT) -> Table:
    """Look at everything below the paths; `InvalidSetting` for a path that is not there or holds nothing to look at.

    `built` is the image that the Dockerfiles build, as `nonroot inspect` takes it; it may have `image_limit` bytes.
    """
    sheets: list[TableSection] = []
    skipped: list[Skipped] = []
    folders: dict[Path, None] = {}
    beside = BuildContext(image_limit=image_limit)
    if built is not None:
        size = await image_size.size(built, images)
        if isinstance(size, Unknown):
            skipped.append(Skipped(built, 1, f"the image could not be read: {size.cause}: {size.detail}"))
        else:
            beside = msgspec.structs.replace(beside, image_bytes=size)
    for source in read_sources(request.paths, request.selection):
        if isinstance(source, Skipped):
            skipped.append(source)
            continue
        if source.path != STDIN:
            folders[Path(source.path).parent] = None
        if source.kind == "dockerfile":
            found: Iterable[TableSection | Skipped] = await _dockerfile(source, request, images, beside)
        else:
            found = _documents(source)
        for each in found:
            if isinstance(each, Skipped):
                skipped.append(each)
            elif each.rows:
                sheets.append(each)
    sheets += _nginx(folders)
    if not sheets and not skipped:
        raise InvalidSetting(
            f"there is nothing to put into a table in {named(request.paths)}: no workload, compose file or Dockerfile"
        )
    return Table(tuple(sheets), tuple(skipped))


async def _dockerfile(
    source: Source, request: Request, images: Images, beside: BuildContext
) -> list[TableSection | Skipped]:
    reading = await dockerfiles.read(source, images, IMAGE_BUDGET, request.target, request.build_args)
    if isinstance(reading, Malformed):
        return [Skipped(source.path, reading.line, reading.reason)]
    skipped: list[TableSection | Skipped] = []
    alone = reading.alone
    if beside.image_bytes is None and alone.base is not None:
        size = await image_size.size(alone.base, images)
        if not isinstance(size, Unknown):
            beside = msgspec.structs.replace(beside, base_bytes=size)
        elif size is not NOT_EXAMINED:
            reason = f"the base image {alone.base!a} could not be read: {size.cause}: {size.detail}"
            skipped.append(Skipped(source.path, alone.line, reason))
    if source.path != STDIN:
        path = Path(source.path)
        ignored = _text(path.with_name(f"{path.name}.dockerignore")) or _of_context(path)
        beside = msgspec.structs.replace(beside, looked=True, dockerignore=ignored)
    return [TableSection(source.path, dockerfile.rows(reading.informed, beside)), *skipped]


def _documents(source: Source) -> Iterator[TableSection | Skipped]:
    scaled: dict[tuple[str, str], dict[str, Any]] = {}
    try:
        for root in documents(source.text) if "HorizontalPodAutoscaler" in source.text else ():
            for found in kubernetes.objects(root):
                if found.kind == "HorizontalPodAutoscaler":
                    data = plain(found.node)
                    target = json_pointer.value(data, "/spec/scaleTargetRef")
                    if isinstance(target, dict):
                        scaled[str(target.get("kind")), str(target.get("name"))] = data["spec"]
        for root in documents(source.text):
            if source.kind == "compose":
                data = plain(root)
                yield TableSection(
                    source.path, compose.rows(data, environment(source)) if isinstance(data, dict) else ()
                )
                continue
            for found in kubernetes.objects(root):
                yield from _workloads(source, found, scaled)
    except MalformedYaml as error:
        yield Skipped(source.path, error.line, str(error))


def _workloads(
    source: Source, found: kubernetes.Object, scaled: Mapping[tuple[str, str], Mapping[str, Any]]
) -> Iterator[TableSection | Skipped]:
    try:
        read = kubernetes.workloads(found)
    except MalformedReview as error:
        yield Skipped(source.path, found.node.start.line, str(error).replace(" in the request", ""))
        return
    data = plain(found.node)
    for place, each in read:
        name = each.metadata.name or ""
        manifest = workload.Manifest(place, each, data, scaled.get((found.kind, name), {}))
        yield TableSection(f"{source.path}: {found.kind} {name}".rstrip(), workload.rows(manifest))


def _nginx(folders: Iterable[Path]) -> list[TableSection]:
    found = ((folder / "nginx.conf", _text(folder / "nginx.conf")) for folder in folders)
    return [TableSection(str(path), nginx.rows(text)) for path, text in found if text is not None]


def _of_context(dockerfile: Path) -> str | None:
    """The .dockerignore of the build context: the nearest one beside the Dockerfile or above, within the repository."""
    for folder in dockerfile.absolute().parents:
        found = _text(folder / ".dockerignore")
        if found is not None or (folder / ".git").exists() or folder == Path.cwd():
            return found
    return None


def _text(path: Path) -> str | None:
    """A small neighbour's text; None where there is none that can be read."""
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT).decode("utf-8", "replace")
    except OSError:
        return None

"""The rendering of kustomizations and Helm charts among the files, by the programs that render them for a cluster.

What goes into a rendering is not evaluated a second time by itself. Lines are those of what is rendered.
Sources: kubernetes-sigs/kustomize api/types/kustomization.go; helm/helm pkg/chart/loader (a chart is a folder with Chart.yaml).
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

import yaml

from webhook.check.files import KUSTOMIZATION, SIZE_LIMIT, Source
from webhook.check.report import Skipped
from webhook.text import printable

_CHART = re.compile(r"(?:\A|/)Chart\.ya?ml\Z")
_RENDERING_SECONDS = 120
_KUSTOMIZE = (("kubectl", "kustomize"), ("kustomize", "build"))
_HELM = (("helm", "template"),)


def rendered(sources: Iterable[Source | Skipped]) -> Iterator[Source | Skipped]:
    """The sources, with a rendering in place of what goes into it; `Skipped` says why there is none."""
    sources = list(sources)
    manifests = [each for each in sources if isinstance(each, Source) and each.kind == "manifest"]
    charts = _outermost({_folder(each.path) for each in manifests if _CHART.search(each.path)})
    kustomizations = {
        _folder(each.path): _load(each.text)
        for each in manifests
        if KUSTOMIZATION.search(each.path) and not _below(each.path, charts)
    }
    inputs = {path for folder, data in kustomizations.items() for path in _named(folder, data)}
    for each in sources:
        path = each.path
        if not (_below(path, charts) and _manifest(each)) and path not in inputs and not _is_kustomization(each):
            yield each
    for folder in sorted(charts):
        yield _run(folder, _HELM, "Chart.yaml")
    for folder, data in sorted(kustomizations.items()):
        if folder not in inputs and data.get("kind") != "Component":
            yield _run(folder, _KUSTOMIZE, "kustomization.yaml")


def _manifest(source: Source | Skipped) -> bool:
    return isinstance(source, Skipped) or source.kind == "manifest"


def _is_kustomization(source: Source | Skipped) -> bool:
    return isinstance(source, Source) and KUSTOMIZATION.search(source.path) is not None


def _folder(path: str) -> str:
    return os.path.dirname(path) or "."  # noqa: PTH120  # as the paths of sources are written


def _outermost(folders: set[str]) -> set[str]:
    """Without those that lie in another one, such as a chart's subcharts."""
    return {each for each in folders if not any(str(parent) in folders for parent in PurePath(each).parents)}


def _below(path: str, folders: set[str]) -> bool:
    return any(str(parent) in folders for parent in PurePath(path).parents)


def _load(text: str) -> dict[str, Any]:
    try:
        data = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return {}  # its program says what is wrong with it
    return data if isinstance(data, dict) else {}


def _named(folder: str, value: Any) -> Iterator[str]:
    """Every text in a kustomization as the path that it would be: its resources, patches, bases and components."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _named(folder, each)
    elif isinstance(value, str) and "\n" not in value:
        yield os.path.normpath(os.path.join(folder, value))  # noqa: PTH118  # not resolved


def _run(folder: str, programs: tuple[tuple[str, str], ...], file: str) -> Source | Skipped:
    """The manifests that the first installed program makes of a folder."""
    place = os.path.join(folder, file)  # noqa: PTH118  # the same
    target = folder if os.path.isabs(folder) else f"./{folder}"  # noqa: PTH117  # no name is an option
    command = next(((*each, target) for each in programs if shutil.which(each[0])), None)
    if command is None:
        return Skipped(
            place, 1, f"it cannot be rendered: {' nor '.join(each[0] for each in programs)} is not installed"
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            code = subprocess.run(command, stdout=out, stderr=err, timeout=_RENDERING_SECONDS, check=False).returncode  # noqa: S603
        except subprocess.TimeoutExpired:
            return Skipped(place, 1, f"{' '.join(command)} took more than {_RENDERING_SECONDS} s")
        out.seek(0)
        err.seek(0)
        text = out.read(SIZE_LIMIT + 1)
        if code:
            why = printable(err.read(4096).decode("utf-8", "replace").strip().replace("\n", " "))
            return Skipped(place, 1, f"{' '.join(command)} says: {why or f'nothing, and ends with {code}'}")
    if len(text) > SIZE_LIMIT:
        return Skipped(place, 1, f"what it renders to is larger than {SIZE_LIMIT >> 20} MiB")
    return Source(folder, "manifest", text.decode("utf-8", "replace"))

"""Paths -> texts: what is worth reading below a folder, and what each file is by its name.

A folder is searched for manifests (*.yaml, *.yml, *.json), compose files and Dockerfiles; a file that is named is read
whatever it is called. Version control's and package managers' own folders are left out.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from webhook.check.report import Kind, Skipped
from webhook.errors import InvalidSetting

SIZE_LIMIT = 32 * 1024 * 1024  # bytes of one file
STDIN = "-"
_BYTE_ORDER_MARK = "\ufeff"
_LEFT_OUT = frozenset({".git", ".hg", ".svn", ".tox", ".venv", ".terraform", "node_modules", "__pycache__"})
_MANIFEST = re.compile(r".+\.(?:ya?ml|json)\Z", re.IGNORECASE)
_COMPOSE = re.compile(r"(?:docker-)?compose(?:[.-].+)?\.ya?ml\Z", re.IGNORECASE)
_DOCKERFILE = re.compile(
    r"(?:Dockerfile|Containerfile)(?:\.(?!dockerignore\Z|md\Z|txt\Z).+)?\Z|.+\.(?:Dockerfile|Containerfile)\Z",
    re.IGNORECASE,
)


class Source(msgspec.Struct, frozen=True):
    """A file's text, under the path by which it was reached; `chart` where Helm would take it for a template.

    `mark` is the byte order mark before the text, or nothing.
    """

    path: str
    kind: Kind
    text: str
    chart: bool = False
    mark: str = ""


def read(paths: Iterable[str]) -> Iterator[Source | Skipped]:
    """Every file, each once, folders in the order of names; `InvalidSetting` for a path that is not there."""
    seen: set[str] = set()
    for path in paths:
        if path == STDIN:
            yield _decode(path, "manifest", sys.stdin.buffer.read(SIZE_LIMIT + 1))
        elif Path(path).is_dir():
            for name in _walk(path):
                if name not in seen:
                    seen.add(name)
                    found = _read(name, kind_of(name))
                    if not _foreign(found):
                        yield found
        elif not os.path.lexists(path):
            raise InvalidSetting(f"there is no {path[:500]!a}; give files, folders, or - for standard input")
        elif path not in seen:
            seen.add(path)
            yield _read(path, kind_of(path) or "manifest")


def kind_of(path: str) -> Kind | None:
    """What a file is by its name; None for what is not looked for in folders."""
    name = os.path.basename(path)  # noqa: PTH119  # twice as fast over thousands of names
    if _COMPOSE.match(name):
        return "compose"
    if _MANIFEST.match(name):
        return "manifest"
    return "dockerfile" if _DOCKERFILE.match(name) else None


def _foreign(found: Source | Skipped) -> bool:
    """Whether it is one of the many JSON files of other programs, some of which are not even JSON."""
    return isinstance(found, Source) and found.path.lower().endswith(".json") and "apiVersion" not in found.text


def _walk(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        for name in sorted(files):
            if kind_of(name) is not None:
                yield os.path.normpath(os.path.join(place, name))  # noqa: PTH118  # the same


def _read(path: str, kind: Kind | None) -> Source | Skipped:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # the same
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        return Skipped(path, 1, f"cannot be read: {error.strerror}")
    return _decode(path, kind or "manifest", data)


def _decode(path: str, kind: Kind, data: bytes) -> Source | Skipped:
    if len(data) > SIZE_LIMIT:
        return Skipped(path, 1, f"larger than {SIZE_LIMIT >> 20} MiB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return Skipped(path, data.count(b"\n", 0, error.start) + 1, "not UTF-8")
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    return Source(path, kind, text.removeprefix(mark), _of_chart(path), mark)


def _of_chart(path: str) -> bool:
    """Whether it lies in the templates folder of a Helm chart."""
    parts = Path(path).parts
    return "templates" in parts[:-1] and any(
        Path(*parts[:index], "Chart.yaml").is_file() for index, part in enumerate(parts) if part == "templates"
    )

"""The files to check: those below a folder that are worth reading, and the kind of each by its name.

A folder is searched for manifests (*.yaml, *.yml, *.json), compose files and Dockerfiles; a file that is named is read
whatever it is called. Version control's and package managers' own folders are left out.
"""

import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from webhook.check.report import Kind, Skipped
from webhook.errors import InvalidSetting

SIZE_LIMIT = 32 * 1024 * 1024  # bytes of one file
STDIN = "-"
_BYTE_ORDER_MARK = "\ufeff"
_LEFT_OUT = frozenset({".git", ".hg", ".svn", ".tox", ".venv", ".terraform", "node_modules", "__pycache__"})
_NAME = re.IGNORECASE | re.DOTALL  # a file's name may have line breaks
_MANIFEST = re.compile(r".+\.(?:ya?ml|json)\Z", _NAME)
_COMPOSE = re.compile(r"(?:docker-)?compose(?:[.-].+)?\.ya?ml\Z", _NAME)
_DOCKERFILE = re.compile(
    r"(?:Dockerfile|Containerfile)(?:[._-](?!dockerignore\Z|md\Z|txt\Z).+)?\Z|.+\.(?:Dockerfile|Containerfile)\Z",
    _NAME,
)
KUSTOMIZATION = re.compile(r"(?:\A|/)[Kk]ustomization(?:\.ya?ml)?\Z")  # whose apiVersion may be left out
_PLAIN_DOCKERFILE = re.compile(r"(?:Dockerfile|Containerfile)\Z|.+\.(?:Dockerfile|Containerfile)\Z", _NAME)
_FIRST_INSTRUCTION = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ \t]*(?:FROM|ARG)[ \t]", re.IGNORECASE)
_TEMPLATE = re.compile(r"\.(?:in|j2|jinja2?|erb|tmpl|tpl|template|mustache)\Z|\A\s*(?:\{[{%]|<%)", re.IGNORECASE)
_DOCKERFILE_TEMPLATE = (
    "a template of a Dockerfile says nothing before it is rendered: check what its program makes of it"
)


_SPECIAL = "a pipe, a device or a socket, which is read only where it is named itself"


class Selection(msgspec.Struct, frozen=True):
    """The choice of files below the paths.

    `kind` is what named files and standard input are, None to go by name and content. `exclude` are patterns as in
    .gitignore, relative to where the command runs. `skip_others` passes over named files that are none of ours.
    """

    kind: Kind | None = None
    exclude: tuple[str, ...] = ()
    skip_others: bool = False


class Source(msgspec.Struct, frozen=True):
    """A file's text, under the path by which it was reached; `chart` where Helm would take it for a template.

    `mark` is the byte order mark before the text, or nothing.
    """

    path: str
    kind: Kind
    text: str
    chart: bool = False
    mark: str = ""


def read(paths: Iterable[str], selection: Selection | None = None) -> Iterator[Source | Skipped]:
    """Every file, each once, folders in the order of names; `InvalidSetting` for a path that is not there."""
    selection = selection or Selection()
    seen: set[str] = set()
    for path in map(shortest, paths):
        if path == STDIN:
            yield _decode(path, selection.kind, sys.stdin.buffer.read(SIZE_LIMIT + 1))
        elif path and Path(path).is_dir():
            for name in _walk(path, selection.exclude):
                if name not in seen:
                    seen.add(name)
                    found = Skipped(name, 1, _SPECIAL) if _is_special(name) else read_file(name, kind_of(name))
                    if not _foreign(found):
                        yield found
        elif not path or not os.path.lexists(path):
            raise InvalidSetting(f"there is no {path[:500]!a}; give files, folders, or - for standard input")
        elif path not in seen:
            seen.add(path)
            found = read_file(path, selection.kind or kind_of(path))
            if not (selection.skip_others and _foreign(found)):
                yield found


def named(paths: Sequence[str]) -> str:
    """The first of the paths that a command was given, for its messages."""
    return ", ".join("standard input" if path == STDIN else ascii(path[:200]) for path in paths[:5])


def shortest(path: str) -> str:
    """One path for one file: without `./` and `..`, and relative where it lies below the working directory."""
    if path in ("", STDIN):
        return path
    inside = os.path.relpath(path) if os.path.isabs(path) else os.path.normpath(path)  # noqa: PTH117  # not resolved
    return path if os.path.isabs(path) and inside.startswith("..") else inside  # noqa: PTH117  # the same


def kind_of(path: str) -> Kind | None:
    """The kind of a file by its name; None for one that is not looked for in folders."""
    name = os.path.basename(path)  # noqa: PTH119  # twice as fast over thousands of names
    if _COMPOSE.match(name):
        return "compose"
    if _MANIFEST.match(name):
        return "manifest"
    return "dockerfile" if _DOCKERFILE.match(name) else None


def _is_special(path: str) -> bool:
    """Whether it is a pipe, a device or the like, which may never come to an end."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116  # twice as fast over thousands of names
    except OSError:
        return False  # reading it will say why


def _foreign(found: Source | Skipped) -> bool:
    """Whether it is one of the many files of other programs, some of which are not even YAML, JSON or a Dockerfile."""
    if isinstance(found, Skipped) or found.chart or found.kind == "compose":
        return False
    if found.kind == "manifest":
        return "apiVersion" not in found.text and not KUSTOMIZATION.search(found.path)
    data = found.text.encode("utf-8", "surrogateescape")
    return not _PLAIN_DOCKERFILE.match(os.path.basename(found.path)) and not _FIRST_INSTRUCTION.match(data)  # noqa: PTH119


def _walk(folder: str, exclude: tuple[str, ...]) -> Iterator[str]:
    from webhook.check.exclusion import Exclusion

    exclusion = Exclusion(folder, exclude)
    for place, folders, files in os.walk(folder):
        exclusion.enter(place, files)
        folders[:] = sorted(
            name for name in folders if name not in _LEFT_OUT and not exclusion.excludes(place, name, folder=True)
        )
        for name in sorted(files):
            if kind_of(name) is not None and not exclusion.excludes(place, name):
                yield os.path.normpath(os.path.join(place, name))  # noqa: PTH118  # twice as fast over thousands of names


def read_file(path: str, kind: Kind | None) -> Source | Skipped:
    """One file, of that kind or of the kind that it is by its content; `Skipped` says why it cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # the same
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        return Skipped(path, 1, f"cannot be read: {error.strerror}")
    return _decode(path, kind, data)


def _decode(path: str, kind: Kind | None, data: bytes) -> Source | Skipped:
    """A text of that kind, or of the kind that it is by its content: a Dockerfile begins with FROM or ARG.

    BuildKit takes any bytes; what is not UTF-8 there stays as it is. YAML and JSON must be UTF-8.
    """
    if len(data) > SIZE_LIMIT:
        return Skipped(path, 1, f"larger than {SIZE_LIMIT >> 20} MiB")
    if kind is None:
        kind = "dockerfile" if _FIRST_INSTRUCTION.match(data) else "manifest"
    try:
        text = data.decode("utf-8", "surrogateescape" if kind == "dockerfile" else "strict")
    except UnicodeDecodeError as error:
        is_gzip = data.startswith(b"\x1f\x8b")
        reason = "compressed by gzip: unpack it first" if is_gzip else "not UTF-8, as kubectl wants it: convert it"
        return Skipped(path, 1 if is_gzip else data.count(b"\n", 0, error.start) + 1, reason)
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    text = text.removeprefix(mark)
    if (
        kind == "dockerfile"
        and not _FIRST_INSTRUCTION.match(data)
        and _TEMPLATE.search(path if path != STDIN else text)
    ):
        return Skipped(path, 1, _DOCKERFILE_TEMPLATE)
    return Source(path, kind, text, _of_chart(path), mark)


def _of_chart(path: str) -> bool:
    """Whether it lies in the templates folder of a Helm chart."""
    if "templates" not in path:
        return False
    folders = Path(path).parent.parts
    return any(
        Path(*folders[:index], "Chart.yaml").is_file() for index, name in enumerate(folders) if name == "templates"
    )

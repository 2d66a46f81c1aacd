"""A survey of layers: owners, permissions and privileged programs, each layer laid over those below it.

A tree keeps directories, symbolic links, programs that are setuid or carry capabilities, and the start scripts that are
named as such; it forgets every other file. Names are taken as they stand: those that lead through a symbolic link of
the same layer are not followed.
Sources: opencontainers/image-spec layer.md (whiteouts); containerd/containerd pkg/archive/tar.go (mkparent: directories
without an entry of their own are root's, mode 0755).
"""

from collections.abc import Iterable, Mapping
from operator import itemgetter

import msgspec

from webhook.image.capabilities import FileCapabilities
from webhook.image.filesystem import Capable, Directory, Role, Special
from webhook.registry.layers.index import LayerIndex, LayerIndexer
from webhook.registry.layers.paths import (
    ancestors,
    clean,
    followed,
    is_aufs_metadata,
    is_opaque,
    is_whiteout,
    whiteout_target,
)
from webhook.registry.layers.tar import Archive, Kind
from webhook.registry.settings import Limits
from webhook.registry.transport.messages import RegistryError

_SPECIAL = 0o6000  # setuid, setgid
_EXECUTABLE = 0o111
_SCRIPT = "entrypoint"  # what the name of a start script has in it
_SCRIPT_LIMIT = 64 * 1024  # bytes
_WEIGHT = 250  # bytes of memory that a place takes, roughly


class Place(msgspec.Struct, frozen=True):
    """A directory, a symbolic link with its target, or a file of note; `layer` is the number of the one that has it.

    `data` is the content of a start script.
    """

    kind: Kind
    layer: int
    uid: int = 0
    gid: int = 0
    mode: int = 0o755
    target: str = ""
    capabilities: FileCapabilities | None = None
    data: bytes = b""


Tree = Mapping[str, Place]


class Surveyed(msgspec.Struct, frozen=True):
    """The tree of a layer and all below it, and what the layer says to admission's look, which was taken on the way."""

    facts: LayerIndex
    tree: Tree

    @property
    def weight(self) -> int:
        """Roughly the bytes of memory that the tree takes."""
        return sum(_WEIGHT + len(place.data) for place in self.tree.values())


class Surveyor:
    """The look at one layer; `below` is the tree that it is laid over, and stays as it is.

    Every entry is passed on to `indexer`, so that a layer need not be transferred twice.
    """

    def __init__(self, number: int, below: Tree, indexer: LayerIndexer, limits: Limits) -> None:
        self._number = number
        self._indexer = indexer
        self._limits = limits
        self._tree = dict(below)
        self._removed: set[str] = set()
        self._emptied: set[str] = set()
        self._parent = self._script = ""
        self._archive = Archive(self, limits.entries)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the archive."""
        self._archive.feed(data)

    def finish(self, diff_id: str) -> Surveyed:
        """The tree, at the archive's end."""
        self._archive.finish()
        if self._removed or self._emptied:
            self._tree = {path: place for path, place in self._tree.items() if self._stays(path, place)}
        return Surveyed(self._indexer.facts(diff_id), self._tree)

    def visit(self, kind: Kind, name: str, target: str, size: int, overlay: bool) -> bool:
        """Lay one entry over the tree; true where its content is wanted."""
        wanted = self._indexer.visit(kind, name, target, size, overlay)
        self._script = ""
        path = clean(name)
        parent, _, base = path.rpartition("/")
        if is_whiteout(base):
            self._remove(path, parent, base)
            return wanted
        if parent != self._parent:
            self._imply(path)
            self._parent = parent
        place = self._place(kind, base, target)
        before = self._tree.get(path)
        if before is not None and before.kind == "directory" and kind != "directory":
            self._emptied.add(path)
        if place is not None:
            self._tree[path] = place
        elif before is not None:
            del self._tree[path]
        if len(self._tree) > self._limits.links:
            raise RegistryError("tooLarge", f"the image has more than {self._limits.links} directories and links")
        if not wanted and kind == "file" and _is_script(base) and size <= _SCRIPT_LIMIT:
            self._script = path
            return True
        return wanted

    def content(self, data: bytes) -> None:
        """The content of the file whose `visit` said true."""
        if self._script:
            self._tree[self._script] = msgspec.structs.replace(self._tree[self._script], data=data)
        else:
            self._indexer.content(data)

    def _place(self, kind: Kind, name: str, target: str) -> Place | None:
        if kind == "symlink":
            return Place(kind, self._number, target=target)
        if kind == "hardlink":
            linked = self._tree.get(clean(target))
            return None if linked is None else msgspec.structs.replace(linked, layer=self._number)
        if kind == "device":
            return None
        attributes = self._archive.attributes()
        runs = bool(attributes.mode & _EXECUTABLE)
        privileged = runs and (attributes.mode & _SPECIAL or attributes.capabilities is not None)
        if kind == "file" and not privileged and not _is_script(name):
            return None
        return Place(
            kind,
            self._number,
            attributes.uid,
            attributes.gid,
            attributes.mode,
            capabilities=attributes.capabilities if runs else None,
        )

    def _imply(self, path: str) -> None:
        """Extraction makes the directories that lead to an entry; those of lower layers stay as they are."""
        for place in ancestors(path):
            known = self._tree.get(place)
            if known is None or known.kind != "directory":
                self._tree[place] = Place("directory", self._number)

    def _remove(self, path: str, parent: str, base: str) -> None:
        if is_opaque(base):
            self._emptied.add(parent)
        elif not is_aufs_metadata(path):
            self._removed.add(whiteout_target(path))

    def _stays(self, path: str, place: Place) -> bool:
        """Whiteouts are about the layers below, wherever they stand in their own."""
        if place.layer == self._number:
            return True
        above = ("", *ancestors(path))
        return not (
            path in self._removed
            or any(each in self._removed or each in self._emptied for each in above if each != path)
        )


def directories(tree: Tree, working_dir: str, volumes: Iterable[str]) -> tuple[Directory, ...]:
    """The working directory, which is / where the config names none, and the volumes that it declares."""
    return (
        _directory(tree, working_dir or "/", "workingDirectory"),
        *(_directory(tree, path, "volume") for path in volumes),
    )


def special(tree: Tree) -> tuple[Special, ...]:
    """The setuid and setgid programs, in order of their paths."""
    return tuple(
        Special(f"/{path}", place.uid, place.gid, place.mode)
        for path, place in _files(tree)
        if place.mode & _SPECIAL and place.mode & _EXECUTABLE
    )


def capable(tree: Tree) -> tuple[Capable, ...]:
    """The programs that carry capabilities, in order of their paths."""
    return tuple(Capable(f"/{path}", place.capabilities) for path, place in _files(tree) if place.capabilities)


def scripts(tree: Tree) -> dict[str, str]:
    """The text of every start script, by its path."""
    return {f"/{path}": place.data.decode("utf-8", "replace") for path, place in _files(tree) if place.data}


def _files(tree: Tree) -> list[tuple[str, Place]]:
    return sorted(((path, place) for path, place in tree.items() if place.kind == "file"), key=itemgetter(0))


def _is_script(name: str) -> bool:
    return _SCRIPT in name


def _directory(tree: Tree, path: str, role: Role) -> Directory:
    def target_of(name: str) -> str | None:
        found = tree.get(name)
        return found.target if found is not None and found.kind == "symlink" else None

    place = followed(path, target_of)
    found = None if place is None else tree.get(place)
    if found is not None and found.kind == "directory":
        return Directory(path, role, present=True, uid=found.uid, gid=found.gid, mode=found.mode)
    return Directory(path, role, present=not place and place is not None)  # few layers have an entry for the root

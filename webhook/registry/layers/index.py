"""An index of a layer: what it says about a few paths, enough to find the accounts files.

Paths are clean and relative to the image's root ("etc/passwd"). A path is tracked if it is wanted or leads to one
that is. Sources: opencontainers/image-spec layer.md (whiteouts); containerd/containerd pkg/archive/tar.go
(applyNaive, createTarFile) and tar_opts_linux.go (whiteouts on overlayfs).
"""

import msgspec

from webhook.errors import MalformedImage
from webhook.registry.layers.paths import (
    LINK_LIMIT,
    ancestors,
    clean,
    followed,
    is_aufs_metadata,
    is_opaque,
    is_whiteout,
    whiteout_target,
)
from webhook.registry.layers.tar import Kind
from webhook.registry.settings import ACCOUNTS_FILE_LIMIT, Limits
from webhook.registry.transport.messages import RegistryError
from webhook.text import quoted

_LINK = 200  # bytes of memory that a link takes beside its two texts, roughly
_NOTHING: frozenset[str] = frozenset()  # one for nearly all layers


class File(msgspec.Struct, frozen=True, gc=False):
    """A regular file and its content."""

    data: bytes


class Directory(msgspec.Struct, frozen=True, gc=False):
    """A directory, with an entry of its own or implied by what lies in it."""


class Symlink(msgspec.Struct, frozen=True, gc=False):
    """A symbolic link and its target, verbatim."""

    target: str


class Hardlink(msgspec.Struct, frozen=True, gc=False):
    """A hard link to a path of the same layer that nobody wanted yet: to be read again."""

    target: str


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """Something else; `reason` completes "/etc/passwd …"."""

    reason: str


Node = File | Directory | Symlink | Hardlink | Unreadable


class LayerIndex(msgspec.Struct, frozen=True, gc=False):
    """A layer's word on the `wanted` paths and their ancestors: what it has, removes and makes opaque there."""

    diff_id: str
    wanted: frozenset[str]
    nodes: dict[str, Node]
    removed: frozenset[str]
    opaque: frozenset[str]

    @property
    def weight(self) -> int:
        """Roughly the bytes of memory that it takes."""
        content = sum(len(node.data) for node in self.nodes.values() if isinstance(node, File))
        return content + 300 * (len(self.nodes) + len(self.wanted) + 1)


class LayerIndexer:
    """The visitor that reduces an archive to `LayerIndex`.

    Entries apply in order, as they are extracted: a later one replaces an earlier one. A name that leads through a
    symbolic link of the same layer is written where the link points; where that could touch a tracked path the layer is
    refused, because snapshotters differ on it.
    """

    def __init__(self, wanted: frozenset[str], limits: Limits) -> None:
        self._wanted = wanted
        self._tracked = wanted.union(*(ancestors(path) for path in wanted))
        self._tops = {path.partition("/")[0] for path in wanted}
        self._limits = limits
        self._nodes: dict[str, Node] = {}
        self._removed: set[str] = set()
        self._opaque: set[str] = set()
        self._links: dict[str, str] = {}
        self._link_bytes = 0
        self._parent = self._place = ""
        self._pending = ""

    def visit(self, kind: Kind, name: str, target: str, size: int, overlay: bool) -> bool:
        """Apply one entry; true where its content is wanted."""
        parent, _, base = clean(name).rpartition("/")
        if parent != self._parent:
            self._parent, self._place = parent, self._follow(parent)
        path = f"{self._place}/{base}" if self._place else base
        matters = path.partition("/")[0] in self._tops
        if matters and (self._place != parent or (overlay and path in self._tracked)):
            raise _ambiguous(path)
        if is_whiteout(base):
            self._remove(path, base)
            return False
        self._link(path, kind, target)
        if not matters:
            return False
        self._imply(path)
        if path not in self._tracked:
            return False
        return self._place_node(path, kind, target, size)

    def content(self, data: bytes) -> None:
        """The content of the file whose `visit` said true."""
        self._nodes[self._pending] = File(data)

    def facts(self, diff_id: str) -> LayerIndex:
        """The index of the whole layer."""
        removed, opaque = (frozenset(each) if each else _NOTHING for each in (self._removed, self._opaque))
        return LayerIndex(diff_id, self._wanted, self._nodes, removed, opaque)

    def _remove(self, path: str, base: str) -> None:
        if is_aufs_metadata(path):
            return
        removed = whiteout_target(path)
        parent = path.rpartition("/")[0]
        self._imply(path)
        if is_opaque(base):
            if not parent or parent in self._tracked:
                self._opaque.add(parent)
            return
        if removed in self._tracked:
            if removed in self._nodes:
                raise _ambiguous(removed)
            self._removed.add(removed)

    def _imply(self, path: str) -> None:
        """Extraction makes the directories that lead to an entry."""
        for place in ancestors(path):
            if place in self._tracked:
                node = self._nodes.setdefault(place, Directory())
                if not isinstance(node, Directory):
                    raise MalformedImage(
                        f"a layer has an entry below {quoted(f'/{place}')}, which is no directory in it"
                    )

    def _link(self, path: str, kind: Kind, target: str) -> None:
        """Keep the layer's symbolic links, under every name that hard links give them."""
        points_to = target if kind == "symlink" else None
        if kind == "hardlink":
            points_to = self._links.get(self._resolve(target))
        before = self._links.pop(path, None)
        if before is not None:
            self._link_bytes -= _LINK + len(path) + len(before)
        if points_to is None:
            return
        self._links[path] = points_to
        self._link_bytes += _LINK + len(path) + len(points_to)
        if self._link_bytes > self._limits.link_bytes:
            raise RegistryError(
                "tooLarge", f"a layer's symbolic links take more than {self._limits.link_bytes >> 20} MiB"
            )

    def _place_node(self, path: str, kind: Kind, target: str, size: int) -> bool:
        if kind == "directory":
            if not isinstance(self._nodes.setdefault(path, Directory()), Directory):
                raise _ambiguous(path)  # what lower layers have there is hidden or not
            return False
        linked = self._hardlinked(target) if kind == "hardlink" else None
        self._clear(path)
        if linked is not None:
            self._nodes[path] = linked
        elif kind == "symlink":
            self._nodes[path] = Symlink(target)
        elif kind == "device":
            self._nodes[path] = Unreadable("is not a regular file")
        elif path not in self._wanted:
            self._nodes[path] = Unreadable("is a file that other paths lead through")
        elif size > ACCOUNTS_FILE_LIMIT:
            self._nodes[path] = Unreadable(f"is larger than {ACCOUNTS_FILE_LIMIT >> 20} MiB")
        else:
            self._pending = path
            return True
        return False

    def _hardlinked(self, target: str) -> Node:
        """The node of the target as it is now: a hard link keeps it, whatever becomes of that name later."""
        place = self._resolve(target)
        if place != clean(target):
            raise _ambiguous(place)
        if place not in self._tracked:
            return Hardlink(place)
        node = self._nodes.get(place)
        if node is None or isinstance(node, Directory):
            raise MalformedImage(f"a layer has a hard link to {quoted(f'/{place}')}, which it does not have as a file")
        return node

    def _clear(self, path: str) -> None:
        """Forget a directory with all that is in it, which something else replaces."""
        if isinstance(self._nodes.get(path), Directory):
            below = f"{path}/"
            self._nodes = {place: node for place, node in self._nodes.items() if not place.startswith(below)}
            self._removed = {place for place in self._removed if not place.startswith(below)}
            self._opaque = {place for place in self._opaque if place != path and not place.startswith(below)}

    def _resolve(self, name: str) -> str:
        """Where a name leads whose last component is not followed."""
        parent, _, base = clean(name).rpartition("/")
        place = self._follow(parent)
        return f"{place}/{base}" if place else base

    def _follow(self, path: str) -> str:
        """Where a directory really is, by the symbolic links that this layer has made so far."""
        if not self._links or not path:
            return path
        place = followed(path, self._links.get)
        if place is None:
            raise MalformedImage(f"a layer has a name that leads through more than {LINK_LIMIT} symbolic links")
        return place


def _ambiguous(path: str) -> MalformedImage:
    return MalformedImage(f"a layer writes {quoted(f'/{path}')} in a way that container runtimes extract differently")

"""The accounts files of an image's root filesystem, as overlayfs merges its layers, from the top layer down.

The reading of layers is left to the caller: `read_accounts` yields what it `Need`s and receives `LayerIndex`. It
stops at the first layer that decides. Where the layers looked at would give another tree when they are extracted one
over the other (a snapshotter without overlayfs), the image is refused.

Sources: opencontainers/image-spec layer.md; containerd/containerd pkg/oci/spec_opts.go (openUserFile) and
pkg/oci/utils_unix.go (resolveInRootFS); Linux Documentation/filesystems/overlayfs.rst.
"""

from collections.abc import Callable, Generator
from itertools import dropwhile

import msgspec

from webhook.errors import MalformedImage
from webhook.image.passwd import AccountFiles
from webhook.registry.layers.index import Directory, File, Hardlink, LayerIndex, Node, Symlink, Unreadable
from webhook.registry.layers.paths import LINK_LIMIT, ancestors, followed

PASSWD, GROUP = "etc/passwd", "etc/group"
ACCOUNTS = frozenset({PASSWD, GROUP})


class Need(msgspec.Struct, frozen=True):
    """The facts of layer number `layer` (0 is the base) on at least these paths."""

    layer: int
    wanted: frozenset[str]


class _Redirect(msgspec.Struct, frozen=True):
    """The walk met a symbolic link: `place` is it, `rest` what follows behind it."""

    place: str
    target: str
    rest: str


Steps = Generator[Need, LayerIndex, Node | _Redirect | None]


def read_accounts(
    layers: int, rereads: int, group_matters: Callable[[bytes | None], bool] | None = None
) -> Generator[Need, LayerIndex, AccountFiles]:
    """The accounts files of an image of so many layers. `rereads` bounds how often links may ask for further paths.

    /etc/group is looked for in what was read for /etc/passwd alone, where `group_matters` says no of its content.
    """
    view = _View(layers, rereads)
    passwd = yield from view.read(PASSWD)
    view.ended = group_matters is not None and not group_matters(passwd)
    try:
        group = yield from view.read(GROUP)
    except _Ended:
        return AccountFiles(passwd, None, group_read=False)
    return AccountFiles(passwd, group)


def passwd_layer(layers: int, rereads: int) -> Generator[Need, LayerIndex, int | None]:
    """The number of the layer whose passwd file counts; None where there is none."""
    view = _View(layers, rereads)
    found = yield from view.read(PASSWD)
    return None if found is None else view.decided


class _Ended(Exception):
    """What is looked for lies where nothing more is read."""


class _View:
    def __init__(self, layers: int, rereads: int) -> None:
        self._layers = layers
        self._rereads = rereads
        self._wanted = ACCOUNTS
        self._read: set[int] = set()  # layers, for all that is wanted
        self.decided = 0  # the layer that the last look ended in
        self.ended = False  # whether nothing more is read

    def read(self, path: str) -> Generator[Need, LayerIndex, bytes | None]:
        """The content of a regular file, through links; None where there is nothing."""
        place: str | None = path
        for _ in range(LINK_LIMIT + 1):
            if place is None:
                break
            self._want(place)
            found = yield from self._walk(place)
            if isinstance(found, _Redirect):
                place = _behind(found)
            elif found is None or isinstance(found, File):
                return None if found is None else found.data
            else:
                raise MalformedImage(
                    f"/{path} {found.reason if isinstance(found, Unreadable) else 'is not a regular file'}"
                )
        raise MalformedImage(f"/{path} leads through more than {LINK_LIMIT} symbolic links")

    def _walk(self, path: str) -> Steps:
        """The node that overlayfs shows at `path`, or the first link on the way there."""
        directories: set[str] = set()
        for number in reversed(range(self._layers)):
            self.decided = number
            facts = yield self._need(number)
            facts = yield from self._linked(number, facts, path)
            hidden = False
            for place in (*ancestors(path), path):
                node = facts.nodes.get(place)
                if isinstance(node, Symlink):
                    if place in directories:
                        raise MalformedImage(
                            f"/{place} is a symbolic link in one layer and a directory in a higher one, "
                            "which container runtimes merge differently"
                        )
                    return _Redirect(place, node.target, path[len(place) + 1 :])
                if node is not None and (place == path or not isinstance(node, Directory)):
                    return node if place == path else None
                if node is not None:
                    directories.add(place)
                if place in facts.removed:
                    if node is None:
                        return None
                    hidden = True
            if any(place in facts.opaque for place in ancestors(path)):
                return None
            if "" in facts.opaque and number:
                raise MalformedImage(
                    "a layer hides all layers below it, which overlayfs does not do for the root directory"
                )
            if hidden:
                raise MalformedImage(
                    f"a layer removes a directory that leads to /{path} and makes it anew without hiding what lower "
                    "layers have in it, which container runtimes merge differently"
                )
        return None

    def _linked(self, number: int, facts: LayerIndex, path: str) -> Generator[Need, LayerIndex, LayerIndex]:
        """The layer's facts once the hard links on the way to `path` are read too."""
        for place in (*ancestors(path), path):
            while isinstance(node := facts.nodes.get(place), Hardlink):
                self._want(node.target)
                facts = yield self._need(number)
        return facts

    def _need(self, number: int) -> Need:
        if self.ended and number not in self._read:
            raise _Ended
        self._read.add(number)
        return Need(number, self._wanted)

    def _want(self, path: str) -> None:
        if path in self._wanted:
            return
        if self.ended:
            raise _Ended
        self._rereads -= 1
        if self._rereads < 0:
            raise MalformedImage("the accounts files lie behind more links than are worth following")
        self._wanted |= {path}
        self._read.clear()


def _behind(link: _Redirect) -> str | None:
    """The path to look at instead. Only leading `..` are taken: behind a name they depend on what that name is."""
    named = dropwhile({"", ".", ".."}.__contains__, link.target.split("/"))
    if ".." in named:
        raise MalformedImage(f"/{link.place} is a symbolic link that goes down and up again")
    path = followed(f"{link.place}/{link.rest}", {link.place: link.target}.get)
    if path == "":
        raise MalformedImage(f"/{link.place} is a symbolic link to the root directory")
    return path

"""Paths of a layer's entries: cleaned, followed through symbolic links, and marked as whiteouts.

A whiteout is an entry that removes what the layers below have. Links are followed as a kernel would that has the tree for
its root. Sources: opencontainers/image-spec layer.md (Whiteouts); moby/moby pkg/archive/whiteouts.go (the metadata of AUFS).
"""

import posixpath
from collections.abc import Callable, Iterator

from webhook.errors import MalformedImage

LINK_LIMIT = 40  # Linux's MAXSYMLINKS; containerd/containerd pkg/oci/utils_unix.go
_PREFIX = ".wh."
_OPAQUE = ".wh..wh..opq"
_AUFS = ".wh..wh."


def ancestors(path: str) -> Iterator[str]:
    """`a`, `a/b` for `a/b/c`: what leads to it, the shallowest first."""
    slash = path.find("/")
    while slash != -1:
        yield path[:slash]
        slash = path.find("/", slash + 1)


def clean(name: str) -> str:
    """A tar entry's name as a path from the root: `./etc//passwd` and `../etc/passwd` both are `etc/passwd`."""
    return posixpath.normpath(f"/{name}").lstrip("/")


def is_whiteout(base: str) -> bool:
    """Whether an entry with this last part of its path is no file, but a whiteout."""
    return base.startswith(_PREFIX)


def is_opaque(base: str) -> bool:
    """Whether a whiteout hides all that lower layers have in its directory."""
    return base == _OPAQUE


def is_aufs_metadata(path: str) -> bool:
    """Whether it is metadata of AUFS at the root, which every runtime skips."""
    return path.startswith(_AUFS) and path != _OPAQUE


def whiteout_target(path: str) -> str:
    """The path that a whiteout removes; `MalformedImage` where it names none."""
    parent, slash, base = path.rpartition("/")
    if base == _PREFIX:
        raise MalformedImage("a layer has a whiteout of nothing")
    return f"{parent}{slash}{base.removeprefix(_PREFIX)}"


def followed(path: str, target_of: Callable[[str], str | None]) -> str | None:
    """The path that a path leads to, without a slash before or behind it; None beyond LINK_LIMIT links.

    `target_of` says what a name stands for: a link's target, or None where it is no link.
    """
    place, links = "", 0
    pending = path.split("/")[::-1]
    while pending:
        part = pending.pop()
        if part == "..":
            place = place.rpartition("/")[0]
        elif part not in {"", "."}:
            here = f"{place}/{part}" if place else part
            target = target_of(here)
            if target is None:
                place = here
                continue
            links += 1
            if links > LINK_LIMIT:
                return None
            place = "" if target.startswith("/") else place
            pending.extend(target.split("/")[::-1])
    return place

"""Whiteouts: entries of a layer that remove what the layers below have.

Source: opencontainers/image-spec layer.md (Whiteouts); moby/moby pkg/archive/whiteouts.go (the metadata of AUFS)
"""

from webhook.errors import MalformedImage

_PREFIX = ".wh."
_OPAQUE = ".wh..wh..opq"
_AUFS = ".wh..wh."


def is_whiteout(base: str) -> bool:
    """Whether an entry with this last part of its path is no file, but a whiteout."""
    return base.startswith(_PREFIX)


def is_opaque(base: str) -> bool:
    """Whether a whiteout hides all that lower layers have in its directory."""
    return base == _OPAQUE


def is_metadata(path: str) -> bool:
    """Whether it is metadata of AUFS at the root, which every runtime skips."""
    return path.startswith(_AUFS) and path != _OPAQUE


def removed(path: str) -> str:
    """The path that a whiteout removes; `MalformedImage` where it names none."""
    parent, slash, base = path.rpartition("/")
    if base == _PREFIX:
        raise MalformedImage("a layer has a whiteout of nothing")
    return f"{parent}{slash}{base.removeprefix(_PREFIX)}"

"""Symbolic links within one tree, followed as a kernel would that has the tree for its root."""

from collections.abc import Callable

LINK_LIMIT = 40  # Linux's MAXSYMLINKS; containerd/containerd pkg/oci/utils_unix.go


def followed(path: str, target_of: Callable[[str], str | None]) -> str | None:
    """Where a path leads, without a slash before or behind it; None where that takes more than LINK_LIMIT links.

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

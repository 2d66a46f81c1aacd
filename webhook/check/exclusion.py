"""The exclusion of files below a folder: by --exclude, and by .gitignore and .nonrootignore files as git reads them.

Source: git-scm.com gitignore: a file's patterns hold for its folder and below, and the deepest file that matches decides.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_FILES = (".gitignore", ".nonrootignore")
_LIMIT = 1024 * 1024  # bytes of such a file
_PARENTS = 64  # folders above, up to the one that holds .git


class Exclusion:
    """The patterns that hold below `folder`, collected while it is walked from above."""

    def __init__(self, folder: str, patterns: tuple[str, ...]) -> None:
        self._always = _compile(patterns) if patterns else None
        self._specs: dict[str, GitIgnoreSpec] = {}
        for parent in reversed(_above(Path(folder).absolute())):
            self.enter(str(parent), [name for name in _FILES if (parent / name).is_file()])

    def enter(self, place: str, files: list[str]) -> None:
        """Read the files of a folder that say what is left out in it."""
        lines = [line for name in _FILES if name in files for line in _lines(Path(place, name))]
        if lines:
            self._specs[os.path.abspath(place)] = _compile(lines)  # noqa: PTH100  # not resolved

    def excludes(self, place: str, name: str, *, folder: bool = False) -> bool:
        """Whether a file or folder of a place that was entered is left out."""
        if self._always is None and not self._specs:
            return False
        path = os.path.join(place, name) + ("/" if folder else "")  # noqa: PTH118  # thousands of names
        if self._always is not None and self._always.match_file(os.path.relpath(path) + ("/" if folder else "")):
            return True
        current = absolute = os.path.abspath(place)  # noqa: PTH100  # the same
        while True:
            spec = self._specs.get(current)
            if spec is not None:
                below = f"{absolute}/{name}"[len(current.rstrip("/")) + 1 :] + ("/" if folder else "")
                decision = spec.check_file(below).include
                if decision is not None:
                    return decision
            parent = os.path.dirname(current)  # noqa: PTH120  # the same
            if parent == current:
                return False
            current = parent


def _above(folder: Path) -> list[Path]:
    """The folders above, nearest first, up to the repository's; none outside of a repository."""
    parents = list(folder.parents)[:_PARENTS]
    if (folder / ".git").exists():
        return []
    root = next((index for index, parent in enumerate(parents) if (parent / ".git").exists()), -1)
    return parents[: root + 1]


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _compile(patterns: "tuple[str, ...] | list[str]") -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(patterns)

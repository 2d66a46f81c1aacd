"""The paths that a user of the image can write to, as far as the Dockerfile makes it evident.

Only two answers count: *certainly not* (a folder that belongs to root in every image and that no step gave away) and
everything else. Base images are not looked into, so that a path that one could have prepared is never called closed.
Source: Filesystem Hierarchy Standard 3.0; moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go (WORKDIR is
created as the USER in effect, COPY and ADD as root unless --chown says otherwise).
"""

import posixpath
from collections.abc import Iterator

from webhook.dockerfile.shell.commands import Command
from webhook.dockerfile.stages.step import Step

_ROOTS_OWN = ("/bin", "/boot", "/etc", "/lib", "/lib64", "/root", "/sbin", "/usr")  # and everything below
_CLOSED = frozenset(  # root's too, but what lies below may be another's: nobody else can create anything directly in it
    {"/", "/media", "/mnt", "/opt", "/run", "/srv", "/var", "/var/cache", "/var/lib", "/var/log", "/var/run"}
)
_PATH_LIMIT = 4096  # PATH_MAX of Linux
_GIVING = frozenset({"chown", "chgrp", "chmod", "setfacl", "install", "useradd", "adduser", "usermod"})
_CHANGING = frozenset({"chmod", "rm", "rmdir", "mv", "touch", "tee", "truncate"})


class WritablePaths:
    """Goes along with the steps and remembers which paths root gave away."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def apply(self, step: Step) -> None:
        """Take what one step gives to other users."""
        if step.keyword == "WORKDIR" and not step.as_root and step.working_dir and step.arguments[0]:
            self._give(step.absolute(step.arguments[0]))
        elif step.keyword in ("COPY", "ADD"):
            if step.owner not in ("", "0", "root", "0:0", "root:root") or step.instruction.flag("chmod"):
                self._give(step.destination)
        elif step.keyword == "RUN":
            for command in step.commands:
                if step.as_root is False and not command.elevated:
                    continue
                if command.name in _GIVING or (command.name == "mkdir" and any(map(_is_mode, command.arguments))):
                    for path in _paths(command, step):
                        self._give(path)

    def closed(self, path: str) -> bool:
        """Whether nobody but root can create `path`, or change it."""
        path = path.rstrip("/") or "/"
        if len(path) > _PATH_LIMIT or self.given(path):
            return False
        if any(path == root or path.startswith(root + "/") for root in _ROOTS_OWN):
            return True
        return posixpath.dirname(path) in _CLOSED and path not in ("/tmp", "/home", "/dev", "/proc")  # noqa: S108

    def given(self, path: str) -> bool:
        """Whether root gave away `path` or a folder above it."""
        return len(path) <= _PATH_LIMIT and any(folder in self._given for folder in _upwards(path))

    def _give(self, path: str | None) -> None:
        if path is not None and path != "/":
            self._given.add(path.rstrip("/"))


def created(command: Command, step: Step) -> Iterator[str]:
    """The absolute paths that a command makes."""
    if command.name in ("mkdir", "touch", "tee"):
        yield from _paths(command, step)
    elif command.name in ("cp", "install", "ln", "mv"):
        yield from list(_paths(command, step))[-1:]
    yield from _written(command, step)


def changed(command: Command, step: Step) -> Iterator[str]:
    """The absolute paths of existing files that a command changes, which only their owner can."""
    if command.name in _CHANGING or (
        command.name == "sed" and any(word.startswith("-i") for word in command.arguments)
    ):
        yield from _paths(command, step)
    yield from _written(command, step)


def _written(command: Command, step: Step) -> Iterator[str]:
    for path in command.writes:
        if path.startswith("/") and not path.startswith("/dev/"):
            yield posixpath.normpath(path)
        elif not path.startswith("/") and "$" not in path and not command.moved:
            place = step.absolute(path)
            if place is not None:
                yield place


def _paths(command: Command, step: Step) -> Iterator[str]:
    """The operands that are paths; a relative one only where no `cd` came before it."""
    for word in command.operands:
        if word.isdigit() or any(character in word for character in "$*?`{["):
            continue
        if word.startswith("/"):
            yield posixpath.normpath(word)
        elif not command.moved and (place := step.absolute(word)) is not None:
            yield place.rstrip("/")


def _upwards(path: str) -> Iterator[str]:
    while path != "/":
        yield path
        path = posixpath.dirname(path)


def _is_mode(word: str) -> bool:
    return word.startswith(("-m", "--mode"))

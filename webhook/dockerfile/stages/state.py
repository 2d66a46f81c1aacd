"""The state of a stage between its steps, and the state that it begins with.

Source: moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go (dispatchStages) and image.go (emptyImage).
"""

import posixpath
from typing import Self

import msgspec

from webhook.dockerfile.parser.expansion import Missing
from webhook.dockerfile.stages.step import Step
from webhook.image.config import Platform
from webhook.image.passwd import AccountFiles

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Base(msgspec.Struct, frozen=True):
    """An external base image: the part of its config that a build on it inherits.

    `accounts` are its passwd and group, None where they were not read.
    """

    user: str = ""
    env: tuple[str, ...] = ()
    working_dir: str = ""
    onbuild: tuple[str, ...] = ()
    accounts: AccountFiles | None = None


class State:
    """Variables, user, working directory and shell of a stage; None in any of them is what only the base could tell."""

    def __init__(self, *, user: str | None, working_dir: str | None, is_open: bool) -> None:
        self.variables: dict[str, str | None] = {}
        self.exported: dict[str, str | None] = {}  # those of ENV, which the image's config keeps
        self.is_open = is_open  # whether the base may set further ones
        self.user = user
        self.user_step: Step | None = None
        self.working_dir = working_dir
        self.shell = True  # a POSIX one, as far as the file says

    def child(self) -> Self:
        """The first state of a stage built on this one: the config's ENV is set anew, over an ARG of the same name."""
        other = type(self)(user=self.user, working_dir=self.working_dir, is_open=self.is_open)
        other.exported = dict(self.exported)
        other.variables = dict.fromkeys(self.variables) if self.is_open else dict(self.variables)
        other.variables |= self.exported
        other.user_step = self.user_step
        other.shell = self.shell
        return other

    def get(self, name: str) -> str | Missing:
        """The value of a variable, as a look-up for the expansion."""
        value = self.variables.get(name, Missing.UNKNOWN if self.is_open else Missing.UNSET)
        return Missing.UNKNOWN if value is None else value

    def export(self, name: str | None, value: str | None) -> None:
        """ENV sets a variable; where even its name is unknown, any of them may have changed."""
        if name is None:
            self.variables, self.exported = dict.fromkeys(self.variables), dict.fromkeys(self.exported)
        else:
            self.variables[name] = self.exported[name] = value

    @classmethod
    def root(cls, base: Base | None, platform: Platform) -> Self:
        """The first state of a stage on an external image; None is an image that is not known."""
        if base is None:
            return cls(user=None, working_dir=None, is_open=True)
        state = cls(user=base.user, working_dir=join("/", base.working_dir), is_open=False)
        for variable in base.env:
            name, _, value = variable.partition("=")
            state.export(name, value)
        if platform.os != "windows" and "PATH" not in state.exported:
            state.export("PATH", _PATH)
        return state

    @classmethod
    def scratch(cls, platform: Platform) -> Self:
        """The first state of a stage FROM scratch."""
        return cls.root(Base(working_dir="/"), platform)


def join(current: str | None, path: str | None) -> str | None:
    """A working directory made absolute; None where that needs what is not known. An absolute one stays as written."""
    if path is None or path.startswith("/"):
        return path
    if current is None:
        return None
    return "/" + posixpath.normpath(posixpath.join(current, path)).lstrip("/") if path else current

"""The contents of an image's layers beside its accounts: owners of directories, privileged programs, start scripts."""

from collections.abc import Container
from typing import Literal

import msgspec

from webhook.image.capabilities import FileCapabilities

Role = Literal["workingDirectory", "volume"]


class Layer(msgspec.Struct, frozen=True):
    """A layer by its digest: number `number` of `of`, counted from 1, the base."""

    digest: str
    number: int
    of: int


class Directory(msgspec.Struct, frozen=True):
    """A path that the image config names, links followed; `present` is false where a runtime has to make it, as root.

    `mode` are the permission bits.
    """

    path: str
    role: Role
    present: bool
    uid: int = 0
    gid: int = 0
    mode: int = 0o755

    def writable(self, uid: int, groups: tuple[int, ...]) -> bool:
        """Whether a process of that uid and these groups, without capabilities, may make files in it."""
        return self._grants(2, uid, groups)

    def enterable(self, uid: int, groups: Container[int | None]) -> bool:
        """Whether such a process may change to it; the folders that lead there are not looked at."""
        return self._grants(1, uid, groups)

    def _grants(self, bit: int, uid: int, groups: Container[int | None]) -> bool:
        """The kernel takes the owner's bits, else the group's, else the others': the first that apply, not the best."""
        if uid == self.uid:
            return bool(self.mode & bit << 6)
        return bool(self.mode & (bit << 3 if self.gid in groups else bit))


class Special(msgspec.Struct, frozen=True):
    """A program that runs as its owner (setuid) or group (setgid), whoever starts it."""

    path: str
    uid: int
    gid: int
    mode: int


class Capable(msgspec.Struct, frozen=True):
    """A program that is given capabilities when it is executed."""

    path: str
    capabilities: FileCapabilities


class StepDown(msgspec.Struct, frozen=True):
    """A line of the start script `script` that goes on as `user` by `tool`, such as gosu."""

    script: str
    tool: str
    user: str


class Suggestion(msgspec.Struct, frozen=True):
    """Numbers for a root image. `fs_group` is None where no volume is declared; `evidence` are clauses for a person.

    `confidence` is high where the start script itself goes on as that account and nothing speaks against it.
    """

    uid: int
    gid: int
    fs_group: int | None
    confidence: Literal["high", "medium"]
    evidence: tuple[str, ...]

    @property
    def fields(self) -> str:
        """`runAsUser 999, runAsGroup 999, fsGroup 999`."""
        group = "" if self.fs_group is None else f", fsGroup {self.fs_group}"
        return f"runAsUser {self.uid}, runAsGroup {self.gid}{group}"

    def __str__(self) -> str:
        return f"{', '.join(self.evidence)}: {self.fields} ({self.confidence} confidence)"


class Survey(msgspec.Struct, frozen=True):
    """The findings of reading all layers of an image.

    `passwd` is None where no layer has the file; programs are in order of their paths.

    `steps_down` are the literal users that the image's own start script changes to; `suggestion` is only set where the
    rest of what it follows from is not here.
    """

    passwd: Layer | None
    directories: tuple[Directory, ...]
    special: tuple[Special, ...]
    capable: tuple[Capable, ...] = ()
    steps_down: tuple[StepDown, ...] = ()
    suggestion: Suggestion | None = None

"""One instruction as it runs: with its words expanded, and as whom and where it runs."""

import posixpath
from collections.abc import Mapping

import msgspec

from webhook.dockerfile.parser.instruction import Instruction
from webhook.dockerfile.shell.commands import Command
from webhook.image.config import parse_user


class Step(msgspec.Struct, frozen=True):
    """An instruction of a stage at work. In every expanded field None is a value that only the base image could tell.

    `user` and `working_dir` are in effect when the step begins. `owner` is --chown, "" without one; `documents` are
    the heredocs that COPY and ADD write, by name; `commands` what RUN, CMD, ENTRYPOINT and HEALTHCHECK start.
    `variables` are those that USER sees, kept for that instruction alone.
    """

    instruction: Instruction
    stage: int
    user: str | None
    working_dir: str | None
    arguments: tuple[str | None, ...] = ()
    pairs: tuple[tuple[str | None, str | None], ...] = ()
    owner: str | None = ""
    documents: tuple[tuple[str, str | None], ...] = ()
    commands: tuple[Command, ...] = ()
    variables: Mapping[str, str | None] = msgspec.field(default_factory=dict)

    @property
    def keyword(self) -> str:
        """The instruction's keyword in upper case."""
        return self.instruction.keyword

    @property
    def line(self) -> int:
        """The physical line on which the instruction begins."""
        return self.instruction.line

    @property
    def column(self) -> int:
        """The column of its keyword, from 1."""
        return self.instruction.column

    @property
    def as_root(self) -> bool | None:
        """Whether it runs as root, going by USER alone; None where that is not known."""
        if self.user is None:
            return None
        user = parse_user(self.user)
        return user.name in ("", "root") if user.uid is None else user.uid == 0

    @property
    def sources(self) -> tuple[str | None, ...]:
        """The sources of COPY or ADD."""
        return self.arguments[:-1]

    @property
    def destination(self) -> str | None:
        """The destination of COPY or ADD, made absolute, with a slash behind it where it must be a folder."""
        written = self.arguments[-1] if self.arguments else None
        return None if written is None else self.absolute(written)

    def absolute(self, path: str) -> str | None:
        """A path of this step seen from the root; None where the working directory is not known."""
        if not path.startswith("/"):
            if self.working_dir is None:
                return None
            path = posixpath.join(self.working_dir, path)
        folder = path.endswith(("/", "/."))
        clean = "/" + posixpath.normpath(path).lstrip("/")
        return clean + "/" if folder and clean != "/" else clean

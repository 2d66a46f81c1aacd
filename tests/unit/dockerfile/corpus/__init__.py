"""Dockerfiles as people write them, and what each one builds: `cases.toml` beside the files."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

HERE = Path(__file__).parent


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One Dockerfile, how it is built, and what must come of it."""

    file: str
    target: str | None = None
    build_args: dict[str, str] = {}
    user: str | None = None
    base: str | None = None
    uid: int | None = None
    findings: tuple[str, ...] = ()
    malformed: int = 0

    @property
    def text(self) -> str:
        """The Dockerfile to the byte."""
        return (HERE / f"{self.file}.Dockerfile").read_bytes().decode()

    @property
    def id(self) -> str:
        """The name of the case in a test's name."""
        options = [self.target or "", *(f"{name}={value}" for name, value in self.build_args.items())]
        return " ".join(filter(None, [self.file, *options]))


CASES = msgspec.convert(tomllib.loads((HERE / "cases.toml").read_text(encoding="utf-8"))["case"], tuple[Case, ...])

"""A cache on disk of images that were read before, and of what tags stood for then.

What a digest is never changes, so it is answered without the network. Of a tag that was read before no more is asked than
which digest it stands for now; the answer of before is for `--offline` alone, which answers from here and asks nobody. The
folder is $XDG_CACHE_HOME/nonroot, else ~/.cache/nonroot, and nobody else's: one that others may write to is not used. No
credential is kept.
Source: XDG Base Directory Specification.
"""

import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import Protocol

import msgspec

from webhook.errors import InvalidReference
from webhook.image import reference
from webhook.image.config import Config, Platform
from webhook.image.filesystem import Survey
from webhook.image.passwd import AccountFiles, ResolvedIds
from webhook.image.reference import Reference
from webhook.image.source import Image, Images, PlatformImage, Query, Unknown

ENTRIES = 2000  # files that are kept; the oldest go first
_ROUND = 100  # files that are written between two looks at how many there are
_SIZE_LIMIT = 4 * 1024 * 1024  # bytes of one answer
_VERSION = "images-4"  # of the format below


class Registries(Images, Protocol):
    """An image source that can also say what a reference stands for, and no more than that."""

    async def resolve(self, query: Query) -> str | None:
        """The digest, as its registry answers now; None where it does not."""
        ...


class _Platform(msgspec.Struct, frozen=True):
    """A `PlatformImage` that is known for sure."""

    config: Config
    digest: str
    accounts: AccountFiles | None
    size: int
    survey: Survey | None


class _CachedLookup(msgspec.Struct, frozen=True):
    platforms: tuple[_Platform, ...]
    index: tuple[Platform, ...] | None


class DiskCache(Images):
    """An image source in front of another one. Offline, the other one is never asked; pass None for it then."""

    def __init__(self, images: Registries | None, folder: Path | None = None) -> None:
        self._images = images
        self._folder = (folder or _cache()) / _VERSION
        self._written = 0

    async def find(self, query: Query) -> Image | Unknown:
        """As `webhook.image.source.Images`; offline, what was not read before is unreachable."""
        try:
            requested = reference.parse(query.reference)
        except InvalidReference as error:
            return Unknown("invalid", str(error))
        pointer = self._folder / _hashed(str(requested))
        pointed, age = (requested.digest, 0.0) if requested.digest else self._pointed(pointer)
        if self._images is None:
            found = self._recall(self._path(requested, pointed, query), pointed, age) if pointed else None
            return found or Unknown("unreachable", "it was not read before, and --offline asks no registry")
        digest = await self._images.resolve(query) if pointed and not requested.digest else pointed
        known = self._recall(self._path(requested, digest, query), digest) if digest else None
        fresh = known or await self._images.find(query)
        if isinstance(fresh, Image) and fresh.source == "registry" and not fresh.age:
            kept = known is not None or self._keep(self._path(requested, fresh.digest, query), fresh)
            if kept and not requested.digest:
                self._write(pointer, fresh.digest.encode())
        return fresh

    def _path(self, requested: Reference, digest: str, query: Query) -> Path:
        """Where the answer about a digest is: of its repository, for these platforms, and as much as was asked."""
        wanted = (query.os, sorted(query.architectures), query.accounts, query.survey)
        return self._folder / _hashed(f"{requested.name}@{digest} {wanted}")

    def _pointed(self, pointer: Path) -> tuple[str, float]:
        """The digest that a tag stood for, or nothing, and how many seconds ago that was said."""
        found = self._read(pointer)
        return (found[0].decode(errors="replace"), found[1]) if found else ("", 0.0)

    def _recall(self, path: Path, digest: str, age: float = 0.0) -> Image | None:
        found = self._read(path)
        try:
            answer = msgspec.json.decode(found[0] if found else b"", type=_CachedLookup)
        except msgspec.DecodeError:
            return None
        platforms = (
            PlatformImage(each.config, each.digest, each.accounts, each.size, each.survey) for each in answer.platforms
        )
        return Image(digest, tuple(platforms), age=age, index=answer.index)

    def _read(self, path: Path) -> tuple[bytes, float] | None:
        """A file's content and its age in seconds; None where there is none that is ours alone."""
        try:
            if not _private(self._folder):
                return None
            with path.open("rb") as file:
                return file.read(_SIZE_LIMIT), max(time.time() - os.fstat(file.fileno()).st_mtime, 0.0)
        except OSError:
            return None

    def _keep(self, path: Path, image: Image) -> bool:
        """Write the answer, if all of it is known for sure; whether that was done."""
        platforms = []
        for each in image.platforms:
            if isinstance(each.accounts, Unknown | ResolvedIds) or isinstance(each.survey, Unknown):
                return False
            platforms.append(_Platform(each.config, each.digest, each.accounts, each.size, each.survey))
        return self._write(path, msgspec.json.encode(_CachedLookup(tuple(platforms), image.index)))

    def _write(self, path: Path, raw: bytes) -> bool:
        """The whole file or nothing. A cache that cannot be written is no reason to fail."""
        if len(raw) >= _SIZE_LIMIT:
            return False
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _private(self._folder):
                return False
            handle, name = tempfile.mkstemp(dir=self._folder)
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
            Path(name).replace(path)
            if self._written % _ROUND == 0:
                self._forget()
            self._written += 1
        except OSError:
            return False
        return True

    def _forget(self) -> None:
        """Remove the oldest files beyond the bound."""
        with os.scandir(self._folder) as found:
            entries = sorted(found, key=lambda each: each.stat().st_mtime)
        for entry in entries[: max(len(entries) - ENTRIES, 0)]:
            Path(entry).unlink(missing_ok=True)


def _cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given.startswith("/") else Path("~/.cache").expanduser()) / "nonroot"


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _private(folder: Path) -> bool:
    """Whether the folder is ours, and nobody else may write to it."""
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)

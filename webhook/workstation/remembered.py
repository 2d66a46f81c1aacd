"""Images that were read before, on disk: digests need no second look, and `--offline` answers from here alone.

What a digest is never changes, so it is answered without the network. A tag is asked again on every run, and its last
answer is for `--offline` only. The folder is $XDG_CACHE_HOME/nonroot, else ~/.cache/nonroot, and nobody else's: one that
others may write to is not used. No credential is kept.
Source: XDG Base Directory Specification.
"""

import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path

import msgspec

from webhook import reference
from webhook.accounts import Accounts, Numbers
from webhook.errors import InvalidReference
from webhook.image import Config, Image, Images, PlatformImage, Query, Unknown

ENTRIES = 2000  # answers that are kept; the oldest go first
_SIZE_LIMIT = 4 * 1024 * 1024  # bytes of one answer
_VERSION = "images-2"  # of the format below


class _Platform(msgspec.Struct, frozen=True):
    """A `PlatformImage`; `read` says whether the accounts were read at all."""

    config: Config
    digest: str
    read: bool
    passwd: bytes | None
    group: bytes | None
    size: int


class _Answer(msgspec.Struct, frozen=True):
    digest: str
    platforms: tuple[_Platform, ...]


class Remembered:
    """An image source in front of another one. Offline, the other one is never asked; pass None for it then."""

    def __init__(self, images: Images | None, folder: Path | None = None) -> None:
        self._images = images
        self._folder = (folder or _cache()) / _VERSION

    async def find(self, query: Query) -> Image | Unknown:
        """As `webhook.image.Images`; offline, what was not read before is unreachable."""
        path = self._folder / _name(query)
        if self._images is None:
            return self._recall(path) or Unknown("unreachable", "it was not read before, and --offline asks nobody")
        if _immutable(query.reference) and (known := self._recall(path)) is not None:
            return known
        found = await self._images.find(query)
        if isinstance(found, Image) and found.source == "registry" and not found.age:
            self._keep(path, found)
        return found

    def _recall(self, path: Path) -> Image | None:
        try:
            if not _private(self._folder):
                return None
            with path.open("rb") as file:
                answer = msgspec.json.decode(file.read(_SIZE_LIMIT), type=_Answer)
                age = 0.0 if self._images else max(time.time() - os.fstat(file.fileno()).st_mtime, 0.0)
        except (OSError, msgspec.DecodeError):
            return None
        platforms = (
            PlatformImage(each.config, each.digest, Accounts(each.passwd, each.group) if each.read else None, each.size)
            for each in answer.platforms
        )
        return Image(answer.digest, tuple(platforms), age=age)

    def _keep(self, path: Path, image: Image) -> None:
        """Write the answer whole or not at all. A cache that cannot be written is no reason to fail."""
        platforms = []
        for each in image.platforms:
            if isinstance(each.accounts, Unknown | Numbers):
                return
            files = each.accounts or Accounts()
            known = each.accounts is not None
            platforms.append(_Platform(each.config, each.digest, known, files.passwd, files.group, each.size))
        raw = msgspec.json.encode(_Answer(image.digest, tuple(platforms)))
        if len(raw) >= _SIZE_LIMIT:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _private(self._folder):
                return
            handle, name = tempfile.mkstemp(dir=self._folder)
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
            Path(name).replace(path)
            self._forget()
        except OSError:
            return

    def _forget(self) -> None:
        """Remove the oldest answers beyond the bound."""
        with os.scandir(self._folder) as found:
            entries = sorted(found, key=lambda each: each.stat().st_mtime)
        for entry in entries[: max(len(entries) - ENTRIES, 0)]:
            Path(entry).unlink(missing_ok=True)


def _cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given.startswith("/") else Path("~/.cache").expanduser()) / "nonroot"


def _name(query: Query) -> str:
    asked = (query.reference, query.os, sorted(query.architectures), query.accounts)
    return hashlib.sha256(repr(asked).encode()).hexdigest()


def _immutable(text: str) -> bool:
    try:
        return reference.parse(text).digest is not None
    except InvalidReference:
        return False


def _private(folder: Path) -> bool:
    """Whether the folder is ours, and nobody else may write to it."""
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)

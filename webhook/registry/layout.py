"""Images in files: an OCI layout in a folder or a tar archive, and what `docker save` writes.

They are read by the same code as a registry's, through the few things that `ContentStore` asks of a repository; every digest
is verified, as there. Nothing is unpacked, and no name out of an archive ever becomes a path.
Sources: opencontainers/image-spec image-layout.md; containers/image docs/containers-transports.5.md (how they are named);
moby/moby image/tarexport/save.go (manifest.json).
"""

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from webhook.errors import InvalidReference, InvalidSetting, MalformedImage
from webhook.image import reference as references
from webhook.image.golang import decode_json
from webhook.image.source import Image, Query, Unknown
from webhook.registry.content_store import ContentStore
from webhook.registry.manifest import Descriptor, check_digest, is_digest
from webhook.registry.settings import WORKSTATION, RegistrySettings
from webhook.registry.transport.messages import Cost, RegistryError, Sink

TRANSPORTS = ("oci:", "oci-archive:", "docker-archive:")
_REF_NAMES = ("org.opencontainers.image.ref.name", "io.containerd.image.name")
_PIECE = 256 * 1024


async def read(query: Query) -> tuple[Image | Unknown, Cost]:
    """The image of a reference that begins with one of `TRANSPORTS`, and what reading it cost; raises as `Layout`."""
    layout = Layout(query.reference)
    try:
        return await layout.find(query), layout.cost
    finally:
        await layout.aclose()


class _Absent(MalformedImage):
    """The layout has no such file."""


class _Files(Protocol):
    """The files of a layout, in a folder or an archive."""

    def open(self, name: str) -> IO[bytes]:
        """A file by its name in the layout; `MalformedImage` where there is none."""
        ...

    def close(self) -> None:
        """Nothing is opened any more."""
        ...


class _Folder:
    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise InvalidSetting(f"there is no folder {str(path)!a} with an OCI layout")
        self._path = path

    def open(self, name: str) -> IO[bytes]:
        try:
            return (self._path / name).open("rb")
        except FileNotFoundError:
            raise _Absent(f"the layout has no {name}") from None
        except OSError as error:
            raise MalformedImage(f"the layout has no readable {name}: {error.strerror}") from None

    def close(self) -> None:
        """Every file has been closed where it was read."""


class _Tar:
    def __init__(self, path: Path) -> None:
        try:
            self._tar = tarfile.open(path)  # noqa: SIM115  # until it is closed
        except (OSError, tarfile.TarError) as error:
            raise InvalidSetting(f"{str(path)!a} is no tar archive that can be read: {error}") from None

    def open(self, name: str) -> IO[bytes]:
        try:
            for spelling in (name, f"./{name}"):
                if spelling in self._tar.getnames():
                    found = self._tar.extractfile(spelling)
                    if found is not None:
                        return found
        except (OSError, tarfile.TarError, KeyError, EOFError, RecursionError) as error:
            raise MalformedImage(f"the archive cannot be read at {name[:200]!a}: {error}") from None
        raise _Absent(f"the archive has no file {name[:200]!a}")

    def close(self) -> None:
        self._tar.close()


class _Blob(msgspec.Struct, frozen=True):
    """Content by its digest: a file's, or what we made ourselves."""

    name: str = ""
    data: bytes | None = None


class _Saved(msgspec.Struct, frozen=True):
    """An entry of manifest.json."""

    config: str = msgspec.field(name="Config")
    layers: tuple[str, ...] = msgspec.field(name="Layers")
    tags: tuple[str, ...] | None = msgspec.field(name="RepoTags", default=None)


class Layout:
    """The images of one layout, asked as `ContentStore` asks a repository. `aclose` it in the event loop that used it."""

    def __init__(self, reference: str) -> None:
        """`reference` is oci:FOLDER[:NAME], oci-archive:FILE[:NAME] or docker-archive:FILE[:NAME].

        `InvalidSetting` where there is no such folder or archive.
        """
        self._transport, _, rest = reference.partition(":")
        path, self._tag = _split(rest)
        self.name = reference
        self.cost = Cost()
        self._limits = WORKSTATION
        self._files: _Files = _Folder(path) if self._transport == "oci" else _Tar(path)
        self._blobs: dict[str, _Blob] = {}
        self._contents = ContentStore(RegistrySettings(limits=WORKSTATION))

    async def find(self, query: Query) -> Image | Unknown:
        """As `webhook.image.source.Images`; which image it is was said at construction."""
        try:
            digest, image_id = self._docker_archive() if self._transport == "docker-archive" else self._index_entry()
            found, _ = await self._contents.images(self, digest, query)  # type: ignore[arg-type]  # it has what is asked for
        except MalformedImage as error:
            return Unknown("invalid", str(error))
        except RegistryError as error:
            return Unknown(error.cause, str(error))
        return Image(image_id, found)

    async def aclose(self) -> None:
        """Stop what is being read, and close the file."""
        await self._contents.aclose()
        self._files.close()

    async def manifest(self, name: str) -> tuple[bytes, str, str]:
        """A manifest or index by digest, verified; its media type is the one that it says itself."""
        try:
            raw = self._small(name, "manifest")
        except _Absent as error:  # a platform that was not copied with its index
            raise RegistryError("notFound", str(error)) from None
        check_digest(raw, name, "manifest")
        return raw, "", name

    async def blob(self, content: Descriptor, what: str) -> bytes:
        """A small blob, verified."""
        raw = self._small(content.digest, what)
        content.check(len(raw), hashlib.new(content.algorithm, raw).hexdigest(), what)
        return raw

    async def stream(self, content: Descriptor, sink: Callable[[], Sink]) -> None:
        """A layer, into a sink that verifies it."""
        taking = sink()
        with self._open(content.digest) as file:
            while piece := file.read(_PIECE):
                self.cost.bytes_read += len(piece)
                await taking.feed(piece)

    def _open(self, digest: str) -> IO[bytes]:
        known = self._blobs.get(digest)
        return self._files.open(known.name if known else f"blobs/{digest.replace(':', '/')}")

    def _small(self, digest: str, what: str) -> bytes:
        known = self._blobs.get(digest)
        if known is not None and known.data is not None:
            return known.data
        with self._open(digest) as file:
            return self._read(file, what)

    def _read(self, file: IO[bytes], what: str) -> bytes:
        raw = file.read(self._limits.document_bytes + 1)
        if len(raw) > self._limits.document_bytes:
            raise RegistryError("tooLarge", f"the {what} is larger than {self._limits.document_bytes >> 20} MiB")
        self.cost.bytes_read += len(raw)
        return raw

    def _document(self, name: str) -> Any:
        with self._files.open(name) as file:
            return decode_json(self._read(file, name), name)

    def _index_entry(self) -> tuple[str, str]:
        """The digest of the one image that index.json has, or has by that name; it is the image's name too."""
        index = self._document("index.json")
        entries = index.get("manifests") if isinstance(index, dict) else None
        found: dict[str, list[str]] = {}
        for each in entries if isinstance(entries, list) else ():
            if isinstance(each, dict) and isinstance(each.get("digest"), str) and is_digest(each["digest"]):
                annotations = each.get("annotations")
                names = (
                    [annotations[key] for key in _REF_NAMES if isinstance(annotations.get(key), str)]
                    if isinstance(annotations, dict)
                    else []
                )
                found.setdefault(each["digest"], []).extend(names)
        digest = self._chosen(found)
        return digest, digest

    def _docker_archive(self) -> tuple[str, str]:
        """A manifest made of what manifest.json says; its digest, and the image's id."""
        try:
            entries = msgspec.convert(self._document("manifest.json"), tuple[_Saved, ...])
        except msgspec.ValidationError as error:
            raise MalformedImage(f"manifest.json is none of docker save: {error}") from None
        names = {str(number): list(each.tags or ()) for number, each in enumerate(entries)}
        entry = entries[int(self._chosen(names))]
        layers = [self._described(name, "application/vnd.docker.image.rootfs.diff.tar") for name in entry.layers]
        config = self._described(entry.config, "application/vnd.docker.container.image.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
        raw = json.dumps({**manifest, "config": config, "layers": layers}).encode()
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        self._blobs[digest] = _Blob(data=raw)
        return digest, config["digest"]

    def _described(self, name: str, media_type: str) -> dict[str, Any]:
        with self._files.open(name) as file:
            hashed, size = hashlib.sha256(), 0
            while piece := file.read(_PIECE):
                hashed.update(piece)
                size += len(piece)
                if size > self._limits.layer_bytes:
                    raise RegistryError(
                        "tooLarge", f"{name[:200]!a} is larger than {self._limits.layer_bytes >> 20} MiB"
                    )
        digest = f"sha256:{hashed.hexdigest()}"
        self._blobs[digest] = _Blob(name)
        return {"mediaType": media_type, "digest": digest, "size": size}

    def _chosen(self, names: dict[str, list[str]]) -> str:
        """The key of the one entry, or of the one that is called so."""
        chosen = [
            key for key, called in names.items() if not self._tag or any(_same(self._tag, name) for name in called)
        ]
        if len(chosen) == 1:
            return chosen[0]
        offered = ", ".join(sorted(name[:100] for called in names.values() for name in called)[:20])
        if chosen:
            raise MalformedImage(
                f"{self.name} holds {len(chosen)} images; add :NAME, of {offered or 'which there is none'}"
            )
        raise MalformedImage(f"{self.name} holds no such image; it has {offered or f'{len(names)} without a name'}")


def _same(wanted: str, name: str) -> bool:
    """Whether they are one name: `app:1` is what docker save calls the image, `docker.io/library/app:1` what others do."""
    try:
        return wanted == name or references.parse(wanted) == references.parse(name)
    except InvalidReference:
        return False


def _split(rest: str) -> tuple[Path, str]:
    """The path, and the name behind a colon; a path that is there as a whole has no name behind it."""
    path, colon, tag = rest.partition(":")
    return (Path(path), tag) if colon and not Path(rest).exists() else (Path(rest), "")

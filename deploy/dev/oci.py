r"""OCI images from a few words: layers out of tar entries, configs, manifests, indexes.

    app = image(layer(file("etc/passwd", "app:x:1000:1000::/:/bin/sh\n")), user="app")
    both = index(app, image(user="1000", architecture="arm64"))

Everything is deterministic, so that a digest is the same in every run. Nothing is checked: a test that wants a broken
layer, config or manifest says so and gets one.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import zstandard

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

Compression = Literal["gzip", "zstd", "none"]
_LAYER_TYPES: dict[str, str] = {
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "none": "application/vnd.oci.image.layer.v1.tar",
}


class Entry(msgspec.Struct, frozen=True):
    """One tar entry: its name verbatim, its tar type flag, its content or where it links to, PAX records, its owner.

    `mode` 0 is what is usual: 0755 for a directory, else 0644.
    """

    name: str
    type: bytes = tarfile.REGTYPE
    data: bytes = b""
    target: str = ""
    pax: Mapping[str, str] = msgspec.field(default_factory=dict)
    mode: int = 0
    uid: int = 0
    gid: int = 0


def file(name: str, data: str | bytes = b"") -> Entry:
    """A regular file."""
    return Entry(name, data=data.encode() if isinstance(data, str) else data)


def directory(name: str) -> Entry:
    """A directory."""
    return Entry(name, tarfile.DIRTYPE)


def owned(entry: Entry, uid: int, gid: int, mode: int = 0) -> Entry:
    """The same entry with another owner and, unless 0, mode."""
    return msgspec.structs.replace(entry, uid=uid, gid=gid, mode=mode)


def symlink(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, tarfile.SYMTYPE, target=target)


def hardlink(name: str, target: str) -> Entry:
    """A hard link; the target is a path from the archive's root."""
    return Entry(name, tarfile.LNKTYPE, target=target)


def whiteout(name: str) -> Entry:
    """The removal of what lower layers have at `name`."""
    parent, slash, base = name.rpartition("/")
    return Entry(f"{parent}{slash}.wh.{base}")


def opaque(name: str) -> Entry:
    """The removal of everything that lower layers have below the directory `name`."""
    return Entry(f"{name}/.wh..wh..opq" if name else ".wh..wh..opq")


class Blob(msgspec.Struct, frozen=True):
    """Bytes with the media type that a descriptor gives them."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """The sha256 digest."""
        return sha256(self.data)

    def descriptor(self, **more: Any) -> dict[str, Any]:
        """The descriptor that points here."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **more}


class Layer(msgspec.Struct, frozen=True):
    """A layer: its blob, and the digest of its uncompressed tar."""

    blob: Blob
    diff_id: str


class Content(msgspec.Struct, frozen=True):
    """An image or index: its manifest, every blob and child manifest below it, and the platform it is for."""

    manifest: Blob
    blobs: tuple[Blob, ...] = ()
    children: tuple[Blob, ...] = ()
    platform: Mapping[str, str] | None = None

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return self.manifest.digest


def sha256(data: bytes) -> str:
    """`sha256:` and the hexadecimal digest of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar(*entries: Entry, dialect: int = tarfile.PAX_FORMAT) -> bytes:
    """An uncompressed tar archive of the entries, in that order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=dialect) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type, info.linkname, info.size = entry.type, entry.target, len(entry.data)
            info.mode = entry.mode or (0o755 if entry.type == tarfile.DIRTYPE else 0o644)
            info.uid, info.gid = entry.uid, entry.gid
            info.pax_headers = dict(entry.pax)
            archive.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()


def compress(data: bytes, compression: Compression) -> bytes:
    """`data` in that compression, the same bytes every time."""
    if compression == "gzip":
        return gzip.compress(data, mtime=0)
    return zstandard.ZstdCompressor().compress(data) if compression == "zstd" else data


def layer(*entries: Entry, compression: Compression = "gzip", media_type: str = "") -> Layer:
    """A layer of the entries; `media_type` may claim what is not so."""
    return raw_layer(tar(*entries), compression=compression, media_type=media_type)


def raw_layer(archive: bytes, compression: Compression = "gzip", media_type: str = "") -> Layer:
    """A layer out of the bytes of a tar archive, well-formed or not."""
    blob = Blob(compress(archive, compression), media_type or _LAYER_TYPES[compression])
    return Layer(blob, sha256(archive))


def accounts_layer(*lines: str, groups: Sequence[str] = ()) -> Layer:
    """A layer that holds /etc/passwd with these lines, and /etc/group where there are groups."""
    entries = [directory("etc"), file("etc/passwd", "".join(f"{line}\n" for line in lines))]
    if groups:
        entries.append(file("etc/group", "".join(f"{line}\n" for line in groups)))
    return layer(*entries)


def image(
    *layers: Layer,
    user: str | None = None,
    os: str = "linux",
    architecture: str = "amd64",
    variant: str = "",
    settings: Mapping[str, Any] | None = None,
    config: bytes | None = None,
    docker: bool = False,
) -> Content:
    """A single-platform image; `settings` go beside USER into `config`, `config` replaces the document altogether."""
    document: dict[str, Any] = {
        "os": os,
        "architecture": architecture,
        "config": {**({} if user is None else {"User": user}), **(settings or {})},
        "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
    }
    platform = {"os": os, "architecture": architecture}
    if variant:
        document["variant"] = platform["variant"] = variant
    raw = _json(document) if config is None else config
    described = Blob(raw, DOCKER_CONFIG if docker else OCI_CONFIG)
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": described.descriptor(),
        "layers": [each.blob.descriptor() for each in layers],
    }
    return Content(Blob(_json(manifest), media_type), (described, *(each.blob for each in layers)), (), platform)


def index(*images: Content, docker: bool = False, attestations: bool = False) -> Content:
    """An index of the images, each with its platform; `attestations` adds BuildKit's entry of no platform."""
    entries = [_entry(each) for each in images]
    children = tuple(blob for each in images for blob in (each.manifest, *each.children))
    blobs = tuple(blob for each in images for blob in each.blobs)
    if attestations:
        statement = image(config=b"{}")
        entries.append(statement.manifest.descriptor(platform={"os": "unknown", "architecture": "unknown"}))
        children, blobs = (*children, statement.manifest), (*blobs, *statement.blobs)
    media_type = DOCKER_LIST if docker else OCI_INDEX
    return Content(
        Blob(_json({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}), media_type), blobs, children
    )


def without_platform(content: Content) -> Content:
    """The same image, listed in an index without its platform."""
    return Content(content.manifest, content.blobs, content.children, None)


def document(value: Any, media_type: str = OCI_MANIFEST) -> Content:
    """Any JSON value as a manifest, for what no builder would write."""
    return Content(Blob(value if isinstance(value, bytes) else _json(value), media_type))


def _entry(content: Content) -> dict[str, Any]:
    if content.platform is None:
        return content.manifest.descriptor()
    return content.manifest.descriptor(platform=dict(content.platform))


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()

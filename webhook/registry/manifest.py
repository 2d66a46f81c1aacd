"""Manifests and indexes: bytes in, descriptors out; `MalformedImage` for whatever a runtime would not run.

Sources: opencontainers/image-spec manifest.md, image-index.md, descriptor.md and media-types.md;
containerd/containerd core/images/image.go (validateMediaType) and mediatypes.go; distribution/distribution
docs/content/spec/manifest-v2-2.md.
"""

import hashlib
import re
from typing import Any

import msgspec

from webhook.errors import MalformedImage
from webhook.image.config import Platform, normalise_platform
from webhook.image.golang import decode_json, read_object

_OCI, _DOCKER = "application/vnd.oci.image.", "application/vnd.docker."
_MANIFESTS = frozenset({f"{_OCI}manifest.v1+json", f"{_DOCKER}distribution.manifest.v2+json"})
_INDEXES = frozenset({f"{_OCI}index.v1+json", f"{_DOCKER}distribution.manifest.list.v2+json"})
_CONFIGS = frozenset({f"{_OCI}config.v1+json", f"{_DOCKER}container.image.v1+json"})
_SCHEMA1 = re.compile(r"application/vnd\.docker\.distribution\.manifest\.v1\+(?:prettyjws|json)\Z")
_LAYERS = re.compile(
    r"application/vnd\.(?:oci\.image\.layer\.v1\.tar(?:\+(?:gzip|zstd))?"
    r"|docker\.image\.rootfs\.diff\.tar(?:\.(?:gzip|zstd))?)\Z"
)
_FOREIGN = re.compile(r"application/vnd\.(?:oci\.image\.layer\.nondistributable\.|docker\.image\.rootfs\.foreign\.)")
_GENERIC = frozenset({"", "application/json", "application/octet-stream", "text/plain"})
ACCEPT = ", ".join((*sorted(_MANIFESTS), *sorted(_INDEXES)))
_DIGEST = re.compile(r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z", re.ASCII)
_SIZE_LIMIT = 2**53

_DOCUMENT = frozenset({"schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers"})
_DESCRIPTOR = frozenset({"mediaType", "digest", "size", "platform"})
_PLATFORM = frozenset({"os", "architecture", "variant", "os.version"})


class Descriptor(msgspec.Struct, frozen=True, gc=False):
    """Where content is: its media type, digest and size in bytes.

    In an index also the platform it is for, if it says one: `platform.os` is empty where the index leaves it to the
    reader, and `os_version` tells Windows images apart.
    """

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    os_version: str = ""

    @property
    def algorithm(self) -> str:
        """The digest's hash function, as hashlib names it."""
        return self.digest.partition(":")[0]

    @property
    def is_index(self) -> bool:
        """Whether an index is promised; any other type that is no manifest is nothing to run."""
        return self.media_type in _INDEXES

    @property
    def is_manifest(self) -> bool:
        """Whether an image manifest is promised."""
        return self.media_type in _MANIFESTS

    def check(self, size: int, hexadecimal: str, what: str) -> None:
        """`MalformedImage` unless the content has that size and hash."""
        if size != self.size:
            raise MalformedImage(f"the {what} {self.digest} has {size} bytes where {self.size} were promised")
        if f"{self.algorithm}:{hexadecimal}" != self.digest:
            raise MalformedImage(f"the {what} sent for {self.digest} has another digest")


class Manifest(msgspec.Struct, frozen=True, gc=False):
    """One platform's image: its config, and its layers, the base first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


class Index(msgspec.Struct, frozen=True, gc=False):
    """Several platforms' images, or further indexes, in the order in which they are tried."""

    manifests: tuple[Descriptor, ...]


def is_digest(text: str) -> bool:
    """Whether it is a digest of a kind that we can verify."""
    return _DIGEST.match(text) is not None


def check_digest(raw: bytes, digest: str, what: str) -> None:
    """`MalformedImage` unless `raw` hashes to `digest`."""
    algorithm, _, claimed = digest.partition(":")
    if hashlib.new(algorithm, raw).hexdigest() != claimed:
        raise MalformedImage(f"the {what} sent for {digest} has another digest")


def parse_document(raw: bytes, content_type: str) -> Manifest | Index:
    """A manifest or index, as its Content-Type says; one that could be taken for the other is refused."""
    document = read_object(decode_json(raw, "manifest"), "the manifest", _DOCUMENT)
    said = content_type.partition(";")[0].strip().lower()
    inside = document.get("mediaType") or ""
    if _SCHEMA1.match(said) or "fsLayers" in document or document.get("schemaVersion") == 1:
        raise MalformedImage(
            "it is a Docker schema 1 image, which containerd 2.1 and later refuse; push it anew with a current tool"
        )
    if said in _GENERIC:
        said = inside or _shape(document)
    if inside not in {"", said}:
        raise MalformedImage(f"the manifest says that it is {_show(inside)}, the registry that it is {_show(said)}")
    if document.get("schemaVersion") not in {2, None}:
        raise MalformedImage("the manifest has a schemaVersion other than 2")
    if said in _INDEXES:
        _forbid(document, "index", "config", "layers")
        return Index(_descriptors(document, "manifests"))
    if said not in _MANIFESTS:
        raise MalformedImage(f"it is no container image but {_show(said)}")
    _forbid(document, "manifest", "manifests")
    return Manifest(_descriptor(document.get("config"), "config"), _descriptors(document, "layers"))


def check_config(config: Descriptor) -> None:
    """`MalformedImage` for the config of an artifact, which is no image config however it may look."""
    if config.media_type not in _CONFIGS:
        raise MalformedImage(
            f"it is no container image but an artifact with a config of the type {_show(config.media_type)}"
        )


def check_layer(layer: Descriptor) -> None:
    """`MalformedImage` for a layer that is no tar archive to be had from the registry."""
    if _LAYERS.match(layer.media_type):
        return
    if _FOREIGN.match(layer.media_type):
        reason = "is a foreign one, kept outside the registry, and its accounts cannot be read"
    elif layer.media_type.endswith("+encrypted"):
        reason = "is encrypted, and its accounts cannot be read without the key"
    else:
        reason = f"is of the type {_show(layer.media_type)}, which holds no files that we can read"
    raise MalformedImage(f"layer {layer.digest} {reason}; write runAsUser with a number instead")


def _descriptors(document: dict[str, Any], key: str) -> tuple[Descriptor, ...]:
    value = document.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise MalformedImage(f"{key} is not a list")
    return tuple(_descriptor(each, key) for each in value)


def _descriptor(value: Any, what: str) -> Descriptor:
    fields = read_object(value, f"a descriptor in {what}", _DESCRIPTOR)
    media_type, digest, size = fields.get("mediaType"), fields.get("digest"), fields.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str) or not is_digest(digest):
        raise MalformedImage(f"a descriptor in {what} has no media type, or no sha256, sha384 or sha512 digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < _SIZE_LIMIT:
        raise MalformedImage(f"the descriptor of {digest} has no size")
    if fields.get("platform") is None:
        return Descriptor(media_type, digest, size)
    platform = read_object(fields["platform"], "platform", _PLATFORM)
    os, architecture, variant, version = (
        _word(platform.get(key), key) for key in ("os", "architecture", "variant", "os.version")
    )
    return Descriptor(media_type, digest, size, normalise_platform(os, architecture, variant), version)


def _word(value: Any, key: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedImage(f"a platform's {key} is not a string")
    return value


def _shape(document: dict[str, Any]) -> str:
    """What an old registry leaves unsaid: an OCI index or manifest by what it holds."""
    return f"{_OCI}index.v1+json" if "manifests" in document else f"{_OCI}manifest.v1+json"


def _forbid(document: dict[str, Any], what: str, *keys: str) -> None:
    for key in keys:
        if document.get(key) is not None:
            raise MalformedImage(f"it is an {what} that also has {key}, so that it can be taken for something else")


def _show(text: Any) -> str:
    return ascii(str(text)[:100])

"""Manifests and indexes: their descriptors, and the entries of an index that a node would run.

`MalformedImage` for whatever a runtime would not run. A node's CPU variant is not known from a Pod, so every entry that some
variant of the architecture would choose, in containerd's order of preference, is a candidate.

Sources: opencontainers/image-spec manifest.md, image-index.md, descriptor.md and media-types.md;
containerd/containerd core/images/image.go (validateMediaType, Manifest) and mediatypes.go; containerd/platforms compare.go
(platformVector) and database.go; distribution/distribution docs/content/spec/manifest-v2-2.md.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from webhook.errors import MalformedImage
from webhook.image.config import Platform, normalise_platform
from webhook.image.golang import decode_json, read_struct
from webhook.image.reference import DIGEST
from webhook.text import quoted

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


class _Platform(msgspec.Struct, frozen=True):
    """A platform as it is written."""

    os: str | None = None
    architecture: str | None = None
    variant: str | None = None
    os_version: str | None = msgspec.field(name="os.version", default=None)


class _Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """A descriptor as it is written."""

    media_type: str
    digest: Annotated[str, Meta(pattern=DIGEST.pattern)]
    size: Annotated[int, Meta(ge=0, lt=2**53)]
    platform: _Platform | None = None


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    """The fields by which a document says which kind it is; no other field of it may be of the other kind."""

    schema_version: int | None = None
    media_type: str | None = None
    config: Any = None
    layers: Any = None
    manifests: Any = None
    fs_layers: Any = msgspec.UNSET


class _Manifest(msgspec.Struct, frozen=True):
    config: _Descriptor
    layers: tuple[_Descriptor, ...] | None = None


class _Index(msgspec.Struct, frozen=True):
    manifests: tuple[_Descriptor, ...] | None = None


class Descriptor(msgspec.Struct, frozen=True, gc=False):
    """A descriptor of content: its media type, digest and size in bytes.

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
    return DIGEST.match(text) is not None


def check_digest(raw: bytes, digest: str, what: str) -> None:
    """`MalformedImage` unless `raw` hashes to `digest`."""
    algorithm, _, claimed = digest.partition(":")
    if hashlib.new(algorithm, raw).hexdigest() != claimed:
        raise MalformedImage(f"the {what} sent for {digest} has another digest")


def parse_document(raw: bytes, content_type: str) -> Manifest | Index:
    """A manifest or index, as its Content-Type says; one that could be taken for the other is refused.

    Inside it may call itself otherwise, by an older or a newer name of the same kind: a proxy that converts only one of the
    two makes such documents, and container runtimes go by the Content-Type.
    """
    fields = decode_json(raw, "manifest")
    document = read_struct(fields, _Document, "the manifest")
    declared = content_type.partition(";")[0].strip().lower()
    inside = document.media_type or ""
    if _SCHEMA1.match(declared) or document.fs_layers is not msgspec.UNSET or document.schema_version == 1:
        raise MalformedImage(
            "it is a Docker schema 1 image, which containerd 2.1 and later refuse; push it anew with a current tool"
        )
    if declared in _GENERIC:
        declared = inside or f"{_OCI}{'manifest' if document.manifests is None else 'index'}.v1+json"
    if inside in (_MANIFESTS if declared in _INDEXES else _INDEXES):
        raise MalformedImage(
            f"the manifest says that it is {quoted(inside, 100)}, the registry that it is {quoted(declared, 100)}"
        )
    if document.schema_version not in {2, None}:
        raise MalformedImage("the manifest has a schemaVersion other than 2")
    if declared in _INDEXES:
        _forbid("an index", config=document.config, layers=document.layers)
        return Index(tuple(map(_descriptor, read_struct(fields, _Index, "the index").manifests or ())))
    if declared not in _MANIFESTS:
        raise MalformedImage(f"it is no container image but {quoted(declared, 100)}")
    _forbid("a manifest", manifests=document.manifests)
    manifest = read_struct(fields, _Manifest, "the manifest")
    return Manifest(_descriptor(manifest.config), tuple(map(_descriptor, manifest.layers or ())))


def check_config(config: Descriptor) -> None:
    """`MalformedImage` for the config of an artifact, which is no image config however it may look."""
    if config.media_type not in _CONFIGS:
        raise MalformedImage(
            f"it is no container image but an artifact with a config of the type {quoted(config.media_type, 100)}"
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
        reason = f"is of the type {quoted(layer.media_type, 100)}, which holds no files that we can read"
    raise MalformedImage(f"layer {layer.digest} {reason}; write runAsUser with a number instead")


def _descriptor(written: _Descriptor) -> Descriptor:
    platform = written.platform
    if platform is None:
        return Descriptor(written.media_type, written.digest, written.size)
    os, architecture, variant = platform.os or "", platform.architecture or "", platform.variant or ""
    meant = normalise_platform(os, architecture, variant)
    return Descriptor(written.media_type, written.digest, written.size, meant, platform.os_version or "")


def _forbid(what: str, **fields: Any) -> None:
    for key, value in fields.items():
        if value is not None:
            raise MalformedImage(f"it is {what} that also has {key}, so that it can be taken for something else")


_ARM = ("v8", "v7", "v6", "v5")


class Choice(msgspec.Struct, frozen=True):
    """The entries to look at. `undecided` ones name no platform: their configs do, and they come last."""

    chosen: tuple[Descriptor, ...]
    undecided: tuple[Descriptor, ...]


def choose(entries: Sequence[Descriptor], os: str, architectures: frozenset[str]) -> Choice:
    """The candidates for nodes of this `os` and these architectures (normalised names; empty: every one there is).

    Attestations (platform unknown/unknown) match nothing. Of several entries for one platform the first counts.
    """
    undecided = tuple(entry for entry in entries if entry.platform is None)
    named = [entry for entry in entries if entry.platform is not None and (entry.platform.os or os) == os]
    if not architectures:
        every = [entry for entry in named if entry.platform and entry.platform.architecture not in {"", "unknown"}]
        return Choice(_first_of_each(every), undecided)
    chosen: dict[Descriptor, None] = {}
    unmatched = False
    for architecture in sorted(architectures):
        best = _best(named, architecture)
        chosen |= dict.fromkeys(best)
        unmatched = unmatched or not best
    return Choice(tuple(chosen), undecided if unmatched else ())


def runs(platform: Platform, os: str, architectures: frozenset[str]) -> bool:
    """Whether some node of this `os` and these architectures would run an image of that platform."""
    if (platform.os or os) != os:
        return False
    return not architectures or any(
        (platform.architecture, platform.variant) in _vector(architecture, variant)
        for architecture in architectures
        for variant in {platform.variant, ""}
    )


def _best(entries: Sequence[Descriptor], architecture: str) -> tuple[Descriptor, ...]:
    """The entries that nodes of this architecture would choose, whichever variants they are of among those that are offered."""
    first: dict[tuple[str, str], Descriptor] = {}
    for entry in entries:
        if entry.platform is not None:
            first.setdefault((entry.platform.architecture, entry.platform.variant), entry)
    variants = (
        _ARM
        if architecture == "arm"
        else ("", *(variant for name, variant in first if name == architecture and variant))
    )
    chosen: dict[Descriptor, None] = {}
    for variant in variants:
        match = next((first[key] for key in _vector(architecture, variant) if key in first), None)
        if match is not None:
            chosen[match] = None
    return tuple(chosen)


def _vector(architecture: str, variant: str) -> list[tuple[str, str]]:
    """The platforms that a node of that architecture and variant runs, the best first, as normalised (architecture, variant)."""
    if architecture == "amd64":
        level = int(variant[1:]) if variant[:1] == "v" and variant[1:].isdigit() and len(variant) == 2 else 1
        return [("amd64", f"v{each}") for each in range(level, 1, -1)] + [("amd64", ""), ("386", "")]
    if architecture == "arm64":
        own = [("arm64", variant)] if variant else []
        return [*own, ("arm64", ""), *(("arm", each) for each in _ARM)]
    if architecture == "arm":
        start = _ARM.index(variant) if variant in _ARM else 1
        return [("arm", each) for each in _ARM[start:]]
    own = [(architecture, variant)] if variant else []
    return [*own, (architecture, "")]


def _first_of_each(entries: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    found: dict[tuple[Platform | None, str], Descriptor] = {}
    for entry in entries:
        found.setdefault((entry.platform, entry.os_version), entry)
    return tuple(found.values())

"""Manifests and indexes are read for what they are, and what a runtime would not run is refused in words."""

import json
from typing import Any

import pytest

from deploy.dev import oci
from webhook.errors import MalformedImage
from webhook.image.config import Platform, normalise_platform
from webhook.registry.manifest import (
    Descriptor,
    Index,
    Manifest,
    check_config,
    check_digest,
    check_layer,
    choose,
    is_digest,
    parse_document,
    runs,
)

IMAGE = oci.image(oci.layer(oci.file("x")), user="1000")
INDEX = oci.index(IMAGE, oci.image(architecture="arm", variant="v7"))
_ZERO = "sha256:" + "0" * 64


def changed(content: oci.Content, **changes: Any) -> bytes:
    """The manifest with other fields; None removes one."""
    fields = json.loads(content.manifest.data) | changes
    return json.dumps({key: value for key, value in fields.items() if value is not None}).encode()


@pytest.mark.parametrize(
    "content_type",
    [
        oci.OCI_MANIFEST,
        f"{oci.OCI_MANIFEST}; charset=utf-8",
        oci.OCI_MANIFEST.upper(),
        "",
        "application/json",
        "text/plain",
    ],
)
def test_a_manifest_is_read(content_type: str) -> None:
    """Parameters and case do not count, and an old registry's vague type neither."""
    manifest = parse_document(IMAGE.manifest.data, content_type)
    assert isinstance(manifest, Manifest)
    assert manifest.config.digest == IMAGE.blobs[0].digest
    assert [layer.digest for layer in manifest.layers] == [IMAGE.blobs[1].digest]


@pytest.mark.parametrize("content_type", [oci.OCI_INDEX, "", "application/octet-stream"])
@pytest.mark.parametrize("media_type", [oci.OCI_INDEX, None])
def test_an_index_is_read(content_type: str, media_type: str | None) -> None:
    """With the platforms normalised."""
    index = parse_document(changed(INDEX, mediaType=media_type), content_type)
    assert isinstance(index, Index)
    assert [entry.platform for entry in index.manifests] == [Platform("linux", "amd64"), Platform("linux", "arm", "v7")]


def test_the_docker_types_are_read_too() -> None:
    """Both generations."""
    image = oci.image(docker=True)
    assert isinstance(parse_document(image.manifest.data, oci.DOCKER_MANIFEST), Manifest)
    assert isinstance(parse_document(oci.index(image, docker=True).manifest.data, oci.DOCKER_LIST), Index)


@pytest.mark.parametrize(
    ("content", "inside", "content_type", "kind"),
    [
        (IMAGE, oci.OCI_MANIFEST, oci.DOCKER_MANIFEST, Manifest),
        (IMAGE, oci.DOCKER_MANIFEST, oci.OCI_MANIFEST, Manifest),
        (IMAGE, "application/vnd.example", oci.OCI_MANIFEST, Manifest),
        (INDEX, oci.OCI_INDEX, oci.DOCKER_LIST, Index),
        (INDEX, oci.DOCKER_LIST, oci.OCI_INDEX, Index),
    ],
)
def test_the_content_type_says_which_kind_it_is(
    content: oci.Content, inside: str, content_type: str, kind: type[Manifest | Index]
) -> None:
    """What it calls itself may be another name of that kind, never of the other."""
    assert isinstance(parse_document(changed(content, mediaType=inside), content_type), kind)


@pytest.mark.parametrize(
    ("raw", "content_type", "reason"),
    [
        (changed(IMAGE, manifests=[]), oci.OCI_MANIFEST, "also has manifests"),
        (changed(INDEX, config={}), oci.OCI_INDEX, "also has config"),
        (changed(INDEX, layers=[]), oci.OCI_INDEX, "also has layers"),
        (changed(IMAGE), oci.OCI_INDEX, "says that it is"),
        (changed(IMAGE, mediaType=None), oci.OCI_INDEX, "also has config"),
        (changed(IMAGE, fsLayers=[]), oci.OCI_MANIFEST, "schema 1"),
        (changed(IMAGE, schemaVersion=1), oci.OCI_MANIFEST, "schema 1"),
        (b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"),
        (changed(IMAGE, schemaVersion=3), oci.OCI_MANIFEST, "other than 2"),
        (b"{}", "application/vnd.cncf.helm.config.v1+json", "no container image"),
        (b'{"Config":{},"config":{}}', oci.OCI_MANIFEST, "'Config'"),
        (b'{"config":{},"config":{}}', oci.OCI_MANIFEST, "twice"),
        (b'{"config":{"mediaType":"x","Digest":"y"}}', oci.OCI_MANIFEST, "'Digest'"),
        (changed(IMAGE, layers={}), oci.OCI_MANIFEST, "got `object` - at `..layers`"),
        (changed(IMAGE, layers=[1]), oci.OCI_MANIFEST, r"got `int` - at `..layers\[0\]`"),
        (changed(IMAGE, config=None), oci.OCI_MANIFEST, "missing required field `config`"),
        (changed(IMAGE, config={"mediaType": "x", "digest": "md5:1", "size": 1}), oci.OCI_MANIFEST, "config.digest"),
        (changed(IMAGE, config={"mediaType": "x", "digest": _ZERO, "size": -1}), oci.OCI_MANIFEST, "config.size"),
        (changed(IMAGE, config={"mediaType": "x", "digest": _ZERO, "size": True}), oci.OCI_MANIFEST, "config.size"),
        (changed(IMAGE, config={"mediaType": "x", "digest": _ZERO, "size": 2**60}), oci.OCI_MANIFEST, "config.size"),
        (changed(IMAGE, mediaType=["x"]), oci.OCI_MANIFEST, "mediaType"),
        (changed(IMAGE, mediaType={"a": 1}), "application/json", "mediaType"),
        (changed(IMAGE, schemaVersion={}), oci.OCI_MANIFEST, "schemaVersion"),
        (changed(IMAGE, schemaVersion=[]), oci.OCI_MANIFEST, "schemaVersion"),
        (changed(IMAGE, schemaVersion=2.0), oci.OCI_MANIFEST, "schemaVersion"),
        (changed(IMAGE, schemaVersion=True), oci.OCI_MANIFEST, "schemaVersion"),
        (changed(IMAGE, layers=[{"mediaType": "x", "digest": _ZERO, "Size": 1}]), oci.OCI_MANIFEST, "'Size'"),
        (changed(INDEX, manifests=[{"platform": {"OS": "linux"}}]), oci.OCI_INDEX, "'OS'"),
        (b"[]", oci.OCI_MANIFEST, "Expected `object`"),
        (b"\xff\xfe{}", oci.OCI_MANIFEST, "UTF-8"),
        (b"[" * 100_000, oci.OCI_MANIFEST, "deeply|not JSON"),
    ],
)
def test_what_could_be_two_things_or_is_nothing_is_refused(raw: bytes, content_type: str, reason: str) -> None:
    """With the reason."""
    with pytest.raises(MalformedImage, match=reason):
        parse_document(raw, content_type)


def test_a_platform_must_hold_words() -> None:
    """Go would not decode it."""
    entry = IMAGE.manifest.descriptor(platform={"os": 1})
    with pytest.raises(MalformedImage, match=r"platform\.os"):
        parse_document(changed(INDEX, manifests=[entry]), oci.OCI_INDEX)


def test_content_is_what_was_promised() -> None:
    """Size first, then the digest."""
    descriptor = Descriptor("x", oci.sha256(b"abc"), 3)
    descriptor.check(3, oci.sha256(b"abc").partition(":")[2], "config")
    with pytest.raises(MalformedImage, match="4 bytes where 3"):
        descriptor.check(4, "", "config")
    with pytest.raises(MalformedImage, match="another digest"):
        descriptor.check(3, oci.sha256(b"abd").partition(":")[2], "config")
    with pytest.raises(MalformedImage, match="another digest"):
        check_digest(b"abd", descriptor.digest, "manifest")


@pytest.mark.parametrize(
    ("media_type", "reason"),
    [
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "foreign"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "foreign"),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "encrypted"),
        ("application/vnd.erofs.layer.v1", "no files that we can read"),
        ("application/vnd.in-toto+json", "no files that we can read"),
        ("application/vnd.oci.image.layer.v1.tarball", "no files that we can read"),
    ],
)
def test_layers_that_hold_no_accounts_say_why(media_type: str, reason: str) -> None:
    """And what to do instead."""
    with pytest.raises(MalformedImage, match=f"{reason}.*runAsUser"):
        check_layer(Descriptor(media_type, _ZERO, 1))


@pytest.mark.parametrize("compression", ["", "+gzip", "+zstd", ".gzip", ".zstd"])
def test_ordinary_layers_are_read(compression: str) -> None:
    """Of either generation."""
    kind = "docker.image.rootfs.diff.tar" if compression.startswith(".") else "oci.image.layer.v1.tar"
    check_layer(Descriptor(f"application/vnd.{kind}{compression}", _ZERO, 1))


def test_an_artifact_is_no_image() -> None:
    """However its config looks."""
    with pytest.raises(MalformedImage, match="artifact"):
        check_config(Descriptor("application/vnd.oci.empty.v1+json", _ZERO, 2))


def test_digests_are_in_full() -> None:
    """In lower case, of three kinds."""
    assert is_digest(_ZERO)
    assert is_digest("sha512:" + "a" * 128)
    assert not is_digest(_ZERO[:-1])
    assert not is_digest(_ZERO + "\n")
    assert not is_digest("sha256:" + "A" * 64)


ANY: frozenset[str] = frozenset()


def entry(platform: str | None, number: int = 0, os_version: str = "") -> Descriptor:
    """An index's entry for `os/architecture[/variant]`."""
    digest = f"sha256:{number:064}"
    if platform is None:
        return Descriptor("x", digest, 1)
    os, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    return Descriptor("x", digest, 1, normalise_platform(os, architecture, variant), os_version)


def chosen(platforms: list[str | None], os: str = "linux", *architectures: str) -> list[str]:
    """The platforms that are looked at, the undecided ones as "?"."""
    entries = [entry(platform, number) for number, platform in enumerate(platforms)]
    choice = choose(entries, os, frozenset(architectures))
    return [str(each.platform) for each in choice.chosen] + ["?" for _ in choice.undecided]


def test_every_platform_is_looked_at_unless_nodes_are_known() -> None:
    """Attestations and other systems are not."""
    platforms: list[str | None] = [
        "linux/amd64",
        "windows/amd64",
        "linux/arm64",
        "unknown/unknown",
        "linux/unknown",
        "linux/",
    ]
    assert chosen(platforms) == ["linux/amd64", "linux/arm64"]
    assert chosen(platforms, "windows") == ["windows/amd64"]


def test_the_first_of_equal_entries_counts() -> None:
    """The order in the index decides, and a default variant is no variant."""
    entries = [entry("linux/arm64/v8", 1), entry("linux/arm64", 2)]
    assert choose(entries, "linux", ANY).chosen == (entries[0],)
    assert choose(entries, "linux", frozenset({"arm64"})).chosen == (entries[0],)


def test_windows_versions_are_distinguished() -> None:
    """Each may have another user."""
    entries = [entry("windows/amd64", 1, "10.0.1"), entry("windows/amd64", 2, "10.0.2")]
    assert choose(entries, "windows", ANY).chosen == tuple(entries)


@pytest.mark.parametrize(
    ("architecture", "platforms", "expected"),
    [
        ("amd64", ["linux/arm64", "linux/amd64"], ["linux/amd64"]),
        ("amd64", ["linux/386"], ["linux/386"]),
        ("amd64", ["linux/386", "linux/amd64"], ["linux/amd64"]),
        ("amd64", ["linux/amd64", "linux/amd64/v3"], ["linux/amd64", "linux/amd64/v3"]),
        ("amd64", ["linux/amd64/v3"], ["linux/amd64/v3"]),
        ("amd64", ["linux/arm64"], []),
        ("arm64", ["linux/arm/v7", "linux/arm/v6"], ["linux/arm/v7"]),
        ("arm64", ["linux/arm64", "linux/arm/v7"], ["linux/arm64"]),
        ("arm64", ["linux/arm64", "linux/arm64/v9"], ["linux/arm64", "linux/arm64/v9"]),
        ("arm", ["linux/arm/v5", "linux/arm/v7"], ["linux/arm/v7", "linux/arm/v5"]),
        ("arm", ["linux/arm"], ["linux/arm/v7"]),
        ("386", ["linux/amd64", "linux/386"], ["linux/386"]),
        ("riscv64", ["linux/riscv64"], ["linux/riscv64"]),
        ("ppc64le", ["linux/ppc64"], []),
    ],
)
def test_nodes_of_an_architecture_choose(architecture: str, platforms: list[str | None], expected: list[str]) -> None:
    """Every entry that some variant of it would prefer."""
    assert chosen(platforms, "linux", architecture) == expected


def test_entries_without_a_platform_come_last() -> None:
    """They count where nothing else matches; with every node they always may."""
    assert chosen([None, "linux/amd64"]) == ["linux/amd64", "?"]
    assert chosen([None, "linux/amd64"], "linux", "amd64") == ["linux/amd64"]
    assert chosen([None, "linux/amd64"], "linux", "arm64") == ["?"]


def test_an_empty_os_is_the_nodes_own() -> None:
    """As containerd's matcher has it."""
    assert chosen(["/amd64"]) == ["amd64"]


def test_a_config_decides_for_an_undecided_entry() -> None:
    """By the same vectors."""
    assert runs(Platform("linux", "arm", "v6"), "linux", frozenset({"arm64"}))
    assert runs(Platform("linux", "amd64", "v3"), "linux", frozenset({"amd64"}))
    assert runs(Platform("linux", "386"), "linux", ANY)
    assert not runs(Platform("windows", "amd64"), "linux", ANY)
    assert not runs(Platform("linux", "s390x"), "linux", frozenset({"amd64", "arm64"}))

"""What a digest holds: platforms, configs, layers; read once, and refused where it lies."""

import asyncio
import json
from typing import Any

import pytest

from deploy.dev import oci
from deploy.dev.oci import file, image, index, layer, symlink
from deploy.dev.registry import Headers, Registry, Replace
from tests.unit.registry.clients import Client
from tests.unit.registry.samples import ACCOUNTS, APP, BASE, NAMED, Connect
from webhook.image.config import Platform
from webhook.image.passwd import AccountFiles
from webhook.image.source import Unknown
from webhook.registry.settings import Limits
from webhook.registry.transport.messages import Cost


def nested(depth: int) -> oci.Content:
    """An index in an index in an index."""
    return oci.without_platform(index(nested(depth - 1)) if depth else image(user="1"))


async def test_a_numeric_user_needs_no_layers(registry: Registry, client: Client) -> None:
    """The manifest by its tag, which proves the digest, then the config."""
    registry.push("team/app:1", image(BASE, user="1000:1000"))
    cost = Cost()
    found = await client.image(f"{registry.host}/team/app:1", cost=cost)
    assert found.platforms[0].config.user.uid == 1000
    assert found.platforms[0].accounts is None
    assert [each.method for each in registry.requests] == ["GET", "GET"]
    assert (cost.requests, client.total.requests) == (2, 2)
    assert 0 < cost.bytes_read == client.total.bytes_read < 1500
    assert cost.bytes_image > len(BASE.blob.data)


async def test_a_name_is_looked_up_from_the_top_layer(registry: Registry, client: Client) -> None:
    """The layers below the one that decides are never asked for."""
    bottom = layer(file("bottom"))
    digest = registry.push("team/app:1", image(bottom, BASE, APP, user="app"))
    found = await client.image(digest)
    assert found.platforms[0].accounts == ACCOUNTS
    assert registry.asked("GET", APP.blob.digest) == registry.asked("GET", BASE.blob.digest) == 1
    assert registry.asked("GET", bottom.blob.digest) == 0


async def test_images_that_share_a_base_read_it_once(registry: Registry, client: Client) -> None:
    """Even when they are asked for at the same moment."""
    for number in range(5):
        registry.push(f"team/app{number}:1", image(BASE, layer(file(f"app{number}")), user="app"))
    found = await asyncio.gather(*(client.image(f"{registry.host}/team/app{number}:1") for number in range(5)))
    assert all(each.platforms[0].accounts == ACCOUNTS for each in found)
    assert registry.asked("GET", BASE.blob.digest) == 1


async def test_a_number_that_is_no_uid_is_not_looked_up(registry: Registry, client: Client) -> None:
    """Nor is the empty USER; but whoever asks for the accounts gets them."""
    for number, user in enumerate(["99999999999999999999", "", "-1"]):
        reference = registry.push(f"team/app{number}:1", image(BASE, user=user))
        assert (await client.image(reference)).platforms[0].accounts is None
        assert (await client.image(reference, accounts=True)).platforms[0].accounts == ACCOUNTS


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("claimed", ["gzip", "zstd", "none"])
async def test_compression_is_what_it_is(registry: Registry, client: Client, compression: Any, claimed: Any) -> None:
    """Not what the media type claims."""
    mislabelled = layer(
        file("etc/passwd", "app:x:1:1::/:"), compression=compression, media_type=oci._LAYER_TYPES[claimed]
    )
    reference = registry.push("team/app:1", image(mislabelled, user="app"))
    assert (await client.image(reference)).platforms[0].accounts == AccountFiles(b"app:x:1:1::/:", None)


async def test_every_platform_is_answered(registry: Registry, client: Client) -> None:
    """Attestations are not platforms."""
    registry.push("team/app:1", index(NAMED, image(user="2", architecture="arm64"), attestations=True))
    found = await client.image(f"{registry.host}/team/app:1")
    assert [str(each.platform) for each in found.platforms] == ["linux/amd64", "linux/arm64"]
    narrow = await client.image(f"{registry.host}/team/app:1", architectures=frozenset({"arm64"}))
    assert [each.config.user.uid for each in narrow.platforms] == [2]


async def test_indexes_nest(registry: Registry, client: Client) -> None:
    """And an entry without a platform goes by its config's."""
    inner = index(image(user="3", architecture="s390x"), oci.without_platform(image(user="4", architecture="ppc64le")))
    registry.push("team/app:1", index(image(user="1"), oci.without_platform(inner)))
    found = await client.image(f"{registry.host}/team/app:1")
    assert {str(each.platform): each.config.user.uid for each in found.platforms} == {
        "linux/amd64": 1,
        "linux/s390x": 3,
        "linux/ppc64le": 4,
    }


async def test_a_single_manifest_is_used_whatever_its_platform(registry: Registry, client: Client) -> None:
    """As containerd does."""
    reference = registry.push("team/app:1", image(user="1", os="windows", architecture="arm64"))
    found = await client.image(reference, architectures=frozenset({"amd64"}))
    assert found.platforms[0].platform == Platform("windows", "arm64")


async def test_a_platform_that_is_missing_is_said_so(registry: Registry, client: Client) -> None:
    """With those that there are."""
    registry.push("team/app:1", index(image(user="1"), image(user="2", architecture="arm64")))
    found = await client.ask(f"{registry.host}/team/app:1", architectures=frozenset({"s390x"}))
    assert found == Unknown("notFound", "the index has no image for linux/s390x; it has linux/amd64, linux/arm64")
    assert await client.cause(f"{registry.host}/team/app:1", os="windows") == "notFound"


async def test_a_signature_in_an_index_is_no_image(registry: Registry, client: Client) -> None:
    """An entry without a platform whose config is an artifact's is passed over."""
    artifact = oci.document(
        {"schemaVersion": 2, "config": oci.Blob(b"{}", "application/vnd.x+json").descriptor(), "layers": []}
    )
    registry.push("team/app:1", index(image(user="1"), artifact))
    assert len((await client.image(f"{registry.host}/team/app:1")).platforms) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (image(config=b'{"config":{"User":"1","user":"0"}}'), "'user'"),
        (image(config=b'{"config":{"User":1}}'), "not a string"),
        (image(config=b"no"), "not JSON"),
        (oci.document({"schemaVersion": 1, "fsLayers": []}), "schema 1"),
        (
            oci.document({"schemaVersion": 2, "config": oci.Blob(b"{}", "application/vnd.helm+json").descriptor()}),
            "artifact",
        ),
        (oci.document({"schemaVersion": 2, "manifests": [], "layers": []}, oci.OCI_INDEX), "also has layers"),
        (oci.document([], oci.OCI_MANIFEST), "Expected `object`"),
        (oci.document({}, "text/html"), "no container image"),
        (nested(5), "without end"),
        (index(*(oci.without_platform(index(image(user=str(number)))) for number in range(17))), "without end"),
        # One bad platform spoils it: any of them may be the node's.
        (index(image(user="1"), image(config=b"no", architecture="arm64")), "not JSON"),
        (index(image(user="1"), oci.without_platform(image(config=b"no"))), "not JSON"),
    ],
)
async def test_a_malformed_image_is_invalid(
    registry: Registry, client: Client, content: oci.Content, reason: str
) -> None:
    """In clear words."""
    found = await client.ask(registry.push("team/app:1", content))
    assert isinstance(found, Unknown)
    assert found.cause == "invalid"
    assert reason in found.detail


@pytest.mark.parametrize("path", ["manifests", "blobs"])
async def test_other_bytes_than_promised_are_invalid(registry: Registry, client: Client, path: str) -> None:
    """Of the same length or of another."""
    content = image(BASE, user="1")
    registry.push("team/app:1", content)
    registry.push("team/app:2", content)
    registry.lie(Replace(lambda body: body.replace(b"1", b"2")), method="GET", path=path, times=1)
    assert await client.cause(f"{registry.host}/team/app:1") == "invalid"
    registry.lie(Replace(lambda body: body + b" "), method="GET", path=path, times=1)
    assert await client.cause(f"{registry.host}/team/app:2") == "invalid"


@pytest.mark.parametrize(
    "fault",
    [Replace(lambda body: body[:-1] + b"x"), Replace(lambda body: body + b"x"), Replace(lambda body: body[:-1])],
)
async def test_a_layer_of_other_bytes_is_invalid(registry: Registry, client: Client, fault: Any) -> None:
    """Though its beginning had the answer."""
    registry.push("team/app:1", NAMED)
    registry.lie(fault, path=BASE.blob.digest)
    found = await client.image(f"{registry.host}/team/app:1")
    unread = found.platforms[0].accounts
    assert isinstance(unread, Unknown)
    assert unread.cause == "invalid"


async def test_a_layer_that_is_not_the_configs_is_invalid(registry: Registry, client: Client) -> None:
    """The diff_id proves what was unpacked, also of a layer that is known."""
    wrong = oci.Layer(BASE.blob, APP.diff_id)
    await client.image(registry.push("team/right:1", image(BASE, user="app")))
    found = await client.image(registry.push("team/wrong:1", image(wrong, user="app")))
    assert isinstance(found.platforms[0].accounts, Unknown)
    assert "diff_id" in found.platforms[0].accounts.detail


async def test_layers_and_diff_ids_must_be_as_many(registry: Registry, client: Client) -> None:
    """Or it is unclear which is which."""
    config = json.dumps({"os": "linux", "architecture": "amd64", "config": {"User": "app"}}).encode()
    found = await client.image(registry.push("team/app:1", image(BASE, config=config)))
    assert isinstance(found.platforms[0].accounts, Unknown)
    assert "0 diff_ids" in str(found.platforms[0].accounts.detail) or "diff_ids" in found.platforms[0].accounts.detail


@pytest.mark.parametrize(
    ("limits", "content"),
    [
        (Limits(document_bytes=100), image(user="1")),
        (Limits(platforms=1), index(image(user="1"), image(user="2", architecture="arm64"))),
    ],
)
async def test_too_much_is_too_large(
    registry: Registry, connect: Connect, limits: Limits, content: oci.Content
) -> None:
    """Of a document, of platforms."""
    assert await connect(limits=limits).cause(registry.push("team/app:1", content)) == "tooLarge"


@pytest.mark.parametrize(
    "limits",
    [
        Limits(layer_bytes=100),
        Limits(layers=1),
        Limits(tar_bytes=1000),
        Limits(tar_free_bytes=1000, tar_ratio=10),
        Limits(entries=1),
    ],
)
async def test_too_much_of_a_layer_is_too_large(registry: Registry, connect: Connect, limits: Limits) -> None:
    """In bytes, layers, ratio or entries; the image is known, its accounts are not."""
    content = image(BASE, layer(file("zeros", bytes(100_000)), symlink("a", "b")), user="app")
    found = await connect(limits=limits).image(registry.push("team/app:1", content))
    unread = found.platforms[0].accounts
    assert isinstance(unread, Unknown)
    assert unread.cause == "tooLarge"


@pytest.mark.parametrize("platform", [{"os": "linux", "architecture": "amd64"}, None])
async def test_an_entry_is_of_the_type_that_its_index_promises(
    registry: Registry, client: Client, platform: dict[str, str] | None
) -> None:
    """Neither an index for a manifest nor a manifest for an index."""
    inner = index(image(user="1"))
    disguised = oci.Content(oci.Blob(inner.manifest.data, oci.OCI_MANIFEST), inner.blobs, inner.children, platform)
    registry.push("team/app:1", index(disguised))
    registry.lie(Headers({"Content-Type": oci.OCI_INDEX}), path=inner.digest)
    assert "is an index where" in await client.detail(f"{registry.host}/team/app:1")
    single = image(user="1")
    disguised = oci.Content(oci.Blob(single.manifest.data, oci.OCI_INDEX), single.blobs, (), platform)
    registry.push("team/app:2", index(disguised))
    registry.lie(Headers({"Content-Type": oci.OCI_MANIFEST}), path=single.digest)
    assert "is a manifest where" in await client.detail(f"{registry.host}/team/app:2")


async def test_sizes_in_an_index_are_checked(registry: Registry, client: Client) -> None:
    """Though the digest is right."""
    entry = NAMED.manifest.descriptor(platform={"os": "linux", "architecture": "amd64"}) | {"size": 7}
    lying = oci.document({"schemaVersion": 2, "manifests": [entry]}, oci.OCI_INDEX)
    registry.push("team/app:1", oci.Content(lying.manifest, NAMED.blobs, (NAMED.manifest,)))
    assert "where 7 were promised" in await client.detail(f"{registry.host}/team/app:1")


async def test_one_digest_is_not_two_things(registry: Registry, connect: Connect) -> None:
    """A config that is the manifest of another image, or the other way round."""
    config = oci.Blob(NAMED.manifest.data, oci.OCI_CONFIG)
    manifest = oci.document({"schemaVersion": 2, "config": config.descriptor(), "layers": []})
    registry.push("team/app:1", NAMED)
    registry.push("team/app:2", oci.Content(manifest.manifest, (config,)))
    client = connect()
    await client.image(f"{registry.host}/team/app:1")
    assert "as a config and as a manifest" in await client.detail(f"{registry.host}/team/app:2")
    other = connect()
    await other.image(f"{registry.host}/team/app:2")
    assert "as a manifest and as a config" in await other.detail(f"{registry.host}/team/app@{NAMED.digest}")


async def test_a_config_beyond_the_limit_is_not_fetched(registry: Registry, connect: Connect) -> None:
    """Its descriptor says enough."""
    content = image(BASE, user="1", settings={"Labels": {"x": "y" * 5000}})
    assert "MiB" in await connect(limits=Limits(document_bytes=2000)).detail(registry.push("team/app:1", content))
    assert registry.asked("GET", "blobs") == 0


async def test_links_to_what_was_not_looked_at_are_read_again(registry: Registry, client: Client) -> None:
    """A layer's facts grow; what was known of it stays."""
    store = layer(file("nix/store/a", "app:x:5:5::/:"), file("nix/store/b", "app:x:6:6::/:"))
    for number, target in enumerate("ab"):
        linked = layer(symlink("etc/passwd", f"/nix/store/{target}"))
        registry.push(f"team/{number}:1", image(store, linked, user="app"))
    for number in (0, 1, 0):
        client.clock.now += 1000
        found = await client.image(f"{registry.host}/team/{number}:1")
        assert found.platforms[0].accounts == AccountFiles(f"app:x:{5 + number}:{5 + number}::/:".encode(), None)
    assert registry.asked("GET", store.blob.digest) == 2  # once for either target; then both are known

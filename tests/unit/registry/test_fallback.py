"""A second life: what one replica has learned costs the next one a HEAD, and is there while the registry is not."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from deploy.dev.oci import Content, accounts_layer, image, index
from deploy.dev.registry import Hang, Login, Registry, Status
from tests.support.identity_store import NOW, InMemoryStore
from tests.unit.registry.clients import Client
from tests.unit.registry.samples import Connect, Secrets, secret
from webhook.image import image_identity
from webhook.image import user as identity
from webhook.image.config import Platform, normalise_platform
from webhook.image.filesystem import Survey
from webhook.image.image_identity import ImageFacts, ImageIdentity, Observation
from webhook.image.source import Cause, Image, Images, Query, Unknown
from webhook.image.user import Identity
from webhook.registry.fallback import FallbackSource

BASE = accounts_layer("root:x:0:0::/:", "app:x:1000:1600::/:", groups=["video:x:44:app"])
NAMED = image(BASE, user="app")
BOTH = index(NAMED, image(BASE, user="1000", architecture="arm64"))
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
DIGEST = "sha256:" + "cd" * 32


def identities(found: Image) -> list[Any]:
    """Who the image is, wherever it runs; without HOME, which is not kept."""
    result = []
    for each in found.platforms:
        who = identity.resolve(each.config.user, each.accounts)
        assert isinstance(who, Identity)
        result.append((str(each.platform), who.uid, who.gid, who.groups))
    return result


def swapped(content: Content) -> Content:
    """An image that its index gives out for the other platform."""
    assert content.platform is not None
    other = "amd64" if content.platform["architecture"] == "arm64" else "arm64"
    return Content(content.manifest, content.blobs, content.children, {"os": "linux", "architecture": other})


async def lives(
    registry: Registry, connect: Connect, kept: InMemoryStore, name: str, **query: Any
) -> tuple[Image, Image, int]:
    """What one client reads, what the next one answers, and how many requests that takes."""
    first = await connect(kept=kept).image(f"{registry.host}/{name}", **query)
    asked = len(registry.requests)
    second = await connect(kept=kept).image(f"{registry.host}/{name}", **query)
    return first, second, len(registry.requests) - asked


@pytest.mark.parametrize("user", ["app", "1000:44", "", "root", "0"])
@pytest.mark.parametrize("pinned", [False, True], ids=["by tag", "by digest"])
async def test_a_restarted_replica_asks_once_a_tag(
    registry: Registry, connect: Connect, user: str, pinned: bool
) -> None:
    """HEAD proves that these credentials may read the digest; what it holds is known."""
    reference = registry.push("team/app:1", image(BASE, user=user)).removeprefix(f"{registry.host}/")
    first, second, cost = await lives(registry, connect, InMemoryStore(), reference if pinned else "team/app:1")
    assert cost == 1
    assert registry.requests[-1].method == "HEAD"
    assert (second.digest, second.source, second.age) == (first.digest, "registry", 0.0)
    assert identities(second) == identities(first)
    assert second.platforms[0].config.user == first.platforms[0].config.user


@pytest.mark.parametrize("architectures", [(), ("amd64",), ("arm64",), ("amd64", "arm64")], ids=str)
async def test_every_platform_of_an_index_is_kept(
    registry: Registry, connect: Connect, architectures: tuple[str, ...]
) -> None:
    registry.push("team/app:1", BOTH)
    first, second, cost = await lives(
        registry, connect, InMemoryStore(), "team/app:1", architectures=frozenset(architectures)
    )
    assert cost == 1
    assert identities(second) == identities(first)


async def test_what_is_known_of_some_platforms_is_not_taken_for_all(registry: Registry, connect: Connect) -> None:
    registry.push("team/app:1", BOTH)
    kept = InMemoryStore()
    await connect(kept=kept).image(f"{registry.host}/team/app:1", architectures=frozenset({"arm64"}))
    asked = len(registry.requests)
    found = await connect(kept=kept).image(f"{registry.host}/team/app:1")
    assert [str(each.platform) for each in found.platforms] == ["linux/amd64", "linux/arm64"]
    assert len(registry.requests) - asked > 1
    assert {each.spec.platform for each in kept.created} == {"linux/amd64", "linux/arm64"}


@pytest.mark.parametrize("more", [{"accounts": True}, {"survey": True}], ids=lambda more: next(iter(more)))
async def test_who_asks_for_more_than_the_identity_gets_it_read(
    registry: Registry, connect: Connect, more: dict[str, bool]
) -> None:
    registry.push("team/app:1", NAMED)
    kept = InMemoryStore()
    await connect(kept=kept).image(f"{registry.host}/team/app:1")
    found = await connect(kept=kept).image(f"{registry.host}/team/app:1", **more)
    assert found.platforms[0].config.diff_ids


async def test_a_digest_of_another_repository_is_read_there(registry: Registry, connect: Connect) -> None:
    """A registry of one's own could claim to have any digest, and so learn what is in it."""
    registry.push("team/app:1", NAMED)
    registry.push("mallory/app:1", NAMED)
    kept = InMemoryStore()
    await connect(kept=kept).image(f"{registry.host}/team/app:1")
    await connect(kept=kept).image(f"{registry.host}/mallory/app:1")
    assert any("/mallory/app/blobs/" in str(request) for request in registry.requests)
    assert len({each.name for each in kept.created}) == 2  # neither keeps the other out


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(image(BASE, user="nosuch"), id="a user that does not exist"),
        pytest.param(image(BASE, user="-1"), id="a number out of range"),
        pytest.param(image(accounts_layer("old:x:9:9::/:", "app:x:9:8::/:"), user="app"), id="a shared uid"),
        pytest.param(
            image(accounts_layer("old:x:9:9::/:", "app:x:9:9::/:", groups=["g:x:9:app"]), user="app"),
            id="a shared uid that differs under a runAsGroup",
        ),
        pytest.param(image(BASE, user="1", architecture="../x"), id="a platform that names nothing"),
        pytest.param(
            index(swapped(image(BASE, user="7", architecture="arm64")), swapped(image(BASE, user="8"))),
            id="an index that lies about its platforms",
        ),
    ],
)
async def test_what_is_not_proven_or_not_exact_is_not_kept(registry: Registry, connect: Connect, content: Any) -> None:
    registry.push("team/app:1", content)
    kept = InMemoryStore()
    await connect(kept=kept).ask(f"{registry.host}/team/app:1")
    assert kept.created == []


async def test_an_image_that_a_pull_secret_opened_is_known_to_its_namespace_alone(
    registry: Registry, connect: Connect
) -> None:
    """And to nobody whom the registry itself refuses."""
    registry.push("team/app:1", NAMED)
    registry.login = Login({"user": "secret"})
    secrets, kept = Secrets(mine=secret(registry.host, "user", "secret")), InMemoryStore()
    mine = {"namespace": "shop", "pull_secrets": ("mine",)}
    await connect(secrets, kept=kept).image(f"{registry.host}/team/app:1", **mine)
    assert [each.spec.namespaces for each in kept.created] == [("shop",)]
    client = connect(kept=kept)
    assert isinstance(await recall(client, kept, registry, namespace="shop"), Unknown)
    registry.lie(Status(503))
    assert isinstance(await recall(connect(kept=kept), kept, registry, namespace="blog"), Unknown)
    assert isinstance(await recall(connect(kept=kept), kept, registry, namespace="shop"), Image)


async def recall(client: Client, kept: InMemoryStore, registry: Registry, **query: Any) -> Image | Unknown:
    asked = Query(**{"reference": f"{registry.host}/team/app:1", "budget": 20.0, **query})
    return await FallbackSource(client, kept, lambda: NOW.timestamp() + 7200).find(asked)


@pytest.mark.parametrize("fault", [Status(503), Status(429), Hang()], ids=["unreachable", "rateLimited", "pending"])
@pytest.mark.parametrize("pinned", [False, True], ids=["by tag", "by digest"])
async def test_while_the_registry_is_silent_a_restarted_replica_knows_what_was_known(
    registry: Registry, connect: Connect, fault: Any, pinned: bool
) -> None:
    reference, kept = registry.push("team/app:1", BOTH), InMemoryStore()
    tag = f"{registry.host}/team/app:1"
    first = await connect(kept=kept).image(reference if pinned else tag)
    registry.lie(fault)
    budget = 0.2 if isinstance(fault, Hang) else 20.0
    found = await recall(connect(kept=kept), kept, registry, reference=reference if pinned else tag, budget=budget)
    assert isinstance(found, Image)
    assert (found.digest, found.source, found.age) == (first.digest, "registry", 7200.0)
    assert found.fallback_reason is not None
    assert identities(found) == identities(first)


def seen(
    digest: str = DIGEST, *, days: float = 0, nodes: tuple[Platform, ...] = (AMD64,), **more: Any
) -> ImageIdentity:
    """What a node has shown, some days ago."""
    fact = Observation(
        **{"image": "registry.example/app:1", "digest": digest, "platform": AMD64, "uid": 1500, "gid": 1600, **more}
    )
    made = image_identity.of_observation(fact, nodes, NOW - timedelta(days=days))
    assert made is not None
    return made


class Silent(Images):
    """An image source that has but one answer."""

    def __init__(self, cause: Cause) -> None:
        self.cause = cause

    async def find(self, query: Query) -> Image | Unknown:
        """That."""
        return Unknown(self.cause, "a test says so")


async def remembered(*stored: ImageIdentity, cause: Cause = "unauthorized", **query: Any) -> Image | Unknown:
    kept = InMemoryStore()
    for each in stored:
        kept.create(each)
    asked = Query(**{"reference": "registry.example/app:1", **query})
    return await FallbackSource(Silent(cause), kept, lambda: NOW.timestamp() + 10).find(asked)


@pytest.mark.parametrize(
    ("cause", "answered"),
    [
        ("unauthorized", True),
        ("notFound", True),
        ("unreachable", True),
        ("rateLimited", True),
        ("pending", True),
        ("tooLarge", True),
        ("invalid", False),
        ("local", False),
    ],
)
@pytest.mark.parametrize("reference", ["registry.example/app:1", f"registry.example/app@{DIGEST}"])
async def test_a_node_knows_what_the_registry_does_not_tell(cause: Cause, answered: bool, reference: str) -> None:
    found = await remembered(seen(groups=(44, 1600)), cause=cause, reference=reference)
    assert isinstance(found, Image) is answered
    if isinstance(found, Image):
        assert (found.digest, found.source, found.age) == (DIGEST, "observed", 10.0)
        assert found.fallback_reason == Unknown(cause, "a test says so")
        assert identities(found) == [("linux/amd64", 1500, 1600, (44, 1600))]
        assert found.platforms[0].config.user.unread


@pytest.mark.parametrize(
    ("nodes", "architectures", "answered"),
    [
        ((AMD64,), (), True),
        ((AMD64, ARM64), (), False),
        ((AMD64, ARM64), ("amd64",), True),
        ((AMD64, ARM64), ("arm64",), False),
        ((AMD64,), ("arm64",), False),
    ],
)
async def test_a_node_speaks_for_its_platform_only(
    nodes: tuple[Platform, ...], architectures: tuple[str, ...], answered: bool
) -> None:
    found = await remembered(seen(nodes=nodes), architectures=frozenset(architectures))
    assert isinstance(found, Image) is answered


@pytest.mark.parametrize(
    ("cause", "asked", "told"),
    [
        ("notFound", "registry.example/app:1", "local"),
        ("unauthorized", "registry.example/app:1", "local"),
        ("unreachable", "registry.example/app:1", "unreachable"),
        ("notFound", "registry.example/app:2", "notFound"),
    ],
)
async def test_what_nodes_run_and_the_registry_does_not_have_is_local(cause: Cause, asked: str, told: Cause) -> None:
    """Though they do not tell who it is on every platform on which the Pod may be."""
    found = await remembered(seen(nodes=(AMD64, ARM64)), cause=cause, reference=asked)
    assert isinstance(found, Unknown)
    assert found.cause == told
    assert found.detail.endswith("a test says so")
    private = await remembered(seen(nodes=(AMD64, ARM64), namespace="theirs"), cause=cause, reference=asked)
    assert isinstance(private, Unknown)
    assert private.cause == cause


async def test_both_platforms_together_are_the_whole() -> None:
    nodes = (AMD64, ARM64)
    found = await remembered(seen(nodes=nodes), seen(nodes=nodes, platform=ARM64, uid=1501))
    assert isinstance(found, Image)
    assert [who[:2] for who in identities(found)] == [("linux/amd64", 1500), ("linux/arm64", 1501)]


async def test_a_tag_that_moved_lately_is_answered_only_if_it_makes_no_difference() -> None:
    """When it was seen is known to the day."""
    other = "sha256:" + "ef" * 32
    same = await remembered(seen(days=0.5), seen(other))
    assert isinstance(same, Image)
    assert same.digest == other
    assert isinstance(await remembered(seen(days=0.5), seen(other, uid=1501)), Unknown)
    newest = await remembered(seen(days=1.5), seen(other, uid=1501))
    assert isinstance(newest, Image)
    assert identities(newest)[0][1] == 1501


async def test_an_alias_is_another_name_for_it() -> None:
    stored = seen()
    stored = msgspec.structs.replace(
        stored, spec=msgspec.structs.replace(stored.spec, aliases=("registry.example/app:latest",))
    )
    assert isinstance(await remembered(stored, reference="registry.example/app"), Image)
    assert isinstance(await remembered(stored, reference="registry.example/app:2"), Unknown)


@pytest.mark.parametrize(
    ("query", "answered"),
    [
        ({"namespace": "shop"}, True),
        ({"namespace": "blog"}, False),
        ({"namespace": "shop", "os": "windows"}, False),
        ({"namespace": "shop", "reference": "Not//An:Image"}, False),
        ({"namespace": "shop", "reference": f"other.example/app@{DIGEST}"}, False),
    ],
)
async def test_an_image_that_a_secret_opened_on_a_node_is_known_to_its_namespace(
    query: dict[str, Any], answered: bool
) -> None:
    assert isinstance(await remembered(seen(namespace="shop"), **query), Image) is answered


async def test_the_registrys_word_counts_before_a_nodes(registry: Registry, connect: Connect) -> None:
    reference, kept = registry.push("team/app:1", NAMED), InMemoryStore()
    await connect(kept=kept).image(reference)
    digest = reference.partition("@")[2]
    wrong = Observation(f"{registry.host}/team/app:1", digest, AMD64, 7, 7)
    made = image_identity.of_observation(wrong, (AMD64,), NOW)
    assert made is not None
    kept.create(made)
    registry.lie(Status(503))
    found = await recall(connect(kept=kept), kept, registry, reference=reference)
    assert isinstance(found, Image)
    assert found.source == "registry"


def test_a_platform_survives_being_written() -> None:
    for platform in (AMD64, Platform("linux", "arm64"), Platform("linux", "arm", "v7")):
        assert normalise_platform(*str(platform).split("/", 2)) == platform


async def test_a_node_knows_the_accounts_that_could_not_be_read(registry: Registry, connect: Connect) -> None:
    """The registry lets us in, and its blobs are out of reach: the digest is certain, and who it is was seen."""
    digest = registry.push("team/app:1", NAMED).partition("@")[2]
    layer = NAMED.blobs[1].digest
    registry.lie(Status(503), path=f"blobs/{layer}")
    kept = InMemoryStore()
    client = connect(kept=kept)
    unread = await recall(client, kept, registry)
    assert isinstance(unread, Image)
    assert isinstance(unread.platforms[0].accounts, Unknown)
    kept.create(seen(digest, image=f"{registry.host}/team/app:moved"))
    found = await recall(client, kept, registry)
    assert isinstance(found, Image)
    assert (found.digest, found.source, identities(found)[0][1]) == (digest, "observed", 1500)


async def test_a_node_knows_the_images_of_a_registry_that_may_not_be_asked(
    registry: Registry, connect: Connect
) -> None:
    digest, kept = registry.push("team/app:1", NAMED).partition("@")[2], InMemoryStore()
    kept.create(seen(digest, image=f"{registry.host}/team/app:1"))
    found = await recall(connect(kept=kept, registries=frozenset({"other.example"})), kept, registry)
    assert isinstance(found, Image)
    assert (found.source, registry.requests) == ("observed", [])


async def test_what_is_stored_of_an_image_is_found_without_a_look_up(registry: Registry, connect: Connect) -> None:
    """With what its layers say, by tag and by digest, and the same each time; and nothing where nothing is stored."""
    registry.push("team/app:1", NAMED)
    kept, name = InMemoryStore(), f"{registry.host}/team/app:1"
    client = connect(kept=kept)
    source, by_digest = FallbackSource(client, kept), f"{registry.host}/team/app@{NAMED.digest}"
    references, like = [name, by_digest, "not a reference"], Query(name)
    assert await source.find_stored(references, like) == [None, None, None]
    assert registry.requests == []
    await client.image(name)
    asked = len(registry.requests)
    (identity,) = kept.of_reference(name)
    facts = ImageFacts(setuid=("/bin/su",))
    read = ImageIdentity(identity.name, msgspec.structs.replace(identity.spec, facts=facts))
    kept.update(f"uid of {identity.name}", read)
    found = await source.find_stored(references, like)
    for each in found[:2]:
        assert isinstance(each, Image)
        (survey,) = (platform.survey for platform in each.platforms)
        assert isinstance(survey, Survey)
        assert [program.path for program in survey.special] == ["/bin/su"]
    assert found[2] is None
    again = await source.find_stored(references, like)
    assert all(one is other for one, other in zip(found, again, strict=True))
    assert len(registry.requests) == asked


async def test_what_is_stored_of_an_image_counts_where_and_as_long_as_it_is_stored() -> None:
    """For its namespaces, nodes and operating system, also when others have asked before; and no longer than it is there."""
    kept = InMemoryStore()
    source, name = FallbackSource(Silent("local"), kept), "registry.example/app:1"
    shown = seen()
    kept.update("shop's", ImageIdentity(shown.name, msgspec.structs.replace(shown.spec, namespaces=("shop",))))
    mine = Query(name, namespace="shop")

    async def stored(query: Query) -> bool:
        (found,) = await source.find_stored([name], query)
        return found is not None

    assert await stored(mine)
    for other in ({"namespace": "blog"}, {"os": "windows"}, {"architectures": frozenset({"arm64"})}):
        assert await stored(msgspec.structs.replace(mine, **other)) is False
    assert await stored(mine)
    kept.delete("shop's")
    assert not await stored(mine)

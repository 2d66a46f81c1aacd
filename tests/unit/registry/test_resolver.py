"""What a reference stands for: who is told, by which method, and for how long that counts."""

from typing import Any

import pytest

from deploy.dev.oci import image
from deploy.dev.registry import Headers, Login, Registry, Reset, Status
from tests.unit.registry.clients import Client
from tests.unit.registry.samples import ACCOUNTS, BASE, NAMED, Connect, Secrets, secret
from webhook.caching import LRUCache
from webhook.image.source import Image, Query
from webhook.registry.settings import Lives


async def test_a_digest_is_fetched_without_a_head(registry: Registry, client: Client) -> None:
    """The manifest itself proves it; later HEAD is enough."""
    reference = registry.push("team/app:1", image(user="1"))
    await client.image(reference)
    assert [each.method for each in registry.requests] == ["GET", "GET"]
    client.clock.now += 301
    await client.image(reference)
    assert [each.method for each in registry.requests] == ["GET", "GET", "HEAD"]


@pytest.mark.parametrize(
    "fault", [Status(405), Headers({"Docker-Content-Digest": None}), Headers({"Docker-Content-Digest": "x"})]
)
async def test_a_registry_without_a_useful_head_is_asked_by_get(registry: Registry, client: Client, fault: Any) -> None:
    """The digest is that of what comes, for a tag that has been met as for a new one."""
    for moved, user in enumerate("12", 1):
        content = image(BASE, user=user)
        registry.push("team/app:1", content)
        registry.lie(fault, method="HEAD" if isinstance(fault, Status) else "", path="manifests/1")
        found = await client.image(f"{registry.host}/team/app:1")
        assert found.digest == content.digest
        assert registry.asked("GET", "manifests") == moved
        client.clock.now += 301
    assert registry.asked("HEAD") == 1


async def test_a_head_that_renames_a_digest_is_invalid(registry: Registry, client: Client) -> None:
    """A digest is its own name."""
    reference = registry.push("team/app:1", image(user="1"))
    await client.image(reference)
    client.clock.now += 301
    registry.lie(Headers({"Docker-Content-Digest": NAMED.digest}), method="HEAD")
    assert await client.cause(reference) == "invalid"


async def test_only_listed_registries_are_asked_where_there_is_a_list(registry: Registry, connect: Connect) -> None:
    """The others are refused by name."""
    reference = registry.push("team/app:1", image(user="1"))
    detail = await connect(registries=frozenset({"quay.io"})).detail(reference)
    assert "not among the registries" in detail
    assert registry.requests == []
    assert isinstance(await connect(registries=frozenset({registry.host})).ask(reference), Image)


async def test_a_tag_is_confirmed_by_a_head_when_its_time_is_up(registry: Registry, client: Client) -> None:
    """Earlier under imagePullPolicy Always; a tag that moved is seen then."""
    reference = f"{registry.host}/team/app:1"
    registry.push("team/app:1", image(user="1"))
    await client.image(reference)
    registry.push("team/app:1", image(user="2"))
    client.clock.now += 11
    assert (await client.image(reference)).platforms[0].config.user.uid == 1
    assert (await client.image(reference, always_pull=True)).platforms[0].config.user.uid == 2
    assert (await client.image(reference)).platforms[0].config.user.uid == 2
    asked = registry.asked("HEAD")
    client.clock.now += 299
    await client.image(reference)
    assert registry.asked("HEAD") == asked
    client.clock.now += 2
    found = await client.image(reference)
    assert registry.asked("HEAD") == asked + 1
    assert found.age == 0


@pytest.mark.parametrize("fault", [Status(503), Status(429), Reset()])
async def test_while_the_registry_is_down_the_old_answer_ages(registry: Registry, client: Client, fault: Any) -> None:
    """Up to a day, and it says so; then nothing is known."""
    reference = registry.push("team/app:1", NAMED)
    await client.image(reference)
    registry.lie(fault)
    client.clock.now += 1000
    found = await client.image(reference)
    assert found.age == 1000
    assert found.platforms[0].accounts == ACCOUNTS
    client.clock.now += 86_400
    assert await client.cause(reference) in {"unreachable", "rateLimited"}
    registry.honest()
    client.clock.now += 1000
    assert (await client.image(reference)).age == 0


async def test_a_refusal_withdraws_the_old_answer(registry: Registry, client: Client) -> None:
    """Also for when the registry goes down afterwards, and for other queries of the same image."""
    reference = registry.push("team/app:1", NAMED)
    await client.image(reference)
    await client.image(reference, accounts=True)
    client.clock.now += 301
    registry.lie(Status(403), times=1)
    assert await client.cause(reference) == "unauthorized"
    client.clock.now += 301
    registry.lie(Status(503))
    assert await client.cause(reference) == "unreachable"
    assert await client.cause(reference, accounts=True, budget=0) == "pending"


async def test_a_private_digest_is_no_answer_to_one_who_only_names_it(registry: Registry, connect: Connect) -> None:
    """A registry of his own that claims to have the digest proves nothing."""
    registry.login = Login({"u": "p"}, repositories=frozenset({"private/app"}))
    registry.push("private/app:1", NAMED)
    client = connect(Secrets(good=secret(registry.host, "u", "p")))
    await client.image(f"{registry.host}/private/app:1", namespace="a", pull_secrets=("good",))
    registry.push("evil/app:1", image(user="1"))
    await client.image(f"{registry.host}/evil/app:1")
    client.clock.now += 301
    registry.lie(Status(200, {"Docker-Content-Digest": NAMED.digest}), method="HEAD", path="evil")
    for reference in (f"{registry.host}/evil/app:1", f"{registry.host}/evil/app@{NAMED.digest}"):
        assert await client.cause(reference, namespace="b") == "notFound"


async def test_a_tag_is_resolved_by_head(registry: Registry, client: Client) -> None:
    """Whoever wants no more than the digest has the content already."""
    registry.push("team/app:1", NAMED)
    assert await client.resolve(Query(f"{registry.host}/team/app:1")) == NAMED.digest
    assert [each.method for each in registry.requests] == ["HEAD"]


async def test_lives_can_be_set(registry: Registry, connect: Connect) -> None:
    """A tag that is asked for every time."""
    client = connect(lives=Lives(tag=0.0))
    registry.push("team/app:1", image(user="1"))
    for _ in range(3):
        await client.image(f"{registry.host}/team/app:1")
    assert [each.method for each in registry.requests] == ["GET", "GET", "HEAD", "HEAD"]


async def test_a_tag_that_moved_to_what_cannot_be_read_is_not_answered_by_the_old(
    registry: Registry, client: Client
) -> None:
    """The old answer is known to be outdated then; where the digest is the same, it still counts."""
    reference = f"{registry.host}/team/app:1"
    registry.push("team/app:1", NAMED)
    await client.image(reference)
    client.clock.now += 400
    client._content._documents = LRUCache(1000)
    registry.lie(Status(503), method="GET")
    assert (await client.image(reference)).age == 400
    registry.push("team/app:1", image(user="2"))
    client.clock.now += 400
    assert await client.cause(reference) == "unreachable"

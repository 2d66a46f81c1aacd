"""Answers from a real registry client: the one that admission asks, with its bounds, its turns and what it tells to whom."""

import asyncio

from deploy.dev.registry import Hang, Login, Registry
from tests.unit.registry.samples import NAMED, Connect, Secrets, secret
from webhook.identity_api.lookup import IdentityRequest, Lookup
from webhook.image.source import Query
from webhook.policy.cache import PolicySnapshot
from webhook.policy.types import Documents
from webhook.registry.client import RegistryClient

SECONDS = 20.0  # more than any answer here needs


def over(client: RegistryClient) -> Lookup:
    """The look-up with no policy but the built-in one."""
    return Lookup(client, PolicySnapshot(Documents()))


async def test_an_answer_is_there_within_the_requests_time(registry: Registry, connect: Connect) -> None:
    """What is not read by then is pending, and told to whoever asks later."""
    registry.push("team/app:1", NAMED)
    registry.lie(Hang(), path="team", times=1)
    client, image = connect(), f"{registry.host}/team/app:1"
    async with asyncio.timeout(SECONDS):
        late = await over(client).answer(IdentityRequest(image), 0.1)
    assert late.unknown is not None
    assert late.unknown.cause == "pending"
    assert late.platforms == ()


async def test_the_same_question_has_the_same_answer(registry: Registry, connect: Connect) -> None:
    """It changes nothing, and the registry is asked once."""
    registry.push("team/app:1", NAMED)
    lookup, request = over(connect()), IdentityRequest(f"{registry.host}/team/app:1", "shops")
    first = await lookup.answer(request, SECONDS)
    asked = len(registry.requests)
    again = await lookup.answer(request, SECONDS)
    assert again.model_copy(update={"age": first.age}) == first
    assert first.unknown is None
    assert len(registry.requests) == asked


async def test_a_private_image_is_answered_to_those_whose_secrets_open_it(registry: Registry, connect: Connect) -> None:
    """Everybody else hears what admission would say, also after it has been read: nothing of the image."""
    registry.login = Login({"u": "p"}, repositories=frozenset({"private/app"}))
    registry.push("private/app:1", NAMED)
    client = connect(Secrets(good=secret(registry.host, "u", "p"), bad=secret(registry.host, "u", "old")))
    lookup, image = over(client), f"{registry.host}/private/app:1"
    strangers = [
        IdentityRequest(image),
        IdentityRequest(image, "theirs"),
        IdentityRequest(image, "theirs", pull_secrets=("bad",)),
    ]
    before = [await lookup.answer(each, SECONDS) for each in strangers]
    answered = await lookup.answer(IdentityRequest(image, "ours", pull_secrets=("good",)), SECONDS)
    assert answered.uid is not None
    assert answered.digest
    for request, answer in zip(strangers, before, strict=True):
        assert await lookup.answer(request, SECONDS) == answer
        assert (answer.digest, answer.uid, answer.platforms) == ("", None, ())
        said = await client.find(
            Query(image, namespace=request.namespace, pull_secrets=request.pull_secrets, budget=SECONDS)
        )
        assert answer.unknown is not None
        assert (answer.unknown.cause, answer.unknown.detail) == (said.cause, said.detail)  # type: ignore[union-attr]
        assert answer.unknown.cause == "unauthorized"


async def test_one_namespace_that_asks_for_much_keeps_no_other_waiting(registry: Registry, connect: Connect) -> None:
    """Nor the admission of another's Pods: the turns are one account for both."""
    registry.push("good/app:1", NAMED)
    registry.lie(Hang(), path="evil")
    client = connect(look_ups=8, look_ups_per_namespace=4)
    lookup = over(client)
    for number in range(200):
        late = await lookup.answer(IdentityRequest(f"{registry.host}/evil/app{number}:1", "evil"), 0.001)
        assert late.unknown is not None
        assert late.unknown.cause == "pending"
    good = await lookup.answer(IdentityRequest(f"{registry.host}/good/app:1", "good"), SECONDS)
    assert good.uid is not None
    found = await client.find(Query(f"{registry.host}/good/app:1", namespace="others", budget=SECONDS))
    assert found.source == "registry"  # type: ignore[union-attr]

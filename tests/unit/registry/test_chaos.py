"""A thousand admissions while the registry goes away, comes back, stands still and lies."""

import asyncio
import random
from collections.abc import Callable

import pytest

from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Fault, Hang, Headers, Registry, Replace, Reset, Slow, Status, Trickle
from tests.unit.registry.clients import Client
from webhook.image.passwd import AccountFiles, by_name
from webhook.image.source import Image, Query, Unknown
from webhook.registry.settings import Timeouts

IMAGES = 200
BUDGET = 0.1
DOWN: list[Fault] = [Status(503), Reset(), Reset(40), Status(429), Hang(), Slow(), Trickle()]
LIES: list[Fault] = [
    Replace(lambda body: body.replace(b"1", b"2")),
    Replace(lambda body: body[:-1]),
    Replace(lambda body: body + b"x"),
    Headers({"Docker-Content-Digest": "sha256:" + "0" * 64}),
    Headers({"Content-Type": "application/vnd.oci.image.index.v1+json"}),
    Headers({"Content-Length": "7"}),
]


def uid(found: Image | Unknown) -> int | None:
    """Who the image's USER is, if that is known."""
    if isinstance(found, Unknown):
        return None
    only = found.platforms[0]
    if only.config.user.uid is not None:
        return only.config.user.uid
    if not isinstance(only.accounts, AccountFiles):
        return None
    entry = by_name(only.accounts, only.config.user.name)
    return entry.uid if entry else -1


class Admissions:
    """Asks about images at random, some at a time."""

    def __init__(self, client: Client, host: str, seed: int) -> None:
        self._client = client
        self._host = host
        self._random = random.Random(seed)  # noqa: S311 - a repeatable mixture, no secret
        self._turns = asyncio.Semaphore(25)

    async def ask(self, count: int) -> list[tuple[int, int | None]]:
        """As many answers: the image's number, and the uid found."""
        numbers = [self._random.randrange(IMAGES) for _ in range(count)]
        return await asyncio.gather(*map(self.one, numbers))

    async def one(self, number: int, *, budget: float = BUDGET) -> tuple[int, int | None]:
        """One answer."""
        async with self._turns:
            query = Query(f"{self._host}/team/app{number}:1", budget=budget, namespace=f"ns{number % 7}")
            return number, uid(await self._client.find(query))


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [1, 2])
async def test_no_answer_is_wrong_and_what_was_known_stays(
    registry: Registry, connect: Callable[..., Client], seed: int
) -> None:
    """Half of the images are known when it begins; half of all have a USER that is a name."""
    client = connect(timeouts=Timeouts(backoff=(0.0,), idle=0.5, document=0.5, layer=1.0, look_up=1.0))
    for number in range(IMAGES):
        accounts = accounts_layer(f"app:x:{1000 + number}:1::/:")
        user = "app" if number % 2 else str(1000 + number)
        registry.push(f"team/app{number}:1", image(accounts, user=user))
    admissions = Admissions(client, registry.host, seed)
    known = range(0, IMAGES, 2) if seed == 1 else range(IMAGES // 2)
    warm = [await admissions.one(number, budget=20.0) for number in known]
    assert all(found == 1000 + number for number, found in warm)
    answers: list[tuple[int, int | None]] = []
    for fault in DOWN:
        registry.lie(fault)
        client.clock.now += 400
        during = await admissions.ask(100)
        assert all(found is not None for number, found in during if number in known), fault
        answers += during
        registry.honest()
        client.clock.now += 400
        answers += await admissions.ask(20)
    for fault in LIES:
        registry.lie(fault, times=40)
        client.clock.now += 400
        answers += await admissions.ask(50)
        registry.honest()
    assert len(answers) >= 1000
    assert all(found in {None, 1000 + number} for number, found in answers)
    client.clock.now += 400
    await client.aclose()


@pytest.mark.thorough
@pytest.mark.parametrize("fault", [Hang(), Slow(), Trickle()], ids=lambda fault: type(fault).__name__)
async def test_no_answer_waits_for_the_registry(
    registry: Registry, connect: Callable[..., Client], fault: Fault
) -> None:
    """It has an hour for each of its own, and has not given any when all admissions are answered."""
    hour = 3600.0
    client = connect(timeouts=Timeouts(idle=hour, document=hour, layer=hour, look_up=hour))
    for number in range(IMAGES):
        registry.push(f"team/app{number}:1", image(user=str(1000 + number)))
    registry.lie(fault)
    answers = await Admissions(client, registry.host, 1).ask(100)
    assert [found for _, found in answers if found is not None] == []
    assert len(client._flights) == len({number for number, _ in answers})


async def test_it_recovers(registry: Registry, connect: Callable[..., Client]) -> None:
    """After an outage everything is found again, and nothing still runs."""
    client = connect(timeouts=Timeouts(backoff=(), document=0.2, look_up=0.3))
    reference = registry.push("team/app:1", image(user="1"))
    registry.lie(Hang())
    assert await client.cause(reference, budget=5.0) == "unreachable"
    registry.honest()
    client.clock.now += 30
    assert uid(await client.ask(reference)) == 1
    assert len(client._flights) == 0

"""Clients that trust a registry in memory, on a clock that the test moves."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from deploy.dev.registry import Registry
from tests.support.clock import Clock
from webhook.image.source import Image, Query, Unknown
from webhook.registry.auth.keychain import PullSecrets
from webhook.registry.client import RegistryClient
from webhook.registry.fallback import IdentityStore
from webhook.registry.settings import RegistrySettings, Timeouts
from webhook.registry.transport.messages import Cost


class Client(RegistryClient):
    """A client with its clock, and a shorter way to ask."""

    def __init__(
        self,
        settings: RegistrySettings,
        secrets: PullSecrets | None = None,
        config: bytes | None = None,
        store: IdentityStore | None = None,
    ) -> None:
        self.clock = Clock()
        super().__init__(settings, secrets, config, self.clock, store=store)

    async def ask(self, reference: str, *, cost: Cost | None = None, **more: Any) -> Image | Unknown:
        """One query with a budget that no test should need."""
        return await self.find(Query(reference, **{"budget": 20.0, **more}), cost)

    async def image(self, reference: str, **more: Any) -> Image:
        """The answer, which must be an image."""
        found = await self.ask(reference, **more)
        assert isinstance(found, Image), found
        return found

    async def cause(self, reference: str, **more: Any) -> str:
        """Why there is no image."""
        found = await self.ask(reference, **more)
        assert isinstance(found, Unknown), found
        return found.cause

    async def detail(self, reference: str, **more: Any) -> str:
        """Why there is no image, in words."""
        found = await self.ask(reference, **more)
        assert isinstance(found, Unknown), found
        return found.detail


NO_PAUSE = Timeouts(backoff=(0.0, 0.0))


@asynccontextmanager
async def clients(registry: Registry) -> AsyncIterator[Callable[..., Client]]:
    """Makes clients; closed with the test, each must have left nothing behind."""
    made: list[Client] = []

    def make(
        secrets: PullSecrets | None = None,
        config: bytes | None = None,
        kept: IdentityStore | None = None,
        **settings: Any,
    ) -> Client:
        merged = {"insecure": frozenset({registry.host}), "timeouts": NO_PAUSE, **settings}
        made.append(Client(RegistrySettings(**merged), secrets, config, kept))
        return made[-1]

    yield make
    for client in made:
        await client.aclose()
        assert len(client._flights) == 0
        assert client.stats.faults == 0

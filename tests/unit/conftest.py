"""What unit tests share. It is their only conftest: pytest sorts hooks anew for each test that one of several does not concern."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # half a second, which pytest-xdist's own process needs not have
    from deploy.dev.registry import Registry
    from tests.unit.registry.clients import Client


@pytest.fixture(scope="package", autouse=True)
def system_authorities() -> Iterator[None]:
    """The machine's certificate authorities: one, where a real machine has 150, which take 50 ms for each connection's TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(Path(__file__).with_name("authority.pem")))
        yield


@pytest.fixture
async def registry() -> "AsyncIterator[Registry]":
    """A registry in memory that is up and open to everybody."""
    from deploy.dev.registry import Registry

    async with Registry() as running:
        yield running


@pytest.fixture
async def connect(registry: "Registry") -> "AsyncIterator[Callable[..., Client]]":
    """Makes clients of it."""
    from tests.unit.registry.clients import clients

    async with clients(registry) as make:
        yield make


@pytest.fixture
def client(connect: "Callable[..., Client]") -> "Client":
    """A client with ordinary settings."""
    return connect()

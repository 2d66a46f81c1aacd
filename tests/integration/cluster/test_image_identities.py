"""ImageIdentity objects on a real API server: written once, followed as they change, and missed by nobody."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kubernetes.aio.config import kube_config

from tests.e2e.target import Target
from tests.support import cluster
from tests.support.api_proxy import ApiProxy, proxied
from webhook.cluster import image_identities
from webhook.cluster import reflector as following
from webhook.cluster.client import Cluster
from webhook.image.config import Platform
from webhook.image.identity_index import IdentityIndex
from webhook.image.image_identity import ImageIdentity, Observation, of_observation

pytestmark = pytest.mark.timeout(120)
AMD64 = Platform("linux", "amd64")
IMAGE = f"registry.example/store-{secrets.token_hex(4)}:1"


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A cluster with the CRDs."""
    found = cluster.reach()
    with cluster.crds(found):
        yield found


@pytest.fixture
async def api(target: Target) -> AsyncIterator[Cluster]:
    """The API server; what a test has stored is removed."""
    async with contextlib.aclosing(Cluster()) as connection:
        yield connection
        for each in await there(connection):
            await image_identities.remove(connection, each)


@pytest.fixture
async def proxy(
    api: Cluster, tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ApiProxy]:
    """The only way to the API server for who follows."""
    await there(api)  # connected before the way is bent
    async with proxied(target, tmp_path) as (found, kubeconfig):
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        yield found


@contextlib.asynccontextmanager
async def followed() -> AsyncIterator[IdentityIndex]:
    """What somebody knows who follows."""
    known = IdentityIndex()
    async with contextlib.aclosing(Cluster()) as connection:
        following = asyncio.create_task(image_identities.follow(connection, known))
        try:
            yield known
        finally:
            assert not following.done()
            following.cancel()
            await asyncio.wait({following})


async def there(api: Cluster) -> list[ImageIdentity]:
    """What is stored of this test's image."""
    return [each async for each in image_identities.listed(api) if each.spec.image == IMAGE]


async def until(probe: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not probe():
            await asyncio.sleep(0.02)


async def make(api: Cluster) -> ImageIdentity:
    made = of_observation(
        Observation(IMAGE, f"sha256:{secrets.token_hex(32)}", AMD64, 1500, 1600), (AMD64,), datetime.now(UTC)
    )
    assert made is not None
    await image_identities.create(api, made)
    (found,) = [each for each in await there(api) if each.name == made.name]
    assert found.spec == made.spec
    return found


def names(known: IdentityIndex) -> set[str]:
    return {each.name for each in known.of_reference(IMAGE)}


async def test_objects_are_known_as_they_come_change_and_go(api: Cluster, proxy: ApiProxy) -> None:
    first = await make(api)
    await image_identities.create(api, first)  # somebody else was first
    async with followed() as known:
        await until(lambda: names(known) == {first.name})
        second = await make(api)
        await until(lambda: names(known) == {first.name, second.name})
        other = IMAGE.replace(":1", ":2")
        await image_identities.change(api, first, {"aliases": [other]})
        await until(lambda: known.of_reference(other))
        await image_identities.change(api, first, {"aliases": []})  # as it was read it is no more
        await image_identities.remove(api, first)
        await image_identities.remove(api, second)
        await until(lambda: names(known) == {first.name})
        (changed,) = await there(api)
        assert changed.spec.aliases == (other,)


async def test_what_vanished_unseen_is_gone_after_the_next_listing(api: Cluster, proxy: ApiProxy) -> None:
    """Cut off, nothing is forgotten; after "410 Gone" there is a new listing."""
    first, second = await make(api), await make(api)
    async with followed() as known:
        await until(lambda: names(known) == {first.name, second.name})
        await proxy.stop()
        await image_identities.remove(api, first)
        await asyncio.sleep(2)
        assert names(known) == {first.name, second.name}
        proxy.gone.add("imageidentities")
        await proxy.start()
        await until(lambda: names(known) == {second.name})
        await until(lambda: not proxy.gone)
        third = await make(api)
        await until(lambda: names(known) == {second.name, third.name})


@pytest.mark.parametrize("absent", [False, True], ids=["no right to see them", "no such kind"])
async def test_without_the_kind_or_the_right_it_is_asked_again_later(
    api: Cluster, proxy: ApiProxy, absent: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(following, "ABSENT_PAUSE", 0.2)
    first = await make(api)
    if absent:
        proxy.hidden = "nonroot.dev"
    else:
        proxy.forbidden.add("imageidentities")
    async with followed() as known:
        await until(lambda: caplog.records)
        await asyncio.sleep(1)  # some more attempts
        assert names(known) == set()
        assert len(caplog.records) == 1
        proxy.hidden = ""
        proxy.forbidden.clear()
        await until(lambda: names(known) == {first.name})

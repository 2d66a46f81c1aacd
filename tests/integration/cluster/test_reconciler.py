"""The controller's reconciliation of ImageIdentity objects on a real API server."""

import contextlib
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.support import cluster
from tests.unit.controller.test_image_identities import NODES, NOW, fact, kept
from webhook.cluster import image_identities
from webhook.cluster.client import Cluster
from webhook.controller.image_identities import Reconciler
from webhook.image.identity_index import IdentityIndex
from webhook.image.image_identity import ImageIdentitySpec


@pytest.fixture
async def api() -> AsyncIterator[Cluster]:
    """The real API server with our CRDs; what a test has written of identities is removed."""
    target = cluster.reach()
    with cluster.crds(target):
        async with contextlib.aclosing(Cluster()) as connection:
            yield connection
            async for each in image_identities.listed(connection):
                if each.spec.image.startswith("registry.example/keep"):
                    await image_identities.remove(connection, each)


async def test_a_second_round_writes_nothing_and_a_month_later_nothing_is_left(api: Cluster) -> None:
    image, digest = "registry.example/keep:1", f"sha256:{secrets.token_hex(32)}"
    shown = (fact(image=image, digest=digest, namespace="shop", groups=None),)
    uses = {(image, digest)}
    assert await kept(api, shown, uses, NOW) == 1
    assert await kept(api, shown, uses, NOW) == 0
    wider = (fact(image=image, digest=digest, user="1500"),)
    assert await kept(api, wider, uses | {("registry.example/keep:latest", digest)}, NOW + timedelta(days=1)) == 1
    (there,) = [each async for each in image_identities.listed(api) if each.digest == digest]
    assert there.spec == ImageIdentitySpec(
        image=image,
        platform="linux/amd64",
        uid=1500,
        source="observed",
        first_seen=NOW,
        last_seen=NOW + timedelta(days=1),
        user="1500",
        gid=1600,
        groups=(1600,),
        platforms=("linux/amd64",),
        aliases=("registry.example/keep:latest",),
        digest=digest,
    )
    assert await kept(api, (), set(), NOW + timedelta(days=31)) >= 1
    assert [each async for each in image_identities.listed(api) if each.digest == digest] == []


async def test_what_somebody_else_has_changed_since_is_left_alone(api: Cluster) -> None:
    image, digest = "registry.example/keep:1", f"sha256:{secrets.token_hex(32)}"
    uses = {(image, digest)}
    await kept(api, (fact(image=image, digest=digest),), uses, NOW)
    reconciler = Reconciler(api, IdentityIndex())
    await reconciler.load()
    (there,) = [each async for each in image_identities.listed(api) if each.digest == digest]
    await image_identities.change(api, there, {"aliases": ["registry.example/keep:2"]})
    await reconciler.reconcile((), uses, NODES, NOW + timedelta(days=2))
    (there,) = [each async for each in image_identities.listed(api) if each.digest == digest]
    assert (there.spec.aliases, there.spec.last_seen) == (("registry.example/keep:2",), NOW)

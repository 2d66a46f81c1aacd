"""ImageIdentity objects at the API server: written, changed, removed, listed, and followed as they change."""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, NoReturn

import msgspec

from webhook import following, identities
from webhook.cluster import MANAGED_BY, Absent, Cluster, Conflict
from webhook.identities import Identities
from webhook.image_identity import ImageIdentity
from webhook.policy import API_VERSION

PATH = f"/apis/{API_VERSION}/imageidentities"
_ALL = "the ImageIdentity objects"


async def create(cluster: Cluster, identity: ImageIdentity) -> None:
    """Write what is not there yet; whoever was first has said the same. `Absent` where the kind is not installed."""
    body = {
        "apiVersion": API_VERSION,
        "kind": "ImageIdentity",
        "metadata": {"name": identity.name, "labels": MANAGED_BY},
        "spec": msgspec.to_builtins(identity.spec),
    }
    try:
        await cluster.call("POST", PATH, _named(identity), body)
    except Absent:
        raise
    except Conflict:
        return


async def listed(cluster: Cluster) -> AsyncIterator[ImageIdentity]:
    """All that are stored, some hundred in memory at a time; what is none of ours is passed over."""
    async for page in cluster.pages(PATH, _ALL):
        for each in page:
            found = identities.read(each)
            if found is not None:
                yield found


async def follow(cluster: Cluster, known: Identities) -> NoReturn:
    """Keep `known` as the API server has it, until cancelled; while that is away it stays as it was."""
    await following.follow(cluster, PATH, _ALL, _Follower(known))


class _Follower:
    """Puts what is ours of it into `known`, by its name."""

    def __init__(self, known: Identities) -> None:
        self._known = known
        self.drop = known.drop
        self.retain = known.retain

    def put(self, key: str, raw: msgspec.Raw) -> None:
        found = identities.read(raw)
        if found is None:
            self._known.drop(key)
        else:
            self._known.put(key, found)


async def change(cluster: Cluster, identity: ImageIdentity, fields: Mapping[str, Any]) -> None:
    """Set fields of the spec, unless somebody else has changed or removed the object since it was read."""
    body = {"metadata": {"resourceVersion": identity.resource_version}, "spec": fields}
    with suppress(Conflict):
        await cluster.call(
            "PATCH", f"{PATH}/{identity.name}", _named(identity), body, content_type="application/merge-patch+json"
        )


async def remove(cluster: Cluster, identity: ImageIdentity) -> None:
    """Delete the object as it was read, and no newer one."""
    body = {"preconditions": {"resourceVersion": identity.resource_version}}
    with suppress(Conflict):
        await cluster.call("DELETE", f"{PATH}/{identity.name}", _named(identity), body)


def _named(identity: ImageIdentity) -> str:
    return f"ImageIdentity {identity.name}"

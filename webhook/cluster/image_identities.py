"""ImageIdentity objects at the API server: written, changed, removed, listed, and followed as they change."""

import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn

import msgspec

from webhook.caching import LRUCache
from webhook.cluster import reflector
from webhook.cluster.client import MANAGED_BY, Cluster
from webhook.cluster.errors import Absent, Conflict
from webhook.cluster.object_meta import ObjectMeta
from webhook.cluster.supervisor import background
from webhook.cluster.workqueue import WorkQueue, run_in_background
from webhook.errors import InvalidReference
from webhook.image import image_identity, reference
from webhook.image.identity_index import IdentityIndex
from webhook.image.image_identity import ImageIdentity, ImageIdentitySpec
from webhook.image.reference import Reference
from webhook.image.source import Image, Query
from webhook.policy.types import API_VERSION

PATH = f"/apis/{API_VERSION}/imageidentities"
_ALL = "the ImageIdentity objects"
_FORMER_NAME = re.compile(r"sha(?:256-[0-9a-f]{64}|384-[0-9a-f]{96}|512-[0-9a-f]{128})-[a-z0-9.-]+", re.ASCII)


class _StoredIdentity(msgspec.Struct):
    metadata: ObjectMeta
    spec: ImageIdentitySpec


def read(raw: bytes | msgspec.Raw) -> ImageIdentity | None:
    """An object of the API server; None for one that nobody of ours has made, which counts for nothing."""
    try:
        found = msgspec.json.decode(raw, type=_StoredIdentity)
        reference.parse(found.spec.image)
    except (msgspec.DecodeError, InvalidReference):
        return None
    identity = ImageIdentity(found.metadata.name, found.spec, found.metadata.resource_version)
    ours = identity.name == identity.proper_name if found.spec.digest else _FORMER_NAME.fullmatch(identity.name)
    return identity if ours else None


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
    """The stored objects, some hundred in memory at a time; one that is none of ours is passed over."""
    async for page in cluster.pages(PATH, _ALL):
        for each in page:
            found = read(each)
            if found is not None:
                yield found


async def follow(cluster: Cluster, known: IdentityIndex) -> NoReturn:
    """Keep `known` as the API server has it, until cancelled; while that is away it stays as it was."""
    await reflector.follow(cluster, PATH, _ALL, _Store(known))


class _Store:
    """Puts what is ours of it into `known`, by its name."""

    def __init__(self, known: IdentityIndex) -> None:
        self._known = known
        self.delete = known.delete
        self.replace = known.replace

    def update(self, key: str, raw: msgspec.Raw) -> None:
        found = read(raw)
        if found is None:
            self._known.delete(key)
        else:
            self._known.update(key, found)


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


RENEWAL_INTERVAL = (
    86_400.0  # seconds until what was written once may be written again: the controller removes what is not in use
)
OBJECTS_LIMIT = 20_000  # objects; whoever reaches our port may name any image, and each is kept by all replicas
_WRITTEN_NAMES_BYTES = 1 << 21  # bytes of names that were written


class ClusterIdentityStore(IdentityIndex):
    """Implements `webhook.registry.fallback.IdentityStore`.

    It is `alive` for whoever only wants to remember; who fills it himself runs `writer` alone.
    """

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.writer = WorkQueue("ImageIdentity objects")
        self._cluster = cluster
        self._clock = clock
        self._offered: LRUCache[str, float] = LRUCache(_WRITTEN_NAMES_BYTES)

    @contextlib.asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """Follow what is stored, and write what is learned, meanwhile."""
        async with background(follow(self._cluster, self)), run_in_background(self.writer):
            yield

    def save(self, requested: Reference, image: Image, query: Query) -> None:
        """Write what nobody has written yet, some time soon; never for a dry run, nor while there is enough of it."""
        if query.dry_run or len(self) >= OBJECTS_LIMIT:
            return
        namespace = query.namespace if image.private else None
        known = {each.name for each in self.of_digest(requested.name, image.digest)}
        for each in image_identity.of_image(requested, image, namespace, datetime.now(UTC)):
            offered = self._offered.get(each.name)
            if each.name in known or (offered is not None and self._clock() - offered < RENEWAL_INTERVAL):
                continue
            if self.writer.add(each.name, partial(create, self._cluster, each)):
                self._offered.put(each.name, self._clock(), len(each.name))

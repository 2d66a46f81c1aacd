"""All objects of a kind, and every change of them after that, for as long as the program runs.

This is for kinds of which there may be very many: kopf, which watches all else, keeps 13 KiB for each object. Here nothing is
kept but what the follower keeps.
"""

import asyncio
import logging
from collections.abc import Collection
from typing import NoReturn, Protocol

import msgspec

from webhook.cluster.client import Absent, Cluster, ClusterError, Expired, Forbidden, decode

STREAM_LIFETIME = 300  # seconds; each stream is opened anew so often
SILENCE_TIMEOUT = 330.0  # seconds without a word on a stream, after which it is taken for dead
RETRY_PAUSE = 1.0  # seconds before the next stream or listing
ABSENT_PAUSE = 60.0  # seconds before the next look where the kind is not installed, or not for us

log = logging.getLogger(__name__)


class Store(Protocol):
    """Is told of objects by their keys: `NAMESPACE/NAME`, or the name of one that is in no namespace.

    After a gap the same may be told twice, and what was true in between; the last word is what is.
    """

    def update(self, key: str, raw: msgspec.Raw) -> None:
        """Take an object as it is now."""

    def delete(self, key: str) -> None:
        """Take note that there is no such object any more."""

    def replace(self, keys: Collection[str]) -> None:
        """Take note that there are these objects and no others; every listing ends so."""


class _Metadata(msgspec.Struct, rename="camel"):
    resource_version: str
    name: str = ""
    namespace: str = ""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class _Object(msgspec.Struct):
    """A list, or an object."""

    metadata: _Metadata


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


async def follow(cluster: Cluster, path: str, what: str, store: Store, *, only_metadata: bool = False) -> NoReturn:
    """Tell `store` of what is listed at `path`, until cancelled; while the API server is away nothing is told.

    `what` names the objects for people. With `only_metadata` nothing else of them is asked for.
    """
    logged = ""
    while True:
        pause = RETRY_PAUSE
        try:
            await _follow(cluster, path, what, store, only_metadata=only_metadata)
            logged = ""
        except Expired:
            pass
        except ClusterError as error:
            pause = ABSENT_PAUSE if isinstance(error, Forbidden | Absent) else RETRY_PAUSE
            if str(error) != logged:
                log.warning("changes are not seen: %s", error)
            logged = str(error)
        except Exception:
            pause = ABSENT_PAUSE
            log.exception("following %s failed, which is a bug", what)
        await asyncio.sleep(pause)


async def _follow(cluster: Cluster, path: str, what: str, store: Store, *, only_metadata: bool) -> None:
    """One listing, and the changes after it for as long as the API server remembers them."""
    first = await cluster.call("GET", f"{path}?limit=1", what)
    version = decode(first or b"", _Object, what).metadata.resource_version
    seen = set()
    async for page in cluster.pages(path, what, only_metadata=only_metadata):
        for raw in page:
            key = decode(raw, _Object, what).metadata.key
            store.update(key, raw)
            seen.add(key)
    store.replace(seen)
    while True:
        query = f"watch=true&allowWatchBookmarks=true&timeoutSeconds={STREAM_LIFETIME}&resourceVersion={version}"
        async for line in cluster.lines(f"{path}?{query}", what, SILENCE_TIMEOUT, only_metadata=only_metadata):
            event = decode(line, _Event, what)
            if event.type == "ERROR":
                return  # 410, or what only a new listing may cure
            changed = decode(event.object, _Object, what).metadata
            version = changed.resource_version
            if event.type in {"ADDED", "MODIFIED"}:
                store.update(changed.key, event.object)
            elif event.type == "DELETED":
                store.delete(changed.key)
        await asyncio.sleep(RETRY_PAUSE)

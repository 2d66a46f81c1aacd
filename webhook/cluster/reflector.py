"""A reflector: it lists the objects of a kind and then watches them, for as long as the program runs.

Nothing is kept but what the store keeps. A listing is followed by a stream of changes; a stream that breaks is taken up where
it ended, and only where the API server does not remember that any more there is another listing. So what vanished while no
stream was open is missed by neither.
Source: k8s.io/client-go tools/cache/reflector.go (ListAndWatch, watch, handleAnyWatch).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from typing import NoReturn, Protocol

import msgspec

from webhook.cluster.backoff import Backoff
from webhook.cluster.client import Cluster, decode
from webhook.cluster.errors import Absent, Busy, ClusterError, Expired, Forbidden, Unreachable
from webhook.cluster.object_meta import Object, ObjectMeta
from webhook.cluster.supervisor import supervise

STREAM_LIFETIME = 300  # seconds; each stream is opened anew so often
SILENCE_MARGIN = 15.0  # seconds more without a word, after which a stream is taken for dead
SHORTEST_STREAM = 0.9  # seconds; one that ends earlier without a word counts as a failure
RETRY_PAUSE = 1.0  # seconds before the stream after one that ended earlier
ABSENT_PAUSE = 10.0  # seconds before the next look where the kind is not installed, or not for us

log = logging.getLogger(__name__)


class Store(Protocol):
    """The store that a reflector keeps in step with the API server.

    Its keys are `NAMESPACE/NAME`, or the name of what is in no namespace.

    After a gap an object may be reported twice, and in states that are over; the last report is the present state.
    """

    def update(self, key: str, raw: msgspec.Raw) -> None:
        """Take an object as it is now."""

    def delete(self, key: str) -> None:
        """Take note that there is no such object any more."""

    def replace(self, keys: Collection[str]) -> None:
        """Take note that there are these objects and no others; every listing ends so."""


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


async def follow(
    cluster: Cluster,
    path: str,
    what: str,
    store: Store,
    *,
    only_metadata: bool = False,
    lifetime: int = STREAM_LIFETIME,
    synced: Callable[[], object] = lambda: None,
) -> NoReturn:
    """Keep `store` in step with what is listed at `path`, until cancelled; while the API server is away nothing changes.

    `what` names the objects for people. With `only_metadata` nothing else of them is asked for. `synced` is called whenever
    the API server has confirmed what the store holds, which is at least every `lifetime` seconds. Where the kind is not
    installed there are no objects.
    """
    reflector = _Reflector(cluster, path, what, store, only_metadata, lifetime, synced)
    await supervise(f"following {what}", reflector.run)


class _Reflector:
    """Follows one kind. `_backoff` counts the listings and streams that failed since the last one that did not."""

    def __init__(
        self,
        cluster: Cluster,
        path: str,
        what: str,
        store: Store,
        only_metadata: bool,
        lifetime: int,
        synced: Callable[[], object],
    ) -> None:
        self._cluster = cluster
        self._path = path
        self._what = what
        self._store = store
        self._only_metadata = only_metadata
        self._lifetime = lifetime
        self._synced = synced
        self._backoff = Backoff()
        self._logged = ""

    async def run(self) -> NoReturn:
        """List, and follow the changes for as long as the API server remembers them; then list again."""
        while True:
            try:
                version = await self._list()
                while True:
                    version = await self._watch(version)
            except Expired:
                await asyncio.sleep(self._backoff.next())
            except ClusterError as error:
                await self._rest(error)

    async def _list(self) -> str:
        """Put all objects into the store; the version from which changes are to be followed."""
        version, seen = "", set()
        try:
            async for page in self._cluster.chunks(self._path, self._what, only_metadata=self._only_metadata):
                version = version or page.metadata.resource_version
                for raw in page.items or ():
                    metadata = self._metadata(raw)
                    if metadata is not None and self._notify(self._store.update, metadata.key, raw):
                        seen.add(metadata.key)
        except Absent:
            self._store.replace(())
            self._synced()
            raise
        self._store.replace(seen)
        self._synced()
        return version

    async def _watch(self, version: str) -> str:
        """One stream of changes to its end; the version from which the next has to go on. A short one is followed by a pause."""
        began, heard = asyncio.get_running_loop().time(), False
        query = f"watch=true&allowWatchBookmarks=true&timeoutSeconds={self._lifetime}&resourceVersion={version}"
        path = f"{self._path}{'&' if '?' in self._path else '?'}{query}"
        silence = self._lifetime + SILENCE_MARGIN
        try:
            lines = self._cluster.lines(path, self._what, silence, only_metadata=self._only_metadata)
            async with contextlib.aclosing(lines):
                async for line in lines:
                    event = decode(line, _Event, self._what)
                    if event.type == "ERROR":
                        raise Expired(f"{self._what}: the stream ended with an error", "")
                    version, heard = self._change(event) or version, True
                    self._recovered()
        except Unreachable as error:
            await self._rest(error)
            return version
        if asyncio.get_running_loop().time() - began >= SHORTEST_STREAM:
            self._recovered()  # the next one follows at once: whoever asks about a new namespace waits half a second for it
        elif heard:
            self._recovered()
            await asyncio.sleep(RETRY_PAUSE)
        else:
            await asyncio.sleep(self._backoff.next())
        return version

    def _change(self, event: _Event) -> str | None:
        """Apply one change to the store; the version after it."""
        metadata = self._metadata(event.object)
        if metadata is None:
            return None
        if event.type in {"ADDED", "MODIFIED"}:
            self._notify(self._store.update, metadata.key, event.object)
        elif event.type == "DELETED":
            self._notify(self._store.delete, metadata.key)
        return metadata.resource_version

    def _metadata(self, raw: msgspec.Raw) -> ObjectMeta | None:
        """The metadata of an object; None, and a word about it, where it has none that can be used."""
        try:
            metadata = decode(raw, Object[ObjectMeta], self._what).metadata
        except Unreachable as error:
            log.warning("an object is passed over: %s", error)
            return None
        if not metadata.resource_version:
            log.warning("an object is passed over: %s: it has no resourceVersion", self._what)
            return None
        return metadata

    def _notify(self, notify: Callable[..., None], key: str, *raw: msgspec.Raw) -> bool:
        """Call the store; an object that it cannot cope with keeps it from no other."""
        try:
            notify(key, *raw)
        except Exception:
            log.exception("%s: %s is passed over, which is a bug", self._what, key)
            return False
        return True

    def _recovered(self) -> None:
        self._backoff.reset()
        self._synced()
        if self._logged:
            log.info("changes are seen again: %s", self._what)
        self._logged = ""

    async def _rest(self, error: ClusterError) -> None:
        """Say what is wrong, the same once, and wait. That one stream breaks is nothing to say."""
        if isinstance(error, Forbidden | Absent):
            pause = ABSENT_PAUSE
        else:
            pause = self._backoff.next(error.retry_after if isinstance(error, Busy) else 0.0)
        passing = isinstance(error, Unreachable) and self._backoff.failures < 2
        if str(error) != self._logged and not passing:
            log.warning("changes are not seen: %s", error)
            self._logged = str(error)
        await asyncio.sleep(pause)

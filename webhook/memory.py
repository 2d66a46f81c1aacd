"""What a replica remembers of images beyond its own life: read from the cluster, and written there in the background."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial

from webhook import image_identity, store
from webhook.background import Writer, running
from webhook.cluster import Cluster
from webhook.identities import Identities
from webhook.image import Image, Query
from webhook.reference import Reference
from webhook.registry.cache import Bounded

AGAIN = 86_400.0  # seconds until what was written once may be written again: the controller removes what is not in use
STORED = 20_000  # objects; whoever reaches our port may name any image, and each is kept by all replicas
_REMEMBERED = 1 << 21  # bytes of names that were written


class ClusterMemory(Identities):
    """Implements `webhook.registry.recall.Memory`.

    It is `alive` for whoever only wants to remember; who fills it himself runs `writer` alone.
    """

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.writer = Writer("ImageIdentity objects")
        self._cluster = cluster
        self._clock = clock
        self._offered: Bounded[str, float] = Bounded(_REMEMBERED)

    @contextlib.asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """Follow what is stored, and write what is learned, meanwhile."""
        following = asyncio.create_task(store.follow(self._cluster, self))
        try:
            async with running(self.writer):
                yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def learn(self, asked: Reference, image: Image, query: Query) -> None:
        """Write what nobody has written yet, some time soon; never for a dry run, nor while there is enough of it."""
        if query.dry_run or len(self) >= STORED:
            return
        namespace = query.namespace if image.private else None
        known = {each.name for each in self.of_digest(asked.name, image.digest)}
        for each in image_identity.of_image(asked, image, namespace, datetime.now(UTC)):
            offered = self._offered.get(each.name)
            if each.name in known or (offered is not None and self._clock() - offered < AGAIN):
                continue
            if self.writer.offer(each.name, partial(store.create, self._cluster, each)):
                self._offered.put(each.name, self._clock(), len(each.name))

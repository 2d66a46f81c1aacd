"""The survey of the cluster's images in the background: what their programs need goes into their ImageIdentity objects.

    images = AskedImages(client)                    # what scans ask for, in whose name: of namespaces that inject, or could
    surveys = ImageSurveys(cluster, client, images.asked, bytes_per_second)
    await surveys.round()

Admission reads no more than the account files; what is stored here it uses. The newest images come first, one at a time, at
so many bytes a second on average, of which one namespace's images take a quarter at most. An image behind pull secrets is
read with those of a Pod that runs it, and no namespace uses it that has not opened the image.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from webhook.caching import LRUCache
from webhook.cluster import image_identities
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Absent
from webhook.controller.loop import Interval
from webhook.errors import InvalidReference
from webhook.image import image_identity, reference
from webhook.image.image_identity import ImageIdentity
from webhook.image.source import Image, Images, Query, Unknown
from webhook.registry.transport.messages import Cost

BUDGET = 600.0  # seconds for one image; the registry client gives up long before
INTERVAL = 300.0  # seconds between two looks at what there is to read, also while there is more than can be read
SHARES = 4  # a namespace's images take one of so many parts of the bytes a second
AGAIN = 86_400.0  # seconds until an image that could not be read is tried once more
ASKED_BYTES = 8 << 20  # of queries: some 20,000 images
_TRIED_BYTES = 1 << 20  # of names that were tried in vain

log = logging.getLogger(__name__)


class CostedImages(Protocol):
    """An image source that says what a look-up reads."""

    async def find(self, query: Query, cost: Cost | None = None) -> Image | Unknown:
        """The image, or why it is not known; `cost` grows by what is asked and read."""
        ...


class AskedImages(Images):
    """Implements `webhook.image.source.Images` over another, and remembers by which query a registry's image was found."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._asked: LRUCache[str, Query] = LRUCache(ASKED_BYTES)

    async def find(self, query: Query) -> Image | Unknown:
        """As the source below answers."""
        found = await self._images.find(query)
        if isinstance(found, Image) and found.source == "registry":
            name = f"{reference.parse(query.reference).name}@{found.digest}"
            secrets = (query.namespace, query.service_account, *query.pull_secrets)
            self._asked.put(name, query, len(name) + len(query.reference) + sum(map(len, secrets)))
        return found

    def asked(self, name: str) -> Query | None:
        """The last query that found `REPOSITORY@DIGEST`; None where no scan has asked for it."""
        return self._asked.get(name)


class ImageSurveys:
    """Reads the images that are stored, in use, and read by nobody; `written` counts the objects that were filled in.

    `asked` gives the query by which an image was found, None for one that no namespace needs that injects, or could.
    """

    def __init__(
        self,
        cluster: Cluster,
        images: CostedImages,
        asked: Callable[[str], Query | None],
        bytes_per_second: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self._images = images
        self._asked = asked
        self._rate = bytes_per_second
        self._clock = clock
        self._pause = pause
        self._tried: LRUCache[str, float] = LRUCache(_TRIED_BYTES)  # until when
        self._resting: dict[str, float] = {}  # until when no image of a namespace is read
        self.written = 0

    async def round(self) -> Interval:
        """Read what is not read yet, for some minutes at most; raises `ClusterError` where it cannot be listed or written."""
        try:
            stored = [each async for each in image_identities.listed(self._cluster) if _lacking(each)]
        except Absent:
            return Interval(INTERVAL, INTERVAL)
        began = self._clock()
        todo = [(each, query) for each in stored if (query := self._query(each))]
        todo.sort(key=lambda each: each[0].spec.first_seen, reverse=True)
        self._resting = {name: until for name, until in self._resting.items() if until > began}
        while todo and (now := self._clock()) < began + INTERVAL:
            turn = next((each for each in todo if self._resting.get(each[1].namespace, now) <= now), None)
            if turn is None:
                await self._pause(min(self._resting[query.namespace] for _, query in todo) - now)
                continue
            todo.remove(turn)
            identity, query = turn
            cost = Cost()
            await self._survey(identity, query, cost)
            self._resting[query.namespace] = self._clock() + cost.bytes_read * SHARES / self._rate
            await self._pause(cost.bytes_read / self._rate)
        return Interval(1.0, 1.0) if todo else Interval(INTERVAL, INTERVAL)

    def _query(self, identity: ImageIdentity) -> Query | None:
        """How to ask for all layers of an image; None where it is not to be read now, or not for its namespace."""
        if (self._tried.get(identity.name) or 0.0) > self._clock():
            return None
        spec = identity.spec
        try:
            name = f"{reference.parse(spec.image).name}@{identity.digest}"
        except InvalidReference:
            return None
        asked = self._asked(name)
        if asked is None or (spec.namespaces and asked.namespace not in spec.namespaces):
            return None
        return Query(
            name,
            architectures=frozenset({spec.platform.split("/")[1]}),
            namespace=asked.namespace,
            pull_secrets=asked.pull_secrets,
            service_account=asked.service_account,
            accounts=True,
            survey=True,
            budget=BUDGET,
        )

    async def _survey(self, identity: ImageIdentity, query: Query, cost: Cost) -> None:
        """One image on one platform."""
        found = await self._images.find(query, cost)
        platforms = found.platforms if isinstance(found, Image) else ()
        image = next((each for each in platforms if str(each.platform) == identity.spec.platform), None)
        facts = None if image is None else image_identity.facts(image)
        if facts is None:
            self._tried.put(identity.name, self._clock() + AGAIN, weight=len(identity.name))
            log.info("the layers of %s (%s) were not read", query.reference, identity.spec.platform)
            return
        await image_identities.change(self._cluster, identity, {"facts": msgspec.to_builtins(facts)})
        self.written += 1


def _lacking(identity: ImageIdentity) -> bool:
    spec = identity.spec
    return spec.source == "registry" and spec.facts is None and spec.platform.startswith("linux/")

"""The layers of the cluster's images, read in the background: what their programs need, into their ImageIdentity objects.

Admission reads no more than the account files; what is stored here it uses. The newest images come first. One image is read
at a time, at so many bytes a second on average, and only those that anybody may pull: others would take the pull secrets of
the Pods, which belong to their namespaces.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from webhook.caching import LRUCache
from webhook.cluster import image_identities
from webhook.cluster.client import Absent, Cluster
from webhook.controller.loop import Interval
from webhook.image import image_identity, reference
from webhook.image.image_identity import ImageIdentity
from webhook.image.source import Image, Images, Query
from webhook.registry.transport.messages import Cost

BUDGET = 600.0  # seconds for one image; the registry client gives up long before
INTERVAL = 300.0  # seconds between two looks at what there is to read
_TRIED_BYTES = 1 << 20  # of names that were tried and are not tried again before they are forgotten

log = logging.getLogger(__name__)


class CountingImages(Images, Protocol):
    """An image source that counts what it reads."""

    @property
    def total(self) -> Cost:
        """What all look-ups together have asked and read so far."""
        ...


class ImageSurveys:
    """Reads the images that are stored and that nobody has read; `written` counts the objects that were filled in."""

    def __init__(
        self,
        cluster: Cluster,
        images: CountingImages,
        bytes_per_second: int,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self._images = images
        self._rate = bytes_per_second
        self._pause = pause
        self._tried: LRUCache[str, bool] = LRUCache(_TRIED_BYTES)
        self.written = 0

    async def round(self) -> Interval:
        """Read all that is not read yet, the newest first; raises `ClusterError` where it cannot be listed or written."""
        try:
            stored = [each async for each in image_identities.listed(self._cluster) if _wanted(each)]
        except Absent:
            return Interval(INTERVAL, INTERVAL)
        for each in sorted(stored, key=lambda each: each.spec.first_seen, reverse=True):
            if self._tried.get(each.name):
                continue
            self._tried.put(each.name, value=True, weight=len(each.name))
            before = self._images.total.bytes_read
            await self._survey(each)
            await self._pause((self._images.total.bytes_read - before) / self._rate)
        return Interval(INTERVAL, INTERVAL)

    async def _survey(self, identity: ImageIdentity) -> None:
        """One image on one platform."""
        spec = identity.spec
        name = f"{reference.parse(spec.image).name}@{identity.digest}"
        architecture = spec.platform.split("/")[1]
        found = await self._images.find(
            Query(name, architectures=frozenset({architecture}), accounts=True, survey=True, budget=BUDGET)
        )
        platforms = found.platforms if isinstance(found, Image) else ()
        image = next((each for each in platforms if str(each.platform) == spec.platform), None)
        facts = None if image is None else image_identity.facts(image)
        if facts is None:
            log.info("the layers of %s (%s) were not read", name, spec.platform)
            return
        await image_identities.change(self._cluster, identity, {"facts": msgspec.to_builtins(facts)})
        self.written += 1


def _wanted(identity: ImageIdentity) -> bool:
    spec = identity.spec
    return (
        spec.source == "registry" and spec.facts is None and not spec.namespaces and spec.platform.startswith("linux/")
    )

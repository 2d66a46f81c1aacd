"""What was answered to a Pod, for the next Pod of its template: replicas differ in nothing that is judged.

Their names do, and that of the token volume that the API server gives each: so no two are the same object. An answer holds
while the same policy governs, and while the source of images gives, unasked, the very answers that it was made from.
"""

from collections.abc import Hashable
from operator import attrgetter

import msgspec

from webhook.caching import LRUCache
from webhook.evaluation.finding import Finding
from webhook.image.source import Image, Images, Query, Unknown
from webhook.policy.selection import EffectivePolicy
from webhook.workload.annotations import ANNOTATION, OPENSHIFT_SCC
from webhook.workload.podspec import Container, FileModes, PodSpec, Volume
from webhook.workload.workload import Workload

CACHE_LIMIT = 8 * 1024 * 1024  # bytes
_OBJECT_OVERHEAD = 4  # what Python's objects take, against what they say

# All that these structs will ever hold, but for what is looked at here one by one; so a new field is never forgotten.
_CONTAINERS = ("containers", "init_containers", "ephemeral_containers")
_APART = {*_CONTAINERS, "node_selector", "volumes"}
_VOLUME_APART = {"name", "projected", "secret", "config_map"}
_LISTS = attrgetter(*_CONTAINERS)
_OF_SPEC = attrgetter(*(each for each in PodSpec.__struct_fields__ if each not in _APART))
_OF_CONTAINER = attrgetter(*(each for each in Container.__struct_fields__ if each != "volume_mounts"))
_OF_VOLUME = attrgetter(*(each for each in Volume.__struct_fields__ if each not in _VOLUME_APART))
_PLAIN = _OF_VOLUME(Volume())


def cache_key(workload: Workload) -> Hashable | None:
    """All of a Pod that its answer depends on, so that two Pods with the same one get the same.

    None where that is its mounts, too, which findings about the permissions of volumes name.
    """
    spec, annotations = workload.spec, workload.metadata.annotations
    projected = False
    for volume in spec.volumes or ():
        if _OF_VOLUME(volume) != _PLAIN or _private(volume.secret) or _private(volume.config_map):
            return None
        projected = projected or volume.projected is not None
    regular, init, ephemeral = _LISTS(spec)
    return (
        _OF_SPEC(spec),
        regular and tuple(map(_OF_CONTAINER, regular)),
        init and tuple(map(_OF_CONTAINER, init)),
        ephemeral and tuple(map(_OF_CONTAINER, ephemeral)),
        spec.node_selector and tuple(spec.node_selector.items()),
        projected,
        None if annotations is None else (annotations.get(ANNOTATION), OPENSHIFT_SCC in annotations),
    )


def _private(files: FileModes | None) -> bool:
    """Whether some file is not everybody's to read, so that who mounts it matters."""
    return files is not None and not files.strictest & 0o004


class RecordingSource:
    """The images of one review, and what was told of them. A dry run leaves no trace: that is what the hooks promise."""

    def __init__(self, images: Images, *, dry_run: bool) -> None:
        self._images = images
        self._dry_run = dry_run
        self.lookups: list[tuple[Query, Image | Unknown]] = []

    async def find(self, query: Query) -> Image | Unknown:
        """As `webhook.image.source.Images`."""
        if self._dry_run:
            query = msgspec.structs.replace(query, dry_run=True)
        found = await self._images.find(query)
        self.lookups.append((query, found))
        return found


class CachedResponse(msgspec.Struct, frozen=True, gc=False):
    """An answer without its uid, and what is counted and told of it. `lookups` is what it was made from."""

    rest: bytes
    decision: str
    effective_policy: EffectivePolicy
    findings: tuple[Finding, ...]
    message: str
    operations: int
    lookups: tuple[tuple[Query, Image], ...] = ()


class ResponseCache:
    """The responses to the Pods that were last admitted, by their `cache_key`."""

    def __init__(self) -> None:
        self._answers: LRUCache[Hashable, CachedResponse] = LRUCache(CACHE_LIMIT)

    async def find(
        self, key: Hashable, effective_policy: EffectivePolicy, images: Images, *, dry_run: bool
    ) -> CachedResponse | None:
        """The answer to the last Pod with this key, if it would be given again."""
        found = self._answers.get(key)
        if found is None or found.effective_policy != effective_policy:
            return None
        for query, image in found.lookups:
            again = query if query.dry_run == dry_run else msgspec.structs.replace(query, dry_run=dry_run)
            if await images.find(again) is not image:
                return None
        return found

    def keep(self, key: Hashable, entry: CachedResponse, recording: RecordingSource) -> None:
        """Keep an answer, unless one of its images was not known."""
        lookups = []
        for query, found in recording.lookups:
            if isinstance(found, Unknown):
                return
            lookups.append((msgspec.structs.replace(query, budget=0.0), found))
        weight = _OBJECT_OVERHEAD * (len(msgspec.msgpack.encode(key)) + 2 * len(entry.rest))
        self._answers.put(key, msgspec.structs.replace(entry, lookups=tuple(lookups)), weight)
